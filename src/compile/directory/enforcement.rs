//! `enforcement.json`: what providers said of customers last, kept beside the customers so that `waybill enforcement` never
//! writes into a table that somebody keeps by hand.

use std::collections::{HashMap, HashSet};

use crate::compile::remarks::Remarks;
use crate::names::{CustomerId, Text};
use crate::register::{
    Customer, Enforcement, EnforcementEntry, ProviderEnforcement, ProviderEntry,
};
use crate::shape::{Dictionary, Path, Problems, object};
use crate::time::UnixSeconds;

object! {
    /// Providers' enforcement against customers, in a register's enforcement.json. It counts in place of what the customers' own
    /// entries say.
    pub struct EnforcementFile {
        /// What each provider said last of a customer
        enforcement: Vec<ProviderWord>,
    }
}

object! {
    /// What a provider said last of one customer.
    pub struct ProviderWord {
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
        /// From when on it no longer counts; until the provider lifts it where left out
        expires: Option<UnixSeconds> = None,
    }
}

impl ProviderWord {
    /// What stands in a customer's own entry.
    pub fn enforced(&self) -> ProviderEnforcement {
        let Self { status, reason, opened, expires, .. } = self;
        EnforcementEntry {
            status: *status,
            reason: reason.clone(),
            opened: *opened,
            expires: *expires,
        }
        .into()
    }
}

/// Puts what providers said in place of what the customers' entries say. Notes customers who aren't there, and what
/// contradicts itself.
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
            problems.wrong(
                &here,
                &format!("`{provider}` says two things of `{id}`"),
                "keep the latest",
            );
        }
        if word.opened.zip(word.expires).is_some_and(|(opened, expires)| expires <= opened) {
            problems.wrong(
                &Path::Member(&here, "expires"),
                "the enforcement ends before it was opened",
                "put the dates right",
            );
        }
        match places.get(id).and_then(|i| customers.get_mut(*i)) {
            Some(customer) => put(customer, &word.provider, word.enforced()),
            None if !whole => {} // it may stand in what couldn't be read
            None => problems.wrong(
                &Path::Member(&here, "customer"),
                &format!("no customer `{id}` is in the register"),
                "remove this entry, or add the customer",
            ),
        }
    }
    remarks.take(file, problems);
}

fn put(customer: &mut Customer, provider: &Text, enforcement: ProviderEnforcement) {
    let mut entries: Vec<(Text, ProviderEntry)> = customer.providers.iter().cloned().collect();
    match entries.iter_mut().find(|(name, _)| name == provider) {
        Some((_, entry)) => entry.enforcement = enforcement,
        None => entries.push((provider.clone(), ProviderEntry { profile: None, enforcement })),
    }
    customer.providers = Dictionary::from_entries(entries);
}
