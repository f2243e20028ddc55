//! One request, decided: the whole way from raw facts to verdict and outcome.
//!
//! [`Screen::decide`] is what Envoy, the command line and the tests share. It is pure: the same
//! configuration and request give the same decision.

use crate::config::Config;
use crate::evidence::{Evidence, Watch};
use crate::finding::Action;
use crate::identity::Identity;
use crate::outcome::{Grounds, Outcome, outcome};
use crate::request::{Request, Time};
use crate::rules::{self, Geography};
use crate::shape::Problems;
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
    pub identity: Identity<'a>,
    /// From where
    pub geography: Geography,
    /// What fired, and what is done about each
    pub weighed: Vec<Weighed<'a>>,
    /// What is done about the request
    pub verdict: Verdict<'a>,
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
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The header names that are looked at.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Decides a request. `id` names its event.
    #[must_use]
    pub fn decide<'a>(&'a self, request: &Request<'a>, id: String) -> Decision<'a> {
        let config = &self.config;
        let now = request.time.seconds();
        let evidence = Evidence::gather(config, &self.watch, request);
        let identity = Identity::look_up(config, &evidence, now);
        let customer = identity.customer();
        let geography = rules::geography(config, &evidence, customer);
        let mut weighed = weigh(&config.policy, customer, rules::findings(config, &evidence, &identity, now), now);
        let mut verdict = verdict(config.policy.mode, &weighed);
        let mut upstream = &config.upstream;
        if let Action::Reroute(name) = verdict.action
            && let Some(other) = config.routes.get(name)
        {
            let there = weigh(&config.policy, customer, rules::findings_at(other, &evidence, &identity), now);
            verdict = look_again(verdict, &there);
            merge(&mut weighed, there);
            upstream = other;
        }
        let grounds = Grounds { config, evidence: &evidence, customer, geography, weighed: &weighed, verdict: &verdict, now };
        let outcome = outcome(grounds, request, upstream, &id);
        Decision { id, time: request.time, config, evidence, identity, geography, weighed, verdict, outcome }
    }
}

impl Decision<'_> {
    /// The entry of `routes` that the request is sent to, where it is rerouted.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        match self.verdict.action {
            Action::Reroute(name) => Some(name.as_str()),
            Action::Allow | Action::Report | Action::Block => None,
        }
    }
}

/// After a reroute: whatever would refuse or reroute at the new upstream too refuses the request, since
/// there is nowhere left to send it.
fn look_again<'a>(verdict: Verdict<'a>, there: &[Weighed<'a>]) -> Verdict<'a> {
    match there.iter().find(|weighed| matches!(weighed.action, Action::Block | Action::Reroute(_))) {
        Some(weighed) => Verdict { action: &Action::Block, would_be: None, reason: Some(weighed.finding.code) },
        None => verdict,
    }
}

/// Adds what fired only at the new upstream, in catalogue order.
fn merge<'a>(weighed: &mut Vec<Weighed<'a>>, there: Vec<Weighed<'a>>) {
    for new in there {
        if !weighed.iter().any(|known| known.finding.code == new.finding.code) {
            weighed.push(new);
        }
    }
    weighed.sort_unstable_by_key(|weighed| weighed.finding.code);
}
