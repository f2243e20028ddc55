//! Plays `tests/scenarios/*.json` against the pure core. `tests/envoy/test_scenarios.py` plays the
//! same table through a real Envoy; both must give what the table says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::Digest as _;
use waybill::chain::Signer;
use waybill::chain::keyring::{KeyAbsence, Keyring};
use waybill::chain::memory::InMemory;
use waybill::chain::signature::members;
use waybill::cli::capture::{Capture, RequestBuffer};
use waybill::compile::directory::{self, Files};
use waybill::compile::{Order, compile};
use waybill::decision::event::{Event, Ledger};
use waybill::decision::evidence::address::cut;
use waybill::decision::outcome::{Outcome, apply};
use waybill::decision::{Screen, Worker};
use waybill::journal::again::{EventVerdict, SecondLook};
use waybill::register::Node;
use waybill::shape::{Json, Path, Problems, Shape as _, Word as _, to_text};
use waybill::snapshot::Snapshot;
use waybill::snapshot::map::AddressMap;
use waybill::snapshot::write::{Material, write};
use waybill::terms::finding::FindingCode;
use waybill::terms::key::{SigningKey, VerifyingKey, Window};
use waybill::terms::time::UnixSeconds;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_core_decides_as_the_table_says() {
    let mut failures = Vec::new();
    let mut played = 0;
    let version_1 = format!("{ROOT}/tests/data/snapshots/version-1-scenarios.snapshot");
    let version_1 =
        Snapshot::read(std::fs::read(version_1).unwrap(), |key| *key == signer().verifying_key())
            .unwrap();
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
        // the register of snapshot.json as the Waybill before format version 2 compiled it
        if file == "snapshot"
            && case["made"] == json!(version_1.preamble.created.0)
            && let Err(why) = play(&case, &trusting(&config), Some(&version_1))
        {
            failures.push(format!("{name} by version 1: {why}"));
        }
        // the same customers and regions out of a snapshot decide the same
        if config.get("register").is_some()
            && let Err(why) = compiled(&config)
                .and_then(|(config, snapshot)| play(&case, &config, Some(&snapshot)))
        {
            failures.push(format!("{name} by snapshot: {why}"));
        }
    }
    assert!(played > 100, "only {played} scenarios were found");
    assert!(
        failures.is_empty(),
        "{} of {played} scenarios fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_finding_has_a_scenario() {
    let seen: BTreeSet<String> = cases()
        .flat_map(|(_, case, _)| case["expect"]["findings"].as_array().unwrap().clone())
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    for code in FindingCode::ALL {
        assert!(seen.contains(code.as_str()), "{code}");
    }
}

