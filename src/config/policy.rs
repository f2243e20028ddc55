//! The policy: what is done about each finding, and under which revision.

use super::settings::{Mode, PolicySettings};
use crate::shape::Json;
use crate::terms::finding::{Action, FindingCode};
use crate::terms::names::digest;

/// What is done about each finding, and under which revision.
#[derive(Debug)]
pub struct Policy {
    /// Whether findings take effect
    pub mode: Mode,
    /// The first 16 hexadecimal digits of the SHA-256 of the configuration without its register
    pub revision: String,
    // INVARIANT (actions): one for each code, in the order of `FindingCode::ALL`
    actions: Vec<Action>,
    named: Vec<FindingCode>,
}

impl Policy {
    pub(super) fn new(settings: PolicySettings, json: &Json) -> Self {
        // who the customers are isn't policy: a new customer leaves the revision as it is
        let inline_regions = json.get("register").and_then(|register| register.get("regions"));
        let policy = json.members().iter().filter(|(name, _)| name != "register").cloned();
        let policy =
            policy.chain(inline_regions.map(|regions| ("regions".to_owned(), regions.clone())));
        let mut canonical = String::new();
        Json::Object(policy.collect()).write_canonical(&mut canonical);
        let mut revision = digest(canonical.as_bytes());
        revision.truncate(16);
        let named = settings.actions.iter().map(|(code, _)| *code).collect();
        let action = |code: &FindingCode| {
            settings.actions.get(code).cloned().unwrap_or_else(|| code.default_action().clone())
        };
        let actions = FindingCode::ALL.iter().map(action).collect();
        Self { mode: settings.mode, revision, actions, named }
    }

    /// What is done about a finding where no customer's override says otherwise.
    pub fn action(&self, code: FindingCode) -> &Action {
        self.actions.get(code as usize).unwrap_or(&Action::Block)
    }

    /// Whether the configuration names this finding's action.
    pub fn names(&self, code: FindingCode) -> bool {
        self.named.contains(&code)
    }
}
