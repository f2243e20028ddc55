//! The nodes' own configurations: those of the Waybill filters in a file, each checked, with the
//! lines of its mistakes.

use super::files::{EnvoyFile, Spot};
use super::kinds::{DYNAMIC_MODULE, configuration, is_waybill};
use super::report::{Promise, Report, Surroundings};
use super::yaml::{Yaml, parse};
use crate::chain::keyring::{Keyring, KeyringDraft, from_variables};
use crate::decision::Screen;
use crate::shape::Problem;
use crate::terms::finding::{Action, FindingCode};

/// What is wrong with a configuration that isn't text, and what to do.
pub const NO_TEXT: (&str, &str) = (
    "expected a google.protobuf.StringValue as the filter's configuration",
    "set `@type` to `type.googleapis.com/google.protobuf.StringValue`, and `value` to the JSON as \
     text",
);

/// A note that is printed once, however many filters there are.
const SHARED_STATE: &str = "`provider.shared-state` only reports: a customer can list, read and \
     delete what others of the same account made";

/// The configurations of all Waybill filters in a file, as text, or the place of one that isn't.
pub fn configurations(file: &EnvoyFile) -> Vec<Result<String, Spot>> {
    let mut found = Vec::new();
    for root in &file.documents.roots {
        root.walk(&mut |value| {
            if let Some((kind, filter)) = value.typed()
                && is_waybill(kind, filter)
            {
                let text = configuration(filter).and_then(Yaml::text);
                let name = if kind == DYNAMIC_MODULE { "filter_config" } else { "config" };
                let spot = Spot::new(0, filter, name).field(filter, name);
                found.push(text.map(str::to_owned).ok_or(spot));
            }
        });
    }
    found
}

/// Checks a configuration inside an Envoy file.
pub(super) fn check_text(
    value: &Yaml,
    file: usize,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) {
    let text = value.text().unwrap_or_default();
    let line = |path: &str| match line_in(text, path) {
        Some(line) if value.is_block() => value.line.saturating_add(line).saturating_sub(1),
        _ => value.line,
    };
    check(text, file, &line, surroundings, report);
}

/// Checks a configuration that is a file of its own.
pub fn check_bare(text: &str, file: usize, surroundings: &Surroundings<'_>, report: &mut Report) {
    check(text, file, &|path| line_in(text, path).unwrap_or(1), surroundings, report);
}

fn check(
    text: &str,
    file: usize,
    line: &dyn Fn(&str) -> usize,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) {
    let spot = |path: &str| Spot { file, line: line(path), path: path.to_owned() };
    let screen = match Screen::parse(text) {
        Ok(screen) => screen,
        Err(problems) => {
            for Problem { path, message, help } in problems.iter().cloned() {
                report.wrong(
                    Promise::Configuration,
                    &spot(&path),
                    message,
                    help.unwrap_or_default(),
                );
            }
            return;
        }
    };
    let config = screen.config();
    let KeyringDraft { keyring, unset, wrong } =
        Keyring::gather(&config.tag, &from_variables(surroundings.variable));
    for Problem { path, message, help } in wrong.iter().cloned() {
        report.wrong(Promise::Configuration, &spot(&path), message, help.unwrap_or_default());
    }
    let mut notices = config.notices.clone();
    notices.extend(unset.iter().map(|problem| {
        let message = format!("{} here", problem.message);
        Problem { message, ..problem.clone() }
    }));
    if unset.is_empty() && wrong.is_empty() {
        notices.extend(keyring.notices(surroundings.now));
    }
    for Problem { path, message, help } in notices {
        report.note(Promise::Configuration, &spot(&path), message, help.unwrap_or_default());
    }
    let reports = *config.policy.action(FindingCode::ProviderSharedState) == Action::Report;
    let is_told = report.notices.iter().any(|notice| notice.message == SHARED_STATE);
    if reports && config.upstream.provider.is_some() && !config.forwards() && !is_told {
        let help = "set it to `block`, or see docs/findings.md#providershared-state for ways to \
                    keep customers apart";
        report.note(Promise::Configuration, &spot("$.policy.actions"), SHARED_STATE, help);
    }
}

/// The line, counted from 1, of what a JSON path leads to, or of the last of it that is there.
fn line_in(text: &str, path: &str) -> Option<usize> {
    let documents = parse(text).ok()?;
    let mut value = documents.roots.first()?;
    let mut line = value.line;
    for step in steps(path) {
        let next = match step.parse::<usize>() {
            Ok(index) if !value.items().is_empty() => value.items().get(index),
            _ => {
                let member = value.members().iter().rev().find(|(key, _)| *key.name == *step);
                member.map(|(_, value)| value)
            }
        };
        let Some(next) = next else { break };
        value = next;
        line = value.line;
    }
    Some(line)
}

/// The steps of a JSON path such as `$.geo.origin[0]["x y"]`.
fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut is_quoted = false;
    for c in path.trim_start_matches('$').chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '.' | '[' if !is_quoted => steps.push(String::new()),
            ']' if !is_quoted => {}
            _ => steps.last_mut().into_iter().for_each(|last| last.push(c)),
        }
    }
    steps.retain(|step| !step.is_empty());
    steps
}
