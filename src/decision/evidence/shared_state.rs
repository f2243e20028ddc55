//! Shared state: what customers of one account share at a provider, such as files, with the methods
//! and paths that reach it.
//!
//! The table is data (`data/shared-state.json`), each row with its source.

use crate::decision::path::PathReadings;
use crate::shape::Json;

/// The table, in groups of paths that begin with the same two segments. Most requests are compared
/// with no path.
#[derive(Debug)]
pub struct SharedState {
    // INVARIANT (length): a group's head is as long as its place in the list says
    groups: Vec<Vec<PathGroup>>,
}

#[derive(Debug)]
struct PathGroup {
    head: String,
    rows: Vec<PathPattern>,
}

/// A row: methods and a path.
#[derive(Debug)]
struct PathPattern {
    methods: Vec<String>,
    /// The path as the table has it, and the provider, for an explanation
    shown: String,
    /// The segments behind the group's two
    rest: Vec<String>,
}

impl SharedState {
    /// Reads the table.
    pub fn known() -> Self {
        let table: Json =
            serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/shared-state.json")))
                .unwrap_or(Json::Null);
        let mut known = Self { groups: Vec::new() };
        for row in table.get("rows").map(Json::items).unwrap_or_default() {
            known.add(row);
        }
        known
    }

    fn add(&mut self, row: &Json) -> Option<()> {
        let text = |name: &str| row.get(name).and_then(Json::as_str);
        let (path, provider) = (text("path")?, text("provider")?);
        let (head, rest) = split(path.as_bytes());
        let head = std::str::from_utf8(head).ok()?;
        let methods = row
            .get("methods")?
            .items()
            .iter()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect();
        let rest = std::str::from_utf8(rest)
            .ok()?
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect();
        let row = PathPattern { methods, shown: [path, " (", provider, ")"].concat(), rest };
        if self.groups.len() <= head.len() {
            self.groups.resize_with(head.len().saturating_add(1), Vec::new);
        }
        let groups = self.groups.get_mut(head.len())?;
        match groups.iter_mut().find(|group| group.head == head) {
            Some(group) => group.rows.push(row),
            None => groups.push(PathGroup { head: head.to_owned(), rows: vec![row] }),
        }
        Some(())
    }

    /// What a request reaches by any reading of its path, in the table's words.
    pub fn reached(&self, method: &[u8], readings: &PathReadings<'_>) -> Option<&str> {
        let method = if method == b"HEAD" { b"GET" } else { method };
        readings.all().find_map(|path| {
            let (head, rest) = split(path);
            let groups = self.groups.get(head.len())?;
            let group =
                groups.iter().find(|group| group.head.as_bytes().eq_ignore_ascii_case(head))?;
            let row = group.rows.iter().find(|row| {
                row.methods.iter().any(|own| own.as_bytes() == method) && is_of(rest, &row.rest)
            })?;
            Some(row.shown.as_str())
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.groups.iter().flatten().map(|group| group.rows.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

/// A path's first two segments, and the rest.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .map(|(i, _)| i)
        .nth(2)
        .unwrap_or(path.len());
    path.split_at_checked(end).unwrap_or((path, b""))
}

/// Whether these segments are those of a pattern.
fn is_of(rest: &[u8], pattern: &[String]) -> bool {
    let mut segments = rest.split(|b| *b == b'/').filter(|segment| !segment.is_empty());
    for wanted in pattern {
        if wanted == "**" {
            return true; // it is the last segment of its pattern
        }
        if !segments.next().is_some_and(|segment| fits(segment, wanted)) {
            return false;
        }
    }
    segments.next().is_none()
}

/// Whether a segment is the wanted one. A `*` in the wanted one fits any text.
fn fits(segment: &[u8], wanted: &str) -> bool {
    let Some((before, after)) = wanted.split_once('*') else {
        return segment.eq_ignore_ascii_case(wanted.as_bytes());
    };
    let begins = segment
        .get(..before.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(before.as_bytes()));
    let behind = segment.get(before.len()..).unwrap_or_default();
    let ends = behind.len().checked_sub(after.len()).and_then(|at| behind.get(at..));
    begins && ends.is_some_and(|end| end.eq_ignore_ascii_case(after.as_bytes()))
}
