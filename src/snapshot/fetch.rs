//! Keeps the snapshot fresh: what to ask the server for next, and what to make of the answer.
//!
//! One VM of the process does this for all. An idle poll asks for the preamble alone. For a newer snapshot
//! come the head, then those pages that the current one doesn't have, in parts; each page is verified by
//! itself and put where all workers find it. Only when all are there does the new snapshot become the
//! current one. Whatever fails on the way leaves the current one as it is, and pages that came stay for the
//! next try.
//!
//! Pages are kept in numbered slots: in one piece, or customers by their buckets (`cells`). A page of the current
//! snapshot is never overwritten; one that only the snapshot before had is, or its memory given back ([`Fetcher::sweep`]).
//! So each is stored with the beginning of its digest ([`SharedPage`]).

use std::fmt;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::layout::{Head, PREAMBLE, PageKind, Preamble, Refused};
use super::{check_page, customers, table};
use crate::key::VerifyingKey;

/// The most that is asked for at once, in bytes: verifying a part mustn't hold a worker for long.
pub const PART: usize = 256 << 10;
/// A whole file instead of a part is only taken up to this size, in bytes.
pub const MAX_WHOLE: usize = 4 << 20;
/// How long workers have to move on before the memory of the snapshot before is given back, in nanoseconds; they look ten times a second.
const SWEEP_AFTER: u64 = 5_000_000_000;
/// How many pages are given back at once.
const SWEPT: usize = 64;

/// Where pages and the current snapshot are kept for all workers.
pub trait Store {
    /// Keeps a page or a bucket.
    fn put(&mut self, cell: u32, page: &SharedPage<'_>) -> bool;
    /// Sees to it that a cell can be filled later without anything having to grow for it.
    fn reserve(&mut self, cell: u32);
    /// Gives back the memory of what is in a cell.
    fn clear(&mut self, cell: u32);
    /// What is in a cell as it was kept: what [`unmarked`] reads.
    fn get(&self, cell: u32) -> Option<Vec<u8>>;
    /// The current snapshot as it was published.
    fn current(&self) -> Option<Vec<u8>>;
    /// Makes a snapshot the current one: what [`Current::parse`] reads.
    fn publish(&mut self, current: &[u8], sequence: u64) -> bool;
}

/// A page or a bucket as it is stored: its bytes, then the first 8 of the page's digest.
#[derive(Debug)]
pub struct SharedPage<'a> {
    /// Its bytes
    pub bytes: &'a [u8],
    /// The beginning of the page's digest
    pub mark: [u8; 8],
}

/// The current snapshot as it is stored: preamble, head, and the slot of each page.
#[derive(Debug)]
pub struct Current {
    /// Its preamble, verified
    pub preamble: Preamble,
    /// Its head
    pub head: Head,
    /// Where its pages are
    pub slots: Vec<u32>,
}

/// What to ask the server for.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// The bytes of the file
    pub range: Range<u64>,
    /// The entity tag of what is already here
    pub etag: Option<String>,
}

/// The server's answer.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The HTTP status; none where the answer broke off
    pub status: Option<u16>,
    /// The entity tag
    pub etag: Option<&'a str>,
    /// The body's size in bytes
    pub size: usize,
    /// Reads from the body: from where on, how much at most
    pub body: &'a dyn Fn(usize, usize) -> Vec<u8>,
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The current snapshot is the newest
    Unchanged,
    /// There is more to ask for, at once
    More,
    /// A newer snapshot is now the current one
    Published(u64),
    /// It failed, and will be tried again
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server can't be asked or answered with this status; 503 and 504 are also Envoy's for no connection and no answer in time
    Status(u16),
    /// The answer broke off, or came too slowly
    BrokeOff,
    /// The server sends the whole file, which is too large for that
    NoRanges(usize),
    /// What it sent isn't taken
    Refused(Refused),
    /// The host didn't keep it
    Store,
}

