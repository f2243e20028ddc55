//! The snapshot: what is written is read again, what isn't as it was signed is refused, and
//! whatever a server does, the last good one stays.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking"
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sha2::Digest as _;
use waybill::config::Config;
use waybill::register::{
    Agreement, Credential, CredentialEntry, Customer, CustomerKind, CustomerSignal, Enforcement,
    EnforcementEntry, Match, Name, Node, Override, Ownership, PageGone, ProviderEntry, Screening,
    ScreeningStatus, Status,
};
use waybill::shape::{Dictionary, Integer, Json, Path, Problems, Shape as _, Word};
use waybill::snapshot::bytes::PageBytes;
use waybill::snapshot::customer_writer::{CustomerRecord, bucket};
use waybill::snapshot::customers::{self, NameKind, RecordKey};
use waybill::snapshot::fetch::{
    CurrentSnapshot, FetchError, FetchRules, Fetcher, MAX_WHOLE, PART, PageStore, PartRequest,
    PartResponse, Progress, SharedPage, cell, mark, unmarked,
};
use waybill::snapshot::layout::{
    FormatVersion, MAX_PAGE, PAGE_ROW, PREAMBLE, PageKind, PageRow, ROWS_A_PAGE, SIGNED,
    SnapshotError, SourceContents,
};
use waybill::snapshot::map::AddressMap;
use waybill::snapshot::table::{DIVIDED, facts_width};
use waybill::snapshot::write::{Material, ROWS, write};
use waybill::snapshot::{PageSource, Snapshot};
use waybill::terms::finding::{Action, FindingCode};
use waybill::terms::key::{SigningKey, VerifyingKey, Window};
use waybill::terms::names::{CredentialDigest, Text};
use waybill::terms::network::Network;
use waybill::terms::network::SourceRole;
use waybill::terms::network::{Facts, NetworkClass};
use waybill::terms::region::{CountryCode, Place, Regions, Residency};
use waybill::terms::time::{LAST_SECOND, UnixSeconds};

// === what is compiled ===

/// The countries of two sources, and three lists.
const COUNTRY_SOURCES: [&str; 2] = ["first", "second"];
const LISTS: [(&str, NetworkClass); 3] =
    [("cloud", NetworkClass::Hosting), ("hidden", NetworkClass::Vpn), ("onion", NetworkClass::Tor)];

/// What goes into a file, owned.
#[derive(Debug, Clone, Default)]
struct World {
    sequence: u64,
    customers: Vec<Customer>,
    nodes: Vec<Node>,
    addresses: AddressMap,
}

fn key() -> SigningKey {
    SigningKey::new(&[7; 32], Window::default())
}

fn trusted(signer: &VerifyingKey) -> bool {
    *signer == key().verifying_key()
}

fn parsed<T: Word>(text: &str) -> T {
    T::parse(text).unwrap_or_else(|mismatch| panic!("`{text}`: {}", mismatch.message))
}

fn regions() -> Regions {
    let config = r#"{"version": 1, "node": {"id": "n.example"}, "register": {"customers": []}, "regions": {"set": "anthropic-api-179"},
        "identity": {"sources": [{"header": "x-api-key"}]}}"#;
    Config::parse(config).unwrap().regions.unwrap()
}

fn sources() -> Vec<SourceContents> {
    let source = |name: &str, role, class| SourceContents {
        name: parsed(name),
        role,
        class,
        date: UnixSeconds(0),
        sha256: parsed("00"),
        networks: Integer(0),
        origin: None,
    };
    let countries =
        COUNTRY_SOURCES.iter().map(|name| source(name, Some(SourceRole::Decides), None));
    countries.chain(LISTS.iter().map(|(name, class)| source(name, None, Some(*class)))).collect()
}

impl World {
    fn file(&self) -> Vec<u8> {
        self.signed_by(&key())
    }

    fn signed_by(&self, key: &SigningKey) -> Vec<u8> {
        let Self { sequence, customers, nodes, addresses } = self;
        let (regions, sources) = (regions(), sources());
        let created = UnixSeconds(1_795_000_000);
        write(
            &Material {
                sequence: *sequence,
                created,
                regions: &regions,
                sources: &sources,
                addresses,
                customers,
                nodes,
                files: &[],
            },
            key,
        )
        .unwrap()
    }

    /// So many plain customers, in a table of so many runs of IPv4 addresses.
    fn plain(sequence: u64, customers: usize, runs: u32) -> Self {
        let facts: Vec<Facts> =
            (0..2).map(|n| facts(&[None, None], (n > 0).then_some(n), 0)).collect();
        let v4 = (0..runs).map(|n| (n * 256, n % 2)).collect();
        let addresses = AddressMap { v4, v6: vec![(0, 0)], facts };
        Self {
            sequence,
            customers: (0..customers).map(plain_customer).collect(),
            nodes: Vec::new(),
            addresses,
        }
    }
}

fn facts(places: &[Option<Place>], asn: Option<u32>, lists: u64) -> Facts {
    Facts { places: places.to_vec(), asn, lists }
}

fn plain_customer(number: usize) -> Customer {
    let text = format!(
        r#"{{"id": "c-{number}", "credentials": ["{}"]}}"#,
        CredentialDigest::of(format!("sk-{number}").as_bytes())
    );
    let json: Json = serde_json::from_str(&text).unwrap();
    Customer::read(&json, &Path::Root, &mut Problems::default()).unwrap()
}

fn node(customer: &str, key: &SigningKey) -> Node {
    let text = format!(
        r#"{{"id": "node.{customer}.example", "customer": "{customer}", "keys": [{}]}}"#,
        key.to_public_jwk()
    );
    let json: Json = serde_json::from_str(&text).unwrap();
    let mut problems = Problems::default();
    Node::read(&json, &Path::Root, &mut problems).unwrap_or_else(|| panic!("{problems}"))
}

/// What a look-up finds in a snapshot none of whose pages is gone.
fn find(snapshot: &Snapshot, name: Name<'_>) -> Option<Match> {
    snapshot.customer(name).unwrap()
}

fn read(file: Vec<u8>) -> Result<Snapshot, SnapshotError> {
    Snapshot::read(file, trusted)
}

// === a round trip: every field of a customer ===

/// What both customers have stands in their bucket once; a text that points at itself, or onward,
/// is none.
#[test]
fn common_texts_are_written_once() {
    let label = "the key of the production system";
    let customers = [1, 2].map(|number| {
        let digest = CredentialDigest::of(&[number]);
        let text = format!(r#"{{"id": "c-{number}", "credentials": [{{"digest": "{digest}", "label": "{label}"}}]}}"#);
        Customer::read(
            &serde_json::from_str(&text).unwrap(),
            &Path::Root,
            &mut Problems::default(),
        ).unwrap()
    });
    let mut both: Vec<(RecordKey, CustomerRecord<'_>)> = Vec::new();
    for customer in &customers {
        let credential = &customer.credentials[0];
        both.push((
            RecordKey::of(Name::Secret(credential.digest)),
            CustomerRecord { kind: NameKind::Secret, entry: Some(credential), customer },
        ));
    }
    both.sort_by_key(|(key, _)| *key);
    let bucket = bucket(&both);
    assert_eq!(bucket.windows(label.len()).filter(|bytes| *bytes == label.as_bytes()).count(), 1);
    let found = |bucket: &[u8], number: usize| {
        customers::find(bucket, &both[number].0, NameKind::Secret, FormatVersion::Two)
    };
    for (number, (_, record)) in both.iter().enumerate() {
        let found = found(&bucket, number).unwrap();
        assert_eq!(
            (found.id.clone(), found.credentials[0].label.as_ref()),
            (record.customer.id.clone(), Some(&parsed(label)))
        );
    }
    // the second record: kind of name, flags of the credential, then where its label stands
    let second = bucket.len() - both[1].1.size() + label.len() + 2;
    let place = second + 2;
    for (pointer, is_one) in
        [(usize::from(bucket[place]) / 2, true), (place, false), (place + 2, false), (0, false)]
    {
        let mut changed = bucket.clone();
        changed[place] = (2 * pointer + 1) as u8;
        assert_eq!(found(&changed, 1).is_some(), is_one, "{pointer}");
    }
}

fn words<T: Word + std::fmt::Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|text: String| parsed(&text))
}

fn of<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    select(all)
}

fn time() -> impl Strategy<Value = UnixSeconds> {
    prop_oneof![Just(0), Just(127), Just(128), 0..=LAST_SECOND]
        .prop_map(|second| UnixSeconds(second as i64))
}

fn maybe<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::of(strategy)
}

fn country() -> impl Strategy<Value = CountryCode> {
    select(vec!["SG", "JP", "CN", "XK", "DE"]).prop_map(parsed)
}

fn network() -> impl Strategy<Value = Network> {
    let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, prefix)| {
        format!("{}/{prefix}", Ipv4Addr::from_bits(bits & !low(u128::from(prefix) + 96) as u32))
    });
    let v6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, prefix)| {
        format!("{}/{prefix}", Ipv6Addr::from_bits(bits & !low(u128::from(prefix))))
    });
    prop_oneof![v4, v6].prop_map(|text| parsed(&text))
}

