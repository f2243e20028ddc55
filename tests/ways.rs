//! How `waybill check` reads Envoy's files: as Envoy does, with lines, several together, and parts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use waybill::envoy::EnvoyFile;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Envoy 1.40 takes each of these as the boolean; `tests/envoy/test_ways.py` plays some.
#[test]
fn booleans_are_those_of_envoy() {
    for yes in ["true", "True", "TRUE", "yes", "on", "y", "'true'", "\"yes\"", "!!str true"] {
        let (code, told) = check_edge("failure_policy: FAIL_RELOAD", &format!("fail_open: {yes}"));
        assert_eq!(code, 1, "fail_open: {yes}");
        assert!(told.contains("every request pass unscreened"), "{yes}: {told}");
        assert_eq!(check_edge("overwrite: true", &format!("overwrite: {yes}")).0, 0, "{yes}");
    }
    for no in ["false", "no", "off", "'false'", "null", "~"] {
        let reload =
            format!("failure_policy: FAIL_RELOAD\n                        fail_open: {no}");
        assert_eq!(check_edge("failure_policy: FAIL_RELOAD", &reload).0, 0, "{no}");
        let (code, told) = check_edge("overwrite: true", &format!("overwrite: {no}"));
        assert_eq!(code, 1, "overwrite: {no}");
        assert!(told.contains("`overwrite: true`"), "{no}: {told}");
    }
    // what isn't a boolean may be one for Envoy, so it counts for the worse
    for odd in ["[true]", "{}", "tru", "''"] {
        let named = format!("name: waybill\n                    disabled: {odd}");
        assert_eq!(check_edge("name: waybill\n", &format!("{named}\n")).0, 1, "disabled: {odd}");
    }
}

#[test]
fn anchors_merge_keys_and_ignored_names_are_read() {
    let merged = "&private [\n";
    assert!(edge().contains(merged));
    let text = "!ignore shared: &route {cluster: anthropic, timeout: 0s}\nstatic_resources: {}\n";
    let file = EnvoyFile::parse("x", text).unwrap();
    assert_eq!(file.documents.roots.first().unwrap().members().len(), 1, "!ignore is left out");

    // a merge key is followed, and named: Envoy itself refuses it
    let route = "{cluster: anthropic, host_rewrite_literal: api.anthropic.com, timeout: 0s}";
    let (code, told) =
        check_edge(route, "{<<: {cluster: anthropic}, host_rewrite_literal: api.anthropic.com}");
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("note: <<: a merge key"), "{told}");
    let own_wins = "{<<: {cluster: elsewhere}, cluster: anthropic, timeout: 0s}";
    assert_eq!(check_edge(route, own_wins).0, 0);
    let (code, told) = check_edge(route, "{<<: [{cluster_header: x-to}], timeout: 0s}");
    assert_eq!(code, 1);
    assert!(told.contains("named by a header"), "{told}");
}

#[test]
fn text_that_is_too_much_is_refused_soon() {
    // ten times ten, nine times over: a billion values in ten lines
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let before = format!("*a{}, ", i - 1).repeat(10);
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", before.trim_end_matches(", ")));
    }
    let (_, problem) = EnvoyFile::parse("x", &bomb).unwrap_err();
    assert!(problem.message.contains("more than 2000000 values"), "{}", problem.message);
    for open in ["[", "{a: ", "- "] {
        let deep = open.repeat(100_000);
        assert!(EnvoyFile::parse("x", &deep).is_err(), "{open}");
    }
    assert!(EnvoyFile::parse("x", "a: &a [*a]").is_err());
    for text in ["", "~", "\u{0}", "%YAML 9.9\n---\n", "a: b: c", "? [a]\n: b", "\t- a", "&a"] {
        drop(EnvoyFile::parse("x", text)); // no panic
    }
}

/// Envoy reads the first document of a file only, and the last of two equal names.
#[test]
fn what_two_readers_read_differently_is_refused() {
    let (code, told) = check_text("two.yaml", &format!("{}\n---\nadmin: {{}}\n", edge()));
    assert_eq!(code, 1);
    assert!(told.contains("a second document"), "{told}");
    for second in ["disabled: true", "typedConfig: {}"] {
        let named = format!("name: waybill\n                    {second}\n");
        let twice = format!("{named}                    {second}\n");
        let (code, told) = check_edge("name: waybill\n", &twice);
        assert_eq!(code, 1);
        assert!(told.contains("duplicate name"), "{second}: {told}");
    }
}

