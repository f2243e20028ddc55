//! Signs of sharing: each measure at its borders, on rows; then events, their order, and the verb.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;
use serde_json::{Value, json};
use waybill::journal::audit::EventPlace;
use waybill::journal::selection::UnixMillis;
use waybill::register::Customer;
use waybill::shape::{Problems, Word, read_document, to_text, to_value};
use waybill::sharing::day::UtcDay;
use waybill::sharing::distance::CountryDistances;
use waybill::sharing::gathering::{Gathered, Gathering, GatheringError};
use waybill::sharing::signals::{SignalBasis, signals};
use waybill::sharing::thresholds::{SharingThresholds, ThresholdSetting};

/// A Monday: day 0 of these tests. Days 5, 6, 12, 13 … are weekends.
const MONDAY: &str = "2026-10-05";

fn day(number: u64) -> UtcDay {
    UtcDay::parse(MONDAY).unwrap().plus(number)
}

/// A row of customer `c-1` and its credential `production`: ten networks, 100 requests from DE.
fn row(number: u64) -> Value {
    json!({"day": day(number).to_string(), "customer": "c-1", "credential": "production",
        "events": 100, "networks": 10, "systems": null, "countries": {"DE": 100},
        "minutes": {"DE": [0]}, "programs": 0, "in_flight": 0, "without_duration": 0})
}

/// The row with other members.
fn with(mut row: Value, members: Value) -> Value {
    row.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    row
}

/// A row with that many networks.
fn wide(number: u64, networks: u64) -> Value {
    with(row(number), json!({"networks": networks}))
}

/// A row whose requests come from these countries, each with its minutes.
fn placed(number: u64, countries: Value, minutes: Value) -> Value {
    with(row(number), json!({"events": 10_000, "countries": countries, "minutes": minutes}))
}

fn customer(members: Value) -> Value {
    let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    let customer = json!({"id": "c-1", "ownership": "clear", "declared": ["DE"], "credentials": [
        {"digest": digest(1), "label": "production"}, {"digest": digest(2), "label": "ci"},
        digest(3), digest(4)]});
    with(customer, members)
}

/// What a lookout has of the world.
struct World {
    customers: Vec<Value>,
    settings: Vec<&'static str>,
    until: Option<UnixMillis>,
    before: Value,
}

impl Default for World {
    fn default() -> Self {
        let before = json!({"signals": []});
        Self { customers: vec![customer(json!({}))], settings: vec![], until: None, before }
    }
}

fn gather(lines: &[String], until: Option<UnixMillis>) -> Result<Gathered, GatheringError> {
    let mut gathering = Gathering::new(until);
    for (line, number) in lines.iter().zip(1..) {
        gathering.see(EventPlace { file: 0, line: number }, line.as_bytes())?;
    }
    gathering.finish()
}

/// Thresholds that borders are tested at, whatever the defaults are.
const START: [&str; 8] = [
    "addresses_systems=10",
    "addresses_deviations=4",
    "addresses_days=3",
    "countries_requests=20",
    "countries_days=3",
    "velocity_times=3",
    "velocity_days=2",
    "clients_days=3",
];

impl World {
    fn of(members: Value) -> Self {
        Self { customers: vec![customer(members)], ..Self::default() }
    }

    fn look(&self, lines: &[String]) -> Value {
        let read = |value: &Value| {
            let mut problems = Problems::default();
            let read = read_document::<Customer>(&value.to_string(), &mut problems);
            assert!(problems.is_empty(), "{problems}");
            read.unwrap().0
        };
        let customers: Vec<Customer> = self.customers.iter().map(read).collect();
        let set = START.iter().chain(&self.settings);
        let set = set.map(|text| ThresholdSetting::parse(text).unwrap());
        let thresholds = SharingThresholds::default().with(&set.collect::<Vec<_>>()).unwrap();
        let mut problems = Problems::default();
        let before = read_document::<waybill::register::SharingFile>(
            &self.before.to_string(),
            &mut problems,
        );
        assert!(problems.is_empty(), "{problems}");
        let gathered = gather(lines, self.until).unwrap();
        let basis = SignalBasis {
            customers: &customers,
            thresholds: &thresholds,
            distances: &CountryDistances::known(),
            before: &before.unwrap().0.signals,
        };
        to_value(&signals(&gathered, &basis))
    }

    fn signals(&self, rows: &[Value]) -> Vec<Value> {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        self.look(&lines)["signals"].as_array().unwrap().clone()
    }

    /// The findings, in order.
    fn findings(&self, rows: &[Value]) -> Vec<String> {
        let findings = self.signals(rows).into_iter().map(|signal| signal["finding"].clone());
        findings.map(|finding| finding.as_str().unwrap().to_owned()).collect()
    }
}

/// Days 0 to 27 with that many networks, then those given.
fn after_four_weeks(usual: u64, then: &[(u64, u64)]) -> Vec<Value> {
    let days = (0..28).map(|number| wide(number, usual));
    days.chain(then.iter().map(|(number, networks)| wide(*number, *networks))).collect()
}

#[test]
fn addresses_fire_above_the_usual_and_above_the_floor() {
    let world = World::default();
    let three = |usual, networks| {
        let then = [(28, networks), (29, networks), (30, networks)];
        world.findings(&after_four_weeks(usual, &then))
    };
    // the floor: 10 * e is 27
    assert_eq!(three(10, 50), [""; 0]);
    assert_eq!(three(10, 51), ["sharing.addresses"]);
    // its own past: 100 * e is 271.8
    assert_eq!(three(100, 271), [""; 0]);
    assert_eq!(three(100, 272), ["sharing.addresses"]);
    // three days of seven, in any order of lines
    let mut rows = after_four_weeks(10, &[(28, 90), (29, 90)]);
    assert_eq!(world.findings(&rows), [""; 0]);
    rows.push(wide(35, 90));
    assert_eq!(world.findings(&rows), [""; 0]);
    rows.insert(0, wide(32, 90));
    assert_eq!(world.findings(&rows), ["sharing.addresses"]);
}

