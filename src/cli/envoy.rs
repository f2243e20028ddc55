//! Envoy's files around the filter: the configurations in them, and settings that would undo the
//! node's promises.
//!
//! `docs/configuration.md` lists the settings that are refused. Only the file itself is searched,
//! not other files and not what Envoy fetches over xDS.

mod document;
mod signing;

use self::document::{
    HEADER_MUTATION, as_envoy_reads, clusters, configuration_text, is_type, is_typed, items,
    mentions, mentions_key, removes, removes_early, text, upstream_filters, walk, waybill,
};
use self::signing::{
    check_key_variables, check_late_mutation, check_signed_clusters, check_signed_routes,
};
use super::configuration::{Diagnostics, SHARED_STATE, check_configuration, problem};
use crate::config::{Config, CredentialPlace, ForwardingHeader};
use crate::decision::Screen;
use crate::decision::outcome::ROUTE_HEADER;
use crate::shape::{Json, Path, Problem, Problems};

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const SET_FILTER_STATE: &str = "envoy.extensions.filters.http.set_filter_state.v3.Config";
const GEOIP: &str = "envoy.extensions.filters.http.geoip.v3.Geoip";
const CREDENTIAL_INJECTOR: &str =
    "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector";
const XFF_DETECTION: &str = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";

/// The format for the address of the direct peer.
const DIRECT_PEER: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";

/// The configurations of all Waybill filters in a document, as text, or the problem of one.
pub(super) fn configurations(document: &Json) -> Vec<Result<String, Problem>> {
    let mut found = Vec::new();
    walk(&as_envoy_reads(document), &Path::Root, &mut |json, at| {
        if let Some(wasm) = waybill(json) {
            found.push(configuration_text(wasm).map(str::to_owned).ok_or_else(|| no_text(at)));
        }
    });
    found
}

/// A document as Envoy reads it.
pub(super) fn as_read(document: &Json) -> Json {
    as_envoy_reads(document)
}

/// Whether these are the settings of a Waybill filter.
pub(super) fn is_node(settings: &Json) -> bool {
    waybill(settings).is_some()
}

fn no_text(wasm_at: &Path<'_>) -> Problem {
    problem(
        configuration_at(wasm_at),
        "expected a google.protobuf.StringValue as the filter's configuration",
        "set `@type` to `type.googleapis.com/google.protobuf.StringValue`, and `value` to the \
         JSON as text",
    )
}

fn configuration_at(wasm_at: &Path<'_>) -> String {
    Path::Member(&Path::Member(wasm_at, "config"), "configuration").to_string()
}

/// Checks an Envoy file: each filter's own configuration, then the settings around it.
pub(super) fn check(written: &Json) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let mut filters: usize = 0;
    let document = &as_envoy_reads(written);
    let errors = &mut diagnostics.errors;
    walk(document, &Path::Root, &mut |json, at| note_repeated_names(json, at, errors));
    walk(document, &Path::Root, &mut |json, at| {
        if let Some(wasm) = waybill(json) {
            filters = filters.saturating_add(1);
            check_filter(wasm, at, &mut diagnostics);
        }
    });
    let mut is_noted = false;
    diagnostics
        .notices
        .retain(|notice| notice.message != SHARED_STATE || !std::mem::replace(&mut is_noted, true));
    if filters == 0 {
        let help = "a filter is Waybill's if its name or its code's file name contains `waybill`, \
                    or if its configuration has `node` and `identity`";
        diagnostics.errors.push(problem("$", "no Waybill filter in this file", help));
    }
    let mut problems = Problems::default();
    walk(document, &Path::Root, &mut |json, at| {
        if is_type(json, HTTP_CONNECTION_MANAGER) {
            check_manager(json, at, document, &mut problems, &mut diagnostics.notices);
        }
    });
    diagnostics.errors.extend(problems.iter().cloned());
    diagnostics
}

