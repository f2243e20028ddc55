//! `waybill explain` with an Envoy file, its exit status, and `waybill test`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const COUNTRIES: &str = "tests/data/mmdb/GeoIP2-Country-Test.mmdb";
/// In that file.
const BRITISH: &str = "81.2.69.160";

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("explain-{name}"));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Exit code, stdout, stderr.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
    let done = command.args(arguments).current_dir(ROOT).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// envoy/edge.yaml, after some replacements that each have to find something.
fn edge(replacements: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(format!("{ROOT}/envoy/edge.yaml")).unwrap();
    let own = [("dist/dbip-country-lite.mmdb", COUNTRIES)];
    for (from, to) in own.iter().chain(replacements) {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

fn request(headers: &Value, more: &Value) -> String {
    let mut request = json!({
        "method": "POST", "authority": "gateway.acme.example", "path": "/v1/messages",
        "headers": headers, "direct_peer": "10.0.0.5",
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => request.as_object_mut().unwrap().remove(name),
            value => request.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    request.to_string()
}

/// What the desk explains of a request through the edge's first node.
fn explained(name: &str, replacements: &[(&str, &str)], request: &str) -> Value {
    let folder = folder(name);
    let config = write(&folder, "edge.yaml", &edge(replacements));
    let request = write(&folder, "request.json", request);
    let arguments = ["explain", "--config", &config, "--filter", "1", "--request", &request];
    let (code, out, errors) = run(&[&arguments[..], &["--json"]].concat());
    assert_eq!((code, errors.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

fn codes(explained: &Value) -> Vec<&str> {
    let findings = explained["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
fn a_client_is_looked_up_where_envoy_looks() {
    let from = |lines: &[&str]| {
        let lines = lines.iter().map(|line| json!(["X-Forwarded-For", line]));
        let forged = [json!(["x-geo-country", "SG"])];
        request(&lines.chain(forged).collect(), &json!({}))
    };
    let cases: [(&[&str], Value, Value, bool); 6] = [
        (&[BRITISH], json!("GB"), json!(BRITISH), false),
        // two lines are one to Envoy
        (&[BRITISH, "10.0.0.9"], json!("GB"), json!(BRITISH), false),
        (&["1.2.3.4, 81.2.69.160,10.0.0.9"], json!("GB"), json!(BRITISH), false),
        // Envoy reads no port: it looks up the balancer, and the node says so
        (&["81.2.69.160:4711"], Value::Null, json!(BRITISH), true),
        (&["unknown"], Value::Null, json!("10.0.0.5"), false),
        (&[], Value::Null, json!("10.0.0.5"), false),
    ];
    for (i, (lines, origin, client, is_disputed)) in cases.iter().enumerate() {
        let explained = explained(&format!("geoip-{i}"), &[], &from(lines));
        assert_eq!(explained["evidence"]["origin"], *origin, "{lines:?}");
        assert_eq!(explained["evidence"]["client"], *client, "{lines:?}");
        assert_eq!(codes(&explained).contains(&"geo.disputed"), *is_disputed, "{lines:?}");
        assert_eq!(explained["notes"], json!([]), "{lines:?}");
    }
}

/// What the capture says that Envoy found is taken, and looked up.
#[test]
fn envoys_own_finding_can_be_told() {
    let told = request(&json!([["x-forwarded-for", "1.2.3.4"]]), &json!({"envoy_client": BRITISH}));
    let explained = explained("told", &[], &told);
    assert_eq!(explained["evidence"]["client"], "1.2.3.4");
    assert!(codes(&explained).contains(&"geo.disputed"), "{explained}");
}

#[test]
fn what_cant_be_played_is_named() {
    let ordinary = request(&json!([["x-forwarded-for", BRITISH]]), &json!({}));
    let before = "                  - &clear_country\n";
    let kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";
    let lua = format!(
        "                  - {{name: script, typed_config: {{\"@type\": {kind}}}}}\n{before}"
    );
    let route = "route: {cluster: anthropic, host_rewrite_literal: api.anthropic.com, timeout: 0s}";
    let overriding = format!(
        "{route}\n                          typed_per_filter_config: {{envoy.filters.http.geoip: {{}}}}"
    );
    let city = "{country: x-geo-country, city: x-city}";
    for (i, (from, to, note)) in [
        (COUNTRIES, "nowhere.mmdb", "`nowhere.mmdb` can't be read"),
        (COUNTRIES, "Cargo.toml", "`Cargo.toml` isn't a valid MMDB"),
        (before, &lua, "filter `script` before the node isn't played"),
        ("object_key: direct", "object_key: other", "no filter before the node sets `direct`"),
        ("{country: x-geo-country}", city, "writes `city` into `x-city`"),
        (route, &overriding, "routes override filter `envoy.filters.http.geoip`"),
        (route, &overriding.replace("envoy.filters.http.geoip", "waybill"), "override the node's"),
        (
            "- name: waybill\n",
            "- disabled: true\n                    name: waybill\n",
            "the node is disabled",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let explained = explained(&format!("gaps-{i}"), &[(from, to)], &ordinary);
        let notes = explained["notes"].as_array().unwrap();
        let is_told = notes.iter().any(|told| told.as_str().unwrap().contains(note));
        assert!(is_told, "{note}: {notes:?}");
    }
    let hostless = request(&json!([]), &json!({"authority": null}));
    let hostless = explained("hostless", &[], &hostless);
    assert!(hostless["notes"].to_string().contains("no host"), "{hostless}");
    // as text, it is the first line
    let folder = folder("first-line");
    let config = write(&folder, "edge.yaml", &edge(&[]));
    let sent = write(&folder, "request.json", &request(&json!([]), &json!({"direct_peer": null})));
    let (_, out, _) = run(&["explain", "--config", &config, "--filter", "2", "--request", &sent]);
    assert!(
        out.starts_with("note: no direct peer: give its address with --direct-peer\n"),
        "{out}"
    );
}

#[test]
fn envoys_own_answer_is_told() {
    let sent = request(&json!([]), &json!({"path": "/v1%2fmessages"}));
    let explained = explained("answer", &[], &sent);
    assert_eq!(explained["envoy"], json!({"status": 400, "why": "an escaped slash"}));
    assert_eq!(explained["verdict"], Value::Null);
    let folder = folder("answer-fails");
    let config = write(&folder, "edge.yaml", &edge(&[]));
    let sent = write(&folder, "request.json", &sent);
    let arguments = ["explain", "--config", &config, "--filter", "1", "--request", &sent];
    assert_eq!(run(&arguments).0, 0);
    assert_eq!(run(&[&arguments[..], &["--fail"]].concat()).0, 1);
    let (code, _, errors) = run(&[&["verify-tag"], &arguments[1..]].concat());
    assert_eq!((code, errors.as_str()), (1, "Envoy answers 400 by itself: an escaped slash\n"));
}

/// A node whose customer `c-1` is in Singapore; what the user's country says decides.
fn bare() -> String {
    let digest = "sha256:f2d4b279b82ad92867af5878fe7482caebdd7b75499868d0362a6e63ff51f046";
    let customer = json!({
        "id": "c-1", "kind": "customer", "status": "active", "credentials": [digest],
        "screening": {"status": "passed", "at": "2026-01-15T00:00:00Z",
            "until": "2099-12-31T00:00:00Z", "by": "test"},
        "ownership": "clear", "declared": ["SG"],
    });
    json!({
        "version": 1, "node": {"id": "gateway.acme.example"},
        "register": {"customers": [customer]}, "regions": {"set": "anthropic-api-179"},
        "identity": {"sources": [{"header": "x-api-key"}]},
        "client_address": {"trusted_proxies": ["10.0.0.0/8"], "header": "x-forwarded-for"},
        "geo": {"origin": [{"header": "x-geo-country"}]},
        "policy": {"mode": "enforce", "actions": {"geo.restricted": {"reroute": "fallback"}}},
        "routes": {"fallback": {"provider": "fallback", "authority": "api.fallback.example"}},
        "provider": {"name": "anthropic"},
        "disclosure": {"contact": "c@acme.example", "appeal_url": "https://acme.example/appeal"},
    })
    .to_string()
}

fn sent(key: &str, country: &str) -> Value {
    json!({
        "method": "POST", "authority": "gateway.acme.example", "path": "/v1/messages",
        "headers": [["x-api-key", key], ["x-geo-country", country], ["x-forwarded-for", "1.2.4.8"]],
        "direct_peer": "10.0.0.5",
    })
}

#[test]
fn the_exit_status_says_the_verdict() {
    let folder = folder("fail");
    let config = write(&folder, "config.json", &bare());
    for (key, country, verdict, code) in [
        ("sk-example", "SG", "allow", 0),
        ("sk-example", "JP", "report", 0),
        ("sk-example", "CN", "reroute", 0),
        ("sk-other", "SG", "block", 1),
    ] {
        let sent = write(&folder, "request.json", &sent(key, country).to_string());
        let arguments = ["explain", "--config", &config, "--request", &sent, "--json"];
        let (plain, out, _) = run(&arguments);
        let explained: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(explained["verdict"]["action"], verdict);
        assert_eq!(plain, 0, "{verdict}");
        assert_eq!(run(&[&arguments[..], &["--fail"]].concat()).0, code, "{verdict}");
    }
}

#[test]
fn an_operators_cases_hold_or_dont() {
    let folder = folder("cases");
    let config = write(&folder, "config.json", &bare());
    let case = |name: &str, key: &str, country: &str, expect: Value| {
        let request = sent(key, country);
        json!({"name": name, "request": request, "expect": expect})
    };
    let sound = json!([
        case(
            "at home",
            "sk-example",
            "SG",
            json!({
                "verdict": "allow", "findings": [], "headers": [["x-forwarded-for", "1.2.4.8"]],
            })
        ),
        case(
            "elsewhere",
            "sk-example",
            "JP",
            json!({"verdict": "report", "reason": "geo.undeclared"})
        ),
        case(
            "restricted",
            "sk-example",
            "CN",
            json!({
                "verdict": "reroute", "reason": "geo.restricted",
                "findings": ["geo.undeclared", "geo.restricted"],
                "headers": [["x-waybill-route", "fallback"]],
            })
        ),
        case(
            "unknown",
            "sk-other",
            "SG",
            json!({"verdict": "block", "reason": "identity.unknown"})
        ),
    ]);
    let good = write(&folder, "good.json", &sound.to_string());
    let (code, out, errors) = run(&["test", &good, "--config", &config]);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert_eq!(out.lines().count(), 5);
    assert!(out.ends_with("4 cases, 0 failed\n"), "{out}");
    assert!(out.starts_with(&format!("ok    {good}: at home\n")), "{out}");

    let wrong = json!([
        case("verdict", "sk-example", "SG", json!({"verdict": "block"})),
        case("reason", "sk-other", "SG", json!({"verdict": "block", "reason": "geo.restricted"})),
        case("findings", "sk-example", "JP", json!({"verdict": "report", "findings": []})),
        case(
            "header",
            "sk-example",
            "SG",
            json!({
                "verdict": "allow", "headers": [["x-forwarded-for", "5.6.7.8"], ["x-none", "a"]],
            })
        ),
    ]);
    let bad = write(&folder, "bad.json", &wrong.to_string());
    let (code, out, _) = run(&["test", &good, &bad, "--config", &config]);
    assert_eq!(code, 1);
    for line in [
        "FAIL  ",
        "      verdict: expected \"block\", found \"allow\"\n",
        "      reason: expected \"geo.restricted\", found \"identity.unknown\"\n",
        "      findings: expected [], found [\"geo.undeclared\"]\n",
        "      header: expected [\"x-forwarded-for\",\"5.6.7.8\"], found [[\"x-forwarded-for\",\"1.2.4.8\"]]\n",
        "      header: expected [\"x-none\",\"a\"], found []\n",
        "8 cases, 4 failed\n",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let (code, out, _) = run(&["test", &bad, "--config", &config, "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["count"], &told["failed"]), (1, &json!(4), &json!(4)));
    let difference = json!([{"what": "verdict", "expected": "block", "found": "allow"}]);
    assert_eq!(told["cases"][0]["differences"], difference);
    assert_eq!(told["cases"][0]["explained"]["verdict"]["action"], "allow");
}

/// The mistakes of a file of cases are told with their places, and its exit code is 2.
#[test]
fn a_file_of_no_cases_is_told() {
    let folder = folder("no-cases");
    let config = write(&folder, "config.json", &bare());
    let expecting =
        |expect: Value| json!([{"name": "a", "request": sent("a", "SG"), "expect": expect}]);
    for (i, (text, place, message)) in [
        ("{".to_owned(), "$", "invalid JSON"),
        ("{}".to_owned(), "$", "expected a list"),
        ("[]".to_owned(), "no cases", ""),
        (expecting(json!({"verdict": "refuse"})).to_string(), "$[0].expect.verdict", "`refuse`"),
        (expecting(json!({})).to_string(), "$[0].expect", "missing field `verdict`"),
        (
            expecting(json!({"verdict": "block", "reason": "geo.restrikted"})).to_string(),
            "$[0].expect.reason",
            "`geo.restrikted`",
        ),
        (
            expecting(json!({"verdict": "block", "findings": ["geo.restricted", "geo.none"]}))
                .to_string(),
            "$[0].expect.findings[1]",
            "`geo.none`",
        ),
        (
            expecting(json!({"verdict": "block", "headers": [["a"]]})).to_string(),
            "$[0].expect.headers[0]",
            "expected a pair",
        ),
        (
            expecting(json!({"verdict": "block", "reasons": 1})).to_string(),
            "$[0].expect.reasons",
            "unknown field",
        ),
        (
            json!([{"name": "a", "request": {"path": "/"}, "expect": {"verdict": "allow"}}])
                .to_string(),
            "$[0].request",
            "missing field `method`",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let file = write(&folder, &format!("{i}.json"), &text);
        let (code, out, errors) = run(&["test", &file, "--config", &config]);
        assert_eq!((code, out.as_str()), (2, ""), "{text}");
        assert!(errors.contains(place) && errors.contains(message), "{text}: {errors}");
    }
    let good = write(&folder, "good.json", &expecting(json!({"verdict": "block"})).to_string());
    for arguments in [
        vec!["test", &good, "--config", "nowhere.json"],
        vec!["test", "nowhere.json", "--config", &config],
        vec!["test", &good, "--config", &config, "--register", "envoy/register"],
        vec!["test", &good],
    ] {
        assert_eq!(run(&arguments).0, 2, "{arguments:?}");
    }
}

/// The cases that docs/configuration.md shows.
#[test]
fn the_documented_cases_hold() {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/configuration.md")).unwrap();
    let part = page.split("## Your own cases: `test`").nth(1).unwrap();
    let block = part.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = folder("documented");
    let config = write(&folder, "edge.yaml", &edge(&[]));
    let cases = write(&folder, "cases.json", block);
    let (code, out, _) = run(&["test", &cases, "--config", &config, "--filter", "1"]);
    assert!(code == 0 && out.contains("2 cases, 0 failed"), "{out}");
}

/// A register of files is compiled in memory for the look-ups.
#[test]
fn a_register_stands_in_for_a_snapshot() {
    let folder = folder("register");
    let register = folder.join("register");
    std::fs::create_dir_all(&register).unwrap();
    write(&register, "register.json", r#"{"schema": 1}"#);
    let digest = "sha256:f2d4b279b82ad92867af5878fe7482caebdd7b75499868d0362a6e63ff51f046";
    let screening = json!({"status": "passed", "at": "2026-01-15T00:00:00Z", "by": "test"});
    let customer = json!({"id": "c-1", "credentials": [digest], "screening": screening,
        "ownership": "clear", "declared": ["SG"]});
    write(&register, "customers.json", &json!({"customers": [customer]}).to_string());
    let sent = json!({"method": "POST", "path": "/v1/messages", "direct_peer": "203.0.113.7",
        "headers": [["x-api-key", "sk-example"]], "authority": "gateway.acme.example"});
    let request = write(&folder, "request.json", &sent.to_string());
    let case = json!([{"name": "known", "request": sent, "expect": {"verdict": "report"}}]);
    let cases = write(&folder, "cases.json", &case.to_string());
    let arguments = ["explain", "--config", "envoy/snapshot.yaml", "--request", &request, "--json"];
    let directory = register.to_str().unwrap();
    let (_, out, _) = run(&arguments);
    let without: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(without["evidence"]["customer"], Value::Null);
    assert!(without["notes"][0].as_str().unwrap().starts_with("no register: without"), "{without}");
    let (_, out, _) = run(&[&arguments[..], &["--register", directory]].concat());
    let with: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&with["evidence"]["customer"], &with["notes"]), (&json!("c-1"), &json!([])));
    let config = ["--config", "envoy/snapshot.yaml"];
    assert_eq!(run(&[&["test", &cases], &config[..]].concat()).0, 1);
    let (code, out, _) = run(&[&["test", &cases, "--register", directory], &config[..]].concat());
    assert_eq!(code, 0, "{out}");
}
