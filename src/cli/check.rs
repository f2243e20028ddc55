//! `waybill check`: every mistake in the files around a node, before Envoy reads them.

mod report;
mod sarif;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::report::{FileReport, ReportEntry};
use super::clock::now;
use super::error::CommandError;
use super::files::{bytes, read};
use super::output::print_json;
use super::register;
use crate::compile::remarks::{Remarks, grouped};
use crate::envoy::{self, Diagnostic, EnvoyFile, LocalFile, NO_TEXT, Report, Spot, Surroundings};
use crate::shape::{Json, Problem};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Envoy's YAML or JSON (several files that belong together, or a /config_dump), the filter's
    /// bare JSON, or a register's directory
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Print errors and notes as JSON on stdout
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The output formats of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text for people
    Text,
    /// JSON for machines
    Json,
    /// SARIF 2.1.0, for code review
    Sarif,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<(), CommandError> {
    let reports = reports(&arguments.files);
    let errors = reports.iter().map(FileReport::count).fold(0, usize::saturating_add);
    match arguments.format {
        Format::Sarif => print_json(&sarif::document(&reports)),
        Format::Text if !arguments.json => reports.iter().for_each(FileReport::tell),
        Format::Text | Format::Json => {
            let files: Vec<Value> = reports.iter().map(FileReport::json).collect();
            print_json(&json!({"ok": errors == 0, "files": files}));
        }
    }
    match errors {
        0 => Ok(()),
        1 => Err(CommandError::new("1 error")),
        n => Err(CommandError(format!("{} errors", grouped(n)))),
    }
}

/// What a path of the command line turned out to be.
enum CheckInput {
    Register,
    Bare(String),
    Envoy(EnvoyFile),
    Unreadable(Spot, Problem),
}

/// Reads all paths, and checks the Envoy files among them together.
fn reports(paths: &[PathBuf]) -> Vec<FileReport> {
    let mut reports = Vec::new();
    let mut files = Vec::new();
    // by index of the Envoy file: the index of its report
    let mut places = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let mut report = FileReport::new(&name);
        match input(path) {
            CheckInput::Register => report = of_register(path, name),
            CheckInput::Bare(text) => check_bare(&mut report, &text),
            CheckInput::Unreadable(spot, problem) => report.push_error(&spot, problem),
            CheckInput::Envoy(file) => {
                places.push(reports.len());
                files.push(file);
            }
        }
        reports.push(report);
    }
    follow(&mut files, paths, &mut reports, &mut places);
    if !files.is_empty() {
        let Report { errors, notices } = with_surroundings(|it| envoy::check(&files, it));
        let mut place = |diagnostic: Diagnostic, is_error: bool| {
            let index = places.get(diagnostic.spot.file).copied().unwrap_or_default();
            let Some(report) = reports.get_mut(index) else { return };
            let list = if is_error { &mut report.errors } else { &mut report.notices };
            list.push(ReportEntry::of(diagnostic));
        };
        errors.into_iter().for_each(|error| place(error, true));
        notices.into_iter().for_each(|notice| place(notice, false));
    }
    // a file that another one names is told of where something is to be told
    let is_told = |(i, report): &(usize, FileReport)| {
        *i < paths.len() || !(report.errors.is_empty() && report.notices.is_empty())
    };
    reports.into_iter().enumerate().filter(is_told).map(|(_, report)| report).collect()
}

/// Adds the local files of filters and secrets that the files name, where they can be read.
fn follow(
    files: &mut Vec<EnvoyFile>,
    given: &[PathBuf],
    reports: &mut Vec<FileReport>,
    places: &mut Vec<usize>,
) {
    let mut known: Vec<PathBuf> =
        given.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut next = 0;
    while let Some(file) = files.get(next) {
        next = next.saturating_add(1);
        for name in file.references() {
            let Ok(path) = Path::new(&name).canonicalize() else { continue };
            if known.contains(&path) {
                continue;
            }
            known.push(path.clone());
            if let CheckInput::Envoy(file) = input(Path::new(&name)) {
                places.push(reports.len());
                reports.push(FileReport::new(&name));
                files.push(file);
            }
        }
    }
}

fn input(path: &Path) -> CheckInput {
    if path.is_dir() {
        return CheckInput::Register;
    }
    let at_file = |message: String| {
        let problem = Problem { path: String::new(), message, help: None };
        CheckInput::Unreadable(Spot { file: 0, line: 0, path: String::new() }, problem)
    };
    match read(path) {
        Err(error) => at_file(error.0),
        Ok(text) if is_bare(&text) => CheckInput::Bare(text),
        Ok(text) => match EnvoyFile::parse(&path.display().to_string(), &text) {
            Ok(file) => CheckInput::Envoy(file),
            Err((line, problem)) => {
                CheckInput::Unreadable(Spot { file: 0, line, path: String::new() }, problem)
            }
        },
    }
}

