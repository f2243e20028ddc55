//! What a compliance officer takes back from a register: what ends, what changed, what a provider's
//! enforcement changes.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

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
    Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", "1795000000")
        .output()
        .unwrap()
}

/// What a verb that succeeds prints.
fn printed(arguments: &[&str]) -> String {
    let done = run(arguments);
    assert_eq!(
        done.status.code(),
        Some(0),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

fn answered(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(&[arguments, &["--json"]].concat())).unwrap()
}

fn digest(n: usize) -> String {
    format!("sha256:{n:08x}{:056}", 0)
}

/// A register in which everything ends that can, in a folder of its own: tests run at once.
fn ending(name: &str) -> String {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "exp": 1_798_675_200});
    let nodes = json!({"nodes": [{"id": "b.example", "customer": "rb", "keys": [key],
        "screening": {"status": "passed", "until": "2026-12-31T00:00:00Z"}}]});
    let customers = json!({"customers": [
        {"id": "rb", "kind": "reseller", "ownership": "clear", "credentials": [digest(1)]},
        {"id": "ends", "name": "Ends & Co", "ownership": "clear",
         "credentials": [{"digest": digest(2), "label": "laptop",
             "expires": "2026-12-31T00:00:00Z"},
             {"digest": digest(3), "expires": "2026-12-31T00:00:00Z"}],
         "screening": {"status": "passed", "until": "2026-12-31T00:00:00Z", "by": "Jo"},
         "agreement": {"id": "terms-3", "accepted": "2026-01-01T00:00:00Z", "until": "2026-12-31T00:00:00Z"},
         "overrides": [{"finding": "geo.undeclared", "action": "allow", "author": "Jo", "until": "2026-12-31T00:00:00Z"}]},
        {"id": "lasts", "ownership": "clear", "credentials": [digest(4)], "screening": {"status": "passed"}}]});
    register(name, &[("customers.json", customers), ("nodes.json", nodes)])
}

#[test]
fn what_ends_is_due_to_the_second() {
    let register = ending("changes-due");
    let ask = |time: &str, within: &str| {
        answered(&["due", "--register", &register, "--time", time, "--within", within])
    };
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
    assert_eq!(
        whats,
        [
            "agreement",
            "credential",
            "credential",
            "override",
            "screening",
            "node-key",
            "node-screening"
        ]
    );
    assert!(of(&all["due"]).iter().all(
        |(customer, what, days)| *days == 30 && (customer == "rb") == what.starts_with("node")
    ));
    assert_eq!(all["due"][1]["label"], "laptop");
    assert_eq!(all["due"][2]["label"], "sha256:00000003");
    assert_eq!(all["due"][0]["until"], "2026-12-31T00:00:00Z");
    assert_eq!(ask("2026-11-30T23:59:59Z", "30d"), json!({"due": [], "ended": []}));
    // the same second by clocks elsewhere
    for elsewhere in [
        "2026-12-01T08:00:00+08:00",
        "2026-11-30T16:00:00-08:00",
        "2026-12-01T05:30:00+05:30",
        "2026-12-01T00:00:00-00:00",
    ] {
        assert_eq!(ask(elsewhere, "30d"), all, "{elsewhere}");
    }
    assert_eq!(ask("2026-12-01T00:00:00+00:01", "30d")["due"], json!([]));
    // other spans, and the shortest
    assert_eq!(of(&ask("2026-12-03T00:00:00Z", "4w")["due"]).len(), 7);
    assert_eq!(
        of(&ask("2026-12-30T23:00:00Z", "1h")["due"]),
        of(&ask("2026-12-30T23:00:00Z", "30d")["due"])
    );
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
    let register = ending("changes-due-table");
    let ask = |more: &[&str]| {
        printed(
            &[&["due", "--register", &register, "--time", "2026-12-01T00:00:00Z"], more].concat(),
        )
    };
    let text = ask(&[]);
    assert!(
        text.starts_with("due until 2026-12-31T00:00:00Z: 7\n")
            && text.contains("ended by 2026-12-01T00:00:00Z: nothing"),
        "{text}"
    );
    assert!(
        text.contains("  2026-12-31T00:00:00Z     30 days  ends Ends & Co: credential laptop\n"),
        "{text}"
    );
    let table = ask(&["--csv"]);
    assert!(
        table.starts_with("state,customer,name,what,label,until,days\ndue,ends,Ends & Co,agreement,terms-3,2026-12-31T00:00:00Z,30\n"),
        "{table}"
    );
    for wrong in ["30", "d", "-1d", "1.5d", "30dd", "", "30m", "99999999999d"] {
        let done = run(&["due", "--register", &register, &format!("--within={wrong}")]);
        assert_eq!(done.status.code(), Some(2), "{wrong}");
        assert!(String::from_utf8(done.stderr).unwrap().contains("such as 30d"), "{wrong}");
    }
    let done = run(&["due", "--register", "/nonexistent"]);
    assert_eq!(done.status.code(), Some(1));
}

