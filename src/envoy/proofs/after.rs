//! What is after the node: nothing changes what it wrote, a client can't choose its route, and the
//! provider doesn't learn a customer's address.

use super::super::files::Spot;
use super::super::kinds::{
    EARLY_HEADER_MUTATION, HEADER_MUTATION, ROUTER, Writes, request_mutations,
};
use super::super::model::{Destination, EARLY_MUTATIONS, Filter, Manager, added_headers};
use super::super::overrides::writes_on_way;
use super::super::report::{Promise, Report};
use super::super::way::{NodeInList, Way};
use super::super::yaml::Yaml;
use crate::config::Convention;
use crate::decision::outcome::ROUTE_HEADER;

/// Headers that the node writes on every way, and what it judges the account's own API by.
const OWN: &[&str] = &[
    ":path",
    ":method",
    "compliance-tag",
    "compliance-chain",
    "compliance-trail",
    "signature",
    "signature-input",
    "anthropic-user-profile-id",
    "openai-safety-identifier",
];

/// What a signature covers beside them. `header_mutation` can name pseudo-headers.
const SIGNED: &[&str] = &[":authority", "host"];

/// Operators that print a customer's address.
const PRINTED: &[&str] = &[
    "%DOWNSTREAM_REMOTE_ADDRESS",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "%REQ(X-FORWARDED-FOR",
    "%REQ(FORWARDED",
    "%FILTER_STATE(DIRECT",
];

/// Headers with a customer's address that Envoy, or any usual proxy, writes.
const ADDRESSES: &[&str] =
    &["x-forwarded-for", "forwarded", "x-envoy-external-address", "x-real-ip"];

/// Headers with a customer's address, or the name that it called, that some balancers and CDNs
/// write.
const VENDOR_ADDRESSES: &[&str] = &[
    "x-forwarded-host",
    "x-original-forwarded-for",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "fastly-client-ip",
    "fly-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-appengine-user-ip",
    "x-vercel-forwarded-for",
    "cloudfront-viewer-address",
];

pub(super) fn prove(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    outputs(way, node, report);
    if !node.config().routes.is_empty() && !removes_early(way.manager, ROUTE_HEADER) {
        let spot = way.manager.spot.field(way.manager.yaml, EARLY_MUTATIONS);
        let message =
            format!("a client's own `{ROUTE_HEADER}` isn't removed before the route is chosen");
        let help = format!("remove `{ROUTE_HEADER}` there, by the early header mutation extension");
        report.wrong(Promise::Routes, &spot, message, help);
    }
    for destination in way.holders() {
        privacy(node, destination, report);
    }
}

/// Filters and routes after the node leave alone what it wrote.
fn outputs(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    let config = node.config();
    let mut owned = OWN.to_vec();
    if !config.tag.keys.is_empty() {
        owned.extend(SIGNED);
    }
    if matches!(config.upstream.convention, Convention::Anthropic(Some(_))) {
        owned.push("anthropic-beta");
    }
    if !config.routes.is_empty() {
        owned.push(ROUTE_HEADER);
    }
    let relevant = way.relevant();
    let mut all: Vec<(Spot, Writes<'_>, String)> = Vec::new();
    for filter in node.after().iter().filter(|it| !it.is_injector() && !it.is_node()) {
        let name = format!("the filter `{}`", filter.name);
        let on_way = writes_on_way(filter, &relevant).into_iter();
        all.extend(on_way.map(|(spot, writes)| (spot, writes, name.clone())));
    }
    for destination in &relevant {
        let Ok(cluster) = destination.cluster else { continue };
        for resource in way.gateway.clusters(cluster, destination.spot.file) {
            for filter in way.gateway.upstream_filters(resource, Some(way.manager)) {
                // injectors of all kinds are proved apart
                if !filter.is_injector() {
                    let name = format!("the upstream filter `{}`", filter.name);
                    let on_way = writes_on_way(&filter, &relevant).into_iter();
                    all.extend(on_way.map(|(spot, writes)| (spot, writes, name.clone())));
                }
            }
        }
    }
    for (spot, level) in way.destinations.iter().flat_map(|it| &it.levels) {
        for (spot, header, is_removal) in route_changes(spot, level) {
            // a route table takes off what is for itself, or for another provider
            let is_fine = [ROUTE_HEADER, "anthropic-user-profile-id", "openai-safety-identifier"];
            if !(is_removal && is_fine.iter().any(|it| header.eq_ignore_ascii_case(it))) {
                all.push((spot, Writes::Headers(vec![header]), String::new()));
            }
        }
    }
    for (spot, writes, name) in all {
        match writes {
            Writes::Anything => {
                let message = format!(
                    "{name} comes after the node and may change what it wrote: nobody can tell \
                     from its settings"
                );
                let help = "put it before the node, above the filters that set the direct peer \
                            and the country, or remove it";
                report.wrong(Promise::Outputs, &spot, message, help);
            }
            Writes::Headers(names) => {
                for header in names {
                    if owned.iter().any(|own| own.eq_ignore_ascii_case(header)) {
                        let message =
                            format!("`{header}` is changed after the node wrote or signed it");
                        report.wrong(Promise::Outputs, &spot, message, "remove the change");
                    }
                }
            }
        }
    }
}

/// The request headers that a level of the route table adds or removes, and which it does.
fn route_changes<'a>(spot: &Spot, level: &'a Yaml) -> Vec<(Spot, &'a str, bool)> {
    let removed = level.list("request_headers_to_remove").iter().enumerate();
    let removed = removed.filter_map(|(i, name)| {
        Some((spot.element("request_headers_to_remove", i, name), name.text()?, true))
    });
    let added = added_headers(spot, level).into_iter().map(|(spot, key)| (spot, key, false));
    removed.chain(added).collect()
}

