//! The evidence in a request: what it holds, where, and how it reads. Nothing is looked up yet.
//!
//! Evidence is gathered in one pass over the headers. A header counts only if [`Watch`] has its
//! name, so the watch list is the closed list of header signals (`docs/privacy.md`, held by a
//! test). Malformed input is evidence too: it stops nothing, and names nobody.

pub mod address;
mod authorization;
mod beginnings;
pub mod credential_headers;
pub mod relay;
pub mod shared_state;
pub mod software;
pub mod watch;

use std::borrow::Cow;
use std::net::IpAddr;

use address::ClientAddress;
use relay::RelayMark;
use software::{Software, SoftwareMemo};
use watch::{HeaderRole, MarkGroupIndex, Spelling};
pub use watch::{Watch, admits_trailer};

use crate::chain::Lines;
use crate::config::{
    Config, CredentialPlace, IdentitySource, IgnoredMark, SourceIndex, UserSource,
};
use crate::decision::path::{self, PathReadings};
use crate::decision::request::{Pair, Request};
use crate::register::Name;
use crate::terms::names::{CredentialDigest, Text};
use crate::terms::region::Place;

/// The evidence in a request.
#[derive(Debug, Default)]
pub struct Evidence<'a> {
    /// Where the request came from
    pub address: ClientAddress<'a>,
    /// The address that the client is judged by, if known: see [`ClientAddress::judged`]
    pub client: Option<IpAddr>,
    /// Why Envoy looked up another address than [`Self::client`]. Its country is set aside then
    pub set_aside: Option<&'static str>,
    /// What the caller identifies itself by, in the order of the configured sources. A key behind
    /// `Bearer` in a header of keys is listed twice: as received, and bare
    pub credentials: Vec<CallerName<'a>>,
    /// How many values the places of sources hold, up to one more than [`CREDENTIALS_AT_MOST`]
    pub values: usize,
    /// The countries that headers of `geo.origin` name, in the order received
    pub origin: Vec<OriginReading<'a>>,
    /// Where the user of the model is said to be, in the order of `geo.user`
    pub user: Vec<Place>,
    /// Marks of relay software, save those that the operator's own proxies leave
    pub relay_marks: Vec<&'a RelayMark>,
    /// What the caller's program says it is
    pub software: Software<'a>,
    /// Reserved headers that the client sent or listed
    pub reserved: Vec<ReservedHeader<'a>>,
    /// Whether the connection is to become another, such as a WebSocket
    pub is_upgrade: bool,
    /// What the method and path reach that customers of one account share, in the table's words
    pub shared_state: Option<&'a str>,
    /// Names of headers that never go on, as received
    pub withheld: Vec<&'a [u8]>,
    /// Tag, chain, trail and signatures
    pub lines: Lines<'a>,
    /// The method is TRACE, in any case: an answer would show the caller the reseller's own key
    pub is_trace: bool,
    /// Every path that a server could take the path for
    pub readings: PathReadings<'a>,
    /// The path in its normal form
    pub path: Cow<'a, [u8]>,
    /// Whether the caller speaks Anthropic's dialect (`anthropic-version` is there)
    pub speaks_anthropic: bool,
    /// The betas that the caller asks for
    pub anthropic_betas: Vec<&'a [u8]>,
    /// The subprotocols that the caller offers for a WebSocket
    pub subprotocols: Vec<&'a [u8]>,
    /// The subprotocols that go on, if some don't
    pub kept_subprotocols: Option<Vec<&'a [u8]>>,
}

/// What a caller identifies itself by, and the source that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerName<'a> {
    /// The source
    pub source: SourceIndex,
    /// The name to look up. `None` if the bytes aren't UTF-8
    pub name: Option<Name<'a>>,
}

/// The country that a header of `geo.origin` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginReading<'a> {
    /// The header's name, as configured
    pub header: &'a str,
    /// The place
    pub place: Place,
}

/// A header that only a node may set, and that the client sent or listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedHeader<'a> {
    /// Its name in the watch list: no byte of what a client sent
    pub name: &'a str,
    /// How the client used it
    pub kind: ReservedKind,
}

/// How a client used a reserved header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservedKind {
    /// Sent one that is for the node's own use
    Node,
    /// Sent one of tag and chain, as another reseller's node does by right
    Chain,
    /// Listed it in `Connection`, so that the next hop would remove the node's own
    Connection,
}

/// How many values the places of credentials may hold together. An SDK sends one or two. Each value
/// costs a hash and a look-up.
pub const CREDENTIALS_AT_MOST: usize = 8;

