//! The client-address cases of `tests/data/xff-cases.json`, through the whole way of a request.

use serde_json::{Value, json};
use waybill::cli::capture::{Capture, text_or_hex};
use waybill::decision::{Screen, Worker};

#[test]
fn every_case_holds() {
    let file: Value = serde_json::from_str(include_str!("data/xff-cases.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 48);
    for case in cases {
        let header = if case["use"] == "xff" { "x-forwarded-for" } else { "forwarded" };
        let config = json!({
            "version": 1, "node": {"id": "acme.example"}, "register": {"customers": []},
            "identity": {"sources": [{"bearer": true}]},
            "client_address": {"trusted_proxies": case["trusted"], "header": header},
        });
        let screen = Screen::parse(&config.to_string()).unwrap();
        let mut request = json!({"method": "GET", "path": "/", "headers": case["headers"]});
        if case["direct_peer"].is_string() {
            request["direct_peer"] = case["direct_peer"].clone();
        }
        let owned = Capture::parse(&request.to_string()).unwrap().complete();
        let request = owned.request();
        let address = screen
            .decide(&request, None, &mut Worker::default(), String::new())
            .unwrap()
            .case
            .evidence
            .address;
        let claimed: Vec<Value> = address.claimed.iter().map(|claim| text_or_hex(claim)).collect();
        let found =
            json!({"client": address.client, "claimed": claimed, "malformed": address.malformed});
        assert_eq!(found, case["expect"], "{}: {}", case["id"], case["note"]);
    }
}
