//! Times lookups in a snapshot that the filter's own keeper fetched, inside Envoy's V8.
//!
//! Each request runs all the loops and is answered with nanoseconds a call, as JSON. What the
//! keeper's callbacks took goes to the log, a line for each.

mod chain;

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType};
use waybill::config::Config;
use waybill::filter::keeper::{self, VmKeeper};
use waybill::host::TICK;
use waybill::register::Name;
use waybill::snapshot::Snapshot;
use waybill::terms::names::CredentialDigest;

/// Lookups in a loop. All their arguments are made before it, and they fit into a CPU's
/// second-level cache.
const LOOKUPS: usize = 16_384;
/// How often a loop runs; the median is told.
const LOOPS: usize = 15;
/// Customers that call again and again.
const HOT: u64 = 1_000;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root(Rc::default())));
}}

type Shared = Rc<RefCell<Option<VmKeeper>>>;

struct Root(Shared);

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        _headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        timed("answer", || {
            self.with_keeper(|keeper| keeper::answer(keeper, token, body_size, now()))
        });
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX)
            .ok()
            .flatten()
            .unwrap_or_default();
        let Ok(config) = Config::parse(&String::from_utf8_lossy(&text)) else { return false };
        self.0.replace(keeper::open(&config));
        hostcalls::set_tick_period(TICK).is_ok()
    }

    fn on_tick(&mut self) {
        timed("tick", || self.with_keeper(|keeper| keeper.tick(now())));
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request(Rc::clone(&self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Root {
    fn with_keeper(&self, what: impl FnOnce(&VmKeeper)) {
        if let Some(keeper) = &*self.0.borrow() {
            what(keeper);
        }
    }
}

struct Request(Shared);

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, ":path")
            .ok()
            .flatten()
            .is_some_and(|path| path == b"/chain")
        {
            self.send_http_response(200, vec![], Some(chain::measure().as_bytes()));
            return Action::Pause;
        }
        let keeper = self.0.borrow();
        let held = keeper.as_ref().map(|keeper| timed("request", || keeper.snapshot()));
        let (status, body) = match held.as_ref().and_then(|held| held.as_ref()) {
            None => (503, "no snapshot yet\n".to_owned()),
            Some(snapshot) => (200, measure(snapshot)),
        };
        self.send_http_response(status, vec![], Some(body.as_bytes()));
        Action::Pause
    }
}

fn timed<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = call();
    warn!("speed: {what} took {} us", start.elapsed().as_micros());
    made
}

fn measure(snapshot: &Snapshot) -> String {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let count: u64 =
        std::env::var("CUSTOMERS").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    let known = |address: &IpAddr| {
        snapshot
            .address(*address)
            .is_some_and(|facts| facts.asn().is_some() || facts.places().next().is_some())
    };
    let mut addresses = |make: fn(u128) -> IpAddr| {
        let mut made = std::iter::repeat_with(|| {
            make(u128::from(random.next()) << 64 | u128::from(random.next()))
        });
        made.by_ref().filter(known).take(LOOKUPS).collect::<Vec<_>>()
    };
    let v4 = addresses(|bits| Ipv4Addr::from_bits(bits as u32).into());
    // the unicast addresses that are given out, 2000::/3
    let v6 = addresses(|bits| Ipv6Addr::from_bits(bits >> 3 | 1 << 125).into());
    let mut digests = |among: u64| -> Vec<CredentialDigest> {
        (0..LOOKUPS)
            .map(|_| digest((random.next() % among) * (count / among).max(1) % count))
            .collect()
    };
    let hot = digests(HOT.min(count));
    let uniform = digests(count);
    let found = |digests: &[CredentialDigest]| {
        let is_known = |digest: &&CredentialDigest| {
            snapshot.customer(Name::Secret(**digest)).is_ok_and(|found| found.is_some())
        };
        digests.iter().filter(is_known).count()
    };
    let (found_hot, found_uniform) = (found(&hot), found(&uniform));
    format!(
        r#"{{"sequence": {}, "table": {}, "v4": {:.1}, "v6": {:.1}, "hot": {:.1}, "uniform": {:.1}, "found": [{found_hot}, {found_uniform}, {LOOKUPS}]}}"#,
        snapshot.preamble.sequence,
        snapshot.table_size(),
        each(&v4, |address| snapshot.address(*address)),
        each(&v6, |address| snapshot.address(*address)),
        each(&hot, |digest| snapshot.customer(Name::Secret(*digest))),
        each(&uniform, |digest| snapshot.customer(Name::Secret(*digest))),
    )
}

/// The credential that `tests/bench/snapshot.py` gives a customer, as a digest.
fn digest(customer: u64) -> CredentialDigest {
    CredentialDigest::of(format!("wb_bench_{customer:07}").as_bytes())
}

/// Nanoseconds a call: the median of some loops over all arguments.
fn each<A, T>(arguments: &[A], call: impl Fn(&A) -> T) -> f64 {
    let mut loops: Vec<Duration> = (0..LOOPS)
        .map(|_| {
            let start = Instant::now();
            for argument in arguments {
                black_box(call(black_box(argument)));
            }
            start.elapsed()
        })
        .collect();
    loops.sort();
    loops[LOOPS / 2].as_secs_f64() * 1e9 / arguments.len() as f64
}

/// xorshift64*: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn now() -> u64 {
    let since =
        hostcalls::get_current_time().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}
