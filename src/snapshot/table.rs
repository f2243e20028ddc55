//! The table of addresses: sorted runs, read in place.
//!
//! A run goes from its first address to the next run's, and points at its facts. IPv6 runs have the
//! first 64 bits of addresses; the few /64 that are divided point at a finer table instead.

use std::net::IpAddr;

use super::bytes::PageBytes;
use super::layout::{Contents, Head, PageKind, ROWS_A_PAGE, SnapshotError};
use crate::register::PageGone;
use crate::shape::Integer;
use crate::terms::network::{NetworkClass, SourceRole, embedded_v4};
use crate::terms::region::Place;

/// A row's pointer, in bytes: at most 2^24 - 1 different facts.
pub const POINTER: usize = 3;
/// The pointer that says "look into the finer table".
pub const DIVIDED: u32 = 0xff_ffff;

/// The whole table.
#[derive(Debug)]
pub struct AddressIndex {
    v4: Runs<V4_ROW>,
    v6: Runs<V6_ROW>,
    v6_fine: Runs<V6_FINE_ROW>,
    facts: Vec<PageBytes>,
    // INVARIANT (geometry): the size of a row of facts, and the rows of a page (but for the last)
    facts_width: usize,
    facts_a_page: usize,
    // the sources of countries, in order of precedence
    countries: Vec<(String, SourceRole)>,
    // what the pointers in rows of facts mean, from 1 on
    places: Vec<Place>,
    list_sets: Vec<Vec<(String, NetworkClass)>>,
}

/// What the sources say of one address, read in place.
#[derive(Debug, Clone, Copy)]
pub struct FactsRow<'a> {
    table: &'a AddressIndex,
    row: &'a [u8],
}

/// The sizes of rows: the key, then the pointer.
const V4_ROW: usize = 4 + POINTER;
const V6_ROW: usize = 8 + POINTER;
const V6_FINE_ROW: usize = 16 + POINTER;

/// A row of runs, as a page has it. Each width has its own type of key: comparing 128 bits for IPv4
/// would cost a third of a look-up.
trait RunRow {
    /// The address, or as much of it as the table holds
    type Key: Copy + Ord + std::fmt::Debug;
    /// Where the run begins.
    fn key(&self) -> Self::Key;
    /// What it points at.
    fn pointer(&self) -> u32;
}

type Key<const WIDTH: usize> = <[u8; WIDTH] as RunRow>::Key;

/// Runs of one width of address, in pages.
#[derive(Debug)]
struct Runs<const WIDTH: usize>
where
    [u8; WIDTH]: RunRow,
{
    // INVARIANT (order): keys ascend strictly within pages and across them, from zero on
    firsts: Vec<Key<WIDTH>>,
    pages: Vec<RunPage<Key<WIDTH>>>,
}

/// A page of runs, and the first key of each [`STRIDE`] of its rows. A CPU's cache holds these keys
/// of all pages, but not all pages.
#[derive(Debug)]
struct RunPage<K> {
    bytes: PageBytes,
    samples: Vec<K>,
}

/// How many rows share a sample: half a kilobyte.
const STRIDE: usize = 64;

/// Pages that stay from one table to the next, with their places in the next.
#[derive(Default)]
struct Carryover {
    facts: Twins<PageBytes>,
    v4: Twins<RunPage<u32>>,
    v6: Twins<RunPage<u64>>,
    v6_fine: Twins<RunPage<u128>>,
}

type Twins<P> = Vec<(usize, P)>;

/// The pages of a kind that `head` has at the same place as `other`, by their numbers in `head`.
fn twins<P>(head: &Head, other: &Head, kind: PageKind, pages: Vec<P>) -> Twins<P> {
    pages
        .into_iter()
        .zip(other.of_kind(kind))
        .filter_map(|(page, number)| Some((head.twin(other, number)?, page)))
        .collect()
}

