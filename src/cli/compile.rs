//! `waybill compile`: a register of files becomes one signed snapshot.

use std::path::{Path, PathBuf};

use super::clock::now;
use super::error::CommandError;
use super::files::{read, replace, replacement};
use super::output::print;
use super::{diff, inspect, register};
use crate::compile::difference::{CustomerChange, RegisterView, changes};
use crate::compile::remarks::grouped;
use crate::compile::{Compilation, Order, compile};
use crate::register::Ownership;
use crate::snapshot::Snapshot;
use crate::terms::key::SigningKey;
use crate::terms::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct CompileArguments {
    /// The register's directory
    #[arg(value_name = "DIR")]
    register: PathBuf,
    /// The snapshot to write; an existing one is replaced as a whole, never in part
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The private JWK that signs the snapshot, as `waybill keygen` prints it
    #[arg(long, value_name = "JWK-FILE")]
    sign_key: PathBuf,
    /// The sequence, which must grow with each snapshot; by default the creation time in seconds
    /// since 1970
    #[arg(long)]
    sequence: Option<u64>,
}

pub(super) fn run(arguments: &CompileArguments) -> Result<(), CommandError> {
    let CompileArguments { register: folder, output, sign_key, sequence } = arguments;
    let at = |path: &Path, message: String| CommandError::about(path, message);
    // renaming would replace a device by a file, and writing into a pipe would wait for its reader
    for path in [output, &replacement(output)] {
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(at(path, "not a regular file: a snapshot is written to a file".into()));
        }
    }
    let jwk = read(sign_key).map_err(|error| error.at(sign_key))?;
    let key =
        SigningKey::from_jwk(jwk.trim()).map_err(|error| CommandError::from(error).at(sign_key))?;
    let created = created()?;
    let second = u64::try_from(created.0).unwrap_or(0);
    if !key.window().contains(second) {
        let message = format!("this key isn't valid at {created}: see its `nbf` and `exp`");
        return Err(at(sign_key, message));
    }

    let read = register::open(folder, created, "nothing is compiled")?;
    let order = Order { sequence: sequence.unwrap_or(second), created, key: &key };
    let compiled = compile(read, &order)
        .map_err(|error| at(folder, format!("nothing is compiled: {error}")))?;
    let before = output.exists().then(|| inspect::open(output, |_| true));
    replace(output, &compiled.file)
        .map_err(|error| at(output, format!("can't be written: {error}")))?;
    print(&summary(output, &compiled, &order));
    print(&match before {
        None => String::new(),
        Some(Err(error)) => {
            format!("  not compared with the snapshot before, which can't be read: {error}\n")
        }
        Some(Ok(before)) => {
            let after = Snapshot::read(compiled.file, |_| true)
                .map_err(|refused| at(output, refused.to_string()))?;
            changed_decisions(&before, &after)
        }
    });
    Ok(())
}

/// The creation time: SOURCE_DATE_EPOCH
/// (<https://reproducible-builds.org/specs/source-date-epoch/>), or else now.
fn created() -> Result<UnixSeconds, CommandError> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(now()) };
    let wrong = |_| CommandError::new("SOURCE_DATE_EPOCH: expected a number of seconds since 1970");
    text.parse::<u32>().map(|second| UnixSeconds(second.into())).map_err(wrong)
}

/// The customers whom nodes may answer differently than with the snapshot before.
fn changed_decisions(before: &Snapshot, after: &Snapshot) -> String {
    let changes = changes(&RegisterView::Snapshot(before), &RegisterView::Snapshot(after));
    let changed: Vec<&CustomerChange> =
        changes.iter().filter(|change| change.changes_side()).collect();
    let sequence = before.preamble.sequence;
    if changed.is_empty() {
        return format!("  no customer is decided differently since sequence {sequence}\n");
    }
    let count = grouped(changed.len());
    let mut out = format!("  customers decided differently since sequence {sequence}: {count}\n");
    for change in changed.iter().take(MOST_SHOWN) {
        diff::describe(change).lines().for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    if let Some(more) = changed.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        let more = grouped(more);
        let hint = "keep the snapshot before, and run `waybill diff`";
        out.push_str(&format!("    and {more} more: {hint}\n"));
    }
    out
}

/// How many of them are listed.
const MOST_SHOWN: usize = 50;

fn summary(path: &Path, compiled: &Compilation, order: &Order<'_>) -> String {
    let count =
        |ownership| grouped(compiled.ownership.get(&ownership).copied().unwrap_or_default());
    format!(
        "{}: sequence {}, made {}, {} bytes\n  customers {} (ownership clear {}, restricted {}, \
         unresolved {}), runs of addresses {}\n  to be trusted: {}\n",
        path.display(),
        order.sequence,
        order.created,
        grouped(compiled.file.len()),
        grouped(compiled.ownership.values().sum::<usize>()),
        count(Ownership::Clear),
        count(Ownership::Restricted),
        count(Ownership::Unresolved),
        grouped(compiled.runs),
        order.key.verifying_key().to_base64(),
    )
}
