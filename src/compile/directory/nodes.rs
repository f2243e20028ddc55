//! Other resellers' nodes, checked against each other and against the customers.

use std::collections::HashMap;

use super::customers::first_place;
use super::documents::PartialList;
use super::files::NODES;
use super::forms::EntryLocations;
use super::guess::SuggestionBudget;
use crate::compile::remarks::{Remark, Remarks};
use crate::register::{Customer, CustomerKind, Node, check_node};
use crate::shape::{Path, Problems};

pub(super) fn check_nodes(
    nodes: &PartialList<Node>,
    customers: &[Customer],
    locations: &EntryLocations,
    ids: &HashMap<&str, usize>,
    remarks: &mut Remarks,
) {
    let mut problems = Problems::default();
    let mut notices = Problems::default();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut keys: HashMap<&[u8], usize> = HashMap::new();
    let mut budget = SuggestionBudget::MOST;
    let nodes_at = Path::Member(&Path::Root, "nodes");
    for (i, node) in &nodes.values {
        let here = Path::Element(&nodes_at, *i);
        check_node(node, &here, &mut problems);
        if let Some(first) = first_place(names.entry(node.id.as_str()), *i) {
            let help = format!("the first is $.nodes[{first}]; give one node several keys instead");
            problems.wrong(&Path::Member(&here, "id"), &format!("duplicate `{}`", node.id), &help);
        }
        let keys_at = Path::Member(&here, "keys");
        if node.keys.is_empty() && !remarks.have_errors_at(NODES, &keys_at) {
            let help = "ask its operator for the public JWK (`waybill keygen --public` prints it)";
            let message = format!("missing key: no signature of `{}` can be verified", node.id);
            problems.wrong(&here, &message, help);
        }
        for (n, key) in node.keys.iter().enumerate() {
            if let Some(first) = first_place(keys.entry(key.x.as_bytes()), *i) {
                let help = format!("$.nodes[{first}] has it already; each node needs its own key");
                problems.wrong(&Path::Element(&keys_at, n), "duplicate key", &help);
            }
        }
        let customer_at = Path::Member(&here, "customer");
        match ids.get(node.customer.as_str()).and_then(|i| customers.get(*i)) {
            None if !locations.whole => {} // it may be among the customers that couldn't be read
            None => {
                let other = "add the reseller that runs the node to the customers";
                let help = budget.suggest(node.customer.as_str(), ids.keys().copied(), other);
                let message = format!("unknown customer `{}`", node.customer);
                problems.wrong(&customer_at, &message, &help);
            }
            Some(customer) if customer.kind != CustomerKind::Reseller => notices.note(
                &customer_at,
                format!("`{}` isn't a reseller, so its chains are ignored", node.customer),
                Some("set the customer's `kind` to `reseller`".into()),
            ),
            Some(_) => {}
        }
    }
    remarks.take(NODES, None, &problems);
    remarks.notices.extend(notices.iter().map(|problem| Remark {
        file: NODES.into(),
        line: None,
        problem: problem.clone(),
    }));
}
