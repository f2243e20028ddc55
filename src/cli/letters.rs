//! `waybill letters`: a draft of the letter to each refused customer who has none yet.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::error::CommandError;
use super::files::replace;
use super::letter::{SenderArguments, as_page};
use super::logs::each_line;
use super::output::{complain, inert, print};
use crate::compile::remarks::{counted, grouped};
use crate::decision::event::Event;
use crate::journal::letter::{Letter, NoLetter};
use crate::journal::line::{LineEnvelope, LogLine};
use crate::register::Customer;
use crate::terms::finding::{ActionName, FindingCode};

#[derive(Debug, clap::Args)]
pub(super) struct LettersArguments {
    /// Log files: JSON Lines, also gzip or zstd; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    sender: SenderArguments,
    /// The folder of the letters. A letter that is there is never written again
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    output: PathBuf,
}

/// A customer's latest refusal for a reason.
struct LatestRefusal {
    time: String,
    text: String,
    envelope: LineEnvelope,
}

/// The letters that one run writes. The rest waits for the next one.
const MOST_LETTERS: usize = 10_000;

pub(super) fn run(arguments: &LettersArguments) -> Result<(), CommandError> {
    let (config, customers) = arguments.sender.read()?;
    // of several with one id the first, as elsewhere
    let customers: HashMap<&str, &Customer> =
        customers.iter().rev().map(|customer| (customer.id.as_str(), customer)).collect();
    let folder = &arguments.output;
    let failed = |path: &Path, what: &str, error: std::io::Error| {
        CommandError::about(path, format!("can't be {what}: {error}"))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, "written", error))?;
    let there = names(folder).map_err(|error| failed(folder, "read", error))?;
    let (mut open, mut is_cut) = (BTreeMap::new(), false);
    each_line(&arguments.files, &mut |_, bytes| {
        let LogLine::Event(logged) = LogLine::parse(bytes) else {
            return ControlFlow::Continue(());
        };
        let Ok(event) = Event::parse(&logged.text) else { return ControlFlow::Continue(()) };
        let Some((customer, reason)) = refused(&event) else { return ControlFlow::Continue(()) };
        let key = (customer.to_owned(), reason);
        if !open.contains_key(&key) && open.len() >= MOST_LETTERS {
            is_cut = true;
            return ControlFlow::Continue(());
        }
        let time = event.time.0.to_string();
        let is_later = |known: &LatestRefusal| known.time <= time;
        if open.get(&key).is_none_or(is_later) {
            let text = logged.text.clone().into_owned();
            open.insert(key, LatestRefusal { time, text, envelope: logged.envelope });
        }
        ControlFlow::Continue(())
    })?;
    let (mut known, mut others) = (0_usize, 0_usize);
    let mut written = Vec::new();
    for ((customer, reason), refusal) in open {
        let start = file_start(&customer, reason);
        if there.iter().any(|name| name.starts_with(&start)) {
            known = known.saturating_add(1);
            continue;
        }
        let Ok(event) = Event::parse(&refusal.text) else { continue };
        let entry = customers.get(&*customer).copied();
        let letter = match Letter::write(&event, &refusal.envelope, &config, entry) {
            Ok(letter) => letter,
            Err(NoLetter::OtherNode { .. } | NoLetter::Passed(_)) => {
                others = others.saturating_add(1);
                continue;
            }
        };
        let name = format!("{start}draft.html");
        let path = folder.join(&name);
        replace(&path, inert(&as_page(&letter)).as_bytes())
            .map_err(|error| failed(&path, "written", error))?;
        written.push(name);
    }
    let number = u64::try_from(written.len()).unwrap_or(u64::MAX);
    print(&format!("{}, {} there before\n", counted(number, "new draft"), grouped(known)));
    for name in &written {
        print(&format!("  {name}\n"));
    }
    if others > 0 {
        let others = grouped(others);
        complain(&format!("note: {others} not written: another node refused the request"));
    }
    if is_cut {
        complain(&format!(
            "note: only the first {} customers and reasons have a letter",
            grouped(MOST_LETTERS)
        ));
    }
    Ok(())
}

/// Whom a refusal is told, and its reason: a customer that the request proved to be.
fn refused<'e>(event: &'e Event<'_>) -> Option<(&'e str, FindingCode)> {
    let is_proven = event.verdict == ActionName::Block && event.credential.0.is_some();
    let customer = event.customer.0.as_ref().filter(|_| is_proven)?;
    Some((&customer.0, event.reason.0?))
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    std::fs::read_dir(folder)?.map(name).collect()
}

/// How the names of a customer's letters for a reason begin. A person changes only the last word.
/// Characters that a file system or a reader of names could take for something else are escaped.
fn file_start(customer: &str, reason: FindingCode) -> String {
    let mut start = String::new();
    for byte in customer.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) && !start.is_empty() {
            start.push(char::from(byte));
        } else {
            start.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{start} {reason} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_one_to_one_and_stay_in_the_folder() {
        let start = |customer| file_start(customer, FindingCode::GeoRestricted);
        assert_eq!(start("c-1042"), "c-1042 geo.restricted ");
        assert_eq!(start("../a b"), "%2E.%2Fa%20b geo.restricted ");
        assert_ne!(start("a%2Fb"), start("a/b"));
    }
}
