//! Fetches snapshots: which part of the file to ask for next, and what to do with the answer.
//!
//! One worker of the process fetches for all. An idle poll asks for the preamble alone. For a newer
//! snapshot the head comes next, then the pages that the current snapshot doesn't have. Each page
//! is verified by itself and stored where all workers find it. The new snapshot becomes the current
//! one when all its pages are there. A failure leaves the current snapshot as it is, and the pages
//! that came stay for the next try.
//!
//! Pages are stored in numbered slots, in one piece or, for customers, by bucket (`cells`). A page
//! of the current snapshot is never overwritten. A page of the snapshot before may be, or its
//! memory is given back ([`Fetcher::sweep`]). So each is stored with the beginning of its digest
//! ([`SharedPage`]).

use std::fmt;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::layout::{Head, PREAMBLE, PageKind, Preamble, SnapshotError};
use super::{check_page, customers, table};
use crate::terms::key::VerifyingKey;

/// The largest part, in bytes: verifying one must not hold up a worker for long.
pub const PART: usize = 256 << 10;
/// The largest whole file that is taken instead of a part, in bytes.
pub const MAX_WHOLE: usize = 4 << 20;
/// How long workers have to move on before the memory of the snapshot before is given back, in
/// nanoseconds. They look ten times a second.
const SWEEP_AFTER: u64 = 5_000_000_000;
/// How many pages are given back at once.
const SWEPT: usize = 64;

/// Where pages and the current snapshot are kept for all workers.
pub trait PageStore {
    /// Keeps a page or a bucket.
    fn put(&mut self, cell: u32, page: &SharedPage<'_>) -> bool;
    /// Prepares a cell, so that the store needn't grow when it is filled.
    fn reserve(&mut self, cell: u32);
    /// Gives back the memory of what is in a cell.
    fn clear(&mut self, cell: u32);
    /// What is in a cell, in the form that [`unmarked`] reads.
    fn get(&self, cell: u32) -> Option<Vec<u8>>;
    /// The current snapshot as it was published.
    fn current(&self) -> Option<Vec<u8>>;
    /// Makes a snapshot the current one: what [`CurrentSnapshot::parse`] reads.
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
pub struct CurrentSnapshot {
    /// Its preamble, verified
    pub preamble: Preamble,
    /// Its head
    pub head: Head,
    /// Where its pages are
    pub slots: Vec<u32>,
}

/// What to ask the server for.
#[derive(Debug, PartialEq, Eq)]
pub struct PartRequest {
    /// The bytes of the file
    pub range: Range<u64>,
    /// The entity tag of what is already here
    pub etag: Option<String>,
}

/// The server's answer.
#[derive(Clone, Copy)]
pub struct PartResponse<'a> {
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
    Failed(FetchError),
}

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server can't be asked, or answered with this status. 503 and 504 are also Envoy's for no
    /// connection and for no answer in time
    #[error("{}", status_text(*.0))]
    Status(u16),
    /// The answer broke off, or came too slowly
    #[error("the server's answer breaks off, or comes too slowly")]
    BrokeOff,
    /// The server sends the whole file, which is too large for that
    #[error(
        "the server ignores `Range` and sends all {0} bytes; only {MAX_WHOLE} are taken at once"
    )]
    NoRanges(usize),
    /// What it sent isn't taken
    #[error("not taken: {0}")]
    Refused(#[from] SnapshotError),
    /// The host didn't keep it
    #[error("the host didn't keep it")]
    Store,
}

fn status_text(status: u16) -> String {
    match status {
        503 => "the server can't be reached (or answers 503)".into(),
        504 => "the server doesn't answer in time (or answers 504)".into(),
        other => format!("the server answers {other}"),
    }
}

