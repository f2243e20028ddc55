//! A register's `sharing.json` on its way to the node: compiled, inspected, compared, replayed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// A register of one customer with these signals, its snapshot, and a log of two events.
struct Desk {
    folder: PathBuf,
}

const UNTIL: &str = "2999-01-01T00:00:00Z";

fn signal(credential: Option<&str>, finding: &str, until: &str) -> Value {
    json!({"customer": "busy", "credential": credential, "finding": finding,
        "since": "2000-01-01T00:00:00Z", "until": until, "evidence": format!("why {finding}"),
        "numbers": {"days": 5}})
}

/// What a snapshot has of it.
fn compiled(credential: Option<&str>, finding: &str) -> Value {
    json!({"credential": credential, "finding": finding, "until": UNTIL,
        "evidence": format!("why {finding}")})
}

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

impl Desk {
    fn new(name: &str, signals: &Value) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(folder.join("register")).unwrap();
        let desk = Self { folder };
        let credentials = json!([
            {"digest": digest("ab"), "label": "production"},
            {"digest": digest("cd"), "label": "ci"},
            digest("ef")
        ]);
        let customer = json!({"id": "busy", "credentials": credentials, "jwt": ["busy"],
            "mtls": ["spiffe://acme/busy"], "screening": {"status": "passed"},
            "ownership": "clear", "declared": ["SG"]});
        desk.write("register/customers.json", &json!({"customers": [customer]}).to_string());
        desk.write("register/sharing.json", &json!({"signals": signals}).to_string());
        desk.write("key", &desk.run(&["keygen"]));
        desk.run(&["compile", "register", "-o", "snapshot", "--sign-key", "key"]);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut waybill = Command::new(env!("CARGO_BIN_EXE_waybill"));
        let done = waybill.args(arguments).current_dir(&self.folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn signals(&self, what: &str, name: &str) -> Value {
        let found = self.json(&["inspect", "snapshot", what, name]);
        found["customer"]["signals"].clone()
    }
}

fn three() -> Value {
    json!([
        signal(Some("production"), "sharing.addresses", UNTIL),
        signal(None, "sharing.clients", UNTIL),
        signal(None, "relay.suspected", UNTIL),
    ])
}

#[test]
fn inspect_shows_what_concerns_a_name() {
    let desk = Desk::new("signals-inspect", &three());
    let of = |name: &str| desk.signals("--credential", &digest(name));
    let suspected = compiled(None, "relay.suspected");
    let labelled = compiled(Some("production"), "sharing.addresses");
    let unlabelled = compiled(None, "sharing.clients");
    assert_eq!(of("ab"), json!([labelled, suspected]));
    assert_eq!(of("cd"), json!([suspected]));
    assert_eq!(of("ef"), json!([unlabelled, suspected]));
    assert_eq!(desk.signals("--claim", "busy"), json!([unlabelled, suspected]));
    assert_eq!(desk.signals("--certificate", "spiffe://acme/busy"), json!([suspected]));
    // of the customer all, each once
    let all = desk.signals("--customer", "busy");
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 3, "{all:?}");
    for one in [&labelled, &unlabelled, &suspected] {
        assert!(all.contains(one), "{one} {all:?}");
    }
}

/// A customer's own entry has none, in a register and in a configuration: only that file has.
#[test]
fn signals_stand_in_one_file() {
    let desk = Desk::new("signals-alone", &three());
    let mut file: Value = serde_json::from_slice(
        &std::fs::read(desk.folder.join("register/customers.json")).unwrap(),
    )
    .unwrap();
    file["customers"][0]["signals"] = three();
    desk.write("register/customers.json", &file.to_string());
    let mut waybill = Command::new(env!("CARGO_BIN_EXE_waybill"));
    let done = waybill.arg("check").arg(desk.folder.join("register")).output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(told.contains("$.customers[0].signals: unknown field"), "{told}");
}

