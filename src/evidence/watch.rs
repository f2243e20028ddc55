//! The header names that a node looks at, and what for: the closed list of header signals; and the paths under which a
//! provider keeps what customers share.
//!
//! Most headers of a request are on no list, so the look-up is made for misses: a bucket chosen by length,
//! first and last byte, and one for prefixes by the third byte, in which most names find nothing to be
//! compared with. Comparing names in a sorted table cost four tenths of a decision.

use super::places::{Kind, Places};
use super::relay::{self, MarkGroup};
use super::shared_state::SharedState;
use crate::config::{Config, CredentialPlace, UserSource};

/// What a header is looked at for. The closed list of what a node reads in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It may hold the credential of this source
    Credential(usize),
    /// Its elements may hold one
    Subprotocols,
    /// A known place of credentials or accounts, which no source keeps
    KnownPlace,
    /// Trusted proxies write addresses to it
    Forwarding,
    /// An earlier filter of the same Envoy sets it to a country
    Origin(usize),
    /// The customer says in it where its user is
    User(usize),
    /// What a node found
    Tag,
    /// Who carried the request
    Chain,
    /// What earlier nodes signed
    Trail,
    /// Only a node sets it, for itself
    OwnedByNode,
    /// Only a node sets it, by a provider's convention
    OwnedByConvention,
    /// What it lists is taken off by the next hop (RFC 9110, 7.6.1)
    Connection,
    /// The connection is to become another, such as a WebSocket
    Upgrade,
    /// Signatures (RFC 9421)
    Signature,
    /// Their parameters
    SignatureInput,
    /// The caller's dialect
    AnthropicVersion,
    /// The betas that the caller asks for
    AnthropicBeta,
    /// It may mark a relay: the number of its group
    Marks(usize),
}

/// The header names that a node looks at, and what for.
#[derive(Debug)]
pub struct Watch {
    exact: Vec<Vec<Watched>>,
    prefixes: Vec<Vec<Watched>>,
    marks: Vec<MarkGroup>,
    /// What subprotocols that don't go on begin with
    withheld_subprotocols: Vec<String>,
    shared_state: SharedState,
}

/// A name, or the beginning of one, in lower case and with `-` for `_`.
#[derive(Debug)]
struct Watched {
    name: Vec<u8>,
    /// The same for people, a prefix with `*` behind it
    shown: String,
    roles: Vec<Role>,
}

/// Whether a name is spelled as it should be, or with `_` where some servers read a `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Exact,
    Underscores,
}

const BUCKETS: usize = 512;

impl Role {
    /// Whether only a node sets such a header.
    fn is_owned(self) -> bool {
        matches!(
            self,
            Self::Tag | Self::Chain | Self::Trail | Self::OwnedByNode | Self::OwnedByConvention
        )
    }

    /// Whether such a header holds a credential or chooses an account. It is no mark of a relay then.
    pub(super) fn is_place(self) -> bool {
        matches!(self, Self::Credential(_) | Self::KnownPlace)
    }
}

/// Whether a trailer goes on (RFC 9110, 6.5): only a digest of the body (RFC 9530, and RFC 3230 before it). The next hop
/// may take any other for a header.
pub fn admits_trailer(name: &[u8]) -> bool {
    [&b"content-digest"[..], b"repr-digest", b"digest"]
        .iter()
        .any(|digest| digest.eq_ignore_ascii_case(name))
}

impl Watch {
    /// The list for a configuration.
    pub fn new(config: &Config) -> Self {
        let buckets = || (0..BUCKETS).map(|_| Vec::new()).collect();
        let mut watch = Self {
            exact: buckets(),
            prefixes: buckets(),
            marks: MarkGroup::of(relay::marks()),
            withheld_subprotocols: Vec::new(),
            shared_state: SharedState::known(),
        };
        for (name, role) in [
            ("compliance-tag", Role::Tag),
            ("compliance-chain", Role::Chain),
            ("compliance-trail", Role::Trail),
            ("x-waybill-*", Role::OwnedByNode),
            ("anthropic-user-profile-id", Role::OwnedByConvention),
            ("openai-safety-identifier", Role::OwnedByConvention),
            ("connection", Role::Connection),
            ("upgrade", Role::Upgrade),
            ("sec-websocket-protocol", Role::Subprotocols),
            ("signature", Role::Signature),
            ("signature-input", Role::SignatureInput),
            ("anthropic-version", Role::AnthropicVersion),
            ("anthropic-beta", Role::AnthropicBeta),
            (config.client_address.header.as_str(), Role::Forwarding),
        ] {
            watch.add(name, role);
        }
        for (i, source) in config.sources.iter().enumerate() {
            if let Some(header) = source.place.header() {
                watch.add(header, Role::Credential(i));
            }
        }
        watch.add_known_places(config);
        for (i, source) in config.geo.origin.iter().enumerate() {
            if let Some(header) = &source.header {
                watch.add(header.as_str(), Role::Origin(i));
            }
        }
        for (i, source) in config.geo.user.iter().enumerate() {
            if let UserSource::Header(header) = source {
                watch.add(header.as_str(), Role::User(i));
            }
        }
        let marks: Vec<String> = watch.marks.iter().map(|group| group.header.clone()).collect();
        for (i, header) in marks.iter().enumerate() {
            watch.add(header, Role::Marks(i));
        }
        watch
    }

