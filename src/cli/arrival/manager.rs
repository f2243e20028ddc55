//! What Envoy's connection manager makes of a request before any filter sees it.
//!
//! `tests/data/envoy/arrival.json` holds what a real Envoy made of many requests under each
//! setting. `x-request-id` as Envoy makes it is left out: it is random.

use std::net::IpAddr;

use super::address::{Detection, EnvoyAddress, by_forwarded_for, by_header, last_but, networks};
use super::mutation::{FormatContext, mutate};
use super::path::{EnvoyAnswer, normalize};
use super::settings::{Gaps, is_false};
use crate::cli::headers::HeaderList;
use crate::envoy::kinds::{EARLY_HEADER_MUTATION, XFF_DETECTION};
use crate::envoy::yaml::Yaml;

const CUSTOM_HEADER_DETECTION: &str =
    "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig";

/// Headers that only Envoy may set, of any request.
const ENVOYS_OWN: &[&str] =
    &["x-envoy-internal", "keep-alive", "proxy-connection", "transfer-encoding"];

/// Headers that a request from outside can't bring.
const INTERNAL_ONLY: &[&str] = &[
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-hedge-on-per-try-timeout",
];

/// Those that it can't bring to an Envoy with `use_remote_address`, either.
const BEHIND_THE_EDGE: &[&str] = &[
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-path",
    "x-envoy-original-host",
];

/// The methods that Envoy's reader of HTTP/1 knows.
const METHODS: &[&str] = &[
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];
const UNKNOWN_METHOD: &str = "over HTTP/1 Envoy answers 400 by itself: unknown method";

/// How many names in `connection` Envoy refuses.
const MOST_LISTED: usize = 10;

/// Makes of `headers` what the first filter sees. Returns the address that Envoy takes for the
/// client's; without the direct peer it may be unknown.
pub(super) fn receive(
    manager: &Yaml,
    is_tls: bool,
    peer: Option<IpAddr>,
    headers: &mut HeaderList,
    gaps: &mut Gaps,
) -> Result<Option<EnvoyAddress>, EnvoyAnswer> {
    read(manager, headers, gaps)?;
    let is_continue = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    if headers.first("expect").is_some_and(is_continue) {
        headers.remove("expect");
    }
    normalize(manager, headers)?;
    let own = peer.map(EnvoyAddress::new);
    let context = FormatContext { peer: own.as_ref(), client: own.as_ref() };
    for extension in manager.list("early_header_mutation_extensions") {
        match extension.extension() {
            Some((EARLY_HEADER_MUTATION, settings)) => {
                let place = "early_header_mutation_extensions";
                mutate(settings.list("mutations"), headers, &context, place, gaps);
            }
            _ => note(gaps, "an extension of `early_header_mutation_extensions` isn't played"),
        }
    }
    clean_connection(manager, headers, gaps)?;

    let is_edge = manager.is_true("use_remote_address");
    let Detection { address, is_alone, appends, refused } = if is_edge {
        at_edge(manager, peer, headers)
    } else {
        detect(manager, peer, headers, gaps)
    };
    if let Some(status) = refused {
        return Err(EnvoyAnswer { status, why: "no client address in the expected header" });
    }
    if appends {
        append_peer(peer, headers, gaps);
    }
    let is_internal = |address: &EnvoyAddress| {
        let ranges = manager.get("internal_address_config").and_then(|it| it.get("cidr_ranges"));
        let ranges = ranges.map(networks).unwrap_or_default();
        ranges.iter().any(|network| network.contains(&address.ip))
    };
    let is_internal = is_alone && address.as_ref().is_some_and(is_internal);
    let client = address.or(own);
    set_scheme(manager, is_tls, is_edge, headers);
    if is_internal {
        headers.set("x-envoy-internal", b"true");
    } else {
        INTERNAL_ONLY.iter().for_each(|name| headers.remove(name));
        if is_edge {
            BEHIND_THE_EDGE.iter().for_each(|name| headers.remove(name));
            if let Some(client) = &client {
                headers.set("x-envoy-external-address", client.to_string().as_bytes());
            }
            if !manager.is_true("preserve_external_request_id")
                && !is_false(manager, "generate_request_id")
            {
                headers.remove("x-request-id");
            }
        }
    }
    if let Some(via) = manager.str("via") {
        let line = headers.first("via").filter(|line| !line.is_empty());
        let line = line.map(|line| [line, b", ", via.as_bytes()].concat());
        headers.set("via", &line.unwrap_or_else(|| via.into()));
    }
    if manager.is_true("add_user_agent") {
        note(gaps, "`add_user_agent` isn't played");
    }
    match manager.str("forward_client_cert_details").unwrap_or("SANITIZE") {
        "ALWAYS_FORWARD_ONLY" => {}
        "SANITIZE" => headers.remove("x-forwarded-client-cert"),
        _ => {
            headers.remove("x-forwarded-client-cert");
            note(gaps, "`forward_client_cert_details` isn't played");
        }
    }
    Ok(client)
}

