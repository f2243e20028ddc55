//! `waybill report`: the events of logs, counted: text, a page, JSON, tables, or the events
//! themselves.

mod content;
mod figures_json;
mod page;
mod standing;
mod tables;
mod terms;
mod text;
mod words;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::content::ReportContent;
use super::arguments::{span, word};
use super::clock::now;
use super::due;
use super::error::CommandError;
use super::files::replace;
use super::logs::{FileNames, each_line};
use super::output::{complain, print, print_json};
use super::register;
use crate::compile::directory::Directory;
use crate::compile::remarks::grouped;
use crate::journal::audit::{Audit, AuditSettings, EventPlace};
use crate::journal::figures::Figures;
use crate::journal::line::LogLine;
use crate::journal::selection::{Condition, Selection, UnixMillis};
use crate::terms::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct ReportArguments {
    /// Log files, oldest first: JSON Lines, also gzip or zstd; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the page: one HTML file without scripts, which loads nothing
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print the page's figures as JSON
    #[arg(long)]
    json: bool,
    /// Write tables (CSV) for spreadsheets into this directory
    #[arg(long, value_name = "DIR")]
    csv: Option<PathBuf>,
    /// Print the events themselves, one a line
    #[arg(long, conflicts_with_all = ["json", "output", "csv"])]
    events: bool,
    /// The register's directory, for names and for dates that end within 30 days
    #[arg(long, value_name = "DIR")]
    register: Option<PathBuf>,
    /// The first time that counts (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = word::<UnixMillis>)]
    since: Option<UnixMillis>,
    /// The first time that doesn't count any more (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = word::<UnixMillis>)]
    until: Option<UnixMillis>,
    /// Only events with this value: verdict, would_be, reason, finding, customer, origin, software,
    /// asn, policy, snapshot, node, chain, hop or path. Of several, all must hold; `customer=` is
    /// none
    #[arg(long, value_name = "FIELD=VALUE", value_parser = word::<Condition>)]
    r#where: Vec<Condition>,
    /// Also by the nodes that carried requests, for a provider
    #[arg(long, value_name = "WHAT")]
    by: Option<Grouping>,
    /// The time of the report (RFC 3339), for dates that end; by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    /// How long a stream may last, as for `audit verify`
    #[arg(long, value_name = "TIME SPAN", default_value = "1h", value_parser = span)]
    open: i64,
    /// Accept that the log begins in other files, as for `audit verify`
    #[arg(long)]
    part: bool,
}

/// What events are also grouped by.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Grouping {
    /// The nodes that carried requests
    Reseller,
}

/// How far ahead dates of the register are listed, in seconds.
const HORIZON: i64 = 30 * 86_400;

pub(super) fn run(arguments: &ReportArguments) -> Result<(), CommandError> {
    let ReportArguments { files, output, json, csv, events, since, until, .. } = arguments;
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(CommandError::new("invalid period: `--since` isn't before `--until`"));
    }
    let made = arguments.time.unwrap_or_else(now);
    let folder = arguments.register.as_deref();
    let open = |folder: &Path| register::open(folder, made, "nothing is counted");
    let register = folder.map(open).transpose()?;
    let selection =
        Selection { since: *since, until: *until, conditions: arguments.r#where.clone() };
    let mut figures = Figures::default();
    let audit_settings = AuditSettings { open: arguments.open, is_part: arguments.part };
    let mut audit = Audit::new(audit_settings);
    let mut names = FileNames::default();
    each_line(files, &mut |place, bytes| {
        let line = LogLine::parse(bytes);
        let is_selected = figures.count(&line, &selection);
        if *events {
            if let LogLine::Event(logged) = &line
                && is_selected
            {
                print(&format!("{}\n", logged.text));
            }
        } else {
            let place = EventPlace { file: names.note(place), line: place.line };
            audit.see(place, bytes, &line);
        }
        ControlFlow::Continue(())
    })?;
    if *events {
        return Ok(());
    }
    let horizon = UnixSeconds(made.0.saturating_add(HORIZON));
    let content = ReportContent {
        files,
        selection: &selection,
        is_by_reseller: arguments.by.is_some(),
        audit_settings,
        figures,
        audit: audit.finish(),
        made,
        register: register.as_ref(),
        dates: register.as_ref().map(|register| due::ending(register, made, horizon)),
        signals: register.as_ref().map(|it| standing::signals(it, made)).unwrap_or_default(),
        overrides: register.as_ref().map(|it| standing::overrides(it, made)).unwrap_or_default(),
        names: register.as_ref().map(Directory::names).unwrap_or_default(),
    };
    if content.figures.is_cut {
        complain("too many customers, nodes or snapshots: the later ones are only in the totals");
    }
    let unreadable = content.figures.passed_over.unreadable;
    if unreadable > 0 {
        complain(&format!("{} events can't be read, and aren't counted", grouped(unreadable)));
    }
    let failed = |path: &Path, error: std::io::Error| {
        CommandError::about(path, format!("can't be written: {error}"))
    };
    if let Some(path) = output {
        let page = page::render(&content, &names)?;
        replace(path, page.as_bytes()).map_err(|error| failed(path, error))?;
    }
    if let Some(folder) = csv {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        for (name, table) in tables::all(&content)? {
            let path = folder.join(name);
            replace(&path, table.as_bytes()).map_err(|error| failed(&path, error))?;
        }
    }
    if *json {
        print_json(&figures_json::figures(&content));
    } else if output.is_none() && csv.is_none() {
        print(&text::summary(&content));
    }
    Ok(())
}
