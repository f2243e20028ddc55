//! `waybill diff`: who is added, removed or changed from one register, or snapshot, to another.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Failure, inspect, print, register, table, word};
use crate::compile::difference::{CustomerChange, RegisterView, changes};
use crate::compile::directory::Directory;
use crate::compile::remarks::grouped;
use crate::names::UnixSeconds;
use crate::snapshot::Snapshot;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A register's directory, or a snapshot
    old: PathBuf,
    /// A register's directory, or a snapshot
    new: PathBuf,
    /// As of when shares of registers count (RFC 3339); by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    /// Print JSON for machines
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print a table for spreadsheets: a row for each field that differs
    #[arg(long)]
    csv: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { old, new, time, json, csv } = arguments;
    let time = time.unwrap_or_else(register::now);
    let (old, new) = (Opened::of(old, time)?, Opened::of(new, time)?);
    let changes = changes(&old.side(), &new.side());
    print(&match (json, csv) {
        (true, _) => format!(
            "{:#}\n",
            json!({"customers": changes.iter().map(CustomerChange::as_json).collect::<Vec<_>>()})
        ),
        (_, true) => as_table(&changes)?,
        _ => as_text(&changes),
    });
    Ok(())
}

/// What is compared, in memory.
enum Opened {
    Files(Box<Directory>),
    Snapshot(Box<Snapshot>),
}

impl Opened {
    fn of(path: &Path, time: UnixSeconds) -> Result<Self, Failure> {
        if !path.is_dir() {
            // nothing is believed of it, it is only compared
            return inspect::open(path, |_| true)
                .map(|snapshot| Self::Snapshot(Box::new(snapshot)));
        }
        register::open(path, time, "nothing is compared")
            .map(|register| Self::Files(Box::new(register)))
    }

    fn side(&self) -> RegisterView<'_> {
        match self {
            Self::Files(register) => {
                RegisterView::Files(register, Box::new(register.owners.screen()))
            }
            Self::Snapshot(snapshot) => RegisterView::Snapshot(snapshot),
        }
    }
}

/// A customer a line, and its fields below it.
pub(super) fn as_text(changes: &[CustomerChange]) -> String {
    if changes.is_empty() {
        return "no customer is added, removed or changed\n".into();
    }
    let count = |what: &str| grouped(changes.iter().filter(|change| change.what() == what).count());
    let mut out = format!(
        "added {}, removed {}, changed {}\n",
        count("added"),
        count("removed"),
        count("changed")
    );
    for change in changes {
        out.push_str(&describe(change));
    }
    out
}

/// A customer with the fields that differ.
pub(super) fn describe(change: &CustomerChange) -> String {
    let mut out = format!("{}: {}\n", change.id, change.what());
    for (name, before, after) in change.fields() {
        out.push_str(&match (before.as_str(), after.as_str()) {
            ("none" | "", "none" | "") => continue,
            ("", value) | (value, "") => format!("  {name}: {value}\n"),
            (before, after) => format!("  {name}: {before} -> {after}\n"),
        });
    }
    out
}

fn as_table(changes: &[CustomerChange]) -> Result<String, Failure> {
    let rows = changes.iter().flat_map(|change| {
        let row = |(name, before, after): (&str, String, String)| {
            vec![change.id.clone(), change.what().into(), name.into(), before, after]
        };
        change.fields().into_iter().map(row)
    });
    table(&["customer", "change", "field", "before", "after"], rows)
}
