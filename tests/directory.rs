//! The corpus of registers: what is valid, and every mistake in what isn't, word for word with file
//! and line.
//!
//! A folder in `tests/corpus/register/valid` must be read; the notices stand beside it in a `.txt`.
//! In `invalid` a document breaks its published schema too (`tests/test_schema.py`); in
//! `contradictory` every document fits and only the whole is wrong, or it is a table, which has no
//! schema. `UPDATE_CORPUS=1 cargo test` writes what is expected anew, to be read before it is
//! committed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;
use waybill::compile::directory::{Files, SchemaDocument, is_document, read};
use waybill::compile::remarks::{MOST_ERRORS, Remark};
use waybill::terms::time::UnixSeconds;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// 2027-01-15T08:00:00Z
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

#[test]
fn valid_registers_are_read() {
    for folder in corpus("valid") {
        let (directory, remarks) = read(files(&folder), NOW);
        assert!(directory.is_some(), "{}:\n{}", folder.display(), told(&remarks.errors));
        same_as_file(&folder.with_extension("txt"), &told(&remarks.notices));
    }
}

#[test]
fn mistakes_are_all_named() {
    for folder in corpus("invalid").into_iter().chain(corpus("contradictory")) {
        let (directory, remarks) = read(files(&folder), NOW);
        assert!(directory.is_none() && !remarks.errors.is_empty(), "{} is wrong", folder.display());
        same_as_file(&folder.with_extension("txt"), &told(&remarks.errors));
    }
}

#[test]
fn no_remark_repeats_a_secret() {
    for folder in corpus("invalid").into_iter().chain(corpus("contradictory")) {
        let (_, remarks) = read(files(&folder), NOW);
        assert!(!format!("{remarks:?}").contains("very-secret"), "{}", folder.display());
        for output in [waybill(&["check"], &folder), waybill(&["check", "--json"], &folder)] {
            assert_eq!(output.status.code(), Some(1), "{}", folder.display());
            assert!(!format!("{output:?}").contains("very-secret"), "{}", folder.display());
        }
    }
}

#[test]
fn the_published_schemas_are_the_types() {
    for (document, name) in [
        (SchemaDocument::Register, "register"),
        (SchemaDocument::Customers, "register.customers"),
        (SchemaDocument::Entities, "register.entities"),
        (SchemaDocument::Owners, "register.owners"),
        (SchemaDocument::Nodes, "register.nodes"),
        (SchemaDocument::Enforcement, "register.enforcement"),
        (SchemaDocument::Sharing, "register.sharing"),
        (SchemaDocument::Report, "report"),
        (SchemaDocument::SharingDay, "sharing-day"),
    ] {
        let printed = Command::new(env!("CARGO_BIN_EXE_waybill"))
            .args(["schema", document.as_str()])
            .output()
            .unwrap();
        same_as_file(
            &Path::new(ROOT).join(format!("docs/{name}.schema.json")),
            &String::from_utf8(printed.stdout).unwrap(),
        );
    }
    let alone = Command::new(env!("CARGO_BIN_EXE_waybill")).arg("schema").output().unwrap();
    assert_eq!(
        alone.stdout,
        std::fs::read(Path::new(ROOT).join("docs/config.schema.json")).unwrap()
    );
}

/// One reader judges all three forms: the same customers come out of each.
#[test]
fn the_three_forms_say_the_same() {
    let row = "id,kind,credentials,declared,screening_status,screening_until,vouches_for_users,my-cloud_enforcement,ownership\n\
               c-1,reseller,DIGEST,SG JP,passed,2028-01-31T00:00:00Z,true,banned,clear\n";
    let json = r#"{"id": "c-1", "kind": "reseller", "credentials": ["DIGEST"], "declared": ["SG", "JP"], "screening": {"status": "passed",
        "until": "2028-01-31T00:00:00Z"}, "vouches_for_users": true, "providers": {"my-cloud": {"enforcement": "banned"}}, "ownership": "clear"}"#;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let [table, lines, whole] = [
        ("customers.csv", row.to_owned()),
        ("customers.jsonl", json.replace('\n', " ")),
        ("customers.json", format!("{{\"customers\": [{json}]}}")),
    ]
    .map(|(name, text)| {
        let (directory, remarks) = read(one(name, text.replace("DIGEST", &digest)), NOW);
        format!(
            "{:?}",
            directory.unwrap_or_else(|| panic!("{name}: {}", told(&remarks.errors))).customers
        )
    });
    assert_eq!(table, whole);
    assert_eq!(lines, whole);
}

