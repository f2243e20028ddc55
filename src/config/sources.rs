//! Sources: where credentials, countries and keys are looked for. The name of one member tells the
//! kind.

use crate::shape::{
    Json, JsonWriter, Members, Path, Problems, Shape, Switch, nearest, object, to_text, words,
    wrong_type,
};
use crate::terms::names::{HeaderName, Text, VariableName};
use crate::terms::network::SourceRole;

/// A place that a request's credential is looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySource {
    /// Where
    pub place: CredentialPlace,
    /// Whether the place is left as it is (an application behind the node authenticates by it)
    pub forward: bool,
}

/// Where a credential can stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialPlace {
    /// A header whose value is the credential
    Header(HeaderName),
    /// `Authorization: Bearer`
    Bearer,
    /// A query parameter
    Query(Text),
    /// An element of `Sec-WebSocket-Protocol` that starts with this
    WebsocketProtocol(Text),
    /// The client certificate's first name of a kind
    Mtls(San),
    /// A claim of a JWT that Envoy's `jwt_authn` verified
    Jwt(Claim),
    /// A verified signature
    Chain,
}

words! {
    /// Which kind of subject alternative name identifies a client certificate.
    pub enum San {
        /// The first URI
        Uri = "uri_san",
        /// The first DNS name
        Dns = "dns_san",
    }
}

object! {
    /// A claim of a JWT that Envoy's jwt_authn verified.
    pub struct Claim {
        /// The name in jwt_authn's payload_in_metadata
        provider: Text,
        /// The claim's name
        claim: Text,
    }
}

/// A source for the country of the client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginSource {
    /// Where it is read; `None` is the snapshot's address table
    pub header: Option<HeaderName>,
    /// How much it counts
    pub role: SourceRole,
}

/// A source for the country of the person who uses the model.
#[derive(Debug, Clone)]
pub enum UserSource {
    /// A header that the customer sends
    Header(HeaderName),
    /// A JWT claim
    Jwt(Claim),
}

/// Where a signing key is: a private JWK or JWK Set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// An environment variable
    Env(VariableName),
    /// A generic secret of Envoy's
    Secret {
        /// Its name
        name: Text,
        /// Where Envoy gets it from
        sds_config: SdsConfig,
    },
}

/// Where Envoy gets a secret from: its `ConfigSource`, as JSON. Empty for one of the bootstrap,
/// which stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SdsConfig(String);

impl SdsConfig {
    /// The JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeySource {
    /// The member that says what kind it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Env(_) => "env",
            Self::Secret { .. } => "secret",
        }
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "variable `{name}`"),
            Self::Secret { name, .. } => write!(f, "secret `{name}`"),
        }
    }
}

impl CredentialPlace {
    /// The header that is emptied, where it is one that is emptied whole.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name) => Some(name.as_str()),
            Self::Bearer => Some("authorization"),
            Self::Query(_)
            | Self::WebsocketProtocol(_)
            | Self::Mtls(_)
            | Self::Jwt(_)
            | Self::Chain => None,
        }
    }

    /// Whether the two stand in one place: `authorization` is one, read as bearer or whole.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self.header(), other.header()) {
            (Some(one), Some(another)) => one == another,
            _ => self == other,
        }
    }
}

impl std::fmt::Display for CredentialPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Bearer => f.write_str("bearer"),
            Self::Query(name) => write!(f, "query {name}"),
            Self::WebsocketProtocol(prefix) => write!(f, "websocket protocol {prefix}"),
            Self::Mtls(san) => write!(f, "mtls {san}"),
            Self::Jwt(claim) => write!(f, "jwt {} {}", claim.provider, claim.claim),
            Self::Chain => f.write_str("chain"),
        }
    }
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.provider == other.provider && self.claim == other.claim
    }
}

impl Eq for Claim {}

// === impl Shape for objects that say what they are by the name of one member ===

/// Reads the one member of `kinds` that says what the object is; notes none or several.
fn one_kind<'k>(
    members: &Members<'_>,
    kinds: &[&'k str],
    at: &Path<'_>,
    problems: &mut Problems,
) -> Option<&'k str> {
    let mut names = members.all().iter().map(|(name, _)| name.as_str());
    let is_present = |kind: &&str| names.clone().any(|name| name == *kind);
    let present: Vec<&'k str> = kinds.iter().copied().filter(is_present).collect();
    match present.as_slice() {
        [kind] => return Some(kind),
        [] => {
            let help = match names.find_map(|name| nearest(name, kinds)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of `{}`", kinds.join("`, `")),
            };
            problems.wrong(at, "unknown kind of source", &help);
        }
        several => {
            let found = several.join("` and `");
            let message = format!("expected one kind of source, found `{found}`");
            problems.wrong(at, &message, "make each an element of its own");
        }
    }
    None
}

/// The schema of such an object: one member of `kinds`, and the members that each may have.
fn kinds_schema(
    kinds: &[(&str, serde_json::Value)],
    common: &[(&str, serde_json::Value)],
) -> serde_json::Value {
    let alternatives: Vec<serde_json::Value> = kinds
        .iter()
        .map(|kind| {
            let members = common.iter().chain([kind]);
            let properties: serde_json::Map<String, serde_json::Value> =
                members.map(|(name, schema)| ((*name).into(), schema.clone())).collect();
            serde_json::json!({
                "type": "object",
                "properties": properties,
                "required": [kind.0],
                "additionalProperties": false,
            })
        })
        .collect();
    serde_json::json!({"oneOf": alternatives})
}

