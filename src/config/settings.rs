//! The document of a configuration: its sections, each with its defaults.

use super::sources::{IdentitySource, KeySource, OriginSource, UserSource};
use crate::register::{Binding, InlineRegister};
use crate::shape::{Dictionary, Integer, Mismatch, Shape as _, Word, object, words};
use crate::terms::finding::{Action, FindingCode};
use crate::terms::key::TrustedKey;
use crate::terms::names::{
    Authority, HeaderName, HeaderText, NodeId, RouteName, Text, Url, UrlPath,
};
use crate::terms::network::{Nat64Prefix, Network};
use crate::terms::region::{RegionSettings, Residency};

words! {
    /// Whether findings take effect.
    pub enum Mode {
        /// They do
        Enforce = "enforce",
        /// They are only reported, save where nobody would then be authenticated
        Report = "report",
    }
}

words! {
    /// The header that trusted proxies write addresses to.
    pub enum ForwardingHeader {
        /// X-Forwarded-For
        XForwardedFor = "x-forwarded-for",
        /// Forwarded (RFC 7239)
        Forwarded = "forwarded",
    }
}

object! {
    /// Who this node is.
    pub struct NodeSettings {
        /// Its name in tags, chains and refusals
        id: NodeId,
        /// The names that requests to it are addressed to; `id` where left out
        authorities: Vec<Authority> = Vec::new(),
        /// What the next hop is called
        upstream_authority: Option<Authority> = None,
        /// Where the upstream processes data
        residency: Option<Residency> = None,
    }
}

object! {
    /// Where the signed register file comes from.
    pub struct SnapshotSettings {
        /// The Envoy cluster of the server that has it
        cluster: Text,
        /// The server's name
        authority: Authority,
        /// The file's path there
        path: UrlPath,
        /// How often to ask for a newer one, in seconds
        poll_seconds: Integer<1, 86_400> = Integer(30),
        /// From which age on it is stale, in seconds since its creation
        max_age_seconds: Integer<1, 31_536_000> = Integer(86_400),
        /// The keys that may have signed it
        trusted_keys: Vec<TrustedKey>,
        /// The lowest sequence that is taken
        min_sequence: Integer<0, { i64::MAX as u64 }> = Integer(0),
    }
}

object! {
    /// Who is calling.
    pub struct IdentitySettings {
        /// Where credentials are looked for; an event names the first that agrees
        sources: Vec<IdentitySource>,
    }
}

object! {
    /// How the client's address is found.
    pub struct ClientAddressSettings {
        /// The networks of proxies whose word on the address counts
        trusted_proxies: Vec<Network> = Vec::new(),
        /// The header that they write it to
        header: ForwardingHeader = ForwardingHeader::XForwardedFor,
        /// The operator's own NAT64 prefixes. An address behind one is judged as the IPv4 address
        /// in it
        nat64: Vec<Nat64Prefix> = Vec::new(),
    }
}

object! {
    /// Where geography comes from.
    pub struct GeoSettings {
        /// For the client's address
        origin: Vec<OriginSource> = Vec::new(),
        /// For the person who uses the model
        user: Vec<UserSource> = Vec::new(),
    }
}

object! {
    /// What is done about findings.
    pub struct PolicySettings {
        /// Whether findings take effect
        mode: Mode = Mode::Enforce,
        /// Actions that differ from the catalogue's defaults
        actions: Dictionary<FindingCode, Action> = Dictionary::new(),
    }
}

object! {
    /// Another upstream, which the route table chooses by the header x-waybill-route.
    pub struct RouteSettings {
        /// The provider there; the node's where left out
        provider: Option<Text> = None,
        /// What it is called
        authority: Option<Authority> = None,
        /// Where it processes data
        residency: Option<Residency> = None,
    }
}

object! {
    /// What to make of marks of relay software.
    pub struct RelaySettings {
        /// Marks that the operator's own load balancer or CDN leaves
        ignore: Vec<IgnoredMark> = Vec::new(),
    }
}

object! {
    /// A mark that is no finding here.
    pub struct IgnoredMark {
        /// The header
        header: HeaderName,
        /// The value, whole; any where left out
        value: Option<Text> = None,
    }
}

object! {
    /// How tags are signed.
    pub struct TagSettings {
        /// The keys; tags go unsigned where there is none
        keys: Vec<KeySource> = Vec::new(),
        /// How long a signature is valid, in seconds; other nodes accept no more than their
        /// `chain.max_lifetime_seconds`
        lifetime_seconds: Integer<1, 3_600> = Integer(60),
        /// What a signature covers
        binding: Binding = Binding::Request,
    }
}

object! {
    /// What other nodes' signatures and chains may be like.
    pub struct ChainSettings {
        /// How many nodes a request may have come through
        max_hops: Integer<2, 32> = Integer(8),
        /// How far other clocks may be ahead of or behind this one, in seconds
        skew_seconds: Integer<0, 60> = Integer(5),
        /// The longest time that a signature may hold, in seconds from `created` to `expires`
        max_lifetime_seconds: Integer<1, 3_600> = Integer(300),
    }
}

