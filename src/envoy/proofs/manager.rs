//! The connection manager and its listener: verified certificates, and a bound of headers.

use super::super::files::{Resources, Spot, source_path};
use super::super::report::{Promise, Report};
use super::super::way::{NodeInList, Way};
use super::super::yaml::Yaml;
use crate::config::CredentialPlace;

/// Envoy's own bounds, in kilobytes and headers. Larger ones only make refusals dearer.
const MOST_KILOBYTES: u64 = 60;
const MOST_HEADERS: u64 = 100;

pub(super) fn prove(way: &Way<'_, '_>, node: &NodeInList<'_, '_>, report: &mut Report) {
    let manager = way.manager.yaml;
    let spot = &way.manager.spot;
    let mut bound = |at: &Yaml, at_spot: &Spot, name: &str, most: u64, unit: &str| {
        if at.get(name).is_some() && at.number(name).is_none_or(|number| number > most) {
            let message = format!("a caller may send more than {most} {unit} of headers");
            let help = format!("write `{name}: {most}` or less; the shipped files have 32 kB");
            report.wrong(Promise::HeaderBounds, &at_spot.field(at, name), message, help);
        }
    };
    bound(manager, spot, "max_request_headers_kb", MOST_KILOBYTES, "kB");
    if let Some(options) = manager.get("common_http_protocol_options") {
        let spot = spot.member("common_http_protocol_options", options);
        bound(options, &spot, "max_headers_count", MOST_HEADERS, "lines");
    }
    let mtls = |place: &CredentialPlace| matches!(place, CredentialPlace::Mtls(_));
    if node.config().sources.iter().any(|source| mtls(&source.place)) {
        certificates(way, report);
    }
}

/// A certificate names a caller only where Envoy verified it.
fn certificates(way: &Way<'_, '_>, report: &mut Report) {
    let help = "add a `validation_context` with `trusted_ca` to the listener's TLS context";
    let Some(socket) = way.manager.transport_socket else {
        let message = "`mtls` identifies callers by certificates that aren't verified: this \
                       listener has no TLS";
        report.wrong(Promise::Certificates, &way.manager.spot, message, help);
        return;
    };
    let file = way.manager.spot.file;
    let spot = Spot::new(file, socket, "transport_socket");
    let mut contexts = Vec::new();
    let mut elsewhere = None;
    socket.walk(&mut |value| {
        contexts.extend(value.get("validation_context"));
        contexts.extend(value.get("default_validation_context"));
        for secret in
            ["validation_context_sds_secret_config"].iter().filter_map(|name| value.get(name))
        {
            let name = secret.str("name").unwrap_or_default();
            let found = Resources::named(&way.gateway.resources.secrets, name, file);
            let found = found.iter().filter_map(|it| it.yaml.get("validation_context"));
            let before = contexts.len();
            contexts.extend(found);
            if contexts.len() == before {
                elsewhere = Some((name, secret));
            }
        }
    });
    if let Some((name, secret)) = elsewhere {
        let message = format!(
            "the secret `{name}` isn't among the files, so nobody can tell \
             whether certificates are verified"
        );
        let path = secret.get("sds_config").and_then(source_path);
        let help = path.map_or_else(
            || "write `trusted_ca` here, or give the file with the secret too".to_owned(),
            |path| format!("give `{path}` to check too"),
        );
        report.wrong(Promise::Certificates, &spot, message, help);
        return;
    }
    if !contexts.iter().any(|context| context.get("trusted_ca").is_some()) {
        let message = "`mtls` identifies callers by certificates that aren't verified";
        report.wrong(Promise::Certificates, &spot, message, help);
    }
    for context in contexts {
        let verification = context.str("trust_chain_verification").unwrap_or_default();
        if verification.eq_ignore_ascii_case("ACCEPT_UNTRUSTED") || verification == "1" {
            let message = "`ACCEPT_UNTRUSTED` takes a certificate that anybody made";
            let help = "remove `trust_chain_verification`";
            let spot = spot.field(context, "trust_chain_verification");
            report.wrong(Promise::Certificates, &spot, message, help);
        }
    }
}
