//! To be written.

use crate::snapshot::Facts;

/// What all sources say of all addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressTable {
    /// The first address of each run of IPv4, and its facts
    pub v4: Vec<(u32, u32)>,
    /// The first address of each run of IPv6, and its facts
    pub v6: Vec<(u128, u32)>,
    /// Facts that differ
    pub facts: Vec<Facts>,
}
