//! What was seen in a request, from where, and what it may be taken for; nothing is looked up yet.
//!
//! Evidence is gathered in one pass over the headers. A header is looked at only if [`Watch`] knows its
//! name, so the watch list is the closed list of header signals (`docs/privacy.md`, held by a test).
//! Malformed input is evidence too: it never stops the way, it only counts for nobody.

pub mod address;
pub mod relay;
pub mod watch;

use std::borrow::Cow;

use address::ClientAddress;
use relay::RelayMark;
pub use watch::Watch;
use watch::{Role, Spelling};

use crate::chain::Lines;
use crate::config::{Config, CredentialPlace, UserSource};
use crate::names::CredentialDigest;
use crate::ordered;
use crate::path;
use crate::region::Place;
use crate::request::Request;

/// What was seen in a request.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Where it came from
    pub address: ClientAddress<'a>,
    /// Whether Envoy looked up another address than [`ClientAddress::client`], so that its country is of somebody else
    pub other_address: bool,
    /// The credentials presented, in the order of the configured sources
    pub credentials: Vec<Presented<'a>>,
    /// What sources of geography say of the client's address
    pub origin: Vec<Reading>,
    /// What is claimed of the person who uses the model
    pub user: Vec<Reading>,
    /// Marks of relay software, save those that the operator's own proxies leave
    pub relay_marks: Vec<&'a RelayMark>,
    /// Headers that only a node may set, as received
    pub owned: Vec<Owned<'a>>,
    /// Names of headers that never go on, as received
    pub withheld: Vec<&'a [u8]>,
    /// Tag, chain, trail and signatures
    pub lines: Lines<'a>,
    /// The path as received, with its query
    pub received_path: &'a [u8],
    /// The path in its normal form
    pub path: Cow<'a, [u8]>,
    /// Whether the caller speaks Anthropic's dialect (`anthropic-version` is there)
    pub speaks_anthropic: bool,
    /// The betas that the caller asks for
    pub anthropic_betas: Vec<&'a [u8]>,
    /// The subprotocols that the caller offers for a WebSocket
    pub subprotocols: Vec<&'a [u8]>,
}

/// A credential and where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The index of its source in [`Config::sources`]
    pub source: usize,
    /// What it is
    pub credential: Credential<'a>,
}