/// A day in a table counts until it is over, in UTC.
#[test]
fn a_day_counts_until_its_end() {
    let folder = folder("changes-day");
    std::fs::write(
        folder.join("customers.csv"),
        "id,ownership,screening_status,screening_until\nc,clear,passed,2027-01-31\n",
    )
    .unwrap();
    let ended = |time: &str| {
        let found = answered(&["due", "--register", folder.to_str().unwrap(), "--time", time]);
        (found["due"].as_array().unwrap().len(), found["ended"].as_array().unwrap().len())
    };
    assert_eq!(ended("2027-01-31T23:59:59Z"), (1, 0));
    assert_eq!(ended("2027-02-01T07:59:59+08:00"), (1, 0));
    assert_eq!(ended("2027-02-01T00:00:00Z"), (0, 1));
    assert_eq!(ended("2027-01-01T23:59:59Z"), (0, 0));
    assert_eq!(ended("2027-01-02T00:00:00Z"), (1, 0));
}

/// A register of three companies behind one holding: `share` of it is held from a restricted place.
fn behind_a_holding(name: &str, share: u32) -> String {
    let company = |id: &str| json!({"id": id, "jurisdiction": "SG", "type": "company"});
    let whole = |of: &str| json!({"owner": "holding", "of": of, "basis_points": 10_000});
    let entities = json!({
        "entities": [company("holding"), company("one"), company("two"), {"id": "cn", "jurisdiction": "CN", "type": "person"}, {"id": "sg", "jurisdiction": "SG", "type": "person"}],
        "holdings": [whole("one"), whole("two"),
            {"owner": "cn", "of": "holding", "basis_points": share},
            {"owner": "sg", "of": "holding", "basis_points": 10_000 - share}]});
    let customer = |n: usize, entity: &str| json!({"id": format!("c-{n}"), "entity": entity, "credentials": [digest(n)], "screening": {"status": "passed"}});
    let customers =
        json!({"customers": [customer(1, "one"), customer(2, "two"), customer(3, "sg")]});
    register(name, &[("customers.json", customers), ("entities.json", entities)])
}

#[test]
fn a_holding_shows_everybody_whom_it_flips() {
    let (old, new) =
        (behind_a_holding("changes-old", 5_000), behind_a_holding("changes-new", 5_001));
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
    assert_eq!(
        flips,
        [("c-1", "changed", "clear", "restricted"), ("c-2", "changed", "clear", "restricted")]
    );
    let text = printed(&["diff", &old, &new]);
    assert_eq!(
        text,
        "added 0, removed 0, changed 2\nc-1: changed\n  ownership: clear -> restricted\nc-2: changed\n  ownership: clear -> restricted\n"
    );
    let table = printed(&["diff", &old, &new, "--csv"]);
    assert!(
        table.starts_with(
            "customer,change,field,before,after\nc-1,changed,ownership,clear,restricted\n"
        ),
        "{table}"
    );
}

