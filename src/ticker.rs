//! A clock for hosts without one: a thread that calls at an interval.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How many calls are left out while one waits. A call that a panic ended never came.
const MOST_LEFT_OUT: u8 = 10;

/// A thread that asks for calls. Its end waits for the thread: it asks for none from then on.
#[derive(Debug)]
pub struct Ticker {
    state: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct TickerState {
    ends: AtomicBool,
    waits: AtomicBool,
}

impl Ticker {
    /// Asks each `period` for a call. None is asked for while the one before waits: who is busy
    /// gets no queue of them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(period: Duration, ask: impl Fn() + Send + 'static) -> io::Result<Self> {
        let state = Arc::new(TickerState::default());
        let shared = Arc::clone(&state);
        let run = move || {
            let mut left_out = 0_u8;
            while !shared.ends.load(Ordering::Relaxed) {
                let waits = shared.waits.swap(true, Ordering::Relaxed) && left_out < MOST_LEFT_OUT;
                left_out = if waits { left_out.saturating_add(1) } else { 0 };
                if !waits {
                    ask();
                }
                std::thread::park_timeout(period);
            }
        };
        let thread = Some(Builder::new().name("waybill".to_owned()).spawn(run)?);
        Ok(Self { state, thread })
    }

    /// Notes that the call came.
    pub fn came(&self) {
        self.state.waits.store(false, Ordering::Relaxed);
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