fn removes_early(manager: &Manager<'_>, header: &str) -> bool {
    manager.early_mutations().any(|(_, extension)| match extension.extension() {
        Some((EARLY_HEADER_MUTATION, config)) => removes(config.list("mutations"), header),
        _ => false,
    })
}

fn removes(mutations: &[Yaml], header: &str) -> bool {
    let named = |it: &Yaml, member: &[&str]| {
        it.at(member).and_then(Yaml::text).is_some_and(|name| name.eq_ignore_ascii_case(header))
    };
    let last = mutations
        .iter()
        .rev()
        .find(|it| named(it, &["remove"]) || named(it, &["append", "header", "key"]));
    last.is_some_and(|it| named(it, &["remove"]))
}

/// What would tell the provider a customer's address, or the name that it called, is taken off.
fn privacy(node: &NodeInList<'_, '_>, destination: &Destination<'_>, report: &mut Report) {
    let by_route = |header: &str| {
        destination.levels.iter().any(|(_, level)| {
            let mut names = level.list("request_headers_to_remove").iter().filter_map(Yaml::text);
            names.any(|name| name.eq_ignore_ascii_case(header))
        })
    };
    let by_filter = |header: &str| {
        node.after().iter().any(|filter| {
            let mutations =
                filter.config.filter(|_| filter.is(HEADER_MUTATION) && !filter.is_disabled);
            mutations.is_some_and(|(_, it)| removes(request_mutations(it), header))
        })
    };
    let is_kept = |header: &&&str| !by_route(header) && !by_filter(header);
    let list = |names: Vec<&&str>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let spot = destination.levels.first().map_or(&destination.spot, |(spot, _)| spot);
    let mut needed = ADDRESSES.to_vec();
    if !node.config().routes.is_empty() {
        needed.push(ROUTE_HEADER);
    }
    let kept: Vec<_> = needed.iter().filter(is_kept).collect();
    if !kept.is_empty() {
        let message =
            format!("the provider may learn a customer's address or route by {}", list(kept));
        let help = "add them to `request_headers_to_remove` of the route table";
        report.wrong(Promise::Privacy, spot, message, help);
    }
    let kept: Vec<_> = VENDOR_ADDRESSES.iter().filter(is_kept).collect();
    if !kept.is_empty() {
        let message = format!(
            "some balancers and CDNs write a customer's address into headers that go on: {}",
            list(kept)
        );
        let help = "add to `request_headers_to_remove` those that yours write";
        report.note(Promise::Privacy, spot, message, help);
    }
    let by_table = destination.levels.iter().filter_map(|(spot, level)| {
        let added = level.get("request_headers_to_add")?;
        Some((spot.member("request_headers_to_add", added), added))
    });
    let by_mutation = node.list.filters.iter().filter_map(|filter| {
        let (_, config) = filter.config.filter(|_| filter.is(HEADER_MUTATION))?;
        Some((filter.spot.clone(), config))
    });
    for (spot, yaml) in by_table.chain(by_mutation) {
        let mut is_printed = false;
        yaml.walk(&mut |value| {
            let text = value.text().unwrap_or_default().to_ascii_uppercase();
            is_printed |= PRINTED.iter().any(|operator| text.contains(operator));
        });
        if is_printed {
            let message = "a customer's address is written into a header that goes to the provider";
            report.wrong(Promise::Privacy, &spot, message, "remove it");
        }
    }
    let router = node.list.filters.iter().find(|filter| filter.is(ROUTER));
    let suppresses = |filter: &Filter<'_>| {
        filter.config.is_some_and(|(_, config)| config.is_true("suppress_envoy_headers"))
    };
    if let Some(router) = router.filter(|router| !suppresses(router)) {
        let message = "the provider learns the name that a customer called, by \
                       `x-envoy-original-host`";
        let help = "set `suppress_envoy_headers: true` on the router";
        report.wrong(Promise::Privacy, &router.spot, message, help);
    }
}
