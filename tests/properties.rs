//! What holds for any bytes at all.

use std::net::IpAddr;

use proptest::prelude::*;
use waybill::chain::signature::Signatures;
use waybill::config::{ClientAddressSettings, Config, ForwardingHeader};
use waybill::decision::evidence::address::{ClientAddress, address_with_port};
use waybill::decision::outcome::{Outcome, apply};
use waybill::decision::path;
use waybill::decision::request::{Request, Time, TlsNames};
use waybill::decision::{Screen, Worker};
use waybill::shape::{JsonWriter, Word};
use waybill::terms::region::{CountryCode, Place};
use waybill::terms::time::UnixSeconds;

/// A configuration that looks at every kind of place.
const CONFIG: &str = include_str!("corpus/config/valid/full.json");

/// Names that a node looks at, in the spellings that clients send.
const NAMES: &[&str] = &[
    "compliance-tag",
    "compliance_chain",
    "compliance-trail",
    "x-waybill-route",
    "x_waybill_anything",
    "x-waybill-",
    "signature",
    "signature-input",
    "signature_input",
    "x-api-key",
    "authorization",
    "sec-websocket-protocol",
    "forwarded",
    "x-forwarded-for",
    "x-geo-country",
    "x-user-country",
    "anthropic-beta",
    "anthropic-version",
    "anthropic-user-profile-id",
    "openai-safety-identifier",
    "via",
    "cdn-loop",
    "x-litellm-x",
    "user-agent",
    "x-stainless-os",
    "cookie",
];

fn pairs() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        "(for=)?\"?\\[?[0-9a-f:.,; =]{0,40}\\]?\"?".prop_map(String::into_bytes),
        "cmp=:[A-Za-z]{0,9}=*:|sig1=\\(\"@path\"\\);tag=\"[a-z-]{0,30}\"|Bearer [a-z]{0,4}"
            .prop_map(String::into_bytes),
    ];
    proptest::collection::vec((proptest::sample::select(NAMES), value), 0..12)
}

