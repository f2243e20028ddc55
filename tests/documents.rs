//! The documents keep up with the code: a finding without a section, a signal that isn't published,
//! a setting that isn't described, or a link that leads nowhere fails here.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use waybill::config::{Config, schema};
use waybill::decision::disclosure::disclosure;
use waybill::decision::evidence::credential_headers::CredentialHeaders;
use waybill::decision::evidence::shared_state::SharedState;
use waybill::decision::evidence::software::ClientSoftware;
use waybill::decision::evidence::{Watch, relay};
use waybill::decision::request::{Request, Time};
use waybill::decision::signals::{PSEUDO_HEADERS, Signal, Signals};
use waybill::terms::finding::FindingCode;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Whole families are adopted or of the chain, so that a tag's reader knows them by name.
#[test]
fn traits_go_by_family() {
    let adopted = ["customer", "ownership", "geo", "network", "residency", "relay", "sharing"];
    for code in FindingCode::ALL {
        let (family, _) = code.as_str().split_once('.').unwrap();
        assert_eq!(code.is_adopted(), adopted.contains(&family), "{code}");
        assert_eq!(code.is_of_chain(), family == "chain", "{code}");
    }
}

#[test]
fn every_finding_has_its_section() {
    let document = read("docs/findings.md");
    let sections: Vec<(&str, &str)> =
        document.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    let headings: Vec<&str> = sections.iter().map(|(heading, _)| heading.trim()).collect();
    let codes: Vec<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(headings, codes, "sections stand in catalogue order, one for each code");
    for (code, (_, text)) in FindingCode::ALL.iter().zip(&sections) {
        for part in
            ["**When**", "**Why**", "**Evidence**", "**If you are refused**", "**To clear it**"]
        {
            assert!(text.contains(part), "{code} lacks {part}");
        }
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| [`{code}`](#{}) ", code.anchor())));
        let row = row.unwrap_or_else(|| panic!("the table of contents lacks {code}"));
        assert!(
            row.contains(code.default_action().as_str()),
            "{code}: the table says another default action: {row}"
        );
    }
}

/// A document that names a scenario names one that there is.
#[test]
fn scenarios_of_findings_are_there() {
    let folder = Path::new(ROOT).join("tests/scenarios");
    let names = |stem: &str| -> BTreeSet<String> {
        let table: Value =
            serde_json::from_str(&read(&format!("tests/scenarios/{stem}.json"))).unwrap();
        table["cases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|case| case["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let document = read("docs/findings.md");
    let named = document.split('`').skip(1).step_by(2).filter_map(|word| word.split_once('/'));
    let named: Vec<(&str, &str)> =
        named.filter(|(stem, _)| folder.join(stem).with_extension("json").exists()).collect();
    assert!(named.len() > 30, "the document wasn't read");
    for (stem, name) in named {
        assert!(
            names(stem).contains(name),
            "docs/findings.md names `{stem}/{name}`, which tests/scenarios doesn't have"
        );
    }
}

#[test]
fn what_is_read_is_published() {
    // the widest configuration there is: every kind of source
    let config = Config::parse(&read("tests/corpus/config/valid/full.json")).unwrap();
    let document = read("docs/privacy.md");
    let published: BTreeSet<String> = document
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| {
            line.split('|')
                .nth(1)
                .unwrap_or_default()
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    // two tables are published as files
    let tables = relay::marks().into_iter().map(|mark| mark.header);
    let tables: BTreeSet<String> = tables
        .chain(CredentialHeaders::known().headers.into_iter().map(|(header, _)| header))
        .collect();
    for file in ["relay-marks", "credential-headers", "client-software"] {
        assert!(
            document.contains(&format!("(../data/{file}.json)")),
            "docs/privacy.md doesn't name data/{file}.json"
        );
    }
    let read: BTreeSet<String> =
        Watch::new(&config).names().filter(|name| !tables.contains(name)).collect();
    for name in &read {
        assert!(
            published.contains(name),
            "the node reads the header `{name}`, which docs/privacy.md doesn't publish"
        );
    }
    // beside headers: a new signal is published first, then listed here
    let signals: Vec<String> = Signal::all(&config).map(Signal::name).collect();
    let jwt = "metadata.filter_metadata.envoy.filters.http.jwt_authn";
    let (claims, others): (Vec<&String>, Vec<&String>) =
        signals.iter().partition(|name| name.starts_with(jwt));
    let certificate = "| the first URI and DNS name of the client certificate |";
    let rows = [
        ("filter_state.direct", "| filter state `direct` |"),
        ("source.address", "| `source.address` |"),
        ("connection.uri_san_peer_certificate", certificate),
        ("connection.dns_san_peer_certificate", certificate),
    ];
    assert_eq!(others, rows.map(|(name, _)| name));
    assert!(!claims.is_empty(), "the configuration names claims");
    let claims_and_clock = ["| the JWT claims that the configuration names |", "| the clock |"];
    for row in rows.map(|(_, row)| row).iter().chain(&claims_and_clock) {
        assert!(document.contains(row), "docs/privacy.md lacks the row `{row}`");
    }
    for name in PSEUDO_HEADERS {
        assert!(document.contains(&format!("`{name}`")), "docs/privacy.md doesn't publish {name}");
    }
    // a request has no other facts: a new field fails to compile here
    let none = Signals::read(&config, &[], |_| None);
    let Request { headers: _, direct_peer: _, envoy_client: _, tls: _, claims: _, time: _ } =
        none.request(Vec::new(), Time(0));
}

/// A node tells anybody who asks what it reads: the same list that the code reads by.
#[test]
fn what_is_read_is_disclosed() {
    let config = Config::parse(&read("tests/corpus/config/valid/full.json")).unwrap();
    let watch = Watch::new(&config);
    let document: Value = serde_json::from_str(&disclosure(&config, &watch)).unwrap();
    let words = |value: &Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().into()).collect()
    };
    let pseudo = PSEUDO_HEADERS.map(str::to_owned);
    assert_eq!(words(&document["reads"]["headers"]), watch.names().chain(pseudo).collect());
    let asked: BTreeSet<String> =
        Signal::all(&config).map(Signal::name).chain(["clock".to_owned()]).collect();
    assert_eq!(words(&document["reads"]["beside_headers"]), asked);
    // in tables of its own; an inline register has none of addresses
    assert_eq!(document["reads"]["looked_up"], serde_json::json!(["software"]));
    let by_snapshot = Config::parse(&read("tests/corpus/config/valid/snapshot.json")).unwrap();
    let by_snapshot: Value =
        serde_json::from_str(&disclosure(&by_snapshot, &Watch::new(&by_snapshot))).unwrap();
    let facts = serde_json::json!(["software", "country", "network", "asn"]);
    assert_eq!(by_snapshot["reads"]["looked_up"], facts);
    // what is derived over days: all of the family, and where to object
    let family = |code: &FindingCode| {
        code.as_str().starts_with("sharing.") || *code == FindingCode::RelaySuspected
    };
    let family = FindingCode::ALL.iter().filter(|code| family(code)).map(ToString::to_string);
    assert_eq!(words(&document["derives"]["findings"]), family.collect());
    assert_eq!(document["derives"]["objections"], document["appeal_url"]);
    // the published schema has these members and no others, each of a type that fits
    let schema: Value = serde_json::from_str(&read("docs/disclosure.schema.json")).unwrap();
    let members: BTreeSet<String> = document.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, words(&schema["required"]));
    assert_eq!(members, schema["properties"].as_object().unwrap().keys().cloned().collect());
    assert_eq!(
        (document["schema"].as_u64(), &document["policy"]),
        (Some(1), &Value::from(config.policy.revision.as_str()))
    );
    // what the operator leaves out is null
    let minimal = Config::parse(&read("tests/corpus/config/valid/minimal.json")).unwrap();
    let document: Value =
        serde_json::from_str(&disclosure(&minimal, &Watch::new(&minimal))).unwrap();
    assert!(
        ["operator", "contact", "appeal_url", "policy_url", "retention"]
            .iter()
            .all(|name| document[name].is_null()),
        "{document}"
    );
    assert_eq!(
        document["reads"]["beside_headers"],
        serde_json::json!(["clock", "filter_state.direct"])
    );
}

/// As a module likewise: Envoy's calls are declared by name, and each is here.
#[test]
fn the_module_asks_the_host_for_nothing_else() {
    let source = read("src/module/abi.rs");
    let calls = source.split("#[link_name = \"envoy_dynamic_module_callback_").skip(1);
    let calls: BTreeSet<&str> = calls.map(|rest| rest.split('"').next().unwrap()).collect();
    let expected = [
        "get_concurrency",
        "http_add_header",
        "http_clear_route_cache",
        "http_filter_config_define_counter",
        "http_filter_config_define_gauge",
        "http_filter_config_generic_secret_subscribe",
        "http_filter_config_get_generic_secret",
        "http_filter_config_http_callout",
        "http_filter_config_increment_counter",
        "http_filter_config_scheduler_commit",
        "http_filter_config_scheduler_delete",
        "http_filter_config_scheduler_new",
        "http_filter_config_set_gauge",
        "http_filter_get_attribute_string",
        "http_filter_get_generic_secret",
        "http_filter_get_worker_index",
        "http_filter_increment_counter",
        "http_get_downstream_direct_remote_address",
        "http_get_filter_state_bytes",
        "http_get_headers",
        "http_get_headers_size",
        "http_send_response",
        "http_set_filter_state_bytes",
        "http_set_header",
        "log",
    ];
    assert_eq!(calls, expected.into_iter().collect(), "no body, no response");
    let signals = read("src/module/exchange.rs");
    for (question, count) in [(".attribute(", 3), (".filter_state(", 2), (".direct_remote_", 1)] {
        assert_eq!(signals.matches(question).count(), count, "{question}: signals alone ask");
    }
}

/// The host offers far more than a node reads. Whoever asks it for more has to publish that first.
#[test]
fn the_filter_asks_the_host_for_nothing_else() {
    let files = std::fs::read_dir(Path::new(ROOT).join("src/filter")).unwrap();
    let source: String =
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let after = |mark: &str, end: char| -> BTreeSet<String> {
        source
            .split(mark)
            .skip(1)
            .map(|rest| {
                rest.split(end).next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect()
    };
    let words = |words: &[&str]| -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    assert_eq!(
        after("vm::property(", ')'),
        words(&["&signal.path("]),
        "properties are asked for by the list of signals alone"
    );
    assert_eq!(
        after("fn on_", '('),
        words(&[
            "configure",
            "http_call_response",
            "http_request_headers",
            "http_request_trailers",
            "tick"
        ]),
        "neither bodies nor responses of requests; a call's response is the snapshot server's"
    );
    assert_eq!(after("BufferType::", ','), words(&["HttpCallResponseBody", "PluginConfiguration"]));
    assert_eq!(
        after("hostcalls::", '('),
        words(&[
            "define_metric",
            "dispatch_http_call",
            "get_buffer",
            "get_shared_data",
            "record_metric",
            "set_shared_data",
            "set_tick_period"
        ]),
        "through the SDK"
    );
    assert_eq!(
        after("fn proxy_", '('),
        words(&[
            "add_header_map_value",
            "get_current_time_nanoseconds",
            "get_header_map_pairs",
            "get_property",
            "increment_metric",
            "remove_header_map_value",
            "replace_header_map_value",
            "send_local_response",
            "set_property"
        ]),
        "straight from the host"
    );
    assert_eq!(
        source.matches("{ proxy_get_property(").count(),
        1,
        "one way to a property, which is looked at above"
    );
}

#[test]
fn every_setting_is_described() {
    let document = read("docs/configuration.md");
    let mut names = BTreeSet::new();
    collect_names(&schema(), &mut names);
    for name in names {
        assert!(
            document.contains(&format!("`{name}`")) || document.contains(&format!("\"{name}\"")),
            "docs/configuration.md lacks {name}"
        );
    }
}

/// The same for a register's files: their fields stand on its page, or among those of an inline
/// register.
#[test]
fn every_field_of_a_register_is_described() {
    let document = ["docs/register.md", "docs/configuration.md"].map(read).concat();
    let mut names = BTreeSet::new();
    for file in [
        "register",
        "register.customers",
        "register.entities",
        "register.owners",
        "register.nodes",
        "register.sharing",
    ] {
        collect_names(
            &serde_json::from_str(&read(&format!("docs/{file}.schema.json"))).unwrap(),
            &mut names,
        );
    }
    assert!(names.len() > 30, "the schemas weren't read");
    for name in names {
        assert!(
            document.contains(&format!("`{name}`")) || document.contains(&format!("\"{name}\"")),
            "docs/register.md lacks {name}"
        );
    }
}

fn collect_names(schema: &Value, names: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        names.extend(properties.keys().cloned());
    }
    match schema {
        Value::Object(members) => members.values().for_each(|value| collect_names(value, names)),
        Value::Array(items) => items.iter().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}

#[test]
fn every_mark_has_a_source() {
    let marks = relay::marks();
    assert!(marks.len() > 10, "the table wasn't read");
    for mark in marks {
        assert_eq!(mark.header, mark.header.to_ascii_lowercase());
    }
    let table: Value = serde_json::from_str(&read("data/relay-marks.json")).unwrap();
    for row in table["marks"].as_array().unwrap() {
        assert!(row["source"].as_str().unwrap().starts_with("https://"), "{row}");
    }
    assert_eq!(
        table["marks"].as_array().unwrap().len(),
        relay::marks().len(),
        "a row of the table can't be read"
    );
}

#[test]
fn every_known_place_has_a_source() {
    let table: Value = serde_json::from_str(&read("data/credential-headers.json")).unwrap();
    let rows = |list: &str| table[list].as_array().unwrap().clone();
    for row in rows("headers").iter().chain(&rows("subprotocols")) {
        assert!(row["source"].as_str().unwrap().starts_with("https://"), "{row}");
        assert!(["credential", "account"].contains(&row["kind"].as_str().unwrap()), "{row}");
        let name = row.get("header").or(row.get("prefix")).unwrap().as_str().unwrap();
        assert_eq!(name, name.to_ascii_lowercase().replace('_', "-"));
    }
    let known = CredentialHeaders::known();
    assert_eq!(
        (rows("headers").len(), rows("subprotocols").len()),
        (known.headers.len(), known.subprotocols.len())
    );
    // those that the contract names
    for name in [
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "proxy-authorization",
        "openai-project",
        "x-goog-user-project",
    ] {
        assert!(known.headers.iter().any(|(header, _)| header == name), "{name}");
    }
}

/// The contract names these words; the table may have more.
#[test]
fn every_program_has_a_source() {
    let table: Value = serde_json::from_str(&read("data/client-software.json")).unwrap();
    let rows = |list: &str| table[list].as_array().unwrap().clone();
    let mut forms = 0;
    for row in rows("software").iter().chain(&rows("systems")) {
        assert!(row["source"].as_str().unwrap().starts_with("https://"), "{row}");
        for form in row["forms"].as_array().unwrap() {
            let form = form.as_str().unwrap();
            assert_eq!(form, form.to_ascii_lowercase());
            assert!(form.starts_with(|first: char| first.is_ascii_lowercase()), "{form}");
            forms += 1;
        }
    }
    let known = ClientSoftware::known();
    assert_eq!(known.programs().count() + known.systems().count(), forms, "a row can't be read");
    let marked = |is_marked: bool| -> BTreeSet<String> {
        let rows = rows("software").into_iter();
        let rows = rows.filter(|row| (row["people"] == Value::Bool(true)) == is_marked);
        rows.map(|row| row["sdk"].as_str().unwrap().to_owned()).collect()
    };
    let (people, programs) = (marked(true), marked(false));
    for word in [
        "claude-code",
        "codex-cli",
        "gemini-cli",
        "cursor",
        "cline",
        "roo-code",
        "continue",
        "aider",
        "zed",
        "librechat",
        "open-webui",
        "cherry-studio",
    ] {
        assert!(people.contains(word), "{word}");
    }
    for word in [
        "anthropic-python",
        "anthropic-typescript",
        "anthropic-go",
        "anthropic-java",
        "openai-python",
        "openai-node",
        "openai-go",
        "openai-java",
        "google-genai-python",
        "google-genai-js",
        "litellm",
        "langchain",
        "vercel-ai",
        "curl",
        "python-requests",
    ] {
        assert!(programs.contains(word), "{word}");
    }
    assert_eq!(
        known.systems().collect::<BTreeSet<_>>(),
        ["android", "ios", "linux", "macos", "windows"].into()
    );
}

#[test]
fn every_shared_path_has_a_source() {
    let table: Value = serde_json::from_str(&read("data/shared-state.json")).unwrap();
    let rows = table["rows"].as_array().unwrap();
    for row in rows {
        assert!(row["source"].as_str().unwrap().starts_with("https://"), "{row}");
        assert!(row["path"].as_str().unwrap().starts_with('/'), "{row}");
        assert!(!row["methods"].as_array().unwrap().is_empty(), "{row}");
    }
    assert_eq!(rows.len(), SharedState::known().len(), "a row of the table can't be read");
}

#[test]
fn links_lead_somewhere() {
    for file in [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "envoy/register/README.md",
        "tests/data/README.md",
        "docs/glossary.md",
        "docs/demo.md",
        "docs/design.md",
        "docs/findings.md",
        "docs/chain.md",
        "docs/threat-model.md",
        "docs/configuration.md",
        "docs/privacy.md",
        "docs/operating.md",
        "docs/observability.md",
        "docs/own-envoy.md",
        "docs/upgrading.md",
        "docs/ownership.md",
        "docs/register.md",
        "docs/snapshot.md",
    ] {
        let text = read(file);
        let folder = Path::new(ROOT).join(file).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.starts_with("http") || link.starts_with("mailto:") {
                continue;
            }
            let target =
                if path.is_empty() { Path::new(ROOT).join(file) } else { folder.join(path) };
            assert!(target.exists(), "{file}: {link}");
            if !anchor.is_empty() {
                let headings = std::fs::read_to_string(&target).unwrap();
                let found = headings
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| slug(line) == anchor);
                assert!(found, "{file}: {link}");
            }
        }
    }
}

/// A heading's anchor, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}
