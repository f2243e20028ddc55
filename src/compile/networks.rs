//! Network sources: many files that say something of addresses, made one table.
//!
//! A source is an MMDB file that gives countries or AS numbers, a text of networks with their countries (by hand, or a
//! feed after RFC 8805), or a list of networks. Each becomes spans of addresses with one `SourceFact`; a sweep over all their
//! ends, in order, gives the runs of [`AddressMap`].
//! The sources are kept apart in [`Facts`], so that a finding can say which one said what.
//!
//! An IPv6 address that embeds an IPv4 address (mapped, SIIT, NAT64, 6to4, Teredo) is judged by that one: see
//! [`embedded_v4`]. MMDB files point those ranges to their IPv4 half, or leave them out, as their makers
//! liked; nothing is taken from there.
//!
//! Limits: [`MAX_COUNTRY_SOURCES`] and [`MAX_LISTS`]. A file is read whole; the Internet takes some 300 MB.

mod parts;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Subnets;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::remarks::{Remark, Remarks, without_mark};
use super::settings::{Gives, NetworkSource};
use crate::names::{Network, Text, embedded_v4};
use crate::region::{CountryCode, Place, Regions};
use crate::shape::{Mismatch, Path, Problem, Problems, Word as _, nearest};
use crate::snapshot::Facts;

/// As many sources of countries as a snapshot can tell apart.
pub const MAX_COUNTRY_SOURCES: usize = 16;

/// As many lists as [`Facts::lists`] has bits.
pub const MAX_LISTS: usize = 64;

/// So many mistakes of one text are shown: a wrong file has one on every line.
const MAX_MISTAKES_SHOWN: usize = 20;

/// What all sources say of all addresses.
///
/// Both runs are sorted and begin at address 0; each entry holds from its address up to the next one's, and
/// points into `facts`. Neighbours differ. `facts` is sorted, so its first entry is "nothing is known".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressMap {
    /// IPv4: the first address of a run, and what is known of it
    pub v4: Vec<(u32, u32)>,
    /// IPv6 likewise
    pub v6: Vec<(u128, u32)>,
    /// What runs point to, each once
    pub facts: Vec<Facts>,
}

/// The table, and what became of each source, in the order of the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// What all sources say together
    pub table: AddressMap,
    /// What was read from each
    pub sources: Vec<SourceSummary>,
}

/// What was read from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSummary {
    /// Its file
    pub file: Text,
    /// Networks that it says something of
    pub networks: usize,
    /// AS numbers on a list that no source knows networks of: a typing error, or gone from the Internet
    pub unannounced: Vec<u32>,
    /// Countries of which it names no part anywhere
    pub undivided: BTreeSet<CountryCode>,
}

/// What a source is, and which of its kind, counted from 0.
#[derive(Debug, Clone, Copy)]
enum SourceKind {
    Countries(usize),
    AsNumbers(usize),
    List(usize),
}

/// One thing that one source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceFact {
    Place(usize, Place),
    Asn(usize, u32),
    /// The list's bit
    Listed(u64),
}

/// Addresses of one family, both ends included, of which a source says one thing.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u128,
    last: u128,
    fact: SourceFact,
}

/// What one entry of a source of countries says, and whether it names a part of the country, known or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PlaceEntry {
    place: Place,
    divides: bool,
}

/// The countries that a source names, each with whether it names a part of it anywhere.
type PartCoverage = BTreeMap<CountryCode, bool>;

/// Spans of both families; those of one source never overlap.
#[derive(Debug, Default)]
struct Spans {
    v4: Vec<Span>,
    v6: Vec<Span>,
}

/// A list as written.
#[derive(Debug, Default)]
struct NetworkList {
    networks: Vec<Network>,
    /// AS numbers, each with the line where it stands first
    asns: BTreeMap<u32, usize>,
}

/// Facts found so far, in order, with the number that each got when it was found.
type FactNumbers = BTreeMap<Facts, u32>;

const LAST_V4: u128 = 0xffff_ffff;
const LAST_V6: u128 = u128::MAX;

