//! An event decided again: what another configuration or register makes of the request behind it.
//!
//! The rules and the verdict are the node's own. The [`Case`] that they judge is made from the
//! event: its customer is looked up in the register, places and paths are taken from the findings'
//! evidence. A finding that rests on what no event holds is kept from the event, and gets the
//! action that the policy has for it now.
//!
//! Addresses aren't looked up again, since an event has only a part of one. Places that the node
//! saw and had no reason to name are in no event either.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::places::PlacesInEvent;
use crate::chain::Inbound;
use crate::config::{Config, CredentialPlace, OriginSource};
use crate::decision::case::Case;
use crate::decision::event::{Event, EventFinding, EventText};
use crate::decision::evidence::Evidence;
use crate::decision::geography::{AddressProfile, Geography, SourcePlace};
use crate::decision::identity::Identity;
use crate::decision::path::PathReadings;
use crate::decision::receipt::Receipt;
use crate::decision::verdict::{Verdict, Weighed};
use crate::decision::{Ruling, rules};
use crate::lookups::Lookups;
use crate::register::{Customer, CustomerKind};
use crate::shape::{Word as _, ordered};
use crate::snapshot::Snapshot;
use crate::terms::finding::{Action, ActionName, Finding, FindingCode, Intervention};
use crate::terms::network::{Network, NetworkClass, SourceRole};
use crate::terms::region::CountryCode;
use crate::terms::time::UnixSeconds;

/// A configuration and a register that decide events again.
#[derive(Debug)]
pub struct SecondLook<'a> {
    config: &'a Config,
    lookups: Lookups<'a>,
    snapshot: Option<&'a Snapshot>,
    customers: HashMap<String, Arc<Customer>>,
    /// The role of the sources of a client's country, where all have the same
    role: Option<SourceRole>,
}

/// What was done about a request, or would be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct EventVerdict {
    /// What is done
    pub verdict: ActionName,
    /// The finding that decided; none on allow
    pub reason: Option<FindingCode>,
    /// Where a rerouted request goes
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What mode enforce would do, where mode report softens it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_be: Option<Intervention>,
}

/// An event's second decision.
#[derive(Debug)]
pub struct SecondDecision {
    /// The decision
    pub verdict: EventVerdict,
    /// The findings, and what is done about each
    pub weighed: Vec<Weighed>,
    /// Findings that were kept because an event doesn't hold what they rest on
    pub kept: Vec<FindingCode>,
}

impl EventVerdict {
    /// What an event says.
    pub fn of(event: &Event<'_>) -> Self {
        Self {
            verdict: event.verdict,
            reason: event.reason.0,
            route: event.route.0.as_ref().map(ToString::to_string),
            would_be: event.would_be.0,
        }
    }
}

/// What an event's other members say of its request, worked out once.
struct EventFacts<'e> {
    codes: Vec<FindingCode>,
    /// The customer, if a credential or a proven signature named it
    named: Option<&'e str>,
    /// Whether a signature alone named it, or failed to
    chain_is_identity: bool,
    /// Whether a chain verified
    has_chain: bool,
    /// Whether chains concerned the caller
    owed_chain: bool,
    /// Whether headers of a chain came
    sent_chain: bool,
}

/// What becomes of a customer's duty to send a chain, by what the register says it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChainDuty {
    Same,
    /// It is a reseller now, and sent none
    Begun,
    /// It isn't a reseller any more
    Ended,
}

impl<'a> SecondLook<'a> {
    /// Decides by a configuration and, unless that has an inline register, by a snapshot.
    pub fn new(config: &'a Config, snapshot: Option<&'a Snapshot>) -> Self {
        let inline = config.register.iter().flat_map(|it| it.customers().cloned().map(Arc::new));
        let compiled = snapshot.iter().flat_map(|snapshot| snapshot.customers());
        let mut customers: HashMap<String, Arc<Customer>> = HashMap::new();
        for customer in inline.chain(compiled) {
            match customers.entry(customer.id.to_string()) {
                Entry::Vacant(free) => drop(free.insert(customer)),
                // each record of a snapshot has the signs that concern its name
                Entry::Occupied(mut known) if !customer.signals.is_empty() => {
                    let known = &mut Arc::make_mut(known.get_mut()).signals;
                    for signal in &customer.signals {
                        if !known.contains(signal) {
                            known.push(signal.clone());
                        }
                    }
                }
                Entry::Occupied(_) => {}
            }
        }
        Self {
            config,
            lookups: Lookups::new(config, snapshot),
            snapshot,
            customers,
            role: common_role(config, snapshot),
        }
    }

