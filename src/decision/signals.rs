//! The signals: what a node asks its host for beside headers and the clock. The list is closed.
//!
//! A host asks by [`Signals::read`], the disclosure lists [`Signal::all`], and a test holds the
//! list against `docs/privacy.md`. A new signal is a new variant of [`Signal`], published first.

use std::borrow::Cow;

use crate::config::{Claim, Config, CredentialPlace, San};
use crate::decision::request::{ClaimValue, Pair, Request, Time, TlsNames};

/// A fact about a request that only the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal<'c> {
    /// The direct peer's address. The operator's format may add a space and [`Self::EnvoyClient`]
    DirectPeer,
    /// The address that Envoy takes for the client's
    EnvoyClient,
    /// The first name of a kind in the client certificate that Envoy verified
    Certificate(San),
    /// A claim of a JWT that Envoy verified
    Claim(&'c Claim),
}

/// The pseudo-headers that are read of every request.
pub const PSEUDO_HEADERS: [&str; 3] = [":authority", ":method", ":path"];

/// Where Envoy's JWT filter writes the claims that it verified.
const JWT_METADATA: &str = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn";

impl<'c> Signal<'c> {
    /// The signals that a configuration reads, each once.
    pub fn all(config: &'c Config) -> impl Iterator<Item = Self> {
        let client = config.geo.reads_headers().then_some(Self::EnvoyClient);
        let names = config.sources.iter().filter_map(|source| match source.place {
            CredentialPlace::Mtls(san) => Some(Self::Certificate(san)),
            _ => None,
        });
        // one claim may name both the caller and its user
        let is_new = |(i, claim): &(usize, &Claim)| !config.claims().take(*i).any(|c| c == *claim);
        let claims = config.claims().enumerate().filter(is_new);
        std::iter::once(Self::DirectPeer)
            .chain(client)
            .chain(names)
            .chain(claims.map(|(_, claim)| Self::Claim(claim)))
    }

    /// The path of Envoy's attribute. Zero bytes separate its parts, as in a call of the host.
    pub fn path(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::DirectPeer => "filter_state\0direct",
            Self::EnvoyClient => "source\0address",
            Self::Certificate(San::Uri) => "connection\0uri_san_peer_certificate",
            Self::Certificate(San::Dns) => "connection\0dns_san_peer_certificate",
            Self::Claim(Claim { provider, claim }) => {
                return [JWT_METADATA, provider.as_str(), claim.as_str()].join("\0").into();
            }
        })
    }

    /// The path as people write it.
    pub fn name(self) -> String {
        self.path().replace('\0', ".")
    }
}

/// The signals of one request, as the host gave them.
#[derive(Debug)]
pub struct Signals<'c> {
    /// What each request has
    direct_peer: Option<Vec<u8>>,
    others: Vec<(Signal<'c>, Vec<u8>)>,
}

impl<'c> Signals<'c> {
    /// Asks for each signal that the configuration reads and this request needs.
    pub fn read(
        config: &'c Config,
        headers: &[Pair<'_>],
        ask: impl Fn(Signal<'c>) -> Option<Vec<u8>>,
    ) -> Self {
        let mut signals = Self { direct_peer: None, others: Vec::new() };
        for signal in Signal::all(config) {
            match signal {
                Signal::DirectPeer => signals.direct_peer = ask(signal),
                Signal::EnvoyClient if !signals.lack_client(config, headers) => {}
                _ => signals.others.extend(ask(signal).map(|value| (signal, value))),
            }
        }
        signals
    }

    /// Whether Envoy has to be asked which address it takes for the client's. Only a forwarding
    /// header, the node's or Envoy's, can make that address another than the node's own finding.
    fn lack_client(&self, config: &Config, headers: &[Pair<'_>]) -> bool {
        let forwards = |name: &[u8]| {
            config.client_address.header.as_str().as_bytes() == name || name == b"x-forwarded-for"
        };
        !self.direct_peer.as_ref().is_some_and(|addresses| addresses.contains(&b' '))
            && headers.iter().any(|(name, _)| forwards(name))
    }

    fn get(&self, wanted: Signal<'_>) -> Option<&[u8]> {
        let (_, value) = self.others.iter().find(|(signal, _)| *signal == wanted)?;
        Some(value)
    }

    /// The request that these signals and headers make.
    pub fn request<'a>(&'a self, headers: Vec<Pair<'a>>, time: Time) -> Request<'a> {
        let addresses = self.direct_peer.as_ref();
        let mut addresses = addresses.into_iter().flat_map(|both| both.splitn(2, |b| *b == b' '));
        let claims = self.others.iter().filter_map(|(signal, value)| match signal {
            Signal::Claim(Claim { provider, claim }) => {
                Some(ClaimValue { provider: provider.as_str(), claim: claim.as_str(), value })
            }
            _ => None,
        });
        Request {
            headers,
            direct_peer: addresses.next(),
            envoy_client: addresses.next().or(self.get(Signal::EnvoyClient)),
            tls: TlsNames {
                uri_san: self.get(Signal::Certificate(San::Uri)),
                dns_san: self.get(Signal::Certificate(San::Dns)),
            },
            claims: claims.collect(),
            time,
        }
    }
}
