//! `waybill check` over Envoy files: the shipped ones are fine, and each thing that would undo a node's
//! promises is refused. Every case is a shipped file with one change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn shipped_files_are_fine() {
    for file in ["envoy/demo.yaml", "envoy/edge.yaml", "envoy/snapshot.yaml"] {
        let (code, errors) = check(&read(file), file.split('/').next_back().unwrap());
        assert_eq!(code, 0, "{file}: {errors}");
    }
}

#[test]
fn what_undoes_a_promise_is_refused() {
    // the demo's countries come from its snapshot; edge.yaml has Envoy's geoip filter
    let removed_geo = "mutations:\n                        request_mutations:\n                          - remove: x-geo-country";
    let from_edge = ["geo-kept", "camel", "forwarded"];
    let cases = [
        ("no-direct", "object_key: direct", "object_key: indirect", "the filter state `direct`"),
        ("geo-kept", removed_geo, "mutations: {}", "a client's own `x-geo-country`"),
        ("route-kept", "- remove: x-waybill-route", "- remove: x-other", "a client's own `x-waybill-route`"),
        ("no-overwrite", "overwrite: true", "overwrite: false", "`overwrite: true`"),
        ("fail-open", "failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN", "every request pass unscreened"),
        ("fail-open-camel", "failure_policy: FAIL_RELOAD", "failurePolicy: FAIL_OPEN", "every request pass unscreened"),
        ("fail-open-lower", "failure_policy: FAIL_RELOAD", "failure_policy: fail_open", "every request pass unscreened"),
        ("fail-open-number", "failure_policy: FAIL_RELOAD", "failure_policy: 2", "every request pass unscreened"),
        (
            "twice",
            "failure_policy: FAIL_RELOAD",
            "failure_policy: FAIL_RELOAD\n                        failure_policy: FAIL_OPEN",
            "stands twice",
        ),
        ("camel", removed_geo, "mutations: {}", "a client's own `x-geo-country`"),
        ("direct-forged", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "%REQ(X-FORWARDED-FOR)%", "the filter state `direct`"),
        (
            "direct-disabled",
            "- name: envoy.filters.http.set_filter_state",
            "- name: x\n                    disabled: true",
            "the filter state `direct`",
        ),
        ("forwarded", "\"header\": \"x-forwarded-for\"", "\"header\": \"forwarded\"", "can't follow `Forwarded`"),
        ("mtls", "{\"bearer\": true}", "{\"bearer\": true}, {\"mtls\": \"uri_san\"}", "certificates that nobody verified"),
        ("config", "\"version\": 1", "\"version\": 1, \"polcy\": {}", "did you mean `policy`?"),
        ("struct", "google.protobuf.StringValue", "google.protobuf.Struct", "isn't a google.protobuf.StringValue"),
        ("rewrite", "\"version\": 1,", "\"version\": 1, \"tag\": {\"keys\": [{\"env\": \"K\"}]},", "rewritten after signing"),
        ("retry", "\"version\": 1,", "\"version\": 1, \"tag\": {\"keys\": [{\"env\": \"K\"}]},", "a retry on `5xx`"),
    ];
    let (demo, edge) = (read("envoy/demo.yaml"), read("envoy/edge.yaml"));
    for (name, from, to, expected) in cases {
        let shipped = if from_edge.contains(&name) { &edge } else { &demo };
        assert!(shipped.contains(from), "{name}: the shipped file has no {from:?} any more");
        let mut changed = shipped.replace(from, to);
        if name == "camel" {
            changed = changed.replace("http_filters:", "httpFilters:").replace("typed_config:", "typedConfig:");
        }
        if name == "rewrite" || name == "retry" {
            let unsafe_route = "route: {prefix_rewrite: /v2, retry_policy: {retry_on: \"connect-failure,5xx\"}, cluster: anthropic";
            assert!(changed.contains("route: {cluster: anthropic"), "{name}: the route has changed");
            changed = changed.replace("route: {cluster: anthropic", unsafe_route);
        }
        let (code, errors) = check(&changed, &format!("{name}.yaml"));
        assert_eq!(code, 1, "{name} passes");
        assert!(errors.contains(expected), "{name}: {errors}");
    }
}

#[test]
fn an_injector_before_the_node_is_refused() {
    let demo = read("envoy/demo.yaml");
    let injector = "http_filters:\n                  - name: injector\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector\n                      overwrite: true";
    let (code, errors) = check(&demo.replacen("http_filters:", injector, 1), "injector.yaml");
    assert_eq!(code, 1);
    assert!(errors.contains("injected before the node"), "{errors}");
}

#[test]
fn other_files_get_a_clear_answer() {
    for (name, text, expected) in [
        ("other.yaml", "static_resources: {}", "no Waybill filter is in this file"),
        ("broken.yaml", "a: [", "can't be read as one YAML or JSON document"),
        ("empty.yaml", "", "this is not JSON"),
    ] {
        let (code, errors) = check(text, name);
        assert_eq!(code, 1, "{name}");
        assert!(errors.contains(expected), "{name}: {errors}");
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_waybill")).args(["check", "no/such/file.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("can't be read"));
    let wrong_use = Command::new(env!("CARGO_BIN_EXE_waybill")).args(["check", "--wrong"]).output().unwrap();
    assert_eq!(wrong_use.status.code(), Some(2));
}

fn check(text: &str, name: &str) -> (i32, String) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_waybill")).arg("check").arg(&file).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}
