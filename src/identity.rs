//! Lookups: the customer behind the credentials that a request presents.

use crate::config::Config;
use crate::evidence::{Credential, Evidence, Presented};
use crate::names::{Text, UnixSeconds};
use crate::register::{CredentialEntry, Customer, Register};

/// Who is calling, as far as the register can tell.
#[derive(Debug)]
pub enum Identity<'a> {
    /// No register is loaded, so nobody can be told from anybody
    Unloaded,
    /// No credential came
    Missing,
    /// Credentials came and none names anybody
    Unknown,
    /// They name two customers
    Conflict(&'a Customer, &'a Customer),
    /// They name one
    Known(Caller<'a>),
}

/// A customer and the credential that named it.
#[derive(Debug)]
pub struct Caller<'a> {
    /// Who
    pub customer: &'a Customer,
    /// The index of the credential's source in [`Config::sources`]
    pub source: usize,
    /// The credential's entry, where it is a secret
    pub entry: Option<&'a CredentialEntry>,
    /// Whether the credential is past its date
    pub expired: bool,
    /// Whether it is bound to networks and came from none of them
    pub outside: bool,
}

impl<'a> Identity<'a> {
    /// Looks the credentials up. Of several that name the same customer the first that holds is taken;
    /// one that names nobody counts only where no other names somebody.
    #[must_use]
    pub fn look_up(config: &'a Config, evidence: &Evidence<'_>, now: UnixSeconds) -> Self {
        let Some(register) = &config.register else { return Self::Unloaded };
        let mut best: Option<Caller<'a>> = None;
        for presented in &evidence.credentials {
            let Some(caller) = Caller::find(register, presented, evidence, now) else { continue };
            match &best {
                Some(first) if first.customer.id != caller.customer.id => return Self::Conflict(first.customer, caller.customer),
                Some(first) if first.faults() <= caller.faults() => {}
                _ => best = Some(caller),
            }
        }
        match best {
            Some(caller) => Self::Known(caller),
            None if evidence.credentials.is_empty() => Self::Missing,
            None => Self::Unknown,
        }
    }

    /// The caller, where it is known.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller<'a>> {
        match self {
            Self::Known(caller) => Some(caller),
            Self::Unloaded | Self::Missing | Self::Unknown | Self::Conflict(..) => None,
        }
    }

    /// The customer, where it is known.
    #[must_use]
    pub fn customer(&self) -> Option<&'a Customer> {
        self.caller().map(|caller| caller.customer)
    }
}

impl<'a> Caller<'a> {
    fn find(register: &'a Register, presented: &Presented<'_>, evidence: &Evidence<'_>, now: UnixSeconds) -> Option<Self> {
        let (customer, entry) = match presented.credential {
            Credential::Secret(digest) => register.by_credential(&digest).map(|(customer, entry)| (customer, Some(entry)))?,
            Credential::Certificate(name) => (register.by_certificate(name)?, None),
            Credential::Claim(value) => (register.by_claim(value)?, None),
            Credential::Unreadable => return None,
        };
        let client = evidence.address.client;
        let expired = entry.and_then(|entry| entry.expires).is_some_and(|expires| expires <= now);
        let outside = entry.is_some_and(|entry| {
            !entry.networks.is_empty() && !entry.networks.iter().any(|network| client.is_some_and(|address| network.contains(address)))
        });
        Some(Self { customer, source: presented.source, entry, expired, outside })
    }

    /// What speaks against this credential, to prefer the better one.
    fn faults(&self) -> u8 {
        u8::from(self.outside) | u8::from(self.expired) << 1
    }

    /// What to call the credential in an event, where the register names it.
    #[must_use]
    pub fn label(&self) -> Option<&'a str> {
        self.entry.and_then(|entry| entry.label.as_ref()).map(Text::as_str)
    }
}
