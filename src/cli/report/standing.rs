//! What the register says at the report's time: dates that end, signs of sharing, and overrides.

use serde_json::{Value, json};

use super::content::ReportContent;
use crate::compile::directory::Directory;
use crate::register::{Customer, Override, SharingSignal};
use crate::shape::Nullable;
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
    let active = |signal: &SharingSignal| {
        let mut owners = register.customers.iter().filter(|it| it.id == signal.customer);
        let customer = owners.find(|it| it.signals.contains(&signal.of_customer()))?;
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

/// What a sign is about: a credential, or the whole customer.
pub(super) fn subject(signal: &SharingSignal) -> String {
    match &signal.credential {
        Nullable(Some(label)) => format!("credential {label}"),
        Nullable(None) if signal.finding == FindingCode::RelaySuspected => String::new(),
        Nullable(None) => "credentials without a label".to_owned(),
    }
}

/// The signs and the overrides as JSON; null without a register.
pub(super) fn as_json(content: &ReportContent<'_>) -> Value {
    let Some(register) = content.register else { return Value::Null };
    let signals = signals(register, content.made).into_iter();
    let signals = signals.map(|StandingSignal { signal, silenced }| {
        json!({
            "customer": signal.customer, "credential": signal.credential.0,
            "finding": signal.finding, "since": signal.since, "until": signal.until,
            "evidence": signal.evidence, "silenced": silenced.is_some(),
        })
    });
    let overrides = overrides(register, content.made).into_iter().map(|(customer, entry)| {
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
