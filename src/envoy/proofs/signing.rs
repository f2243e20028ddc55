//! A signed request arrives as it was signed, and once.

use super::super::files::Spot;
use super::super::kinds::DYNAMIC_MODULE;
use super::super::model::{Destination, http_options};
use super::super::report::{Promise, Report};
use super::super::way::{NodeInList, Way};
use super::super::yaml::Yaml;
use crate::config::{Config, KeySource};
use crate::decision::outcome::ROUTE_HEADER;

/// Retries that can't look like a replay: the upstream never received the first request.
const SAFE_RETRIES: &[&str] = &["connect-failure", "refused-stream"];

const TWICE: &str = "one signature twice, which looks like a replay";

pub(super) fn prove(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    let config = node.config();
    if config.tag.keys.is_empty() {
        return;
    }
    for destination in &way.destinations {
        for (spot, level) in &destination.levels {
            sent_twice(level, spot, report);
        }
        if let Some((spot, route)) = destination.levels.get(2)
            && let Some(action) = route.get("route")
        {
            let spot = spot.member("route", action);
            sent_twice(action, &spot, report);
            keeps_path(action, &spot, report);
            if !destination.is_mirror {
                keeps_host(config, route, (action, &spot), destination, report);
            }
        }
        let Ok(name) = destination.cluster else { continue };
        for cluster in way.gateway.clusters(name, destination.spot.file) {
            if let Some(options) = http_options(cluster.yaml) {
                let spot = Spot::new(cluster.file, options, format!("clusters.{name}"));
                sent_twice(options, &spot, report);
            }
        }
    }
    for (spot, table) in &way.tables {
        sent_twice(table, spot, report);
    }
    keys(config, node, report);
}

/// A route keeps the path that the signature covers.
fn keeps_path(action: &Yaml, spot: &Spot, report: &mut Report) {
    for (names, message, help) in [
        (
            &["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"][..],
            "the path is rewritten after signing, which breaks the signature",
            "remove it: the signature covers the path as the client sent it",
        ),
        (
            &["internal_redirect_policy", "internal_redirect_action"],
            "a redirect inside Envoy sends the signed request to the node again, with a tag and \
             without its credential",
            "remove it, so that the client gets the redirect",
        ),
    ] {
        for (name, value) in names.iter().filter_map(|name| Some((name, action.get(name)?))) {
            report.wrong(Promise::Signature, &spot.member(name, value), message, help);
        }
    }
}

