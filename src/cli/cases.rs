//! `waybill test`: an operator's own cases, decided on the desk and compared with what they expect.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::capture::{Capture, HeaderPair, text_or_hex};
use super::error::CommandError;
use super::explain::{answer_as_json, as_json};
use super::files::read;
use super::input::{NodeArguments, NodeCase};
use super::output::{complain, print, print_json};
use crate::decision::outcome::{Outcome, apply};
use crate::shape::{Problems, object, read_document};
use crate::terms::finding::{ActionName, FindingCode};
use crate::terms::names::Text;

#[derive(Debug, clap::Args)]
pub(super) struct CasesArguments {
    /// Files of cases: lists of {"name", "request", "expect"}
    #[arg(required = true, value_name = "CASES")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    node: NodeArguments,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

object! {
    /// A request, and what has to become of it.
    struct DeskCase {
        /// The case's name
        name: Text,
        /// The request, as `waybill explain` takes it
        request: Capture,
        /// What has to become of it
        expect: Expectation,
    }
}

object! {
    /// What has to become of a request. What is left out isn't compared.
    struct Expectation {
        /// allow, report, reroute or block
        verdict: ActionName,
        /// The code of the finding that decided
        reason: Option<FindingCode> = None,
        /// The codes of all findings
        findings: Option<Vec<FindingCode>> = None,
        /// Names and values that must be among the headers forwarded
        headers: Vec<HeaderPair> = Vec::new(),
    }
}

/// What became of a request.
#[derive(Default)]
struct CaseResult {
    verdict: String,
    reason: Option<FindingCode>,
    findings: Vec<FindingCode>,
    /// As forwarded
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is missing here, or can't be played
    gaps: Vec<String>,
    /// The whole answer, as `waybill explain --json` gives it
    explained: Value,
}

/// One difference: what, expected, found.
struct CaseDifference(&'static str, Value, Value);

/// Exit code 0: every case holds; 1: one doesn't; 2: a file can't be used.
pub(super) fn run(arguments: &CasesArguments) -> ExitCode {
    match compare(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(CommandError(message)) => {
            complain(&message);
            ExitCode::from(2)
        }
    }
}

fn compare(arguments: &CasesArguments) -> Result<bool, CommandError> {
    let node = arguments.node.load()?;
    let mut cases = Vec::new();
    for path in &arguments.files {
        cases.extend(parse(path)?.into_iter().map(|case| (path, case)));
    }
    if cases.is_empty() {
        return Err(CommandError::new("no cases in these files"));
    }
    let (mut lines, mut list) = (String::new(), Vec::new());
    let mut gaps = BTreeSet::new();
    let mut failed = 0_usize;
    let count = cases.len();
    for (path, DeskCase { name, request, expect }) in cases {
        let file = path.display().to_string();
        let result = decide(&node, request).map_err(|error| CommandError::about(path, error))?;
        let differences = differences(&expect, &result);
        failed = failed.saturating_add(usize::from(!differences.is_empty()));
        let label = if differences.is_empty() { "ok  " } else { "FAIL" };
        lines.push_str(&format!("{label}  {file}: {}\n", name.as_str()));
        for CaseDifference(what, expected, found) in &differences {
            lines.push_str(&format!("      {what}: expected {expected}, found {found}\n"));
        }
        let differs = differences.iter().map(|CaseDifference(what, expected, found)| {
            json!({"what": what, "expected": expected, "found": found})
        });
        list.push(json!({
            "file": file, "name": name.as_str(), "ok": differences.is_empty(),
            "differences": differs.collect::<Vec<_>>(), "explained": result.explained,
        }));
        gaps.extend(result.gaps);
    }
    if arguments.json {
        print_json(&json!({"cases": list, "count": count, "failed": failed}));
    } else {
        let gaps: Vec<String> = gaps.into_iter().collect();
        if !gaps.is_empty() {
            print(&format!("note: {}\n", gaps.join("; ")));
        }
        let cases = if count == 1 { "case" } else { "cases" };
        print(&format!("{lines}{count} {cases}, {failed} failed\n"));
    }
    Ok(failed == 0)
}

/// Reads a file of cases.
fn parse(path: &Path) -> Result<Vec<DeskCase>, CommandError> {
    let text = read(path).map_err(|error| error.at(path))?;
    let mut problems = Problems::default();
    let cases = read_document::<Vec<DeskCase>>(&text, &mut problems).map(|(cases, _)| cases);
    cases.filter(|_| problems.is_empty()).ok_or_else(|| CommandError::about(path, problems))
}

fn decide(node: &NodeCase, request: Capture) -> Result<CaseResult, CommandError> {
    let (request, mut gaps) = node.receive(request);
    let mut worker = node.worker(&mut gaps)?;
    let request = match request {
        Ok(request) => request,
        // it doesn't get through, and no finding of the node says why
        Err(answer) => {
            let verdict = ActionName::Block.as_str().to_owned();
            let explained = answer_as_json(&answer, &gaps);
            return Ok(CaseResult { verdict, explained, gaps, ..CaseResult::default() });
        }
    };
    let request = request.request();
    let decision = node
        .screen
        .decide(&request, node.snapshot.as_ref(), &mut worker, "explain".to_owned())
        .map_err(CommandError::new)?;
    let headers = match &decision.outcome {
        Outcome::Forward(edits) => apply(&request, edits),
        Outcome::Answer(_) => Vec::new(),
    };
    Ok(CaseResult {
        verdict: decision.verdict.action.as_str().to_owned(),
        reason: decision.verdict.reason,
        findings: decision.weighed.iter().map(|weighed| weighed.finding.code).collect(),
        headers: headers.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        explained: as_json(&decision, &request, &gaps),
        gaps,
    })
}

fn differences(expect: &Expectation, result: &CaseResult) -> Vec<CaseDifference> {
    let mut found = Vec::new();
    if expect.verdict.as_str() != result.verdict {
        let expected = expect.verdict.as_str().into();
        found.push(CaseDifference("verdict", expected, result.verdict.as_str().into()));
    }
    if expect.reason.is_some() && expect.reason != result.reason {
        found.push(CaseDifference("reason", json!(expect.reason), json!(result.reason)));
    }
    if let Some(expected) = &expect.findings
        && expected.iter().collect::<BTreeSet<_>>() != result.findings.iter().collect()
    {
        found.push(CaseDifference("findings", json!(expected), json!(result.findings)));
    }
    for HeaderPair(name, value) in &expect.headers {
        let lines = result.headers.iter().filter(|(other, _)| other == name);
        let values: Vec<&Vec<u8>> = lines.map(|(_, value)| value).collect();
        if !values.contains(&value) {
            let pair = |value: &[u8]| json!([String::from_utf8_lossy(name), text_or_hex(value)]);
            let all: Vec<Value> = values.iter().map(|value| pair(value)).collect();
            found.push(CaseDifference("header", pair(value), json!(all)));
        }
    }
    found
}
