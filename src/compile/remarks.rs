//! Errors and notices about the files of a register, with their places.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::lines;
use crate::shape::{Mismatch, Path, Problem, Problems};

/// Errors and notices about the files of a register.
#[derive(Debug, Default, Clone)]
pub struct Remarks {
    /// The first [`MOST_ERRORS`] errors
    pub errors: Vec<Remark>,
    /// How many more errors there are
    pub more: usize,
    /// Notices
    pub notices: Vec<Remark>,
    tables: TableErrors,
}

/// Errors of tables while those are read. A table of 60,000 rows may have the same mistake in each.
#[derive(Debug, Default, Clone)]
struct TableErrors {
    /// By file: lines from which on row numbers are smaller than line numbers, and by how much.
    /// Cells may have line breaks
    breaks: BTreeMap<String, Vec<(usize, usize)>>,
    /// By file, column and kind of mistake
    groups: HashMap<(String, String, String), ErrorGroup>,
}

/// The errors of one kind in a column.
#[derive(Debug, Default, Clone)]
struct ErrorGroup {
    /// Its index in the list of errors
    first: usize,
    lines: Vec<usize>,
    /// The first different values found, and whether there are more
    found: Vec<String>,
    more_found: bool,
    /// The help of the first lines, and whether there is more
    help: Vec<(usize, Option<String>)>,
    more_help: bool,
}

/// How many values and ranges of rows of a group are shown.
const MOST_SHOWN: usize = 5;
const MOST_RANGES: usize = 20;

/// An error or notice, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The file, from the register's directory
    pub file: String,
    /// The line, counted from 1; none where the remark concerns the whole file
    pub line: Option<usize>,
    /// The problem. Its path leads into the JSON document or the JSON of the line; in a table it is
    /// the name of a column; it may be empty
    pub problem: Problem,
}

/// How many errors are kept and shown. More are usually one mistake, made many times.
pub const MOST_ERRORS: usize = 1_000;

impl Remarks {
    /// Adds the mistakes of a JSON document, or of its line. Where that is none,
    /// [`Remarks::locate`] finds the lines.
    pub(super) fn take(&mut self, file: &str, line: Option<usize>, problems: &Problems) {
        for problem in problems.iter() {
            self.push_error(Remark { file: file.into(), line, problem: problem.clone() });
        }
    }

    pub(super) fn error(&mut self, file: &str, line: Option<usize>, message: &str, help: &str) {
        self.mismatch(file, line, Mismatch::new(message, help));
    }

    /// An error on a line of a file that isn't JSON.
    pub(super) fn mismatch(&mut self, file: &str, line: Option<usize>, mismatch: Mismatch) {
        let Mismatch { message, help } = mismatch;
        let problem = Problem { path: String::new(), message, help };
        self.push_error(Remark { file: file.into(), line, problem });
    }

    pub(super) fn notice(&mut self, file: &str, path: &str, message: String, help: &str) {
        let problem = Problem { path: path.into(), message, help: Some(help.into()) };
        self.notices.push(Remark { file: file.into(), line: None, problem });
    }

    pub(super) fn not_json(&mut self, file: &str, line: usize, error: &serde_json::Error) {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        let help = "put names and strings in double quotes, and no comma after the last member";
        let message = format!("invalid JSON at column {}: {message}", error.column());
        self.error(file, Some(line), &message, help);
    }

    /// Notes a file in UTF-16 or UTF-32.
    pub(super) fn wide(&mut self, file: &str) {
        let help =
            "save as UTF-8: `CSV UTF-8` in a spreadsheet program, `-Encoding utf8` in PowerShell";
        self.error(file, None, "unknown encoding: expected UTF-8, found UTF-16 or UTF-32", help);
    }

    /// How many errors there are, with those that aren't kept.
    pub fn count(&self) -> usize {
        self.errors.len().saturating_add(self.more)
    }

    /// Whether there is an error at a path or below. A list with a wrong element is read as absent.
    pub(super) fn have_errors_at(&self, file: &str, at: &Path<'_>) -> bool {
        let path = at.to_string();
        let is_there = |it: &Remark| it.file == file && it.problem.path.starts_with(&path);
        self.errors.iter().any(is_there)
    }

    pub(super) fn push_error(&mut self, mut remark: Remark) {
        remark.problem.path = discreet(remark.problem.path);
        if let Some(line) = remark.line.filter(|_| is_table(&remark.file)) {
            let key =
                (remark.file.clone(), remark.problem.path.clone(), kind(&remark.problem.message));
            if let Some(group) = self.tables.groups.get_mut(&key) {
                group.add(line, &remark.problem);
                return;
            }
            if self.errors.len() < MOST_ERRORS {
                let mut group = ErrorGroup { first: self.errors.len(), ..ErrorGroup::default() };
                group.add(line, &remark.problem);
                self.tables.groups.insert(key, group);
            }
        }
        self.push_alone(remark);
    }

    /// Adds an error that isn't grouped with others of its kind.
    pub(super) fn push_alone(&mut self, remark: Remark) {
        if self.errors.len() >= MOST_ERRORS {
            self.more = self.more.saturating_add(1);
        } else {
            self.errors.push(remark);
        }
    }

    /// Notes the line breaks in a cell of a table that ends at this line.
    pub(super) fn breaks(&mut self, file: &str, line: usize, breaks: usize) {
        let known = self.tables.breaks.entry(file.to_owned()).or_default();
        let before = known.last().map_or(0, |(_, behind)| *behind);
        known.push((line, before.saturating_add(breaks)));
    }

