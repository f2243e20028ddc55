//! What the snapshot's keeper needs of Envoy: shared data, calls to the server, metrics, the log.
//!
//! Names in shared data carry the node and the source: `…stamp`, `…current`, `…lease` and one for
//! each cell. Envoy never frees a name, so their number is bounded by the largest snapshot there
//! was.

use std::cell::RefCell;
use std::sync::Arc;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};

use super::{shared, vm};
use crate::config::{Config, SnapshotSettings};
use crate::host::{
    PART_TIMEOUT, Severity, SnapshotMetrics, news_line, part_response, random_number,
    snapshot_source, uncallable, with_part_headers,
};
use crate::snapshot::fetch::PartRequest;
use crate::snapshot::keeping::{self, Gauge, KeeperHost, News, SharedEntry};

/// The snapshot of one configuration in one VM.
pub type VmKeeper = keeping::Keeper<Arc<VmHost>>;

/// This VM, as a keeper's host.
#[derive(Debug)]
pub struct VmHost {
    settings: SnapshotSettings,
    owner: u64,
    prefix: String,
    stamp: String,
    current: String,
    lease: String,
    metrics: SnapshotMetrics<u32>,
}

thread_local! {
    /// The owner of the newest keeper in this VM for each prefix. After an update the root context
    /// of the old configuration goes on ticking.
    static NEWEST: RefCell<Vec<(String, u64)>> = const { RefCell::new(Vec::new()) };
}

/// A keeper for the configuration's snapshot, if it has one.
pub fn open(config: &Config) -> Option<VmKeeper> {
    let settings = config.snapshot.clone()?;
    let source = snapshot_source(config.node.id.as_str(), &settings);
    let prefix = shared::prefix("s1", &source);
    let name = |what: &str| format!("{prefix}{what}");
    let metric = |kind, name: &str| hostcalls::define_metric(kind, name).unwrap_or(0);
    let host = VmHost {
        settings: settings.clone(),
        owner: random_number(),
        stamp: name("stamp"),
        current: name("current"),
        lease: name("lease"),
        metrics: SnapshotMetrics::define(
            |name| metric(MetricType::Gauge, name),
            |name| metric(MetricType::Counter, name),
        ),
        prefix,
    };
    let replaced = NEWEST.with_borrow_mut(|newest| {
        let place = newest.iter().position(|(prefix, _)| *prefix == host.prefix);
        let replaced = place.map(|place| newest.swap_remove(place).1);
        newest.push((host.prefix.clone(), host.owner));
        replaced
    });
    Some(VmKeeper::new(Arc::new(host), settings, replaced))
}

/// Hands the server's answer to a keeper. `size` is the body's, in bytes.
pub fn answer(keeper: &VmKeeper, call: u32, size: usize, now: u64) {
    let headers = vm::header_map(MapType::HttpCallResponseHeaders);
    let pairs = headers.as_ref().map(vm::HeaderMap::pairs).unwrap_or_default();
    let body = |begin, most| {
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, begin, most);
        body.ok().flatten().unwrap_or_default()
    };
    keeper.answer(call.into(), part_response(&pairs, size, &body), now);
}

impl VmHost {
    fn with_name<T>(&self, entry: SharedEntry, then: impl FnOnce(&str) -> T) -> T {
        match entry {
            SharedEntry::Stamp => then(&self.stamp),
            SharedEntry::Current => then(&self.current),
            SharedEntry::Lease => then(&self.lease),
            SharedEntry::Cell(cell) => then(&shared::name(&self.prefix, cell)),
        }
    }
}

impl KeeperHost for Arc<VmHost> {
    fn owner(&self) -> u64 {
        self.owner
    }

    fn is_newest(&self) -> bool {
        NEWEST.with_borrow_mut(|newest| {
            match newest.iter().find(|(prefix, _)| *prefix == self.prefix) {
                Some((_, owner)) => *owner == self.owner,
                None => {
                    newest.push((self.prefix.clone(), self.owner));
                    true
                }
            }
        })
    }

    fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>) {
        self.with_name(entry, shared::get)
    }

    fn write(&self, entry: SharedEntry, value: &[u8]) -> bool {
        self.with_name(entry, |name| shared::set(name, value))
    }

    fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool {
        self.with_name(entry, |name| shared::swap(name, value, version))
    }

    fn call(&self, part: &PartRequest) -> Result<u64, String> {
        with_part_headers(&self.settings, part, |headers| {
            let cluster = self.settings.cluster.as_str();
            hostcalls::dispatch_http_call(cluster, headers.to_vec(), None, Vec::new(), PART_TIMEOUT)
                .map(u64::from)
                .map_err(|status| uncallable(&self.settings, status))
        })
    }

    fn random(&self) -> u64 {
        random_number()
    }

    fn show(&self, gauge: Gauge, value: u64) {
        if let Err(status) = hostcalls::record_metric(self.metrics.gauge(gauge), value) {
            warn!("waybill: a gauge can't be set: {status:?}");
        }
    }

    fn tell(&self, news: News<'_>) {
        if let News::Failed { .. } = news {
            vm::increment(self.metrics.failures);
        }
        match news_line(&news) {
            Some((Severity::Info, line)) => info!("{line}"),
            Some((Severity::Warning, line)) => warn!("{line}"),
            Some((Severity::Error, line)) => error!("{line}"),
            None => {}
        }
    }
}

impl Drop for VmHost {
    fn drop(&mut self) {
        NEWEST.with_borrow_mut(|newest| newest.retain(|(_, owner)| *owner != self.owner));
    }
}