/// Signals of a label that is gone are a mistake, but not where the file is about to be written
/// anew: it could never be.
#[test]
fn signals_of_nobody_are_left_out_of_the_next_file() {
    let desk = Desk::new("signals-gone", &three());
    let gone = json!([
        signal(Some("gone"), "sharing.addresses", UNTIL),
        {"customer": "nobody", "finding": "relay.suspected", "since": "2000-01-01T00:00:00Z",
            "until": UNTIL, "evidence": "2 kinds"},
        signal(Some("production"), "sharing.addresses", UNTIL),
    ]);
    desk.write("register/sharing.json", &json!({"signals": gone}).to_string());
    desk.write("log", &line(1, "header x-api-key", Some("ci"), None));
    let waybill = |arguments: &[&str]| {
        let mut waybill = Command::new(env!("CARGO_BIN_EXE_waybill"));
        let done = waybill.args(arguments).current_dir(&desk.folder).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let named = ["$.signals[0].credential", "$.signals[1].customer"];
    let (code, told) = waybill(&["check", "register"]);
    assert!(code == Some(1) && named.iter().all(|name| told.contains(name)), "{told}");
    let (code, told) =
        waybill(&["sharing", "log", "--register", "register", "-o", "register/sharing.json"]);
    let lines = told.lines().filter(|line| line.contains("this signal is left out: unknown"));
    assert!(code == Some(0) && lines.count() == 2, "{told}");
    assert!(named.iter().all(|name| told.contains(name)), "{told}");
    assert_eq!(waybill(&["check", "register"]).0, Some(0));
}

#[test]
fn diff_tells_signals() {
    let old = Desk::new("signals-diff-old", &json!([]));
    let new = Desk::new("signals-diff-new", &three());
    let path = |desk: &Desk, name: &str| desk.folder.join(name).to_str().unwrap().to_owned();
    let of = |desk: &Desk| [path(desk, "register"), path(desk, "snapshot")];
    for (before, after) in [(of(&new), of(&new)), (of(&old), of(&old))] {
        for (before, after) in [(&before[0], &after[1]), (&before[1], &after[0])] {
            assert_eq!(new.json(&["diff", before, after]), json!({"customers": []}));
        }
    }
    for (before, after) in of(&old).iter().flat_map(|it| of(&new).map(|other| (it.clone(), other)))
    {
        let found = new.json(&["diff", &before, &after]);
        assert_eq!(found["customers"][0]["before"]["signals"], json!([]), "{found}");
        let signals = found["customers"][0]["after"]["signals"].as_array().unwrap();
        assert_eq!(signals.len(), 3, "{before} {after}: {signals:?}");
        let text = new.run(&["diff", &before, &after]);
        let words =
            format!("sharing.addresses of production: why sharing.addresses, until {UNTIL}");
        assert!(text.contains("signals: none -> ") && text.contains(&words), "{text}");
    }
    // an end that moves is a change
    let mut later = three();
    later[1]["until"] = json!("2999-02-01T00:00:00Z");
    let later = Desk::new("signals-diff-later", &later);
    let found = new.json(&["diff", &path(&new, "snapshot"), &path(&later, "snapshot")]);
    assert_eq!(found["customers"].as_array().unwrap().len(), 1, "{found}");
}

/// A line of a log: an event by the credential of that label, as a node writes it.
fn line(seq: u32, source: &str, label: Option<&str>, finding: Option<&str>) -> String {
    let findings: Vec<Value> = finding
        .iter()
        .map(|code| json!({"code": code, "action": "report", "evidence": "as it was"}))
        .collect();
    let mut credential = json!({"source": source});
    if let Some(label) = label {
        credential["label"] = json!(label);
    }
    let event = json!({
        "schema": 1, "id": format!("0000000000000001-{seq}"), "time": "2026-11-18T00:00:00.000Z",
        "node": "acme.example", "customer": "busy", "credential": credential, "mode": "enforce",
        "verdict": if finding.is_some() { "report" } else { "allow" }, "would_be": null,
        "route": null, "reason": finding, "findings": findings, "user": null, "origin": "SG",
        "address": "203.0.113.0/24", "network": null, "chain": null,
        "policy": "0123456789abcdef", "snapshot": 1, "vm": "0000000000000001", "seq": seq,
        "prev": null,
    });
    json!({"event": event.to_string()}).to_string() + "\n"
}

/// What the register of today says counts: nothing of sharing is kept from events.
#[test]
fn replay_judges_signals_anew() {
    let desk = Desk::new("signals-replay", &three());
    let config = json!({
        "version": 1, "node": {"id": "acme.example"},
        "identity": {"sources": [{"header": "x-api-key"}, {"mtls": "uri_san"},
            {"jwt": {"provider": "idp", "claim": "sub"}}]},
        "geo": {"origin": [{"header": "x-geo-country"}]},
        "policy": {"actions": {"sharing.addresses": "block", "sharing.clients": "block"}},
        "snapshot": {"cluster": "c", "authority": "a", "path": "/s",
            "trusted_keys": [desk.run(&["keygen", "--trusted-key", "key"]).trim()]},
    });
    desk.write("config.json", &config.to_string());
    let before = Some("sharing.velocity");
    let log = [
        line(1, "header x-api-key", Some("production"), before),
        line(2, "header x-api-key", Some("ci"), before),
        line(3, "header x-api-key", None, before),
        line(4, "jwt idp sub", None, None),
        line(5, "mtls uri_san", None, None),
    ];
    desk.write("log", &log.concat());
    let replay = |more: &[&str]| {
        let found = desk.json(&[&["replay", "log", "--config", "config.json"], more].concat());
        assert_eq!((&found["events"], &found["kept"]), (&json!(5), &json!([])), "{found}");
        let changed = found["changed"].as_array().unwrap();
        changed
            .iter()
            .map(|it| {
                let seq = it["id"].as_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
                let after = &it["after"];
                (seq, format!("{} {}", after["verdict"], after["reason"]).replace('"', ""))
            })
            .collect::<Vec<_>>()
    };
    let wanted = [
        ("1", "block sharing.addresses"),
        ("2", "report relay.suspected"),
        ("3", "block sharing.clients"),
        ("4", "block sharing.clients"),
        ("5", "report relay.suspected"),
    ]
    .map(|(seq, after)| (seq.to_owned(), after.to_owned()));
    assert_eq!(replay(&["--register", "register"]), wanted);
    assert_eq!(replay(&["--snapshot", "snapshot"]), wanted);
    // by a register without signals nothing is left of those of the events
    desk.write("register/sharing.json", &json!({"signals": []}).to_string());
    let wanted = ["1", "2", "3"].map(|seq| (seq.to_owned(), "allow null".to_owned()));
    assert_eq!(replay(&["--register", "register"]), wanted);
}