    /// Writes the rows of each group into the error that represents it.
    fn tell_rows(&mut self) {
        for ((file, ..), mut group) in std::mem::take(&mut self.tables.groups) {
            group.lines.sort_unstable();
            group.lines.dedup();
            let Some(remark) = self.errors.get_mut(group.first) else { continue };
            let breaks = self.tables.breaks.get(&file).map(Vec::as_slice).unwrap_or_default();
            let row = |line: usize| {
                let behind = breaks
                    .partition_point(|(from, _)| *from <= line)
                    .checked_sub(1)
                    .and_then(|last| breaks.get(last));
                line.saturating_sub(behind.map_or(0, |(_, behind)| *behind))
            };
            let several = group.lines.len() > 1;
            if let [_, found @ ..] = group.found.as_slice()
                && !found.is_empty()
            {
                let more = if group.more_found { " and others" } else { "" };
                remark.problem.message.push_str(&format!(" (also {}{more})", found.join(", ")));
            }
            if several {
                let rows: Vec<usize> = group.lines.iter().map(|line| row(*line)).collect();
                remark.problem.message.insert_str(0, &format!("rows {}: ", ranges(&rows)));
                remark.line = group.lines.first().copied();
            }
            if group.help.iter().any(|(_, help)| *help != remark.problem.help) {
                let place = |line: usize| {
                    if several { format!("row {}: ", row(line)) } else { String::new() }
                };
                let mut helps: Vec<String> = Vec::new();
                for (line, help) in &group.help {
                    let Some(help) = help else { continue };
                    let help = format!("{}{help}", place(*line));
                    if !helps.contains(&help) {
                        helps.push(help);
                    }
                }
                if group.more_help {
                    helps.push("and so on".into());
                }
                remark.problem.help = Some(helps.join("; "));
            }
        }
    }

    /// Finds the lines of paths into these JSON documents, and sorts all remarks by file and line.
    pub(super) fn locate(&mut self, documents: &BTreeMap<String, Vec<u8>>) {
        self.tell_rows();
        let mut all: Vec<&mut Remark> = self.errors.iter_mut().chain(&mut self.notices).collect();
        for (name, bytes) in documents {
            let paths: Vec<String> = all
                .iter()
                .filter(|remark| remark.awaits_line(name))
                .map(|remark| remark.problem.path.clone())
                .collect();
            if paths.is_empty() {
                continue;
            }
            let found = lines::locate(without_mark(bytes), paths.iter().map(String::as_str));
            for remark in all.iter_mut().filter(|remark| remark.awaits_line(name)) {
                remark.line = found.get(remark.problem.path.as_str()).copied();
            }
        }
        let by_place = |a: &Remark, b: &Remark| (&a.file, a.line).cmp(&(&b.file, b.line));
        self.errors.sort_by(by_place);
        self.notices.sort_by(by_place);
    }
}

impl ErrorGroup {
    fn add(&mut self, line: usize, problem: &Problem) {
        self.lines.push(line);
        let found = found(&problem.message);
        if !self.found.contains(&found) {
            if self.found.len() < MOST_SHOWN {
                self.found.push(found);
            } else {
                self.more_found = true;
            }
        }
        if self.help.len() < MOST_SHOWN {
            self.help.push((line, problem.help.clone()));
        } else {
            self.more_help = true;
        }
    }
}

/// Whether a file is a table beside register.json, whose mistakes are grouped. Those in `networks/`
/// aren't.
fn is_table(file: &str) -> bool {
    !file.contains('/') && (file.ends_with(".csv") || file.ends_with(".xlsx"))
}

/// A message without its quotes from the file, so that messages of one kind are equal.
fn kind(message: &str) -> String {
    message.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// A message's quotes from the file.
fn found(message: &str) -> String {
    let quotes = message.split('`').skip(1).step_by(2);
    quotes.map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" ")
}

/// `3, 7, 12-60`
fn ranges(rows: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for row in rows {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) >= *row => *last = *row,
            _ => ranges.push((*row, *row)),
        }
    }
    let (shown, more) = ranges.split_at(ranges.len().min(MOST_RANGES));
    let range = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let shown = shown.iter().map(range).collect::<Vec<_>>().join(", ");
    let more: usize =
        more.iter().map(|(first, last)| last.saturating_sub(*first).saturating_add(1)).sum();
    if more == 0 { shown } else { format!("{shown} and {} more", grouped(more)) }
}

impl Remark {
    fn awaits_line(&self, name: &str) -> bool {
        self.line.is_none() && self.file == name && !self.problem.path.is_empty()
    }
}

/// A path without unknown names in a credential's entry: such a name may be the key itself.
fn discreet(path: String) -> String {
    let known = ["digest", "label", "expires", "networks"];
    let Some((before, rest)) = path.split_once("credentials[") else { return path };
    let Some((number, member)) = rest.split_once(']') else { return path };
    let name = member.strip_prefix('.').unwrap_or_default();
    if member.is_empty() || known.iter().any(|known| name.starts_with(known)) {
        return path;
    }
    format!("{before}credentials[{number}]")
}

/// `customers.json:14: $.customers[3].id: …`
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// A number with separated thousands: 1,204.
pub fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len().saturating_mul(2));
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digits.len().saturating_sub(i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: 1 event, 1,204 events.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Whether a text has two or four bytes a character: by its byte order mark, or by a zero byte
/// within the first two characters. No valid file has one there.
pub(super) fn is_wide(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || bytes.iter().take(4).any(|b| *b == 0)
}

/// A text without the byte order mark that some editors put first.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
