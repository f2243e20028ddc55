//! The memory that keepers share where all workers are in one process: pages are held once, and so
//! is the snapshot made of them.
//!
//! A snapshot holds its pages, whatever a newer one does: no page is ever gone for a request, and
//! an old page is freed with its last snapshot.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::bytes::PageBytes;
use super::customers::BUCKETS;
use super::fetch::{NOWHERE, cell};
use super::keeping::SharedEntry;
use super::layout::SnapshotError;
use super::{PageSource, Snapshot};
use crate::lock::Lock;
use crate::register::PageGone;

/// What the keepers of one source share. One thread writes it; any may read.
#[derive(Debug, Default)]
pub struct ProcessMemory {
    values: Lock<Values>,
    cells: Lock<Vec<Option<StoredPage>>>,
    opened: Lock<Option<(Vec<u8>, Weak<Snapshot>)>>,
    retired: Lock<Vec<Arc<Snapshot>>>,
    /// The owner of the newest keeper; 0 if it is gone
    newest: AtomicU64,
}

/// The small values, each with its version.
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

impl ProcessMemory {
    /// Makes a keeper's owner the newest. Returns that of the keeper that it replaces.
    pub fn enter(&self, owner: u64) -> Option<u64> {
        Some(self.newest.swap(owner, Ordering::Relaxed)).filter(|replaced| *replaced != 0)
    }

    /// Whether a keeper's owner is the newest, or becomes it, as the newest is gone.
    pub fn is_newest(&self, owner: u64) -> bool {
        let found = self.newest.compare_exchange(0, owner, Ordering::Relaxed, Ordering::Relaxed);
        found.map_or_else(|newest| newest == owner, |_free| true)
    }

    /// A keeper is gone.
    pub fn leave(&self, owner: u64) {
        let _older = self.newest.compare_exchange(owner, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A shared value and its version, if it is there.
    pub fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>) {
        if let SharedEntry::Cell(cell) = entry {
            let page = self.page(cell).map(|page| [&*page.bytes, &page.mark].concat());
            return (page, None);
        }
        let value = self.values.hold().entry(entry).and_then(|value| value.clone());
        value.map_or((None, None), |(value, version)| (Some(value), Some(version)))
    }

    /// Writes a shared value.
    pub fn write(&self, entry: SharedEntry, value: &[u8]) {
        if let SharedEntry::Cell(cell) = entry {
            let page = value.split_last_chunk();
            let page = page.map(|(bytes, mark)| StoredPage { bytes: bytes.into(), mark: *mark });
            return self.put(cell, page);
        }
        let mut values = self.values.hold();
        let Some(place) = values.entry(entry) else { return };
        let version = place.as_ref().map_or(0, |(_, version)| version.wrapping_add(1));
        *place = Some((value.to_vec(), version));
    }

    /// Writes a shared value if it still has this version; without a version, if it is absent.
    /// Returns whether that was so.
    pub fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool {
        if matches!(entry, SharedEntry::Cell(_)) {
            return true; // so a cell is only prepared, and needn't be
        }
        let is_current = self.read(entry).1 == version;
        if is_current {
            self.write(entry, value);
        }
        is_current
    }

    /// The pages at these places: a page's slot, and the beginning of its digest.
    pub fn pages(&self, places: Vec<(u32, [u8; 8])>) -> Box<dyn PageSource> {
        let cells = places.into_iter().map(|(slot, mark)| {
            let page = |bucket| self.page(cell(slot, bucket));
            let held = |bucket| page(bucket).filter(|page| page.mark == mark);
            (slot != NOWHERE).then(|| (0..BUCKETS).map_while(held).map(|page| page.bytes).collect())
        });
        Box::new(HeldPages(cells.collect()))
    }

    /// The snapshot of this stamp: the one that another keeper opened, or else what `open` gives.
    ///
    /// # Errors
    /// That of `open`.
    pub fn opened(
        &self,
        stamp: &[u8],
        open: impl FnOnce() -> Result<Arc<Snapshot>, SnapshotError>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        let known = self.opened.hold().clone().filter(|(known, _)| known == stamp);
        if let Some(snapshot) = known.and_then(|(_, snapshot)| snapshot.upgrade()) {
            return Ok(snapshot);
        }
        let snapshot = open()?;
        *self.opened.hold() = Some((stamp.to_vec(), Arc::downgrade(&snapshot)));
        Ok(snapshot)
    }

    /// Takes a snapshot that a configuration no longer uses, and frees those that no request holds.
    /// So the last of their requests frees none: its worker would wait for that.
    pub fn retire(&self, snapshot: Option<Arc<Snapshot>>) {
        let mut retired = self.retired.hold();
        let is_new = |one: &Arc<Snapshot>| !retired.iter().any(|other| Arc::ptr_eq(one, other));
        let snapshot = snapshot.filter(is_new);
        retired.extend(snapshot);
        let freed: Vec<_> =
            retired.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1).collect();
        drop(retired);
        drop(freed);
    }

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
