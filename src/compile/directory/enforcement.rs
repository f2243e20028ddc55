//! `enforcement.json`: providers' latest enforcement. It is a file of its own so that
//! `waybill enforcement` never writes into a table that people keep by hand.

use std::collections::{HashMap, HashSet};

use crate::compile::remarks::Remarks;
use crate::register::{
    Customer, Enforcement, EnforcementEntry, ProviderEnforcement, ProviderEntry,
};
use crate::shape::{Dictionary, Path, Problems, object};
use crate::terms::names::{CustomerId, Text};
use crate::terms::time::UnixSeconds;

object! {
    /// Providers' enforcement against customers, in a register's enforcement.json. It replaces the
    /// enforcement in the customers' own entries.
    pub struct EnforcementFile {
        /// Each provider's latest word on a customer
        enforcement: Vec<EnforcementRow>,
    }
}

object! {
    /// One provider's latest word on one customer.
    pub struct EnforcementRow {
        /// The customer
        customer: CustomerId,
        /// The provider's name
        provider: Text,
        /// The status
        status: Enforcement,
        /// The provider's reason, in the provider's words: `unsupported_region`
        reason: Option<Text> = None,
        /// When the provider began it
        opened: Option<UnixSeconds> = None,
        /// When it ends; where left out, when the provider lifts it
        expires: Option<UnixSeconds> = None,
    }
}

impl EnforcementRow {
    /// The same as a member of a customer's entry.
    pub fn enforced(&self) -> ProviderEnforcement {
        let Self { status, opened, expires, .. } = *self;
        EnforcementEntry { status, reason: self.reason.clone(), opened, expires }.into()
    }
}

/// Replaces the enforcement in the customers' entries. Notes unknown customers and contradictions.
pub(super) fn apply(
    file: &'static str,
    words: &EnforcementFile,
    customers: &mut [Customer],
    whole: bool,
    remarks: &mut Remarks,
) {
    let places: HashMap<String, usize> =
        customers.iter().enumerate().map(|(i, customer)| (customer.id.to_string(), i)).collect();
    let mut problems = Problems::default();
    let list = Path::Member(&Path::Root, "enforcement");
    let mut said: HashSet<(&str, &str)> = HashSet::new();
    for (i, word) in words.enforcement.iter().enumerate() {
        let here = Path::Element(&list, i);
        let (id, provider) = (word.customer.as_str(), word.provider.as_str());
        if !said.insert((id, provider)) {
            let message = format!("duplicate enforcement by `{provider}` against `{id}`");
            problems.wrong(&here, &message, "keep the latest");
        }
        if word.opened.zip(word.expires).is_some_and(|(opened, expires)| expires <= opened) {
            let message = "the enforcement ends before it was opened";
            problems.wrong(&Path::Member(&here, "expires"), message, "correct the dates");
        }
        match places.get(id).and_then(|i| customers.get_mut(*i)) {
            Some(customer) => put(customer, &word.provider, word.enforced()),
            None if !whole => {} // it may be among the customers that couldn't be read
            None => problems.wrong(
                &Path::Member(&here, "customer"),
                &format!("unknown customer `{id}`"),
                "add the customer, or remove this entry",
            ),
        }
    }
    remarks.take(file, None, &problems);
}

fn put(customer: &mut Customer, provider: &Text, enforcement: ProviderEnforcement) {
    let mut entries: Vec<(Text, ProviderEntry)> = customer.providers.iter().cloned().collect();
    match entries.iter_mut().find(|(name, _)| name == provider) {
        Some((_, entry)) => entry.enforcement = enforcement,
        None => entries.push((provider.clone(), ProviderEntry { profile: None, enforcement })),
    }
    customer.providers = Dictionary::from_entries(entries);
}
