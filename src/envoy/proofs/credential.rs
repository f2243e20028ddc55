//! The reseller's credential is put in upstream, no request goes round the node to it, and the
//! account's own API is closed before it.

use super::super::credentials::{UPSTREAM_HELP, holders};
use super::super::files::Spot;
use super::super::kinds::{CREDENTIAL_INJECTOR, is_code};
use super::super::model::{Destination, Filter, Gateway};
use super::super::overrides::{Bypass, bypass};
use super::super::report::{Promise, Report};
use super::super::way::{NodeInList, Way};
use super::super::yaml::Yaml;
use crate::config::{Config, Convention};

pub(super) fn prove(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    for filter in node.before().iter().filter(|filter| filter.is_injector()) {
        let message =
            "the credential is injected before the node, which then reads it as the caller's";
        report.wrong(Promise::Credential, &filter.spot, message, UPSTREAM_HELP);
    }
    for filter in node.after().iter().filter(|filter| filter.is_injector()) {
        let message = "the credential is injected into every request of this connection manager, \
                       not upstream of a cluster";
        report.wrong(Promise::Credential, &filter.spot, message, UPSTREAM_HELP);
    }
    let config = node.config();
    let needs_one = config.upstream.provider.is_some() && !config.forwards();
    for (destination, held) in way.destinations.iter().zip(&way.held) {
        if destination.is_mirror {
            if held.is_some() {
                let message = "requests are copied to another cluster that holds a credential";
                let help = "remove the mirror: the provider there gets requests unasked";
                report.wrong(Promise::Credential, &destination.spot, message, help);
            }
            continue;
        }
        let Ok(name) = destination.cluster else { continue };
        for cluster in way.gateway.clusters(name, destination.spot.file) {
            let upstream = way.gateway.upstream_filters(cluster, Some(way.manager));
            if needs_one && !upstream.iter().any(Filter::is_injector) {
                let spot = Spot::new(cluster.file, cluster.yaml, format!("clusters.{name}"));
                let message = format!("no credential is put in for cluster `{name}`");
                let help = "add a `credential_injector` upstream, with `overwrite: true`; where \
                            callers bring the provider's credential, say `\"forward\": true` in \
                            `identity.sources`";
                report.wrong(Promise::Credential, &spot, message, help);
            }
            for filter in &upstream {
                prove_injector(filter, Some(destination), report);
            }
        }
        if held.is_some() {
            prove_account_api(config, node, destination, report);
        }
    }
}

/// An injector overwrites what a caller sent, and no request goes by it.
fn prove_injector(filter: &Filter<'_>, destination: Option<&Destination<'_>>, report: &mut Report) {
    let Some((kind, config)) = filter.config.filter(|_| filter.is_injector()) else {
        return;
    };
    if kind == CREDENTIAL_INJECTOR && !config.is_true("overwrite") {
        let message =
            "without `overwrite: true`, a caller's own header replaces the reseller's credential";
        report.wrong(Promise::Credential, &filter.spot, message, "set `overwrite: true`");
    }
    if let Some(Bypass { spot, .. }) = bypass(filter, destination) {
        let message = "requests can pass this injector by, and keep what the caller sent";
        let help = "remove what disables, overrides, matches or makes the filter optional here";
        report.wrong(Promise::Credential, &spot, message, help);
    }
}