/// The bits behind a prefix of 128.
fn low(prefix: u128) -> u128 {
    1_u128.checked_shl(128 - prefix as u32).map_or(u128::MAX, |bit| bit - 1)
}

fn credential() -> impl Strategy<Value = Credential> {
    (
        any::<[u8; 16]>(),
        maybe(words("[a-zé -]{1,200}")),
        maybe(time()),
        prop::collection::vec(network(), 0..4),
    )
        .prop_map(|(secret, label, expires, networks)| {
            Credential::from(CredentialEntry {
                digest: CredentialDigest::of(&secret),
                label,
                expires,
                networks,
            })
        })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Report),
        Just(Action::Block),
        words("[a-z0-9_-]{1,64}").prop_map(Action::Reroute),
    ]
}

fn customer() -> impl Strategy<Value = Customer> {
    let screening =
        (of(ScreeningStatus::ALL), maybe(time()), maybe(time()), maybe(words("[ -~]{1,300}")))
            .prop_map(|(status, at, until, by)| Screening { status, at, until, by });
    let agreement = (words("[a-z]{1,9}"), time(), maybe(time()))
        .prop_map(|(id, accepted, until)| Agreement { id, accepted, until });
    let enforcement =
        (of(Enforcement::ALL), maybe(words("[a-z_]{1,40}")), maybe(time()), maybe(time()))
            .prop_map(|(status, reason, opened, expires)| {
                EnforcementEntry { status, reason, opened, expires }.into()
            });
    let provider = (words("[a-z]{1,9}"), maybe(words("[!-~]{1,100}")), enforcement)
        .prop_map(|(name, profile, enforcement)| (name, ProviderEntry { profile, enforcement }));
    let overriding = (of(FindingCode::ALL), action(), words("[a-zü ]{1,20}"), time()).prop_map(
        |(finding, action, author, until)| Override {
            finding,
            action,
            author,
            until,
            reason: None,
            event: None,
        },
    );
    let residency =
        prop_oneof![Just(Residency::EuropeanUnion), country().prop_map(Residency::Country)];
    let names = || prop::collection::vec(words("[a-z:/.]{1,12}[0-9]{18}"), 0..3);
    let who = (
        of(CustomerKind::ALL),
        of(Status::ALL),
        prop::collection::vec(credential(), 0..4),
        names(),
        names(),
    );
    let what =
        (maybe(screening), maybe(agreement), maybe(of(Ownership::ALL)), maybe(words("[a-z]{1,9}")));
    let more = (prop::collection::vec(country(), 0..5), any::<bool>(), maybe(residency));
    let lists = (prop::collection::vec(provider, 0..4), prop::collection::vec(overriding, 0..4));
    (who, what, more, lists).prop_map(|(who, what, more, lists)| {
        let (kind, status, credentials, mtls, jwt) = who;
        let (screening, agreement, ownership, entity) = what;
        let (declared, vouches_for_users, residency) = more;
        let (providers, overrides) = (Dictionary::from_entries(lists.0), lists.1);
        let id = parsed("unnamed");
        Customer {
            id,
            name: None,
            notes: None,
            kind,
            status,
            credentials,
            mtls,
            jwt,
            screening,
            agreement,
            ownership,
            entity,
            declared,
            vouches_for_users,
            residency,
            providers,
            overrides,
            signals: Vec::new(),
        }
    })
}

/// A customer with signs of sharing of its credentials, of what has no label, and of nothing that
/// it has.
fn signalled() -> impl Strategy<Value = Customer> {
    let codes: Vec<FindingCode> =
        FindingCode::ALL.iter().copied().filter(|code| code.is_of_sharing()).collect();
    let signal = (select(codes), maybe(any::<Index>()), time(), words("[ -~]{1,300}"));
    let signals =
        prop_oneof![Just(Vec::new()).boxed(), prop::collection::vec(signal, 0..5).boxed()];
    (customer(), signals).prop_map(|(mut customer, signals)| {
        for (finding, label, until, evidence) in signals {
            let labels = customer.credentials.iter().filter_map(|known| known.label.clone());
            let mut labels: Vec<Text> = labels.collect();
            labels.push(parsed("of no credential"));
            let credential = label.map(|label| label.get(&labels).clone());
            let credential = credential.filter(|_| finding != FindingCode::RelaySuspected);
            customer.signals.push(CustomerSignal { credential, finding, until, evidence });
        }
        customer
    })
}

fn customers() -> impl Strategy<Value = Vec<Customer>> {
    prop::collection::vec(signalled(), 0..25).prop_map(|mut customers| {
        for (i, customer) in customers.iter_mut().enumerate() {
            customer.id = parsed(&format!("c-{i}"));
        }
        customers
    })
}

/// What a record keeps of a customer: all but the names that lead there, beside the credential that
/// does, and the signs of sharing that are about its callers.
fn kept(customer: &Customer, kind: NameKind, credential: Option<&CredentialEntry>) -> String {
    let mut kept = customer.clone();
    let label = credential.and_then(|entry| entry.label.clone());
    kept.signals.retain(|signal| match (kind, credential) {
        _ if signal.finding == FindingCode::RelaySuspected => true,
        (NameKind::Secret, Some(entry)) if entry.networks.is_empty() => signal.credential == label,
        (NameKind::Claim, _) => signal.credential.is_none(),
        _ => false,
    });
    kept.credentials = credential
        .map(|entry| {
            let digest = CredentialDigest::of_key(*entry.digest.as_bytes().first_chunk().unwrap());
            Credential::from(CredentialEntry { digest, ..entry.clone() })
        })
        .into_iter()
        .collect();
    (kept.mtls, kept.jwt, kept.entity) = (Vec::new(), Vec::new(), None);
    kept.ownership = Some(customer.ownership());
    format!("{kept:?}")
}

fn shown(found: Option<Match>) -> Option<String> {
    found.map(|found| format!("{:?}", found.customer))
}