/// The ranges of [`embedded_v4`], in order.
const EMBEDDING: [(u128, u128); 6] = [
    (0, LAST_V4),
    (0xffff_0000_0000, 0xffff_ffff_ffff),
    (0xffff_0000_0000_0000, 0xffff_0000_ffff_ffff),
    (0x64_ff9b << 96, (0x64_ff9b << 96) + LAST_V4),
    (0x2001_0000 << 96, (0x2001_0001 << 96) - 1),
    (0x2002 << 112, (0x2003 << 112) - 1),
];

/// Reads all sources and makes the table. `files` are those of the register's `networks/`, by their path from its directory.
/// Every mistake in the sources' settings and files is noted in `remarks`, and there is no table then.
pub fn merge(
    sources: &[NetworkSource],
    files: &BTreeMap<String, Vec<u8>>,
    remarks: &mut Remarks,
) -> Option<Networks> {
    let before = remarks.count();
    let kinds = kinds(sources, files, remarks);
    let mut spans = Spans::default();
    let mut summaries = Vec::with_capacity(sources.len());
    let mut lists = Vec::new();
    for (source, kind) in sources.iter().zip(&kinds) {
        let file = source.file.as_str();
        let mut summary = SourceSummary {
            file: source.file.clone(),
            networks: 0,
            unannounced: Vec::new(),
            undivided: BTreeSet::new(),
        };
        let mut divided = PartCoverage::new();
        if let Some(bytes) = files.get(file) {
            match kind {
                SourceKind::List(_) => {
                    lists.push((summaries.len(), read_list(bytes, file, remarks)))
                }
                SourceKind::Countries(number) if is_text(file) => {
                    summary.networks =
                        read_countries(bytes, file, *number, &mut spans, &mut divided, remarks);
                }
                SourceKind::Countries(_) | SourceKind::AsNumbers(_) => {
                    match read_mmdb(bytes, *kind, &mut spans, &mut divided) {
                        Ok(networks) => summary.networks = networks,
                        Err(mismatch) => note(remarks, file, None, mismatch),
                    }
                }
            }
        }
        summary.undivided = divided
            .into_iter()
            .filter(|(_, divides)| !divides)
            .map(|(country, _)| country)
            .collect();
        summaries.push(summary);
    }
    resolve_lists(lists, sources, &kinds, &mut summaries, &mut spans, remarks);
    (remarks.count() == before)
        .then(|| Networks { table: table(&spans, &kinds), sources: summaries })
}

/// Notes the sources that name a country without its parts, where some of them are restricted.
pub(super) fn notice_undivided(
    sources: &[SourceSummary],
    regions: &Regions,
    remarks: &mut Remarks,
) {
    for source in sources {
        let parts: Vec<Place> =
            source.undivided.iter().flat_map(|country| regions.parts_apart(*country)).collect();
        let countries: BTreeSet<String> =
            parts.iter().map(|part| part.country.to_string()).collect();
        if countries.is_empty() {
            continue;
        }
        let countries = countries.into_iter().collect::<Vec<_>>().join(" ");
        let parts = parts.iter().map(Place::to_string).collect::<Vec<_>>().join(" ");
        let message = format!(
            "this source knows no parts of {countries}, so restricted ones can't be told by it: {parts}"
        );
        let help = "add a source that gives `subdivisions`, or name the whole country in `regions.restricted`";
        remarks.notice(source.file.as_str(), "", message, help);
    }
}

impl PlaceEntry {
    fn note(self, divided: &mut PartCoverage) {
        *divided.entry(self.place.country).or_default() |= self.divides;
    }
}

// === impl AddressTable ===

