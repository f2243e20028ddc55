//! Finds events in logs by an id. A line is read only if its bytes hold the id.

use std::ops::ControlFlow;
use std::path::PathBuf;

use memchr::memmem::Finder;

use super::error::CommandError;
use super::logs::{FileNames, each_line};
use super::output::complain;
use crate::compile::remarks::grouped;
use crate::decision::event::Event;
use crate::journal::line::{LineEnvelope, LogLine};

/// The arguments that name an event.
#[derive(Debug, clap::Args)]
pub(super) struct EventArguments {
    /// The event's id, Envoy's `x-request-id`, or the provider's request id
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: String,
    /// Log files: JSON Lines, also gzip or zstd; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// An event with the id.
#[derive(Debug)]
pub(super) struct EventHit {
    kind: IdKind,
    /// The file and the line
    pub(super) file: String,
    pub(super) line: u64,
    /// The event's text, and what it says
    pub(super) text: String,
    pub(super) event: Event<'static>,
    pub(super) envelope: LineEnvelope,
}

/// Which id matched: first what no client can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum IdKind {
    Event,
    Provider,
    Envoy,
}

/// The hits that are kept: a client may send one `x-request-id` with each request.
const MOST_HITS: usize = 1_000;

impl EventHit {
    /// Whether the event's own id matched, which no client can choose.
    pub(super) fn is_by_own_id(&self) -> bool {
        self.kind == IdKind::Event
    }
}

impl EventArguments {
    /// The events with the id, those by the event's own id first. None is an error.
    pub(super) fn find(&self) -> Result<Vec<EventHit>, CommandError> {
        let needle = Finder::new(longest_plain(&self.id).as_bytes());
        let escape = Finder::new(b"\\u00");
        let mut names = FileNames::default();
        let (mut hits, mut more, mut misses) = (Vec::new(), 0_usize, Vec::new());
        let lines = each_line(&self.files, &mut |place, bytes| {
            let file = names.note(place);
            if needle.find(bytes).is_none() && escape.find(bytes).is_none() {
                return ControlFlow::Continue(());
            }
            let line = place.line;
            let place = || names.line(file, line);
            match LogLine::parse(bytes) {
                LogLine::Event(logged) => {
                    let Some(kind) = self.matches(&logged.envelope, Some(&logged.text)) else {
                        return ControlFlow::Continue(());
                    };
                    if hits.len() >= MOST_HITS {
                        more = more.saturating_add(1);
                        return ControlFlow::Continue(());
                    }
                    match Event::parse(&logged.text) {
                        Ok(event) => hits.push(EventHit {
                            kind,
                            file: names.of(file),
                            line,
                            text: logged.text.into_owned(),
                            event,
                            envelope: logged.envelope,
                        }),
                        Err(problems) => {
                            misses.push(format!("{}: invalid event: {problems}", place()));
                        }
                    }
                }
                LogLine::WithoutEvent(envelope) => {
                    if self.matches(&envelope, None).is_some() {
                        let status = envelope.status.map(|status| format!(" with {status}"));
                        misses.push(format!(
                            "{}: no event: Envoy answered this request by itself{}, before the \
                             node",
                            place(),
                            status.unwrap_or_default()
                        ));
                    }
                }
                LogLine::Other => {}
            }
            ControlFlow::Continue(())
        })?;
        for miss in misses.iter().filter(|_| !hits.is_empty()) {
            complain(miss);
        }
        if more > 0 {
            complain(&format!("and {} more events with this id", grouped(more)));
        }
        if hits.is_empty() {
            misses.truncate(MOST_HITS);
            let lines = grouped(usize::try_from(lines).unwrap_or(usize::MAX));
            misses.push(format!("unknown id `{}`: no event in {lines} lines has it", self.id));
            return Err(CommandError(misses.join("\n")));
        }
        hits.sort_by_key(|hit| hit.kind);
        Ok(hits)
    }

    fn matches(&self, envelope: &LineEnvelope, event: Option<&str>) -> Option<IdKind> {
        let is = |id: &Option<String>| id.as_ref() == Some(&self.id);
        let own =
            |text: &str| serde_json::from_str::<EventName>(text).is_ok_and(|it| it.id == self.id);
        if event.is_some_and(own) {
            Some(IdKind::Event)
        } else if is(&envelope.provider_request_id) {
            Some(IdKind::Provider)
        } else if is(&envelope.request_id) {
            Some(IdKind::Envoy)
        } else {
            None
        }
    }
}

/// An event's name alone.
#[derive(serde::Deserialize)]
struct EventName {
    id: String,
}

/// The longest part of an id that JSON writes as it is.
fn longest_plain(id: &str) -> &str {
    let parts = id.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.:".contains(c));
    parts.max_by_key(|part| part.len()).unwrap_or_default()
}
