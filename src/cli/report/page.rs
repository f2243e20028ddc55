//! The page: figures as rows that unfold into their latest events, drawn by a template.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::Environment;
use minijinja::value::{Serde, Value};
use sha2::{Digest as _, Sha256};

use super::super::due::Deadline;
use super::super::error::CommandError;
use super::super::logs::FileNames;
use super::super::output::inert;
use super::content::ReportContent;
use super::figures_json::{customers, resellers};
use super::standing::StandingSignal;
use super::terms::meaning;
use super::words::{clock, command, short};
use crate::compile::countries::spelled;
use crate::compile::remarks::grouped;
use crate::journal::figures::{CustomerFigures, EventTally, decided, undeclared};
use crate::journal::recent::EventBrief;
use crate::journal::selection::{Condition, EventField};
use crate::register::{Customer, Override, SharingSignal};
use crate::shape::Word as _;
use crate::sharing::day::UtcDay;
use crate::terms::finding::{ActionName, FindingCode};
use crate::terms::names::Text;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// Rows that a list shows. The tables have all.
const MOST_ROWS: usize = 50;
/// Rows that a list shows of which only the first matter.
const MOST_RANKED: usize = 10;
/// The glossary's terms that the page explains.
pub(super) const TERMS: [&str; 9] =
    ["event", "verdict", "finding", "customer", "origin", "chain", "worth", "policy", "snapshot"];

