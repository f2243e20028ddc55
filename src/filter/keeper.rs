//! Keeps the current snapshot: fetched by one VM for all, held by each worker, moved on between requests.
//!
//! What all VMs share lies in the host's shared data, under names that carry the node and the source:
//! `…stamp` (a few bytes that change with each snapshot), `…current` (preamble, head and slots), `…<cell>` (a page or a bucket)
//! and `…lease` (which VM fetches, and until when). Keys are never freed by the host, so their number is
//! bounded by the largest snapshot there was.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{MapType, MetricType};

use super::{host, shared};
use crate::config::{Config, SnapshotSettings};
use crate::key::VerifyingKey;
use crate::snapshot::fetch::{
    Answer, Ask, Current, Failure, Fetcher, NOWHERE, Progress, Rules, SharedPage, Store, cell,
    mark, unmarked,
};
use crate::snapshot::layout::{PREAMBLE, Preamble};
use crate::snapshot::{Pages, Snapshot};
use crate::time::UnixSeconds;

/// How often a VM looks whether there is a newer snapshot, and whether it is time to ask for one.
pub const TICK: Duration = Duration::from_millis(100);
/// How long the VM that fetches is trusted to be alive, in nanoseconds; it renews this at each tick.
const LEASE: u64 = 15_000_000_000;
/// How long a part may take. Whatever drips in slower counts as down.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How often the age is written, in ticks.
const AGE_EVERY: u32 = 10;

/// The snapshot of one configuration in one VM.
#[derive(Debug)]
pub struct Keeper {
    settings: SnapshotSettings,
    names: Rc<Names>,
    // who this is among those that may fetch
    owner: u64,
    fetcher: RefCell<Fetcher>,
    asked: RefCell<Option<(u32, Ask)>>,
    // what the last look at the shared stamp gave, and which of them is held
    stamp: RefCell<Vec<u8>>,
    held_stamp: RefCell<Vec<u8>>,
    held: RefCell<Option<Snapshot>>,
    gone: Rc<Cell<bool>>,
    serves: Cell<bool>,
    known: RefCell<Option<Preamble>>,
    last_failure: RefCell<String>,
    ticks: Cell<u32>,
    metrics: Metrics,
}

/// Names in shared data.
#[derive(Debug)]
struct Names {
    prefix: String,
    stamp: String,
    current: String,
    lease: String,
}

/// Which VM fetches, and until when, in nanoseconds since 1970.
struct Lease {
    owner: u64,
    until: u64,
    version: Option<u32>,
}

#[derive(Debug)]
struct Metrics {
    sequence: u32,
    age: u32,
    size: u32,
    failures: u32,
}

thread_local! {
    /// After an update the old configuration's root context goes on ticking. Of those that share a source
    /// the newest in this VM fetches: the old one may trust other keys.
    static NEWEST: RefCell<Vec<(String, u64)>> = const { RefCell::new(Vec::new()) };
}

impl Keeper {
    /// A keeper for the configuration's snapshot, if it has one.
    pub fn new(config: &Config) -> Option<Self> {
        let settings = config.snapshot.clone()?;
        let source = format!(
            "{} {} {}{}",
            config.node.id, settings.cluster, settings.authority, settings.path
        );
        let prefix = shared::prefix("s1", &source);
        let name = |what: &str| format!("{prefix}{what}");
        let names =
            Names { stamp: name("stamp"), current: name("current"), lease: name("lease"), prefix };
        let metric = |kind, name: &str| hostcalls::define_metric(kind, name).unwrap_or(0);
        let keeper = Self {
            settings,
            owner: getrandom::u64().unwrap_or(0),
            fetcher: RefCell::default(),
            asked: RefCell::default(),
            stamp: RefCell::default(),
            held_stamp: RefCell::default(),
            held: RefCell::default(),
            gone: Rc::default(),
            serves: Cell::default(),
            known: RefCell::default(),
            last_failure: RefCell::default(),
            ticks: Cell::default(),
            metrics: Metrics {
                sequence: metric(MetricType::Gauge, "waybill_snapshot_sequence"),
                age: metric(MetricType::Gauge, "waybill_snapshot_age_seconds"),
                size: metric(MetricType::Gauge, "waybill_snapshot_bytes"),
                failures: metric(MetricType::Counter, "waybill_snapshot_failures_total"),
            },
            names: Rc::new(names),
        };
        let before = NEWEST.with_borrow_mut(|newest| {
            let before = newest
                .iter()
                .position(|(prefix, _)| *prefix == keeper.names.prefix)
                .map(|at| newest.swap_remove(at).1);
            newest.push((keeper.names.prefix.clone(), keeper.owner));
            before
        });
        let lease = keeper.lease();
        if before == Some(lease.owner) {
            // what this replaces doesn't fetch any more: without its lease nobody would until that runs out
            keeper.bid(lease.until, lease.version);
        }
        keeper.look();
        Some(keeper)
    }

