//! Other resellers' nodes: few, so each worker holds them all, read out once.
//!
//! A page is a JSON list of nodes as `nodes.json` has them; `rows` counts them.

use super::bytes::PageBytes;
use super::layout::{Head, PageKind, SnapshotError};
use crate::register::{Node, Nodes, PageGone};
use crate::shape::{Json, Path, Problems, Shape as _};

/// Reads all nodes out of their pages, which `page` gives by number.
///
/// # Errors
/// What breaks the format.
pub fn read(
    head: &Head,
    mut page: impl FnMut(usize) -> Result<PageBytes, PageGone>,
) -> Result<Nodes, SnapshotError> {
    let mut nodes = Vec::new();
    for number in head.of_kind(PageKind::Nodes) {
        let bytes = page(number)?;
        nodes.extend(read_page(&bytes).ok_or(SnapshotError::Page(number, UNREADABLE))?);
    }
    Ok(Nodes::new(nodes))
}

/// Checks a page by itself.
///
/// # Errors
/// That it can't be read.
pub fn check(page: &[u8], rows: usize) -> Result<(), &'static str> {
    if read_page(page).is_some_and(|nodes| nodes.len() == rows) { Ok(()) } else { Err(UNREADABLE) }
}

const UNREADABLE: &str = "its nodes can't be read";

fn read_page(page: &[u8]) -> Option<Vec<Node>> {
    let json: Json = serde_json::from_str(std::str::from_utf8(page).ok()?).ok()?;
    let mut problems = Problems::default();
    Vec::read(&json, &Path::Root, &mut problems).filter(|_| problems.is_empty())
}
