//! Signatures and chains in the pure core: the RFC's vectors and this profile's, three nodes in a
//! row, and what any altered byte makes of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use waybill::chain::keyring::Keyring;
use waybill::chain::memory::InMemory;
use waybill::chain::replay::{Admission, SignedNonce, admit};
use waybill::chain::signature::{Message, Signatures, base};
use waybill::chain::{Attest, Proof, Signer};
use waybill::config::KeySource;
use waybill::decision::outcome::{Outcome, apply};
use waybill::decision::request::{Request, Time, TlsNames};
use waybill::decision::{Screen, Worker};
use waybill::shape::Word as _;
use waybill::terms::finding::FindingCode;
use waybill::terms::key::{SigningKey, VerifyingKey, Window};
use waybill::terms::names::authority;
use waybill::terms::time::UnixSeconds;

const VECTORS: &str = include_str!("data/rfc9421-vectors.json");
const NOW: u64 = 1_795_000_000;

type Headers = Vec<(Vec<u8>, Vec<u8>)>;

// === the vectors ===

fn pairs(request: &Value) -> Headers {
    let text = |value: &Value| value.as_str().unwrap().as_bytes().to_vec();
    request["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
}

fn borrowed(headers: &Headers) -> Vec<(&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}

fn lines<'a>(headers: &[(&'a [u8], &'a [u8])], name: &str) -> Vec<&'a [u8]> {
    headers
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| *value)
        .collect()
}

#[test]
fn the_rfcs_vectors_hold() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors["rfc"].as_array().unwrap() {
        let headers = pairs(&vector["request"]);
        let message = Message {
            method: b"POST",
            authority: "example.com",
            path: b"/foo?param=Value&Pet=dog",
            values: &[],
            fields: &borrowed(&headers),
        };
        let params = vector["signature_input"].as_str().unwrap().split_once('=').unwrap().1;
        let made = base(params, &message).unwrap();
        assert_eq!(
            String::from_utf8(made.clone()).unwrap(),
            vector["signature_base"].as_str().unwrap()
        );
        let signature = base64(vector["signature"].as_str().unwrap().split(':').nth(1).unwrap());
        if vector["alg"] == "ed25519" {
            let key = VerifyingKey::parse(vector["key"]["x"].as_str().unwrap()).unwrap();
            assert!(key.verify(&made, signature.as_slice().try_into().unwrap()));
        } else {
            // this profile has no HMAC, so the base alone is ours to check
            let mut secret =
                base64(&vector["key"]["k"].as_str().unwrap().replace('-', "+").replace('_', "/"));
            assert_eq!(hmac_sha256(&mut secret, &made), signature);
        }
    }
}

/// RFC 2104 over SHA-256, for keys of at most a block.
fn hmac_sha256(secret: &mut Vec<u8>, message: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    secret.resize(64, 0);
    let pad = |with: u8| secret.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text.trim_end_matches('=')).unwrap()
}

#[test]
fn the_profiles_vectors_hold() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["vectors"].as_array().unwrap();
    for vector in cases {
        let id = &vector["id"];
        let accepted = accepted(&vectors["keys"], vector);
        assert_eq!(
            accepted.is_ok(),
            vector["expect"]["accept"].as_bool().unwrap(),
            "{id}: {accepted:?}"
        );
    }
    assert_eq!(cases.len(), 25);
}

fn accepted(keys: &Value, vector: &Value) -> Result<(), String> {
    let headers = pairs(&vector["request"]);
    let fields = borrowed(&headers);
    let taken = Signatures::take(&lines(&fields, "signature-input"), &lines(&fields, "signature"));
    let signed = taken.ours.ok_or("none")?.map_err(|fault| fault.to_string())?;
    let now = UnixSeconds(vector["now"].as_i64().unwrap());
    signed.input.check_time(now, 5, 300).map_err(|fault| fault.to_string())?;
    let key = keys[&signed.input.keyid]["x"].as_str().ok_or("unknown key")?;
    let request = &vector["request"];
    let message = Message {
        method: request["method"].as_str().unwrap().as_bytes(),
        authority: &authority(request["authority"].as_str().unwrap().as_bytes()).unwrap(),
        path: request["path"].as_str().unwrap().as_bytes(),
        values: &[],
        fields: &fields,
    };
    assert_eq!(signed.input.unbound(), None);
    signed
        .verify(&VerifyingKey::parse(key).unwrap(), &message)
        .map_err(|fault| fault.to_string())?;
    if let Some(expected) = vector["signature_base"].as_str() {
        assert_eq!(
            String::from_utf8(signed.input.base(&message).unwrap()).unwrap(),
            expected,
            "{}",
            vector["id"]
        );
    }
    let mut replays = InMemory::default();
    let until = signed.input.expires;
    for nonce in vector["seen_nonces"].as_array().into_iter().flatten() {
        admit(
            &mut replays,
            SignedNonce {
                signer: &signed.input.keyid,
                nonce: nonce.as_str().unwrap().as_bytes(),
                until,
            },
            now,
        );
    }
    let what =
        SignedNonce { signer: &signed.input.keyid, nonce: signed.input.nonce.as_bytes(), until };
    if admit(&mut replays, what, now) == Admission::New { Ok(()) } else { Err("replayed".into()) }
}

