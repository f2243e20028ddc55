//! `waybill sharing`: what events of days and weeks show of one credential in many hands.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::arguments::word;
use super::clock::now;
use super::error::CommandError;
use super::files::replace;
use super::logs::{FileNames, each_line};
use super::output::{complain, print, wrap_page};
use super::register;
use crate::compile::directory::Directory;
use crate::compile::remarks::grouped;
use crate::journal::audit::EventPlace;
use crate::journal::selection::UnixMillis;
use crate::register::{LookedAt, SharingFile, SharingSignal};
use crate::shape::{to_text, to_value};
use crate::sharing::day::UtcDay;
use crate::sharing::distance::CountryDistances;
use crate::sharing::gathering::{Gathered, Gathering, GatheringError};
use crate::sharing::signals::{SignalBasis, signals};
use crate::sharing::thresholds::ThresholdSetting;

#[derive(Debug, clap::Args)]
pub(super) struct SharingArguments {
    /// Log files with events of days and weeks, or daily rows (`waybill schema sharing-day`), in
    /// any order: JSON Lines, also gzip or zstd; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The register's directory: its customers, what they declared, its thresholds, and the signs
    /// known so far
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// Write the answer, for review: it is the register's next sharing.json
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
    /// Write the daily rows that the answer rests on (JSON Lines); `-` prints them instead of the
    /// answer
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The end of the period: the first time that doesn't count any more (RFC 3339); by default
    /// behind the last event. A row counts if its day begins before
    #[arg(long, value_name = "TIME", value_parser = word::<UnixMillis>)]
    until: Option<UnixMillis>,
    /// Another threshold than the register's, to see who would be named; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = word::<ThresholdSetting>)]
    set: Vec<ThresholdSetting>,
}

pub(super) fn run(arguments: &SharingArguments) -> Result<(), CommandError> {
    let SharingArguments { files, register: folder, output, json, rows, until, set } = arguments;
    let register = register::open_to_renew_signals(folder, now(), "nothing is looked at")?;
    let thresholds = register.owners.settings.sharing.with(set)?;
    let gathered = gather(files, *until)?;
    if let Some((last, next)) = gathered.gap(thresholds.lasts_days.0) {
        let resumed = last.plus(1).start();
        complain(&format!(
            "no events from {} until {next}: signs from before have ended by then. If a clock was \
             wrong, `--until {resumed}` leaves out what is later",
            last.plus(1),
        ));
    }
    let basis = SignalBasis {
        customers: &register.customers,
        thresholds: &thresholds,
        distances: &CountryDistances::known(),
        before: &register.signals,
    };
    let answer = signals(&gathered, &basis);
    let document = format!("{:#}\n", to_value(&answer));
    let write = |path: &Path, text: &str| {
        let failed =
            |error: std::io::Error| CommandError::about(path, format!("can't be written: {error}"));
        replace(path, text.as_bytes()).map_err(failed)
    };
    if let Some(path) = output {
        write(path, &document)?;
    }
    if let Some(path) = rows {
        let lines = gathered.rows.iter().map(|row| to_text(row) + "\n");
        let lines: String = lines.collect();
        if path == Path::new("-") {
            print(&lines);
            return Ok(());
        }
        write(path, &lines)?;
    }
    if *json {
        print(&document);
    } else {
        print(&as_text(&answer, &gathered, &register));
    }
    Ok(())
}

/// Reads events and rows.
fn gather(files: &[PathBuf], until: Option<UnixMillis>) -> Result<Gathered, CommandError> {
    let mut gathering = Gathering::new(until);
    let mut names = FileNames::default();
    let mut wrong = None;
    each_line(files, &mut |place, bytes| {
        let place = EventPlace { file: names.note(place), line: place.line };
        match gathering.see(place, bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                wrong = Some((place, error));
                ControlFlow::Break(())
            }
        }
    })?;
    match wrong {
        Some((place, error)) => Err(in_words(Some(place), &error, &names)),
        None => gathering.finish().map_err(|error| in_words(None, &error, &names)),
    }
}

