//! What every host does alike: the order of a request's life, the calls for a snapshot, the names
//! of metrics, the words of the log.
//!
//! [`ExchangeHost`] is the port of a request to its host. No host is named here, and nothing here
//! is done differently for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::keyring::{KeyAbsence, Keyring};
use crate::config::{KeySource, SnapshotSettings};
use crate::decision::event::Ledger;
use crate::decision::evidence::admits_trailer;
use crate::decision::outcome::{Edits, HeaderValue, Outcome};
use crate::decision::reply::LocalReply;
use crate::decision::request::{Pair, Time};
use crate::decision::signals::{Signal, Signals};
use crate::decision::{Decision, Screen, Worker, endpoints};
use crate::register::PageGone;
use crate::shape::Problem;
use crate::snapshot::Snapshot;
use crate::snapshot::fetch::{PartRequest, PartResponse};
use crate::snapshot::keeping::{Gauge, News};
use crate::terms::finding::{Action, FindingCode, Intervention};
use crate::terms::time::UnixSeconds;

/// How often a host looks for a newer snapshot, and whether it is time to ask for one.
pub const TICK: Duration = Duration::from_millis(100);
/// How long a part of a snapshot may take. A server that drips it in slower counts as down.
pub const PART_TIMEOUT: Duration = Duration::from_secs(20);
/// The name of the event in the access log: `%FILTER_STATE(wasm.waybill:PLAIN)%`. Hosts that prefix
/// names of their own write what is behind the dot.
pub const EVENT_NAME: &str = "wasm.waybill";

/// The header fields of a request that a host lets the filter change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldMap {
    /// The request's headers
    Headers = 0,
    /// Its trailers
    Trailers = 1,
}

/// What happens to a request after a filter saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It goes on to the next filter
    Continue,
    /// It was answered
    Stop,
}