impl AddressMap {
    /// What is known of an address.
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

// === settings ===

/// What each source is. Notes settings that contradict each other or the files.
fn kinds(
    sources: &[NetworkSource],
    files: &BTreeMap<String, Vec<u8>>,
    remarks: &mut Remarks,
) -> Vec<SourceKind> {
    let (mut countries, mut as_numbers, mut lists) = (0_usize, 0_usize, 0_usize);
    let next = |count: &mut usize| std::mem::replace(count, count.saturating_add(1));
    let mut kinds = Vec::with_capacity(sources.len());
    let mut problems = Problems::default();
    let networks = Path::Member(&Path::Root, "networks");
    for (i, source) in sources.iter().enumerate() {
        let here = Path::Element(&networks, i);
        let mut mistake = |member: &str, message: String, help: String| {
            problems.note(&Path::Member(&here, member), message, Some(help))
        };
        if sources.iter().take(i).any(|earlier| earlier.name == source.name) {
            mistake(
                "name",
                format!("`{}` stands twice", source.name),
                "give each source its own name".into(),
            );
        }
        if !files.contains_key(source.file.as_str()) {
            let there: Vec<&str> = files.keys().map(String::as_str).collect();
            let help = match nearest(source.file.as_str(), &there) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "put it into `networks/` and write the way from the register's directory".into()
                }
            };
            mistake("file", format!("no file `{}` is in the register", source.file), help);
        }
        let kind = match (source.class, source.gives) {
            (Some(_), Gives::Asn) => {
                mistake(
                    "gives",
                    "a list with a `class` gives no AS numbers".into(),
                    "leave one of the two out".into(),
                );
                SourceKind::List(next(&mut lists))
            }
            (Some(_), Gives::Country) => SourceKind::List(next(&mut lists)),
            (None, Gives::Country) => SourceKind::Countries(next(&mut countries)),
            (None, Gives::Asn) => SourceKind::AsNumbers(next(&mut as_numbers)),
        };
        match kind {
            SourceKind::Countries(MAX_COUNTRY_SOURCES) => {
                mistake(
                    "name",
                    format!("more than {MAX_COUNTRY_SOURCES} sources give countries"),
                    "leave some out".into(),
                );
            }
            SourceKind::List(MAX_LISTS) => {
                mistake(
                    "name",
                    format!("more than {MAX_LISTS} lists"),
                    "put lists of one class into one file".into(),
                );
            }
            SourceKind::Countries(_) | SourceKind::AsNumbers(_) | SourceKind::List(_) => {}
        }
        kinds.push(kind);
    }
    remarks.take("register.json", problems);
    kinds
}

fn note(
    remarks: &mut Remarks,
    file: &str,
    line: Option<usize>,
    Mismatch { message, help }: Mismatch,
) {
    remarks.push_error(Remark {
        file: file.into(),
        line,
        problem: Problem { path: String::new(), message, help },
    });
}

// === MMDB files ===

/// Adds what the file says to `spans`. Gives the number of networks that it says something of.
fn read_mmdb(
    bytes: &[u8],
    kind: SourceKind,
    spans: &mut Spans,
    divided: &mut PartCoverage,
) -> Result<usize, Mismatch> {
    let unreadable = |error: MaxMindDbError| {
        Mismatch::new(
            format!("this can't be read as an MMDB file: {error}"),
            "get it anew from its maker; a list needs a `class`, a text of networks with countries a name in `.txt` or `.csv`",
        )
    };
    let reader = Reader::from_source(bytes).map_err(unreadable)?;
    // A tree of n nodes has n + 1 leaves; a leaf above several walks is met by each. Many more, and branches meet
    // again: the walk could go on for ever.
    let mut leaves = usize::try_from(reader.metadata().node_count)
        .unwrap_or(usize::MAX)
        .saturating_mul(2)
        .saturating_add(1024);
    let mut said: BTreeMap<usize, Option<SourceFact>> = BTreeMap::new(); // by the record's offset
    let mut networks = 0_usize;
    for (text, first, last) in walks(reader.metadata().ip_version == 6) {
        // aliases and empty leaves too: so that each costs the walk something that is counted
        let options =
            WithinOptions::default().include_aliased_networks().include_networks_without_data();
        let walk = text
            .parse()
            .map_err(MaxMindDbError::InvalidNetwork)
            .and_then(|start| reader.within(start, options));
        for leaf in walk.map_err(unreadable)? {
            let leaf = leaf.map_err(unreadable)?;
            leaves = leaves.checked_sub(1).ok_or_else(|| {
                Mismatch::new(
                    "this MMDB file's tree has branches that meet again",
                    "get it anew from its maker",
                )
            })?;
            let Some(offset) = leaf.offset() else { continue };
            let fact = match said.get(&offset) {
                Some(fact) => *fact,
                None => {
                    let fact = match kind {
                        SourceKind::AsNumbers(source) => records::asn(&leaf)
                            .map_err(unreadable)?
                            .map(|asn| SourceFact::Asn(source, asn)),
                        SourceKind::Countries(source) | SourceKind::List(source) => {
                            let place = records::place(&leaf).map_err(unreadable)?;
                            place.iter().for_each(|said| said.note(divided));
                            place.map(|said| SourceFact::Place(source, said.place))
                        }
                    };
                    said.insert(offset, fact);
                    fact
                }
            };
            let Some(fact) = fact else { continue };
            let network = leaf.network().map_err(unreadable)?;
            match (network.network(), network.broadcast()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    spans.v4.push(Span {
                        first: from.to_bits().into(),
                        last: to.to_bits().into(),
                        fact,
                    });
                }
                // a leaf above the IPv4 half of the tree: it holds for all of it
                (IpAddr::V6(_), _) if last == LAST_V4 => spans.v4.push(Span { first, last, fact }),
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    spans.v6.push(Span {
                        first: from.to_bits().max(first),
                        last: to.to_bits().min(last),
                        fact,
                    });
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
            networks = networks.saturating_add(1);
        }
    }
    match (networks, kind) {
        (0, SourceKind::AsNumbers(_)) => Err(Mismatch::new(
            "this MMDB file gives no AS number",
            "its records need `autonomous_system_number` or `asn`; see `gives`",
        )),
        (0, SourceKind::Countries(_) | SourceKind::List(_)) => Err(Mismatch::new(
            "this MMDB file gives no country",
            "its records need `country.iso_code` or `country_code`, or a code as `country` itself; see `gives`",
        )),
        (networks, _) => Ok(networks),
    }
}

