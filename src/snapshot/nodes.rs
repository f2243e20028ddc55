//! Other resellers' nodes: few, so each worker holds them all, read out once.
//!
//! A page is a JSON list of nodes as `nodes.json` has them; `rows` counts them.

use super::layout::{Head, PageKind, Refused};
use crate::ordered;
use crate::register::Node;
use crate::shape::{Json, Path, Problems, Shape as _};

/// All nodes, with the thumbprints of their keys.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    // INVARIANT (sorted): by thumbprint, so that they can be searched; values are indices into `nodes`
    by_thumbprint: Vec<(String, usize)>,
}

impl Nodes {
    /// Reads pages, which `page` gives by number.
    ///
    /// # Errors
    /// What breaks the format.
    pub fn new(head: &Head, mut page: impl FnMut(usize) -> Option<Vec<u8>>) -> Result<Self, Refused> {
        let mut nodes = Vec::new();
        for number in head.of_kind(PageKind::Nodes) {
            let bytes = page(number).ok_or(Refused::Page(number, "it is gone"))?;
            nodes.extend(read(&bytes).ok_or(Refused::Page(number, UNREADABLE))?);
        }
        let thumbprints = nodes.iter().enumerate().flat_map(|(i, node)| node.keys.iter().map(move |key| (key.x.thumbprint(), i)));
        let by_thumbprint = ordered::sorted(thumbprints);
        Ok(Self { nodes, by_thumbprint })
    }

    /// The node that has a key of this thumbprint (RFC 7638).
    #[must_use]
    pub fn by_thumbprint(&self, thumbprint: &str) -> Option<&Node> {
        let place = self.by_thumbprint.binary_search_by(|(known, _)| known.as_str().cmp(thumbprint)).ok()?;
        self.nodes.get(self.by_thumbprint.get(place)?.1)
    }
}

/// Checks a page by itself.
///
/// # Errors
/// That it can't be read.
pub fn check(page: &[u8], rows: usize) -> Result<(), &'static str> {
    if read(page).is_some_and(|nodes| nodes.len() == rows) { Ok(()) } else { Err(UNREADABLE) }
}

const UNREADABLE: &str = "its nodes can't be read";

fn read(page: &[u8]) -> Option<Vec<Node>> {
    let json: Json = serde_json::from_str(std::str::from_utf8(page).ok()?).ok()?;
    let mut problems = Problems::default();
    Vec::read(&json, &Path::Root, &mut problems).filter(|_| problems.is_empty())
}