#[test]
fn addresses_have_a_spread_of_their_own() {
    let world = World::default();
    // on weekdays 40 to 160: the median of logarithms is ln 80, their deviation 1.4826 ln 2, so
    // that four of them above it are 4,871
    let weekday = |number: &u64| number % 7 < 5;
    let usual =
        |number: u64| wide(number, [40, 160, 80, 40, 160][usize::try_from(number % 7).unwrap()]);
    let rows = |networks: u64| {
        let then = (28..31).map(|number| wide(number, networks));
        (0..28).filter(weekday).map(usual).chain(then).collect::<Vec<_>>()
    };
    assert_eq!(world.findings(&rows(4_800)), [""; 0]);
    assert_eq!(world.findings(&rows(4_900)), ["sharing.addresses"]);
}

/// A past in two modes has no deviation from its median, where most days are in one of them.
#[test]
fn addresses_that_are_high_on_some_days_are_usual() {
    let world = World::default();
    let rows = |usual: [u64; 5]| {
        let week = move |number: u64| usual[usize::try_from(number % 7).unwrap()];
        let past =
            (0..28).filter(|number| number % 7 < 5).map(move |number| wide(number, week(number)));
        past.chain((28..31).map(|number| wide(number, 160))).collect::<Vec<_>>()
    };
    assert_eq!(world.findings(&rows([40, 40, 40, 160, 160])), [""; 0]);
    assert_eq!(world.findings(&rows([40, 40, 40, 40, 40])), ["sharing.addresses"]);
}

#[test]
fn addresses_need_systems_where_they_are_known() {
    let world = World::default();
    let rows = |systems: Value| {
        let wide = |number| with(wide(number, 90), json!({"systems": systems}));
        let mut rows = after_four_weeks(10, &[]);
        rows.extend((28..31).map(wide));
        rows
    };
    assert_eq!(world.findings(&rows(json!(null))), ["sharing.addresses"]);
    assert_eq!(world.findings(&rows(json!(10))), [""; 0]);
    assert_eq!(world.findings(&rows(json!(11))), ["sharing.addresses"]);
}

#[test]
fn the_first_fourteen_days_never_fire() {
    let world = World::default();
    let rows = |first: u64| {
        let networks = |number| if number < first { 10 } else { 90 };
        (0..first + 4).map(|number| wide(number, networks(number))).collect::<Vec<_>>()
    };
    // days 13 to 16: day 13 is within the first fourteen and a weekend, 14 to 16 are three days
    assert_eq!(world.findings(&rows(13)), ["sharing.addresses"]);
    let shorter: Vec<Value> = rows(13).into_iter().take(16).collect();
    assert_eq!(world.findings(&shorter), [""; 0]);
    // its first day with events begins it, not the first day of others
    let other = |row: Value| with(row, json!({"credential": "ci"}));
    let late: Vec<Value> = rows(13)
        .into_iter()
        .filter(|row| row["day"].as_str().unwrap() >= day(1).to_string().as_str())
        .chain((0..17).map(|number| other(row(number))))
        .collect();
    assert_eq!(world.findings(&late), [""; 0]);
}

#[test]
fn weekends_are_compared_with_weekends() {
    let is_weekend = |number: &u64| number % 7 > 4;
    let usual = |number| wide(number, if is_weekend(&number) { 10 } else { 200 });
    let quiet: Vec<Value> = (0..28).map(usual).collect();
    let louder = |days: &[u64]| {
        quiet
            .iter()
            .cloned()
            .chain(days.iter().map(|number| wide(*number, 190)))
            .collect::<Vec<_>>()
    };
    let world_of_two = World { settings: vec!["addresses_days=2"], ..World::default() };
    // weekdays as ever; a weekend like weekdays
    assert_eq!(world_of_two.findings(&louder(&[28, 29, 30, 31])), [""; 0]);
    assert_eq!(world_of_two.findings(&louder(&[33, 34])), ["sharing.addresses"]);
    // two weekends are enough of a past, three days of it aren't
    let short = |from: u64| {
        let quiet = (from..14).map(|number| wide(number, 10));
        let then =
            [14, 15, 16, 19, 20].map(|number| wide(number, if number > 16 { 90 } else { 10 }));
        quiet.chain(then).collect::<Vec<_>>()
    };
    assert_eq!(world_of_two.findings(&short(0)), ["sharing.addresses"]);
    let without_one: Vec<Value> =
        short(0).into_iter().filter(|row| row["day"] != day(6).to_string()).collect();
    assert_eq!(world_of_two.findings(&without_one), [""; 0]);
    // gaps on weekdays leave enough of a past
    let gaps: Vec<Value> = after_four_weeks(10, &[(28, 90)])
        .into_iter()
        .filter(|row| {
            let number = UtcDay::parse(row["day"].as_str().unwrap()).unwrap().since(day(0));
            number > 27 || number == 0 || [22, 23, 24].contains(&number)
        })
        .collect();
    let world_of_one = World { settings: vec!["addresses_days=1"], ..World::default() };
    assert_eq!(world_of_one.findings(&gaps), ["sharing.addresses"]);
    assert_eq!(world_of_one.findings(&gaps[1..]), [""; 0]);
}

