//! A log of two workers with overlapping streams: every removed, altered or duplicate line but each
//! VM's last is named, and nothing of a sound log is accused.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use waybill::cli::capture::Capture;
use waybill::decision::event::Ledger;
use waybill::decision::{Screen, Worker};
use waybill::journal::audit::{
    Audit, AuditRemark, AuditRemarkKind as Kind, AuditReport, AuditSettings, EventPlace,
};
use waybill::journal::line::LogLine;

/// A line, and the event in it.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    vm: String,
    seq: u64,
}

impl Line {
    fn of(event: &str, duration_ms: u64) -> Self {
        let read: Value = serde_json::from_str(event).unwrap();
        Self {
            text: json!({"event": event, "status": 200, "duration_ms": duration_ms}).to_string(),
            vm: read["vm"].as_str().unwrap().to_owned(),
            seq: read["seq"].as_u64().unwrap(),
        }
    }

    fn event(&self) -> String {
        let line: Value = serde_json::from_str(&self.text).unwrap();
        line["event"].as_str().unwrap().to_owned()
    }

    /// The same line with another event.
    fn with(&self, event: &str) -> Self {
        let mut line: Value = serde_json::from_str(&self.text).unwrap();
        line["event"] = event.into();
        Self { text: line.to_string(), ..self.clone() }
    }
}

/// Numbers without a pattern, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

const EVENTS: u64 = 10_000;
/// Two events a second a worker, and streams of up to a minute: 10,000 take 14 hours.
const SECONDS_BETWEEN: u64 = 5;
const LONGEST: u64 = 60;

/// Real decisions of two workers, each line where its stream ended.
static LOG: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let config = include_str!("corpus/config/valid/full.json");
    let screen = Screen::parse(config).unwrap();
    let mut dice = Dice(16);
    let mut ledgers = [Ledger::new(0xaaaa), Ledger::new(0xbbbb)];
    let mut workers = [Worker::default(), Worker::default()];
    let mut lines: Vec<(u64, Line)> = Vec::new();
    for number in 0..EVENTS {
        let begin = 1_795_000_000 + number * SECONDS_BETWEEN;
        let request = json!({"method": "POST", "path": "/v1/messages", "time": begin,
            "direct_peer": format!("203.0.113.{}", dice.roll(250)),
            "headers": [["x-api-key", if dice.roll(3) == 0 { "a" } else { "b" }]]});
        let owned = Capture::parse(&request.to_string()).unwrap().complete();
        let request = owned.request();
        let which = usize::try_from(dice.roll(2)).unwrap();
        let (ledger, worker) = (&mut ledgers[which], &mut workers[which]);
        let decision = screen.decide(&request, None, worker, ledger.next_id()).unwrap();
        let event = String::from_utf8(ledger.write(&decision).to_vec()).unwrap();
        let duration = dice.roll(LONGEST);
        lines.push((begin + duration, Line::of(&event, duration * 1_000)));
    }
    lines.sort_by_key(|(end, _)| *end);
    lines.into_iter().map(|(_, line)| line).collect()
});

const WHOLE: AuditSettings = AuditSettings { open: 3_600, is_part: false };

fn audit<'a>(lines: impl IntoIterator<Item = &'a Line>, settings: AuditSettings) -> AuditReport {
    let mut audit = Audit::new(settings);
    for (line, number) in lines.into_iter().zip(1..) {
        let place = EventPlace { file: 0, line: number };
        let bytes = line.text.as_bytes();
        audit.see(place, bytes, &LogLine::parse(bytes));
    }
    audit.finish()
}

fn names(remarks: &[AuditRemark]) -> BTreeSet<u64> {
    remarks.iter().map(|remark| remark.place.line).collect()
}

/// The numbers that faults or notes call missing.
fn missing(remarks: &[AuditRemark]) -> BTreeSet<(String, u64)> {
    let numbers = remarks.iter().flat_map(|remark| match &remark.kind {
        Kind::Missing { vm, first, last, .. } => {
            (*first..=*last).map(|seq| (vm.clone(), seq)).collect()
        }
        _ => Vec::new(),
    });
    numbers.collect()
}

