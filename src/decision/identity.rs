//! Lookups: the customer behind the credentials that a request presents.

use std::sync::Arc;

use crate::config::{Config, CredentialPlace, SourceIndex};
use crate::decision::evidence::Evidence;
use crate::lookups::Lookups;
use crate::register::{CredentialEntry, Customer, Match, PageGone};
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

/// Who is calling, as far as the register can tell.
#[derive(Debug)]
pub enum Identity {
    /// No register is loaded, so nobody can be told from anybody
    Unloaded,
    /// No credential came
    Missing,
    /// Credentials came and none names anybody
    Unknown,
    /// They name two customers
    Conflict(Arc<Customer>, Arc<Customer>),
    /// Nothing names anybody but a signature, and that doesn't hold
    Unproven,
    /// They name one
    Known(Caller),
}

/// A customer and the credential that named it.
#[derive(Debug)]
pub struct Caller {
    /// Who
    pub customer: Arc<Customer>,
    /// The source of the credential
    pub source: SourceIndex,
    /// The index of the credential's entry in the customer's, where it is a secret
    entry: Option<usize>,
    /// Whether the credential is past its date
    pub expired: bool,
    /// Whether it is bound to networks and came from none of them
    pub outside: bool,
}

impl Identity {
    /// Looks the credentials up. Of several that name the same customer the first that holds is
    /// taken; one that names nobody counts only where no other names somebody.
    ///
    /// # Errors
    /// That the register can't tell, see [`Lookups::customer`].
    pub fn look_up(
        lookups: Lookups<'_>,
        evidence: &Evidence<'_>,
        now: UnixSeconds,
    ) -> Result<Self, PageGone> {
        if !lookups.are_loaded() {
            return Ok(Self::Unloaded);
        }
        let mut best: Option<Caller> = None;
        for presented in &evidence.credentials {
            let Some(name) = presented.name else { continue };
            let Some(found) = lookups.customer(name)? else { continue };
            let caller = Caller::new(found, presented.source, evidence, now);
            match &best {
                Some(first) if first.customer.id != caller.customer.id => {
                    let first = Arc::clone(&first.customer);
                    return Ok(Self::Conflict(first, caller.customer));
                }
                Some(first) if first.faults() <= caller.faults() => {}
                _ => best = Some(caller),
            }
        }
        Ok(match best {
            Some(caller) => Self::Known(caller),
            None if evidence.credentials.is_empty() => Self::Missing,
            None => Self::Unknown,
        })
    }

    /// Where nothing else names the caller: the customer that runs the node that signed.
    pub fn or_signed(self, config: &Config, runner: Option<&Arc<Customer>>) -> Self {
        if !matches!(self, Self::Missing | Self::Unknown) {
            return self;
        }
        let source =
            config.indexed_sources().find(|(_, source)| source.place == CredentialPlace::Chain);
        source.zip(runner).map_or(Self::Unknown, |((source, _), customer)| {
            let customer = Arc::clone(customer);
            Self::Known(Caller { customer, source, entry: None, expired: false, outside: false })
        })
    }

    /// Where nothing else names the caller: that the signature doesn't hold.
    pub fn or_unproven(self) -> Self {
        if matches!(self, Self::Missing | Self::Unknown) { Self::Unproven } else { self }
    }

    /// A customer that an event names by a credential of that source.
    #[cfg(feature = "desk")]
    pub fn named(customer: Arc<Customer>, source: SourceIndex) -> Self {
        Self::Known(Caller { customer, source, entry: None, expired: false, outside: false })
    }

    /// The caller, where it is known.
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Known(caller) => Some(caller),
            Self::Unloaded
            | Self::Missing
            | Self::Unknown
            | Self::Unproven
            | Self::Conflict(..) => None,
        }
    }

    /// The customer, where it is known.
    pub fn customer(&self) -> Option<&Customer> {
        self.caller().map(|caller| &*caller.customer)
    }
}

impl Caller {
    fn new(found: Match, source: SourceIndex, evidence: &Evidence<'_>, now: UnixSeconds) -> Self {
        let Match { customer, entry: index } = found;
        let entry = index.and_then(|index| customer.credentials.get(index));
        // a network holds the address as it came, or the IPv4 address that it embeds
        let clients =
            evidence.client.into_iter().chain(evidence.client.and(evidence.address.client));
        let expired = entry.and_then(|entry| entry.expires).is_some_and(|expires| expires <= now);
        let outside = entry.is_some_and(|entry| {
            !entry.networks.is_empty()
                && !entry
                    .networks
                    .iter()
                    .any(|network| clients.clone().any(|address| network.contains(address)))
        });
        Self { customer, source, entry: index, expired, outside }
    }

    /// The credential's entry, where it is a secret.
    pub fn entry(&self) -> Option<&CredentialEntry> {
        self.entry
            .and_then(|index| self.customer.credentials.get(index))
            .map(|credential| &**credential)
    }

    /// What speaks against this credential, to prefer the better one.
    fn faults(&self) -> u8 {
        u8::from(self.outside) | u8::from(self.expired) << 1
    }

    /// What to call the credential in an event, where the register names it.
    pub fn label(&self) -> Option<&str> {
        self.entry().and_then(|entry| entry.label.as_ref()).map(Text::as_str)
    }
}