/// The header whose lines Envoy joins by a comma.
const AUTHORIZATION: &str = "authorization";

/// Headers that are understood only when all of them are read.
#[derive(Default)]
struct HeaderLines<'a> {
    credentials: Vec<Pair<'a>>,
    forwarding: Vec<&'a [u8]>,
    users: Vec<Pair<'a>>,
    connection: Vec<&'a [u8]>,
}

impl<'a> Evidence<'a> {
    /// Gathers the evidence in a request. `programs` remembers which programs clients named.
    pub fn gather(
        config: &'a Config,
        watch: &'a Watch,
        request: &Request<'a>,
        programs: &mut SoftwareMemo,
    ) -> Self {
        let full_path = request.path();
        let readings = PathReadings::of(full_path);
        let mut evidence = Self {
            is_trace: request.method().eq_ignore_ascii_case(b"trace"),
            path: readings.plain().map_or_else(|| path::normal(full_path), Cow::Borrowed),
            readings,
            ..Self::default()
        };
        let lines = evidence.read_headers(config, watch, request, programs);
        if evidence.is_upgrade {
            evidence.find_listed(watch, &lines.connection);
        }
        evidence.filter_subprotocols(watch);
        if !config.forwards() {
            evidence.shared_state =
                watch.shared_state().reached(request.method(), &evidence.readings);
        }
        evidence.find_address(config, request, &lines.forwarding);
        // a value beyond the last one that counts is seen by `values`
        let _all_found = evidence.find_credentials(config, request, &lines.credentials);
        evidence.find_users(config, request, &lines.users);
        evidence
    }

