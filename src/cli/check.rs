//! `waybill check`: every mistake in the files around a node, before Envoy meets them.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::found::{Found, check_configuration};
use super::{Failure, complain, envoy, print, read, register};
use crate::compile::remarks::{Remark, grouped};
use crate::shape::{Json, Problem};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Envoy's YAML or JSON that holds the filter, the filter's configuration as bare JSON, or a register's directory
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Print what was found as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut wrong: usize = 0;
    let mut report = Vec::new();
    for path in &arguments.files {
        let name = path.display().to_string();
        let checked =
            if path.is_dir() { Checked::register(path) } else { Checked::configuration(path) };
        wrong = wrong.saturating_add(checked.errors.len()).saturating_add(checked.more);
        if arguments.json {
            report.push(checked.json(&name));
        } else {
            checked.tell(&name);
        }
    }
    if arguments.json {
        print(&format!("{:#}\n", json!({"ok": wrong == 0, "files": report})));
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure("1 error".into())),
        n => Err(Failure(format!("{} errors", grouped(n)))),
    }
}

/// What was found at one path of the command line.
struct Checked {
    errors: Vec<Remark>,
    /// How many errors there are beside those
    more: usize,
    notices: Vec<Remark>,
    /// What is there, where nothing is wrong
    summary: Option<String>,
}

impl Checked {
    fn configuration(path: &Path) -> Self {
        let found = read(path).map_or_else(
            |Failure(message)| Found { errors: vec![unread(message)], notices: Vec::new() },
            |text| check(&text),
        );
        let remarks = |problems: Vec<Problem>| {
            problems
                .into_iter()
                .map(|problem| Remark { file: String::new(), line: None, problem })
                .collect()
        };
        Self {
            errors: remarks(found.errors),
            more: 0,
            notices: remarks(found.notices),
            summary: None,
        }
    }

    fn register(path: &Path) -> Self {
        match register::check(path) {
            Ok((summary, remarks)) => Self {
                errors: remarks.errors,
                more: remarks.more,
                notices: remarks.notices,
                summary,
            },
            Err(Failure(message)) => {
                let unread = Remark { file: String::new(), line: None, problem: unread(message) };
                Self { errors: vec![unread], more: 0, notices: Vec::new(), summary: None }
            }
        }
    }

    fn tell(&self, name: &str) {
        let place = |remark: &Remark| match (remark.file.as_str(), remark.line) {
            ("", _) => name.to_owned(),
            (file, None) => format!("{}/{file}", name.trim_end_matches('/')),
            (file, Some(line)) => format!("{}/{file}:{line}", name.trim_end_matches('/')),
        };
        for remark in &self.errors {
            complain(&format!("{}: {}", place(remark), remark.problem));
        }
        if self.more > 0 {
            complain(&format!("{name}: and {} more", grouped(self.more)));
        }
        for remark in &self.notices {
            complain(&format!("{}: note: {}", place(remark), remark.problem));
        }
        if self.errors.is_empty() {
            print(&match &self.summary {
                Some(summary) => format!("{name}: ok: {summary}\n"),
                None => format!("{name}: ok\n"),
            });
        }
    }

    fn json(&self, name: &str) -> serde_json::Value {
        let list = |remarks: &[Remark]| remarks.iter().map(object).collect::<Vec<_>>();
        let mut report =
            json!({"file": name, "errors": list(&self.errors), "notices": list(&self.notices)});
        if let (Some(members), true) = (report.as_object_mut(), self.more > 0) {
            members.insert("more".into(), self.more.into());
        }
        report
    }
}

fn unread(message: String) -> Problem {
    Problem { path: "$".into(), message, help: None }
}

/// One thing found, for machines; `file` and `line` only in a register's directory.
fn object(Remark { file, line, problem }: &Remark) -> serde_json::Value {
    let mut object =
        json!({"path": problem.path, "message": problem.message, "help": problem.help});
    if let (Some(members), false) = (object.as_object_mut(), file.is_empty()) {
        members.insert("file".into(), file.as_str().into());
        members.insert("line".into(), (*line).into());
    }
    object
}

/// The configuration of a node in a file: the bare JSON, or what stands in an Envoy file; there the
/// filter of that number, counted from 1, where it has several.
pub(super) fn configuration(text: &str, number: Option<usize>) -> Result<String, Failure> {
    if is_bare(text) {
        return Ok(text.to_owned());
    }
    let document: Json = serde_yaml_ng::from_str(text).map_err(Failure::new)?;
    let mut all = envoy::configurations(&document);
    let count = all.len();
    match (count, number) {
        (0, _) => Err(Failure("no Waybill filter is in this file".into())),
        (1, None) => all.swap_remove(0).map_err(Failure::new),
        (_, Some(number)) if (1..=count).contains(&number) => {
            all.swap_remove(number.saturating_sub(1)).map_err(Failure::new)
        }
        _ => Err(Failure(format!(
            "{count} Waybill filters are in this file; choose one with --filter 1 to --filter {count}"
        ))),
    }
}

/// Whether a file is the filter's own JSON rather than Envoy's. Broken JSON counts as what it looks like.
fn is_bare(text: &str) -> bool {
    match serde_json::from_str::<Json>(text) {
        Ok(json) => ![
            "static_resources",
            "staticResources",
            "dynamic_resources",
            "dynamicResources",
            "resources",
            "@type",
        ]
        .iter()
        .any(|name| json.get(name).is_some()),
        Err(_) => text.trim().is_empty() || text.trim_start().starts_with('{'),
    }
}

fn check(text: &str) -> Found {
    if is_bare(text) {
        return check_configuration(text);
    }
    match serde_yaml_ng::from_str::<Json>(text) {
        Ok(document) => envoy::check(&document),
        Err(error) => Found {
            errors: vec![Problem {
                path: "$".into(),
                message: format!("this can't be read as one YAML or JSON document: {error}"),
                help: None,
            }],
            notices: Vec::new(),
        },
    }
}
