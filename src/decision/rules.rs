//! The rules: from evidence and look-ups to findings. One small function for each family of the
//! catalogue.
//!
//! A rule only states a fact. [`mod@crate::decision::verdict`] turns facts into an action.

use crate::chain::{Proof, Rejection};
use crate::config::{Config, Upstream};
use crate::decision::case::Case;
use crate::decision::evidence::{CREDENTIALS_AT_MOST, Evidence, ReservedHeader, ReservedKind};
use crate::decision::geography::{AddressProfile, user_places};
use crate::decision::identity::Identity;
use crate::decision::receipt::Receipt;
use crate::lookups::Lookups;
use crate::register::{Customer, CustomerKind, Ownership, ScreeningStatus, Status};
use crate::shape::ordered;
use crate::terms::finding::{Finding, FindingCode};
use crate::terms::network::SourceRole;
use crate::terms::region::{Place, Regions, Standing};
use crate::terms::time::UnixSeconds;

/// Everything that fired, in catalogue order.
pub fn findings(case: &Case<'_>, lookups: Lookups<'_>) -> Vec<Finding> {
    let Case { config, evidence, identity, receipt, origin, now, .. } = case;
    let (now, customer) = (*now, identity.customer());
    let mut findings = Findings(Vec::new());
    if let Some(created) = lookups.stale_since(now) {
        findings.add(FindingCode::SnapshotStale, format!("the snapshot was made {created}"));
    }
    findings.malformed(evidence);
    findings.identity(evidence, identity, now);
    if let Some(customer) = customer {
        findings.customer(config, customer, now);
    }
    findings.upstream(evidence, customer, &config.upstream, now);
    if let Some(regions) = lookups.regions() {
        findings.geography(regions, evidence, origin, receipt, customer);
    }
    findings.network(origin);
    findings.chain(receipt, customer, now);
    findings.marks(case);
    findings.0
}

/// Everything that fires at another upstream than the node's own, in catalogue order.
pub fn findings_at(case: &Case<'_>, upstream: &Upstream) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.upstream(&case.evidence, case.identity.customer(), upstream, case.now);
    findings.0
}

/// The findings of a request while they are collected, in catalogue order.
struct Findings(Vec<Finding>);

impl Findings {
    #[cold] // most requests have none
    fn add(&mut self, code: FindingCode, evidence: impl Into<String>) {
        ordered::insert(&mut self.0, Finding { code, evidence: evidence.into() }, |finding| {
            &finding.code
        });
    }

    /// What two programs may read differently, or costs more than one request is worth.
    fn malformed(&mut self, evidence: &Evidence<'_>) {
        let too_many = evidence.values > CREDENTIALS_AT_MOST;
        let reasons = [
            (
                evidence.readings.is_folded,
                "the path still holds an escape after four rounds of decoding",
            ),
            (too_many, "more than eight values stand where credentials are looked for"),
            (evidence.is_trace, "the method is TRACE"),
        ];
        for (_, why) in reasons.into_iter().filter(|(applies, _)| *applies) {
            self.adopt(FindingCode::RequestMalformed, why);
        }
    }

    fn identity(&mut self, evidence: &Evidence<'_>, identity: &Identity, now: UnixSeconds) {
        let caller = match identity {
            Identity::Unloaded => {
                return self.add(FindingCode::SnapshotMissing, "no register is loaded");
            }
            Identity::Missing => {
                return self
                    .add(FindingCode::IdentityMissing, "no configured place holds a credential");
            }
            Identity::Unknown => {
                let count = evidence.values;
                return self.add(
                    FindingCode::IdentityUnknown,
                    format!("credentials presented: {count}, in the register: none"),
                );
            }
            Identity::Conflict(one, other) => {
                return self.add(
                    FindingCode::IdentityConflict,
                    format!("credentials name both {} and {}", one.id, other.id),
                );
            }
            // what is wrong with the signature says it
            Identity::Unproven => return,
            Identity::Known(caller) => caller,
        };
        if let Some(expires) =
            caller.entry().and_then(|entry| entry.expires).filter(|expires| *expires <= now)
        {
            self.add(FindingCode::IdentityExpired, format!("the credential expired {expires}"));
        }
        if caller.outside {
            self.add(
                FindingCode::IdentityNetwork,
                "the client's address is in none of the credential's networks",
            );
        }
    }