#[test]
fn countries_count_from_a_share_of_the_day() {
    let world = World::default();
    let three = |world: &World, countries: &Value| {
        let minutes = countries.as_object().unwrap().iter();
        let minutes: Value = minutes.map(|(code, _)| (code.clone(), json!([0]))).collect();
        world.findings(&[0, 3, 6].map(|number| placed(number, countries.clone(), minutes.clone())))
    };
    let countries = ["sharing.countries"];
    assert_eq!(three(&world, &json!({"DE": 100, "AT": 19})), [""; 0]);
    assert_eq!(three(&world, &json!({"DE": 100, "AT": 20})), countries);
    assert_eq!(three(&world, &json!({"DE": 2_000, "AT": 20})), [""; 0]);
    assert_eq!(three(&world, &json!({"DE": 1_980, "AT": 20})), countries);
    assert_eq!(three(&world, &json!({"DE": 5_000})), [""; 0]);
    // as geo.undeclared compares: by code
    let china = World::of(json!({"declared": ["CN", "DE"]}));
    assert_eq!(three(&china, &json!({"CN": 100, "HK": 30})), countries);
    // none declared: more than three, each large enough
    let nowhere = World::of(json!({"declared": []}));
    assert_eq!(three(&nowhere, &json!({"DE": 50, "AT": 50, "FR": 50, "US": 19})), [""; 0]);
    assert_eq!(three(&nowhere, &json!({"DE": 50, "AT": 50, "FR": 50, "US": 20})), countries);
    // three days of seven
    let abroad = |number| placed(number, json!({"AT": 50}), json!({"AT": [0]}));
    assert_eq!(world.findings(&[0, 1].map(abroad)), [""; 0]);
    assert_eq!(world.findings(&[0, 1, 7].map(abroad)), [""; 0]);
    assert_eq!(world.findings(&[0, 1, 6].map(abroad)), countries);
}

#[test]
fn velocity_counts_changes_of_country() {
    let world = World::default();
    let two = |world: &World, minutes: Value| {
        let countries = minutes.as_object().unwrap().iter();
        let countries: Value = countries
            .map(|(code, minutes)| (code.clone(), json!(20 * minutes.as_array().unwrap().len())))
            .collect();
        world.findings(&[0, 6].map(|number| placed(number, countries.clone(), minutes.clone())))
    };
    let velocity = ["sharing.velocity"];
    // DE - BR - DE - BR: three changes, whatever else happens in between
    assert_eq!(two(&world, json!({"DE": [0, 20], "BR": [10, 30]})), velocity);
    assert_eq!(two(&world, json!({"DE": [0, 20], "BR": [10]})), [""; 0]);
    assert_eq!(two(&world, json!({"DE": [0, 1, 2, 3], "BR": [10, 11, 12, 13]})), [""; 0]);
    // both in one minute: once a minute
    assert_eq!(two(&world, json!({"DE": [0, 5], "BR": [0, 5]})), [""; 0]);
    assert_eq!(two(&world, json!({"DE": [0, 5, 9], "BR": [0, 5, 9]})), velocity);
    // after such a minute nobody knows where it went on
    assert_eq!(two(&world, json!({"DE": [0], "BR": [0, 1, 2, 3]})), [""; 0]);
    // neighbours, and declared countries
    assert_eq!(two(&world, json!({"DE": [0, 20], "FR": [10, 30]})), [""; 0]);
    let both = World::of(json!({"declared": ["DE", "BR"]}));
    assert_eq!(two(&both, json!({"DE": [0, 20], "BR": [10, 30]})), [""; 0]);
    assert_eq!(two(&both, json!({"DE": [0, 20], "BR": [10, 30], "SG": [40, 50]})), [""; 0]);
    assert_eq!(two(&both, json!({"DE": [0, 20], "SG": [10, 30], "BR": [40]})), velocity);
    // never where nothing is declared
    let nowhere = World::of(json!({"declared": []}));
    assert_eq!(two(&nowhere, json!({"DE": [0, 20], "BR": [10, 30]})), [""; 0]);
    // one day isn't enough
    let row = placed(0, json!({"DE": 20, "BR": 20}), json!({"DE": [0, 20], "BR": [10, 30]}));
    assert_eq!(world.findings(&[row]), [""; 0]);
    // a user of an application who travels: 19 requests, or less than 1 % of the day
    let abroad = |home: u64, away: u64| {
        let minutes = json!({"DE": [0, 20], "BR": [10, 30]});
        world.findings(
            &[0, 6].map(|number| placed(number, json!({"DE": home, "BR": away}), minutes.clone())),
        )
    };
    assert_eq!(abroad(50, 20), velocity);
    assert_eq!(abroad(50, 19), [""; 0]);
    assert_eq!(abroad(1_980, 20), velocity);
    assert_eq!(abroad(1_981, 20), [""; 0]);
}

/// The time between two requests is at most one minute more than between their minutes.
#[test]
fn velocity_has_an_exact_border() {
    let distances = CountryDistances::known();
    let code = |text| Word::parse(text).unwrap();
    let km = u64::from(distances.between(code("DE"), code("SE")));
    assert!(km > 0);
    let rows = |apart: u64| {
        let (sweden, germany) = (json!([apart, 3 * apart]), json!([0, 2 * apart]));
        let minutes = json!({"DE": germany, "SE": sweden});
        [0, 1].map(|number| placed(number, json!({"DE": 20, "SE": 20}), minutes.clone()))
    };
    let slowest = km * 60 / 1_000; // minutes at exactly 1,000 km/h, rounded down
    let world = World::default();
    let apart = if km * 60 % 1_000 == 0 { slowest - 2 } else { slowest - 1 };
    assert_eq!(world.findings(&rows(apart)), ["sharing.velocity"], "{km} {apart}");
    assert_eq!(world.findings(&rows(apart + 1)), [""; 0], "{km} {apart}");
}

