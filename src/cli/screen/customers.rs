//! The results of all customers.

use serde_json::{Value, json};

use super::super::error::CommandError;
use super::super::output::{table, wrap};
use super::tree::MOST_CHAINS;
use crate::compile::ownership::{
    Entity, EntityIndex, OwnershipResult, OwnershipScreening, Percentage, basis_points,
};
use crate::compile::settings::Method;
use crate::register::{Customer, Ownership};
use crate::terms::names::Text;

/// The number of entities by result.
fn counts(screening: &OwnershipScreening<'_>) -> Vec<(Ownership, usize)> {
    let results: Vec<Ownership> =
        screening.graph().entities().map(|(index, _)| screening.judge(index).status).collect();
    Ownership::ALL
        .iter()
        .map(|status| (*status, results.iter().filter(|result| *result == status).count()))
        .collect()
}

pub(super) fn all_as_json(
    screening: &OwnershipScreening<'_>,
    rows: &[CustomerResult<'_>],
) -> Value {
    let counts = counts(screening).into_iter();
    let counts = counts.map(|(status, count)| (status.to_string(), json!(count)));
    let entity = |(index, entity): (EntityIndex, &Entity)| {
        (entity.id.to_string(), json!(screening.judge(index).status))
    };
    json!({
        "counts": counts.collect::<serde_json::Map<_, _>>(),
        "entities": screening.graph().entities().map(entity).collect::<serde_json::Map<_, _>>(),
        "customers": rows.iter().map(CustomerResult::as_json).collect::<Vec<_>>(),
    })
}

/// The customers, restricted ones first and clear ones last, and the number of entities by result.
pub(super) fn all_as_text(
    screening: &OwnershipScreening<'_>,
    mut rows: Vec<CustomerResult<'_>>,
) -> String {
    let entities = counts(screening).into_iter();
    let entities: String = entities.map(|(status, count)| format!("{status}: {count}\n")).collect();
    if rows.is_empty() {
        return entities;
    }
    rows.sort_by_key(|row| row.rank());
    let mut out = String::new();
    for row in &rows {
        let name = row.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let mut line = format!("{:<11} {}{name}", row.status.as_str(), row.id);
        if let Some((known, worst)) = row.shares {
            line.push_str(&format!(": {} restricted", Percentage(known)));
            if worst != known {
                line.push_str(&format!(", up to {} with unknown owners", Percentage(worst)));
            }
        }
        out.push_str(&wrap(&line, "", "            "));
        if row.status == Ownership::Unresolved {
            let margin = "            ";
            out.push_str(&wrap(&format!("missing: {}", row.missing()), margin, margin));
        }
    }
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    let by_weight = [Ownership::Restricted, Ownership::Unresolved, Ownership::Clear];
    let counts = by_weight.map(|status| format!("{status} {}", count(status))).join(", ");
    format!("{out}\n{} customers: {counts}\n\nentities on file\n{entities}", rows.len())
}

/// A customer's result, as a line of the list.
pub(super) struct CustomerResult<'a> {
    pub(super) id: &'a str,
    name: Option<&'a Text>,
    entity: Option<&'a Text>,
    pub(super) status: Ownership,
    /// The largest restricted share by the chosen methods, known and in the worst case, in basis
    /// points
    shares: Option<(u32, u32)>,
    missing: Vec<String>,
}

impl<'a> CustomerResult<'a> {
    pub(super) fn of(customer: &'a Customer, screening: &OwnershipScreening<'_>) -> Self {
        let (id, name, entity) =
            (customer.id.as_str(), customer.name.as_ref(), customer.entity.as_ref());
        let by_entry = |status, missing: &str| {
            let missing =
                if status == Ownership::Unresolved { vec![missing.to_owned()] } else { Vec::new() };
            Self { id, name, entity, status, shares: None, missing }
        };
        let Some(company) = entity else {
            let unset = "no company is on file for it: set its `entity` or its `ownership`";
            return match customer.ownership {
                None => by_entry(Ownership::Unresolved, unset),
                Some(status) => by_entry(status, BY_HAND),
            };
        };
        let Some(index) = screening.graph().get(company.as_str()) else {
            return by_entry(Ownership::Unresolved, &format!("unknown entity `{company}`"));
        };
        let OwnershipResult { status, itself, ownerless, cascade, multiplicative } =
            screening.judge(index);
        let largest = |by_cascade: u32, by_product: f64| match screening.settings().method {
            _ if itself.is_some() => 10_000,
            Method::Cascade => by_cascade,
            Method::Multiplicative => basis_points(by_product),
            Method::Either => by_cascade.max(basis_points(by_product)),
        };
        let shares = (
            largest(cascade.basis_points, multiplicative.share),
            largest(cascade.basis_points_worst, multiplicative.share_worst),
        );
        let missing = match status {
            Ownership::Unresolved if ownerless => {
                vec![format!("the owners of `{company}`: none is on file")]
            }
            Ownership::Unresolved => missing(screening, index),
            _ => Vec::new(),
        };
        Self { id, name, entity, status, shares: (!ownerless).then_some(shares), missing }
    }

