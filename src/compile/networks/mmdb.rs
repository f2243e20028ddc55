//! MMDB files: countries or AS numbers of networks, in a tree over the bits of addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Subnets;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::records;
use super::spans::{Family, LAST_V4, PartCoverage, SourceFact, SourceKind, Span, Spans};
use crate::shape::Mismatch;

/// The ranges of [`embedded_v4`], in order.
const EMBEDDING: [(u128, u128); 6] = [
    (0, LAST_V4),
    (0xffff_0000_0000, 0xffff_ffff_ffff),
    (0xffff_0000_0000_0000, 0xffff_0000_ffff_ffff),
    (0x64_ff9b << 96, (0x64_ff9b << 96) + LAST_V4),
    (0x2001_0000 << 96, (0x2001_0001 << 96) - 1),
    (0x2002 << 112, (0x2003 << 112) - 1),
];

/// Adds the facts of a file to `spans`. Returns the number of networks that it has facts of.
pub(super) fn read_mmdb(
    bytes: &[u8],
    kind: SourceKind,
    spans: &mut Spans,
    coverage: &mut PartCoverage,
) -> Result<usize, Mismatch> {
    let unreadable = |error: MaxMindDbError| {
        let help = "download it again; a list of networks needs a `class`, a text with countries a \
                    name that ends in `.txt` or `.csv`";
        Mismatch::new(format!("unreadable MMDB file: {error}"), help)
    };
    let reader = Reader::from_source(bytes).map_err(unreadable)?;
    // A tree of n nodes has n + 1 leaves, and several walks may meet the same leaf. With many more,
    // the file's branches join again, and the walk could go on for ever.
    let nodes = usize::try_from(reader.metadata().node_count).unwrap_or(usize::MAX);
    let mut leaves = nodes.saturating_mul(2).saturating_add(1024);
    let mut facts: BTreeMap<usize, Option<SourceFact>> = BTreeMap::new(); // by the record's offset
    let mut networks = 0_usize;
    for (text, first, last) in walks(reader.metadata().ip_version == 6) {
        // with aliases and empty leaves, so that `leaves` counts every step of the walk
        let options =
            WithinOptions::default().include_aliased_networks().include_networks_without_data();
        let start = text.parse().map_err(MaxMindDbError::InvalidNetwork);
        let walk = start.and_then(|start| reader.within(start, options));
        for leaf in walk.map_err(unreadable)? {
            let leaf = leaf.map_err(unreadable)?;
            let message = "invalid MMDB file: branches of its tree join again";
            let endless = || Mismatch::new(message, "download it again");
            leaves = leaves.checked_sub(1).ok_or_else(endless)?;
            let Some(offset) = leaf.offset() else { continue };
            let fact = match facts.get(&offset) {
                Some(fact) => *fact,
                None => {
                    let fact = match kind {
                        SourceKind::AsNumbers(source) => records::asn(&leaf)
                            .map_err(unreadable)?
                            .map(|asn| SourceFact::Asn(source, asn)),
                        SourceKind::Countries(source) | SourceKind::List(source) => {
                            let place = records::place(&leaf).map_err(unreadable)?;
                            place.iter().for_each(|entry| entry.note(coverage));
                            place.map(|entry| SourceFact::Place(source, entry.place))
                        }
                    };
                    facts.insert(offset, fact);
                    fact
                }
            };
            let Some(fact) = fact else { continue };
            let network = leaf.network().map_err(unreadable)?;
            match (network.network(), network.broadcast()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    let (first, last) = (from.to_bits().into(), to.to_bits().into());
                    spans.of_mut(Family::V4).push(Span { first, last, fact });
                }
                // a leaf above the IPv4 half of the tree covers all of it
                (IpAddr::V6(_), _) if last == LAST_V4 => {
                    spans.of_mut(Family::V4).push(Span { first, last, fact });
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    let (first, last) = (from.to_bits().max(first), to.to_bits().min(last));
                    spans.of_mut(Family::V6).push(Span { first, last, fact });
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
            networks = networks.saturating_add(1);
        }
    }
    match (networks, kind) {
        (0, SourceKind::AsNumbers(_)) => Err(Mismatch::new(
            "no AS number in this MMDB file",
            "expected records with `autonomous_system_number` or `asn`; see `gives`",
        )),
        (0, SourceKind::Countries(_) | SourceKind::List(_)) => Err(Mismatch::new(
            "no country in this MMDB file",
            "expected records with `country.iso_code` or `country_code`, or with a code as \
             `country`; see `gives`",
        )),
        (networks, _) => Ok(networks),
    }
}

/// The starts of walks through the tree, each with its first and last address: all of IPv4, and the
/// ranges of IPv6 that embed no IPv4.
fn walks(has_v6: bool) -> Vec<(String, u128, u128)> {
    let mut walks = vec![("0.0.0.0/0".to_owned(), 0, LAST_V4)];
    let starts = EMBEDDING.iter().map(|(_, last)| last.saturating_add(1));
    let ends =
        EMBEDDING.iter().skip(1).map(|(first, _)| first.saturating_sub(1)).chain([u128::MAX]);
    for (start, end) in starts.zip(ends).filter(|(start, end)| has_v6 && start <= end) {
        for subnet in Ipv6Subnets::new(Ipv6Addr::from_bits(start), Ipv6Addr::from_bits(end), 0) {
            let (first, last) = (subnet.network().to_bits(), subnet.broadcast().to_bits());
            walks.push((subnet.to_string(), first, last));
        }
    }
    walks
}
