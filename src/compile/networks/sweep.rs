//! The sweep over all spans, which makes the map of addresses.

use std::collections::BTreeMap;

use super::spans::{Family, SourceFact, SourceKind, Span, Spans};
use crate::snapshot::map::AddressMap;
use crate::terms::network::Facts;

/// Facts in order, with the number that each got when the sweep met it first.
pub(super) type FactNumbers = BTreeMap<Facts, u32>;

/// Makes the map of all spans.
pub(super) fn map(spans: &Spans, kinds: &[SourceKind]) -> AddressMap {
    let mut found = FactNumbers::new();
    let [v4, v6] = Family::ALL.map(|family| sweep(spans.of(family), family, kinds, &mut found));
    // the sweep numbers facts as it meets them; the map has them in their own order
    let places: BTreeMap<u32, u32> = found.values().copied().zip(0..).collect();
    let place = |number: u32| places.get(&number).copied().unwrap_or_default();
    let short = |(first, number)| Some((u32::try_from(first).ok()?, place(number)));
    AddressMap {
        v4: v4.into_iter().filter_map(short).collect(),
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
    *found.entry(facts.clone()).or_insert(next)
}