/// The bytes whose digest is the key of a name: what a thief of names would present as a
/// credential.
fn imitation(name: Name<'_>) -> Name<'static> {
    let (Name::Certificate(text) | Name::Claim(text) | Name::Id(text)) = name else {
        panic!("{name:?} is a secret already")
    };
    Name::Secret(CredentialDigest::of(&[&[NameKind::of(name) as u8], text.as_bytes()].concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn customers_come_back_as_they_were(customers in customers(), before: bool) {
        let runs_a_node = |customer: &Customer| customer.kind == CustomerKind::Reseller;
        let keys: Vec<SigningKey> = (1..=25).map(|n| SigningKey::new(&[n; 32], Window::default()))
            .collect();
        let nodes: Vec<Node> =
            customers.iter().zip(&keys).filter(|(customer, _)| runs_a_node(customer))
                .map(|(customer, key)| node(customer.id.as_str(), key)).collect();
        let world = World { sequence: 1, customers, nodes, addresses: AddressMap::default() };
        let snapshot = read(world.file()).unwrap();
        let has_signals = world.customers.iter().any(|customer| !customer.signals.is_empty());
        let version = if has_signals { FormatVersion::Three } else { FormatVersion::Two };
        prop_assert_eq!(snapshot.preamble.version, version);
        for (customer, key) in world.customers.iter().zip(&keys) {
            let imitated = |name| if before { None } else { find(&snapshot, imitation(name)) };
            for credential in &customer.credentials {
                let found = find(&snapshot, Name::Secret(credential.digest));
                prop_assert_eq!(found.as_ref().and_then(|found| found.entry), Some(0));
                let wanted = kept(customer, NameKind::Secret, Some(credential));
                prop_assert_eq!(shown(found).unwrap(), wanted);
                // the second time out of what was seen lately
                prop_assert!(find(&snapshot, Name::Secret(credential.digest)).is_some());
            }
            for name in &customer.mtls {
                prop_assert!(imitated(Name::Certificate(name.as_str())).is_none());
                prop_assert_eq!(
                    shown(find(&snapshot, Name::Certificate(name.as_str()))),
                    Some(kept(customer, NameKind::Certificate, None)),
                );
                prop_assert!(
                    find(&snapshot, imitation(Name::Certificate(name.as_str()))).is_none(),
                );
                prop_assert!(find(&snapshot, Name::Claim(name.as_str())).is_none()
                    && find(&snapshot, Name::Id(name.as_str())).is_none());
            }
            for value in &customer.jwt {
                prop_assert!(imitated(Name::Claim(value.as_str())).is_none());
                prop_assert_eq!(
                    shown(find(&snapshot, Name::Claim(value.as_str()))),
                    Some(kept(customer, NameKind::Claim, None)),
                );
                prop_assert!(find(&snapshot, imitation(Name::Claim(value.as_str()))).is_none());
            }
            let id = customer.id.as_str();
            prop_assert_eq!(
                shown(find(&snapshot, Name::Id(id))),
                runs_a_node(customer).then(|| kept(customer, NameKind::Id, None)),
            );
            prop_assert!(find(&snapshot, imitation(Name::Id(id))).is_none());
            prop_assert!(find(&snapshot, Name::Claim(id)).is_none()
                && find(&snapshot, Name::Certificate(id)).is_none());
            let found = snapshot.nodes.by_thumbprint(
                &key.verifying_key().thumbprint(),
            ).map(|(node, _)| node.customer.as_str());
            prop_assert_eq!(found, runs_a_node(customer).then_some(id));
        }
        for unknown in 0..50_u32 {
            prop_assert!(find(&snapshot, Name::Secret(CredentialDigest::of(&unknown.to_le_bytes())))
                .is_none());
        }
        prop_assert_eq!(snapshot.customers().count(), snapshot.head.contents.keys.0 as usize);
        prop_assert_eq!(snapshot.head.contents.customers.0 as usize, world.customers.len());
        prop_assert_eq!(world.file(), world.file());
    }
}

/// The other way round: whoever registers a credential that looks like a key of a name isn't found
/// by that name.
#[test]
fn a_credential_names_nobody_by_certificate_claim_or_id() {
    let name = "spiffe://acme.example/c-1";
    for imitated in [Name::Certificate(name), Name::Claim(name), Name::Id(name)] {
        let mut customer = plain_customer(0);
        let Name::Secret(digest) = imitation(imitated) else { panic!() };
        customer.credentials = vec![Credential::from(CredentialEntry {
            digest,
            label: None,
            expires: None,
            networks: Vec::new(),
        })];
        let snapshot =
            read(World { customers: vec![customer], ..World::default() }.file()).unwrap();
        assert!(find(&snapshot, Name::Secret(digest)).is_some());
        assert!(
            find(&snapshot, Name::Certificate(name)).is_none()
                && find(&snapshot, Name::Claim(name)).is_none()
                && find(&snapshot, Name::Id(name)).is_none()
        );
    }
}

#[test]
fn an_empty_register_knows_nobody() {
    let snapshot = read(World::default().file()).unwrap();
    assert!(find(&snapshot, Name::Secret(CredentialDigest::of(b""))).is_none());
    assert!(
        find(&snapshot, Name::Claim("")).is_none() && snapshot.nodes.by_thumbprint("").is_none()
    );
    assert!(
        snapshot.address("192.0.2.1".parse().unwrap()).is_none()
            && snapshot.address("2001:db8::".parse().unwrap()).is_none()
    );
}

// === the table of addresses ===

/// Addresses that meet often: few first halves, few second halves.
fn v6() -> impl Strategy<Value = u128> {
    const HALVES: [u64; 8] = [
        0,
        1,
        2,
        0x2001_0db8_0000_0000,
        0x2001_0db8_0000_0001,
        0x2001_0db8_0000_0002,
        u64::MAX - 1,
        u64::MAX,
    ];
    const ENDS: [u64; 5] = [0, 0, 1, 1 << 63, u64::MAX];
    let any = |some: &'static [u64]| prop_oneof![4 => select(some), 1 => any::<u64>()];
    (any(&HALVES), any(&ENDS)).prop_map(|(half, end)| u128::from(half) << 64 | u128::from(end))
}

fn v4() -> impl Strategy<Value = u32> {
    prop_oneof![select(vec![1, 2, 255, 256, 0x0a00_0000, u32::MAX - 1, u32::MAX]), any::<u32>()]
}

fn table() -> impl Strategy<Value = AddressMap> {
    let place = || maybe(select(vec!["SG", "CN", "UA-43", "US-CA"]).prop_map(parsed::<Place>));
    let facts = (place(), place(), maybe(1..4_u32), 0..8_u64)
        .prop_map(|(one, other, asn, lists)| facts(&[one, other], asn, lists));
    let runs4 = prop::collection::btree_map(v4(), any::<Index>(), 0..30);
    let runs6 = prop::collection::btree_map(v6(), any::<Index>(), 0..60);
    (prop::collection::btree_set(facts, 1..12), runs4, runs6).prop_map(|(mut known, v4, v6)| {
        known.insert(Facts { places: vec![None, None], ..Facts::default() });
        let facts: Vec<Facts> = known.into_iter().collect();
        AddressMap { v4: runs(0, v4, facts.len()), v6: runs(0, v6, facts.len()), facts }
    })
}

/// Runs from zero on whose neighbours differ.
fn runs<A: Ord + Copy>(zero: A, drawn: BTreeMap<A, Index>, facts: usize) -> Vec<(A, u32)> {
    let mut runs = vec![(zero, 0)];
    for (first, index) in drawn {
        let pointer = index.index(facts) as u32;
        if first > zero && runs.last().unwrap().1 != pointer {
            runs.push((first, pointer));
        }
    }
    runs
}

proptest! {
    #[test]
    fn the_table_says_what_was_compiled(
        addresses in table(),
        others in prop::collection::vec(v6(), 40),
        others4 in prop::collection::vec(v4(), 20),
    ) {
        let world = World { addresses, ..World::default() };
        let snapshot = read(world.file()).unwrap();
        let around4 = world.addresses.v4.iter().map(|run| run.0).chain(others4)
            .flat_map(|at| [at.wrapping_sub(1), at, at.wrapping_add(1)]);
        let around6 = world.addresses.v6.iter().map(|run| run.0).chain(others).flat_map(|at| {
            let half = at >> 64 << 64;
            [at.wrapping_sub(1), at, at.wrapping_add(1), half, half | u128::from(u64::MAX),
                half.wrapping_sub(1), half.wrapping_add(1 << 64)]
        });
        let asked = around4.map(
            |bits| IpAddr::V4(Ipv4Addr::from_bits(bits)),
        ).chain(around6.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))));
        for address in asked {
            let expected = world.addresses.look_up(address).unwrap();
            let found = snapshot.address(address).unwrap();
            let places: Vec<(Place, &str)> = found.places(
            ).map(|(place, _, source)| (place, source)).collect();
            let expected_places: Vec<(Place, &str)> =
                expected.places.iter().zip(COUNTRY_SOURCES)
                    .filter_map(|(place, source)| Some(((*place)?, source))).collect();
            prop_assert_eq!(places, expected_places, "{}", address);
            let lists: Vec<(&str, NetworkClass)> = found.lists().collect();
            let expected_lists: Vec<_> = LISTS.into_iter().enumerate()
                .filter(|(bit, _)| expected.lists >> bit & 1 == 1).map(|(_, list)| list).collect();
            prop_assert_eq!(lists, expected_lists, "{}", address);
            prop_assert_eq!(found.asn(), expected.asn, "{}", address);
        }
    }
}

/// Runs over several pages are found in each, at their edges too.
#[test]
fn a_table_of_several_pages() {
    let count = 3 * ROWS as u32 + 5;
    let snapshot = read(World::plain(1, 0, count).file()).unwrap();
    for n in (0..count)
        .step_by(997)
        .chain((1..4).flat_map(|page| [page * ROWS as u32 - 1, page * ROWS as u32]))
    {
        for low in [0, 255] {
            let found = snapshot.address(Ipv4Addr::from_bits(n * 256 + low).into()).unwrap();
            assert_eq!(found.asn(), (n % 2 == 1).then_some(1), "{n}");
        }
    }
}

// === files that aren't as they were signed ===

/// A file with every kind of page.
fn realistic() -> Vec<u8> {
    let mut world = World::plain(5, 300, 2_000);
    world.addresses.v6 = vec![(0, 0), ((0x2001_0db8 << 96) + 7, 1), (0x2001_0db9 << 96, 0)];
    world.nodes = vec![node("c-1", &SigningKey::new(&[9; 32], Window::default()))];
    let file = world.file();
    let snapshot = read(file.clone()).unwrap();
    assert!(
        PageKind::ALL.iter().all(|kind| !snapshot.head.of_kind(*kind).is_empty()),
        "a kind of page is missing"
    );
    file
}

/// Numbers that are the same each time (Knuth's 64-bit linear congruence).
fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let file = realistic();
    let mut dice = dice(20_261_121);
    // every bit of the preamble, since each of its fields is read by itself
    let preamble = (0..PREAMBLE * 8).map(|bit| (bit / 8, bit % 8)).collect::<Vec<_>>();
    let sampled: Vec<_> = (0..10_000 - preamble.len())
        .map(|_| (PREAMBLE + dice(file.len() - PREAMBLE), dice(8)))
        .collect();
    for (at, bit) in preamble.into_iter().chain(sampled) {
        let mut altered = file.clone();
        altered[at] ^= 1 << bit;
        assert!(read(altered).is_err(), "bit {bit} of byte {at}");
    }
}

#[test]
fn any_truncation_is_refused() {
    let file = realistic();
    let mut dice = dice(4);
    for size in (0..1_000).chain((0..500).map(|_| dice(file.len()))) {
        assert_eq!(
            read(file[..size].to_vec()).err(),
            Some(SnapshotError::Truncated),
            "{size} bytes"
        );
    }
    let longer = [file.as_slice(), b"\0"].concat();
    assert!(matches!(read(longer), Err(SnapshotError::Head(_))));
}

