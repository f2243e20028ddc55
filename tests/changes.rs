//! What a compliance officer takes back from a register: what ends, what changed, what a provider's enforcement changes.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A register of files: JSON documents by their names.
fn register(name: &str, files: &[(&str, Value)]) -> String {
    let folder = folder(name);
    for (file, json) in files {
        std::fs::write(folder.join(file), json.to_string()).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill")).args(arguments).env("SOURCE_DATE_EPOCH", "1795000000").output().unwrap()
}

/// What a verb that succeeds prints.
fn printed(arguments: &[&str]) -> String {
    let done = run(arguments);
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn answered(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(&[arguments, &["--json"]].concat())).unwrap()
}

fn digest(n: usize) -> String {
    format!("sha256:{n:08x}{:056}", 0)
}

/// A register in which everything ends that can.
fn ending() -> String {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "exp": 1_798_675_200});
    let nodes = json!({"nodes": [{"id": "b.example", "customer": "rb", "keys": [key],
        "screening": {"status": "passed", "until": "2026-12-31T00:00:00Z"}}]});
    let customers = json!({"customers": [
        {"id": "rb", "kind": "reseller", "ownership": "clear", "credentials": [digest(1)]},
        {"id": "ends", "ownership": "clear",
         "credentials": [{"digest": digest(2), "label": "laptop", "expires": "2026-12-31T00:00:00Z"}, {"digest": digest(3), "expires": "2026-12-31T00:00:00Z"}],
         "screening": {"status": "passed", "until": "2026-12-31T00:00:00Z", "by": "Jo"},
         "agreement": {"id": "terms-3", "accepted": "2026-01-01T00:00:00Z", "until": "2026-12-31T00:00:00Z"},
         "overrides": [{"finding": "geo.undeclared", "action": "allow", "author": "Jo", "until": "2026-12-31T00:00:00Z"}]},
        {"id": "lasts", "ownership": "clear", "credentials": [digest(4)], "screening": {"status": "passed"}}]});
    register("changes-due", &[("customers.json", customers), ("nodes.json", nodes)])
}

#[test]
fn what_ends_is_due_to_the_second() {
    let register = ending();
    let ask = |time: &str, within: &str| answered(&["due", "--register", &register, "--time", time, "--within", within]);
    let of = |list: &Value| -> Vec<(String, String, i64)> {
        let entry = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            (text("customer"), text("what"), entry["days"].as_i64().unwrap())
        };
        list.as_array().unwrap().iter().map(entry).collect()
    };
    // exactly 30 days before: due, and a second earlier not yet
    let all = ask("2026-12-01T00:00:00Z", "30d");
    let whats: Vec<String> = of(&all["due"]).into_iter().map(|(_, what, _)| what).collect();
    assert_eq!(whats, ["agreement", "credential", "credential", "override", "screening", "node-key", "node-screening"]);
    assert!(of(&all["due"]).iter().all(|(customer, what, days)| *days == 30 && (customer == "rb") == what.starts_with("node")));
    assert_eq!(all["due"][1]["label"], "laptop");
    assert_eq!(all["due"][2]["label"], "sha256:00000003");
    assert_eq!(all["due"][0]["until"], "2026-12-31T00:00:00Z");
    assert_eq!(ask("2026-11-30T23:59:59Z", "30d"), json!({"due": [], "ended": []}));
    // other spans, and the shortest
    assert_eq!(of(&ask("2026-12-03T00:00:00Z", "4w")["due"]).len(), 7);
    assert_eq!(of(&ask("2026-12-30T23:00:00Z", "1h")["due"]), of(&ask("2026-12-30T23:00:00Z", "30d")["due"]));
    assert_eq!(ask("2026-12-30T22:59:59Z", "1h")["due"], json!([]));
    // what ends now has ended; a second before it hasn't
    let ended = ask("2026-12-31T00:00:00Z", "30d");
    assert_eq!((of(&ended["due"]).len(), of(&ended["ended"]).len()), (0, 7));
    assert!(of(&ended["ended"]).iter().all(|(_, _, days)| *days == 0));
    assert_eq!(of(&ask("2026-12-30T23:59:59Z", "30d")["due"]).len(), 7);
    assert!(of(&ask("2027-01-02T00:00:00Z", "0d")["ended"]).iter().all(|(_, _, days)| *days == -2));
}

