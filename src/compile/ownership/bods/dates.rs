//! Dates and times by ISO 8601, as publishers write them.

use super::members::mistyped;
use crate::shape::{Json, Path, Problems};
use crate::terms::time::UnixSeconds;

/// Reads a date, with or without a time of day. A date means midnight in UTC; a time without an
/// offset is in UTC.
pub(super) fn time(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<UnixSeconds> {
    let Json::Text(text) = json else { return mistyped(at, "a date", json, problems) };
    let time = seconds(text.trim());
    if time.is_none() {
        let help = "expected `2027-01-31` or `2027-01-31T12:00:00Z`";
        problems.wrong(at, &format!("invalid date `{text}`"), help);
    }
    time.map(UnixSeconds)
}

/// Characters of a date by RFC 3339: `2027-01-31`.
const DATE: usize = 10;

/// Seconds of 2,000 years. The calendar repeats itself every 400 years, which have 146,097 days.
const YEARS_2000: i64 = 146_097 * 5 * 86_400;

/// Seconds since 1970 of a date and time.
fn seconds(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(DATE)?;
    let (time, offset) = match rest.strip_prefix(['T', 't', ' ']) {
        None if rest.is_empty() => ("00:00:00", 0),
        None => return None,
        Some(time) => {
            match time.split_at_checked(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()))? {
                (time, "" | "Z" | "z") => (time, 0),
                (time, offset) => (time, self::offset(offset)?),
            }
        }
    };
    let whole = if time.len() == 5 { format!("{time}:00") } else { time.to_owned() };
    // the parser begins in 1970, and companies are older: parse the same day 2,000 years later
    let year = day.get(..4).filter(|year| year.bytes().all(|digit| digit.is_ascii_digit()))?;
    let year: u32 = year.parse().ok()?;
    let (year, shift) = if year < 1970 { (year.checked_add(2000)?, YEARS_2000) } else { (year, 0) };
    let parsed = humantime::parse_rfc3339(&format!("{year:04}{}T{whole}Z", day.get(4..)?)).ok()?;
    let since = i64::try_from(parsed.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()?;
    since.checked_sub(shift)?.checked_sub(offset)
}

/// Seconds by which an offset is ahead of UTC: `+08:00`, `-0330`, `+08`.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':')?,
        _ => return None,
    };
    let number = |text: &str, most: i64| {
        let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number <= most)
    };
    number(hours, 23)?
        .checked_mul(3_600)?
        .checked_add(number(minutes, 59)?.checked_mul(60)?)?
        .checked_mul(sign)
}
