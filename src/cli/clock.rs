//! The clock of the desk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::terms::time::UnixSeconds;

#[expect(clippy::disallowed_methods, reason = "the desk is where time comes in from")]
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn now() -> UnixSeconds {
    UnixSeconds(i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX))
}
