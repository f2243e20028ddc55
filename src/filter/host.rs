//! Two host calls that the SDK offers only in a slower or a poorer form.
//!
//! The SDK copies each header pair into two allocations of its own and panics on names that aren't UTF-8;
//! read as one buffer, the same pairs cost half (`docs/operating.md`). And its local reply can't carry the
//! details that `%RESPONSE_CODE_DETAILS%` prints.

use proxy_wasm::types::MapType;

/// The serialized header map that the host wrote, as one buffer.
#[derive(Debug)]
pub struct HeaderMap(Vec<u8>);

/// Reads all pairs of a map at once. `None` where the host has none.
#[must_use]
pub fn header_map(map: MapType) -> Option<HeaderMap> {
    raw::header_map(map).map(HeaderMap)
}

/// Answers the request. Returns whether the host took it.
#[must_use]
pub fn send_local_response(status: u16, details: &str, headers: &[(&str, String)], body: &[u8]) -> bool {
    raw::send_local_response(u32::from(status), details.as_bytes(), &serialize(headers), body)
}

impl HeaderMap {
    /// The pairs, in order, as slices of the buffer. The layout is proxy-wasm's (ABI 0.2.1,
    /// `proxy_get_header_map_pairs`): u32 count, then the sizes of each name and value, then each name
    /// and value with a zero byte behind it, all little-endian. Whatever doesn't fit it ends the list.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let mut sizes = self.0.as_slice();
        let count = usize::try_from(take_u32(&mut sizes).unwrap_or(0)).unwrap_or(0);
        let Some(header_length) = count.checked_mul(8) else { return Vec::new() };
        let Some((mut sizes, mut data)) = sizes.split_at_checked(header_length) else { return Vec::new() };
        let mut pairs = Vec::with_capacity(count);
        while let (Some(name_size), Some(value_size)) = (take_u32(&mut sizes), take_u32(&mut sizes)) {
            let (Some(name), Some(value)) = (take_text(&mut data, name_size), take_text(&mut data, value_size)) else { break };
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

#[cfg(target_family = "wasm")]
#[expect(
    unsafe_code,
    reason = "the two host calls; every pointer is of a live slice, or of a buffer that the host allocated through the SDK"
)]
mod raw {
    use proxy_wasm::types::MapType;

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
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

    pub(super) fn header_map(map: MapType) -> Option<Vec<u8>> {
        let (mut data, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: both pointers are of live locals
        let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut size) };
        if status != 0 || data.is_null() {
            return None;
        }
        // SAFETY: the host allocated `size` bytes by the SDK's proxy_on_memory_allocate, which is a Vec
        // of exactly that capacity (allocator.rs), wrote them all, and gave the buffer away
        Some(unsafe { Vec::from_raw_parts(data, size, size) })
    }

    pub(super) fn send_local_response(status: u32, details: &[u8], headers: &[u8], body: &[u8]) -> bool {
        // SAFETY: each pointer and length is of a live slice; -1 is "no gRPC status"
        let answer = unsafe {
            proxy_send_local_response(
                status,
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
}

/// Natively there is no host: the module is built so that lints and tests see it.
#[cfg(not(target_family = "wasm"))]
mod raw {
    use proxy_wasm::types::MapType;

    pub(super) fn header_map(_map: MapType) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn send_local_response(_status: u32, _details: &[u8], _headers: &[u8], _body: &[u8]) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_serialized_is_read_again() {
        let headers = [("content-type", "application/json".to_owned()), ("empty", String::new())];
        let map = HeaderMap(serialize(&headers));
        assert_eq!(map.pairs(), [(&b"content-type"[..], &b"application/json"[..]), (b"empty", b"")]);
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
