//! `sharing.json`: what customers' traffic showed. It is a file of its own, as `waybill sharing`
//! writes it and a person reviews it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::files::{Documents, SHARING, document};
use super::guess::SuggestionBudget;
use crate::compile::remarks::{Remark, Remarks};
use crate::register::{Customer, SharingFile, SharingSignal};
use crate::shape::{Path, Problems};
use crate::sharing::roster::{Concern, Roster};
use crate::terms::finding::FindingCode;
use crate::terms::names::Text;

/// Reads the file, and adds its signals to the customers that they are about. Notes what is wrong
/// in it, and signals that no request can fire.
pub(super) fn read(
    documents: &Documents,
    customers: &mut [Customer],
    unknown: UnknownNames,
    remarks: &mut Remarks,
) -> Vec<SharingSignal> {
    let Some(SharingFile { mut signals, .. }) = document(documents, SHARING, remarks) else {
        return Vec::new();
    };
    let found = {
        let places = customers.iter().enumerate().map(|(i, it)| (it.id.as_str(), i));
        Checked::of(&signals, customers, &places.collect(), unknown)
    };
    for (i, n) in &found.active {
        if let (Some(customer), Some(signal)) = (customers.get_mut(*i), signals.get(*n)) {
            customer.signals.push(signal.of_customer());
        }
    }
    remarks.take(SHARING, None, &found.problems);
    remarks.notices.extend(found.notices.iter().map(|problem| Remark {
        file: SHARING.into(),
        line: None,
        problem: problem.clone(),
    }));
    let mut number = 0..;
    signals.retain(|_| number.next().is_none_or(|n| !found.gone.contains(&n)));
    signals
}

/// What becomes of a signal whose customer or label the register doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnknownNames {
    /// It is a mistake
    Refused,
    /// It is left out, with a notice: the file is about to be written anew
    LeftOut,
    /// It is a mistake, unless it is among the customers that couldn't be read
    Unsure,
}

/// What a check of the signals found.
struct Checked {
    unknown: UnknownNames,
    /// Signals that requests can fire: the customer's number, and the signal's
    active: Vec<(usize, usize)>,
    /// The numbers of signals that are left out
    gone: HashSet<usize>,
    problems: Problems,
    notices: Problems,
}

impl Checked {
    fn of(
        signals: &[SharingSignal],
        customers: &[Customer],
        places: &HashMap<&str, usize>,
        unknown: UnknownNames,
    ) -> Self {
        let (active, gone) = (Vec::new(), HashSet::new());
        let (problems, notices) = (Problems::default(), Problems::default());
        let mut checked = Self { unknown, active, gone, problems, notices };
        let mut budget = SuggestionBudget::MOST;
        let mut known: HashSet<(&str, Option<&str>, FindingCode)> = HashSet::new();
        let list = Path::Member(&Path::Root, "signals");
        let named: BTreeSet<usize> =
            signals.iter().filter_map(|it| places.get(it.customer.as_str()).copied()).collect();
        let roster = Roster::new(named.iter().filter_map(|i| customers.get(*i)));
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
                Some((i, customer)) => match checked.concerns(signal, &roster, &here) {
                    SignalTarget::Some => checked.active.push((i, n)),
                    SignalTarget::None => {}
                    SignalTarget::UnknownLabel(label) => {
                        let labels = customer.credentials.iter().filter_map(|it| it.label.as_ref());
                        let labels: HashSet<&str> = labels.map(Text::as_str).collect();
                        let other = "add the label to its credential, or remove this signal";
                        let help = budget.suggest(label, labels.iter().copied(), other);
                        let what =
                            format!("unknown label `{label}`: no credential of `{id}` has it");
                        checked.unknown(n, &Path::Member(&here, "credential"), what, &help);
                    }
                },
                None if unknown == UnknownNames::Unsure => {}
                None => {
                    let other = "add the customer, or remove this signal";
                    let help = budget.suggest(id, places.keys().copied(), other);
                    let what = format!("unknown customer `{id}`");
                    checked.unknown(n, &Path::Member(&here, "customer"), what, &help);
                }
            }
        }
        checked
    }

    /// Notes that signal `n` is about somebody whom the register doesn't have.
    fn unknown(&mut self, n: usize, at: &Path<'_>, what: String, help: &str) {
        match self.unknown {
            UnknownNames::Refused | UnknownNames::Unsure => self.problems.wrong(at, &what, help),
            UnknownNames::LeftOut => {
                self.gone.insert(n);
                self.notices.note(at, format!("this signal is left out: {what}"), None);
            }
        }
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

    /// Whether requests of the customer can fire the signal; notes why none can.
    fn concerns<'s>(
        &mut self,
        signal: &'s SharingSignal,
        roster: &Roster<'_>,
        here: &Path<'_>,
    ) -> SignalTarget<'s> {
        let id = &signal.customer;
        let at = &Path::Member(here, "credential");
        let mut note = |at: &Path<'_>, why: String, help: &str| {
            if self.unknown != UnknownNames::LeftOut {
                let why = format!("this signal never fires: {why}");
                self.notices.note(at, why, Some(help.into()));
            }
            SignalTarget::None
        };
        match (roster.concern_of(signal), label(signal)) {
            (Concern::Reseller, _) => {
                let at = Path::Member(here, "customer");
                note(&at, format!("`{id}` is a registered reseller"), "remove it")
            }
            (Concern::Unknown, Some(label)) => SignalTarget::UnknownLabel(label),
            (Concern::Unknown, None) => {
                let why = format!("every credential of `{id}` has a label, or is a certificate");
                note(at, why, "name a label, or remove it")
            }
            (Concern::Bound, _) => {
                let why = "the credential is bound to networks by now".to_owned();
                note(at, why, "remove it")
            }
            (Concern::Concerned, _) => SignalTarget::Some,
        }
    }
}

/// What a signal concerns of its customer.
enum SignalTarget<'s> {
    Some,
    None,
    UnknownLabel(&'s str),
}

/// The label of the credential that a signal is about.
fn label(signal: &SharingSignal) -> Option<&str> {
    signal.credential.0.as_ref().map(Text::as_str)
}
