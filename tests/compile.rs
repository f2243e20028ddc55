//! A register of files becomes a snapshot: what was screened is what a request finds, and the same
//! files give the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use waybill::compile::countries;
use waybill::register::{Name, Ownership};
use waybill::shape::Word as _;
use waybill::snapshot::Snapshot;
use waybill::terms::names::CredentialDigest;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// 2026-11-21T00:00:00Z
const EPOCH: &str = "1795219200";

fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    for (file, text) in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn waybill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A key to sign with, beside the registers.
fn key(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jwk"));
    std::fs::write(&path, waybill(&["keygen"]).stdout).unwrap();
    path
}

/// Compiles a register; gives the snapshot's path beside it, and what was printed.
fn compiled(register: &Path, key: &Path) -> (PathBuf, Output) {
    let snapshot = register.with_extension("snapshot");
    drop(std::fs::remove_file(&snapshot));
    let output = waybill(&[
        "compile",
        register.to_str().unwrap(),
        "-o",
        snapshot.to_str().unwrap(),
        "--sign-key",
        key.to_str().unwrap(),
    ]);
    (snapshot, output)
}

/// The n-th credential's digest; its first bits are spread as a digest's are, for these choose the
/// bucket.
fn digest(n: usize) -> String {
    let spread = u32::try_from(n).unwrap().wrapping_mul(0x9e37_79b9);
    format!("sha256:{spread:08x}{}", "5a".repeat(28))
}

const ENTITIES: &str = r#"{
    "entities": [
        {"id": "acme", "jurisdiction": "SG"}, {"id": "harbour", "jurisdiction": "VG", "type": "company"}, {"id": "redstar", "jurisdiction": "CN"},
        {"id": "lion", "jurisdiction": "SG"}, {"id": "ada", "jurisdiction": "SG", "type": "person"}, {"id": "alone", "jurisdiction": "SG"}],
    "holdings": [
        {"owner": "harbour", "of": "acme", "basis_points": 6250}, {"owner": "redstar", "of": "harbour", "basis_points": 8000},
        {"owner": "ada", "of": "lion", "basis_points": 10000}, {"owner": "lion", "of": "stated", "basis_points": 4000}]}"#;

const BODS: &str = r#"[
    {"recordId": "stated", "recordType": "entity", "recordDetails": {"entityType": {"type": "registeredEntity"}, "jurisdiction": {"code": "JP"}}},
    {"recordId": "wang", "recordType": "person", "recordDetails": {"personType": "knownPerson", "nationalities": [{"code": "CN"}]}},
    {"recordId": "r", "recordType": "relationship", "recordDetails": {"subject": "stated", "interestedParty": "wang",
        "interests": [{"type": "shareholding", "directOrIndirect": "direct", "share": {"exact": 60}}]}}]"#;

