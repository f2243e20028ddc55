//! `waybill due`: the entries of a register that end soon or have ended.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::json;

use super::arguments::{span, word};
use super::clock::now;
use super::error::CommandError;
use super::output::{OutputFormat, print, print_json, table};
use super::register;
use crate::compile::directory::Directory;
use crate::register::Customer;
use crate::terms::time::UnixSeconds;

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

/// The end of an entry, in the order of the output.
#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(super) struct Deadline<'a> {
    pub(super) until: UnixSeconds,
    pub(super) customer: &'a str,
    pub(super) what: &'static str,
    pub(super) label: String,
    /// The days that are left, rounded towards zero; negative once it has ended
    pub(super) days: i64,
}

pub(super) fn run(arguments: &DueArguments) -> Result<(), CommandError> {
    let DueArguments { register: folder, within, time, format } = arguments;
    let now = time.unwrap_or_else(now);
    let register = register::open(folder, now, "nothing is listed")?;
    let horizon = UnixSeconds(now.0.saturating_add(*within));
    let (due, ended) = ending(&register, now, horizon);
    if format.json {
        print_json(&json!({"due": due, "ended": ended}));
        return Ok(());
    }
    let names = register.names();
    if format.csv {
        print(&as_table((&due, &ended), &names)?);
        return Ok(());
    }
    let name = |id: &str| names.get(id).copied().unwrap_or_default();
    let spaced = |text: &str| if text.is_empty() { String::new() } else { format!(" {text}") };
    let parts = [(format!("due until {horizon}"), &due), (format!("ended by {now}"), &ended)];
    for (title, deadlines) in parts {
        let count = match deadlines.len() {
            0 => "nothing".to_owned(),
            count => count.to_string(),
        };
        print(&format!("{title}: {count}\n"));
        for Deadline { until, customer, what, label, days } in deadlines {
            let (name, what) = (spaced(name(customer)), what.replace('-', " "));
            let label = spaced(label);
            print(&format!("  {until}  {days:>5} days  {customer}{name}: {what}{label}\n"));
        }
    }
    Ok(())
}

/// What ends and what has ended, as a table for a spreadsheet.
pub(super) fn as_table(
    (due, ended): (&[Deadline<'_>], &[Deadline<'_>]),
    names: &HashMap<&str, &str>,
) -> Result<String, CommandError> {
    let row = |state: &str, Deadline { until, customer, what, label, days }: &Deadline<'_>| {
        let name = names.get(customer).copied().unwrap_or_default();
        let (until, days) = (until.to_string(), days.to_string());
        [state, customer, name, what, label, &until, &days].map(str::to_owned).into()
    };
    let due = due.iter().map(|deadline| row("due", deadline));
    let rows = due.chain(ended.iter().map(|deadline| row("ended", deadline)));
    table(&["state", "customer", "name", "what", "label", "until", "days"], rows)
}

/// What ends after `now` and until `horizon`, and what has ended; the earliest first.
pub(super) fn ending(
    register: &Directory,
    now: UnixSeconds,
    horizon: UnixSeconds,
) -> (Vec<Deadline<'_>>, Vec<Deadline<'_>>) {
    let mut deadlines: Vec<Deadline<'_>> =
        deadlines(register).filter(|deadline| deadline.until <= horizon).collect();
    for deadline in &mut deadlines {
        let seconds = deadline.until.0.saturating_sub(now.0);
        deadline.days = seconds.checked_div(86_400).unwrap_or_default();
    }
    deadlines.sort();
    // an entry that ends now has ended
    deadlines.into_iter().partition(|deadline| deadline.until > now)
}

/// All entries with an end: first the customers', then the nodes'.
fn deadlines(register: &Directory) -> impl Iterator<Item = Deadline<'_>> {
    let of_nodes = register.nodes.iter().flat_map(|node| {
        let customer = node.customer.as_str();
        let end = move |what, label, until| Deadline { until, customer, what, label, days: 0 };
        let screening = node.screening.as_ref().and_then(|screening| screening.until);
        let keys = node.keys.iter().filter_map(move |key| {
            let until = i64::try_from(key.exp.as_ref()?.0).ok()?;
            Some(end("node-key", format!("{} {}", node.id, key.x.thumbprint()), UnixSeconds(until)))
        });
        let screening = screening.map(|until| end("node-screening", node.id.to_string(), until));
        screening.into_iter().chain(keys)
    });
    register.customers.iter().flat_map(of_customer).chain(of_nodes)
}

fn of_customer(customer: &Customer) -> impl Iterator<Item = Deadline<'_>> {
    let id = customer.id.as_str();
    let end = |what, label, until| Deadline { until, customer: id, what, label, days: 0 };
    let screening = customer.screening.as_ref().and_then(|screening| {
        let by = screening.by.as_ref().map_or_else(String::new, |by| format!("by {by}"));
        Some(end("screening", by, screening.until?))
    });
    let agreement = customer.agreement.as_ref();
    let agreement = agreement.and_then(|it| Some(end("agreement", it.id.to_string(), it.until?)));
    let credentials = customer.credentials.iter().filter_map(move |credential| {
        let digest = || credential.digest.to_string().chars().take(15).collect();
        let label = credential.label.as_ref().map_or_else(digest, ToString::to_string);
        Some(end("credential", label, credential.expires?))
    });
    let overrides = customer.overrides.iter();
    let overrides = overrides.map(move |it| end("override", it.finding.to_string(), it.until));
    screening.into_iter().chain(agreement).chain(credentials).chain(overrides)
}
