//! Lookups: what a request asks of the register and of the table of addresses.
//!
//! Both are in memory: in the configuration itself (an inline register, no table) or in the snapshot that
//! the worker holds at the time. A request asks one of them only, from beginning to end.

use std::rc::Rc;

use crate::chain::Peers;
use crate::config::{Config, Role};
use crate::evidence::Evidence;
use crate::names::UnixSeconds;
use crate::region::{Place, Regions};
use crate::register::{Customer, Match, Name, Node, NodeKey, Nodes};
use crate::snapshot::{NetworkClass, Snapshot};

/// Where a request looks things up.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    config: &'a Config,
    snapshot: Option<&'a Snapshot>,
}

/// What is known of the client's address.
#[derive(Debug, Default)]
pub struct Origin<'a> {
    /// What each source says of its country, in the order of the sources
    pub located: Vec<Located<'a>>,
    /// The lists that it is on
    pub networks: Vec<(&'a str, NetworkClass)>,
    /// The autonomous system that announces it
    pub asn: Option<u32>,
}

/// What one source says of the country of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<'a> {
    /// The place
    pub place: Place,
    /// How much the source counts
    pub role: Role,
    /// The source: a header's name, or what the snapshot calls it
    pub source: &'a str,
}

impl<'a> Lookups<'a> {
    /// Lookups in the configuration's inline register, or else in the snapshot, where there is one yet.
    pub fn new(config: &'a Config, snapshot: Option<&'a Snapshot>) -> Self {
        Self { config, snapshot }
    }

    /// Whether there is a register at all.
    pub fn are_loaded(self) -> bool {
        self.config.register.is_some() || self.snapshot.is_some()
    }

    /// The snapshot's sequence.
    pub fn sequence(self) -> Option<u64> {
        self.snapshot.map(Snapshot::sequence)
    }

    /// When the snapshot was made, where that is longer ago than the configuration allows.
    pub fn stale_since(self, now: UnixSeconds) -> Option<UnixSeconds> {
        let max_age =
            i64::try_from(self.config.snapshot.as_ref()?.max_age_seconds.0).unwrap_or(i64::MAX);
        let created = self.snapshot?.created();
        (now.0.saturating_sub(created.0) > max_age).then_some(created)
    }

    /// The regions to judge by.
    pub fn regions(self) -> Option<&'a Regions> {
        self.config.regions.as_ref().or_else(|| self.snapshot.map(Snapshot::regions))
    }

    /// The customer of a name.
    pub fn customer(self, name: Name<'_>) -> Option<Match> {
        match &self.config.register {
            Some(register) => register.customer(name),
            None => self.snapshot?.customer(name),
        }
    }

    /// Other resellers' nodes.
    pub fn nodes(self) -> Option<&'a Nodes> {
        match &self.config.register {
            Some(register) => Some(register.nodes()),
            None => self.snapshot.map(Snapshot::nodes),
        }
    }

    /// What is known of the client's address: by the headers that earlier filters set, unless they were
    /// asked about another address, and by the snapshot. Nothing of an address that isn't known.
    pub fn origin(self, evidence: &Evidence<'_>) -> Origin<'a> {
        let mut origin = Origin::default();
        let facts = self
            .snapshot
            .zip(evidence.client)
            .and_then(|(snapshot, address)| snapshot.address(address));
        for source in &self.config.geo.origin {
            let Some(header) = &source.header else {
                if let Some(facts) = &facts {
                    // what the configuration says of the snapshot as a whole can only weaken its sources
                    let role =
                        |own: Role| if source.role == Role::Hints { Role::Hints } else { own };
                    let places = facts.places().map(|(place, own, source)| Located {
                        place,
                        role: role(own),
                        source,
                    });
                    origin.located.extend(places);
                }
                continue;
            };
            if evidence.set_aside.is_none() && evidence.client.is_some() {
                let readings = evidence.origin.iter().filter(|reading| header == reading.header);
                origin.located.extend(readings.map(|reading| Located {
                    place: reading.place,
                    role: source.role,
                    source: header.as_str(),
                }));
            }
        }
        if let Some(facts) = facts {
            origin.networks.extend(facts.lists());
            origin.asn = facts.asn();
        }
        origin
    }
}

impl Peers for Lookups<'_> {
    fn node_by_key(&self, thumbprint: &str) -> Option<(&Node, &NodeKey)> {
        self.nodes()?.by_thumbprint(thumbprint)
    }

    fn node(&self, id: &str) -> Option<&Node> {
        self.nodes()?.by_id(id)
    }

    fn customer(&self, id: &str) -> Option<Rc<Customer>> {
        Some(Lookups::customer(*self, Name::Id(id))?.customer)
    }
}

impl Origin<'_> {
    /// The country: of the first source that decides and knows, else of the first that hints.
    pub fn place(&self) -> Option<Place> {
        let decided = self.located.iter().find(|located| located.role == Role::Decides);
        decided.or(self.located.first()).map(|located| located.place)
    }

    /// What kind of network it is: the kind that hides most, where it is on several lists.
    pub fn network(&self) -> Option<NetworkClass> {
        self.networks.iter().map(|(_, class)| *class).max()
    }
}
