//! The figures as text for people at a terminal: the short answer to one question.

use super::super::output::{wrap, wrap_page};
use super::content::ReportContent;
use super::figures_json::customers;
use crate::compile::countries::spelled;
use crate::compile::remarks::{counted, grouped};
use crate::journal::explanation::moment;
use crate::journal::selection::EventField;
use crate::shape::Word as _;
use crate::terms::finding::{ActionName, FindingCode};

/// Rows that a list shows. `--json` has all.
const MOST_ROWS: usize = 20;

/// The figures.
pub(super) fn summary(content: &ReportContent<'_>) -> String {
    let ReportContent { figures, audit, .. } = content;
    let tally = &figures.tally;
    let between = tally.between.map(|(first, last)| {
        format!(", {} to {}", moment(&first.to_string()), moment(&last.to_string()))
    });
    let title = counted(tally.events, "event") + &between.unwrap_or_default();
    let mut out = wrap_page(&title, "", "");
    let mut list = |label: &str, parts: Vec<String>| {
        let more = parts.len().saturating_sub(MOST_ROWS);
        let mut words: Vec<String> = parts.into_iter().take(MOST_ROWS).collect();
        words.extend((more > 0).then(|| format!("and {} more", grouped(more))));
        if !words.is_empty() {
            out.push_str(&wrap_page(&words.join(", "), &format!("{label:<11}"), &" ".repeat(11)));
        }
    };
    let by_value = |field| {
        let values = figures.of(field).into_iter().filter(|(value, _)| !value.is_empty());
        values.map(|(value, tally)| (value, grouped(tally.events))).collect::<Vec<_>>()
    };
    let plain = |field| {
        let rows = by_value(field).into_iter();
        rows.map(|(value, events)| format!("{value} {events}")).collect::<Vec<_>>()
    };
    list("verdicts", plain(EventField::Verdict));
    list(
        "enforce",
        plain(EventField::WouldBe).into_iter().map(|it| format!("would {it}")).collect(),
    );
    let countries = by_value(EventField::Origin).into_iter();
    list(
        "countries",
        countries.map(|(code, events)| format!("{} {events}", spelled(code))).collect(),
    );
    list("the log", vec![counted(audit.fault_count, "fault")]);

    let signs = content.signals.len();
    if signs > 0 {
        let noun = if signs == 1 { "sign" } else { "signs" };
        list("sharing", vec![format!("{signs} {noun} in force: `waybill report -o` shows them")]);
    }

    let rows = customers(content);
    if !rows.is_empty() {
        out.push_str("\n   events  refused  customer\n");
    }
    for (id, customer) in rows.iter().take(MOST_ROWS) {
        let (all, refused) = (&customer.tally, customer.tally.with(ActionName::Block));
        let start = format!("{:>9}{:>9}  ", grouped(all.events), grouped(refused));
        out.push_str(&wrap(&content.named(id), &start, &" ".repeat(20)));
    }
    if let Some(more) = rows.len().checked_sub(MOST_ROWS).filter(|more| *more > 0) {
        out.push_str(&format!("  and {} more: `--json` and `--csv` have all\n", grouped(more)));
    }
    let reasons = by_value(EventField::Reason);
    if !reasons.is_empty() {
        out.push_str("\n   events  reason\n");
    }
    for (reason, events) in reasons {
        let title = FindingCode::parse(reason).map_or("", FindingCode::title);
        out.push_str(&wrap_page(
            &format!("{reason}: {title}"),
            &format!("{events:>9}  "),
            &" ".repeat(13),
        ));
    }
    out
}
