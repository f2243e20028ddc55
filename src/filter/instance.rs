//! What requests share: the configuration, the VM's ledger, the counters.

use std::cell::RefCell;
use std::rc::Rc;

use log::error;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use super::keeper::{self, VmKeeper};
use super::replays::SharedMemory;
use crate::chain::Signer;
use crate::chain::keyring::Keyring;
use crate::decision::event::Ledger;
use crate::decision::{Screen, Worker};
use crate::host::{EVICTIONS_COUNTER, RequestCounters};

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
    /// The ids of the counters
    pub counters: RequestCounters<u32>,
}

/// Defines a counter.
fn counter(name: &str) -> u32 {
    hostcalls::define_metric(MetricType::Counter, name).unwrap_or_else(|status| {
        error!("waybill: counter {name} can't be defined: {status:?}");
        0
    })
}

impl Instance {
    /// An instance that has decided nothing yet. Defines its counters.
    pub fn new(screen: Screen, keyring: Keyring, ledger: Rc<RefCell<Ledger>>) -> Self {
        let keeper = keeper::open(screen.config());
        // a counter here has no labels: `stats_tags` of the bootstrap make them of its name
        let counters = RequestCounters::define(|counted| {
            counter(&format!("{}.{}.{}", counted.name, counted.label, counted.value))
        });
        let memory = SharedMemory::new(&screen.config().node.id, counter(EVICTIONS_COUNTER));
        let worker = RefCell::new(Worker::new(Signer::new(keyring), Box::new(memory)));
        Self { screen, worker, ledger, keeper, counters }
    }
}
