//! The host's shared data: values under names, which all workers of a process share.
//!
//! The host never frees a name, so a caller must keep to a bounded number of names.

use proxy_wasm::hostcalls;
use sha2::Digest as _;

use crate::terms::names::hex;

/// A version no key can have (hosts count from 1). Writing with it succeeds only if the key is
/// absent: insert-if-new.
const NEW: u32 = u32::MAX;

/// The common prefix of the names of one purpose: 14 bytes. With 8 more a name has the 22 bytes
/// that the host's strings hold in place. A longer name costs an allocation and a cache miss per
/// look-up.
///
/// `layout` names the values' layout in two characters: values outlive the code that wrote them.
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

/// Writes a name if it still has this version, or if it is still absent where there is no version.
/// Returns whether it did.
#[must_use]
pub fn swap(name: &str, value: &[u8], version: Option<u32>) -> bool {
    hostcalls::set_shared_data(name, Some(value), version.or(Some(NEW))).is_ok()
}
