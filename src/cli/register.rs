//! A register of files on the disk: which of its files are read, and what `waybill check` says of it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Failure;
use crate::compile::directory::{Directory, Files, Remarks, grouped, is_document, read};
use crate::names::UnixSeconds;

/// Reads the files of a register's directory. What begins with a dot belongs to the system or to version control.
pub(super) fn files(directory: &Path) -> Result<Files, Failure> {
    let mut files = Files::default();
    walk(directory, "", &mut files)?;
    Ok(files)
}

fn walk(folder: &Path, prefix: &str, files: &mut Files) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure(format!("{}: can't be read: {error}", path.display()));
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let (path, last) = (entry.path(), entry.file_name());
        let name = format!("{prefix}{}", last.to_string_lossy());
        if last.to_string_lossy().starts_with('.') {
            continue;
        }
        // links to files are followed (a ConfigMap's files are links), links to folders at the top only: below it they may lead back up
        let is_link = entry.file_type().map_err(|error| failed(&path, error))?.is_symlink();
        if std::fs::metadata(&path).map_err(|error| failed(&path, error))?.is_dir() {
            let name = format!("{name}/");
            if !name.starts_with("bods/") && !name.starts_with("networks/") {
                files.others.insert(name);
            } else if prefix.is_empty() || !is_link {
                walk(&path, &name, files)?;
            }
        } else if is_document(&name) {
            let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
            files.documents.insert(name, bytes);
        } else {
            files.others.insert(name);
        }
    }
    Ok(())
}

/// Checks a register; where nothing is wrong, what is in it comes along.
pub(super) fn check(directory: &Path) -> Result<(Option<String>, Remarks), Failure> {
    let files = files(directory)?;
    let (register, remarks) = read(files, now());
    Ok((register.map(|register| summary(&register)), remarks))
}

fn summary(register: &Directory) -> String {
    let count = |n: usize, one: &str, many: &str| format!("{} {}", grouped(n), if n == 1 { one } else { many });
    [
        count(register.customers.len(), "customer", "customers"),
        count(register.customers.iter().map(|customer| customer.credentials.len()).sum(), "credential", "credentials"),
        count(register.entities.len(), "entity", "entities"),
        count(register.holdings.len(), "holding", "holdings"),
        count(register.nodes.len(), "node", "nodes"),
        count(register.settings.networks.len(), "network source", "network sources"),
    ]
    .join(", ")
}

#[expect(clippy::disallowed_methods, reason = "the desk is where time comes in from")]
pub(super) fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UnixSeconds(i64::try_from(since).unwrap_or(i64::MAX))
}