fn note(gaps: &mut Gaps, gap: &str) {
    gaps.insert(gap.to_owned());
}

/// What the reader of HTTP does: blanks around values, invalid bytes, names with underscores.
fn read(manager: &Yaml, headers: &mut HeaderList, gaps: &mut Gaps) -> Result<(), EnvoyAnswer> {
    let refused = |status, why| Err(EnvoyAnswer { status, why });
    if headers
        .first(":method")
        .is_some_and(|method| !METHODS.iter().any(|it| it.as_bytes() == method))
    {
        note(gaps, UNKNOWN_METHOD);
    }
    let options = manager.get("common_http_protocol_options");
    let action = options.and_then(|it| it.str("headers_with_underscores_action"));
    let mut lines = HeaderList::default();
    for (name, value) in headers.iter() {
        let is_pseudo = name.starts_with(b":");
        if !is_pseudo && value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            return refused(400, "invalid bytes in a header");
        }
        match action {
            Some("REJECT_REQUEST") if name.contains(&b'_') => {
                return refused(400, "an underscore in a header's name");
            }
            Some("DROP_HEADER") if name.contains(&b'_') => continue,
            _ => {}
        }
        match (name, value.trim_ascii()) {
            // two names of hosts become one that nobody has
            (b"host", host) => {
                let both = lines.first(":authority").filter(|first| !first.is_empty());
                let both = both.map(|first| [first, host].join(&b','));
                if !host.is_empty() {
                    lines.set(":authority", &both.unwrap_or_else(|| host.to_vec()));
                }
            }
            (b"content-length", length)
                if lines.first("content-length").is_some()
                    || length.is_empty()
                    || !length.iter().all(u8::is_ascii_digit) =>
            {
                return refused(400, "invalid or duplicate content-length");
            }
            (_, trimmed) => lines.add(name, if is_pseudo { value } else { trimmed }),
        }
    }
    *headers = lines;
    let encoding = headers.first("transfer-encoding").unwrap_or(b"chunked");
    if !encoding.eq_ignore_ascii_case(b"chunked") {
        let has_length = headers.first("content-length").is_some();
        return refused(if has_length { 400 } else { 501 }, "unknown transfer-encoding");
    }
    if upgrade(headers).is_none() {
        remove_listed(headers)?;
    }
    Ok(())
}

/// Headers about this connection alone don't go on, unless the request is an upgrade.
fn clean_connection(
    manager: &Yaml,
    headers: &mut HeaderList,
    gaps: &mut Gaps,
) -> Result<(), EnvoyAnswer> {
    match upgrade(headers) {
        Some(protocol) => {
            let is = |config: &&Yaml| {
                config
                    .str("upgrade_type")
                    .is_some_and(|known| known.as_bytes().eq_ignore_ascii_case(protocol))
                    && !is_false(config, "enabled")
            };
            let Some(config) = manager.list("upgrade_configs").iter().find(is) else {
                return Err(EnvoyAnswer { status: 403, why: "this upgrade isn't enabled" });
            };
            if config.get("filters").is_some() {
                note(gaps, "`upgrade_configs` has filters of its own, which aren't played");
            }
        }
        None => {
            headers.remove("connection");
            headers.remove("upgrade");
            clean_te(headers);
        }
    }
    ENVOYS_OWN.iter().for_each(|name| headers.remove(name));
    Ok(())
}

/// Of `te` only `trailers` goes on.
fn clean_te(headers: &mut HeaderList) {
    let mut codings = headers.first("te").unwrap_or_default().split(|b| *b == b',');
    if codings.any(|coding| coding.trim_ascii() == b"trailers") {
        headers.set("te", b"trailers");
    } else if headers.first("te").is_some_and(|line| !line.is_empty()) {
        headers.remove("te");
    }
}

/// The protocol that the client asks to upgrade to. An upgrade to HTTP/2 is ignored.
fn upgrade(headers: &HeaderList) -> Option<&[u8]> {
    let protocol = headers.first("upgrade").filter(|value| !value.is_empty())?;
    let is_asked = lists(headers, "connection", b"upgrade");
    Some(protocol).filter(|protocol| is_asked && !protocol.eq_ignore_ascii_case(b"h2c"))
}

