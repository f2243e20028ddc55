//! `waybill audit verify`: whether a log is whole.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arguments::span;
use super::error::CommandError;
use super::logs::{FileNames, each_line};
use super::output::{complain, print, print_json, wrap_page};
use crate::compile::remarks::{counted, grouped};
use crate::journal::audit::{
    Audit, AuditRemark, AuditRemarkKind, AuditReport, AuditSettings, EventPlace,
};
use crate::journal::line::LogLine;

#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AuditVerb {
    /// Verify that no event is missing, altered or duplicate; exit 1 if one is
    Verify(VerifyArguments),
}

#[derive(Debug, clap::Args)]
struct VerifyArguments {
    /// Log files, oldest first: JSON Lines, also gzip or zstd; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How long a stream may last: 1h, 2d or 1w. A stream is logged when it ends, so numbers that
    /// are missing less than that before the log's end are notes
    #[arg(long, value_name = "TIME SPAN", default_value = "1h", value_parser = span)]
    open: i64,
    /// Accept that the log begins in other files: numbers missing before a VM's first line, or
    /// less than --open after the log's start, are notes
    #[arg(long)]
    part: bool,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// Remarks of one sort that are printed for people. `--json` has all.
const MOST_PRINTED: usize = 20;

pub(super) fn run(arguments: &AuditArguments) -> Result<ExitCode, CommandError> {
    let AuditVerb::Verify(VerifyArguments { files, open, part, json }) = &arguments.verb;
    let mut audit = Audit::new(AuditSettings { open: *open, is_part: *part });
    let mut names = FileNames::default();
    let lines = each_line(files, &mut |place, bytes| {
        let place = EventPlace { file: names.note(place), line: place.line };
        audit.see(place, bytes, &LogLine::parse(bytes));
        ControlFlow::Continue(())
    })?;
    let report = audit.finish();
    if *json {
        print_json(&as_json(&report, &names));
    } else {
        print(&as_text(&report, &names, lines));
    }
    if report.events == 0 {
        complain("no event in these files, so nothing was verified");
    }
    Ok(if report.fault_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(report: &AuditReport, names: &FileNames) -> Value {
    let remark = |AuditRemark { place, kind }: &AuditRemark| {
        let what = kind.describe(&|place| names.line(place.file, place.line));
        json!({"file": names.of(place.file), "line": place.line, "what": what})
    };
    let vms = report.vms.iter();
    json!({
        "events": report.events,
        "vms": vms.map(|it| json!({"vm": it.vm, "first": it.first, "last": it.last}))
            .collect::<Vec<_>>(),
        "faults": report.faults.iter().map(remark).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(remark).collect::<Vec<_>>(),
        "counts": {
            "faults": report.fault_count,
            "notes": report.note_count,
            "lines_without_event": report.without_event,
            "other_lines": report.others,
        },
    })
}

fn as_text(report: &AuditReport, names: &FileNames, lines: u64) -> String {
    let mut out = String::new();
    let mut say = |text: &str, further: &str| out.push_str(&wrap_page(text, "", further));
    let result = match report.fault_count {
        0 => "no event is missing, altered or duplicate".to_owned(),
        1 => "1 fault".to_owned(),
        many => format!("{} faults", grouped(many)),
    };
    say(
        &format!("{result} ({} in {})", counted(report.events, "event"), counted(lines, "line")),
        "",
    );
    for vm in &report.vms {
        say(&format!("  VM {}: numbers {} to {}", vm.vm, vm.first, vm.last), "    ");
    }
    let mut list = |sort: &str, remarks: &[&AuditRemark], all: u64| {
        for remark in remarks.iter().take(MOST_PRINTED) {
            let line = |place: EventPlace| names.line(place.file, place.line);
            let what = remark.kind.describe(&line);
            say(&format!("{sort}: {}: {what}", line(remark.place)), "  ");
        }
        let printed = u64::try_from(remarks.len().min(MOST_PRINTED)).unwrap_or(u64::MAX);
        let more = all.saturating_sub(printed);
        if more > 0 {
            say(&format!("{sort}: and {} more; `--json` has them", grouped(more)), "  ");
        }
    };
    list("fault", &report.faults.iter().collect::<Vec<_>>(), report.fault_count);
    // swapped lines are many in a sound log: what is missing comes first
    let (late, open): (Vec<_>, Vec<_>) =
        report.notes.iter().partition(|note| note.kind == AuditRemarkKind::Late);
    let late_count = report.note_count.saturating_sub(u64::try_from(open.len()).unwrap_or(0));
    list("note", &open, u64::try_from(open.len()).unwrap_or(0));
    if let Some(first) = late.first() {
        let places: Vec<String> = late
            .iter()
            .take(MOST_PRINTED)
            .map(|note| names.line(note.place.file, note.place.line))
            .collect();
        let more = late_count.saturating_sub(u64::try_from(places.len()).unwrap_or(0));
        let more = if more > 0 { format!(" and {} more", grouped(more)) } else { String::new() };
        let what = first.kind.describe(&|place| names.line(place.file, place.line));
        say(&format!("note: {}{more}: {what}", places.join(", ")), "  ");
    }
    if report.without_event > 0 {
        let lines = counted(report.without_event, "line");
        say(&format!("note: {lines} without an event: Envoy answered before the node"), "  ");
    }
    if report.others > 0 {
        let lines = counted(report.others, "line");
        say(&format!("note: {lines} of another format passed over"), "  ");
    }
    if report.events > 0 {
        let judged = "note: each VM's last event can't be judged: no later one has its SHA-256. \
                      What a VM wrote after that event doesn't show either";
        say(judged, "  ");
    }
    out
}
