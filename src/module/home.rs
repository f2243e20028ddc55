//! Where a snapshot's pages are: one home for each source in a process, which all configurations
//! share that fetch from it.
//!
//! A page is held once. A snapshot holds the pages that it was made of, whatever a newer one does:
//! so no page is ever gone for a request, and an old page is freed with its last snapshot.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::abi::{ConfigHandle, MetricId};
use crate::config::{Config, SnapshotSettings};
use crate::host::{
    AGE_GAUGE, FAILURES_COUNTER, PART_TIMEOUT, SEQUENCE_GAUGE, SIZE_GAUGE, news_line,
    random_number, snapshot_source, uncallable, with_part_headers,
};
use crate::lock::Lock;
use crate::register::PageGone;
use crate::snapshot::PageSource;
use crate::snapshot::bytes::PageBytes;
use crate::snapshot::customers::BUCKETS;
use crate::snapshot::fetch::{NOWHERE, PartRequest, cell};
use crate::snapshot::keeping::{self, Gauge, KeeperHost, News, SharedEntry};

/// The snapshot of one configuration. Only Envoy's main thread works on it.
pub type ConfigKeeper = keeping::Keeper<Arc<MainThread>>;

/// What the configurations of a process that fetch from one source share.
#[derive(Debug, Default)]
struct Home {
    values: Lock<Values>,
    cells: Lock<Vec<Option<StoredPage>>>,
    /// The owner of the newest keeper; 0 if it is gone
    newest: AtomicU64,
}

/// The small values of a home, each with its version.
#[derive(Debug, Default)]
struct Values {
    stamp: Option<(Vec<u8>, u32)>,
    current: Option<(Vec<u8>, u32)>,
    lease: Option<(Vec<u8>, u32)>,
}

/// A page or a bucket, and the beginning of its page's digest.
#[derive(Debug, Clone)]
struct StoredPage {
    bytes: Arc<[u8]>,
    mark: [u8; 8],
}

/// The homes of the process, by source. A home goes with its last configuration.
static HOMES: Lock<Vec<(String, Weak<Home>)>> = Lock::new(Vec::new());

/// Envoy's main thread, as a keeper's host.
#[derive(Debug)]
pub struct MainThread {
    settings: SnapshotSettings,
    owner: u64,
    home: Arc<Home>,
    config: ConfigHandle,
    sequence: MetricId,
    age: MetricId,
    size: MetricId,
    failures: MetricId,
    /// Whether Envoy answered a call before the call returned
    answered_early: AtomicBool,
}

/// A keeper for the configuration's snapshot, if it has one, and its host.
pub fn open(config: &Config, handle: ConfigHandle) -> Option<(ConfigKeeper, Arc<MainThread>)> {
    let settings = config.snapshot.clone()?;
    let home = home_of(snapshot_source(config.node.id.as_str(), &settings));
    let owner = random_number().max(1);
    let replaced = home.newest.swap(owner, Ordering::Relaxed);
    let host = Arc::new(MainThread {
        settings: settings.clone(),
        owner,
        home,
        config: handle,
        sequence: handle.define_gauge(SEQUENCE_GAUGE),
        age: handle.define_gauge(AGE_GAUGE),
        size: handle.define_gauge(SIZE_GAUGE),
        failures: handle.define_counter(FAILURES_COUNTER, &[]),
        answered_early: AtomicBool::new(false),
    });
    let replaced = Some(replaced).filter(|owner| *owner != 0);
    Some((ConfigKeeper::new(Arc::clone(&host), settings, replaced), host))
}

fn home_of(source: String) -> Arc<Home> {
    let mut homes = HOMES.hold();
    homes.retain(|(_, home)| home.strong_count() > 0);
    let known = homes.iter().find(|(known, _)| *known == source);
    if let Some(home) = known.and_then(|(_, home)| home.upgrade()) {
        return home;
    }
    let home = Arc::new(Home::default());
    homes.push((source, Arc::downgrade(&home)));
    home
}

impl MainThread {
    /// Notes that an answer came while its call was still being made. Envoy does so where no server
    /// of the cluster can be reached.
    pub fn note_early_answer(&self) {
        self.answered_early.store(true, Ordering::Relaxed);
    }
}

impl Home {
    fn page(&self, cell: u32) -> Option<StoredPage> {
        self.cells.hold().get(usize::try_from(cell).ok()?)?.clone()
    }

    /// Replaces what is in a cell. What was there is freed behind the lock.
    fn put(&self, cell: u32, page: Option<StoredPage>) {
        let Ok(cell) = usize::try_from(cell) else { return };
        let mut cells = self.cells.hold();
        if cells.len() <= cell {
            cells.resize(cell.saturating_add(1), None);
        }
        let before = cells.get_mut(cell).map(|place| std::mem::replace(place, page));
        drop(cells);
        drop(before);
    }
}

