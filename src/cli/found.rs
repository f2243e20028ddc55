//! What checking finds, and the check of the filter's own configuration.

use crate::finding::{Action, FindingCode};
use crate::keyring::{Keyring, KeyringDraft};
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

/// What is said once, however many filters a file has.
pub(super) const SHARED_STATE: &str = "`provider.shared-state` only reports: a customer can list, read and delete what others of the same account made";

/// Checks the filter's own configuration, and the keys that it names so far as they are set here too.
pub(super) fn check_configuration(text: &str) -> Found {
    match Screen::parse(text) {
        Ok(screen) => {
            let config = screen.config();
            let KeyringDraft { keyring, unset, wrong } =
                Keyring::gather(&config.tag, &|name| std::env::var(name));
            let mut notices = config.notices.clone();
            notices.extend(unset.iter().map(|problem| Problem {
                message: format!("{} here", problem.message),
                ..problem.clone()
            }));
            let reports = *config.policy.action(FindingCode::ProviderSharedState) == Action::Report;
            if reports && config.upstream.provider.is_some() && !config.forwards() {
                notices.push(Problem {
                    path: "$.policy.actions".into(),
                    message: SHARED_STATE.into(),
                    help: Some("`block` it, or see docs/findings.md#providershared-state for ways to keep customers apart".into()),
                });
            }
            if unset.is_empty() && wrong.is_empty() {
                notices.extend(keyring.notices(super::register::now()));
            }
            Found { errors: wrong.iter().cloned().collect(), notices }
        }
        Err(problems) => Found { errors: problems.iter().cloned().collect(), notices: Vec::new() },
    }
}