#[test]
fn each_reason_has_its_name() {
    let file = World::plain(5, 3, 3).file();
    let altered = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        read(file).unwrap_err()
    };
    assert_eq!(altered(0, b"waybill"), SnapshotError::NotASnapshot);
    assert_eq!(altered(8, &4_u64.to_le_bytes()), SnapshotError::Version(4));
    assert_eq!(altered(8, &u64::MAX.to_le_bytes()), SnapshotError::Version(u64::MAX));
    assert_eq!(altered(24, &1_u64.to_le_bytes()), SnapshotError::Signature);
    assert_eq!(altered(SIGNED, &[0; 64]), SnapshotError::Signature);
    assert_eq!(altered(PREAMBLE + 6, b"#"), SnapshotError::HeadDigest);
    assert_eq!(
        altered(file.len() - 1, b"#"),
        SnapshotError::PageDigest(read(file.clone()).unwrap().head.pages.len() - 1)
    );
    let other = SigningKey::new(&[8; 32], Window::default());
    let name = other.verifying_key().to_base64();
    assert_eq!(read(World::plain(5, 3, 3).signed_by(&other)).err(), Some(SnapshotError::Key(name)));
    // a key of small order, under which anybody can sign
    assert_eq!(altered(80, &[0; 32]), SnapshotError::Signature);
}

// === files that are signed and yet wrong: a compiler with a bug ===

/// A file taken apart, to be put together wrongly and signed.
#[derive(Clone)]
struct Parts {
    preamble: Vec<u8>,
    json: Vec<u8>,
    /// CustomerKind, number of rows, bytes
    pages: Vec<(u8, usize, Vec<u8>)>,
}

impl Parts {
    fn of(file: &[u8]) -> Self {
        let snapshot = read(file.to_vec()).unwrap();
        let size = u32::from_le_bytes(*file[PREAMBLE..].first_chunk().unwrap()) as usize;
        let page = |row: &waybill::snapshot::layout::PageRow| {
            (
                row.kind as u8,
                row.rows,
                file[row.offset as usize..row.offset as usize + row.size].to_vec(),
            )
        };
        Self {
            preamble: file[..SIGNED].to_vec(),
            json: file[PREAMBLE + 4..PREAMBLE + 4 + size].to_vec(),
            pages: snapshot.head.pages.iter().map(page).collect(),
        }
    }

    fn file(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for (kind, count, page) in &self.pages {
            rows.push(*kind);
            rows.extend((page.len() as u32).to_le_bytes());
            rows.extend((*count as u32).to_le_bytes());
            rows.extend(sha2::Sha256::digest(page));
        }
        let head = [&(self.json.len() as u32).to_le_bytes(), self.json.as_slice(), &rows].concat();
        let pages: Vec<u8> = self.pages.iter().flat_map(|page| page.2.clone()).collect();
        signed(&self.preamble, &head, &pages)
    }

    /// The page of a kind, counted from 0.
    fn page(&mut self, kind: PageKind, number: usize) -> &mut (u8, usize, Vec<u8>) {
        self.pages.iter_mut().filter(|page| page.0 == kind as u8).nth(number).unwrap()
    }

    /// The first page of customers from its first bucket on.
    fn bucket(&mut self) -> &mut [u8] {
        &mut self.page(PageKind::Customers, 0).2[4 * customers::BUCKETS..]
    }
}

/// A file whose preamble is right for this head and these pages.
fn signed(preamble: &[u8], head: &[u8], pages: &[u8]) -> Vec<u8> {
    let mut file = preamble[..SIGNED].to_vec();
    file[16..24].copy_from_slice(&(head.len() as u64).to_le_bytes());
    file[24..32].copy_from_slice(&((PREAMBLE + head.len() + pages.len()) as u64).to_le_bytes());
    file[48..80].copy_from_slice(&sha2::Sha256::digest(head));
    sign(file, &[head, pages].concat())
}

fn sign(mut preamble: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    preamble.truncate(SIGNED);
    preamble.extend(key().sign(&preamble));
    [preamble.as_slice(), rest].concat()
}

/// Looks everything up that can be looked up, which must end.
fn use_it(snapshot: &Snapshot) {
    for n in 0..300 {
        drop(find(snapshot, Name::Secret(CredentialDigest::of(format!("sk-{n}").as_bytes()))));
    }
    for bits in [0, 1, 300, 256 * 1_999, u32::MAX] {
        if let Some(found) = snapshot.address(Ipv4Addr::from_bits(bits).into()) {
            assert!(found.places().count() + found.lists().count() < 100);
        }
    }
    for bits in [1 << 64, 0x2001_0db8 << 96, (0x2001_0db8 << 96) + 7, u128::MAX] {
        assert!(
            snapshot
                .address(Ipv6Addr::from_bits(bits).into())
                .is_none_or(|found| found.asn() != Some(0))
        );
    }
    assert!(snapshot.customers().count() < 10_000);
    assert!(snapshot.nodes.by_thumbprint("nobody").is_none());
}

/// One change to the parts.
type Change = fn(&mut Parts);

