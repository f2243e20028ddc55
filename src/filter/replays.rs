//! The nonces that passed, in the host's shared data: one memory for all workers of a process.

use proxy_wasm::hostcalls;
use sha2::Digest as _;

use crate::names::{NodeId, hex};
use crate::replay::Buckets;

/// A version that nothing has: the host counts from 1, one up with each write of any value. It takes a write to a name that
/// isn't there whatever the version, and a name that is there only by its own. So this writes a name only if it is new.
const NEW: u32 = u32::MAX;

/// The buckets of a node. Each is made when it is first written; a node that verifies nothing has none.
#[derive(Debug)]
pub struct SharedBuckets {
    // short enough, with the bucket's number, that the host's strings hold it in place (22 bytes): longer ones cost 0.8 MB
    prefix: String,
}

impl SharedBuckets {
    /// The buckets of this node. Nodes that share a VM id each have their own.
    #[must_use]
    pub fn new(node: &NodeId) -> Self {
        let [a, b, c, d, e, f, ..] = <[u8; 32]>::from(sha2::Sha256::digest(node.as_str()));
        // the digit is the layout's of a bucket: values outlive the code that wrote them
        Self { prefix: format!("r1{}", hex(&[a, b, c, d, e, f])) }
    }

    fn name(&self, bucket: u16) -> String {
        [self.prefix.as_str(), &hex(&bucket.to_be_bytes())].concat()
    }
}

impl Buckets for SharedBuckets {
    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        let (value, version) = hostcalls::get_shared_data(&self.name(bucket)).unwrap_or_default();
        (value.unwrap_or_default(), version)
    }

    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
        hostcalls::set_shared_data(&self.name(bucket), Some(value), version.or(Some(NEW))).is_ok()
    }
}
