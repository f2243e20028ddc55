//! The events of one VM, each with the digest of the one before.

use sha2::{Digest as _, Sha256};

use super::record::{
    CutAddress, Event, EventCredential, EventDigest, EventFinding, EventHop, EventSoftware,
    EventText,
};
use crate::decision::Decision;
use crate::decision::evidence::address;
use crate::decision::evidence::software::{OTHER, Software};
use crate::decision::receipt::Receipt;
use crate::decision::request::Time;
use crate::shape::{DIGITS, Integer, JsonWriter, Nullable, Shape as _, decimal};
use crate::terms::finding::Action;
use crate::terms::names::{hex, push_hex};
use crate::terms::time::UnixSeconds;

/// The events of one VM: its number, how many there were, and the digest of the last.
#[derive(Debug)]
pub struct Ledger {
    vm: String,
    seq: u64,
    /// The digest of the last event; empty before the first
    prev: String,
    clock: EventClock,
    line: JsonWriter,
}

/// The time of the last event as text. Its date is formatted once a second.
#[derive(Debug)]
struct EventClock {
    second: UnixSeconds,
    text: String,
    /// Length of the text up to the second
    date: usize,
}

impl Ledger {
    /// The ledger of a VM, whose number no other VM has.
    pub fn new(vm: u64) -> Self {
        Self {
            vm: hex(&vm.to_be_bytes()),
            seq: 0,
            prev: String::new(),
            clock: EventClock { second: UnixSeconds(i64::MIN), text: String::new(), date: 0 },
            line: JsonWriter::default(),
        }
    }

    /// The id of the next event.
    pub fn next_id(&self) -> String {
        let mut id = String::with_capacity(self.vm.len().saturating_add(1).saturating_add(DIGITS));
        id.push_str(&self.vm);
        id.push('-');
        id.push_str(decimal(self.seq, &mut [0; DIGITS]));
        id
    }

    /// Writes the event of a decision and moves on to the next.
    pub fn write(&mut self, decision: &Decision<'_>) -> &[u8] {
        let Self { vm, seq, prev, clock, line } = self;
        let (case, verdict) = (&decision.case, &decision.verdict);
        let address = case.evidence.client.map(address::cut);
        let hops = hops(&case.receipt);
        let event = Event {
            schema: Integer(1),
            id: decision.id.as_str().into(),
            time: clock.text_of(decision.time).into(),
            node: case.config.node.id.as_str().into(),
            customer: text(decision.customer()),
            credential: Nullable(case.identity.caller().map(|caller| EventCredential {
                source: case.config.source_name(caller.source).into(),
                label: caller.label().map(EventText::from),
            })),
            mode: case.config.policy.mode,
            verdict: verdict.action.name(),
            would_be: Nullable(verdict.would_be.as_ref().and_then(Action::intervention)),
            route: text(decision.route()),
            reason: Nullable(verdict.reason),
            findings: decision
                .weighed
                .iter()
                .map(|weighed| EventFinding {
                    code: weighed.finding.code,
                    action: weighed.action.name(),
                    evidence: weighed.finding.evidence.as_str().into(),
                })
                .collect(),
            user: Nullable(case.geography.user.map(|place| place.country)),
            origin: Nullable(case.geography.origin.map(|place| place.country)),
            address: Nullable(address.as_deref().map(CutAddress::from)),
            network: Nullable(case.geography.network),
            asn: case.origin.asn.map(|asn| Integer(asn.into())),
            software: Some(software(&case.evidence.software)),
            chain: Nullable(case.receipt.proof().map(|proof| proof.worth())),
            hops,
            policy: case.config.policy.revision.as_str().into(),
            snapshot: Nullable(decision.snapshot.map(Integer)),
            vm: vm.as_str().into(),
            seq: Integer(*seq),
            prev: Nullable(Some(prev.as_str()).filter(|it| !it.is_empty()).map(EventDigest::from)),
        };
        line.clear();
        event.write(line);

        prev.clear();
        push_hex(&Sha256::digest(line.as_bytes()), prev);
        *seq = seq.saturating_add(1);
        line.as_bytes()
    }
}

fn software<'a>(software: &Software<'a>) -> EventSoftware<'a> {
    EventSoftware {
        sdk: software.sdk.unwrap_or(OTHER).into(),
        version: software.version,
        os: software.os().unwrap_or(OTHER).into(),
    }
}

fn text(text: Option<&str>) -> Nullable<EventText<'_>> {
    Nullable(text.map(EventText::from))
}

/// The nodes of a verified chain.
fn hops(receipt: &Receipt) -> Option<Vec<EventHop<'_>>> {
    let proof = receipt.proof()?;
    let hops = proof.hops().map(|(hop, proof)| EventHop {
        node: hop.node.as_str().into(),
        customer: text(hop.customer.as_deref()),
        attest: hop.attest,
        proven: proof.is_ok(),
    });
    Some(hops.collect())
}

impl EventClock {
    fn text_of(&mut self, time: Time) -> &str {
        let second = time.seconds();
        if self.second != second {
            self.text = second.to_string();
            self.date = self.text.strip_suffix('Z').unwrap_or(&self.text).len();
            self.second = second;
        }
        let digit = |unit: u64| {
            let digit = time.0.checked_div(unit).unwrap_or(0) % 10;
            b'0'.saturating_add(u8::try_from(digit).unwrap_or(0))
        };
        let rest = [b'.', digit(100_000_000), digit(10_000_000), digit(1_000_000), b'Z'];
        self.text.truncate(self.date);
        self.text.push_str(std::str::from_utf8(&rest).unwrap_or_default());
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::cli::capture::Capture;
    use crate::decision::event::record::Event;
    use crate::decision::{Screen, Worker};
    use crate::shape::to_text;
    use crate::terms::names::digest;

    /// Each event is JSON that reads back, and has the digest of the one before.
    #[test]
    fn events_are_json_and_chained() {
        let screen =
            Screen::parse(include_str!("../../../tests/corpus/config/valid/full.json")).unwrap();
        let request = r#"{"method": "GET", "path": "/", "time": 1795000000,
            "headers": [["x-api-key", "a"], ["x_waybill_\"", "1"]]}"#;
        let owned = Capture::parse(request).unwrap().complete();
        let mut ledger = Ledger::new(0xfeed);
        let mut prev = None;
        for seq in 0..3 {
            let (request, mut worker) = (owned.request(), Worker::default());
            let decision = screen.decide(&request, None, &mut worker, ledger.next_id()).unwrap();
            let line = ledger.write(&decision).to_vec();
            let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(
                to_text(&Event::parse(std::str::from_utf8(&line).unwrap()).unwrap()).as_bytes(),
                line
            );
            assert_eq!(event["seq"], seq);
            assert_eq!(event["id"], format!("000000000000feed-{seq}"));
            assert_eq!(event["time"], "2026-11-18T11:06:40.000Z");
            assert_eq!(event["customer"], "c-1042");
            assert_eq!(event["prev"], serde_json::json!(prev));
            prev = Some(digest(&line));
        }
    }
}
