//! The functions by which Envoy finds a module, as its header declares them.

/// Writes the functions by which Envoy finds a module, for one kind of configuration. Envoy wants
/// the last fourteen too. Nothing of ours happens there; 0 lets the stream go on.
macro_rules! export {
    ($hooks:ty) => {
        use std::ffi::c_char;
        use $crate::module::abi::{self, Opaque, Pairs, Raw, Slice, Slices};

        abi::hooks! {
            envoy_dynamic_module_on_program_init() -> *const c_char { abi::program_init() }
            envoy_dynamic_module_on_http_filter_config_new(c: Raw, _name: Slice, text: Slice)
                -> *const $hooks { abi::config_new(c, text) }
            envoy_dynamic_module_on_http_filter_config_destroy(instance: *const $hooks) -> ()
                { abi::config_destroy(instance) }
            envoy_dynamic_module_on_http_filter_config_scheduled(
                _config: Raw, instance: *const $hooks, _event: u64
            ) -> () { abi::scheduled(instance) }
            envoy_dynamic_module_on_http_filter_config_http_callout_done(
                _config: Raw, instance: *const $hooks, call: u64, _result: u32,
                headers: Pairs, header_count: usize, body: Slices, body_count: usize
            ) -> ()
                { abi::callout_done(instance, call, (headers, header_count), (body, body_count)) }
            envoy_dynamic_module_on_http_filter_new(instance: *const $hooks, _s: Raw) -> Opaque
                { abi::filter_new(instance) }
            envoy_dynamic_module_on_http_filter_destroy(filter: Opaque) -> ()
                { abi::filter_destroy::<$hooks>(filter) }
            envoy_dynamic_module_on_http_filter_request_headers(s: Raw, f: Opaque, _e: bool) -> u32
                { abi::request_headers::<$hooks>(s, f) }
            envoy_dynamic_module_on_http_filter_request_trailers(s: Raw, f: Opaque) -> u32
                { abi::request_trailers::<$hooks>(s, f) }

            envoy_dynamic_module_on_http_filter_request_body(_s: Raw, _f: Opaque, _end: bool) -> u32
                { 0 }
            envoy_dynamic_module_on_http_filter_response_headers(_s: Raw, _f: Opaque, _end: bool)
                -> u32 { 0 }
            envoy_dynamic_module_on_http_filter_response_body(_s: Raw, _f: Opaque, _end: bool)
                -> u32 { 0 }
            envoy_dynamic_module_on_http_filter_response_trailers(_s: Raw, _f: Opaque) -> u32 { 0 }
            envoy_dynamic_module_on_http_filter_stream_complete(_s: Raw, _f: Opaque) -> () {}
            envoy_dynamic_module_on_http_filter_scheduled(_s: Raw, _f: Opaque, _event: u64) -> () {}
            envoy_dynamic_module_on_http_filter_http_callout_done(
                _s: Raw, _f: Opaque, _call: u64, _result: u32,
                _headers: Pairs, _header_count: usize, _body: Slices, _body_count: usize
            ) -> () {}
            envoy_dynamic_module_on_http_filter_http_stream_headers(
                _s: Raw, _f: Opaque, _call: u64, _headers: Pairs, _count: usize, _end: bool
            ) -> () {}
            envoy_dynamic_module_on_http_filter_http_stream_data(
                _s: Raw, _f: Opaque, _call: u64, _data: Slices, _count: usize, _end: bool
            ) -> () {}
            envoy_dynamic_module_on_http_filter_http_stream_trailers(
                _s: Raw, _f: Opaque, _call: u64, _trailers: Pairs, _count: usize
            ) -> () {}
            envoy_dynamic_module_on_http_filter_http_stream_complete(
                _s: Raw, _f: Opaque, _call: u64
            ) -> () {}
            envoy_dynamic_module_on_http_filter_http_stream_reset(
                _s: Raw, _f: Opaque, _call: u64, _reason: u32
            ) -> () {}
            envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
                _s: Raw, _f: Opaque
            ) -> () {}
            envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
                _s: Raw, _f: Opaque
            ) -> () {}
        }
    };
}
pub(crate) use export;
