//! The filter, whose VM ends with a trap when a request has the header `x-test-trap`, or an answer
//! of the snapshot's server.
//!
//! All else goes to the filter's own contexts. What those begin to handle has to be handed on here
//! too.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType};
use waybill::filter::root::Root;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Trapping(Root::default())));
}}

struct Trapping(Root);

impl Context for Trapping {
    fn on_http_call_response(
        &mut self,
        token: u32,
        headers: usize,
        body_size: usize,
        trailers: usize,
    ) {
        trap_if_asked(MapType::HttpCallResponseHeaders);
        self.0.on_http_call_response(token, headers, body_size, trailers);
    }
}

impl RootContext for Trapping {
    fn on_configure(&mut self, size: usize) -> bool {
        self.0.on_configure(size)
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        self.0
            .create_http_context(id)
            .map(|exchange| Box::new(Request(exchange)) as Box<dyn HttpContext>)
    }

    fn get_type(&self) -> Option<ContextType> {
        self.0.get_type()
    }
}

struct Request(Box<dyn HttpContext>);

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        trap_if_asked(MapType::HttpRequestHeaders);
        self.0.on_http_request_headers(count, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        self.0.on_http_request_trailers(count)
    }
}

fn trap_if_asked(headers: MapType) {
    let asked = hostcalls::get_map_value_bytes(headers, "x-test-trap").ok().flatten();
    assert!(asked.is_none(), "a test asked for a trap");
}
