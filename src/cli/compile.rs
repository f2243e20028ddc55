//! `waybill compile`: a register of files becomes one signed snapshot.

use std::path::{Path, PathBuf};

use super::{Failure, beside, diff, inspect, print, read, register, replace};
use crate::compile::difference::{CustomerChange, RegisterView, changes};
use crate::compile::remarks::grouped;
use crate::compile::{Compilation, Order, compile};
use crate::key::SigningKey;
use crate::names::UnixSeconds;
use crate::register::Ownership;
use crate::snapshot::Snapshot;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The register's directory
    #[arg(value_name = "DIR")]
    register: PathBuf,
    /// Where the snapshot goes; replaced at once, so that no server ever has half of one
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The private JWK to sign with, as `waybill keygen` prints it
    #[arg(long, value_name = "JWK-FILE")]
    sign_key: PathBuf,
    /// The sequence, which must grow; the creation time in seconds since 1970 where left out
    #[arg(long)]
    sequence: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { register: folder, output, sign_key, sequence } = arguments;
    let at = |path: &Path, message: String| Failure(format!("{}: {message}", path.display()));
    // a rename would put a file in place of a device, and a pipe beside it would make it wait
    for path in [output, &beside(output)] {
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(at(path, "not a regular file: a snapshot is a file".into()));
        }
    }
    let jwk = read(sign_key).map_err(|Failure(message)| at(sign_key, message))?;
    let key =
        SigningKey::from_jwk(jwk.trim()).map_err(|mismatch| at(sign_key, mismatch.message))?;
    let created = created()?;
    let second = u64::try_from(created.0).unwrap_or(0);
    if !key.window().contains(second) {
        return Err(at(
            sign_key,
            format!("this key doesn't count {created}: see its `nbf` and `exp`"),
        ));
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
        Some(Err(Failure(message))) => {
            format!("  who changed side can't be told from the file before: {message}\n")
        }
        Some(Ok(before)) => {
            let after = Snapshot::read(compiled.file, |_| true)
                .map_err(|refused| at(output, refused.to_string()))?;
            changed_side(&before, &after)
        }
    });
    Ok(())
}

/// When the snapshot is made: SOURCE_DATE_EPOCH (<https://reproducible-builds.org/specs/source-date-epoch/>), else now.
fn created() -> Result<UnixSeconds, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(register::now()),
        Ok(text) => {
            let second = text.parse::<u32>().map(|second| UnixSeconds(second.into()));
            second.map_err(|_| {
                Failure("SOURCE_DATE_EPOCH isn't a number of seconds since 1970".into())
            })
        }
    }
}

/// Whom the node may answer otherwise since the file that this one replaces.
fn changed_side(before: &Snapshot, after: &Snapshot) -> String {
    let changes = changes(&RegisterView::Snapshot(before), &RegisterView::Snapshot(after));
    let changed: Vec<&CustomerChange> =
        changes.iter().filter(|change| change.changes_side()).collect();
    if changed.is_empty() {
        return format!("  nobody changed side since sequence {}\n", before.sequence());
    }
    let mut out = format!(
        "  changed side since sequence {}: {}\n",
        before.sequence(),
        grouped(changed.len())
    );
    for change in changed.iter().take(MOST_SHOWN) {
        diff::describe(change).lines().for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    if let Some(more) = changed.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        out.push_str(&format!(
            "    and {} more: keep the file before, and see `waybill diff`\n",
            grouped(more)
        ));
    }
    out
}

/// How many who changed side are listed.
const MOST_SHOWN: usize = 50;

fn summary(path: &Path, compiled: &Compilation, order: &Order<'_>) -> String {
    let count =
        |ownership| grouped(compiled.ownership.get(&ownership).copied().unwrap_or_default());
    format!(
        "{}: sequence {}, made {}, {} bytes\n  customers {} (ownership clear {}, restricted {}, unresolved {}), runs of addresses {}\n  to be trusted: {}\n",
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
