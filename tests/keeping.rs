//! One worker of a process fetches the snapshot for all: leases, adoption, pages that are gone.
//! The host is a map that all workers share, and a server that answers at once.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use waybill::config::{Config, SnapshotSettings};
use waybill::register::{Customer, Name, PageGone};
use waybill::shape::{Path, Problems, Shape as _};
use waybill::snapshot::fetch::{PartRequest, PartResponse};
use waybill::snapshot::keeping::{Gauge, Keeper, KeeperHost, News, SharedEntry};
use waybill::snapshot::layout::SnapshotError;
use waybill::snapshot::map::AddressMap;
use waybill::snapshot::memory::ProcessMemory;
use waybill::snapshot::write::{Material, write};
use waybill::snapshot::{PageSource, Snapshot};
use waybill::terms::key::{SigningKey, Window};
use waybill::terms::names::CredentialDigest;
use waybill::terms::network::Facts;
use waybill::terms::time::UnixSeconds;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_795_000_000 * SECOND;

/// What all workers of the process share.
#[derive(Debug, Default)]
struct Process {
    memory: Mutex<HashMap<String, (Vec<u8>, u32)>>,
    calls: AtomicU64,
    log: Mutex<Vec<String>>,
    /// What happens in other workers while one reads its first page
    meanwhile: Mutex<Option<Meanwhile>>,
}

struct Meanwhile(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

/// One worker.
#[derive(Debug, Clone)]
struct Worker {
    process: Arc<Process>,
    owner: u64,
}

impl KeeperHost for Worker {
    fn owner(&self) -> u64 {
        self.owner
    }

    fn is_newest(&self) -> bool {
        true
    }

    fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>) {
        if let SharedEntry::Cell(_) = entry {
            let meanwhile = self.process.meanwhile.lock().unwrap().take();
            meanwhile.into_iter().for_each(|Meanwhile(happens)| happens());
        }
        let value = self.process.memory.lock().unwrap().get(&format!("{entry:?}")).cloned();
        (value.as_ref().map(|(value, _)| value.clone()), value.map(|(_, version)| version))
    }

    fn write(&self, entry: SharedEntry, value: &[u8]) -> bool {
        let version = self.read(entry).1.unwrap_or(0).saturating_add(1);
        self.process.memory.lock().unwrap().insert(format!("{entry:?}"), (value.to_vec(), version));
        true
    }

    fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool {
        self.read(entry).1 == version && self.write(entry, value)
    }

    fn call(&self, _part: &PartRequest) -> Result<u64, String> {
        Ok(self.process.calls.fetch_add(1, Ordering::Relaxed))
    }

    fn random(&self) -> u64 {
        self.owner
    }

    fn show(&self, gauge: Gauge, value: u64) {
        self.process.log.lock().unwrap().push(format!("{gauge:?} {value}"));
    }

    fn tell(&self, news: News<'_>) {
        let text = match news {
            News::Published(preamble) => format!("published {}", preamble.sequence),
            other => format!("{other:?}"),
        };
        self.process.log.lock().unwrap().push(text);
    }
}

/// A configuration of a process that has all workers in it.
#[derive(Debug, Clone)]
struct Configuration {
    worker: Worker,
    memory: Arc<ProcessMemory>,
}

impl KeeperHost for Configuration {
    fn owner(&self) -> u64 {
        self.worker.owner
    }

    fn is_newest(&self) -> bool {
        self.memory.is_newest(self.worker.owner)
    }

    fn read(&self, entry: SharedEntry) -> (Option<Vec<u8>>, Option<u32>) {
        self.memory.read(entry)
    }

    fn write(&self, entry: SharedEntry, value: &[u8]) -> bool {
        self.memory.write(entry, value);
        true
    }

    fn swap(&self, entry: SharedEntry, value: &[u8], version: Option<u32>) -> bool {
        self.memory.swap(entry, value, version)
    }

    fn call(&self, part: &PartRequest) -> Result<u64, String> {
        self.worker.call(part)
    }

    fn pages(&self, places: Vec<(u32, [u8; 8])>) -> Box<dyn PageSource> {
        self.memory.pages(places)
    }

    fn opened(
        &self,
        stamp: &[u8],
        open: impl FnOnce() -> Result<Arc<Snapshot>, SnapshotError>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        self.memory.opened(stamp, open)
    }

    fn random(&self) -> u64 {
        self.worker.random()
    }

    fn show(&self, gauge: Gauge, value: u64) {
        self.worker.show(gauge, value);
    }

    fn tell(&self, news: News<'_>) {
        self.worker.tell(news);
    }
}

fn signer() -> SigningKey {
    SigningKey::new(&[7; 32], Window::default())
}

fn worker(process: &Arc<Process>, owner: u64) -> Keeper<Worker> {
    Keeper::new(Worker { process: Arc::clone(process), owner }, trusting(&signer()), None)
}

/// The newest configuration of the process.
fn configuration(
    process: &Arc<Process>,
    memory: &Arc<ProcessMemory>,
    owner: u64,
    trusted: &SigningKey,
) -> Keeper<Configuration> {
    let worker = Worker { process: Arc::clone(process), owner };
    let replaced = memory.enter(owner);
    let host = Configuration { worker, memory: Arc::clone(memory) };
    Keeper::new(host, trusting(trusted), replaced)
}

