//! The rules: from evidence and lookups to findings. One small function for each family of the catalogue.
//!
//! A rule only says what is the case. What is done about it is [`crate::verdict`]'s business.

use std::fmt::Write as _;

use crate::config::{Config, Role, Upstream};
use crate::evidence::{Evidence, Reading};
use crate::finding::{Finding, FindingCode};
use crate::identity::Identity;
use crate::names::{UnixSeconds, printable};
use crate::path;
use crate::region::{Place, Regions, Standing};
use crate::register::{Customer, Enforcement, Kind, Ownership, ScreeningStatus, Status};

/// The geography of a request, its parts kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Geography {
    /// Where the person is, if somebody who is trusted with it says so
    pub user: Option<Place>,
    /// Where the call comes from: the first deciding source that knows, else the first that hints
    pub origin: Option<Place>,
}

/// Everything that fired, in catalogue order.
#[must_use]
pub fn findings(config: &Config, evidence: &Evidence<'_>, identity: &Identity<'_>, now: UnixSeconds) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    found.identity(evidence, identity, now);
    if let Some(customer) = identity.customer() {
        found.customer(config, customer, now);
    }
    found.upstream(evidence, identity.customer(), &config.upstream);
    if let Some(regions) = &config.regions {
        found.geography(config, regions, evidence, identity.customer());
    }
    found.marks(evidence, identity.customer());
    found.0.sort_unstable_by_key(|finding| finding.code);
    found.0
}

/// What fires at another upstream than the node's own, in catalogue order.
#[must_use]
pub fn findings_at(upstream: &Upstream, evidence: &Evidence<'_>, identity: &Identity<'_>) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    found.upstream(evidence, identity.customer(), upstream);
    found.0
}

/// The geography of a request.
#[must_use]
pub fn geography(config: &Config, evidence: &Evidence<'_>, customer: Option<&Customer>) -> Geography {
    let vouched = customer.is_some_and(|customer| customer.vouches_for_users);
    let user = evidence.user.first().filter(|_| vouched).map(|reading| reading.place);
    let readings = trusted_origin(evidence);
    let decided = readings.iter().find(|reading| role(config, reading) == Role::Decides);
    Geography { user, origin: decided.or(readings.first()).map(|reading| reading.place) }
}

/// What sources say of the client's address; nothing where they were asked about another address.
fn trusted_origin<'e>(evidence: &'e Evidence<'_>) -> &'e [Reading] {
    if evidence.other_address { &[] } else { &evidence.origin }
}

fn role(config: &Config, reading: &Reading) -> Role {
    config.geo.origin.get(reading.source).map_or(Role::Hints, |source| source.role)
}

/// What a reading's source is called in an explanation.
fn origin_source(config: &Config, reading: &Reading) -> String {
    let source = config.geo.origin.get(reading.source);
    source.and_then(|source| source.header.as_ref()).map_or_else(|| "snapshot".into(), ToString::to_string)
}

