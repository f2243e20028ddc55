//! Envoy's files around the filter: where the configuration stands in them, and what there would undo
//! the node's promises.
//!
//! The list of what is refused stands in `docs/configuration.md`. A file is searched as it is written;
//! what Envoy fetches over xDS, or what stands in other files, isn't seen.

use super::found::{Found, check_configuration};
use crate::config::{Config, CredentialPlace, ForwardingHeader};
use crate::outcome::ROUTE_HEADER;
use crate::screen::Screen;
use crate::shape::{Json, Path, Problem, Problems};

const HTTP_CONNECTION_MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const SET_FILTER_STATE: &str = "envoy.extensions.filters.http.set_filter_state.v3.Config";
const HEADER_MUTATION: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const EARLY_HEADER_MUTATION: &str = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
const GEOIP: &str = "envoy.extensions.filters.http.geoip.v3.Geoip";
const CREDENTIAL_INJECTOR: &str = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector";
const XFF_DETECTION: &str = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";

/// The format that names the machine at the other end of the connection.
const DIRECT_PEER: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";

/// Retries that can't make a signed request look like a replay: the upstream never saw the first.
const SAFE_RETRIES: &[&str] = &["connect-failure", "refused-stream"];

/// The configurations of all Waybill filters in a document, as text.
pub(super) fn configurations(document: &Json) -> Vec<String> {
    let mut found = Vec::new();
    walk(&as_envoy_reads(document), &Path::Root, &mut |json, _| {
        found.extend(waybill(json).and_then(configuration_text).map(str::to_owned))
    });
    found
}

/// Checks an Envoy file: each filter's own configuration, then what stands around it.
pub(super) fn check(written: &Json) -> Found {
    let mut found = Found::default();
    let mut filters: usize = 0;
    let document = &as_envoy_reads(written);
    walk(document, &Path::Root, &mut |json, at| note_repeated_names(json, at, &mut found.errors));
    walk(document, &Path::Root, &mut |json, at| {
        if let Some(wasm) = waybill(json) {
            filters = filters.saturating_add(1);
            check_filter(wasm, at, &mut found);
        }
    });
    if filters == 0 {
        let help =
            "a filter is Waybill's if its name or its code's file name has `waybill` in it, or its configuration has `node` and `identity`";
        found.errors.push(Problem { path: "$".into(), message: "no Waybill filter is in this file".into(), help: Some(help.into()) });
    }
    let mut problems = Problems::default();
    walk(document, &Path::Root, &mut |json, at| {
        if is_type(json, HTTP_CONNECTION_MANAGER) {
            check_manager(json, at, document, &mut problems, &mut found.notices);
        }
    });
    found.errors.extend(problems.iter().cloned());
    found
}