    /// What doesn't go on whichever source reads it, unless a source keeps it.
    fn add_known_places(&mut self, config: &Config) {
        let Places { headers, subprotocols } = Places::known();
        let is_left = |kind| kind == Kind::Account && config.forwards();
        for (header, kind) in headers {
            let is_source =
                config.sources.iter().any(|source| source.place.header() == Some(header.as_str()));
            if !is_source && !is_left(kind) {
                self.add(&header, Role::KnownPlace);
            }
        }
        let sources = config.sources.iter().filter_map(|source| match &source.place {
            CredentialPlace::WebsocketProtocol(prefix) => Some((prefix.as_str(), source.forward)),
            _ => None,
        });
        for (prefix, kind) in subprotocols {
            let is_kept =
                sources.clone().any(|(own, forward)| forward && own.eq_ignore_ascii_case(&prefix));
            if !is_kept && !is_left(kind) {
                self.withheld_subprotocols.push(prefix);
            }
        }
        self.withheld_subprotocols
            .extend(sources.filter(|(_, forward)| !forward).map(|(prefix, _)| prefix.to_owned()));
    }

    /// Whether a subprotocol doesn't go on, whatever the case of its beginning.
    pub(super) fn withholds_subprotocol(&self, element: &[u8]) -> bool {
        let begins = |prefix: &String| {
            element
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        self.withheld_subprotocols.iter().any(begins)
    }

    /// The names looked at, a prefix with `*` behind it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.exact.iter().chain(&self.prefixes).flatten().map(|watched| watched.shown.clone())
    }

    /// The paths under which a provider keeps what customers share.
    pub(super) fn shared_state(&self) -> &SharedState {
        &self.shared_state
    }

    /// Whether only a node may set a header of that name, in any case and with `_` for `-`.
    pub fn owns(&self, name: &[u8]) -> bool {
        self.owned(name).is_some()
    }

    /// What this list calls such a header.
    pub(super) fn owned(&self, name: &[u8]) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.roles(&name).find(|(role, ..)| role.is_owned()).map(|(_, _, shown)| shown)
    }

    /// The group of marks of that number.
    pub(super) fn marks(&self, number: usize) -> Option<&MarkGroup> {
        self.marks.get(number)
    }

    /// What a header of that name, in lower case, is looked at for, and what this list calls it. Marks of relays stand
    /// last.
    pub(super) fn roles(&self, name: &[u8]) -> impl Iterator<Item = (Role, Spelling, &str)> {
        let exact = self.exact.get(bucket(name)).map(Vec::as_slice).unwrap_or_default().iter();
        let exact = exact.filter_map(|watched| Some((watched, spelling(name, &watched.name)?)));
        let prefixes =
            self.prefixes.get(bucket_of_prefix(name)).map(Vec::as_slice).unwrap_or_default().iter();
        let prefixes = prefixes.filter_map(|watched| {
            Some((watched, spelling(name.get(..watched.name.len())?, &watched.name)?))
        });
        exact.chain(prefixes).flat_map(|(watched, spelling)| {
            watched.roles.iter().map(move |role| (*role, spelling, watched.shown.as_str()))
        })
    }

    fn add(&mut self, shown: &str, role: Role) {
        let name = shown;
        let (list, name) = match name.strip_suffix('*') {
            Some(prefix) => (self.prefixes.get_mut(bucket_of_prefix(prefix.as_bytes())), prefix),
            None => (self.exact.get_mut(bucket(name.as_bytes())), name),
        };
        let Some(list) = list else { return };
        match list.iter_mut().find(|watched| watched.name == name.as_bytes()) {
            Some(watched) => watched.roles.push(role),
            None => {
                list.push(Watched { name: name.into(), shown: shown.to_owned(), roles: vec![role] })
            }
        }
    }
}

fn bucket(name: &[u8]) -> usize {
    let mix = name
        .len()
        .wrapping_mul(7)
        .wrapping_add(folded(name.first()))
        .wrapping_add(folded(name.last()).wrapping_mul(31));
    mix % BUCKETS
}

/// By the third byte: `x-` stands before most. A prefix has at least three.
fn bucket_of_prefix(name: &[u8]) -> usize {
    folded(name.get(2)) % BUCKETS
}

fn folded(byte: Option<&u8>) -> usize {
    byte.map_or(0, |byte| usize::from(dash(*byte)))
}

fn dash(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

fn spelling(name: &[u8], watched: &[u8]) -> Option<Spelling> {
    if name == watched {
        return Some(Spelling::Exact);
    }
    let same = name.len() == watched.len() && name.iter().zip(watched).all(|(a, b)| dash(*a) == *b);
    same.then_some(Spelling::Underscores)
}
