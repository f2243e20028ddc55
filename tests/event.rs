//! One logged decision, found by the id that a customer has: in words, and as a letter.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use waybill::cli::capture::Capture;
use waybill::decision::event::Ledger;
use waybill::decision::{Screen, Worker};
use waybill::terms::names::digest;

const SCRIPT: &str = "<script>alert(1)</script>";

fn config() -> String {
    let customer = |id: &str, status: &str| {
        let key = format!("sha256:{}", digest(id.as_bytes()));
        json!({"id": id, "status": status, "credentials": [key], "ownership": "clear",
            "screening": {"status": "passed"}, "declared": ["SG"]})
    };
    json!({"version": 1, "node": {"id": "a.example"},
        "register": {"customers": [customer("c-1", "suspended"), customer("c-2", "active")]},
        "identity": {"sources": [{"header": "x-api-key"}, {"bearer": true}]},
        "disclosure": {"operator": "Acme <Ltd> & Co", "contact": "compliance@acme.example",
            "appeal_url": "https://acme.example/appeal?a=1&b=2"}})
    .to_string()
}

/// A folder with a log, a configuration and a register.
struct Desk {
    folder: PathBuf,
    events: Vec<String>,
}

impl Desk {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(folder.join("register")).unwrap();
        let screen = Screen::parse(&config()).unwrap();
        let mut ledger = Ledger::new(0xdead);
        let (key, bearer) = (("x-api-key", "c-1"), ("authorization", "Bearer c-2"));
        let requests: [&[(&str, &str)]; 4] = [&[key], &[key, bearer], &[], &[bearer]];
        let decide = |headers: &&[(&str, &str)]| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| [name, value]).collect();
            let request = json!({"method": "POST", "path": "/v1/messages", "time": 1_795_000_000,
                "direct_peer": "203.0.113.77", "headers": headers});
            let owned = Capture::parse(&request.to_string()).unwrap().complete();
            let (request, mut worker) = (owned.request(), Worker::default());
            let decision = screen.decide(&request, None, &mut worker, ledger.next_id()).unwrap();
            String::from_utf8(ledger.write(&decision).to_vec()).unwrap()
        };
        let events: Vec<String> = requests.iter().map(decide).collect();
        let desk = Self { folder, events };
        desk.write("config.json", config().as_bytes());
        let named = json!({"id": "c-1", "name": SCRIPT, "ownership": "clear"});
        desk.write("register/customers.json", json!({"customers": [named]}).to_string().as_bytes());
        desk.write("log", desk.log().as_bytes());
        desk
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.folder.join(name), bytes).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn log(&self) -> String {
        let line = |event: &str, request: &str, provider: Value| {
            json!({"event": event, "status": 403, "duration_ms": 2, "request_id": request,
                "provider_request_id": provider, "method": "POST", "path": "/v1/messages"})
            .to_string()
        };
        let [refused, conflict, missing, passed] = self.events.as_slice() else {
            panic!("four events")
        };
        [
            "[2026] started".to_owned(),
            line(refused, "same", Value::Null),
            line(conflict, "c-\"\u{e9}\u{1}\u{1b}[31m", Value::Null),
            json!({"event": null, "status": 400, "request_id": "early"}).to_string(),
            line(missing, &self.id(3), Value::Null),
            line(passed, "same", "prov-3".into()),
        ]
        .join("\n")
    }

    fn id(&self, event: usize) -> String {
        let event: Value = serde_json::from_str(&self.events[event]).unwrap();
        event["id"].as_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        let log = std::fs::File::open(self.folder.join("log")).unwrap();
        command.args(arguments).current_dir(&self.folder).stdin(log).output().unwrap()
    }

    /// What a verb that succeeds prints.
    fn printed(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        let errors = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {errors}");
        String::from_utf8(done.stdout).unwrap()
    }

    fn answer(&self, id: &str, files: &[&str]) -> Value {
        let arguments = [&["event", id], files, &["--json"]].concat();
        serde_json::from_str(&self.printed(&arguments)).unwrap()
    }
}

