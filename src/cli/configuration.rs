//! The check of the filter's own configuration.

use std::fmt::Display;

use super::clock::now;
use crate::chain::keyring::{Keyring, KeyringDraft};
use crate::decision::Screen;
use crate::shape::Problem;
use crate::terms::finding::{Action, FindingCode};

/// The mistakes and notes of one file.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    pub(super) errors: Vec<Problem>,
    pub(super) notices: Vec<Problem>,
}

impl Diagnostics {
    /// One error of the file as a whole.
    pub(super) fn of_file(message: String) -> Self {
        let problem = Problem { path: "$".into(), message, help: None };
        Self { errors: vec![problem], notices: Vec::new() }
    }
}

/// A problem with its help.
pub(super) fn problem(path: impl Display, message: &str, help: &str) -> Problem {
    Problem { path: path.to_string(), message: message.into(), help: Some(help.into()) }
}

/// A note that is printed once, however many filters a file has.
pub(super) const SHARED_STATE: &str = "`provider.shared-state` only reports: a customer can list, \
     read and delete what others of the same account made";

/// Checks the filter's own configuration, and those of its keys that are set here too.
pub(super) fn check_configuration(text: &str) -> Diagnostics {
    match Screen::parse(text) {
        Ok(screen) => {
            let config = screen.config();
            let KeyringDraft { keyring, unset, wrong } =
                Keyring::gather(&config.tag, &|name| std::env::var(name));
            let mut notices = config.notices.clone();
            notices.extend(unset.iter().map(|problem| {
                let message = format!("{} here", problem.message);
                Problem { message, ..problem.clone() }
            }));
            let reports = *config.policy.action(FindingCode::ProviderSharedState) == Action::Report;
            if reports && config.upstream.provider.is_some() && !config.forwards() {
                let help = "set it to `block`, or see docs/findings.md#providershared-state for \
                            ways to keep customers apart";
                notices.push(problem("$.policy.actions", SHARED_STATE, help));
            }
            if unset.is_empty() && wrong.is_empty() {
                notices.extend(keyring.notices(now()));
            }
            Diagnostics { errors: wrong.iter().cloned().collect(), notices }
        }
        Err(problems) => {
            Diagnostics { errors: problems.iter().cloned().collect(), notices: Vec::new() }
        }
    }
}
