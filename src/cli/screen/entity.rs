//! The result of one entity, with the owners that it rests on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::output::wrap;
use super::tree::{MOST_CHAINS, OwnerTree, TreeRow};
use crate::compile::ownership::{
    EntityIndex, OwnershipChain, OwnershipChains, OwnershipResult, OwnershipScreening, Percentage,
    basis_points,
};
use crate::compile::settings::{Comparison, Method, OwnershipSettings};
use crate::register::Ownership;
use crate::shape::Integer;
use crate::terms::region::Place;

/// One entity's result, its owners and notes.
pub(super) struct EntityReport<'a> {
    screening: &'a OwnershipScreening<'a>,
    pub(super) tree: OwnerTree<'a>,
    judgement: OwnershipResult,
    chains: OwnershipChains,
    behind: Vec<EntityIndex>,
}

impl<'a> EntityReport<'a> {
    pub(super) fn of(screening: &'a OwnershipScreening<'a>, subject: EntityIndex) -> Self {
        let (judgement, behind) = (screening.judge(subject), screening.behind(subject));
        let chains = screening.chains(subject, MOST_CHAINS);
        Self { screening, tree: OwnerTree { screening, subject }, judgement, chains, behind }
    }

    pub(super) fn as_json(&self) -> Value {
        let OwnershipResult { status, itself, ownerless, cascade, multiplicative } = self.judgement;
        let settings = self.screening.settings();
        let paths = self.chains.chains.iter().map(|chain| {
            let id = |entity: &Option<_>| entity.map(|index| self.tree.id(index));
            json!({
                "entities": chain.entities.iter().map(id).collect::<Vec<_>>(),
                "shares_basis_points": chain.shares,
                "basis_points": chain.share.map(basis_points),
                "end": if chain.restricted { "restricted" } else { "unknown" },
            })
        });
        let blocked = self.blocked().map(|(index, share)| {
            let place = self.screening.itself(index).map(|place| place.to_string());
            json!({"entity": self.tree.id(index), "place": place, "share_basis_points": share})
        });
        let owners = self.owners().into_iter().map(|(index, place, share)| {
            let (place, share) = (place.to_string(), basis_points(share));
            json!({"entity": self.tree.id(index), "place": place, "basis_points": share})
        });
        json!({
            "entity": self.tree.id(self.tree.subject),
            "status": status,
            "method": settings.method,
            "comparison": settings.comparison,
            "threshold_basis_points": settings.threshold_basis_points.0,
            "itself": itself.map(|place| place.to_string()),
            "ownerless": ownerless,
            "cascade": {
                "restricted": cascade.restricted,
                "restricted_worst": cascade.restricted_worst,
                "share_basis_points": cascade.basis_points,
                "share_basis_points_worst": cascade.basis_points_worst,
                "blocked": blocked.collect::<Vec<_>>(),
            },
            "multiplicative": {
                "restricted": multiplicative.restricted,
                "restricted_worst": multiplicative.restricted_worst,
                "basis_points": basis_points(multiplicative.share),
                "basis_points_worst": basis_points(multiplicative.share_worst),
            },
            "owners": owners.collect::<Vec<_>>(),
            "paths": paths.collect::<Vec<_>>(),
            "paths_left_out": self.chains.more,
            "notes": self.notes(),
        })
    }

    pub(super) fn as_text(&self) -> String {
        let mut out = String::new();
        for TreeRow { first, further, label, .. } in self.tree.rows() {
            out.push_str(&wrap(&label, &first, &further));
        }
        let owners = self.owners();
        if self.judgement.itself.is_none() && !owners.is_empty() {
            let title = wrap("multiplied along each chain and added up:", "", "");
            out.push_str(&format!("\n{title}"));
            for (index, place, share) in &owners {
                let (share, name) = (Percentage(basis_points(*share)), self.tree.name(*index));
                let line = format!("{share}  from {place}: {name}");
                out.push_str(&wrap(&line, "  ", "    "));
            }
        }
        for note in self.notes() {
            out.push_str(&format!("\n{}", wrap(&format!("note: {note}"), "", "  ")));
        }
        out.push_str(&format!("\n{}", wrap(&self.sentence(), "", "")));
        out
    }

    /// The entities that count as restricted by the cascade, with the restricted share of each; the
    /// first [`MOST_CHAINS`] of them.
    fn blocked(&self) -> impl Iterator<Item = (EntityIndex, u32)> {
        let blocked = |index: &EntityIndex| Some((*index, self.screening.blocked(*index)?));
        self.behind.iter().filter_map(blocked).take(MOST_CHAINS)
    }

    /// The restricted owners at the ends of the chains, with place and share, largest first.
    fn owners(&self) -> Vec<(EntityIndex, Place, f64)> {
        let mut owners: Vec<(EntityIndex, Place, f64)> = Vec::new();
        for OwnershipChain { entities, share, .. } in &self.chains.chains {
            if let (Some(Some(end)), Some(share)) = (entities.first(), share)
                && let Some(place) = self.screening.itself(*end)
            {
                match owners.iter_mut().find(|(owner, _, _)| owner == end) {
                    Some((_, _, sum)) => *sum += share,
                    None => owners.push((*end, place, *share)),
                }
            }
        }
        owners.sort_by(|a, b| b.2.total_cmp(&a.2));
        owners
    }

