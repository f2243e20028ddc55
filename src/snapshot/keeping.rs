//! Keeps the current snapshot: one worker of the process fetches it for all, and each worker moves
//! on to it between requests.
//!
//! This is what every host does alike. [`KeeperHost`] is what hosts do differently: memory that
//! workers share, calls to the server, logs and metrics.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::bytes::PageBytes;
use super::fetch::{
    CurrentSnapshot, FetchError, FetchRules, Fetcher, NOWHERE, PageStore, PartRequest,
    PartResponse, Progress, SharedPage, cell, mark, unmarked,
};
use super::layout::{PREAMBLE, Preamble, SnapshotError};
use super::{PageSource, Snapshot};
use crate::config::SnapshotSettings;
use crate::register::PageGone;
use crate::terms::key::VerifyingKey;

/// How long the worker that fetches counts as alive, in nanoseconds. It renews its lease at each
/// tick, so a lease that ran out is a worker that died.
const LEASE: u64 = 15_000_000_000;
/// How many snapshots a worker tries to move on to, as long as there are newer ones.
const ADOPTIONS: u8 = 3;
/// How often the age is reported, in ticks.
const AGE_EVERY: u32 = 10;

/// A value in the memory that all workers of the process share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedEntry {
    /// A few bytes that change with each snapshot
    Stamp,
    /// The current snapshot: preamble, head and slots
    Current,
    /// Which worker fetches, and until when
    Lease,
    /// A page or a bucket
    Cell(u32),
}

/// A number that operators watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gauge {
    /// The current snapshot's sequence
    Sequence,
    /// The current snapshot's size, in bytes
    Size,
    /// How long ago the current snapshot was compiled, in seconds
    Age,
}

/// What operators read in the log.
#[derive(Debug)]
pub enum News<'a> {
    /// A newer snapshot is the current one
    Published(&'a Preamble),
    /// An attempt failed
    Failed {
        /// Why
        why: &'a str,
        /// The sequence of the snapshot that stays
        current: Option<u64>,
        /// Whether the attempt before failed for the same reason
        is_repeated: bool,
    },
    /// The server answers again
    Recovered,
    /// The current snapshot can't be used
    Dropped(&'a SnapshotError),
    /// The shared memory of an old page can't be given back
    Unfreed,
}

/// The port of a keeper to its host. A clone is another handle to the same host.
pub trait KeeperHost: Clone + Send + Sync + 'static {
    /// A number that no other keeper has.
    fn owner(&self) -> u64;
    /// Whether no newer configuration in this worker fetches the same file. The newest one must
    /// fetch, as an older one may trust other keys.
    fn is_newest(&self) -> bool;
    /// A shared value and its version, if it is there.
    fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>);
    /// Writes a shared value. Returns whether the host took it.
    fn write(&self, entry: SharedEntry, value: &[u8]) -> bool;
    /// Writes a shared value that still has this version, or a new one where there is no version.
    /// Returns whether that was so.
    fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool;
    /// Asks the server for a part of the file; returns the call's number.
    ///
    /// # Errors
    /// Why no call can be made.
    fn call(&self, part: &PartRequest) -> Result<u64, String>;
    /// The pages at these places: a page's slot, and the beginning of its digest.
    fn pages(&self, places: Vec<(u32, [u8; 8])>) -> Box<dyn PageSource> {
        Box::new(SharedPages { host: self.clone(), places })
    }
    /// The snapshot of this stamp: what `open` gives, or one that another keeper opened. A snapshot
    /// is asked for by a keeper that trusts its signature.
    ///
    /// # Errors
    /// That of `open`.
    fn opened(
        &self,
        _stamp: &[u8],
        open: impl FnOnce() -> Result<Arc<Snapshot>, SnapshotError>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        open()
    }
    /// A random number.
    fn random(&self) -> u64;
    /// Sets a gauge.
    fn show(&self, gauge: Gauge, value: u64);
    /// Logs and counts.
    fn tell(&self, news: News<'_>);
}

