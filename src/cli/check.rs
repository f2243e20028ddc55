//! `waybill check`: every mistake in the files around a node, before Envoy meets them.

use std::path::PathBuf;

use serde_json::json;

use super::found::{Found, check_configuration};
use super::{Failure, complain, envoy, print, read};
use crate::shape::{Json, Problem};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Envoy's YAML or JSON that holds the filter, or the filter's configuration as bare JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print what was found as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut wrong: usize = 0;
    let mut report = Vec::new();
    for path in &arguments.files {
        let name = path.display();
        let found = match read(path) {
            Ok(text) => check(&text),
            Err(Failure(message)) => Found { errors: vec![Problem { path: "$".into(), message, help: None }], notices: Vec::new() },
        };
        wrong = wrong.saturating_add(found.errors.len());
        if arguments.json {
            report.push(json!({"file": name.to_string(), "errors": list(&found.errors), "notices": list(&found.notices)}));
            continue;
        }
        for problem in &found.errors {
            complain(&format!("{name}: {problem}"));
        }
        for notice in &found.notices {
            complain(&format!("{name}: note: {notice}"));
        }
        if found.errors.is_empty() {
            print(&format!("{name}: ok\n"));
        }
    }
    if arguments.json {
        print(&format!("{:#}\n", json!({"ok": wrong == 0, "files": report})));
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure("1 error".into())),
        n => Err(Failure(format!("{n} errors"))),
    }
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
        (1, None) => Ok(all.swap_remove(0)),
        (_, Some(number)) if (1..=count).contains(&number) => Ok(all.swap_remove(number.saturating_sub(1))),
        _ => Err(Failure(format!("{count} Waybill filters are in this file; choose one with --filter 1 to --filter {count}"))),
    }
}

/// Whether a file is the filter's own JSON rather than Envoy's. Broken JSON counts as what it looks like.
fn is_bare(text: &str) -> bool {
    match serde_json::from_str::<Json>(text) {
        Ok(json) => !["static_resources", "staticResources", "dynamic_resources", "dynamicResources", "resources", "@type"]
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

fn list(problems: &[Problem]) -> Vec<serde_json::Value> {
    problems.iter().map(|problem| json!({"path": problem.path, "message": problem.message, "help": problem.help})).collect()
}
