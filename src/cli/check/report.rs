//! What `check` found in one file or register, as text and as JSON.

use serde_json::{Value, json};

use super::super::output::{complain, print};
use crate::compile::remarks::{Remark, grouped};
use crate::envoy::{Diagnostic, Promise, Spot};
use crate::shape::Problem;

/// The errors and notes of one path of the command line, or of a file that such a one names.
#[derive(Debug)]
pub(super) struct FileReport {
    pub(super) name: String,
    pub(super) errors: Vec<ReportEntry>,
    /// How many errors there are beside those
    pub(super) more: usize,
    pub(super) notices: Vec<ReportEntry>,
    /// The contents, where nothing is wrong
    pub(super) summary: Option<String>,
}

/// An error or a note, in the file or in one of the register's.
#[derive(Debug)]
pub(super) struct ReportEntry {
    /// The promise that it is about; none in a register
    pub(super) promise: Option<Promise>,
    pub(super) remark: Remark,
}

impl FileReport {
    pub(super) fn new(name: &str) -> Self {
        let (errors, notices) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), errors, more: 0, notices, summary: None }
    }

    pub(super) fn push_error(&mut self, spot: &Spot, problem: Problem) {
        let line = (spot.line > 0).then_some(spot.line);
        let remark = Remark { file: String::new(), line, problem };
        self.errors.push(ReportEntry { promise: Some(Promise::Readable), remark });
    }

    pub(super) fn count(&self) -> usize {
        self.errors.len().saturating_add(self.more)
    }

    /// The file of an error or note, as the command line could name it.
    pub(super) fn path_of(&self, finding: &ReportEntry) -> String {
        match finding.remark.file.as_str() {
            "" => self.name.clone(),
            file => format!("{}/{file}", self.name.trim_end_matches('/')),
        }
    }

    pub(super) fn tell(&self) {
        let place = |finding: &ReportEntry| {
            let path = self.path_of(finding);
            finding.remark.line.map_or(path.clone(), |line| format!("{path}:{line}"))
        };
        for finding in &self.errors {
            complain(&format!("{}: {}", place(finding), finding.remark.problem));
        }
        if self.more > 0 {
            complain(&format!("{}: and {} more", self.name, grouped(self.more)));
        }
        for finding in &self.notices {
            let note = one_line(&finding.remark.problem);
            complain(&format!("{}: note: {note}", place(finding)));
        }
        if self.errors.is_empty() {
            print(&match &self.summary {
                Some(summary) => format!("{}: ok: {summary}\n", self.name),
                None => format!("{}: ok\n", self.name),
            });
        }
    }

    pub(super) fn json(&self) -> Value {
        let list =
            |findings: &[ReportEntry]| findings.iter().map(ReportEntry::json).collect::<Vec<_>>();
        let mut report = json!({
            "file": self.name,
            "errors": list(&self.errors),
            "notices": list(&self.notices),
        });
        if let (Some(members), true) = (report.as_object_mut(), self.more > 0) {
            members.insert("more".into(), self.more.into());
        }
        report
    }
}

impl ReportEntry {
    pub(super) fn of(Diagnostic { promise, spot, message, help }: Diagnostic) -> Self {
        let help = Some(help).filter(|help| !help.is_empty());
        let line = Some(spot.line).filter(|line| *line > 0);
        let problem = Problem { path: spot.path, message, help };
        Self { promise: Some(promise), remark: Remark { file: String::new(), line, problem } }
    }

    /// With `file` in a register's directory only, and `promise` outside of one.
    pub(super) fn json(&self) -> Value {
        let Remark { file, line, problem } = &self.remark;
        let mut object = json!({
            "path": problem.path,
            "message": problem.message,
            "help": problem.help,
            "line": line,
        });
        if let Some(members) = object.as_object_mut() {
            if let Some(promise) = self.promise {
                members.insert("promise".into(), promise.id().into());
            }
            if !file.is_empty() {
                members.insert("file".into(), file.as_str().into());
            }
        }
        object
    }
}

/// How many countries of a list text shows. `--json` has all.
const MOST_COUNTRIES: usize = 6;

/// A note as text. One that ends in a long list of countries is a line.
fn one_line(problem: &Problem) -> String {
    let Some((message, list)) = problem.message.rsplit_once(": ") else {
        return problem.to_string();
    };
    let countries: Vec<&str> = list.split(' ').collect();
    if countries.len() <= MOST_COUNTRIES || countries.iter().any(|country| country.len() != 2) {
        return problem.to_string();
    }
    let shown: Vec<&str> = countries.iter().copied().take(MOST_COUNTRIES).collect();
    let message = format!("{message}: {} … ({} in all)", shown.join(" "), countries.len());
    Problem { path: problem.path.clone(), message, help: None }.to_string()
}