/// Whether the node closes the account's own API before a credential.
fn prove_account_api(
    config: &Config,
    node: &NodeInList<'_, '_>,
    destination: &Destination<'_>,
    report: &mut Report,
) {
    let Some(filter) = node.filter() else { return };
    let denied = &config.upstream.deny_paths;
    let is_known = config.upstream.convention != Convention::Other
        || config.upstream.provider_name() == "gemini";
    if denied.is_empty() && !is_known {
        let cluster = destination.cluster.unwrap_or("?");
        let message = format!(
            "cluster `{cluster}` holds a credential, and the node doesn't know which paths are the \
             account's own API"
        );
        let help = "set `provider.name`; for a provider that Waybill doesn't know, set \
                    `provider.deny_paths` too";
        report.wrong(Promise::AccountApi, &filter.spot, message, help);
    }
    let Some((spot, route)) = destination.levels.get(2) else { return };
    let Some(action) = route.get("route") else { return };
    let action_spot = spot.member("route", action);
    for name in ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"] {
        let Some(rewrite) = action.get(name) else { continue };
        // `/v2` in place of a prefix leads to no path that starts with `/v1/organizations`
        let leads_to = |denied: &str| {
            name != "prefix_rewrite"
                || rewrite.text().is_none_or(|to| to.starts_with(denied) || denied.starts_with(to))
        };
        if let Some(denied) = denied.iter().find(|denied| leads_to(denied.as_str())) {
            let message = format!(
                "the path is rewritten after the node, and may then lead to `{}`, which customers \
                 can't call",
                denied.as_str()
            );
            let help = "remove the rewrite, so that the node sees the path that the provider sees";
            report.wrong(Promise::AccountApi, &action_spot.member(name, rewrite), message, help);
        }
    }
}

/// What leads to a credential without any connection manager's routes: TCP proxies, filters that
/// send requests themselves, and injectors of clusters that no route names.
pub(super) fn prove_connections(gateway: &Gateway<'_>, report: &mut Report) {
    for cluster in &gateway.resources.clusters {
        for filter in gateway.upstream_filters(*cluster, None) {
            prove_injector(&filter, None, report);
        }
    }
    let holders = holders(gateway);
    for filter in &gateway.network_filters {
        let Some((_, config)) = filter.config else {
            let message = "the configuration of this network filter isn't among the files";
            let help = "give the file with it too, or write it here";
            report.wrong(Promise::Whole, &filter.spot, message, help);
            continue;
        };
        if let Some(name) = called(config, &holders) {
            let message = if filter.is_tcp_proxy() {
                format!("a TCP proxy leads to cluster `{name}`, which holds a credential")
            } else {
                format!("this network filter names cluster `{name}`, which holds a credential")
            };
            let help = "lead it through an HTTP connection manager with the node";
            report.wrong(Promise::Node, &filter.spot, message, help);
        }
    }
    for manager in &gateway.managers {
        let filters = manager.chains.iter().flat_map(|list| &list.filters);
        for filter in filters.filter(|filter| !filter.is_node()) {
            let Some((kind, config)) = filter.config else { continue };
            let message = if let Some(name) = called(config, &holders) {
                format!(
                    "this filter can send requests to cluster `{name}`, which holds a credential, \
                     and the node doesn't see them"
                )
            } else if !manager.has_node() && is_unseen_code(kind, config) && !holders.is_empty() {
                "this filter runs code that can send requests to any cluster, and a cluster here \
                 holds a credential"
                    .to_owned()
            } else {
                continue;
            };
            let help = "lead its requests through a listener with the node";
            report.wrong(Promise::Node, &filter.spot, message, help);
        }
    }
}

/// Whether a filter runs code that isn't in its settings, and could call a cluster.
fn is_unseen_code(kind: &str, config: &Yaml) -> bool {
    let mut is_elsewhere = !kind.contains(".lua.");
    config.walk(&mut |value| is_elsewhere |= value.get("filename").is_some());
    is_code(kind) && !kind.contains(".ext_proc.") && is_elsewhere
}

/// The cluster with a credential that a filter's settings name, as a cluster or in a script.
fn called<'h>(config: &Yaml, holders: &[&'h str]) -> Option<&'h str> {
    let mut found = None;
    let names = |text: &str| holders.iter().copied().find(|name| *name == text);
    let in_script = |text: &str| {
        holders.iter().copied().find(|name| {
            text.contains(&format!("\"{name}\"")) || text.contains(&format!("'{name}'"))
        })
    };
    config.walk(&mut |value| {
        for (key, member) in value.members() {
            let Some(text) = member.text() else { continue };
            let is_cluster = ["cluster", "cluster_name", "clusterName"].contains(&&*key.name);
            found = found.or_else(|| if is_cluster { names(text) } else { in_script(text) });
        }
        if let Some((_, name)) = value.members().iter().find(|(key, _)| &*key.name == "name")
            && value.get("weight").is_some()
        {
            found = found.or_else(|| names(name.text()?));
        }
    });
    found
}