/// Where walks through the tree start, with the first and the last address of each: all of IPv4, and what of
/// IPv6 embeds no IPv4.
fn walks(has_v6: bool) -> Vec<(String, u128, u128)> {
    let mut walks = vec![("0.0.0.0/0".to_owned(), 0, LAST_V4)];
    let starts = EMBEDDING.iter().map(|(_, last)| last.saturating_add(1));
    let ends = EMBEDDING.iter().skip(1).map(|(first, _)| first.saturating_sub(1)).chain([LAST_V6]);
    for (start, end) in starts.zip(ends).filter(|(start, end)| has_v6 && start <= end) {
        for subnet in Ipv6Subnets::new(Ipv6Addr::from_bits(start), Ipv6Addr::from_bits(end), 0) {
            walks.push((
                subnet.to_string(),
                subnet.network().to_bits(),
                subnet.broadcast().to_bits(),
            ));
        }
    }
    walks
}

// === texts ===

/// Whether a source of countries is a text rather than an MMDB file.
fn is_text(file: &str) -> bool {
    [".txt", ".csv"].iter().any(|end| file.to_ascii_lowercase().ends_with(end))
}

/// Hands `read` each entry of a text with its line; `#` begins a comment. Notes what it refuses.
fn read_lines<'a>(
    bytes: &'a [u8],
    file: &str,
    what: &str,
    remarks: &mut Remarks,
    mut read: impl FnMut(usize, &'a str) -> Result<(), Mismatch>,
) {
    let Ok(text) = std::str::from_utf8(without_mark(bytes)) else {
        note(
            remarks,
            file,
            None,
            Mismatch::new(
                "this is no text",
                format!("{what}; an MMDB file has no `class` and ends in `.mmdb`"),
            ),
        );
        return;
    };
    let (mut entries, mut mistakes) = (0_usize, 0_usize);
    for (line, entry) in
        (1_usize..).zip(text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()))
    {
        if entry.is_empty() {
            continue;
        }
        entries = entries.saturating_add(1);
        if let Err(mismatch) = read(line, entry) {
            mistakes = mistakes.saturating_add(1);
            if mistakes <= MAX_MISTAKES_SHOWN {
                note(remarks, file, Some(line), mismatch);
            }
        }
    }
    if let Some(more) = mistakes.checked_sub(MAX_MISTAKES_SHOWN).filter(|more| *more > 0) {
        note(remarks, file, None, Mismatch::new(format!("{more} more lines are wrong"), what));
    }
    if entries == 0 {
        let help = "if nothing is to be in it, take the source out of register.json";
        note(remarks, file, None, Mismatch::new("nothing stands in this file", help));
    }
}

