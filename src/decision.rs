//! The decision of one request: the whole way from raw facts to verdict and outcome, on one page.
//!
//! Envoy, the command line and the tests share [`Screen::decide`]. Its result depends on nothing
//! but its arguments. It changes only the [`Worker`], whose [`Signer`] draws nonces from the host's
//! random source.

pub mod case;
pub mod disclosure;
pub mod endpoints;
pub mod event;
pub mod evidence;
pub mod geography;
pub mod identity;
pub mod outcome;
pub mod path;
pub mod receipt;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod rules;
pub mod signals;
pub mod tag;
pub mod verdict;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "desk")]
use crate::chain::memory::InMemory;
use crate::chain::replay::ReplayMemory;
use crate::chain::{EnvelopeCache, Inbound, Signer};
use crate::config::{Config, Upstream};
use crate::decision::case::Case;
use crate::decision::evidence::software::SoftwareMemo;
use crate::decision::evidence::{Evidence, Watch};
use crate::decision::geography::{AddressProfile, Geography};
use crate::decision::identity::Identity;
use crate::decision::outcome::{Outcome, outcome};
use crate::decision::receipt::Receipt;
use crate::decision::request::{Request, Time};
use crate::decision::verdict::{Verdict, Weighed, verdict, weigh};
use crate::lookups::Lookups;
use crate::register::PageGone;
use crate::shape::Problems;
use crate::shape::ordered;
use crate::snapshot::Snapshot;
use crate::terms::finding::{Action, Finding};
use crate::terms::names;

/// A configuration and what follows from it for every request.
#[derive(Debug)]
pub struct Screen {
    config: Config,
    watch: Watch,
}

/// What one worker keeps between requests. A decision depends on nothing else but the request, the
/// configuration and the snapshot.
pub struct Worker {
    /// Its keys, and the signatures that it may use again
    pub signer: Signer,
    /// Chains that were verified, and that may come again
    pub cache: Arc<EnvelopeCache>,
    /// The nonces that all workers of the process have seen
    pub memory: Box<dyn ReplayMemory + Send>,
    /// Which programs clients named
    programs: SoftwareMemo,
}

/// A request's decision with all that led to it.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The event's id
    pub id: String,
    /// When the request came
    pub time: Time,
    /// What is known of the request
    pub case: Case<'a>,
    /// The sequence of the snapshot that it was looked up in
    pub snapshot: Option<u64>,
    /// What fired, and what is done about each
    pub weighed: Vec<Weighed>,
    /// What is done about the request
    pub verdict: Verdict,
    /// The header edits or the answer
    pub outcome: Outcome<'a>,
}

impl Screen {
    /// Parses a configuration.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let config = Config::parse(text)?;
        let watch = Watch::new(&config);
        Ok(Self { config, watch })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The header names that are looked at.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Decides a request by what the snapshot says, unless the configuration has an inline
    /// register. `id` names its event.
    ///
    /// # Errors
    /// That the snapshot was replaced while it was read. The request can be decided again: no nonce
    /// was remembered.
    pub fn decide<'a>(
        &'a self,
        request: &Request<'a>,
        snapshot: Option<&'a Snapshot>,
        worker: &mut Worker,
        id: String,
    ) -> Result<Decision<'a>, PageGone> {
        let Worker { signer, cache, memory, programs } = worker;
        let config = &self.config;
        let now = request.time.seconds();
        let lookups = Lookups::new(config, snapshot);

        let evidence = Evidence::gather(config, &self.watch, request, programs);
        let identity = Identity::look_up(lookups, &evidence, now)?;
        let origin = AddressProfile::of(config, lookups, &evidence);
        let authority = if evidence.lines.is_empty() {
            Cow::default()
        } else {
            names::authority(request.authority()).unwrap_or_default()
        };
        let inbound = Inbound::read(&evidence.lines, &authority, cache);
        let receipt = Receipt::of(
            (config, &receipt::receiver(config, &lookups, now)),
            &identity,
            (&evidence.lines, &inbound, &request.message(&authority)),
            cache,
            &mut **memory,
        )?;
        let chain_is_identity = receipt.concerns() && identity.customer().is_none();
        let identity = match &receipt {
            Receipt::Valid(proof) => identity.or_signed(config, proof.runner()),
            Receipt::Invalid(_) => identity.or_unproven(),
            Receipt::Unconcerned | Receipt::Missing => identity,
        };
        let geography = Geography::of(&evidence, &origin, &receipt, identity.customer());
        let case = Case { now, config, evidence, origin, inbound, receipt, identity, geography };

        let findings = rules::findings(&case, lookups);
        let Ruling { weighed, verdict, upstream } = Ruling::of(&case, chain_is_identity, findings);
        let outcome = outcome(&case, request, upstream, (&verdict, &weighed), signer, &id);
        let (time, snapshot) = (request.time, lookups.sequence());
        Ok(Decision { id, time, case, snapshot, weighed, verdict, outcome })
    }
}

