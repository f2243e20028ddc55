//! What requests share: the configuration, the VM's ledger, the counters.

use std::cell::RefCell;
use std::rc::Rc;

use log::error;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use super::host;
use super::keeper::{self, VmKeeper};
use super::replays::SharedMemory;
use crate::chain::Signer;
use crate::chain::keyring::Keyring;
use crate::decision::event::Ledger;
use crate::decision::request::Request;
use crate::decision::{Decision, Screen, Worker};
use crate::register::PageGone;
use crate::terms::finding::{Action, FindingCode, Intervention};

/// What a request needs of its configuration. Shared by all requests under it.
#[derive(Debug)]
pub struct Instance {
    /// The compiled configuration
    pub screen: Screen,
    /// What this worker keeps between requests
    pub worker: RefCell<Worker>,
    /// The VM's events
    pub ledger: Rc<RefCell<Ledger>>,
    /// The snapshot, where the configuration has one
    pub keeper: Option<VmKeeper>,
    metrics: Metrics,
}

/// The ids of the counters; their names come from the catalogue alone.
#[derive(Debug)]
struct Metrics {
    // INVARIANT (order): by `Action::strength`
    requests: Vec<u32>,
    // INVARIANT (order): by `Intervention::ALL`
    would_be: Vec<u32>,
    // INVARIANT (order): by `FindingCode::ALL`
    findings: Vec<u32>,
}

/// Defines a counter.
fn counter(name: String) -> u32 {
    hostcalls::define_metric(MetricType::Counter, &name).unwrap_or_else(|status| {
        error!("waybill: counter {name} can't be defined: {status:?}");
        0
    })
}

impl Metrics {
    fn define() -> Self {
        let verdicts = ["allow", "report", "reroute", "block"];
        Self {
            requests: verdicts
                .iter()
                .map(|verdict| counter(format!("waybill_requests_total.verdict.{verdict}")))
                .collect(),
            would_be: Intervention::ALL
                .iter()
                .map(|action| counter(format!("waybill_would_be_total.action.{action}")))
                .collect(),
            findings: FindingCode::ALL
                .iter()
                .map(|code| counter(format!("waybill_findings_total.code.{code}")))
                .collect(),
        }
    }
}

impl Instance {
    /// An instance that has decided nothing yet. Defines its counters.
    pub fn new(screen: Screen, keyring: Keyring, ledger: Rc<RefCell<Ledger>>) -> Self {
        let keeper = keeper::open(screen.config());
        let metrics = Metrics::define();
        let evictions = counter("waybill_replays_forgotten_total".to_owned());
        let memory = SharedMemory::new(&screen.config().node.id, evictions);
        let worker = RefCell::new(Worker::new(Signer::new(keyring), Box::new(memory)));
        Self { screen, worker, ledger, keeper, metrics }
    }

    /// Decides a request by the snapshot that this worker holds.
    pub fn decide<T>(
        &self,
        request: &Request<'_>,
        then: impl FnOnce(&Decision<'_>, &mut Ledger) -> T,
    ) -> T {
        let mut ledger = self.ledger.borrow_mut();
        let mut worker = self.worker.borrow_mut();
        // a page is gone for a worker that slept through two snapshots: then it has the newest one.
        // Without a snapshot no page can be gone, so this ends
        let mut tries = 0..2;
        loop {
            let keeper = self.keeper.as_ref().filter(|_| tries.next().is_some());
            let snapshot = keeper.map(VmKeeper::snapshot);
            let snapshot = snapshot.as_ref().and_then(|snapshot| snapshot.as_ref());
            match self.screen.decide(request, snapshot, &mut worker, ledger.next_id()) {
                Ok(decision) => return then(&decision, &mut ledger),
                Err(PageGone) => keeper.into_iter().for_each(VmKeeper::look),
            }
        }
    }

    /// Whether there is a register to decide by.
    pub fn is_ready(&self) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.snapshot().is_some())
    }

    /// Counts a decision.
    pub fn count(&self, decision: &Decision<'_>) {
        let Metrics { requests, would_be, findings } = &self.metrics;
        let verdict = requests.get(usize::from(Action::strength(&decision.verdict.action)));
        let softened = decision.verdict.would_be.as_ref().and_then(Action::intervention);
        let softened = softened.and_then(|action| would_be.get(action as usize));
        let codes =
            decision.weighed.iter().map(|weighed| findings.get(weighed.finding.code as usize));
        let counters = [verdict, softened].into_iter().chain(codes);
        counters.flatten().for_each(|id| host::increment(*id));
    }
}