#[test]
fn a_signer_reproduces_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let secret =
        base64(&vectors["private_key"]["d"].as_str().unwrap().replace('-', "+").replace('_', "/"));
    let key = SigningKey::new(secret.as_slice().try_into().unwrap(), Window::default());
    for vector in vectors["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        if ["g01-post", "g02-query", "g04-two-lines"].contains(&id) {
            let headers = pairs(&vector["request"]);
            let fields = borrowed(&headers);
            let taken =
                Signatures::take(&lines(&fields, "signature-input"), &lines(&fields, "signature"));
            let theirs = taken.ours.unwrap().unwrap();
            let request = &vector["request"];
            let message = Message {
                method: request["method"].as_str().unwrap().as_bytes(),
                authority: request["authority"].as_str().unwrap(),
                path: request["path"].as_str().unwrap().as_bytes(),
                values: &[],
                fields: &fields,
            };
            let times = (theirs.input.created, theirs.input.expires);
            let (params, signature) = waybill::chain::signature::sign(
                &key,
                "test-key-ed25519",
                times,
                &theirs.input.nonce,
                true,
                &message,
            )
            .unwrap();
            assert_eq!(
                (params.as_str(), signature),
                (theirs.input.params(), theirs.signature),
                "{id}"
            );
        }
    }
}

// === three nodes in a row ===

/// A node with its worker.
struct Node {
    config: Value,
    screen: Screen,
    worker: Worker,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::new(&[seed; 32], Window::default())
}

fn screened() -> Value {
    json!({"status": "passed", "at": "2001-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z",
        "by": "desk"})
}

fn customer(id: &str, kind: &str) -> Value {
    let digest = waybill::terms::names::CredentialDigest::of(format!("sk-{id}").as_bytes());
    json!({"id": id, "kind": kind, "credentials": [digest.to_string()], "screening": screened(), "ownership": "clear", "declared": ["SG"]})
}

fn peer(id: &str, customer: &str, seed: u8, binding: &str) -> Value {
    let jwk: Value = serde_json::from_str(&key(seed).to_public_jwk()).unwrap();
    json!({"id": id, "customer": customer, "screening": screened(), "keys": [jwk],
        "binding": binding})
}

fn node(id: &str, next: &str, seed: u8, binding: &str, customers: Value, nodes: Value) -> Node {
    let config = json!({
        "version": 1,
        "node": {"id": id, "authorities": [format!("gateway.{id}")], "upstream_authority": next, "residency": "US"},
        "register": {"customers": customers, "nodes": nodes},
        "regions": {"set": "anthropic-api-179"},
        "identity": {"sources": [{"header": "x-api-key"}, {"chain": true}]},
        "geo": {"origin": [{"header": "x-geo-country"}]},
        "tag": {"keys": [{"env": "KEY"}], "binding": binding},
        "provider": {"name": "anthropic"},
        "disclosure": {"contact": "compliance@acme.example", "appeal_url": "https://acme.example/appeal"},
    });
    let screen =
        Screen::parse(&config.to_string()).map_err(|problems| problems.to_string()).unwrap();
    let text = |_: &KeySource| Ok(key(seed).to_private_jwk());
    let keyring = Keyring::read(&screen.config().tag, &text)
        .map_err(|problems| problems.to_string())
        .unwrap();
    Node {
        config,
        screen,
        worker: Worker::new(Signer::new(keyring), Box::new(InMemory::default())),
    }
}

fn edge(binding: &str) -> Node {
    node(
        "b.example",
        "gateway.a.example",
        1,
        binding,
        json!([customer("c-9", "customer")]),
        json!([]),
    )
}

fn transit(before: &str, binding: &str) -> Node {
    let nodes = json!([peer("b.example", "rb-77", 1, before)]);
    node(
        "a.example",
        "gateway.p.example",
        2,
        binding,
        json!([customer("rb-77", "reseller")]),
        nodes,
    )
}

fn ingress(first: &str, second: &str) -> Node {
    let customers = json!([customer("acme", "reseller"), customer("b", "reseller")]);
    let nodes = json!([peer("b.example", "b", 1, first), peer("a.example", "acme", 2, second)]);
    node("p.example", "model.p.example", 3, "request", customers, nodes)
}

/// What a node makes of a request at a second: what it received, what fired, and what goes on.
struct Passed {
    codes: Vec<FindingCode>,
    evidence: Vec<String>,
    worth: Option<Attest>,
    /// Of each earlier hop
    unproven: Vec<Option<String>>,
    customer: Option<String>,
    headers: Option<Headers>,
}

