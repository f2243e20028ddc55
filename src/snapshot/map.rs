//! The map of addresses that a snapshot is written of.

use std::net::{IpAddr, Ipv4Addr};

use crate::terms::network::{Facts, embedded_v4};

/// All facts of all addresses.
///
/// Both runs are sorted and begin at address 0. An entry holds from its address up to the next
/// one's, and points into `facts`. Neighbours differ. `facts` is sorted: its first entry has no
/// fact at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressMap {
    /// IPv4: the first address of a run, and the index of its facts
    pub v4: Vec<(u32, u32)>,
    /// IPv6 likewise
    pub v6: Vec<(u128, u32)>,
    /// The facts of runs, each once
    pub facts: Vec<Facts>,
}

impl AddressMap {
    /// The facts of an address.
    pub fn look_up(&self, address: IpAddr) -> Option<&Facts> {
        fn run<A: Copy + Ord>(runs: &[(A, u32)], address: A) -> Option<u32> {
            let after = runs.partition_point(|(first, _)| *first <= address);
            runs.get(after.checked_sub(1)?).map(|(_, facts)| *facts)
        }
        let v4 = |address: Ipv4Addr| run(&self.v4, address.to_bits());
        let facts = match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(embedded) => v4(embedded),
                None => run(&self.v6, address.to_bits()),
            },
        };
        self.facts.get(usize::try_from(facts?).ok()?)
    }
}