/// A row with a number, which unfolds into the number's latest events.
#[derive(Default, serde::Serialize)]
struct NumberRow {
    label: String,
    /// What it is, in small letters
    about: String,
    /// More lines, each with its own number
    details: Vec<(String, String)>,
    number: String,
    /// Widths of the bar's parts in per cent, by verdict: start, width
    bar: Vec<(&'static str, String, String)>,
    latest: Vec<BriefRow>,
    command: String,
}

/// An event of a list.
#[derive(serde::Serialize)]
struct BriefRow {
    time: String,
    id: String,
    customer: String,
    origin: String,
    verdict: String,
    reason: String,
    findings: String,
}

/// A list of rows, and how many it doesn't show.
#[derive(Default, serde::Serialize)]
struct RowList {
    rows: Vec<NumberRow>,
    more: usize,
}

/// A span of the picture over time.
#[derive(serde::Serialize)]
struct SpanBars {
    since: String,
    counts: Vec<(&'static str, u64)>,
    /// By verdict: class, x, y, width, height in per cent
    bars: Vec<(&'static str, String, String, String, String)>,
}

/// An entry of the register that ends.
#[derive(serde::Serialize)]
struct DateRow {
    until: String,
    days: i64,
    customer: String,
    what: String,
}

/// A sign of sharing.
#[derive(serde::Serialize)]
struct SignalRow {
    customer: String,
    subject: String,
    finding: String,
    evidence: String,
    since: String,
    until: String,
    /// Who silenced it, and until when
    silenced: Option<(String, String)>,
    command: String,
}

/// An override.
#[derive(serde::Serialize)]
struct OverrideRow {
    customer: String,
    finding: String,
    action: String,
    author: String,
    until: String,
    reason: String,
    event: String,
}

/// What the template draws.
#[derive(serde::Serialize)]
struct PageModel {
    style: &'static str,
    digest: String,
    terms: BTreeMap<&'static str, String>,
    version: &'static str,
    made: String,
    files: Vec<String>,
    conditions: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    until_is_given: bool,
    events: String,
    without_event: String,
    other: String,
    unreadable: String,
    unselected: String,
    is_cut: bool,
    refused: RowList,
    found: RowList,
    undeclared: RowList,
    has_register: bool,
    due: Option<Vec<DateRow>>,
    ended: Option<Vec<DateRow>>,
    signals: Vec<SignalRow>,
    overrides: Vec<OverrideRow>,
    weak: RowList,
    faults: Vec<String>,
    fault_count: String,
    note_count: String,
    audited: String,
    audit_command: String,
    event_command: String,
    by_reseller: Option<RowList>,
    verdicts: RowList,
    reasons: RowList,
    softened: RowList,
    fired: RowList,
    countries: RowList,
    software: RowList,
    systems: RowList,
    paths: RowList,
    policies: RowList,
    snapshots: RowList,
    nodes: RowList,
    width: String,
    spans: Vec<SpanBars>,
    most: u64,
}

/// Draws the page.
pub(super) fn render(
    content: &ReportContent<'_>,
    files: &FileNames,
) -> Result<String, CommandError> {
    let ReportContent { files: paths, selection, figures, audit, made, .. } = content;
    let mut environment = Environment::new();
    environment.add_template("page.html", TEMPLATE).map_err(CommandError::new)?;
    let template = environment.get_template("page.html").map_err(CommandError::new)?;
    let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let (first, last) = figures.tally.between.unzip();
    let faults: Vec<String> = audit
        .faults
        .iter()
        .take(MOST_ROWS)
        .map(|fault| {
            let line =
                |place: crate::journal::audit::EventPlace| files.line(place.file, place.line);
            format!("{}: {}", line(fault.place), fault.kind.describe(&line))
        })
        .collect();
    let passed = &figures.passed_over;
    let terms: BTreeMap<&'static str, String> =
        TERMS.iter().map(|term| (*term, meaning(term))).collect();
    let (width, spans, most) = spans(content);
    let conditions: Vec<String> = selection.conditions.iter().map(ToString::to_string).collect();
    let model = PageModel {
        style: STYLE,
        digest,
        terms,
        version: env!("CARGO_PKG_VERSION"),
        made: clock(*made),
        files: paths.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        conditions,
        since: selection.since.or(first).map(short),
        until: selection.until.or(last).map(short),
        until_is_given: selection.until.is_some(),
        events: grouped(figures.tally.events),
        without_event: grouped(passed.without_event),
        other: grouped(passed.other),
        unreadable: grouped(passed.unreadable),
        unselected: grouped(passed.unselected),
        is_cut: figures.is_cut,
        refused: customer_rows(content, &[ActionName::Block], |it| &it.refusals),
        found: customer_rows(content, &[ActionName::Report, ActionName::Reroute], |it| {
            &it.findings
        }),
        undeclared: undeclared_rows(content),
        has_register: content.dates.is_some(),
        due: content.dates.as_ref().map(|(due, _)| dates(content, due)),
        ended: content.dates.as_ref().map(|(_, ended)| dates(content, ended)),
        signals: signal_rows(content),
        overrides: override_rows(content),
        weak: weak_paths(content),
        faults,
        fault_count: grouped(audit.fault_count),
        note_count: grouped(audit.note_count),
        audited: grouped(audit.events),
        audit_command: command(content, "audit verify", &[], ""),
        event_command: command(content, "event ID", &[], ""),
        by_reseller: content.is_by_reseller.then(|| reseller_rows(content)),
        verdicts: field_rows(content, EventField::Verdict),
        reasons: field_rows(content, EventField::Reason),
        softened: field_rows(content, EventField::WouldBe),
        fired: field_rows(content, EventField::Finding),
        countries: field_rows(content, EventField::Origin),
        software: field_rows(content, EventField::Software).first(MOST_RANKED),
        systems: field_rows(content, EventField::Asn).first(MOST_RANKED),
        paths: field_rows(content, EventField::Path),
        policies: field_rows(content, EventField::Policy),
        snapshots: field_rows(content, EventField::Snapshot),
        nodes: field_rows(content, EventField::Node),
        width,
        spans,
        most,
    };
    let page = template.render(Value::from(Serde(model))).map_err(CommandError::new)?;
    Ok(inert(&page).into_owned())
}

/// Rows of the customers that have requests with these verdicts, and the findings behind them.
fn customer_rows(
    content: &ReportContent<'_>,
    verdicts: &[ActionName],
    codes: fn(&CustomerFigures) -> &BTreeMap<FindingCode, u64>,
) -> RowList {
    let number = |customer: &CustomerFigures| {
        verdicts
            .iter()
            .fold(0_u64, |sum, verdict| sum.saturating_add(customer.tally.with(*verdict)))
    };
    let mut rows: Vec<_> =
        customers(content).into_iter().filter(|(_, customer)| number(customer) > 0).collect();
    rows.sort_by_key(|(_, customer)| std::cmp::Reverse(number(customer)));
    RowList::of(rows, |(id, customer)| {
        let mut details: Vec<_> = codes(customer).iter().collect();
        details.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let details = details
            .into_iter()
            .map(|(code, count)| (grouped(count), format!("{code}: {}", code.title())));
        let about = match customer.tally.softened {
            0 => String::new(),
            softened if verdicts.contains(&ActionName::Report) => {
                format!("mode enforce would have kept {} from the provider", grouped(softened))
            }
            _ => String::new(),
        };
        let mut latest: Vec<&EventBrief> = Vec::new();
        for verdict in verdicts {
            latest.extend(content.figures.latest(&decided(id, *verdict)));
        }
        latest.sort_by_key(|event| std::cmp::Reverse(event.time));
        latest.truncate(crate::journal::recent::MOST_RECENT);
        let commands: Vec<String> = verdicts
            .iter()
            .filter(|verdict| customer.tally.with(**verdict) > 0)
            .map(|verdict| command(content, "report", &decided(id, *verdict), " --events"))
            .collect();
        NumberRow {
            label: content.named(id),
            about,
            details: details.collect(),
            number: format!("{} of {}", grouped(number(customer)), grouped(customer.tally.events)),
            latest: latest.into_iter().map(BriefRow::of).collect(),
            command: commands.join("\n"),
            ..NumberRow::default()
        }
    })
}

/// Rows of the customers with requests from countries that they didn't declare.
fn undeclared_rows(content: &ReportContent<'_>) -> RowList {
    let number = |customer: &CustomerFigures| {
        customer.undeclared.values().fold(0_u64, |sum, count| sum.saturating_add(*count))
    };
    let mut rows: Vec<_> =
        customers(content).into_iter().filter(|(_, it)| !it.undeclared.is_empty()).collect();
    rows.sort_by_key(|(_, customer)| std::cmp::Reverse(number(customer)));
    RowList::of(rows, |(id, customer)| {
        let mut countries: Vec<_> = customer.undeclared.iter().collect();
        countries.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let country = |country: &Option<_>| match country {
            Some(country) => spelled(&format!("{country}")),
            None => "unknown".to_owned(),
        };
        let conditions = undeclared(id);
        NumberRow {
            label: content.named(id),
            details: countries.iter().map(|(it, count)| (grouped(count), country(it))).collect(),
            number: format!("{} of {}", grouped(number(customer)), grouped(customer.tally.events)),
            ..NumberRow::leading(content, &conditions)
        }
    })
}

/// Rows of the ways whose chain is weak.
fn weak_paths(content: &ReportContent<'_>) -> RowList {
    let paths = content.figures.paths.iter();
    let mut rows: Vec<_> = paths.filter(|(_, it)| it.weak > 0 || it.unproven > 0).collect();
    rows.sort_by_key(|(path, it)| (std::cmp::Reverse(it.weak.max(it.unproven)), *path));
    RowList::of(rows, |(path, it)| {
        let weakest = it.weakest.as_ref().map(|(node, attest, proven)| {
            let proven = if *proven { "" } else { ", and nothing proves it" };
            format!("weakest link: {node}, which says {attest}{proven}")
        });
        let details = [
            (it.weak, "are worth no more than gateway"),
            (it.unproven, "have a hop that nothing proves"),
        ];
        let details = details.into_iter().filter(|(count, _)| *count > 0);
        NumberRow {
            label: path.replace('>', " → "),
            about: weakest.unwrap_or_default(),
            details: details.map(|(count, text)| (grouped(count), text.to_owned())).collect(),
            number: format!(
                "{} of {}",
                grouped(it.weak.max(it.unproven)),
                grouped(it.tally.events)
            ),
            ..NumberRow::leading(content, &[Condition::new(EventField::Path, path)])
        }
    })
}

/// Rows of the nodes that carried requests.
fn reseller_rows(content: &ReportContent<'_>) -> RowList {
    let rows = resellers(content);
    let most = rows.iter().map(|(_, hop)| hop.tally.events).max().unwrap_or_default();
    RowList::of(rows, |(node, hop)| {
        let blocked = hop.tally.with(ActionName::Block);
        let details = [
            (hop.signed, "signed as the last hop"),
            (blocked, "refused here"),
            (hop.unproven, "where nothing proves this hop"),
            (hop.below_full, "where it doesn't vouch fully"),
        ];
        let details = details.into_iter().filter(|(count, _)| *count > 0);
        NumberRow {
            label: node.to_owned(),
            about: hop.weakest.map_or_else(String::new, |it| format!("weakest word: {it}")),
            details: details.map(|(count, text)| (grouped(count), text.to_owned())).collect(),
            number: grouped(hop.tally.events),
            bar: bar(&hop.tally, most),
            ..NumberRow::leading(content, &[Condition::new(EventField::Hop, node)])
        }
    })
}

/// Rows of a field's values.
fn field_rows(content: &ReportContent<'_>, field: EventField) -> RowList {
    let is_kept = |value: &str| !value.is_empty() || field == EventField::Origin;
    let mut rows = content.figures.of(field);
    rows.retain(|(value, _)| is_kept(value));
    if matches!(field, EventField::Policy | EventField::Snapshot) {
        rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.between.unzip().1));
    }
    let most = rows.iter().map(|(_, tally)| tally.events).max().unwrap_or_default();
    RowList::of(rows, |(value, tally)| {
        let about = match field {
            EventField::Reason | EventField::Finding => {
                FindingCode::parse(value).map_or("", FindingCode::title).to_owned()
            }
            EventField::Policy | EventField::Snapshot | EventField::Node => {
                let (first, last) = tally.between.unzip();
                let [first, last] = [first, last].map(|it| it.map_or(String::new(), short));
                format!("{first} to {last}")
            }
            EventField::Origin if tally.with(ActionName::Block) > 0 => {
                format!("{} refused", grouped(tally.with(ActionName::Block)))
            }
            _ => String::new(),
        };
        let label = match value {
            "" => "unknown".to_owned(),
            country if field == EventField::Origin => spelled(country),
            number if field == EventField::Asn => format!("AS{number}"),
            path if field == EventField::Path => path.replace('>', " → "),
            value => value.to_owned(),
        };
        NumberRow {
            label,
            about,
            number: grouped(tally.events),
            bar: bar(tally, most),
            ..NumberRow::leading(content, &[Condition::new(field, value)])
        }
    })
}

/// The parts of a bar by verdict, the longest bar being `most`.
fn bar(tally: &EventTally, most: u64) -> Vec<(&'static str, String, String)> {
    let mut start: u64 = 0;
    let parts = ActionName::ALL.iter().zip(tally.verdicts).map(|(verdict, count)| {
        let part = (verdict.as_str(), percent(start, most), percent(count, most), count);
        start = start.saturating_add(count);
        part
    });
    let parts: Vec<_> = parts.collect();
    parts
        .into_iter()
        .filter(|(.., count)| *count > 0)
        .map(|(class, start, width, _)| (class, start, width))
        .collect()
}

/// The picture over time: how wide a span is, the spans, and the events of the fullest.
fn spans(content: &ReportContent<'_>) -> (String, Vec<SpanBars>, u64) {
    let (width, spans) = content.figures.timeline.spans();
    let sums =
        spans.iter().map(|(_, counts)| counts.iter().fold(0, |a: u64, b| a.saturating_add(*b)));
    let most = sums.max().unwrap_or_default();
    let number = u64::try_from(spans.len()).unwrap_or(u64::MAX);
    let place = |index: usize| u64::try_from(index).unwrap_or(u64::MAX);
    let bars = spans.into_iter().enumerate().map(|(index, (since, counts))| {
        let mut below: u64 = 0;
        let parts = ActionName::ALL.iter().zip(counts).filter(|(_, count)| *count > 0);
        let bars = parts.map(|(verdict, count)| {
            below = below.saturating_add(count);
            let x = percent(place(index), number);
            let width = percent(4, number.saturating_mul(5));
            let y = percent(most.saturating_sub(below), most);
            (verdict.as_str(), x, y, width, percent(count, most))
        });
        SpanBars {
            since: short(since),
            bars: bars.collect(),
            counts: ActionName::ALL.iter().map(|it| it.as_str()).zip(counts).collect(),
        }
    });
    let width = match width {
        60 => "a minute".to_owned(),
        300 | 900 => format!("{} minutes", width.div_euclid(60)),
        3_600 => "an hour".to_owned(),
        21_600 => "6 hours".to_owned(),
        86_400 => "a day".to_owned(),
        _ => format!("{} days", width.div_euclid(86_400)),
    };
    (width, bars.collect(), most)
}

fn dates(content: &ReportContent<'_>, dates: &[Deadline<'_>]) -> Vec<DateRow> {
    let row = |date: &Deadline<'_>| DateRow {
        until: clock(date.until),
        days: date.days,
        customer: content.named(date.customer),
        what: format!("{} {}", date.what.replace('-', " "), date.label),
    };
    dates.iter().map(row).collect()
}

