//! What the register says of customers and credentials, as far as signs of sharing need it.

use std::collections::{BTreeMap, HashMap};

use crate::register::{Customer, CustomerKind, SharingSignal};
use crate::terms::finding::FindingCode;
use crate::terms::names::{CustomerId, Text};
use crate::terms::region::CountryCode;

/// The customers of a register.
#[derive(Debug)]
pub struct Roster<'a>(HashMap<&'a str, RosterEntry<'a>>);

/// A customer.
#[derive(Debug)]
pub(super) struct RosterEntry<'a> {
    pub(super) is_reseller: bool,
    pub(super) declared: &'a [CountryCode],
    /// By label, the one without included: whether all credentials of it are bound to networks
    credentials: BTreeMap<Option<&'a Text>, bool>,
    /// Whether several credentials have no label, so that events can't tell them apart
    pub(super) has_unlabelled: bool,
}

/// What becomes of a credential, or of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// It is looked at
    Concerned,
    /// Its customer is a registered reseller
    Reseller,
    /// It is bound to networks
    Bound,
    /// The register doesn't have it
    Unknown,
}

impl<'a> Roster<'a> {
    /// The roster of these customers.
    pub fn new(customers: impl Iterator<Item = &'a Customer>) -> Self {
        Self(customers.map(|customer| (customer.id.as_str(), entry(customer))).collect())
    }

    pub(super) fn get(&self, customer: &CustomerId) -> Option<&RosterEntry<'a>> {
        self.0.get(customer.as_str())
    }

    /// What becomes of what a signal is about.
    pub fn concern_of(&self, signal: &SharingSignal) -> Concern {
        match self.get(&signal.customer) {
            Some(entry) if signal.finding == FindingCode::RelaySuspected => {
                if entry.is_reseller {
                    Concern::Reseller
                } else {
                    Concern::Concerned
                }
            }
            _ => self.concern(&signal.customer, signal.credential.0.as_ref()),
        }
    }

    /// What becomes of a credential.
    pub(super) fn concern(&self, customer: &CustomerId, label: Option<&Text>) -> Concern {
        let Some(entry) = self.get(customer) else { return Concern::Unknown };
        if entry.is_reseller {
            return Concern::Reseller;
        }
        match entry.credentials.get(&label) {
            Some(true) => Concern::Bound,
            Some(false) => Concern::Concerned,
            None => Concern::Unknown,
        }
    }
}

fn entry(customer: &Customer) -> RosterEntry<'_> {
    let mut credentials = BTreeMap::new();
    let mut unlabelled = customer.jwt.len();
    for credential in &customer.credentials {
        let is_bound = !credential.networks.is_empty();
        let label = credential.label.as_ref();
        unlabelled = unlabelled.saturating_add(usize::from(label.is_none()));
        credentials.entry(label).and_modify(|all| *all &= is_bound).or_insert(is_bound);
    }
    // a token has no label, and no networks
    if !customer.jwt.is_empty() {
        credentials.insert(None, false);
    }
    RosterEntry {
        is_reseller: customer.kind == CustomerKind::Reseller,
        declared: &customer.declared,
        credentials,
        has_unlabelled: unlabelled > 1,
    }
}