#[test]
fn clients_fire_by_programs_or_by_what_is_in_flight() {
    let world = World::default();
    let three = |programs: u64, in_flight: u64| {
        let members = json!({"programs": programs, "in_flight": in_flight});
        world.findings(&[0, 3, 6].map(|number| with(row(number), members.clone())))
    };
    assert_eq!(three(7, 31), [""; 0]);
    assert_eq!(three(8, 0), ["sharing.clients"]);
    assert_eq!(three(1, 32), ["sharing.clients"]);
}

#[test]
fn a_customer_is_suspected_by_two_kinds() {
    let world = World::default();
    let busy = |number, label: &str| with(row(number), json!({"credential": label, "programs": 8}));
    let abroad = |number| placed(number, json!({"AT": 50}), json!({"AT": [0]}));
    // of different credentials, at different ends of a window
    let rows: Vec<Value> =
        (0..3).map(|number| busy(number, "ci")).chain((6..9).map(abroad)).collect();
    let all = ["relay.suspected", "sharing.countries", "sharing.clients"];
    let mut found = world.findings(&rows);
    found.sort_by_key(|code| all.iter().position(|known| known == code));
    assert_eq!(found, all);
    // the clients' last day is out of the window when the countries fire
    let rows: Vec<Value> =
        (0..3).map(|number| busy(number, "ci")).chain((7..10).map(abroad)).collect();
    assert!(!world.findings(&rows).contains(&"relay.suspected".to_owned()));
    // countries and velocity are one kind
    let fast = |number| {
        placed(number, json!({"DE": 20, "BR": 50}), json!({"DE": [0, 20], "BR": [10, 30]}))
    };
    let found = world.findings(&(0..3).map(fast).collect::<Vec<_>>());
    assert_eq!(found, ["sharing.countries", "sharing.velocity"]);
    let reseller = World::of(json!({"kind": "reseller"}));
    assert_eq!(reseller.findings(&rows), [""; 0]);
}

#[test]
fn who_is_bound_is_exempt() {
    let busy = |label: Value| {
        [0, 1, 2].map(|number| with(row(number), json!({"credential": label, "programs": 8})))
    };
    let world = World::default();
    assert_eq!(world.findings(&busy(json!("ci"))), ["sharing.clients"]);
    assert_eq!(world.findings(&busy(json!(null))), ["sharing.clients"]);
    assert_eq!(world.findings(&busy(json!("gone"))), [""; 0]);
    let entry = |n: u8, label: Value, networks: Value| {
        let digest = format!("sha256:{}", format!("{n:02x}").repeat(32));
        let mut entry = json!({"digest": digest, "networks": networks});
        if label.is_string() {
            entry["label"] = label;
        }
        entry
    };
    let bound = json!(["203.0.113.0/24"]);
    let world = World::of(json!({"credentials": [entry(1, json!("ci"), bound.clone()),
        entry(2, json!(null), bound.clone()), entry(3, json!(null), json!([]))]}));
    assert_eq!(world.findings(&busy(json!("ci"))), [""; 0]);
    // events can't tell the bound one without a label from the other
    assert_eq!(world.findings(&busy(json!(null))), ["sharing.clients"]);
    let world = World::of(json!({"credentials": [entry(2, json!(null), bound)]}));
    assert_eq!(world.findings(&busy(json!(null))), [""; 0]);
    let lines: Vec<String> = busy(json!(null)).iter().map(Value::to_string).collect();
    assert_eq!(world.look(&lines)["looked_at"]["bound_credentials"], 1);
}

#[test]
fn a_signal_lasts_fourteen_days() {
    let world = World::default();
    let busy = |number| with(row(number), json!({"programs": 8}));
    let start = |number: u64| day(number).start().to_string();
    let signals = world.signals(&[0, 1, 2, 4].map(busy));
    assert_eq!(signals[0]["since"], start(2));
    assert_eq!(signals[0]["until"], start(19));
    assert_eq!(signals[0]["numbers"]["days"], 4);
    // a day more that shows it, alone, prolongs nothing
    let signals = world.signals(&[0, 1, 2, 12].map(busy));
    assert_eq!(signals[0]["until"], start(17));
    // fired again before the end: without a break; later: anew
    let signals = world.signals(&[0, 1, 2, 14, 15, 16].map(busy));
    assert_eq!(signals[0]["since"], start(2));
    let signals = world.signals(&[0, 1, 2, 15, 16, 17].map(busy));
    assert_eq!(signals[0]["since"], start(17));
    // gone once it has ended, by the last day or by --until
    let rows = |last| [0, 1, 2].map(busy).into_iter().chain([row(last)]).collect::<Vec<_>>();
    assert_eq!(world.findings(&rows(16)), ["sharing.clients"]);
    assert_eq!(world.findings(&rows(17)), [""; 0]);
    let until = |number: u64| World {
        until: Some(UnixMillis::parse(&start(number)).unwrap()),
        ..World::default()
    };
    assert_eq!(until(16).findings(&rows(40)), ["sharing.clients"]);
    assert_eq!(until(17).findings(&rows(40)), [""; 0]);
    assert_eq!(until(2).findings(&rows(40)), [""; 0]);
}

