//! What is found in the files of a register, and where it stands.

use std::collections::BTreeMap;
use std::fmt;

use super::lines;
use crate::shape::{Path, Problem, Problems};

/// What was found in the files of a register.
#[derive(Debug, Default, Clone)]
pub struct Remarks {
    /// What is wrong: the first [`MOST_ERRORS`]
    pub errors: Vec<Remark>,
    /// How many more errors there are
    pub more: usize,
    /// What is worth knowing
    pub notices: Vec<Remark>,
}

/// One thing found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The file, from the register's directory
    pub file: String,
    /// The line, counted from 1; none where it concerns the file as a whole
    pub line: Option<usize>,
    /// What it is. Its path is one into the JSON document, into the JSON of the line, the name of a column, or empty
    pub problem: Problem,
}

/// As many errors are kept and shown: who has more has made one mistake many times.
pub const MOST_ERRORS: usize = 1_000;

impl Remarks {
    /// Takes in the mistakes of a JSON document; [`Remarks::locate`] finds their lines.
    pub(super) fn take(&mut self, file: &str, problems: Problems) {
        for problem in problems.iter() {
            self.push_error(Remark { file: file.into(), line: None, problem: problem.clone() });
        }
    }

    pub(super) fn error(&mut self, file: &str, line: Option<usize>, message: &str, help: Option<&str>) {
        let problem = Problem { path: String::new(), message: message.into(), help: help.map(str::to_owned) };
        self.push_error(Remark { file: file.into(), line, problem });
    }

    pub(super) fn notice(&mut self, file: &str, path: &str, message: String, help: &str) {
        let problem = Problem { path: path.into(), message, help: Some(help.into()) };
        self.notices.push(Remark { file: file.into(), line: None, problem });
    }

    pub(super) fn not_json(&mut self, file: &str, line: usize, error: &serde_json::Error) {
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        let help = "strings and names stand in double quotes, no comma follows the last member";
        self.error(file, Some(line), &format!("this is not JSON from column {} on: {message}", error.column()), Some(help));
    }

    /// A file in an encoding that nothing here reads.
    pub(super) fn wide(&mut self, file: &str) {
        let help = "save as UTF-8: `CSV UTF-8` in a spreadsheet program, `-Encoding utf8` in PowerShell";
        self.error(file, None, "this file is UTF-16 (or UTF-32) text", Some(help));
    }

    /// How many errors there are, those included that aren't kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len().saturating_add(self.more)
    }

    /// Whether something is wrong there: a list in which one element is wrong is read as none.
    pub(super) fn have_errors_at(&self, file: &str, at: &Path<'_>) -> bool {
        let path = at.to_string();
        self.errors.iter().any(|remark| remark.file == file && remark.problem.path.starts_with(&path))
    }

    pub(super) fn push_error(&mut self, mut remark: Remark) {
        if self.errors.len() >= MOST_ERRORS {
            self.more = self.more.saturating_add(1);
            return;
        }
        remark.problem.path = discreet(remark.problem.path);
        self.errors.push(remark);
    }

    /// Finds the lines of paths into these JSON documents, and puts everything in the order of files and lines.
    pub(super) fn locate(&mut self, documents: &BTreeMap<String, Vec<u8>>) {
        let mut all: Vec<&mut Remark> = self.errors.iter_mut().chain(&mut self.notices).collect();
        for (name, bytes) in documents {
            let paths: Vec<String> =
                all.iter().filter(|remark| remark.awaits_line(name)).map(|remark| remark.problem.path.clone()).collect();
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

impl Remark {
    fn awaits_line(&self, name: &str) -> bool {
        self.line.is_none() && self.file == name && !self.problem.path.is_empty()
    }
}

/// The path without what somebody may have written in place of a credential's entry: a name there may be the key itself.
fn discreet(path: String) -> String {
    let known = ["digest", "label", "expires", "networks"];
    let Some((before, rest)) = path.split_once("credentials[") else { return path };
    match rest.split_once(']') {
        Some((number, member))
            if !member.is_empty() && !known.iter().any(|name| member.strip_prefix('.').is_some_and(|rest| rest.starts_with(name))) =>
        {
            format!("{before}credentials[{number}]")
        }
        _ => path,
    }
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

/// A number with its thousands apart: 1,204.
#[must_use]
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

/// Whether it is text of two or four bytes a character: the mark says so, or a zero byte within the first two characters.
/// No text that belongs here has one there.
pub(super) fn is_wide(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.iter().take(4).any(|byte| *byte == 0)
}

/// Without the byte order mark that some editors put first.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
