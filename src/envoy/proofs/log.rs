//! A client can't forge an event: a text log format prints its bytes as they come.

use super::super::files::Spot;
use super::super::kinds::ROUTER;
use super::super::report::{Promise, Report};
use super::super::way::Way;
use super::super::yaml::Yaml;

/// The operator that prints an event, and those that print what a client or an upstream chose.
const EVENT: &str = "FILTER_STATE(wasm.waybill";
const FOREIGN: &[&str] = &[
    "REQ(",
    "REQ_WITHOUT_QUERY(",
    "RESP(",
    "TRAILER(",
    "RESP_TRAILER(",
    "PATH",
    "QUERY_PARAM",
    "REQUESTED_SERVER_NAME",
    "DOWNSTREAM_PEER_",
    "DYNAMIC_METADATA(",
    "CEL(",
    "COOKIE(",
    "REQUEST_HEADER",
    "RESPONSE_HEADER",
];

/// A logger: its settings, and where they are.
struct Logger<'a> {
    kind: &'a str,
    config: &'a Yaml,
    spot: Spot,
}

pub(super) fn prove(way: &Way<'_, '_>, report: &mut Report) {
    let loggers = loggers(way);
    let prints_event = |it: &&Logger<'_>| {
        let mut found = false;
        it.config.walk(&mut |value| found |= value.text().is_some_and(|it| it.contains(EVENT)));
        found
    };
    let sinks: Vec<_> = loggers.iter().filter(prints_event).map(Logger::sink).collect();
    for logger in &loggers {
        for name in ["inline_bytes", "filename", "environment_variable"] {
            let unread = logger.config.at(&["log_format", "text_format_source", name]);
            if let Some(unread) = unread {
                let message = "check can't read this text format, which may let a client write an \
                               event of its own";
                let help = "use `json_format`, or `inline_string`: see docs/operating.md";
                report.wrong(Promise::Log, &logger.spot.member(name, unread), message, help);
            }
        }
        let Some((text, spot)) = logger.text() else { continue };
        let Some(operator) = foreign(text) else { continue };
        let message = if text.contains(EVENT) {
            format!(
                "this text format prints `%{operator}` beside an event as it comes, so a client \
                 can write an event of its own"
            )
        } else if sinks.contains(&logger.sink()) {
            format!(
                "this text format prints `%{operator}` as it comes to where events go, so a client \
                 can write an event of its own"
            )
        } else {
            continue;
        };
        let help = "use `json_format`, with the event as a member: see docs/operating.md";
        report.wrong(Promise::Log, &spot, message, help);
    }
}

/// The first operator in a text that prints what a client or an upstream chose.
fn foreign(text: &str) -> Option<&'static str> {
    FOREIGN.iter().copied().find(|operator| text.contains(&format!("%{operator}")))
}

/// All loggers of a way: those of the manager, of its listener, and upstream of its routers.
fn loggers<'a>(way: &Way<'a, '_>) -> Vec<Logger<'a>> {
    let manager = way.manager;
    let mut owners = vec![(manager.spot.clone(), "access_log", manager.yaml)];
    owners.extend(
        manager
            .listener
            .map(|listener| (Spot::new(manager.spot.file, listener, ""), "access_log", listener)),
    );
    for filter in manager.chains.iter().flat_map(|list| &list.filters) {
        if let Some((ROUTER, config)) = filter.config {
            owners.push((filter.spot.clone(), "upstream_log", config));
        }
    }
    let of = |(spot, field, yaml): (Spot, &'static str, &'a Yaml)| {
        let list = yaml.list(field).iter().enumerate();
        let logger = move |(i, logger): (usize, &'a Yaml)| {
            let (kind, config) = logger.extension()?;
            Some(Logger { kind, config, spot: spot.element(field, i, logger) })
        };
        list.filter_map(logger).collect::<Vec<_>>()
    };
    owners.into_iter().flat_map(of).collect()
}

impl<'a> Logger<'a> {
    /// Where its lines go.
    fn sink(&self) -> (&'a str, Option<&'a str>) {
        (self.kind, self.config.str("path"))
    }

    /// Its text format, and where that is.
    fn text(&self) -> Option<(&'a str, Spot)> {
        let formats = [
            &["log_format", "text_format_source", "inline_string"][..],
            &["log_format", "text_format"],
            &["format"],
        ];
        let format = formats.iter().find_map(|fields| self.config.at(fields))?;
        Some((format.text()?, self.spot.member("log_format", format)))
    }
}