impl Values {
    fn entry(&mut self, entry: SharedEntry) -> Option<&mut Option<(Vec<u8>, u32)>> {
        match entry {
            SharedEntry::Stamp => Some(&mut self.stamp),
            SharedEntry::Current => Some(&mut self.current),
            SharedEntry::Lease => Some(&mut self.lease),
            SharedEntry::Cell(_) => None,
        }
    }
}

impl KeeperHost for Arc<MainThread> {
    fn owner(&self) -> u64 {
        self.owner
    }

    fn is_newest(&self) -> bool {
        let free =
            self.home.newest.compare_exchange(0, self.owner, Ordering::Relaxed, Ordering::Relaxed);
        free.is_ok() || self.home.newest.load(Ordering::Relaxed) == self.owner
    }

    fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>) {
        if let SharedEntry::Cell(cell) = entry {
            let page = self.home.page(cell).map(|page| [&*page.bytes, &page.mark].concat());
            return (page, None);
        }
        let value = self.home.values.hold().entry(entry).and_then(|value| value.clone());
        value.map_or((None, None), |(value, version)| (Some(value), Some(version)))
    }

    fn write(&self, entry: SharedEntry, value: &[u8]) -> bool {
        if let SharedEntry::Cell(cell) = entry {
            let page = value
                .split_last_chunk()
                .map(|(bytes, mark)| StoredPage { bytes: bytes.into(), mark: *mark });
            self.home.put(cell, page);
            return true;
        }
        let mut values = self.home.values.hold();
        let Some(place) = values.entry(entry) else { return false };
        let version = place.as_ref().map_or(0, |(_, version)| version.wrapping_add(1));
        *place = Some((value.to_vec(), version));
        true
    }

    fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool {
        // a cell is only prepared by this, and needn't be; only one thread writes the others
        matches!(entry, SharedEntry::Cell(_))
            || (self.read(entry).1 == version && self.write(entry, value))
    }

    fn call(&self, part: &PartRequest) -> Result<u64, String> {
        self.answered_early.store(false, Ordering::Relaxed);
        let (cluster, timeout) = (self.settings.cluster.as_str(), PART_TIMEOUT);
        let call = with_part_headers(&self.settings, part, |headers| {
            self.config.call(cluster, headers, timeout)
        });
        let call = call.map_err(|status| uncallable(&self.settings, status))?;
        if self.answered_early.load(Ordering::Relaxed) {
            return Err(uncallable(&self.settings, "no server can be reached"));
        }
        Ok(call)
    }

    fn pages(&self, places: Vec<(u32, [u8; 8])>) -> Box<dyn PageSource> {
        let cells = places.into_iter().map(|(slot, mark)| {
            let page = |bucket| self.home.page(cell(slot, bucket));
            let held = |bucket| page(bucket).filter(|page| page.mark == mark);
            (slot != NOWHERE).then(|| (0..BUCKETS).map_while(held).map(|page| page.bytes).collect())
        });
        Box::new(HeldPages(cells.collect()))
    }

    fn random(&self) -> u64 {
        random_number()
    }

    fn show(&self, gauge: Gauge, value: u64) {
        let id = match gauge {
            Gauge::Sequence => self.sequence,
            Gauge::Size => self.size,
            Gauge::Age => self.age,
        };
        self.config.set_gauge(id, value);
    }

    fn tell(&self, news: News<'_>) {
        if let News::Failed { .. } = news {
            self.config.add(self.failures, None, 1);
        }
        if let Some((severity, line)) = news_line(&news) {
            super::abi::log(severity, &line);
        }
    }
}

impl Drop for MainThread {
    fn drop(&mut self) {
        let gone = (self.owner, 0);
        let newest = &self.home.newest;
        let _is_older =
            newest.compare_exchange(gone.0, gone.1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The pages of a snapshot: the buckets of each. `None` for a page that has no bytes.
struct HeldPages(Vec<Option<Vec<Arc<[u8]>>>>);

impl HeldPages {
    fn bytes(&self, number: usize, bucket: usize) -> Result<Option<&Arc<[u8]>>, PageGone> {
        match self.0.get(number) {
            Some(Some(buckets)) => buckets.get(bucket).map(Some).ok_or(PageGone),
            Some(None) | None => Ok(None),
        }
    }
}

impl PageSource for HeldPages {
    fn page(&self, number: usize) -> Result<PageBytes, PageGone> {
        let bytes = self.bytes(number, 0)?;
        Ok(bytes.map_or(PageBytes::Owned(Vec::new()), |it| PageBytes::Shared(Arc::clone(it))))
    }

    fn bucket(&self, number: usize, bucket: usize) -> Result<Cow<'_, [u8]>, PageGone> {
        Ok(self.bytes(number, bucket)?.map_or(Cow::Borrowed(&[]), |it| Cow::Borrowed(&**it)))
    }
}