/// Fetches snapshots.
#[derive(Debug, Default)]
pub struct Fetcher {
    state: State,
    failures: u32,
    due: u64,
    etag: Option<String>,
    // what came for a snapshot that isn't complete yet
    staged: Option<Staged>,
    // slots of pages that the current snapshot doesn't have, and when they may be cleared
    stale: Vec<(PageKind, u32)>,
    sweep_due: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    /// The preamble, the file's bytes so far, and the digest of the head's among them
    Head(Box<Preamble>, Vec<u8>, Sha256),
    Pages(Box<Filling>),
}

/// A snapshot whose pages are coming.
#[derive(Debug)]
struct Filling {
    preamble: Preamble,
    head: Head,
    bytes: Vec<u8>,
    slots: Vec<Option<u32>>,
    // INVARIANT (used): whether a slot is one of the current snapshot's or of `slots`; those behind aren't
    used: Vec<bool>,
    // every slot below is in use
    free: usize,
    // the slots of the current snapshot; none where there isn't one yet
    before: Vec<(PageKind, u32)>,
    // the pages asked for
    asked: Range<usize>,
}

/// The pages of a snapshot that came before its fetching broke off.
#[derive(Debug)]
struct Staged {
    head: Head,
    slots: Vec<Option<u32>>,
}

/// What a poll is judged by.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The keys that may have signed
    pub trusted: &'a dyn Fn(&VerifyingKey) -> bool,
    /// The lowest sequence that is taken
    pub min_sequence: u64,
    /// How often to ask, in seconds
    pub poll_seconds: u64,
    /// When it is, in nanoseconds since 1970
    pub now: u64,
    /// A random number, which spreads many nodes over time
    pub chance: u64,
}

impl Fetcher {
    /// What to ask for now, if anything. `now` is in nanoseconds.
    pub fn ask(&mut self, now: u64) -> Option<Ask> {
        let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        match &mut self.state {
            State::Waiting if now < self.due => None,
            State::Waiting => Some(Ask { range: 0..size(PREAMBLE), etag: self.etag.clone() }),
            State::Head(preamble, bytes, _) => {
                let end = PREAMBLE
                    .saturating_add(preamble.head_size)
                    .min(bytes.len().saturating_add(PART));
                Some(Ask { range: size(bytes.len())..size(end), etag: None })
            }
            State::Pages(filling) => {
                filling.choose();
                let pages = filling.head.pages.get(filling.asked.clone())?;
                let (first, last) = (pages.first()?, pages.last()?);
                Some(Ask {
                    range: first.offset..last.offset.saturating_add(size(last.size)),
                    etag: None,
                })
            }
        }
    }

    /// Takes the answer to what was asked.
    pub fn answer(
        &mut self,
        answer: Answer<'_>,
        asked: &Ask,
        rules: Rules<'_>,
        store: &mut dyn Store,
    ) -> Progress {
        let taken = self.take(answer, asked, rules, store);
        let wait = |seconds: u64| {
            let nanos = seconds.saturating_mul(1_000_000_000);
            // between three quarters and all of it
            rules.now.saturating_add(
                nanos.saturating_sub(rules.chance.checked_rem(nanos / 4).unwrap_or(0)),
            )
        };
        match &taken {
            Ok(Progress::More) => {}
            Ok(progress) => {
                if matches!(progress, Progress::Published(_)) {
                    self.sweep_due = rules.now.saturating_add(SWEEP_AFTER);
                }
                self.failures = 0;
                self.due = wait(rules.poll_seconds);
                self.state = State::Waiting;
            }
            Err(_) => {
                let backoff = 1_u64
                    .checked_shl(self.failures)
                    .unwrap_or(u64::MAX)
                    .min(rules.poll_seconds.max(1));
                self.failures = self.failures.saturating_add(1).min(32);
                self.due = wait(backoff);
                // the pages that came stay for the next try
                if let State::Pages(filling) = std::mem::take(&mut self.state) {
                    self.staged = Some(Staged { head: filling.head, slots: filling.slots });
                }
                self.etag = None;
            }
        }
        taken.unwrap_or_else(Progress::Failed)
    }

