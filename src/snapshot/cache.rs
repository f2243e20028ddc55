//! The customers that were looked up last: a regular caller costs no read of a page.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::customers::{NameKind, RecordKey};
use crate::lock::Lock;
use crate::register::Customer;

/// A set-associative cache; each set is in the order of its last uses.
pub(super) struct CustomerCache {
    sets: Box<[Lock<[Slot; SET]>]>,
    // Fingerprints of keys seen once. A customer is cached on its second lookup, so one-off
    // callers evict nobody.
    once: Box<[AtomicU32]>,
}

type Slot = Option<(RecordKey, NameKind, Arc<Customer>)>;

/// How many customers are cached: some 4 MB where each has a profile and a few countries.
const CUSTOMERS: usize = 4_096;
/// How many fingerprints of keys seen once there are.
const ONCE: usize = 8_192;
/// How many customers share a set. With sets of one, every fifth of 1,000 regular callers would
/// evict another.
const SET: usize = 8;

impl Default for CustomerCache {
    fn default() -> Self {
        Self {
            sets: (0..CUSTOMERS / SET).map(|_| Lock::default()).collect(),
            once: (0..ONCE).map(|_| AtomicU32::default()).collect(),
        }
    }
}

impl CustomerCache {
    /// The cached customer of a key, if the key is of that kind.
    pub(super) fn get(&self, key: &RecordKey, kind: NameKind) -> Option<Arc<Customer>> {
        let mut set = self.set(key)?.hold();
        let is_it =
            |slot: &Slot| slot.as_ref().is_some_and(|(known, its, _)| known == key && *its == kind);
        let place = set.iter().position(is_it)?;
        set.get_mut(..=place)?.rotate_right(1);
        set.first()?.as_ref().map(|(_, _, customer)| Arc::clone(customer))
    }

    /// Caches a customer whose key was looked up before.
    pub(super) fn put(&self, key: RecordKey, kind: NameKind, customer: Arc<Customer>) {
        if !self.again(&key) {
            return;
        }
        if let Some(set) = self.set(&key) {
            let mut set = set.hold();
            set.rotate_right(1);
            let evicted = set.first_mut().and_then(|first| first.replace((key, kind, customer)));
            drop(set);
            drop(evicted);
        }
    }

    /// Whether a key was looked up lately; notes that it was now.
    fn again(&self, key: &RecordKey) -> bool {
        let [.., a, b, c, d, e, f, _, _] = key.0;
        let place = usize::from(u16::from_le_bytes([e, f]))
            .checked_rem(ONCE)
            .and_then(|place| self.once.get(place));
        let fingerprint = u32::from_le_bytes([a, b, c, d]);
        place.is_some_and(|place| place.swap(fingerprint, Ordering::Relaxed) == fingerprint)
    }

    /// The set of a key: by other bits than those that choose the key's bucket.
    fn set(&self, key: &RecordKey) -> Option<&Lock<[Slot; SET]>> {
        let [.., a, b] = key.0;
        let sets = self.sets.len();
        self.sets.get(usize::from(u16::from_le_bytes([a, b])).checked_rem(sets)?)
    }
}