/// The pages of a kind: those that were kept, and the others read.
fn load<P>(
    head: &Head,
    kind: PageKind,
    kept: Twins<P>,
    read: &mut impl FnMut(usize) -> Result<PageBytes, PageGone>,
    made: impl Fn(PageBytes) -> P,
) -> Result<Vec<P>, SnapshotError> {
    let mut kept = kept.into_iter().peekable();
    let page = |number| match kept.next_if(|(twin, _)| *twin == number) {
        Some((_, page)) => Ok(page),
        None => Ok(made(read(number)?)),
    };
    head.of_kind(kind).map(page).collect()
}

impl<K> RunPage<K> {
    fn new<const WIDTH: usize>(bytes: PageBytes) -> Self
    where
        [u8; WIDTH]: RunRow<Key = K>,
    {
        Self {
            samples: bytes.as_chunks::<WIDTH>().0.iter().step_by(STRIDE).map(RunRow::key).collect(),
            bytes,
        }
    }
}

impl AddressIndex {
    /// Puts verified pages together, which `page` gives by number, and checks that addresses ascend
    /// from page to page. Takes over the pages that the index before has too, and frees its others
    /// before it reads a new one.
    ///
    /// # Errors
    /// What breaks the format.
    pub fn new(
        head: &Head,
        before: Option<(Self, Head)>,
        mut page: impl FnMut(usize) -> Result<PageBytes, PageGone>,
    ) -> Result<Self, SnapshotError> {
        let kept = before.map(|(before, other)| Carryover {
            facts: twins(head, &other, PageKind::Facts, before.facts),
            v4: twins(head, &other, PageKind::V4, before.v4.pages),
            v6: twins(head, &other, PageKind::V6, before.v6.pages),
            v6_fine: twins(head, &other, PageKind::V6Fine, before.v6_fine.pages),
        });
        let kept = kept.unwrap_or_default();
        let page = &mut page;
        let facts = load(head, PageKind::Facts, kept.facts, page, |bytes| bytes)?;
        let v4 = load(head, PageKind::V4, kept.v4, page, RunPage::new::<V4_ROW>)?;
        let v6 = load(head, PageKind::V6, kept.v6, page, RunPage::new::<V6_ROW>)?;
        let v6_fine =
            load(head, PageKind::V6Fine, kept.v6_fine, page, RunPage::new::<V6_FINE_ROW>)?;
        let first = |kind| head.of_kind(kind).start;
        let sources = &head.contents.sources;
        let countries =
            sources.iter().filter_map(|source| Some((source.name.to_string(), source.role?)));
        let countries: Vec<(String, SourceRole)> = countries.collect();
        let list = |number: &Integer<0, 4_095>| {
            let source = sources.get(usize::try_from(number.0).ok()?)?;
            Some((source.name.to_string(), source.class?))
        };
        let sets = head.contents.list_sets.iter();
        let list_sets = sets.map(|set| set.iter().filter_map(list).collect());
        Ok(Self {
            v4: Runs::new(v4, first(PageKind::V4))?,
            v6: Runs::new(v6, first(PageKind::V6))?,
            v6_fine: Runs::new(v6_fine, first(PageKind::V6Fine))?,
            facts_width: facts_width(countries.len()),
            facts_a_page: head.pages.get(first(PageKind::Facts)).map_or(0, |page| page.rows),
            facts,
            places: head.contents.places.clone(),
            list_sets: list_sets.collect(),
            countries,
        })
    }

    /// What is known of an address. An IPv6 address that embeds an IPv4 one is judged by that.
    pub fn find(&self, address: IpAddr) -> Option<FactsRow<'_>> {
        let embedded = match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(v6) => embedded_v4(v6),
        };
        let pointer = match (embedded, address) {
            (Some(v4), _) | (None, IpAddr::V4(v4)) => self.v4.find(v4.to_bits())?,
            (None, IpAddr::V6(v6)) => {
                match self.v6.find(u64::try_from(v6.to_bits() >> 64).unwrap_or_default())? {
                    DIVIDED => self.v6_fine.find(v6.to_bits())?,
                    pointer => pointer,
                }
            }
        };
        let pointer = usize::try_from(pointer).ok()?;
        let (page, row) =
            (pointer.checked_div(self.facts_a_page)?, pointer.checked_rem(self.facts_a_page)?);
        let begin = row.checked_mul(self.facts_width)?;
        let row = self.facts.get(page)?.get(begin..begin.checked_add(self.facts_width)?)?;
        Some(FactsRow { table: self, row })
    }

    /// How many bytes it holds.
    pub fn size(&self) -> usize {
        let facts = self.facts.iter().map(|page| page.len()).fold(0, usize::saturating_add);
        let runs = [self.v4.size(), self.v6.size(), self.v6_fine.size()];
        runs.into_iter().fold(facts, usize::saturating_add)
    }
}

