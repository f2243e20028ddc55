//! Texts: networks with their countries, and lists of networks and AS numbers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::records;
use super::spans::{Families, Family, PartCoverage, PlaceEntry, SourceFact, Span, Spans, bounds};
use crate::compile::remarks::{Remarks, without_mark};
use crate::shape::{Mismatch, Word as _};
use crate::terms::network::Network;
use crate::terms::region::Place;

/// How many mistakes of one text are shown: a wrong file has one on every line.
const MAX_MISTAKES_SHOWN: usize = 20;

/// First and last address, and the place.
type PlaceRange = (u128, u128, Option<Place>);

/// A list as written.
#[derive(Debug, Default)]
pub(super) struct NetworkList {
    pub(super) networks: Vec<Network>,
    /// AS numbers, each with its first line
    pub(super) asns: BTreeMap<u32, usize>,
}

/// Whether a source of countries is a text rather than an MMDB file.
pub(super) fn is_text(file: &str) -> bool {
    [".txt", ".csv"].iter().any(|end| file.to_ascii_lowercase().ends_with(end))
}

/// Gives each entry of a text with its line to `read`, and notes its errors. `#` begins a comment.
fn read_lines<'a>(
    bytes: &'a [u8],
    file: &str,
    what: &str,
    remarks: &mut Remarks,
    mut read: impl FnMut(usize, &'a str) -> Result<(), Mismatch>,
) {
    let Ok(text) = std::str::from_utf8(without_mark(bytes)) else {
        let help = format!("{what}; an MMDB file has no `class` and ends in `.mmdb`");
        remarks.mismatch(file, None, Mismatch::new("not a text file", help));
        return;
    };
    let (mut entries, mut mistakes) = (0_usize, 0_usize);
    let content = |line: &'a str| line.split('#').next().unwrap_or_default().trim();
    let lines = (1_usize..).zip(text.lines().map(content));
    for (line, entry) in lines.filter(|(_, entry)| !entry.is_empty()) {
        entries = entries.saturating_add(1);
        if let Err(mismatch) = read(line, entry) {
            mistakes = mistakes.saturating_add(1);
            if mistakes <= MAX_MISTAKES_SHOWN {
                remarks.mismatch(file, Some(line), mismatch);
            }
        }
    }
    if let Some(more) = mistakes.checked_sub(MAX_MISTAKES_SHOWN).filter(|more| *more > 0) {
        remarks.mismatch(file, None, Mismatch::new(format!("{more} more invalid lines"), what));
    }
    if entries == 0 {
        let help = "a source without networks must be removed from register.json";
        remarks.mismatch(file, None, Mismatch::new("empty file", help));
    }
}

/// Reads a list: a network, an address or an AS number a line.
pub(super) fn read_list(bytes: &[u8], file: &str, remarks: &mut Remarks) -> NetworkList {
    let mut list = NetworkList::default();
    let what = "with a `class`, a source is a list of networks, one a line";
    read_lines(bytes, file, what, remarks, |line, entry| {
        match read_entry(entry)? {
            ListItem::Network(network) => list.networks.push(network),
            ListItem::Asn(asn) => {
                list.asns.entry(asn).or_insert(line);
            }
        }
        Ok(())
    });
    list
}

/// Adds networks with their places to `spans`. Of networks within each other the smaller one
/// counts, with or without a place. Returns the number of networks with a place.
pub(super) fn read_countries(
    bytes: &[u8],
    file: &str,
    source: usize,
    spans: &mut Spans,
    coverage: &mut PartCoverage,
    remarks: &mut Remarks,
) -> usize {
    let mut networks: BTreeMap<Network, (Option<Place>, usize)> = BTreeMap::new();
    let what = "a network and a country a line, such as `203.0.113.0/24 SG`";
    let before = remarks.count();
    // a line with two commas, without its comment, makes the file a feed: fields may be empty there
    let commas =
        |line: &[u8]| line.iter().take_while(|b| **b != b'#').filter(|b| **b == b',').count();
    let is_feed = bytes.split(|b| *b == b'\n').any(|line| commas(line) > 1);
    read_lines(bytes, file, what, remarks, |line, entry| {
        let (network, found) = read_place(entry, is_feed)?;
        let place = found.map(|entry| entry.place);
        match networks.get(&network) {
            Some((other, first)) if *other != place => {
                let other = other.map_or("no country".to_owned(), |other| other.to_string());
                let message = format!("duplicate network: line {first} says {other}");
                Err(Mismatch::new(message, "keep one of the two"))
            }
            _ => {
                found.iter().for_each(|entry| entry.note(coverage));
                networks.entry(network).or_insert((place, line));
                Ok(())
            }
        }
    });
    let count = networks.values().filter(|(place, _)| place.is_some()).count();
    if count == 0 && remarks.count() == before {
        let help = format!("{what}; a list needs a `class`");
        remarks.mismatch(file, None, Mismatch::new("no line gives a country", help));
    }
    let mut places: Families<PlaceRange> = Families::default();
    for (network, (place, _)) in &networks {
        let (family, first, last) = bounds(network);
        places.of_mut(family).push((first, last, *place));
    }
    for family in Family::ALL {
        let runs = most_specific(std::mem::take(places.of_mut(family)));
        spans.of_mut(family).extend(runs.into_iter().filter_map(|(first, last, place)| {
            Some(Span { first, last, fact: SourceFact::Place(source, place?) })
        }));
    }
    count
}