#[test]
fn a_snapshot_and_its_register_are_equal() {
    let folder = folder("changes-snapshots");
    let (key, snapshot) = (folder.join("key.json"), folder.join("snapshot"));
    std::fs::write(&key, printed(&["keygen"])).unwrap();
    let (key, snapshot) = (key.to_str().unwrap(), snapshot.to_str().unwrap());
    let register = ending("changes-due-snapshot");
    let compile =
        |register: &str| printed(&["compile", register, "-o", snapshot, "--sign-key", key]);
    assert!(!compile(&register).contains("differently"));
    for (old, new) in
        [(register.as_str(), snapshot), (snapshot, register.as_str()), (snapshot, snapshot)]
    {
        assert_eq!(answered(&["diff", old, new]), json!({"customers": []}), "{old} {new}");
    }
    // compiled again over the file: nobody, and then those of another register
    assert!(
        compile(&register).contains("no customer is decided differently since sequence 1795000000")
    );
    let said = compile(&behind_a_holding("changes-compiled", 6_000));
    assert!(
        said.contains(
            "customers decided differently since sequence 1795000000: 6\n    c-1: added\n"
        ),
        "{said}"
    );
    let said = compile(&behind_a_holding("changes-compiled", 4_000));
    assert!(said.contains("customers decided differently since sequence 1795000000: 2\n    c-1: changed\n      ownership: restricted -> clear\n"), "{said}");
    // a file that is no snapshot is replaced all the same, and that is said
    std::fs::write(snapshot, "no snapshot").unwrap();
    assert!(compile(&register).contains("not compared with the snapshot before"));
}

