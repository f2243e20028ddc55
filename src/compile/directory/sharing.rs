//! `sharing.json`: what customers' traffic showed. It is a file of its own, as `waybill sharing`
//! writes it and a person reviews it.

use std::collections::{HashMap, HashSet};

use super::files::{Documents, SHARING, document};
use super::guess::SuggestionBudget;
use crate::compile::remarks::{Remark, Remarks};
use crate::register::{Customer, CustomerKind, SharingFile, SharingSignal};
use crate::shape::{Path, Problems};
use crate::terms::finding::FindingCode;
use crate::terms::names::Text;

/// Reads the file, and adds its signals to the customers that they are about. Notes what is wrong
/// in it, and signals that no request can fire.
pub(super) fn read(
    documents: &Documents,
    customers: &mut [Customer],
    whole: bool,
    remarks: &mut Remarks,
) -> Vec<SharingSignal> {
    let Some(SharingFile { signals, .. }) = document(documents, SHARING, remarks) else {
        return Vec::new();
    };
    let found = {
        let places = customers.iter().enumerate().map(|(i, it)| (it.id.as_str(), i));
        Checked::of(&signals, customers, &places.collect(), whole)
    };
    for (i, signal) in found.active {
        if let Some(customer) = customers.get_mut(i) {
            customer.signals.push(signal.of_customer());
        }
    }
    remarks.take(SHARING, None, &found.problems);
    remarks.notices.extend(found.notices.iter().map(|problem| Remark {
        file: SHARING.into(),
        line: None,
        problem: problem.clone(),
    }));
    signals
}

/// What a check of the signals found.
#[derive(Default)]
struct Checked<'s> {
    /// Signals that requests can fire, each with the index of its customer
    active: Vec<(usize, &'s SharingSignal)>,
    problems: Problems,
    notices: Problems,
}

impl<'s> Checked<'s> {
    fn of(
        signals: &'s [SharingSignal],
        customers: &[Customer],
        places: &HashMap<&str, usize>,
        whole: bool,
    ) -> Self {
        let mut checked = Self::default();
        let mut budget = SuggestionBudget::MOST;
        let mut known: HashSet<(&str, Option<&str>, FindingCode)> = HashSet::new();
        let list = Path::Member(&Path::Root, "signals");
        for (n, signal) in signals.iter().enumerate() {
            let here = Path::Element(&list, n);
            let (id, finding) = (signal.customer.as_str(), signal.finding);
            checked.form(signal, &here);
            if !known.insert((id, label(signal), finding)) {
                let message = format!("duplicate `{finding}` of `{id}` for the same credential");
                checked.problems.wrong(&here, &message, "keep the latest");
            }
            let place = places.get(id).copied();
            match place.and_then(|i| customers.get(i).map(|customer| (i, customer))) {
                Some((i, customer)) if checked.concerns(signal, customer, &here, &mut budget) => {
                    checked.active.push((i, signal));
                }
                Some(_) => {}
                None if !whole => {} // it may be among the customers that couldn't be read
                None => {
                    let other = "add the customer, or remove this signal";
                    let help = budget.suggest(id, places.keys().copied(), other);
                    let at = Path::Member(&here, "customer");
                    checked.problems.wrong(&at, &format!("unknown customer `{id}`"), &help);
                }
            }
        }
        checked
    }

    /// Notes what a signal says wrong by itself.
    fn form(&mut self, signal: &SharingSignal, here: &Path<'_>) {
        let finding = signal.finding;
        if !finding.is_of_sharing() {
            let message = format!("unexpected finding `{finding}`: it doesn't come from traffic");
            let help = "one of `sharing.addresses`, `sharing.countries`, `sharing.velocity`, \
                        `sharing.clients`, `relay.suspected`";
            self.problems.wrong(&Path::Member(here, "finding"), &message, help);
        }
        if finding == FindingCode::RelaySuspected && label(signal).is_some() {
            let message = "`relay.suspected` is about the customer, not about one credential";
            let at = Path::Member(here, "credential");
            self.problems.wrong(&at, message, "remove `credential`, or write null");
        }
        if signal.until <= signal.since {
            let at = Path::Member(here, "until");
            self.problems.wrong(&at, "the signal ends before it fired", "correct the dates");
        }
    }

    /// Whether requests of the customer can fire the signal; notes an unknown label, and why none
    /// can.
    fn concerns(
        &mut self,
        signal: &SharingSignal,
        customer: &Customer,
        here: &Path<'_>,
        budget: &mut SuggestionBudget,
    ) -> bool {
        let id = &customer.id;
        let at = &Path::Member(here, "credential");
        let mut note = |at: &Path<'_>, why: String, help: &str| {
            self.notices.note(at, format!("this signal never fires: {why}"), Some(help.into()));
            false
        };
        if customer.kind == CustomerKind::Reseller {
            let at = Path::Member(here, "customer");
            return note(&at, format!("`{id}` is a registered reseller"), "remove it");
        }
        if signal.finding == FindingCode::RelaySuspected {
            return true;
        }
        let wanted = label(signal);
        let same: Vec<_> = customer
            .credentials
            .iter()
            .filter(|known| known.label.as_ref().map(Text::as_str) == wanted)
            .collect();
        match wanted {
            Some(label) if same.is_empty() => {
                let labels = customer.credentials.iter().filter_map(|known| known.label.as_ref());
                let labels: HashSet<&str> = labels.map(Text::as_str).collect();
                let other = "add the label to its credential, or remove this signal";
                let help = budget.suggest(label, labels.iter().copied(), other);
                let message = format!("unknown label `{label}`: no credential of `{id}` has it");
                self.problems.wrong(at, &message, &help);
                false
            }
            None if same.is_empty() && customer.jwt.is_empty() => {
                let why = format!("every credential of `{id}` has a label, or is a certificate");
                note(at, why, "name a label, or remove it")
            }
            None if !customer.jwt.is_empty() => true,
            _ if same.iter().all(|known| !known.networks.is_empty()) => {
                let why = "the credential is bound to networks by now".to_owned();
                note(at, why, "remove it")
            }
            _ => true,
        }
    }
}

/// The label of the credential that a signal is about.
fn label(signal: &SharingSignal) -> Option<&str> {
    signal.credential.0.as_ref().map(Text::as_str)
}
