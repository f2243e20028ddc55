//! One HTTP exchange: read the request, have it decided, do what the outcome says.

use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use super::host;
use super::instance::Instance;
use crate::decision::endpoints;
use crate::decision::evidence::admits_trailer;
use crate::decision::outcome::{Edits, Outcome};
use crate::decision::reply::LocalReply;
use crate::decision::signals::Signals;

/// An exchange under one configuration.
#[derive(Debug)]
pub struct Exchange {
    instance: Option<Rc<Instance>>,
}

impl Exchange {
    /// An exchange. Without an instance nothing passes. Envoy always has one: it refuses to start
    /// else.
    pub fn new(instance: Option<Rc<Instance>>) -> Self {
        Self { instance }
    }
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let (Some(instance), Some(map)) =
            (&self.instance, host::header_map(MapType::HttpRequestHeaders))
        else {
            return answer(&LocalReply::undecided());
        };
        let config = instance.screen.config();
        let headers = map.pairs();
        let signals = Signals::read(config, &headers, |signal| host::property(&signal.path()));
        let request = signals.request(headers, host::now());
        let reply = endpoints::answer(
            config,
            instance.screen.watch(),
            instance.worker.borrow().signer.keyring(),
            || instance.is_ready(),
            &request,
        );
        if let Some(reply) = reply {
            return answer(&reply);
        }
        instance.decide(&request, |decision, ledger| {
            instance.count(decision);
            // filter state `wasm.waybill`, which access loggers print
            if !host::set_property("waybill", ledger.write(decision)) {
                error!("waybill: the host didn't take the event {}", decision.id);
            }
            match &decision.outcome {
                Outcome::Forward(edits) => forward(edits),
                Outcome::Answer(reply) => answer(reply),
            }
        })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let Some(map) = host::header_map(MapType::HttpRequestTrailers) {
            for (name, _) in map.pairs().into_iter().filter(|(name, _)| !admits_trailer(name)) {
                remove(MapType::HttpRequestTrailers, name);
            }
        }
        Action::Continue
    }
}

fn forward(edits: &Edits<'_>) -> Action {
    for name in &edits.remove {
        remove(MapType::HttpRequestHeaders, name);
    }
    for (name, value) in &edits.set {
        if !host::set_header(MapType::HttpRequestHeaders, name.as_bytes(), value) {
            error!("waybill: header {name} can't be set");
            return answer(&LocalReply::undecided());
        }
    }
    Action::Continue
}

fn remove(map: MapType, name: &[u8]) {
    if !host::remove_header(map, name) {
        error!("waybill: a header or trailer can't be removed");
    }
}

fn answer(reply: &LocalReply) -> Action {
    let LocalReply { status, headers, body, details } = reply;
    if !host::send_local_response(*status, details, headers, body.as_bytes()) {
        error!("waybill: the host didn't take the reply {details}");
    }
    Action::Pause
}
