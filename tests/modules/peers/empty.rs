//! A dynamic module for Envoy that does nothing: what Envoy's host for modules costs by itself.
//!
//! In C's calling convention the caller passes and removes the arguments. So a hook leaves out
//! those that it doesn't read.

use std::ffi::{c_char, c_void};

/// What a configuration and a stream are: Envoy refuses null.
static NOTHING: u8 = 0;

fn nothing() -> *const c_void {
    (&raw const NOTHING).cast()
}

/// The version of Envoy's interface.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    c"v0.2.0".as_ptr()
}

macro_rules! hooks {
    ($back:ty, $value:expr => $($name:ident)*) => {$(
        /// One of Envoy's hooks.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> $back { $value }
    )*};
}

hooks! { *const c_void, nothing() =>
    envoy_dynamic_module_on_http_filter_config_new
    envoy_dynamic_module_on_http_filter_new
}

// 0 lets the stream go on
hooks! { u32, 0 =>
    envoy_dynamic_module_on_http_filter_request_headers
    envoy_dynamic_module_on_http_filter_request_body
    envoy_dynamic_module_on_http_filter_request_trailers
    envoy_dynamic_module_on_http_filter_response_headers
    envoy_dynamic_module_on_http_filter_response_body
    envoy_dynamic_module_on_http_filter_response_trailers
}

hooks! { (), () =>
    envoy_dynamic_module_on_http_filter_config_destroy
    envoy_dynamic_module_on_http_filter_config_scheduled
    envoy_dynamic_module_on_http_filter_config_http_callout_done
    envoy_dynamic_module_on_http_filter_destroy
    envoy_dynamic_module_on_http_filter_stream_complete
    envoy_dynamic_module_on_http_filter_scheduled
    envoy_dynamic_module_on_http_filter_http_callout_done
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_trailers
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
}
