//! Look-ups: what a request asks of the register and of the table of addresses.
//!
//! A request asks one register only, from beginning to end: the inline register of the
//! configuration, which has no table, or the snapshot that the worker has at the time.

use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::Peers;
use crate::config::Config;
use crate::register::{Customer, Match, Name, Node, NodeKey, Nodes, PageGone};
use crate::snapshot::Snapshot;
use crate::snapshot::table::FactsRow;
use crate::terms::region::Regions;
use crate::terms::time::UnixSeconds;

/// Where a request looks things up.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    config: &'a Config,
    snapshot: Option<&'a Snapshot>,
}

impl<'a> Lookups<'a> {
    /// Look-ups in the configuration's inline register, else in the snapshot, if it is there yet.
    pub fn new(config: &'a Config, snapshot: Option<&'a Snapshot>) -> Self {
        Self { config, snapshot }
    }

    /// Whether there is a register at all.
    pub fn are_loaded(self) -> bool {
        self.config.register.is_some() || self.snapshot.is_some()
    }

    /// The snapshot's sequence.
    pub fn sequence(self) -> Option<u64> {
        self.snapshot.map(|snapshot| snapshot.preamble.sequence)
    }

    /// When the snapshot was compiled, if that is longer ago than the configuration allows.
    pub fn stale_since(self, now: UnixSeconds) -> Option<UnixSeconds> {
        let max_age =
            i64::try_from(self.config.snapshot.as_ref()?.max_age_seconds.0).unwrap_or(i64::MAX);
        let created = self.snapshot?.preamble.created;
        (now.0.saturating_sub(created.0) > max_age).then_some(created)
    }

    /// The regions to judge by.
    pub fn regions(self) -> Option<&'a Regions> {
        self.config.regions.as_ref().or_else(|| Some(&self.snapshot?.head.regions))
    }

    /// The customer of a name.
    ///
    /// # Errors
    /// That the snapshot was replaced: decide again by the current one.
    pub fn customer(self, name: Name<'_>) -> Result<Option<Match>, PageGone> {
        match (&self.config.register, self.snapshot) {
            (Some(register), _) => Ok(register.customer(name)),
            (None, Some(snapshot)) => snapshot.customer(name),
            (None, None) => Ok(None),
        }
    }

    /// What the snapshot's sources say of an address.
    pub fn address(self, address: IpAddr) -> Option<FactsRow<'a>> {
        self.snapshot?.address(address)
    }

    /// Other resellers' nodes.
    pub fn nodes(self) -> Option<&'a Nodes> {
        let inline = self.config.register.as_ref().map(|register| &register.nodes);
        inline.or_else(|| Some(&self.snapshot?.nodes))
    }
}

impl Peers for Lookups<'_> {
    fn node_by_key(&self, thumbprint: &str) -> Option<(&Node, &NodeKey)> {
        self.nodes()?.by_thumbprint(thumbprint)
    }

    fn node(&self, id: &str) -> Option<&Node> {
        self.nodes()?.by_id(id)
    }

    fn customer(&self, id: &str) -> Result<Option<Arc<Customer>>, PageGone> {
        Ok(Lookups::customer(*self, Name::Id(id))?.map(|found| found.customer))
    }
}