#[test]
fn each_field_that_decides_is_told() {
    let base = json!({"id": "c", "ownership": "clear", "declared": ["SG", "JP"],
        "credentials": [digest(1)],
        "screening": {"status": "passed", "until": "2027-01-01T00:00:00Z"}});
    let with = |name: &str, value: Value| {
        let mut customer = base.clone();
        customer[name] = value;
        customer
    };
    let old =
        register("changes-fields-old", &[("customers.json", json!({"customers": [base.clone()]}))]);
    for (field, changed, said) in [
        ("status", with("status", json!("suspended")), "status: active -> suspended"),
        (
            "screening",
            with("screening", json!({"status": "passed", "until": "2027-02-01T00:00:00Z"})),
            "until 2027-02-01T00:00:00Z",
        ),
        ("ownership", with("ownership", json!("unresolved")), "ownership: clear -> unresolved"),
        ("declared", with("declared", json!(["SG"])), "declared: JP, SG -> SG"),
        (
            "enforcement",
            with("providers", json!({"anthropic": {"enforcement": "banned"}})),
            "enforcement: none -> banned by anthropic",
        ),
        (
            "enforcement",
            with(
                "providers",
                json!({"anthropic": {"enforcement": {"status": "restricted", "reason": "high_harm",
                    "expires": "2027-02-01T00:00:00Z"}}}),
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
            with(
                "overrides",
                json!([{"finding": "geo.undeclared", "action": "allow", "author": "Jo", "until": "2027-01-01T00:00:00Z"}]),
            ),
            "overrides: none -> allow geo.undeclared by Jo until 2027-01-01T00:00:00Z",
        ),
    ] {
        let new =
            register("changes-fields-new", &[("customers.json", json!({"customers": [changed]}))]);
        let found = &answered(&["diff", &old, &new])["customers"][0];
        let differing: Vec<&String> = found["before"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| found["before"][*name] != found["after"][*name])
            .collect();
        assert_eq!(differing, [field], "{found}");
        let text = printed(&["diff", &old, &new]);
        assert!(text.contains(said), "{text}");
    }
    // the order of countries is no difference, nor is a provider's profile without enforcement
    let same = register(
        "changes-fields-new",
        &[("customers.json", json!({"customers": [with("declared", json!(["JP", "SG"]))]}))],
    );
    assert_eq!(answered(&["diff", &old, &same]), json!({"customers": []}));
    let ordered = |providers: [&str; 2]| {
        let entries = providers
            .map(|provider| format!(r#""{provider}": {{"enforcement": "banned"}}"#))
            .join(", ");
        let text = format!(
            r#"{{"customers": [{{"id": "c", "ownership": "clear", "providers": {{{entries}}}}}]}}"#
        );
        let folder = folder(&format!("changes-ordered-{}", providers.join("-")));
        std::fs::write(folder.join("customers.json"), text).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let (one, other) = (ordered(["anthropic", "openai"]), ordered(["openai", "anthropic"]));
    assert_eq!(answered(&["diff", &one, &other]), json!({"customers": []}));
    let none = register("changes-fields-new", &[("customers.json", json!({"customers": []}))]);
    assert_eq!(answered(&["diff", &old, &none])["customers"][0]["change"], "removed");
    assert_eq!(answered(&["diff", &none, &old])["customers"][0]["before"], Value::Null);
}

/// A user profile as Anthropic's API answers: the names and words are those of its reference and of
/// the official SDK.
fn profile(id: &str, status: &str, actions: Value) -> Value {
    json!({"type": "user_profile", "id": id, "access_type": "passthrough", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z",
        "enforcement_status": status, "enforcement_actions": actions, "external_user_details": {}, "metadata": {}, "name": null, "programs": {}})
}

fn action(kind: &str, reason: &str, opened: &str, expires: Option<&str>) -> Value {
    json!({"id": "enac_01", "type": kind, "reason": reason, "opened_at": opened,
        "expires_at": expires, "action": null})
}

fn with_profiles(name: &str) -> String {
    let customer = |n: usize, providers: Value| {
        json!({"id": format!("c-{n}"), "ownership": "clear",
        "credentials": [digest(n)], "providers": providers})
    };
    let customers = json!({"customers": [
        customer(1, json!({"anthropic": {"profile": "uprof_1"}})),
        customer(2, json!({"anthropic": {"profile": "uprof_2", "enforcement": "banned"}})),
        customer(3, json!({"openai": {"profile": "safe-3"}})),
        customer(4, json!({}))]});
    register(name, &[("customers.json", customers)])
}

fn enforce(register: &str, answer: &Value, more: &[&str]) -> Output {
    let file = Path::new(register).with_extension("answer.json");
    std::fs::write(&file, answer.to_string()).unwrap();
    run(&[&["enforcement", file.to_str().unwrap(), "--register", register], more].concat())
}

#[test]
fn a_providers_word_reaches_the_register() {
    let register = with_profiles("changes-enforcement");
    let both = [
        action(
            "restriction",
            "fraud_or_abuse",
            "2026-10-02T00:00:00Z",
            Some("2027-03-01T00:00:00.5Z"),
        ),
        action(
            "restriction",
            "unsupported_region",
            "2026-10-01T00:00:00Z",
            Some("2027-01-01T00:00:00Z"),
        ),
    ];
    let page = json!({"data": [profile("uprof_1", "restricted", json!(both)), profile("uprof_2", "unrestricted", json!([]))], "has_more": false});
    // without --apply nothing is written
    let done = enforce(&register, &page, &[]);
    let text = String::from_utf8(done.stdout).unwrap();
    let first = "c-1: anthropic unrestricted -> restricted (fraud or abuse, unsupported region, since 2026-10-01T00:00:00Z, until 2027-03-01T00:00:01Z)\n";
    assert_eq!(
        text,
        format!("{first}c-2: anthropic banned -> unrestricted\nnothing is written: add --apply\n")
    );
    assert!(!Path::new(&register).join("enforcement.json").exists());
    // with it, the register says so, whatever the customers' own entries say
    let before = with_profiles("changes-enforcement-before");
    let done = enforce(&register, &page, &["--apply", "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (said["changes"].as_array().unwrap().len(), &said["unknown"], &said["applied"]),
        (2, &json!([]), &json!(true))
    );
    assert_eq!(run(&["check", &register]).status.code(), Some(0));
    let found = answered(&["diff", &before, &register]);
    let after = |i: usize| found["customers"][i]["after"]["enforcement"].clone();
    assert_eq!(after(0)["anthropic"]["expires"], "2027-03-01T00:00:01Z");
    assert_eq!((after(1), found["customers"].as_array().unwrap().len()), (json!({}), 2));
    // said twice changes nothing, and what is taken back is taken back
    assert_eq!(
        String::from_utf8(enforce(&register, &page, &["--apply"]).stdout).unwrap(),
        "nothing changes\n"
    );
    let lifted = json!([profile("uprof_1", "unrestricted", json!([]))]);
    assert_eq!(enforce(&register, &lifted, &["--apply"]).status.code(), Some(0));
    let found = answered(&["diff", &before, &register]);
    assert_eq!(found["customers"].as_array().unwrap().len(), 1, "{found}");
}

#[test]
fn an_answer_may_come_by_a_pipe() {
    let register = with_profiles("changes-enforcement-pipe");
    let script = format!(
        "echo '{}' | $0 enforcement - --register $1",
        profile("uprof_1", "banned", json!([]))
    );
    let done = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_waybill"), &register])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(done.stdout).unwrap(),
        "c-1: anthropic unrestricted -> banned\nnothing is written: add --apply\n"
    );
}

#[test]
fn words_of_tomorrow_restrict() {
    let register = with_profiles("changes-enforcement-words");
    let status = |profile: Value| {
        let done = enforce(&register, &profile, &["--json"]);
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        let after = said["changes"][0]["after"].clone();
        after
            .as_str()
            .map(str::to_owned)
            .unwrap_or_else(|| after["status"].as_str().unwrap_or_default().to_owned())
    };
    let opened = "2026-10-01T00:00:00Z";
    assert_eq!(status(profile("uprof_1", "quarantined", json!([]))), "restricted");
    assert_eq!(
        status(profile(
            "uprof_1",
            "pending",
            json!([action("restriction", "high_harm", opened, None)])
        )),
        "pending"
    );
    let mut silent = profile("uprof_1", "", json!([action("embargo", "new_reason", opened, None)]));
    silent.as_object_mut().unwrap().remove("enforcement_status");
    assert_eq!(status(silent.clone()), "restricted");
    silent["enforcement_actions"] = json!([
        action("restriction", "high_harm", opened, None),
        action("ban", "high_harm", opened, None)
    ]);
    assert_eq!(status(silent.clone()), "banned");
    // one action without an end: the whole has none
    let done = enforce(
        &register,
        &profile(
            "uprof_1",
            "restricted",
            json!([
                action("restriction", "a", opened, None),
                action("restriction", "b", opened, Some("2027-01-01T00:00:00Z"))
            ]),
        ),
        &["--json"],
    );
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        said["changes"][0]["after"],
        json!({"status": "restricted", "reason": "a, b", "opened": opened})
    );
}

#[test]
fn a_safety_case_lifts_nothing() {
    let register = with_profiles("changes-safety");
    let case = |name: &str, notice: &str, created: i64| json!({"object": "safety.case", "id": "case_1", "created_at": created, "entity_identifier": name, "reason": "cyber_abuse", "notice": {"type": notice}});
    let cases = json!([
        case("safe-3", "deactivation", 1_790_000_000),
        case("safe-3", "warning", 1_791_000_000),
        case("c-4", "warning", 1_790_000_000)
    ]);
    let done = enforce(&register, &cases, &["--apply", "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let after: Vec<(&str, &str)> = said["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["customer"].as_str().unwrap(), it["after"]["status"].as_str().unwrap()))
        .collect();
    assert_eq!(after, [("c-4", "pending"), ("c-3", "banned")]);
    // a later warning doesn't lift the ban
    assert_eq!(
        String::from_utf8(
            enforce(&register, &case("safe-3", "warning", 1_792_000_000), &[]).stdout
        )
        .unwrap(),
        "nothing changes\n"
    );
}

#[test]
fn whom_nobody_knows_and_what_is_no_answer_is_told() {
    let register = with_profiles("changes-enforcement-wrong");
    let opened = action("restriction", "high_harm", "2026-10-01T00:00:00Z", None);
    let mixed = json!([
        profile("uprof_9", "restricted", json!([opened])),
        profile("uprof_8", "unrestricted", json!([])),
        profile("uprof_1", "banned", json!([]))
    ]);
    let done = enforce(&register, &mixed, &["--apply"]);
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(
        told.contains("unknown profile `uprof_9`: anthropic reports it as `restricted`")
            && !told.contains("uprof_8"),
        "{told}"
    );
    assert!(
        Path::new(&register).join("enforcement.json").exists(),
        "who is known is written all the same"
    );
    let bare = json!({"type": "user_profile", "id": "uprof_1"});
    let event = json!({"type": "event", "id": "wevt_1", "data": {"type": "user_profile.enforcement_action_opened", "id": "uprof_1", "enforcement_action_id": "enac_1"}});
    let mut dated =
        profile("uprof_1", "restricted", json!([action("restriction", "a", "yesterday", None)]));
    for (answer, part) in [
        (json!({}), "expected a user profile of Anthropic"),
        (json!([1]), "expected a user profile of Anthropic"),
        (json!("uprof_1"), "expected a user profile of Anthropic"),
        (bare, "missing `enforcement_status`"),
        (event, "fetch the profile"),
        (dated.clone(), "`opened_at`: invalid time `yesterday`"),
        (
            json!({"object": "safety.case", "id": "x", "entity_identifier": "safe-3"}),
            "missing `notice.type`",
        ),
    ] {
        let done = enforce(&register, &answer, &[]);
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) && told.contains(part), "{answer}: {told}");
    }
    dated["enforcement_actions"] = json!({});
    assert!(
        String::from_utf8(enforce(&register, &dated, &[]).stderr)
            .unwrap()
            .contains("expected a list")
    );
    // a register's enforcement.json that contradicts itself, or names nobody
    let file = Path::new(&register).join("enforcement.json");
    let word = |customer: &str| json!({"customer": customer, "provider": "anthropic", "status": "banned", "opened": "2026-10-01T00:00:00Z", "expires": "2026-10-01T00:00:00Z"});
    std::fs::write(
        &file,
        json!({"enforcement": [word("c-1"), word("c-1"), word("c-9")]}).to_string(),
    )
    .unwrap();
    let told = String::from_utf8(run(&["check", &register]).stderr).unwrap();
    for part in [
        "duplicate enforcement by `anthropic` against `c-1`",
        "unknown customer `c-9`",
        "ends before it was opened",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

/// Customers of every kind: owned from a restricted place, not resolved, clear, and without a
/// company.
fn screened(name: &str) -> String {
    fn entity(id: &str, place: &str, kind: &str, name: &str) -> Value {
        json!({"id": id, "jurisdiction": place, "type": kind, "name": name})
    }
    let holding = |owner: &str, of: &str, share: u32| json!({"owner": owner, "of": of, "basis_points": share});
    let long = "Harbour Holdings 控股有限公司, of which the registered name <is> rather longer than \"any\" terminal & its rows";
    let entities = json!({
        "entities": [entity("banyan", "SG", "company", "Banyan"),
            entity("harbour", "VG", "company", long),
            entity("redstar", "CN", "company", "Red Star"),
            entity("lim", "SG", "person", "Lim"),
            entity("opaque", "PA", "company", "Opaque"), entity("top", "SG", "company", "Top"),
            entity("bare", "SG", "company", "Bare"), {"id": "nowhere", "type": "person"}, entity("half", "SG", "company", "Half")],
        "holdings": [holding("harbour", "banyan", 6_250), holding("lim", "banyan", 2_000), holding("redstar", "harbour", 8_000), holding("lim", "harbour", 2_000),
            holding("opaque", "top", 6_000), holding("lim", "top", 2_000), holding("nowhere", "half", 6_000), holding("lim", "half", 4_000)]});
    let customers = json!({"customers": [{"id": "c-0"}, {"id": "c-1", "ownership": "clear"},
        {"id": "c-2", "entity": "banyan"}, {"id": "c-3", "entity": "top"},
        {"id": "c-4", "entity": "lim"}, {"id": "c-5", "entity": "bare"}, {"id": "lim", "entity": "banyan"}, {"id": "c-6", "entity": "half"}]});
    register(name, &[("customers.json", customers), ("entities.json", entities)])
}

#[test]
fn every_customer_is_screened_by_name() {
    let register = screened("changes-screened");
    let all = answered(&["screen", "--all", "--register", &register]);
    let of = |id: &str| {
        all["customers"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone()
    };
    let row = |id: &str| {
        (
            of(id)["status"].clone(),
            of(id)["share_basis_points"].clone(),
            of(id)["share_basis_points_worst"].clone(),
        )
    };
    assert_eq!(all["customers"].as_array().unwrap().len(), 8);
    assert_eq!(row("c-2"), (json!("restricted"), json!(6_250), json!(8_000)));
    assert_eq!(row("c-3"), (json!("unresolved"), json!(0), json!(8_000)));
    assert_eq!(
        of("c-3")["missing"],
        json!(["the owners of `opaque`", "the owner of 20 % of `top`"])
    );
    assert_eq!(row("c-4"), (json!("clear"), json!(0), json!(0)));
    assert_eq!(of("c-4")["missing"], json!([]));
    assert_eq!(of("c-5")["missing"], json!(["the owners of `bare`: none is on file"]));
    assert_eq!(of("c-6")["missing"], json!(["the place of `nowhere`"]));
    assert!(
        of("c-0")["status"] == "unresolved"
            && of("c-0")["missing"][0].as_str().unwrap().contains("no company is on file")
    );
    assert_eq!(
        (of("c-1")["status"].clone(), of("c-1")["missing"].clone()),
        (json!("clear"), json!([]))
    );
    assert_eq!(all["counts"], json!({"clear": 1, "restricted": 3, "unresolved": 5}));
    // what `compile` puts into the snapshot is what is said here
    let text = printed(&["screen", "--all", "--register", &register]);
    assert!(
        text.starts_with("restricted  c-2: 62.5 % restricted, up to 80 % with unknown owners\n"),
        "{text}"
    );
    assert!(text.contains("8 customers: restricted 2, unresolved 4, clear 2\n"), "{text}");
    let table = printed(&["screen", "--all", "--csv", "--register", &register]);
    assert!(
        table.starts_with("customer,name,company,result,restricted_percent,possible_percent,missing\nc-2,,banyan,restricted,62.5,80,\n"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 9);
}

#[test]
fn a_customers_id_leads_to_its_company() {
    let register = screened("changes-one");
    let ask =
        |arguments: &[&str]| printed(&[&["screen", "--register", &register], arguments].concat());
    assert!(ask(&["c-2"]).starts_with("Banyan (banyan, SG): counts as restricted"));
    assert!(ask(&["c-0"]).starts_with("c-0: unresolved: no company is on file for it"));
    assert!(ask(&["c-1"]).starts_with("c-1: clear: no company is on file for it"));
    // an entity and a customer of one name: which of them is answered, is said
    assert!(ask(&["lim"]).ends_with("A customer has the same id, but the company `banyan`\n"));
    assert!(!ask(&["banyan"]).contains("same id"));
    for (arguments, code, part) in [
        (&["nobody"][..], 1, "unknown entity `nobody`"),
        (&["--all", "--format", "svg"], 1, "a picture shows one company"),
        (&["c-2", "--csv"], 2, "--csv"),
        (&["c-2", "--json", "--format", "svg"], 2, "--format"),
        (&["c-2", "--format", "pdf"], 2, "svg"),
    ] {
        let done = run(&[&["screen", "--register", &register], arguments].concat());
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(code) && told.contains(part), "{arguments:?}: {told}");
    }
}

#[test]
fn the_tree_wraps_to_its_terminal() {
    let register = screened("changes-wrapped");
    let at = |columns: &str| {
        let arguments = ["screen", "banyan", "--register", &register];
        let done = Command::new(env!("CARGO_BIN_EXE_waybill"))
            .args(arguments)
            .env("COLUMNS", columns)
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    for columns in [40, 60, 80] {
        let text = at(&columns.to_string());
        // each of these characters takes two columns
        let width = |line: &str| {
            line.chars()
                .map(|c| if ('\u{4e00}'..='\u{9fff}').contains(&c) { 2 } else { 1 })
                .sum::<usize>()
        };
        assert!(text.lines().all(|line| width(line) <= columns), "{text}");
        assert!(text.contains("\n│  "), "{text}");
    }
    // a pipe gets whole lines, as does a width that is none
    assert!(
        printed(&["screen", "banyan", "--register", &register])
            .lines()
            .next()
            .unwrap()
            .ends_with("(62.5 % of it is)")
    );
    assert_eq!(at("wide"), printed(&["screen", "banyan", "--register", &register]));
}

#[test]
fn the_picture_is_inert_xml() {
    let register = screened("changes-picture");
    let picture = printed(&["screen", "banyan", "--format", "svg", "--register", &register]);
    assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"));
    assert!(
        picture.contains("&lt;is&gt;")
            && picture.contains("&quot;any&quot; ")
            && picture.contains(" &amp; "),
        "{picture}"
    );
    assert_eq!(picture.matches("<circle").count(), 6);
    assert_eq!(
        (
            picture.matches("class=\"restricted\"").count(),
            picture.matches("class=\"unknown\"").count()
        ),
        (3, 1)
    );
    assert!(!picture.contains("<script") && !picture.contains("<is>"));
}
