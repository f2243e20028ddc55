//! Times: whole seconds, as documents write them by RFC 3339.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::shape::{Mismatch, Word};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
pub const LAST_SECOND: u64 = 253_402_300_799;

impl Word for UnixSeconds {
    const WHAT: &'static str = "a time by RFC 3339, such as 2027-01-31T00:00:00Z";
    const PATTERN: &'static str = concat!(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?",
        r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    );

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let second = |text: &str| {
            // the parser takes any text between `Z` and another `Z`
            let text = Some(text)
                .filter(|text| text.len() == 20 || text.as_bytes().get(19) == Some(&b'.'))?;
            let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        let ahead_of_utc = || {
            let (time, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let sign = if offset.starts_with('+') { 1 } else { -1 };
            let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
            let number = |digits: &str, most: i64| {
                let digits = Some(digits).filter(|digits| {
                    digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
                })?;
                digits.parse::<i64>().ok().filter(|number| *number <= most)
            };
            let seconds = number(hours, 23)?
                .checked_mul(3_600)?
                .checked_add(number(minutes, 59)?.checked_mul(60)?)?;
            second(&format!("{time}Z"))?
                .checked_sub(seconds.checked_mul(sign)?)
                .filter(|second| u64::try_from(*second).is_ok_and(|second| second <= LAST_SECOND))
        };
        if let Some(second) = second(text).or_else(ahead_of_utc) {
            return Ok(Self(second));
        }
        let midnight = format!("{text}T00:00:00Z");
        let help = if humantime::parse_rfc3339(&midnight).is_ok() {
            format!("add the time of day: `{midnight}`")
        } else {
            "RFC 3339, from 1970 on, such as `2027-01-31T00:00:00Z`".into()
        };
        Err(Mismatch::new(format!("invalid time `{text}`"), help))
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = u64::try_from(self.0)
            .ok()
            .filter(|seconds| *seconds <= LAST_SECOND)
            .map(Duration::from_secs);
        match since.and_then(|since| UNIX_EPOCH.checked_add(since)) {
            Some(time) => humantime::format_rfc3339_seconds(time).fmt(f),
            None => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for UnixSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