fn cases() -> impl Iterator<Item = (String, Value, Value)> {
    let mut files: Vec<_> = std::fs::read_dir(format!("{ROOT}/tests/scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().flat_map(|path| {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap())
            .expect("a scenario file is JSON");
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        file["cases"].as_array().unwrap().clone().into_iter().map(move |mut case| {
            let mut config = file["config"].clone();
            merge(&mut config, &case["config"]);
            for member in ["register", "made", "keys", "signs"] {
                if let (Some(value), None) = (file.get(member), case.get(member)) {
                    case[member] = value.clone();
                }
            }
            case["nodes"] = config["register"]["nodes"].clone();
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
    let nodes = nodes(&config["register"]);
    let key = signer();
    let material = Material {
        sequence: 1,
        created: UnixSeconds(i64::MAX / 2), // never stale: cases have their own times
        regions: inline.config().regions.as_ref().ok_or("no regions")?,
        sources: &[],
        addresses: &AddressMap::default(),
        customers: &customers,
        nodes: &nodes,
        files: &[],
    };
    let file = write(&material, &key).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::read(file, |signer| *signer == key.verifying_key())
        .map_err(|refused| refused.to_string())?;
    let mut config = config.clone();
    let members = config.as_object_mut().ok_or("no object")?;
    members.remove("register");
    members.remove("regions");
    let key = key.verifying_key().to_base64();
    members.insert(
        "snapshot".into(),
        json!({"cluster": "c", "authority": "a", "path": "/s", "trusted_keys": [key]}),
    );
    Ok((config, snapshot))
}

/// The nodes of an inline register.
fn nodes(register: &Value) -> Vec<Node> {
    let text = register.get("nodes").map_or_else(|| "[]".to_owned(), Value::to_string);
    Vec::read(&serde_json::from_str::<Json>(&text).unwrap(), &Path::Root, &mut Problems::default())
        .unwrap()
}

/// A register of files as a snapshot, and the configuration that trusts its key.
fn from_files(config: &Value, files: &Value, made: i64) -> Result<(Value, Snapshot), String> {
    let bytes = |content: &Value| match (content.as_str(), content["file"].as_str()) {
        (None, Some(path)) => std::fs::read(format!("{ROOT}/{path}")).unwrap(),
        (text, _) => text.map_or_else(|| content.to_string(), ToOwned::to_owned).into_bytes(),
    };
    let documents = files
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, content)| (name.clone(), bytes(content)))
        .collect();
    let (register, remarks) =
        directory::read(Files { documents, others: BTreeSet::new() }, UnixSeconds(made));
    let register = register.ok_or_else(|| format!("{:?}", remarks.errors))?;
    let key = signer();
    let compiled = compile(register, &Order { sequence: 1, created: UnixSeconds(made), key: &key })
        .map_err(|error| error.to_string())?;
    let snapshot = Snapshot::read(compiled.file, |signer| *signer == key.verifying_key())
        .map_err(|refused| refused.to_string())?;
    Ok((trusting(config), snapshot))
}

/// What the runners sign snapshots with.
fn signer() -> SigningKey {
    SigningKey::new(&[7; 32], Window::default())
}

/// The configuration with the signer's key among those that are trusted.
fn trusting(config: &Value) -> Value {
    let mut config = config.clone();
    config["snapshot"]["trusted_keys"] = json!([signer().verifying_key().to_base64()]);
    config
}

/// The worker as the requests before left it, the request, and what it carries.
fn stage(
    case: &Value,
    screen: &Screen,
    snapshot: Option<&Snapshot>,
) -> Result<(Worker, RequestBuffer, Option<Carried>), String> {
    let captured = |request: &Value| {
        Capture::parse(&request.to_string()).map_err(|problems| problems.to_string())
    };
    let secret = case.get("signs").map(|name| key(case, name.as_str().unwrap()).to_private_jwk());
    let keyring = Keyring::read(&screen.config().tag, &|_| secret.clone().ok_or(KeyAbsence::Unset));
    let mut worker = Worker::new(
        Signer::new(keyring.map_err(|problems| problems.to_string())?),
        Box::new(InMemory::default()),
    );
    // signed again, what has a nonce of its own in the table stays the same, byte by byte
    let signed =
        |time: usize| case.get("carried").map(|hops| carried(case, hops.as_array().unwrap(), time));
    let carried = signed(0);
    let with = |carried: &Option<Carried>, request: &Value| {
        let mut request = request.clone();
        request["headers"]
            .as_array_mut()
            .unwrap()
            .extend(carried.iter().flat_map(|carried| carried.headers.clone()));
        captured(&request)
    };
    for (i, patch) in case["before"].as_array().into_iter().flatten().enumerate() {
        let mut before = case["request"].clone();
        merge(&mut before, patch);
        let carried = signed(if case["signed_anew"] == json!(true) { i + 1 } else { 0 });
        let owned = with(&carried, &before)?.complete();
        let _earlier =
            screen.decide(&owned.request(), snapshot, &mut worker, "before".to_owned()).unwrap();
    }
    Ok((worker, with(&carried, &case["request"])?.complete(), carried))
}

/// The text of the event of a case.
fn event_text(case: &Value, screen: &Screen) -> String {
    let (mut worker, owned, _) = stage(case, screen, None).unwrap();
    let mut ledger = Ledger::new(1);
    let decision = screen.decide(&owned.request(), None, &mut worker, ledger.next_id()).unwrap();
    String::from_utf8(ledger.write(&decision).to_vec()).unwrap()
}

fn play(case: &Value, config: &Value, snapshot: Option<&Snapshot>) -> Result<(), String> {
    let screen = Screen::parse(&config.to_string()).map_err(|problems| problems.to_string())?;
    let (mut worker, owned, carried) = stage(case, &screen, snapshot)?;
    let request = owned.request();
    let mut ledger = Ledger::new(1);
    let decision = screen.decide(&request, snapshot, &mut worker, ledger.next_id()).unwrap();
    for _ in 0..2 {
        let line = std::str::from_utf8(ledger.write(&decision)).unwrap();
        let event = Event::parse(line).map_err(|problems| format!("{line}: {problems}"))?;
        assert_eq!(to_text(&event), line, "an event is written as it is read");
        same_again(&screen, snapshot, &event)?;
        let event: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        for name in ["software", "asn"] {
            if let Some(wanted) = case["expect"].get(name) {
                same(name, wanted, event.get(name).unwrap_or(&Value::Null))?;
            }
        }
    }
    let expect = &case["expect"];
    let verdict = &decision.verdict;
    let codes: Vec<&str> =
        decision.weighed.iter().map(|weighed| weighed.finding.code.as_str()).collect();
    same("findings", &expect["findings"], &codes.into())?;
    same("verdict", &expect["verdict"], &verdict.action.as_str().into())?;
    same("reason", &expect["reason"], &verdict.reason.map(|code| code.as_str()).into())?;
    same("status", &expect["status"], &decision.status().into())?;
    let place =
        |place: Option<waybill::terms::region::Place>| place.map(|place| place.country.to_string());
    for (name, found) in [
        ("would_be", verdict.would_be.as_ref().map(|action| action.as_str().to_owned())),
        ("customer", decision.customer().map(ToOwned::to_owned)),
        ("user", place(decision.case.geography.user)),
        ("origin", place(decision.case.geography.origin)),
        ("address", decision.case.evidence.client.map(cut)),
    ] {
        if let Some(wanted) = expect.get(name) {
            same(name, wanted, &found.into())?;
        }
    }
    for (code, part) in expect["because"].as_object().into_iter().flatten() {
        let why = decision
            .weighed
            .iter()
            .find(|weighed| weighed.finding.code.as_str() == code)
            .map(|weighed| &weighed.finding.evidence);
        contained(
            code,
            &json!({"contains": [part]}),
            &why.ok_or("it didn't fire")?.as_str().into(),
        )?;
    }
    let proof = decision.case.receipt.proof();
    if let Some(worth) = expect.get("chain") {
        same("chain", worth, &proof.map(|proof| proof.worth().as_str()).into())?;
    }
    if let (Some(hops), Some(proof)) = (expect.get("hops"), proof) {
        let found: Vec<Value> = proof
            .hops()
            .map(|(hop, proof)| json!([hop.node, hop.customer, hop.attest.as_str(), proof.is_ok()]))
            .collect();
        same("hops", hops, &found.into())?;
    }
    match &decision.outcome {
        Outcome::Forward(edits) => {
            let headers = apply(&request, edits);
            if case.get("signs").is_some() && expect.get("unsigned").is_none() {
                let authority =
                    decision.route().map_or("api.provider.example", |_| "api.fallback.example");
                let before = proof.map(|proof| (proof, carried.as_ref().unwrap().signature));
                onward(case, &headers, authority, before)?;
            }
            forwarded(expect, &headers)
        }
        Outcome::Answer(refusal) => {
            let body: Value =
                serde_json::from_str(&refusal.body).map_err(|error| error.to_string())?;
            let headers: Vec<(String, String)> = refusal
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let response = &expect["response"];
            check_headers(&response["headers"], &headers)?;
            contained("body", &response["body"], &body)
        }
    }
}

/// Decided again by the policy and the register that made it, an event has the same findings,
/// actions and verdict.
fn same_again(
    screen: &Screen,
    snapshot: Option<&Snapshot>,
    event: &Event<'_>,
) -> Result<(), String> {
    let again = SecondLook::new(screen.config(), snapshot).decide(event);
    let first: Vec<Value> =
        event.findings.iter().map(|it| json!([it.code, it.action.as_str()])).collect();
    let second: Vec<Value> =
        again.weighed.iter().map(|it| json!([it.finding.code, it.action.as_str()])).collect();
    same("findings again", &first.into(), &second.into())?;
    let (first, second) = (EventVerdict::of(event), again.verdict);
    same("verdict again", &json!(first), &json!(second))
}

/// What only the request shows: the country of a reseller's own machines, the role of the source
/// of a country, and whether a chain holds that nobody asked for.
const UNKNOWABLE: &[&str] = &[
    "chain/no-geography, {\"declared\":[\"AQ\"]}",
    "geography/hint-alone, US restricted",
    "geography/conflict, {\"declared\":null}",
    "marks/spoofed-tag, {\"kind\":\"reseller\"}",
    "marks/spoofed-underscores, {\"kind\":\"reseller\"}",
    "marks/signature-ours, {\"kind\":\"reseller\"}",
    "marks/signature-unparsable, {\"kind\":\"reseller\"}",
];

/// Another policy, region or register decides an event as the node decides the request behind it.
#[test]
fn an_event_is_decided_again_as_its_request() {
    let (mut failures, mut compared, mut changed) = (Vec::new(), 0, 0);
    for (number, (file, case, config)) in cases().enumerate() {
        let Some(customers) = config["register"]["customers"].as_array() else { continue };
        let text = event_text(&case, &Screen::parse(&config.to_string()).unwrap());
        let event = Event::parse(&text).unwrap();
        for (what, patch) in alterations(number, &event, customers) {
            let mut altered = config.clone();
            merge(&mut altered, &patch);
            // some policies contradict themselves then
            let Ok(screen) = Screen::parse(&altered.to_string()) else { continue };
            let wanted = event_text(&case, &screen);
            let wanted = EventVerdict::of(&Event::parse(&wanted).unwrap());
            let found = SecondLook::new(screen.config(), None).decide(&event).verdict;
            compared += 1;
            changed += usize::from(wanted != EventVerdict::of(&event));
            if found != wanted {
                let name = case["name"].as_str().unwrap();
                failures.push((format!("{file}/{name}, {what}"), found, wanted));
            }
        }
    }
    assert!(compared > 2_000 && changed > 500, "{changed} of {compared}");
    let names: Vec<&str> = failures.iter().map(|(name, ..)| name.as_str()).collect();
    assert!(names == UNKNOWABLE, "of {compared}, {changed} changed:\n{failures:#?}");
}

/// Other policies, regions and registers, as merge patches.
///
/// A third of the registers each: parsing one takes milliseconds without optimization.
fn alterations(number: usize, event: &Event<'_>, customers: &[Value]) -> Vec<(String, Value)> {
    let mut list = Vec::new();
    let mode = if event.mode.as_str() == "report" { "enforce" } else { "report" };
    list.push((mode.to_owned(), json!({"policy": {"mode": mode}})));
    for code in event.findings.iter().map(|finding| finding.code.as_str()) {
        for action in ["allow", "report", "block"] {
            let patch = json!({"policy": {"actions": {code: action}}});
            list.push((format!("{code} {action}"), patch));
        }
    }
    for country in [event.user.0, event.origin.0].into_iter().flatten() {
        let patch = json!({"regions": {"restricted": [country.as_str()]}});
        list.push((format!("{country} restricted"), patch));
    }
    for (turn, member) in [
        json!({"status": "suspended"}),
        json!({"screening": null}),
        json!({"screening": {"until": "2020-01-01T00:00:00Z"}}),
        json!({"declared": null}),
        json!({"declared": ["AQ"]}),
        json!({"ownership": "restricted"}),
        json!({"ownership": null}),
        json!({"residency": "FR"}),
        json!({"overrides": null}),
        json!({"kind": "reseller"}),
        json!({"kind": "customer"}),
        json!({"vouches_for_users": true}),
        json!({"vouches_for_users": false}),
    ]
    .into_iter()
    .enumerate()
    {
        if !(turn + number).is_multiple_of(3) {
            continue;
        }
        let customers: Vec<Value> = customers
            .iter()
            .map(|customer| {
                let mut customer = customer.clone();
                merge(&mut customer, &member);
                customer
            })
            .collect();
        list.push((member.to_string(), json!({"register": {"customers": customers}})));
    }
    list
}

fn forwarded(expect: &Value, headers: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| {
            (
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value).into_owned(),
            )
        })
        .collect();
    if let Some(path) = expect.get("path") {
        let found =
            headers.iter().find(|(name, _)| name == ":path").map(|(_, value)| value.as_str());
        same("path", path, &found.into())?;
    }
    for name in expect["absent"].as_array().into_iter().flatten() {
        let spelled = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        if let Some((name, value)) =
            headers.iter().find(|(other, _)| spelled(other) == spelled(name.as_str().unwrap()))
        {
            return Err(format!("{name}: {value} goes on"));
        }
    }
    check_headers(&expect["headers"], &headers)
}