/// A known sign stays where the rows are too few to show it again, as long as it holds and its
/// credential is neither gone nor exempt.
#[test]
fn known_signals_stay() {
    let known = |credential: Value, finding: &str, since: u64, until: u64| {
        json!({"customer": "c-1", "credential": credential, "finding": finding,
            "since": day(since).start().to_string(), "until": day(until).start().to_string(),
            "evidence": "known", "numbers": {"networks": 90}})
    };
    let world = |members: Value, signal: Value| World {
        before: json!({"signals": [signal]}),
        ..World::of(members)
    };
    let label = || json!("production");
    let rows: Vec<Value> = (100..141).map(row).collect();
    let kept = |world: &World, rows: &[Value]| !world.signals(rows).is_empty();
    let (addresses, countries, relay) =
        ("sharing.addresses", "sharing.countries", "relay.suspected");
    // the last day that showed it is 15 days before its end
    let short = &rows[..7];
    assert!(kept(&world(json!({}), known(label(), addresses, 90, 107)), short));
    assert!(!kept(&world(json!({}), known(label(), addresses, 90, 106)), short), "it has ended");
    // the rows reach back far enough: 14 first days and a window before that day
    let long = &rows[..21];
    assert!(kept(&world(json!({}), known(label(), addresses, 90, 134)), long));
    assert!(!kept(&world(json!({}), known(label(), addresses, 90, 135)), long));
    assert!(kept(&world(json!({}), known(json!(null), relay, 90, 134)), long));
    assert!(!kept(&world(json!({}), known(json!(null), relay, 90, 135)), long));
    assert!(kept(&world(json!({}), known(label(), countries, 90, 120)), &rows[..19]));
    assert!(!kept(&world(json!({}), known(label(), countries, 90, 121)), &rows[..19]));
    // that day comes behind the rows
    assert!(kept(&world(json!({}), known(label(), addresses, 130, 156)), &rows));
    assert!(!kept(&world(json!({}), known(label(), addresses, 130, 155)), &rows));
    // gone or exempt
    assert!(!kept(&world(json!({}), known(json!("gone"), addresses, 90, 107)), short));
    assert!(!kept(&world(json!({"kind": "reseller"}), known(label(), addresses, 90, 107)), short));
    assert!(!kept(&world(json!({"kind": "reseller"}), known(json!(null), relay, 90, 107)), short));
    // found again: the new one counts
    let busy: Vec<Value> =
        (100..103).map(|number| with(row(number), json!({"programs": 8}))).collect();
    let found = |since: u64, until: u64| {
        let world = world(json!({}), known(label(), "sharing.clients", since, until));
        let signals = world.signals(&busy);
        assert_eq!(signals.len(), 1);
        assert_ne!(signals[0]["evidence"], "known");
        assert_eq!(signals[0]["until"], day(117).start().to_string());
        signals[0]["since"].clone()
    };
    // its beginning is before the rows
    assert_eq!(found(90, 107), day(90).start().to_string());
    // it had ended before
    assert_eq!(found(80, 101), day(102).start().to_string());
}

#[test]
fn the_evidence_has_the_figures_and_the_thresholds() {
    let world = World::default();
    let signals = world.signals(&after_four_weeks(38, &[(28, 412), (29, 380), (31, 412)]));
    let expected = "412 networks on 2026-11-05, usually 38 a day; on 3 of the 7 days up to then \
                    (fires above 103 networks, on 3 of 7)";
    assert_eq!(signals[0]["evidence"], expected);
    let numbers = json!({"networks": 412, "networks_usual": 38, "networks_above": 103,
        "days": 3, "days_least": 3, "days_window": 7});
    assert_eq!(signals[0]["numbers"], numbers);
}

// === events ===

/// An event of a node, as one line of a log.
#[derive(Debug, Clone)]
struct Line {
    event: Value,
    duration: Option<u64>,
}

impl Line {
    fn new(seq: u64, millis: i64, members: Value) -> Self {
        let start = day(0).start().0 * 1_000;
        let time = UnixMillis(start + millis).to_string();
        let time = if time.contains('.') { time } else { time.replace('Z', ".000Z") };
        let event = json!({"schema": 1, "id": format!("00000000000000aa-{seq}"), "time": time,
            "node": "a.example", "customer": "c-1",
            "credential": {"source": "header x-api-key", "label": "production"}, "mode": "report",
            "verdict": "allow", "would_be": null, "route": null, "reason": null, "findings": [],
            "user": null, "origin": "DE", "address": "203.0.113.0/24", "network": null,
            "chain": null, "policy": "00112233445566aa", "snapshot": null,
            "vm": "00000000000000aa", "seq": seq, "prev": null});
        Self { event: with(event, members), duration: Some(100) }
    }

    fn text(&self) -> String {
        let mut line = json!({"event": self.event.to_string(), "status": 200});
        if let Some(duration) = self.duration {
            line["duration_ms"] = duration.into();
        }
        line.to_string()
    }
}

/// What a row says of events of one credential and day.
fn row_of(lines: &[Line]) -> Value {
    let lines: Vec<String> = lines.iter().map(Line::text).collect();
    let rows = gather(&lines, None).unwrap().rows;
    assert_eq!(rows.len(), 1);
    to_value(&rows[0])
}

const HOUR: i64 = 3_600_000;

