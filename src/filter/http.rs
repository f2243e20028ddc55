//! One HTTP exchange: read the headers once, have them decided, do what the outcome says.

use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use super::host;
use super::node::Node;
use crate::config::{Config, CredentialPlace, EndpointSettings, San};
use crate::disclosure;
use crate::evidence::admits_trailer;
use crate::keyring::DIRECTORY_MEDIA_TYPE;
use crate::outcome::{Edits, Outcome};
use crate::refusal::Refusal;
use crate::request::{Request, Time, TlsNames};

/// An exchange under one configuration.
#[derive(Debug)]
pub struct Exchange {
    node: Option<Rc<Node>>,
}

impl Exchange {
    /// An exchange. Without a node (which Envoy never has, since it refuses to start) nothing passes.
    pub fn new(node: Option<Rc<Node>>) -> Self {
        Self { node }
    }
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let (Some(node), Some(map)) = (&self.node, host::header_map(MapType::HttpRequestHeaders))
        else {
            return refuse_without_reason();
        };
        let config = node.screen.config();
        let headers = map.pairs();
        let properties = Properties::read(config, &headers);
        let request = properties.request(headers);
        if let Some(own) = own_answer(node, &request) {
            return answer(&own);
        }
        node.decide(&request, |decision, ledger| {
            node.count(decision);
            // filter state `wasm.waybill`, which access loggers print
            if !host::set_property("waybill", ledger.write(decision)) {
                error!("waybill: the host didn't take the event {}", decision.id);
            }
            match &decision.outcome {
                Outcome::Forward(edits) => forward(edits),
                Outcome::Answer(refusal) => answer(refusal),
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

/// What Envoy knows of a request beside its headers. Each is asked for only where the configuration needs it.
struct Properties {
    /// The direct peer's address; behind a space, if the operator's format string has it, Envoy's idea of the client's
    direct: Option<Vec<u8>>,
    envoy_client: Option<Vec<u8>>,
    uri_san: Option<Vec<u8>>,
    dns_san: Option<Vec<u8>>,
    claims: Vec<Option<Vec<u8>>>,
    time: Time,
}

impl Properties {
    fn read(config: &Config, headers: &[(&[u8], &[u8])]) -> Self {
        let needs =
            |san| config.sources.iter().any(|source| source.place == CredentialPlace::Mtls(san));
        // only where a header moves the client's address, the node's or Envoy's, can the two be others
        let moves = |name: &[u8]| {
            config.client_address.header.as_str().as_bytes() == name || name == b"x-forwarded-for"
        };
        let may_differ = config.geo.reads_headers() && headers.iter().any(|(name, _)| moves(name));
        let direct = host::property("filter_state\0direct");
        let says_both = direct.as_ref().is_some_and(|addresses| addresses.contains(&b' '));
        Self {
            direct,
            envoy_client: (may_differ && !says_both)
                .then(|| host::property("source\0address"))
                .flatten(),
            uri_san: needs(San::Uri)
                .then(|| host::property("connection\0uri_san_peer_certificate"))
                .flatten(),
            dns_san: needs(San::Dns)
                .then(|| host::property("connection\0dns_san_peer_certificate"))
                .flatten(),
            claims: config
                .claims()
                .map(|claim| {
                    let filter = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn";
                    host::property(
                        &[filter, claim.provider.as_str(), claim.claim.as_str()].join("\0"),
                    )
                })
                .collect(),
            time: host::now(),
        }
    }

    fn request<'a>(&'a self, headers: Vec<(&'a [u8], &'a [u8])>) -> Request<'a> {
        let mut addresses =
            self.direct.iter().flat_map(|addresses| addresses.splitn(2, |b| *b == b' '));
        Request {
            headers,
            direct_peer: addresses.next(),
            envoy_client: addresses.next().or(self.envoy_client.as_deref()),
            tls: TlsNames { uri_san: self.uri_san.as_deref(), dns_san: self.dns_san.as_deref() },
            claims: &self.claims,
            time: self.time,
        }
    }
}

fn forward(edits: &Edits<'_>) -> Action {
    for name in &edits.remove {
        remove(MapType::HttpRequestHeaders, name);
    }
    for (name, value) in &edits.set {
        if !host::set_header(MapType::HttpRequestHeaders, name.as_bytes(), value) {
            error!("waybill: header {name} can't be set");
            return refuse_without_reason();
        }
    }
    Action::Continue
}

fn remove(map: MapType, name: &[u8]) {
    if !host::remove_header(map, name) {
        error!("waybill: a header or trailer can't be removed");
    }
}

/// What the node answers itself, whoever asks and by whichever method.
fn own_answer(node: &Node, request: &Request<'_>) -> Option<Refusal> {
    let EndpointSettings { ready: is_ready, directory, disclosure: about } =
        &node.screen.config().endpoints;
    let path = request.path();
    if is_ready.is(path) {
        Some(ready(node))
    } else if directory.is(path) {
        Some(document(
            "waybill_directory",
            DIRECTORY_MEDIA_TYPE,
            node.worker.borrow().signer.keyring().directory(request.time.seconds()),
        ))
    } else if about.is(path) {
        Some(document(
            "waybill_disclosure",
            disclosure::MEDIA_TYPE,
            disclosure::disclosure(node.screen.config(), node.screen.watch()),
        ))
    } else {
        None
    }
}

/// A document about the node. An hour, so that a next key is seen long before it signs.
fn document(details: &str, media_type: &str, body: String) -> Refusal {
    Refusal {
        status: 200,
        details: details.into(),
        headers: vec![
            ("content-type", media_type.into()),
            ("cache-control", "public, max-age=3600".into()),
        ],
        body,
    }
}

/// What a load balancer is told.
fn ready(node: &Node) -> Refusal {
    let (status, details, body) = if node.is_ready() {
        (200, "waybill_ready", "ready\n")
    } else {
        (503, "waybill_not_ready", "no snapshot yet\n")
    };
    Refusal {
        status,
        details: details.into(),
        headers: vec![("content-type", "text/plain".into()), ("cache-control", "no-store".into())],
        body: body.into(),
    }
}

fn answer(refusal: &Refusal) -> Action {
    if !host::send_local_response(
        refusal.status,
        &refusal.details,
        &refusal.headers,
        refusal.body.as_bytes(),
    ) {
        error!("waybill: the host didn't take the refusal {}", refusal.details);
    }
    Action::Pause
}

/// Whatever can't be decided doesn't pass.
fn refuse_without_reason() -> Action {
    if !host::send_local_response(503, "waybill_undecided", &[], b"") {
        error!("waybill: the host didn't take the refusal");
    }
    Action::Pause
}
