//! Envoy's files around the filter: where the configuration stands in them, and what there would undo
//! the node's promises.
//!
//! The list of what is refused stands in `docs/configuration.md`. A file is searched as it is written;
//! what Envoy fetches over xDS, or what stands in other files, isn't seen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::found::{Found, SHARED_STATE, check_configuration};
use crate::config::{Config, CredentialPlace, ForwardingHeader};
use crate::outcome::ROUTE_HEADER;
use crate::screen::Screen;
use crate::shape::{Json, Path, Problem, Problems};

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const SET_FILTER_STATE: &str = "envoy.extensions.filters.http.set_filter_state.v3.Config";
const HEADER_MUTATION: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const EARLY_HEADER_MUTATION: &str =
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
const GEOIP: &str = "envoy.extensions.filters.http.geoip.v3.Geoip";
const CREDENTIAL_INJECTOR: &str =
    "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector";
const XFF_DETECTION: &str = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";

/// The format that names the machine at the other end of the connection.
const DIRECT_PEER: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";

/// Retries that can't make a signed request look like a replay: the upstream never saw the first.
const SAFE_RETRIES: &[&str] = &["connect-failure", "refused-stream"];

/// What a signature covers or is made of. Envoy's own lists can't name pseudo-headers, `header_mutation` can.
const SIGNED_HEADERS: &[&str] = &[
    ":method",
    ":authority",
    ":path",
    "host",
    "compliance-tag",
    "compliance-chain",
    "compliance-trail",
    "signature",
    "signature-input",
];

/// The configurations of all Waybill filters in a document, as text; or why one can't be told, as [`check`] says it.
pub(super) fn configurations(document: &Json) -> Vec<Result<String, Problem>> {
    let mut found = Vec::new();
    walk(&as_envoy_reads(document), &Path::Root, &mut |json, at| {
        if let Some(wasm) = waybill(json) {
            found.push(configuration_text(wasm).map(str::to_owned).ok_or_else(|| no_text(at)));
        }
    });
    found
}