/// Fetches snapshots.
#[derive(Debug, Default)]
pub struct Fetcher {
    state: FetchStage,
    failures: u32,
    due: u64,
    etag: Option<String>,
    // the pages that came before an attempt failed: their snapshot's head, and their slots
    partial: Option<(Head, Vec<Option<u32>>)>,
    // slots of pages that the current snapshot doesn't have, and when they may be cleared
    stale: Vec<(PageKind, u32)>,
    sweep_due: u64,
}

#[derive(Debug, Default)]
enum FetchStage {
    #[default]
    Waiting,
    /// The preamble, the file's bytes so far, and the digest of the head's among them
    Head(Box<Preamble>, Vec<u8>, Sha256),
    Pages(Box<Download>),
}

/// A snapshot whose pages are coming.
#[derive(Debug)]
struct Download {
    preamble: Preamble,
    head: Head,
    bytes: Vec<u8>,
    slots: Vec<Option<u32>>,
    // INVARIANT (used): whether a slot is the current snapshot's or in `slots`; none behind is
    used: Vec<bool>,
    // every slot below is in use
    free: usize,
    // the slots of the current snapshot, if there is one
    before: Vec<(PageKind, u32)>,
    // the pages asked for
    asked: Range<usize>,
}

/// What the node's configuration and the time say to an attempt.
#[derive(Clone, Copy)]
pub struct FetchRules<'a> {
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
    pub fn ask(&mut self, now: u64) -> Option<PartRequest> {
        let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        match &mut self.state {
            FetchStage::Waiting if now < self.due => None,
            FetchStage::Waiting => {
                Some(PartRequest { range: 0..size(PREAMBLE), etag: self.etag.clone() })
            }
            FetchStage::Head(preamble, bytes, _) => {
                let end = PREAMBLE.saturating_add(preamble.head_size);
                let end = end.min(bytes.len().saturating_add(PART));
                Some(PartRequest { range: size(bytes.len())..size(end), etag: None })
            }
            FetchStage::Pages(download) => {
                download.choose();
                let pages = download.head.pages.get(download.asked.clone())?;
                let (first, last) = (pages.first()?, pages.last()?);
                let end = last.offset.saturating_add(size(last.size));
                Some(PartRequest { range: first.offset..end, etag: None })
            }
        }
    }

    /// Takes the answer to what was asked.
    pub fn answer(
        &mut self,
        answer: PartResponse<'_>,
        asked: &PartRequest,
        rules: FetchRules<'_>,
        store: &mut dyn PageStore,
    ) -> Progress {
        let taken = self.take(answer, asked, rules, store);
        let wait = |seconds: u64| {
            // between three quarters and all of it
            let nanos = seconds.saturating_mul(1_000_000_000);
            let nanos = nanos.saturating_sub(rules.chance.checked_rem(nanos / 4).unwrap_or(0));
            rules.now.saturating_add(nanos)
        };
        match &taken {
            Ok(Progress::More) => {}
            Ok(progress) => {
                if matches!(progress, Progress::Published(_)) {
                    self.sweep_due = rules.now.saturating_add(SWEEP_AFTER);
                }
                self.failures = 0;
                self.due = wait(rules.poll_seconds);
                self.state = FetchStage::Waiting;
            }
            Err(_) => {
                let backoff = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
                self.failures = self.failures.saturating_add(1).min(32);
                self.due = wait(backoff.min(rules.poll_seconds.max(1)));
                // the pages that came stay for the next try
                if let FetchStage::Pages(download) = std::mem::take(&mut self.state) {
                    self.partial = Some((download.head, download.slots));
                }
                self.etag = None;
            }
        }
        taken.unwrap_or_else(Progress::Failed)
    }

    fn take(
        &mut self,
        answer: PartResponse<'_>,
        asked: &PartRequest,
        rules: FetchRules<'_>,
        store: &mut dyn PageStore,
    ) -> Result<Progress, FetchError> {
        // a server without ranges sends the whole file, which has the part
        let begin = match answer.status {
            Some(304) if asked.etag.is_some() => return Ok(Progress::Unchanged),
            Some(206) => 0,
            Some(200) if answer.size > MAX_WHOLE => return Err(FetchError::NoRanges(answer.size)),
            Some(200) => usize::try_from(asked.range.start).unwrap_or(usize::MAX),
            Some(416) => return Err(SnapshotError::Truncated.into()),
            Some(status) => return Err(FetchError::Status(status)),
            None => return Err(FetchError::BrokeOff),
        };
        let wanted =
            usize::try_from(asked.range.end.saturating_sub(asked.range.start)).unwrap_or(0);
        let part = (answer.body)(begin, wanted);
        if part.len() < wanted && !matches!(self.state, FetchStage::Waiting) {
            return Err(SnapshotError::Truncated.into());
        }
        match std::mem::take(&mut self.state) {
            FetchStage::Waiting => {
                let preamble = Preamble::parse(&part, rules.trusted)?;
                self.etag = answer.etag.map(str::to_owned);
                let current = store.current().unwrap_or_default();
                if let Ok(known) = Preamble::parse(&current, rules.trusted) {
                    if current.starts_with(&part) {
                        return Ok(Progress::Unchanged);
                    }
                    preamble.follows(known.sequence)?;
                    if preamble.sequence == known.sequence {
                        return Err(SnapshotError::SameSequence(known.sequence).into());
                    }
                }
                preamble.follows(rules.min_sequence)?;
                self.state = FetchStage::Head(Box::new(preamble), part, Sha256::new());
                Ok(Progress::More)
            }
            FetchStage::Head(preamble, mut bytes, mut digest) => {
                digest.update(&part);
                bytes.extend(part);
                let head = bytes.get(PREAMBLE..);
                let Some(head) = head.filter(|head| head.len() >= preamble.head_size) else {
                    self.state = FetchStage::Head(preamble, bytes, digest);
                    return Ok(Progress::More);
                };
                let head = Head::parse_verified(&preamble, head, digest.finalize().into())?;
                // the download may use these slots
                self.stale = Vec::new();
                let current = store.current().unwrap_or_default();
                let current = CurrentSnapshot::parse(&current, rules.trusted).ok();
                let partial = self.partial.take();
                self.go_on(Download::new(*preamble, head, bytes, current, partial), store)
            }
            FetchStage::Pages(mut download) => {
                if let Err(failure) = download.keep(&part, store) {
                    self.state = FetchStage::Pages(download);
                    return Err(failure);
                }
                self.go_on(*download, store)
            }
        }
    }

    fn go_on(
        &mut self,
        download: Download,
        store: &mut dyn PageStore,
    ) -> Result<Progress, FetchError> {
        if download.slots.iter().any(Option::is_none) {
            self.state = FetchStage::Pages(Box::new(download));
            return Ok(Progress::More);
        }
        // a worker gives up the snapshot before for the current one, so it must be able to read it
        if let Err(failure) = download.check_order(store) {
            // a page that is gone is fetched again; a wrong one needn't be
            if failure != FetchError::Store {
                self.state = FetchStage::Pages(Box::new(download));
            }
            return Err(failure);
        }
        let mut stored = download.bytes;
        for slot in download.slots.iter().flatten() {
            stored.extend(slot.to_le_bytes());
        }
        if !store.publish(&stored, download.preamble.sequence) {
            return Err(FetchError::Store);
        }
        let mut used = Vec::new();
        download.slots.iter().flatten().for_each(|slot| mark_used(&mut used, *slot));
        let is_used =
            |slot: u32| usize::try_from(slot).is_ok_and(|slot| used.get(slot) == Some(&true));
        self.stale = download.before.into_iter().filter(|(_, slot)| !is_used(*slot)).collect();
        Ok(Progress::Published(download.preamble.sequence))
    }

    /// Gives back the memory of pages that only the snapshot before had: some at a time, once
    /// workers had time to move on. A worker that slept finds a page gone and moves on then.
    pub fn sweep(&mut self, now: u64, store: &mut dyn PageStore) {
        if now >= self.sweep_due {
            let rest = self.stale.len().saturating_sub(SWEPT);
            let swept = self.stale.drain(rest..).flat_map(|(kind, slot)| cells(kind, slot));
            swept.for_each(|cell| store.clear(cell));
        }
    }
}