impl Node {
    fn pass(&mut self, headers: &Headers, second: u64) -> Passed {
        let request = Request {
            headers: borrowed(headers),
            direct_peer: Some(b"203.0.113.9"),
            envoy_client: None,
            tls: TlsNames::default(),
            claims: Vec::new(),
            time: Time(second * 1_000_000_000),
        };
        let decision = self.screen.decide(&request, None, &mut self.worker, "test".into()).unwrap();
        let proof = decision.case.receipt.proof();
        let mut unproven: Vec<Option<String>> = proof
            .into_iter()
            .flat_map(Proof::hops)
            .map(|(hop, proof)| proof.err().map(|error| format!("{}: {error}", hop.node)))
            .collect();
        unproven.pop(); // the signer's own
        Passed {
            codes: decision.weighed.iter().map(|weighed| weighed.finding.code).collect(),
            evidence: decision
                .weighed
                .iter()
                .map(|weighed| weighed.finding.evidence.clone())
                .collect(),
            worth: proof.map(|proof| proof.worth()),
            unproven,
            customer: decision.case.identity.customer().map(|customer| customer.id.to_string()),
            headers: match &decision.outcome {
                Outcome::Forward(edits) => Some(apply(&request, edits)),
                Outcome::Answer(_) => None,
            },
        }
    }
}

