//! The watch list: the header names that a node looks at, each with its role. It is the closed list
//! of header signals. It also holds the paths of what customers share at a provider.
//!
//! Most headers of a request are on no list, so the look-up is fast for names that it doesn't have.
//! A bucket is chosen by length, first byte and last byte, for prefixes by the third byte. In most
//! buckets a name finds nothing to be compared with. A sorted table cost 40 % of a decision.

use super::credential_headers::{CredentialHeaders, HeaderContent};
use super::relay::{self, MarkGroup};
use super::shared_state::SharedState;
use super::software::ClientSoftware;
use crate::config::{Config, CredentialPlace, UserSource};

/// What a header is looked at for. The closed list of what a node reads in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderRole {
    /// It may hold the credential of a source, which may ask for it to go on
    Credential { forward: bool },
    /// Its elements may hold one
    Subprotocols,
    /// A known place of credentials or accounts, which no source keeps
    KnownPlace,
    /// Trusted proxies write addresses to it
    Forwarding,
    /// An earlier filter of the same Envoy sets it to a country
    Origin,
    /// The customer says in it where its user is
    User,
    /// What a node found
    Tag,
    /// Who carried the request
    Chain,
    /// What earlier nodes signed
    Trail,
    /// Only a node sets it, for itself
    ReservedByNode,
    /// Only a node sets it, by a provider's convention
    ReservedByConvention,
    /// The next hop removes the headers that it lists (RFC 9110, 7.6.1)
    Connection,
    /// The connection is to become another, such as a WebSocket
    Upgrade,
    /// Signatures (RFC 9421)
    Signature,
    /// The parameters of signatures
    SignatureInput,
    /// The caller's dialect
    AnthropicVersion,
    /// The betas that the caller asks for
    AnthropicBeta,
    /// The caller's program
    UserAgent,
    /// The operating system of the caller's program, by SDKs that Stainless makes
    StainlessOs,
    /// It may mark a relay
    Marks(MarkGroupIndex),
}

/// The place of a group in [`Watch::marks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkGroupIndex(usize);

/// The header names that a node looks at, and what for.
#[derive(Debug)]
pub struct Watch {
    exact: WatchBuckets,
    prefixes: WatchBuckets,
    marks: Vec<MarkGroup>,
    /// Beginnings of subprotocols that don't go on
    withheld_subprotocols: Vec<String>,
    shared_state: SharedState,
    software: ClientSoftware,
}

/// Names by their buckets, and a bit for each bucket that has one: most headers of a request touch
/// these 64 bytes alone.
#[derive(Debug)]
struct WatchBuckets {
    used: [u64; BUCKETS / 64],
    buckets: Vec<Vec<WatchEntry>>,
}

/// A name, or the beginning of one, in lower case and with `-` for `_`.
#[derive(Debug)]
struct WatchEntry {
    name: Vec<u8>,
    /// The name as people write it, a prefix with `*` behind it
    shown: String,
    roles: Vec<HeaderRole>,
}

/// Whether a name is spelled as it should be, or with `_` where some servers read a `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Exact,
    Underscores,
}

const BUCKETS: usize = 512;

impl HeaderRole {
    /// Whether only a node sets such a header.
    fn is_reserved(self) -> bool {
        matches!(
            self,
            Self::Tag
                | Self::Chain
                | Self::Trail
                | Self::ReservedByNode
                | Self::ReservedByConvention
        )
    }

    /// Whether such a header says what the caller's program is. A place of credentials doesn't.
    pub(super) fn is_of_programs(self) -> bool {
        matches!(self, Self::UserAgent | Self::StainlessOs | Self::Marks(_))
    }

    /// Whether such a header holds a credential or chooses an account. If so, it marks no relay.
    pub(super) fn is_place(self) -> bool {
        matches!(self, Self::Credential { .. } | Self::KnownPlace)
    }
}

/// Whether a trailer goes on (RFC 9110, 6.5). Only a digest of the body does (RFC 9530, RFC 3230):
/// the next hop may take any other trailer for a header.
pub fn admits_trailer(name: &[u8]) -> bool {
    [&b"content-digest"[..], b"repr-digest", b"digest"]
        .iter()
        .any(|digest| digest.eq_ignore_ascii_case(name))
}

impl Watch {
    /// The list for a configuration.
    pub fn new(config: &Config) -> Self {
        let mut watch = Self {
            exact: WatchBuckets::new(),
            prefixes: WatchBuckets::new(),
            marks: MarkGroup::of(relay::marks()),
            withheld_subprotocols: Vec::new(),
            shared_state: SharedState::known(),
            software: ClientSoftware::known(),
        };
        for (name, role) in [
            ("compliance-tag", HeaderRole::Tag),
            ("compliance-chain", HeaderRole::Chain),
            ("compliance-trail", HeaderRole::Trail),
            ("x-waybill-*", HeaderRole::ReservedByNode),
            ("anthropic-user-profile-id", HeaderRole::ReservedByConvention),
            ("openai-safety-identifier", HeaderRole::ReservedByConvention),
            ("connection", HeaderRole::Connection),
            ("upgrade", HeaderRole::Upgrade),
            ("sec-websocket-protocol", HeaderRole::Subprotocols),
            ("signature", HeaderRole::Signature),
            ("signature-input", HeaderRole::SignatureInput),
            ("anthropic-version", HeaderRole::AnthropicVersion),
            ("anthropic-beta", HeaderRole::AnthropicBeta),
            (config.client_address.header.as_str(), HeaderRole::Forwarding),
        ] {
            watch.add(name, role);
        }
        watch.add_sources(config);
        watch.add_known_places(config);
        watch.add("user-agent", HeaderRole::UserAgent);
        watch.add("x-stainless-os", HeaderRole::StainlessOs);
        let marks: Vec<String> = watch.marks.iter().map(|group| group.header.clone()).collect();
        for (i, header) in marks.iter().enumerate() {
            watch.add(header, HeaderRole::Marks(MarkGroupIndex(i)));
        }
        watch
    }

