//! Enters nonces into the filter's own replay memory, inside Envoy.
//!
//! A request names a node, a signer, the first nonce, how many, and the time it is:
//! `/acme.example/b.example/0/10000/1795000000`. The answer counts what became of them, and how
//! long one took.

use std::time::Instant;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use waybill::chain::replay::{Admission, SignedNonce, admit};
use waybill::filter::replays::SharedMemory;
use waybill::shape::Word as _;
use waybill::terms::names::NodeId;
use waybill::terms::time::UnixSeconds;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

/// How long a nonce can pass, in seconds: the longest that a configuration allows.
const LIFETIME: i64 = 3_600;

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Request;

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let answer = run(&path);
        let status = if answer.is_some() { 200 } else { 400 };
        self.send_http_response(status, vec![], answer.as_deref().map(str::as_bytes));
        Action::Pause
    }
}

fn run(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let [_, node, signer, from, count, now] = parts.as_slice() else { return None };
    let (from, count): (u64, u64) = (from.parse().ok()?, count.parse().ok()?);
    let now = UnixSeconds(now.parse().ok()?);
    let until = UnixSeconds(now.0 + LIFETIME);
    // no counter: `admit` on its buckets counts nothing
    let mut memory = SharedMemory::new(&NodeId::parse(node).ok()?, 0);
    let [mut new, mut forgotten, mut seen, mut busy] = [0_u64; 4];
    let start = Instant::now();
    for number in from..from + count {
        // as long as the nonces that nodes send
        let nonce = format!("{number:022}");
        match admit(&mut memory, SignedNonce { signer, nonce: nonce.as_bytes(), until }, now) {
            Admission::New => new += 1,
            Admission::Evicting => forgotten += 1,
            Admission::Replay => seen += 1,
            Admission::Busy => busy += 1,
        }
    }
    let each = start.elapsed().as_nanos() as u64 / count.max(1);
    Some(format!(
        r#"{{"new": {new}, "forgotten": {forgotten}, "seen": {seen}, "busy": {busy}, "ns": {each}}}"#
    ))
}
