//! Networks: their notation, and the words for what sources say of the addresses in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::shape::{Mismatch, Word, words};
use crate::terms::region::Place;

/// A NAT64 prefix of 96 bits (RFC 6052, 2.2). An IPv4 address follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat64Prefix(Ipv6Net);

/// A network in CIDR notation. IPv4-mapped IPv6 networks are held as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpNet);

words! {
    /// What the networks of a list are, from what hides least to what hides most.
    pub enum NetworkClass {
        /// A content delivery network
        Cdn = "cdn",
        /// A cloud or a data centre
        Hosting = "hosting",
        /// An open proxy
        Proxy = "proxy",
        /// A VPN
        Vpn = "vpn",
        /// An exit of Tor
        Tor = "tor",
    }
}

words! {
    /// How much a source of geography counts.
    pub enum SourceRole {
        /// What it says decides
        Decides = "decides",
        /// It only hints
        Hints = "hints",
    }
}

/// What the sources say of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facts {
    /// What each source of countries says, in the order of the sources
    pub places: Vec<Option<Place>>,
    /// The autonomous system that announces it
    pub asn: Option<u32>,
    /// The lists that it is on, as bits: bit n is the n-th list in the order of the sources
    pub lists: u64,
}

impl NetworkClass {
    /// Whether it hides where a request comes from.
    pub fn hides(self) -> bool {
        match self {
            Self::Cdn | Self::Hosting => false,
            Self::Proxy | Self::Vpn | Self::Tor => true,
        }
    }
}

impl Word for Network {
    const WHAT: &'static str = "a network in CIDR notation, such as 203.0.113.0/24";
    const PATTERN: &'static str = "^[0-9a-fA-F:.]+/[0-9]{1,3}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let bad = |help: String| Err(Mismatch::new(format!("invalid network `{text}`"), help));
        let Ok(network) = text.parse::<IpNet>() else {
            return match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => bad(format!("for this one address write `{text}/32`")),
                Ok(IpAddr::V6(_)) => bad(format!("for this one address write `{text}/128`")),
                Err(_) => bad("CIDR notation, such as `203.0.113.0/24` or `2001:db8::/32`".into()),
            };
        };
        if network.trunc() != network {
            let whole = network.trunc();
            return bad(format!("it has bits beyond its prefix; did you mean `{whole}`?"));
        }
        let mapped = match network {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        Ok(Self(match mapped {
            Some((v4, prefix)) => IpNet::new(v4.into(), prefix).unwrap_or(network),
            None => network,
        }))
    }
}

impl Word for Nat64Prefix {
    const WHAT: &'static str = "a NAT64 prefix of 96 bits, such as 2001:db8:64::/96";
    const PATTERN: &'static str = "^[0-9a-fA-F:.]+/96$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        match text.parse::<IpNet>() {
            Ok(IpNet::V6(prefix)) if prefix.prefix_len() == 96 && prefix.trunc() == prefix => {
                Ok(Self(prefix))
            }
            _ => Err(Mismatch::new(
                format!("invalid NAT64 prefix `{text}`"),
                "the 96 bits that your NAT64 puts before IPv4 addresses, such as \
                 `2001:db8:64::/96`; 64:ff9b::/96 is known without it",
            )),
        }
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Nat64Prefix {
    /// The IPv4 address behind this prefix.
    pub fn embedded(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let [.., a, b, c, d] = address.octets();
        self.0.contains(&address).then(|| Ipv4Addr::new(a, b, c, d))
    }
}

impl Network {
    /// The network of an address in 4 or 16 bytes and the length of its prefix.
    pub fn from_parts(address: &[u8], prefix: u8) -> Option<Self> {
        let address = match <[u8; 4]>::try_from(address) {
            Ok(v4) => IpAddr::from(v4),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        IpNet::new(address, prefix).ok().map(Self)
    }

    /// Its address in 4 or 16 bytes, and the length of its prefix.
    pub fn parts(&self) -> (Vec<u8>, u8) {
        let address = match self.0.addr() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        (address, self.0.prefix_len())
    }

    /// Whether the address is in it. IPv4-mapped addresses must be IPv4 by then.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Its first and its last address.
    pub fn range(&self) -> (IpAddr, IpAddr) {
        (self.0.network(), self.0.broadcast())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The IPv4 address that an IPv6 address embeds, and by which it is judged.
///
/// IPv4-compatible and IPv4-mapped (RFC 4291, 2.5.5), SIIT's IPv4-translated (RFC 2765, 2.1),
/// NAT64's well-known prefix (RFC 6052, 2.1), 6to4 (RFC 3056, 2) and the client in a Teredo address
/// (RFC 4380, 4). Without this, a tunnel would be a way around what is known of an address.
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low =
        |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or_default());
    match (address.to_bits(), address.segments()) {
        (0 | 1, _) => None, // unspecified and loopback aren't IPv4-compatible
        (
            bits,
            [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
            | [0, 0, 0, 0, 0xffff, 0, _, _]
            | [0x64, 0xff9b, 0, 0, 0, 0, _, _],
        ) => Some(low(bits)),
        (bits, [0x2002, ..]) => Some(low(bits >> 80)),
        (bits, [0x2001, 0, ..]) => Some(low(!bits)),
        _ => None,
    }
}