/// The findings of a request while they are collected.
struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, code: FindingCode, evidence: impl Into<String>) {
        self.0.push(Finding { code, evidence: evidence.into() });
    }

    fn identity(&mut self, evidence: &Evidence<'_>, identity: &Identity<'_>, now: UnixSeconds) {
        let caller = match identity {
            Identity::Unloaded => return self.add(FindingCode::SnapshotMissing, "no register is loaded"),
            Identity::Missing => return self.add(FindingCode::IdentityMissing, "no configured place holds a credential"),
            Identity::Unknown => {
                let count = evidence.credentials.len();
                return self.add(FindingCode::IdentityUnknown, format!("credentials presented: {count}, in the register: none"));
            }
            Identity::Conflict(one, other) => {
                return self.add(FindingCode::IdentityConflict, format!("credentials name both {} and {}", one.id, other.id));
            }
            Identity::Known(caller) => caller,
        };
        if let Some(expires) = caller.entry.and_then(|entry| entry.expires).filter(|expires| *expires <= now) {
            self.add(FindingCode::IdentityExpired, format!("the credential expired {expires}"));
        }
        if caller.outside {
            self.add(FindingCode::IdentityNetwork, "the client's address is in none of the credential's networks");
        }
    }

    fn customer(&mut self, config: &Config, customer: &Customer, now: UnixSeconds) {
        if customer.status == Status::Suspended {
            self.add(FindingCode::CustomerSuspended, "status suspended");
        }
        match &customer.screening {
            None => self.add(FindingCode::CustomerUnscreened, "no screening on record"),
            Some(screening) if screening.status != ScreeningStatus::Passed => {
                self.add(FindingCode::CustomerUnscreened, format!("screening {}", screening.status));
            }
            Some(screening) => {
                if let Some(until) = screening.until.filter(|until| *until <= now) {
                    self.add(FindingCode::CustomerScreeningExpired, format!("screened until {until}"));
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
                        self.add(FindingCode::CustomerAgreementMissing, format!("{} ended {until}", agreement.id));
                    }
                }
            }
        }
        match customer.ownership {
            Ownership::Clear => {}
            Ownership::Restricted => self.add(FindingCode::OwnershipRestricted, "owned from a restricted region beyond the threshold"),
            Ownership::Unresolved => self.add(FindingCode::OwnershipUnresolved, "who owns it isn't resolved"),
        }
    }

    /// What depends on where the request goes.
    fn upstream(&mut self, evidence: &Evidence<'_>, customer: Option<&Customer>, upstream: &Upstream) {
        let entry = customer.and_then(|customer| customer.at_provider(upstream.provider_name()));
        if let Some(enforcement @ (Enforcement::Restricted | Enforcement::Banned)) = entry.map(|entry| entry.enforcement) {
            self.add(FindingCode::ProviderRestricted, format!("{} by {}", enforcement, upstream.provider_name()));
        }
        if let Some(denied) = upstream.deny_paths.iter().find(|prefix| path::is_under(&evidence.path, prefix)) {
            self.add(FindingCode::ProviderAdminPath, format!("under {denied}"));
        }
        if let Some(required) = customer.and_then(|customer| customer.residency) {
            match upstream.residency {
                Some(offered) if required.admits(offered) => {}
                Some(offered) => self.add(FindingCode::ResidencyMismatch, format!("must stay in {required}, upstream is in {offered}")),
                None => {
                    self.add(FindingCode::ResidencyMismatch, format!("must stay in {required}, where the upstream is isn't configured"))
                }
            }
        }
    }

    fn geography(&mut self, config: &Config, regions: &Regions, evidence: &Evidence<'_>, customer: Option<&Customer>) {
        let Geography { user, origin: _ } = geography(config, evidence, customer);
        let readings = trusted_origin(evidence);
        // who says what, by how the place stands; a vouched user's place is said by the customer
        let mut said = Said::default();
        if let Some(place) = user {
            said.note(regions.standing(place), format_args!("user {place}"));
        }
        let deciding: Vec<&Reading> = readings.iter().filter(|reading| role(config, reading) == Role::Decides).collect();
        for reading in &deciding {
            said.note(regions.standing(reading.place), format_args!("origin {} ({})", reading.place, origin_source(config, reading)));
        }
        let hinting = readings.iter().filter(|reading| role(config, reading) == Role::Hints);
        let hints: Vec<&Reading> = hinting.filter(|reading| regions.standing(reading.place) == Standing::Restricted).collect();

        if let Some(hint) = hints.first().filter(|_| said.restricted.is_empty()) {
            self.add(
                FindingCode::GeoConflict,
                format!("origin {} ({}, a hint) where no deciding source says restricted", hint.place, origin_source(config, hint)),
            );
        }
        if !said.restricted.is_empty() {
            self.add(FindingCode::GeoRestricted, said.restricted);
        }
        if !said.unlisted.is_empty() {
            self.add(FindingCode::GeoUnlisted, said.unlisted);
        }
        if readings.is_empty() {
            let why = match (evidence.other_address, evidence.address.malformed) {
                (true, _) => "Envoy looked up another address than the client's",
                (false, true) => "the client's address is malformed",
                (false, false) => "no source knows",
            };
            self.add(FindingCode::GeoUnknown, why);
        }
        let claims = evidence.user.iter().filter(|_| user.is_none());
        if let Some(claim) = claims.into_iter().find(|claim| regions.standing(claim.place) == Standing::Restricted) {
            self.add(FindingCode::GeoClaimed, format!("user {} by a caller that isn't trusted with it", claim.place));
        }
        if let Some(customer) = customer {
            let places = user.into_iter().chain(deciding.iter().map(|reading| reading.place));
            let undeclared: Vec<String> =
                places.filter(|place| !customer.declared.contains(&place.country)).map(|place| place.to_string()).collect();
            if !undeclared.is_empty() {
                self.add(FindingCode::GeoUndeclared, format!("{} isn't declared", undeclared.join(" and ")));
            }
        }
    }

    fn marks(&mut self, evidence: &Evidence<'_>, customer: Option<&Customer>) {
        let reseller = customer.is_some_and(|customer| customer.kind == Kind::Reseller);
        if !reseller && let Some(first) = evidence.relay_marks.first() {
            let mut software: Vec<&str> = evidence.relay_marks.iter().map(|mark| mark.software.as_str()).collect();
            software.dedup();
            self.add(FindingCode::RelayUndeclared, format!("{} (header {})", software.join(", "), first.header));
        }
        // another reseller's node sends tag and chain by right
        let mut spoofed: Vec<String> =
            evidence.owned.iter().filter(|owned| !(reseller && owned.of_chain)).map(|owned| printable(owned.name)).collect();
        spoofed.dedup();
        if !spoofed.is_empty() {
            self.add(FindingCode::TagSpoofed, format!("the client sent {}", spoofed.join(", ")));
        }
    }
}

/// Explanations of what sources say, by the standing that it leads to.
#[derive(Default)]
struct Said {
    restricted: String,
    unlisted: String,
}

impl Said {
    fn note(&mut self, standing: Standing, what: std::fmt::Arguments<'_>) {
        let list = match standing {
            Standing::Supported => return,
            Standing::Unlisted => &mut self.unlisted,
            Standing::Restricted => &mut self.restricted,
        };
        let comma = if list.is_empty() { "" } else { ", " };
        // writing to a String can't fail
        if write!(list, "{comma}{what}").is_err() {}
    }
}