    /// Reads each header that the watch list has.
    fn read_headers(
        &mut self,
        config: &Config,
        watch: &'a Watch,
        request: &Request<'a>,
        programs: &mut SoftwareMemo,
    ) -> HeaderLines<'a> {
        let mut lines = HeaderLines::default();
        for (name, value) in &request.headers {
            let mut is_place = false;
            watch.each_role(name, |role, spelling, shown| {
                is_place |= role.is_place();
                match (spelling, role) {
                    (Spelling::Underscores, _) => self.note_misspelled(role, name, shown),
                    (Spelling::Exact, _) if is_place && role.is_of_programs() => {}
                    (Spelling::Exact, HeaderRole::Marks(group)) => {
                        self.note_marks(config, watch, group, (name, value));
                    }
                    (Spelling::Exact, HeaderRole::UserAgent) => {
                        self.software.read_user_agent(watch.software(), programs, value);
                    }
                    (Spelling::Exact, HeaderRole::StainlessOs) => {
                        self.software.read_system(watch.software(), programs, value);
                    }
                    (Spelling::Exact, _) => self.note(&mut lines, role, (name, value), shown),
                }
            });
        }
        lines
    }

    fn note(
        &mut self,
        lines: &mut HeaderLines<'a>,
        role: HeaderRole,
        (name, value): Pair<'a>,
        shown: &'a str,
    ) {
        match role {
            HeaderRole::Credential { forward } => {
                lines.credentials.push((name, value));
                self.withhold_credential(forward, name);
            }
            HeaderRole::Subprotocols => {
                let elements = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
                self.subprotocols.extend(elements.filter(|element| !element.is_empty()));
            }
            HeaderRole::KnownPlace | HeaderRole::ReservedByConvention => self.withheld.push(name),
            HeaderRole::Forwarding => lines.forwarding.push(value),
            HeaderRole::Origin => {
                let place = Place::from_bytes(value);
                self.origin.extend(place.map(|place| OriginReading { header: shown, place }));
                self.withheld.push(name);
            }
            HeaderRole::User => lines.users.push((name, value)),
            HeaderRole::Tag => {
                self.note_reserved(name, shown, ReservedKind::Chain);
                self.lines.tag.push(value);
            }
            HeaderRole::Chain => {
                self.note_reserved(name, shown, ReservedKind::Chain);
                self.lines.chain.push(value);
            }
            HeaderRole::Trail => {
                self.note_reserved(name, shown, ReservedKind::Chain);
                self.lines.trail.push(value);
            }
            HeaderRole::ReservedByNode => self.note_reserved(name, shown, ReservedKind::Node),
            HeaderRole::Connection => lines.connection.push(value),
            HeaderRole::Upgrade => self.is_upgrade = true,
            HeaderRole::Signature => self.lines.signature.push(value),
            HeaderRole::SignatureInput => self.lines.signature_input.push(value),
            HeaderRole::AnthropicVersion => self.speaks_anthropic = true,
            HeaderRole::AnthropicBeta => self.anthropic_betas.push(value),
            HeaderRole::UserAgent | HeaderRole::StainlessOs | HeaderRole::Marks(_) => {}
        }
    }

    fn note_marks(
        &mut self,
        config: &Config,
        watch: &'a Watch,
        group: MarkGroupIndex,
        (name, value): Pair<'a>,
    ) {
        let ignored = |element: &[u8]| {
            let same = |text: &str| text.as_bytes() == element || text.as_bytes() == value;
            let ignores = |text: Option<&str>| text.is_none_or(same);
            let is_same = |mark: &IgnoredMark| {
                mark.header.as_str().as_bytes() == name
                    && ignores(mark.value.as_ref().map(Text::as_str))
            };
            config.relay_ignore.iter().any(is_same)
        };
        for mark in watch.marks(group).map(|group| group.candidates(value)).unwrap_or_default() {
            if mark.is_credential {
                self.withheld.push(name);
            }
            // each mark once, in any number of lines
            let is_known = self.relay_marks.iter().any(|known| std::ptr::eq(*known, mark));
            if !is_known && mark.is_in(value, ignored) {
                self.relay_marks.push(mark);
            }
        }
    }

    fn note_reserved(&mut self, name: &'a [u8], shown: &'a str, kind: ReservedKind) {
        self.add_reserved(shown, kind);
        self.withheld.push(name);
    }

    fn add_reserved(&mut self, name: &'a str, kind: ReservedKind) {
        let header = ReservedHeader { name, kind };
        // once each: else the list would grow with what a client repeats
        if !self.reserved.contains(&header) {
            self.reserved.push(header);
        }
    }

    /// Notes the reserved names that `Connection` lists.
    fn find_listed(&mut self, watch: &'a Watch, connection: &[&'a [u8]]) {
        for element in connection.iter().flat_map(|line| line.split(|b| *b == b',')) {
            if let Some(name) = watch.reserved(element.trim_ascii()) {
                self.add_reserved(name, ReservedKind::Connection);
            }
        }
    }

    /// Withholds the place of a credential whole, unless an application behind the node needs it.
    fn withhold_credential(&mut self, forward: bool, name: &'a [u8]) {
        if !forward {
            self.withheld.push(name);
        }
    }

    /// Withholds a name with underscores, which some servers read as the name with hyphens.
    fn note_misspelled(&mut self, role: HeaderRole, name: &'a [u8], shown: &'a str) {
        match role {
            HeaderRole::Tag
            | HeaderRole::Chain
            | HeaderRole::Trail
            | HeaderRole::Signature
            | HeaderRole::SignatureInput => self.note_reserved(name, shown, ReservedKind::Chain),
            HeaderRole::ReservedByNode => self.note_reserved(name, shown, ReservedKind::Node),
            HeaderRole::ReservedByConvention
            | HeaderRole::KnownPlace
            | HeaderRole::Origin
            | HeaderRole::Subprotocols => self.withheld.push(name),
            HeaderRole::Credential { forward } => self.withhold_credential(forward, name),
            HeaderRole::Forwarding
            | HeaderRole::User
            | HeaderRole::Connection
            | HeaderRole::Upgrade
            | HeaderRole::AnthropicVersion
            | HeaderRole::AnthropicBeta
            | HeaderRole::UserAgent
            | HeaderRole::StainlessOs
            | HeaderRole::Marks(_) => {}
        }
    }

    /// Finds the subprotocols that go on, if some don't.
    fn filter_subprotocols(&mut self, watch: &Watch) {
        if self.subprotocols.iter().any(|element| watch.withholds_subprotocol(element)) {
            let elements = self.subprotocols.iter().copied();
            let kept = elements.filter(|element| !watch.withholds_subprotocol(element));
            self.kept_subprotocols = Some(kept.collect());
        }
    }

    /// Finds the client's address, and whether Envoy looked up another one.
    fn find_address(&mut self, config: &Config, request: &Request<'a>, lines: &[&'a [u8]]) {
        let settings = &config.client_address;
        self.address = ClientAddress::find(request.direct_peer, lines, settings);
        self.client = self.address.judged(settings);
        let is_other =
            |text: &[u8]| self.client.is_some() && address::address_with_port(text) != self.client;
        if config.geo.reads_headers() && request.envoy_client.is_some_and(is_other) {
            self.set_aside = Some(self.address.why_other(lines, settings));
        }
    }

    /// Finds the credentials, in the order of the sources. Returns `None` at one value more than
    /// [`CREDENTIALS_AT_MOST`].
    fn find_credentials(
        &mut self,
        config: &'a Config,
        request: &Request<'a>,
        headers: &[Pair<'a>],
    ) -> Option<()> {
        // a key that is sent in two places is hashed once
        let mut hashed: Option<(&'a [u8], CredentialDigest)> = None;
        let mut secret = |bytes: &'a [u8]| match hashed {
            Some((known, digest)) if known == bytes => Name::Secret(digest),
            _ => Name::Secret(hashed.insert((bytes, CredentialDigest::of(bytes))).1),
        };
        for (source, IdentitySource { place, .. }) in config.indexed_sources() {
            let is_of =
                |name: &[u8]| place.header().is_some_and(|header| header.as_bytes() == name);
            let lines = headers.iter().filter(|(name, _)| is_of(name)).map(|(_, value)| *value);
            match place {
                CredentialPlace::Header(name) => {
                    let is_joined = name == AUTHORIZATION;
                    for value in lines.flat_map(|line| values(line, is_joined)) {
                        self.count_value()?;
                        self.add_name(source, secret(value));
                        if let Some(key) = authorization::bearer(value) {
                            self.add_name(source, secret(key));
                        }
                    }
                }
                CredentialPlace::Bearer => {
                    for value in lines.flat_map(|line| values(line, true)) {
                        self.count_value()?;
                        if let Some(token) = authorization::bearer(value) {
                            self.add_name(source, secret(token));
                        }
                    }
                }
                CredentialPlace::Query(name) => {
                    for value in path::query_values(request.path(), name.as_str())
                        .filter(|value| !value.is_empty())
                    {
                        self.count_value()?;
                        self.add_name(source, Name::Secret(CredentialDigest::of(&value)));
                    }
                }
                CredentialPlace::WebsocketProtocol(prefix) => {
                    for i in 0..self.subprotocols.len() {
                        let element = self
                            .subprotocols
                            .get(i)
                            .and_then(|element| element.strip_prefix(prefix.as_str().as_bytes()));
                        let Some(key) = element.filter(|key| !key.is_empty()) else { continue };
                        self.count_value()?;
                        self.add_name(source, secret(key));
                    }
                }
                CredentialPlace::Mtls(san) => {
                    self.add_verified(source, request.tls.get(*san), Name::Certificate)?;
                }
                CredentialPlace::Jwt(claim) => {
                    self.add_verified(source, request.claim(claim), Name::Claim)?;
                }
                CredentialPlace::Chain => {}
            }
        }
        Some(())
    }

    /// Counts a value in a place of credentials. Returns `None` if it is one too many.
    fn count_value(&mut self) -> Option<()> {
        self.values = self.values.saturating_add(1);
        (self.values <= CREDENTIALS_AT_MOST).then_some(())
    }

    fn add_name(&mut self, source: SourceIndex, name: Name<'a>) {
        self.credentials.push(CallerName { source, name: Some(name) });
    }

    /// Adds a name that Envoy verified.
    fn add_verified(
        &mut self,
        source: SourceIndex,
        value: Option<&'a [u8]>,
        name: impl FnOnce(&'a str) -> Name<'a>,
    ) -> Option<()> {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.count_value()?;
            let name = std::str::from_utf8(value).ok().map(name);
            self.credentials.push(CallerName { source, name });
        }
        Some(())
    }

    /// Finds where the user is said to be, in the order of the sources.
    fn find_users(&mut self, config: &Config, request: &Request<'a>, headers: &[Pair<'a>]) {
        for source in &config.geo.user {
            match source {
                UserSource::Header(header) => {
                    let is_of = |(name, _): &&Pair<'_>| *name == header.as_str().as_bytes();
                    let values = headers.iter().filter(is_of).map(|(_, value)| value);
                    self.user.extend(values.filter_map(|value| Place::from_bytes(value)));
                }
                UserSource::Jwt(claim) => {
                    self.user.extend(request.claim(claim).and_then(Place::from_bytes));
                }
            }
        }
    }
}

/// The values in a line of a header. Lines of `authorization` arrive joined.
fn values(line: &[u8], is_joined: bool) -> impl Iterator<Item = &[u8]> {
    let whole = Some(line.trim_ascii()).filter(|value| !is_joined && !value.is_empty());
    let joined = is_joined.then(|| authorization::credentials(line));
    whole.into_iter().chain(joined.into_iter().flatten())
}