object! {
    /// The model provider behind this node.
    pub struct ProviderSettings {
        /// anthropic, openai, gemini, or one's own: the convention, and the customer's entry in
        /// providers
        name: Text,
        /// The Anthropic beta that user profiles need, for the header anthropic-beta
        anthropic_beta: Option<HeaderText> = None,
        /// The account and profile APIs that customers may not call; the provider's own where left
        /// out
        deny_paths: Option<Vec<UrlPath>> = None,
    }
}

const READY_PATH: &str = "/.well-known/waybill/ready";
const DIRECTORY_PATH: &str = "/.well-known/http-message-signatures-directory";
const DISCLOSURE_PATH: &str = "/.well-known/waybill/disclosure";

object! {
    /// Paths that the node answers itself, for any caller.
    pub struct EndpointSettings {
        /// Whether the node has a register, for load balancers and Kubernetes: 200, or 503 until
        /// then
        ready: Endpoint = Endpoint::at(READY_PATH),
        /// The public keys that it signs with, a JWK Set
        /// (draft-meunier-webbotauth-httpsig-directory)
        directory: Endpoint = Endpoint::at(DIRECTORY_PATH),
        /// Who runs the node, what it reads, and where to appeal
        disclosure: Endpoint = Endpoint::at(DISCLOSURE_PATH),
    }
}

/// A path that the node answers itself, unless it is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Option<UrlPath>);

object! {
    /// Who runs this node, and whom a refused caller can turn to.
    pub struct DisclosureSettings {
        /// The legal name of the node's operator
        operator: Option<Text> = None,
        /// Who answers questions
        contact: Option<Text> = None,
        /// Where a refusal is appealed
        appeal_url: Option<Url> = None,
        /// Where the operator's rules for customers are
        policy_url: Option<Url> = None,
        /// How long records of a request are kept, in the operator's words
        retention: Option<Text> = None,
    }
}

object! {
    /// Waybill's configuration: JSON in the StringValue of the filter's configuration.
    pub struct ConfigDocument {
        /// The version of this format
        version: Integer<1, 1>,
        /// Who this node is
        node: NodeSettings,
        /// Where the signed register file comes from; this or register
        snapshot: Option<SnapshotSettings> = None,
        /// A small register, inline; this or snapshot
        register: Option<InlineRegister> = None,
        /// The regions to judge by, with an inline register
        regions: Option<RegionSettings> = None,
        /// Who is calling
        identity: IdentitySettings,
        /// How the client's address is found
        client_address: ClientAddressSettings = ClientAddressSettings::default(),
        /// Where geography comes from
        geo: GeoSettings = GeoSettings::default(),
        /// What is done about findings
        policy: PolicySettings = PolicySettings::default(),
        /// Other upstreams, by name
        routes: Dictionary<RouteName, RouteSettings> = Dictionary::new(),
        /// What to make of marks of relay software
        relay: RelaySettings = RelaySettings::default(),
        /// How tags are signed
        tag: TagSettings = TagSettings::default(),
        /// What other nodes' signatures and chains may be like
        chain: ChainSettings = ChainSettings::default(),
        /// The model provider behind this node
        provider: Option<ProviderSettings> = None,
        /// Paths that the node answers itself
        endpoints: EndpointSettings = EndpointSettings::default(),
        /// Who runs this node, and whom a refused caller can turn to
        disclosure: DisclosureSettings = DisclosureSettings::default(),
    }
}

/// The JSON Schema of the configuration (draft 2020-12), generated from the types above.
pub fn schema() -> serde_json::Value {
    let mut schema = ConfigDocument::schema();
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".into(), "Waybill configuration, version 1".into());
        members.insert(
            "oneOf".into(),
            serde_json::json!([{"required": ["snapshot"]}, {"required": ["register"]}]),
        );
    }
    schema
}

impl GeoSettings {
    /// Whether a header of Envoy's says where the client's address is.
    pub fn reads_headers(&self) -> bool {
        self.origin.iter().any(|source| source.header.is_some())
    }
}

impl Endpoint {
    #[inline(never)]
    fn at(path: &str) -> Self {
        Self(UrlPath::parse(path).ok())
    }

    /// The path, unless it is off.
    pub fn path(&self) -> Option<&UrlPath> {
        self.0.as_ref()
    }

    /// Whether a request's path, but for its query, is this one.
    pub fn is(&self, path: &[u8]) -> bool {
        let rest = self.0.as_ref().and_then(|own| path.strip_prefix(own.as_str().as_bytes()));
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'?')))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_ref().map_or("off", UrlPath::as_str))
    }
}

impl Word for Endpoint {
    const WHAT: &'static str = "a path that starts with a slash, or off";
    const PATTERN: &'static str = r"^(/[!-~]{0,1000}|off)$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if text == "off" {
            Ok(Self(None))
        } else {
            UrlPath::parse(text).map(|path| Self(Some(path)))
        }
    }
}