#[test]
fn every_id_and_form_finds_the_event() {
    let desk = Desk::new("event-forms");
    let log = desk.log();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(log.as_bytes()).unwrap();
    desk.write("log.gz", &gzip.finish().unwrap());
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    desk.write("log.zst", &ruzstd::encoding::compress_to_vec(log.as_bytes(), level));
    desk.write("empty", b"");
    let (bare, objects): (Vec<String>, Vec<String>) =
        desk.events.iter().map(|it| (it.clone(), format!("{{\"event\": {it}}}"))).unzip();
    desk.write("bare", bare.join("\n").as_bytes());
    desk.write("objects", objects.join("\n").as_bytes());
    let id = desk.id(0);
    for files in [
        &["log"][..],
        &["log.gz"],
        &["log.zst"],
        &["-"],
        &["bare"],
        &["objects"],
        &["empty", "log"],
    ] {
        let answer = desk.answer(&id, files);
        assert_eq!(answer["event"], serde_json::from_str::<Value>(&desk.events[0]).unwrap());
        let finding = &answer["explained"][0];
        assert_eq!(finding["code"], "customer.suspended", "{files:?}");
        assert_eq!(finding["title"], "the customer's account is suspended");
        assert_eq!(finding["action"], "block");
        assert_eq!(finding["evidence"], "status suspended");
        assert_eq!(finding["clear"], "set `status` to `active`.");
        assert_eq!(answer["more"], json!([]));
    }
    assert_eq!(desk.answer("prov-3", &["log"])["event"]["id"], desk.id(3).as_str());
    let quoted = desk.answer("c-\"\u{e9}\u{1}\u{1b}[31m", &["log"]);
    assert_eq!(quoted["event"]["id"], desk.id(1).as_str());
}

/// A client may choose its `x-request-id`: all are shown, and the node's own id comes first.
#[test]
fn several_events_are_all_shown() {
    let desk = Desk::new("event-several");
    let answer = desk.answer("same", &["log", "log"]);
    assert_eq!(answer["more"].as_array().unwrap().len(), 3);
    let answer = desk.answer(&desk.id(3), &["log"]);
    assert_eq!(answer["event"]["id"], desk.id(3).as_str());
    assert_eq!(answer["more"][0]["event"]["id"], desk.id(2).as_str());
    let text = desk.printed(&["event", "same", "log"]);
    assert!(text.starts_with("2 events have this id."), "{text}");
    assert!(text.contains(&desk.id(0)) && text.contains(&desk.id(3)), "{text}");
}

#[test]
fn an_unknown_id_exits_1() {
    let desk = Desk::new("event-unknown");
    let says = |arguments: &[&str], status: i32, words: &str| {
        let done = desk.run(arguments);
        let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert_eq!(done.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(words), "{text}");
    };
    says(&["event", "nobody", "log"], 1, "unknown id `nobody`: no event in 6 lines has it");
    says(&["event", "early", "log"], 1, "Envoy answered this request by itself with 400");
    // neither a part of an id nor another member's value is an id
    says(&["event", "sam", "log"], 1, "unknown id");
    says(&["event", "/v1/messages", "log"], 1, "unknown id");
    says(&["event", "c-1", "log"], 1, "unknown id");
    says(&["event", "", "log"], 2, "a value is required");
    says(&["event", "same", "nowhere"], 1, "can't be read");
    let damaged = desk.log().replace("customer.suspended", "customer.unheard-of");
    desk.write("damaged", damaged.as_bytes());
    says(&["event", &desk.id(0), "damaged"], 1, "invalid event");
}

#[test]
fn an_event_in_words_fits_a_page() {
    let desk = Desk::new("event-words");
    let id = desk.id(0);
    let text = desk.printed(&["event", &id, "log", "--register", "register"]);
    for words in [
        "2026-11-18 11:06:40 UTC",
        &format!("{SCRIPT} (c-1), by the credential in header x-api-key"),
        "POST /v1/messages, answered 403 after 2 ms",
        "network 203.0.113.0/24",
        "block: the request was refused, since the customer's account is suspended",
        "evidence: status suspended",
        "to clear it: set `status` to `active`.",
        "docs/findings.md#customersuspended",
        "Not told",
    ] {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{words}: {text}");
    }
    for event in 0..desk.events.len() {
        let text = desk.printed(&["event", &desk.id(event), "log", "--config", "config.json"]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.contains("https://acme.example/appeal"), "{text}");
    }
    let text = desk.printed(&["event", &desk.id(2), "log"]);
    assert!(text.contains("whose request it was"), "{text}");
    let text = desk.printed(&["event", &id, "log", "--register", "register"]);
    assert!(text.contains("what the register said then"), "{text}");
}

