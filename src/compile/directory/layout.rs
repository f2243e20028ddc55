//! Which files belong to a register.

use super::files::{BODS, ENFORCEMENT, ENTITIES, Files, NETWORKS, NODES, SETTINGS, SHARING};
use super::forms::{CUSTOMERS, OWNERS};
use crate::compile::remarks::Remarks;
use crate::shape::nearest;

/// The names at the top of a register; folders end in a slash.
fn top() -> impl Iterator<Item = &'static str> {
    [SETTINGS, ENTITIES, NODES, ENFORCEMENT, SHARING, BODS, NETWORKS]
        .into_iter()
        .chain(CUSTOMERS.names())
        .chain(OWNERS.names())
}

/// Whether [`read`](super::read) needs that file's bytes; of other files it needs the name only.
pub fn is_document(name: &str) -> bool {
    (!name.ends_with('/') && top().any(|known| known == name))
        || name.strip_prefix(BODS).is_some_and(|rest| {
            (rest.ends_with(".json") || rest.ends_with(".jsonl")) && !rest.contains('/')
        })
        || (name.starts_with(NETWORKS) && !is_readme(name))
}

fn is_readme(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.starts_with("README"))
}

/// Whether [`customers`](super::customers) or [`owners`](super::owners) need that file's bytes:
/// all but networks, which are the largest.
pub fn says_of_customers(name: &str) -> bool {
    is_document(name) && !name.starts_with(NETWORKS)
}

pub(super) fn check_names(files: &Files, remarks: &mut Remarks) {
    for name in files.others.iter().filter(|name| !is_readme(name)) {
        let help = match name.strip_prefix(BODS) {
            Some(_) => {
                "put BODS statements into `bods/` itself, in `.json` or `.jsonl` files".into()
            }
            None => match nearest(name, &top().collect::<Vec<_>>()) {
                _ if is_other_sheet(name) => "save the spreadsheet as `.xlsx` or as `.csv`".into(),
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "a register holds register.json, customers, owners, entities.json, nodes.json, \
                     enforcement.json, sharing.json, bods/, networks/ and README files"
                        .into()
                }
            },
        };
        remarks.error(name, None, "unknown file", &help);
    }
}

/// Whether it is a spreadsheet in a format that isn't read.
fn is_other_sheet(name: &str) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let known = ["customers", "owners"].iter().any(|known| stem.to_lowercase().starts_with(known));
    known
        && ["xls", "xlsm", "xlsb", "ods", "fods", "numbers", "tsv", "tab", "txt"]
            .contains(&ending.to_lowercase().as_str())
}
