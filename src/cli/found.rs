//! What checking finds, and the check of the filter's own configuration.

use crate::screen::Screen;
use crate::shape::Problem;

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is wrong
    pub(super) errors: Vec<Problem>,
    /// What is worth knowing
    pub(super) notices: Vec<Problem>,
}

/// Checks the filter's own configuration.
pub(super) fn check_configuration(text: &str) -> Found {
    match Screen::parse(text) {
        Ok(screen) => Found { errors: Vec::new(), notices: screen.config().notices.clone() },
        Err(problems) => Found { errors: problems.iter().cloned().collect(), notices: Vec::new() },
    }
}
