//! The figures as tables for spreadsheets.

use super::super::due;
use super::super::error::CommandError;
use super::super::output::table;
use super::content::ReportContent;
use super::figures_json::{customers, resellers};
use crate::journal::figures::EventTally;
use crate::journal::selection::EventField;
use crate::register::{Override, SharingSignal};
use crate::terms::finding::ActionName;
use crate::terms::names::Text;

/// The tables by file name.
pub(super) fn all(
    content: &ReportContent<'_>,
) -> Result<Vec<(&'static str, String)>, CommandError> {
    let ReportContent { figures, names, .. } = content;
    let by_field = |field: EventField| {
        let rows = figures.of(field).into_iter();
        let rows = rows.map(|(value, tally)| row(&[value], tally));
        table(&header(&[field.as_str()]), rows)
    };
    let customer_rows = customers(content).into_iter().map(|(id, customer)| {
        row(&[id, names.get(id).copied().unwrap_or_default()], &customer.tally)
    });
    let reason_rows = customers(content).into_iter().flat_map(|(id, customer)| {
        let name = names.get(id).copied().unwrap_or_default();
        customer.reasons.iter().map(move |(code, count)| {
            [id, name, code.as_str(), &count.to_string()].map(str::to_owned).into()
        })
    });
    let (_, spans) = figures.timeline.spans();
    let time_rows = spans.into_iter().map(|(time, counts)| {
        let counts = counts.iter().map(u64::to_string);
        std::iter::once(time.to_string()).chain(counts).collect()
    });
    let mut time_header = vec!["since"];
    time_header.extend(ActionName::ALL.iter().map(|verdict| verdict.as_str()));
    let node_rows = resellers(content).into_iter().map(|(node, hop)| {
        let mut row = row(&[node], &hop.tally);
        let weakest = hop.weakest.map_or("", |attest| attest.as_str());
        row.extend([hop.signed.to_string(), hop.unproven.to_string(), weakest.to_owned()]);
        row
    });
    let mut node_header = header(&["node"]);
    node_header.extend(["signed", "unproven", "weakest"]);
    let mut tables = vec![
        ("customers.csv", table(&header(&["customer", "name"]), customer_rows)?),
        ("reasons.csv", table(&["customer", "name", "reason", "events"], reason_rows)?),
        ("over-time.csv", table(&time_header, time_rows)?),
        ("countries.csv", by_field(EventField::Origin)?),
        ("programs.csv", by_field(EventField::Software)?),
        ("systems.csv", by_field(EventField::Asn)?),
        ("findings.csv", by_field(EventField::Finding)?),
        ("policies.csv", by_field(EventField::Policy)?),
        ("snapshots.csv", by_field(EventField::Snapshot)?),
        ("resellers.csv", table(&node_header, node_rows)?),
    ];
    if let Some((due, ended)) = &content.dates {
        tables.push(("due.csv", due::as_table((due, ended), names)?));
    }
    if content.register.is_some() {
        let rows = content.signals.iter().map(|it| {
            let SharingSignal { customer, finding, since, until, evidence, .. } = it.signal;
            let label = it.signal.credential.0.as_ref().map(Text::as_str).unwrap_or_default();
            let name = names.get(customer.as_str()).copied().unwrap_or_default();
            let (since, until) = (since.to_string(), until.to_string());
            let silenced = it.silenced.map(|it| it.author.as_str()).unwrap_or_default();
            [
                customer.as_str(),
                name,
                label,
                finding.as_str(),
                &since,
                &until,
                evidence.as_str(),
                silenced,
            ]
            .map(str::to_owned)
            .into()
        });
        let header = ["customer", "name", "credential", "finding", "since", "until", "evidence"];
        let header: Vec<&str> = header.into_iter().chain(["silenced_by"]).collect();
        tables.push(("sharing.csv", table(&header, rows)?));
        let text = |text: &Option<Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
        let rows = content.overrides.iter().map(|(it, entry)| {
            let Override { finding, action, author, until, reason, event } = entry;
            let name = names.get(it.id.as_str()).copied().unwrap_or_default();
            let words = [it.id.as_str(), name, finding.as_str(), action.name().as_str()];
            let mut row: Vec<String> = words.map(str::to_owned).into();
            row.extend([author.to_string(), until.to_string(), text(reason), text(event)]);
            row
        });
        let header = ["customer", "name", "finding", "action", "author", "until", "reason"];
        let header: Vec<&str> = header.into_iter().chain(["event"]).collect();
        tables.push(("overrides.csv", table(&header, rows)?));
    }
    Ok(tables)
}

fn header<'a>(first: &[&'a str]) -> Vec<&'a str> {
    let mut header = first.to_vec();
    header.push("events");
    header.extend(ActionName::ALL.iter().map(|verdict| verdict.as_str()));
    header.extend(["would_be", "first", "last"]);
    header
}

fn row(first: &[&str], tally: &EventTally) -> Vec<String> {
    let mut row: Vec<String> = first.iter().map(|cell| (*cell).to_owned()).collect();
    row.push(tally.events.to_string());
    row.extend(tally.verdicts.iter().map(u64::to_string));
    row.push(tally.softened.to_string());
    let (first, last) = tally.between.unzip();
    row.extend([first, last].map(|time| time.map(|time| time.to_string()).unwrap_or_default()));
    row
}