fn trusting(key: &SigningKey) -> SnapshotSettings {
    let key = key.verifying_key().to_base64();
    let config = format!(
        r#"{{"version": 1, "node": {{"id": "n.example"}}, "identity": {{"sources": [{{"header": "x-api-key"}}]}},
        "snapshot": {{"cluster": "c", "authority": "a", "path": "/s", "trusted_keys": ["{key}"]}}}}"#
    );
    Config::parse(&config).unwrap().snapshot.unwrap()
}

/// A snapshot of so many customers `c-N` with the secrets `sk-N`.
fn file(sequence: u64, customers: usize) -> Vec<u8> {
    let customers: Vec<Customer> = (0..customers)
        .map(|n| {
            let digest = CredentialDigest::of(format!("sk-{n}").as_bytes());
            let text =
                format!(r#"{{"id": "c-{n}", "credentials": ["{digest}"], "declared": ["SG"]}}"#);
            let json = serde_json::from_str(&text).unwrap();
            Customer::read(&json, &Path::Root, &mut Problems::default()).unwrap()
        })
        .collect();
    let regions = r#"{"version": 1, "node": {"id": "n"}, "identity": {"sources": [{"header": "x-api-key"}]},
        "register": {"customers": []}, "regions": {"set": "anthropic-api-179"}}"#;
    let regions = Config::parse(regions).unwrap().regions.unwrap();
    // other facts in each, so that each has a page of its own
    let asn = u32::try_from(sequence).ok();
    let facts = [None, asn].map(|asn| Facts { places: Vec::new(), asn, lists: 0 });
    let addresses =
        AddressMap { v4: vec![(0, 0), (256, 1)], v6: vec![(0, 0)], facts: facts.into() };
    let material = Material {
        sequence,
        created: UnixSeconds(1_794_999_000),
        regions: &regions,
        sources: &[],
        addresses: &addresses,
        customers: &customers,
        nodes: &[],
        files: &[],
    };
    write(&material, &signer()).unwrap()
}

/// Answers the call that is under way, if there is one, and those that follow from it.
fn serve<H: KeeperHost>(keeper: &Keeper<H>, process: &Process, file: &[u8], now: u64) {
    let mut answered = process.calls.load(Ordering::Relaxed).saturating_sub(1);
    // a server that ignores `Range` answers with the whole file
    let body = |begin: usize, most: usize| file.iter().copied().skip(begin).take(most).collect();
    loop {
        let answer = PartResponse { status: Some(200), etag: None, size: file.len(), body: &body };
        keeper.answer(answered, answer, now);
        if answered.saturating_add(1) == process.calls.load(Ordering::Relaxed) {
            return;
        }
        answered = answered.saturating_add(1);
    }
}

fn customer<H: KeeperHost>(keeper: &Keeper<H>, secret: &str) -> Result<Option<String>, PageGone> {
    let snapshot = keeper.snapshot();
    let found = snapshot
        .as_ref()
        .unwrap()
        .customer(Name::Secret(CredentialDigest::of(secret.as_bytes())))?;
    Ok(found.map(|found| found.customer.id.to_string()))
}

fn sequence<H: KeeperHost>(keeper: &Keeper<H>) -> Option<u64> {
    keeper.snapshot().as_ref().map(|snapshot| snapshot.preamble.sequence)
}

#[test]
fn one_worker_fetches_for_all() {
    let process = Arc::new(Process::default());
    let (first, second) = (worker(&process, 1), worker(&process, 2));
    first.tick(START);
    second.tick(START);
    assert_eq!(process.calls.load(Ordering::Relaxed), 1, "only the first asks");
    serve(&first, &process, &file(5, 20), START);
    assert_eq!((sequence(&first), sequence(&second)), (Some(5), None), "not looked yet");
    second.tick(START);
    assert_eq!(sequence(&second), Some(5));
    assert_eq!(customer(&second, "sk-7"), Ok(Some("c-7".into())));
    assert_eq!(customer(&second, "sk-20"), Ok(None));
    let log = process.log.lock().unwrap().join("\n");
    assert!(log.contains("published 5") && log.contains("Sequence 5"), "{log}");
    // a worker that starts later takes the snapshot from shared memory
    assert_eq!(sequence(&worker(&process, 3)), Some(5));
}

#[test]
fn a_lease_that_ran_out_passes_on() {
    let process = Arc::new(Process::default());
    let (first, second) = (worker(&process, 1), worker(&process, 2));
    first.tick(START);
    second.tick(START + 15 * SECOND - 1);
    assert_eq!(process.calls.load(Ordering::Relaxed), 1);
    second.tick(START + 15 * SECOND);
    assert_eq!(process.calls.load(Ordering::Relaxed), 2, "the first worker is dead");
    // the first one's answer comes late: it must not write over what the second keeps
    let body = |_: usize, _: usize| Vec::new();
    first.answer(0, PartResponse { status: Some(200), etag: None, size: 0, body: &body }, START);
    assert!(process.log.lock().unwrap().is_empty(), "{:?}", process.log);
    serve(&second, &process, &file(1, 3), START + 15 * SECOND);
    first.look();
    assert_eq!((sequence(&first), sequence(&second)), (Some(1), Some(1)));
}

