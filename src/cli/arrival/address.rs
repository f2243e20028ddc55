//! The address that Envoy takes for the client's.
//!
//! `tests/data/envoy/arrival.json` holds what a real Envoy found in every form of X-Forwarded-For,
//! under each setting. It isn't what the node finds: Envoy reads no port and no brackets.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::settings::is_false;
use crate::cli::headers::HeaderList;
use crate::envoy::kinds::network;
use crate::envoy::yaml::Yaml;

/// How many elements of X-Forwarded-For Envoy reads under `xff_trusted_cidrs`. If there are more,
/// it reads none.
const MOST_ELEMENTS: usize = 20;

/// An address with the zone that Envoy keeps with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvoyAddress {
    pub(super) ip: IpAddr,
    zone: Option<String>,
}

/// What a way of finding the client's address says of one request.
#[derive(Debug, Default)]
pub(super) struct Detection {
    /// `None`: this way finds nothing, and the next one is asked
    pub(super) address: Option<EnvoyAddress>,
    /// Whether it is the only element, so that it can make a request internal
    pub(super) is_alone: bool,
    /// Whether the direct peer is appended to X-Forwarded-For
    pub(super) appends: bool,
    /// The status of a refusal
    pub(super) refused: Option<u16>,
}

impl EnvoyAddress {
    pub(super) fn new(ip: IpAddr) -> Self {
        Self { ip, zone: None }
    }

    /// Parses an address as Envoy does: nothing around it, neither port nor brackets.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, zone) = match text.split_once('%') {
            None => (text, None),
            Some((address, zone)) if zone.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(zone.to_owned()))
            }
            // an interface's name means something on the gateway only
            Some(_) => return None,
        };
        let ip = address.parse().ok()?;
        let sound =
            zone.as_ref().is_none_or(|zone| !zone.is_empty() && matches!(ip, IpAddr::V6(_)));
        sound.then_some(Self { ip, zone })
    }
}

/// As `inet_ntop` writes it.
impl fmt::Display for EnvoyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V6(v6) => match v6.segments() {
                [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                    let [a, b] = high.to_be_bytes();
                    let [c, d] = low.to_be_bytes();
                    write!(f, "::{a}.{b}.{c}.{d}")?;
                }
                _ => write!(f, "{v6}")?,
            },
            IpAddr::V4(v4) => write!(f, "{v4}")?,
        }
        self.zone.as_ref().map_or(Ok(()), |zone| write!(f, "%{zone}"))
    }
}

/// The networks of a list of CIDR ranges. Envoy compares an address of IPv4 with networks of IPv4
/// only, and takes IPv4-mapped IPv6 for IPv6.
pub(super) fn networks(ranges: &Yaml) -> Vec<IpNet> {
    ranges.items().iter().filter_map(network).collect()
}

fn is_among(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The element of X-Forwarded-For before the last `hops` ones.
pub(super) fn last_but(headers: &HeaderList, hops: u64) -> Detection {
    let mut line = headers.first("x-forwarded-for");
    for _ in 0..hops {
        line = line.and_then(|line| {
            let comma = line.iter().rposition(|byte| *byte == b',')?;
            line.get(..comma)
        });
    }
    let Some(line) = line else { return Detection::default() };
    let element = match line.iter().rposition(|byte| *byte == b',') {
        Some(comma) => line.get(comma.saturating_add(1)..).unwrap_or_default(),
        None => line,
    };
    let address = EnvoyAddress::parse(element.trim_ascii());
    let is_alone = address.is_some() && hops == 0 && !line.contains(&b',');
    Detection { address, is_alone, ..Detection::default() }
}

/// `envoy.http.original_ip_detection.xff`.
pub(super) fn by_forwarded_for(
    settings: &Yaml,
    peer: Option<IpAddr>,
    headers: &HeaderList,
) -> Detection {
    let appends = is_false(settings, "skip_xff_append");
    let ranges = settings.get("xff_trusted_cidrs").and_then(|trusted| trusted.get("cidrs"));
    let trusted = ranges.map(networks).unwrap_or_default();
    if trusted.is_empty() {
        let hops = settings.number("xff_num_trusted_hops");
        let hops = hops.filter(|_| settings.get("xff_trusted_cidrs").is_none());
        return Detection { appends, ..last_but(headers, hops.unwrap_or(0)) };
    }
    // an untrusted peer is appended, whatever `skip_xff_append` says
    if !peer.is_some_and(|peer| is_among(&trusted, peer)) {
        return Detection { appends: peer.is_some(), ..Detection::default() };
    }
    let line = headers.first("x-forwarded-for").unwrap_or_default();
    let elements = || line.split(|byte| *byte == b',');
    if elements().count() > MOST_ELEMENTS {
        return Detection { appends, ..Detection::default() };
    }
    let mut address = None;
    for element in line.rsplit(|byte| *byte == b',') {
        address = EnvoyAddress::parse(element.trim_ascii());
        if address.as_ref().is_none_or(|address| !is_among(&trusted, address.ip)) {
            break;
        }
    }
    let is_alone = address.is_some() && elements().count() == 1;
    Detection { address, is_alone, appends, refused: None }
}

/// `envoy.http.original_ip_detection.custom_header`. A refusal without a status of an error is 403.
pub(super) fn by_header(settings: &Yaml, headers: &HeaderList) -> Detection {
    let name = settings.str("header_name").unwrap_or_default();
    let value = headers.first(&name.to_ascii_lowercase());
    let address = value.and_then(EnvoyAddress::parse);
    let is_trusted = settings.is_true("allow_extension_to_set_address_as_trusted");
    let refused = settings.get("reject_with_status").filter(|_| address.is_none()).map(|_| 403);
    Detection { is_alone: address.is_some() && is_trusted, address, appends: false, refused }
}