/// What the policy makes of findings.
#[derive(Debug)]
pub struct Ruling<'a> {
    /// The findings, and what is done about each
    pub weighed: Vec<Weighed>,
    /// What is done about the request
    pub verdict: Verdict,
    /// Where it would go
    pub upstream: &'a Upstream,
}

impl<'a> Ruling<'a> {
    /// Weighs the findings of a case at the node's own upstream. Where a reroute wins, the case is
    /// looked at again for the upstream there. `chain_is_identity`: see [`verdict()`].
    #[inline] // its one caller in the module is `decide`
    pub fn of(case: &Case<'a>, chain_is_identity: bool, findings: Vec<Finding>) -> Self {
        let config = case.config;
        let customer = case.identity.customer();
        let weigh = |findings| weigh(&config.policy, customer, findings, case.now);
        let mut weighed = weigh(findings);
        let mut verdict = verdict(config.policy.mode, chain_is_identity, &weighed);
        let mut upstream = &config.upstream;
        if let Action::Reroute(name) = &verdict.action {
            match config.routes.get(name) {
                Some(other) => {
                    let there = weigh(rules::findings_at(case, other));
                    verdict = look_again(verdict, &there);
                    merge(&mut weighed, there);
                    upstream = other;
                }
                // a snapshot's override may name a route that this node doesn't have
                None => verdict.action = Action::Block,
            }
        }
        Self { weighed, verdict, upstream }
    }
}

/// The desk's and tests' worker: nothing to sign with, and nothing seen before.
#[cfg(feature = "desk")]
impl Default for Worker {
    fn default() -> Self {
        Self::new(Signer::default(), Box::new(InMemory::default()))
    }
}

impl Worker {
    /// A worker that has seen no request.
    pub fn new(signer: Signer, memory: Box<dyn ReplayMemory + Send>) -> Self {
        Self { signer, cache: Arc::default(), memory, programs: SoftwareMemo::default() }
    }

    /// Another worker of the same process, which finds what this one verified and signed.
    pub fn fork(&self, memory: Box<dyn ReplayMemory + Send>) -> Self {
        Self { cache: Arc::clone(&self.cache), ..Self::new(self.signer.fork(), memory) }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Decision<'_> {
    /// The customer that the event names: the caller. Of a chain that doesn't hold, the customer of
    /// the node whose key it names.
    pub fn customer(&self) -> Option<&str> {
        match (&self.case.identity, &self.case.receipt) {
            (Identity::Unproven, Receipt::Invalid(rejection)) => rejection.customer.as_deref(),
            (identity, _) => identity.customer().map(|customer| customer.id.as_str()),
        }
    }

    /// The HTTP status of the refusal, where it is one.
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::Answer(refusal) => Some(refusal.status),
            Outcome::Forward(_) => None,
        }
    }

    /// The entry of `routes` that the request is sent to, where it is rerouted.
    pub fn route(&self) -> Option<&str> {
        match &self.verdict.action {
            Action::Reroute(name) => Some(name.as_str()),
            Action::Allow | Action::Report | Action::Block => None,
        }
    }
}

/// A rerouted request is checked again for its new upstream. If a finding refuses or reroutes it
/// there too, it is refused: there is no other upstream left.
fn look_again(verdict: Verdict, there: &[Weighed]) -> Verdict {
    match there.iter().find(|weighed| matches!(weighed.action, Action::Block | Action::Reroute(_)))
    {
        Some(weighed) => {
            Verdict { action: Action::Block, would_be: None, reason: Some(weighed.finding.code) }
        }
        None => verdict,
    }
}

/// Adds the findings of the new upstream alone, in catalogue order.
fn merge(weighed: &mut Vec<Weighed>, there: Vec<Weighed>) {
    for new in there {
        if !weighed.iter().any(|known| known.finding.code == new.finding.code) {
            ordered::insert(weighed, new, |weighed| &weighed.finding.code);
        }
    }
}