    /// The snapshot to decide by: the newest that this VM knows of.
    pub fn snapshot(&self) -> Ref<'_, Option<Snapshot>> {
        self.serves.set(true);
        self.adopt();
        self.held.borrow()
    }

    /// Whether, since this was asked last, a page was gone: the worker slept through two snapshots. Then it has the newest now.
    pub fn caught_up(&self) -> bool {
        let gone = self.gone.replace(false);
        if gone {
            self.look();
        }
        gone
    }

    /// What happens ten times a second. `now` is in nanoseconds since 1970.
    pub fn tick(&self, now: u64) {
        self.look();
        if self.serves.get() {
            self.adopt();
        }
        let ticks = self.ticks.get();
        self.ticks.set(ticks.wrapping_add(1));
        if ticks.is_multiple_of(AGE_EVERY) {
            self.show_age(now);
        }
        // bids even while a call is under way: the lease would run out meanwhile
        if self.is_newest() && self.leads(now) && self.asked.borrow().is_none() {
            self.fetcher.borrow_mut().sweep(now, &mut SharedStore(&self.names));
            self.ask(now);
        }
    }

    /// Takes the answer to a call, if it is one of this keeper's.
    pub fn answer(&self, token: u32, size: usize, now: u64) {
        let Some((_, ask)) = self.asked.borrow_mut().take_if(|(asked, _)| *asked == token) else {
            return;
        };
        if !self.is_newest() || self.lease().owner != self.owner {
            // another fetches by now, and may have written over what came so far
            self.fetcher.replace(Fetcher::default());
            return;
        }
        let headers = host::header_map(MapType::HttpCallResponseHeaders);
        let pairs = headers.as_ref().map(host::HeaderMap::pairs).unwrap_or_default();
        let header = |name: &[u8]| {
            pairs
                .iter()
                .find(|(other, _)| *other == name)
                .and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        let answer = Answer {
            // where there was no answer the host makes one up; where it broke off there are no headers
            status: header(b":status").and_then(|status| status.parse().ok()),
            etag: header(b"etag"),
            size,
            body: &|begin, most| {
                let body = hostcalls::get_buffer(
                    proxy_wasm::types::BufferType::HttpCallResponseBody,
                    begin,
                    most,
                );
                body.ok().flatten().unwrap_or_default()
            },
        };
        let trusted = |key: &VerifyingKey| self.trusts(key);
        let rules = self.rules(&trusted, now);
        let mut store = SharedStore(&self.names);
        let progress = self.fetcher.borrow_mut().answer(answer, &ask, rules, &mut store);
        match progress {
            Progress::More => self.ask(now),
            Progress::Unchanged => self.recovered(),
            Progress::Published(sequence) => {
                self.recovered();
                self.look();
                let known = self.known.borrow();
                let size = known.as_ref().map_or(0, |preamble| preamble.file_size);
                let created = known.as_ref().map_or(UnixSeconds(0), |preamble| preamble.created);
                info!(
                    "waybill: snapshot {sequence}, made {created}, {size} bytes, is now the current one"
                );
            }
            Progress::Failed(failure) => self.failed(&failure),
        }
    }

    /// Asks for what the fetcher wants next.
    fn ask(&self, now: u64) {
        let Some(ask) = self.fetcher.borrow_mut().ask(now) else { return };
        let range = format!("bytes={}-{}", ask.range.start, ask.range.end.saturating_sub(1));
        let mut headers = vec![
            (":method", "GET"),
            (":path", self.settings.path.as_str()),
            (":authority", self.settings.authority.as_str()),
            ("range", range.as_str()),
            ("accept-encoding", "identity"),
        ];
        headers.extend(ask.etag.as_deref().map(|etag| ("if-none-match", etag)));
        match hostcalls::dispatch_http_call(
            self.settings.cluster.as_str(),
            headers,
            None,
            Vec::new(),
            TIMEOUT,
        ) {
            Ok(token) => drop(self.asked.replace(Some((token, ask)))),
            Err(status) => {
                let text = format!(
                    "cluster `{}` can't be called ({status:?}): is it in this Envoy's clusters?",
                    self.settings.cluster
                );
                self.complain(text);
                // the same wait as for a server that is down
                let down =
                    Answer { status: Some(503), etag: None, size: 0, body: &|_, _| Vec::new() };
                let mut store = SharedStore(&self.names);
                let _failed = self.fetcher.borrow_mut().answer(
                    down,
                    &ask,
                    self.rules(&|_| false, now),
                    &mut store,
                );
            }
        }
    }

    /// Looks whether another snapshot became the current one.
    fn look(&self) {
        let stamp = shared::get(&self.names.stamp).0.unwrap_or_default();
        if *self.stamp.borrow() == stamp {
            return;
        }
        let current = shared::get(&self.names.current).0;
        let known = current.and_then(|current| {
            Preamble::parse(current.get(..PREAMBLE)?, |key| self.trusts(key)).ok()
        });
        if let Some(preamble) = &known {
            gauge(self.metrics.sequence, preamble.sequence);
            gauge(self.metrics.size, preamble.file_size);
        }
        self.known.replace(known);
        self.stamp.replace(stamp);
    }

    /// Moves on to the current snapshot, if it is another than the one held.
    fn adopt(&self) {
        if *self.held_stamp.borrow() == *self.stamp.borrow() {
            return;
        }
        self.held_stamp.replace(self.stamp.borrow().clone());
        let Some(stored) = shared::get(&self.names.current).0 else { return };
        let before = self.held.take();
        let pages = |current: &Current| {
            let places = current
                .head
                .pages
                .iter()
                .zip(&current.slots)
                .map(|(page, slot)| (*slot, mark(&page.digest)))
                .collect();
            Box::new(SharedPages {
                names: Rc::clone(&self.names),
                places,
                gone: Rc::clone(&self.gone),
            })
        };
        let adopted = Current::parse(&stored, |key| self.trusts(key)).and_then(|current| {
            let pages = pages(&current);
            Snapshot::new(current.preamble, current.head, pages, before)
        });
        match adopted {
            Ok(snapshot) => drop(self.held.replace(Some(snapshot))),
            Err(refused) => error!("waybill: the current snapshot is dropped: {refused}"),
        }
    }

    fn rules<'a>(&self, trusted: &'a dyn Fn(&VerifyingKey) -> bool, now: u64) -> Rules<'a> {
        let SnapshotSettings { min_sequence, poll_seconds, .. } = &self.settings;
        Rules {
            trusted,
            min_sequence: min_sequence.0,
            poll_seconds: poll_seconds.0,
            now,
            chance: getrandom::u64().unwrap_or(0),
        }
    }

    fn trusts(&self, key: &VerifyingKey) -> bool {
        self.settings.trusted_keys.iter().any(|trusted| trusted.key() == key)
    }

    fn is_newest(&self) -> bool {
        NEWEST.with_borrow_mut(|newest| {
            match newest.iter().find(|(prefix, _)| *prefix == self.names.prefix) {
                Some((_, owner)) => *owner == self.owner,
                None => {
                    newest.push((self.names.prefix.clone(), self.owner));
                    true
                }
            }
        })
    }

    /// Whether this VM is the one that fetches; bids for it where nobody does.
    fn leads(&self, now: u64) -> bool {
        let Lease { owner, until, version } = self.lease();
        // a clock that jumped back would else leave a lease that nobody can take
        let runs = now < until && until.saturating_sub(now) <= LEASE;
        if owner != self.owner {
            if runs {
                return false;
            }
            // this VM may have led before and kept pages for its next try: others may have written over them since
            self.fetcher.replace(Fetcher::default());
            self.asked.take();
        }
        if runs && until.saturating_sub(now) > LEASE / 2 {
            return true;
        }
        self.bid(now.saturating_add(LEASE), version)
    }

    /// Bids for the lease, unless another did since it was read.
    fn bid(&self, until: u64, version: Option<u32>) -> bool {
        let bid = [self.owner.to_le_bytes(), until.to_le_bytes()].concat();
        shared::swap(&self.names.lease, &bid, version)
    }

    fn lease(&self) -> Lease {
        let (lease, version) = shared::get(&self.names.lease);
        let lease = lease.unwrap_or_default();
        let number = |at: usize| {
            lease
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        Lease { owner: number(0), until: number(8), version }
    }

    fn show_age(&self, now: u64) {
        if let Some(preamble) = &*self.known.borrow() {
            let created = u64::try_from(preamble.created.0).unwrap_or(0);
            gauge(self.metrics.age, (now / 1_000_000_000).saturating_sub(created));
        }
    }

    fn failed(&self, failure: &Failure) {
        let server = format!(
            "cluster `{}`, {}{}",
            self.settings.cluster, self.settings.authority, self.settings.path
        );
        self.complain(format!("{server}: {failure}"));
    }

    /// Counts a failure; logs it once, however often it repeats.
    fn complain(&self, text: String) {
        host::increment(self.metrics.failures);
        if *self.last_failure.borrow() != text {
            let serving =
                self.known.borrow().as_ref().map_or("there is none".into(), |preamble| {
                    format!("{} stays", preamble.sequence)
                });
            warn!("waybill: no new snapshot ({serving}): {text}");
            self.last_failure.replace(text);
        }
    }

    fn recovered(&self) {
        if !self.last_failure.take().is_empty() {
            info!("waybill: the snapshot server answers again");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        NEWEST.with_borrow_mut(|newest| {
            newest.retain(|(_, owner)| *owner != self.owner);
        });
    }
}

/// Pages in shared data.
#[derive(Debug)]
struct SharedPages {
    names: Rc<Names>,
    places: Vec<(u32, [u8; 8])>,
    gone: Rc<Cell<bool>>,
}

impl Pages for SharedPages {
    fn page(&self, number: usize) -> Option<Vec<u8>> {
        self.bucket(number, 0)
    }

    fn bucket(&self, number: usize, bucket: usize) -> Option<Vec<u8>> {
        let (slot, mark) = self.places.get(number).filter(|(slot, _)| *slot != NOWHERE)?;
        let page = shared::get(&self.names.cell(cell(*slot, bucket)))
            .0
            .and_then(|stored| unmarked(stored, *mark));
        if page.is_none() {
            self.gone.set(true);
        }
        page
    }
}

struct SharedStore<'a>(&'a Names);

