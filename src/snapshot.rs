//! The snapshot: what a request looks up, compiled from the register into one signed file.

use crate::region::Place;
use crate::shape::words;

words! {
    /// What the networks of a list are.
    pub enum NetworkClass {
        /// A cloud or a data centre
        Hosting = "hosting",
        /// A content delivery network
        Cdn = "cdn",
        /// A VPN
        Vpn = "vpn",
        /// An exit of Tor
        Tor = "tor",
        /// An open proxy
        Proxy = "proxy",
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