fn check_headers(wanted: &Value, headers: &[(String, String)]) -> Result<(), String> {
    for (name, wanted) in wanted.as_object().into_iter().flatten() {
        let values: Vec<&str> = headers
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
            .collect();
        let [value] = values[..] else { return Err(format!("{name}: {values:?}")) };
        contained(name, wanted, &value.into())?;
    }
    Ok(())
}

/// Every member of `wanted` stands in `found`; `{"contains": […]}` asks for parts of a text.
fn contained(at: &str, wanted: &Value, found: &Value) -> Result<(), String> {
    match wanted {
        Value::Object(members) => {
            if let (Some(Value::Array(parts)), Value::String(text)) =
                (members.get("contains"), found)
            {
                let missing = parts
                    .iter()
                    .map(|part| part.as_str().unwrap())
                    .find(|part| !text.contains(part));
                return missing.map_or(Ok(()), |part| Err(format!("{at} lacks {part:?}: {text}")));
            }
            members.iter().try_for_each(|(name, value)| {
                contained(&format!("{at}.{name}"), value, &found[name])
            })
        }
        Value::Null if found.is_object() => Ok(()),
        _ => same(at, wanted, found),
    }
}

fn same(what: &str, wanted: &Value, found: &Value) -> Result<(), String> {
    if wanted == found { Ok(()) } else { Err(format!("{what}: expected {wanted}, found {found}")) }
}