    /// Adds the headers of the configured sources.
    fn add_sources(&mut self, config: &Config) {
        for source in &config.sources {
            if let Some(header) = source.place.header() {
                self.add(header, HeaderRole::Credential { forward: source.forward });
            }
        }
        for header in config.geo.origin.iter().filter_map(|source| source.header.as_ref()) {
            self.add(header.as_str(), HeaderRole::Origin);
        }
        for source in &config.geo.user {
            if let UserSource::Header(header) = source {
                self.add(header.as_str(), HeaderRole::User);
            }
        }
    }

    /// Adds known places of credentials and accounts, unless a source forwards them.
    fn add_known_places(&mut self, config: &Config) {
        let CredentialHeaders { headers, subprotocols } = CredentialHeaders::known();
        let is_left = |content| content == HeaderContent::Account && config.forwards();
        for (header, content) in headers {
            let is_source =
                config.sources.iter().any(|source| source.place.header() == Some(header.as_str()));
            if !is_source && !is_left(content) {
                self.add(&header, HeaderRole::KnownPlace);
            }
        }
        let sources = config.sources.iter().filter_map(|source| match &source.place {
            CredentialPlace::WebsocketProtocol(prefix) => Some((prefix.as_str(), source.forward)),
            _ => None,
        });
        for (prefix, content) in subprotocols {
            let is_kept =
                sources.clone().any(|(own, forward)| forward && own.eq_ignore_ascii_case(&prefix));
            if !is_kept && !is_left(content) {
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
        let buckets = self.exact.buckets.iter().chain(&self.prefixes.buckets);
        buckets.flatten().map(|watched| watched.shown.clone())
    }

    /// The paths under which a provider keeps what customers share.
    pub(super) fn shared_state(&self) -> &SharedState {
        &self.shared_state
    }

    /// The names of programs.
    pub(super) fn software(&self) -> &ClientSoftware {
        &self.software
    }

    /// Whether only a node may set a header of that name, in any case and with `_` for `-`.
    pub fn reserves(&self, name: &[u8]) -> bool {
        self.reserved(name).is_some()
    }

    /// The name of a reserved header in this list.
    pub(super) fn reserved(&self, name: &[u8]) -> Option<&str> {
        let mut reserved = None;
        self.each_role(&name.to_ascii_lowercase(), |role, _, shown| {
            reserved = reserved.or(role.is_reserved().then_some(shown));
        });
        reserved
    }

    /// A group of marks.
    pub(super) fn marks(&self, MarkGroupIndex(group): MarkGroupIndex) -> Option<&MarkGroup> {
        self.marks.get(group)
    }

    /// Calls `see` for the roles of a header's name, in lower case, each with the name in this
    /// list. What says what the caller's program is comes last. Of most names there is nothing to
    /// say.
    #[inline]
    pub(super) fn each_role<'w>(
        &'w self,
        name: &[u8],
        mut see: impl FnMut(HeaderRole, Spelling, &'w str),
    ) {
        let mut see_all = |watched: &'w WatchEntry, name: &[u8]| {
            if let Some(spelling) = spelling(name, &watched.name) {
                watched.roles.iter().for_each(|role| see(*role, spelling, &watched.shown));
            }
        };
        for watched in self.exact.get(bucket(name)) {
            see_all(watched, name);
        }
        for watched in self.prefixes.get(bucket_of_prefix(name)) {
            if let Some(beginning) = name.get(..watched.name.len()) {
                see_all(watched, beginning);
            }
        }
    }

    fn add(&mut self, shown: &str, role: HeaderRole) {
        let name = shown;
        let (list, name) = match name.strip_suffix('*') {
            Some(prefix) => (self.prefixes.open(bucket_of_prefix(prefix.as_bytes())), prefix),
            None => (self.exact.open(bucket(name.as_bytes())), name),
        };
        let Some(list) = list else { return };
        match list.iter_mut().find(|watched| watched.name == name.as_bytes()) {
            Some(watched) if watched.roles.contains(&role) => {}
            Some(watched) => watched.roles.push(role),
            None => list.push(WatchEntry {
                name: name.into(),
                shown: shown.to_owned(),
                roles: vec![role],
            }),
        }
    }
}

impl WatchBuckets {
    fn new() -> Self {
        Self { used: [0; BUCKETS / 64], buckets: (0..BUCKETS).map(|_| Vec::new()).collect() }
    }

    #[inline]
    fn get(&self, bucket: usize) -> &[WatchEntry] {
        let used = self.used.get(bucket / 64).is_some_and(|bits| bits & bit(bucket) != 0);
        let entries = if used { self.buckets.get(bucket) } else { None };
        entries.map(Vec::as_slice).unwrap_or_default()
    }

    /// A bucket that is to have a name.
    fn open(&mut self, bucket: usize) -> Option<&mut Vec<WatchEntry>> {
        *self.used.get_mut(bucket / 64)? |= bit(bucket);
        self.buckets.get_mut(bucket)
    }
}

/// The bit of a bucket in its word.
fn bit(bucket: usize) -> u64 {
    1_u64.rotate_left(u32::try_from(bucket % 64).unwrap_or(0))
}

fn bucket(name: &[u8]) -> usize {
    let mix = name
        .len()
        .wrapping_mul(7)
        .wrapping_add(folded(name.first()))
        .wrapping_add(folded(name.last()).wrapping_mul(31));
    mix % BUCKETS
}

/// By the third byte: most names begin with `x-`. A prefix has at least three bytes.
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
