//! The header names that a node looks at, and what for: the closed list of header signals.
//!
//! Most headers of a request are on no list, so the look-up is made for misses: a bucket chosen by length,
//! first and last byte, and one for prefixes by the third byte, in which most names find nothing to be
//! compared with. Comparing names in a sorted table cost four tenths of a decision.

use super::relay::{self, RelayMark};
use crate::config::{Config, CredentialPlace, UserSource};

/// What a header is looked at for. The closed list of what a node reads in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It may hold the credential of this source
    Credential(usize),
    /// Its elements may hold one
    Subprotocols,
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
    /// Signatures (RFC 9421)
    Signature,
    /// Their parameters
    SignatureInput,
    /// The caller's dialect
    AnthropicVersion,
    /// The betas that the caller asks for
    AnthropicBeta,
    /// It marks a relay
    Mark(usize),
}

/// The header names that a node looks at, and what for.
#[derive(Debug)]
pub struct Watch {
    exact: Vec<Vec<Watched>>,
    prefixes: Vec<Vec<Watched>>,
    marks: Vec<RelayMark>,
}

/// A name, or the beginning of one, in lower case and with `-` for `_`.
#[derive(Debug)]
struct Watched {
    name: Vec<u8>,
    roles: Vec<Role>,
}

/// Whether a name is spelled as it should be, or with `_` where some servers read a `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Exact,
    Underscores,
}

const BUCKETS: usize = 128;

impl Role {
    /// Whether only a node sets such a header.
    fn is_owned(self) -> bool {
        matches!(self, Self::Tag | Self::Chain | Self::Trail | Self::OwnedByNode | Self::OwnedByConvention)
    }
}

impl Watch {
    /// The list for a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let buckets = || (0..BUCKETS).map(|_| Vec::new()).collect();
        let mut watch = Self { exact: buckets(), prefixes: buckets(), marks: relay::marks() };
        for (name, role) in [
            ("compliance-tag", Role::Tag),
            ("compliance-chain", Role::Chain),
            ("compliance-trail", Role::Trail),
            ("x-waybill-*", Role::OwnedByNode),
            ("anthropic-user-profile-id", Role::OwnedByConvention),
            ("anthropic-workspace-id", Role::OwnedByConvention),
            ("openai-safety-identifier", Role::OwnedByConvention),
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
        if config.sources.iter().any(|source| matches!(source.place, CredentialPlace::WebsocketProtocol(_))) {
            watch.add("sec-websocket-protocol", Role::Subprotocols);
        }
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
        let marks: Vec<String> = watch.marks.iter().map(|mark| mark.header.clone()).collect();
        for (i, header) in marks.iter().enumerate() {
            watch.add(header, Role::Mark(i));
        }
        watch
    }

    /// The names looked at, a prefix with `*` behind it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let text = |watched: &Watched| String::from_utf8_lossy(&watched.name).into_owned();
        self.exact.iter().flatten().map(text).chain(self.prefixes.iter().flatten().map(move |watched| format!("{}*", text(watched))))
    }

    /// Whether only a node may set a header of that name, in any case and with `_` for `-`.
    #[must_use]
    pub fn owns(&self, name: &[u8]) -> bool {
        self.roles(&name.to_ascii_lowercase()).any(|(role, _)| role.is_owned())
    }

    /// Whether a trailer of that name goes on: none that is owned, holds a credential, or is half of a signature.
    #[must_use]
    pub fn admits_trailer(&self, name: &[u8]) -> bool {
        let ours = |role| matches!(role, Role::Signature | Role::SignatureInput | Role::Credential(_) | Role::Origin(_));
        !self.roles(&name.to_ascii_lowercase()).any(|(role, _)| role.is_owned() || ours(role))
    }

    /// The mark of that number.
    pub(super) fn mark(&self, number: usize) -> Option<&RelayMark> {
        self.marks.get(number)
    }

    /// What a header of that name, in lower case, is looked at for.
    pub(super) fn roles(&self, name: &[u8]) -> impl Iterator<Item = (Role, Spelling)> {
        let exact = self.exact.get(bucket(name)).map(Vec::as_slice).unwrap_or_default().iter();
        let exact = exact.filter_map(|watched| Some((watched, spelling(name, &watched.name)?)));
        let prefixes = self.prefixes.get(bucket_of_prefix(name)).map(Vec::as_slice).unwrap_or_default().iter();
        let prefixes = prefixes.filter_map(|watched| Some((watched, spelling(name.get(..watched.name.len())?, &watched.name)?)));
        exact.chain(prefixes).flat_map(|(watched, spelling)| watched.roles.iter().map(move |role| (*role, spelling)))
    }

    fn add(&mut self, name: &str, role: Role) {
        let (list, name) = match name.strip_suffix('*') {
            Some(prefix) => (self.prefixes.get_mut(bucket_of_prefix(prefix.as_bytes())), prefix),
            None => (self.exact.get_mut(bucket(name.as_bytes())), name),
        };
        let Some(list) = list else { return };
        match list.iter_mut().find(|watched| watched.name == name.as_bytes()) {
            Some(watched) => watched.roles.push(role),
            None => list.push(Watched { name: name.into(), roles: vec![role] }),
        }
    }
}

fn bucket(name: &[u8]) -> usize {
    let mix = name.len().wrapping_mul(7).wrapping_add(folded(name.first())).wrapping_add(folded(name.last()).wrapping_mul(31));
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