/// By `ownership` where it is said, by `entity` where that is named, and else unresolved.
#[test]
fn a_request_finds_what_was_screened() {
    let entities = ["acme", "harbour", "redstar", "lion", "ada", "alone", "stated", "wang"];
    let mut customers = String::new();
    for (n, entity) in entities.iter().enumerate() {
        writeln!(
            customers,
            r#"{{"id": "c-{n}", "credentials": ["{}"], "entity": "{entity}"}}"#,
            digest(n)
        )
        .unwrap();
    }
    writeln!(
        customers,
        r#"{{"id": "c-90", "credentials": ["{}"], "ownership": "clear"}}"#,
        digest(90)
    )
    .unwrap();
    writeln!(customers, r#"{{"id": "c-91", "credentials": ["{}"]}}"#, digest(91)).unwrap();
    let strict = r#"{"schema": 1, "ownership": {"method": "cascade", "comparison": "ge", "threshold_basis_points": 6500}}"#;
    for (name, settings) in [("screened", r#"{"schema": 1}"#), ("screened-strict", strict)] {
        let files = [
            ("register.json", settings),
            ("customers.jsonl", &customers),
            ("entities.json", ENTITIES),
            ("bods/stated.json", BODS),
        ];
        let register = folder(name, &files);
        let (snapshot, output) = compiled(&register, &key(name));
        assert!(output.status.success(), "{}", text(output.stderr));
        let snapshot = Snapshot::read(std::fs::read(snapshot).unwrap(), |_| true).unwrap();
        let found = |n: usize| {
            let secret = Name::Secret(CredentialDigest::parse(&digest(n)).unwrap());
            let customer = snapshot.customer(secret).unwrap().unwrap().customer;
            assert_eq!(customer.id.as_str(), format!("c-{n}"));
            customer.ownership()
        };
        let mut counts = [0, 0, 0];
        for (n, entity) in entities.iter().enumerate() {
            let screened = |id: &str| {
                let screened =
                    waybill(&["screen", id, "--json", "--register", register.to_str().unwrap()]);
                serde_json::from_slice::<serde_json::Value>(&screened.stdout).unwrap()
            };
            assert_eq!(screened(entity)["status"], found(n).as_str(), "{name}: {entity}");
            counts[found(n) as usize] += 1;
            // a customer's id leads to its entity
            assert_eq!(screened(&format!("c-{n}")), screened(entity));
        }
        assert_eq!((found(90), found(91)), (Ownership::Clear, Ownership::Unresolved));
        let [clear, restricted, unresolved] = counts;
        let summary = format!(
            "customers 10 (ownership clear {}, restricted {restricted}, unresolved {})",
            clear + 1,
            unresolved + 1
        );
        assert!(text(output.stdout).contains(&summary), "{summary}");
        assert_eq!(counts, if name == "screened" { [2, 5, 1] } else { [3, 3, 2] });
    }
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let full = Path::new(ROOT).join("tests/corpus/register/valid/full");
    let key = key("same");
    let names = [
        "register.json",
        "customers.json",
        "entities.json",
        "nodes.json",
        "networks/country.csv",
        "networks/lists/tor.txt",
    ];
    let texts = names.map(|name| std::fs::read_to_string(full.join(name)).unwrap());
    let files: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (*name, text.as_str())).collect();
    let bytes = |name: &str, files: &[(&str, &str)]| {
        let (snapshot, output) = compiled(&folder(name, files), &key);
        assert!(output.status.success(), "{}", text(output.stderr));
        std::fs::read(snapshot).unwrap()
    };
    let once = bytes("same-1", &files);
    let reversed: Vec<_> = files.iter().rev().copied().collect();
    assert!(
        once == bytes("same-2", &reversed),
        "the order of a directory, its name or the hour get into the bytes"
    );
    let mut changed = files.clone();
    let text = changed[4].1.replace("198.51.100.7", "198.51.100.8");
    changed[4].1 = &text;
    assert!(once != bytes("same-3", &changed));
}

/// Whatever `check` finds wrong isn't compiled, and what stops compiling is what `check` says.
#[test]
fn nothing_is_compiled_that_check_refuses() {
    let key = key("refused");
    for kind in ["invalid", "contradictory", "valid"] {
        for entry in
            std::fs::read_dir(Path::new(ROOT).join("tests/corpus/register").join(kind)).unwrap()
        {
            let register = entry.unwrap().path();
            if !register.is_dir() {
                continue;
            }
            let snapshot = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused.snapshot");
            drop(std::fs::remove_file(&snapshot));
            let [register, output] = [&register, &snapshot].map(|path| path.to_str().unwrap());
            let compiled =
                waybill(&["compile", register, "-o", output, "--sign-key", key.to_str().unwrap()]);
            assert_eq!(
                (compiled.status.success(), snapshot.exists()),
                (kind == "valid", kind == "valid"),
                "{register}"
            );
            let checked = text(waybill(&["check", register]).stderr);
            let errors: String = checked.split(": note: ").next().unwrap().to_owned();
            let said = text(compiled.stderr);
            let without_last = |text: &str| {
                text.trim_end()
                    .rsplit_once('\n')
                    .map(|(before, _)| before.to_owned())
                    .unwrap_or_default()
            };
            assert!(
                kind == "valid" || errors.starts_with(&without_last(&said)),
                "{errors}\n\n{said}"
            );
        }
    }
}

#[test]
fn everything_in_a_snapshot_can_be_looked_up() {
    let key = key("looked-up");
    let register = Path::new(ROOT).join("tests/corpus/register/valid/full");
    let snapshot = Path::new(env!("CARGO_TARGET_TMPDIR")).join("looked-up.snapshot");
    let [register, file, key] = [&register, &snapshot, &key].map(|path| path.to_str().unwrap());
    assert!(waybill(&["compile", register, "-o", file, "--sign-key", key]).status.success());
    let looked = |what: &str, name: &str| {
        let output = waybill(&["inspect", file, "--json", what, name]);
        (
            output.status.code(),
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default(),
        )
    };
    let node = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let credential = format!("sha256:{}", "02".repeat(32));
    for (what, name, path, found) in [
        ("--customer", "c-1042", "/customer/id", "c-1042"),
        ("--customer", "rb-77", "/customer/kind", "reseller"),
        ("--credential", credential.as_str(), "/customer/credential/label", "ci"),
        ("--certificate", "spiffe://acme/c-1042", "/customer/id", "c-1042"),
        ("--claim", "sub-1042", "/customer/id", "c-1042"),
        ("--node", node, "/node/id", "reseller-b.example"),
        ("--address", "198.51.100.7", "/address/places/0/place", "UA-43"),
    ] {
        let (code, answer) = looked(what, name);
        assert_eq!(
            (code, answer.pointer(path)),
            (Some(0), Some(&found.into())),
            "{what} {name}: {answer}"
        );
    }
    // a name of another kind leads nowhere
    for (what, name) in [
        ("--customer", "nobody"),
        ("--certificate", "sub-1042"),
        ("--claim", "c-1042"),
        ("--node", "reseller-b.example"),
    ] {
        assert_ne!(looked(what, name).0, Some(0), "{what} {name}");
    }
    let own = text(waybill(&["keygen", "--trusted-key", key]).stdout);
    let other = text(
        waybill(&["keygen", "--trusted-key", self::key("looked-up-other").to_str().unwrap()])
            .stdout,
    );
    let trusting =
        |key: &str| waybill(&["inspect", file, "--trusted-key", key.trim()]).status.code();
    assert_eq!((trusting(&own), trusting(&other)), (Some(0), Some(1)));
}

#[test]
fn one_credential_among_many_is_found() {
    const MANY: usize = 100_000;
    let mut customers = String::with_capacity(MANY * 150);
    for n in 0..MANY {
        writeln!(
            customers,
            r#"{{"id": "c-{n}", "credentials": ["{}"], "ownership": "clear", "declared": ["SG"]}}"#,
            digest(n)
        )
        .unwrap();
    }
    let (snapshot, output) = compiled(
        &folder("many-customers", &[("customers.jsonl", &customers)]),
        &key("many-customers"),
    );
    assert!(output.status.success(), "{}", text(output.stderr));
    let inspect = |n: usize| {
        waybill(&["inspect", snapshot.to_str().unwrap(), "--json", "--credential", &digest(n)])
    };
    for n in [0, 1, 50_000, MANY - 1] {
        let found: serde_json::Value = serde_json::from_slice(&inspect(n).stdout).unwrap();
        assert_eq!(found["customer"]["id"], format!("c-{n}"));
    }
    assert_eq!(inspect(MANY).status.code(), Some(1));
}

#[test]
fn every_country_has_a_name_and_no_name_is_twos() {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let data = read(include_str!("../data/countries.json"));
    let regions = read(include_str!("../data/regions.json"));
    let names = data["names"].as_object().unwrap();
    let codes = regions["iso3166_1_alpha2"].as_array().unwrap();
    assert_eq!(names.len(), 249);
    assert!(names.keys().eq(codes.iter().map(|code| code.as_str().unwrap())));
    let others =
        data["also"].as_object().unwrap().iter().flat_map(|(code, names)| {
            names.as_array().unwrap().iter().map(move |name| (code, name))
        });
    for (expected, name) in names.iter().chain(others) {
        let name = name.as_str().unwrap();
        let code = |name: &str| countries::named(name).map(|country| country.to_string());
        assert_eq!(code(name).as_ref(), Some(expected), "{name}");
        let bracket = || name.strip_suffix(')')?.split_once(" (");
        if let Some((main, rest)) = name.split_once(", ").or_else(bracket) {
            for way in
                [format!("{rest} {main}"), format!("{main} ({rest})"), format!("{main}, {rest}")]
            {
                assert_eq!(code(&way).as_ref(), Some(expected), "{way}");
            }
        }
    }
}

#[test]
fn names_are_read_as_people_write_them() {
    let code = |name: &str| countries::named(name).map(|country| country.to_string());
    for (expected, names) in [
        (
            "CN",
            &[
                "China",
                "  china\u{a0}",
                "CHINA",
                "People's Republic of China",
                "the People\u{2019}s Republic of China",
                "PRC",
                "P.R.C.",
                "P.R. China",
                "PR China",
                "Mainland China",
                "China (Mainland)",
                "China, People's Republic of",
                "China (People's Republic of)",
            ][..],
        ),
        (
            "HK",
            &[
                "Hong Kong",
                "Hong Kong SAR",
                "Hong Kong SAR China",
                "HONG KONG, CHINA",
                "China, Hong Kong Special Administrative Region",
                "Hong  Kong",
            ],
        ),
        ("MO", &["Macao", "Macau", "Macau SAR"]),
        ("RU", &["Russian Federation", "Russia", "The Russian Federation"]),
        (
            "IR",
            &[
                "Iran",
                "Iran, Islamic Republic of",
                "Islamic Republic of Iran",
                "Iran (Islamic Republic of)",
            ],
        ),
        (
            "KP",
            &[
                "North Korea",
                "DPRK",
                "Korea (Democratic People's Republic of)",
                "Democratic People's Republic of Korea",
                "Korea, Democratic People's Republic of",
            ],
        ),
        (
            "KR",
            &[
                "South Korea",
                "Republic of Korea",
                "Korea, Republic of",
                "Korea (Republic of)",
                "Korea, South",
            ],
        ),
        ("TW", &["Taiwan", "Taiwan, Province of China", "Taiwan (Province of China)"]),
        ("VN", &["Viet Nam", "Vietnam"]),
        ("US", &["USA", "U.S.A.", "United States", "the United States of America"]),
        (
            "GB",
            &[
                "UK",
                "U.K.",
                "United Kingdom of Great Britain and Northern Ireland",
                "England & Wales",
            ],
        ),
        ("AE", &["UAE", "United Arab Emirates"]),
        ("CZ", &["Czechia", "Czech Republic"]),
        ("TR", &["Turkey", "Türkiye", "TURKIYE", "Tu\u{308}rkiye"]),
        ("CI", &["Ivory Coast", "Côte d'Ivoire", "Cote D\u{2019}Ivoire"]),
        ("MM", &["Burma", "Myanmar"]),
        (
            "CD",
            &[
                "Congo, The Democratic Republic of the",
                "Democratic Republic of the Congo",
                "The Democratic Republic of the Congo",
            ],
        ),
        (
            "VG",
            &[
                "Virgin Islands, British",
                "British Virgin Islands",
                "Virgin Islands (British)",
                "BVI",
            ],
        ),
        ("VI", &["Virgin Islands, U.S.", "US Virgin Islands", "U.S. Virgin Islands"]),
        ("KN", &["Saint Kitts and Nevis", "St. Kitts & Nevis"]),
        ("GM", &["The Gambia", "Gambia, The", "Gambia (The)"]),
        ("BS", &["Bahamas (the)"]),
        ("CU", &["cuba"]),
        ("SY", &["Syrian Arab Republic", "Syria"]),
        ("XK", &["Kosovo"]),
    ] {
        for name in names {
            assert_eq!(code(name).as_deref(), Some(expected), "{name}");
        }
    }
    for name in [
        "",
        " ",
        "Ruritania",
        "Korea",
        "Virgin Islands",
        "Channel Islands",
        "China Town",
        "Republic",
        "Stateless",
        "New China",
        "CN",
        "the",
        "Chin",
        "Crimea",
    ] {
        assert_eq!(code(name), None, "{name}");
    }
}