// === chains ===

/// What a case's `carried` describes, signed: as other nodes would, and not by the code under test
/// but for the key.
struct Carried {
    /// Names and values as a captured request has them
    headers: Vec<Value>,
    /// The last node's signature
    signature: [u8; 64],
}

const REQUEST: [&str; 5] = ["@method", "@authority", "@path", "compliance-tag", "compliance-chain"];
const ALWAYS: [&str; 3] = ["@authority", "compliance-tag", "compliance-chain"];

fn key(case: &Value, name: &str) -> SigningKey {
    let seed = case["keys"][name]["seed"].as_u64().expect("a key has a seed");
    SigningKey::new(&[u8::try_from(seed).unwrap(); 32], Window::default())
}

fn carried(case: &Value, hops: &[Value], time: usize) -> Carried {
    let request = &case["request"];
    let now = request["time"].as_i64().unwrap();
    let text = |hop: &Value, name: &str, or: &str| match hop.get(name) {
        None => Some(or.to_owned()),
        Some(value) => value.as_str().map(ToOwned::to_owned),
    };
    let (mut chain, mut trail, mut previous) = (String::new(), Vec::new(), None);
    let mut last = (String::new(), String::new());
    for (i, hop) in hops.iter().enumerate() {
        let by = hop["by"].as_str().unwrap();
        let signer = key(case, &text(hop, "key", by).unwrap());
        let node = text(hop, "node", case["keys"][by]["node"].as_str().unwrap()).unwrap();
        let customer = text(hop, "customer", "c-9");
        let attest = text(hop, "attest", if i == 0 { "full" } else { "partial" }).unwrap();
        let named = customer
            .as_ref()
            .map(|customer| format!(";customer=\"{customer}\""))
            .unwrap_or_default();
        let prev = text(hop, "prev", &previous.as_ref().map(digest).unwrap_or_default())
            .filter(|prev| !prev.is_empty());
        let prev = prev.map(|prev| format!(";prev=:{prev}:")).unwrap_or_default();
        let member = format!("\"{node}\"{named};attest={attest}{prev}");
        chain =
            text(hop, "chain", &if i == 0 { member.clone() } else { format!("{chain}, {member}") })
                .unwrap();
        let created = now + hop["created"].as_i64().unwrap_or(0);
        let says = text(hop, "says", r#"screening=passed, user="SG", origin="SG""#).unwrap();
        let customer =
            customer.map(|customer| format!("customer=\"{customer}\", ")).unwrap_or_default();
        last.0 = text(
            hop,
            "tag",
            &format!("node=\"{node}\", {customer}{says}, attest={attest}, at=@{created}"),
        )
        .unwrap();
        last.1 = params(
            case,
            hop,
            &signer,
            created,
            now + hop["expires"].as_i64().unwrap_or(60),
            &format!("nonce-{i}-{time}"),
        );
        let next = hops
            .get(i + 1)
            .map(|next| case["keys"][next["by"].as_str().unwrap()]["node"].as_str().unwrap());
        let authority =
            text(hop, "authority", next.unwrap_or(request["authority"].as_str().unwrap())).unwrap();
        let mut seen = request.clone();
        merge(&mut seen, &hop["of"]);
        let signature =
            signer.sign(&base(&last.1, &seen, &authority, last.0.as_bytes(), chain.as_bytes()));
        if next.is_some() {
            let shown = match hop["shows"].as_object() {
                Some(change) => {
                    last.0.replace(change["from"].as_str().unwrap(), change["to"].as_str().unwrap())
                }
                None => last.0.clone(),
            };
            let pair = format!("(:{}: :{}:)", STANDARD.encode(shown), STANDARD.encode(signature));
            let member =
                format!("{pair};authority={};params={}", quoted(&authority), quoted(&last.1));
            trail.push(if hop["shown"] == json!(false) { "()".to_owned() } else { member });
        }
        previous = Some(signature);
    }
    let label = text(hops.last().unwrap(), "label", "cmp").unwrap();
    let signature = previous.unwrap();
    let mut headers = vec![("compliance-tag", last.0), ("compliance-chain", chain)];
    headers.extend((!trail.is_empty()).then(|| ("compliance-trail", trail.join(", "))));
    headers.push(("signature-input", format!("{label}={}", last.1)));
    headers.push(("signature", format!("{label}=:{}:", STANDARD.encode(signature))));
    let mut headers: Vec<Value> =
        headers.into_iter().map(|(name, value)| json!([name, value])).collect();
    for change in case["altered"].as_array().into_iter().flatten() {
        let found = headers.iter().any(|header| header[0] == change["header"]);
        assert!(found, "{change} isn't there to be altered");
        headers = headers
            .into_iter()
            .flat_map(|header| {
                if header[0] == change["header"] { altered(&header, change) } else { vec![header] }
            })
            .collect();
    }
    Carried { headers, signature }
}

/// `@signature-params`, in the order of the design unless the hop says another.
fn params(
    case: &Value,
    hop: &Value,
    signer: &SigningKey,
    created: i64,
    expires: i64,
    nonce: &str,
) -> String {
    let named = hop["keyid"]
        .as_str()
        .map_or_else(|| signer.verifying_key(), |name| key(case, name).verifying_key());
    let nonce = hop["nonce"].as_str().unwrap_or(nonce);
    let given = [
        ("created", json!(created)),
        ("expires", json!(expires)),
        ("nonce", json!(nonce)),
        ("alg", json!("ed25519")),
        ("keyid", json!(named.thumbprint())),
        ("tag", json!("llm-reseller-compliance")),
    ];
    let words = |name: &str, or: &[&str]| match hop[name].as_array() {
        Some(words) => words.iter().map(|word| word.as_str().unwrap().to_owned()).collect(),
        None => or.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
    };
    let covered = words("covers", if hop["binding"] == "customer" { &ALWAYS } else { &REQUEST });
    let mut text = format!(
        "({})",
        covered.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ")
    );
    for name in words("order", &given.each_ref().map(|(name, _)| *name)) {
        let (_, value) = given.iter().find(|(known, _)| *known == name).unwrap();
        match hop["params"].get(&name).unwrap_or(value) {
            Value::Null => {}
            Value::String(value) => text.push_str(&format!(";{name}={}", quoted(value))),
            value => text.push_str(&format!(";{name}={value}")),
        }
    }
    text
}

/// One change to a header after it was signed.
fn altered(header: &Value, change: &Value) -> Vec<Value> {
    let (name, value) = (&header[0], header[1].as_str().unwrap_or_default());
    let part = |member: &str| change[member].as_str().unwrap();
    if change.get("from").is_some() {
        assert!(value.contains(part("from")), "{change}: {value}");
        return vec![json!([name, value.replacen(part("from"), part("to"), 1)])];
    }
    if change.get("flip").is_some() {
        let (start, rest) = value.split_at(value.find(part("flip")).unwrap() + part("flip").len());
        let other = if rest.starts_with('A') { "B" } else { "A" };
        let changed = [start, other, &rest[1..]].concat();
        return vec![json!([name, changed])];
    }
    if change.get("split").is_some() {
        let (first, second) = value.split_once(", ").unwrap();
        return vec![json!([name, first]), json!([name, second])];
    }
    match (change.get("line"), change.get("value")) {
        (Some(line), _) => vec![header.clone(), json!([name, line])],
        (_, Some(value)) => vec![json!([name, value])],
        _ => Vec::new(),
    }
}

/// The signature base of a request (RFC 9421, 2.5), as far as the table covers any.
fn base(params: &str, request: &Value, authority: &str, tag: &[u8], chain: &[u8]) -> Vec<u8> {
    let target = request["path"].as_str().unwrap();
    let (path, query) = target
        .split_once('?')
        .map_or((target, "?".to_owned()), |(path, query)| (path, format!("?{query}")));
    let mut base = Vec::new();
    for name in params[1..params.find(')').unwrap()].split(' ').map(|name| name.trim_matches('"')) {
        let field = || {
            request["headers"]
                .as_array()
                .unwrap()
                .iter()
                .find(|header| header[0] == name)
                .map(|header| header[1].as_str().unwrap())
        };
        let value: Cow<'_, [u8]> = match name {
            "@method" => request["method"].as_str().unwrap().as_bytes().into(),
            "@authority" => authority.as_bytes().into(),
            "@path" => path.as_bytes().into(),
            "@query" => query.clone().into_bytes().into(),
            "compliance-tag" => tag.into(),
            "compliance-chain" => chain.into(),
            _ => field().unwrap_or("None").as_bytes().into(),
        };
        base.extend([format!("\"{name}\": ").as_bytes(), &value, b"\n"].concat());
    }
    base.extend(format!("\"@signature-params\": {params}").as_bytes());
    base
}