/// Each VM's last event has no successor.
fn is_last(line: &Line) -> bool {
    LOG.iter().all(|other| other.vm != line.vm || other.seq <= line.seq)
}

#[test]
fn a_log_whose_streams_have_ended_is_clean() {
    let overlapping = LOG.windows(2).filter(|two| two[0].seq > two[1].seq).count();
    assert!(overlapping > 1_000, "the streams don't overlap: {overlapping}");
    for open in [0, 3_600] {
        let report = audit(LOG.iter(), AuditSettings { open, is_part: false });
        assert_eq!((report.events, report.fault_count), (EVENTS, 0), "{:?}", report.faults);
        assert!(report.notes.iter().all(|note| note.kind == Kind::Late));
        assert_eq!(report.vms.iter().map(|vm| vm.last - vm.first + 1).sum::<u64>(), EVENTS);
    }
}

/// Every line is altered once: two logs with each second line altered.
#[test]
fn every_altered_line_is_named() {
    let flip = |event: &str| event.replacen("203.0.113.0/24", "203.0.114.0/24", 1);
    for residue in 0..2 {
        let altered: Vec<Line> = LOG
            .iter()
            .enumerate()
            .map(
                |(i, line)| {
                    if i % 2 == residue { line.with(&flip(&line.event())) } else { line.clone() }
                },
            )
            .collect();
        let expected = (1..).zip(LOG.iter()).skip(residue).step_by(2);
        let expected: BTreeSet<u64> =
            expected.filter(|(_, line)| !is_last(line)).map(|(number, _)| number).collect();
        assert_eq!(names(&audit(&altered, WHOLE).faults), expected, "residue {residue}");
    }
}

/// Every line is removed once.
#[test]
fn every_removed_line_is_named() {
    for residue in 0..2 {
        let kept = |i: usize| i % 2 != residue;
        let left = LOG.iter().enumerate().filter(|(i, _)| kept(*i)).map(|(_, line)| line);
        let report = audit(left, AuditSettings { open: 0, is_part: false });
        let gone = LOG.iter().enumerate().filter(|(i, _)| !kept(*i)).map(|(_, line)| line);
        let named = missing(&report.faults);
        // what is behind a VM's last line that is left doesn't show
        let last = |vm: &str| report.vms.iter().find(|it| it.vm == vm).unwrap().last;
        let expected = gone.filter(|line| line.seq < last(&line.vm));
        let expected = expected.map(|line| (line.vm.clone(), line.seq)).collect();
        assert_eq!(named, expected, "residue {residue}");
    }
}

/// Every line is doubled once: behind itself, or at the end.
#[test]
fn every_duplicate_line_is_named() {
    for residue in 0..2 {
        let mut doubled = Vec::new();
        let mut expected = BTreeSet::new();
        for (i, line) in LOG.iter().enumerate() {
            doubled.push(line);
            if i % 2 == residue {
                doubled.push(line);
                expected.insert(u64::try_from(doubled.len()).unwrap());
            }
        }
        let report = audit(doubled.iter().copied(), WHOLE);
        assert_eq!(names(&report.faults), expected);
        assert!(report.faults.iter().all(|it| matches!(it.kind, Kind::Duplicate { .. })));
    }
    for place in (0..LOG.len()).step_by(4_001) {
        let report = audit(LOG.iter().chain([&LOG[place]]), WHOLE);
        assert_eq!(names(&report.faults), BTreeSet::from([EVENTS + 1]), "line {place}");
    }
}