fn request<'a>(
    path: &'a [u8],
    headers: &'a [(&'static str, Vec<u8>)],
    peer: &'a [u8],
) -> Request<'a> {
    let mut pairs: Vec<(&[u8], &[u8])> =
        vec![(b":method", b"POST"), (b":authority", b"gateway.acme.example"), (b":path", path)];
    pairs.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
    Request {
        headers: pairs,
        direct_peer: Some(peer),
        envoy_client: None,
        tls: TlsNames::default(),
        claims: Vec::new(),
        time: Time(1_795_000_000_000_000_000),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn any_request_is_decided_and_nothing_owned_goes_on(
        path in proptest::collection::vec(any::<u8>(), 0..80),
        headers in pairs(),
        peer in proptest::collection::vec(any::<u8>(), 0..20),
        mode in prop_oneof![Just("report"), Just("enforce")],
    ) {
        // let everybody through, so that what goes on is seen
        let config = CONFIG.replace(
            "\"mode\": \"report\"",
            &format!("\"mode\": \"{mode}\""),
        ).replace(
            "\"geo.undeclared\": \"block\"",
            "\"identity.missing\": \"report\", \"identity.unknown\": \"report\", \"identity.conflict\": \"report\", \"provider.admin-path\": \"report\"",
        );
        let screen = Screen::parse(&config).unwrap();
        let request = request(&path, &headers, &peer);
        let decision = screen.decide(&request, None, &mut Worker::default(), "p".into()).unwrap();
        let Outcome::Forward(edits) = &decision.outcome else {
            prop_assert!(decision.status().is_some());
            return Ok(());
        };
        let sent = apply(&request, edits);
        for (name, value) in &sent {
            let spelled = String::from_utf8_lossy(name).replace('_', "-");
            // what the node itself says stands there once, as the node says it
            let mut set = edits.set.iter();
            let ours = set.any(|(set, said)| set.as_bytes() == name && said[..] == value[..]);
            prop_assert!(!screen.watch().reserves(name) || ours, "{spelled} goes on");
            prop_assert!(!ours || sent.iter().filter(|(other, _)| other == name).count() == 1, "{spelled} goes on twice");
            prop_assert!(!ours
                || ["compliance-tag", "x-waybill-route", "anthropic-user-profile-id",
                "anthropic-beta"].contains(&spelled.as_str()), "{spelled}");
            prop_assert!(
                !["authorization", "x-api-key", "x-geo-country"].contains(&spelled.as_str()),
                "{spelled} goes on",
            );
            if spelled.starts_with("signature") {
                let members = sfv::Parser::new(value).parse::<sfv::Dictionary>();
                prop_assert!(!members.is_ok_and(|it| it.contains_key("cmp")), "a signature of ours goes on");
            }
            if spelled == "compliance-tag" {
                let parsed = sfv::Parser::new(value).parse::<sfv::Dictionary>();
                prop_assert!(value.starts_with(b"node=\"acme.example\"") && parsed.is_ok(), "the tag is no dictionary of ours");
            }
        }
    }

    #[test]
    fn forged_headers_never_soften_a_verdict(
        headers in pairs(),
        country in prop_oneof![Just("SG"), Just("CN"), Just("KY")],
    ) {
        // what identifies the caller, and what an earlier filter of the same Envoy sets, isn't
        // forged but given
        let given = ["x-api-key", "authorization", "sec-websocket-protocol", "x-geo-country"];
        let screen = Screen::parse(
            &CONFIG.replace("\"mode\": \"report\"", "\"mode\": \"enforce\""),
        ).unwrap();
        let mut all =
            vec![("x-api-key", b"a".to_vec()), ("x-geo-country", country.as_bytes().to_vec())];
        let plain = screen.decide(
            &request(b"/v1/messages", &all, b"203.0.113.9"),
            None,
            &mut Worker::default(),
            String::new(),
        ).unwrap().verdict.action.strength();
        all.extend(headers.into_iter().filter(|(name, _)| !given.contains(name)));
        let forged = screen.decide(
            &request(b"/v1/messages", &all, b"203.0.113.9"),
            None,
            &mut Worker::default(),
            String::new(),
        ).unwrap().verdict.action.strength();
        prop_assert!(forged >= plain);
    }

    #[test]
    fn a_normal_path_is_its_own_normal_form(path in proptest::collection::vec(any::<u8>(), 0..60)) {
        let once = path::normal(&path).into_owned();
        // a literal question mark may come out of an escape; it would begin a query if it were read
        // again
        if !once.contains(&b'?') {
            prop_assert_eq!(path::normal(&once).into_owned(), once);
        }
    }

    #[test]
    fn a_parameter_taken_out_is_gone(query in "[a-z=&%k65+]{0,40}") {
        let path = format!("/v1?{query}").into_bytes();
        if let Some(without) = path::without_parameter(&path, "key") {
            prop_assert_eq!(path::query_values(&without, "key").count(), 0);
        } else {
            prop_assert_eq!(path::query_values(&path, "key").count(), 0);
        }
    }

    #[test]
    fn addresses_print_as_they_are_parsed(address in any::<IpAddr>(), port in any::<u16>()) {
        let canonical = address.to_canonical();
        let bracketed =
            match address { IpAddr::V4(v4) => format!("{v4}:{port}"), IpAddr::V6(v6) =>
            format!("[{v6}]:{port}") };
        prop_assert_eq!(address_with_port(address.to_string().as_bytes()), Some(canonical));
        prop_assert_eq!(address_with_port(bracketed.as_bytes()), Some(canonical));
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_claims(
        line in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded] {
            let settings =
                ClientAddressSettings { trusted_proxies: Vec::new(), header, nat64: Vec::new() };
            let found = ClientAddress::find(Some(b"198.51.100.7"), &[&line], &settings);
            prop_assert_eq!(found.client, Some("198.51.100.7".parse().unwrap()));
            prop_assert!(!found.malformed);
        }
    }

    #[test]
    fn signatures_of_others_are_left_alone_and_ours_never_stay(
        input in "[ -~]{0,60}",
        signature in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let left = Signatures::take(&[input.as_bytes()], &[&signature]);
        if left.ours.is_some() {
            let again = Signatures::take(
                &[left.signature_input.as_deref().unwrap_or_default().as_bytes()],
                &[left.signature.as_deref().unwrap_or_default().as_bytes()],
            );
            prop_assert!(again.ours.is_none());
        }
    }

    #[test]
    fn places_print_as_they_are_parsed(
        bytes in proptest::collection::vec(any::<u8>(), 0..8),
        text in "[A-Z]{2}(-[A-Z0-9]{1,3})?",
    ) {
        if let Some(place) = Place::from_bytes(&bytes) {
            prop_assert_eq!(Place::from_bytes(place.to_string().as_bytes()), Some(place));
        }
        if let Some(place) = Place::from_bytes(text.as_bytes()) {
            prop_assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn no_text_breaks_the_configuration_reader(text in "\\PC{0,60}", at in 0_usize..2_000, junk in "[\"\\[\\]{}:,0-9a-z]{0,4}") {
        drop(Config::parse(&text));
        // one place of a whole document overwritten
        let mut broken: Vec<u8> = CONFIG.bytes().collect();
        let at = at.min(broken.len());
        broken.splice(at..at, junk.bytes());
        drop(Config::parse(&String::from_utf8(broken).expect("ASCII")));
    }
}

#[test]
fn a_country_is_what_the_dated_list_says() {
    let data: serde_json::Value =
        serde_json::from_str(include_str!("../data/regions.json")).unwrap();
    let listed: Vec<&str> = data
        .get("iso3166_1_alpha2")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    for first in b'A'..=b'Z' {
        for second in b'A'..=b'Z' {
            let code = String::from_utf8(vec![first, second]).unwrap();
            let known = listed.contains(&code.as_str()) || code == "XK";
            assert_eq!(CountryCode::parse(&code).is_ok(), known, "{code}");
        }
    }
}

#[test]
fn times_have_offsets() {
    let second = |text| UnixSeconds::parse(text).ok().map(|time| time.0);
    assert_eq!(second("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(second("1970-01-01T08:00:01+08:00"), Some(1));
    assert_eq!(
        second("1969-12-31T16:00:01-08:00"),
        None,
        "nothing before 1970 is read, not even by its own clock"
    );
    assert_eq!(second("1970-01-01T00:00:00-23:59"), Some(86_340));
    assert_eq!(second("1970-01-01T01:00:00.999+00:30"), Some(1_800));
    for wrong in [
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2027-01-31T00:00:00+24:00",
        "2027-01-31T00:00:00+08:60",
        "2027-01-31T00:00:00+8:00",
        "2027-01-31T00:00:00+0800",
        "2027-01-31T00:00:00Z+08:00",
        "2027-01-31T00:00:00ZZ",
        "2027-01-31T00:00:00Z--Z",
        "2027-01-31T00:00:00.Z5Z",
        "2027-01-31T00:00:00 08:00",
        "2027-01-31T00:00:00é8:00",
        "2027-99-99T00:00:00+08:00",
        "+08:00",
        "",
    ] {
        assert_eq!(second(wrong), None, "{wrong}");
    }
}

#[test]
fn numbers_and_strings_are_written_as_serde_writes_them() {
    for number in [0, 7, 10, 1_000, u64::MAX] {
        let mut out = JsonWriter::default();
        out.number(number);
        assert_eq!(out.into_string(), number.to_string());
    }
    for text in ["", "plain", "quo\"te", "back\\slash", "line\nfeed", "é", "\u{7f}"] {
        let mut out = JsonWriter::default();
        out.string(text);
        assert_eq!(out.into_string(), serde_json::to_string(text).unwrap());
    }
}
