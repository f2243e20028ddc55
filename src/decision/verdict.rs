//! The verdict: the policy applied to findings, nothing else.
//!
//! `allow < report < reroute < block`. The strongest action of all findings wins. The first finding
//! in catalogue order with that action gives the reason. In `mode: report` a block or reroute
//! becomes a report that says what enforcing would do. It stays where the caller would otherwise be
//! anonymous.

use crate::config::{Mode, Policy};
use crate::register::Customer;
use crate::terms::finding::{Action, Finding, FindingCode};
use crate::terms::time::UnixSeconds;

/// A finding and what the policy says is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// What fired
    pub finding: Finding,
    /// The action by override, policy or catalogue, whatever the mode
    pub action: Action,
}

/// What is done about a request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is done
    pub action: Action,
    /// What `mode: enforce` would have done, where the mode softened it
    pub would_be: Option<Action>,
    /// The finding that decided; none on allow
    pub reason: Option<FindingCode>,
}

/// Says for each finding what is to be done about it: the customer's override, else the policy.
pub fn weigh(
    policy: &Policy,
    customer: Option<&Customer>,
    findings: Vec<Finding>,
    now: UnixSeconds,
) -> Vec<Weighed> {
    let action = |code| {
        customer
            .and_then(|customer| customer.override_for(code, now))
            .map_or_else(|| policy.action(code), |entry| &entry.action)
    };
    findings
        .into_iter()
        .map(|finding| Weighed { action: action(finding.code).clone(), finding })
        .collect()
}

/// The verdict on weighed findings in catalogue order. `chain_is_identity`: nothing but a signature
/// names the caller.
pub fn verdict(mode: Mode, chain_is_identity: bool, weighed: &[Weighed]) -> Verdict {
    let mut best: Option<(&Action, &Action, FindingCode)> = None;
    let mut strongest = &Action::Allow;
    for Weighed { finding, action } in weighed {
        let guards = finding.code.guards_authentication()
            || (chain_is_identity && finding.code.is_of_chain());
        let effective = if guards { action } else { soften(mode, action) };
        if action.strength() > strongest.strength() {
            strongest = action;
        }
        // of equals the first stays; routes aren't compared by their names
        if best.is_none_or(|(e, a, _)| {
            (effective.strength(), action.strength()) > (e.strength(), a.strength())
        }) {
            best = Some((effective, action, finding.code));
        }
    }
    match best {
        Some((action, _, code)) if *action != Action::Allow => {
            let would_be = (strongest.strength() > action.strength()).then(|| strongest.clone());
            Verdict { action: action.clone(), would_be, reason: Some(code) }
        }
        _ => Verdict { action: Action::Allow, would_be: None, reason: None },
    }
}

/// What the mode leaves of an action.
fn soften(mode: Mode, action: &Action) -> &Action {
    match (mode, action) {
        (Mode::Report, Action::Block | Action::Reroute(_)) => &Action::Report,
        _ => action,
    }
}
