//! The host calls of a request, straight to the host.
//!
//! The SDK's forms of these calls cost more. They copy each header pair into two allocations, join
//! a property's path each time, and read the clock through dates. They need names in UTF-8, and an
//! unknown status traps the VM. Their local reply can't carry the details that
//! `%RESPONSE_CODE_DETAILS%` prints. Calls that aren't made for each request (metrics' names,
//! ticks, shared data) go through the SDK.

#![expect(
    unsafe_code,
    reason = "the host calls: each pointer is of a live slice or local, or of a buffer that the \
              host allocated through the SDK"
)]

use log::warn;
use proxy_wasm::types::MapType;

use crate::decision::request::Time;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// The serialized header map that the host wrote, as one buffer.
#[derive(Debug)]
pub struct HeaderMap(Vec<u8>);

/// Reads all pairs of a map at once. `None` if the host has none.
pub fn header_map(map: MapType) -> Option<HeaderMap> {
    // SAFETY: both pointers are of live locals
    given(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) }).map(HeaderMap)
}

/// A property of the request. Zero bytes separate the parts of its path. `None` if the host has
/// none.
pub fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the path is a live slice, the others are of live locals
    given(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// The buffer that the host allocated and gave away.
fn given(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    let status = call(&raw mut data, &raw mut size);
    if status != 0 || data.is_null() {
        return None;
    }
    // SAFETY: the host allocated `size` bytes by the SDK's proxy_on_memory_allocate, which is a Vec
    // of exactly that capacity (allocator.rs), wrote them all, and gave the buffer away
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Sets a header: the value replaces all there were. Returns whether the host took it.
pub fn set_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    // SAFETY: both slices are live
    0 == unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    }
}

/// Adds a header that there isn't. Returns whether the host took it.
pub fn add_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    // SAFETY: both slices are live
    0 == unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    }
}

/// Removes every copy of a header. Returns whether the host did so.
pub fn remove_header(map: MapType, name: &[u8]) -> bool {
    // SAFETY: the slice is live
    0 == unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) }
}

/// Writes filter state `wasm.<name>`. Returns whether the host took it.
pub fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: both slices are live
    0 == unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

/// The host's clock. The beginning of 1970 if it has none.
pub fn now() -> Time {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is of a live local
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    Time(if status == 0 { nanoseconds } else { 0 })
}

/// Adds one to a counter.
pub fn increment(counter: u32) {
    // SAFETY: no pointers
    if 0 != unsafe { proxy_increment_metric(counter, 1) } {
        warn!("waybill: counter {counter} can't be incremented");
    }
}

/// Answers the request. Returns whether the host took it.
pub fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> bool {
    let headers = serialize(headers);
    // SAFETY: each pointer and length is of a live slice; -1 is "no gRPC status"
    let answer = unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    };
    answer == 0
}

impl HeaderMap {
    /// The pairs, in order, as slices of the buffer. The layout is proxy-wasm's (ABI 0.2.1,
    /// `proxy_get_header_map_pairs`): u32 count, then the sizes of each name and value, then each
    /// name and value with a zero byte behind it, all little-endian. Bytes that don't fit end the
    /// list.
    pub fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let mut sizes = self.0.as_slice();
        let count = usize::try_from(take_u32(&mut sizes).unwrap_or(0)).unwrap_or(0);
        let Some(header_length) = count.checked_mul(8) else { return Vec::new() };
        let Some((mut sizes, mut data)) = sizes.split_at_checked(header_length) else {
            return Vec::new();
        };
        let mut pairs = Vec::with_capacity(count);
        while let (Some(name_size), Some(value_size)) = (take_u32(&mut sizes), take_u32(&mut sizes))
        {
            let (Some(name), Some(value)) =
                (take_text(&mut data, name_size), take_text(&mut data, value_size))
            else {
                break;
            };
            pairs.push((name, value));
        }
        pairs
    }
}

fn take_u32(from: &mut &[u8]) -> Option<u32> {
    let (number, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_text<'a>(from: &mut &'a [u8], size: u32) -> Option<&'a [u8]> {
    let (text, rest) = from.split_at_checked(usize::try_from(size).ok()?)?;
    *from = rest.strip_prefix(b"\0")?;
    Some(text)
}

/// Pairs in the same layout.
fn serialize(headers: &[(&str, String)]) -> Vec<u8> {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
    let mut map = u32::try_from(headers.len()).unwrap_or(0).to_le_bytes().to_vec();
    for (name, value) in headers {
        map.extend(size(name));
        map.extend(size(value));
    }
    for text in headers.iter().flat_map(|(name, value)| [*name, value.as_str()]) {
        map.extend_from_slice(text.as_bytes());
        map.push(0);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_serialized_is_read_again() {
        let headers = [("content-type", "application/json".to_owned()), ("empty", String::new())];
        let map = HeaderMap(serialize(&headers));
        assert_eq!(
            map.pairs(),
            [(&b"content-type"[..], &b"application/json"[..]), (b"empty", b"")]
        );
    }

    #[test]
    fn no_bytes_trap() {
        let whole = serialize(&[("a", "b".to_owned()), ("c", "d".to_owned())]);
        for cut in 0..whole.len() {
            assert!(HeaderMap(whole[..cut].to_vec()).pairs().len() < 2);
        }
        assert!(HeaderMap(vec![0xff; 64]).pairs().is_empty());
    }
}
