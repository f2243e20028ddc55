//! Shares multiplied along each chain and added up over chains.

use std::collections::BTreeSet;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::entity::WHOLE;
use super::graph::Graph;
use super::indirect::SpecialCases;
use super::remainder::Remainder;
use super::rings::{self, RingMember, Walk};
use super::share::part;

impl Graph {
    /// The ends of all walks, and the members of closed rings. Owners are solved before the
    /// entities that they own; a ring is solved as one.
    pub(super) fn multiply(
        &self,
        ends: &[Remainder],
        special: &SpecialCases,
    ) -> (Vec<Walk>, BTreeSet<usize>) {
        let mut graph = DiGraph::<(), (), usize>::default();
        for _ in 0..self.len() {
            graph.add_node(());
        }
        for (of, _) in ends.iter().enumerate().filter(|(_, end)| end.restricted.is_none()) {
            for stake in self.owners(of).iter().filter(|stake| stake.basis_points > 0) {
                graph.add_edge(NodeIndex::new(of), NodeIndex::new(stake.owner), ());
            }
        }
        for (of, case) in special {
            for owner in case.holders(self.owners(*of)) {
                graph.add_edge(NodeIndex::new(*of), NodeIndex::new(owner), ());
            }
        }
        let mut walks = vec![Walk::default(); ends.len()];
        let mut ring_of = vec![usize::MAX; ends.len()];
        let mut closed = BTreeSet::new();
        let mut budget = rings::SWEEPS;
        for (number, members) in kosaraju_scc(&graph).into_iter().enumerate() {
            for member in &members {
                if let Some(ring) = ring_of.get_mut(member.index()) {
                    *ring = number;
                }
            }
            if members.iter().any(|member| special.contains_key(&member.index())) {
                let members: Vec<usize> = members.iter().map(|member| member.index()).collect();
                self.settle(&members, ends, special, &mut walks, &mut budget);
                continue;
            }
            let mut ring: Vec<RingMember> = members
                .iter()
                .map(|member| self.member(member.index(), number, ends, &ring_of, &walks))
                .collect();
            if ring.iter().all(|member| member.leaves == 0.0) {
                // nobody outside holds any of it, known or unknown: no walk ends at all
                closed.extend(ring.iter().map(|member| member.entity));
                ring.iter_mut()
                    .for_each(|member| member.walk = Walk { clear: 1.0, ..Walk::default() });
            } else {
                rings::solve(&mut ring, &mut budget);
            }
            for member in ring {
                if let Some(walk) = walks.get_mut(member.entity) {
                    *walk = member.walk;
                }
            }
        }
        (walks, closed)
    }

    /// An entity of a ring, with what comes from outside the ring.
    fn member(
        &self,
        entity: usize,
        ring: usize,
        ends: &[Remainder],
        ring_of: &[usize],
        walks: &[Walk],
    ) -> RingMember {
        let end = ends.get(entity).copied().unwrap_or_default();
        if end.restricted.is_some() {
            let walk = Walk { restricted: 1.0, ..Walk::default() };
            return RingMember { entity, base: walk, within: Vec::new(), leaves: 1.0, walk };
        }
        let mut base = Walk { restricted: 0.0, unknown: part(end.unknown), clear: part(end.clear) };
        let mut within = Vec::new();
        let mut inside: u32 = 0;
        for stake in self.owners(entity).iter().filter(|stake| stake.basis_points > 0) {
            if ring_of.get(stake.owner) == Some(&ring) {
                inside = inside.saturating_add(stake.basis_points);
                within.push((stake.owner, part(stake.basis_points)));
            } else {
                let walk = walks.get(stake.owner).copied().unwrap_or_default();
                base.add(part(stake.basis_points), walk);
            }
        }
        let leaves = part(WHOLE.saturating_sub(inside));
        RingMember { entity, base, within, leaves, walk: Walk::default() }
    }
}
