//! The host's shared data: what all workers of a process have in common.
//!
//! Names are never freed by the host, so whoever uses it keeps to a bounded number of them.

use proxy_wasm::hostcalls;
use sha2::Digest as _;

use crate::names::hex;

/// A version that nothing has: the host counts writes from 1. It takes a write to a name that isn't there whatever the version,
/// and to a name that is there only by its own. So this writes a name only if it is new.
const NEW: u32 = u32::MAX;

/// What names of one purpose begin with: 14 bytes, so that 8 more keep a name within the 22 that the host's strings hold in
/// place. Longer ones cost an allocation and a cache miss with each look.
///
/// `layout` says how the values are laid out, in two characters: they outlive the code that wrote them.
#[must_use]
pub fn prefix(layout: &str, whose: &str) -> String {
    let [a, b, c, d, e, f, ..] = <[u8; 32]>::from(sha2::Sha256::digest(whose));
    [layout, &hex(&[a, b, c, d, e, f])].concat()
}

/// The name of a number behind a prefix.
#[must_use]
pub fn name(prefix: &str, number: u32) -> String {
    [prefix, &hex(&number.to_be_bytes())].concat()
}

/// The value of a name and its version, where it is there.
#[must_use]
pub fn get(name: &str) -> (Option<Vec<u8>>, Option<u32>) {
    hostcalls::get_shared_data(name).unwrap_or_default()
}

/// Writes a name, whatever is there. Returns whether the host took it.
#[must_use]
pub fn set(name: &str, value: &[u8]) -> bool {
    hostcalls::set_shared_data(name, Some(value), None).is_ok()
}

/// Writes a name that is of this version, or isn't there if there is none: unless somebody wrote it since it was read. Returns
/// whether that was so.
#[must_use]
pub fn swap(name: &str, value: &[u8], version: Option<u32>) -> bool {
    hostcalls::set_shared_data(name, Some(value), version.or(Some(NEW))).is_ok()
}