#[test]
fn a_letter_holds_what_it_must_and_nothing_of_others() {
    let desk = Desk::new("letter");
    let write = |event: usize, more: &[&str]| {
        let id = desk.id(event);
        desk.printed(&[&["letter", &id, "log", "--config", "config.json"], more].concat())
    };
    let text = write(0, &["--register", "register"]);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "From: Acme <Ltd> & Co, the operator of the node a.example",
        "Contact: compliance@acme.example",
        &format!("To: {SCRIPT} (customer c-1)"),
        "Date of the decision: 2026-11-18 11:06:40 UTC",
        "Reason: customer.suspended",
        "Looked at: your entry in the operator's register",
        "What you can do: Ask the reseller why",
        "https://acme.example/appeal?a=1&b=2",
        &desk.id(0),
    ] {
        assert!(flat.contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // the other customer of a conflict, and the client's network, stay out
    let conflict = write(1, &[]);
    assert!(conflict.contains("identity.conflict"), "{conflict}");
    for (event, others) in [(0, "c-2"), (1, "c-1"), (1, "c-2"), (2, "c-1")] {
        let text = write(event, &[]);
        assert!(!text.contains(others) && !text.contains("203.0.113"), "{text}");
    }
    assert!(write(2, &[]).contains("couldn't identify"));
}

#[test]
fn a_page_of_a_letter_is_escaped_and_loads_nothing() {
    let desk = Desk::new("letter-page");
    let id = desk.id(0);
    let common = ["letter", &id, "log", "--config", "config.json", "--register", "register", "-o"];
    for name in ["out.html", "OUT.HTML"] {
        assert_eq!(desk.printed(&[&common[..], &[name]].concat()), "");
        let page = std::fs::read_to_string(desk.folder.join(name)).unwrap();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("Acme &lt;Ltd&gt; &amp; Co"), "{page}");
        assert!(page.contains("href=\"https://acme.example/appeal?a=1&amp;b=2\""), "{page}");
        for mark in ["src=", "url(", "<link", "@import", "<img"] {
            assert!(!page.contains(mark), "{mark}");
        }
        for (open, close) in [("<dl>", "</dl>"), ("<dt>", "</dt>"), ("<p>", "</p>")] {
            assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
        }
    }
    desk.printed(&[&common[..], &["out.txt"]].concat());
    let text = std::fs::read_to_string(desk.folder.join("out.txt")).unwrap();
    assert!(text.starts_with("A request of yours was refused\n"), "{text}");
    assert_eq!(desk.run(&[&common[..], &["out.pdf"]].concat()).status.code(), Some(2));
}

#[test]
fn there_is_a_letter_only_for_a_refusal_of_this_node() {
    let desk = Desk::new("letter-none");
    desk.write("other.json", config().replace("a.example", "b.example").as_bytes());
    for (id, config, words) in [
        (desk.id(3), "config.json", "wasn't refused: its verdict is `report`"),
        (desk.id(0), "other.json", "is of the node `a.example`"),
        ("same".to_owned(), "config.json", "2 events have this id"),
        ("nobody".to_owned(), "config.json", "unknown id"),
    ] {
        let done = desk.run(&["letter", &id, "log", "--config", config]);
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{error}");
        assert!(error.contains(words), "{words}: {error}");
    }
    // the same line twice is one event
    desk.printed(&["letter", &desk.id(0), "log", "log", "--config", "config.json"]);
}