/// What a caller identifies itself by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A secret, of which only the digest is kept
    Secret(CredentialDigest),
    /// A name in a client certificate that Envoy verified
    Certificate(&'a str),
    /// A claim in a JWT that Envoy verified
    Claim(&'a str),
    /// Bytes that are no name
    Unreadable,
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
    /// Its name, as received
    pub name: &'a [u8],
    /// Whether it belongs to tag and chain, which another reseller's node may well send
    pub of_chain: bool,
}

/// What a pass over the headers collects before it is understood.
#[derive(Default)]
struct Sightings<'a> {
    credentials: Vec<(usize, &'a [u8])>,
    forwarding: Vec<&'a [u8]>,
}

impl<'a> Evidence<'a> {
    /// Gathers the evidence in a request.
    #[must_use]
    pub fn gather(config: &'a Config, watch: &'a Watch, request: &Request<'a>) -> Self {
        let full_path = request.path();
        let mut seen = Sightings::default();
        let mut evidence = Self {
            address: ClientAddress { client: None, claimed: Vec::new(), malformed: false },
            other_address: false,
            credentials: Vec::new(),
            origin: Vec::new(),
            user: Vec::new(),
            relay_marks: Vec::new(),
            owned: Vec::new(),
            withheld: Vec::new(),
            lines: Lines::default(),
            received_path: full_path,
            path: path::normal(full_path),
            speaks_anthropic: false,
            anthropic_betas: Vec::new(),
            subprotocols: Vec::new(),
        };
        for (name, value) in &request.headers {
            for (role, spelling) in watch.roles(name) {
                match spelling {
                    Spelling::Exact => evidence.note(config, watch, &mut seen, role, name, value),
                    Spelling::Underscores => evidence.note_misspelled(config, role, name),
                }
            }
        }
        evidence.address = ClientAddress::find(request.direct_peer, &seen.forwarding, &config.client_address);
        evidence.other_address = request.envoy_client.is_some_and(|text| address::address_with_port(text) != evidence.address.client);
        evidence.find_credentials(config, request, full_path, &seen.credentials);
        evidence.find_user_claims(config, request);
        evidence
    }

    fn note(&mut self, config: &Config, watch: &'a Watch, seen: &mut Sightings<'a>, role: Role, name: &'a [u8], value: &'a [u8]) {
        match role {
            Role::Credential(source) => {
                seen.credentials.push((source, value));
                self.withhold_credential(config, source, name);
            }
            Role::Subprotocols => {
                self.subprotocols.extend(value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()))
            }
            Role::Forwarding => seen.forwarding.push(value),
            Role::Origin(source) => {
                self.origin.extend(Place::from_bytes(value).map(|place| Reading { source, place }));
                self.withheld.push(name);
            }
            Role::User(source) => {
                if let Some(place) = Place::from_bytes(value) {
                    ordered::insert(&mut self.user, Reading { source, place }, |reading| &reading.source);
                }
            }
            Role::Tag | Role::Chain | Role::Trail => {
                self.note_owned(name, true);
                match role {
                    Role::Tag => self.lines.tag.push(value),
                    Role::Chain => self.lines.chain.push(value),
                    _ => self.lines.trail.push(value),
                }
            }
            Role::OwnedByNode => self.note_owned(name, false),
            Role::OwnedByConvention => self.withheld.push(name),
            Role::Signature => self.lines.signature.push(value),
            Role::SignatureInput => self.lines.signature_input.push(value),
            Role::AnthropicVersion => self.speaks_anthropic = true,
            Role::AnthropicBeta => self.anthropic_betas.push(value),
            Role::Mark(i) => {
                let ignored = |element: &[u8]| {
                    let same = |text: &str| text.as_bytes() == element || text.as_bytes() == value;
                    config
                        .relay_ignore
                        .iter()
                        .any(|mark| mark.header.as_str().as_bytes() == name && mark.value.as_ref().is_none_or(|value| same(value.as_str())))
                };
                if let Some(mark) = watch.mark(i).filter(|mark| mark.is_in(value, ignored)) {
                    self.relay_marks.push(mark);
                }
            }
        }
    }

    fn note_owned(&mut self, name: &'a [u8], of_chain: bool) {
        self.owned.push(Owned { name, of_chain });
        self.withheld.push(name);
    }

    /// The place of a credential is emptied whole, unless an application behind the node needs it.
    fn withhold_credential(&mut self, config: &Config, source: usize, name: &'a [u8]) {
        if config.sources.get(source).is_some_and(|source| !source.forward) {
            self.withheld.push(name);
        }
    }

    /// A name with underscores that some servers read as an owned one: it never goes on.
    fn note_misspelled(&mut self, config: &Config, role: Role, name: &'a [u8]) {
        match role {
            Role::Tag | Role::Chain | Role::Trail | Role::Signature | Role::SignatureInput => self.note_owned(name, true),
            Role::OwnedByNode => self.note_owned(name, false),
            Role::OwnedByConvention | Role::Origin(_) | Role::Subprotocols => self.withheld.push(name),
            Role::Credential(source) => self.withhold_credential(config, source, name),
            Role::Forwarding | Role::User(_) | Role::AnthropicVersion | Role::AnthropicBeta | Role::Mark(_) => {}
        }
    }

    /// Finds the credentials, in the order of the sources. The same one in two places is hashed once.
    fn find_credentials(&mut self, config: &'a Config, request: &Request<'a>, full_path: &'a [u8], headers: &[(usize, &'a [u8])]) {
        let mut hashed: Option<(&'a [u8], CredentialDigest)> = None;
        let mut secret = |bytes: &'a [u8]| match hashed {
            Some((known, digest)) if known == bytes => Credential::Secret(digest),
            _ => Credential::Secret(hashed.insert((bytes, CredentialDigest::of(bytes))).1),
        };
        let mut claims = request.claims.iter();
        for (source, place) in config.sources.iter().map(|source| &source.place).enumerate() {
            let mut present = |credential| self.credentials.push(Presented { source, credential });
            let values = headers.iter().filter(|(index, _)| *index == source).map(|(_, value)| value.trim_ascii());
            match place {
                CredentialPlace::Header(_) => values.filter(|value| !value.is_empty()).for_each(|value| present(secret(value))),
                CredentialPlace::Bearer => values.filter_map(bearer).for_each(|token| present(secret(token))),
                CredentialPlace::Query(name) => {
                    path::query_values(full_path, name.as_str())
                        .filter(|value| !value.is_empty())
                        .for_each(|value| present(Credential::Secret(CredentialDigest::of(&value))));
                }
                CredentialPlace::WebsocketProtocol(prefix) => {
                    let keys = self.subprotocols.iter().filter_map(|element| element.strip_prefix(prefix.as_str().as_bytes()));
                    let keys: Vec<&[u8]> = keys.filter(|key| !key.is_empty()).collect();
                    keys.into_iter().for_each(|key| present(secret(key)));
                }
                CredentialPlace::Mtls(san) => {
                    if let Some(name) = request.tls.get(*san).filter(|name| !name.is_empty()) {
                        present(std::str::from_utf8(name).map_or(Credential::Unreadable, Credential::Certificate));
                    }
                }
                CredentialPlace::Jwt(_) => {
                    if let Some(value) = claims.next().and_then(Option::as_deref).filter(|value| !value.is_empty()) {
                        present(std::str::from_utf8(value).map_or(Credential::Unreadable, Credential::Claim));
                    }
                }
                CredentialPlace::Chain => {}
            }
        }
    }

    fn find_user_claims(&mut self, config: &Config, request: &Request<'a>) {
        let identities = config.sources.iter().filter(|source| matches!(source.place, CredentialPlace::Jwt(_))).count();
        let mut claims = request.claims.iter().skip(identities);
        for (source, kind) in config.geo.user.iter().enumerate() {
            if let UserSource::Jwt(_) = kind {
                let value = claims.next().and_then(Option::as_deref);
                if let Some(place) = value.and_then(Place::from_bytes) {
                    ordered::insert(&mut self.user, Reading { source, place }, |reading| &reading.source);
                }
            }
        }
    }
}

/// The token behind `Bearer`, whatever the scheme's case (RFC 9110 11.1, RFC 6750 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && token.len() < rest.len() && !token.is_empty()).then_some(token)
}