    fn take(
        &mut self,
        answer: Answer<'_>,
        asked: &Ask,
        rules: Rules<'_>,
        store: &mut dyn Store,
    ) -> Result<Progress, Failure> {
        // a server without ranges sends the whole file: the part is in it
        let begin = match answer.status {
            Some(304) if asked.etag.is_some() => return Ok(Progress::Unchanged),
            Some(206) => 0,
            Some(200) if answer.size > MAX_WHOLE => return Err(Failure::NoRanges(answer.size)),
            Some(200) => usize::try_from(asked.range.start).unwrap_or(usize::MAX),
            Some(416) => return Err(Failure::Refused(Refused::Truncated)),
            Some(status) => return Err(Failure::Status(status)),
            None => return Err(Failure::BrokeOff),
        };
        let wanted =
            usize::try_from(asked.range.end.saturating_sub(asked.range.start)).unwrap_or(0);
        let part = (answer.body)(begin, wanted);
        if part.len() < wanted && !matches!(self.state, State::Waiting) {
            return Err(Failure::Refused(Refused::Truncated));
        }
        match std::mem::take(&mut self.state) {
            State::Waiting => {
                let preamble = Preamble::parse(&part, rules.trusted)?;
                self.etag = answer.etag.map(str::to_owned);
                let current = store.current().unwrap_or_default();
                if let Ok(known) = Preamble::parse(&current, rules.trusted) {
                    if current.starts_with(&part) {
                        return Ok(Progress::Unchanged);
                    }
                    match preamble.sequence.cmp(&known.sequence) {
                        std::cmp::Ordering::Less => {
                            return Err(Refused::Rollback(preamble.sequence, known.sequence).into());
                        }
                        std::cmp::Ordering::Equal => {
                            return Err(Refused::SameSequence(known.sequence).into());
                        }
                        std::cmp::Ordering::Greater => {}
                    }
                }
                if preamble.sequence < rules.min_sequence {
                    return Err(Refused::Rollback(preamble.sequence, rules.min_sequence).into());
                }
                self.state = State::Head(Box::new(preamble), part, Sha256::new());
                Ok(Progress::More)
            }
            State::Head(preamble, mut bytes, mut digest) => {
                digest.update(&part);
                bytes.extend(part);
                let Some(head) =
                    bytes.get(PREAMBLE..).filter(|head| head.len() >= preamble.head_size)
                else {
                    self.state = State::Head(preamble, bytes, digest);
                    return Ok(Progress::More);
                };
                let head = Head::parse_verified(&preamble, head, digest.finalize().into())?;
                // it may write over them
                self.stale = Vec::new();
                let filling = Filling::new(
                    *preamble,
                    head,
                    bytes,
                    store
                        .current()
                        .and_then(|current| Current::parse(&current, rules.trusted).ok()),
                    self.staged.take(),
                );
                self.go_on(filling, store)
            }
            State::Pages(mut filling) => {
                if let Err(failure) = filling.keep(&part, store) {
                    self.state = State::Pages(filling);
                    return Err(failure);
                }
                self.go_on(*filling, store)
            }
        }
    }

    fn go_on(&mut self, filling: Filling, store: &mut dyn Store) -> Result<Progress, Failure> {
        if filling.slots.iter().any(Option::is_none) {
            self.state = State::Pages(Box::new(filling));
            return Ok(Progress::More);
        }
        // what is current must be what every worker can take: each gives up the one before for it
        if let Err(failure) = filling.check_order(store) {
            // a page that is gone is asked for again; those that are only wrong needn't be
            if failure != Failure::Store {
                self.state = State::Pages(Box::new(filling));
            }
            return Err(failure);
        }
        let mut stored = filling.bytes;
        for slot in filling.slots.iter().flatten() {
            stored.extend(slot.to_le_bytes());
        }
        if !store.publish(&stored, filling.preamble.sequence) {
            return Err(Failure::Store);
        }
        let mut used = Vec::new();
        filling.slots.iter().flatten().for_each(|slot| mark_used(&mut used, *slot));
        let is_used =
            |slot: u32| usize::try_from(slot).is_ok_and(|slot| used.get(slot) == Some(&true));
        self.stale = filling.before.into_iter().filter(|(_, slot)| !is_used(*slot)).collect();
        Ok(Progress::Published(filling.preamble.sequence))
    }

