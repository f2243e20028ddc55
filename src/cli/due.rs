//! `waybill due`: the entries of a register that end soon or have ended.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::json;

use super::arguments::word;
use super::clock::now;
use super::error::CommandError;
use super::output::{OutputFormat, print, print_json, table};
use super::register;
use crate::compile::directory::Directory;
use crate::names::UnixSeconds;
use crate::register::Customer;

#[derive(Debug, clap::Args)]
pub(super) struct DueArguments {
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// How far to look ahead: 30d, 4w or 36h (days, weeks or hours)
    #[arg(long, value_name = "TIME SPAN", default_value = "30d", value_parser = span)]
    within: i64,
    /// The time to look ahead from (RFC 3339); by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    #[command(flatten)]
    format: OutputFormat,
}

/// The end of an entry.
struct Deadline<'a> {
    until: UnixSeconds,
    customer: &'a str,
    what: &'static str,
    label: String,
}

pub(super) fn run(arguments: &DueArguments) -> Result<(), CommandError> {
    let DueArguments { register: folder, within, time, format } = arguments;
    let now = time.unwrap_or_else(now);
    let register = register::open(folder, now, "nothing is listed")?;
    let horizon = UnixSeconds(now.0.saturating_add(*within));
    let mut ends: Vec<Deadline<'_>> = ends(&register).filter(|end| end.until <= horizon).collect();
    ends.sort_by(|a, b| {
        (a.until, a.customer, a.what, &a.label).cmp(&(b.until, b.customer, b.what, &b.label))
    });
    // an entry that ends now has ended
    let (ended, due): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| end.until <= now);
    let days = |end: &Deadline<'_>| {
        end.until.0.saturating_sub(now.0).checked_div(86_400).unwrap_or_default()
    };
    if format.json {
        let list = |ends: &[Deadline<'_>]| -> Vec<_> {
            let entry = |end: &Deadline<'_>| {
                json!({
                    "customer": end.customer, "what": end.what, "label": end.label,
                    "until": end.until, "days": days(end),
                })
            };
            ends.iter().map(entry).collect()
        };
        print_json(&json!({"due": list(&due), "ended": list(&ended)}));
        return Ok(());
    }
    let names: HashMap<&str, &str> = register
        .customers
        .iter()
        .filter_map(|customer| Some((customer.id.as_str(), customer.name.as_ref()?.as_str())))
        .collect();
    let name = |end: &Deadline<'_>| names.get(end.customer).copied().unwrap_or_default();
    if format.csv {
        let row = |state: &str, end: &Deadline<'_>| {
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

/// All entries with an end: first the customers', then the nodes'.
fn ends(register: &Directory) -> impl Iterator<Item = Deadline<'_>> {
    let of_nodes = register.nodes.iter().flat_map(|node| {
        let end = move |what, label: String, until| Deadline {
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

fn of_customer(customer: &Customer) -> impl Iterator<Item = Deadline<'_>> {
    let end = |what, label: String, until| Deadline {
        until,
        customer: customer.id.as_str(),
        what,
        label,
    };
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