/// The port of a request to its host.
pub trait ExchangeHost {
    /// The fields of a map, in order. A host may lend its own: they are gone with the first edit.
    fn fields(&self, map: FieldMap) -> Vec<Pair<'_>>;
    /// A fact that only the host knows.
    fn ask(&self, signal: Signal<'_>) -> Option<Vec<u8>>;
    /// The host's clock.
    fn now(&self) -> Time;
    /// The snapshot to decide by.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;
    /// Looks for a newer snapshot at once: a page of this one is gone.
    fn look(&self);
    /// Counts a decision.
    fn count(&self, decision: &Decision<'_>);
    /// Hands the event to the access log. Returns whether the host took it.
    fn log_event(&self, event: &[u8]) -> bool;
    /// Sets a pseudo-header in place of the one there was. Returns whether the host took it.
    fn set_header(&mut self, name: &str, value: &[u8]) -> bool;
    /// Adds a header that the request doesn't have. Returns whether the host took it.
    fn add_header(&mut self, name: &str, value: &[u8]) -> bool;
    /// Removes every copy of a header or trailer. Returns whether the host did so.
    fn remove(&mut self, map: FieldMap, name: &[u8]) -> bool;
    /// All headers are set and removed: the route is to be chosen by what they are now.
    fn choose_route(&mut self);
    /// Answers the request. Returns whether the host took it.
    fn answer(&mut self, reply: &LocalReply) -> bool;
    /// Writes an error to the host's log.
    fn complain(&self, text: fmt::Arguments<'_>);
}

/// What is done with a request, when nothing of it is lent any more.
enum Deed {
    Forward { remove: Names, set: Vec<(&'static str, HeaderValue)> },
    Answer(LocalReply),
}

/// Names of fields in one piece, each behind its size.
struct Names(Vec<u8>);

/// Decides a request whose headers are complete, and does what the outcome says.
pub fn serve(
    host: &mut impl ExchangeHost,
    screen: &Screen,
    state: (&mut Worker, &mut Ledger),
) -> Flow {
    match decide(host, screen, state) {
        Deed::Forward { remove, set } => forward(host, &remove, &set),
        Deed::Answer(reply) => answer(host, &reply),
    }
}

/// Removes the trailers that a caller mustn't send on.
pub fn strip_trailers(host: &mut impl ExchangeHost) {
    let trailers = host.fields(FieldMap::Trailers);
    let names = trailers.iter().map(|(name, _)| *name).filter(|name| !admits_trailer(name));
    let _all = remove(host, FieldMap::Trailers, &Names::of(names));
}

/// Answers a request that can't be decided.
pub fn give_up(host: &mut impl ExchangeHost) -> Flow {
    answer(host, &LocalReply::undecided())
}

fn decide(
    host: &impl ExchangeHost,
    screen: &Screen,
    (worker, ledger): (&mut Worker, &mut Ledger),
) -> Deed {
    let config = screen.config();
    let headers = host.fields(FieldMap::Headers);
    let signals = Signals::read(config, &headers, |signal| host.ask(signal));
    let request = signals.request(headers, host.now());
    let keyring = worker.signer.keyring();
    let is_ready = || !keyring.awaits() && (config.snapshot.is_none() || host.snapshot().is_some());
    if let Some(reply) = endpoints::answer(config, screen.watch(), keyring, is_ready, &request) {
        return Deed::Answer(reply);
    }
    if keyring.awaits() {
        return Deed::Answer(LocalReply::undecided());
    }
    // a page is gone for a worker that slept through two snapshots: then it has the newest one.
    // Without a snapshot no page can be gone, so this ends
    let mut tries = 0..2;
    loop {
        let snapshot = tries.next().and_then(|_| host.snapshot());
        match screen.decide(&request, snapshot.as_deref(), worker, ledger.next_id()) {
            Ok(decision) => return tell(host, decision, ledger),
            Err(PageGone) => host.look(),
        }
    }
}

/// Counts a decision and writes its event.
fn tell(host: &impl ExchangeHost, decision: Decision<'_>, ledger: &mut Ledger) -> Deed {
    host.count(&decision);
    if !host.log_event(ledger.write(&decision)) {
        host.complain(format_args!("waybill: the host didn't take the event {}", decision.id));
    }
    match decision.outcome {
        Outcome::Forward(Edits { remove, set }) => {
            Deed::Forward { remove: Names::of(remove.into_iter()), set }
        }
        Outcome::Answer(reply) => Deed::Answer(reply),
    }
}

fn forward(
    host: &mut impl ExchangeHost,
    removed: &Names,
    set: &[(&'static str, HeaderValue)],
) -> Flow {
    // a copy that stays would stand beside what is added
    if !remove(host, FieldMap::Headers, removed) {
        return give_up(host);
    }
    for (name, value) in set {
        let is_set = if name.starts_with(':') {
            host.set_header(name, value)
        } else {
            host.add_header(name, value)
        };
        if !is_set {
            host.complain(format_args!("waybill: header {name} can't be set"));
            return give_up(host);
        }
    }
    if !removed.0.is_empty() || !set.is_empty() {
        host.choose_route();
    }
    Flow::Continue
}

fn remove(host: &mut impl ExchangeHost, map: FieldMap, names: &Names) -> bool {
    let (mut rest, mut all) = (names.0.as_slice(), true);
    while let Some((size, others)) = rest.split_first_chunk() {
        let (name, others) =
            others.split_at_checked(usize::from_ne_bytes(*size)).unwrap_or_default();
        if !host.remove(map, name) {
            host.complain(format_args!("waybill: a header or trailer can't be removed"));
            all = false;
        }
        rest = others;
    }
    all
}

fn answer(host: &mut impl ExchangeHost, reply: &LocalReply) -> Flow {
    if !host.answer(reply) {
        host.complain(format_args!("waybill: the host didn't take the reply {}", reply.details));
    }
    Flow::Stop
}

impl Names {
    fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Vec::with_capacity(64);
        for name in names {
            all.extend_from_slice(&name.len().to_ne_bytes());
            all.extend_from_slice(name);
        }
        Self(all)
    }
}

// === Metrics ===

/// The counter of nonces that went though they could still pass.
pub const EVICTIONS_COUNTER: &str = "waybill_replays_forgotten_total";

/// A counter of requests: its name, its label, and the label's value.
#[derive(Debug, Clone, Copy)]
pub struct CounterName {
    /// The name
    pub name: &'static str,
    /// The label
    pub label: &'static str,
    /// The label's value
    pub value: &'static str,
}

/// The counters of requests, by what the host knows them by.
#[derive(Debug)]
pub struct RequestCounters<C> {
    // INVARIANT (order): by `Action::strength`
    requests: Vec<C>,
    // INVARIANT (order): by `Intervention::ALL`
    would_be: Vec<C>,
    // INVARIANT (order): by `FindingCode::ALL`
    findings: Vec<C>,
}

impl<C> RequestCounters<C> {
    /// Defines each counter.
    pub fn define(define: impl Fn(CounterName) -> C) -> Self {
        let requests = ["allow", "report", "reroute", "block"]
            .into_iter()
            .map(|value| CounterName { name: "waybill_requests_total", label: "verdict", value });
        let would_be = Intervention::ALL.iter().map(|action| CounterName {
            name: "waybill_would_be_total",
            label: "action",
            value: action.as_str(),
        });
        let findings = FindingCode::ALL.iter().map(|code| CounterName {
            name: "waybill_findings_total",
            label: "code",
            value: code.as_str(),
        });
        Self {
            requests: requests.map(&define).collect(),
            would_be: would_be.map(&define).collect(),
            findings: findings.map(&define).collect(),
        }
    }

    /// Counts a decision.
    pub fn count(&self, decision: &Decision<'_>, increment: impl Fn(&C)) {
        let Self { requests, would_be, findings } = self;
        let verdict = requests.get(usize::from(Action::strength(&decision.verdict.action)));
        let softened = decision.verdict.would_be.as_ref().and_then(Action::intervention);
        let softened = softened.and_then(|action| would_be.get(action as usize));
        let codes =
            decision.weighed.iter().map(|weighed| findings.get(weighed.finding.code as usize));
        let counters = [verdict, softened].into_iter().chain(codes);
        counters.flatten().for_each(increment);
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &C> {
        self.requests.iter().chain(&self.would_be).chain(&self.findings)
    }
}

/// The metrics of the snapshot, by what the host knows them by.
#[derive(Debug)]
pub struct SnapshotMetrics<C> {
    sequence: C,
    age: C,
    size: C,
    /// The counter of attempts to fetch a snapshot that failed
    pub failures: C,
}

impl<C: Copy> SnapshotMetrics<C> {
    /// Defines each.
    pub fn define(gauge: impl Fn(&str) -> C, counter: impl Fn(&str) -> C) -> Self {
        Self {
            sequence: gauge("waybill_snapshot_sequence"),
            age: gauge("waybill_snapshot_age_seconds"),
            size: gauge("waybill_snapshot_bytes"),
            failures: counter("waybill_snapshot_failures_total"),
        }
    }

    /// What the host knows a gauge by.
    pub fn gauge(&self, gauge: Gauge) -> C {
        match gauge {
            Gauge::Sequence => self.sequence,
            Gauge::Age => self.age,
            Gauge::Size => self.size,
        }
    }
}

// === Configuration ===

/// Reads a configuration and the keys that it names. `key` gives the text of each.
///
/// # Errors
/// The lines that say what is wrong with it.
pub fn configure(
    text: &[u8],
    key: &dyn Fn(&KeySource) -> Result<String, KeyAbsence>,
) -> Result<(Screen, Keyring), Vec<String>> {
    let text = std::str::from_utf8(text).map_err(|_| {
        let why = "waybill: the configuration isn't UTF-8; give it as JSON in a \
                   google.protobuf.StringValue";
        vec![why.to_owned()]
    })?;
    let read = Screen::parse(text).and_then(|screen| {
        let keyring = Keyring::read(&screen.config().tag, key)?;
        Ok((screen, keyring))
    });
    let line = |problem: &Problem| format!("waybill: configuration refused: {problem}");
    read.map_err(|problems| problems.iter().map(line).collect())
}

/// The lines that tell the operator which node, policy, register and key this host now works by:
/// one of information, then warnings.
pub fn announcement(screen: &Screen, keyring: &Keyring, now: UnixSeconds) -> (String, Vec<String>) {
    let config = screen.config();
    let line = format!(
        "waybill {}: node {}, mode {}, policy {}, customers {}, regions {}, signs by {}",
        env!("CARGO_PKG_VERSION"),
        config.node.id,
        config.policy.mode,
        config.policy.revision,
        config.register.as_ref().map_or_else(
            || "by snapshot".to_owned(),
            |register| register.customers().count().to_string()
        ),
        config.regions.as_ref().map_or("by snapshot", |regions| regions.set.as_str()),
        signs_by(keyring, now),
    );
    let notices = keyring.notices(now);
    let notices = config.notices.iter().chain(&notices).map(|notice| format!("waybill: {notice}"));
    (line, notices.collect())
}

/// The key that signs now, in words.
pub fn signs_by(keyring: &Keyring, now: UnixSeconds) -> &str {
    match keyring.signing(now) {
        Some(signer) => &signer.keyid,
        None if keyring.awaits() => "a key that is still to come",
        None => "no key",
    }
}

/// A random number, as a new ledger's, which no other has; zero without a random source.
pub fn random_number() -> u64 {
    getrandom::u64().unwrap_or(0)
}

// === The snapshot ===

/// How loud a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As it should be
    Info,
    /// Something to look at
    Warning,
    /// Something that doesn't work
    Error,
}

/// A node's name for the file that it fetches.
pub fn snapshot_source(node: &str, settings: &SnapshotSettings) -> String {
    let SnapshotSettings { cluster, authority, path, .. } = settings;
    format!("{node} {cluster} {authority}{path}")
}

/// Calls the server for a part of the file: `dispatch` gets the headers of the call.
pub fn with_part_headers<T>(
    settings: &SnapshotSettings,
    part: &PartRequest,
    dispatch: impl FnOnce(&[(&str, &str)]) -> T,
) -> T {
    let range = format!("bytes={}-{}", part.range.start, part.range.end.saturating_sub(1));
    let mut headers = vec![
        (":method", "GET"),
        (":path", settings.path.as_str()),
        (":authority", settings.authority.as_str()),
        ("range", range.as_str()),
        ("accept-encoding", "identity"),
    ];
    headers.extend(part.etag.as_deref().map(|etag| ("if-none-match", etag)));
    dispatch(&headers)
}

/// Why no call can be made.
pub fn uncallable(settings: &SnapshotSettings, status: impl fmt::Debug) -> String {
    let cluster = &settings.cluster;
    format!("cluster `{cluster}` can't be called ({status:?}): is it in this Envoy's clusters?")
}

/// The server's answer. `size` is the body's, in bytes; `body` reads from it.
pub fn part_response<'a>(
    headers: &[Pair<'a>],
    size: usize,
    body: &'a dyn Fn(usize, usize) -> Vec<u8>,
) -> PartResponse<'a> {
    let header = |name: &[u8]| {
        let (_, value) = headers.iter().find(|(other, _)| *other == name)?;
        std::str::from_utf8(value).ok()
    };
    PartResponse {
        // Envoy makes an answer up if there was none; an answer that broke off has no headers
        status: header(b":status").and_then(|status| status.parse().ok()),
        etag: header(b"etag"),
        size,
        body,
    }
}

/// The line of the log that says what happened to the snapshot. `None` if it was said before.
pub fn news_line(news: &News<'_>) -> Option<(Severity, String)> {
    Some(match news {
        News::Published(preamble) => (
            Severity::Info,
            format!(
                "waybill: snapshot {}, made {}, {} bytes, is now the current one",
                preamble.sequence, preamble.created, preamble.file_size
            ),
        ),
        News::Failed { is_repeated: true, .. } => return None,
        News::Failed { why, current, .. } => {
            let current =
                current.map_or("there is none".into(), |number| format!("{number} stays"));
            (Severity::Warning, format!("waybill: no new snapshot ({current}): {why}"))
        }
        News::Recovered => {
            (Severity::Info, "waybill: the snapshot server answers again".to_owned())
        }
        News::Dropped(refused) => {
            (Severity::Error, format!("waybill: the current snapshot is dropped: {refused}"))
        }
        News::Unfreed => {
            (Severity::Warning, "waybill: the host doesn't take memory back".to_owned())
        }
    })
}