/// The filter's configuration and what Envoy does when it fails.
fn check_filter(wasm: &Json, at: &Path<'_>, found: &mut Found) {
    let config_at = Path::Member(at, "config");
    let Some(config) = wasm.get("config") else { return };
    let closed = match config.get("failure_policy") {
        None => true,
        Some(policy) => {
            policy.as_str().is_some_and(|name| ["FAIL_RELOAD", "FAIL_CLOSED"].iter().any(|safe| name.eq_ignore_ascii_case(safe)))
        }
    };
    if !closed || config.get("fail_open").is_some_and(|value| *value != Json::Bool(false)) {
        found.errors.push(Problem {
            path: Path::Member(&config_at, "failure_policy").to_string(),
            message: "after one failure this may let every request pass unscreened".into(),
            help: Some("`failure_policy: FAIL_RELOAD` starts the filter again".into()),
        });
    }
    let text_at = Path::Member(&config_at, "configuration").to_string();
    let Some(text) = configuration_text(wasm) else {
        found.errors.push(Problem {
            path: text_at,
            message: "the filter's configuration isn't a google.protobuf.StringValue".into(),
            help: Some(r#"give it as `"@type": type.googleapis.com/google.protobuf.StringValue` with the JSON in `value`"#.into()),
        });
        return;
    };
    let inner = check_configuration(text);
    let placed = |problem: Problem| Problem { path: format!("{text_at}.value: {}", problem.path), ..problem };
    found.errors.extend(inner.errors.into_iter().map(placed));
    found.notices.extend(inner.notices.into_iter().map(placed));
}

/// What stands around the filter in one HTTP connection manager.
fn check_manager(manager: &Json, at: &Path<'_>, document: &Json, problems: &mut Problems, notices: &mut Vec<Problem>) {
    let filters = items(manager.get("http_filters"));
    let Some(position) = filters.iter().position(|filter| filter.get("typed_config").and_then(waybill).is_some()) else { return };
    let (before, _) = filters.split_at_checked(position).unwrap_or_default();
    let screen = filters.get(position).and_then(|filter| filter.get("typed_config")).and_then(configuration_text).map(Screen::parse);
    let filters_at = Path::Member(at, "http_filters");
    let here = Path::Element(&filters_at, position);

    if !before.iter().any(sets_direct_peer) {
        problems.note(
            &here,
            "no filter before this one sets the filter state `direct`, so the node can't tell who is connected",
            Some("put `set_filter_state` before it, with object_key `direct` and `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%`".into()),
        );
    }
    for (i, filter) in before.iter().enumerate() {
        check_injector(filter, &Path::Element(&filters_at, i), true, problems);
    }
    for cluster in clusters(document) {
        let name = text(cluster.get("name")).unwrap_or("?");
        for filter in upstream_filters(cluster) {
            check_injector(filter, &Path::Member(&Path::Member(&Path::Root, "clusters"), name), false, problems);
        }
    }
    // a configuration with mistakes has been reported already
    let Some(Ok(screen)) = screen else { return };
    let config = screen.config();
    check_geography(config, before, &filters_at, manager, at, problems, notices);
    if !config.routes.is_empty() && !removes_early(manager, ROUTE_HEADER) {
        problems.note(
            &Path::Member(at, "early_header_mutation_extensions"),
            format!("a client's own `{ROUTE_HEADER}` isn't removed before the route is chosen"),
            Some(format!("remove `{ROUTE_HEADER}` there by the early header mutation extension")),
        );
    }
    if config.sources.iter().any(|source| matches!(source.place, CredentialPlace::Mtls(_))) {
        check_client_certificates(document, manager, at, problems);
    }
    if !config.tag.keys.is_empty() {
        walk(manager, at, &mut |json, place| check_signed_route(json, place, problems));
    }
}

/// A header of `geo.origin` must be Envoy's own: removed before the filter that sets it.
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
        let setter = before.iter().position(|filter| is_typed(filter, GEOIP) && mentions(filter, header.as_str()));
        let until = setter.unwrap_or(before.len());
        let removed = removes_early(manager, header.as_str())
            || before.iter().take(until).any(|filter| {
                is_typed(filter, HEADER_MUTATION) && filter.get("disabled") != Some(&Json::Bool(true)) && removes(filter, header.as_str())
            });
        let place = setter.map_or(*at, |i| Path::Element(at, i));
        if !removed {
            problems.note(
                &place,
                format!("a client's own `{header}` isn't removed before it counts as the country of its address"),
                Some(format!("put `header_mutation` that removes `{header}` before the filter that sets it: Envoy's geoip filter leaves a header in place when its lookup misses")),
            );
        }
        if setter.is_some() && config.client_address.header == ForwardingHeader::Forwarded {
            problems.note(
                &place,
                "Envoy's geoip filter can't follow `Forwarded`: it would look up an address that the client chose",
                Some("let the proxies write X-Forwarded-For, or set the country by something that reads `Forwarded`".into()),
            );
        }
        let follows = items(manager.get("original_ip_detection_extensions")).iter().any(|extension| is_typed(extension, XFF_DETECTION));
        if setter.is_some() && !config.client_address.trusted_proxies.is_empty() && !follows {
            notices.push(Problem {
                path: manager_at.to_string(),
                message: "Envoy's geoip filter looks up another address than the node's behind trusted proxies, and such requests are `geo.unknown`".into(),
                help: Some("`original_ip_detection_extensions` with `xff_trusted_cidrs` equal to `client_address.trusted_proxies`".into()),
            });
        }
    }
}

