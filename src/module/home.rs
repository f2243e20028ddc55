//! Where a snapshot is: one home for each source in a process, which all configurations share that
//! fetch from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::abi::{ConfigHandle, MetricId};
use crate::config::{Config, SnapshotSettings};
use crate::host::{
    PART_TIMEOUT, SnapshotMetrics, news_line, random_number, snapshot_source, uncallable,
    with_part_headers,
};
use crate::lock::Lock;
use crate::snapshot::fetch::PartRequest;
use crate::snapshot::keeping::{self, Gauge, KeeperHost, News, SharedEntry};
use crate::snapshot::layout::SnapshotError;
use crate::snapshot::memory::ProcessMemory;
use crate::snapshot::{PageSource, Snapshot};

/// The snapshot of one configuration. Only Envoy's main thread works on it.
pub type ConfigKeeper = keeping::Keeper<Arc<MainThread>>;

/// The homes of the process, by source. A home goes with its last configuration.
static HOMES: Lock<Vec<(String, Weak<ProcessMemory>)>> = Lock::new(Vec::new());

/// Envoy's main thread, as a keeper's host.
#[derive(Debug)]
pub struct MainThread {
    settings: SnapshotSettings,
    owner: u64,
    /// What the configurations that fetch from one source share
    pub home: Arc<ProcessMemory>,
    config: ConfigHandle,
    metrics: SnapshotMetrics<MetricId>,
    /// Whether Envoy answered a call before the call returned
    answered_early: AtomicBool,
}

/// A keeper for the configuration's snapshot, if it has one, and its host.
pub fn open(config: &Config, handle: ConfigHandle) -> Option<(ConfigKeeper, Arc<MainThread>)> {
    let settings = config.snapshot.clone()?;
    let home = home_of(snapshot_source(config.node.id.as_str(), &settings));
    let owner = random_number().max(1);
    let replaced = home.enter(owner);
    let host = Arc::new(MainThread {
        settings: settings.clone(),
        owner,
        home,
        config: handle,
        metrics: SnapshotMetrics::define(
            |name| handle.define_gauge(name),
            |name| handle.define_counter(name, &[]),
        ),
        answered_early: AtomicBool::new(false),
    });
    Some((ConfigKeeper::new(Arc::clone(&host), settings, replaced), host))
}

fn home_of(source: String) -> Arc<ProcessMemory> {
    let mut homes = HOMES.hold();
    homes.retain(|(_, home)| home.strong_count() > 0);
    let known = homes.iter().find(|(known, _)| *known == source);
    if let Some(home) = known.and_then(|(_, home)| home.upgrade()) {
        return home;
    }
    let home = Arc::new(ProcessMemory::default());
    homes.push((source, Arc::downgrade(&home)));
    home
}

impl MainThread {
    /// Notes that an answer came while its call was still being made. Envoy does so where no server
    /// of the cluster can be reached.
    pub fn note_early_answer(&self) {
        self.answered_early.store(true, Ordering::Relaxed);
    }
}

impl KeeperHost for Arc<MainThread> {
    fn owner(&self) -> u64 {
        self.owner
    }

    fn is_newest(&self) -> bool {
        self.home.is_newest(self.owner)
    }

    fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>) {
        self.home.read(entry)
    }

    fn write(&self, entry: SharedEntry, value: &[u8]) -> bool {
        self.home.write(entry, value);
        true
    }

    fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool {
        self.home.swap(entry, value, version)
    }

    fn call(&self, part: &PartRequest) -> Result<u64, String> {
        self.answered_early.store(false, Ordering::Relaxed);
        let (cluster, timeout) = (self.settings.cluster.as_str(), PART_TIMEOUT);
        let call = with_part_headers(&self.settings, part, |headers| {
            self.config.call(cluster, headers, timeout)
        });
        let call = call.map_err(|status| uncallable(&self.settings, status))?;
        if self.answered_early.load(Ordering::Relaxed) {
            return Err(uncallable(&self.settings, "no server can be reached"));
        }
        Ok(call)
    }

    fn pages(&self, places: Vec<(u32, [u8; 8])>) -> Box<dyn PageSource> {
        self.home.pages(places)
    }

    fn opened(
        &self,
        stamp: &[u8],
        open: impl FnOnce() -> Result<Arc<Snapshot>, SnapshotError>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        self.home.opened(stamp, open)
    }

    fn random(&self) -> u64 {
        random_number()
    }

    fn show(&self, gauge: Gauge, value: u64) {
        self.config.set_gauge(self.metrics.gauge(gauge), value);
    }

    fn tell(&self, news: News<'_>) {
        if let News::Failed { .. } = news {
            self.config.add(self.metrics.failures, None, 1);
        }
        if let Some((severity, line)) = news_line(&news) {
            super::abi::log(severity, &line);
        }
    }
}

impl Drop for MainThread {
    fn drop(&mut self) {
        self.home.leave(self.owner);
    }
}
