//! What events of days and weeks showed of a customer: the register's `sharing.json`.
//!
//! `waybill sharing` writes it, a person reviews it, the next snapshot carries it. So no request
//! pays for it, and every node says the same.

use crate::shape::{Dictionary, Integer, Nullable, object};
use crate::terms::finding::FindingCode;
use crate::terms::names::{CustomerId, Text};
use crate::terms::time::UnixSeconds;

/// A figure of a sign, or how many there were.
pub type SharingCount = Integer<0, { u32::MAX as u64 }>;

object! {
    /// Signs of sharing that hold for a time, in a register's sharing.json.
    pub struct SharingFile {
        /// The signs
        signals: Vec<SharingSignal>,
        /// What was looked at to find them
        looked_at: LookedAt = LookedAt::default(),
    }
}

object! {
    /// A sign of sharing, which the node reports until it ends.
    pub struct SharingSignal {
        /// The customer
        customer: CustomerId,
        /// The label of the credential; null for all of the customer's credentials without labels,
        /// and for relay.suspected, which is about the customer
        credential: Nullable<Text> = Nullable(None),
        /// sharing.addresses, sharing.countries, sharing.velocity, sharing.clients or
        /// relay.suspected
        finding: FindingCode,
        /// The day from which on it fired
        since: UnixSeconds,
        /// From when on it no longer fires
        until: UnixSeconds,
        /// The measure and its threshold in words
        evidence: Text,
        /// The figures of the evidence, by their names
        numbers: Dictionary<Text, SharingCount> = Dictionary::new(),
    }
}

/// A sign of sharing as nodes need it: without its figures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct CustomerSignal {
    /// The label of the credential; none for what has no label, and for relay.suspected
    pub credential: Option<Text>,
    /// The finding
    pub finding: FindingCode,
    /// From when on it no longer fires
    pub until: UnixSeconds,
    /// The measure and its threshold in words
    pub evidence: Text,
}

impl CustomerSignal {
    /// Whether it is about callers by a name of that label. A bound name is one that nobody else
    /// can use: a certificate, a node's signature, a credential with networks. Only what is said of
    /// the customer is about those.
    pub fn concerns(&self, label: Option<&str>, is_bound: bool) -> bool {
        self.finding == FindingCode::RelaySuspected
            || (!is_bound && self.credential.as_ref().map(Text::as_str) == label)
    }
}

impl SharingSignal {
    /// What it is about beside the customer, in words: a credential, or nothing.
    #[cfg(feature = "desk")]
    pub fn subject(&self) -> String {
        match &self.credential {
            Nullable(Some(label)) => format!("credential {label}"),
            Nullable(None) if self.finding == FindingCode::RelaySuspected => String::new(),
            Nullable(None) => "credentials without a label".to_owned(),
        }
    }

    /// The same as nodes need it.
    pub fn of_customer(&self) -> CustomerSignal {
        let Self { credential: Nullable(credential), finding, until, evidence, .. } = self;
        let (credential, evidence) = (credential.clone(), evidence.clone());
        CustomerSignal { credential, finding: *finding, until: *until, evidence }
    }
}

object! {
    /// How much was looked at, and what couldn't be used.
    pub struct LookedAt {
        /// Customers with events
        customers: SharingCount = Integer(0),
        /// Days from the first event to the last
        days: SharingCount = Integer(0),
        /// Events, each once
        events: SharingCount = Integer(0),
        /// Events that were there more than once
        doubles: SharingCount = Integer(0),
        /// Lines of requests that Envoy answered before the node
        without_event: SharingCount = Integer(0),
        /// Lines that are nothing known, or an event that can't be read
        other_lines: SharingCount = Integer(0),
        /// Events that count as nothing in flight, since their line has no duration
        without_duration: SharingCount = Integer(0),
        /// Events that no credential names a customer of: nothing proves whose they are
        without_credential: SharingCount = Integer(0),
        /// Events by a certificate or a verified chain, which are bound to their holder
        bound_events: SharingCount = Integer(0),
        /// Credentials with events that are bound to networks, and exempt
        bound_credentials: SharingCount = Integer(0),
        /// Customers with events that are registered resellers, and exempt
        resellers: SharingCount = Integer(0),
        /// Credentials with events that the register doesn't have any more
        unknown: SharingCount = Integer(0),
        /// Signs of an earlier sharing.json that hold, and that these events are too few to repeat
        kept: SharingCount = Integer(0),
        /// Customers whose credentials without labels count as one
        without_labels: SharingCount = Integer(0),
    }
}