/// The filter's configuration, and Envoy's policy for its failure.
fn check_filter(wasm: &Json, at: &Path<'_>, diagnostics: &mut Diagnostics) {
    let config_at = Path::Member(at, "config");
    let Some(config) = wasm.get("config") else { return };
    let closed = config.get("failure_policy").is_none_or(|policy| {
        let name = policy.as_str().unwrap_or_default();
        ["FAIL_RELOAD", "FAIL_CLOSED"].iter().any(|safe| name.eq_ignore_ascii_case(safe))
    });
    if !closed || config.get("fail_open").is_some_and(|value| *value != Json::Bool(false)) {
        diagnostics.errors.push(problem(
            Path::Member(&config_at, "failure_policy"),
            "after one failure, this may let every request pass unscreened",
            "set `failure_policy: FAIL_RELOAD`, which restarts the filter",
        ));
    }
    let text_at = configuration_at(at);
    let Some(text) = configuration_text(wasm) else {
        diagnostics.errors.push(no_text(at));
        return;
    };
    let inner = check_configuration(text);
    let placed = |problem: Problem| {
        let path = format!("{text_at}.value: {}", problem.path);
        Problem { path, ..problem }
    };
    diagnostics.errors.extend(inner.errors.into_iter().map(placed));
    diagnostics.notices.extend(inner.notices.into_iter().map(placed));
}

/// The settings around the filter in one HTTP connection manager.
fn check_manager(
    manager: &Json,
    at: &Path<'_>,
    document: &Json,
    problems: &mut Problems,
    notices: &mut Vec<Problem>,
) {
    let filters = items(manager.get("http_filters"));
    let ours = |filter: &Json| filter.get("typed_config").and_then(waybill).is_some();
    let Some(position) = filters.iter().position(ours) else { return };
    let (before, _) = filters.split_at_checked(position).unwrap_or_default();
    let settings = filters.get(position).and_then(|filter| filter.get("typed_config"));
    let screen = settings.and_then(configuration_text).map(Screen::parse);
    let filters_at = Path::Member(at, "http_filters");
    let here = Path::Element(&filters_at, position);

    if !before.iter().any(sets_direct_peer) {
        let message = "no filter before this one sets the filter state `direct`, so the node can't \
                       see the direct peer";
        let help = format!(
            "put `set_filter_state` before it, with object_key `direct` and `{DIRECT_PEER}`"
        );
        problems.wrong(&here, message, &help);
    }
    for (i, filter) in before.iter().enumerate() {
        check_injector(filter, &Path::Element(&filters_at, i), true, problems);
    }
    let clusters_at = Path::Member(&Path::Root, "clusters");
    for cluster in clusters(document) {
        let at = Path::Member(&clusters_at, text(cluster.get("name")).unwrap_or("?"));
        for filter in upstream_filters(cluster) {
            check_injector(filter, &at, false, problems);
        }
    }
    // a configuration with mistakes is reported already
    let Some(Ok(screen)) = screen else { return };
    let config = screen.config();
    check_geography(config, before, &filters_at, manager, at, problems, notices);
    if !config.routes.is_empty() && !removes_early(manager, ROUTE_HEADER) {
        problems.wrong(
            &Path::Member(at, "early_header_mutation_extensions"),
            &format!("a client's own `{ROUTE_HEADER}` isn't removed before the route is chosen"),
            &format!("remove `{ROUTE_HEADER}` there, by the early header mutation extension"),
        );
    }
    if config.sources.iter().any(|source| matches!(source.place, CredentialPlace::Mtls(_))) {
        check_client_certificates(document, manager, at, problems);
    }
    if !config.tag.keys.is_empty() {
        check_signed_routes(config, manager, at, problems);
        for (i, filter) in filters.iter().enumerate().skip(position) {
            check_late_mutation(filter, &Path::Element(&filters_at, i), problems);
        }
        check_signed_clusters(manager, document, problems);
        check_key_variables(config, filters.get(position), &here, problems, notices);
    }
}

