//! What was seen in a request, from where, and what it may be taken for; nothing is looked up yet.
//!
//! Evidence is gathered in one pass over the headers. A header is looked at only if [`Watch`] knows its
//! name, so the watch list is the closed list of header signals (`docs/privacy.md`, held by a test).
//! Malformed input is evidence too: it never stops the way, it only counts for nobody.

pub mod address;
mod authorization;
pub mod places;
pub mod relay;
pub mod shared_state;
pub mod watch;

use std::borrow::Cow;
use std::net::IpAddr;

use address::ClientAddress;
use relay::RelayMark;
use watch::{Role, Spelling};
pub use watch::{Watch, admits_trailer};

use crate::chain::Lines;
use crate::config::{Config, CredentialPlace, IgnoredMark, UserSource};
use crate::names::{CredentialDigest, Text};
use crate::ordered;
use crate::path::{self, Readings};
use crate::region::Place;
use crate::register::Name;
use crate::request::Request;

/// What was seen in a request.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Where it came from
    pub address: ClientAddress<'a>,
    /// The address by which the client is judged, where it is known, see [`ClientAddress::judged`]
    pub client: Option<IpAddr>,
    /// Why Envoy looked up another address than that, so that its country is of somebody else and was set aside
    pub set_aside: Option<&'static str>,
    /// The credentials presented, in the order of the configured sources. A key behind `Bearer` in a header of keys
    /// stands here twice: as it came, and bare
    pub credentials: Vec<CallerName<'a>>,
    /// How many values stood in the places that sources read, up to one more than [`CREDENTIALS_AT_MOST`]
    pub values: usize,
    /// What sources of geography say of the client's address
    pub origin: Vec<Reading>,
    /// What is claimed of the person who uses the model
    pub user: Vec<Reading>,
    /// Marks of relay software, save those that the operator's own proxies leave
    pub relay_marks: Vec<&'a RelayMark>,
    /// Headers that only a node may set
    pub owned: Vec<Owned<'a>>,
    /// Whether the connection is to become another, such as a WebSocket
    pub is_upgrade: bool,
    /// What the method and path reach that customers of one account share, in the table's words
    pub shared_state: Option<&'a str>,
    /// Names of headers that never go on, as received
    pub withheld: Vec<&'a [u8]>,
    /// Tag, chain, trail and signatures
    pub lines: Lines<'a>,
    /// The method is TRACE, whatever its case: the answer would repeat the reseller's own key to the caller
    pub is_trace: bool,
    /// Every path that a server could take the path for
    pub readings: Readings<'a>,
    /// The path in its normal form
    pub path: Cow<'a, [u8]>,
    /// Whether the caller speaks Anthropic's dialect (`anthropic-version` is there)
    pub speaks_anthropic: bool,
    /// The betas that the caller asks for
    pub anthropic_betas: Vec<&'a [u8]>,
    /// The subprotocols that the caller offers for a WebSocket
    pub subprotocols: Vec<&'a [u8]>,
    /// Those of them that go on, where not all do
    pub kept_subprotocols: Option<Vec<&'a [u8]>>,
}

/// What a caller identifies itself by, and the source that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerName<'a> {
    /// The index of the source in [`Config::sources`]
    pub source: usize,
    /// The name to look up; `None` where the bytes aren't UTF-8
    pub name: Option<Name<'a>>,
}

/// What one source of geography says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The index of the source in its list of [`crate::config::GeoSettings`]
    pub source: usize,
    /// The place
    pub place: Place,
}

/// A header that only a node may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned<'a> {
    /// What the watch list calls it: no byte of what a client sent
    pub name: &'a str,
    /// What was done with it
    pub how: Sent,
}

/// What a client did with a header that only a node may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Sent one for the node's own use
    OfNode,
    /// Sent one that belongs to tag and chain, which another reseller's node may well send
    OfChain,
    /// Listed it in `Connection`, so that the next hop takes the node's own off
    Listed,
}

/// How many values the places of credentials may hold together. An SDK sends one or two; each costs a hash and a
/// look-up.
pub const CREDENTIALS_AT_MOST: usize = 8;

/// The header whose lines Envoy joins by a comma.
const AUTHORIZATION: &str = "authorization";

/// What a pass over the headers collects before it is understood.
#[derive(Default)]
struct Sightings<'a> {
    credentials: Vec<(usize, &'a [u8])>,
    forwarding: Vec<&'a [u8]>,
    connection: Vec<&'a [u8]>,
}

