//! Keys as JWKs, and the keyring that a node signs with.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::env::VarError;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use waybill::chain::keyring::{KeyAbsence, Keyring, from_variables};
use waybill::config::{Config, KeySource};
use waybill::shape::Word as _;
use waybill::terms::key::{KEY_LENGTH, SigningKey, VerifyingKey, Window};
use waybill::terms::time::UnixSeconds;

// === keys ===

// RFC 8037 appendix A
const PRIVATE: &str = concat!(
    r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","#,
    r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
);
const SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

#[test]
fn rfc_8037_holds() {
    let key = SigningKey::from_jwk(PRIVATE).unwrap();
    let public = key.verifying_key();
    assert_eq!(public.to_string(), PUBLIC);
    assert_eq!(public.thumbprint(), THUMBPRINT);
    let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = key.sign(jws.as_bytes());
    assert_eq!(
        URL_SAFE_NO_PAD.encode(signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert!(public.verify(jws.as_bytes(), &signature));
    assert!(!public.verify(b"something else", &signature));
}

#[test]
fn what_is_written_is_read_again() {
    let window = Window { nbf: Some(1_795_000_000), exp: Some(1_830_000_000) };
    let key = SigningKey::new(&[7; KEY_LENGTH], window);
    let again = SigningKey::from_jwk(&key.to_private_jwk()).unwrap();
    assert_eq!((again.verifying_key(), again.window()), (key.verifying_key(), window));
    assert!(
        window.contains(1_795_000_000)
            && window.contains(1_829_999_999)
            && !window.contains(1_830_000_000)
    );
    let public = key.verifying_key();
    assert_eq!(VerifyingKey::from_base64(&public.to_base64()).unwrap(), public);
    assert_eq!(VerifyingKey::parse(&public.to_string()).unwrap(), public);
    assert!(
        !key.to_public_jwk().contains("\"d\"")
            && key.to_public_jwk().contains(&public.thumbprint())
    );
    assert!(SigningKey::from_jwk(&key.to_public_jwk()).is_err());
}

#[test]
fn what_is_wrong_is_said_without_the_secret() {
    let cases = [
        (PRIVATE.replace("OKP", "EC"), "expected `kty` `OKP`"),
        (PRIVATE.replace("\"d\"", "\"e\""), "missing `d`"),
        (PRIVATE.replace(SECRET, &format!("{SECRET}A")), "`d` isn't 32 bytes"),
        (PRIVATE.replace("\"x\":\"11", "\"x\":\"12"), "`x` isn't the public part"),
        (PRIVATE.replace('}', r#","kid":"other"}"#), "`kid` isn't its thumbprint"),
        (PRIVATE.replace('}', r#","exp":"soon"}"#), "`exp` isn't a whole number"),
        (PRIVATE.replace('}', r#","nbf":5,"exp":5}"#), "expires before it begins"),
        (format!(r#"{{"keys":[{PRIVATE}]}}"#), "found a set of keys"),
        (PRIVATE.replace('}', ""), "not JSON from line 1, column"),
        (format!("\"{SECRET}\""), "expected `kty` `OKP`"),
        (SECRET.to_owned(), "not JSON from line 1, column"),
    ];
    for (text, expected) in cases {
        let mismatch = SigningKey::from_jwk(&text).unwrap_err();
        assert!(mismatch.message.contains(expected), "{}", mismatch.message);
        assert!(!format!("{mismatch:?}").contains("nWGxne"), "{mismatch:?}");
    }
    assert!(!format!("{:?}", SigningKey::from_jwk(PRIVATE).unwrap()).contains("nWGxne"));
}

#[test]
fn no_key_under_which_anybody_can_sign() {
    // the neutral element, and a y that belongs to no point
    for y in [1, 2] {
        let mut bytes = [0; KEY_LENGTH];
        bytes[0] = y;
        assert!(VerifyingKey::parse(&URL_SAFE_NO_PAD.encode(bytes)).is_err(), "{y}");
    }
    // one digit short, padded, stray bits in the last digit, nothing
    for x in
        [PUBLIC.trim_end_matches('o'), &format!("{PUBLIC}="), &PUBLIC.replace("HURo", "HURp"), ""]
    {
        assert!(VerifyingKey::parse(x).is_err(), "{x}");
    }
}

// === the keyring ===

const NOW: u64 = 1_795_000_000;
const DAY: u64 = 86_400;

fn key(secret: u8, nbf: Option<u64>, exp: Option<u64>) -> SigningKey {
    SigningKey::new(&[secret; KEY_LENGTH], Window { nbf, exp })
}

fn jwk(secret: u8, nbf: Option<u64>, exp: Option<u64>) -> String {
    key(secret, nbf, exp).to_private_jwk()
}

fn at(second: u64) -> UnixSeconds {
    UnixSeconds(i64::try_from(second).unwrap())
}

/// Reads keys from `K0`, `K1` and so on.
fn read(variables: &[Result<String, VarError>]) -> Result<Keyring, String> {
    let names: Vec<String> = (0..variables.len()).map(|i| format!(r#"{{"env":"K{i}"}}"#)).collect();
    let text = format!(
        r#"{{"version":1,"node":{{"id":"acme.example"}},"register":{{"customers":[]}},
            "identity":{{"sources":[{{"bearer":true}}]}},"tag":{{"keys":[{}]}}}}"#,
        names.join(",")
    );
    let config = Config::parse(&text).unwrap();
    let variable =
        |name: &str| variables[name.trim_start_matches('K').parse::<usize>().unwrap()].clone();
    Keyring::read(&config.tag, &from_variables(&variable)).map_err(|problems| problems.to_string())
}

/// Reads a key from the secret `s`, which gives that.
fn read_secret(text: Result<String, KeyAbsence>) -> Result<Keyring, String> {
    let config = Config::parse(
        r#"{"version":1,"node":{"id":"acme.example"},"register":{"customers":[]},
            "identity":{"sources":[{"bearer":true}]},
            "tag":{"keys":[{"secret":"s","sds_config":{"ads":{}}}]}}"#,
    );
    let secret = |source: &KeySource| {
        assert_eq!(source.to_string(), "secret `s`");
        text.clone()
    };
    Keyring::read(&config.unwrap().tag, &secret).map_err(|problems| problems.to_string())
}

fn read_all(texts: &[String]) -> Keyring {
    read(&texts.iter().cloned().map(Ok).collect::<Vec<_>>()).unwrap()
}

fn signs(keyring: &Keyring, second: u64) -> Option<String> {
    keyring.signing(at(second)).map(|signer| signer.keyid.clone())
}

#[test]
fn a_key_hands_over_to_the_next() {
    let (old, new) = (key(1, Some(NOW), Some(NOW + 30 * DAY)), key(2, Some(NOW + 20 * DAY), None));
    let [old_id, new_id] = [&old, &new].map(|key| Some(key.verifying_key().thumbprint()));
    for order in [[&old, &new], [&new, &old]] {
        let keyring = read_all(&order.map(SigningKey::to_private_jwk));
        let expected = [
            (NOW - 1, None, 2),
            (NOW, old_id.clone(), 2),
            (NOW + 20 * DAY - 1, old_id.clone(), 2),
            (NOW + 20 * DAY, new_id.clone(), 2),
            (NOW + 30 * DAY - 1, new_id.clone(), 2),
            (NOW + 30 * DAY, new_id.clone(), 1),
            (NOW + 9_000 * DAY, new_id.clone(), 1),
        ];
        for (second, signer, published) in expected {
            assert_eq!(signs(&keyring, second), signer, "{second}");
            assert_eq!(keyring.published(at(second)).count(), published, "{second}");
        }
    }
}

#[test]
fn the_newest_signs_and_of_equals_the_last() {
    let thumbprint = |secret| Some(key(secret, None, None).verifying_key().thumbprint());
    let open = read_all(&[jwk(1, None, None), jwk(2, Some(5), None), jwk(3, None, None)]);
    assert_eq!(signs(&open, NOW), thumbprint(2));
    assert_eq!(signs(&open, 4), thumbprint(3));
    assert_eq!(
        signs(&read_all(&[jwk(1, Some(5), None), jwk(2, Some(5), None)]), NOW),
        thumbprint(2)
    );
    // a newer one that has ended leaves the older one to sign
    assert_eq!(
        signs(&read_all(&[jwk(1, Some(5), None), jwk(2, Some(6), Some(NOW))]), NOW),
        thumbprint(1)
    );
    assert_eq!(signs(&Keyring::default(), NOW), None);
}

#[test]
fn a_set_is_as_good_as_its_keys() {
    let set = format!(r#"{{"keys":[{},{}]}}"#, jwk(1, None, None), jwk(2, Some(5), None));
    assert_eq!(
        signs(&read_all(&[set]), NOW),
        signs(&read_all(&[jwk(1, None, None), jwk(2, Some(5), None)]), NOW)
    );
}

#[test]
fn a_secret_gives_keys_as_a_variable_does() {
    let keyring = read_secret(Ok(jwk(1, None, None))).unwrap();
    assert_eq!((keyring.awaits(), keyring.is_empty()), (false, false));

    let awaited = read_secret(Err(KeyAbsence::Awaited)).unwrap();
    assert_eq!((awaited.awaits(), awaited.is_empty()), (true, true));

    let told = |text| read_secret(text).unwrap_err().lines().next().unwrap().to_owned();
    let cases = [
        (Err(KeyAbsence::NoSecrets), "the secret `s` can't be read"),
        (
            Err(KeyAbsence::Refused),
            "Envoy doesn't give the secret `s`; a line of Envoy's above says why",
        ),
        (
            Ok("{}".to_owned()),
            "invalid private Ed25519 key: expected `kty` `OKP` and `crv` `Ed25519`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(told(text), format!("$.tag.keys[0].secret: {expected}"));
    }
}

#[test]
fn mistakes_are_all_named_and_no_secret_is() {
    let set = |keys: &[String]| Ok(format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
    let good = jwk(1, None, None);
    let variables = [
        Ok(good.clone()),
        Err(VarError::NotPresent),
        Err(VarError::NotUnicode(OsString::from_vec(vec![0xff]))),
        Ok(String::new()),
        Ok(good.replace("\"d\"", "\"e\"")),
        set(&[]),
        set(&[jwk(2, None, None), good.clone(), jwk(2, None, None)]),
        set(&[jwk(3, None, None), good.replace("OKP", "EC"), "7".into()]),
        Ok(r#"{"keys":7}"#.into()),
        Ok(format!(r#"{{"keys":[{{"keys":[{good}]}}]}}"#)),
    ];
    let told = read(&variables).unwrap_err();
    let thumbprint = |secret| key(secret, None, None).verifying_key().thumbprint();
    let invalid = |key: usize, member: &str, why: &str| {
        format!("$.tag.keys[{key}].env: {member}invalid private Ed25519 key: {why}")
    };
    let expected = [
        "$.tag.keys[1].env: the variable `K1` isn't set".to_owned(),
        "$.tag.keys[2].env: the variable isn't UTF-8 text".to_owned(),
        invalid(3, "", "not JSON from line 1, column 0 on"),
        invalid(4, "", "missing `d`, the private part"),
        invalid(5, "", "the set is empty"),
        format!("$.tag.keys[6].env: duplicate key `{}`", thumbprint(1)),
        format!("$.tag.keys[6].env: duplicate key `{}`", thumbprint(2)),
        invalid(7, "`keys[1]`: ", "expected `kty` `OKP` and `crv` `Ed25519`"),
        invalid(8, "", "`keys` isn't a list"),
        invalid(9, "`keys[0]`: ", "expected `kty` `OKP` and `crv` `Ed25519`"),
    ];
    let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with("  help: ")).collect();
    assert_eq!(lines, expected);
    assert_eq!(told.lines().count(), 2 * lines.len(), "each has a hint: {told}");
    let secret = good.split(r#""d":""#).nth(1).unwrap().split('"').next().unwrap();
    assert!(!told.contains(secret) && !format!("{:?}", read(&variables[..1])).contains(secret));
}

#[test]
fn what_is_published_is_what_a_register_reads() {
    let keyring = read_all(&[
        jwk(1, Some(NOW), Some(NOW + DAY)),
        jwk(2, None, Some(NOW)),
        jwk(3, Some(NOW + DAY), None),
    ]);
    let set: serde_json::Value = serde_json::from_str(&keyring.directory(at(NOW))).unwrap();
    let published = key(1, Some(NOW), Some(NOW + DAY));
    assert_eq!(
        set["keys"][0],
        serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "x": published.verifying_key().to_string(),
            "kid": published.verifying_key().thumbprint(), "nbf": NOW, "exp": NOW + DAY,
            "use": "sig",
        })
    );
    assert_eq!(
        set["keys"].as_array().unwrap().len(),
        2,
        "the one that has ended is gone, the one to come is there"
    );
    assert_eq!(Keyring::default().directory(at(NOW)), r#"{"keys":[]}"#);
    // the keys of the directory, as they are, are a node's keys in somebody's register
    let nodes = serde_json::json!({
        "version": 1, "node": {"id": "b.example"},
        "identity": {"sources": [{"bearer": true}]},
        "register": {
            "customers": [{"id": "r", "kind": "reseller"}],
            "nodes": [{"id": "acme.example", "customer": "r", "keys": set["keys"]}],
        },
    });
    assert!(Config::parse(&nodes.to_string()).is_ok());
}

#[test]
fn the_operator_is_told_in_time() {
    let told = |keys: &[String], now: u64| {
        let notices = read_all(keys).notices(at(now));
        notices.iter().map(|notice| notice.message.clone()).collect::<String>()
    };
    let ends = [jwk(1, Some(NOW), Some(NOW + 10 * DAY))];
    assert!(told(&ends, NOW - 1).starts_with("no key counts now"));
    assert_eq!(told(&ends, NOW + 3 * DAY), "");
    assert_eq!(
        told(&ends, NOW + 3 * DAY + 1),
        "no key counts from 2026-11-28T11:06:40Z on: tags go unsigned then"
    );
    assert!(told(&ends, NOW + 10 * DAY).starts_with("no key counts now"));
    // one that takes over in time, one that does so too late, one that stays
    let next = |nbf| [ends[0].clone(), jwk(2, Some(nbf), Some(NOW + 90 * DAY))];
    assert_eq!(told(&next(NOW + 10 * DAY), NOW + 9 * DAY), "");
    assert_ne!(told(&next(NOW + 10 * DAY + 1), NOW + 9 * DAY), "");
    assert_eq!(told(&[ends[0].clone(), jwk(2, None, None)], NOW + 9 * DAY), "");
    assert_eq!(Keyring::default().notices(at(NOW)), []);
}
