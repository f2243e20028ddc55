//! The proofs: one function a promise, over the model of the ways.
//!
//! What can't be proved is a mistake that says so.

mod after;
mod before;
mod credential;
mod files;
mod geography;
mod log;
mod manager;
mod node;
mod signing;

use super::model::Gateway;
use super::report::{Report, Surroundings};
use super::way::{NodeInList, Way};

/// Proves all promises, or says which one isn't kept.
pub(super) fn prove(gateway: &Gateway<'_>, surroundings: &Surroundings<'_>) -> Report {
    let mut report = Report::default();
    files::prove(gateway, surroundings, &mut report);
    for manager in &gateway.managers {
        let way = Way::new(gateway, manager, &mut report);
        prove_way(&way, &mut report);
    }
    credential::prove_connections(gateway, &mut report);
    files::note_parts(gateway, &mut report);
    report
}

fn prove_way(way: &Way<'_, '_>, report: &mut Report) {
    let has_node = way.manager.has_node();
    if !has_node && way.holders().is_empty() {
        return;
    }
    for list in &way.manager.chains {
        node::prove(way, list, report);
    }
    let nodes: Vec<_> = way.manager.chains.iter().filter_map(NodeInList::in_list).collect();
    for node in &nodes {
        before::prove(way, node, report);
        geography::prove(way, node, report);
        after::prove(way, node, report);
        credential::prove(way, node, report);
        signing::prove(way, node, report);
        manager::prove(way, node, report);
    }
    log::prove(way, report);
}