    /// Gives back the memory of pages that only the snapshot before had: some at a time, once workers had the time to move on.
    /// One that slept through it finds its page gone, and catches up.
    pub fn sweep(&mut self, now: u64, store: &mut dyn Store) {
        if now >= self.sweep_due {
            let rest = self.stale.len().saturating_sub(SWEPT);
            self.stale
                .drain(rest..)
                .flat_map(|(kind, slot)| cells(kind, slot))
                .for_each(|cell| store.clear(cell));
        }
    }
}

impl Filling {
    fn new(
        preamble: Preamble,
        head: Head,
        bytes: Vec<u8>,
        current: Option<Current>,
        staged: Option<Staged>,
    ) -> Self {
        let mut slots: Vec<Option<u32>> =
            head.pages.iter().map(|page| (page.size == 0).then_some(NOWHERE)).collect();
        let mut used = Vec::new();
        let mut before = Vec::new();
        if let Some(current) = current {
            let places =
                current.head.pages.iter().map(|page| page.kind).zip(current.slots.iter().copied());
            before = places.filter(|(_, slot)| *slot != NOWHERE).collect();
            current.slots.iter().for_each(|slot| mark_used(&mut used, *slot));
            take_over(&head, &mut slots, &current.head, current.slots.iter().copied().map(Some));
        }
        if let Some(staged) = staged {
            take_over(&head, &mut slots, &staged.head, staged.slots.into_iter());
        }
        slots.iter().flatten().for_each(|slot| mark_used(&mut used, *slot));
        Self { preamble, head, bytes, slots, used, free: 0, before, asked: 0..0 }
    }

    /// Chooses the pages to ask for: the first that is missing, and those behind it that are missing too.
    fn choose(&mut self) {
        let first = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let mut size = 0_usize;
        let behind = self.slots.iter().zip(&self.head.pages).skip(first);
        let count = behind
            .take_while(|(slot, page)| {
                size = size.saturating_add(page.size);
                // an empty page between two takes nothing
                (slot.is_none() && (size <= PART || size == page.size)) || page.size == 0
            })
            .count();
        self.asked = first..first.saturating_add(count);
    }

    /// Checks what no page shows by itself.
    fn check_order(&self, store: &dyn Store) -> Result<(), Failure> {
        table::check_order(&self.head, |number| {
            let place = self.head.pages.get(number).zip(self.slots.get(number).copied().flatten());
            let stored = place.and_then(|(page, slot)| {
                unmarked(store.get(cells(page.kind, slot).start)?, mark(&page.digest))
            });
            stored.ok_or(Failure::Store)
        })
    }

    /// Verifies the pages that came and keeps them.
    fn keep(&mut self, part: &[u8], store: &mut dyn Store) -> Result<(), Failure> {
        let mut rest = part;
        let count = u32::try_from(self.head.pages.len()).unwrap_or(NOWHERE);
        for number in self.asked.clone() {
            let (Some(page), Some(slot)) =
                (self.head.pages.get(number).copied(), self.slots.get_mut(number))
            else {
                break;
            };
            if slot.is_some() {
                continue;
            }
            let (bytes, after) =
                rest.split_at_checked(page.size).ok_or(Failure::Refused(Refused::Truncated))?;
            rest = after;
            page.verify(number, bytes)?;
            check_page(&self.head, number, bytes)?;
            while self.used.get(self.free) == Some(&true) {
                self.free = self.free.saturating_add(1);
            }
            let free = u32::try_from(self.free).unwrap_or(NOWHERE);
            let buckets =
                if page.kind == PageKind::Customers { customers::buckets(bytes) } else { None };
            let parts = buckets.as_ref().map_or(std::slice::from_ref(&bytes), |buckets| buckets);
            for (cell, bytes) in cells(page.kind, free).zip(parts) {
                if !store.put(cell, &SharedPage { bytes, mark: mark(&page.digest) }) {
                    return Err(Failure::Store);
                }
            }
            // the next snapshot may have as many new pages, and will come while there are requests: when the host's table of
            // names grows, that holds up everybody, for 10 ms with 50,000 of them
            if self.before.is_empty() {
                cells(page.kind, free.saturating_add(count)).for_each(|cell| store.reserve(cell));
            }
            mark_used(&mut self.used, free);
            *slot = Some(free);
        }
        Ok(())
    }
}

