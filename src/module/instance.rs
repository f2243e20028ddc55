//! One configuration: what its requests share, and what Envoy's main thread does for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::abi::{self, ConfigHandle, ConfigScheduler, Hooks, MetricId, StreamHandle};
use super::exchange::{ExchangeParts, LabelledCounter, StreamExchange, now};
use super::home::{self, ConfigKeeper, MainThread};
use super::lent::Answer;
use super::nonces::NodeNonces;
use crate::chain::Signer;
use crate::decision::event::Ledger;
use crate::decision::{Screen, Worker};
use crate::host::{
    EVICTIONS_COUNTER, Flow, RequestCounters, Severity, TICK, announcement, configure,
    part_response, random_number, serve, strip_trailers,
};
use crate::lock::Lock;
use crate::snapshot::Snapshot;

/// The counter of panics that a barrier stopped.
const PANICS_COUNTER: &str = "waybill_panics_total";

/// A configuration and what works under it, in all workers.
pub struct ModuleInstance {
    screen: Screen,
    parts: ExchangeParts,
    /// What each seat's worker is a fork of
    pattern: Lock<Worker>,
    /// One for each worker of Envoy
    seats: Box<[Lock<Option<Seat>>]>,
    desk: Lock<Option<MainDesk>>,
    /// The desk's host, for an answer that comes while the desk is at work
    host: Option<Arc<MainThread>>,
}

/// What a worker decides by. It takes its seat for a request and gives it back, so the lock is held
/// for neither. A panic loses the seat, and the seat's chain of events ends there.
struct Seat {
    worker: Worker,
    ledger: Ledger,
}

/// What Envoy's main thread works on.
struct MainDesk {
    keeper: ConfigKeeper,
    /// Snapshots that requests may still hold. The last of these requests doesn't free them: a
    /// worker would wait for that
    retired: Vec<Arc<Snapshot>>,
    ticker: Option<Ticker>,
}

/// A thread that asks Envoy's main thread to look after the snapshot, ten times a second. Its end
/// waits for it: it never calls Envoy for a configuration that is gone.
struct Ticker {
    state: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct TickerState {
    ends: AtomicBool,
    /// Whether the main thread hasn't come to the tick before: a busy one gets no queue of them
    waits: AtomicBool,
}

impl ModuleInstance {
    fn seat(&self, worker: usize) -> Seat {
        let own = self.seats.get(worker).and_then(|seat| seat.hold().take());
        own.unwrap_or_else(|| {
            let memory = Box::new(self.parts.nonces.clone());
            let worker = self.pattern.hold().fork(memory);
            Seat { worker, ledger: Ledger::new(random_number()) }
        })
    }

