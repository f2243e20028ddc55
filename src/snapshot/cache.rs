//! The customers that a worker looked up last, so that a regular caller costs no read of shared memory.

use std::rc::Rc;

use super::customers::{NameKind, RecordKey};
use crate::register::Customer;

/// A set-associative cache; each set is in the order of its last uses.
pub(super) struct CustomerCache {
    sets: Vec<[Slot; SET]>,
    // Fingerprints of keys seen once. A customer is cached on its second lookup, so one-off
    // callers evict nobody.
    once: Vec<u32>,
}

type Slot = Option<(RecordKey, NameKind, Rc<Customer>)>;

/// How many customers a worker caches: some 4 MB where each has a profile and a few countries.
const CUSTOMERS: usize = 4_096;
/// How many fingerprints of keys seen once there are.
const ONCE: usize = 8_192;
/// How many customers share a set. With sets of one, every fifth of 1,000 regular callers would
/// evict another.
const SET: usize = 8;

impl Default for CustomerCache {
    fn default() -> Self {
        Self { sets: vec![Default::default(); CUSTOMERS / SET], once: vec![0; ONCE] }
    }
}

impl CustomerCache {
    /// The cached customer of a key, if the key is of that kind.
    pub(super) fn get(&mut self, key: &RecordKey, kind: NameKind) -> Option<Rc<Customer>> {
        let set = self.set(key)?;
        let is_it =
            |slot: &Slot| slot.as_ref().is_some_and(|(known, its, _)| known == key && *its == kind);
        let place = set.iter().position(is_it)?;
        set.get_mut(..=place)?.rotate_right(1);
        set.first()?.as_ref().map(|(_, _, customer)| Rc::clone(customer))
    }

    /// Caches a customer whose key was looked up before.
    pub(super) fn put(&mut self, key: RecordKey, kind: NameKind, customer: Rc<Customer>) {
        if !self.again(&key) {
            return;
        }
        if let Some(set) = self.set(&key) {
            set.rotate_right(1);
            if let Some(first) = set.first_mut() {
                *first = Some((key, kind, customer));
            }
        }
    }

    /// Whether a key was looked up lately; notes that it was now.
    fn again(&mut self, key: &RecordKey) -> bool {
        let [.., a, b, c, d, e, f, _, _] = key.0;
        let place = usize::from(u16::from_le_bytes([e, f]))
            .checked_rem(ONCE)
            .and_then(|place| self.once.get_mut(place));
        let fingerprint = u32::from_le_bytes([a, b, c, d]);
        place.is_some_and(|place| std::mem::replace(place, fingerprint) == fingerprint)
    }

    /// The set of a key: by other bits than those that choose the key's bucket.
    fn set(&mut self, key: &RecordKey) -> Option<&mut [Slot; SET]> {
        let [.., a, b] = key.0;
        let sets = self.sets.len();
        self.sets.get_mut(usize::from(u16::from_le_bytes([a, b])).checked_rem(sets)?)
    }
}