/// The snapshot of one configuration in one worker.
#[derive(Debug)]
pub struct Keeper<H> {
    host: H,
    settings: SnapshotSettings,
    fetcher: RefCell<Fetcher>,
    call: RefCell<Option<(u64, PartRequest)>>,
    // the shared stamp at the last look, and the one under which `snapshot` was adopted
    stamp: RefCell<Vec<u8>>,
    adopted_stamp: RefCell<Vec<u8>>,
    snapshot: RefCell<Option<Arc<Snapshot>>>,
    // of the current snapshot, adopted or not
    preamble: RefCell<Option<Preamble>>,
    serves: Cell<bool>,
    last_failure: RefCell<String>,
    ticks: Cell<u32>,
}

/// Which worker fetches, and until when, in nanoseconds since 1970.
struct Lease {
    owner: u64,
    until: u64,
    version: Option<u32>,
}

impl<H: KeeperHost> Keeper<H> {
    /// A keeper for a snapshot. `replaced` is the owner of the keeper that this one replaces in its
    /// worker, if there is one.
    pub fn new(host: H, settings: SnapshotSettings, replaced: Option<u64>) -> Self {
        let keeper = Self {
            host,
            settings,
            fetcher: RefCell::default(),
            call: RefCell::default(),
            stamp: RefCell::default(),
            adopted_stamp: RefCell::default(),
            snapshot: RefCell::default(),
            preamble: RefCell::default(),
            serves: Cell::default(),
            last_failure: RefCell::default(),
            ticks: Cell::default(),
        };
        let lease = keeper.lease();
        if replaced == Some(lease.owner) {
            // the replaced keeper fetches no more: take its lease over, or nobody fetches until
            // that lease runs out
            keeper.bid(lease.until, lease.version);
        }
        keeper.look();
        keeper
    }

