//! One HTTP exchange: what Envoy calls, and the request's port to it.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use super::instance::Instance;
use super::keeper::VmKeeper;
use super::vm::{self, HeaderMap};
use crate::decision::Decision;
use crate::decision::reply::LocalReply;
use crate::decision::request::{Pair, Time};
use crate::decision::signals::Signal;
use crate::host::{self, ExchangeHost, FieldMap, Flow};
use crate::snapshot::Snapshot;

/// An exchange under one configuration.
#[derive(Debug)]
pub struct Exchange {
    instance: Option<Rc<Instance>>,
    /// A copy of the host's headers or trailers, for the time of a hook
    fields: Option<HeaderMap>,
}

impl Exchange {
    /// An exchange. Without an instance nothing passes. Envoy always has one: it refuses to start
    /// else.
    pub fn new(instance: Option<Rc<Instance>>) -> Self {
        Self { instance, fields: None }
    }
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.fields = vm::header_map(MapType::HttpRequestHeaders);
        let flow = match self.instance.clone() {
            Some(instance) if self.fields.is_some() => {
                let (mut worker, mut ledger) =
                    (instance.worker.borrow_mut(), instance.ledger.borrow_mut());
                host::serve(self, &instance.screen, (&mut *worker, &mut *ledger))
            }
            _ => host::give_up(self),
        };
        self.fields = None;
        match flow {
            Flow::Continue => Action::Continue,
            Flow::Stop => Action::Pause,
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.fields = vm::header_map(MapType::HttpRequestTrailers);
        host::strip_trailers(self);
        self.fields = None;
        Action::Continue
    }
}

impl Exchange {
    fn keeper(&self) -> Option<&VmKeeper> {
        self.instance.as_ref()?.keeper.as_ref()
    }
}

impl ExchangeHost for Exchange {
    fn fields(&self, _map: FieldMap) -> Vec<Pair<'_>> {
        self.fields.as_ref().map(HeaderMap::pairs).unwrap_or_default()
    }

    fn ask(&self, signal: Signal<'_>) -> Option<Vec<u8>> {
        vm::property(&signal.path())
    }

    fn now(&self) -> Time {
        vm::now()
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.keeper().and_then(VmKeeper::snapshot)
    }

    fn look(&self) {
        self.keeper().into_iter().for_each(VmKeeper::look);
    }

    fn count(&self, decision: &Decision<'_>) {
        if let Some(instance) = &self.instance {
            instance.counters.count(decision, |counter| vm::increment(*counter));
        }
    }

    fn log_event(&self, event: &[u8]) -> bool {
        vm::set_property("waybill", event) // Envoy puts `wasm.` before it
    }

    fn set_header(&mut self, name: &str, value: &[u8]) -> bool {
        vm::set_header(MapType::HttpRequestHeaders, name.as_bytes(), value)
    }

    fn add_header(&mut self, name: &str, value: &[u8]) -> bool {
        vm::add_header(MapType::HttpRequestHeaders, name.as_bytes(), value)
    }

    fn remove(&mut self, map: FieldMap, name: &[u8]) -> bool {
        let map = match map {
            FieldMap::Headers => MapType::HttpRequestHeaders,
            FieldMap::Trailers => MapType::HttpRequestTrailers,
        };
        vm::remove_header(map, name)
    }

    fn choose_route(&mut self) {} // Envoy does with each header

    fn answer(&mut self, reply: &LocalReply) -> bool {
        let LocalReply { status, headers, body, details } = reply;
        vm::send_local_response(*status, details, headers, body.as_bytes())
    }

    fn complain(&self, text: fmt::Arguments<'_>) {
        error!("{text}");
    }
}