#[test]
fn a_row_says_what_its_events_say() {
    let hosting = |seq, millis, network: &str, sdk: &str| {
        let software = json!({"sdk": sdk, "os": "other"});
        let address = format!("198.51.{network}.0/24");
        let members = json!({"network": "hosting", "address": address, "software": software});
        Line::new(seq, millis, members)
    };
    let place = |seq, millis, origin: &str, class: Value| {
        Line::new(seq, millis, json!({"origin": origin, "network": class}))
    };
    let mut lines = vec![
        Line::new(0, 0, json!({"asn": 64_500})),
        Line::new(1, 59_999, json!({"asn": 64_501, "address": "2001:db8::/48"})),
        Line::new(2, 60_000, json!({"asn": 64_501, "address": null, "origin": null})),
        place(3, 86_399_999, "FR", json!("cdn")),
        place(4, 1, "US", json!("hosting")),
        place(5, 1, "US", json!("proxy")),
        place(6, 1, "US", json!("vpn")),
        place(7, 1, "US", json!("tor")),
        // three programs in one hour and network; two in the next hour; an SDK isn't one
        hosting(8, HOUR, "1", "cursor"),
        hosting(9, 2 * HOUR - 1, "1", "cline"),
        hosting(10, HOUR, "1", "zed"),
        hosting(11, 2 * HOUR, "1", "aider"),
        hosting(12, 2 * HOUR, "1", "continue"),
        hosting(13, HOUR, "2", "aider"),
        hosting(14, HOUR, "1", "openai-python"),
        hosting(15, HOUR, "1", "other"),
    ];
    let mut silent = hosting(16, HOUR, "1", "cursor");
    silent.duration = None;
    lines.push(silent);
    // in flight: three of one program in one network
    lines.extend((17..20).map(|seq| hosting(seq, 5 * HOUR + 30, "3", "cursor")));
    lines.extend((20..23).map(|seq| hosting(seq, 5 * HOUR + 130, "3", "cursor")));
    lines.push(hosting(23, 5 * HOUR + 31, "3", "zed"));
    let mut python = hosting(24, 5 * HOUR + 31, "3", "openai-python");
    python.duration = Some(1_000_000);
    lines.push(python);
    let expected = json!({"day": MONDAY, "customer": "c-1", "credential": "production",
        "events": 25, "networks": 5, "systems": 2, "countries": {"DE": 2, "FR": 1},
        "minutes": {"DE": [0], "FR": [1_439]}, "programs": 3, "in_flight": 3,
        "without_duration": 1});
    assert_eq!(row_of(&lines), expected);
}

#[test]
fn what_proves_nothing_or_binds_is_left_out() {
    let of = |seq, credential: Value| Line::new(seq, 0, json!({"credential": credential}));
    let lines = [
        of(0, json!(null)),
        of(1, json!({"source": "chain"})),
        of(2, json!({"source": "mtls uri_san"})),
        of(3, json!({"source": "jwt idp sub"})),
        Line::new(4, 0, json!({"customer": null})),
    ];
    let mut lines: Vec<String> = lines.iter().map(Line::text).collect();
    lines.push(json!({"event": null, "status": 400}).to_string());
    lines.push("[2026-10-05] starting".to_owned());
    lines.push(lines[3].clone());
    let gathered = gather(&lines, None).unwrap();
    assert_eq!(gathered.rows.len(), 1);
    let looked_at = to_value(&gathered.looked_at);
    for (name, count) in [
        ("events", 5),
        ("doubles", 1),
        ("without_credential", 2),
        ("bound_events", 2),
        ("without_event", 1),
        ("other_lines", 1),
        ("customers", 1),
        ("days", 1),
    ] {
        assert_eq!(looked_at[name], count, "{name}");
    }
}