macro_rules! rows {
    ($($width:ident: $key:ty),*) => {$(
        impl RunRow for [u8; $width] {
            type Key = $key;

            fn key(&self) -> $key {
                let [key @ .., _, _, _] = *self;
                <$key>::from_le_bytes(key)
            }

            fn pointer(&self) -> u32 {
                let [.., a, b, c] = *self;
                u32::from_le_bytes([a, b, c, 0])
            }
        }
    )*};
}

rows! { V4_ROW: u32, V6_ROW: u64, V6_FINE_ROW: u128 }

impl<const WIDTH: usize> Runs<WIDTH>
where
    [u8; WIDTH]: RunRow,
{
    fn new(pages: Vec<RunPage<Key<WIDTH>>>, number: usize) -> Result<Self, SnapshotError> {
        let mut firsts = Vec::with_capacity(pages.len());
        let mut last = None;
        for (page, number) in pages.iter().zip(number..) {
            firsts.push(Self::goes_on(&page.bytes, number, &mut last)?);
        }
        Ok(Self { firsts, pages })
    }

    /// Checks that a page begins behind `last`, the last key of the page before. Returns its first
    /// key and leaves its last in `last`.
    fn goes_on(
        page: &[u8],
        number: usize,
        last: &mut Option<Key<WIDTH>>,
    ) -> Result<Key<WIDTH>, SnapshotError> {
        let (rows, _) = page.as_chunks::<WIDTH>();
        let (Some(first), Some(end)) = (rows.first(), rows.last()) else {
            return Err(SnapshotError::Page(number, "it is empty"));
        };
        if last.replace(end.key()).is_some_and(|last| last >= first.key()) {
            let why = "its addresses don't go on from the page before";
            return Err(SnapshotError::Page(number, why));
        }
        Ok(first.key())
    }

    fn size(&self) -> usize {
        self.pages.iter().map(|page| page.bytes.len()).fold(0, usize::saturating_add)
    }

    /// The pointer of the last run that begins at `key` or before.
    fn find(&self, key: Key<WIDTH>) -> Option<u32> {
        let number = self.firsts.partition_point(|first| *first <= key).checked_sub(1)?;
        let page = self.pages.get(number)?;
        let sample = page.samples.partition_point(|first| *first <= key).checked_sub(1)?;
        let rows = page.bytes.as_chunks::<WIDTH>().0.chunks(STRIDE).nth(sample)?;
        rows.get(rows.partition_point(|row| row.key() <= key).checked_sub(1)?).map(RunRow::pointer)
    }
}

/// Checks that addresses ascend from page to page, as [`AddressIndex::new`] does, with one page in
/// memory at a time.
///
/// # Errors
/// What breaks the format, or what `page` has to say.
pub fn check_order<E: From<SnapshotError>>(
    head: &Head,
    mut page: impl FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    fn check<const WIDTH: usize, E: From<SnapshotError>>(
        numbers: std::ops::Range<usize>,
        mut page: impl FnMut(usize) -> Result<Vec<u8>, E>,
    ) -> Result<(), E>
    where
        [u8; WIDTH]: RunRow,
    {
        let mut last = None;
        for number in numbers {
            Runs::<WIDTH>::goes_on(&page(number)?, number, &mut last)?;
        }
        Ok(())
    }
    check::<V4_ROW, E>(head.of_kind(PageKind::V4), &mut page)?;
    check::<V6_ROW, E>(head.of_kind(PageKind::V6), &mut page)?;
    check::<V6_FINE_ROW, E>(head.of_kind(PageKind::V6Fine), &mut page)
}