    fn customer(&mut self, config: &Config, customer: &Customer, now: UnixSeconds) {
        if customer.status == Status::Suspended {
            self.add(FindingCode::CustomerSuspended, "status suspended");
        }
        match &customer.screening {
            None => self.add(FindingCode::CustomerUnscreened, "no screening on record"),
            Some(screening) if screening.status != ScreeningStatus::Passed => {
                self.add(
                    FindingCode::CustomerUnscreened,
                    format!("screening {}", screening.status),
                );
            }
            Some(screening) => {
                if let Some(until) = screening.until.filter(|until| *until <= now) {
                    self.add(
                        FindingCode::CustomerScreeningExpired,
                        format!("screened until {until}"),
                    );
                }
            }
        }
        // naming the finding in `policy.actions` is how a policy asks for an agreement
        if config.policy.names(FindingCode::CustomerAgreementMissing) {
            match &customer.agreement {
                None => self.add(FindingCode::CustomerAgreementMissing, "no agreement on record"),
                Some(agreement) if agreement.accepted > now => {
                    self.add(
                        FindingCode::CustomerAgreementMissing,
                        format!("{} isn't accepted before {}", agreement.id, agreement.accepted),
                    );
                }
                Some(agreement) => {
                    if let Some(until) = agreement.until.filter(|until| *until <= now) {
                        self.add(
                            FindingCode::CustomerAgreementMissing,
                            format!("{} ended {until}", agreement.id),
                        );
                    }
                }
            }
        }
        match customer.ownership() {
            Ownership::Clear => {}
            Ownership::Restricted => self.add(
                FindingCode::OwnershipRestricted,
                "owned from a restricted region beyond the threshold",
            ),
            Ownership::Unresolved => {
                self.add(FindingCode::OwnershipUnresolved, "who owns it isn't resolved")
            }
        }
        // the snapshot has those only that concern the name that led to the customer
        for signal in customer.signals.iter().filter(|signal| now < signal.until) {
            self.add(signal.finding, signal.evidence.as_str());
        }
    }

    /// What depends on where the request goes.
    fn upstream(
        &mut self,
        evidence: &Evidence<'_>,
        customer: Option<&Customer>,
        upstream: &Upstream,
        now: UnixSeconds,
    ) {
        let entry = customer.and_then(|customer| customer.at_provider(upstream.provider_name()));
        if let Some(enforcement) =
            entry.map(|entry| &entry.enforcement).filter(|enforcement| enforcement.refuses(now))
        {
            let mut evidence = format!("{} by {}", enforcement.status, upstream.provider_name());
            let details = enforcement.details();
            if !details.is_empty() {
                evidence.push_str(": ");
                evidence.push_str(&details);
            }
            self.add(FindingCode::ProviderRestricted, evidence);
        }
        if let Some(denied) = evidence.readings.under(&upstream.deny_paths) {
            self.add(FindingCode::ProviderAdminPath, format!("under {denied}"));
        }
        if let Some(what) = evidence.shared_state.filter(|_| upstream.provider.is_some()) {
            self.add(FindingCode::ProviderSharedState, format!("this reaches {what}"));
        }
        if let Some(required) = customer.and_then(|customer| customer.residency) {
            match upstream.residency {
                Some(offered) if required.admits(offered) => {}
                Some(offered) => self.add(
                    FindingCode::ResidencyMismatch,
                    format!("must stay in {required}, upstream is in {offered}"),
                ),
                None => self.add(
                    FindingCode::ResidencyMismatch,
                    format!("must stay in {required}, where the upstream is isn't configured"),
                ),
            }
        }
    }

