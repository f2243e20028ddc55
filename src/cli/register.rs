//! A register on the disk: its files, and the summary that `waybill check` prints.

use std::path::Path;

use super::clock::now;
use super::error::CommandError;
use super::files::bytes;
use super::output::complain;
use crate::compile::directory::{
    Directory, Files, SHARING, is_document, read, read_to_renew_signals,
};
use crate::compile::remarks::{Remark, Remarks, grouped};
use crate::terms::time::UnixSeconds;

/// Reads those files of a register's directory whose names are `wanted`.
pub(super) fn files(directory: &Path, wanted: fn(&str) -> bool) -> Result<Files, CommandError> {
    let mut files = Files::default();
    walk(directory, "", wanted, &mut files)?;
    Ok(files)
}

fn walk(
    folder: &Path,
    prefix: &str,
    wanted: fn(&str) -> bool,
    files: &mut Files,
) -> Result<(), CommandError> {
    let failed = |path: &Path, error: std::io::Error| {
        CommandError::about(path, format!("can't be read: {error}"))
    };
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let (path, last) = (entry.path(), entry.file_name());
        let name = format!("{prefix}{}", last.to_string_lossy());
        // files of the system, of version control, and a spreadsheet program's locks
        if last.to_string_lossy().starts_with(['.', '~']) {
            continue;
        }
        // links to files are followed, since a ConfigMap's files are links; links to folders only
        // at the top, since deeper ones may lead back up
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
            if !metadata.is_file() {
                let message = "not a regular file: a register isn't read from pipes or devices";
                return Err(CommandError::about(&path, message));
            }
            let bytes = bytes(&path).map_err(|error| error.at(&path))?;
            files.documents.insert(name, bytes);
        } else {
            files.others.insert(name);
        }
    }
    Ok(())
}

/// Checks a register. Returns a summary of its contents if nothing is wrong.
pub(super) fn check(directory: &Path) -> Result<(Option<String>, Remarks), CommandError> {
    let (register, remarks) = read(files(directory, is_document)?, now());
    Ok((register.map(|register| summary(&register)), remarks))
}

/// Opens a register. Prints its mistakes, if any, and gives up: `otherwise` says what isn't done.
pub(super) fn open(
    directory: &Path,
    now: UnixSeconds,
    otherwise: &str,
) -> Result<Directory, CommandError> {
    let (register, remarks) = read(files(directory, is_document)?, now);
    found(directory, register, &remarks, otherwise)
}

/// Opens a register whose sharing.json is about to be written anew, and says which of its signals
/// are left out.
pub(super) fn open_to_renew_signals(
    directory: &Path,
    now: UnixSeconds,
    otherwise: &str,
) -> Result<Directory, CommandError> {
    let (register, remarks) = read_to_renew_signals(files(directory, is_document)?, now);
    let register = found(directory, register, &remarks, otherwise);
    complain_in(directory, remarks.notices.iter().filter(|notice| notice.file == SHARING));
    register
}

/// The register, if nothing is wrong; prints its mistakes.
fn found(
    directory: &Path,
    register: Option<Directory>,
    remarks: &Remarks,
    otherwise: &str,
) -> Result<Directory, CommandError> {
    complain_of(directory, remarks);
    register.ok_or_else(|| CommandError::about(directory, otherwise))
}

/// Prints the errors of a register on stderr, each with its file.
pub(super) fn complain_of(directory: &Path, remarks: &Remarks) {
    complain_in(directory, &remarks.errors);
    if remarks.more > 0 {
        complain(&format!("{}: and {} more", directory.display(), grouped(remarks.more)));
    }
}

/// Prints remarks on stderr, each with its file in the register.
fn complain_in<'r>(directory: &Path, remarks: impl IntoIterator<Item = &'r Remark>) {
    let name = directory.display().to_string();
    for remark in remarks {
        complain(&format!("{}/{remark}", name.trim_end_matches('/')));
    }
}

fn summary(register: &Directory) -> String {
    let Directory { owners, customers, nodes, .. } = register;
    let credentials = customers.iter().map(|customer| customer.credentials.len()).sum();
    let counts = [
        (customers.len(), "customer", "customers"),
        (credentials, "credential", "credentials"),
        (owners.graph.entities().count(), "entity", "entities"),
        (owners.graph.holdings(), "holding", "holdings"),
        (nodes.len(), "node", "nodes"),
        (owners.settings.networks.len(), "network source", "network sources"),
    ];
    let count = |(n, one, many)| format!("{} {}", grouped(n), if n == 1 { one } else { many });
    counts.map(count).join(", ")
}
