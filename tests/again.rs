//! `waybill replay` over a log: whom another policy, region set or register would refuse.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use waybill::cli::capture::Capture;
use waybill::decision::event::Ledger;
use waybill::decision::{Screen, Worker};

/// A folder with the parts of a register, and a log of four requests by two customers and a
/// stranger. It begins with a line of Envoy's own, and ends with one about a request without event.
struct Desk {
    folder: PathBuf,
    ids: Vec<String>,
}

/// The customers: `good` declared SG and HK, `narrow` declared SG.
fn customers() -> Value {
    let scenarios = include_str!("scenarios/geography.json");
    let scenarios: Value = serde_json::from_str(scenarios).unwrap();
    let customers = scenarios["config"]["register"]["customers"].as_array().unwrap();
    json!(customers[..2])
}

fn config(members: &Value) -> Value {
    let mut config = json!({
        "version": 1,
        "node": {"id": "acme.example"},
        "identity": {"sources": [{"header": "x-api-key"}]},
        "geo": {"origin": [{"header": "x-geo-country"}]},
    });
    for (name, value) in members.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn regions(restricted: &[&str]) -> Value {
    json!({"set": "anthropic-api-179", "unsupported": "unlisted", "restricted": restricted})
}

fn inline(restricted: &[&str]) -> Value {
    config(&json!({"register": {"customers": customers()}, "regions": regions(restricted)}))
}

impl Desk {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(folder.join("register")).unwrap();
        let screen = Screen::parse(&inline(&[]).to_string()).unwrap();
        let mut ledger = Ledger::new(1);
        let (mut lines, mut ids) = (vec!["[2026-11-18] started".to_owned()], Vec::new());
        for (key, country) in [("good", "SG"), ("good", "HK"), ("narrow", "HK"), ("other", "HK")] {
            let request = json!({
                "method": "POST", "path": "/v1/messages", "time": 1_795_000_000,
                "headers": [["x-api-key", format!("sk-{key}")], ["x-geo-country", country]],
                "direct_peer": "203.0.113.9",
            });
            let owned = Capture::parse(&request.to_string()).unwrap().complete();
            let mut worker = Worker::default();
            let id = ledger.next_id();
            let decision = screen.decide(&owned.request(), None, &mut worker, id.clone()).unwrap();
            ids.push(id);
            let event = String::from_utf8(ledger.write(&decision).to_vec()).unwrap();
            // as the shipped formats write it, as older ones did, and bare
            lines.push(match ids.len() {
                1 => json!({"event": event, "status": 200}).to_string(),
                2 => format!("{{\"event\":{event}}}"),
                _ => event,
            });
        }
        lines.push(r#"{"event": null, "status": 400}"#.to_owned());
        let desk = Self { folder, ids };
        desk.write("log", &(lines.join("\n") + "\n"));
        desk
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn replay(&self, config: &Value, more: &[&str]) -> Output {
        let config = self.write("config.json", &config.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        command.arg("replay").arg(self.folder.join("log")).arg("--config").arg(config);
        command.args(more).current_dir(&self.folder).output().unwrap()
    }

    fn json(&self, config: &Value, more: &[&str]) -> Value {
        let done = self.replay(config, &[more, &["--json"]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

#[test]
fn the_policy_that_made_a_log_changes_nothing() {
    let desk = Desk::new("again-same");
    assert_eq!(
        desk.json(&inline(&[]), &[]),
        json!({"events": 4, "changed": [], "summary": [], "kept": ["identity.unknown"],
            "passed_over": 2})
    );
}

#[test]
fn countries_that_are_added_refuse_those_who_call_from_there() {
    let desk = Desk::new("again-countries");
    let found = desk.json(&inline(&["HK", "MO"]), &[]);
    let before = json!({"verdict": "report", "reason": "geo.unlisted"});
    let after = json!({"verdict": "block", "reason": "geo.restricted"});
    let changed = |n: usize, customer: &str| {
        let id = &desk.ids[n];
        json!({"id": id, "customer": customer, "before": before, "after": after})
    };
    // the stranger was refused before, for the same reason as now
    assert_eq!(found["changed"], json!([changed(1, "good"), changed(2, "narrow")]));
    let row = |customer: &str| {
        let (before, after) = ("report", "block");
        json!({"customer": customer, "before": before, "after": after, "count": 1})
    };
    assert_eq!(found["summary"], json!([row("good"), row("narrow")]));

    // the same by tomorrow's register
    let key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let snapshot = config(&json!({"snapshot":
        {"cluster": "c", "authority": "a", "path": "/s", "trusted_keys": [key]}}));
    let register = json!({"schema": 1, "regions": regions(&["HK", "MO"])});
    desk.write("register/register.json", &register.to_string());
    desk.write("register/customers.json", &json!({"customers": customers()}).to_string());
    let by_register = desk.json(&snapshot, &["--register", "register"]);
    assert_eq!(by_register["changed"], found["changed"]);

    // the same without a copy of the register
    let register = json!({"schema": 1, "regions": regions(&["MO"])});
    desk.write("register/register.json", &register.to_string());
    let restricted = ["--register", "register", "--restrict", "HK, MO"];
    assert_eq!(desk.json(&snapshot, &restricted)["changed"], found["changed"]);
    let done = desk.replay(&snapshot, &restricted);
    let note = String::from_utf8(done.stderr).unwrap();
    assert!(note.contains("note: restricted before too: MO\n"), "{note}");
    let done = desk.replay(&inline(&[]), &["--restrict", "HK"]);
    assert_eq!(done.status.code(), Some(2));

    // without a register, every customer would be unknown: that answers nothing
    let done = desk.replay(&snapshot, &[]);
    let message = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(message.contains("missing `--register DIR` or `--snapshot FILE`"), "{message}");
}

#[test]
fn a_customer_that_left_is_unknown() {
    let desk = Desk::new("again-left");
    let mut left = inline(&[]);
    left["register"]["customers"].as_array_mut().unwrap().remove(1);
    let found = desk.json(&left, &[]);
    let ids: Vec<&Value> =
        found["changed"].as_array().unwrap().iter().map(|changed| &changed["id"]).collect();
    assert_eq!(ids, [&desk.ids[2]]);
    let after = json!({"verdict": "block", "reason": "identity.unknown"});
    assert_eq!(found["changed"][0]["after"], after);
}

#[test]
fn people_read_it_in_80_columns() {
    let desk = Desk::new("again-text");
    let done = desk.replay(&inline(&["HK", "MO"]), &[]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in [
        "4 events decided again, 2 decided otherwise\n",
        "2 other lines passed over\n",
        "        1  report   block    narrow\n",
        "    report (geo.unlisted) -> block (geo.restricted)\n",
        "        1  identity.unknown\n",
    ] {
        assert!(text.contains(part), "{part}{text}");
    }
}

/// A line that looks like an event and isn't one is named, and stops nothing.
#[test]
fn an_invalid_event_is_named() {
    let desk = Desk::new("again-invalid");
    let log = desk.folder.join("log");
    let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    file.write_all(b"{\"schema\":1,\"vm\":\"x\",\"seq\":0}\n").unwrap();
    let done = desk.replay(&inline(&[]), &["--json"]);
    let message = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && message.contains("log:7: invalid event"), "{message}");
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&found["events"], &found["passed_over"]), (&json!(4), &json!(3)));
}

/// Its schema is published, and `waybill schema replay` prints it.
#[test]
fn its_schema_is_printed() {
    let arguments = ["schema", "replay"];
    let done = Command::new(env!("CARGO_BIN_EXE_waybill")).args(arguments).output().unwrap();
    let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
    let published: Value =
        serde_json::from_str(include_str!("../docs/replay.schema.json")).unwrap();
    assert_eq!(printed, published);
}
