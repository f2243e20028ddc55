//! The barrier for panics: none reaches Envoy, where it would be undefined behaviour.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lock::take;

/// How many panics weren't counted yet.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many panics there were since this was last asked.
pub fn take_panics() -> u64 {
    take(&PANICS)
}

/// Runs a hook's work. A panic ends there. It is counted, and `after` says what the hook returns.
pub fn barrier<T>(hook: &str, work: impl FnOnce() -> T, after: impl FnOnce() -> T) -> T {
    let run = || {
        on_demand(hook);
        work()
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        // what a panic carries may panic when it is dropped
        std::mem::forget::<Box<dyn Any + Send>>(payload);
        PANICS.fetch_add(1, Ordering::Relaxed);
        after()
    })
}

/// A build for tests panics the first time in the hook that the variable names.
#[cfg(feature = "panics")]
#[expect(clippy::panic, reason = "that is its purpose")]
fn on_demand(hook: &str) {
    static WAS: std::sync::Once = std::sync::Once::new();
    if std::env::var("WAYBILL_PANIC").is_ok_and(|asked| asked == hook) && !WAS.is_completed() {
        WAS.call_once(|| ());
        panic!("a test asked for a panic in {hook}");
    }
}

#[cfg(not(feature = "panics"))]
fn on_demand(_hook: &str) {}

#[cfg(not(panic = "unwind"))]
compile_error!("build the module with `--profile module`: a barrier stops no panic that aborts");