/// The reseller's own credential goes in after the node, over whatever is there.
fn check_injector(filter: &Json, at: &Path<'_>, before_node: bool, problems: &mut Problems) {
    if !is_typed(filter, CREDENTIAL_INJECTOR) {
        return;
    }
    if before_node {
        problems.note(
            at,
            "the credential is injected before the node, which would take it for the caller's",
            Some("make it an upstream filter of each cluster (typed_extension_protocol_options, http_filters)".into()),
        );
    }
    if filter.get("typed_config").and_then(|config| config.get("overwrite")) != Some(&Json::Bool(true)) {
        problems.note(
            at,
            "without `overwrite: true` a caller's own header stays in place of the reseller's credential",
            Some("set `overwrite: true`".into()),
        );
    }
}

/// A client certificate names somebody only if Envoy verified it.
fn check_client_certificates(document: &Json, manager: &Json, at: &Path<'_>, problems: &mut Problems) {
    let mut verified = true;
    let mut terminates = false;
    walk(document, &Path::Root, &mut |json, _| {
        let holds_manager = || items(json.get("filters")).iter().any(|filter| filter.get("typed_config") == Some(manager));
        if let Some(socket) = json.get("transport_socket").filter(|_| holds_manager()) {
            terminates = true;
            verified = verified && mentions_key(socket, "trusted_ca");
        }
    });
    if !terminates || !verified {
        problems.note(
            at,
            "`mtls` identifies callers by certificates that nobody verified",
            Some("give the listener's TLS context a `validation_context` with `trusted_ca`".into()),
        );
    }
}

/// What Envoy's router may not do to a request after it was signed.
fn check_signed_route(json: &Json, at: &Path<'_>, problems: &mut Problems) {
    for rewrite in ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"] {
        if json.get(rewrite).is_some() {
            let help = "the signature covers the path as the client sent it: leave it, or don't sign";
            problems.note(&Path::Member(at, rewrite), "a path that is rewritten after signing breaks the signature", Some(help.into()));
        }
    }
    if let Some(conditions) = text(json.get("retry_on")) {
        for condition in conditions.split(',').map(str::trim).filter(|condition| !SAFE_RETRIES.contains(condition)) {
            problems.note(
                &Path::Member(at, "retry_on"),
                format!("a retry on `{condition}` sends one signature twice, which looks like a replay"),
                Some(format!("only `{}`", SAFE_RETRIES.join(","))),
            );
        }
    }
}

// === reading Envoy's documents ===

/// The document with the names of fields as protobuf spells them: Envoy takes `failurePolicy` for
/// `failure_policy`. Names that are data (types, extensions' names) have dots or capitals and stay.
fn as_envoy_reads(json: &Json) -> Json {
    let snake = |name: &str| {
        let is_field = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_field {
            return name.to_owned();
        }
        let parts = name.chars().map(|c| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() });
        parts.collect()
    };
    match json {
        Json::List(items) => Json::List(items.iter().map(as_envoy_reads).collect()),
        Json::Object(members) => Json::Object(members.iter().map(|(name, value)| (snake(name), as_envoy_reads(value))).collect()),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => json.clone(),
    }
}

/// Of two members with one name Envoy takes the last, and a reader the first.
fn note_repeated_names(json: &Json, at: &Path<'_>, errors: &mut Vec<Problem>) {
    for (i, (name, _)) in json.members().iter().enumerate() {
        if json.members().iter().take(i).any(|(earlier, _)| earlier == name) {
            let path = Path::Member(at, name).to_string();
            errors.push(Problem { path, message: "this name stands twice".into(), help: Some("keep one of the two".into()) });
        }
    }
}