#[test]
fn signed_files_that_break_the_format_are_refused() {
    let parts = Parts::of(&large());
    let cases: &[(&str, Change)] = &[
        ("pages of addresses out of order", |parts| {
            let (first, second) =
                (parts.page(PageKind::V4, 0).clone(), parts.page(PageKind::V4, 1).clone());
            (*parts.page(PageKind::V4, 0), *parts.page(PageKind::V4, 1)) = (second, first);
        }),
        ("a page of addresses twice", |parts| {
            *parts.page(PageKind::V4, 1) = parts.page(PageKind::V4, 0).clone()
        }),
        ("pages of addresses that meet", |parts| {
            let last = parts.page(PageKind::V4, 0).2.len() - 7;
            let last = parts.page(PageKind::V4, 0).2[last..].to_vec();
            parts.page(PageKind::V4, 1).2[..7].copy_from_slice(&last);
        }),
        ("a row of addresses out of order", |parts| {
            parts.page(PageKind::V4, 0).2[7 * 3..7 * 3 + 4].fill(0)
        }),
        ("a row of IPv6 addresses out of order", |parts| {
            parts.page(PageKind::V6, 0).2[11..19].fill(0)
        }),
        ("a row of divided addresses out of order", |parts| {
            parts.page(PageKind::V6Fine, 0).2[19..35].fill(0)
        }),
        ("fewer addresses than it says", |parts| parts.page(PageKind::V4, 0).1 += 1),
        ("more addresses than it says", |parts| parts.page(PageKind::V4, 0).1 -= 1),
        ("a page of addresses beyond the largest", |parts| {
            let page = parts.page(PageKind::V4, 1);
            page.2 = (0..=ROWS_A_PAGE as u32)
                .flat_map(|n| [&(n + 9_000 * 256).to_le_bytes()[..], &[0; 3]].concat())
                .collect();
            page.1 = ROWS_A_PAGE + 1;
        }),
        ("an empty page of addresses", |parts| {
            (parts.page(PageKind::V4, 1).1, parts.page(PageKind::V4, 1).2) = (0, Vec::new())
        }),
        ("no page of addresses where rows are said to be", |parts| {
            parts.page(PageKind::V4, 1).2.clear()
        }),
        ("an empty page of facts", |parts| parts.page(PageKind::Facts, 0).2.clear()),
        ("a fact of another size", |parts| parts.page(PageKind::Facts, 0).2.truncate(9)),
        ("a fact that points beyond the places", |parts| {
            parts.page(PageKind::Facts, 0).2[6..8].fill(0xff)
        }),
        ("a fact that points beyond the lists", |parts| {
            parts.page(PageKind::Facts, 0).2[4..6].fill(0xff)
        }),
        ("nodes that are no JSON", |parts| parts.page(PageKind::Nodes, 0).2[0] = b'!'),
        ("fewer nodes than it says", |parts| parts.page(PageKind::Nodes, 0).1 += 1),
        ("no nodes where some are said to be", |parts| parts.page(PageKind::Nodes, 0).2.clear()),
        ("keys in the wrong buckets", |parts| {
            let (first, second) = (
                parts.page(PageKind::Customers, 0).clone(),
                parts.page(PageKind::Customers, 1).clone(),
            );
            (*parts.page(PageKind::Customers, 0), *parts.page(PageKind::Customers, 1)) =
                (second, first);
        }),
        ("buckets that are no power of two", |parts| drop(parts.pages.pop())),
        ("no bucket at all", |parts| {
            parts.pages.retain(|page| page.0 != PageKind::Customers as u8)
        }),
        ("keys out of order", |parts| parts.bucket()[4 + 20..4 + 36].fill(0)),
        ("more customers than there are", |parts| parts.page(PageKind::Customers, 0).1 += 1),
        ("customers without bytes", |parts| parts.page(PageKind::Customers, 0).2.clear()),
        ("a record beyond its page", |parts| parts.bucket()[4 + 16..4 + 20].fill(0xff)),
        ("a record within the rows", |parts| parts.bucket()[4 + 16..4 + 20].fill(0)),
        ("buckets beyond their page", |parts| parts.page(PageKind::Customers, 0).2.truncate(100)),
        ("a page beyond its buckets", |parts| parts.page(PageKind::Customers, 0).2.push(0)),
        ("a record that is cut off", |parts| {
            let page = &mut parts.page(PageKind::Customers, 0).2;
            page.pop();
            let last = &mut page[4 * (customers::BUCKETS - 1)..4 * customers::BUCKETS];
            let size = u32::from_le_bytes(last.try_into().unwrap()) - 1;
            last.copy_from_slice(&size.to_le_bytes());
        }),
        ("a flag of a customer that has no meaning yet", |parts| {
            // kind, flags of the credential, id (`c-` and up to 4 digits), flags: 0x80 as LEB128
            let page = &mut parts.page(PageKind::Customers, 0).2;
            let begin = page.windows(2).position(|bytes| bytes == b"c-").unwrap();
            let flags = begin + usize::from(page[begin - 1]);
            assert_eq!(page[flags..flags + 2], [0x80, 1]);
            page[flags + 1] = 3;
        }),
        ("keys in the wrong bucket of their page", |parts| {
            let page = &mut parts.page(PageKind::Customers, 0).2;
            let [first, second, rest @ ..] = customers::buckets(page).unwrap();
            let sizes = [second, first]
                .into_iter()
                .chain(rest)
                .flat_map(|bucket| (bucket.len() as u32).to_le_bytes())
                .collect::<Vec<u8>>();
            *page = [&sizes, second, first, &rest.concat()].concat();
        }),
        ("pages of unknown kind", |parts| parts.pages[0].0 = 99),
        ("pages of kinds out of order", |parts| parts.pages.swap(0, 1)),
        ("a page beyond the largest", |parts| {
            parts.page(PageKind::Customers, 0).2.resize(MAX_PAGE + 1, 0)
        }),
        ("a head that is no JSON", |parts| parts.json[0] = b'!'),
        ("a head that isn't UTF-8", |parts| parts.json[2] = 0xff),
        ("a list that is no number of a source", |parts| {
            let json = String::from_utf8(parts.json.clone())
                .unwrap()
                .replace("\"list_sets\":[]", "\"list_sets\":[[4096]]");
            parts.json = json.into_bytes();
        }),
    ];
    assert!(read(parts.file()).is_ok());
    let mut wrong = Vec::new();
    for (name, change) in cases {
        let mut parts = parts.clone();
        change(&mut parts);
        let file = parts.file();
        if let Ok(snapshot) = read(file.clone()) {
            use_it(&snapshot);
            wrong.push(format!("{name}: taken"));
        }
        // what workers would drop never replaces what they have
        let mut desk = Desk::new(World::plain(1, 3, 3).file());
        assert_eq!(desk.poll(), Progress::Published(1));
        let before = desk.shelf.current.clone();
        desk.server.file = file;
        let progress = desk.poll();
        if !matches!(progress, Progress::Failed(FetchError::Refused(_)))
            || desk.shelf.current != before
        {
            wrong.push(format!("{name}: {progress:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What can't be told from sense, or costs too much to look at, does no harm.
#[test]
fn signed_files_that_lie_do_no_harm() {
    let parts = Parts::of(&large());
    let cases: &[(&str, Change)] = &[
        ("pointers beyond the facts", |parts| {
            parts.page(PageKind::V4, 0).2.chunks_mut(7).for_each(|row| row[4..].fill(0xfe))
        }),
        ("IPv4 addresses that are divided", |parts| {
            parts.page(PageKind::V4, 0).2.chunks_mut(7).for_each(|row| row[4..].fill(0xff))
        }),
        ("divided networks without finer rows", |parts| {
            parts.pages.retain(|page| page.0 != PageKind::V6Fine as u8)
        }),
        ("finer rows that are divided", |parts| {
            parts.page(PageKind::V6Fine, 0).2.chunks_mut(19).for_each(|row| row[16..].fill(0xff))
        }),
        ("no facts at all", |parts| parts.pages.retain(|page| page.0 != PageKind::Facts as u8)),
        ("a table that doesn't begin at zero", |parts| parts.page(PageKind::V4, 0).2[0] = 1),
        ("other numbers of customers", |parts| {
            let json = String::from_utf8(parts.json.clone())
                .unwrap()
                .replace("\"customers\":2000", "\"customers\":4294967295");
            parts.json = json.into_bytes();
        }),
    ];
    for (name, change) in cases {
        let mut parts = parts.clone();
        change(&mut parts);
        use_it(&read(parts.file()).unwrap_or_else(|refused| panic!("{name}: {refused}")));
    }
    assert_eq!(DIVIDED, 0xff_ffff);
    assert_eq!(facts_width(2), 10);
}

/// Sizes that nobody could hold are refused before anything is allocated or asked for.
#[test]
fn sizes_beyond_reason_are_refused() {
    let file = large();
    for (at, name) in [(16, "head"), (24, "file"), (40, "time")] {
        for size in [u64::MAX, 1 << 62, 1 << 40, 9 << 20] {
            let mut preamble = file[..SIGNED].to_vec();
            preamble[at..at + 8].copy_from_slice(&size.to_le_bytes());
            let altered = sign(preamble, &file[PREAMBLE..]);
            let refused = read(altered.clone()).err();
            if at == 40 && size < 1 << 63 {
                continue; // a time in the far future is a time
            }
            assert!(
                matches!(refused, Some(SnapshotError::Head(_) | SnapshotError::Truncated)),
                "{name} {size}: {refused:?}"
            );
            let mut desk = Desk::new(altered);
            assert!(
                matches!(
                    desk.poll(),
                    Progress::Failed(FetchError::Refused(SnapshotError::Head(_)))
                ),
                "{name} {size}"
            );
            assert!(desk.server.sent < PREAMBLE + (8 << 20), "{name} {size}");
        }
    }
    let head = &file[PREAMBLE..];
    for size in [u32::MAX, 1 << 31, head.len() as u32] {
        let altered = [&size.to_le_bytes(), &head[4..]].concat();
        assert!(
            matches!(read(signed(&file, &altered, &[])), Err(SnapshotError::Head(_))),
            "{size}"
        );
    }
    for head in [&[][..], &[0; 3], &[0; 4], &[0; 4 + PAGE_ROW]] {
        assert!(matches!(
            read(signed(&file, head, &[])),
            Err(SnapshotError::Head(_) | SnapshotError::Truncated)
        ));
    }
}

proptest! {
    /// Any bytes in a signed page.
    #[test]
    fn signed_nonsense_never_traps(
        kind in 0..6_u8,
        number in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..20),
    ) {
        let mut parts = Parts::of(&SMALL.with(Clone::clone));
        let mut pages: Vec<_> = parts.pages.iter_mut(
        ).filter(|page| page.0 == kind && !page.2.is_empty()).collect();
        let count = pages.len();
        let page = &mut pages[number.index(count)];
        for (at, byte) in changes {
            *at.get_mut(&mut page.2) = byte;
        }
        if let Ok(snapshot) = read(parts.file()) {
            use_it(&snapshot);
        }
    }
}

thread_local! {
    static SMALL: Vec<u8> = realistic();
}

/// As [`realistic`], with several pages of addresses and four buckets.
fn large() -> Vec<u8> {
    let mut world = World::plain(2, 2_000, 12_000);
    world.addresses.v6 = vec![(0, 0), ((0x2001_0db8 << 96) + 7, 1), (0x2001_0db9 << 96, 0)];
    world.nodes = vec![node("c-1", &SigningKey::new(&[9; 32], Window::default()))];
    world.file()
}

// === fetching, against a server and a store made up ===

/// A server of one file.
#[derive(Default)]
struct Server {
    file: Vec<u8>,
    etags: bool,
    no_ranges: bool,
    asks: Vec<Range<u64>>,
    /// Bytes of bodies
    sent: usize,
    fault: Option<(usize, Fault)>,
}

/// What goes wrong, once.
#[derive(Debug, Clone)]
enum Fault {
    Status(u16),
    BreaksOff,
    Short,
    Altered,
    /// Another file is there from now on
    Other(Vec<u8>),
    /// The store takes nothing
    Store,
}

impl Server {
    fn etag(&self) -> String {
        format!("\"{:x?}\"", &sha2::Sha256::digest(&self.file)[..4])
    }

    /// Status, entity tag and body.
    fn serve(&mut self, ask: &PartRequest) -> (Option<u16>, Option<String>, Vec<u8>) {
        let number = self.asks.len();
        self.asks.push(ask.range.clone());
        let fault = self.fault.take_if(|(at, _)| *at == number).map(|(_, fault)| fault);
        if let Some(Fault::Other(file)) = &fault {
            self.file.clone_from(file);
        }
        let etag = self.etags.then(|| self.etag());
        if etag.is_some() && ask.etag == etag {
            return (Some(304), etag, Vec::new());
        }
        let range = (ask.range.start as usize).min(self.file.len())
            ..(ask.range.end as usize).min(self.file.len());
        let (status, mut body) = match (self.no_ranges, range.is_empty()) {
            (true, _) => (200, self.file.clone()),
            (false, true) => (416, Vec::new()),
            (false, false) => (206, self.file[range].to_vec()),
        };
        self.sent += body.len();
        match fault {
            Some(Fault::Status(status)) => return (Some(status), None, b"error".to_vec()),
            Some(Fault::BreaksOff) => return (None, None, Vec::new()),
            Some(Fault::Short) => drop(body.pop()),
            Some(Fault::Altered) => *body.last_mut().unwrap() ^= 1,
            Some(Fault::Other(_) | Fault::Store) | None => {}
        }
        (Some(status), etag, body)
    }
}

/// Shared data, which sees to it that no page of the current snapshot is written over.
#[derive(Default)]
struct Shelf {
    pages: BTreeMap<u32, Vec<u8>>,
    current: Option<Vec<u8>>,
    reserved: BTreeSet<u32>,
    written: usize,
    refuses: bool,
}

impl PageStore for Shelf {
    fn put(&mut self, number: u32, page: &SharedPage<'_>) -> bool {
        assert!(!self.cells().contains(&number), "cell {number} is the current snapshot's");
        if self.refuses {
            return false;
        }
        // the first of a page's cells counts
        self.written += usize::from(number.is_multiple_of(customers::BUCKETS as u32));
        self.pages.insert(number, page.stored());
        true
    }

    fn reserve(&mut self, cell: u32) {
        self.reserved.insert(cell);
    }

    fn clear(&mut self, number: u32) {
        assert!(!self.cells().contains(&number), "cell {number} is the current snapshot's");
        assert!(
            self.pages.insert(number, Vec::new()).is_some_and(|page| !page.is_empty()),
            "nothing is in cell {number}"
        );
    }

    fn get(&self, cell: u32) -> Option<Vec<u8>> {
        self.pages.get(&cell).cloned()
    }

    fn current(&self) -> Option<Vec<u8>> {
        self.current.clone()
    }

    fn publish(&mut self, current: &[u8], _sequence: u64) -> bool {
        if !self.refuses {
            self.current = Some(current.to_vec());
        }
        !self.refuses
    }
}

impl Shelf {
    fn parsed(&self) -> Option<CurrentSnapshot> {
        CurrentSnapshot::parse(self.current.as_ref()?, trusted).ok()
    }

    /// The cells of the current snapshot's pages.
    fn cells(&self) -> BTreeSet<u32> {
        let pages = self
            .parsed()
            .into_iter()
            .flat_map(|current| current.head.pages.into_iter().zip(current.slots));
        pages
            .filter(|(page, _)| page.size > 0)
            .flat_map(|(page, slot)| (0..buckets(&page)).map(move |bucket| cell(slot, bucket)))
            .collect()
    }

    /// A page as workers would read it.
    fn page(&self, page: &PageRow, slot: u32) -> Option<Vec<u8>> {
        let stored =
            |bucket| unmarked(self.pages.get(&cell(slot, bucket))?.clone(), mark(&page.digest));
        let parts = (0..buckets(page)).map(stored).collect::<Option<Vec<_>>>()?;
        let sizes = if page.kind == PageKind::Customers {
            parts.iter().map(|part| (part.len() as u32).to_le_bytes()).collect()
        } else {
            vec![]
        };
        Some([sizes.concat(), parts.concat()].concat())
    }

    /// The current snapshot's file, put together again from what workers would read.
    fn file(&self) -> Option<Vec<u8>> {
        let current = self.parsed()?;
        let stored = self.current.as_ref()?;
        let mut file = stored[..PREAMBLE + current.preamble.head_size].to_vec();
        for (page, slot) in
            current.head.pages.iter().zip(&current.slots).filter(|(page, _)| page.size > 0)
        {
            file.extend(self.page(page, *slot).unwrap());
        }
        Some(file)
    }

    /// The current snapshot as a worker has it, which held another before.
    fn snapshot(&self, before: Option<Snapshot>) -> Snapshot {
        let current = self.parsed().unwrap();
        let pages = current
            .head
            .pages
            .iter()
            .zip(&current.slots)
            .map(|(page, slot)| self.page(page, *slot));
        let pages = Box::new(Memory(pages.collect()));
        Snapshot::new(current.preamble, current.head, pages, before).unwrap()
    }
}

struct Memory(Vec<Option<Vec<u8>>>);

impl PageSource for Memory {
    fn page(&self, number: usize) -> Result<PageBytes, PageGone> {
        self.0[number].clone().map(PageBytes::Owned).ok_or(PageGone)
    }

    fn bucket(&self, number: usize, bucket: usize) -> Result<Cow<'_, [u8]>, PageGone> {
        let page = self.page(number)?;
        let bucket = customers::buckets(&page).map(|buckets| buckets[bucket].to_vec());
        Ok(bucket.unwrap_or_default().into())
    }
}

/// In how many cells a page is.
fn buckets(page: &PageRow) -> usize {
    if page.kind == PageKind::Customers { customers::BUCKETS } else { 1 }
}

/// All that takes part in fetching.
struct Desk {
    fetcher: Fetcher,
    server: Server,
    shelf: Shelf,
    now: u64,
    min_sequence: u64,
    chance: u64,
}

const SECOND: u64 = 1_000_000_000;
const POLL: u64 = 30;

impl Desk {
    fn new(file: Vec<u8>) -> Self {
        let server = Server { file, ..Server::default() };
        Self {
            fetcher: Fetcher::default(),
            server,
            shelf: Shelf::default(),
            now: SECOND,
            min_sequence: 0,
            chance: 0,
        }
    }

    /// One question and its answer, if it is time for one.
    fn step(&mut self) -> Option<Progress> {
        let ask = self.fetcher.ask(self.now)?;
        self.shelf.refuses =
            matches!(&self.server.fault, Some((at, Fault::Store)) if *at == self.server.asks.len());
        let (status, etag, body) = self.server.serve(&ask);
        let read = |begin: usize, most: usize| {
            body.get(begin..).map(|rest| rest[..most.min(rest.len())].to_vec()).unwrap_or_default()
        };
        let answer = PartResponse { status, etag: etag.as_deref(), size: body.len(), body: &read };
        let rules = FetchRules {
            trusted: &trusted,
            min_sequence: self.min_sequence,
            poll_seconds: POLL,
            now: self.now,
            chance: self.chance,
        };
        Some(self.fetcher.answer(answer, &ask, rules, &mut self.shelf))
    }

    /// A poll when it is time for one, to its end.
    fn poll(&mut self) -> Progress {
        self.now += POLL * SECOND;
        self.fetcher.sweep(self.now, &mut self.shelf);
        for _ in 0..10_000 {
            match self.step().unwrap() {
                Progress::More => {}
                end => return end,
            }
        }
        panic!("it never ends");
    }
}

#[test]
fn a_file_comes_in_parts() {
    let file = World::plain(3, 2_000, 90_000).file();
    let mut desk = Desk::new(file.clone());
    assert_eq!(desk.poll(), Progress::Published(3));
    assert_eq!(desk.shelf.file().unwrap(), file);
    assert_eq!(desk.server.asks[0], 0..PREAMBLE as u64);
    let widest = desk.server.asks.iter().map(|ask| ask.end - ask.start).max().unwrap();
    assert!(widest as usize <= PART && desk.server.asks.len() > 4, "{:?}", desk.server.asks);
    assert_eq!(desk.server.sent, file.len());

    desk.server.asks.clear();
    assert_eq!(desk.poll(), Progress::Unchanged);
    assert_eq!((desk.server.asks.len(), desk.server.asks[0].end), (1, PREAMBLE as u64));
    let snapshot = desk.shelf.snapshot(None);
    assert!(find(&snapshot, Name::Secret(CredentialDigest::of(b"sk-1999"))).is_some());
    assert_eq!(snapshot.address("0.0.1.7".parse().unwrap()).unwrap().asn(), Some(1));
}

#[test]
fn one_customer_of_many_costs_little() {
    let mut world = World::plain(1, 100_000, 20_000);
    let mut desk = Desk::new(world.file());
    assert_eq!(desk.poll(), Progress::Published(1));
    let worker = desk.shelf.snapshot(None);
    let credential = CredentialDigest::of(b"sk-70000");
    assert_eq!(find(&worker, Name::Secret(credential)).unwrap().customer.status, Status::Active);

    (desk.server.sent, desk.shelf.written) = (0, 0);
    (world.sequence, world.customers[70_000].status) = (2, Status::Suspended);
    desk.server.file = world.file();
    assert_eq!(desk.poll(), Progress::Published(2));
    let share = desk.server.sent as f64 / desk.server.file.len() as f64;
    assert!(share < 0.1, "{} of {} bytes", desk.server.sent, desk.server.file.len());
    assert_eq!(desk.shelf.written, 1);
    assert_eq!(desk.shelf.file().unwrap(), desk.server.file);
    let worker = desk.shelf.snapshot(Some(worker));
    assert_eq!(find(&worker, Name::Secret(credential)).unwrap().customer.status, Status::Suspended);
    assert_eq!(
        find(&worker, Name::Secret(CredentialDigest::of(b"sk-69999"))).unwrap().customer.status,
        Status::Active
    );
    assert_eq!(worker.address("0.0.1.7".parse().unwrap()).unwrap().asn(), Some(1));
}

/// Each fault at each step: the current snapshot stays, and what came isn't asked for again.
#[test]
fn whatever_fails_the_last_good_one_stays() {
    let old = World::plain(1, 500, 100_000).file();
    let new = changed(2).file();
    let newest = changed(3).file();
    let mut first = Desk::new(old.clone());
    assert_eq!(first.poll(), Progress::Published(1));
    first.server = Server { file: new.clone(), ..Server::default() };
    assert_eq!(first.poll(), Progress::Published(2));
    let steps = first.server.asks.len();
    assert!(steps > 4, "{steps} steps");

    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(304),
        Fault::BreaksOff,
        Fault::Short,
        Fault::Altered,
        Fault::Other(newest.clone()),
        Fault::Store,
    ];
    for (fault, at) in faults.iter().flat_map(|fault| (0..steps).map(move |at| (fault, at))) {
        let mut desk = Desk::new(old.clone());
        assert_eq!(desk.poll(), Progress::Published(1));
        let current = desk.shelf.current.clone();
        desk.server =
            Server { file: new.clone(), fault: Some((at, fault.clone())), ..Server::default() };
        let progress = desk.poll();
        match (&progress, fault) {
            (Progress::Failed(FetchError::Status(status)), Fault::Status(expected)) => {
                assert_eq!(status, expected)
            }
            (Progress::Failed(FetchError::BrokeOff), Fault::BreaksOff) => {}
            (Progress::Failed(FetchError::Refused(SnapshotError::Truncated)), Fault::Short) => {}
            (Progress::Failed(FetchError::Refused(_)), Fault::Altered) => {}
            (Progress::Failed(FetchError::Refused(_)), Fault::Other(_)) if at > 0 => {}
            (Progress::Published(3), Fault::Other(_)) if at == 0 => continue,
            (Progress::Failed(FetchError::Store), Fault::Store) if at > 1 => {}
            (Progress::Published(2), Fault::Store) if at < 2 => continue, // nothing is stored yet
            _ => panic!("{fault:?} at {at}: {progress:?}"),
        }
        assert_eq!(desk.shelf.current, current, "{fault:?} at {at}");
        assert_eq!(desk.shelf.file().unwrap(), old, "{fault:?} at {at}");

        let came: Vec<Range<u64>> = desk.server.asks[2.min(at)..at].to_vec();
        desk.server.asks.clear();
        let expected = if matches!(fault, Fault::Other(_)) { 3 } else { 2 };
        assert_eq!(desk.poll(), Progress::Published(expected), "{fault:?} at {at}");
        assert_eq!(desk.shelf.file().unwrap(), desk.server.file, "{fault:?} at {at}");
        if expected == 2 {
            let again = desk.server.asks[2..]
                .iter()
                .filter(|ask| came.iter().any(|came| came.start < ask.end && ask.start < came.end));
            assert_eq!(
                again.count(),
                0,
                "{fault:?} at {at}: {came:?}, then {:?}",
                desk.server.asks
            );
        }
    }
}

/// [`World::plain`] with every page another one.
fn changed(sequence: u64) -> World {
    let mut world = World::plain(sequence, 500, 100_000);
    world.addresses.v4.iter_mut().skip(1).for_each(|run| run.0 += sequence as u32);
    world
        .customers
        .iter_mut()
        .for_each(|customer| customer.vouches_for_users = sequence.is_multiple_of(2));
    world
}

#[test]
fn entity_tags_spare_the_body() {
    let mut desk = Desk::new(World::plain(1, 3, 3).file());
    desk.server.etags = true;
    assert_eq!(desk.poll(), Progress::Published(1));
    desk.server.sent = 0;
    assert_eq!((desk.poll(), desk.poll()), (Progress::Unchanged, Progress::Unchanged));
    assert_eq!(desk.server.sent, 0);
    desk.server.file = World::plain(2, 3, 3).file();
    assert_eq!(desk.poll(), Progress::Published(2));
    // the tag of a file that wasn't taken is forgotten: the next poll says again what is wrong with
    // it
    desk.server.file = World::plain(1, 3, 3).file();
    for _ in 0..2 {
        assert_eq!(
            desk.poll(),
            Progress::Failed(FetchError::Refused(SnapshotError::Rollback(1, 2)))
        );
    }
}

#[test]
fn servers_without_ranges() {
    let file = World::plain(1, 2_000, 20_000).file();
    let mut desk = Desk::new(file.clone());
    desk.server.no_ranges = true;
    assert_eq!(desk.poll(), Progress::Published(1));
    assert_eq!(desk.shelf.file().unwrap(), file);

    let file = World::plain(2, 110_000, 100_000).file();
    assert!(file.len() > MAX_WHOLE, "{} bytes", file.len());
    desk.server.file = file.clone();
    assert_eq!(desk.poll(), Progress::Failed(FetchError::NoRanges(file.len())));
    desk.server.no_ranges = false;
    assert_eq!(desk.poll(), Progress::Published(2));

    // a file that shrank, and none at all
    desk.server.file = Vec::new();
    assert_eq!(desk.poll(), Progress::Failed(FetchError::Refused(SnapshotError::Truncated)));
    for size in [1, 7, 8, 255] {
        desk.server.file = file[..size].to_vec();
        assert_eq!(
            desk.poll(),
            Progress::Failed(FetchError::Refused(SnapshotError::Truncated)),
            "{size} bytes"
        );
    }
    desk.server.file = b"<html>not found</html>".to_vec();
    assert_eq!(desk.poll(), Progress::Failed(FetchError::Refused(SnapshotError::NotASnapshot)));
}

#[test]
fn nothing_older_and_nothing_else_is_taken() {
    let mut desk = Desk::new(World::plain(5, 3, 3).file());
    desk.min_sequence = 6;
    assert_eq!(desk.poll(), Progress::Failed(FetchError::Refused(SnapshotError::Rollback(5, 6))));
    assert!(desk.shelf.current.is_none());
    desk.min_sequence = 5;
    assert_eq!(desk.poll(), Progress::Published(5));
    desk.server.file = World::plain(4, 3, 3).file();
    assert_eq!(desk.poll(), Progress::Failed(FetchError::Refused(SnapshotError::Rollback(4, 5))));
    desk.server.file = World::plain(5, 4, 3).file();
    assert_eq!(desk.poll(), Progress::Failed(FetchError::Refused(SnapshotError::SameSequence(5))));
    let other = SigningKey::new(&[8; 32], Window::default());
    desk.server.file = World::plain(6, 3, 3).signed_by(&other);
    assert_eq!(
        desk.poll(),
        Progress::Failed(FetchError::Refused(SnapshotError::Key(
            other.verifying_key().to_base64()
        )))
    );
    desk.server.file = World::plain(5, 3, 3).file();
    assert_eq!(desk.poll(), Progress::Unchanged);
}

/// A node that doesn't know the version of a file keeps its last good one, and says which it knows.
#[test]
fn a_newer_format_is_not_taken() {
    let mut desk = Desk::new(World::plain(1, 30, 3).file());
    assert_eq!(desk.poll(), Progress::Published(1));
    let good = desk.shelf.current.clone();
    let next = World::plain(2, 30, 3).file();
    let mut newer = next.clone();
    newer[8] = 4;
    desk.server.file = sign(newer, &next[PREAMBLE..]);
    let progress = desk.poll();
    assert_eq!(progress, Progress::Failed(FetchError::Refused(SnapshotError::Version(4))));
    let said = SnapshotError::Version(4).to_string();
    assert!(said.contains("version 4") && said.contains("versions 1 to 3"), "{said}");
    assert_eq!(desk.shelf.current, good);
    desk.server.file = next;
    assert_eq!(desk.poll(), Progress::Published(2));
}

/// Pages of the other version are checked anew, though their bytes may be the same.
#[test]
fn a_snapshot_of_version_1_is_followed_by_one_of_version_2() {
    let mut second = World::plain(2, 300, 20_000);
    second.customers.iter_mut().for_each(|customer| customer.ownership = Some(Ownership::Clear));
    let mut first = second.clone();
    first.sequence = 1;
    // flags below 128 have the same bytes in both versions
    let mut preamble = first.file();
    preamble[8] = 1;
    let rest = preamble.split_off(PREAMBLE);
    let mut desk = Desk::new(sign(preamble, &rest));
    assert_eq!(desk.poll(), Progress::Published(1));
    let worker = desk.shelf.snapshot(None);
    assert_eq!(worker.preamble.version, FormatVersion::One);
    (desk.server.file, desk.shelf.written) = (second.file(), 0);
    assert_eq!(desk.poll(), Progress::Published(2));
    let pages = desk.shelf.parsed().unwrap().head.pages.len();
    assert_eq!(desk.shelf.written, pages, "every page was fetched and checked");
    let worker = desk.shelf.snapshot(Some(worker));
    assert_eq!(worker.preamble.version, FormatVersion::Two);
    assert!(find(&worker, Name::Secret(CredentialDigest::of(b"sk-7"))).is_some());
}

/// The first sign of sharing makes version 3: only the pages that it changes are fetched. Back at
/// version 2, a page may have what that version refuses, so all are checked anew.
#[test]
fn a_sign_of_sharing_costs_the_page_that_has_it() {
    let first = World::plain(1, 3_000, 20_000);
    let mut second = World { sequence: 2, ..first.clone() };
    second.customers[7].signals.push(CustomerSignal {
        credential: None,
        finding: FindingCode::RelaySuspected,
        until: UnixSeconds(2_000_000_000),
        evidence: parsed("two kinds of signs within 7 days"),
    });
    let third = World { sequence: 3, ..first.clone() };
    let mut desk = Desk::new(first.file());
    assert_eq!(desk.poll(), Progress::Published(1));
    let pages = desk.shelf.parsed().unwrap().head.pages.len();
    let mut worker = desk.shelf.snapshot(None);
    assert_eq!(worker.preamble.version, FormatVersion::Two);
    for (world, version, written) in
        [(second, FormatVersion::Three, 1), (third, FormatVersion::Two, pages)]
    {
        (desk.server.file, desk.shelf.written) = (world.file(), 0);
        assert_eq!(desk.poll(), Progress::Published(world.sequence));
        assert_eq!(desk.shelf.written, written, "{version:?}");
        worker = desk.shelf.snapshot(Some(worker));
        assert_eq!(worker.preamble.version, version);
        let found = find(&worker, Name::Secret(CredentialDigest::of(b"sk-7"))).unwrap();
        assert_eq!(found.customer.signals, world.customers[7].signals);
    }
}

/// The bit of a later version, in a snapshot of an earlier one, makes it unreadable.
#[test]
fn signs_of_sharing_in_version_2_are_refused() {
    let mut world = World::plain(1, 3, 3);
    world.customers[1].signals.push(CustomerSignal {
        credential: None,
        finding: FindingCode::SharingClients,
        until: UnixSeconds(2_000_000_000),
        evidence: parsed("9 programs"),
    });
    let mut preamble = world.file();
    assert!(read(preamble.clone()).is_ok());
    preamble[8] = 2;
    let rest = preamble.split_off(PREAMBLE);
    let refused = read(sign(preamble, &rest)).unwrap_err();
    let SnapshotError::Page(_, why) = refused else { panic!("{refused}") };
    assert_eq!(why, "a customer's record can't be read");
}

/// A snapshot whose key is no longer trusted is none: a file of a lower sequence by a trusted key
/// replaces it.
#[test]
fn a_current_snapshot_by_another_key_counts_for_nothing() {
    let mut desk = Desk::new(World::plain(1, 300, 20_000).file());
    desk.shelf.current =
        Some(World::plain(9, 3, 3).signed_by(&SigningKey::new(&[8; 32], Window::default())));
    assert_eq!(desk.poll(), Progress::Published(1));
    assert_eq!(desk.shelf.file().unwrap(), desk.server.file);
}

/// Slots for it are reserved along with the first.
#[test]
fn a_second_snapshot_needs_no_new_slot() {
    let mut world = World::plain(1, 300, 30_000);
    let mut desk = Desk::new(world.file());
    assert_eq!(desk.poll(), Progress::Published(1));
    let known: BTreeSet<u32> =
        desk.shelf.pages.keys().chain(&desk.shelf.reserved).copied().collect();
    world = World::plain(2, 300, 30_000);
    world.addresses.v4.iter_mut().skip(1).for_each(|run| run.0 += 1);
    desk.server.file = world.file();
    assert_eq!(desk.poll(), Progress::Published(2));
    assert!(desk.shelf.pages.keys().all(|slot| known.contains(slot)));
}

/// Three customers with long records fill four pages at most three of which have bytes.
#[test]
fn pages_without_bytes_have_no_slot() {
    let world = |sequence, author: &str| {
        let until = r#""until": "2027-01-01T00:00:00Z""#;
        let overrides: Vec<String> = FindingCode::ALL
            .iter()
            .map(|code| {
                format!(
                    r#"{{"finding": "{code}", "action": "report", "author": "{code}{}", {until}}}"#,
                    author.repeat(990)
                )
            })
            .collect();
        let customers = [1, 2, 3].map(|number: u8| {
            let text = format!(
                r#"{{"id": "c-{number}", "credentials": ["{}"], "overrides": [{}]}}"#,
                CredentialDigest::of(&[number]),
                overrides.join(",")
            );
            Customer::read(
                &serde_json::from_str(&text).unwrap(),
                &Path::Root,
                &mut Problems::default(),
            )
            .unwrap()
        });
        World {
            sequence,
            customers: customers.into(),
            nodes: Vec::new(),
            addresses: AddressMap::default(),
        }
    };
    let mut desk = Desk::new(world(1, "x").file());
    assert_eq!(desk.poll(), Progress::Published(1));
    let current = desk.shelf.parsed().unwrap();
    assert!(
        current.head.pages.iter().any(|page| page.size == 0)
            && current.head.pages.iter().any(|page| page.size > 0)
    );
    desk.server.file = world(2, "y").file();
    assert_eq!(desk.poll(), Progress::Published(2));
    desk.server.file = World::plain(3, 0, 10).file();
    assert_eq!(desk.poll(), Progress::Published(3));
    assert_eq!(desk.shelf.file().unwrap(), desk.server.file);
    let before = desk.shelf.pages.len();
    assert!(before < 40, "{before}");
}

/// Not while workers may still read it, and never what the current snapshot has.
#[test]
fn what_only_the_snapshot_before_had_is_given_back() {
    let mut desk = Desk::new(World::plain(1, 3_000, 30_000).file());
    assert_eq!(desk.poll(), Progress::Published(1));
    let mut world = World::plain(2, 3_000, 30_000);
    world.addresses.v4.iter_mut().skip(1).for_each(|run| run.0 += 1);
    desk.server.file = world.file();
    assert_eq!(desk.poll(), Progress::Published(2));
    let filled = |desk: &Desk| {
        desk.shelf
            .pages
            .iter()
            .filter(|(_, page)| !page.is_empty())
            .map(|(cell, _)| *cell)
            .collect::<BTreeSet<u32>>()
    };
    let both = filled(&desk);
    desk.fetcher.sweep(desk.now + 4 * SECOND, &mut desk.shelf);
    assert_eq!(filled(&desk), both, "workers had no time to move on");
    for _ in 0..100 {
        desk.fetcher.sweep(desk.now + 5 * SECOND, &mut desk.shelf);
    }
    assert!(filled(&desk).len() < both.len());
    assert_eq!(filled(&desk), desk.shelf.cells());

    // the next one writes over what isn't given back yet
    desk.server.file = World::plain(3, 3_000, 30_000).file();
    assert_eq!(desk.poll(), Progress::Published(3));
    desk.server.file = World::plain(4, 2_000, 20_000).file();
    desk.now += POLL * SECOND;
    let mut progress = desk.step().unwrap();
    while progress == Progress::More {
        desk.fetcher.sweep(desk.now, &mut desk.shelf);
        progress = desk.step().unwrap();
    }
    assert_eq!(progress, Progress::Published(4));
    assert_eq!(desk.shelf.file().unwrap(), desk.server.file);
}

/// Many swaps with faults between them: each is whole, workers move along, and slots are used
/// again.
#[test]
fn slots_are_bounded() {
    let mut dice = dice(50);
    let mut desk = Desk::new(Vec::new());
    let mut worker: Option<Snapshot> = None;
    let (mut largest, mut swaps) = (0, 0);
    for sequence in 1..=50 {
        let mut world = World::plain(sequence, 1 + dice(3_000), 1 + dice(30_000) as u32);
        world.addresses.v4.iter_mut().skip(1).for_each(|run| run.0 += dice(256) as u32);
        desk.server = Server { file: world.file(), ..Server::default() };
        if dice(2) == 0 {
            let fault =
                [Fault::Short, Fault::Altered, Fault::Status(500), Fault::Store][dice(4)].clone();
            desk.server.fault = Some((dice(6), fault));
        }
        // without a second try, what came is the next file's to use or to give up
        let tries = 1 + dice(2);
        for _ in 0..tries {
            if desk.poll() == Progress::Published(sequence) {
                swaps += 1;
                largest = largest.max(desk.shelf.parsed().unwrap().head.pages.len());
                assert_eq!(desk.shelf.file().unwrap(), desk.server.file);
                worker = Some(desk.shelf.snapshot(worker.take()));
                assert_eq!(
                    worker.as_ref().map(|snapshot| snapshot.preamble.sequence),
                    Some(sequence)
                );
            }
        }
    }
    assert!(swaps > 30, "{swaps}");
    let cells = desk.shelf.pages.len();
    assert!(cells <= 2 * customers::BUCKETS * largest, "{cells} cells, {largest} pages at most");
}

#[test]
fn waits_grow_up_to_a_poll_and_differ() {
    let mut desk = Desk::new(World::plain(1, 3, 3).file());
    for (chance, shorter) in [(0, 0), (u64::MAX, 1)] {
        desk.chance = chance;
        let mut waits = Vec::new();
        for _ in 0..10 {
            desk.server.fault = Some((desk.server.asks.len(), Fault::Status(503)));
            assert_eq!(desk.poll(), Progress::Failed(FetchError::Status(503)));
            waits.push(wait(&mut desk));
        }
        let expected = [1, 2, 4, 8, 16, 30, 30, 30, 30, 30];
        for (wait, seconds) in waits.iter().zip(expected) {
            let most = seconds * SECOND;
            assert!(
                *wait <= most && *wait > most / 4 * 3 - 1 && (shorter == 1 || *wait == most),
                "{waits:?}"
            );
        }
        // a good answer ends it
        assert!(matches!(desk.poll(), Progress::Published(1) | Progress::Unchanged));
        assert!(wait(&mut desk) > POLL * SECOND / 4 * 3 - 1);
    }
}

/// How long until the next question, in nanoseconds.
fn wait(desk: &mut Desk) -> u64 {
    let (mut low, mut high) = (0, 2 * POLL * SECOND);
    while low < high {
        let middle = low.midpoint(high);
        if desk.fetcher.ask(desk.now + middle).is_some() { high = middle } else { low = middle + 1 }
    }
    low
}