    /// Decides an event again, at the event's own time.
    pub fn decide(&self, event: &Event<'_>) -> SecondDecision {
        let facts = EventFacts::of(event);
        let identity = self.identity(event, &facts);
        let is_lost = facts.named.is_some() && identity.customer().is_none();
        let duty = facts.chain_duty(identity.customer());
        let (case, is_unsure) = self.case(event, identity, duty);

        // where no register was loaded, nothing was looked up
        let is_unloaded = facts.has(FindingCode::SnapshotMissing);
        let mut findings =
            if is_unloaded { Vec::new() } else { rules::findings(&case, self.lookups) };
        findings.retain(|finding| match finding.code {
            FindingCode::IdentityUnknown => is_lost,
            FindingCode::ChainMissing => duty == ChainDuty::Begun,
            code @ (FindingCode::GeoUnlisted | FindingCode::GeoUndeclared) => {
                !is_unsure || facts.has(code)
            }
            code => !rests_elsewhere(code),
        });
        let customer = case.identity.customer();
        let mut kept = Vec::new();
        for EventFinding { code, evidence, .. } in &event.findings {
            let code = *code;
            let is_kept = match code {
                _ if is_unloaded => true,
                // another node's word: its reasons aren't in the event
                _ if facts.has_chain && is_reported(evidence) => duty != ChainDuty::Ended,
                FindingCode::IdentityExpired | FindingCode::IdentityNetwork => !is_lost,
                FindingCode::ProviderAdminPath => !self.denies(&case),
                FindingCode::RelayUndeclared => customer.is_none_or(|it| !resells(it)),
                code if code.is_of_chain() => duty != ChainDuty::Ended,
                code => rests_elsewhere(code),
            };
            if is_kept && !findings.iter().any(|finding| finding.code == code) {
                add(&mut findings, code, &evidence.0);
                kept.push(code);
            }
        }
        let has_spoofed = findings.iter().any(|finding| finding.code == FindingCode::TagSpoofed);
        if duty == ChainDuty::Ended && facts.sent_chain && !has_spoofed {
            add(&mut findings, FindingCode::TagSpoofed, "the client sent a chain");
        }
        let Ruling { verdict, weighed, .. } = Ruling::of(&case, facts.chain_is_identity, findings);
        SecondDecision { verdict: EventVerdict::from(verdict), weighed, kept }
    }

    /// The caller, as the register has it now.
    fn identity(&self, event: &Event<'_>, facts: &EventFacts<'_>) -> Identity {
        // why nobody is named is kept
        let Some(customer) = facts.named else { return Identity::Unproven };
        let credential = event.credential.0.as_ref();
        let source = credential.map_or("", |credential| &credential.source.0);
        let sources = || self.config.indexed_sources();
        let same = sources().find(|(index, _)| self.config.source_name(*index) == source);
        let found = self.customers.get(customer).zip(same.or_else(|| sources().next()));
        let Some((customer, (index, source))) = found else { return Identity::Unknown };
        let mut customer = Arc::clone(customer);
        if !customer.signals.is_empty() {
            let label = credential.and_then(|it| it.label.as_ref()).map(|label| &*label.0);
            let is_bound =
                matches!(source.place, CredentialPlace::Mtls(_) | CredentialPlace::Chain);
            let signals = &mut Arc::make_mut(&mut customer).signals;
            signals.retain(|signal| signal.concerns(label, is_bound));
        }
        Identity::named(customer, index)
    }

