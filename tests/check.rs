//! `waybill check` over Envoy files: the shipped ones are fine, and each thing that would undo a
//! node's promises is refused. Every case is a shipped file with one change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn shipped_files_are_fine() {
    for file in ["demo", "edge", "snapshot", "module", "chain", "transit", "ingress"]
        .map(|name| format!("envoy/{name}.yaml"))
    {
        let (code, errors) = check(&read(&file), file.split('/').next_back().unwrap());
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
        (
            "route-kept",
            "- remove: x-waybill-route",
            "- remove: x-other",
            "a client's own `x-waybill-route`",
        ),
        ("no-overwrite", "overwrite: true", "overwrite: false", "`overwrite: true`"),
        (
            "fail-open",
            "failure_policy: FAIL_RELOAD",
            "failure_policy: FAIL_OPEN",
            "every request pass unscreened",
        ),
        (
            "fail-open-camel",
            "failure_policy: FAIL_RELOAD",
            "failurePolicy: FAIL_OPEN",
            "every request pass unscreened",
        ),
        (
            "fail-open-lower",
            "failure_policy: FAIL_RELOAD",
            "failure_policy: fail_open",
            "every request pass unscreened",
        ),
        (
            "fail-open-number",
            "failure_policy: FAIL_RELOAD",
            "failure_policy: 2",
            "every request pass unscreened",
        ),
        (
            "twice",
            "failure_policy: FAIL_RELOAD",
            "failure_policy: FAIL_RELOAD\n                        failure_policy: FAIL_OPEN",
            "duplicate name",
        ),
        ("camel", removed_geo, "mutations: {}", "a client's own `x-geo-country`"),
        (
            "direct-forged",
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "%REQ(X-FORWARDED-FOR)%",
            "the filter state `direct`",
        ),
        (
            "direct-disabled",
            "- name: envoy.filters.http.set_filter_state",
            "- name: x\n                    disabled: true",
            "the filter state `direct`",
        ),
        (
            "forwarded",
            "\"header\": \"x-forwarded-for\"",
            "\"header\": \"forwarded\"",
            "can't follow `Forwarded`",
        ),
        (
            "mtls",
            "{\"bearer\": true}",
            "{\"bearer\": true}, {\"mtls\": \"uri_san\"}",
            "certificates that aren't verified",
        ),
        ("config", "\"version\": 1", "\"version\": 1, \"polcy\": {}", "did you mean `policy`?"),
        (
            "struct",
            "google.protobuf.StringValue",
            "google.protobuf.Struct",
            "expected a google.protobuf.StringValue",
        ),
        (
            "rewrite",
            "\"version\": 1,",
            "\"version\": 1, \"tag\": {\"keys\": [{\"env\": \"K\"}]},",
            "rewritten after signing",
        ),
        (
            "retry",
            "\"version\": 1,",
            "\"version\": 1, \"tag\": {\"keys\": [{\"env\": \"K\"}]},",
            "a retry on `5xx`",
        ),
    ];
    let (demo, edge) = (read("envoy/demo.yaml"), read("envoy/edge.yaml"));
    for (name, from, to, expected) in cases {
        let shipped = if from_edge.contains(&name) { &edge } else { &demo };
        assert!(shipped.contains(from), "{name}: the shipped file has no {from:?} any more");
        let mut changed = shipped.replace(from, to);
        if name == "camel" {
            changed = changed
                .replace("http_filters:", "httpFilters:")
                .replace("typed_config:", "typedConfig:");
        }
        if name == "rewrite" || name == "retry" {
            let unsafe_route = "route: {prefix_rewrite: /v2, retry_policy: {retry_on: \"connect-failure,5xx\"}, cluster: anthropic";
            assert!(
                changed.contains("route: {cluster: anthropic"),
                "{name}: the route has changed"
            );
            changed = changed.replace("route: {cluster: anthropic", unsafe_route);
        }
        let (code, errors) = check(&changed, &format!("{name}.yaml"));
        assert_eq!(code, 1, "{name} passes");
        assert!(errors.contains(expected), "{name}: {errors}");
    }
}

