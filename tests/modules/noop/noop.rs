//! The smallest filter that the SDK can express: a context per request, and every callback the
//! default.
//!
//! With any configuration but `{}` it also makes the host calls that Waybill makes for a plain
//! request, and does nothing with what they give: what no filter of that kind can cost less than.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { counter: None }));
}}

struct Root {
    counter: Option<u32>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration =
            hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten();
        if configuration.is_some_and(|text| text != b"{}") {
            self.counter = hostcalls::define_metric(MetricType::Counter, "calls_total").ok();
        }
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match self.counter {
            None => Box::new(Request),
            Some(counter) => Box::new(Calling(counter)),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Request;

impl Context for Request {}

impl HttpContext for Request {}

struct Calling(u32);

unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
}

/// All headers as one buffer; the SDK would copy each out of it.
fn header_pairs() -> bool {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both pointers are of live locals; the host gives a buffer away that it had allocated
    // by the SDK
    let status = unsafe {
        proxy_get_header_map_pairs(MapType::HttpRequestHeaders as u32, &raw mut data, &raw mut size)
    };
    if !data.is_null() {
        drop(unsafe { Vec::from_raw_parts(data, size, size) });
    }
    status == 0
}

impl Context for Calling {}

impl HttpContext for Calling {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let headers = MapType::HttpRequestHeaders;
        let calls = [
            header_pairs(),
            hostcalls::get_property(vec!["filter_state", "direct"]).is_ok(),
            hostcalls::get_current_time().is_ok(),
            hostcalls::increment_metric(self.0, 1).is_ok(),
            hostcalls::set_property(vec!["waybill"], Some(&[b'x'; 600])).is_ok(),
            hostcalls::set_map_value_bytes(headers, "x-api-key", None).is_ok(),
            hostcalls::set_map_value_bytes(headers, "x-geo-country", None).is_ok(),
            hostcalls::set_map_value_bytes(headers, "compliance-tag", Some(&[b'x'; 200])).is_ok(),
        ];
        assert_eq!(calls, [true; 8], "a call failed");
        Action::Continue
    }
}
