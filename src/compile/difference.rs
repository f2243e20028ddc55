//! Customers added, removed or changed between two registers, by the fields that decide verdicts.
//!
//! A snapshot keeps half of each digest, and only reachable customers: those with a credential, an
//! identity or a node. A register is brought to that form before it is compared with a snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;
use serde_json::{Value, json};

use super::directory::Directory;
use super::ownership::OwnershipScreening;
use crate::register::{
    Customer, CustomerSignal, Enforcement, EnforcementEntry, Name, Ownership, Status,
};
use crate::snapshot::Snapshot;
use crate::snapshot::customers::RecordKey;
use crate::terms::finding::Action;
use crate::terms::names::{Text, hex};
use crate::terms::time::UnixSeconds;

/// The fields of a customer that decide verdicts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CustomerState {
    status: Status,
    screening: Value,
    agreement: Value,
    ownership: Ownership,
    declared: Vec<String>,
    enforcement: BTreeMap<String, Value>,
    credentials: BTreeMap<String, Value>,
    overrides: Vec<Value>,
    signals: BTreeSet<CustomerSignal>,
}

/// A register to compare.
#[derive(Debug)]
pub enum RegisterView<'a> {
    /// A register of files, with the screening of its companies
    Files(&'a Directory, Box<OwnershipScreening<'a>>),
    /// A snapshot
    Snapshot(&'a Snapshot),
}

/// A customer that differs between two registers.
#[derive(Debug, Clone)]
pub struct CustomerChange {
    /// The customer
    pub id: String,
    /// Its state before; none where it is added
    pub before: Option<CustomerState>,
    /// Its state after; none where it is removed
    pub after: Option<CustomerState>,
}

/// A changed field in words: its name, the value before and the value after.
pub type FieldChange = (&'static str, String, String);

impl RegisterView<'_> {
    /// Calls `each` with every customer and its ownership. A snapshot may have several records of
    /// one customer, with different credentials each. With `reachable`, customers that a snapshot
    /// wouldn't have are left out.
    fn each(&self, reachable: bool, mut each: impl FnMut(&Customer, Ownership)) {
        match self {
            RegisterView::Snapshot(snapshot) => {
                snapshot.customers().for_each(|customer| each(&customer, customer.ownership()))
            }
            RegisterView::Files(register, screening) => {
                let runs_node: BTreeSet<&str> =
                    register.nodes.iter().map(|node| node.customer.as_str()).collect();
                for customer in &register.customers {
                    let led_to = !(customer.credentials.is_empty()
                        && customer.mtls.is_empty()
                        && customer.jwt.is_empty());
                    if !reachable || led_to || runs_node.contains(customer.id.as_str()) {
                        each(customer, register.owners.of_customer(customer, screening));
                    }
                }
            }
        }
    }

    /// The states of the customers with these ids.
    fn states(&self, ids: &BTreeSet<String>, reachable: bool) -> BTreeMap<String, CustomerState> {
        let mut states: BTreeMap<String, CustomerState> = BTreeMap::new();
        self.each(reachable, |customer, ownership| {
            if ids.contains(customer.id.as_str()) {
                let found = CustomerState::of(customer, ownership);
                match states.get_mut(customer.id.as_str()) {
                    Some(known) => {
                        known.credentials.extend(found.credentials);
                        known.signals.extend(found.signals);
                    }
                    None => drop(states.insert(customer.id.to_string(), found)),
                }
            }
        });
        states
    }

    /// Hashes of each customer's state. Registers have millions of customers, and few differ.
    fn prints(&self, reachable: bool) -> HashMap<String, StatePrint> {
        let mut prints: HashMap<String, StatePrint> = HashMap::new();
        self.each(reachable, |customer, ownership| {
            let print = prints.entry(customer.id.to_string()).or_default();
            print.state = hash_of_state(customer, ownership);
            print.signals.extend(customer.signals.iter().cloned());
            for credential in &customer.credentials {
                let key = RecordKey::of(Name::Secret(credential.digest)).0;
                let label = credential.label.as_ref().map(Text::as_str);
                print.credentials = print.credentials.wrapping_add(hash(|hasher| {
                    (key, label, credential.expires.map(|time| time.0)).hash(hasher);
                    credential.networks.iter().for_each(|network| network.parts().hash(hasher));
                }));
            }
        });
        prints
    }
}

