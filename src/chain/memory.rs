//! The replay memory in a process's own memory: of the desk and of tests, and of a host that has
//! all workers in one process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::replay::{Admission, BUCKETS, Buckets, ReplayMemory, SECRET, SignedNonce, admit};
use crate::lock::{Lock, take};
use crate::terms::time::UnixSeconds;

/// Nonces that passed. Its clones are one memory, which threads may share. A bucket has one of two
/// sizes, so the whole has at most 23 MB.
#[derive(Debug, Clone, Default)]
pub struct InMemory(Arc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    secret: [u8; SECRET],
    buckets: OnceLock<Box<[Lock<VersionedBucket>]>>,
    evictions: AtomicU64,
}

/// A bucket's value and its version, if it was written.
type VersionedBucket = (Vec<u8>, Option<u32>);

impl InMemory {
    /// A memory with that secret. The default's is zeros.
    pub fn new(secret: [u8; SECRET]) -> Self {
        Self(Arc::new(Shelf { secret, ..Shelf::default() }))
    }

    /// Whether nobody else holds a clone of it.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// How many nonces went though they could still pass, since this was last asked.
    pub fn take_evictions(&self) -> u64 {
        take(&self.0.evictions)
    }

    fn bucket(&self, number: u16) -> Option<&Lock<VersionedBucket>> {
        let make = || (0..BUCKETS).map(|_| Lock::default()).collect();
        self.0.buckets.get_or_init(make).get(usize::from(number))
    }
}

impl ReplayMemory for InMemory {
    fn admit(&mut self, nonce: SignedNonce<'_>, now: UnixSeconds) -> Admission {
        let admission = admit(self, nonce, now);
        if admission == Admission::Evicting {
            self.0.evictions.fetch_add(1, Ordering::Relaxed);
        }
        admission
    }
}

impl Buckets for InMemory {
    fn secret(&mut self) -> [u8; SECRET] {
        self.0.secret
    }

    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        let Some(bucket) = self.bucket(bucket) else { return (Vec::new(), None) };
        bucket.hold().clone()
    }

    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
        let Some(bucket) = self.bucket(bucket) else { return false };
        let value = value.to_vec();
        let mut bucket = bucket.hold();
        let is_current = version == bucket.1;
        if is_current {
            *bucket = (value, Some(version.map_or(0, |version| version.wrapping_add(1))));
        }
        is_current
    }
}
