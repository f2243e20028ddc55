//! A register of files on the disk: which of its files are read, and what `waybill check` says of it.

use std::io::Read as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Failure, complain};
use crate::compile::directory::{Directory, Files, MOST_BYTES, is_document, read};
use crate::compile::remarks::{Remarks, grouped};
use crate::time::UnixSeconds;

/// Reads those files of a register's directory whose names are `wanted`. What begins with a dot belongs to the system or to
/// version control.
pub(super) fn files(directory: &Path, wanted: fn(&str) -> bool) -> Result<Files, Failure> {
    let mut files = Files::default();
    walk(directory, "", wanted, &mut files)?;
    Ok(files)
}

fn walk(
    folder: &Path,
    prefix: &str,
    wanted: fn(&str) -> bool,
    files: &mut Files,
) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure(format!("{}: can't be read: {error}", path.display()))
    };
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let (path, last) = (entry.path(), entry.file_name());
        let name = format!("{prefix}{}", last.to_string_lossy());
        // so does what a spreadsheet program puts beside a file that somebody has open
        if last.to_string_lossy().starts_with(['.', '~']) {
            continue;
        }
        // links to files are followed (a ConfigMap's files are links), links to folders at the top only: below it they may lead back up
        let is_link = entry.file_type().map_err(|error| failed(&path, error))?.is_symlink();
        let metadata = std::fs::metadata(&path).map_err(|error| failed(&path, error))?;
        if metadata.is_dir() {
            let name = format!("{name}/");
            if !name.starts_with("bods/") && !name.starts_with("networks/") {
                files.others.insert(name);
            } else if prefix.is_empty() || !is_link {
                walk(&path, &name, wanted, files)?;
            }
        } else if wanted(&name) {
            // nobody may ever write to a pipe
            if !metadata.is_file() {
                return Err(Failure(format!(
                    "{}: not a regular file: a register is read from files, not from pipes or devices",
                    path.display()
                )));
            }
            // it is read into memory whole, and may grow in the meantime
            if metadata.len() > MOST_BYTES {
                return Err(too_large(&path, metadata.len()));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
            let file = std::fs::File::open(&path).map_err(|error| failed(&path, error))?;
            file.take(MOST_BYTES.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|error| failed(&path, error))?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size > MOST_BYTES {
                return Err(too_large(&path, size));
            }
            files.documents.insert(name, bytes);
        } else {
            files.others.insert(name);
        }
    }
    Ok(())
}

fn too_large(path: &Path, bytes: u64) -> Failure {
    let megabytes = |bytes: u64| grouped(bytes.div_ceil(1_000_000));
    Failure(format!(
        "{}: this file has {} MB, and a file of a register may have {} MB at most: take out what doesn't belong there",
        path.display(),
        megabytes(bytes),
        megabytes(MOST_BYTES)
    ))
}

/// Checks a register; where nothing is wrong, what is in it comes along.
pub(super) fn check(directory: &Path) -> Result<(Option<String>, Remarks), Failure> {
    let (register, remarks) = read(files(directory, is_document)?, now());
    Ok((register.map(|register| summary(&register)), remarks))
}

/// Opens a register, or says on stderr what is wrong in it and gives up: `otherwise` is what isn't done then.
pub(super) fn open(
    directory: &Path,
    now: UnixSeconds,
    otherwise: &str,
) -> Result<Directory, Failure> {
    let (register, remarks) = read(files(directory, is_document)?, now);
    complain_of(directory, &remarks);
    register.ok_or_else(|| Failure(format!("{}: {otherwise}", directory.display())))
}

/// Says on stderr what is wrong in a register, each with its file.
pub(super) fn complain_of(directory: &Path, remarks: &Remarks) {
    let name = directory.display().to_string();
    for remark in &remarks.errors {
        complain(&format!("{}/{remark}", name.trim_end_matches('/')));
    }
    if remarks.more > 0 {
        complain(&format!("{name}: and {} more", grouped(remarks.more)));
    }
}

fn summary(register: &Directory) -> String {
    let count = |n: usize, one: &str, many: &str| {
        format!("{} {}", grouped(n), if n == 1 { one } else { many })
    };
    [
        count(register.customers.len(), "customer", "customers"),
        count(
            register.customers.iter().map(|customer| customer.credentials.len()).sum(),
            "credential",
            "credentials",
        ),
        count(register.owners.graph.entities().count(), "entity", "entities"),
        count(register.owners.graph.holdings(), "holding", "holdings"),
        count(register.nodes.len(), "node", "nodes"),
        count(register.owners.settings.networks.len(), "network source", "network sources"),
    ]
    .join(", ")
}

#[expect(clippy::disallowed_methods, reason = "the desk is where time comes in from")]
pub(super) fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UnixSeconds(i64::try_from(since).unwrap_or(i64::MAX))
}