/// Reads a list: a network, an address or an AS number a line.
fn read_list(bytes: &[u8], file: &str, remarks: &mut Remarks) -> NetworkList {
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

/// Reads networks with their places, and adds them to `spans`: where networks lie in each other the smaller one counts, also one
/// that says nothing. Gives how many say something.
fn read_countries(
    bytes: &[u8],
    file: &str,
    source: usize,
    spans: &mut Spans,
    divided: &mut PartCoverage,
    remarks: &mut Remarks,
) -> usize {
    let mut networks: BTreeMap<Network, (Option<Place>, usize)> = BTreeMap::new();
    let what = "a network and a country a line, such as `203.0.113.0/24 SG`";
    let before = remarks.count();
    // two commas on a line, comments aside: a feed, in which fields may be left out
    let commas =
        |line: &[u8]| line.iter().take_while(|b| **b != b'#').filter(|b| **b == b',').count();
    let is_feed = bytes.split(|b| *b == b'\n').any(|line| commas(line) > 1);
    read_lines(bytes, file, what, remarks, |line, entry| {
        let (network, said) = read_place(entry, is_feed)?;
        let place = said.map(|said| said.place);
        match networks.get(&network) {
            Some((other, first)) if *other != place => {
                let other = other.map_or("no country".to_owned(), |other| other.to_string());
                Err(Mismatch::new(
                    format!("on line {first} this network is in {other}"),
                    "keep one of the two",
                ))
            }
            _ => {
                said.iter().for_each(|said| said.note(divided));
                networks.entry(network).or_insert((place, line));
                Ok(())
            }
        }
    });
    let count = networks.values().filter(|(place, _)| place.is_some()).count();
    if count == 0 && remarks.count() == before {
        note(
            remarks,
            file,
            None,
            Mismatch::new(
                "no line of this text gives a country",
                format!("{what}; a list needs a `class`"),
            ),
        );
    }
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (network, (place, _)) in &networks {
        match network.range() {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                v4.push((first.to_bits().into(), last.to_bits().into(), *place))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                v6.push((first.to_bits(), last.to_bits(), *place))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }
    let span = |(first, last, place): (u128, u128, Option<Place>)| {
        Some(Span { first, last, fact: SourceFact::Place(source, place?) })
    };
    spans.v4.extend(most_specific(v4).into_iter().filter_map(span));
    spans.v6.extend(most_specific(v6).into_iter().filter_map(span));
    count
}

/// A line of a text: a network and a place, or a line of a feed (RFC 8805): a network, a country, its region, and what doesn't
/// matter here. What a feed leaves empty says nothing.
fn read_place(entry: &str, may_be_alone: bool) -> Result<(Network, Option<PlaceEntry>), Mismatch> {
    let by_hand = |place: Place| PlaceEntry { place, divides: place.is_part() };
    let fields: Vec<&str> = entry.split(',').map(unquoted).collect();
    let by_commas = fields.first().is_some_and(|network| !network.contains(char::is_whitespace));
    match fields.as_slice() {
        // ZZ and XX are codes for what isn't known
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
            let mut words = entry.split([',', ' ', '\t']).filter(|word| !word.is_empty());
            let (Some(network), Some(place), None) = (words.next(), words.next(), words.next())
            else {
                return Err(Mismatch::new(
                    format!("`{entry}` isn't a network and a country"),
                    "such as `203.0.113.0/24 SG` or `203.0.113.0/24,UA-43`",
                ));
            };
            let (network, place) = (read_network(network), Place::parse(place));
            Ok((network?, Some(by_hand(place?))))
        }
    }
}

/// A field of a line without blanks around it and without quotes. Those that are looked at have no comma in them.
fn unquoted(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field).trim()
}

