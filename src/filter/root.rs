//! The root context: one for each configuration in each VM.

use std::cell::RefCell;
use std::rc::Rc;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel, MetricType};

use super::http::Exchange;
use crate::event::Ledger;
use crate::finding::{Action, FindingCode};
use crate::screen::{Decision, Screen};

/// The module's entry, which the SDK's macro writes.
mod start {
    use super::{LogLevel, Root, RootContext};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root::default()) });
    }}
}

thread_local! {
    /// One chain of events for each VM. It outlives configurations: an update makes a new root context
    /// in the same VM, and streams of the old one still end.
    static LEDGER: Rc<RefCell<Ledger>> = Rc::new(RefCell::new(Ledger::new(vm_number())));
}

/// What a request needs of its configuration. Shared by all requests under it.
#[derive(Debug)]
pub struct Node {
    /// The compiled configuration
    pub screen: Screen,
    /// The VM's events
    pub ledger: Rc<RefCell<Ledger>>,
    metrics: Metrics,
}

/// The ids of the counters; their names come from the catalogue alone.
#[derive(Debug)]
struct Metrics {
    // INVARIANT (order): by `Action::strength`
    requests: Vec<u32>,
    // INVARIANT (order): by `FindingCode::ALL`
    findings: Vec<u32>,
}

#[derive(Default)]
struct Root {
    node: Option<Rc<Node>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = match hostcalls::get_buffer(proxy_wasm::types::BufferType::PluginConfiguration, 0, usize::MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(_) => Vec::new(),
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            error!("waybill: the configuration isn't UTF-8; give it as JSON in a google.protobuf.StringValue");
            return false;
        };
        match Screen::parse(text) {
            Ok(screen) => {
                announce(&screen);
                let ledger = LEDGER.with(Rc::clone);
                self.node = Some(Rc::new(Node { screen, ledger, metrics: Metrics::define() }));
                true
            }
            Err(problems) => {
                for problem in problems.iter() {
                    error!("waybill: configuration refused: {problem}");
                }
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange::new(self.node.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Tells the operator which node, policy and register this VM now works by.
fn announce(screen: &Screen) {
    let config = screen.config();
    info!(
        "waybill {}: node {}, mode {}, policy {}, customers {}, regions {}",
        env!("CARGO_PKG_VERSION"),
        config.node.id,
        config.policy.mode,
        config.policy.revision,
        config.register.as_ref().map_or(0, |register| register.len()),
        config.regions.as_ref().map_or("none", |regions| regions.set.as_str()),
    );
    for notice in &config.notices {
        warn!("waybill: {notice}");
    }
}

/// A number that no other VM has. Where the host has no random source, the ledger says so by zeros.
fn vm_number() -> u64 {
    getrandom::u64().unwrap_or(0)
}

impl Metrics {
    fn define() -> Self {
        let counter = |name: String| match hostcalls::define_metric(MetricType::Counter, &name) {
            Ok(id) => id,
            Err(status) => {
                error!("waybill: counter {name} can't be defined: {status:?}");
                0
            }
        };
        let verdicts = ["allow", "report", "reroute", "block"];
        Self {
            requests: verdicts.iter().map(|verdict| counter(format!("waybill_requests_total.verdict.{verdict}"))).collect(),
            findings: FindingCode::ALL.iter().map(|code| counter(format!("waybill_findings_total.code.{code}"))).collect(),
        }
    }
}

impl Node {
    /// Counts a decision.
    pub fn count(&self, decision: &Decision<'_>) {
        let Metrics { requests, findings } = &self.metrics;
        let verdict = requests.get(usize::from(Action::strength(decision.verdict.action)));
        let codes = decision.weighed.iter().map(|weighed| findings.get(weighed.finding.code as usize));
        for id in std::iter::once(verdict).chain(codes).flatten() {
            if let Err(status) = hostcalls::increment_metric(*id, 1) {
                warn!("waybill: counter {id} can't be incremented: {status:?}");
            }
        }
    }
}