    /// The snapshot to decide by: the newest that this worker knows of.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.serves.set(true);
        self.adopt();
        self.snapshot.borrow().clone()
    }

    /// Looks whether another snapshot became the current one.
    pub fn look(&self) {
        let stamp = self.host.read(SharedEntry::Stamp).0.unwrap_or_default();
        if *self.stamp.borrow() == stamp {
            return;
        }
        let current = self.host.read(SharedEntry::Current).0;
        let preamble = current.and_then(|current| {
            Preamble::parse(current.get(..PREAMBLE)?, |key| self.trusts(key)).ok()
        });
        if let Some(preamble) = &preamble {
            self.host.show(Gauge::Sequence, preamble.sequence);
            self.host.show(Gauge::Size, preamble.file_size);
        }
        self.preamble.replace(preamble);
        self.stamp.replace(stamp);
    }

    /// What a host calls ten times a second. `now` is in nanoseconds since 1970.
    pub fn tick(&self, now: u64) {
        self.look();
        if self.serves.get() {
            self.adopt();
        }
        let ticks = self.ticks.get();
        self.ticks.set(ticks.wrapping_add(1));
        if ticks.is_multiple_of(AGE_EVERY)
            && let Some(preamble) = &*self.preamble.borrow()
        {
            let created = u64::try_from(preamble.created.0).unwrap_or(0);
            self.host.show(Gauge::Age, (now / 1_000_000_000).saturating_sub(created));
        }
        // bids even while a call is under way: the lease would run out meanwhile
        if self.host.is_newest() && self.leads(now) && self.call.borrow().is_none() {
            self.fetcher.borrow_mut().sweep(now, &mut SharedStore(&self.host));
            self.ask(now);
        }
    }

    /// Takes the server's answer, if it is to a call of this keeper's.
    pub fn answer(&self, call: u64, answer: PartResponse<'_>, now: u64) {
        let Some((_, part)) = self.call.borrow_mut().take_if(|(number, _)| *number == call) else {
            return;
        };
        if !self.host.is_newest() || self.lease().owner != self.host.owner() {
            // another worker fetches by now, and may have overwritten what came so far
            self.fetcher.replace(Fetcher::default());
            return;
        }
        match self.take(answer, &part, now) {
            Progress::More => self.ask(now),
            Progress::Unchanged => self.recovered(),
            Progress::Published(_) => {
                self.recovered();
                self.look();
                if let Some(preamble) = &*self.preamble.borrow() {
                    self.host.tell(News::Published(preamble));
                }
            }
            Progress::Failed(failure) => self.failed(&failure),
        }
    }

    /// Gives up the call that is under way: its answer was lost.
    pub fn forget(&self) {
        self.call.take();
        self.fetcher.replace(Fetcher::default());
    }

    /// Asks for what the fetcher wants next.
    fn ask(&self, now: u64) {
        let Some(part) = self.fetcher.borrow_mut().ask(now) else { return };
        match self.host.call(&part) {
            Ok(number) => drop(self.call.replace(Some((number, part)))),
            Err(why) => {
                self.complain(&why);
                // the same wait as for a server that is down
                let (status, body) = (Some(503), &|_, _| Vec::new());
                let down = PartResponse { status, etag: None, size: 0, body };
                let _failed = self.take(down, &part, now);
            }
        }
    }

    fn take(&self, answer: PartResponse<'_>, part: &PartRequest, now: u64) -> Progress {
        let rules = FetchRules {
            trusted: &|key| self.trusts(key),
            min_sequence: self.settings.min_sequence.0,
            poll_seconds: self.settings.poll_seconds.0,
            now,
            chance: self.host.random(),
        };
        self.fetcher.borrow_mut().answer(answer, part, rules, &mut SharedStore(&self.host))
    }

    /// Moves on to the current snapshot, if it is another than the adopted one.
    fn adopt(&self) {
        // a worker that is kept from running may find that newer snapshots took pages of this one
        for _ in 0..ADOPTIONS {
            if *self.adopted_stamp.borrow() == *self.stamp.borrow() {
                return;
            }
            self.adopt_once();
            if self.snapshot.borrow().is_none() {
                self.look();
            }
        }
    }

    fn adopt_once(&self) {
        self.adopted_stamp.replace(self.stamp.borrow().clone());
        let Some(stored) = self.host.read(SharedEntry::Current).0 else { return };
        // a host that lends it to other threads has new pages and old ones side by side
        let before = self.snapshot.take().and_then(|before| Arc::try_unwrap(before).ok());
        let adopted = CurrentSnapshot::parse(&stored, |key| self.trusts(key)).and_then(|current| {
            self.host.opened(&self.adopted_stamp.borrow(), || {
                let pages = current.head.pages.iter().zip(&current.slots);
                let places = pages.map(|(page, slot)| (*slot, mark(&page.digest))).collect();
                let pages = self.host.pages(places);
                Snapshot::new(current.preamble, current.head, pages, before).map(Arc::new)
            })
        });
        match adopted {
            Ok(snapshot) => drop(self.snapshot.replace(Some(snapshot))),
            Err(refused) => self.host.tell(News::Dropped(&refused)),
        }
    }

    fn trusts(&self, key: &VerifyingKey) -> bool {
        self.settings.trusted_keys.iter().any(|trusted| trusted.key() == key)
    }

    /// Whether this worker is the one that fetches; bids for that where no worker does.
    fn leads(&self, now: u64) -> bool {
        let Lease { owner, until, version } = self.lease();
        // a lease further ahead is from a clock that jumped back since: nobody could ever take it
        let runs = now < until && until.saturating_sub(now) <= LEASE;
        if owner != self.host.owner() {
            if runs {
                return false;
            }
            // this worker may have led before: others may have overwritten its pages since
            self.fetcher.replace(Fetcher::default());
            self.call.take();
        }
        if runs && until.saturating_sub(now) > LEASE / 2 {
            return true;
        }
        self.bid(now.saturating_add(LEASE), version)
    }

    /// Bids for the lease. It fails if another worker bid since the lease was read.
    fn bid(&self, until: u64, version: Option<u32>) -> bool {
        let bid = [self.host.owner().to_le_bytes(), until.to_le_bytes()].concat();
        self.host.swap(SharedEntry::Lease, &bid, version)
    }

    fn lease(&self) -> Lease {
        let (lease, version) = self.host.read(SharedEntry::Lease);
        let lease = lease.unwrap_or_default();
        let number = |at: usize| {
            let bytes = lease.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        Lease { owner: number(0), until: number(8), version }
    }

    fn failed(&self, failure: &FetchError) {
        let SnapshotSettings { cluster, authority, path, .. } = &self.settings;
        self.complain(&format!("cluster `{cluster}`, {authority}{path}: {failure}"));
    }

    fn complain(&self, why: &str) {
        let current = self.preamble.borrow().as_ref().map(|preamble| preamble.sequence);
        let is_repeated = *self.last_failure.borrow() == why;
        self.host.tell(News::Failed { why, current, is_repeated });
        if !is_repeated {
            self.last_failure.replace(why.to_owned());
        }
    }

    fn recovered(&self) {
        if !self.last_failure.take().is_empty() {
            self.host.tell(News::Recovered);
        }
    }
}