/// Checks a page of the table by itself.
///
/// # Errors
/// What breaks the format.
pub fn check(
    kind: PageKind,
    page: &[u8],
    rows: usize,
    contents: &Contents,
) -> Result<(), &'static str> {
    match kind {
        PageKind::Facts => check_facts(page, rows, contents),
        PageKind::V4 => check_runs::<V4_ROW>(page, rows),
        PageKind::V6 => check_runs::<V6_ROW>(page, rows),
        PageKind::V6Fine => check_runs::<V6_FINE_ROW>(page, rows),
        PageKind::Nodes | PageKind::Customers => Ok(()),
    }
}

/// Checks a page of runs by itself: whole rows in strictly ascending order.
fn check_runs<const WIDTH: usize>(page: &[u8], rows: usize) -> Result<(), &'static str>
where
    [u8; WIDTH]: RunRow,
{
    let (found, rest) = page.as_chunks::<WIDTH>();
    if rows == 0 || rows > ROWS_A_PAGE || found.len() != rows || !rest.is_empty() {
        return Err("its size isn't that of its rows");
    }
    let ascends = found.is_sorted_by(|row, next| row.key() < next.key());
    if ascends { Ok(()) } else { Err("its addresses aren't in ascending order") }
}

/// Checks a page of facts by itself.
fn check_facts(page: &[u8], rows: usize, contents: &Contents) -> Result<(), &'static str> {
    let countries = contents.sources.iter().filter(|source| source.role.is_some()).count();
    let width = facts_width(countries);
    if rows == 0 || rows.checked_mul(width) != Some(page.len()) {
        return Err("its size isn't that of its rows");
    }
    let within = |cell: &[u8], count: usize| {
        cell.first_chunk().is_some_and(|cell| usize::from(u16::from_le_bytes(*cell)) <= count)
    };
    let sound = page.chunks_exact(width).all(|row| {
        let mut places = row.get(FACTS_FIXED..).unwrap_or_default().chunks_exact(2);
        row.get(4..).is_some_and(|set| within(set, contents.list_sets.len()))
            && places.all(|cell| within(cell, contents.places.len()))
    });
    if sound { Ok(()) } else { Err("a row points at nothing") }
}

/// The size of a row of facts: the autonomous system (4 bytes), the set of lists (2), and a place
/// for each source of countries (2).
pub fn facts_width(countries: usize) -> usize {
    countries.saturating_mul(2).saturating_add(FACTS_FIXED)
}

const FACTS_FIXED: usize = 6;

/// What the pointer at the beginning of these bytes points at; nothing where it is 0.
fn pointed<'a, T>(table: &'a [T], bytes: &[u8]) -> Option<&'a T> {
    let pointer = u16::from_le_bytes(*bytes.first_chunk()?);
    table.get(usize::from(pointer).checked_sub(1)?)
}

impl<'a> FactsRow<'a> {
    /// What each source of countries says that knows, with its role and name.
    pub fn places(self) -> impl Iterator<Item = (Place, SourceRole, &'a str)> {
        let cells = self.row.get(FACTS_FIXED..).unwrap_or_default().chunks_exact(2);
        let sources = self.table.countries.iter();
        cells.zip(sources).filter_map(|(cell, (name, role))| {
            Some((*pointed(&self.table.places, cell)?, *role, name.as_str()))
        })
    }

    /// The lists that the address is on.
    pub fn lists(self) -> impl Iterator<Item = (&'a str, NetworkClass)> {
        let set = self.row.get(4..).and_then(|rest| pointed(&self.table.list_sets, rest));
        set.into_iter().flatten().map(|(name, class)| (name.as_str(), *class))
    }

    /// The autonomous system that announces the address.
    pub fn asn(self) -> Option<u32> {
        self.row.first_chunk().map(|asn| u32::from_le_bytes(*asn)).filter(|asn| *asn != 0)
    }
}
