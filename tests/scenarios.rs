//! Plays `tests/scenarios/*.json` against the pure core. `tests/envoy/test_scenarios.py` plays the same
//! table through a real Envoy; both must give what the table says.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use waybill::capture::Captured;
use waybill::compile::directory::{self, Files};
use waybill::compile::networks::AddressTable;
use waybill::compile::write::{Material, write};
use waybill::compile::{Order, compile};
use waybill::finding::FindingCode;
use waybill::key::{SigningKey, Window};
use waybill::names::UnixSeconds;
use waybill::outcome::{Outcome, apply};
use waybill::screen::Screen;
use waybill::snapshot::Snapshot;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_core_decides_as_the_table_says() {
    let mut failures = Vec::new();
    let mut played = 0;
    for (file, case, config) in cases() {
        played += 1;
        let name = format!("{file}/{}", case["name"].as_str().unwrap());
        let played = match case.get("register") {
            Some(files) => from_files(&config, files, case["made"].as_i64().unwrap())
                .and_then(|(config, snapshot)| play(&case, &config, Some(&snapshot))),
            None => play(&case, &config, None),
        };
        if let Err(why) = played {
            failures.push(format!("{name}: {why}"));
        }
        // the same customers and regions out of a snapshot decide the same
        if config.get("register").is_some()
            && let Err(why) = compiled(&config).and_then(|(config, snapshot)| play(&case, &config, Some(&snapshot)))
        {
            failures.push(format!("{name} by snapshot: {why}"));
        }
    }
    assert!(played > 100, "only {played} scenarios were found");
    assert!(failures.is_empty(), "{} of {played} scenarios fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_finding_that_fires_has_a_scenario_and_no_other_has() {
    let seen: BTreeSet<String> = cases()
        .flat_map(|(_, case, _)| case["expect"]["findings"].as_array().unwrap().clone())
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    for code in FindingCode::ALL {
        assert_eq!(seen.contains(code.as_str()), code.fires(), "{code}");
    }
}

fn cases() -> impl Iterator<Item = (String, Value, Value)> {
    let mut files: Vec<_> = std::fs::read_dir(format!("{ROOT}/tests/scenarios")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().flat_map(|path| {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).expect("a scenario file is JSON");
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        file["cases"].as_array().unwrap().clone().into_iter().map(move |mut case| {
            let mut config = file["config"].clone();
            merge(&mut config, &case["config"]);
            for member in ["register", "made"] {
                if let (Some(value), None) = (file.get(member), case.get(member)) {
                    case[member] = value.clone();
                }
            }
            (stem.clone(), case, config)
        })
    })
}

/// Applies a JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else { return };
    for (name, value) in members {
        match (value, target.get_mut(name)) {
            (Value::Null, _) => drop(target.as_object_mut().unwrap().remove(name)),
            (Value::Object(_), Some(inner)) if inner.is_object() => merge(inner, value),
            _ => drop(target.as_object_mut().unwrap().insert(name.clone(), value.clone())),
        }
    }
}

/// The configuration's inline register as a snapshot, and the configuration without it.
fn compiled(config: &Value) -> Result<(Value, Snapshot), String> {
    let inline = Screen::parse(&config.to_string()).map_err(|problems| problems.to_string())?;
    let register = inline.config().register.as_ref().ok_or("no register")?;
    let customers: Vec<_> = register.customers().cloned().collect();
    let key = SigningKey::new(&[7; 32], Window::default());
    let material = Material {
        sequence: 1,
        created: UnixSeconds(i64::MAX / 2), // never stale: cases have their own times
        regions: inline.config().regions.as_ref().ok_or("no regions")?,
        sources: &[],
        addresses: &AddressTable::default(),
        customers: &customers,
        nodes: &[],
        files: &[],
    };
    let file = write(&material, &key).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::read(file, |signer| *signer == key.verifying_key()).map_err(|refused| refused.to_string())?;
    let mut config = config.clone();
    let members = config.as_object_mut().ok_or("no object")?;
    members.remove("register");
    members.remove("regions");
    let key = key.verifying_key().to_base64();
    members.insert("snapshot".into(), json!({"cluster": "c", "authority": "a", "path": "/s", "trusted_keys": [key]}));
    Ok((config, snapshot))
}

