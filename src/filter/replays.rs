//! The nonces that passed, in the host's shared data: one memory for all workers of a process.

use super::shared;
use crate::names::NodeId;
use crate::replay::Buckets;

/// The buckets of a node. Each is made when it is first written; a node that verifies nothing has none.
#[derive(Debug)]
pub struct SharedBuckets {
    prefix: String,
}

impl SharedBuckets {
    /// The buckets of this node. Nodes that share a VM id each have their own.
    #[must_use]
    pub fn new(node: &NodeId) -> Self {
        Self { prefix: shared::prefix("r1", node.as_str()) }
    }

    fn name(&self, bucket: u16) -> String {
        shared::name(&self.prefix, bucket.into())
    }
}

impl Buckets for SharedBuckets {
    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        let (value, version) = shared::get(&self.name(bucket));
        (value.unwrap_or_default(), version)
    }

    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
        shared::swap(&self.name(bucket), value, version)
    }
}