impl<'a> Evidence<'a> {
    /// Gathers the evidence in a request.
    pub fn gather(config: &'a Config, watch: &'a Watch, request: &Request<'a>) -> Self {
        let full_path = request.path();
        let mut seen = Sightings::default();
        let mut evidence = Self {
            address: ClientAddress::unknown(),
            client: None,
            set_aside: None,
            credentials: Vec::new(),
            values: 0,
            origin: Vec::new(),
            user: Vec::new(),
            relay_marks: Vec::new(),
            owned: Vec::new(),
            is_upgrade: false,
            shared_state: None,
            withheld: Vec::new(),
            lines: Lines::default(),
            is_trace: request.method().eq_ignore_ascii_case(b"trace"),
            readings: Readings::of(full_path),
            path: Cow::Borrowed(full_path),
            speaks_anthropic: false,
            anthropic_betas: Vec::new(),
            subprotocols: Vec::new(),
            kept_subprotocols: None,
        };
        evidence.path =
            evidence.readings.plain().map_or_else(|| path::normal(full_path), Cow::Borrowed);
        for (name, value) in &request.headers {
            let mut is_place = false;
            for (role, spelling, shown) in watch.roles(name) {
                is_place |= role.is_place();
                match spelling {
                    Spelling::Underscores => evidence.note_misspelled(config, role, name, shown),
                    Spelling::Exact if is_place && matches!(role, Role::Marks(_)) => {}
                    Spelling::Exact => {
                        evidence.note(config, watch, &mut seen, role, (name, value), shown)
                    }
                }
            }
        }
        if evidence.is_upgrade {
            evidence.find_listed(watch, &seen.connection);
        }
        if evidence.subprotocols.iter().any(|element| watch.withholds_subprotocol(element)) {
            let kept = evidence
                .subprotocols
                .iter()
                .copied()
                .filter(|element| !watch.withholds_subprotocol(element));
            evidence.kept_subprotocols = Some(kept.collect());
        }
        if !config.forwards() {
            evidence.shared_state =
                watch.shared_state().reached(request.method(), &evidence.readings);
        }
        evidence.address =
            ClientAddress::find(request.direct_peer, &seen.forwarding, &config.client_address);
        evidence.client = evidence.address.judged(&config.client_address);
        let is_other = |text: &[u8]| {
            evidence.client.is_some() && address::address_with_port(text) != evidence.client
        };
        if config.geo.reads_headers() && request.envoy_client.is_some_and(is_other) {
            evidence.set_aside =
                Some(evidence.address.why_other(&seen.forwarding, &config.client_address));
        }
        // beyond the last that is looked at, `values` says so
        let _all_found = evidence.find_credentials(config, request, full_path, &seen.credentials);
        evidence.find_user_claims(config, request);
        evidence
    }

    fn note(
        &mut self,
        config: &Config,
        watch: &'a Watch,
        seen: &mut Sightings<'a>,
        role: Role,
        (name, value): (&'a [u8], &'a [u8]),
        shown: &'a str,
    ) {
        match role {
            Role::Credential(source) => {
                seen.credentials.push((source, value));
                self.withhold_credential(config, source, name);
            }
            Role::Subprotocols => self.subprotocols.extend(
                value
                    .split(|b| *b == b',')
                    .map(<[u8]>::trim_ascii)
                    .filter(|element| !element.is_empty()),
            ),
            Role::KnownPlace => self.withheld.push(name),
            Role::Forwarding => seen.forwarding.push(value),
            Role::Origin(source) => {
                self.origin.extend(Place::from_bytes(value).map(|place| Reading { source, place }));
                self.withheld.push(name);
            }
            Role::User(source) => {
                if let Some(place) = Place::from_bytes(value) {
                    ordered::insert(&mut self.user, Reading { source, place }, |reading| {
                        &reading.source
                    });
                }
            }
            Role::Tag | Role::Chain | Role::Trail => {
                self.note_owned(name, shown, Sent::OfChain);
                match role {
                    Role::Tag => self.lines.tag.push(value),
                    Role::Chain => self.lines.chain.push(value),
                    _ => self.lines.trail.push(value),
                }
            }
            Role::OwnedByNode => self.note_owned(name, shown, Sent::OfNode),
            Role::OwnedByConvention => self.withheld.push(name),
            Role::Connection => seen.connection.push(value),
            Role::Upgrade => self.is_upgrade = true,
            Role::Signature => self.lines.signature.push(value),
            Role::SignatureInput => self.lines.signature_input.push(value),
            Role::AnthropicVersion => self.speaks_anthropic = true,
            Role::AnthropicBeta => self.anthropic_betas.push(value),
            Role::Marks(number) => self.note_marks(config, watch, number, (name, value)),
        }
    }

    fn note_marks(
        &mut self,
        config: &Config,
        watch: &'a Watch,
        number: usize,
        (name, value): (&'a [u8], &'a [u8]),
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
        for mark in watch.marks(number).map(|group| group.candidates(value)).unwrap_or_default() {
            if mark.is_credential {
                self.withheld.push(name);
            }
            // each once, however many lines show it
            let is_known = self.relay_marks.iter().any(|known| std::ptr::eq(*known, mark));
            if !is_known && mark.is_in(value, ignored) {
                self.relay_marks.push(mark);
            }
        }
    }

    fn note_owned(&mut self, name: &'a [u8], shown: &'a str, how: Sent) {
        self.note_sent(shown, how);
        self.withheld.push(name);
    }