impl Shape for IdentitySource {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        const KINDS: [&str; 7] =
            ["header", "bearer", "query", "websocket_protocol", "mtls", "jwt", "chain"];
        let members = Members::open(json, at, problems)?;
        let kind = one_kind(&members, &KINDS, at, problems)?;
        let place = match kind {
            "header" => members.required(kind, problems).map(CredentialPlace::Header),
            "bearer" => members.required(kind, problems).map(|Switch| CredentialPlace::Bearer),
            "query" => members.required(kind, problems).map(CredentialPlace::Query),
            "websocket_protocol" => {
                members.required(kind, problems).map(CredentialPlace::WebsocketProtocol)
            }
            "mtls" => members.required(kind, problems).map(CredentialPlace::Mtls),
            "jwt" => members.required(kind, problems).map(CredentialPlace::Jwt),
            _ => members.required(kind, problems).map(|Switch| CredentialPlace::Chain),
        };
        let forward = members.optional("forward", problems).unwrap_or(Some(false));
        let mut known = KINDS.to_vec();
        known.push("forward");
        members.close(&known, problems);
        Some(Self { place: place?, forward: forward? })
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw("{");
        match &self.place {
            CredentialPlace::Header(name) => out.field("\"header\":", name),
            CredentialPlace::Bearer => out.field("\"bearer\":", &Switch),
            CredentialPlace::Query(name) => out.field("\"query\":", name),
            CredentialPlace::WebsocketProtocol(prefix) => {
                out.field("\"websocket_protocol\":", prefix);
            }
            CredentialPlace::Mtls(san) => out.field("\"mtls\":", san),
            CredentialPlace::Jwt(claim) => out.field("\"jwt\":", claim),
            CredentialPlace::Chain => out.field("\"chain\":", &Switch),
        }
        out.field(",\"forward\":", &self.forward);
        out.raw("}");
    }

    fn schema() -> serde_json::Value {
        kinds_schema(
            &[
                ("header", HeaderName::schema()),
                ("bearer", Switch::schema()),
                ("query", Text::schema()),
                ("websocket_protocol", Text::schema()),
                ("mtls", San::schema()),
                ("jwt", Claim::schema()),
                ("chain", Switch::schema()),
            ],
            &[("forward", bool::schema())],
        )
    }
}

impl Shape for OriginSource {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let members = Members::open(json, at, problems)?;
        let header = match one_kind(&members, &["snapshot", "header"], at, problems)? {
            "snapshot" => members.required("snapshot", problems).map(|Switch| None),
            _ => members.required("header", problems).map(Some),
        };
        let role = members.optional("role", problems).unwrap_or(Some(SourceRole::Decides));
        members.close(&["snapshot", "header", "role"], problems);
        Some(Self { header: header?, role: role? })
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw("{");
        match &self.header {
            Some(name) => out.field("\"header\":", name),
            None => out.field("\"snapshot\":", &Switch),
        }
        out.field(",\"role\":", &self.role);
        out.raw("}");
    }

    fn schema() -> serde_json::Value {
        kinds_schema(
            &[("snapshot", Switch::schema()), ("header", HeaderName::schema())],
            &[("role", SourceRole::schema())],
        )
    }
}

impl Shape for UserSource {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let members = Members::open(json, at, problems)?;
        let source = match one_kind(&members, &["header", "jwt"], at, problems)? {
            "header" => members.required("header", problems).map(Self::Header),
            _ => members.required("jwt", problems).map(Self::Jwt),
        };
        members.close(&["header", "jwt"], problems);
        source
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw("{");
        match self {
            Self::Header(name) => out.field("\"header\":", name),
            Self::Jwt(claim) => out.field("\"jwt\":", claim),
        }
        out.raw("}");
    }

    fn schema() -> serde_json::Value {
        kinds_schema(&[("header", HeaderName::schema()), ("jwt", Claim::schema())], &[])
    }
}

impl Shape for KeySource {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let members = Members::open(json, at, problems)?;
        match one_kind(&members, &["env", "secret"], at, problems)? {
            "env" => {
                let name = members.required("env", problems);
                members.close(&["env"], problems);
                name.map(Self::Env)
            }
            _ => {
                let name = members.required("secret", problems);
                let source: Option<SdsConfig> = members.optional("sds_config", problems).flatten();
                members.close(&["secret", "sds_config"], problems);
                name.map(|name| Self::Secret { name, sds_config: source.unwrap_or_default() })
            }
        }
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw("{");
        match self {
            Self::Env(name) => out.field("\"env\":", name),
            Self::Secret { name, sds_config } => {
                out.field("\"secret\":", name);
                if !sds_config.as_str().is_empty() {
                    out.field(",\"sds_config\":", sds_config);
                }
            }
        }
        out.raw("}");
    }

    fn schema() -> serde_json::Value {
        let secret = serde_json::json!({
            "type": "object",
            "properties": {"secret": Text::schema(), "sds_config": SdsConfig::schema()},
            "required": ["secret"],
            "additionalProperties": false,
        });
        let mut schema = kinds_schema(&[("env", VariableName::schema())], &[]);
        let alternatives = schema.get_mut("oneOf").and_then(serde_json::Value::as_array_mut);
        alternatives.into_iter().for_each(|alternatives| alternatives.push(secret.clone()));
        schema
    }
}

impl Shape for SdsConfig {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if let Json::Object(_) = json {
            // the filter for wasm asks Envoy for no secret, and writing numbers takes 14 KB of it
            let is_read = cfg!(any(feature = "desk", feature = "module"));
            return Some(Self(if is_read { to_text(json) } else { String::new() }));
        }
        wrong_type(at, "an object, Envoy's `ConfigSource`", json, problems);
        None
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw(&self.0);
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "object"})
    }
}
