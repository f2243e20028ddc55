//! Readers of single arguments.

use crate::shape::{Mismatch, Word};

/// Reads a word of the command line.
pub(super) fn word<T: Word>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|Mismatch { message, help }| match help {
        Some(help) => format!("{message}; {help}"),
        None => message,
    })
}
