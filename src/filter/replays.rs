//! The nonces that passed, in the host's shared data: one memory for all workers of a process.

use log::warn;

use super::shared;
use crate::names::NodeId;
use crate::replay::{BUCKETS, Buckets, SECRET};

/// The buckets of a node. Each is made when it is first written; a node that verifies nothing has none.
#[derive(Debug)]
pub struct SharedBuckets {
    prefix: String,
    /// Once it was read: it stays the same for as long as the process lives
    secret: Option<[u8; SECRET]>,
}

impl SharedBuckets {
    /// The buckets of this node. Nodes that share a VM id each have their own.
    pub fn new(node: &NodeId) -> Self {
        Self { prefix: shared::prefix("r2", node.as_str()), secret: None }
    }

    fn name(&self, bucket: u16) -> String {
        shared::name(&self.prefix, bucket.into())
    }

    /// Draws the secret, unless another worker did so before, and reads what stands there.
    fn draw(&self) -> Option<[u8; SECRET]> {
        let name = self.name(BUCKETS); // behind the last bucket
        let mut drawn = [0; SECRET];
        if getrandom::fill(&mut drawn).is_ok() {
            let _was_first = shared::swap(&name, &drawn, None);
        }
        shared::get(&name).0?.first_chunk().copied()
    }
}

impl Buckets for SharedBuckets {
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
