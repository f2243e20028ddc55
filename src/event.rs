//! Events: one JSON document for each decision, chained so that a missing or altered line shows.
//!
//! The shape is published in `docs/event.schema.json`. Addresses are cut to /24 and /48, and nothing of
//! a body, a credential or a name is in it. Each event carries the digest of the one before from the same
//! VM; that shows what was removed from the middle, not what somebody rewrote altogether.

use serde::Serialize;
use sha2::Digest as _;

use crate::evidence::address;
use crate::finding::FindingCode;
use crate::names::hex;
use crate::region::Place;
use crate::screen::Decision;

/// The events of one VM: who it is, how many there were, and the digest of the last.
#[derive(Debug)]
pub struct Ledger {
    vm: String,
    seq: u64,
    prev: Option<String>,
}

/// An event as written. Field order is the published one.
#[derive(Debug, Serialize)]
struct Event<'a> {
    schema: u32,
    id: &'a str,
    time: String,
    node: &'a str,
    customer: Option<&'a str>,
    credential: Option<CredentialUsed<'a>>,
    mode: &'static str,
    verdict: &'static str,
    would_be: Option<&'static str>,
    route: Option<&'a str>,
    reason: Option<FindingCode>,
    findings: Vec<Found<'a>>,
    user: Option<&'a str>,
    origin: Option<&'a str>,
    address: Option<String>,
    network: Option<&'a str>,
    chain: Option<&'a str>,
    policy: &'a str,
    snapshot: Option<&'a str>,
    vm: &'a str,
    seq: u64,
    prev: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct CredentialUsed<'a> {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    code: FindingCode,
    action: &'static str,
    evidence: &'a str,
}

impl Ledger {
    /// The ledger of a VM that nobody else has the number of.
    #[must_use]
    pub fn new(vm: u64) -> Self {
        Self { vm: hex(&vm.to_be_bytes()), seq: 0, prev: None }
    }

    /// The id of the next event.
    #[must_use]
    pub fn next_id(&self) -> String {
        format!("{}-{}", self.vm, self.seq)
    }

    /// Writes the event of a decision and moves on to the next. `None` only if JSON can't be written,
    /// which no decision leads to.
    pub fn write(&mut self, decision: &Decision<'_>) -> Option<Vec<u8>> {
        let event = Event {
            schema: 1,
            id: &decision.id,
            time: decision.time.to_string(),
            node: decision.config.node.id.as_str(),
            customer: decision.identity.customer().map(|customer| customer.id.as_str()),
            credential: decision.identity.caller().map(|caller| CredentialUsed {
                source: decision.config.sources.get(caller.source).map(|source| source.place.to_string()).unwrap_or_default(),
                label: caller.label(),
            }),
            mode: decision.config.policy.mode.as_str(),
            verdict: decision.verdict.action.as_str(),
            would_be: decision.verdict.would_be.map(|action| action.as_str()),
            route: decision.route(),
            reason: decision.verdict.reason,
            findings: decision
                .weighed
                .iter()
                .map(|weighed| Found { code: weighed.finding.code, action: weighed.action.as_str(), evidence: &weighed.finding.evidence })
                .collect(),
            user: country(&decision.geography.user),
            origin: country(&decision.geography.origin),
            address: decision.evidence.address.client.map(address::cut),
            network: None,
            chain: None,
            policy: &decision.config.policy.revision,
            snapshot: None,
            vm: &self.vm,
            seq: self.seq,
            prev: self.prev.as_deref(),
        };
        let json = serde_json::to_vec(&event).ok()?;
        self.prev = Some(hex(&sha2::Sha256::digest(&json)));
        self.seq = self.seq.saturating_add(1);
        Some(json)
    }
}

fn country(place: &Option<Place>) -> Option<&str> {
    place.as_ref().map(|place| place.country.as_str())
}