fn signal_rows(content: &ReportContent<'_>) -> Vec<SignalRow> {
    let row = |it: &StandingSignal<'_>| {
        let SharingSignal { customer, finding, since, until, evidence, .. } = it.signal;
        let silenced = it.silenced.map(|it| (it.author.to_string(), clock(it.until)));
        let conditions = [
            Condition::new(EventField::Customer, customer.as_str()),
            Condition::new(EventField::Finding, finding.as_str()),
        ];
        SignalRow {
            customer: content.named(customer.as_str()),
            subject: it.signal.subject(),
            finding: format!("{finding}: {}", finding.title()),
            evidence: evidence.to_string(),
            since: UtcDay::of(*since).to_string(),
            until: UtcDay::of(*until).to_string(),
            silenced,
            command: command(content, "report", &conditions, " --events"),
        }
    };
    content.signals.iter().map(row).collect()
}

fn override_rows(content: &ReportContent<'_>) -> Vec<OverrideRow> {
    let text = |text: &Option<Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let row = |(customer, entry): &(&Customer, &Override)| OverrideRow {
        customer: content.named(customer.id.as_str()),
        finding: entry.finding.to_string(),
        action: entry.action.name().to_string(),
        author: entry.author.to_string(),
        until: clock(entry.until),
        reason: text(&entry.reason),
        event: text(&entry.event),
    };
    content.overrides.iter().map(row).collect()
}

