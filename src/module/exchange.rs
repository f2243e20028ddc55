//! One HTTP exchange: the request's port to Envoy.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::abi::{self, Attribute, ConfigHandle, MetricId, StreamHandle};
use super::barrier::take_panics;
use crate::chain::memory::InMemory;
use crate::config::{Claim, San};
use crate::decision::Decision;
use crate::decision::reply::LocalReply;
use crate::decision::request::{Pair, Time};
use crate::decision::signals::Signal;
use crate::host::{CounterName, EVENT_NAME, ExchangeHost, FieldMap, RequestCounters, Severity};
use crate::lock::{Lock, take};
use crate::snapshot::Snapshot;

/// What the requests of a configuration share.
#[derive(Debug)]
pub struct ExchangeParts {
    /// The snapshot that they begin with
    pub current: Lock<Option<Arc<Snapshot>>>,
    /// The node's nonces
    pub nonces: InMemory,
    /// The counters of requests
    pub counters: RequestCounters<RequestCounter>,
    /// The configuration, where a clock hands over what was counted, ten times a second
    pub clocked: Option<ConfigHandle>,
    /// The counter of nonces that went too early
    pub evictions: MetricId,
    /// The counter of panics that a barrier stopped
    pub panics: MetricId,
}

/// A counter of requests. Envoy looks for a label's value anew with each count, which takes longer
/// than all that a decision looks up. So counts wait for the clock, if there is one.
#[derive(Debug)]
pub struct RequestCounter {
    /// The number of all counters of that name
    id: MetricId,
    /// The label's value
    value: &'static str,
    waiting: AtomicU64,
}

/// A request of a stream, under its configuration.
#[derive(Debug)]
pub struct StreamExchange<'a, 's> {
    /// The configuration's
    pub parts: &'a ExchangeParts,
    /// The stream
    pub stream: &'a mut StreamHandle<'s>,
}

impl ExchangeParts {
    /// Adds to counters what happened where nothing could be counted.
    pub fn count_aside(&self, add: impl Fn(MetricId, u64)) {
        let aside = [(self.evictions, self.nonces.take_evictions()), (self.panics, take_panics())];
        aside.into_iter().filter(|(_, amount)| *amount > 0).for_each(|(id, n)| add(id, n));
    }

    /// Hands over all that was counted, if a clock does that.
    pub fn hand_over(&self) {
        let Some(config) = self.clocked else { return };
        for RequestCounter { id, value, waiting } in self.counters.all() {
            let amount = take(waiting);
            if amount > 0 {
                config.add(*id, Some(value), amount);
            }
        }
        self.count_aside(|id, amount| config.add(id, None, amount));
    }
}

impl RequestCounter {
    /// A counter that is there from the start, at zero.
    pub fn define(config: ConfigHandle, CounterName { name, label, value }: CounterName) -> Self {
        let id = config.define_counter(name, &[label]);
        config.add(id, Some(value), 0);
        Self { id, value, waiting: AtomicU64::new(0) }
    }
}

impl ExchangeHost for StreamExchange<'_, '_> {
    fn fields(&self, map: FieldMap) -> Vec<Pair<'_>> {
        self.stream.fields(map)
    }

    fn ask(&self, signal: Signal<'_>) -> Option<Vec<u8>> {
        let stream = &*self.stream;
        match signal {
            // an operator may say who the direct peer is; else Envoy knows
            Signal::DirectPeer => {
                stream.filter_state("direct").or_else(|| stream.direct_remote_address())
            }
            Signal::EnvoyClient => stream.attribute(Attribute::SourceAddress),
            Signal::Certificate(San::Uri) => stream.attribute(Attribute::UriSanPeerCertificate),
            Signal::Certificate(San::Dns) => stream.attribute(Attribute::DnsSanPeerCertificate),
            // Envoy gives a module no metadata below the first name: a filter has to copy claims
            Signal::Claim(Claim { provider, claim }) => {
                stream.filter_state(&["jwt.", provider.as_str(), ".", claim.as_str()].concat())
            }
        }
    }

    fn now(&self) -> Time {
        now()
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.parts.current.hold().clone()
    }

    fn look(&self) {} // pages are held, so none is ever gone

    fn count(&self, decision: &Decision<'_>) {
        let counters = &self.parts.counters;
        if self.parts.clocked.is_some() {
            counters.count(decision, |it| _ = it.waiting.fetch_add(1, Ordering::Relaxed));
            return;
        }
        counters.count(decision, |it| self.stream.add(it.id, Some(it.value), 1));
        self.parts.count_aside(|id, amount| self.stream.add(id, None, amount));
    }

    fn log_event(&self, event: &[u8]) -> bool {
        self.stream.set_filter_state(EVENT_NAME, event)
    }

    fn set_header(&mut self, name: &str, value: &[u8]) -> bool {
        self.stream.put(true, name.as_bytes(), value)
    }

    fn add_header(&mut self, name: &str, value: &[u8]) -> bool {
        self.stream.put(false, name.as_bytes(), value)
    }

    fn remove(&mut self, map: FieldMap, name: &[u8]) -> bool {
        self.stream.remove(map, name)
    }

    fn choose_route(&mut self) {
        self.stream.choose_route();
    }

    fn answer(&mut self, reply: &LocalReply) -> bool {
        let LocalReply { status, headers, body, details } = reply;
        self.stream.answer(*status, headers, body.as_bytes(), details);
        true
    }

    fn complain(&self, text: fmt::Arguments<'_>) {
        abi::log(Severity::Error, &text.to_string());
    }
}

/// The system's clock. The beginning of 1970 if it is before that.
#[expect(
    clippy::disallowed_methods,
    reason = "the host's side of that: it gives the core its time"
)]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