/// An error with the lines that it is about, and what to do.
fn in_words(place: Option<EventPlace>, error: &GatheringError, names: &FileNames) -> CommandError {
    let at = |place: EventPlace| format!("{}:{}", names.of(place.file), place.line);
    let (place, other, help) = match error {
        GatheringError::AlteredEvent => {
            let help = "`waybill audit verify` names altered lines; leave out the wrong one";
            (place, None, help)
        }
        GatheringError::InvalidRow(_) => {
            (place, None, "`waybill schema sharing-day` has the shape")
        }
        GatheringError::DifferentRows { other, .. } => {
            (place, Some(*other), "make each day's rows once, from all events of the day")
        }
        GatheringError::RowAndEvents { row, .. } => {
            (Some(*row), None, "give either the row or the events of that day")
        }
    };
    let place = place.map(|place| format!("{}: ", at(place))).unwrap_or_default();
    let other = other.map(|other| format!("; the other is {}", at(other))).unwrap_or_default();
    CommandError(format!("{place}{error}{other}\n  help: {help}"))
}

/// The answer for people: who, by which figures, until when; then what was looked at.
fn as_text(answer: &SharingFile, gathered: &Gathered, register: &Directory) -> String {
    let names = register.names();
    let mut out = String::new();
    for signal in &answer.signals {
        let SharingSignal { customer, finding, since, until, evidence, .. } = signal;
        let name = names.get(customer.as_str()).map(|name| format!(" {name}")).unwrap_or_default();
        let subject = signal.subject();
        let what = if subject.is_empty() { subject } else { format!(", {subject}") };
        out.push_str(&wrap_page(&format!("{customer}{name}{what}: {finding}"), "", "  "));
        out.push_str(&wrap_page(&format!("{evidence}."), "  ", "  "));
        let (since, until) = (UtcDay::of(*since), UtcDay::of(*until));
        let ends = format!("Fires since {since}; ends {until}, unless more days show it.");
        out.push_str(&wrap_page(&ends, "  ", "  "));
        out.push('\n');
    }
    if answer.signals.is_empty() {
        out.push_str("no signs of sharing\n\n");
    }
    for sentence in looked_at(&answer.looked_at, gathered) {
        out.push_str(&wrap_page(&sentence, "", ""));
    }
    if !answer.signals.is_empty() {
        out.push('\n');
        out.push_str(&wrap_page(WHAT_ENDS_IT, "", ""));
    }
    out
}

const WHAT_ENDS_IT: &str = "A sign starts a question; it proves nothing. What ends it: bind the \
    credential to networks or to a certificate, declare the countries, or register the customer as \
    a reseller with a chain.";

/// What was looked at, in sentences.
fn looked_at(counts: &LookedAt, gathered: &Gathered) -> Vec<String> {
    let counted = |count: u64, one: &str, many: &str| {
        let noun = if count == 1 { one } else { many };
        (count > 0).then(|| format!("{} {noun}.", grouped(count)))
    };
    let (customers, days) = (grouped(counts.customers.0), grouped(counts.days.0));
    let period = match (gathered.rows.iter().map(|row| row.day).max(), days.as_str()) {
        (Some(last), "1") => format!("on {last}"),
        (Some(last), days) => format!("on {days} days from {} to {last}", gathered.first),
        (None, _) => "on no day".to_owned(),
    };
    let first = format!(
        "Looked at: {} events of {customers} customers {period}.",
        grouped(counts.events.0),
    );
    let rest = [
        counted(counts.doubles.0, "event was there before", "events were there before"),
        counted(
            counts.without_event.0,
            "line was of a request that Envoy answered before the node",
            "lines were of requests that Envoy answered before the node",
        ),
        counted(
            counts.other_lines.0,
            "line was no event that can be read",
            "lines were no events that can be read",
        ),
        counted(
            counts.without_duration.0,
            "event counts as nothing in flight: its line has no duration",
            "events count as nothing in flight: their lines have no duration",
        ),
        counted(
            counts.without_credential.0,
            "event has no customer that a credential proves",
            "events have no customer that a credential proves",
        ),
        counted(
            counts.bound_events.0,
            "event came by a certificate or a verified chain: exempt",
            "events came by a certificate or a verified chain: exempt",
        ),
        counted(
            counts.bound_credentials.0,
            "credential is bound to networks: exempt",
            "credentials are bound to networks: exempt",
        ),
        counted(
            counts.resellers.0,
            "customer is a registered reseller: exempt",
            "customers are registered resellers: exempt",
        ),
        counted(
            counts.unknown.0,
            "credential isn't in the register any more",
            "credentials aren't in the register any more",
        ),
        counted(
            counts.without_labels.0,
            "customer has several credentials without labels, which count as one",
            "customers have several credentials without labels, which count as one",
        ),
        counted(
            counts.kept.0,
            "sign is kept from the register's sharing.json, since these events are too few to show \
             it again",
            "signs are kept from the register's sharing.json, since these events are too few to \
             show them again",
        ),
    ];
    std::iter::once(first).chain(rest.into_iter().flatten()).collect()
}