impl Store for SharedStore<'_> {
    fn put(&mut self, cell: u32, page: &SharedPage<'_>) -> bool {
        shared::set(&self.0.cell(cell), &page.stored())
    }

    fn reserve(&mut self, cell: u32) {
        let _is_there = shared::swap(&self.0.cell(cell), &[], None);
    }

    fn clear(&mut self, cell: u32) {
        if !shared::set(&self.0.cell(cell), &[]) {
            warn!("waybill: the host doesn't take memory back");
        }
    }

    fn get(&self, cell: u32) -> Option<Vec<u8>> {
        shared::get(&self.0.cell(cell)).0
    }

    fn current(&self) -> Option<Vec<u8>> {
        shared::get(&self.0.current).0
    }

    fn publish(&mut self, current: &[u8], sequence: u64) -> bool {
        // the stamp comes last: whoever sees it finds the snapshot. Two VMs that publish at once differ in it
        let stamp = [sequence.to_le_bytes(), getrandom::u64().unwrap_or(0).to_le_bytes()].concat();
        shared::set(&self.0.current, current) && shared::set(&self.0.stamp, &stamp)
    }
}

impl Names {
    fn cell(&self, cell: u32) -> String {
        shared::name(&self.prefix, cell)
    }
}

fn gauge(id: u32, value: u64) {
    if let Err(status) = hostcalls::record_metric(id, value) {
        warn!("waybill: a gauge can't be set: {status:?}");
    }
}