/// What goes on from the node verifies, stands on what it verified, and shows each hop that it
/// calls proven.
fn onward(
    case: &Value,
    headers: &[(Vec<u8>, Vec<u8>)],
    authority: &str,
    before: Option<(&waybill::chain::Proof, [u8; 64])>,
) -> Result<(), String> {
    let value = |name: &str| {
        let found = headers.iter().find(|(other, _)| other == name.as_bytes());
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    let needed = |name: &str| value(name).ok_or(format!("no {name} goes on"));
    let (tag, chain, input, signature) = (
        needed("compliance-tag")?,
        needed("compliance-chain")?,
        needed("signature-input")?,
        needed("signature")?,
    );
    let input = &input[input.find("cmp=(").ok_or("no label cmp")? + 4..];
    let signature =
        &signature[signature.find("cmp=:").ok_or("no label cmp")? + 5..].trim_end_matches(':');
    let mut keys: Vec<(String, VerifyingKey)> =
        vec![("acme.example".into(), key(case, case["signs"].as_str().unwrap()).verifying_key())];
    for node in case["nodes"].as_array().into_iter().flatten() {
        let known = node["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| VerifyingKey::parse(key["x"].as_str().unwrap()).unwrap());
        keys.extend(known.map(|key| (node["id"].as_str().unwrap().to_owned(), key)));
    }
    let holds =
        |params: &str, authority: &str, tag: &[u8], chain: &str, signature: &str, hop: &str| {
            let signed = base(params, &case["request"], authority, tag, chain.as_bytes());
            let signature: [u8; 64] = STANDARD.decode(signature).unwrap().try_into().unwrap();
            let named =
                |key: &VerifyingKey| params.contains(&format!("keyid=\"{}\"", key.thumbprint()));
            let holds = keys.iter().any(|(node, key)| {
                named(key)
                    && hop.starts_with(&format!("\"{node}\""))
                    && key.verify(&signed, &signature)
            });
            if holds { Ok(()) } else { Err(format!("what goes on doesn't verify: {hop}")) }
        };
    let hops: Vec<&str> =
        members(chain.as_bytes()).map(|hop| std::str::from_utf8(hop).unwrap()).collect();
    let own = hops.last().unwrap();
    holds(input, authority, tag.as_bytes(), &chain, signature, own)?;
    let Some((proof, previous)) = before else {
        return if hops.len() == 1 && value("compliance-trail").is_none() {
            Ok(())
        } else {
            Err(format!("what didn't verify goes on: {chain}"))
        };
    };
    if !own.ends_with(&format!(";prev=:{}:", digest(&previous))) {
        return Err(format!("`prev` isn't the digest of what came: {own}"));
    }
    let trail = needed("compliance-trail")?;
    let shown: Vec<&str> =
        members(trail.as_bytes()).map(|member| std::str::from_utf8(member).unwrap()).collect();
    same("members of the trail", &(hops.len() - 1).into(), &shown.len().into())?;
    for (i, (member, (_, proof))) in shown.iter().zip(proof.hops()).enumerate() {
        if proof.is_err() {
            same("a hop without proof", &"()".into(), &(*member).into())?;
            continue;
        }
        let (pair, rest) = member.split_once(";authority=\"").ok_or("no authority")?;
        let (authority, params) = rest.split_once("\";params=\"").ok_or("no params")?;
        let (tag, signature) = pair.trim_matches(['(', ')']).split_once(' ').ok_or("no pair")?;
        let tag = STANDARD.decode(tag.trim_matches(':')).unwrap();
        let params = params.strip_suffix('"').ok_or("no end of params")?.replace("\\\"", "\"");
        holds(
            &params,
            authority,
            &tag,
            &hops[..=i].join(", "),
            signature.trim_matches(':'),
            hops[i],
        )?;
    }
    Ok(())
}

fn digest(signature: &[u8; 64]) -> String {
    STANDARD.encode(sha2::Sha256::digest(signature))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