/// One letter a refused customer and reason, about the latest refusal, and none a second time.
#[test]
fn letters_are_drafted_once() {
    let desk = Desk::new("event-letters");
    let event: Value = serde_json::from_str(&desk.events[0]).unwrap();
    let time = event["time"].as_str().unwrap();
    assert!(time.starts_with("2026-11-"), "{time}");
    let later = desk.events[0].replace(time, &time.replace("2026-11-", "2026-12-"));
    let later = later.replace(&desk.id(0), "00000000deadbeef-7");
    desk.write("log", format!("{later}\n{}", desk.log()).as_bytes());
    let names = || {
        let entries = std::fs::read_dir(desk.folder.join("out")).unwrap();
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let draft = |config: &str| {
        let arguments = ["letters", "log", "--config", config, "--register", "register"];
        desk.printed(&[&arguments[..], &["-o", "out"]].concat())
    };
    let name = "c-1 customer.suspended draft.html";
    let other = config().replace("a.example\"}", "b.example\"}");
    desk.write("other.json", other.as_bytes());
    assert_eq!(draft("other.json"), "0 new drafts, 0 there before\n");
    assert_eq!(draft("config.json"), format!("1 new draft, 0 there before\n  {name}\n"));
    assert_eq!(names(), [name]);
    let one = ["letter", "00000000deadbeef-7", "log", "--config", "config.json"];
    desk.printed(&[&one[..], &["--register", "register", "-o", "one.html"]].concat());
    let read = |name: &str| std::fs::read_to_string(desk.folder.join(name)).unwrap();
    let letter = format!("out/{name}");
    assert_eq!(read(&letter), read("one.html"));

    // what a person wrote or renamed stays
    desk.write(&letter, b"edited");
    let sent = letter.replace("draft", "sent 27 November");
    assert_eq!(draft("config.json"), "0 new drafts, 1 there before\n");
    std::fs::rename(desk.path(&letter), desk.path(&sent)).unwrap();
    assert_eq!(draft("config.json"), "0 new drafts, 1 there before\n");
    assert_eq!((names().len(), read(&sent).as_str()), (1, "edited"));
    std::fs::remove_file(desk.path(&sent)).unwrap();
    assert_eq!(draft("config.json"), format!("1 new draft, 0 there before\n  {name}\n"));
}

/// What traffic of days shows is told with its figures, what they mean, and what ends it.
#[test]
fn signs_of_sharing_are_told_in_words() {
    let desk = Desk::new("event-sharing");
    let evidence = "requests from countries that aren't declared on 2026-11-27 (FR 412, BR 20)";
    for (code, meaning) in [
        ("sharing.addresses", "far more networks used the credential"),
        ("sharing.countries", "in countries that the customer didn't declare"),
        ("sharing.velocity", "faster than a person travels"),
        ("sharing.clients", "programs that people sit at"),
        ("relay.suspected", "as if the customer resold its access"),
    ] {
        let event = desk.events[0].replace("customer.suspended", code);
        desk.write("shared", event.replace("status suspended", evidence).as_bytes());
        let plain = |verb: &[&str]| {
            let text = desk.printed(&[verb, &["--config", "config.json"]].concat());
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
        };
        let told = plain(&["event", &desk.id(0), "shared"]);
        let letter = plain(&["letter", &desk.id(0), "shared"]);
        for (text, parts) in [
            (&told, ["evidence: ", "it means: ", "what ends it: bind the credential to networks"]),
            (&letter, ["seen: ", "what it means: ", "what ends it: ask the operator to bind"]),
        ] {
            for part in parts.into_iter().chain([meaning, "a sign, not a proof", "with a chain"]) {
                assert!(text.contains(part), "{code}: {part}\n{text}");
            }
            assert!(text.contains(&evidence.to_lowercase()), "{code}: {text}");
        }
        assert!(letter.contains("countries: fr (france), br (brazil)"), "{letter}");
    }
}

/// Both answers fit their published schemas, and the schemas are what `waybill schema` prints.
#[test]
fn answers_fit_their_schemas() {
    let desk = Desk::new("event-schema");
    let audit = ["audit", "verify", "log", "log", "--json"];
    for (name, answer) in [
        ("explained-event", desk.answer("same", &["log"])),
        ("audit", serde_json::from_slice(&desk.run(&audit).stdout).unwrap()),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{name}.schema.json"));
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let printed: Value = serde_json::from_str(&desk.printed(&["schema", name])).unwrap();
        assert_eq!(printed, file);
        fits(&answer, &file, &file, name);
    }
}

/// Whether a value fits a schema, by the words that these schemas use.
fn fits(value: &Value, schema: &Value, root: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(value, root.pointer(name.trim_start_matches('#')).unwrap(), root, at);
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value}");
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::String(_) => "string",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Bool(_) => "boolean",
    };
    let kinds = &schema["type"];
    let is_kind = kinds == kind || kinds.as_array().is_some_and(|all| all.contains(&kind.into()));
    assert!(is_kind, "{at}: {value} isn't {kinds}");
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(item, &schema["items"], root, &format!("{at}/{index}"));
    }
    let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for name in schema["required"].as_array().unwrap() {
        assert!(members.contains_key(name.as_str().unwrap()), "{at}: missing {name}");
    }
    for (name, member) in members {
        let schema = known.get(name).unwrap_or_else(|| panic!("{at}: unknown {name}"));
        fits(member, schema, root, &format!("{at}/{name}"));
    }
}
