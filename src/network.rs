//! What network sources say of an address.

use crate::region::Place;
use crate::shape::words;

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
