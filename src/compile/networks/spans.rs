//! The facts that sources give, and the spans of addresses that they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::terms::names::Text;
use crate::terms::network::Network;
use crate::terms::region::{CountryCode, Place};

/// The type of a source, with its number among sources of that type, from 0.
#[derive(Debug, Clone, Copy)]
pub(super) enum SourceKind {
    Countries(usize),
    AsNumbers(usize),
    List(usize),
}

/// The contents of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSummary {
    /// Its file
    pub file: Text,
    /// How many networks it has facts of
    pub networks: usize,
    /// AS numbers on a list of which no source knows networks: misspelt, or gone from the Internet
    pub unannounced: Vec<u32>,
    /// Countries of which it names no part anywhere
    pub undivided: BTreeSet<CountryCode>,
}

/// One fact from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceFact {
    Place(usize, Place),
    Asn(usize, u32),
    /// The list's bit
    Listed(u64),
}

/// Addresses of one family, both ends included, with one fact from a source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) first: u128,
    pub(super) last: u128,
    pub(super) fact: SourceFact,
}

/// An address family.
#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Its last address.
    pub(super) fn last(self) -> u128 {
        match self {
            Self::V4 => LAST_V4,
            Self::V6 => u128::MAX,
        }
    }
}

pub(super) const LAST_V4: u128 = 0xffff_ffff;

/// The family, first and last address of a network.
pub(super) fn bounds(network: &Network) -> (Family, u128, u128) {
    let number = |address| match address {
        IpAddr::V4(address) => (Family::V4, address.to_bits().into()),
        IpAddr::V6(address) => (Family::V6, address.to_bits()),
    };
    let (first, last) = network.range();
    let ((family, first), (_, last)) = (number(first), number(last));
    (family, first, last)
}

/// A list for each address family.
#[derive(Debug)]
pub(super) struct Families<T> {
    v4: Vec<T>,
    v6: Vec<T>,
}

/// Spans of both families; those of one source never overlap.
pub(super) type Spans = Families<Span>;

/// First and last addresses.
pub(super) type Ranges = Families<(u128, u128)>;

impl<T> Families<T> {
    pub(super) fn of(&self, family: Family) -> &[T] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) fn of_mut(&mut self, family: Family) -> &mut Vec<T> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

impl<T> Default for Families<T> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

/// An entry of a source of countries. `divides` is true if the entry names a part of the country,
/// known to us or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlaceEntry {
    pub(super) place: Place,
    pub(super) divides: bool,
}

/// The countries that a source names, each with whether any entry names a part of it.
pub(super) type PartCoverage = BTreeMap<CountryCode, bool>;

impl PlaceEntry {
    pub(super) fn note(self, coverage: &mut PartCoverage) {
        *coverage.entry(self.place.country).or_default() |= self.divides;
    }
}