#[test]
fn a_customer_has_its_place() {
    let text = "\n{\"id\": \"c-1\", \"ownership\": \"clear\"}\n\n{\"id\": \"c-2\", \"ownership\": \"clear\"}";
    let directory = read(one("customers.jsonl", text.into()), NOW).0.unwrap();
    assert_eq!(
        [directory.place(0), directory.place(1)],
        [("customers.jsonl", 2), ("customers.jsonl", 4)]
    );
}

#[test]
fn many_mistakes_are_counted_and_the_first_shown() {
    let text = "{\"id\": \"c-1\", \"ownership\": \"clear\"}\n".repeat(3_000);
    let remarks = read(one("customers.jsonl", text), NOW).1;
    assert_eq!((remarks.errors.len(), remarks.more), (MOST_ERRORS, 2_999 - MOST_ERRORS));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("many");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("customers.jsonl"), "{}\n".repeat(3_000)).unwrap();
    let errors = String::from_utf8(waybill(&["check"], &folder).stderr).unwrap();
    assert!(errors.contains("and 2,000 more") && errors.ends_with("3,000 errors\n"), "{errors}");
}

#[test]
fn check_says_what_is_there() {
    let folder = Path::new(ROOT).join("tests/corpus/register/valid/full");
    let output = waybill(&["check"], &folder);
    assert_eq!(output.status.code(), Some(0));
    let expected = format!(
        "{}: ok: 2 customers, 3 credentials, 2 entities, 1 holding, 1 node, 2 network sources\n",
        folder.display()
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// The examples of docs/register.md are one register, whichever form its customers have, and
/// `check` says of it what stands there.
#[test]
fn the_documented_register_is_one() {
    let document = std::fs::read_to_string(Path::new(ROOT).join("docs/register.md")).unwrap();
    let examples: BTreeMap<String, String> = document
        .split("\n```")
        .skip(1)
        .filter_map(|block| block.split_once('\n'))
        .filter_map(|(head, text)| Some((head.split_once(' ')?.1.to_owned(), format!("{text}\n"))))
        .collect();
    let forms = ["customers.json", "customers.jsonl", "customers.csv"];
    let expected: Vec<&str> = forms
        .into_iter()
        .chain(["register.json", "entities.json", "nodes.json", "sharing.json"])
        .collect();
    assert!(
        expected.iter().all(|name| examples.contains_key(*name))
            && examples.len() == expected.len(),
        "{:?}",
        examples.keys()
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acme-register");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(folder.join("networks")).unwrap();
    std::fs::copy(
        Path::new(ROOT).join("tests/data/mmdb/GeoLite2-Country-Test.mmdb"),
        folder.join("networks/country.mmdb"),
    )
    .unwrap();
    std::fs::write(folder.join("networks/tor.txt"), "192.0.2.1\n").unwrap();
    for (name, text) in examples.iter().filter(|(name, _)| !forms.contains(&name.as_str())) {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let check = || {
        let mut waybill = Command::new(env!("CARGO_BIN_EXE_waybill"));
        let output = waybill
            .current_dir(folder.parent().unwrap())
            .args(["check", "acme-register"])
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let indented =
        |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    for form in forms {
        std::fs::write(folder.join(form), &examples[form]).unwrap();
        let (out, errors) = check();
        assert!(!out.is_empty() && document.contains(&indented(&out)), "{form}: {out}{errors}");
        std::fs::remove_file(folder.join(form)).unwrap();
    }
    let wrong =
        examples["customers.json"].replace("\"JP\"", "\"UK\"").replace("\"rb-77\"", "\"c-1042\"");
    std::fs::write(folder.join("customers.json"), wrong).unwrap();
    let errors = check().1;
    let last = errors.lines().last().unwrap();
    let errors: String = errors
        .lines()
        .take_while(|line| !line.contains(": note: "))
        .chain([last])
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(document.contains(&indented(&errors)), "{errors}");
}

/// A list by AS number may have a number that is mistyped or gone: that is no mistake, but said.
#[test]
fn numbers_that_nobody_announces_are_noted() {
    let mut files = one("customers.json", "{\"customers\": []}".into());
    let settings = r#"{"schema": 1, "networks": [
        {"name": "asn", "file": "networks/asn.mmdb", "gives": "asn", "date": "2026-01-01T00:00:00Z"},
        {"name": "vpn", "file": "networks/vpn.txt", "class": "vpn", "date": "2026-01-01T00:00:00Z"}]}"#;
    files.documents.insert("register.json".into(), settings.into());
    files.documents.insert(
        "networks/asn.mmdb".into(),
        std::fs::read(Path::new(ROOT).join("tests/data/mmdb/GeoLite2-ASN-Test.mmdb")).unwrap(),
    );
    files.documents.insert("networks/vpn.txt".into(), "AS1221\nAS64500\nAS64501\n".into());
    let (directory, remarks) = read(files, NOW);
    assert!(
        told(&remarks.notices)
            .contains("networks/vpn.txt: no source has networks of AS64500 AS64501; nothing is listed for them\n"),
        "{}",
        told(&remarks.notices)
    );
    assert!(directory.unwrap().networks.sources[1].networks > 0);
}

#[test]
fn machines_get_file_and_line() {
    let folder = Path::new(ROOT).join("tests/corpus/register/contradictory/duplicates-lines");
    let output = waybill(&["check", "--json"], &folder);
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
        (Some(1), "2 errors\n")
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let error = &report["files"][0]["errors"][0];
    assert_eq!(
        (&error["file"], &error["line"], &error["path"]),
        (&"customers.jsonl".into(), &3.into(), &"$.id".into())
    );
}

/// Whichever file it is, and with a mark at its start or without: the encoding is named, and
/// nothing else said of it.
#[test]
fn other_encodings_are_named() {
    let documents = [
        ("register.json", "{\"schema\": 1}"),
        ("customers.json", "{\"customers\": []}"),
        ("customers.jsonl", "{\"id\": \"c-1\", \"ownership\": \"clear\"}\r\n"),
        ("customers.csv", "id,ownership\r\nc-1,clear\r\n"),
        ("entities.json", "{\"entities\": []}"),
        ("bods/all.json", "[]"),
        ("nodes.json", "{\"nodes\": []}"),
    ];
    for (name, text) in documents {
        for (mark, little) in [(true, true), (true, false), (false, true), (false, false)] {
            let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
            let bytes = units
                .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
                .collect();
            let mut files = if name.starts_with("customers") {
                Files::default()
            } else {
                one("customers.json", "{\"customers\": []}".into())
            };
            files.documents.insert(name.into(), bytes);
            let (directory, remarks) = read(files, NOW);
            let told = told(&remarks.errors);
            assert!(directory.is_none() && remarks.errors.len() == 1, "{told}");
            assert!(
                told.starts_with(&format!(
                    "{name}: unknown encoding: expected UTF-8, found UTF-16"
                )) && told.contains("save as UTF-8"),
                "{told}"
            );
        }
    }
}

#[test]
fn version_control_and_links_are_no_strangers() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mounted");
    drop(std::fs::remove_dir_all(&folder));
    // as Kubernetes mounts a ConfigMap
    std::fs::create_dir_all(folder.join("..data/deep")).unwrap();
    std::fs::create_dir_all(folder.join(".git/objects")).unwrap();
    std::fs::write(folder.join(".gitignore"), "").unwrap();
    std::fs::write(folder.join("..data/customers.json"), "{\"customers\": []}").unwrap();
    std::os::unix::fs::symlink("..data/customers.json", folder.join("customers.json")).unwrap();
    std::fs::create_dir_all(folder.join("networks")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("networks/up")).unwrap();
    let output = waybill(&["check"], &folder);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

proptest! {
    /// Whatever the files hold, they are read or refused.
    #[test]
    fn no_bytes_panic(name in 0_usize..6, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let name = ["register.json", "customers.json", "customers.jsonl", "customers.csv", "entities.json", "nodes.json"][name];
        let mut files = one("customers.json", "{\"customers\": []}".into());
        files.documents.insert(name.into(), bytes);
        drop(read(files, NOW));
    }

    /// A valid register with one byte changed is read or refused; what is refused says where.
    #[test]
    fn one_byte_off_panics_nowhere(
        document in 0_usize..4,
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut files = files(&Path::new(ROOT).join("tests/corpus/register/valid/full"));
        let bytes = files.documents.iter_mut(
        ).filter(|(name, _)| name.ends_with(".json")).nth(document).unwrap().1;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (directory, remarks) = read(files, NOW);
        prop_assert_eq!(directory.is_none(), !remarks.errors.is_empty());
        for error in &remarks.errors {
            prop_assert!(error.line.is_some(), "{}", error);
        }
    }

    /// In a table of any layout a mistake is on the line where its row begins, and several are said
    /// at once, by their rows.
    #[test]
    fn rows_have_their_lines(rows in proptest::collection::vec((0_usize..3, any::<bool>(),
        any::<bool>(), any::<bool>()), 1..12)) {
        let mut text = String::from("id,ownership,screening_by\n");
        let (mut wrong, mut breaks) = (Vec::new(), 0);
        for (i, (blank, bad, long, carriage)) in rows.into_iter().enumerate() {
            let end = if carriage { "\r\n" } else { "\n" };
            text.push_str(&end.repeat(blank));
            if bad {
                let line = text.split('\n').count();
                wrong.push((line, line.strict_sub(breaks)));
            }
            breaks = breaks.strict_add(usize::from(long));
            let by = if long { format!("\"a{end}b\"") } else { String::new() };
            text.push_str(&format!("c-{i},{},{by}{end}", if bad { "claer" } else { "clear" }));
        }
        let remarks = read(one("customers.csv", text), NOW).1;
        let found: Vec<&Remark> = remarks.errors.iter().filter(|error| error.problem.path == "ownership").collect();
        prop_assert_eq!(found.len(), usize::from(!wrong.is_empty()));
        if let [error] = found.as_slice() {
            prop_assert_eq!(error.line, wrong.first().map(|(line, _)| *line));
            let rows: Vec<usize> = wrong.iter().map(|(_, row)| *row).collect();
            let said = error.problem.message.strip_prefix("rows ").and_then(|rest| rest.split_once(": "));
            prop_assert_eq!(said.map_or_else(|| vec![rows[0]], |(said, _)| expanded(said)), rows);
        }
    }
}

/// `3, 7, 12-14` as numbers.
fn expanded(ranges: &str) -> Vec<usize> {
    let number = |text: &str| text.parse::<usize>().unwrap();
    let ends = |range: &str| {
        range.split_once('-').map_or_else(
            || (number(range), number(range)),
            |(first, last)| (number(first), number(last)),
        )
    };
    ranges.split(", ").map(ends).flat_map(|(first, last)| first..=last).collect()
}

fn one(name: &str, text: String) -> Files {
    Files { documents: BTreeMap::from([(name.to_owned(), text.into_bytes())]), ..Files::default() }
}

fn told(remarks: &[Remark]) -> String {
    remarks.iter().map(|remark| format!("{remark}\n")).collect()
}

fn corpus(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join("tests/corpus/register").join(kind);
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    assert!(!folders.is_empty(), "the corpus of {kind} registers is empty");
    folders.sort();
    folders
}

fn files(root: &Path) -> Files {
    let mut files = Files::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if is_document(&name) {
                files.documents.insert(name, std::fs::read(path).unwrap());
            } else {
                files.others.insert(name);
            }
        }
    }
    files
}

fn waybill(arguments: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill")).args(arguments).arg(path).output().unwrap()
}

fn same_as_file(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        expected,
        text,
        "{} differs; UPDATE_CORPUS=1 cargo test writes it anew",
        path.display()
    );
}
