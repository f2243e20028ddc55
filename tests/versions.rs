//! Snapshots of format version 1, which the Waybill before version 2 of the format wrote, say the
//! same as those that are written now.

#![expect(clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use waybill::compile::directory::{self, Files};
use waybill::compile::{Order, compile};
use waybill::register::Name;
use waybill::snapshot::Snapshot;
use waybill::snapshot::layout::FormatVersion;
use waybill::terms::key::{SigningKey, Window};
use waybill::terms::time::UnixSeconds;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/snapshots");

fn read(file: Vec<u8>) -> Snapshot {
    let key = SigningKey::new(&[7; 32], Window::default()).verifying_key();
    Snapshot::read(file, |signer| *signer == key).unwrap_or_else(|refused| panic!("{refused}"))
}

#[test]
fn version_1_says_the_same_as_version_2() {
    let before = read(std::fs::read(format!("{DATA}/version-1.snapshot")).unwrap());
    let documents = ["register.json", "customers.json", "nodes.json"]
        .map(|name| (name.to_owned(), std::fs::read(format!("{DATA}/register/{name}")).unwrap()));
    let files = Files { documents: documents.into(), others: BTreeSet::new() };
    let created = UnixSeconds(1_795_000_000);
    let (register, remarks) = directory::read(files, created);
    let register = register.unwrap_or_else(|| panic!("{:?}", remarks.errors));
    let customers: Vec<_> = register.customers.clone();
    let key = SigningKey::new(&[7; 32], Window::default());
    let order = Order { sequence: before.preamble.sequence, created, key: &key };
    let now = read(compile(register, &order).unwrap().file);

    assert_eq!(before.preamble.version, FormatVersion::One);
    assert_eq!(now.preamble.version, FormatVersion::Two);
    let mut names = Vec::new();
    for customer in &customers {
        names.push(Name::Id(customer.id.as_str()));
        names.extend(customer.credentials.iter().map(|secret| Name::Secret(secret.digest)));
        names.extend(customer.mtls.iter().map(|name| Name::Certificate(name.as_str())));
        names.extend(customer.jwt.iter().map(|value| Name::Claim(value.as_str())));
    }
    let customer = |snapshot: &Snapshot, name| {
        snapshot.customer(name).unwrap().map(|found| (format!("{:?}", found.customer), found.entry))
    };
    let found = names.iter().filter(|name| customer(&now, **name).is_some()).count();
    assert_eq!((customers.len(), found), (5, 11), "all names, and the id of who runs a node");
    for name in names {
        assert_eq!(customer(&before, name), customer(&now, name), "{name:?}");
    }
    let text = |snapshot: &Snapshot| format!("{:?} {:?}", snapshot.nodes, snapshot.head.regions);
    assert_eq!(text(&before), text(&now));
}
