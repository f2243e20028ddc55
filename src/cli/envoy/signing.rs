//! Settings by which Envoy would change a signed request, or send it twice.

use super::super::configuration::problem;
use super::document::{
    HEADER_MUTATION, clusters, http_options, is_typed, items, mentions, text, upstream_filters,
    walk,
};
use crate::config::Config;
use crate::decision::outcome::ROUTE_HEADER;
use crate::shape::{Json, Path, Problem, Problems};

/// Retries that can't look like a replay: the upstream never received the first request.
const SAFE_RETRIES: &[&str] = &["connect-failure", "refused-stream"];

/// The headers of a signature, and those that it covers. `header_mutation` can name pseudo-headers.
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

/// Checks the routes that forward signed requests.
pub(super) fn check_signed_routes(
    config: &Config,
    manager: &Json,
    at: &Path<'_>,
    problems: &mut Problems,
) {
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

/// Checks one such route: it must keep the path and the authority that the signature covers.
fn check_signed_route(
    config: &Config,
    route: &Json,
    action: &Json,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let mut forbid = |names: &[&str], message: &str, help: &str| {
        for name in names.iter().filter(|name| action.get(name).is_some()) {
            problems.wrong(&Path::Member(at, name), message, help);
        }
    };
    forbid(
        &["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"],
        "the path is rewritten after signing, which breaks the signature",
        "remove it: the signature covers the path as the client sent it",
    );
    forbid(
        &["internal_redirect_policy", "internal_redirect_action"],
        "a redirect inside Envoy sends the signed request to the node again, with a tag and \
         without its credential",
        "remove it, so that the client gets the redirect",
    );
    for rewrite in
        ["host_rewrite_header", "host_rewrite_path_regex", "host_rewrite", "auto_host_rewrite"]
    {
        if action.get(rewrite).is_some_and(|value| *value != Json::Bool(false)) {
            problems.wrong(
                &Path::Member(at, rewrite),
                "the host is chosen after signing, which breaks the signature",
                "use `host_rewrite_literal`, equal to `node.upstream_authority`",
            );
            return;
        }
    }
    let (signed, setting) = match rerouted_by(route) {
        None => (config.upstream.authority.as_ref(), "node.upstream_authority".to_owned()),
        Some(name) => match config.routes.iter().find(|(known, _)| known == name) {
            Some((_, upstream)) => {
                (upstream.authority.as_ref(), format!("routes.{name}.authority"))
            }
            None => return, // the node sends nothing there
        },
    };
    let literal = text(action.get("host_rewrite_literal"));
    let weighted =
        items(action.get("weighted_clusters").and_then(|weighted| weighted.get("clusters")));
    let literals = weighted.iter().map(|cluster| text(cluster.get("host_rewrite_literal")));
    let alone = weighted.is_empty().then_some(literal);
    for sent in literals.map(|own| own.or(literal)).chain(alone) {
        let message = match (signed, sent) {
            (None, None) => continue,
            (Some(signed), Some(sent)) if sent.eq_ignore_ascii_case(signed.as_str()) => continue,
            (Some(signed), Some(sent)) => {
                format!("tags are signed for `{signed}`, but the request is sent to `{sent}`")
            }
            (Some(signed), None) => format!(
                "tags are signed for `{signed}`, but the request is sent to the name that the \
                 client chose"
            ),
            (None, Some(sent)) => format!(
                "tags are signed for the name that the client chose, but the request is sent to \
                 `{sent}`"
            ),
        };
        let help = format!(
            "set `host_rewrite_literal` here and `{setting}` to one name; another provider needs \
             its own listener and node"
        );
        problems.wrong(&Path::Member(at, "host_rewrite_literal"), &message, &help);
    }
}

/// The entry of `routes` that a route belongs to, by its match on `x-waybill-route`.
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

/// Notes settings that send one signature more than once.
fn check_sent_twice(json: &Json, at: &Path<'_>, problems: &mut Problems) {
    if let Some(policy) = json.get("retry_policy")
        && let Some(conditions) = text(policy.get("retry_on"))
    {
        let conditions =
            conditions.split(',').map(str::trim).filter(|condition| !condition.is_empty());
        for condition in conditions.filter(|condition| !SAFE_RETRIES.contains(condition)) {
            let message = format!(
                "a retry on `{condition}` sends one signature twice, which looks like a replay"
            );
            let help = format!("retry on `{}` only", SAFE_RETRIES.join(","));
            let policy_at = Path::Member(at, "retry_policy");
            problems.wrong(&Path::Member(&policy_at, "retry_on"), &message, &help);
        }
    }
    if json.get("retry_policy_typed_config").is_some() {
        problems.wrong(
            &Path::Member(at, "retry_policy_typed_config"),
            "this may send one signature twice, which looks like a replay",
            &format!("use a `retry_policy` on `{}`", SAFE_RETRIES.join(",")),
        );
    }
    let hedges =
        |policy: &Json| policy.members().iter().any(|(_, value)| *value != Json::Bool(false));
    if json.get("hedge_policy").is_some_and(hedges) {
        problems.wrong(
            &Path::Member(at, "hedge_policy"),
            "hedging sends one signature twice, which looks like a replay",
            "remove it",
        );
    }
    for mirror in ["request_mirror_policies", "request_mirror_policy"] {
        let is_set = |it: &Json| !it.items().is_empty() || !it.members().is_empty();
        if json.get(mirror).is_some_and(is_set) {
            problems.wrong(
                &Path::Member(at, mirror),
                "a mirrored request has the same signature, which looks like a replay",
                "remove it",
            );
        }
    }
}

/// Notes a route table's changes to signed headers: they happen after the node.
fn check_touched(json: &Json, at: &Path<'_>, problems: &mut Problems) {
    let removed = items(json.get("request_headers_to_remove")).iter().filter_map(Json::as_str);
    let removed = removed.map(|name| ("request_headers_to_remove", name));
    let added = items(json.get("request_headers_to_add")).iter();
    let added = added.filter_map(|entry| {
        Some(("request_headers_to_add", text(entry.get("header")?.get("key"))?))
    });
    for (list, name) in removed.chain(added) {
        note_touched(name, &Path::Member(at, list), problems);
    }
}

/// Notes changes to signed headers by a header mutation after the node.
pub(super) fn check_late_mutation(filter: &Json, at: &Path<'_>, problems: &mut Problems) {
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
        problems.wrong(at, &format!("`{name}` is changed after signing"), "remove the change");
    }
}

/// Checks the clusters that signed requests are sent to.
pub(super) fn check_signed_clusters(manager: &Json, document: &Json, problems: &mut Problems) {
    let routed = |name: &str| {
        let mut tables = ["route_config", "scoped_routes"].iter().filter_map(|it| manager.get(it));
        tables.any(|table| mentions(table, name))
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

/// Checks that the filter gets the variables of its keys: Envoy passes only those that are listed.
pub(super) fn check_key_variables(
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
            notices.push(problem(
                at,
                &format!("the private key `{env}` is in this file"),
                "read it from Envoy's environment by \
                 `vm_config.environment_variables.host_env_keys`",
            ));
        } else if !from_host.iter().any(|name| name.as_str() == Some(env)) {
            problems.wrong(
                at,
                &format!("the filter can't see the variable `{env}`, which `tag.keys` names"),
                &format!("add `vm_config: {{environment_variables: {{host_env_keys: [{env}]}}}}`"),
            );
        }
    }
}
