//! What the snapshot's keeper needs of Envoy: shared data, calls to the server, metrics, the log.
//!
//! Names in shared data carry the node and the source: `…stamp`, `…current`, `…lease` and one for
//! each cell. Envoy never frees a name, so their number is bounded by the largest snapshot there
//! was.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};

use super::{host, shared};
use crate::config::{Config, SnapshotSettings};
use crate::snapshot::fetch::{PartRequest, PartResponse};
use crate::snapshot::keeping::{self, Gauge, KeeperHost, News, SharedEntry};

/// How often a VM looks for a newer snapshot, and whether it is time to ask for one.
pub const TICK: Duration = Duration::from_millis(100);
/// How long a part may take. A server that drips it in slower counts as down.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The snapshot of one configuration in one VM.
pub type VmKeeper = keeping::Keeper<Rc<VmHost>>;

/// This VM, as a keeper's host.
#[derive(Debug)]
pub struct VmHost {
    settings: SnapshotSettings,
    owner: u64,
    prefix: String,
    stamp: String,
    current: String,
    lease: String,
    gauges: SnapshotGauges,
    failures: u32,
}

/// The metrics' ids.
#[derive(Debug)]
struct SnapshotGauges {
    sequence: u32,
    age: u32,
    size: u32,
}

thread_local! {
    /// The owner of the newest keeper in this VM for each prefix. After an update the root context
    /// of the old configuration goes on ticking.
    static NEWEST: RefCell<Vec<(String, u64)>> = const { RefCell::new(Vec::new()) };
}

/// A keeper for the configuration's snapshot, if it has one.
pub fn open(config: &Config) -> Option<VmKeeper> {
    let settings = config.snapshot.clone()?;
    let SnapshotSettings { cluster, authority, path, .. } = &settings;
    let source = format!("{} {cluster} {authority}{path}", config.node.id);
    let prefix = shared::prefix("s1", &source);
    let name = |what: &str| format!("{prefix}{what}");
    let metric = |kind, name: &str| hostcalls::define_metric(kind, name).unwrap_or(0);
    let vm = VmHost {
        settings: settings.clone(),
        owner: getrandom::u64().unwrap_or(0),
        stamp: name("stamp"),
        current: name("current"),
        lease: name("lease"),
        gauges: SnapshotGauges {
            sequence: metric(MetricType::Gauge, "waybill_snapshot_sequence"),
            age: metric(MetricType::Gauge, "waybill_snapshot_age_seconds"),
            size: metric(MetricType::Gauge, "waybill_snapshot_bytes"),
        },
        failures: metric(MetricType::Counter, "waybill_snapshot_failures_total"),
        prefix,
    };
    let replaced = NEWEST.with_borrow_mut(|newest| {
        let place = newest.iter().position(|(prefix, _)| *prefix == vm.prefix);
        let replaced = place.map(|place| newest.swap_remove(place).1);
        newest.push((vm.prefix.clone(), vm.owner));
        replaced
    });
    Some(VmKeeper::new(Rc::new(vm), settings, replaced))
}

/// Hands the server's answer to a keeper. `size` is the body's, in bytes.
pub fn answer(keeper: &VmKeeper, call: u32, size: usize, now: u64) {
    let headers = host::header_map(MapType::HttpCallResponseHeaders);
    let pairs = headers.as_ref().map(host::HeaderMap::pairs).unwrap_or_default();
    let header = |name: &[u8]| {
        let (_, value) = pairs.iter().find(|(other, _)| *other == name)?;
        std::str::from_utf8(value).ok()
    };
    let answer = PartResponse {
        // Envoy makes an answer up if there was none; an answer that broke off has no headers
        status: header(b":status").and_then(|status| status.parse().ok()),
        etag: header(b"etag"),
        size,
        body: &|begin, most| {
            let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, begin, most);
            body.ok().flatten().unwrap_or_default()
        },
    };
    keeper.answer(call, answer, now);
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

impl KeeperHost for Rc<VmHost> {
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

    fn call(&self, part: &PartRequest) -> Result<u32, String> {
        let SnapshotSettings { cluster, authority, path, .. } = &self.settings;
        let range = format!("bytes={}-{}", part.range.start, part.range.end.saturating_sub(1));
        let mut headers = vec![
            (":method", "GET"),
            (":path", path.as_str()),
            (":authority", authority.as_str()),
            ("range", range.as_str()),
            ("accept-encoding", "identity"),
        ];
        headers.extend(part.etag.as_deref().map(|etag| ("if-none-match", etag)));
        hostcalls::dispatch_http_call(cluster.as_str(), headers, None, Vec::new(), TIMEOUT).map_err(
            |status| {
                format!(
                    "cluster `{cluster}` can't be called ({status:?}): \
                     is it in this Envoy's clusters?"
                )
            },
        )
    }

    fn random(&self) -> u64 {
        getrandom::u64().unwrap_or(0)
    }

    fn show(&self, gauge: Gauge, value: u64) {
        let id = match gauge {
            Gauge::Sequence => self.gauges.sequence,
            Gauge::Size => self.gauges.size,
            Gauge::Age => self.gauges.age,
        };
        if let Err(status) = hostcalls::record_metric(id, value) {
            warn!("waybill: a gauge can't be set: {status:?}");
        }
    }

    fn tell(&self, news: News<'_>) {
        match news {
            News::Published(preamble) => info!(
                "waybill: snapshot {}, made {}, {} bytes, is now the current one",
                preamble.sequence, preamble.created, preamble.file_size
            ),
            News::Failed { why, current, is_repeated } => {
                host::increment(self.failures);
                if !is_repeated {
                    let current =
                        current.map_or("there is none".into(), |number| format!("{number} stays"));
                    warn!("waybill: no new snapshot ({current}): {why}");
                }
            }
            News::Recovered => info!("waybill: the snapshot server answers again"),
            News::Dropped(refused) => {
                error!("waybill: the current snapshot is dropped: {refused}");
            }
            News::Unfreed => warn!("waybill: the host doesn't take memory back"),
        }
    }
}

impl Drop for VmHost {
    fn drop(&mut self) {
        NEWEST.with_borrow_mut(|newest| newest.retain(|(_, owner)| *owner != self.owner));
    }
}
