//! All that a report tells.

use std::collections::HashMap;
use std::path::PathBuf;

use super::super::due::Deadline;
use super::standing::{StandingOverride, StandingSignal};
use crate::compile::directory::Directory;
use crate::journal::audit::{AuditReport, AuditSettings};
use crate::journal::figures::Figures;
use crate::journal::selection::Selection;
use crate::terms::time::UnixSeconds;

/// All that a report tells.
pub(super) struct ReportContent<'a> {
    pub(super) files: &'a [PathBuf],
    pub(super) selection: &'a Selection,
    /// Whether it is also by the nodes that carried requests
    pub(super) is_by_reseller: bool,
    pub(super) figures: Figures,
    pub(super) audit: AuditReport,
    pub(super) audit_settings: AuditSettings,
    pub(super) made: UnixSeconds,
    pub(super) register: Option<&'a Directory>,
    /// Without a register: none
    pub(super) dates: Option<(Vec<Deadline<'a>>, Vec<Deadline<'a>>)>,
    /// The signs of sharing that hold; without a register: none
    pub(super) signals: Vec<StandingSignal<'a>>,
    /// The overrides that hold; without a register: none
    pub(super) overrides: Vec<StandingOverride<'a>>,
    /// The customers' names by id
    pub(super) names: HashMap<&'a str, &'a str>,
}

impl ReportContent<'_> {
    /// A customer with its name.
    pub(super) fn named(&self, id: &str) -> String {
        match (id, self.names.get(id)) {
            ("", _) => "no customer named".to_owned(),
            (id, Some(name)) => format!("{id} ({name})"),
            (id, None) => id.to_owned(),
        }
    }
}
