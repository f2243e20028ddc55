//! What the desk makes of a client's request is what a real Envoy made of it:
//! `tests/data/envoy/arrival.json`, which `tests/envoy/test_arrival.py` writes and holds against
//! the real one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waybill::cli::arrival::{Approach, EnvoyAnswer, SentRequest};
use waybill::cli::capture::text_or_hex;
use waybill::cli::headers::HeaderList;
use waybill::envoy::yaml::parse;

/// Stands for the address of the machine's own, which the desk can't know.
const OWN: &str = "own-address";

/// The router takes these out of an internal request, so the upstream didn't see them.
const OF_THE_ROUTER: [&str; 10] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
];

#[test]
fn the_desk_receives_as_envoy_does() {
    let table: Value =
        serde_json::from_str(include_str!("data/envoy/arrival.json")).expect("a JSON file");
    let (mut differences, mut count) = (Vec::new(), 0);
    for part in table["parts"].as_array().unwrap() {
        let requests = part["requests"].as_array().unwrap();
        for row in part["rows"].as_array().unwrap() {
            let manager = parse(&row["manager"].to_string()).unwrap().roots;
            let approach = Approach::new(&manager[0], false, |_| false);
            let peer = row["peer"].as_str().unwrap();
            let answers = row["answers"].as_array().unwrap();
            assert_eq!(answers.len(), requests.len());
            for (request, answer) in requests.iter().zip(answers) {
                count += 1;
                let (found, wanted) =
                    (found(&approach, peer, request), wanted(request, answer, peer));
                if found != wanted {
                    let place = format!("{} from {peer}", row["name"]);
                    differences.push(format!("{place}: {request}: Envoy {wanted}, desk {found}"));
                }
            }
        }
    }
    assert!(count > 11_000, "{count} answers");
    let shown: Vec<&String> = differences.iter().take(20).collect();
    assert!(differences.is_empty(), "{} of {count} differ: {shown:#?}", differences.len());
}

fn found(approach: &Approach, peer: &str, request: &Value) -> Value {
    let mut headers = HeaderList::default();
    headers.push(b":method", request["method"].as_str().unwrap().as_bytes());
    headers.push(b":authority", request["authority"].as_str().unwrap().as_bytes());
    headers.push(b":path", &bytes(&request["path"]));
    for pair in request["headers"].as_array().unwrap() {
        headers.push(pair[0].as_str().unwrap().to_lowercase().as_bytes(), &bytes(&pair[1]));
    }
    let sent = SentRequest {
        headers: &headers,
        peer: Some(peer.as_bytes()),
        client: None,
        has_claims: false,
    };
    let mut notes = Vec::new();
    match approach.receive(&sent, &mut notes) {
        // the table was asked over HTTP/1
        Ok(_) if notes.iter().any(|note| note.starts_with("over HTTP/1 Envoy answers 400")) => {
            json!({"status": 400})
        }
        Ok(arrival) => shown(
            json!(arrival.client),
            value_of(arrival.headers.first(":path").unwrap()),
            arrival
                .headers
                .iter()
                .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value_of(value))),
        ),
        Err(EnvoyAnswer { status, .. }) => json!({"status": status}),
    }
}

fn wanted(request: &Value, answer: &Value, peer: &str) -> Value {
    if answer.get("status").is_some() {
        return answer.clone();
    }
    let pair = |pair: &Value| (pair[0].as_str().unwrap().to_lowercase(), pair[1].clone());
    let list = |value: &Value| value.as_array().unwrap().iter().map(pair).collect::<Vec<_>>();
    let mut headers = list(&request["headers"]);
    for pair in answer.get("drops").map(list).unwrap_or_default() {
        let at = headers.iter().position(|other| *other == pair).unwrap();
        headers.remove(at);
    }
    let usual = json!([["x-forwarded-proto", "http"]]);
    headers.extend(list(answer.get("adds").unwrap_or(&usual)));
    headers.push((":authority".into(), or(answer, "authority", &request["authority"])));
    shown(
        or(answer, "client", &json!(peer)),
        or(answer, "path", &request["path"]),
        headers.into_iter(),
    )
}

fn or(answer: &Value, member: &str, usual: &Value) -> Value {
    answer.get(member).unwrap_or(usual).clone()
}

/// What is compared: names with their values in order, without what neither side can know.
fn shown(client: Value, path: Value, headers: impl Iterator<Item = (String, Value)>) -> Value {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers.filter(|(name, _)| name != ":path" && name != ":method") {
        lines.entry(name).or_default().push(match value.as_str() {
            Some(text) => text.replace(&format!(",{OWN}"), "").replace(OWN, ""),
            None => value.to_string(),
        });
    }
    lines.values_mut().for_each(|values| values.sort());
    let is_internal = lines.contains_key("x-envoy-internal");
    lines.retain(|name, values| {
        let is_of_router = is_internal && OF_THE_ROUTER.contains(&name.as_str());
        // Envoy's writer of HTTP/1 adds it for a request without a body
        let is_added = name == "content-length" && values == &["0"];
        !is_of_router && !is_added && (name != "x-forwarded-for" || values != &[""])
    });
    json!({"client": client, "path": path, "headers": lines})
}

/// A value as the table has it: text if ASCII, controls and all.
fn value_of(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.into(),
        _ => text_or_hex(bytes),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    let Some(digits) = value["hex"].as_str() else {
        return value.as_str().unwrap().as_bytes().to_vec();
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