    fn geography(
        &mut self,
        regions: &Regions,
        evidence: &Evidence<'_>,
        origin: &AddressProfile<'_>,
        receipt: &Receipt,
        customer: Option<&Customer>,
    ) {
        // what each source says, by the place's standing; a vouched user's place counts as the
        // customer's word
        let mut said = Standings::default();
        let (users, claims) = user_places(evidence, customer);
        for place in users {
            said.note(regions.standing(*place), || format!("user {place}"));
        }
        let by = |wanted| origin.places.iter().filter(move |reading| reading.role == wanted);
        for reading in by(SourceRole::Decides) {
            said.note(regions.standing(reading.place), || {
                format!("origin {} ({})", reading.place, reading.source)
            });
        }
        // what proven tags say of where a request began, at any place in the chain
        let mut attested: Vec<Place> = Vec::new();
        for (hop, claims) in receipt.proof().into_iter().flat_map(Proof::claims) {
            for (what, place) in [("user", claims.user), ("origin", claims.origin)] {
                if let Some(place) = place.filter(|place| !attested.contains(place)) {
                    said.note(regions.standing(place), || {
                        format!("{what} {place} (reported by {})", hop.node)
                    });
                    attested.push(place);
                }
            }
        }
        let hint = by(SourceRole::Hints)
            .find(|reading| regions.standing(reading.place) == Standing::Restricted);
        if let Some(hint) = hint.filter(|_| said.restricted.is_empty()) {
            self.add(
                FindingCode::GeoConflict,
                format!(
                    "origin {} ({}, a hint) where no deciding source says restricted",
                    hint.place, hint.source
                ),
            );
        }
        if !said.restricted.is_empty() {
            self.add(FindingCode::GeoRestricted, said.restricted);
        }
        if !said.unlisted.is_empty() {
            self.add(FindingCode::GeoUnlisted, said.unlisted);
        }
        if let Some(why) = evidence.set_aside.filter(|_| by(SourceRole::Decides).next().is_none()) {
            self.add(FindingCode::GeoDisputed, format!("Envoy looked up another address: {why}"));
        } else if origin.places.is_empty() {
            let why = match (evidence.address.client, evidence.address.malformed) {
                (None, _) => "the direct peer's address isn't known",
                (Some(_), true) => "the client's address is malformed",
                (Some(_), false) => "no source knows",
            };
            self.add(FindingCode::GeoUnknown, why);
        }
        if let Some(claim) =
            claims.iter().find(|place| regions.standing(**place) == Standing::Restricted)
        {
            self.add(
                FindingCode::GeoClaimed,
                format!("user {claim} by a caller that isn't trusted with it"),
            );
        }
        if let Some(customer) = customer {
            let mut undeclared = String::new();
            let places = users
                .iter()
                .copied()
                .chain(by(SourceRole::Decides).map(|reading| reading.place))
                .chain(attested);
            let mut last = None;
            for place in places.filter(|place| !customer.declared.contains(&place.country)) {
                // sources that agree say it once
                if last != Some(place) {
                    append(&mut undeclared, &place.to_string());
                }
                last = Some(place);
            }
            if !undeclared.is_empty() {
                undeclared.push_str(" isn't declared");
                self.add(FindingCode::GeoUndeclared, undeclared);
            }
        }
    }

    /// What kind of network the client's address is in.
    fn network(&mut self, origin: &AddressProfile<'_>) {
        let (mut hiding, mut hosting) = (String::new(), String::new());
        for (list, class) in &origin.networks {
            let words = if class.hides() { &mut hiding } else { &mut hosting };
            append(words, &format!("{class} ({list})"));
        }
        if !hiding.is_empty() {
            self.add(FindingCode::NetworkAnonymizer, hiding);
        }
        if !hosting.is_empty() {
            self.add(FindingCode::NetworkHosting, hosting);
        }
    }