/// A route sends the request to the name that the signature covers.
fn keeps_host(
    config: &Config,
    route: &Yaml,
    (action, spot): (&Yaml, &Spot),
    destination: &Destination<'_>,
    report: &mut Report,
) {
    let own = destination.levels.get(3).map(|(_, cluster)| *cluster);
    for rewrite in
        ["host_rewrite_header", "host_rewrite_path_regex", "host_rewrite", "auto_host_rewrite"]
    {
        let chooses = |yaml: &Yaml| yaml.may_be_true(rewrite);
        if chooses(action) || own.is_some_and(chooses) {
            let message = "the host is chosen after signing, which breaks the signature";
            let help = "use `host_rewrite_literal`, equal to `node.upstream_authority`";
            report.wrong(Promise::Signature, &spot.field(action, rewrite), message, help);
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
    let literal = own
        .and_then(|own| own.str("host_rewrite_literal"))
        .or_else(|| action.str("host_rewrite_literal"));
    let message = match (signed, literal) {
        (None, None) => return,
        (Some(signed), Some(sent)) if sent.eq_ignore_ascii_case(signed.as_str()) => return,
        (Some(signed), Some(sent)) => {
            format!("tags are signed for `{signed}`, but the request is sent to `{sent}`")
        }
        (Some(signed), None) => format!(
            "tags are signed for `{signed}`, but the request is sent to the name that the client \
             chose"
        ),
        (None, Some(sent)) => format!(
            "tags are signed for the name that the client chose, but the request is sent to \
             `{sent}`"
        ),
    };
    let help = format!(
        "set `host_rewrite_literal` here and `{setting}` to one name; another provider needs its \
         own listener and node"
    );
    report.wrong(Promise::Signature, &spot.field(action, "host_rewrite_literal"), message, help);
}

/// The entry of `routes` that a route belongs to, by its match on `x-waybill-route`.
fn rerouted_by(route: &Yaml) -> Option<&str> {
    let matchers = route.get("match").map(|it| it.list("headers")).unwrap_or_default();
    let mut wanted = matchers.iter().filter(|matcher| {
        matcher.str("name").is_some_and(|name| name.eq_ignore_ascii_case(ROUTE_HEADER))
            && !matcher.may_be_true("invert_match")
    });
    let matcher = wanted.next()?;
    let exact = matcher.at(&["string_match", "exact"]).and_then(Yaml::text);
    exact.or_else(|| matcher.str("exact_match"))
}

/// Nothing at this level sends one signature more than once.
fn sent_twice(yaml: &Yaml, spot: &Spot, report: &mut Report) {
    let mut wrong = |spot: Spot, message: String, help: String| {
        report.wrong(Promise::Signature, &spot, message, help);
    };
    if let Some(policy) = yaml.get("retry_policy")
        && let Some(on) = policy.get("retry_on")
    {
        let conditions = on.text().unwrap_or_default().split(',').map(str::trim);
        for condition in conditions.filter(|it| !it.is_empty() && !SAFE_RETRIES.contains(it)) {
            wrong(
                spot.member("retry_policy.retry_on", on),
                format!("a retry on `{condition}` sends {TWICE}"),
                format!("retry on `{}` only", SAFE_RETRIES.join(",")),
            );
        }
    }
    if let Some(policy) = yaml.get("retry_policy_typed_config") {
        wrong(
            spot.member("retry_policy_typed_config", policy),
            format!("this may send {TWICE}"),
            format!("use a `retry_policy` on `{}`", SAFE_RETRIES.join(",")),
        );
    }
    if let Some(policy) = yaml.get("hedge_policy")
        && policy.members().iter().any(|(key, _)| policy.may_be_true(&key.name))
    {
        wrong(
            spot.member("hedge_policy", policy),
            format!("hedging sends {TWICE}"),
            "remove it".into(),
        );
    }
    for name in ["request_mirror_policies", "request_mirror_policy"] {
        if let Some(mirror) = yaml.get(name)
            && !(mirror.items().is_empty() && mirror.members().is_empty())
        {
            let message =
                "a mirrored request has the same signature, which looks like a replay".to_owned();
            wrong(spot.member(name, mirror), message, "remove it".into());
        }
    }
}

/// The filter gets its keys. Envoy passes only those variables that are listed, and shows secrets
/// to dynamic modules alone.
fn keys(config: &Config, node: &NodeInList<'_, '_>, report: &mut Report) {
    let Some(filter) = node.filter() else { return };
    let keys = config.tag.keys.iter();
    if filter.is(DYNAMIC_MODULE) {
        // its variables are those of Envoy's own environment
        for key in keys {
            if let KeySource::Secret { sds_config, .. } = key
                && sds_config.as_str().is_empty()
            {
                report.note(
                    Promise::Signature,
                    &filter.spot,
                    format!("the {key} is read once: a leaked key needs a restart"),
                    "say in `sds_config` where Envoy gets it from, and Envoy replaces it",
                );
            }
        }
        return;
    }
    let variables = filter
        .config
        .and_then(|(_, wasm)| wasm.at(&["config", "vm_config", "environment_variables"]));
    for key in keys {
        let KeySource::Env(name) = key else {
            report.wrong(
                Promise::Signature,
                &filter.spot,
                format!("a wasm filter can't read the {key}, which `tag.keys` names"),
                "use `env`, or take the dynamic module: docs/hosts.md",
            );
            continue;
        };
        let env = name.as_str();
        let written = variables.and_then(|it| it.get("key_values"));
        let from_host = variables.map(|it| it.list("host_env_keys")).unwrap_or_default();
        let is_written = written
            .is_some_and(|written| written.members().iter().any(|(key, _)| &*key.name == env));
        if is_written {
            report.note(
                Promise::Signature,
                &filter.spot,
                format!("the private key `{env}` is in this file"),
                "read it from Envoy's environment by \
                 `vm_config.environment_variables.host_env_keys`",
            );
        } else if !from_host.iter().any(|name| name.text() == Some(env)) {
            report.wrong(
                Promise::Signature,
                &filter.spot,
                format!("the filter can't see the variable `{env}`, which `tag.keys` names"),
                format!("add `vm_config: {{environment_variables: {{host_env_keys: [{env}]}}}}`"),
            );
        }
    }
}