fn no_text(wasm_at: &Path<'_>) -> Problem {
    Problem {
        path: configuration_at(wasm_at),
        message: "the filter's configuration isn't a google.protobuf.StringValue".into(),
        help: Some(r#"give it as `"@type": type.googleapis.com/google.protobuf.StringValue` with the JSON in `value`"#.into()),
    }
}

fn configuration_at(wasm_at: &Path<'_>) -> String {
    Path::Member(&Path::Member(wasm_at, "config"), "configuration").to_string()
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
    let mut is_said = false;
    found
        .notices
        .retain(|notice| notice.message != SHARED_STATE || !std::mem::replace(&mut is_said, true));
    if filters == 0 {
        let help = "a filter is Waybill's if its name or its code's file name has `waybill` in it, or its configuration has `node` and `identity`";
        found.errors.push(Problem {
            path: "$".into(),
            message: "no Waybill filter is in this file".into(),
            help: Some(help.into()),
        });
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
        Some(policy) => policy.as_str().is_some_and(|name| {
            ["FAIL_RELOAD", "FAIL_CLOSED"].iter().any(|safe| name.eq_ignore_ascii_case(safe))
        }),
    };
    if !closed || config.get("fail_open").is_some_and(|value| *value != Json::Bool(false)) {
        found.errors.push(Problem {
            path: Path::Member(&config_at, "failure_policy").to_string(),
            message: "after one failure this may let every request pass unscreened".into(),
            help: Some("`failure_policy: FAIL_RELOAD` starts the filter again".into()),
        });
    }
    let text_at = configuration_at(at);
    let Some(text) = configuration_text(wasm) else {
        found.errors.push(no_text(at));
        return;
    };
    let inner = check_configuration(text);
    let placed = |problem: Problem| Problem {
        path: format!("{text_at}.value: {}", problem.path),
        ..problem
    };
    found.errors.extend(inner.errors.into_iter().map(placed));
    found.notices.extend(inner.notices.into_iter().map(placed));
}

/// What stands around the filter in one HTTP connection manager.
fn check_manager(
    manager: &Json,
    at: &Path<'_>,
    document: &Json,
    problems: &mut Problems,
    notices: &mut Vec<Problem>,
) {
    let filters = items(manager.get("http_filters"));
    let Some(position) =
        filters.iter().position(|filter| filter.get("typed_config").and_then(waybill).is_some())
    else {
        return;
    };
    let (before, _) = filters.split_at_checked(position).unwrap_or_default();
    let screen = filters
        .get(position)
        .and_then(|filter| filter.get("typed_config"))
        .and_then(configuration_text)
        .map(Screen::parse);
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
            check_injector(
                filter,
                &Path::Member(&Path::Member(&Path::Root, "clusters"), name),
                false,
                problems,
            );
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
        check_signed_routes(config, manager, at, problems);
        for (i, filter) in filters.iter().enumerate().skip(position) {
            check_late_mutation(filter, &Path::Element(&filters_at, i), problems);
        }
        check_signed_clusters(manager, document, problems);
        check_key_variables(config, filters.get(position), &here, problems, notices);
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
        let setter = before
            .iter()
            .position(|filter| is_typed(filter, GEOIP) && mentions(filter, header.as_str()));
        let until = setter.unwrap_or(before.len());
        let removed = removes_early(manager, header.as_str())
            || before.iter().take(until).any(|filter| {
                is_typed(filter, HEADER_MUTATION)
                    && filter.get("disabled") != Some(&Json::Bool(true))
                    && removes(filter, header.as_str())
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
        let follows = items(manager.get("original_ip_detection_extensions"))
            .iter()
            .any(|extension| is_typed(extension, XFF_DETECTION));
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
    if filter.get("typed_config").and_then(|config| config.get("overwrite"))
        != Some(&Json::Bool(true))
    {
        problems.note(
            at,
            "without `overwrite: true` a caller's own header stays in place of the reseller's credential",
            Some("set `overwrite: true`".into()),
        );
    }
}

/// A client certificate names somebody only if Envoy verified it.
fn check_client_certificates(
    document: &Json,
    manager: &Json,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let mut verified = true;
    let mut terminates = false;
    walk(document, &Path::Root, &mut |json, _| {
        let holds_manager = || {
            items(json.get("filters"))
                .iter()
                .any(|filter| filter.get("typed_config") == Some(manager))
        };
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
fn check_signed_routes(config: &Config, manager: &Json, at: &Path<'_>, problems: &mut Problems) {
    for name in ["route_config", "scoped_routes"] {
        let Some(table) = manager.get(name) else { continue };
        walk(table, &Path::Member(at, name), &mut |json, place| {
            if json.get("match").is_some()
                && let Some(action) = json.get("route")
            {
                check_signed_route(config, json, action, &Path::Member(place, "route"), problems);
            }
            check_sent_twice(json, place, problems);
            check_touched(json, place, problems);
        });
    }
}

/// One route that forwards: the path and the authority that the signature covers stay as they are.
fn check_signed_route(
    config: &Config,
    route: &Json,
    action: &Json,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    for rewrite in ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"] {
        if action.get(rewrite).is_some() {
            let help =
                "the signature covers the path as the client sent it: leave it, or don't sign";
            problems.note(
                &Path::Member(at, rewrite),
                "a path that is rewritten after signing breaks the signature",
                Some(help.into()),
            );
        }
    }
    for redirect in ["internal_redirect_policy", "internal_redirect_action"] {
        if action.get(redirect).is_some() {
            let help = "hand redirects to the client: leave it out";
            problems.note(
                &Path::Member(at, redirect),
                "a redirect inside Envoy brings the signed request back to the node, without its credential and with a tag",
                Some(help.into()),
            );
        }
    }
    for rewrite in
        ["host_rewrite_header", "host_rewrite_path_regex", "host_rewrite", "auto_host_rewrite"]
    {
        if action.get(rewrite).is_some_and(|value| *value != Json::Bool(false)) {
            problems.note(
                &Path::Member(at, rewrite),
                "a name for the next hop that is chosen after signing breaks the signature",
                Some("`host_rewrite_literal`, equal to `node.upstream_authority`".into()),
            );
            return;
        }
    }
    let rerouted = rerouted_by(route);
    let (signed, setting) =
        match rerouted.map(|name| (name, config.routes.iter().find(|(known, _)| known == name))) {
            None => (config.upstream.authority.as_ref(), "node.upstream_authority".to_owned()),
            Some((name, Some((_, upstream)))) => {
                (upstream.authority.as_ref(), format!("routes.{name}.authority"))
            }
            Some((_, None)) => return, // the node sends nothing there
        };
    let literal = text(action.get("host_rewrite_literal"));
    let weighted =
        items(action.get("weighted_clusters").and_then(|weighted| weighted.get("clusters")));
    let mut sent: Vec<Option<&str>> = weighted
        .iter()
        .map(|cluster| text(cluster.get("host_rewrite_literal")).or(literal))
        .collect();
    if sent.is_empty() {
        sent.push(literal);
    }
    for sent in sent {
        let message = match (signed, sent) {
            (None, None) => continue,
            (Some(signed), Some(sent)) if sent.eq_ignore_ascii_case(signed.as_str()) => continue,
            (Some(signed), Some(sent)) => {
                format!("tags are signed for `{signed}`, and the request goes on to `{sent}`")
            }
            (Some(signed), None) => {
                format!(
                    "tags are signed for `{signed}`, and the request goes on to whatever name the client asked for"
                )
            }
            (None, Some(sent)) => format!(
                "tags are signed for whatever name the client asked for, and the request goes on to `{sent}`"
            ),
        };
        let help = format!(
            "one name in both, `host_rewrite_literal` here and `{setting}`; for another provider, another listener and node"
        );
        problems.note(&Path::Member(at, "host_rewrite_literal"), message, Some(help));
    }
}

/// The entry of `routes` that a route is for: what it wants in `x-waybill-route`.
fn rerouted_by(route: &Json) -> Option<&str> {
    let matchers = items(route.get("match").and_then(|matched| matched.get("headers")));
    let ours = matchers.iter().filter(|matcher| {
        text(matcher.get("name")).is_some_and(|name| name.eq_ignore_ascii_case(ROUTE_HEADER))
    });
    let mut wanted = ours.filter(|matcher| matcher.get("invert_match") != Some(&Json::Bool(true)));
    let matcher = wanted.next()?;
    text(matcher.get("string_match").and_then(|matched| matched.get("exact")))
        .or_else(|| text(matcher.get("exact_match")))
}

/// Whatever sends one signature more than once.
fn check_sent_twice(json: &Json, at: &Path<'_>, problems: &mut Problems) {
    if let Some(policy) = json.get("retry_policy")
        && let Some(conditions) = text(policy.get("retry_on"))
    {
        let conditions =
            conditions.split(',').map(str::trim).filter(|condition| !condition.is_empty());
        for condition in conditions.filter(|condition| !SAFE_RETRIES.contains(condition)) {
            problems.note(
                &Path::Member(&Path::Member(at, "retry_policy"), "retry_on"),
                format!(
                    "a retry on `{condition}` sends one signature twice, which looks like a replay"
                ),
                Some(format!("only `{}`", SAFE_RETRIES.join(","))),
            );
        }
    }
    if json.get("retry_policy_typed_config").is_some() {
        problems.note(
            &Path::Member(at, "retry_policy_typed_config"),
            "this may send one signature twice, which looks like a replay",
            Some(format!("a `retry_policy` on `{}`", SAFE_RETRIES.join(","))),
        );
    }
    let hedges =
        |policy: &Json| policy.members().iter().any(|(_, value)| *value != Json::Bool(false));
    if json.get("hedge_policy").is_some_and(hedges) {
        problems.note(
            &Path::Member(at, "hedge_policy"),
            "hedging sends one signature twice, which looks like a replay",
            Some("leave it out".into()),
        );
    }
    for mirror in ["request_mirror_policies", "request_mirror_policy"] {
        if json
            .get(mirror)
            .is_some_and(|policies| !policies.items().is_empty() || !policies.members().is_empty())
        {
            problems.note(
                &Path::Member(at, mirror),
                "a mirrored request carries the same signature, which looks like a replay wherever both arrive",
                Some("leave it out".into()),
            );
        }
    }
}

/// A route table's own changes to headers come after the node.
fn check_touched(json: &Json, at: &Path<'_>, problems: &mut Problems) {
    let removed = items(json.get("request_headers_to_remove"))
        .iter()
        .filter_map(Json::as_str)
        .map(|name| ("request_headers_to_remove", name));
    let added = items(json.get("request_headers_to_add")).iter();
    let added = added.filter_map(|entry| {
        Some(("request_headers_to_add", text(entry.get("header")?.get("key"))?))
    });
    for (list, name) in removed.chain(added) {
        note_touched(name, &Path::Member(at, list), problems);
    }
}

/// A header mutation after the node.
fn check_late_mutation(filter: &Json, at: &Path<'_>, problems: &mut Problems) {
    if is_typed(filter, HEADER_MUTATION)
        && let Some(mutations) = filter
            .get("typed_config")
            .and_then(|config| config.get("mutations")?.get("request_mutations"))
    {
        walk(mutations, at, &mut |json, _| {
            for name in ["remove", "key"].iter().filter_map(|member| text(json.get(member))) {
                note_touched(name, at, problems);
            }
        });
    }
}

fn note_touched(name: &str, at: &Path<'_>, problems: &mut Problems) {
    if SIGNED_HEADERS.iter().any(|signed| name.eq_ignore_ascii_case(signed)) {
        problems.note(
            at,
            format!("`{name}` is changed after signing"),
            Some("leave it as the node set it".into()),
        );
    }
}

/// The clusters that signed requests go to.
fn check_signed_clusters(manager: &Json, document: &Json, problems: &mut Problems) {
    let routed = |name: &str| {
        ["route_config", "scoped_routes"]
            .iter()
            .any(|table| manager.get(table).is_some_and(|table| mentions(table, name)))
    };
    for cluster in clusters(document) {
        let Some(name) = text(cluster.get("name")).filter(|name| routed(name)) else { continue };
        let clusters_at = Path::Member(&Path::Root, "clusters");
        let at = Path::Member(&clusters_at, name);
        if let Some(options) = http_options(cluster) {
            check_sent_twice(options, &at, problems);
        }
        for filter in upstream_filters(cluster) {
            check_late_mutation(filter, &at, problems);
        }
    }
}

/// The filter sees no variable of Envoy's own unless the file hands it on.
fn check_key_variables(
    config: &Config,
    filter: Option<&Json>,
    at: &Path<'_>,
    problems: &mut Problems,
    notices: &mut Vec<Problem>,
) {
    let vm = filter.and_then(|filter| filter.get("typed_config")?.get("config")?.get("vm_config"));
    let variables = vm.and_then(|vm| vm.get("environment_variables"));
    let from_host = items(variables.and_then(|variables| variables.get("host_env_keys")));
    let written = variables.and_then(|variables| variables.get("key_values"));
    for env in config.tag.keys.iter().map(|key| key.env.as_str()) {
        if written.is_some_and(|written| written.get(env).is_some()) {
            notices.push(Problem {
                path: at.to_string(),
                message: format!("the private key `{env}` stands in this file"),
                help: Some("`vm_config.environment_variables.host_env_keys` takes it from Envoy's own environment".into()),
            });
        } else if !from_host.iter().any(|name| name.as_str() == Some(env)) {
            problems.note(
                at,
                format!("the filter can't see the variable `{env}`, which `tag.keys` names"),
                Some(format!("`vm_config: {{environment_variables: {{host_env_keys: [{env}]}}}}`")),
            );
        }
    }
}

// === reading Envoy's documents ===

/// The document with the names of fields as protobuf spells them: Envoy takes `failurePolicy` for
/// `failure_policy`. Names that are data (types, extensions' names) have dots or capitals and stay.
fn as_envoy_reads(json: &Json) -> Json {
    let snake = |name: &str| {
        let is_field = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_field {
            return name.to_owned();
        }
        let parts = name.chars().map(|c| {
            if c.is_ascii_uppercase() {
                format!("_{}", c.to_ascii_lowercase())
            } else {
                c.to_string()
            }
        });
        parts.collect()
    };
    match json {
        Json::List(items) => Json::List(items.iter().map(as_envoy_reads).collect()),
        Json::Object(members) => Json::Object(
            members.iter().map(|(name, value)| (snake(name), as_envoy_reads(value))).collect(),
        ),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => json.clone(),
    }
}

/// Of two members with one name Envoy takes the last, and a reader the first.
fn note_repeated_names(json: &Json, at: &Path<'_>, errors: &mut Vec<Problem>) {
    for (i, (name, _)) in json.members().iter().enumerate() {
        if json.members().iter().take(i).any(|(earlier, _)| earlier == name) {
            let path = Path::Member(at, name).to_string();
            errors.push(Problem {
                path,
                message: "this name stands twice".into(),
                help: Some("keep one of the two".into()),
            });
        }
    }
}

/// Calls `see` for a value and all below it.
fn walk(json: &Json, at: &Path<'_>, see: &mut dyn FnMut(&Json, &Path<'_>)) {
    see(json, at);
    match json {
        Json::List(items) => {
            items.iter().enumerate().for_each(|(i, item)| walk(item, &Path::Element(at, i), see))
        }
        Json::Object(members) => {
            members.iter().for_each(|(name, value)| walk(value, &Path::Member(at, name), see))
        }
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
        walk(json, &Path::Root, &mut |json, _| {
            found |= matches!(json, Json::Text(text) if text.contains("waybill"))
        });
        found
    };
    let config = json.get("config")?;
    let by_name = text(config.get("name")).is_some_and(|name| name.contains("waybill"))
        || config.get("vm_config").is_some_and(named);
    let by_content = || {
        let value =
            config.get("configuration").and_then(|configuration| configuration.get("value"));
        value.is_some_and(|value| match value.as_str() {
            Some(text) => [Some(text.as_bytes().to_vec()), STANDARD.decode(text).ok()]
                .into_iter()
                .flatten()
                .any(|bytes| {
                    serde_json::from_slice::<Json>(&bytes).is_ok_and(|inner| is_ours(&inner))
                }),
            None => is_ours(value),
        })
    };
    (by_name || by_content()).then_some(json)
}

/// Whether it looks like this filter's configuration, whatever it is wrapped in.
fn is_ours(configuration: &Json) -> bool {
    configuration.get("node").is_some() && configuration.get("identity").is_some()
}

fn configuration_text(wasm: &Json) -> Option<&str> {
    let configuration = wasm.get("config")?.get("configuration")?;
    text(configuration.get("value"))
        .filter(|_| is_type(configuration, "google.protobuf.StringValue"))
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
    walk(json, &Path::Root, &mut |json, _| {
        found |= matches!(json, Json::Text(text) if text.eq_ignore_ascii_case(word))
    });
    found
}

fn mentions_key(json: &Json, key: &str) -> bool {
    let mut found = false;
    walk(json, &Path::Root, &mut |json, _| found |= json.get(key).is_some());
    found
}

/// Whether a filter sets `direct` to what no header can change.
fn sets_direct_peer(filter: &Json) -> bool {
    let entries = filter
        .get("typed_config")
        .map(|config| items(config.get("on_request_headers")))
        .unwrap_or_default();
    let from_connection = |entry: &Json| {
        let format = entry
            .get("format_string")
            .and_then(|format| format.get("text_format_source")?.get("inline_string"));
        text(format).is_some_and(|format| format.starts_with(DIRECT_PEER))
    };
    let sets =
        |entry: &Json| text(entry.get("object_key")) == Some("direct") && from_connection(entry);
    is_typed(filter, SET_FILTER_STATE)
        && filter.get("disabled") != Some(&Json::Bool(true))
        && entries.iter().any(sets)
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
    extensions
        .iter()
        .any(|extension| is_typed(extension, EARLY_HEADER_MUTATION) && removes(extension, header))
}

fn clusters(document: &Json) -> &[Json] {
    items(document.get("static_resources").and_then(|resources| resources.get("clusters")))
}

fn upstream_filters(cluster: &Json) -> &[Json] {
    items(http_options(cluster).and_then(|http| http.get("http_filters")))
}

fn http_options(cluster: &Json) -> Option<&Json> {
    cluster
        .get("typed_extension_protocol_options")?
        .get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
}