impl Download {
    fn new(
        preamble: Preamble,
        head: Head,
        bytes: Vec<u8>,
        current: Option<CurrentSnapshot>,
        partial: Option<(Head, Vec<Option<u32>>)>,
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
        if let Some((other, others)) = partial {
            take_over(&head, &mut slots, &other, others.into_iter());
        }
        slots.iter().flatten().for_each(|slot| mark_used(&mut used, *slot));
        Self { preamble, head, bytes, slots, used, free: 0, before, asked: 0..0 }
    }

    /// Chooses the pages to ask for: the first missing one and the missing ones right behind it.
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
    fn check_order(&self, store: &dyn PageStore) -> Result<(), FetchError> {
        table::check_order(&self.head, |number| {
            let place = self.head.pages.get(number).zip(self.slots.get(number).copied().flatten());
            let stored = place.and_then(|(page, slot)| {
                unmarked(store.get(cells(page.kind, slot).start)?, mark(&page.digest))
            });
            stored.ok_or(FetchError::Store)
        })
    }

    /// Verifies the pages that came and keeps them.
    fn keep(&mut self, part: &[u8], store: &mut dyn PageStore) -> Result<(), FetchError> {
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
            let bytes;
            (bytes, rest) = rest.split_at_checked(page.size).ok_or(SnapshotError::Truncated)?;
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
                    return Err(FetchError::Store);
                }
            }
            // The next snapshot may have as many new pages, and comes while there are requests. If
            // the host's table of names grows then, all workers wait: 10 ms with 50,000 names.
            if self.before.is_empty() {
                cells(page.kind, free.saturating_add(count)).for_each(|cell| store.reserve(cell));
            }
            mark_used(&mut self.used, free);
            *slot = Some(free);
        }
        Ok(())
    }
}