#[test]
fn a_mistake_has_file_line_and_short_path() {
    let text = edge().replace("\"mode\": \"enforce\"", "\"mode\": \"enforced\"");
    let (_, told) = check_text("lines.yaml", &text);
    let line = 1 + text.lines().position(|line| line.contains("enforced")).unwrap();
    assert!(told.contains(&format!("lines.yaml:{line}: $.policy.mode: ")), "{told}");

    let text = edge().replace(
        "- &router\n",
        "- name: script\n                    disabled: false\n                  - &router\n",
    );
    let (_, told) = check_text("lines.yaml", &text);
    let line = 1 + text.lines().position(|line| line.contains("name: script")).unwrap();
    assert!(told.contains(&format!("lines.yaml:{line}: http_filters[4]: ")), "{told}");
}

#[test]
fn json_and_sarif_say_the_same() {
    let text = edge().replace("overwrite: true", "overwrite: false");
    let path = file("formats.yaml", &text);
    let print = |format: &str| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        let output = command.arg("check").arg(&path).args(["--format", format]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (json, sarif) = (print("json"), print("sarif"));
    assert_eq!(json["ok"], json!(false));
    let errors = json["files"][0]["errors"].as_array().unwrap();
    let run = &sarif["runs"][0];
    let results: Vec<&Value> =
        run["results"].as_array().unwrap().iter().filter(|it| it["level"] == "error").collect();
    assert_eq!(errors.len(), 2);
    assert_eq!(results.len(), errors.len());
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for (error, result) in errors.iter().zip(results) {
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(error["promise"], result["ruleId"]);
        assert_eq!(error["line"], place["region"]["startLine"]);
        assert_eq!(place["artifactLocation"]["uri"], json!(path.to_str().unwrap()));
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        let text = result["message"]["text"].as_str().unwrap();
        assert!(text.starts_with(error["message"].as_str().unwrap()), "{text}");
    }
}

/// A file without a connection manager is judged as far as it goes, with one note.
#[test]
fn parts_are_judged_as_far_as_they_go() {
    let cluster = |overwrite: &str| {
        format!(
            "resources:\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: anthropic\n  \
             typed_extension_protocol_options:\n    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n      \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n      http_filters:\n      \
             - name: injector\n        typed_config:\n          \
             \"@type\": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector\n          \
             overwrite: {overwrite}\n"
        )
    };
    let (code, told) = check_text("cds.yaml", &cluster("true"));
    assert_eq!(code, 0, "{told}");
    assert_eq!(told.matches("this is a part").count(), 1, "{told}");
    let (code, told) = check_text("cds.yaml", &cluster("false"));
    assert_eq!(code, 1);
    assert!(told.contains("overwrite"), "{told}");

    let table = "\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\nname: r\nvirtual_hosts: []\n";
    assert_eq!(check_text("rds.yaml", table).0, 0);
    let manifest = "apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Secret\n";
    assert_eq!(check_text("manifest.yaml", manifest).0, 0);
    let (code, told) = check_text("other.yaml", "colour: blue\n");
    assert_eq!(code, 1);
    assert!(told.contains("no Waybill filter in this file"), "{told}");
}

/// A bootstrap that takes its parts from elsewhere is refused without them.
#[test]
fn what_a_way_names_must_be_among_the_files() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("split");
    std::fs::create_dir_all(&folder).unwrap();
    let text = edge();
    // edge.yaml as bootstrap, LDS and CDS; anchors don't cross files, so the last wins its own
    let (head, rest) = text.split_once("static_resources:\n  listeners:\n").unwrap();
    let (listeners, clusters) = rest.split_once("\n  clusters:\n").unwrap();
    let typed = |list: &str, kind: &str| {
        let resource =
            format!("\n    - \"@type\": type.googleapis.com/envoy.config.{kind}\n      name: ");
        let list = format!("\n{list}").replace("\n    - name: ", &resource);
        format!("resources:\n{list}\n")
    };
    let source = |name: &str| format!("{{path_config_source: {{path: {name}}}}}");
    let bootstrap = format!(
        "{head}dynamic_resources:\n  lds_config: {}\n  cds_config: {}\n",
        source("lds.yaml"),
        source("cds.yaml")
    );
    let paths = [
        ("bootstrap.yaml", bootstrap),
        ("lds.yaml", typed(listeners, "listener.v3.Listener")),
        ("cds.yaml", typed(clusters, "cluster.v3.Cluster")),
    ]
    .map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let [bootstrap, lds, cds] = &paths;
    let (code, told) = check(&[bootstrap, lds, cds]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = check(&[bootstrap]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("give `lds.yaml` to check too"), "{told}");
    let (code, told) = check(&[bootstrap, lds]);
    assert_eq!(code, 1);
    assert!(told.contains("the cluster `anthropic` isn't among the files"), "{told}");
    // the injector is in one file, the way to it in another
    std::fs::write(cds, std::fs::read_to_string(cds).unwrap().replace("overwrite: true", ""))
        .unwrap();
    assert_eq!(check(&[bootstrap, lds, cds]).0, 1);
}

/// envoy/edge.yaml with one change behind the node or on its routes, and what is told.
#[test]
fn nothing_behind_the_node_undoes_it() {
    let mutation = |mutations: &str| {
        format!(
            "- name: late\n                    typed_config:\n                      \
             \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation\n                      \
             mutations: {{{mutations}}}\n                  - &router\n"
        )
    };
    let append = |key: &str, value: &str| {
        format!(
            "request_mutations: [{{append: {{header: {{key: \"{key}\", value: \"{value}\"}}}}}}]"
        )
    };
    let router = "- &router\n";
    let route = "{cluster: anthropic, host_rewrite_literal: api.anthropic.com, timeout: 0s}";
    let to_route = |more: &str| format!("{{cluster: anthropic, {more}}}");
    let table = "route_config:\n                  name: anthropic\n";
    let log = |format: &str| {
        format!(
            "access_log: &events\n                  - name: other\n                    typed_config:\n                      \
             \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog\n                      \
             log_format: {{text_format_source: {{{format}}}}}\n"
        )
    };
    let logs = "access_log: &events\n";
    let event = "%FILTER_STATE(wasm.waybill:PLAIN)%";
    for (from, to, expected) in [
        (
            router,
            mutation(&append(":path", "/v1/organizations")),
            "`:path` is changed after the node",
        ),
        (
            router,
            mutation("query_parameter_mutations: [{remove: x}]"),
            "`:path` is changed after the node",
        ),
        (router, mutation(&append("x-note", "hello")), ""),
        (
            router,
            mutation(&append("x-from", "%DOWNSTREAM_REMOTE_ADDRESS%")),
            "a customer's address is written",
        ),
        (router, mutation("request_mutations: [{remove_on_match: {}}]"), "nobody can tell"),
        (route, to_route("prefix_rewrite: /v1/"), "may then lead to `/v1/organizations`"),
        (route, to_route("prefix_rewrite: /v1/organizations/x"), "may then lead to"),
        (route, to_route("regex_rewrite: {}"), "may then lead to"),
        (route, to_route("prefix_rewrite: /v2"), ""),
        (
            table,
            format!(
                "{table}                  request_headers_to_add: [{{header: {{key: x, value: \
                 \"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%\"}}}}]\n"
            ),
            "a customer's address is written",
        ),
        (
            table,
            format!("{table}                  vhds: {{config_source: {{ads: {{}}}}}}\n"),
            "virtual hosts come by VHDS",
        ),
        (
            logs,
            log(&format!("inline_string: \"{event} %REQ(X-REQUEST-ID)%\\n\"")),
            "beside an event",
        ),
        (
            logs,
            log(&format!("inline_string: \"%START_TIME(%s)% %PATH(NQ)% {event}\\n\"")),
            "prints `%PATH` beside an event",
        ),
        (logs, log("inline_string: \"%REQ(X-REQUEST-ID)%\\n\""), "to where events go"),
        (logs, log("filename: format.txt"), "can't read this text format"),
        (logs, log(&format!("inline_string: \"%RESPONSE_CODE% {event}\\n\"")), ""),
    ] {
        let (code, told) = check_edge(from, &to);
        assert_eq!(code, i32::from(!expected.is_empty()), "{to}: {told}");
        assert!(told.contains(expected), "{to}: {told}");
    }
}

fn edge() -> String {
    std::fs::read_to_string(Path::new(ROOT).join("envoy/edge.yaml")).unwrap()
}

/// envoy/edge.yaml with one change.
fn check_edge(from: &str, to: &str) -> (i32, String) {
    assert!(edge().contains(from), "envoy/edge.yaml has no {from:?} any more");
    check_text("edge-changed.yaml", &edge().replacen(from, to, 1))
}

fn check_text(name: &str, text: &str) -> (i32, String) {
    check(&[&file(name, text)])
}

fn file(name: &str, text: &str) -> PathBuf {
    // tests run side by side
    let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(thread);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn check(paths: &[&PathBuf]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
    let done = command.arg("check").args(paths).current_dir(ROOT).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
}
