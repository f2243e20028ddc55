//! `waybill diff`: the customers that differ between two registers or snapshots.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::word;
use super::clock::now;
use super::error::CommandError;
use super::output::{OutputFormat, print, print_json, table};
use super::{inspect, register};
use crate::compile::difference::{CustomerChange, RegisterView, changes};
use crate::compile::directory::Directory;
use crate::compile::remarks::grouped;
use crate::snapshot::Snapshot;
use crate::terms::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct DiffArguments {
    /// The older register's directory, or the older snapshot
    old: PathBuf,
    /// The newer register's directory, or the newer snapshot
    new: PathBuf,
    /// The time as of which shares count (RFC 3339); by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    #[command(flatten)]
    format: OutputFormat,
}

pub(super) fn run(arguments: &DiffArguments) -> Result<(), CommandError> {
    let DiffArguments { old, new, time, format } = arguments;
    let time = time.unwrap_or_else(now);
    let (old, new) = (RegisterVersion::open(old, time)?, RegisterVersion::open(new, time)?);
    let changes = changes(&old.side(), &new.side());
    if format.json {
        let changes: Vec<_> = changes.iter().map(CustomerChange::as_json).collect();
        print_json(&json!({"customers": changes}));
    } else {
        print(&if format.csv { as_table(&changes)? } else { as_text(&changes) });
    }
    Ok(())
}

/// A register or snapshot that is compared.
enum RegisterVersion {
    Files(Box<Directory>),
    Snapshot(Box<Snapshot>),
}

impl RegisterVersion {
    fn open(path: &Path, time: UnixSeconds) -> Result<Self, CommandError> {
        if !path.is_dir() {
            // any key will do: the snapshot is only compared
            return Ok(Self::Snapshot(Box::new(inspect::open(path, |_| true)?)));
        }
        Ok(Self::Files(Box::new(register::open(path, time, "nothing is compared")?)))
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

/// The counts, then each customer with the fields that differ.
fn as_text(changes: &[CustomerChange]) -> String {
    if changes.is_empty() {
        return "no customer added, removed or changed\n".into();
    }
    let count = |what: &str| grouped(changes.iter().filter(|change| change.what() == what).count());
    let counts = ["added", "removed", "changed"].map(|what| format!("{what} {}", count(what)));
    let described: String = changes.iter().map(describe).collect();
    format!("{}\n{described}", counts.join(", "))
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

fn as_table(changes: &[CustomerChange]) -> Result<String, CommandError> {
    let rows = changes.iter().flat_map(|change| {
        let row = |(name, before, after): (&str, String, String)| {
            vec![change.id.clone(), change.what().into(), name.into(), before, after]
        };
        change.fields().into_iter().map(row)
    });
    table(&["customer", "change", "field", "before", "after"], rows)
}