/// A worker that slept through two snapshots finds a page gone, looks again, and has the newest.
#[test]
fn a_page_that_is_gone_leads_to_the_newest_snapshot() {
    let process = Arc::new(Process::default());
    let (first, second) = (worker(&process, 1), worker(&process, 2));
    let mut now = START;
    for (number, customers) in [300, 400, 500].into_iter().enumerate() {
        first.tick(now);
        serve(&first, &process, &file(1 + number as u64, customers), now);
        if number == 0 {
            second.look();
            assert_eq!(sequence(&second), Some(1));
        }
        now += 100 * SECOND;
        first.tick(now);
        serve(&first, &process, &file(1 + number as u64, customers), now);
        now += 100 * SECOND;
    }
    assert_eq!(sequence(&second), Some(1));
    assert_eq!(customer(&second, "sk-299"), Err(PageGone));
    second.look();
    assert_eq!(sequence(&second), Some(3));
    assert_eq!(customer(&second, "sk-499"), Ok(Some("c-499".into())));
}

/// A worker is kept from running while it moves on: its pages are gone when it reads them.
#[test]
fn a_snapshot_that_is_gone_before_it_is_read_leads_to_the_newest_one() {
    let process = Arc::new(Process::default());
    let first = worker(&process, 1);
    first.tick(START);
    serve(&first, &process, &file(1, 300), START);
    let second = worker(&process, 2);
    let shared = Arc::clone(&process);
    *process.meanwhile.lock().unwrap() = Some(Meanwhile(Box::new(move || {
        for (number, customers) in [(2, 400), (3, 500)] {
            let now = START + number * 100 * SECOND;
            first.tick(now);
            serve(&first, &shared, &file(number, customers), now);
        }
    })));
    assert_eq!(sequence(&second), Some(3));
    assert_eq!(customer(&second, "sk-499"), Ok(Some("c-499".into())));
}

#[test]
fn a_failure_is_told_once_and_its_end_too() {
    let process = Arc::new(Process::default());
    let keeper = worker(&process, 1);
    let mut now = START;
    for _ in 0..3 {
        keeper.tick(now);
        serve(&keeper, &process, b"<html>", now);
        now += 100 * SECOND;
    }
    keeper.tick(now);
    serve(&keeper, &process, &file(1, 3), now);
    let log = process.log.lock().unwrap();
    let failed: Vec<&String> = log.iter().filter(|line| line.contains("Failed")).collect();
    let repeated = failed.iter().filter(|line| line.contains("is_repeated: true")).count();
    assert_eq!((failed.len(), repeated), (3, 2), "{log:?}");
    assert!(log.iter().any(|line| line == "Recovered"), "{log:?}");
}

#[test]
fn a_process_has_one_snapshot_whatever_its_configurations() {
    let (process, memory) = (Arc::new(Process::default()), Arc::new(ProcessMemory::default()));
    let first = configuration(&process, &memory, 1, &signer());
    first.tick(START);
    serve(&first, &process, &file(5, 300), START);
    let calls = process.calls.load(Ordering::Relaxed);
    let second = configuration(&process, &memory, 2, &signer());
    let [one, other] = [&first, &second].map(|keeper| keeper.snapshot().unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(customer(&second, "sk-7"), Ok(Some("c-7".into())));
    assert_eq!(process.calls.load(Ordering::Relaxed), calls, "nothing is fetched twice");

    // who trusts another key gets none, though it is there
    let third = configuration(&process, &memory, 3, &SigningKey::new(&[8; 32], Window::default()));
    assert!(third.snapshot().is_none());
}

#[test]
fn an_old_snapshot_goes_with_its_last_request_and_its_pages_with_it() {
    let (process, memory) = (Arc::new(Process::default()), Arc::new(ProcessMemory::default()));
    let first = configuration(&process, &memory, 1, &signer());
    first.tick(START);
    serve(&first, &process, &file(1, 300), START);
    let second = configuration(&process, &memory, 2, &signer());
    let request = first.snapshot().unwrap();
    let old = Arc::downgrade(&request);
    // the older configuration stays for its last requests
    let of_older = second.snapshot();
    for (number, now) in [(2, 100), (3, 200)] {
        let now = START + now * SECOND;
        second.tick(now);
        serve(&second, &process, &file(number, 400), now);
    }
    assert_eq!(sequence(&second), Some(3));
    memory.retire(of_older.clone());
    memory.retire(of_older);
    first.tick(START + 300 * SECOND);
    memory.retire(None);
    let known = request.customer(Name::Secret(CredentialDigest::of(b"sk-299"))).unwrap();
    assert_eq!(known.unwrap().customer.id.to_string(), "c-299", "two snapshots later");
    drop(request);
    assert!(old.upgrade().is_some(), "a request doesn't free it");
    memory.retire(None);
    assert!(old.upgrade().is_none());
}
