//! One request, decided: the whole way from raw facts to verdict and outcome.
//!
//! [`Screen::decide`] is what Envoy, the command line and the tests share. It is pure: the same
//! configuration and request give the same decision.

use crate::chain::{Custody, Judge, Presented, Received, Vouched};
use crate::config::Config;
use crate::evidence::{Evidence, Watch};
use crate::finding::Action;
use crate::identity::Identity;
use crate::lookups::{Lookups, Origin};
use crate::ordered;
use crate::outcome::{Grounds, Outcome, outcome};
use crate::request::{Request, Time};
use crate::rules::{self, Geography};
use crate::shape::Problems;
use crate::snapshot::Snapshot;
use crate::verdict::{Verdict, Weighed, verdict, weigh};

/// A configuration and what follows from it for every request.
#[derive(Debug)]
pub struct Screen {
    config: Config,
    watch: Watch,
}

/// A request's decision with all that led to it.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The event's id
    pub id: String,
    /// When the request came
    pub time: Time,
    /// Under which configuration
    pub config: &'a Config,
    /// What was seen
    pub evidence: Evidence<'a>,
    /// Who is calling
    pub identity: Identity,
    /// What is known of the client's address
    pub origin: Origin<'a>,
    /// What earlier nodes attested
    pub received: Received,
    /// From where
    pub geography: Geography,
    /// The sequence of the snapshot that it was looked up in
    pub snapshot: Option<u64>,
    /// What fired, and what is done about each
    pub weighed: Vec<Weighed>,
    /// What is done about the request
    pub verdict: Verdict,
    /// How
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

    /// Decides a request by what the snapshot says, unless the configuration has an inline register. `id`
    /// names its event.
    pub fn decide<'a>(
        &'a self,
        request: &Request<'a>,
        snapshot: Option<&'a Snapshot>,
        custody: &mut Custody,
        id: String,
    ) -> Decision<'a> {
        let config = &self.config;
        let now = request.time.seconds();
        let evidence = Evidence::gather(config, &self.watch, request);
        let lookups = Lookups::new(config, snapshot);
        let identity = Identity::look_up(lookups, &evidence, now);
        let presented = Presented::read(&evidence.lines, request, custody);
        let judge =
            Judge { config, lookups, request, evidence: &evidence, presented: &presented, now };
        let received = judge.receive(&identity, custody);
        let chain_is_identity = received.concerns() && identity.customer().is_none();
        let identity = identity.or_signed(config, lookups, &received);
        let customer = identity.customer();
        let origin = lookups.origin(&evidence);
        let geography = rules::geography(&evidence, &origin, &received, customer);
        let grounds = rules::Grounds {
            config,
            lookups,
            evidence: &evidence,
            presented: &presented,
            received: &received,
            identity: &identity,
            origin: &origin,
            now,
        };
        let findings = rules::findings(grounds);
        let mut weighed = weigh(&config.policy, customer, findings, now);
        let mut verdict = verdict(config.policy.mode, chain_is_identity, &weighed);
        let mut upstream = &config.upstream;
        if let Action::Reroute(name) = &verdict.action {
            match config.routes.get(name) {
                Some(other) => {
                    let there = weigh(
                        &config.policy,
                        customer,
                        rules::findings_at(other, &evidence, &identity, now),
                        now,
                    );
                    verdict = look_again(verdict, &there);
                    merge(&mut weighed, there);
                    upstream = other;
                }
                // a snapshot's override may name a route that this node doesn't have
                None => verdict.action = Action::Block,
            }
        }
        let vouched = Vouched::for_request(&identity, &received);
        let grounds = Grounds {
            config,
            evidence: &evidence,
            customer,
            geography,
            presented: &presented,
            received: &received,
            vouched,
            weighed: &weighed,
            verdict: &verdict,
            now,
        };
        let outcome = outcome(grounds, request, upstream, custody, &id);
        let snapshot = lookups.sequence();
        Decision {
            id,
            time: request.time,
            config,
            evidence,
            identity,
            origin,
            received,
            geography,
            snapshot,
            weighed,
            verdict,
            outcome,
        }
    }
}

impl Decision<'_> {
    /// The customer that the event names: who is calling, else whose node's key a chain names that doesn't hold.
    pub fn customer(&self) -> Option<&str> {
        match (&self.identity, &self.received) {
            (Identity::Unproven, Received::Broken(broken)) => broken.customer.as_deref(),
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

/// After a reroute: whatever would refuse or reroute at the new upstream too refuses the request, since
/// there is nowhere left to send it.
fn look_again(verdict: Verdict, there: &[Weighed]) -> Verdict {
    match there.iter().find(|weighed| matches!(weighed.action, Action::Block | Action::Reroute(_)))
    {
        Some(weighed) => {
            Verdict { action: Action::Block, would_be: None, reason: Some(weighed.finding.code) }
        }
        None => verdict,
    }
}

/// Adds what fired only at the new upstream, in catalogue order.
fn merge(weighed: &mut Vec<Weighed>, there: Vec<Weighed>) {
    for new in there {
        if !weighed.iter().any(|known| known.finding.code == new.finding.code) {
            ordered::insert(weighed, new, |weighed| &weighed.finding.code);
        }
    }
}
