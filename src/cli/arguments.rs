//! Readers of single arguments.

use crate::shape::{Mismatch, Word};
use crate::terms::region::CountryCode;

/// Countries by their codes, separated by commas.
#[derive(Debug, Clone)]
pub(super) struct Countries(pub(super) Vec<CountryCode>);

impl Countries {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
        codes.map(word::<CountryCode>).collect::<Result<_, _>>().map(Self)
    }
}

/// Reads a word of the command line.
pub(super) fn word<T: Word>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|Mismatch { message, help }| match help {
        Some(help) => format!("{message}; {help}"),
        None => message,
    })
}

/// A span of time in seconds: a number and h, d or w.
pub(super) fn span(text: &str) -> Result<i64, String> {
    let (number, unit) = match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
        number if text.ends_with('h') => (number, 3_600),
        number if text.ends_with('d') => (number, 86_400),
        number if text.ends_with('w') => (number, 604_800),
        number => (number, 0),
    };
    let is_span = unit != 0 && text.len() == number.len().saturating_add(1);
    let count = number.parse::<u32>().ok().filter(|_| is_span);
    let wrong = "expected a whole number of days, weeks or hours, such as 30d, 4w or 36h";
    Ok(i64::from(count.ok_or(wrong)?).saturating_mul(unit))
}