/// A customer's state in short.
#[derive(Default, PartialEq)]
struct StatePrint {
    /// A hash of all fields but those below
    state: u64,
    /// The sum of the hashes of its credentials, as each record of a snapshot has one
    credentials: u64,
    /// Few customers have any, and several records of a snapshot may have the same
    signals: BTreeSet<CustomerSignal>,
}

fn hash(write: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    write(&mut hasher);
    hasher.finish()
}

/// A hash of all fields of [`CustomerState`] but credentials and signals.
fn hash_of_state(customer: &Customer, ownership: Ownership) -> u64 {
    let second = |time: UnixSeconds| time.0;
    hash(|hasher| {
        (customer.status, ownership).hash(hasher);
        let screening = customer.screening.as_ref();
        screening.map(|it| (it.status, it.at.map(second), it.until.map(second))).hash(hasher);
        let agreement = customer.agreement.as_ref();
        agreement.map(|it| (it.id.as_str(), it.accepted.0, it.until.map(second))).hash(hasher);
        let mut declared = customer.declared.clone();
        declared.sort_unstable();
        declared.hash(hasher);
        for (name, entry) in customer.providers.iter() {
            let EnforcementEntry { status, reason, opened, expires } = &*entry.enforcement;
            if *status != Enforcement::Unrestricted {
                let (reason, ends) = (reason.as_ref().map(Text::as_str), expires.map(second));
                (name.as_str(), *status, reason, opened.map(second), ends).hash(hasher);
            }
        }
        for entry in &customer.overrides {
            let action = action_in_words(&entry.action);
            (entry.finding, action, entry.author.as_str(), entry.until.0).hash(hasher);
        }
    })
}

fn action_in_words(action: &Action) -> String {
    match action {
        Action::Reroute(route) => format!("reroute to {route}"),
        other => other.as_str().to_owned(),
    }
}

/// The customers added, removed or changed, by id.
pub fn changes(before: &RegisterView<'_>, after: &RegisterView<'_>) -> Vec<CustomerChange> {
    let reachable =
        matches!(before, RegisterView::Snapshot(_)) || matches!(after, RegisterView::Snapshot(_));
    let ids: BTreeSet<String> = {
        let (old, new) = (before.prints(reachable), after.prints(reachable));
        old.keys().chain(new.keys()).filter(|id| old.get(*id) != new.get(*id)).cloned().collect()
    };
    let (mut old, mut new) = (before.states(&ids, reachable), after.states(&ids, reachable));
    let changes = ids.into_iter().map(|id| CustomerChange {
        before: old.remove(&id),
        after: new.remove(&id),
        id,
    });
    // hashes depend on the order of providers, which has no meaning
    changes.filter(|change| change.before != change.after).collect()
}

impl CustomerState {
    fn of(customer: &Customer, ownership: Ownership) -> Self {
        let enforcement = customer.providers.iter().filter_map(|(name, entry)| {
            let value = serde_json::to_value(&entry.enforcement).ok()?;
            (entry.enforcement.status != Enforcement::Unrestricted)
                .then(|| (name.to_string(), value))
        });
        let credentials = customer.credentials.iter().map(|entry| {
            let half = hex(&RecordKey::of(Name::Secret(entry.digest)).0);
            let networks: Vec<String> = entry.networks.iter().map(ToString::to_string).collect();
            let value =
                json!({"label": entry.label, "expires": entry.expires, "networks": networks});
            (format!("sha256:{half}"), value)
        });
        let overrides = customer.overrides.iter().map(|entry| {
            let action = action_in_words(&entry.action);
            json!({
                "finding": entry.finding, "action": action,
                "author": entry.author, "until": entry.until,
            })
        });
        let screening = customer.screening.as_ref();
        let screening =
            screening.map(|it| json!({"status": it.status, "at": it.at, "until": it.until}));
        let agreement = customer.agreement.as_ref();
        let agreement =
            agreement.map(|it| json!({"id": it.id, "accepted": it.accepted, "until": it.until}));
        let mut declared: Vec<String> = customer.declared.iter().map(ToString::to_string).collect();
        declared.sort_unstable();
        Self {
            status: customer.status,
            screening: screening.unwrap_or_default(),
            agreement: agreement.unwrap_or_default(),
            ownership,
            declared,
            enforcement: enforcement.collect(),
            credentials: credentials.collect(),
            overrides: overrides.collect(),
            signals: customer.signals.iter().cloned().collect(),
        }
    }