    /// The case that the rules judge, and whether it is unsure that the country of the client's
    /// address decides.
    fn case<'e>(
        &'e self,
        event: &'e Event<'_>,
        identity: Identity,
        duty: ChainDuty,
    ) -> (Case<'e>, bool) {
        let mut places = PlacesInEvent::of(event, duty != ChainDuty::Ended);
        let mut is_unsure = false;
        if let Some(country) = places.origin {
            let role = self.role.or_else(|| self.role_of(event, country));
            is_unsure = role.is_none();
            places.add_origin(role.unwrap_or(SourceRole::Decides));
        }
        let mut evidence = Evidence { user: places.users, ..Evidence::default() };
        let mut origin = AddressProfile::default();
        for (list, role) in
            [(places.decides, SourceRole::Decides), (places.hints, SourceRole::Hints)]
        {
            let of_event = |place| SourcePlace { place, role, source: "the event" };
            origin.places.extend(list.into_iter().map(of_event));
        }
        origin.networks.extend(event.network.0.map(|class| ("the event", class)));
        for EventFinding { code, evidence: words, .. } in &event.findings {
            match code {
                FindingCode::ProviderAdminPath => {
                    let path = words.0.strip_prefix("under ").unwrap_or_default();
                    evidence.readings = PathReadings::of(path.as_bytes());
                }
                FindingCode::ProviderSharedState if !self.config.forwards() => {
                    evidence.shared_state = words.0.strip_prefix("this reaches ");
                }
                // the event names the class that hides most
                FindingCode::NetworkHosting => {
                    origin.networks.push(("the event", NetworkClass::Hosting));
                }
                _ => {}
            }
        }
        // its form was checked when it was read
        let now = UnixSeconds::parse(&event.time.0).unwrap_or(UnixSeconds(0));
        let receipt =
            if duty == ChainDuty::Begun { Receipt::Missing } else { Receipt::Unconcerned };
        let (inbound, geography) = (Inbound::default(), Geography::default());
        let config = self.config;
        let case = Case { now, config, evidence, origin, inbound, receipt, identity, geography };
        (case, is_unsure)
    }

    /// Whether the source that named this country of a client's address decides, if the snapshot
    /// can tell by the part of the address that the event has.
    fn role_of(&self, event: &Event<'_>, country: CountryCode) -> Option<SourceRole> {
        let deciding = |source: &OriginSource| source.role == SourceRole::Decides;
        if self.config.geo.origin.iter().any(|it| it.header.is_some() && deciding(it)) {
            return None;
        }
        let network = Network::parse(&event.address.0.as_ref()?.0).ok()?;
        let facts = self.snapshot?.address(network.range().0)?;
        let named = facts.places().filter(|(place, ..)| place.country == country);
        let roles: Vec<SourceRole> = named.map(|(_, role, _)| role).collect();
        [SourceRole::Decides, SourceRole::Hints].into_iter().find(|role| roles.contains(role))
    }

    /// Whether some upstream denies the path that the event names.
    fn denies(&self, case: &Case<'_>) -> bool {
        let routes = self.config.routes.iter().map(|(_, upstream)| upstream);
        let mut upstreams = std::iter::once(&self.config.upstream).chain(routes);
        upstreams.any(|upstream| case.evidence.readings.under(&upstream.deny_paths).is_some())
    }
}

impl<'e> EventFacts<'e> {
    fn of(event: &'e Event<'_>) -> Self {
        let codes: Vec<FindingCode> = event.findings.iter().map(|finding| finding.code).collect();
        let has_chain = event.chain.0.is_some();
        let owed_chain = has_chain || codes.iter().any(|code| code.is_of_chain());
        let credential = event.credential.0.as_ref();
        let by_chain = credential.is_some_and(|it| it.source.0 == CHAIN);
        let spoofed = |finding: &&EventFinding<'_>| finding.code == FindingCode::TagSpoofed;
        let spoofs_chain = event.findings.iter().find(spoofed).is_some_and(|finding| {
            let mut parts = finding.evidence.0.split("; ");
            let sent = parts.find_map(|part| part.strip_prefix("the client sent "));
            sent.is_some_and(|sent| sent.contains("compliance-") || sent.contains("signature"))
        });
        Self {
            named: credential.and(event.customer.0.as_ref()).map(|customer| &*customer.0),
            chain_is_identity: by_chain || (credential.is_none() && owed_chain),
            has_chain,
            owed_chain,
            sent_chain: spoofs_chain || (owed_chain && !codes.contains(&FindingCode::ChainMissing)),
            codes,
        }
    }

