//! A country's header has one writer, before the node and after the removal of a client's own; and
//! Envoy looks up the address that the node judges.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::files::Spot;
use super::super::kinds::{
    EARLY_HEADER_MUTATION, GEOIP, HEADER_MUTATION, MAXMIND, Writes, XFF_DETECTION, geo_headers,
    network, request_mutations,
};
use super::super::model::Filter;
use super::super::overrides::{Bypass, bypass, writes_on_way};
use super::super::report::{Promise, Report};
use super::super::way::{NodeInList, Way};
use super::super::yaml::Yaml;
use crate::config::ForwardingHeader;
use crate::terms::network::Network;

/// Networks of trusted proxies that are wider than these prefixes trust half the Internet.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 16;

/// What is done to a country's header, in order.
struct HeaderStep<'a, 'g> {
    spot: Spot,
    act: Act<'a>,
    /// The filter; an early mutation has none
    filter: Option<&'g Filter<'a>>,
}

enum Act<'a> {
    Remove,
    Look(&'a Yaml),
    Set(Option<&'a str>),
}

pub(super) fn prove(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    too_wide(node, report);
    let config = node.config();
    let mut is_looked_up = false;
    for header in config.geo.origin.iter().filter_map(|source| source.header.as_ref()) {
        is_looked_up |= one_writer(way, node, header.as_str(), report);
    }
    if config.geo.reads_headers() && is_looked_up {
        same_networks(way, node, report);
    }
}

/// Proves the one writer of a header, and tells whether a look-up of Envoy's writes it.
fn one_writer(
    way: &Way<'_, '_>,
    node: &NodeInList<'_, '_>,
    header: &str,
    report: &mut Report,
) -> bool {
    let Some(own) = node.filter() else { return false };
    let steps = steps(way, node, header);
    let writers: Vec<_> =
        steps.iter().enumerate().filter(|(_, step)| !matches!(step.act, Act::Remove)).collect();
    let Some((at, writer)) = writers.first().copied() else {
        let message = format!("no filter before the node sets `{header}`, its country's header");
        let help = format!(
            "put Envoy's geoip filter before it, with `geo_field_keys: {{country: {header}}}`"
        );
        report.wrong(Promise::Geography, &own.spot, message, help);
        return false;
    };
    if let Some((_, second)) = writers.get(1) {
        let message = format!("a second writer of `{header}`, the country of an address");
        report.wrong(
            Promise::Geography,
            &second.spot,
            message,
            "keep one writer, the geoip filter",
        );
    }
    let is_removal = |step: &&HeaderStep<'_, '_>| {
        let sure = |filter: &Filter<'_>| {
            let relevant = way.relevant();
            bypass(filter, None).is_none()
                && relevant.iter().all(|it| bypass(filter, Some(it)).is_none())
        };
        matches!(step.act, Act::Remove) && step.filter.is_none_or(sure)
    };
    if !steps.iter().take(at).any(|step| is_removal(&step)) {
        let message = format!(
            "a client's own `{header}` isn't removed before it counts as the country of its address"
        );
        let help = format!(
            "remove `{header}` by a `header_mutation` before the filter that sets it, for every \
             route: Envoy's geoip filter keeps the header when its lookup finds nothing"
        );
        report.wrong(Promise::Geography, &writer.spot, message, help);
    }
    let late = steps.iter().skip(at).find(|step| matches!(step.act, Act::Remove));
    if let Some(late) = late {
        let message = format!("`{header}` is removed after it is set, so no request has a country");
        report.wrong(Promise::Geography, &late.spot, message, "remove it before the geoip filter");
    }
    for destination in way.relevant() {
        let Some(filter) = writer.filter else { continue };
        if let Some(Bypass { spot, .. }) = bypass(filter, Some(destination)) {
            let message = format!(
                "requests can pass by the filter that sets `{header}`, and have no country"
            );
            let help = "remove what disables, overrides, matches or makes the filter optional here";
            report.wrong(Promise::Geography, &spot, message, help);
        }
    }
    prove_writer(node, header, writer, report);
    matches!(writer.act, Act::Look(_))
}

