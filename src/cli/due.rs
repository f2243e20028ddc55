//! `waybill due`: what in a register ends soon, or has ended.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::json;

use super::{Failure, print, register, table, word};
use crate::compile::directory::Directory;
use crate::register::Customer;
use crate::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// How far ahead: days, weeks or hours, such as 30d, 4w or 36h
    #[arg(long, value_name = "TIME SPAN", default_value = "30d", value_parser = span)]
    within: i64,
    /// From when on (RFC 3339); by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    /// Print JSON for machines
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print a table for spreadsheets
    #[arg(long)]
    csv: bool,
}

/// One thing that ends.
struct End<'a> {
    until: UnixSeconds,
    customer: &'a str,
    what: &'static str,
    label: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { register: folder, within, time, json, csv } = arguments;
    let now = time.unwrap_or_else(register::now);
    let register = register::open(folder, now, "what is due can't be told")?;
    let horizon = UnixSeconds(now.0.saturating_add(*within));
    let mut ends: Vec<End<'_>> = ends(&register).filter(|end| end.until <= horizon).collect();
    ends.sort_by(|a, b| {
        (a.until, a.customer, a.what, &a.label).cmp(&(b.until, b.customer, b.what, &b.label))
    });
    // what ends now has ended
    let (ended, due): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| end.until <= now);
    let days =
        |end: &End<'_>| end.until.0.saturating_sub(now.0).checked_div(86_400).unwrap_or_default();
    if *json {
        let list = |ends: &[End<'_>]| -> Vec<_> {
            let entry = |end: &End<'_>| json!({"customer": end.customer, "what": end.what, "label": end.label, "until": end.until, "days": days(end)});
            ends.iter().map(entry).collect()
        };
        print(&format!("{:#}\n", json!({"due": list(&due), "ended": list(&ended)})));
        return Ok(());
    }
    let names: HashMap<&str, &str> = register
        .customers
        .iter()
        .filter_map(|customer| Some((customer.id.as_str(), customer.name.as_ref()?.as_str())))
        .collect();
    let name = |end: &End<'_>| names.get(end.customer).copied().unwrap_or_default();
    if *csv {
        let row = |state: &str, end: &End<'_>| {
            let (until, days) = (end.until.to_string(), days(end).to_string());
            vec![
                state.to_owned(),
                end.customer.to_owned(),
                name(end).to_owned(),
                end.what.to_owned(),
                end.label.clone(),
                until,
                days,
            ]
        };
        let rows =
            due.iter().map(|end| row("due", end)).chain(ended.iter().map(|end| row("ended", end)));
        print(&table(&["state", "customer", "name", "what", "label", "until", "days"], rows)?);
        return Ok(());
    }
    let mut out = String::new();
    for (title, ends) in
        [(format!("due until {horizon}"), &due), (format!("ended by {now}"), &ended)]
    {
        out.push_str(&format!(
            "{title}: {}\n",
            if ends.is_empty() { "nothing".into() } else { ends.len().to_string() }
        ));
        for end in ends {
            out.push_str(&format!(
                "  {}  {:>5} days  {}{}: {}{}\n",
                end.until,
                days(end),
                end.customer,
                match name(end) {
                    "" => String::new(),
                    name => format!(" {name}"),
                },
                end.what.replace('-', " "),
                match end.label.as_str() {
                    "" => String::new(),
                    label => format!(" {label}"),
                }
            ));
        }
    }
    print(&out);
    Ok(())
}

/// Everything with an end: customers first, then nodes under the customers that run them.
fn ends(register: &Directory) -> impl Iterator<Item = End<'_>> {
    let of_nodes = register.nodes.iter().flat_map(|node| {
        let end = move |what, label: String, until| End {
            until,
            customer: node.customer.as_str(),
            what,
            label,
        };
        let screening = node.screening.as_ref().and_then(|screening| screening.until);
        let keys = node.keys.iter().filter_map(move |key| {
            let until = i64::try_from(key.exp.as_ref()?.0).ok()?;
            Some(end("node-key", format!("{} {}", node.id, key.x.thumbprint()), UnixSeconds(until)))
        });
        screening
            .map(|until| end("node-screening", node.id.to_string(), until))
            .into_iter()
            .chain(keys)
    });
    register.customers.iter().flat_map(of_customer).chain(of_nodes)
}

fn of_customer(customer: &Customer) -> impl Iterator<Item = End<'_>> {
    let end =
        |what, label: String, until| End { until, customer: customer.id.as_str(), what, label };
    let screening = customer.screening.as_ref().and_then(|screening| {
        let by = screening.by.as_ref().map_or_else(String::new, |by| format!("by {by}"));
        Some(end("screening", by, screening.until?))
    });
    let agreement = customer
        .agreement
        .as_ref()
        .and_then(|agreement| Some(end("agreement", agreement.id.to_string(), agreement.until?)));
    let credentials = customer.credentials.iter().filter_map(move |credential| {
        let digest = || credential.digest.to_string().chars().take(15).collect();
        Some(end(
            "credential",
            credential.label.as_ref().map_or_else(digest, ToString::to_string),
            credential.expires?,
        ))
    });
    let overrides = customer
        .overrides
        .iter()
        .map(move |entry| end("override", entry.finding.to_string(), entry.until));
    screening.into_iter().chain(agreement).chain(credentials).chain(overrides)
}

/// A span of time in seconds: a number and h, d or w.
fn span(text: &str) -> Result<i64, String> {
    let (number, unit) = match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
        number if text.ends_with('h') => (number, 3_600),
        number if text.ends_with('d') => (number, 86_400),
        number if text.ends_with('w') => (number, 604_800),
        number => (number, 0),
    };
    let count = number
        .parse::<u32>()
        .ok()
        .filter(|_| unit != 0 && text.len() == number.len().saturating_add(1));
    let count = count.ok_or_else(|| {
        "expected a whole number of days, weeks or hours, such as 30d, 4w or 36h".to_owned()
    })?;
    Ok(i64::from(count).saturating_mul(unit))
}
