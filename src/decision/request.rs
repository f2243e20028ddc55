//! A request as raw facts, as the host gives them, before anything is understood.
//!
//! Waybill reads nothing else of a request: header pairs with pseudo-headers, two addresses that
//! Envoy knows, names of the client certificate, configured JWT claims, and the clock. No body, no
//! TLS fingerprint. `docs/privacy.md` publishes the list, [`crate::decision::signals`] holds it.

use crate::chain::signature::Message;
use crate::config::{Claim, San};
use crate::terms::time::UnixSeconds;

/// A header as received: name in lower case (as Envoy gives it), value as bytes.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// What the host knows about a request when its headers are complete.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// All header pairs in order, with the pseudo-headers (`:method`, `:authority`, `:path`)
    pub headers: Vec<Pair<'a>>,
    /// The address of the machine at the other end of the connection, as text
    pub direct_peer: Option<&'a [u8]>,
    /// The address that Envoy takes for the client's, as text. `None` if Envoy wasn't asked
    pub envoy_client: Option<&'a [u8]>,
    /// The first name of each kind in the client certificate that Envoy verified
    pub tls: TlsNames<'a>,
    /// The JWT claims that the configuration reads, as far as the request has them
    pub claims: Vec<ClaimValue<'a>>,
    /// When the request came
    pub time: Time,
}

/// The value of a claim in a JWT that Envoy verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimValue<'a> {
    /// The name in jwt_authn's payload_in_metadata
    pub provider: &'a str,
    /// The claim's name
    pub claim: &'a str,
    /// The value
    pub value: &'a [u8],
}

/// The names in a client certificate that identify it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsNames<'a> {
    /// The first URI
    pub uri_san: Option<&'a [u8]>,
    /// The first DNS name
    pub dns_san: Option<&'a [u8]>,
}

/// A moment, in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl<'a> Request<'a> {
    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| *value)
    }

    /// The value of a JWT claim.
    pub fn claim(&self, wanted: &Claim) -> Option<&'a [u8]> {
        let is_wanted = |known: &&ClaimValue<'_>| {
            known.provider == wanted.provider.as_str() && known.claim == wanted.claim.as_str()
        };
        self.claims.iter().find(is_wanted).map(|claim| claim.value)
    }

    /// The method, as received.
    pub fn method(&self) -> &'a [u8] {
        self.first(":method").unwrap_or_default()
    }

    /// The authority, as received.
    pub fn authority(&self) -> &'a [u8] {
        self.first(":authority").unwrap_or_default()
    }

    /// What signatures cover of it, under this authority.
    pub fn message<'m>(&'m self, authority: &'m str) -> Message<'m> {
        let (method, path) = (self.method(), self.path());
        Message { method, authority, path, values: &[], fields: &self.headers }
    }

    /// The path with its query, as received.
    pub fn path(&self) -> &'a [u8] {
        self.first(":path").unwrap_or_default()
    }
}

impl<'a> TlsNames<'a> {
    /// The name of that kind.
    pub fn get(&self, san: San) -> Option<&'a [u8]> {
        match san {
            San::Uri => self.uri_san,
            San::Dns => self.dns_san,
        }
    }
}

impl Time {
    /// Whole seconds.
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(i64::try_from(self.0 / 1_000_000_000).unwrap_or(i64::MAX))
    }
}