/// Reads a line of a text: a network and a place, or a line of a feed (RFC 8805): a network, a
/// country, its region, and ignored fields. An empty country says nothing.
fn read_place(entry: &str, may_be_alone: bool) -> Result<(Network, Option<PlaceEntry>), Mismatch> {
    let by_hand = |place: Place| PlaceEntry { place, divides: place.is_part() };
    let fields: Vec<&str> = entry.split(',').map(unquoted).collect();
    let by_commas = fields.first().is_some_and(|network| !network.contains(char::is_whitespace));
    match fields.as_slice() {
        // ZZ and XX are codes of unknown countries
        [network] if by_commas && may_be_alone => Ok((read_network(network)?, None)),
        [network, "" | "ZZ" | "XX", ..] if by_commas => Ok((read_network(network)?, None)),
        [network, place] if by_commas => {
            let (network, place) = (read_network(network), Place::parse(place));
            Ok((network?, Some(by_hand(place?))))
        }
        [network, country, region, ..] if by_commas => {
            let (network, country) =
                (read_network(network), Place::parse(&country.to_ascii_uppercase()));
            Ok((network?, Some(records::with_region(&country?, region))))
        }
        _ => {
            let words = entry.split([',', ' ', '\t']).filter(|word| !word.is_empty());
            let [network, place] = words.collect::<Vec<_>>()[..] else {
                let message = format!("invalid line `{entry}`: expected a network and a country");
                let help = "such as `203.0.113.0/24 SG` or `203.0.113.0/24,UA-43`";
                return Err(Mismatch::new(message, help));
            };
            let (network, place) = (read_network(network), Place::parse(place));
            Ok((network?, Some(by_hand(place?))))
        }
    }
}

/// A field of a line, without blanks and quotes around it. No field that is used has a comma in it.
fn unquoted(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field).trim()
}

/// Makes runs that don't overlap out of networks: of networks within each other the smaller one
/// counts.
fn most_specific(mut networks: Vec<PlaceRange>) -> Vec<PlaceRange> {
    networks.sort_unstable_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut runs = Vec::with_capacity(networks.len());
    let mut open: Vec<(u128, Option<Place>)> = Vec::new();
    let mut next = None; // the first address of an open network that is in no run yet
    let mut until = |next: &mut Option<u128>, end: u128, place: Option<Place>| {
        if let Some(first) = next.filter(|first| *first <= end) {
            runs.push((first, end, place));
            *next = end.checked_add(1);
        }
    };
    for (first, last, place) in networks {
        while let Some((end, inner)) = open.pop_if(|(end, _)| *end < first) {
            until(&mut next, end, inner);
        }
        if let (Some((_, outer)), Some(before)) = (open.last(), first.checked_sub(1)) {
            until(&mut next, before, *outer);
        }
        open.push((last, place));
        next = Some(first);
    }
    while let Some((end, inner)) = open.pop() {
        until(&mut next, end, inner);
    }
    runs
}

enum ListItem {
    Network(Network),
    Asn(u32),
}

fn read_entry(entry: &str) -> Result<ListItem, Mismatch> {
    if let Some(digits) = entry.strip_prefix("AS").or_else(|| entry.strip_prefix("as")) {
        let is_number = |asn: &u32| *asn != 0 && digits.bytes().all(|b| b.is_ascii_digit());
        return digits.parse().ok().filter(is_number).map(ListItem::Asn).ok_or_else(|| {
            let message = format!("invalid AS number `{entry}`");
            Mismatch::new(message, "expected `AS1` to `AS4294967295`")
        });
    }
    read_network(entry).map(ListItem::Network)
}

/// A network, or an address alone.
fn read_network(text: &str) -> Result<Network, Mismatch> {
    match text.parse() {
        Ok(IpAddr::V4(_)) => Network::parse(&format!("{text}/32")),
        Ok(IpAddr::V6(_)) => Network::parse(&format!("{text}/128")),
        Err(_) => Network::parse(text),
    }
}
