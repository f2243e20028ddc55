//! `waybill replay`: the events of a log, decided again by another policy, region set or register.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde_json::json;

use super::arguments::Countries;
use super::error::CommandError;
use super::input::NodeArguments;
use super::logs::each_line;
use super::output::{complain, print, print_json, wrap};
use crate::compile::remarks::{counted, grouped};
use crate::decision::event::Event;
use crate::journal::again::{EventVerdict, SecondLook};
use crate::journal::line::LogLine;
use crate::terms::finding::{ActionName, FindingCode};

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArguments {
    /// Log files with events (JSON Lines, also gzip or zstd); `-` for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    node: NodeArguments,
    /// Countries to restrict beside those that the register restricts, such as HK,MO
    #[arg(long, value_name = "COUNTRIES", value_parser = Countries::parse, requires = "register")]
    restrict: Option<Countries>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// What became of the events of a log. Its size is that of the changed ones.
#[derive(Default)]
struct Replay {
    events: u64,
    /// Lines without an event that can be read
    passed_over: u64,
    /// The first event that isn't valid, and where it is
    invalid: Option<String>,
    changed: Vec<ChangedEvent>,
    /// By customer, verdict before and verdict after
    summary: BTreeMap<(Option<String>, ActionName, ActionName), u64>,
    /// How many events kept a finding
    kept: BTreeMap<FindingCode, u64>,
}

/// An event that would be decided otherwise.
#[derive(serde::Serialize)]
struct ChangedEvent {
    id: String,
    customer: Option<String>,
    before: EventVerdict,
    after: EventVerdict,
}

/// How many changed events are listed in text.
const MOST_SHOWN: usize = 50;

pub(super) fn run(arguments: &ReplayArguments) -> Result<(), CommandError> {
    let restricted = arguments.restrict.iter().flat_map(|it| &it.0).copied().collect::<Vec<_>>();
    let node = arguments.node.load_with(&restricted)?;
    let config = node.screen.config();
    if config.register.is_none() && node.snapshot.is_none() {
        return Err(CommandError::new(
            "missing `--register DIR` or `--snapshot FILE`: this configuration has no customers",
        ));
    }
    let look = SecondLook::new(config, node.snapshot.as_ref());
    let mut replay = Replay::default();
    each_line(&arguments.files, &mut |place, line| {
        match LogLine::parse(line) {
            LogLine::Event(logged) => match Event::parse(&logged.text) {
                Ok(event) => replay.add(&look, &event),
                Err(problems) => {
                    replay.passed_over = replay.passed_over.saturating_add(1);
                    let file = place.file.display();
                    replay.invalid.get_or_insert_with(|| {
                        format!("{file}:{}: invalid event: {problems}", place.line)
                    });
                }
            },
            LogLine::WithoutEvent(_) | LogLine::Other => {
                replay.passed_over = replay.passed_over.saturating_add(1);
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(invalid) = &replay.invalid {
        complain(invalid);
    }
    if arguments.json {
        print_json(&replay.as_json());
    } else {
        print(&replay.as_text());
    }
    Ok(())
}

impl Replay {
    fn add(&mut self, look: &SecondLook<'_>, event: &Event<'_>) {
        self.events = self.events.saturating_add(1);
        let (before, again) = (EventVerdict::of(event), look.decide(event));
        for code in again.kept {
            count(self.kept.entry(code).or_default());
        }
        let after = again.verdict;
        if before == after {
            return;
        }
        let customer = event.customer.0.as_ref().map(ToString::to_string);
        let key = (customer.clone(), before.verdict, after.verdict);
        count(self.summary.entry(key).or_default());
        self.changed.push(ChangedEvent { id: event.id.to_string(), customer, before, after });
    }

    fn as_json(&self) -> serde_json::Value {
        let summary = self.summary.iter().map(|((customer, before, after), count)| {
            json!({"customer": customer, "before": before, "after": after, "count": count})
        });
        json!({
            "events": self.events,
            "changed": self.changed,
            "summary": summary.collect::<Vec<_>>(),
            "kept": self.kept.keys().collect::<Vec<_>>(),
            "passed_over": self.passed_over,
        })
    }

    /// The summary, the first changed events, then what couldn't be judged.
    fn as_text(&self) -> String {
        let mut out = format!(
            "{} decided again, {} decided otherwise\n",
            counted(self.events, "event"),
            grouped(self.changed.len()),
        );
        if self.passed_over > 0 {
            out.push_str(&format!("{} other lines passed over\n", grouped(self.passed_over)));
        }
        if !self.summary.is_empty() {
            out.push_str(&format!(
                "\n{:>9}  {:<7}  {:<7}  customer\n",
                "events", "before", "after"
            ));
            for ((customer, before, after), count) in &self.summary {
                let (before, after) = (before.as_str(), after.as_str());
                let customer = customer.as_deref().unwrap_or(NOBODY);
                let count = grouped(*count);
                out.push_str(&format!("{count:>9}  {before:<7}  {after:<7}  {customer}\n"));
            }
            out.push_str("\ndecided otherwise:\n");
        }
        for ChangedEvent { id, customer, before, after } in self.changed.iter().take(MOST_SHOWN) {
            let customer = customer.as_deref().unwrap_or(NOBODY);
            out.push_str(&format!("  {id}  {customer}\n"));
            let change = format!("{} -> {}", in_words(before), in_words(after));
            out.push_str(&wrap(&change, "    ", "      "));
        }
        if let Some(more) = self.changed.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
            out.push_str(&format!("  and {} more: `--json` lists all\n", grouped(more)));
        }
        if !self.kept.is_empty() {
            out.push_str(
                "\nkept, since they rest on what an event doesn't hold (credentials, headers,\n\
                 signatures, whole addresses, other nodes' reasons):\n",
            );
            for (code, count) in &self.kept {
                out.push_str(&format!("{:>9}  {code}\n", grouped(*count)));
            }
        }
        out
    }
}

/// What stands for the customer of an event that names none.
const NOBODY: &str = "(nobody)";

fn in_words(EventVerdict { verdict, reason, route, would_be }: &EventVerdict) -> String {
    let mut words = verdict.as_str().to_owned();
    if let Some(route) = route {
        words.push_str(&format!(" to {route}"));
    }
    let reason = reason.map(|reason| reason.to_string());
    let would_be = would_be.map(|would_be| format!("enforce: {}", would_be.as_str()));
    let details: Vec<String> = reason.into_iter().chain(would_be).collect();
    if !details.is_empty() {
        words.push_str(&format!(" ({})", details.join(", ")));
    }
    words
}

fn count(count: &mut u64) {
    *count = count.saturating_add(1);
}