    /// Hands requests the keeper's snapshot.
    fn hand_out(&self, desk: &mut MainDesk) {
        let newest = desk.keeper.snapshot();
        let mut current = self.parts.current.hold();
        let is_same = match (&*current, &newest) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let before = if is_same { None } else { std::mem::replace(&mut *current, newest) };
        drop(current);
        desk.retired.extend(before);
        desk.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    fn at_desk(&self, work: impl FnOnce(&ConfigKeeper)) {
        match self.desk.try_hold() {
            Some(mut desk) => {
                if let Some(desk) = &mut *desk {
                    work(&desk.keeper);
                    self.hand_out(desk);
                }
            }
            // the desk is at work further up: Envoy answers a call before it returns
            None => self.host.iter().for_each(|host| host.note_early_answer()),
        }
    }
}

impl Hooks for ModuleInstance {
    fn open(config: ConfigHandle, text: &[u8]) -> Option<Self> {
        let (screen, keyring) = match configure(text) {
            Ok(read) => read,
            Err(lines) => {
                lines.iter().for_each(|line| abi::log(Severity::Error, line));
                return None;
            }
        };
        let (line, notices) = announcement(&screen, &keyring, now().seconds());
        abi::log(Severity::Info, &line);
        notices.iter().for_each(|notice| abi::log(Severity::Warning, notice));

        let nonces = NodeNonces::of(&screen.config().node.id);
        let pattern = Worker::new(Signer::new(keyring), Box::new(nonces.clone()));
        let known: Lock<Vec<(&str, MetricId)>> = Lock::default();
        let counters = RequestCounters::define(|counted| {
            let mut known = known.hold();
            let id = known.iter().find(|(name, _)| *name == counted.name).map(|(_, id)| *id);
            let id = id.unwrap_or_else(|| {
                let id = config.define_counter(counted.name, &[counted.label]);
                known.push((counted.name, id));
                id
            });
            // a counter is there from the start, at zero
            config.add(id, Some(counted.value), 0);
            LabelledCounter { id, value: counted.value }
        });
        let opened = home::open(screen.config(), config);
        let (keeper, host) =
            opened.map_or((None, None), |(keeper, host)| (Some(keeper), Some(host)));
        let desk = keeper.map(|keeper| {
            let ticker = Ticker::start(config.scheduler());
            MainDesk { keeper, retired: Vec::new(), ticker }
        });
        let instance = Self {
            screen,
            parts: ExchangeParts {
                current: Lock::default(),
                nonces,
                counters,
                evictions: config.define_counter(EVICTIONS_COUNTER, &[]),
                panics: config.define_counter(PANICS_COUNTER, &[]),
            },
            pattern: Lock::new(pattern),
            seats: (0..config.workers().max(1)).map(|_| Lock::default()).collect(),
            desk: Lock::new(desk),
            host,
        };
        // another configuration may have fetched it
        instance.at_desk(|_| ());
        Some(instance)
    }

    fn close(&self) {
        let desk = self.desk.hold().take();
        drop(desk); // waits for the ticker, without the lock
    }

    fn tick(&self, config: ConfigHandle) {
        if let Some(ticker) = self.desk.hold().as_ref().and_then(|desk| desk.ticker.as_ref()) {
            ticker.state.waits.store(false, Ordering::Relaxed);
        }
        self.parts.count_aside(|id, amount| config.add(id, None, amount));
        self.at_desk(|keeper| keeper.tick(now().0));
    }

    fn answered(&self, call: u64, answer: &Answer<'_>) {
        let body = |begin, most| answer.read(begin, most);
        let response = part_response(&answer.headers, answer.size(), &body);
        self.at_desk(|keeper| keeper.answer(call, response, now().0));
    }

    fn unanswered(&self) {
        self.at_desk(ConfigKeeper::forget);
    }

    fn headers(&self, stream: &mut StreamHandle<'_>) -> Flow {
        let place = stream.worker();
        let Seat { mut worker, mut ledger } = self.seat(place);
        let mut exchange = StreamExchange { parts: &self.parts, stream };
        let flow = serve(&mut exchange, &self.screen, (&mut worker, &mut ledger));
        if let Some(place) = self.seats.get(place) {
            place.hold().replace(Seat { worker, ledger });
        }
        flow
    }

    fn trailers(&self, stream: &mut StreamHandle<'_>) {
        strip_trailers(&mut StreamExchange { parts: &self.parts, stream });
    }
}

impl Ticker {
    fn start(scheduler: ConfigScheduler) -> Option<Self> {
        let state = Arc::new(TickerState::default());
        let shared = Arc::clone(&state);
        let run = move || {
            let mut left_out = 0_u8;
            while !shared.ends.load(Ordering::Relaxed) {
                // a tick that a panic ended never says that it came
                let waits = shared.waits.swap(true, Ordering::Relaxed) && left_out < 10;
                left_out = if waits { left_out.saturating_add(1) } else { 0 };
                if !waits {
                    scheduler.commit();
                }
                std::thread::park_timeout(TICK);
            }
        };
        match std::thread::Builder::new().name("waybill".to_owned()).spawn(run) {
            Ok(thread) => Some(Self { state, thread: Some(thread) }),
            Err(why) => {
                let line = format!("waybill: no thread, so no snapshot can be fetched: {why}");
                abi::log(Severity::Error, &line);
                None
            }
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ended = thread.join();
        }
    }
}

impl fmt::Debug for ModuleInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleInstance").field("screen", &self.screen).finish_non_exhaustive()
    }
}
