//! The sweep over all spans, and the map of addresses that it makes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::spans::{Family, SourceFact, SourceKind, Span, Spans};
use crate::names::embedded_v4;
use crate::snapshot::Facts;

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

/// Facts in order, with the number that each got when the sweep met it first.
pub(super) type FactNumbers = BTreeMap<Facts, u32>;

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

/// Makes the map of all spans.
pub(super) fn map(spans: &Spans, kinds: &[SourceKind]) -> AddressMap {
    let mut found = FactNumbers::new();
    let [v4, v6] = Family::ALL.map(|family| sweep(spans.of(family), family, kinds, &mut found));
    // the sweep numbers facts as it meets them; the map has them in their own order
    let places: BTreeMap<u32, u32> = found.values().copied().zip(0..).collect();
    let place = |number: u32| places.get(&number).copied().unwrap_or_default();
    AddressMap {
        v4: v4
            .into_iter()
            .filter_map(|(first, number)| Some((u32::try_from(first).ok()?, place(number))))
            .collect(),
        v6: v6.into_iter().map(|(first, number)| (first, place(number))).collect(),
        facts: found.into_keys().collect(),
    }
}

/// Goes through all ends of spans in order, and gives the run of addresses between each two.
pub(super) fn sweep(
    spans: &[Span],
    family: Family,
    kinds: &[SourceKind],
    found: &mut FactNumbers,
) -> Vec<(u128, u32)> {
    // (address, whether the fact begins there, fact): at one address, ends come before beginnings
    let mut ends: Vec<(u128, bool, SourceFact)> = Vec::with_capacity(spans.len().saturating_mul(2));
    for span in spans {
        ends.push((span.first, true, span.fact));
        if span.last < family.last() {
            ends.push((span.last.saturating_add(1), false, span.fact));
        }
    }
    ends.sort_unstable_by_key(|(address, begins, _)| (*address, *begins));
    let countries = kinds.iter().filter(|kind| matches!(kind, SourceKind::Countries(_))).count();
    let as_numbers = kinds.iter().filter(|kind| matches!(kind, SourceKind::AsNumbers(_))).count();
    let mut known = Facts { places: vec![None; countries], asn: None, lists: 0 };
    let mut asns: Vec<Option<u32>> = vec![None; as_numbers];
    let mut runs = vec![(0, number(&known, found))];
    let mut ends = ends.into_iter().peekable();
    while let Some((address, begins, fact)) = ends.next() {
        match fact {
            SourceFact::Place(source, place) => {
                if let Some(slot) = known.places.get_mut(source) {
                    *slot = begins.then_some(place);
                }
            }
            SourceFact::Asn(source, asn) => {
                if let Some(slot) = asns.get_mut(source) {
                    *slot = begins.then_some(asn);
                }
            }
            SourceFact::Listed(bit) if begins => known.lists |= bit,
            SourceFact::Listed(bit) => known.lists &= !bit,
        }
        if ends.peek().is_some_and(|(next, ..)| *next == address) {
            continue;
        }
        known.asn = asns.iter().flatten().next().copied();
        let number = number(&known, found);
        match runs.last_mut() {
            Some((first, current)) if *first == address => *current = number,
            Some((_, current)) if *current == number => {}
            _ => runs.push((address, number)),
        }
    }
    runs
}

/// The number of these facts: the one they have, or the next one.
fn number(facts: &Facts, found: &mut FactNumbers) -> u32 {
    if let Some(number) = found.get(facts) {
        return *number;
    }
    let next = u32::try_from(found.len()).unwrap_or(u32::MAX);
    found.insert(facts.clone(), next);
    next
}
