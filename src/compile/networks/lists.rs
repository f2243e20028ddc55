//! Lists of networks, with AS numbers replaced by the networks that sources know of them.

use std::collections::{BTreeMap, BTreeSet};

use super::spans::{Family, Ranges, SourceFact, SourceKind, SourceSummary, Span, Spans, bounds};
use super::sweep::{FactNumbers, sweep};
use super::text::NetworkList;
use crate::compile::remarks::Remarks;
use crate::compile::settings::NetworkSource;
use crate::shape::Mismatch;

/// Adds the lists to `spans`, with AS numbers replaced by their networks.
pub(super) fn resolve_lists(
    lists: Vec<(usize, NetworkList)>,
    sources: &[NetworkSource],
    kinds: &[SourceKind],
    summaries: &mut [SourceSummary],
    spans: &mut Spans,
    remarks: &mut Remarks,
) {
    let wanted: BTreeSet<u32> =
        lists.iter().flat_map(|(_, list)| list.asns.keys().copied()).collect();
    let has_asns = kinds.iter().any(|kind| matches!(kind, SourceKind::AsNumbers(_)));
    let announced = match has_asns && !wanted.is_empty() {
        true => announced(&wanted, spans, kinds),
        false => BTreeMap::new(),
    };
    for (i, list) in lists {
        let (Some(source), Some(SourceKind::List(number)), Some(summary)) =
            (sources.get(i), kinds.get(i), summaries.get_mut(i))
        else {
            continue;
        };
        let first = list.asns.iter().min_by_key(|(_, line)| **line);
        if let (false, Some((asn, line))) = (has_asns, first) {
            let help = "add a source with `\"gives\": \"asn\"` to register.json, or list networks";
            let message = format!("`AS{asn}` can't be resolved: no source gives AS numbers");
            remarks.mismatch(source.file.as_str(), Some(*line), Mismatch::new(message, help));
        }
        let mut ranges = Ranges::default();
        for network in &list.networks {
            let (family, first, last) = bounds(network);
            ranges.of_mut(family).push((first, last));
        }
        for asn in list.asns.keys() {
            match announced.get(asn) {
                Some(networks) => Family::ALL.into_iter().for_each(|family| {
                    ranges.of_mut(family).extend_from_slice(networks.of(family));
                }),
                None => summary.unannounced.push(*asn),
            }
        }
        let bit = u32::try_from(*number).ok().and_then(|number| 1_u64.checked_shl(number));
        let bit = bit.unwrap_or_default();
        for family in Family::ALL {
            let ranges = std::mem::take(ranges.of_mut(family));
            summary.networks = summary.networks.saturating_add(ranges.len());
            let span = |(first, last)| Span { first, last, fact: SourceFact::Listed(bit) };
            spans.of_mut(family).extend(union(ranges).into_iter().map(span));
        }
    }
}

/// The ranges of the wanted AS numbers, by all sources together.
fn announced(wanted: &BTreeSet<u32>, spans: &Spans, kinds: &[SourceKind]) -> BTreeMap<u32, Ranges> {
    let mut announced: BTreeMap<u32, Ranges> = BTreeMap::new();
    for family in Family::ALL {
        let spans = spans.of(family).iter();
        let of_asns: Vec<Span> =
            spans.filter(|span| matches!(span.fact, SourceFact::Asn(..))).copied().collect();
        let mut found = FactNumbers::new();
        let runs = sweep(&of_asns, family, kinds, &mut found);
        let asns: BTreeMap<u32, u32> =
            found.iter().filter_map(|(facts, number)| Some((*number, facts.asn?))).collect();
        let nexts = runs.iter().skip(1).map(|(next, _)| next.saturating_sub(1));
        for ((first, number), last) in runs.iter().zip(nexts.chain([family.last()])) {
            if let Some(asn) = asns.get(number).filter(|asn| wanted.contains(asn)) {
                announced.entry(*asn).or_default().of_mut(family).push((*first, last));
            }
        }
    }
    announced
}

/// The same addresses, sorted and without overlaps.
fn union(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut union: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match union.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => union.push((first, last)),
        }
    }
    union
}
