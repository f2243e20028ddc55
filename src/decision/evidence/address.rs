//! The client's address, found from the right.
//!
//! Any machine on the way can write anything into `X-Forwarded-For` and `Forwarded` (RFC 7239). So
//! the walk starts at the machine that is connected. It goes one element to the left while the
//! address in hand belongs to a proxy that the operator trusts. The first other address is the
//! client's. Elements left of it are only *claimed*. An invalid element stops the walk at the last
//! good hop, which isn't the client: the client's address is unknown then.
//! `tests/data/xff-cases.json` holds the cases.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::authorization::is_token;
use crate::config::{ClientAddressSettings, ForwardingHeader};
use crate::shape::{DIGITS, digits};
use crate::terms::network::embedded_v4;

/// Where the request came from, as far as the operator's own proxies can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientAddress<'a> {
    /// The client. IPv4-mapped IPv6 is given as IPv4
    pub client: Option<IpAddr>,
    /// What untrusted hops wrote left of the client's address, left to right
    pub claimed: Vec<&'a [u8]>,
    /// Whether an invalid element stopped the walk. Then `client` is the last good hop: it is
    /// shown, and no decision rests on it
    pub malformed: bool,
    /// How many elements the walk went through
    steps: usize,
}

/// How many elements of X-Forwarded-For Envoy reads. If there are more, it reads none.
const ENVOY_READS: usize = 20;

impl<'a> ClientAddress<'a> {
    /// Walks from `direct_peer` through the lines of the configured header, in the order received.
    pub fn find(
        direct_peer: Option<&[u8]>,
        lines: &[&'a [u8]],
        settings: &ClientAddressSettings,
    ) -> Self {
        let mut elements: Vec<&'a [u8]> = Vec::new();
        for line in lines {
            match settings.header {
                ForwardingHeader::XForwardedFor => elements.extend(line.split(|b| *b == b',')),
                ForwardingHeader::Forwarded => split_outside_quotes(line, b',', &mut elements),
            }
        }
        elements.retain_mut(|element| {
            *element = trim(element);
            !element.is_empty()
        });

        let Some(peer) = direct_peer.and_then(address_with_port) else {
            return Self { client: None, claimed: elements, malformed: true, steps: 0 };
        };
        let mut client = peer;
        let (mut malformed, mut steps) = (false, 0_usize);
        while settings.trusted_proxies.iter().any(|network| network.contains(client)) {
            let Some(element) = elements.last() else { break };
            let parsed = match settings.header {
                ForwardingHeader::XForwardedFor => address_with_port(element),
                ForwardingHeader::Forwarded => forwarded_for(element),
            };
            match parsed {
                Some(address) => client = address,
                None => {
                    malformed = true;
                    break;
                }
            }
            elements.pop();
            steps = steps.saturating_add(1);
        }
        Self { client: Some(client), claimed: elements, malformed, steps }
    }

    /// The address that the client is judged by: the IPv4 address that its own embeds, else its
    /// own. `None` if its own is unknown.
    pub fn judged(&self, settings: &ClientAddressSettings) -> Option<IpAddr> {
        match self.client.filter(|_| !self.malformed)? {
            IpAddr::V6(v6) => {
                let own = || settings.nat64.iter().find_map(|prefix| prefix.embedded(v6));
                Some(embedded_v4(v6).or_else(own).map_or(IpAddr::V6(v6), IpAddr::V4))
            }
            v4 @ IpAddr::V4(_) => Some(v4),
        }
    }

    /// Why Envoy's original IP detection finds another address in the same lines than the walk
    /// does. Each reason was seen on Envoy 1.40 with `envoy.http.original_ip_detection.xff`.
    #[cold]
    pub(super) fn why_other(
        &self,
        lines: &[&[u8]],
        settings: &ClientAddressSettings,
    ) -> &'static str {
        if settings.header == ForwardingHeader::Forwarded {
            return "it doesn't read forwarded";
        }
        let elements = || lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b','));
        if elements().count() > ENVOY_READS {
            return "more than 20 elements";
        }
        let walked: Vec<&[u8]> =
            elements().map(trim).filter(|element| !element.is_empty()).take(self.steps).collect();
        let bare = |element: &&[u8]| {
            std::str::from_utf8(element).ok().and_then(|text| text.parse::<IpAddr>().ok())
        };
        if walked.iter().any(|element| bare(element).is_none()) {
            return "a port or brackets";
        }
        let is_mapped =
            |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let proxies = walked.iter().take(self.steps.saturating_sub(1));
        if proxies.filter_map(bare).any(is_mapped) {
            return "a mapped proxy";
        }
        if self.judged(settings) != self.client {
            return "an address that embeds IPv4";
        }
        "another list of trusted networks"
    }
}

/// The network that an address is cut to before it leaves the node: /24 or /48.
pub fn cut(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let mut text = Vec::with_capacity("255.255.255.0/24".len());
            for part in [a, b, c] {
                text.extend_from_slice(digits(part.into(), &mut [0; DIGITS]));
                text.push(b'.');
            }
            text.extend_from_slice(b"0/24");
            String::from_utf8(text).unwrap_or_default()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`.
pub fn address_with_port(element: &[u8]) -> Option<IpAddr> {
    host_and_port(element, is_port)
}

/// Parses the `for` of one element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = Vec::new();
    split_outside_quotes(element, b';', &mut pairs);
    let mut found: Option<Cow<'_, [u8]>> = None;
    for pair in pairs {
        let pair = trim(pair);
        if pair.is_empty() {
            continue;
        }
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let (name, value) = (halves.next()?, unquote(halves.next()?)?);
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    let node = found?;
    if !node.starts_with(b"[") && node.iter().filter(|b| **b == b':').count() > 1 {
        return None; // RFC 7239 6: IPv6 is in brackets
    }
    host_and_port(&node, |port| is_port(port) || is_obfuscated_port(port))
}

fn host_and_port(element: &[u8], is_port: impl Fn(&str) -> bool) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let sound = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return host
            .parse::<Ipv6Addr>()
            .ok()
            .filter(|_| sound)
            .map(|v6| IpAddr::V6(v6).to_canonical());
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some((host, port)) if !port.contains(':') => {
            host.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
        }
        Some(_) => text.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical()),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// RFC 7239 6: `_` and letters, digits, `.`, `_`, `-`
fn is_obfuscated_port(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    })
}

/// Splits at a separator outside quoted strings. With a quote left open the line is one piece.
fn split_outside_quotes<'a>(line: &'a [u8], separator: u8, pieces: &mut Vec<&'a [u8]>) {
    let before = pieces.len();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (i, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if *byte == separator && !quoted => {
                pieces.push(line.get(start..i).unwrap_or_default());
                start = i.saturating_add(1);
            }
            _ => {}
        }
    }
    if quoted {
        pieces.truncate(before);
        start = 0;
    }
    pieces.push(line.get(start..).unwrap_or_default());
}

/// A token, or the content of a quoted string (RFC 9110 5.6.4).
fn unquote(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(rest) = value.strip_prefix(b"\"") else {
        return (!value.is_empty() && value.iter().all(|b| is_token(*b)))
            .then_some(Cow::Borrowed(value));
    };
    let inner = rest.strip_suffix(b"\"")?;
    let mut content = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => content.push(*bytes.next()?),
            b'"' => return None,
            _ => content.push(*byte),
        }
    }
    Some(Cow::Owned(content))
}

/// The element without SP and HTAB around it.
fn trim(mut element: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = element {
        element = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = element {
        element = rest;
    }
    element
}