#[test]
fn what_is_due_is_printed_and_put_in_a_table() {
    let register = ending();
    let ask = |more: &[&str]| printed(&[&["due", "--register", &register, "--time", "2026-12-01T00:00:00Z"], more].concat());
    let text = ask(&[]);
    assert!(text.starts_with("due until 2026-12-31T00:00:00Z: 7\n") && text.contains("ended by 2026-12-01T00:00:00Z: nothing"), "{text}");
    assert!(text.contains("  2026-12-31T00:00:00Z     30 days  ends: credential laptop\n"), "{text}");
    let table = ask(&["--csv"]);
    assert!(table.starts_with("state,customer,what,label,until,days\ndue,ends,agreement,terms-3,2026-12-31T00:00:00Z,30\n"), "{table}");
    for wrong in ["30", "d", "-1d", "1.5d", "30dd", "", "30m", "99999999999d"] {
        let done = run(&["due", "--register", &register, &format!("--within={wrong}")]);
        assert_eq!(done.status.code(), Some(2), "{wrong}");
        assert!(String::from_utf8(done.stderr).unwrap().contains("such as 30d"), "{wrong}");
    }
    let done = run(&["due", "--register", "/nonexistent"]);
    assert_eq!(done.status.code(), Some(1));
}

/// A register of three companies behind one holding: `share` of it is held from a restricted place.
fn behind_a_holding(name: &str, share: u32) -> String {
    let company = |id: &str| json!({"id": id, "jurisdiction": "SG", "type": "company"});
    let whole = |of: &str| json!({"owner": "holding", "of": of, "basis_points": 10_000});
    let entities = json!({
        "entities": [company("holding"), company("one"), company("two"), {"id": "cn", "jurisdiction": "CN", "type": "person"}, {"id": "sg", "jurisdiction": "SG", "type": "person"}],
        "holdings": [whole("one"), whole("two"), {"owner": "cn", "of": "holding", "basis_points": share}, {"owner": "sg", "of": "holding", "basis_points": 10_000 - share}]});
    let customer = |n: usize, entity: &str| json!({"id": format!("c-{n}"), "entity": entity, "credentials": [digest(n)], "screening": {"status": "passed"}});
    let customers = json!({"customers": [customer(1, "one"), customer(2, "two"), customer(3, "sg")]});
    register(name, &[("customers.json", customers), ("entities.json", entities)])
}

#[test]
fn a_holding_shows_everybody_whom_it_flips() {
    let (old, new) = (behind_a_holding("changes-old", 5_000), behind_a_holding("changes-new", 5_001));
    assert_eq!(answered(&["diff", &old, &old]), json!({"customers": []}));
    let found = answered(&["diff", &old, &new]);
    let flips: Vec<(&str, &str, &str, &str)> = found["customers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |pointer: &str| it.pointer(pointer).unwrap().as_str().unwrap();
            (text("/id"), text("/change"), text("/before/ownership"), text("/after/ownership"))
        })
        .collect();
    assert_eq!(flips, [("c-1", "changed", "clear", "restricted"), ("c-2", "changed", "clear", "restricted")]);
    let text = printed(&["diff", &old, &new]);
    assert_eq!(
        text,
        "added 0, removed 0, changed 2\nc-1: changed\n  ownership: clear -> restricted\nc-2: changed\n  ownership: clear -> restricted\n"
    );
    let table = printed(&["diff", &old, &new, "--csv"]);
    assert!(table.starts_with("customer,change,field,before,after\nc-1,changed,ownership,clear,restricted\n"), "{table}");
}

