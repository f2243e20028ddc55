//! The nonces that passed: one memory for all workers of a process and all its configurations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::chain::replay::{Admission, BUCKETS, Buckets, ReplayMemory, SECRET, SignedNonce, admit};
use crate::lock::Lock;
use crate::terms::names::NodeId;
use crate::terms::time::UnixSeconds;

/// The buckets of one node. A bucket has at most two sizes, so the whole has at most 23 MB.
#[derive(Debug, Default)]
pub struct NonceShelf {
    buckets: OnceLock<Box<[Lock<VersionedBucket>]>>,
    secret: OnceLock<[u8; SECRET]>,
    evictions: AtomicU64,
}

/// A bucket's value and how often it was written.
type VersionedBucket = (Vec<u8>, u32);

/// One worker's handle to them.
#[derive(Debug, Clone)]
pub struct NodeNonces(Arc<NonceShelf>);

/// The shelf of each node. It outlives configurations: what passed under the one before doesn't
/// pass again.
static SHELVES: Lock<Vec<(String, Arc<NonceShelf>)>> = Lock::new(Vec::new());

impl NodeNonces {
    /// The memory of this node.
    pub fn of(node: &NodeId) -> Self {
        let mut shelves = SHELVES.hold();
        if let Some((_, shelf)) = shelves.iter().find(|(name, _)| name == node.as_str()) {
            return Self(Arc::clone(shelf));
        }
        let shelf = Arc::new(NonceShelf::default());
        shelves.push((node.as_str().to_owned(), Arc::clone(&shelf)));
        Self(shelf)
    }

    /// How many nonces went though they could still pass, since this was last asked.
    pub fn take_evictions(&self) -> u64 {
        let evictions = &self.0.evictions;
        // most requests only read it
        if evictions.load(Ordering::Relaxed) == 0 {
            0
        } else {
            evictions.swap(0, Ordering::Relaxed)
        }
    }

    fn bucket(&self, number: u16) -> Option<&Lock<VersionedBucket>> {
        let make = || (0..BUCKETS).map(|_| Lock::default()).collect();
        self.0.buckets.get_or_init(make).get(usize::from(number))
    }
}

impl ReplayMemory for NodeNonces {
    fn admit(&mut self, nonce: SignedNonce<'_>, now: UnixSeconds) -> Admission {
        let admission = admit(self, nonce, now);
        if admission == Admission::Evicting {
            self.0.evictions.fetch_add(1, Ordering::Relaxed);
        }
        admission
    }
}

impl Buckets for NodeNonces {
    fn secret(&mut self) -> [u8; SECRET] {
        *self.0.secret.get_or_init(|| {
            let mut drawn = [0; SECRET];
            // without a random source: zeros, as in any memory of nonces
            if getrandom::fill(&mut drawn).is_ok() { drawn } else { [0; SECRET] }
        })
    }

    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        let Some(bucket) = self.bucket(bucket) else { return (Vec::new(), None) };
        let bucket = bucket.hold();
        (bucket.0.clone(), Some(bucket.1))
    }

    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
        let Some(bucket) = self.bucket(bucket) else { return false };
        let value = value.to_vec();
        let mut bucket = bucket.hold();
        let is_current = version == Some(bucket.1);
        if is_current {
            *bucket = (value, bucket.1.wrapping_add(1));
        }
        is_current
    }
}
