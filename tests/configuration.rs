//! The corpus of configurations: valid ones, and every mistake in the others, word for word.
//!
//! `tests/corpus/config/valid` must parse. `invalid` breaks the published JSON Schema too (which
//! `tests/test_schema.py` checks with another implementation); `contradictory` fits the schema and
//! can only be found wrong as a whole. Each wrong file has its errors beside it in a `.txt`.
//! `UPDATE_CORPUS=1 cargo test` writes them anew, to be read before they are committed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use waybill::config::{self, Config, ConfigDocument};
use waybill::decision::event;
use waybill::shape::{Problems, read_document, to_text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn valid_configurations_parse() {
    for path in corpus("valid") {
        let parsed = Config::parse(&std::fs::read_to_string(&path).unwrap());
        assert!(parsed.is_ok(), "{}:\n{}", path.display(), parsed.unwrap_err());
    }
}

#[test]
fn mistakes_are_all_named() {
    for path in corpus("invalid").into_iter().chain(corpus("contradictory")) {
        let problems = Config::parse(&std::fs::read_to_string(&path).unwrap())
            .expect_err(&format!("{} is wrong", path.display()));
        same_as_file(&path.with_extension("txt"), &format!("{problems}\n"));
    }
}

#[test]
fn the_published_schemas_are_the_types() {
    for (name, schema) in [("config", config::schema()), ("event", event::schema())] {
        let path = Path::new(ROOT).join(format!("docs/{name}.schema.json"));
        same_as_file(&path, &format!("{schema:#}\n"));
    }
}

/// Defaults are written once, so leaving an object out means the same as leaving it empty.
#[test]
fn an_absent_object_is_an_empty_one() {
    let required = r#""version": 1, "node": {"id": "a.example"}, "identity": {"sources": []}"#;
    let absent = written(&format!("{{{required}}}"));
    let objects = [
        "client_address",
        "geo",
        "policy",
        "routes",
        "relay",
        "tag",
        "chain",
        "endpoints",
        "disclosure",
    ];
    for name in objects {
        assert_eq!(written(&format!("{{{required}, \"{name}\": {{}}}}")), absent, "{name}");
    }
}

#[test]
fn configurations_are_written_as_they_are_read() {
    for path in corpus("valid") {
        let once = written(&std::fs::read_to_string(&path).unwrap());
        assert!(Config::parse(&once).is_ok(), "{}: {once}", path.display());
        assert_eq!(written(&once), once, "{}", path.display());
    }
}

fn written(text: &str) -> String {
    let mut problems = Problems::default();
    let document = read_document::<ConfigDocument>(text, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    to_text(&document.unwrap().0)
}

#[test]
fn no_error_repeats_a_secret() {
    for path in corpus("invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let problems = Config::parse(&text).unwrap_err().to_string();
        assert!(
            !problems.contains("very-secret") && !problems.contains("kty"),
            "{}",
            path.display()
        );
    }
}

fn corpus(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join("tests/corpus/config").join(kind);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    assert!(!files.is_empty(), "the corpus of {kind} configurations is empty");
    files.sort();
    files
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
