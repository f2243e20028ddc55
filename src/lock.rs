//! A lock for what threads share for a moment: a slot of a cache, a bucket of nonces.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A mutex that a panic doesn't poison. Each holder leaves a whole value at each step, so the next
/// holder may use it.
///
/// Nothing slow happens under it: no call of a host, no signature, no allocation that grows with a
/// request. In the VM, which has one thread, it costs a flag.
#[derive(Debug, Default)]
pub struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    /// A lock around a value.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// The value, once nobody shares it.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the value.
    pub fn hold(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, unless somebody holds it.
    pub fn try_hold(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// What was counted since this was last asked. Most who ask find nothing, and only read.
pub fn take(count: &AtomicU64) -> u64 {
    if count.load(Ordering::Relaxed) == 0 { 0 } else { count.swap(0, Ordering::Relaxed) }
}