fn first(key: &str) -> Headers {
    [
        (":method", "POST"),
        (":authority", "gateway.b.example"),
        (":path", "/v1/messages?beta=true"),
        ("x-api-key", key),
        ("x-geo-country", "SG"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec()
}

/// As the next node's Envoy receives it: under that node's name, from where its own geography says.
fn onward(headers: Option<Headers>, authority: &str, country: &str) -> Headers {
    let mut headers = headers.unwrap();
    set(&mut headers, ":authority", authority.as_bytes());
    headers.push((b"x-geo-country".to_vec(), country.into()));
    headers
}

fn set(headers: &mut Headers, name: &str, value: &[u8]) {
    headers.iter_mut().find(|(other, _)| other == name.as_bytes()).unwrap().1 = value.to_vec();
}

fn get(headers: &Headers, name: &str) -> Vec<u8> {
    headers
        .iter()
        .find(|(other, _)| other == name.as_bytes())
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

/// A request as the provider gets it, through both nodes.
fn carried() -> Headers {
    let b = edge("request").pass(&first("sk-c-9"), NOW);
    let a = transit("request", "request").pass(&onward(b.headers, "gateway.a.example", "SG"), NOW);
    assert_eq!((a.codes, a.worth), (vec![], Some(Attest::Full)));
    onward(a.headers, "gateway.p.example", "SG")
}

#[test]
fn a_screened_chain_passes_and_is_proven() {
    let headers = carried();
    let tag = String::from_utf8(get(&headers, "compliance-tag")).unwrap();
    for part in [
        r#"node="a.example", customer="rb-77""#,
        r#"origin="SG", via="SG""#,
        "attest=partial, chain=full",
        "findings=()",
    ] {
        assert!(tag.contains(part), "{part}: {tag}");
    }
    let chain = String::from_utf8(get(&headers, "compliance-chain")).unwrap();
    assert!(chain.starts_with(r#""b.example";customer="c-9";attest=full, "a.example";customer="rb-77";attest=partial;prev=:"#), "{chain}");
    let trail = String::from_utf8(get(&headers, "compliance-trail")).unwrap();
    assert!(
        trail.contains(r#"authority="gateway.a.example";params="(\"@method\" \"@authority\""#),
        "{trail}"
    );

    let p = ingress("request", "request").pass(&headers, NOW + 1);
    assert_eq!((p.codes, p.worth, p.unproven), (vec![], Some(Attest::Full), vec![None]));
    assert_eq!(p.customer.as_deref(), Some("acme"), "the signature alone names the caller");
    let chain = String::from_utf8(get(&p.headers.unwrap(), "compliance-chain")).unwrap();
    assert_eq!(chain.matches("prev=").count(), 2);
}

/// A reseller that this node doesn't serve can't come in behind one that it serves.
#[test]
fn an_earlier_hops_customer_counts_too() {
    for (member, value, why) in [
        ("status", "suspended", "is suspended"),
        ("ownership", "restricted", "is owned from a restricted region"),
    ] {
        let mut b = customer("b", "reseller");
        b[member] = json!(value);
        let nodes =
            json!([peer("b.example", "b", 1, "request"), peer("a.example", "acme", 2, "request")]);
        let mut p = node(
            "p.example",
            "model.p.example",
            3,
            "request",
            json!([customer("acme", "reseller"), b]),
            nodes,
        );
        let passed = p.pass(&carried(), NOW);
        assert_eq!(passed.codes, [FindingCode::ChainUnscreenedNode]);
        assert_eq!(passed.evidence, [format!("b.example: its customer b {why}")]);
        assert!(passed.headers.is_none());
    }
}

#[test]
fn the_same_request_passes_once() {
    let headers = carried();
    let mut p = ingress("request", "request");
    assert_eq!(p.pass(&headers, NOW).codes, []);
    let again = p.pass(&headers, NOW + 1);
    assert_eq!(again.codes, [FindingCode::ChainReplayed]);
    assert!(again.headers.is_none());
    // past its time, give or take the tolerance
    assert_eq!(ingress("request", "request").pass(&headers, NOW + 64).codes, []);
    assert_eq!(
        ingress("request", "request").pass(&headers, NOW + 65).codes,
        [FindingCode::ChainExpired]
    );
    assert_eq!(
        ingress("request", "request").pass(&headers, NOW - 6).codes,
        [FindingCode::ChainInvalid]
    );
}

#[test]
fn an_unscreened_customers_request_goes_no_further_and_a_label_doesnt_launder() {
    // the edge only reports, and honestly says what it found
    let mut b = edge("request");
    let config = json!({"version": 1, "node": {"id": "b.example", "upstream_authority": "gateway.a.example"},
        "register": {"customers": [{"id": "c-9",
            "credentials": [waybill::terms::names::CredentialDigest::of(b"sk-c-9").to_string()],
            "ownership": "clear"}]},
        "regions": {"set": "anthropic-api-179"}, "identity": {"sources": [{"header": "x-api-key"}]},
            "policy": {"mode": "report"},
        "geo": {"origin": [{"header": "x-geo-country"}]}, "tag": {"keys": [{"env": "KEY"}]}});
    b.screen = Screen::parse(&config.to_string()).unwrap();
    let mut request = first("sk-c-9");
    set(&mut request, "x-geo-country", b"CN");
    let passed = b.pass(&request, NOW);
    let a =
        transit("request", "request").pass(&onward(passed.headers, "gateway.a.example", "SG"), NOW);
    assert!(a.headers.is_none());
    for code in
        [FindingCode::CustomerUnscreened, FindingCode::GeoRestricted, FindingCode::ChainIncomplete]
    {
        assert!(a.codes.contains(&code), "{code}: {:?}", a.codes);
    }
    assert!(
        a.evidence.iter().any(|evidence| evidence.contains("origin CN (reported by b.example)")),
        "{:?}",
        a.evidence
    );
}

#[test]
fn an_invented_hop_is_told_from_a_proven_one() {
    // b signs a chain in which a screened node stands before it that never saw the request
    let (tag, chain) = (
        r#"node="b.example", customer="z-1", screening=passed, user="SG", origin="SG", attest=partial, chain=full, findings=(), at=@1795000000"#,
        r#""z.example";customer="c-1";attest=full, "b.example";customer="z-1";attest=partial;prev=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"#,
    );
    let mut headers = first("sk-rb-77");
    set(&mut headers, ":authority", b"gateway.a.example");
    let message = Message {
        method: b"POST",
        authority: "gateway.a.example",
        path: b"/v1/messages?beta=true",
        values: &[("compliance-tag", tag.as_bytes()), ("compliance-chain", chain.as_bytes())],
        fields: &[],
    };
    let times = (UnixSeconds(1_795_000_000), UnixSeconds(1_795_000_060));
    let (params, signature) = waybill::chain::signature::sign(
        &key(1),
        &key(1).verifying_key().thumbprint(),
        times,
        "nonce",
        true,
        &message,
    )
    .unwrap();
    use base64::Engine as _;
    let signature = base64::engine::general_purpose::STANDARD.encode(signature);
    for (name, value) in [
        ("compliance-tag", tag),
        ("compliance-chain", chain),
        ("signature-input", &format!("cmp={params}")),
        ("signature", &format!("cmp=:{signature}:")),
    ] {
        headers.push((name.into(), value.into()));
    }
    let nodes =
        json!([peer("b.example", "rb-77", 1, "request"), peer("z.example", "z", 9, "request")]);
    let customers = json!([customer("rb-77", "reseller"), customer("z", "reseller")]);
    let mut a = node("a.example", "gateway.p.example", 2, "request", customers, nodes);
    let passed = a.pass(&headers, NOW);
    assert_eq!(passed.codes, [FindingCode::ChainUnproven]);
    assert_eq!(passed.evidence, ["z.example: the trail doesn't show it"]);
    // what goes on says so to the next: the invented hop's place is empty, b's is proven
    let headers = onward(passed.headers, "gateway.p.example", "SG");
    assert!(get(&headers, "compliance-trail").starts_with(b"(), (:"));
    let nodes = json!([
        peer("a.example", "acme", 2, "request"),
        peer("b.example", "b", 1, "request"),
        peer("z.example", "z", 9, "request")
    ]);
    let customers =
        json!([customer("acme", "reseller"), customer("b", "reseller"), customer("z", "reseller")]);
    let p = node("p.example", "m.example", 3, "request", customers, nodes).pass(&headers, NOW);
    assert_eq!(p.unproven, [Some("z.example: the trail doesn't show it".to_owned()), None]);
    assert!(p.codes.contains(&FindingCode::ChainUnproven));
}

#[test]
fn a_customers_signature_is_used_again_and_stays_true() {
    let (mut b, mut a, mut p) =
        (edge("customer"), transit("customer", "customer"), ingress("customer", "customer"));
    let mut seen = std::collections::BTreeSet::new();
    for second in NOW..NOW + 130 {
        let from_b = b.pass(&first("sk-c-9"), second);
        let from_a = a.pass(&onward(from_b.headers, "gateway.a.example", "SG"), second);
        assert_eq!(from_a.codes, [], "at {second}: {:?}", from_a.evidence);
        let headers = onward(from_a.headers, "gateway.p.example", "SG");
        seen.insert(get(&headers, "signature"));
        let at_p = p.pass(&headers, second);
        assert_eq!((at_p.codes, at_p.unproven), (vec![], vec![None]), "at {second}");
    }
    assert!((3..=6).contains(&seen.len()), "{} signatures in 130 seconds", seen.len());
    // who doesn't say in the register that it binds so isn't believed
    let from_b = edge("customer").pass(&first("sk-c-9"), NOW);
    let refused =
        transit("request", "request").pass(&onward(from_b.headers, "gateway.a.example", "SG"), NOW);
    assert_eq!(refused.codes, [FindingCode::ChainInvalid]);
}

#[test]
fn a_customers_signature_still_expires_and_the_registers_word_counts_each_time() {
    let from_b = edge("customer").pass(&first("sk-c-9"), NOW);
    let headers = onward(from_b.headers, "gateway.a.example", "SG");
    let mut a = transit("customer", "request");
    assert_eq!(a.pass(&headers, NOW).codes, []);
    assert_eq!(a.pass(&headers, NOW + 30).codes, [], "bound to the customer it may come again");
    assert_eq!(
        a.pass(&headers, NOW + 65).codes,
        [FindingCode::ChainExpired],
        "though it was opened before"
    );
    let mut other = headers;
    set(&mut other, ":authority", b"gateway.c.example");
    assert_eq!(
        a.pass(&other, NOW).codes,
        [FindingCode::ChainInvalid],
        "opened before, under another name"
    );
}

/// A hop as a node may sign it that isn't this code: for whom it likes, and when it likes.
struct Hop<'a> {
    seed: u8,
    node: &'a str,
    customer: &'a str,
    sent_to: &'a str,
    times: (u64, u64),
    nonce: &'a str,
}

/// A request as the last of these hops sends it, with the trail of the others.
fn carried_by(hops: &[Hop<'_>]) -> Headers {
    use sha2::Digest as _;
    let (mut chain, mut members, mut before) =
        (String::new(), Vec::<String>::new(), None::<[u8; 64]>);
    let mut headers = first("sk-nobody");
    for Hop { seed, node, customer, sent_to, times, nonce } in hops {
        let tag = format!(
            r#"node="{node}", customer="{customer}", screening=passed, origin="SG", findings=()"#
        );
        chain = match before {
            None => format!(r#""{node}";customer="{customer}";attest=full"#),
            Some(before) => {
                let prev = encoded(&sha2::Sha256::digest(before));
                format!(r#"{chain}, "{node}";customer="{customer}";attest=partial;prev={prev}"#)
            }
        };
        let values = [("compliance-tag", tag.as_bytes()), ("compliance-chain", chain.as_bytes())];
        let message = Message {
            method: b"POST",
            authority: sent_to,
            path: b"/v1/messages?beta=true",
            values: &values,
            fields: &[],
        };
        let times =
            (UnixSeconds(times.0.try_into().unwrap()), UnixSeconds(times.1.try_into().unwrap()));
        let keyid = key(*seed).verifying_key().thumbprint();
        let (params, signature) =
            waybill::chain::signature::sign(&key(*seed), &keyid, times, nonce, true, &message)
                .unwrap();
        before = Some(signature);
        let trail = members.join(", ");
        let escaped = params.replace('"', "\\\"");
        members.push(format!(
            r#"({} {});authority="{sent_to}";params="{escaped}""#,
            encoded(tag.as_bytes()),
            encoded(&signature)
        ));
        headers.retain(|(name, _)| {
            !name.starts_with(b"compliance-") && !name.starts_with(b"signature")
        });
        set(&mut headers, ":authority", sent_to.as_bytes());
        for (name, value) in [
            ("compliance-tag", tag),
            ("compliance-chain", chain.clone()),
            ("compliance-trail", trail),
            ("signature-input", format!("cmp={params}")),
            ("signature", format!("cmp={}", encoded(&signature))),
        ] {
            headers.push((name.into(), value.into()));
        }
    }
    headers
}

/// A byte sequence (RFC 9651 3.3.5).
fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!(":{}:", base64::engine::general_purpose::STANDARD.encode(bytes))
}

const B: Hop<'_> = Hop {
    seed: 1,
    node: "b.example",
    customer: "c-9",
    sent_to: "gateway.a.example",
    times: (NOW, NOW + 60),
    nonce: "n-b",
};
const A: Hop<'_> = Hop {
    seed: 2,
    node: "a.example",
    customer: "rb-77",
    sent_to: "gateway.p.example",
    times: (NOW, NOW + 60),
    nonce: "n-a",
};

#[test]
fn an_earlier_nodes_request_vouches_once_however_its_signer_dates_its_own() {
    let mut p = ingress("request", "request");
    assert_eq!(p.pass(&carried_by(&[B, A]), NOW).codes, []);
    for second in NOW + 1..=NOW + 368 {
        // as early as may be, and as long
        let created = second.saturating_sub(304).max(NOW);
        let again = p.pass(
            &carried_by(&[
                B,
                Hop { times: (created, created + 300), nonce: &format!("{second}"), ..A },
            ]),
            second,
        );
        assert_eq!(again.codes, [FindingCode::ChainReplayed], "at {second}");
    }
    // from then on it is of no use to anybody: what it stands under would have to be older than is
    // taken
    let late = p.pass(
        &carried_by(&[B, Hop { times: (NOW + 65, NOW + 365), nonce: "late", ..A }]),
        NOW + 369,
    );
    assert_eq!(late.evidence, ["b.example: it was signed at another time than what stands on it"]);
}

#[test]
fn nodes_between_that_lie_make_an_earlier_nodes_request_last_no_longer() {
    let customers =
        json!([customer("acme", "reseller"), customer("b", "reseller"), customer("c", "reseller")]);
    let nodes = json!([
        peer("a.example", "acme", 2, "request"),
        peer("b.example", "b", 1, "request"),
        peer("c.example", "c", 4, "request")
    ]);
    let mut p = node("p.example", "m.example", 3, "request", customers, nodes);
    let c = || Hop { seed: 4, node: "c.example", sent_to: "gateway.b.example", nonce: "n-c", ..B };
    assert_eq!(p.pass(&carried_by(&[c(), B, A]), NOW).codes, []);
    // each holds when the next one signs
    let (b, a) = ((NOW + 64, NOW + 364), (NOW + 368, NOW + 668));
    let again = p.pass(
        &carried_by(&[
            c(),
            Hop { times: b, nonce: "n-b2", ..B },
            Hop { times: a, nonce: "n-a2", ..A },
        ]),
        NOW + 668,
    );
    assert_eq!(again.evidence, ["c.example: it was signed at another time than what stands on it"]);
}

#[test]
fn what_was_sent_to_this_node_proves_no_earlier_hop() {
    let mut p = ingress("request", "request");
    let direct = || Hop { sent_to: "gateway.p.example", ..B };
    assert_eq!(p.pass(&carried_by(&[direct()]), NOW).codes, []);
    // its nonce is remembered only until it has expired, and the next signer may date its own back
    for (second, times) in [(NOW + 1, (NOW, NOW + 60)), (NOW + 70, (NOW + 60, NOW + 120))] {
        let passed = p.pass(
            &carried_by(&[direct(), Hop { times, nonce: &format!("{second}"), ..A }]),
            second,
        );
        assert_eq!(passed.evidence, ["b.example: it was sent to this node, not to the next hop"]);
    }
}

#[test]
fn a_replay_uses_up_no_other_nodes_request() {
    let mut p = ingress("request", "request");
    assert_eq!(p.pass(&carried_by(&[B, A]), NOW).codes, []);
    let other = carried_by(&[Hop { nonce: "n-other", ..B }, A]);
    assert_eq!(p.pass(&other, NOW).evidence, ["signed by a.example, and seen before"]);
    // the other earlier signature wasn't used up by it
    assert_eq!(
        p.pass(&carried_by(&[Hop { nonce: "n-other", ..B }, Hop { nonce: "n-a2", ..A }]), NOW)
            .codes,
        []
    );
}

#[test]
fn what_was_opened_counts_only_for_the_node_that_has_the_key() {
    let from_b = edge("customer").pass(&first("sk-c-9"), NOW);
    let headers = onward(from_b.headers, "gateway.a.example", "SG");
    let mut a = transit("customer", "request");
    assert_eq!(a.pass(&headers, NOW).codes, []);
    // the register is changed: the key is another node's now
    let nodes = json!([
        peer("b2.example", "rb-77", 1, "customer"),
        peer("b.example", "rb-77", 5, "customer")
    ]);
    a.screen = node(
        "a.example",
        "gateway.p.example",
        2,
        "request",
        json!([customer("rb-77", "reseller")]),
        nodes,
    )
    .screen;
    assert_eq!(
        a.pass(&headers, NOW + 1).evidence,
        ["the last hop is b.example, signed by b2.example"]
    );
}

#[test]
fn the_operator_is_told_where_a_signature_that_doesnt_hold_gets_in() {
    let mut config = ingress("request", "request").config;
    let told = |config: &Value| {
        let screen = Screen::parse(&config.to_string()).unwrap();
        let paths = screen.config().notices.iter().map(|notice| notice.path.clone());
        paths.filter(|path| path.contains("chain")).collect::<Vec<_>>()
    };
    assert_eq!(told(&config), Vec::<String>::new());
    config["policy"] = json!({"actions": {"chain.expired": "report", "chain.unproven": "allow"}});
    assert_eq!(told(&config), ["$.policy.actions.chain.expired"]);
    config["identity"]["sources"] = json!([{"header": "x-api-key"}]);
    assert_eq!(told(&config), Vec::<String>::new());
}

#[test]
fn what_a_sender_calls_things_doesnt_fill_an_explanation() {
    let long = "x".repeat(9_000);
    let mut headers = first("sk-nobody");
    set(&mut headers, ":authority", b"gateway.p.example");
    headers.push((b"signature".to_vec(), encoded(&[0; 64]).replacen(':', "cmp=:", 1).into()));
    headers.push((
        b"signature-input".to_vec(),
        format!(r#"cmp=("{long}";sf);alg="ed25519";tag="llm-reseller-compliance""#).into(),
    ));
    let passed = ingress("request", "request").pass(&headers, NOW);
    assert_eq!(passed.codes, [FindingCode::ChainInvalid]);
    assert!(passed.evidence[0].len() < 100, "{}", passed.evidence[0].len());
    for hop in [Hop { node: &long, ..B }, Hop { customer: &long, ..B }] {
        let passed = ingress("request", "request").pass(&carried_by(&[hop, A]), NOW);
        assert_eq!(passed.evidence, ["a name in the chain is too long"]);
    }
}

#[test]
fn a_display_string_hides_no_member() {
    use waybill::chain::signature::members;
    let whole: [&[u8]; 2] = [br#"a=%"\", b="x, \" y""#, br#"cmp=1;z=%"\\""#];
    let text = whole.join(&b", "[..]);
    assert_eq!(members(&text).collect::<Vec<_>>().len(), 3);
    assert_eq!(members(&text).last(), Some(whole[1]));
    let both = Signatures::take(&[br#"x=%"\", cmp=("@path"), cmp=("@method")"#], &[b"cmp=:AA==:"]);
    assert_eq!(both.ours, Some(Err(waybill::chain::signature::SignatureError::Several)));
}

#[test]
fn a_string_over_several_lines_hides_no_line() {
    use waybill::chain::signature::SignatureError;
    let cut: [&[u8]; 3] = [b"for=\"", b"cmp=::", b"\""];
    let whole: [&[u8]; 2] = [b"a=:AA==:", b"b=:AA==:, c=\", cmp=::\""];
    for (inputs, signatures, ours) in [
        (&[][..], &cut[..], Some(Err(SignatureError::Unparsable))),
        (&cut[..], &[][..], Some(Err(SignatureError::Unparsable))),
        (&[][..], &whole[..], None),
    ] {
        let taken = Signatures::take(inputs, signatures);
        assert_eq!(taken.ours, ours);
        assert_eq!(taken.signature.is_none(), ours.is_some(), "nothing of it goes on");
    }
}

// === properties ===

/// What a signature covers, and the signature itself, by header; the path without its query.
const COVERED: [&str; 7] = [
    ":method",
    ":authority",
    ":path",
    "compliance-tag",
    "compliance-chain",
    "signature-input",
    "signature",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 700, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn any_altered_byte_is_refused(
        header in proptest::sample::select(&COVERED[..]),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut headers = CARRIED.with(Clone::clone);
        let mut value = get(&headers, header);
        let covered = if header == ":path" { "/v1/messages".len() } else { value.len() };
        let at = at.index(covered);
        prop_assume!(value[at] != byte && !(header == ":path" && at > 0 && byte == b'?'));
        prop_assume!(!(header == ":authority" && value[at].eq_ignore_ascii_case(&byte)));
        let before = Signatures::take(&[&get(&headers, "signature-input")], &[&get(&headers, "signature")]);
        value[at] = byte;
        set(&mut headers, header, &value);
        // another spelling of the same values (a blank, the unused bits of base64) alters nothing
        let after = Signatures::take(&[&get(&headers, "signature-input")], &[&get(&headers, "signature")]);
        prop_assume!(!header.starts_with("signature") || before != after);
        let passed = ingress("request", "request").pass(&headers, NOW);
        prop_assert!(
            passed.headers.is_none() && passed.worth.is_none(),
            "{header} at {at}: {:?}",
            passed.evidence,
        );
    }

    #[test]
    fn any_altered_byte_of_a_trail_leaves_its_hop_unproven(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut headers = CARRIED.with(Clone::clone);
        let mut value = get(&headers, "compliance-trail");
        let before: Option<sfv::List> = sfv::Parser::new(&value).parse().ok();
        let at = at.index(value.len());
        prop_assume!(value[at] != byte);
        value[at] = byte;
        prop_assume!(sfv::Parser::new(&value).parse::<sfv::List>().ok() != before);
        set(&mut headers, "compliance-trail", &value);
        let passed = ingress("request", "request").pass(&headers, NOW);
        prop_assert_eq!(passed.codes, [FindingCode::ChainUnproven]);
        prop_assert!(passed.unproven[0].is_some());
        // and what fails is worth no more than what nobody vouches for
        prop_assert_eq!(passed.worth, Some(Attest::Gateway));
    }

    #[test]
    fn no_bytes_trap_or_pass(
        replaced in proptest::sample::subsequence(vec!["compliance-tag", "compliance-chain", "compliance-trail", "signature-input", "signature"], 1..=5),
        bytes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 5),
        more in proptest::collection::vec((0_usize..5, "[\"a-z=;:,() *@0-9?]{0,60}"), 0..4),
    ) {
        let mut headers = CARRIED.with(Clone::clone);
        for (name, bytes) in replaced.iter().zip(&bytes) {
            set(&mut headers, name, bytes);
        }
        let names = ["compliance-tag", "compliance-chain", "compliance-trail", "signature-input", "signature"];
        headers.extend(more.iter().map(|(i, text)| (names[*i].into(), text.as_bytes().to_vec())));
        let passed = ingress("request", "request").pass(&headers, NOW);
        prop_assert!(
            passed.worth.is_none() || replaced == ["compliance-trail"],
            "{:?}",
            passed.evidence,
        );
    }
}

thread_local! {
    static CARRIED: Headers = carried();
}

#[test]
fn what_doesnt_concern_a_caller_is_never_verified() {
    let mut headers = carried();
    headers.push((b"x-api-key".to_vec(), b"sk-plain".to_vec()));
    let nodes = json!([peer("a.example", "acme", 2, "request")]);
    let mut p = node(
        "p.example",
        "m.example",
        3,
        "request",
        json!([customer("plain", "customer"), customer("acme", "reseller")]),
        nodes,
    );
    let passed = p.pass(&headers, NOW);
    assert_eq!(passed.codes, [FindingCode::TagSpoofed]);
    assert_eq!(passed.customer.as_deref(), Some("plain"));
    let tag = String::from_utf8(get(&passed.headers.unwrap(), "compliance-tag")).unwrap();
    assert!(tag.contains("attest=full") && !tag.contains("chain="), "{tag}");
}

// === the desk ===

/// What `waybill verify-tag` says of a request at the provider: its exit code and both outputs.
fn verified_at_the_desk(
    name: &str,
    headers: &Headers,
    more: &[&str],
) -> (Option<i32>, String, String) {
    let folder =
        std::env::temp_dir().join(format!("waybill-verify-tag-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (config, request) = (folder.join("config.json"), folder.join("request.json"));
    std::fs::write(&config, ingress("request", "request").config.to_string()).unwrap();
    let text = |name: &str| String::from_utf8(get(headers, name)).unwrap();
    let pairs: Vec<Value> = headers
        .iter()
        .filter(|(name, _)| !name.starts_with(b":"))
        .map(|(name, value)| json!([String::from_utf8_lossy(name), String::from_utf8_lossy(value)]))
        .collect();
    let captured = json!({"method": text(":method"), "authority": text(":authority"), "path": text(":path"), "headers": pairs, "time": NOW});
    std::fs::write(&request, captured.to_string()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_waybill"));
    let output = command
        .arg("verify-tag")
        .arg("--config")
        .arg(&config)
        .arg("--request")
        .arg(&request)
        .args(more)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_desk_says_what_holds_and_what_doesnt() {
    let headers = carried();
    let (code, out, errors) = verified_at_the_desk("whole", &headers, &[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    for part in [
        "worth full",
        "1. b.example for c-9, full: proven",
        "2. a.example for rb-77, partial: signed this request",
        "findings: none",
    ] {
        assert!(out.contains(part), "{part}:\n{out}");
    }
    let (_, out, _) = verified_at_the_desk("json", &headers, &["--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["holds"], &json["worth"], &json["hops"][0]["proven"]),
        (&json!(true), &json!("full"), &json!(true))
    );
    assert_eq!(json["tag"]["origin"], "SG");

    let mut cut = headers.clone();
    cut.retain(|(name, _)| name != b"compliance-trail");
    let (code, out, errors) = verified_at_the_desk("cut", &cut, &[]);
    assert_eq!((code, errors.as_str()), (Some(1), "1 problem\n"));
    assert!(
        out.contains(
            "b.example for c-9, full: NOT PROVEN, stated only by the next hop: the trail doesn't show it"
        ),
        "{out}"
    );

    let mut altered = headers;
    let tag =
        String::from_utf8(get(&altered, "compliance-tag")).unwrap().replace("partial", "full");
    set(&mut altered, "compliance-tag", tag.as_bytes());
    let (code, out, errors) = verified_at_the_desk("altered", &altered, &[]);
    assert_eq!((code, errors.as_str()), (Some(1), "nothing is proven: chain.invalid\n"));
    assert!(
        out.contains("not accepted: signed by a.example: the signature doesn't verify"),
        "{out}"
    );
    let (_, out, _) =
        verified_at_the_desk("late", &carried(), &["--time", "2026-11-18T11:10:00Z", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["against"][0]["code"], "chain.expired");
}