/// Calls `see` for a value and all below it.
fn walk(json: &Json, at: &Path<'_>, see: &mut dyn FnMut(&Json, &Path<'_>)) {
    see(json, at);
    match json {
        Json::List(items) => items.iter().enumerate().for_each(|(i, item)| walk(item, &Path::Element(at, i), see)),
        Json::Object(members) => members.iter().for_each(|(name, value)| walk(value, &Path::Member(at, name), see)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

/// The Wasm filter's settings, if they are Waybill's.
fn waybill(json: &Json) -> Option<&Json> {
    if !is_type(json, WASM) {
        return None;
    }
    let named = |json: &Json| {
        let mut found = false;
        walk(json, &Path::Root, &mut |json, _| found |= matches!(json, Json::Text(text) if text.contains("waybill")));
        found
    };
    let config = json.get("config")?;
    let by_name = text(config.get("name")).is_some_and(|name| name.contains("waybill")) || config.get("vm_config").is_some_and(named);
    let by_content = || {
        let inner = configuration_text(json).and_then(|text| serde_json::from_str::<Json>(text).ok());
        inner.is_some_and(|inner| inner.get("node").is_some() && inner.get("identity").is_some())
    };
    (by_name || by_content()).then_some(json)
}

fn configuration_text(wasm: &Json) -> Option<&str> {
    let configuration = wasm.get("config")?.get("configuration")?;
    text(configuration.get("value")).filter(|_| is_type(configuration, "google.protobuf.StringValue"))
}

fn text(json: Option<&Json>) -> Option<&str> {
    json.and_then(Json::as_str)
}

fn items(json: Option<&Json>) -> &[Json] {
    json.map(Json::items).unwrap_or_default()
}

fn is_type(json: &Json, name: &str) -> bool {
    text(json.get("@type")).and_then(|url| url.rsplit('/').next()) == Some(name)
}

fn is_typed(extension: &Json, name: &str) -> bool {
    extension.get("typed_config").is_some_and(|config| is_type(config, name))
}

fn mentions(json: &Json, word: &str) -> bool {
    let mut found = false;
    walk(json, &Path::Root, &mut |json, _| found |= matches!(json, Json::Text(text) if text.eq_ignore_ascii_case(word)));
    found
}

fn mentions_key(json: &Json, key: &str) -> bool {
    let mut found = false;
    walk(json, &Path::Root, &mut |json, _| found |= json.get(key).is_some());
    found
}

/// Whether a filter sets `direct` to what no header can change.
fn sets_direct_peer(filter: &Json) -> bool {
    let entries = filter.get("typed_config").map(|config| items(config.get("on_request_headers"))).unwrap_or_default();
    let from_connection = |entry: &Json| {
        let format = entry.get("format_string").and_then(|format| format.get("text_format_source")?.get("inline_string"));
        text(format).is_some_and(|format| format.starts_with(DIRECT_PEER))
    };
    let sets = |entry: &Json| text(entry.get("object_key")) == Some("direct") && from_connection(entry);
    is_typed(filter, SET_FILTER_STATE) && filter.get("disabled") != Some(&Json::Bool(true)) && entries.iter().any(sets)
}

/// Whether a header mutation's settings remove that header.
fn removes(extension: &Json, header: &str) -> bool {
    let mut found = false;
    walk(extension, &Path::Root, &mut |json, _| {
        found |= text(json.get("remove")).is_some_and(|name| name.eq_ignore_ascii_case(header));
    });
    found
}

fn removes_early(manager: &Json, header: &str) -> bool {
    let extensions = items(manager.get("early_header_mutation_extensions"));
    extensions.iter().any(|extension| is_typed(extension, EARLY_HEADER_MUTATION) && removes(extension, header))
}

fn clusters(document: &Json) -> &[Json] {
    items(document.get("static_resources").and_then(|resources| resources.get("clusters")))
}

fn upstream_filters(cluster: &Json) -> &[Json] {
    let options = cluster.get("typed_extension_protocol_options");
    let http = options.and_then(|options| options.get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions"));
    items(http.and_then(|http| http.get("http_filters")))
}