/// Other ways to alter one line: that line is named, or its number.
#[test]
fn each_way_of_altering_is_named() {
    type Way = fn(&Line) -> Option<Line>;
    let ways: &[(&str, Way)] = &[
        ("a blank", |line| Some(line.with(&line.event().replacen(':', ": ", 1)))),
        ("another verdict", |line| {
            let event = line.event();
            let (head, tail) = event.split_once("\"verdict\":\"")?;
            Some(line.with(&[head, "\"verdict\":\"x", tail].concat()))
        }),
        ("another prev", |line| {
            let event = line.event();
            let (head, tail) = event.split_once("\"prev\":\"")?;
            let digit = if tail.starts_with('0') { "1" } else { "0" };
            Some(line.with(&[head, "\"prev\":\"", digit, &tail[1..]].concat()))
        }),
        ("no prev", |line| {
            let event = line.event();
            let head = event.split_once("\"prev\":\"")?.0;
            Some(line.with(&format!("{head}\"prev\":null}}")))
        }),
        ("another number", |line| {
            let (from, to) = (format!("\"seq\":{},", line.seq), "\"seq\":777777,");
            Some(line.with(&line.event().replace(&from, to)))
        }),
        ("another number and id", |line| {
            let event = line.event().replace(&format!("\"seq\":{},", line.seq), "\"seq\":777777,");
            Some(line.with(&event.replace(&format!("-{}\"", line.seq), "-777777\"")))
        }),
        ("another VM", |line| Some(line.with(&line.event().replace(&line.vm, "000000000000cccc")))),
        ("an invalid VM", |line| Some(line.with(&line.event().replace(&line.vm, "x")))),
        ("the other VM", |line| {
            let other = LOG.iter().find(|other| other.vm != line.vm)?;
            Some(line.with(&line.event().replace(&line.vm, &other.vm)))
        }),
        ("no event", |line| {
            let null = json!({"event": null, "status": 200}).to_string();
            Some(Line { text: null, ..line.clone() })
        }),
        ("half a line", |line| {
            let half = line.text[..line.text.len() / 2].to_owned();
            Some(Line { text: half, ..line.clone() })
        }),
        ("another line", |line| Some(Line { text: LOG[7].text.clone(), ..line.clone() })),
    ];
    // the streams that are open at the end are notes
    let lines = &LOG[..1_000];
    for (way, alter) in ways {
        let mut tried = 0;
        for place in (20..lines.len() - 300).step_by(101) {
            let Some(line) = alter(&LOG[place]) else { continue };
            tried += 1;
            let mut altered: Vec<&Line> = lines.iter().collect();
            altered[place] = &line;
            let report = audit(altered, AuditSettings { open: 600, is_part: false });
            let (named, numbers) = (names(&report.faults), missing(&report.faults));
            let number = (LOG[place].vm.clone(), LOG[place].seq);
            let is_named = named.contains(&u64::try_from(place + 1).unwrap());
            assert!(is_named || numbers.contains(&number), "{way}: line {}", place + 1);
            assert!(report.fault_count < 5, "{way}: {:?}", report.faults);
        }
        assert!(tried > 5, "{way}: {tried}");
    }
}

#[test]
fn swapped_neighbours_are_mentioned() {
    let sorted: Vec<&Line> = LOG.iter().filter(|line| line.vm == LOG[0].vm).collect();
    let mut sorted = sorted;
    sorted.sort_by_key(|line| line.seq);
    assert_eq!(audit(sorted.iter().copied(), WHOLE).note_count, 0, "nothing is swapped yet");
    for place in (0..sorted.len() - 1).step_by(1_801) {
        let mut swapped = sorted.clone();
        swapped.swap(place, place + 1);
        let report = audit(swapped, WHOLE);
        assert_eq!(report.fault_count, 0, "{:?}", report.faults);
        let late = u64::try_from(place + 2).unwrap();
        assert_eq!(names(&report.notes), BTreeSet::from([late]));
    }
}