    /// What is wrong with a chain, or what a sound one reports.
    fn chain(&mut self, receipt: &Receipt, customer: Option<&Customer>, now: UnixSeconds) {
        let proof = match receipt {
            Receipt::Unconcerned => return,
            Receipt::Missing => {
                return self
                    .add(FindingCode::ChainMissing, "a reseller's request without tag and chain");
            }
            Receipt::Invalid(Rejection { error, .. }) => {
                return self.add(error.code(), error.to_string());
            }
            Receipt::Valid(proof) => proof,
        };
        for doubt in proof.doubts() {
            self.adopt(doubt.code(), &doubt.to_string());
        }
        if let Some(customer) = customer.filter(|customer| customer.id.as_str() != proof.customer())
        {
            let why = format!("signed by {}, authenticated as {}", proof.customer(), customer.id);
            self.add(FindingCode::ChainMismatch, why);
        }
        for (hop, claims) in proof.claims() {
            let by = |what: &str| format!("{what}reported by {}", hop.node);
            for code in &claims.findings {
                self.adopt(*code, &by(""));
            }
            match (claims.unscreened(), claims.until) {
                (Some(status), _) => {
                    self.adopt(
                        FindingCode::CustomerUnscreened,
                        &by(&format!("screening {status}, ")),
                    );
                }
                (_, Some(until)) if until <= now => {
                    self.adopt(
                        FindingCode::CustomerScreeningExpired,
                        &by(&format!("screened until {until}, ")),
                    );
                }
                _ => {}
            }
        }
    }

    /// Adds a finding, or more evidence to one that is there.
    fn adopt(&mut self, code: FindingCode, evidence: &str) {
        match self.0.iter_mut().find(|finding| finding.code == code) {
            Some(finding) if finding.evidence.contains(evidence) => {}
            Some(finding) => {
                finding.evidence.push_str("; ");
                finding.evidence.push_str(evidence);
            }
            None => self.add(code, evidence),
        }
    }

    fn marks(&mut self, Case { evidence, inbound, receipt, identity, .. }: &Case<'_>) {
        let customer = identity.customer();
        let reseller = customer.is_some_and(|customer| customer.kind == CustomerKind::Reseller);
        if !reseller && let Some(first) = evidence.relay_marks.first() {
            let mut software: Vec<&str> =
                evidence.relay_marks.iter().map(|mark| mark.software.as_str()).collect();
            software.dedup();
            self.add(
                FindingCode::RelayUndeclared,
                format!("{} (header {})", software.join(", "), first.header),
            );
        }
        // another reseller's node sends tag and chain by right
        let own = ReservedHeader { name: "signature", kind: ReservedKind::Chain };
        let own = Some(own)
            .filter(|own| inbound.signatures().ours.is_some() && !evidence.reserved.contains(own));
        let (mut sent, mut listed) = (String::new(), String::new());
        for header in evidence.reserved.iter().copied().chain(own) {
            match header.kind {
                ReservedKind::Chain if receipt.concerns() => {}
                ReservedKind::Chain | ReservedKind::Node => append(&mut sent, header.name),
                ReservedKind::Connection => append(&mut listed, header.name),
            }
        }
        if !sent.is_empty() {
            self.adopt(FindingCode::TagSpoofed, &["the client sent ", &sent].concat());
        }
        if !listed.is_empty() {
            self.adopt(FindingCode::TagSpoofed, &["connection lists ", &listed].concat());
        }
    }
}

/// Adds to a list in words.
fn append(list: &mut String, item: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(item);
}

/// What sources say, in words, by the standing that it leads to.
#[derive(Default)]
struct Standings {
    restricted: String,
    unlisted: String,
}

impl Standings {
    fn note(&mut self, standing: Standing, what: impl FnOnce() -> String) {
        match standing {
            Standing::Supported => {}
            Standing::Unlisted => append(&mut self.unlisted, &what()),
            Standing::Restricted => append(&mut self.restricted, &what()),
        }
    }
}