    fn note_sent(&mut self, name: &'a str, how: Sent) {
        let owned = Owned { name, how };
        // there are only so many: a list of what a client repeats would grow with it
        if !self.owned.contains(&owned) {
            self.owned.push(owned);
        }
    }

    /// Notes the names that `Connection` lists and only a node may set.
    fn find_listed(&mut self, watch: &'a Watch, connection: &[&'a [u8]]) {
        for element in connection.iter().flat_map(|line| line.split(|b| *b == b',')) {
            if let Some(name) = watch.owned(element.trim_ascii()) {
                self.note_sent(name, Sent::Listed);
            }
        }
    }

    /// The place of a credential is emptied whole, unless an application behind the node needs it.
    fn withhold_credential(&mut self, config: &Config, source: usize, name: &'a [u8]) {
        if config.sources.get(source).is_some_and(|source| !source.forward) {
            self.withheld.push(name);
        }
    }

    /// A name with underscores that some servers read as an owned one: it never goes on.
    fn note_misspelled(&mut self, config: &Config, role: Role, name: &'a [u8], shown: &'a str) {
        match role {
            Role::Tag | Role::Chain | Role::Trail | Role::Signature | Role::SignatureInput => {
                self.note_owned(name, shown, Sent::OfChain)
            }
            Role::OwnedByNode => self.note_owned(name, shown, Sent::OfNode),
            Role::OwnedByConvention | Role::KnownPlace | Role::Origin(_) | Role::Subprotocols => {
                self.withheld.push(name)
            }
            Role::Credential(source) => self.withhold_credential(config, source, name),
            Role::Forwarding
            | Role::User(_)
            | Role::Connection
            | Role::Upgrade
            | Role::AnthropicVersion
            | Role::AnthropicBeta
            | Role::Marks(_) => {}
        }
    }

    /// Finds the credentials, in the order of the sources. The same one in two places is hashed once. Ends with `None`
    /// at one value more than [`CREDENTIALS_AT_MOST`].
    fn find_credentials(
        &mut self,
        config: &'a Config,
        request: &Request<'a>,
        full_path: &'a [u8],
        headers: &[(usize, &'a [u8])],
    ) -> Option<()> {
        let mut hashed: Option<(&'a [u8], CredentialDigest)> = None;
        let mut secret = |bytes: &'a [u8]| match hashed {
            Some((known, digest)) if known == bytes => Name::Secret(digest),
            _ => Name::Secret(hashed.insert((bytes, CredentialDigest::of(bytes))).1),
        };
        for (source, place) in config.sources.iter().map(|source| &source.place).enumerate() {
            let lines =
                headers.iter().filter(|(index, _)| *index == source).map(|(_, value)| *value);
            match place {
                CredentialPlace::Header(name) => {
                    let is_joined = name == AUTHORIZATION;
                    for value in lines.flat_map(|line| values(line, is_joined)) {
                        self.counts()?;
                        self.add_name(source, secret(value));
                        if let Some(key) = authorization::bearer(value) {
                            self.add_name(source, secret(key));
                        }
                    }
                }
                CredentialPlace::Bearer => {
                    for value in lines.flat_map(|line| values(line, true)) {
                        self.counts()?;
                        if let Some(token) = authorization::bearer(value) {
                            self.add_name(source, secret(token));
                        }
                    }
                }
                CredentialPlace::Query(name) => {
                    for value in path::query_values(full_path, name.as_str())
                        .filter(|value| !value.is_empty())
                    {
                        self.counts()?;
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
                        self.counts()?;
                        self.add_name(source, secret(key));
                    }
                }
                CredentialPlace::Mtls(san) => {
                    if let Some(name) = request.tls.get(*san).filter(|name| !name.is_empty()) {
                        self.counts()?;
                        let name = std::str::from_utf8(name).ok().map(Name::Certificate);
                        self.credentials.push(CallerName { source, name });
                    }
                }
                CredentialPlace::Jwt(claim) => {
                    if let Some(value) = request.claim(claim).filter(|value| !value.is_empty()) {
                        self.counts()?;
                        let name = std::str::from_utf8(value).ok().map(Name::Claim);
                        self.credentials.push(CallerName { source, name });
                    }
                }
                CredentialPlace::Chain => {}
            }
        }
        Some(())
    }

    /// Counts a value in one of the places; `None` where it is one too many.
    fn counts(&mut self) -> Option<()> {
        self.values = self.values.saturating_add(1);
        (self.values <= CREDENTIALS_AT_MOST).then_some(())
    }

    fn add_name(&mut self, source: usize, name: Name<'a>) {
        self.credentials.push(CallerName { source, name: Some(name) });
    }

    fn find_user_claims(&mut self, config: &Config, request: &Request<'a>) {
        for (source, kind) in config.geo.user.iter().enumerate() {
            if let UserSource::Jwt(claim) = kind
                && let Some(place) = request.claim(claim).and_then(Place::from_bytes)
            {
                ordered::insert(&mut self.user, Reading { source, place }, |reading| {
                    &reading.source
                });
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
