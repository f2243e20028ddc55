//! `waybill check`: every mistake in the files around a node, before Envoy reads them.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::configuration::{Diagnostics, check_configuration};
use super::error::CommandError;
use super::files::read;
use super::output::{complain, print, print_json};
use super::{envoy, register};
use crate::compile::remarks::{Remark, Remarks, grouped};
use crate::shape::Json;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Envoy's YAML or JSON, the filter's bare JSON, or a register's directory
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Print errors and notes as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<(), CommandError> {
    let mut errors: usize = 0;
    let mut list = Vec::new();
    for path in &arguments.files {
        let name = path.display().to_string();
        let report = if path.is_dir() {
            PathReport::of_register(path)
        } else {
            PathReport::of_configuration(path)
        };
        errors = errors.saturating_add(report.errors.len()).saturating_add(report.more);
        if arguments.json {
            list.push(report.json(&name));
        } else {
            report.tell(&name);
        }
    }
    if arguments.json {
        print_json(&json!({"ok": errors == 0, "files": list}));
    }
    match errors {
        0 => Ok(()),
        1 => Err(CommandError::new("1 error")),
        n => Err(CommandError(format!("{} errors", grouped(n)))),
    }
}

/// The errors and notes of one path of the command line.
struct PathReport {
    errors: Vec<Remark>,
    /// How many errors there are beside those
    more: usize,
    notices: Vec<Remark>,
    /// The contents, where nothing is wrong
    summary: Option<String>,
}

impl PathReport {
    fn of_configuration(path: &Path) -> Self {
        let text = read(path);
        Self::of(text.map_or_else(|error| Diagnostics::of_file(error.0), |text| check(&text)))
    }

    fn of_register(path: &Path) -> Self {
        match register::check(path) {
            Ok((summary, Remarks { errors, more, notices, .. })) => {
                Self { errors, more, notices, summary }
            }
            Err(error) => Self::of(Diagnostics::of_file(error.0)),
        }
    }

    fn of(Diagnostics { errors, notices }: Diagnostics) -> Self {
        let remark = |problem| Remark { file: String::new(), line: None, problem };
        Self {
            errors: errors.into_iter().map(remark).collect(),
            more: 0,
            notices: notices.into_iter().map(remark).collect(),
            summary: None,
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

/// An error or note as JSON; with `file` and `line` only in a register's directory.
fn object(Remark { file, line, problem }: &Remark) -> serde_json::Value {
    let mut object =
        json!({"path": problem.path, "message": problem.message, "help": problem.help});
    if let (Some(members), false) = (object.as_object_mut(), file.is_empty()) {
        members.insert("file".into(), file.as_str().into());
        members.insert("line".into(), (*line).into());
    }
    object
}

/// A node's configuration: a bare JSON file, or that of an Envoy file's Waybill filter. `number`,
/// counted from 1, chooses one of several filters.
pub(super) fn configuration(text: &str, number: Option<usize>) -> Result<String, CommandError> {
    if is_bare(text) {
        return Ok(text.to_owned());
    }
    let document: Json = serde_yaml_ng::from_str(text).map_err(CommandError::new)?;
    let mut all = envoy::configurations(&document);
    let count = all.len();
    match (count, number) {
        (0, _) => Err(CommandError("no Waybill filter in this file".into())),
        (1, None) => all.swap_remove(0).map_err(CommandError::new),
        (_, Some(number)) if (1..=count).contains(&number) => {
            all.swap_remove(number.saturating_sub(1)).map_err(CommandError::new)
        }
        _ => Err(CommandError(format!(
            "{count} Waybill filters in this file: choose one by --filter 1 to --filter {count}"
        ))),
    }
}

/// Whether a file is the filter's own JSON, not Envoy's. Invalid JSON is judged by its start.
pub(super) fn is_bare(text: &str) -> bool {
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

fn check(text: &str) -> Diagnostics {
    if is_bare(text) {
        return check_configuration(text);
    }
    match serde_yaml_ng::from_str::<Json>(text) {
        Ok(document) => envoy::check(&document),
        Err(error) => {
            Diagnostics::of_file(format!("can't be read as one YAML or JSON document: {error}"))
        }
    }
}
