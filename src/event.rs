//! Events: one JSON document for each decision, chained so that a missing or altered line shows.
//!
//! The shape is published in `docs/event.schema.json`. Addresses are cut to /24 and /48, and nothing of
//! a body, a credential or a name is in it. Each event carries the digest of the one before from the same
//! VM; that shows what was removed from the middle, not what somebody rewrote altogether.
//!
//! An event is written on every request, so it is written straight into one buffer that is used again,
//! with the date of the second kept; serde's serializer took twice as long.

use sha2::Digest as _;

use crate::evidence::address;
use crate::finding::Action;
use crate::names::{UnixSeconds, hex};
use crate::receipt::Receipt;
use crate::region::Place;
use crate::request::Time;
use crate::screen::Decision;
use crate::snapshot::NetworkClass;

/// The events of one VM: who it is, how many there were, and the digest of the last.
#[derive(Debug)]
pub struct Ledger {
    vm: String,
    seq: u64,
    prev: Option<String>,
    line: Line,
    second: (UnixSeconds, String),
}

/// The beginning of a further member, as one text: each piece that is appended costs the same, long or short.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// A line of JSON while it is written.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Ledger {
    /// The ledger of a VM that nobody else has the number of.
    pub fn new(vm: u64) -> Self {
        Self {
            vm: hex(&vm.to_be_bytes()),
            seq: 0,
            prev: None,
            line: Line::default(),
            second: (UnixSeconds(i64::MIN), String::new()),
        }
    }

    /// The id of the next event.
    pub fn next_id(&self) -> String {
        let mut id = String::with_capacity(self.vm.len().saturating_add(21));
        id.push_str(&self.vm);
        id.push('-');
        id.push_str(decimal(self.seq, &mut [0; 20]));
        id
    }

    /// Writes the event of a decision and moves on to the next.
    pub fn write(&mut self, decision: &Decision<'_>) -> &[u8] {
        let country = |place: Option<Place>| place.map(|place| place.country);
        let (user, origin) =
            (country(decision.case.geography.user), country(decision.case.geography.origin));
        let address = decision.case.evidence.client.map(address::cut);
        let verdict = &decision.verdict;
        let seconds = decision.time.seconds();
        if self.second.0 != seconds {
            let text = seconds.to_string();
            self.second = (seconds, text.strip_suffix('Z').unwrap_or(&text).to_owned());
        }

        let line = &mut self.line;
        line.0.clear();
        line.raw("{\"schema\":1,\"id\":\"")
            .raw(&decision.id)
            .raw("\",\"time\":\"")
            .raw(&self.second.1);
        line.milliseconds(decision.time).raw("Z\"");
        line.text(member!("node"), decision.case.config.node.id.as_str());
        line.optional(member!("customer"), decision.customer());
        match decision.case.identity.caller() {
            None => line.raw(",\"credential\":null"),
            Some(caller) => {
                line.raw(",\"credential\":{\"source\":")
                    .string(decision.case.config.source_name(caller.source));
                caller.label().into_iter().for_each(|label| line.text(member!("label"), label));
                line.raw("}")
            }
        };
        line.text(member!("mode"), decision.case.config.policy.mode.as_str());
        line.text(member!("verdict"), verdict.action.as_str());
        line.optional(member!("would_be"), verdict.would_be.as_ref().map(Action::as_str));
        line.optional(member!("route"), decision.route());
        line.optional(member!("reason"), verdict.reason.map(|code| code.as_str()));
        line.raw(",\"findings\":[");
        for (i, weighed) in decision.weighed.iter().enumerate() {
            line.raw(if i > 0 { ",{\"code\":" } else { "{\"code\":" })
                .string(weighed.finding.code.as_str());
            line.text(member!("action"), weighed.action.as_str());
            line.text(member!("evidence"), &weighed.finding.evidence);
            line.raw("}");
        }
        line.raw("]");
        line.optional(member!("user"), user.as_ref().map(|country| country.as_str()));
        line.optional(member!("origin"), origin.as_ref().map(|country| country.as_str()));
        line.optional(member!("address"), address.as_deref());
        line.optional(
            member!("network"),
            decision.case.geography.network.map(NetworkClass::as_str),
        );
        line.chain(&decision.case.receipt);
        line.text(member!("policy"), &decision.case.config.policy.revision);
        match decision.snapshot {
            Some(sequence) => line.raw(",\"snapshot\":").number(sequence),
            None => line.raw(",\"snapshot\":null"),
        };
        line.text(member!("vm"), &self.vm);
        line.raw(",\"seq\":").number(self.seq);
        line.optional(member!("prev"), self.prev.as_deref());
        line.raw("}");

        self.prev = Some(hex(&sha2::Sha256::digest(&line.0)));
        self.seq = self.seq.saturating_add(1);
        &self.line.0
    }
}

