//! Network sources: files with facts about addresses, merged into one map.
//!
//! ```text
//! files ──> mmdb (records, parts) ──> spans ──> lists       ──> sweep ──> map
//!           text                      of each   AS numbers      over all  runs of
//!                                     source    resolved        ends      addresses
//! ```
//!
//! A source is an MMDB file with countries or AS numbers, a text of networks with their countries
//! (by hand, or a feed after RFC 8805), or a list of networks.
//! [`Facts`](crate::terms::network::Facts) keep sources apart, so that a finding can name the
//! source of each.
//!
//! An IPv6 address that embeds an IPv4 address (mapped, SIIT, NAT64, 6to4, Teredo) has the facts of
//! that one: see [`embedded_v4`](crate::terms::network::embedded_v4). The makers of MMDB files
//! point those ranges to their IPv4 half or leave them out; both are ignored.
//!
//! Limits: [`MAX_COUNTRY_SOURCES`] and [`MAX_LISTS`]. A file is read whole; the Internet takes 300
//! MB.

mod lists;
mod mmdb;
mod parts;
mod records;
mod spans;
mod sweep;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use self::lists::resolve_lists;
use self::mmdb::read_mmdb;
pub use self::spans::SourceSummary;
use self::spans::{PartCoverage, SourceKind, Spans};
use self::text::{is_text, read_countries, read_list};
use super::remarks::Remarks;
use super::settings::{Gives, NetworkSource};
use crate::shape::{Path, Problems, nearest};
use crate::snapshot::map::AddressMap;
use crate::terms::region::{Place, Regions};

/// The number of sources of countries that a snapshot can tell apart.
pub const MAX_COUNTRY_SOURCES: usize = 16;

/// The number of lists that a snapshot can tell apart: one bit each.
pub const MAX_LISTS: usize = 64;

/// The map of addresses, and a summary of each source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// All facts of all addresses
    pub table: AddressMap,
    /// A summary of each source, in the order of the sources
    pub sources: Vec<SourceSummary>,
}

/// Reads all sources and merges them. `files` are those of the register's `networks/`, by their
/// path from its directory. `None` where the sources' settings or files have mistakes; `remarks`
/// has them.
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
        let mut coverage = PartCoverage::new();
        if let Some(bytes) = files.get(file) {
            match kind {
                SourceKind::List(_) => {
                    lists.push((summaries.len(), read_list(bytes, file, remarks)))
                }
                SourceKind::Countries(number) if is_text(file) => {
                    summary.networks =
                        read_countries(bytes, file, *number, &mut spans, &mut coverage, remarks);
                }
                SourceKind::Countries(_) | SourceKind::AsNumbers(_) => {
                    match read_mmdb(bytes, *kind, &mut spans, &mut coverage) {
                        Ok(networks) => summary.networks = networks,
                        Err(mismatch) => remarks.mismatch(file, None, mismatch),
                    }
                }
            }
        }
        let undivided = coverage.into_iter().filter(|(_, divides)| !divides);
        summary.undivided = undivided.map(|(country, _)| country).collect();
        summaries.push(summary);
    }
    resolve_lists(lists, sources, &kinds, &mut summaries, &mut spans, remarks);
    (remarks.count() == before)
        .then(|| Networks { table: sweep::map(&spans, &kinds), sources: summaries })
}

/// Notes the sources that name a country without its parts, where some of those are restricted.
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
            "this source names no parts of {countries}, so it can't find restricted parts: {parts}"
        );
        let help = "add a source that gives `subdivisions`, or name the whole country in \
            `regions.restricted`";
        remarks.notice(source.file.as_str(), "", message, help);
    }
}

/// The kind of each source. Notes settings that contradict each other or the files.
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
        let mut mistake = |member: &str, message: &str, help: &str| {
            problems.wrong(&Path::Member(&here, member), message, help)
        };
        if sources.iter().take(i).any(|earlier| earlier.name == source.name) {
            let message = format!("duplicate `{}`", source.name);
            mistake("name", &message, "give each source its own name");
        }
        if !files.contains_key(source.file.as_str()) {
            let there: Vec<&str> = files.keys().map(String::as_str).collect();
            let help = match nearest(source.file.as_str(), &there) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "put it into `networks/`, and give its path from the register's directory"
                    .into(),
            };
            mistake("file", &format!("missing file `{}`", source.file), &help);
        }
        let kind = match (source.class, source.gives) {
            (Some(_), Gives::Asn) => {
                let message = "`class` and `\"gives\": \"asn\"` exclude each other";
                mistake("gives", message, "leave one of the two out");
                SourceKind::List(next(&mut lists))
            }
            (Some(_), Gives::Country) => SourceKind::List(next(&mut lists)),
            (None, Gives::Country) => SourceKind::Countries(next(&mut countries)),
            (None, Gives::Asn) => SourceKind::AsNumbers(next(&mut as_numbers)),
        };
        match kind {
            SourceKind::Countries(MAX_COUNTRY_SOURCES) => {
                let most = format!("too many sources of countries: at most {MAX_COUNTRY_SOURCES}");
                mistake("name", &most, "leave some out");
            }
            SourceKind::List(MAX_LISTS) => {
                let most = format!("too many lists: at most {MAX_LISTS}");
                mistake("name", &most, "put lists of one class into one file");
            }
            SourceKind::Countries(_) | SourceKind::AsNumbers(_) | SourceKind::List(_) => {}
        }
        kinds.push(kind);
    }
    remarks.take("register.json", None, &problems);
    kinds
}