/// Takes over the slots of pages that stand in `other` at the same place.
fn take_over(
    head: &Head,
    slots: &mut [Option<u32>],
    other: &Head,
    others: impl Iterator<Item = Option<u32>>,
) {
    for (number, slot) in others.enumerate() {
        if let Some(twin) = head.twin(other, number).and_then(|twin| slots.get_mut(twin)) {
            *twin = twin.or(slot);
        }
    }
}

fn mark_used(used: &mut Vec<bool>, slot: u32) {
    let Some(slot) = usize::try_from(slot).ok().filter(|_| slot != NOWHERE) else { return };
    if slot >= used.len() {
        used.resize(slot.saturating_add(1), false);
    }
    if let Some(used) = used.get_mut(slot) {
        *used = true;
    }
}

/// The numbers under which a slot's page is kept: one, or one for each bucket of customers.
fn cells(kind: PageKind, slot: u32) -> Range<u32> {
    const BUCKETS: u32 = 1 << customers::BUCKET_BITS;
    let first = cell(slot, 0);
    first..first.saturating_add(if kind == PageKind::Customers { BUCKETS } else { 1 })
}

/// The number under which a bucket of a slot's page is kept; a page in one piece is under the first.
pub fn cell(slot: u32, bucket: usize) -> u32 {
    (slot << customers::BUCKET_BITS).saturating_add(u32::try_from(bucket).unwrap_or(0))
}

/// The slot of a page that has no bytes.
pub const NOWHERE: u32 = u32::MAX;

/// The beginning of a page's digest, which is stored with it.
pub fn mark(digest: &[u8; 32]) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}

impl Current {
    /// Reads what was published.
    ///
    /// # Errors
    /// That its key is no longer trusted, or that it isn't what was published.
    pub fn parse(stored: &[u8], trusted: impl Fn(&VerifyingKey) -> bool) -> Result<Self, Refused> {
        let preamble = Preamble::parse(stored, trusted)?;
        let rest = stored.get(PREAMBLE..).unwrap_or_default();
        let (head, slots) = rest.split_at_checked(preamble.head_size).ok_or(Refused::Truncated)?;
        // whoever published it had verified it, as with the pages
        let head = Head::read(&preamble, head)?;
        let slots: Vec<u32> = slots
            .chunks_exact(4)
            .filter_map(|slot| Some(u32::from_le_bytes(*slot.first_chunk()?)))
            .collect();
        if slots.len() == head.pages.len() {
            Ok(Self { preamble, head, slots })
        } else {
            Err(Refused::Truncated)
        }
    }
}

impl SharedPage<'_> {
    /// The stored form.
    pub fn stored(&self) -> Vec<u8> {
        [self.bytes, &self.mark].concat()
    }
}

/// The page in its stored form, if it is the one of that mark.
pub fn unmarked(mut stored: Vec<u8>, mark: [u8; 8]) -> Option<Vec<u8>> {
    let size = stored.len().checked_sub(mark.len())?;
    if stored.get(size..) != Some(&mark) {
        return None;
    }
    stored.truncate(size);
    Some(stored)
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(503) => f.write_str("the server can't be reached (or answers 503)"),
            Self::Status(504) => f.write_str("the server doesn't answer in time (or answers 504)"),
            Self::Status(status) => write!(f, "the server answers {status}"),
            Self::BrokeOff => f.write_str("the server's answer breaks off, or comes too slowly"),
            Self::NoRanges(size) => write!(
                f,
                "the server ignores `Range` and sends all {size} bytes; only {MAX_WHOLE} are taken at once"
            ),
            Self::Refused(refused) => write!(f, "not taken: {refused}"),
            Self::Store => f.write_str("the host didn't keep it"),
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({:?}, {} bytes)", self.status, self.size)
    }
}

impl fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules(from {}, every {} s)", self.min_sequence, self.poll_seconds)
    }
}