fn with_surroundings<T>(check: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let variable = |name: &str| std::env::var(name);
    check(&Surroundings { now: now(), variable: &variable, local_file: &local_file })
}

/// What the filter's module has in it.
const MARK: &[u8] = b"waybill_requests_total";

/// Whether a file that Envoy reads is here. A relative path counts from the working directory.
fn local_file(name: &str) -> LocalFile {
    let path = Path::new(name);
    let folder_is_here = || path.parent().is_some_and(Path::is_dir);
    if path.is_file() {
        // the name of a metric of ours, which is in each build
        let is_ours = |module: Vec<u8>| module.windows(MARK.len()).any(|part| part == MARK);
        match bytes(path).map(is_ours) {
            Ok(false) => LocalFile::Foreign,
            Ok(true) | Err(_) => LocalFile::Present,
        }
    } else if path.is_relative() || folder_is_here() {
        LocalFile::Missing
    } else {
        LocalFile::Elsewhere
    }
}

fn of_register(path: &Path, name: String) -> FileReport {
    let finding = |remark| ReportEntry { promise: None, remark };
    match register::check(path) {
        Ok((summary, Remarks { errors, more, notices, .. })) => FileReport {
            name,
            errors: errors.into_iter().map(finding).collect(),
            more,
            notices: notices.into_iter().map(finding).collect(),
            summary,
        },
        Err(error) => {
            let problem = Problem { path: String::new(), message: error.0, help: None };
            let mut report = FileReport::new(&name);
            report.push_error(&Spot { file: 0, line: 0, path: String::new() }, problem);
            report
        }
    }
}

fn check_bare(file: &mut FileReport, text: &str) {
    let mut report = Report::default();
    with_surroundings(|it| envoy::check_bare(text, 0, it, &mut report));
    file.errors.extend(report.errors.into_iter().map(ReportEntry::of));
    file.notices.extend(report.notices.into_iter().map(ReportEntry::of));
}

/// A node's configuration: a bare JSON file, or that of an Envoy file's Waybill filter. `number`,
/// counted from 1, chooses one of several filters.
pub(super) fn configuration(text: &str, number: Option<usize>) -> Result<String, CommandError> {
    match envoy_file(text)? {
        Some(file) => configuration_in(&file, number),
        None => Ok(text.to_owned()),
    }
}

/// The Envoy file that a text is; none where it is a node's own JSON.
pub(super) fn envoy_file(text: &str) -> Result<Option<EnvoyFile>, CommandError> {
    if is_bare(text) {
        return Ok(None);
    }
    let file = EnvoyFile::parse("", text);
    file.map(Some).map_err(|(line, problem)| CommandError(format!("line {line}: {problem}")))
}

/// The configuration of one of an Envoy file's Waybill filters.
pub(super) fn configuration_in(
    file: &EnvoyFile,
    number: Option<usize>,
) -> Result<String, CommandError> {
    let mut all = envoy::configurations(file);
    let no_text = |spot: Spot| {
        let (message, help) = NO_TEXT;
        CommandError(format!("line {}: {}: {message}\n  help: {help}", spot.line, spot.path))
    };
    let count = all.len();
    match (count, number) {
        (0, _) => Err(CommandError("no Waybill filter in this file".into())),
        (1, None) => all.swap_remove(0).map_err(no_text),
        (_, Some(number)) if (1..=count).contains(&number) => {
            all.swap_remove(number.saturating_sub(1)).map_err(no_text)
        }
        _ => Err(CommandError(format!(
            "{count} Waybill filters in this file: choose one by --filter 1 to --filter {count}"
        ))),
    }
}

/// Members of Envoy's documents that no bare configuration has.
const ENVOYS_OWN: &[&str] = &[
    "static_resources",
    "staticResources",
    "dynamic_resources",
    "dynamicResources",
    "resources",
    "configs",
    "typed_config",
    "typedConfig",
    "apiVersion",
    "@type",
];

/// Whether a file is the filter's own JSON, not Envoy's. Invalid JSON is judged by its start.
fn is_bare(text: &str) -> bool {
    match serde_json::from_str::<Json>(text) {
        Ok(Json::List(_)) => false,
        Ok(json) => !ENVOYS_OWN.iter().any(|name| json.get(name).is_some()),
        Err(_) => text.trim().is_empty() || text.trim_start().starts_with('{'),
    }
}
