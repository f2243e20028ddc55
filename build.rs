//! Reduces `data/` to the members that the code reads. Sources and notes are for people; in the
//! module, which has a size to keep, they would be a third of all its data.

use std::path::Path;

use serde_json::{Map, Value};

/// The members kept of each file, at any depth.
const KEPT: &[(&str, &[&str])] = &[
    (
        "regions",
        &[
            "dependent_territories",
            "sets",
            "id",
            "complete",
            "supported",
            "supported_except",
            "subdivisions",
        ],
    ),
    ("relay-marks", &["marks", "software", "header", "value", "credential"]),
    ("credential-headers", &["headers", "subprotocols", "header", "prefix", "kind"]),
    ("client-software", &["software", "systems", "sdk", "os", "forms"]),
    ("shared-state", &["rows", "provider", "methods", "path"]),
];

fn main() {
    let target = std::env::var("OUT_DIR").unwrap_or_default();
    for (name, kept) in KEPT {
        let source = format!("data/{name}.json");
        println!("cargo::rerun-if-changed={source}");
        let text = std::fs::read_to_string(&source).unwrap_or_default();
        let data = serde_json::from_str(&text).map(|data| reduced(data, kept));
        let written = data.map_err(|error| error.to_string()).and_then(|data| {
            std::fs::write(Path::new(&target).join(format!("{name}.json")), data.to_string())
                .map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            println!("cargo::error={source}: {error}");
        }
    }
}

fn reduced(data: Value, kept: &[&str]) -> Value {
    match data {
        Value::Object(members) => {
            let members: Map<String, Value> = members
                .into_iter()
                .filter(|(name, _)| kept.contains(&name.as_str()))
                .map(|(name, value)| {
                    if name == "dependent_territories" {
                        (name, value)
                    } else {
                        (name, reduced(value, kept))
                    }
                })
                .collect();
            Value::Object(members)
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| reduced(item, kept)).collect())
        }
        other => other,
    }
}
