//! What a request costs grows at most linearly with what its caller sends: of any grammar, twice as
//! much of it takes little more than twice the memory, and sixteen times as much far less than its
//! square in time.
//!
//! Memory is counted by the allocator, exactly. Time is compared with itself in one run: a grammar
//! that costs its square is 256 times as slow where a linear one is 16 times, and what else runs
//! can only add, so the least of a few counts.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use cpu_time::ThreadTime;
use proptest::prelude::*;
use waybill::decision::request::{Request, Time, TlsNames};
use waybill::decision::{Screen, Worker};

const CONFIG: &str = include_str!("corpus/config/valid/full.json");

/// The system's allocator, which counts for each thread how many bytes were asked for.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls go on to the system's allocator as they are
#[expect(unsafe_code, reason = "an allocator can't be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ends = ASKED.try_with(|asked| asked.set(asked.get() + layout.size()));
        // SAFETY: as the caller promises
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where a caller's text is parsed, and by which grammar.
const PLACES: &[&str] = &[
    ":path",
    ":query",
    "x-forwarded-for",
    "forwarded",
    "authorization",
    "x-api-key",
    "sec-websocket-protocol",
    "connection",
    "signature-input",
    "signature",
    "compliance-tag",
    "compliance-chain",
    "compliance-trail",
    "x-user-country",
    "anthropic-beta",
    "user-agent",
    "x-stainless-os",
    "via",
    ":names",
    ":lines",
];

/// Pieces of all these grammars.
const PIECES: &str = r#"25|%25|%2|%|25|/|\.\./|\.|;|\?|&|=|key=a&|k%65y=|,|, |"|\\|127\.0\.0\.1|unknown|\[::1\]:1|for=|for=1\.2\.3\.4;by=|Bearer |Bearer a,|Basic a, |Digest a="b", |openai-insecure-api-key\.a|compliance-tag|Upgrade|cmp=|cmp=\("a"\)|\("a" "b"\)|:AA==:|;tag="llm-reseller-compliance"|;attest=full|\(|\)|a=1|"a"|%"|_|tensorzer|curl/8\.5 |langchain|google-genai-sdk/1|mac |github\.com/veloera/|x"#;

/// A request with this much of a piece in a place, behind another one: `%` and then `25` again and
/// again is one escape in another in another.
fn headers(place: &str, (first, piece): (&str, &str), length: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = first.to_owned() + &piece.repeat(length.div_ceil(piece.len()));
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> =
        vec![(b":method".into(), b"POST".into()), (b":authority".into(), b"a.example".into())];
    let path = match place {
        ":path" => format!("/{text}"),
        ":query" => format!("/v1/messages?{text}"),
        _ => "/v1/messages".to_owned(),
    };
    headers.push((b":path".into(), path.into()));
    headers.push((b"x-api-key".into(), b"a".into()));
    headers.push((b"upgrade".into(), b"websocket".into()));
    match place {
        ":path" | ":query" => {}
        // many headers: names of the node's own, and lines of one name
        ":names" => headers
            .extend((0..length / 20).map(|i| (format!("x-waybill-{i}").into(), piece.into()))),
        ":lines" => {
            headers.extend((0..length / 20).map(|_| (b"x-user-country".to_vec(), b"CN".to_vec())))
        }
        _ => headers.push((place.into(), text.into())),
    }
    headers
}

fn pieces(count: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("({PIECES}){{{},{}}}", count.start, count.end - 1))
        .unwrap()
}

/// Decides a request. Returns the bytes that it allocated and the processor time that it took:
/// other work on the machine doesn't count.
fn cost(screen: &Screen, headers: &[(Vec<u8>, Vec<u8>)]) -> (usize, Duration) {
    let request = Request {
        headers: headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect(),
        direct_peer: Some(b"10.0.0.1"),
        envoy_client: Some(b"10.0.0.1"),
        tls: TlsNames::default(),
        claims: Vec::new(),
        time: Time(1_795_000_000_000_000_000),
    };
    let (before, start) = (ASKED.get(), ThreadTime::now());
    drop(screen.decide(&request, None, &mut Worker::default(), String::new()));
    (ASKED.get() - before, start.elapsed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn twice_as_much_takes_twice_the_memory(
        place in proptest::sample::select(PLACES),
        first in pieces(0..2),
        piece in pieces(1..5),
    ) {
        let screen = Screen::parse(CONFIG).unwrap();
        let (short, _) = cost(&screen, &headers(place, (&first, &piece), 8_000));
        let (long, _) = cost(&screen, &headers(place, (&first, &piece), 16_000));
        prop_assert!(long <= short * 5 / 2 + 20_000, "{place} {first:?} {piece:?}: {short} bytes, then {long}");
        // ten readings of a path at most, lists of slices, what is kept of a signature
        prop_assert!(long <= 16_000 * 60, "{place} {first:?} {piece:?}: {long} bytes");
    }
}

#[test]
fn an_escape_in_an_escape_costs_no_more_than_a_plain_path() {
    let screen = Screen::parse(CONFIG).unwrap();
    let (nested, _) = cost(&screen, &headers(":path", ("%", "25"), 60_000));
    assert!(nested <= 60_000 * 30, "{nested} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn much_more_takes_no_square_of_the_time(
        place in proptest::sample::select(PLACES),
        first in pieces(0..2),
        piece in pieces(1..5),
    ) {
        let screen = Screen::parse(CONFIG).unwrap();
        let least = |length, tries| {
            let headers = headers(place, (&first, &piece), length);
            (0..tries).map(|_| cost(&screen, &headers).1).min().unwrap()
        };
        let mut ratios = (0..8)
            .map(|_| least(64_000, 3).as_secs_f64() / least(4_000, 9).as_secs_f64().max(20e-6));
        prop_assert!(ratios.any(|ratio| ratio < 64.0), "{place} {first:?} {piece:?}: sixteen times as much takes more than 64 times as long");
    }
}
