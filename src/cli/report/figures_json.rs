//! The figures as JSON.

use serde_json::{Map, Value, json};

use super::content::ReportContent;
use super::standing;
use crate::journal::figures::{CustomerFigures, EventTally};
use crate::journal::selection::EventField;
use crate::terms::finding::{ActionName, FindingCode, Intervention};

/// The figures of the page.
pub(super) fn figures(content: &ReportContent<'_>) -> Value {
    let ReportContent { selection, figures, audit, .. } = content;
    let (first, last) = figures.tally.between.unzip();
    let would_be = figures.of(EventField::WouldBe);
    let softened = Intervention::ALL.iter().map(|kind| {
        let tally = would_be.iter().find(|(value, _)| *value == kind.as_str());
        (kind.to_string(), json!(tally.map_or(0, |(_, tally)| tally.events)))
    });
    let countries = figures.of(EventField::Origin).into_iter();
    let countries = countries.map(|(country, tally)| {
        json!({
            "country": or_null(country),
            "events": tally.events,
            "blocked": tally.with(ActionName::Block),
        })
    });
    let counts = |field| {
        let values = figures.of(field).into_iter().filter(|(value, _)| !value.is_empty());
        values.map(|(value, tally)| (value.to_owned(), json!(tally.events))).collect::<Map<_, _>>()
    };
    let sharing = content.register.map(|_| standing::as_json(&content.signals, &content.overrides));
    let mut document = json!({
        "events": figures.tally.events,
        "by_verdict": by_verdict(&figures.tally),
        "by_reason": counts(EventField::Reason),
        "would_be": softened.collect::<Map<_, _>>(),
        "customers": customers(content).into_iter().map(|(id, customer)| json!({
            "id": or_null(id),
            "events": customer.tally.events,
            "by_verdict": by_verdict(&customer.tally),
            "reasons": by_code(&customer.reasons),
        })).collect::<Vec<_>>(),
        "countries": countries.collect::<Vec<_>>(),
        "software": counts(EventField::Software),
        "systems": counts(EventField::Asn),
        "period": {
            "since": selection.since.or(first).map(|time| time.to_string()),
            "until": selection.until.or(last).map(|time| time.to_string()),
        },
        "faults": audit.fault_count,
        "sharing": sharing,
    });
    if content.is_by_reseller {
        let nodes = resellers(content).into_iter().map(|(node, hop)| {
            json!({
                "node": node,
                "events": hop.tally.events,
                "by_verdict": by_verdict(&hop.tally),
                "signed": hop.signed,
                "unproven": hop.unproven,
                "weakest": hop.weakest,
            })
        });
        let nodes = nodes.collect::<Vec<_>>();
        if let Some(members) = document.as_object_mut() {
            members.insert("resellers".into(), nodes.into());
        }
    }
    document
}

/// The customers, those with most events first.
pub(super) fn customers<'a>(content: &'a ReportContent<'_>) -> Vec<(&'a str, &'a CustomerFigures)> {
    let customers = content.figures.customers.iter();
    let mut rows: Vec<_> = customers.map(|(id, figures)| (id.as_str(), figures)).collect();
    rows.sort_by_key(|(id, figures)| (std::cmp::Reverse(figures.tally.events), *id));
    rows
}

/// The nodes that carried requests, those with most first.
pub(super) fn resellers<'a>(
    content: &'a ReportContent<'_>,
) -> Vec<(&'a str, &'a crate::journal::figures::HopFigures)> {
    let mut rows: Vec<_> =
        content.figures.hops.iter().map(|(node, hop)| (node.as_str(), hop)).collect();
    rows.sort_by_key(|(node, hop)| (std::cmp::Reverse(hop.tally.events), *node));
    rows
}

fn or_null(value: &str) -> Value {
    if value.is_empty() { Value::Null } else { value.into() }
}

fn by_verdict(tally: &EventTally) -> Map<String, Value> {
    let verdicts = ActionName::ALL.iter();
    verdicts.map(|verdict| (verdict.to_string(), json!(tally.with(*verdict)))).collect()
}

fn by_code(counts: &std::collections::BTreeMap<FindingCode, u64>) -> Map<String, Value> {
    counts.iter().map(|(code, count)| (code.to_string(), json!(count))).collect()
}