impl Line {
    /// Text that is JSON already.
    fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A string; most need no escapes.
    fn string(&mut self, text: &str) -> &mut Self {
        if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
            return self;
        }
        self.raw(&serde_json::to_string(text).unwrap_or_default())
    }

    /// A further [`member`] whose value is a string.
    fn text(&mut self, member: &'static str, value: &str) {
        self.raw(member).string(value);
    }

    fn optional(&mut self, member: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(member, value),
            None => {
                self.raw(member).raw("null");
            }
        }
    }

    /// What a verified chain is worth, and who stands in it.
    fn chain(&mut self, receipt: &Receipt) {
        let Some(proof) = receipt.proof() else {
            self.raw(",\"chain\":null");
            return;
        };
        self.text(member!("chain"), proof.worth().as_str());
        self.raw(",\"hops\":[");
        for (i, (hop, proof)) in proof.hops().enumerate() {
            self.raw(if i > 0 { ",{\"node\":" } else { "{\"node\":" }).string(&hop.node);
            self.optional(member!("customer"), hop.customer.as_deref());
            self.text(member!("attest"), hop.attest.as_str());
            self.raw(if proof.is_ok() { ",\"proven\":true}" } else { ",\"proven\":false}" });
        }
        self.raw("]");
    }

    fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20];
        self.raw(decimal(number, &mut digits))
    }

    /// The milliseconds of a time, with the point.
    fn milliseconds(&mut self, time: Time) -> &mut Self {
        let digit = |unit: u64| {
            b'0'.saturating_add(
                u8::try_from(time.0.checked_div(unit).unwrap_or(0) % 10).unwrap_or(0),
            )
        };
        self.0.extend_from_slice(&[b'.', digit(100_000_000), digit(10_000_000), digit(1_000_000)]);
        self
    }
}

/// A number's decimal digits, at the end of `digits`.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut used: usize = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(number % 10).unwrap_or(0));
        used = used.saturating_add(1);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let unused = digits.len().saturating_sub(used);
    std::str::from_utf8(digits.get(unused..).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::screen::{Screen, Worker};

    /// What is written by hand is JSON, has the published members, and each event the digest of the one before.
    #[test]
    fn events_are_json_and_chained() {
        let screen = Screen::parse(include_str!("../tests/corpus/config/valid/full.json")).unwrap();
        let request = r#"{"method": "GET", "path": "/", "headers": [["x-api-key", "a"], ["x_waybill_\"", "1"]], "time": 1795000000}"#;
        let owned = Capture::parse(request).unwrap().complete();
        let mut ledger = Ledger::new(0xfeed);
        let mut prev = None;
        for seq in 0..3 {
            let decision =
                screen.decide(&owned.request(), None, &mut Worker::default(), ledger.next_id());
            let line = ledger.write(&decision).to_vec();
            let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(event["seq"], seq);
            assert_eq!(event["id"], format!("000000000000feed-{seq}"));
            assert_eq!(event["time"], "2026-11-18T11:06:40.000Z");
            assert_eq!(event["customer"], "c-1042");
            assert_eq!(event["prev"], serde_json::json!(prev));
            prev = Some(hex(&sha2::Sha256::digest(&line)));
        }
    }

    #[test]
    fn numbers_and_strings_are_written_as_serde_writes_them() {
        for number in [0, 7, 10, 1_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
        for text in ["", "plain", "quo\"te", "back\\slash", "line\nfeed", "é", "\u{7f}"] {
            let mut line = Line::default();
            line.string(text);
            assert_eq!(String::from_utf8(line.0).unwrap(), serde_json::to_string(text).unwrap());
        }
    }
}