/// The lines of three weeks, with all that lines can have.
fn any_lines() -> Vec<Line> {
    // a fixed sequence; what matters is that values meet
    let mut state: u64 = 17;
    let mut next = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut lines = Vec::new();
    for seq in 0..400 {
        let days = i64::try_from(next(21)).unwrap() * 24 * HOUR;
        let time = days + i64::try_from(next(86_400_000)).unwrap() / 40 * 40;
        let customer =
            [json!("c-1"), json!("c-2"), json!(null)][usize::try_from(next(3)).unwrap()].clone();
        let label = ["production", "ci"][usize::try_from(next(2)).unwrap()];
        let origin = ["DE", "FR", "BR", "SG"][usize::try_from(next(4)).unwrap()];
        let class = [json!(null), json!("hosting"), json!("cdn")]
            [usize::try_from(next(3)).unwrap()]
        .clone();
        let sdk = ["cursor", "zed", "openai-python"][usize::try_from(next(3)).unwrap()];
        let mut line = Line::new(
            seq,
            time,
            json!({"customer": customer,
            "credential": {"source": "bearer", "label": label}, "origin": origin, "network": class,
            "address": format!("198.51.{}.0/24", next(5)), "asn": 64_500 + next(20),
            "software": {"sdk": sdk, "os": "linux"}}),
        );
        line.duration = Some(next(100_000_000)).filter(|duration| duration % 7 != 0);
        lines.push(line);
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of any lines, each of them any number of times: the same rows, byte for byte. Of a
    /// double, the longest duration counts.
    #[test]
    fn no_order_and_no_double_matters(
        doubles in proptest::collection::vec((0_usize..400, any::<bool>()), 0..200),
        order in Just((0_usize..600).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let lines = any_lines();
        let told = |lines: &[Line]| {
            let lines: Vec<String> = lines.iter().map(Line::text).collect();
            let gathered = gather(&lines, None).unwrap();
            gathered.rows.iter().map(|row| to_text(row) + "\n").collect::<String>()
        };
        let expected = told(&lines);
        let mut more = lines.clone();
        for (place, is_shorter) in doubles {
            let mut double = lines[place].clone();
            if is_shorter {
                double.duration = double.duration.map(|duration| duration / 2);
            }
            more.push(double);
        }
        let shuffled: Vec<Line> =
            order.iter().filter_map(|place| more.get(*place)).cloned().collect();
        prop_assert_eq!(told(&shuffled), expected);
    }
}

/// Rows that events became say what the events say, alone and beside events of other days.
#[test]
fn rows_stand_for_events() {
    let world =
        World { settings: vec!["clients_days=1", "clients_in_flight=1"], ..World::default() };
    let events: Vec<String> = any_lines().iter().map(Line::text).collect();
    let gathered = gather(&events, None).unwrap();
    let rows: Vec<String> = gathered.rows.iter().map(to_text).collect();
    let by_events = world.look(&events);
    assert!(!by_events["signals"].as_array().unwrap().is_empty());
    assert_eq!(world.look(&rows)["signals"], by_events["signals"]);
    let middle = day(10).to_string();
    let is_early = |text: &str| text < middle.as_str();
    let mixed: Vec<String> = any_lines()
        .iter()
        .filter(|line| is_early(line.event["time"].as_str().unwrap()))
        .map(Line::text)
        .chain(gathered.rows.iter().filter(|row| !is_early(&row.day.to_string())).map(to_text))
        .collect();
    assert_eq!(world.look(&mixed)["signals"], by_events["signals"]);
    // the same row again changes nothing
    let twice: Vec<String> = rows.iter().chain(&rows).cloned().collect();
    assert_eq!(world.look(&twice)["signals"], by_events["signals"]);
}

#[test]
fn what_contradicts_is_an_error() {
    let error = |lines: &[String]| gather(lines, None).unwrap_err();
    let (event, other) = (Line::new(0, 0, json!({})), Line::new(0, 0, json!({"origin": "FR"})));
    assert_eq!(error(&[event.text(), other.text()]), GatheringError::AlteredEvent);
    assert_eq!(error(&[other.text(), event.text()]), GatheringError::AlteredEvent);
    let place = |line| EventPlace { file: 0, line };
    let what = || "`c-1`, credential `production`,".to_owned();
    let both = |row| GatheringError::RowAndEvents { what: what(), day: day(0), row: place(row) };
    assert_eq!(error(&[event.text(), row(0).to_string()]), both(2));
    assert_eq!(error(&[row(0).to_string(), event.text()]), both(1));
    let different = GatheringError::DifferentRows { what: what(), day: day(0), other: place(1) };
    assert_eq!(error(&[row(0).to_string(), wide(0, 11).to_string()]), different);
    for (members, message) in [
        (json!({"networks": -1}), "found `-1`"),
        (json!({"networks": 1.5}), "found a fraction"),
        (json!({"events": 99}), "expected at most 99 events, found 100"),
        (json!({"day": "2026-02-30"}), "invalid day `2026-02-30`"),
        (json!({"day": "1969-12-31"}), "invalid day"),
        (json!({"day": "12026-10-05"}), "invalid day"),
        (json!({"countries": {"XX": 1}}), "unknown country code `XX`"),
        (json!({"countries": {"DE": 1, "FR": 1}}), "different countries"),
        (json!({"minutes": {"DE": [5, 5]}}), "aren't in order"),
        (json!({"minutes": {"DE": [1_440]}}), "found `1440`"),
        (json!({"minutes": {"DE": []}}), "expected minutes of 100 events, found 0"),
        (json!({"people": 4}), "unknown field"),
    ] {
        let found = error(&[with(row(0), members.clone()).to_string()]).to_string();
        assert!(found.contains(message), "{members}: {found}");
    }
}

/// Lines that no node writes are counted, and cost no more than others.
#[test]
fn hostile_lines_are_counted() {
    let mut lines = Vec::new();
    for (seq, members) in [
        json!({"time": "1969-12-31T23:59:59.000Z"}),
        json!({"time": "10000-01-01T00:00:00.000Z"}),
        json!({"time": 5}),
        json!({"id": "00000000000000aa-99999999999999999999999"}),
        json!({"id": "00000000000000aa-007"}),
        json!({"id": "x"}),
        json!({"origin": "XX"}),
        json!({"address": "203.0.113.7/24"}),
        json!({"address": "203.0.113.0/16"}),
        json!({"network": "moon"}),
        json!({"asn": 1_u64 << 32}),
        json!({"asn": -1}),
        json!({"customer": ""}),
        json!({"customer": "c".repeat(65)}),
        json!({"customer": ["c-1"]}),
        json!({"credential": {"source": "bearer", "label": ""}}),
        json!({"credential": {"source": "bearer", "label": "\u{7}"}}),
        json!({"schema": 2}),
    ]
    .into_iter()
    .enumerate()
    {
        lines.push(Line::new(u64::try_from(seq).unwrap(), 0, members).text());
    }
    let wrong = lines.len();
    let mut bytes: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    bytes.push(b"{\"event\": \"\xff\"}".to_vec());
    let text = Line::new(0, 0, json!({})).text();
    bytes.push(text.replace("\\\"origin\\\"", "\\\"time\\\":\\\"\\\",\\\"origin\\\"").into_bytes());
    // far apart, and the last day there is
    for seq in (0..64).map(|bit| 1_u64 << bit) {
        bytes.push(
            Line::new(seq, 0, json!({"time": "9999-12-31T23:59:59.999Z"})).text().into_bytes(),
        );
    }
    let mut gathering = Gathering::new(None);
    for (bytes, line) in bytes.iter().zip(1..) {
        gathering.see(EventPlace { file: 0, line }, bytes).unwrap();
    }
    let gathered = gathering.finish().unwrap();
    let looked_at = to_value(&gathered.looked_at);
    assert_eq!(looked_at["other_lines"], wrong + 2);
    assert_eq!(looked_at["events"], 64);
    assert_eq!(gathered.rows.len(), 1);
}

#[test]
fn thresholds_are_set_by_name() {
    let parse = |text: &str| {
        ThresholdSetting::parse(text)
            .map_err(|wrong| (wrong.message, wrong.help.unwrap_or_default()))
    };
    assert!(parse("addresses_networks=80").is_ok());
    for (text, message, help) in [
        ("addresses_networks", "expected NAME=VALUE, found `addresses_networks`", "write the name"),
        ("addresses_networks=many", "expected NAME=VALUE", "write the name"),
        (
            "adresses_networks=80",
            "unknown threshold `adresses_networks`",
            "did you mean `addresses_networks`?",
        ),
        ("window_days=0", "window_days: expected a whole number from 1 to 31, found `0`", ""),
        ("=1", "unknown threshold ``", "one of"),
    ] {
        let (found, hint) = parse(text).unwrap_err();
        assert!(found.contains(message) && hint.contains(help), "{text}: {found}: {hint}");
    }
    // a sign that no window can hold
    let with = |settings: &[&str]| {
        let settings = settings.iter().map(|text| ThresholdSetting::parse(text).unwrap());
        SharingThresholds::default().with(&settings.collect::<Vec<_>>()).map_err(|it| it.message)
    };
    assert_eq!(
        with(&["window_days=2"]).unwrap_err(),
        "`addresses_days` is 6, more than the 2 days of `window_days`"
    );
    let all = [
        "window_days=2",
        "addresses_days=2",
        "countries_days=1",
        "velocity_days=2",
        "clients_days=2",
    ];
    assert_eq!(with(&all).unwrap().window_days.0, 2);
}

#[test]
fn each_threshold_has_its_row_with_its_default() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/register.md")).unwrap();
    let defaults = to_value(&SharingThresholds::default());
    for (name, default) in defaults.as_object().unwrap() {
        let mut rows = page.lines().filter(|line| line.starts_with(&format!("| `{name}` |")));
        let row = rows.next().unwrap_or_else(|| panic!("docs/register.md lacks {name}"));
        assert!(row.replace(',', "").ends_with(&format!("| {default} |")), "{row}");
        assert_eq!(rows.next(), None);
    }
}

// === the verb ===

struct Desk {
    folder: PathBuf,
}

impl Desk {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(folder.join("register")).unwrap();
        let desk = Self { folder };
        let named = customer(json!({"name": "Banyan <Ltd>"}));
        desk.write("register/customers.json", &json!({"customers": [named]}).to_string());
        desk
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        command.current_dir(&self.folder).arg("sharing").args(["--register", "register"]);
        command.args(START.iter().flat_map(|setting| ["--set", setting]));
        command.args(arguments).env_remove("COLUMNS").output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_verb_answers_in_words_and_as_the_registers_file() {
    let desk = Desk::new("sharing-verb");
    let rows = after_four_weeks(38, &[(28, 412), (29, 380), (31, 412)]);
    let lines = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    desk.write("a", &lines(&rows[..20]));
    desk.write("b", &lines(&rows[20..]));
    let text = stdout(&desk.run(&["a", "b"]));
    for part in [
        "c-1 Banyan <Ltd>, credential production: sharing.addresses",
        "412 networks on 2026-11-05, usually 38 a day",
        "Looked at: 3,100 events of 1 customers on 32 days from 2026-10-05 to 2026-11-05.",
        "What ends it",
    ] {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = stdout(&desk.run(&["b", "a", "--json", "-o", "out.json", "--rows", "rows"]));
    assert_eq!(json, desk.read("out.json"));
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["signals"][0]["finding"], "sharing.addresses");
    assert_eq!(document["looked_at"]["customers"], 1);
    assert_eq!(stdout(&desk.run(&["a", "b", "--rows", "-"])), desk.read("rows"));
    // its own rows again: the same answer
    let again = stdout(&desk.run(&["rows", "--json"]));
    assert_eq!(again, json);
    assert_eq!(
        stdout(&desk.run(&["rows", "--json", "--set", "addresses_networks=412"]))
            .matches("finding")
            .count(),
        0
    );
}

#[test]
fn the_verb_says_what_is_wrong() {
    let desk = Desk::new("sharing-wrong");
    desk.write("a", &format!("{}\n{}\n", row(0), wide(0, 11)));
    let told = stderr(&desk.run(&["a"]));
    let expected = "a:2: different rows of `c-1`, credential `production`, on 2026-10-05; \
                    the other is a:1\n  help: make each day's rows once";
    assert!(told.starts_with(expected), "{told}");
    desk.write("b", &format!("{}\n", Line::new(0, 0, json!({})).text()));
    desk.write("c", &format!("\n{}\n", row(0)));
    for files in [["b", "c"], ["c", "b"]] {
        let told = stderr(&desk.run(&files));
        assert!(
            told.starts_with(
                "c:2: a row and events of `c-1`, credential `production`, on 2026-10-05"
            ),
            "{told}"
        );
    }
    desk.write("d", &format!("{}\n", wide(0, 11).to_string().replace("11", "\"11\"")));
    let told = stderr(&desk.run(&["d"]));
    assert!(told.starts_with("d:1: invalid row: $.networks: expected a whole number"), "{told}");
    // a clock that was wrong ends every sign, so it is named
    let busy = |number| with(row(number), json!({"programs": 8}));
    let lines = |last: u64| {
        [0, 1, 2]
            .map(busy)
            .into_iter()
            .chain([row(last)])
            .map(|row| format!("{row}\n"))
            .collect::<String>()
    };
    for (last, signals, note) in
        [(16, 1, ""), (17, 0, "until 2026-10-22"), (3_000, 0, "--until 2026-10-08T00:00:00Z")]
    {
        desk.write("e", &lines(last));
        let output = desk.run(&["e", "--json"]);
        assert_eq!(stdout(&output).matches("\"finding\"").count(), signals, "{last}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(note) && told.is_empty() == note.is_empty(), "{last}: {told}");
    }
    let told = stderr(&desk.run(&["b", "--set", "windows_days=3"]));
    assert!(told.contains("did you mean `window_days`?"), "{told}");
}