/// envoy/edge.yaml, signing: fine as it is, and refused with any of these changes.
/// As a dynamic module, Waybill asks Envoy for the direct peer, and can't ask for verified claims.
#[test]
fn what_undoes_a_promise_of_a_module_is_refused() {
    let shipped = read("envoy/module.yaml");
    let state = "envoy.extensions.filters.http.set_filter_state.v3.Config";
    let claim = r#"{"jwt": {"provider": "idp", "claim": "sub"}}"#;
    let with_claim = shipped.replace(r#"{"bearer": true}"#, claim);
    assert_ne!(shipped, with_claim);
    let copied = |key: &str| {
        let filter = format!(
            r#"                  - name: claims
                    typed_config:
                      "@type": type.googleapis.com/{state}
                      on_request_headers: [{{object_key: {key}, factory_key: envoy.string}}]
                  - name: waybill
"#
        );
        with_claim.replacen("                  - name: waybill\n", &filter, 1)
    };
    let remote = shipped.replace(
        "dynamic_module_config: {name: waybill}",
        "dynamic_module_config: {module: {remote: {http_uri: {uri: a}}}}",
    );
    let missing = "sets the filter state `jwt.idp.sub`";
    for (changed, said) in [
        (remote, Some("until Envoy has fetched this module, every request passes unscreened")),
        (copied("jwt.idp.other"), Some(missing)),
        (with_claim.clone(), Some(missing)),
        (copied("jwt.idp.sub"), None),
    ] {
        assert_ne!(changed, shipped);
        let (_, errors) = check(&changed, "module.yaml");
        match said {
            Some(said) => assert!(errors.contains(said), "{said}: {errors}"),
            None => assert!(!errors.contains(missing), "{errors}"),
        }
    }
}

/// Only a module reads secrets of Envoy's. One that doesn't come over SDS stays until a restart.
#[test]
fn keys_from_secrets_are_for_a_module_alone() {
    let signing = |file: &str, key: &str| {
        let changed = read(file).replace(
            "\"version\": 1,",
            &format!("\"version\": 1, \"tag\": {{\"keys\": [{key}]}},"),
        );
        check(&changed, "keys.yaml")
    };
    let bootstrap = r#"{"secret": "key"}"#;
    let over_sds = r#"{"secret": "key", "sds_config": {"ads": {}}}"#;
    for key in [bootstrap, over_sds] {
        let (code, errors) = signing("envoy/edge.yaml", key);
        assert_eq!(code, 1);
        assert!(errors.contains("a wasm filter can't read the secret `key`"), "{errors}");
    }
    let once = "the secret `key` is read once: a leaked key needs a restart";
    for (key, is_told) in [(bootstrap, true), (over_sds, false)] {
        let (code, told) = signing("envoy/module.yaml", key);
        assert_eq!((code, told.contains(once)), (0, is_told), "{told}");
    }
}

#[test]
fn what_breaks_a_signature_is_refused() {
    let edge = read("envoy/edge.yaml")
        .replace("\"version\": 1,", "\"version\": 1, \"tag\": {\"keys\": [{\"env\": \"WAYBILL_SIGNING_KEY\"}]},")
        .replace(
            "vm_id: waybill",
            "vm_id: waybill\n                          environment_variables: {host_env_keys: [WAYBILL_SIGNING_KEY]}",
        );
    let (code, told) = check(&edge, "signing.yaml");
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(": note: $.tag.keys[0].env: ")
            && told.contains("`WAYBILL_SIGNING_KEY` isn't set here"),
        "{told}"
    );

    let (literal, host) = (
        "host_rewrite_literal: api.anthropic.com, timeout: 0s",
        "host_rewrite_literal: api.anthropic.com",
    );
    let retries = "&safe_retries {retry_on: \"connect-failure,refused-stream\", num_retries: 2}";
    let removed = "request_headers_to_remove: &private [";
    let upstream_authority = ", \"upstream_authority\": \"api.anthropic.com\"";
    let options = "auto_config: {http_protocol_options: {}, http2_protocol_options: {}}";
    let routed = "- match: {prefix: /}\n                          route: {cluster: anthropic,";
    let to_fallback = "- match: {prefix: /, headers: [{name: x-waybill-route, string_match: {exact: fallback}}]}\n                          route: {cluster: anthropic, host_rewrite_literal: api.other.example}\n                        ";
    let cases: &[(&str, &str, String, &str)] = &[
        ("prefix", literal, format!("{host}, prefix_rewrite: /v2"), "rewritten after signing"),
        ("regex", literal, format!("{host}, regexRewrite: {{pattern: {{regex: a}}, substitution: b}}"), "rewritten after signing"),
        ("policy", literal, format!("{host}, path_rewrite_policy: {{name: x}}"), "rewritten after signing"),
        ("internal-redirect", literal, format!("{host}, internal_redirect_policy: {{}}"), "a redirect inside Envoy"),
        ("other-host", host, "host_rewrite_literal: api.other.example".into(), "signed for `api.anthropic.com`, but the request is sent to `api.other.example`"),
        ("no-host", literal, "timeout: 0s".into(), "signed for `api.anthropic.com`, but the request is sent to the name"),
        ("auto-host", host, "auto_host_rewrite: true".into(), "chosen after signing"),
        ("host-header", host, "host_rewrite_header: x-host".into(), "chosen after signing"),
        (
            "weighted",
            "{cluster: anthropic, host_rewrite_literal: api.anthropic.com, timeout: 0s}",
            "{weighted_clusters: {clusters: [{name: anthropic, weight: 1, host_rewrite_literal: api.anthropic.com}, {name: openai, weight: 1}]}}".into(),
            "to the name that the client chose",
        ),
        ("no-authority", upstream_authority, String::new(), "signed for the name that the client chose, but the request is sent to `api.anthropic.com`"),
        ("retry", "\"connect-failure,refused-stream\"", "\"connect-failure, reset\"".into(), "a retry on `reset`"),
        ("retry-camel", literal, format!("{host}, retryPolicy: {{retryOn: 5xx}}"), "a retry on `5xx`"),
        ("retry-typed", literal, format!("{host}, retry_policy_typed_config: {{}}"), "send one signature twice"),
        ("retry-cluster", options, format!("retry_policy: {{retry_on: 5xx}}\n          {options}"),
            "clusters.anthropic.retry_policy.retry_on: a retry on `5xx`"),
        ("hedge", retries, format!("{retries}\n                      hedge_policy: {{hedge_on_per_try_timeout: true}}"), "hedging sends one signature twice"),
        ("mirror", literal, format!("{host}, request_mirror_policies: [{{cluster: openai}}]"), "a mirrored request"),
        ("remove", removed, format!("{removed}Compliance-Chain, "), "`Compliance-Chain` is changed after the node"),
        ("add", removed, format!("request_headers_to_add: [{{header: {{key: signature, value: x}}}}]\n                  {removed}"), "`signature` is changed after the node"),
        (
            "mutation",
            "- &router",
            "- name: late\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation\n                      mutations: {request_mutations: [{append: {header: {key: \":path\", value: /}}}]}\n                  - &router".into(),
            "`:path` is changed after the node",
        ),
        ("variable", "host_env_keys: [WAYBILL_SIGNING_KEY]", "host_env_keys: [OTHER]".into(), "can't see the variable `WAYBILL_SIGNING_KEY`"),
        (
            "rerouted",
            routed,
            format!("{to_fallback}{routed}"),
            "", // nothing is sent there: the node has no such entry
        ),
    ];
    for (name, from, to, expected) in cases {
        assert!(edge.contains(from), "{name}: envoy/edge.yaml has no {from:?} any more");
        let (code, told) = check(&edge.replacen(from, to, 1), &format!("signing-{name}.yaml"));
        assert_eq!(code, i32::from(!expected.is_empty()), "{name}: {told}");
        assert!(told.contains(expected), "{name}: {told}");
    }
    let routes = "\"routes\": {\"fallback\": {\"authority\": \"api.another.example\"}}, \"policy\"";
    let (code, told) = check(
        &edge.replacen(routed, &format!("{to_fallback}{routed}"), 1).replacen(
            "\"policy\"",
            routes,
            1,
        ),
        "signing-reroute.yaml",
    );
    assert_eq!(code, 1);
    assert!(
        told.contains(
            "signed for `api.another.example`, but the request is sent to `api.other.example`"
        ),
        "{told}"
    );
    // without keys nothing is signed, and none of this matters
    let unsigned =
        read("envoy/edge.yaml").replacen(literal, &format!("{host}, prefix_rewrite: /v2"), 1);
    assert_eq!(check(&unsigned, "unsigned.yaml").0, 0);
}

