//! What every host of the filter shares: the signals that it asks for, and the endpoints.

use std::cell::RefCell;

use serde_json::{Value, json};
use waybill::chain::keyring::Keyring;
use waybill::config::Config;
use waybill::decision::endpoints;
use waybill::decision::evidence::Watch;
use waybill::decision::reply::LocalReply;
use waybill::decision::request::{Pair, Request, Time, TlsNames};
use waybill::decision::signals::{Signal, Signals};

const MINIMAL: &str = include_str!("corpus/config/valid/minimal.json");
/// Every kind of source; the forwarding header is `forwarded`
const FULL: &str = include_str!("corpus/config/valid/full.json");
const TIME: Time = Time(1_795_000_000_000_000_000);

/// The names of the signals that a request asks for. `direct` is the answer to the first.
fn asked(config: &Config, direct: &str, headers: &[Pair<'_>]) -> Vec<String> {
    let names = RefCell::new(Vec::new());
    Signals::read(config, headers, |signal| {
        names.borrow_mut().push(signal.name());
        (signal == Signal::DirectPeer).then(|| direct.into())
    });
    names.into_inner()
}

#[test]
fn a_request_asks_only_for_what_its_configuration_reads() {
    let [minimal, full] = [MINIMAL, FULL].map(|text| Config::parse(text).unwrap());
    assert_eq!(asked(&minimal, "192.0.2.1", &[(b"forwarded", b"for=_a")]), ["filter_state.direct"]);
    let metadata = "metadata.filter_metadata.envoy.filters.http.jwt_authn.idp";
    let all = [
        "filter_state.direct",
        "source.address",
        "connection.uri_san_peer_certificate",
        "connection.dns_san_peer_certificate",
        &format!("{metadata}.sub"),
        &format!("{metadata}.country"),
    ];
    for name in ["forwarded", "x-forwarded-for"] {
        assert_eq!(asked(&full, "192.0.2.1", &[(name.as_bytes(), b"")]), all);
    }
    let without_client: Vec<&str> =
        all.into_iter().filter(|name| *name != "source.address").collect();
    assert_eq!(asked(&full, "192.0.2.1", &[(b"x-real-ip", b"")]), without_client);
    // the operator's format has both addresses
    assert_eq!(asked(&full, "192.0.2.1 192.0.2.2", &[(b"forwarded", b"")]), without_client);
}

#[test]
fn a_claim_that_names_caller_and_user_is_asked_for_once() {
    let claim = json!({"jwt": {"provider": "idp", "claim": "sub"}});
    let mut config: Value = serde_json::from_str(MINIMAL).unwrap();
    config["identity"] = json!({"sources": [claim]});
    config["geo"] = json!({"user": [claim]});
    let config = Config::parse(&config.to_string()).unwrap();
    assert_eq!(asked(&config, "192.0.2.1", &[]).len(), 2);
}

#[test]
fn signals_make_a_request() {
    let config = Config::parse(FULL).unwrap();
    let signals = Signals::read(&config, &[], |signal| {
        let value = match signal {
            Signal::DirectPeer => "10.0.0.1:443 192.0.2.7".to_owned(),
            Signal::EnvoyClient => return None,
            other => other.name(),
        };
        Some(value.into_bytes())
    });
    let request = signals.request(vec![(b":path", b"/")], TIME);
    assert_eq!(request.direct_peer, Some(&b"10.0.0.1:443"[..]));
    assert_eq!(request.envoy_client, Some(&b"192.0.2.7"[..]));
    assert_eq!(request.tls.uri_san, Some(&b"connection.uri_san_peer_certificate"[..]));
    assert_eq!(request.tls.dns_san, Some(&b"connection.dns_san_peer_certificate"[..]));
    for claim in config.claims() {
        let value = request.claim(claim).unwrap();
        assert!(value.ends_with(format!(".{}", claim.claim.as_str()).as_bytes()), "{value:?}");
    }
}

/// The reply to a path, and whether it asked for readiness.
fn reply(config: &Config, path: &str, is_ready: bool) -> (Option<LocalReply>, bool) {
    let request = Request {
        headers: vec![(b":method", b"POST"), (b":path", path.as_bytes())],
        direct_peer: None,
        envoy_client: None,
        tls: TlsNames::default(),
        claims: Vec::new(),
        time: TIME,
    };
    let mut was_asked = false;
    let ready = || {
        was_asked = true;
        is_ready
    };
    let watch = Watch::new(config);
    let reply = endpoints::answer(config, &watch, &Keyring::default(), ready, &request);
    (reply, was_asked)
}

#[test]
fn endpoints_answer_for_any_method_and_query() {
    let config = Config::parse(FULL).unwrap();
    let status_and_details = |path: &str, is_ready| {
        let (reply, was_asked) = reply(&config, path, is_ready);
        let reply = reply.map(|reply| (reply.status, reply.details));
        assert_eq!(was_asked, path.contains("/ready"), "{path}");
        reply
    };
    for (path, is_ready, status, details) in [
        ("/.well-known/waybill/ready", true, 200, "waybill_ready"),
        ("/.well-known/waybill/ready?x", false, 503, "waybill_not_ready"),
        ("/.well-known/waybill/disclosure?x", false, 200, "waybill_disclosure"),
        ("/.well-known/http-message-signatures-directory", false, 200, "waybill_directory"),
    ] {
        let found = status_and_details(path, is_ready);
        assert_eq!(found, Some((status, details.to_owned())), "{path}");
    }
    for path in ["/", "/.well-known/waybill", "/v1/messages", "/.well-known/waybill/disclosure/"] {
        assert_eq!(status_and_details(path, true), None, "{path}");
    }
}

#[test]
fn an_endpoint_that_is_off_answers_nothing() {
    let mut config: Value = serde_json::from_str(MINIMAL).unwrap();
    config["endpoints"] = json!({"ready": "off"});
    let config = Config::parse(&config.to_string()).unwrap();
    assert_eq!(reply(&config, "/.well-known/waybill/ready", true), (None, false));
}