    /// The fields in words, the most important first.
    fn words(&self) -> [(&'static str, String); 9] {
        let member =
            |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        // the value, then its dates
        let dated = |value: &Value, what: Option<String>, dates: &[(&str, &str)]| {
            let date =
                |(word, name): &(&str, &str)| Some(format!("{word} {}", member(value, name)?));
            let dates = dates.iter().filter_map(date);
            what.into_iter().chain(dates).collect::<Vec<_>>().join(" ")
        };
        let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        let listed = |items: Vec<String>| or_none(items.join(", "));
        let enforcement = self.enforcement.iter().map(|(provider, value)| {
            let status = value.as_str().map(str::to_owned).or_else(|| member(value, "status"));
            let reason =
                member(value, "reason").map(|text| format!(": {}", text.replace('_', " ")));
            let (status, reason) = (status.unwrap_or_default(), reason.unwrap_or_default());
            let what = format!("{status} by {provider}{reason}");
            dated(value, Some(what), &[("since", "opened"), ("until", "expires")])
        });
        let credentials = self.credentials.iter().map(|(digest, entry)| {
            let digest: String = digest.chars().take(15).collect();
            let name = member(entry, "label").map(|label| format!("{label} ({digest})"));
            let networks = entry.get("networks").and_then(Value::as_array).into_iter().flatten();
            let networks: Vec<&str> = networks.filter_map(Value::as_str).collect();
            let bound = match networks.as_slice() {
                [] => String::new(),
                networks => format!(" from {}", networks.join(" ")),
            };
            let what = format!("{}{bound}", name.unwrap_or(digest));
            dated(entry, Some(what), &[("until", "expires")])
        });
        let overrides = self.overrides.iter().map(|entry| {
            let what = [member(entry, "action"), member(entry, "finding")].into_iter().flatten();
            let what = what.collect::<Vec<_>>().join(" ");
            dated(entry, Some(what), &[("by", "author"), ("until", "until")])
        });
        let signals = self.signals.iter().map(|signal| {
            let CustomerSignal { credential, finding, until, evidence } = signal;
            let label = credential.as_ref().map(|label| format!(" of {label}")).unwrap_or_default();
            format!("{finding}{label}: {evidence}, until {until}")
        });
        let dates = &[("on", "at"), ("until", "until")];
        let screening = dated(&self.screening, member(&self.screening, "status"), dates);
        let dates = &[("accepted", "accepted"), ("until", "until")];
        let agreement = dated(&self.agreement, member(&self.agreement, "id"), dates);
        [
            ("status", self.status.to_string()),
            ("screening", or_none(screening)),
            ("ownership", self.ownership.to_string()),
            ("enforcement", listed(enforcement.collect())),
            ("declared", listed(self.declared.clone())),
            ("credentials", listed(credentials.collect())),
            ("agreement", or_none(agreement)),
            ("overrides", listed(overrides.collect())),
            ("signals", listed(signals.collect())),
        ]
    }
}

impl CustomerChange {
    /// `added`, `removed` or `changed`.
    pub fn what(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }

    /// Whether the change may change verdicts: the customer is added or removed, or its status,
    /// screening, ownership or a provider's enforcement differs.
    pub fn changes_side(&self) -> bool {
        let side = |state: &CustomerState| {
            let screening = state.screening.get("status").cloned();
            (state.status, screening, state.ownership, state.enforcement.clone())
        };
        self.before.as_ref().map(side) != self.after.as_ref().map(side)
    }

    /// The fields that differ, in words; all fields of a customer that is added or removed.
    pub fn fields(&self) -> Vec<FieldChange> {
        // a customer that isn't there has the other state's fields, and no words
        let words = |state: &Option<CustomerState>, other: &Option<CustomerState>| {
            let blank =
                |state: &CustomerState| state.words().map(|(name, _)| (name, String::new()));
            state.as_ref().map(CustomerState::words).or_else(|| other.as_ref().map(blank))
        };
        let before = words(&self.before, &self.after).into_iter().flatten();
        let after = words(&self.after, &self.before).into_iter().flatten();
        let both = before.zip(after).map(|((name, before), (_, after))| (name, before, after));
        both.filter(|(_, before, after)| before != after).collect()
    }

    /// Both states, for machines.
    pub fn as_json(&self) -> Value {
        json!({"id": self.id, "change": self.what(), "before": self.before, "after": self.after})
    }
}
