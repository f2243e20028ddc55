//! A client can't forge an event: a text log format prints its bytes as they come.

use super::super::files::Spot;
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

pub(super) fn prove(way: &Way<'_, '_>, report: &mut Report) {
    let of_manager = (&way.manager.spot, way.manager.yaml);
    let listener =
        way.manager.listener.map(|yaml| (Spot::new(way.manager.spot.file, yaml, ""), yaml));
    let of_listener = listener.iter().map(|(spot, yaml)| (spot, *yaml));
    for (spot, yaml) in [of_manager].into_iter().chain(of_listener) {
        for (i, logger) in yaml.list("access_log").iter().enumerate() {
            prove_logger(logger, &spot.element("access_log", i, logger), report);
        }
    }
}

fn prove_logger(logger: &Yaml, spot: &Spot, report: &mut Report) {
    let Some((_, config)) = logger.get("typed_config").and_then(Yaml::typed) else { return };
    let formats = [
        &["log_format", "text_format_source", "inline_string"][..],
        &["log_format", "text_format"],
        &["format"],
    ];
    for format in formats.iter().filter_map(|fields| config.at(fields)) {
        let Some(text) = format.text().filter(|text| text.contains(EVENT)) else { continue };
        // every second part, between two percent signs, is an operator
        let operators = text.split('%').skip(1).step_by(2);
        let mut foreign =
            operators.filter(|operator| FOREIGN.iter().any(|known| operator.starts_with(known)));
        if let Some(operator) = foreign.next() {
            let message = format!(
                "this text format prints `%{operator}%` beside an event as it comes, so a client \
                 can write an event of its own"
            );
            let help = "use `json_format`, with the event as a member: see docs/operating.md";
            report.wrong(Promise::Log, &spot.member("log_format", format), message, help);
        }
    }
}