/// Takes over the slots of pages that `other` has at the same place.
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

/// The cell of a bucket of a slot's page; a page in one piece is in the first.
pub fn cell(slot: u32, bucket: usize) -> u32 {
    (slot << customers::BUCKET_BITS).saturating_add(u32::try_from(bucket).unwrap_or(0))
}

/// The slot of a page that has no bytes.
pub const NOWHERE: u32 = u32::MAX;

/// The beginning of a page's digest, which is stored with it.
pub fn mark(digest: &[u8; 32]) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}

impl CurrentSnapshot {
    /// Reads what was published.
    ///
    /// # Errors
    /// That its key is no longer trusted, or that it isn't what was published.
    pub fn parse(
        stored: &[u8],
        trusted: impl Fn(&VerifyingKey) -> bool,
    ) -> Result<Self, SnapshotError> {
        let preamble = Preamble::parse(stored, trusted)?;
        let rest = stored.get(PREAMBLE..).unwrap_or_default();
        let (head, slots) =
            rest.split_at_checked(preamble.head_size).ok_or(SnapshotError::Truncated)?;
        // verified before it was published, as the pages were
        let head = Head::read(&preamble, head)?;
        let slots: Vec<u32> = slots
            .chunks_exact(4)
            .filter_map(|slot| Some(u32::from_le_bytes(*slot.first_chunk()?)))
            .collect();
        if slots.len() == head.pages.len() {
            Ok(Self { preamble, head, slots })
        } else {
            Err(SnapshotError::Truncated)
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

impl fmt::Debug for PartResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartResponse({:?}, {} bytes)", self.status, self.size)
    }
}

impl fmt::Debug for FetchRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchRules(from {}, every {} s)", self.min_sequence, self.poll_seconds)
    }
}