    /// Notes on the result.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.chains.more {
            let count = self.chains.chains.len();
            notes.push(format!("only the {count} largest chains were looked at"));
        }
        if self.chains.rings {
            notes.push(
                "companies here hold shares of each other: the multiplied share counts each turn \
                 of the ring, the chains count none"
                    .into(),
            );
        }
        let mut list = |which: &dyn Fn(EntityIndex) -> bool, one: &str, many: &str| {
            let found = self.behind.iter().copied().filter(|index| which(*index));
            let found: Vec<&str> = found.map(|index| self.tree.id(index)).collect();
            let (first, rest) = found.split_at(found.len().min(5));
            match (first, rest) {
                ([], _) => {}
                ([only], _) => notes.push(format!("`{only}` {one}")),
                (few, []) => notes.push(format!("`{}` {many}", few.join("`, `"))),
                (few, more) => {
                    notes.push(format!("`{}` and {} more {many}", few.join("`, `"), more.len()))
                }
            }
        };
        list(
            &|index| index != self.tree.subject && self.screening.taken_by_place(index),
            "has no owner on file, so its place alone counts; with `\"type\": \"company\"` it \
             would need owners",
            "have no owner on file, so their places alone count; with `\"type\": \"company\"` they \
             would need owners",
        );
        list(
            &|index| {
                let entity = self.screening.graph().entity(index);
                entity.is_some_and(|entity| !entity.nowhere.is_empty())
            },
            "has an unknown place, which counts as restricted in the worst case",
            "have unknown places, which count as restricted in the worst case",
        );
        list(
            &|index| self.screening.contradicts_itself(index),
            "has more than 100 % of shares on file: in the worst case any of its holders holds it",
            "have more than 100 % of shares on file: in the worst case any of their holders holds \
             them",
        );
        list(
            &|index| self.screening.in_closed_ring(index),
            "holds all of itself: no owner behind it is on file",
            "hold all of each other: no owner behind them is on file",
        );
        notes
    }

    /// The result in one sentence.
    pub(super) fn sentence(&self) -> String {
        let OwnershipResult { status, itself, ownerless, cascade, multiplicative } = self.judgement;
        let OwnershipSettings { method, comparison, threshold_basis_points: Integer(threshold) } =
            self.screening.settings();
        let threshold = Percentage(u32::try_from(*threshold).unwrap_or(u32::MAX));
        let (beyond, within) = match comparison {
            Comparison::Gt => {
                (format!("more than {threshold}"), format!("not more than {threshold}"))
            }
            Comparison::Ge => (format!("{threshold} or more"), format!("less than {threshold}")),
        };
        let by_cascade = MethodShare {
            method: "cascade",
            known: (cascade.basis_points, cascade.restricted),
            worst: (cascade.basis_points_worst, cascade.restricted_worst),
        };
        let by_product = MethodShare {
            method: "multiplied",
            known: (basis_points(multiplicative.share), multiplicative.restricted),
            worst: (basis_points(multiplicative.share_worst), multiplicative.restricted_worst),
        };
        let shares = match method {
            Method::Cascade => vec![by_cascade],
            Method::Multiplicative => vec![by_product],
            Method::Either => vec![by_cascade, by_product],
        };
        let known = |all: bool| listed(shares.iter().map(|share| (share.known, share.method)), all);
        let worst = |all: bool| listed(shares.iter().map(|share| (share.worst, share.method)), all);
        match (status, itself) {
            (Ownership::Restricted, Some(place)) => format!("restricted: it is itself in {place}"),
            (Ownership::Restricted, None) => {
                let places: BTreeSet<String> =
                    self.owners().into_iter().map(|(_, place, _)| place.to_string()).collect();
                let places = places.into_iter().collect::<Vec<_>>().join(", ");
                let from = if places.is_empty() { "restricted places" } else { &places };
                format!("restricted: {} is held from {from}, {beyond}", known(false))
            }
            (Ownership::Unresolved, _) if ownerless => {
                "unresolved: it is a company, and no owner of it is on file".into()
            }
            (Ownership::Unresolved, _) => format!(
                "unresolved: {} is restricted, and with unknown owners up to {} could be, {beyond}",
                known(true),
                worst(false)
            ),
            (Ownership::Clear, _) => {
                let worst = worst(true);
                format!("clear: even with unknown owners at most {worst} is restricted, {within}")
            }
        }
    }
}

/// The restricted share by one method, known and in the worst case: in basis points, and whether it
/// is beyond the threshold.
struct MethodShare {
    method: &'static str,
    known: (u32, bool),
    worst: (u32, bool),
}

/// `62.5 % (cascade) and 50 % (multiplied)`: shares beyond the threshold or all, equal ones once.
fn listed<'m>(shares: impl Iterator<Item = ((u32, bool), &'m str)>, all: bool) -> String {
    let mut methods: Vec<(u32, String)> = Vec::new();
    for ((share, _), method) in shares.filter(|((_, is_beyond), _)| all || *is_beyond) {
        match methods.iter_mut().find(|(known, _)| *known == share) {
            Some((_, methods)) => methods.push_str(&format!(" and {method}")),
            None => methods.push((share, method.to_owned())),
        }
    }
    let text = |(share, methods): &(u32, String)| format!("{} ({methods})", Percentage(*share));
    methods.iter().map(text).collect::<Vec<_>>().join(" and ")
}
