//! The clock of the desk.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::terms::time::UnixSeconds;

#[expect(clippy::disallowed_methods, reason = "the desk is where time comes in from")]
pub(super) fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UnixSeconds(i64::try_from(since).unwrap_or(i64::MAX))
}