/// Whether a header's first line is a list with that word in it.
fn lists(headers: &HeaderList, name: &str, word: &[u8]) -> bool {
    let line = headers.first(name).unwrap_or_default();
    line.split(|b| *b == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(word))
}

/// Removes the headers that `connection` lists.
fn remove_listed(headers: &mut HeaderList) -> Result<(), EnvoyAnswer> {
    if headers.first("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"h2c")) {
        headers.remove("http2-settings");
    }
    let line = headers.first("connection").unwrap_or_default().to_ascii_lowercase();
    let words: Vec<&[u8]> = line.split(|b| *b == b',').filter(|word| !word.is_empty()).collect();
    if words.len() >= MOST_LISTED {
        return Err(EnvoyAnswer { status: 400, why: "too many headers listed in `connection`" });
    }
    for word in words.iter().map(|word| word.trim_ascii()) {
        match word {
            b"x-forwarded-for" | b"x-forwarded-host" | b"x-forwarded-proto" => {
                return Err(EnvoyAnswer { status: 400, why: "`connection` lists x-forwarded-…" });
            }
            b"host" => return Err(EnvoyAnswer { status: 400, why: "`connection` lists host" }),
            [b':', ..] => {
                return Err(EnvoyAnswer { status: 400, why: "`connection` lists a pseudo-header" });
            }
            b"close" | b"http2-settings" | b"keep-alive" | b"upgrade" | b"connection" | b"te" => {}
            other => headers.retain(|name, _| name != other),
        }
    }
    Ok(())
}

/// The client's address under `use_remote_address`.
fn at_edge(manager: &Yaml, peer: Option<IpAddr>, headers: &HeaderList) -> Detection {
    let hops = manager.number("xff_num_trusted_hops").unwrap_or(0);
    let by_hops = hops.checked_sub(1).and_then(|skipped| last_but(headers, skipped).address);
    Detection {
        address: by_hops.or(peer.map(EnvoyAddress::new)),
        is_alone: headers.first("x-forwarded-for").is_none(),
        appends: !manager.is_true("skip_xff_append"),
        refused: None,
    }
}

/// The client's address by the extensions, one after the other. Without any, by X-Forwarded-For.
fn detect(
    manager: &Yaml,
    peer: Option<IpAddr>,
    headers: &HeaderList,
    gaps: &mut Gaps,
) -> Detection {
    let extensions = manager.list("original_ip_detection_extensions");
    if extensions.is_empty() {
        let hops = manager.number("xff_num_trusted_hops").unwrap_or(0);
        return last_but(headers, hops);
    }
    let mut appends = false;
    for extension in extensions {
        let found = match extension.extension() {
            Some((XFF_DETECTION, settings)) => by_forwarded_for(settings, peer, headers),
            Some((CUSTOM_HEADER_DETECTION, settings)) => by_header(settings, headers),
            _ => {
                note(gaps, "an extension of `original_ip_detection_extensions` isn't played");
                continue;
            }
        };
        appends |= found.appends;
        if found.address.is_some() || found.refused.is_some() {
            return Detection { appends, ..found };
        }
    }
    Detection { appends, ..Detection::default() }
}

/// Appends the direct peer to X-Forwarded-For. For a peer on the loopback Envoy appends the address
/// of its own machine, which is unknown here.
fn append_peer(peer: Option<IpAddr>, headers: &mut HeaderList, gaps: &mut Gaps) {
    let is_loopback = |peer: &IpAddr| ["127.0.0.1", "::1"].contains(&peer.to_string().as_str());
    match peer {
        Some(peer) if is_loopback(&peer) => {
            note(
                gaps,
                "Envoy appends an address of its own machine to x-forwarded-for, not played",
            );
        }
        Some(peer) => {
            let peer = EnvoyAddress::new(peer).to_string();
            headers.add(b"x-forwarded-for", peer.as_bytes());
        }
        None => {}
    }
}

/// Sets `x-forwarded-proto`.
fn set_scheme(manager: &Yaml, is_tls: bool, is_edge: bool, headers: &mut HeaderList) {
    let scheme: &[u8] = if is_tls { b"https" } else { b"http" };
    let hops = manager.number("xff_num_trusted_hops").unwrap_or(0);
    if is_edge && hops == 0 || headers.first("x-forwarded-proto").is_none() {
        headers.set("x-forwarded-proto", scheme);
    }
    let transformed = manager.get("scheme_header_transformation");
    if let Some(scheme) = transformed.and_then(|it| it.str("scheme_to_overwrite")) {
        headers.set("x-forwarded-proto", scheme.as_bytes());
    }
}
