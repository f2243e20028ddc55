//! SARIF 2.1.0 (OASIS, 2020): what code review shows beside the line.

use serde_json::{Value, json};

use super::report::{FileReport, ReportEntry};
use crate::envoy::Promise;

/// The rule of mistakes in a register.
const REGISTER: &str = "register";

/// The document with all errors and notes.
pub(super) fn document(reports: &[FileReport]) -> Value {
    let promises = Promise::ALL.iter().map(|promise| (promise.id(), promise.text()));
    let rules = promises.chain([(REGISTER, "the register's files are valid")]);
    let rules: Vec<Value> =
        rules.map(|(id, text)| json!({"id": id, "shortDescription": {"text": text}})).collect();
    let results: Vec<Value> = reports
        .iter()
        .flat_map(|report| {
            let errors = report.errors.iter().map(|finding| result(report, finding, "error"));
            let notices = report.notices.iter().map(|finding| result(report, finding, "note"));
            errors.chain(notices)
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "waybill",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn result(report: &FileReport, finding: &ReportEntry, level: &str) -> Value {
    let problem = &finding.remark.problem;
    let mut text = problem.message.clone();
    if let Some(help) = &problem.help {
        text = format!("{text}\n{help}");
    }
    let mut place = json!({"artifactLocation": {"uri": report.path_of(finding)}});
    if let (Some(line), Some(members)) = (finding.remark.line, place.as_object_mut()) {
        members.insert("region".into(), json!({"startLine": line}));
    }
    let mut location = json!({"physicalLocation": place});
    if let (false, Some(members)) = (problem.path.is_empty(), location.as_object_mut()) {
        members.insert("logicalLocations".into(), json!([{"fullyQualifiedName": problem.path}]));
    }
    json!({
        "ruleId": finding.promise.map_or(REGISTER, Promise::id),
        "level": level,
        "message": {"text": text},
        "locations": [location],
    })
}
