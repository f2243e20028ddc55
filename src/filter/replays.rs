//! The nonces that passed, in the host's shared data: one memory for all workers of a process.

use log::warn;

use super::{shared, vm};
use crate::chain::replay::{Admission, BUCKETS, Buckets, ReplayMemory, SECRET, SignedNonce, admit};
use crate::terms::names::NodeId;
use crate::terms::time::UnixSeconds;

/// The replay memory of a node, in buckets. Each bucket is made when it is first written, so a node
/// that verifies nothing has none.
#[derive(Debug)]
pub struct SharedMemory {
    prefix: String,
    /// The process's secret, once it was read: it never changes
    secret: Option<[u8; SECRET]>,
    /// The counter of nonces that went though they could still pass
    evictions: u32,
}

impl SharedMemory {
    /// The memory of this node. Nodes that share a VM id each have their own.
    pub fn new(node: &NodeId, evictions: u32) -> Self {
        Self { prefix: shared::prefix("r2", node.as_str()), secret: None, evictions }
    }

    fn name(&self, bucket: u16) -> String {
        shared::name(&self.prefix, bucket.into())
    }

    /// Draws the secret, unless another worker did so before, and reads it back.
    fn draw(&self) -> Option<[u8; SECRET]> {
        let name = self.name(BUCKETS); // behind the last bucket
        let mut drawn = [0; SECRET];
        if getrandom::fill(&mut drawn).is_ok() {
            let _was_first = shared::swap(&name, &drawn, None);
        }
        shared::get(&name).0?.first_chunk().copied()
    }
}

impl ReplayMemory for SharedMemory {
    fn admit(&mut self, nonce: SignedNonce<'_>, now: UnixSeconds) -> Admission {
        let admission = admit(self, nonce, now);
        if admission == Admission::Evicting {
            vm::increment(self.evictions);
        }
        admission
    }
}

impl Buckets for SharedMemory {
    fn secret(&mut self) -> [u8; SECRET] {
        if self.secret.is_none() {
            self.secret = self.draw();
        }
        self.secret.unwrap_or_else(|| {
            warn!("waybill: the host keeps no secret for the memory of nonces");
            [0; SECRET]
        })
    }

    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        let (value, version) = shared::get(&self.name(bucket));
        (value.unwrap_or_default(), version)
    }

    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
        shared::swap(&self.name(bucket), value, version)
    }
}