#[test]
fn shared_state_is_told_once() {
    let edge = read("envoy/edge.yaml");
    let told = |text: &str, name: &str| {
        check(text, name).1.matches("`provider.shared-state` only reports").count()
    };
    assert_eq!(told(&edge, "shared-state.yaml"), 1, "two filters, one note");
    let blocked = edge.replace(
        "\"mode\": \"enforce\"",
        "\"mode\": \"enforce\", \"actions\": {\"provider.shared-state\": \"block\"}",
    );
    assert_eq!(told(&blocked, "shared-state-blocked.yaml"), 0);
    assert_eq!(
        told(&read("envoy/ingress.yaml"), "shared-state-ingress.yaml"),
        0,
        "it has no account with anybody"
    );
}

#[test]
fn keys_are_looked_at_where_they_are_set() {
    let config = r#"{"version": 1, "node": {"id": "a.example", "upstream_authority": "b.example"}, "register": {"customers": []},
        "identity": {"sources": [{"bearer": true}]}, "tag": {"keys": [{"env": "WAYBILL_TEST_KEY"}]}}"#;
    let run = |value: Option<&str>| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("keys-{}.json", value.map_or(0, str::len)));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        command.arg("check").arg(&file).env_remove("WAYBILL_TEST_KEY");
        let done = value
            .iter()
            .fold(&mut command, |command, value| command.env("WAYBILL_TEST_KEY", value))
            .output()
            .unwrap();
        (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let keygen = |arguments: &[&str]| {
        let made = Command::new(env!("CARGO_BIN_EXE_waybill"))
            .arg("keygen")
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(made.stdout).unwrap()
    };
    let (code, told) = run(None);
    assert_eq!(code, 0);
    assert!(
        told.contains("note: $.tag.keys[0].env: the variable `WAYBILL_TEST_KEY` isn't set here"),
        "{told}"
    );
    let (code, told) = run(Some(&keygen(&[])));
    assert_eq!(code, 0);
    assert!(!told.contains("$.tag"), "{told}");
    let (code, told) = run(Some(&keygen(&["--expires", "2020-01-01T00:00:00Z"])));
    assert_eq!(code, 0, "a date in the past is never a mistake");
    assert!(told.contains("note: $.tag.keys: no key counts now"), "{told}");
    let (code, told) = run(Some("very-secret"));
    assert_eq!(code, 1);
    assert!(
        told.contains("$.tag.keys[0].env: invalid private Ed25519 key")
            && !told.contains("very-secret"),
        "{told}"
    );
}

