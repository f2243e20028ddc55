//! What is before the node: the direct peer has one writer, and nothing changes what the node
//! judges by.

use super::super::files::Spot;
use super::super::kinds::{
    DYNAMIC_MODULE, JWT_AUTHN, SET_FILTER_STATE, Writes, is_code, request_writes,
};
use super::super::model::Filter;
use super::super::overrides::{Bypass, bypass, writes_on_way};
use super::super::report::{Promise, Report};
use super::super::way::{NodeInList, Way};
use super::super::yaml::Yaml;
use crate::config::{Claim, CredentialPlace, ForwardingHeader, UserSource};

const PEER: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";
const CLIENT: &str = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";
/// Where jwt_authn leaves verified claims, and other filters could forge them.
const CLAIMS: &str = "envoy.filters.http.jwt_authn";

pub(super) fn prove(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    direct_peer(way, node, report);
    claims(node, report);
    inputs(way, node, report);
}

/// A dynamic module can't read verified claims where jwt_authn leaves them: a filter copies each.
fn claims(node: &NodeInList<'_, '_>, report: &mut Report) {
    let Some(own) = node.filter().filter(|own| own.is(DYNAMIC_MODULE)) else { return };
    for Claim { provider, claim } in node.config().claims() {
        let key = format!("jwt.{provider}.{claim}");
        let copies = |filter: &&Filter<'_>| {
            filter.is(SET_FILTER_STATE)
                && filter.config.is_some_and(|(_, config)| {
                    let entries = config.list("on_request_headers");
                    entries.iter().any(|entry| entry.str("object_key") == Some(&key))
                })
        };
        if !node.before().iter().any(|filter| copies(&filter)) {
            let message = format!("no filter before this one sets the filter state `{key}`");
            let help = format!(
                "put `set_filter_state` behind jwt_authn, with object_key `{key}`, factory_key \
                 `envoy.string` and `%DYNAMIC_METADATA({CLAIMS}:{provider}:{claim})%`"
            );
            report.wrong(Promise::Inputs, &own.spot, message, help);
        }
    }
}

/// One filter before the node sets `direct`, to an address that no header can change.
fn direct_peer(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    let Some(own) = node.filter() else { return };
    let help =
        format!("put `set_filter_state` before it, with object_key `direct` and `{PEER} {CLIENT}`");
    let mut writers = Vec::new();
    for filter in node.before() {
        let entries = filter.config.map(|(_, config)| state_entries(config)).unwrap_or_default();
        writers.extend(
            entries.into_iter().map(|entry| (filter, filter.spot.member("direct", entry), entry)),
        );
    }
    let mut sound = writers.iter().filter(|(filter, _, entry)| {
        filter.is(SET_FILTER_STATE) && is_direct_peer(entry, false) && !filter.is_disabled
    });
    let Some((writer, spot, entry)) = sound.next() else {
        // as a dynamic module it asks Envoy
        if own.is(DYNAMIC_MODULE) && writers.is_empty() {
            return;
        }
        let spot = writers.first().map_or(&own.spot, |(_, spot, _)| spot);
        let message = "no filter before this one sets the filter state `direct` to the connected \
                       machine's address, so the node can't see the direct peer";
        report.wrong(Promise::DirectPeer, spot, message, help);
        return;
    };
    for (_, other, _) in
        writers.iter().filter(|(_, other, _)| other.line != spot.line || other.path != spot.path)
    {
        let message = "a second writer of the filter state `direct`: the node may believe a wrong \
                       direct peer";
        report.wrong(
            Promise::DirectPeer,
            other,
            message,
            "keep the one that writes the direct peer",
        );
    }
    if node.config().geo.reads_headers() && !is_direct_peer(entry, true) {
        let message = "`direct` lacks the address that Envoy looks up, so the node can't tell \
                       whether the country is the client's";
        report.wrong(Promise::DirectPeer, spot, message, format!("write `{PEER} {CLIENT}`"));
    }
    for destination in way.relevant() {
        if let Some(Bypass { spot, .. }) = bypass(writer, Some(destination)) {
            let message = "requests can pass by the filter that sets `direct`, so the node can't \
                           see the direct peer";
            let help = "remove what disables, overrides, matches or makes the filter optional here";
            report.wrong(Promise::DirectPeer, &spot, message, help);
        }
    }
    // an override of any filter, or a network filter in front, may write it too
    for (spot, level) in way.destinations.iter().flat_map(|it| &it.levels) {
        let overrides = level.get("typed_per_filter_config");
        if overrides.is_some_and(|overrides| overrides.mentions("direct")) {
            let spot = spot.field(level, "typed_per_filter_config");
            let message = "an override here may write the filter state `direct`";
            report.wrong(Promise::DirectPeer, &spot, message, "remove the override");
        }
    }
    in_front(way, report);
}