/// A stream that is open at the end is a note; how long streams last can be said.
#[test]
fn numbers_missing_at_the_end_are_notes() {
    let remove = |place: usize| {
        LOG.iter().enumerate().filter(move |(i, _)| *i != place).map(|(_, line)| line)
    };
    let numbers = |remarks: &[AuditRemark]| missing(remarks).len();
    let near = LOG.len() - 400;
    let far = LOG.len() - 1_000;
    for (place, open, faults, notes) in [
        (near, 3_600, 0, 1),
        (near, 600, 1, 0),
        (near, 0, 1, 0),
        (far, 3_600, 1, 0),
        (far, 36_000, 0, 1),
    ] {
        let report = audit(remove(place), AuditSettings { open, is_part: false });
        let found = (numbers(&report.faults), numbers(&report.notes));
        assert_eq!(found, (faults, notes), "line {place}, open {open}");
    }
}

/// A log that begins in another file has no first numbers: a fault, unless one says so.
#[test]
fn a_part_of_a_log_needs_saying() {
    let part = |is_part| audit(&LOG[5_000..], AuditSettings { open: 3_600, is_part });
    let report = part(false);
    assert!(report.fault_count > 1 && report.vms.iter().all(|vm| vm.first > 0));
    assert_eq!(part(true).fault_count, 0);
    let without = LOG[5_000..].iter().enumerate().filter(|(i, _)| *i != 2_000);
    let without =
        audit(without.map(|(_, line)| line), AuditSettings { open: 3_600, is_part: true });
    assert_eq!(missing(&without.faults).len(), 1);
}

// === The verb ===

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("audit-input-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, input).unwrap();
    let stdin = std::fs::File::open(path).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
    command.args(["audit", "verify"]).args(arguments).stdin(stdin).output().unwrap()
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// Objects, strings, bare events, gzip, zstd, several files and stdin give one answer.
#[test]
fn all_forms_of_a_log_are_one() {
    let folder = folder("audit-forms");
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let lines = &LOG[..1_000];
    let (first, second) = lines.split_at(400);
    let object: String = lines
        .iter()
        .map(|line| format!("{{\"event\": {}, \"status\": 200}}\n", line.event()))
        .collect();
    let bare: String = lines.iter().map(|line| line.event() + "\n").collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text(first).as_bytes()).unwrap();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let zstd = ruzstd::encoding::compress_to_vec(text(second).as_bytes(), level);
    let others = format!("started\n{}{{\"event\": null}}\n", text(lines));
    let plain = path("plain", text(lines).as_bytes());
    let forms = [
        vec![plain.clone()],
        vec![path("object", object.as_bytes())],
        vec![path("bare", bare.as_bytes())],
        vec![path("a.gz", &gzip.finish().unwrap()), path("b.zst", &zstd)],
        vec![path("others", others.as_bytes())],
        vec!["-".to_owned()],
    ];
    for form in forms {
        let arguments: Vec<&str> = form.iter().map(String::as_str).chain(["--json"]).collect();
        let done = run(&arguments, text(lines).as_bytes());
        let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(0), "{form:?}: {answer}");
        assert_eq!((&answer["events"], &answer["faults"]), (&json!(1_000), &json!([])), "{form:?}");
    }
    // one file twice: every line of the second is a duplicate, by file and line
    let done = run(&[&plain, &plain, "--json"], b"");
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.status.code(), answer["faults"].as_array().unwrap().len()), (Some(1), 1_000));
}

#[test]
fn the_answer_fits_a_page() {
    let mut lines = LOG[..1_000].to_vec();
    lines.remove(500);
    lines[600] = lines[600].with(&lines[600].event().replace("203.0.113", "203.0.114"));
    for arguments in [&["-"][..], &["-", "--open", "0h"]] {
        let done = run(arguments, text(&lines).as_bytes());
        let out = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(1), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        assert!(out.contains("line 601: altered"), "{out}");
        let missing = if arguments.len() > 1 { "fault" } else { "note" };
        assert!(out.lines().any(|line| line.starts_with(missing)), "{out}");
        assert!(out.contains("is missing"), "{out}");
    }
    assert_eq!(run(&["-"], b"nothing\n").status.code(), Some(0));
    assert_eq!(run(&["-", "--open", "1"], b"").status.code(), Some(2));
    assert_eq!(run(&["/nowhere"], b"").status.code(), Some(1));
}