    fn has(&self, code: FindingCode) -> bool {
        self.codes.contains(&code)
    }

    fn chain_duty(&self, customer: Option<&Customer>) -> ChainDuty {
        match customer.map(resells) {
            Some(true) if !self.owed_chain && !self.sent_chain => ChainDuty::Begun,
            Some(false) if self.owed_chain && !self.chain_is_identity => ChainDuty::Ended,
            _ => ChainDuty::Same,
        }
    }
}

impl From<Verdict> for EventVerdict {
    fn from(Verdict { action, would_be, reason }: Verdict) -> Self {
        let route = match &action {
            Action::Reroute(name) => Some(name.as_str().to_owned()),
            Action::Allow | Action::Report | Action::Block => None,
        };
        let would_be = would_be.as_ref().and_then(Action::intervention);
        Self { verdict: action.name(), reason, route, would_be }
    }
}

/// The name of the source of callers whom a signature names, in events.
const CHAIN: &str = "chain";

fn resells(customer: &Customer) -> bool {
    customer.kind == CustomerKind::Reseller
}

/// Whether a finding's evidence has another node's word.
fn is_reported(evidence: &EventText<'_>) -> bool {
    evidence.0.contains("reported by ")
}

fn add(findings: &mut Vec<Finding>, code: FindingCode, evidence: &str) {
    let finding = Finding { code, evidence: evidence.to_owned() };
    ordered::insert(findings, finding, |finding| &finding.code);
}

/// The role of the sources of a client's country, where all have the same.
fn common_role(config: &Config, snapshot: Option<&Snapshot>) -> Option<SourceRole> {
    let compiled = snapshot.iter().flat_map(|snapshot| &snapshot.head.contents.sources);
    let compiled: Vec<SourceRole> = compiled.filter_map(|source| source.role).collect();
    let mut roles = config.geo.origin.iter().flat_map(|source| {
        match (&source.header, source.role) {
            // the configuration can only weaken the roles of the snapshot's sources
            (None, SourceRole::Decides) => compiled.clone(),
            (Some(_), role) | (None, role) => vec![role],
        }
    });
    let first = roles.next().unwrap_or(SourceRole::Decides);
    roles.all(|role| role == first).then_some(first)
}

/// Whether a finding rests on what no event holds: the time and form of look-ups, credentials,
/// headers, signatures.
fn rests_elsewhere(code: FindingCode) -> bool {
    match code {
        FindingCode::SnapshotMissing
        | FindingCode::SnapshotStale
        | FindingCode::RequestMalformed
        | FindingCode::IdentityMissing
        | FindingCode::IdentityUnknown
        | FindingCode::IdentityExpired
        | FindingCode::IdentityConflict
        | FindingCode::IdentityNetwork
        | FindingCode::GeoDisputed
        | FindingCode::GeoUnknown
        | FindingCode::ChainMissing
        | FindingCode::ChainInvalid
        | FindingCode::ChainExpired
        | FindingCode::ChainReplayed
        | FindingCode::ChainUnknownNode
        | FindingCode::ChainUnscreenedNode
        | FindingCode::ChainMismatch
        | FindingCode::ChainIncomplete
        | FindingCode::ChainUnproven
        | FindingCode::RelayUndeclared
        | FindingCode::TagSpoofed => true,
        FindingCode::CustomerSuspended
        | FindingCode::CustomerUnscreened
        | FindingCode::CustomerAgreementMissing
        | FindingCode::CustomerScreeningExpired
        | FindingCode::OwnershipRestricted
        | FindingCode::OwnershipUnresolved
        | FindingCode::ProviderRestricted
        | FindingCode::ProviderAdminPath
        | FindingCode::ProviderSharedState
        | FindingCode::GeoRestricted
        | FindingCode::GeoClaimed
        | FindingCode::GeoUnlisted
        | FindingCode::GeoUndeclared
        | FindingCode::GeoConflict
        | FindingCode::ResidencyMismatch
        | FindingCode::NetworkAnonymizer
        | FindingCode::NetworkHosting
        | FindingCode::SharingAddresses
        | FindingCode::SharingCountries
        | FindingCode::SharingVelocity
        | FindingCode::SharingClients
        | FindingCode::RelaySuspected => false,
    }
}
