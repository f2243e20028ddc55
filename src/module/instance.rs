//! One configuration: what its requests share, and what Envoy's main thread does for it.

use std::fmt;
use std::sync::Arc;

use super::abi::{self, ConfigHandle, Hooks, StreamHandle};
use super::exchange::{ExchangeParts, RequestCounter, StreamExchange, now};
use super::home::{self, ConfigKeeper, MainThread};
use super::lent::Answer;
use super::nonces;
use super::secrets::{KeySecrets, SecretTexts};
use crate::chain::Signer;
use crate::chain::keyring::Keyring;
use crate::decision::event::Ledger;
use crate::decision::{Screen, Worker};
use crate::host::{
    EVICTIONS_COUNTER, Flow, RequestCounters, Severity, TICK, announcement, configure,
    part_response, random_number, serve, signs_by, strip_trailers,
};
use crate::lock::Lock;
use crate::ticker::Ticker;

/// The counter of panics that a barrier stopped.
const PANICS_COUNTER: &str = "waybill_panics_total";

/// A configuration and what works under it, in all workers.
pub struct ModuleInstance {
    screen: Screen,
    secrets: KeySecrets,
    parts: ExchangeParts,
    /// What each seat's worker is a fork of
    pattern: Lock<Worker>,
    /// One for each worker of Envoy
    seats: Box<[Lock<Option<Seat>>]>,
    /// What Envoy's main thread works on
    desk: Lock<Option<(ConfigKeeper, Option<Ticker>)>>,
    /// The desk's host, for an answer that comes while the desk is at work
    host: Option<Arc<MainThread>>,
}

/// What a worker decides by. It takes its seat for a request and gives it back, so the lock is held
/// for neither. A panic loses the seat, and the seat's chain of events ends there.
struct Seat {
    worker: Worker,
    ledger: Ledger,
    /// What the worker's keys were read from
    texts: SecretTexts,
}

impl ModuleInstance {
    fn seat(&self, worker: usize) -> Seat {
        let own = self.seats.get(worker).and_then(|seat| seat.hold().take());
        own.unwrap_or_else(|| {
            let memory = Box::new(self.parts.nonces.clone());
            let worker = self.pattern.hold().fork(memory);
            Seat { worker, ledger: Ledger::new(random_number()), texts: Vec::new() }
        })
    }

    /// Reads the keys again if Envoy replaced a secret. Wrong ones leave those before in use.
    fn renew_keys(&self, seat: &mut Seat, stream: &StreamHandle<'_>) {
        let Some(texts) = self.secrets.changed(&seat.texts, stream) else { return };
        let text = |source: &_| self.secrets.text(&texts, source);
        match Keyring::read(&self.screen.config().tag, &text) {
            Ok(keyring) if keyring.awaits() => {
                if !seat.worker.signer.keyring().awaits() {
                    abi::log(Severity::Error, "waybill: new keys refused: a secret is empty");
                }
            }
            Ok(keyring) => {
                let (now, before) = (now().seconds(), seat.worker.signer.keyring());
                let (new, old) = (signs_by(&keyring, now), signs_by(before, now));
                if new != old {
                    abi::log(Severity::Info, &format!("waybill: now signs by {new}"));
                }
                seat.worker.signer.replace(keyring);
            }
            Err(problems) => problems.iter().for_each(|problem| {
                abi::log(Severity::Error, &format!("waybill: new keys refused: {problem}"));
            }),
        }
        seat.texts = texts;
    }

    /// Hands requests the keeper's snapshot.
    fn hand_out(&self, keeper: &ConfigKeeper) {
        let newest = keeper.snapshot();
        let mut current = self.parts.current.hold();
        let is_same = match (&*current, &newest) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let before = if is_same { None } else { std::mem::replace(&mut *current, newest) };
        drop(current);
        if let Some(host) = &self.host {
            host.home.retire(before);
        }
    }

    fn at_desk(&self, work: impl FnOnce(&ConfigKeeper)) {
        match self.desk.try_hold() {
            Some(desk) => {
                if let Some((keeper, _)) = &*desk {
                    work(keeper);
                    self.hand_out(keeper);
                }
            }
            // the desk is at work further up: Envoy answers a call before it returns
            None => self.host.iter().for_each(|host| host.note_early_answer()),
        }
    }
}

impl Hooks for ModuleInstance {
    fn open(config: ConfigHandle, text: &[u8]) -> Option<Self> {
        let secrets = Lock::<KeySecrets>::default();
        let (screen, keyring) = match configure(text, &|key| secrets.hold().open(config, key)) {
            Ok(read) => read,
            Err(lines) => {
                lines.iter().for_each(|line| abi::log(Severity::Error, line));
                return None;
            }
        };
        let (line, notices) = announcement(&screen, &keyring, now().seconds());
        abi::log(Severity::Info, &line);
        notices.iter().for_each(|notice| abi::log(Severity::Warning, notice));

        let nonces = nonces::of(&screen.config().node.id);
        let pattern = Worker::new(Signer::new(keyring), Box::new(nonces.clone()));
        let counters = RequestCounters::define(|it| RequestCounter::define(config, it));
        let (keeper, host) = home::open(screen.config(), config).unzip();
        let desk = keeper.map(|keeper| {
            let scheduler = config.scheduler();
            let ticker = Ticker::start(TICK, move || scheduler.commit());
            let ticker = ticker.map_err(|why| {
                let line = format!("waybill: no thread, so no snapshot can be fetched: {why}");
                abi::log(Severity::Error, &line);
            });
            (keeper, ticker.ok())
        });
        let instance = Self {
            screen,
            secrets: secrets.into_inner(),
            parts: ExchangeParts {
                current: Lock::default(),
                nonces,
                counters,
                clocked: matches!(desk, Some((_, Some(_)))).then_some(config),
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
        self.parts.hand_over();
    }

    fn tick(&self) {
        if let Some((_, Some(ticker))) = &*self.desk.hold() {
            ticker.came();
        }
        self.parts.hand_over();
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
        let mut seat = self.seat(place);
        self.renew_keys(&mut seat, stream);
        let mut exchange = StreamExchange { parts: &self.parts, stream };
        let flow = serve(&mut exchange, &self.screen, (&mut seat.worker, &mut seat.ledger));
        if let Some(place) = self.seats.get(place) {
            place.hold().replace(seat);
        }
        flow
    }

    fn trailers(&self, stream: &mut StreamHandle<'_>) {
        strip_trailers(&mut StreamExchange { parts: &self.parts, stream });
    }
}

impl fmt::Debug for ModuleInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleInstance").field("screen", &self.screen).finish_non_exhaustive()
    }
}