/// Networks, of which any two lie in each other or apart, as runs that don't overlap: the smaller one counts.
fn most_specific(
    mut networks: Vec<(u128, u128, Option<Place>)>,
) -> Vec<(u128, u128, Option<Place>)> {
    networks.sort_unstable_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut runs = Vec::with_capacity(networks.len());
    let mut open: Vec<(u128, Option<Place>)> = Vec::new();
    let mut next = None; // the first address of a network that is open that no run has yet
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
        let asn = digits
            .parse()
            .ok()
            .filter(|asn| *asn != 0 && digits.bytes().all(|b| b.is_ascii_digit()));
        return asn.map(ListItem::Asn).ok_or_else(|| {
            Mismatch::new(
                format!("`{entry}` is no AS number"),
                "such as `AS64500`, up to `AS4294967295`",
            )
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

/// Adds the lists to `spans`, with AS numbers replaced by their networks.
fn resolve_lists(
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
    let announced = if has_asns && !wanted.is_empty() {
        announced(&wanted, spans, kinds)
    } else {
        BTreeMap::new()
    };
    for (i, list) in lists {
        let (Some(source), Some(SourceKind::List(number)), Some(summary)) =
            (sources.get(i), kinds.get(i), summaries.get_mut(i))
        else {
            continue;
        };
        if let (false, Some((asn, line))) =
            (has_asns, list.asns.iter().min_by_key(|(_, line)| **line))
        {
            let help = "add a source with `\"gives\": \"asn\"` to register.json, or list networks";
            let message = format!("`AS{asn}` can't be resolved: no source gives AS numbers");
            note(remarks, source.file.as_str(), Some(*line), Mismatch::new(message, help));
        }
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &list.networks {
            match network.range() {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    v4.push((first.to_bits().into(), last.to_bits().into()))
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        for asn in list.asns.keys() {
            match announced.get(asn) {
                Some((of_v4, of_v6)) => {
                    v4.extend_from_slice(of_v4);
                    v6.extend_from_slice(of_v6);
                }
                None => summary.unannounced.push(*asn),
            }
        }
        summary.networks = v4.len().saturating_add(v6.len());
        let bit = u32::try_from(*number)
            .ok()
            .and_then(|number| 1_u64.checked_shl(number))
            .unwrap_or_default();
        let span = |(first, last)| Span { first, last, fact: SourceFact::Listed(bit) };
        spans.v4.extend(union(v4).into_iter().map(span));
        spans.v6.extend(union(v6).into_iter().map(span));
    }
}

/// First and last addresses.
type Ranges = Vec<(u128, u128)>;

/// The IPv4 and the IPv6 ranges of the wanted AS numbers, by what the sources say together.
fn announced(
    wanted: &BTreeSet<u32>,
    spans: &Spans,
    kinds: &[SourceKind],
) -> BTreeMap<u32, (Ranges, Ranges)> {
    let mut announced: BTreeMap<u32, (Ranges, Ranges)> = BTreeMap::new();
    let mut collect = |spans: &[Span],
                       last: u128,
                       choose: fn(&mut (Ranges, Ranges)) -> &mut Ranges| {
        let mut found = FactNumbers::new();
        let of_asns: Vec<Span> =
            spans.iter().filter(|span| matches!(span.fact, SourceFact::Asn(..))).copied().collect();
        let runs = sweep(&of_asns, last, kinds, &mut found);
        let asns: BTreeMap<u32, u32> =
            found.iter().filter_map(|(facts, number)| Some((*number, facts.asn?))).collect();
        let ends = runs.iter().skip(1).map(|(next, _)| next.saturating_sub(1)).chain([last]);
        for ((first, number), end) in runs.iter().zip(ends) {
            if let Some(asn) = asns.get(number).filter(|asn| wanted.contains(asn)) {
                choose(announced.entry(*asn).or_default()).push((*first, end));
            }
        }
    };
    collect(&spans.v4, LAST_V4, |(v4, _)| v4);
    collect(&spans.v6, LAST_V6, |(_, v6)| v6);
    announced
}

/// The same addresses, sorted and without overlaps.
fn union(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut union: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match union.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => union.push((first, last)),
        }
    }
    union
}

// === the sweep ===

fn table(spans: &Spans, kinds: &[SourceKind]) -> AddressMap {
    let mut found = FactNumbers::new();
    let v4 = sweep(&spans.v4, LAST_V4, kinds, &mut found);
    let v6 = sweep(&spans.v6, LAST_V6, kinds, &mut found);
    // facts were numbered as they were met; the file has them in their own order
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

/// Goes through all ends of spans in order, keeping what is known between two of them.
fn sweep(
    spans: &[Span],
    last: u128,
    kinds: &[SourceKind],
    found: &mut FactNumbers,
) -> Vec<(u128, u32)> {
    // (address, whether the fact begins there, span): where one span ends and the next begins, the end comes first
    let mut ends: Vec<(u128, bool, SourceFact)> = Vec::with_capacity(spans.len().saturating_mul(2));
    for span in spans {
        ends.push((span.first, true, span.fact));
        if span.last < last {
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
