//! What the register says at the report's time: dates that end, signs of sharing, and overrides.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::compile::directory::Directory;
use crate::register::{Customer, Override, SharingSignal};
use crate::terms::finding::{Action, FindingCode};
use crate::terms::time::UnixSeconds;

/// A sign of sharing that holds.
pub(super) struct StandingSignal<'a> {
    pub(super) signal: &'a SharingSignal,
    /// The override that silences it
    pub(super) silenced: Option<&'a Override>,
}

/// An override that holds, and its customer.
pub(super) type StandingOverride<'a> = (&'a Customer, &'a Override);

/// The signs of sharing that nodes fire at a time; those about whole customers first.
pub(super) fn signals(register: &Directory, now: UnixSeconds) -> Vec<StandingSignal<'_>> {
    let customers: HashMap<&str, &Customer> =
        register.customers.iter().map(|it| (it.id.as_str(), it)).collect();
    let active = |signal: &SharingSignal| {
        let customer = customers.get(signal.customer.as_str())?;
        if !customer.signals.contains(&signal.of_customer()) {
            return None;
        }
        let silent = customer.overrides.iter().find(|it| {
            it.finding == signal.finding && it.until > now && it.action == Action::Allow
        });
        Some(silent)
    };
    let standing = register.signals.iter().filter(|signal| signal.until > now);
    let standing =
        standing.filter_map(|signal| Some(StandingSignal { silenced: active(signal)?, signal }));
    let mut standing: Vec<_> = standing.collect();
    standing.sort_by_key(|it| {
        let (signal, is_about_all) = (it.signal, it.signal.finding == FindingCode::RelaySuspected);
        (it.silenced.is_some(), !is_about_all, signal.customer.as_str(), signal.finding)
    });
    standing
}

/// The overrides that hold at a time, in the order of the register.
pub(super) fn overrides(register: &Directory, now: UnixSeconds) -> Vec<StandingOverride<'_>> {
    let all = register.customers.iter().flat_map(|it| it.overrides.iter().map(move |o| (it, o)));
    all.filter(|(_, entry)| entry.until > now).collect()
}

/// The signs and the overrides as JSON.
pub(super) fn as_json(signals: &[StandingSignal<'_>], overrides: &[StandingOverride<'_>]) -> Value {
    let signals = signals.iter().map(|StandingSignal { signal, silenced }| {
        json!({
            "customer": signal.customer, "credential": signal.credential.0,
            "finding": signal.finding, "since": signal.since, "until": signal.until,
            "evidence": signal.evidence, "silenced": silenced.is_some(),
        })
    });
    let overrides = overrides.iter().map(|(customer, entry)| {
        let Override { finding, action, author, until, reason, event } = entry;
        json!({
            "customer": customer.id, "finding": finding, "action": action.name(),
            "author": author, "until": until, "reason": reason, "event": event,
        })
    });
    json!({
        "signals": signals.collect::<Vec<_>>(), "overrides": overrides.collect::<Vec<_>>(),
    })
}