fn prove_writer(
    node: &NodeInList<'_, '_>,
    header: &str,
    HeaderStep { spot, act, .. }: &HeaderStep<'_, '_>,
    report: &mut Report,
) {
    match act {
        Act::Look(geoip) => {
            let is_country =
                |(key, name): (&str, &str)| key == "country" && name.eq_ignore_ascii_case(header);
            if !geo_headers(geoip).any(is_country) {
                let message = format!("`{header}` isn't the country that this filter looks up");
                let help = format!("write `geo_field_keys: {{country: {header}}}`");
                report.wrong(Promise::Geography, spot, message, help);
            }
            let known = ["@type", "provider", "stat_prefix"];
            let others = geoip.members().iter().find(|(key, _)| !known.contains(&&*key.name));
            if let Some((key, value)) = others {
                let message = "this filter looks up another address than the connection manager's";
                let help = "remove it: the address comes from `original_ip_detection_extensions`";
                report.wrong(Promise::Geography, &spot.member(&key.name, value), message, help);
            }
            let provider = geoip.get("provider").and_then(Yaml::extension);
            if let Some((MAXMIND, config)) = provider
                && !["country_db_path", "city_db_path"].iter().any(|db| config.get(db).is_some())
            {
                let message = "this filter has no database of countries";
                report.wrong(Promise::Geography, spot, message, "set `country_db_path`");
            }
            if node.config().client_address.header == ForwardingHeader::Forwarded {
                let message = "Envoy's geoip filter can't follow `Forwarded`: it looks up an \
                               address that the client chose";
                let help = "let the proxies write X-Forwarded-For, or take countries from the \
                            snapshot";
                report.wrong(Promise::Geography, spot, message, help);
            }
        }
        Act::Set(value) => {
            let safe = ["%FILTER_STATE(", "%DYNAMIC_METADATA(", "%ENVIRONMENT("];
            let is_safe = value.is_some_and(|value| {
                value.split('%').nth(1).is_none() || safe.iter().any(|it| value.starts_with(it))
            });
            if !is_safe {
                let message = format!("`{header}` is written from what a client may choose");
                let help = "let Envoy's geoip filter set it";
                report.wrong(Promise::Geography, spot, message, help);
            }
        }
        Act::Remove => {}
    }
}

/// What early mutations and the filters before the node do to a header, in order. Filters that may
/// do anything are told already.
fn steps<'a, 'g>(
    way: &Way<'a, 'g>,
    node: &NodeInList<'a, 'g>,
    header: &str,
) -> Vec<HeaderStep<'a, 'g>> {
    let mut steps = Vec::new();
    for (spot, extension) in way.manager.early_mutations() {
        if let Some((EARLY_HEADER_MUTATION, config)) = extension.extension() {
            let acts = acts(config.list("mutations"), header);
            steps.extend(acts.map(|act| HeaderStep { spot: spot.clone(), act, filter: None }));
        }
    }
    let relevant = way.relevant();
    for filter in node.before() {
        for (spot, writes) in writes_on_way(filter, &relevant) {
            let Writes::Headers(names) = writes else { continue };
            if !names.iter().any(|name| name.eq_ignore_ascii_case(header)) {
                continue;
            }
            let is_own = spot.path == filter.spot.path;
            let step = |act| HeaderStep { spot: spot.clone(), act, filter: Some(filter) };
            match filter.config {
                Some((GEOIP, config)) if is_own => steps.push(step(Act::Look(config))),
                Some((HEADER_MUTATION, config)) if is_own => {
                    steps.extend(acts(request_mutations(config), header).map(step));
                }
                _ => steps.push(step(Act::Set(None))),
            }
        }
    }
    steps
}

/// What a list of mutations does to a header.
fn acts<'a>(mutations: &'a [Yaml], header: &str) -> impl Iterator<Item = Act<'a>> {
    mutations.iter().filter_map(move |mutation| {
        if mutation.str("remove").is_some_and(|name| name.eq_ignore_ascii_case(header)) {
            return Some(Act::Remove);
        }
        let added = mutation.at(&["append", "header"])?;
        let is_it = added.str("key").is_some_and(|name| name.eq_ignore_ascii_case(header));
        is_it.then(|| Act::Set(added.str("value")))
    })
}