/// Nothing in front of the connection manager writes `direct`: Envoy keeps that one then.
fn in_front(way: &Way<'_, '_>, report: &mut Report) {
    let file = way.manager.spot.file;
    let network = way.gateway.network_filters.iter().filter(|it| it.spot.file == file);
    let network = network.filter_map(|it| Some((it.spot.clone(), it.config?)));
    let listener = way.manager.listener.map(|it| it.list("listener_filters")).unwrap_or_default();
    let listener = listener.iter().enumerate().filter_map(|(i, filter)| {
        let spot = Spot::new(file, filter, format!("listener_filters[{i}]"));
        Some((spot, filter.extension()?))
    });
    for (spot, (kind, config)) in network.chain(listener) {
        if !state_entries(config).is_empty() {
            let message = "a filter in front of the connection manager writes the filter state \
                           `direct` too";
            report.wrong(Promise::DirectPeer, &spot, message, "remove it there");
        } else if is_code(kind) {
            let message = "code in front of the connection manager may write the filter state \
                           `direct`: nobody can tell from its settings";
            report.wrong(Promise::DirectPeer, &spot, message, "remove it there");
        }
    }
}

/// The entries in a filter's settings that set `direct`, whatever the filter is.
fn state_entries(config: &Yaml) -> Vec<&Yaml> {
    let mut found = Vec::new();
    config.walk(&mut |value| {
        if value.str("object_key") == Some("direct") {
            found.push(value);
        }
    });
    found
}

fn is_direct_peer(entry: &Yaml, with_client: bool) -> bool {
    let format = entry.at(&["format_string", "text_format_source", "inline_string"]);
    let Some(words) = format.and_then(Yaml::text).map(|it| it.split(' ').collect::<Vec<_>>())
    else {
        return false;
    };
    match words[..] {
        [peer] => peer == PEER && !with_client,
        [peer, client] => peer == PEER && client == CLIENT,
        _ => false,
    }
}

/// Nothing before the node changes the headers that it judges by. A country's header is proved
/// apart.
fn inputs(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    let judged = judged(node);
    let relevant = way.relevant();
    let early = way.manager.early_mutations();
    let mut all: Vec<(Spot, Writes<'_>, &str)> = early
        .map(|(spot, extension)| {
            let writes = extension
                .extension()
                .map_or(Writes::Anything, |(kind, config)| request_writes(kind, config));
            (spot, writes, extension.str("name").unwrap_or_default())
        })
        .collect();
    for filter in node.before().iter().filter(|filter| !filter.is_injector()) {
        let on_way = writes_on_way(filter, &relevant);
        all.extend(on_way.into_iter().map(|(spot, writes)| (spot, writes, filter.name)));
    }
    for (spot, table) in &way.tables {
        let names = table.list("internal_only_headers");
        let spot = spot.field(table, "internal_only_headers");
        let names = names.iter().filter_map(Yaml::text).collect();
        all.push((spot, Writes::Headers(names), ""));
    }
    for (spot, writes, name) in all {
        match writes {
            Writes::Anything => {
                let message = format!(
                    "the filter `{name}` may change what the node judges by: nobody can tell from \
                     its settings"
                );
                let help = "put it after the node, or do its work by a filter that check knows \
                            (docs/configuration.md)";
                report.wrong(Promise::Inputs, &spot, message, help);
            }
            Writes::Headers(names) => {
                for header in names {
                    if let Some((_, what)) =
                        judged.iter().find(|(known, _)| known.eq_ignore_ascii_case(header))
                    {
                        let message =
                            format!("`{header}` is changed before the node reads {what} in it");
                        report.wrong(Promise::Inputs, &spot, message, "remove the change");
                    }
                }
            }
        }
    }
    if node.config().claims().next().is_some() {
        for filter in node.before().iter().filter(|it| !it.is(JWT_AUTHN)) {
            if filter.config.is_some_and(|(_, config)| config.mentions(CLAIMS)) {
                let message = "this filter may write claims that only `jwt_authn` verifies";
                report.wrong(Promise::Inputs, &filter.spot, message, "use other metadata for it");
            }
        }
    }
}

/// The headers that a node judges by, and what it reads in each.
fn judged(node: &NodeInList<'_, '_>) -> Vec<(String, &'static str)> {
    let config = node.config();
    let mut headers: Vec<(String, &'static str)> = Vec::new();
    for source in &config.sources {
        let header = match &source.place {
            CredentialPlace::Query(_) => Some(":path"),
            CredentialPlace::WebsocketProtocol(_) => Some("sec-websocket-protocol"),
            place => place.header(),
        };
        headers.extend(header.map(|header| (header.to_owned(), "a credential")));
    }
    let forwarding = match config.client_address.header {
        ForwardingHeader::XForwardedFor => "x-forwarded-for",
        ForwardingHeader::Forwarded => "forwarded",
    };
    headers.push((forwarding.to_owned(), "the client's address"));
    for source in &config.geo.user {
        if let UserSource::Header(name) = source {
            headers.push((name.as_str().to_owned(), "the user's country"));
        }
    }
    for name in
        ["compliance-tag", "compliance-chain", "compliance-trail", "signature", "signature-input"]
    {
        headers.push((name.to_owned(), "what earlier nodes signed"));
    }
    headers.push((":method".to_owned(), "the method"));
    headers
}