/// A register of files as a snapshot, and the configuration that trusts its key.
fn from_files(config: &Value, files: &Value, made: i64) -> Result<(Value, Snapshot), String> {
    let bytes = |content: &Value| content.as_str().map_or_else(|| content.to_string(), ToOwned::to_owned).into_bytes();
    let documents = files.as_object().unwrap().iter().map(|(name, content)| (name.clone(), bytes(content))).collect();
    let (register, remarks) = directory::read(Files { documents, others: BTreeSet::new() }, UnixSeconds(made));
    let register = register.ok_or_else(|| format!("{:?}", remarks.errors))?;
    let key = SigningKey::new(&[7; 32], Window::default());
    let compiled = compile(register, &Order { sequence: 1, created: UnixSeconds(made), key: &key }).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::read(compiled.file, |signer| *signer == key.verifying_key()).map_err(|refused| refused.to_string())?;
    let mut config = config.clone();
    config["snapshot"]["trusted_keys"] = json!([key.verifying_key().to_base64()]);
    Ok((config, snapshot))
}

fn play(case: &Value, config: &Value, snapshot: Option<&Snapshot>) -> Result<(), String> {
    let screen = Screen::parse(&config.to_string()).map_err(|problems| problems.to_string())?;
    let owned = Captured::parse(&case["request"].to_string()).map_err(|problems| problems.to_string())?.own(screen.config());
    let request = owned.request();
    let decision = screen.decide(&request, snapshot, "test".to_owned());
    let expect = &case["expect"];
    let verdict = &decision.verdict;
    let codes: Vec<&str> = decision.weighed.iter().map(|weighed| weighed.finding.code.as_str()).collect();
    same("findings", &expect["findings"], &codes.into())?;
    same("verdict", &expect["verdict"], &verdict.action.as_str().into())?;
    same("reason", &expect["reason"], &verdict.reason.map(|code| code.as_str()).into())?;
    same("status", &expect["status"], &verdict.status().into())?;
    let place = |place: Option<waybill::region::Place>| place.map(|place| place.country.to_string());
    for (name, found) in [
        ("would_be", verdict.would_be.as_ref().map(|action| action.as_str().to_owned())),
        ("customer", decision.identity.customer().map(|customer| customer.id.to_string())),
        ("user", place(decision.geography.user)),
        ("origin", place(decision.geography.origin)),
    ] {
        if let Some(wanted) = expect.get(name) {
            same(name, wanted, &found.into())?;
        }
    }
    match &decision.outcome {
        Outcome::Forward(edits) => forwarded(expect, &apply(&request, edits)),
        Outcome::Answer(refusal) => {
            let body: Value = serde_json::from_str(&refusal.body).map_err(|error| error.to_string())?;
            let headers: Vec<(String, String)> = refusal.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let response = &expect["response"];
            check_headers(&response["headers"], &headers)?;
            contained("body", &response["body"], &body)
        }
    }
}

fn forwarded(expect: &Value, headers: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    if let Some(path) = expect.get("path") {
        let found = headers.iter().find(|(name, _)| name == ":path").map(|(_, value)| value.as_str());
        same("path", path, &found.into())?;
    }
    for name in expect["absent"].as_array().into_iter().flatten() {
        let spelled = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        if let Some((name, value)) = headers.iter().find(|(other, _)| spelled(other) == spelled(name.as_str().unwrap())) {
            return Err(format!("{name}: {value} goes on"));
        }
    }
    check_headers(&expect["headers"], &headers)
}

fn check_headers(wanted: &Value, headers: &[(String, String)]) -> Result<(), String> {
    for (name, wanted) in wanted.as_object().into_iter().flatten() {
        let values: Vec<&str> = headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
        let [value] = values[..] else { return Err(format!("{name}: {values:?}")) };
        contained(name, wanted, &value.into())?;
    }
    Ok(())
}

/// Every member of `wanted` stands in `found`; `{"contains": […]}` asks for parts of a text.
fn contained(at: &str, wanted: &Value, found: &Value) -> Result<(), String> {
    match wanted {
        Value::Object(members) => {
            if let (Some(Value::Array(parts)), Value::String(text)) = (members.get("contains"), found) {
                let missing = parts.iter().map(|part| part.as_str().unwrap()).find(|part| !text.contains(part));
                return missing.map_or(Ok(()), |part| Err(format!("{at} lacks {part:?}: {text}")));
            }
            members.iter().try_for_each(|(name, value)| contained(&format!("{at}.{name}"), value, &found[name]))
        }
        Value::Null if found.is_object() => Ok(()),
        _ => same(at, wanted, found),
    }
}

fn same(what: &str, wanted: &Value, found: &Value) -> Result<(), String> {
    if wanted == found { Ok(()) } else { Err(format!("{what}: expected {wanted}, found {found}")) }
}