/// Envoy and the node must take the same machine for the client: the country is that of Envoy's.
fn same_networks(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    let manager = way.manager.yaml;
    let spot = &way.manager.spot;
    let trusted = &node.config().client_address.trusted_proxies;
    let extensions = manager.list("original_ip_detection_extensions");
    let mut wrong = |spot: &Spot, message: &str, help: &str| {
        report.wrong(Promise::TrustedNetworks, spot, message, help);
    };
    if manager.number("xff_num_trusted_hops").is_some_and(|hops| hops > 0)
        || (manager.get("xff_num_trusted_hops").is_some()
            && manager.number("xff_num_trusted_hops").is_none())
    {
        wrong(
            &spot.field(manager, "xff_num_trusted_hops"),
            "Envoy trusts a number of proxies, and the node trusts networks: they may take \
             different machines for the client",
            "remove it, and set `original_ip_detection_extensions` with `xff_trusted_cidrs`",
        );
        return;
    }
    match extensions {
        [] if manager.is_true("use_remote_address") => {
            if !trusted.is_empty() {
                wrong(
                    &spot.field(manager, "use_remote_address"),
                    "Envoy takes the connected machine for the client, and the node trusts proxies",
                    "set `trusted_proxies: []`, or `original_ip_detection_extensions` with the \
                     same networks in `xff_trusted_cidrs`",
                );
            }
        }
        [] => wrong(
            spot,
            "Envoy takes the last element of X-Forwarded-For for the client, and a client may \
             write it",
            "set `use_remote_address: true`, or behind proxies \
             `original_ip_detection_extensions` with `xff_trusted_cidrs` equal to \
             `client_address.trusted_proxies`",
        ),
        [one] => {
            let at = spot.element("original_ip_detection_extensions", 0, one);
            let typed = one.extension();
            let cidrs = match typed {
                Some((XFF_DETECTION, config))
                    if config.number("xff_num_trusted_hops").unwrap_or(0) == 0 =>
                {
                    config.at(&["xff_trusted_cidrs", "cidrs"])
                }
                _ => None,
            };
            let Some(cidrs) = cidrs else {
                wrong(
                    &at,
                    "this doesn't tell which networks Envoy trusts, so nobody can tell whether the \
                     node trusts the same",
                    "use `envoy.http.original_ip_detection.xff` with `xff_trusted_cidrs`",
                );
                return;
            };
            let envoy: Option<Vec<IpNet>> = cidrs.items().iter().map(network).collect();
            if envoy.as_deref().map(ranges) != Some(own_ranges(trusted)) {
                wrong(
                    &at.member("xff_trusted_cidrs", cidrs),
                    "Envoy trusts other networks than the node: they may take different machines \
                     for the client",
                    "write the same networks here and in `client_address.trusted_proxies`",
                );
            }
        }
        [_, second, ..] => wrong(
            &spot.element("original_ip_detection_extensions", 1, second),
            "a second way to detect the client's address, which the node doesn't follow",
            "keep `envoy.http.original_ip_detection.xff` only",
        ),
    }
}

/// Trusted networks that anybody may be in.
fn too_wide(node: &NodeInList<'_, '_>, report: &mut Report) {
    let Some(filter) = node.filter() else { return };
    for network in &node.config().client_address.trusted_proxies {
        let (address, prefix) = network.parts();
        let widest = if address.len() == 4 { WIDEST_V4 } else { WIDEST_V6 };
        if prefix < widest {
            let message = format!(
                "`client_address.trusted_proxies` trusts `{network}`: callers in it choose their \
                 own address"
            );
            let help = "name the networks of your own proxies only";
            report.wrong(Promise::TrustedNetworks, &filter.spot, message, help);
        }
    }
}

/// The networks as first and last addresses, joined where one begins at the end of another.
fn ranges(networks: &[IpNet]) -> Vec<(IpAddr, IpAddr)> {
    let joined = IpNet::aggregate(&networks.to_vec());
    let mut ranges: Vec<_> = joined.iter().map(|it| (it.network(), it.broadcast())).collect();
    ranges.sort_unstable();
    ranges
}

fn own_ranges(networks: &[Network]) -> Vec<(IpAddr, IpAddr)> {
    let networks = networks.iter().filter_map(|network| {
        let (first, _) = network.range();
        let (_, prefix) = network.parts();
        IpNet::new(first, prefix).ok()
    });
    ranges(&networks.collect::<Vec<_>>())
}