    fn missing(&self) -> String {
        self.missing.join("; ")
    }

    /// The reason for the result of a customer without a company.
    pub(super) fn why(&self) -> String {
        if self.missing.is_empty() { BY_HAND.into() } else { self.missing() }
    }

    fn rank(&self) -> (u8, std::cmp::Reverse<u32>, &'a str) {
        let rank = match self.status {
            Ownership::Restricted => 0,
            Ownership::Unresolved => 1,
            Ownership::Clear => 2,
        };
        (rank, std::cmp::Reverse(self.shares.map_or(0, |(known, _)| known)), self.id)
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "entity": self.entity, "status": self.status,
            "share_basis_points": self.shares.map(|(known, _)| known),
            "share_basis_points_worst": self.shares.map(|(_, worst)| worst),
            "missing": self.missing,
        })
    }

    pub(super) fn table(mut rows: Vec<Self>) -> Result<String, CommandError> {
        rows.sort_by_key(Self::rank);
        let percent = |share| Percentage(share).to_string().trim_end_matches(" %").to_owned();
        let text = |text: Option<&Text>| text.map_or_else(String::new, ToString::to_string);
        let row = |row: Self| {
            let shares = row.shares.map(|(known, worst)| [percent(known), percent(worst)]);
            let (id, status) = (row.id.to_owned(), row.status.to_string());
            let mut cells = vec![id, text(row.name), text(row.entity), status];
            cells.extend(shares.unwrap_or_default());
            cells.push(row.missing());
            cells
        };
        let [known, possible] = ["restricted_percent", "possible_percent"];
        let header = ["customer", "name", "company", "result", known, possible, "missing"];
        table(&header, rows.into_iter().map(row))
    }
}

/// The facts that are missing for a result: the far ends of the largest chains with unknown owners.
fn missing(screening: &OwnershipScreening<'_>, subject: EntityIndex) -> Vec<String> {
    let id = |index: EntityIndex| {
        screening.graph().entity(index).map_or("", |entity| entity.id.as_str())
    };
    let is_nowhere = |index: EntityIndex| {
        screening.graph().entity(index).is_some_and(|entity| entity.places().next().is_none())
    };
    let mut missing: Vec<String> = Vec::new();
    let chains = screening.chains(subject, MOST_CHAINS).chains;
    for chain in chains.iter().filter(|chain| !chain.restricted) {
        let share = match chain.shares.first() {
            Some(Some(share)) => format!("{} of", Percentage(*share)),
            _ => "the rest of".to_owned(),
        };
        let what = match chain.entities.as_slice() {
            [None, Some(of), ..] => format!("the owner of {share} `{}`", id(*of)),
            [Some(end), ..] if is_nowhere(*end) => format!("the place of `{}`", id(*end)),
            [Some(end), ..] => format!("the owners of `{}`", id(*end)),
            _ => continue,
        };
        if !missing.contains(&what) {
            missing.push(what);
        }
    }
    let more = missing.len().saturating_sub(MOST_MISSING);
    missing.truncate(MOST_MISSING);
    if more > 0 {
        missing.push(format!("and {more} more"));
    }
    if missing.is_empty() {
        missing.push(format!("see the notes of `waybill screen {}`", id(subject)));
    }
    missing
}

/// The reason for a result from the customer's own entry.
const BY_HAND: &str = "no company is on file for it: the result is its `ownership` in the register";

/// How many missing facts of one customer are named.
const MOST_MISSING: usize = 5;