#[test]
fn a_snapshot_and_its_register_are_equal() {
    let folder = folder("changes-snapshots");
    let (key, snapshot) = (folder.join("key.json"), folder.join("snapshot"));
    std::fs::write(&key, printed(&["keygen"])).unwrap();
    let (key, snapshot) = (key.to_str().unwrap(), snapshot.to_str().unwrap());
    let register = ending();
    let compile = |register: &str| printed(&["compile", register, "-o", snapshot, "--sign-key", key]);
    assert!(!compile(&register).contains("side"));
    for (old, new) in [(register.as_str(), snapshot), (snapshot, register.as_str()), (snapshot, snapshot)] {
        assert_eq!(answered(&["diff", old, new]), json!({"customers": []}), "{old} {new}");
    }
    // compiled again over the file: nobody, and then those of another register
    assert!(compile(&register).contains("nobody changed side since sequence 1795000000"));
    let said = compile(&behind_a_holding("changes-compiled", 6_000));
    assert!(said.contains("changed side since sequence 1795000000: 6\n    c-1: added\n"), "{said}");
    let said = compile(&behind_a_holding("changes-compiled", 4_000));
    assert!(said.contains("changed side since sequence 1795000000: 2\n    c-1: changed\n      ownership: restricted -> clear\n"), "{said}");
    // a file that is no snapshot is replaced all the same, and that is said
    std::fs::write(snapshot, "no snapshot").unwrap();
    assert!(compile(&register).contains("who changed side can't be told from the file before"));
}

#[test]
fn each_field_that_decides_is_told() {
    let base = json!({"id": "c", "ownership": "clear", "declared": ["SG", "JP"], "credentials": [digest(1)],
        "screening": {"status": "passed", "until": "2027-01-01T00:00:00Z"}});
    let with = |name: &str, value: Value| {
        let mut customer = base.clone();
        customer[name] = value;
        customer
    };
    let old = register("changes-fields-old", &[("customers.json", json!({"customers": [base.clone()]}))]);
    for (field, changed, said) in [
        ("status", with("status", json!("suspended")), "status: active -> suspended"),
        ("screening", with("screening", json!({"status": "passed", "until": "2027-02-01T00:00:00Z"})), "until 2027-02-01T00:00:00Z"),
        ("ownership", with("ownership", json!("unresolved")), "ownership: clear -> unresolved"),
        ("declared", with("declared", json!(["SG"])), "declared: JP, SG -> SG"),
        ("enforcement", with("providers", json!({"anthropic": {"enforcement": "banned"}})), "enforcement: none -> banned by anthropic"),
        (
            "enforcement",
            with(
                "providers",
                json!({"anthropic": {"enforcement": {"status": "restricted", "reason": "high_harm", "expires": "2027-02-01T00:00:00Z"}}}),
            ),
            "enforcement: none -> restricted by anthropic: high harm until 2027-02-01T00:00:00Z",
        ),
        (
            "credentials",
            with("credentials", json!([digest(1), {"digest": digest(2), "label": "ci"}])),
            "-> sha256:00000001, ci (sha256:00000002)",
        ),
        (
            "agreement",
            with("agreement", json!({"id": "t", "accepted": "2026-01-01T00:00:00Z"})),
            "agreement: none -> t accepted 2026-01-01T00:00:00Z",
        ),
        (
            "overrides",
            with("overrides", json!([{"finding": "geo.undeclared", "action": "allow", "author": "Jo", "until": "2027-01-01T00:00:00Z"}])),
            "overrides: none -> allow geo.undeclared by Jo until 2027-01-01T00:00:00Z",
        ),
    ] {
        let new = register("changes-fields-new", &[("customers.json", json!({"customers": [changed]}))]);
        let found = &answered(&["diff", &old, &new])["customers"][0];
        let differing: Vec<&String> =
            found["before"].as_object().unwrap().keys().filter(|name| found["before"][*name] != found["after"][*name]).collect();
        assert_eq!(differing, [field], "{found}");
        let text = printed(&["diff", &old, &new]);
        assert!(text.contains(said), "{text}");
    }
    // the order of countries is no difference, nor is a provider's profile without enforcement
    let same = register("changes-fields-new", &[("customers.json", json!({"customers": [with("declared", json!(["JP", "SG"]))]}))]);
    assert_eq!(answered(&["diff", &old, &same]), json!({"customers": []}));
    let none = register("changes-fields-new", &[("customers.json", json!({"customers": []}))]);
    assert_eq!(answered(&["diff", &old, &none])["customers"][0]["change"], "removed");
    assert_eq!(answered(&["diff", &none, &old])["customers"][0]["before"], Value::Null);
}