/// A header of `geo.origin` must be Envoy's own: a client's is removed before a filter sets it.
fn check_geography(
    config: &Config,
    before: &[Json],
    at: &Path<'_>,
    manager: &Json,
    manager_at: &Path<'_>,
    problems: &mut Problems,
    notices: &mut Vec<Problem>,
) {
    for header in config.geo.origin.iter().filter_map(|source| source.header.as_ref()) {
        let name = header.as_str();
        let sets = |filter: &Json| is_typed(filter, GEOIP) && mentions(filter, name);
        let setter = before.iter().position(sets);
        let removed = removes_early(manager, name)
            || before.iter().take(setter.unwrap_or(before.len())).any(|filter| {
                is_typed(filter, HEADER_MUTATION) && !is_disabled(filter) && removes(filter, name)
            });
        let place = setter.map_or(*at, |i| Path::Element(at, i));
        if !removed {
            let message = format!(
                "a client's own `{header}` isn't removed before it counts as the country of its \
                 address"
            );
            let help = format!(
                "remove `{header}` by a `header_mutation` before the filter that sets it: Envoy's \
                 geoip filter keeps the header when its lookup finds nothing"
            );
            problems.wrong(&place, &message, &help);
        }
        if setter.is_some() && config.client_address.header == ForwardingHeader::Forwarded {
            problems.wrong(
                &place,
                "Envoy's geoip filter can't follow `Forwarded`: it looks up an address that the \
                 client chose",
                "let the proxies write X-Forwarded-For, or set the country by a filter that reads \
                 `Forwarded`",
            );
        }
        let follows = items(manager.get("original_ip_detection_extensions"))
            .iter()
            .any(|extension| is_typed(extension, XFF_DETECTION));
        if setter.is_some() && !config.client_address.trusted_proxies.is_empty() && !follows {
            notices.push(problem(
                manager_at,
                "behind trusted proxies, Envoy's geoip filter looks up another address than the \
                 node, and such requests are `geo.unknown`",
                "set `original_ip_detection_extensions` with `xff_trusted_cidrs` equal to \
                 `client_address.trusted_proxies`",
            ));
        }
    }
}

/// The reseller's own credential is set after the node, and overwrites a caller's.
fn check_injector(filter: &Json, at: &Path<'_>, before_node: bool, problems: &mut Problems) {
    if !is_typed(filter, CREDENTIAL_INJECTOR) {
        return;
    }
    if before_node {
        problems.wrong(
            at,
            "the credential is injected before the node, which then reads it as the caller's",
            "make it an upstream filter of each cluster (typed_extension_protocol_options, \
             http_filters)",
        );
    }
    let overwrite = filter.get("typed_config").and_then(|config| config.get("overwrite"));
    if overwrite != Some(&Json::Bool(true)) {
        problems.wrong(
            at,
            "without `overwrite: true`, a caller's own header replaces the reseller's credential",
            "set `overwrite: true`",
        );
    }
}

/// A client certificate identifies a caller only if Envoy verified it.
fn check_client_certificates(
    document: &Json,
    manager: &Json,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let mut verified = true;
    let mut terminates = false;
    walk(document, &Path::Root, &mut |json, _| {
        let is_manager = |filter: &Json| filter.get("typed_config") == Some(manager);
        let holds_manager = || items(json.get("filters")).iter().any(is_manager);
        if let Some(socket) = json.get("transport_socket").filter(|_| holds_manager()) {
            terminates = true;
            verified = verified && mentions_key(socket, "trusted_ca");
        }
    });
    if !terminates || !verified {
        problems.wrong(
            at,
            "`mtls` identifies callers by certificates that aren't verified",
            "add a `validation_context` with `trusted_ca` to the listener's TLS context",
        );
    }
}

/// Notes duplicate members: Envoy takes the last, a person reads the first.
fn note_repeated_names(json: &Json, at: &Path<'_>, errors: &mut Vec<Problem>) {
    for (i, (name, _)) in json.members().iter().enumerate() {
        if json.members().iter().take(i).any(|(earlier, _)| earlier == name) {
            errors.push(problem(Path::Member(at, name), "duplicate name", "keep one of the two"));
        }
    }
}

/// Whether a filter sets `direct` to an address that no header can change.
fn sets_direct_peer(filter: &Json) -> bool {
    let entries = filter.get("typed_config").and_then(|config| config.get("on_request_headers"));
    let inline = |entry: &'_ Json| -> Option<bool> {
        let source = entry.get("format_string")?.get("text_format_source")?;
        Some(source.get("inline_string")?.as_str()?.starts_with(DIRECT_PEER))
    };
    let sets = |entry: &Json| {
        text(entry.get("object_key")) == Some("direct") && inline(entry) == Some(true)
    };
    is_typed(filter, SET_FILTER_STATE) && !is_disabled(filter) && items(entries).iter().any(sets)
}

fn is_disabled(filter: &Json) -> bool {
    filter.get("disabled") == Some(&Json::Bool(true))
}
