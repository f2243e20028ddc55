//! `waybill compile`: a register of files becomes one signed snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Failure, complain, print, read, register};
use crate::compile::directory::{self, grouped};
use crate::compile::{Compiled, Order, compile};
use crate::key::SigningKey;
use crate::names::UnixSeconds;
use crate::register::Ownership;

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
    let jwk = read(sign_key).map_err(|Failure(message)| at(sign_key, message))?;
    let key = SigningKey::from_jwk(jwk.trim()).map_err(|mismatch| at(sign_key, mismatch.message))?;
    let created = created()?;
    let second = u64::try_from(created.0).unwrap_or(0);
    if !key.window().contains(second) {
        return Err(at(sign_key, format!("this key doesn't count {created}: see its `nbf` and `exp`")));
    }

    let files = register::files(folder)?;
    let (read, remarks) = directory::read(files.clone(), created);
    for remark in &remarks.errors {
        complain(&format!("{}/{remark}", folder.display()));
    }
    let Some(read) = read else {
        return Err(Failure(format!("{}: nothing is compiled; `waybill check` shows all that is wrong", folder.display())));
    };
    let mut networks = BTreeMap::new();
    for source in &read.settings.networks {
        let path = folder.join(source.file.as_str());
        let bytes = std::fs::read(&path).map_err(|error| at(&path, format!("can't be read: {error}")))?;
        networks.insert(source.file.as_str().to_owned(), bytes);
    }
    let order = Order { sequence: sequence.unwrap_or(second), created, key: &key };
    let compiled = compile(read, &files, &networks, &order).map_err(|problems| {
        problems.iter().for_each(|problem| complain(&format!("{}/{problem}", folder.display())));
        Failure(format!("{}: nothing is compiled", folder.display()))
    })?;
    replace(output, &compiled.file).map_err(|error| at(output, format!("can't be written: {error}")))?;
    print(&summary(output, &compiled, &order));
    Ok(())
}

/// When the snapshot is made: SOURCE_DATE_EPOCH (<https://reproducible-builds.org/specs/source-date-epoch/>), else now.
fn created() -> Result<UnixSeconds, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(register::now()),
        Ok(text) => {
            let second = text.parse::<u32>().map(|second| UnixSeconds(second.into()));
            second.map_err(|_| Failure("SOURCE_DATE_EPOCH isn't a number of seconds since 1970".into()))
        }
    }
}

/// Writes beside the file, then renames: whoever reads it has the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

fn summary(path: &Path, compiled: &Compiled, order: &Order<'_>) -> String {
    let count = |ownership| grouped(compiled.customers.iter().filter(|customer| customer.ownership() == ownership).count());
    format!(
        "{}: sequence {}, made {}, {} bytes\n  customers {} (ownership clear {}, restricted {}, unresolved {}), runs of addresses {}\n  to be trusted: {}\n",
        path.display(),
        order.sequence,
        order.created,
        grouped(compiled.file.len()),
        grouped(compiled.customers.len()),
        count(Ownership::Clear),
        count(Ownership::Restricted),
        count(Ownership::Unresolved),
        grouped(compiled.runs),
        order.key.verifying_key().to_base64(),
    )
}