/// The pages of an adopted snapshot, in shared memory.
struct SharedPages<H> {
    host: H,
    // slot, and the beginning of the page's digest
    places: Vec<(u32, [u8; 8])>,
}

impl<H: KeeperHost> SharedPages<H> {
    fn read(&self, number: usize, bucket: usize) -> Result<Vec<u8>, PageGone> {
        let place = self.places.get(number).filter(|(slot, _)| *slot != NOWHERE);
        let Some((slot, mark)) = place else { return Ok(Vec::new()) };
        let stored = self.host.read(SharedEntry::Cell(cell(*slot, bucket))).0;
        stored.and_then(|stored| unmarked(stored, *mark)).ok_or(PageGone)
    }
}

impl<H: KeeperHost> PageSource for SharedPages<H> {
    fn page(&self, number: usize) -> Result<PageBytes, PageGone> {
        self.read(number, 0).map(PageBytes::Owned)
    }

    fn bucket(&self, number: usize, bucket: usize) -> Result<Cow<'_, [u8]>, PageGone> {
        self.read(number, bucket).map(Cow::Owned)
    }
}

struct SharedStore<'a, H>(&'a H);

impl<H: KeeperHost> PageStore for SharedStore<'_, H> {
    fn put(&mut self, cell: u32, page: &SharedPage<'_>) -> bool {
        self.0.write(SharedEntry::Cell(cell), &page.stored())
    }

    fn reserve(&mut self, cell: u32) {
        let _is_there = self.0.swap(SharedEntry::Cell(cell), &[], None);
    }

    fn clear(&mut self, cell: u32) {
        if !self.0.write(SharedEntry::Cell(cell), &[]) {
            self.0.tell(News::Unfreed);
        }
    }

    fn get(&self, cell: u32) -> Option<Vec<u8>> {
        self.0.read(SharedEntry::Cell(cell)).0
    }

    fn current(&self) -> Option<Vec<u8>> {
        self.0.read(SharedEntry::Current).0
    }

    fn publish(&mut self, current: &[u8], sequence: u64) -> bool {
        // The stamp comes last: a worker that sees it finds the snapshot. Its random half tells two
        // workers apart that publish at once.
        let stamp = [sequence.to_le_bytes(), self.0.random().to_le_bytes()].concat();
        self.0.write(SharedEntry::Current, current) && self.0.write(SharedEntry::Stamp, &stamp)
    }
}