/// A share in per cent, with two digits behind the point.
fn percent(part: u64, whole: u64) -> String {
    let share = part.saturating_mul(10_000).checked_div(whole).unwrap_or_default();
    format!("{}.{:02}%", share / 100, share % 100)
}

impl RowList {
    fn of<T>(items: Vec<T>, row: impl FnMut(T) -> NumberRow) -> Self {
        let more = items.len().saturating_sub(MOST_ROWS);
        Self { rows: items.into_iter().take(MOST_ROWS).map(row).collect(), more }
    }

    /// The first rows of it.
    fn first(mut self, most: usize) -> Self {
        self.more = self.more.saturating_add(self.rows.len().saturating_sub(most));
        self.rows.truncate(most);
        self
    }
}

impl NumberRow {
    /// The latest events of these conditions, and the command that prints all.
    fn leading(content: &ReportContent<'_>, conditions: &[Condition]) -> Self {
        Self {
            latest: content.figures.latest(conditions).into_iter().map(BriefRow::of).collect(),
            command: command(content, "report", conditions, " --events"),
            ..Self::default()
        }
    }
}

impl BriefRow {
    fn of(event: &EventBrief) -> Self {
        let verdict = match event.would_be {
            Some(would_be) => format!("{} (enforce: {would_be})", event.verdict),
            None => event.verdict.to_string(),
        };
        let reason = event.reason;
        let others = event.findings.iter().filter(|code| Some(**code) != reason);
        Self {
            time: short(event.time),
            id: event.id.clone(),
            customer: event.customer.clone().unwrap_or_default(),
            origin: event.origin.clone().unwrap_or_default(),
            verdict,
            reason: reason.map(|reason| reason.to_string()).unwrap_or_default(),
            findings: others.map(|code| code.as_str()).collect::<Vec<_>>().join(", "),
        }
    }
}