#[test]
fn an_injector_before_the_node_is_refused() {
    let demo = read("envoy/demo.yaml");
    let injector = "http_filters:\n                  - name: injector\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector\n                      overwrite: true";
    let (code, errors) = check(&demo.replacen("http_filters:", injector, 1), "injector.yaml");
    assert_eq!(code, 1);
    assert!(errors.contains("injected before the node"), "{errors}");
}

/// The other verbs say of a configuration that is no text what `check` says.
#[test]
fn a_configuration_that_is_no_text_is_told_by_every_verb() {
    let demo = read("envoy/demo.yaml");
    let request = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-text.json");
    std::fs::write(&request, r#"{"method": "GET", "path": "/"}"#).unwrap();
    for (name, from, to) in [
        ("bytes", "google.protobuf.StringValue", "google.protobuf.BytesValue"),
        ("struct", "google.protobuf.StringValue", "google.protobuf.Struct"),
        ("typed-struct", "google.protobuf.StringValue", "xds.type.v3.TypedStruct"),
        ("nothing", "configuration:", "configured:"),
    ] {
        assert!(demo.contains(from), "{name}");
        let file = format!("no-text-{name}.yaml");
        let (code, told) = check(&demo.replace(from, to), &file);
        let told = told
            .lines()
            .find(|line| line.contains("expected a google.protobuf.StringValue"))
            .unwrap_or_else(|| panic!("{name}: {told}"));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        for verb in ["explain", "verify-tag"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
            let done = command
                .arg(verb)
                .arg("--config")
                .arg(&path)
                .arg("--request")
                .arg(&request)
                .output()
                .unwrap();
            let errors = String::from_utf8(done.stderr).unwrap();
            assert_eq!((code, done.status.code()), (1, Some(1)), "{name} {verb}");
            let (_, what) = told.split_once(": expected").unwrap();
            assert!(errors.contains(&format!(": expected{what}")), "{name} {verb}: {errors}");
        }
    }
}

/// A filter that `waybill` stands nowhere in is known by its configuration, in whatever it is
/// wrapped.
#[test]
fn a_filter_is_known_by_its_configuration() {
    let filter = |configuration: &str| {
        format!(
            "resources:\n- name: other\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    \
             config: {{name: other, vm_config: {{code: {{local: {{filename: x.wasm}}}}}}, configuration: {configuration}}}\n"
        )
    };
    for (name, configuration, expected) in [
        (
            "struct",
            r#"{"@type": type.googleapis.com/google.protobuf.Struct, value: {version: 1, node: {id: a}, identity: {}}}"#,
            true,
        ),
        (
            "bytes",
            r#"{"@type": type.googleapis.com/google.protobuf.BytesValue, value: eyJub2RlIjogMSwgImlkZW50aXR5IjogMn0=}"#,
            true,
        ),
        (
            "other-struct",
            r#"{"@type": type.googleapis.com/google.protobuf.Struct, value: {rules: [1]}}"#,
            false,
        ),
        (
            "other-bytes",
            r#"{"@type": type.googleapis.com/google.protobuf.BytesValue, value: eyJydWxlcyI6IDF9}"#,
            false,
        ),
    ] {
        let (code, told) = check(&filter(configuration), &format!("known-{name}.yaml"));
        assert_eq!(code, 1, "{name}");
        let said = if expected {
            "expected a google.protobuf.StringValue"
        } else {
            "no Waybill filter in this file"
        };
        assert!(told.contains(said), "{name}: {told}");
    }
}

#[test]
fn other_files_get_a_clear_answer() {
    for (name, text, expected) in [
        ("other.yaml", "static_resources: {}", "no Waybill filter in this file"),
        ("broken.yaml", "a: [", "can't be read as one YAML or JSON document"),
        ("empty.yaml", "", "invalid JSON"),
    ] {
        let (code, errors) = check(text, name);
        assert_eq!(code, 1, "{name}");
        assert!(errors.contains(expected), "{name}: {errors}");
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["check", "no/such/file.yaml"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("can't be read"));
    let wrong_use =
        Command::new(env!("CARGO_BIN_EXE_waybill")).args(["check", "--wrong"]).output().unwrap();
    assert_eq!(wrong_use.status.code(), Some(2));
}

fn check(text: &str, name: &str) -> (i32, String) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    let done =
        Command::new(env!("CARGO_BIN_EXE_waybill")).arg("check").arg(&file).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}
