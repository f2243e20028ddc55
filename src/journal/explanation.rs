//! One event in words: when, who, what was decided and why, what to do, and what isn't told.

use serde::Serialize;

use super::advice::Advice;
use super::habits::HabitWords;
use super::line::LineEnvelope;
use crate::compile::countries::spelled;
use crate::config::DisclosureSettings;
use crate::decision::event::{Event, EventFinding, EventSoftware};
use crate::decision::evidence::software::OTHER;
use crate::register::{Customer, CustomerKind, Status};
use crate::terms::finding::{ActionName, FindingCode};
use crate::terms::region::CountryCode;

/// What is known beside the event.
#[derive(Debug, Clone, Copy)]
pub struct EventContext<'a> {
    /// What Envoy printed beside it
    pub envelope: &'a LineEnvelope,
    /// The customers of the register that was given
    pub register: Option<&'a [Customer]>,
    /// Of the configuration that was given: whom to turn to
    pub disclosure: Option<&'a DisclosureSettings>,
}

/// A finding of an event, with its words.
#[derive(Debug, Serialize)]
pub struct ExplainedFinding {
    /// The code
    pub code: FindingCode,
    /// The catalogue's words for it
    pub title: &'static str,
    /// What was done about it
    pub action: ActionName,
    /// The facts it rests on
    pub evidence: String,
    /// How the operator clears it
    pub clear: String,
}

/// A line of the explanation: a label, or none for a line that belongs to the one before.
#[derive(Debug, PartialEq, Eq)]
pub struct ExplanationLine {
    /// What the line is about
    pub label: &'static str,
    /// The words
    pub text: String,
}

/// The findings with their words.
pub fn explained(event: &Event<'_>) -> Vec<ExplainedFinding> {
    let explain = |finding: &EventFinding<'_>| ExplainedFinding {
        code: finding.code,
        title: finding.code.title(),
        action: finding.action,
        evidence: finding.evidence.to_string(),
        clear: Advice::on(finding.code).clear,
    };
    event.findings.iter().map(explain).collect()
}

/// The event in words.
pub fn explanation(event: &Event<'_>, context: &EventContext<'_>) -> Vec<ExplanationLine> {
    let mut lines = Vec::new();
    let mut say = |label, text: String| lines.push(ExplanationLine { label, text });
    say("Event", event.id.to_string());
    say("When", moment(&event.time.0));
    say("Who", who(event, context.register));
    let snapshot = event.snapshot.0.as_ref().map(|it| format!(", snapshot {}", it.0));
    let snapshot = snapshot.unwrap_or_default();
    say("Node", format!("{}, policy {}, mode {}{snapshot}", event.node, event.policy, event.mode));
    let envelope = context.envelope;
    if let Some(answer) = answer(envelope) {
        say("Request", answer);
    }
    let ids = [
        ("x-request-id", &envelope.request_id),
        ("the provider's id", &envelope.provider_request_id),
    ];
    for (name, id) in ids.into_iter().filter_map(|(name, id)| Some((name, id.as_ref()?))) {
        say("", format!("{name} {id}"));
    }
    say("From", from(event));
    if let Some(EventSoftware { sdk, version, os }) = &event.software {
        let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let system = if os.0 == OTHER { String::new() } else { format!(" on {os}") };
        let program = if sdk.0 == OTHER { "not in the table of programs" } else { &sdk.0 };
        say("Program", format!("{program}{version}{system}"));
    }
    if let Some(chain) = &event.chain.0 {
        say("Chain", format!("worth {chain}"));
        for hop in event.hops.iter().flatten() {
            let customer = hop.customer.0.as_ref();
            let customer = customer.map_or("an unknown customer".to_owned(), ToString::to_string);
            let proof = if hop.proven { "proven" } else { "not proven" };
            say("", format!("{} for {customer}, {}: {proof}", hop.node, hop.attest));
        }
    }
    say("Verdict", verdict(event));
    if event.findings.is_empty() {
        say("Findings", "none".to_owned());
    }
    for finding in explained(event) {
        let ExplainedFinding { code, title, action, evidence, clear } = finding;
        say("Finding", format!("{code} ({action}): {title}"));
        say("", format!("evidence: {evidence}"));
        if let Some(HabitWords { meaning, ends, .. }) = HabitWords::on(code) {
            say("", format!("it means: {meaning}. It is a sign, not a proof"));
            say("", format!("what ends it: {ends}"));
        }
        say("", format!("to clear it: {clear}"));
        say("", format!("read more: docs/findings.md#{}", code.anchor()));
    }
    say("Appeal", appeal(context.disclosure));
    for gap in gaps(event, context) {
        say("Not told", gap);
    }
    lines
}

/// What the event and its line don't say.
pub fn gaps(event: &Event<'_>, context: &EventContext<'_>) -> Vec<String> {
    let mut gaps = Vec::new();
    let mut lack = |applies: bool, gap: &str| {
        if applies {
            gaps.push(gap.to_owned());
        }
    };
    let envelope = context.envelope;
    let names_nobody = event.customer.0.is_none();
    lack(names_nobody, "whose request it was: no customer, or more than one, was named");
    lack(
        !names_nobody && event.credential.0.is_none(),
        "whether the request is this customer's: the signature that names it wasn't accepted",
    );
    lack(event.origin.0.is_none(), "the country of the client's address: no source knew it");
    lack(event.address.0.is_none(), "the client's network: the address wasn't known");
    lack(envelope.status.is_none(), "the status of the answer: the log format lacks `status`");
    lack(envelope.path.is_none(), "method and path: the log format lacks them");
    lack(
        event.findings.iter().any(|finding| finding.evidence.0.contains("reported by ")),
        "what an earlier node's finding rests on: that node's own event has it",
    );
    lack(
        context.register.is_some(),
        "what the register said then: the name is from the register that was given",
    );
    lack(true, "the whole address, the credential, and what the request said: no event has them");
    gaps
}

/// `2026-11-18T11:06:40.000Z` as `2026-11-18 11:06:40 UTC`.
pub fn moment(time: &str) -> String {
    let (day, clock) = time.split_once('T').unwrap_or((time, ""));
    format!("{day} {} UTC", clock.split(['.', 'Z']).next().unwrap_or_default())
}

fn who(event: &Event<'_>, register: Option<&[Customer]>) -> String {
    let Some(id) = &event.customer.0 else {
        return "not known: no customer, or more than one, was named".to_owned();
    };
    let record = register.map(|all| all.iter().find(|it| it.id.as_str() == id.0));
    let named = match record {
        None => id.to_string(),
        Some(None) => format!("{id} (not in the register that was given)"),
        Some(Some(customer)) => {
            let kind = match customer.kind {
                CustomerKind::Customer => "",
                CustomerKind::Reseller => ", a reseller",
            };
            let status = match customer.status {
                Status::Active => "",
                Status::Suspended => ", suspended today",
            };
            match &customer.name {
                Some(name) => format!("{name} ({id}{kind}{status})"),
                None => format!("{id}{kind}{status}"),
            }
        }
    };
    match &event.credential.0 {
        Some(credential) => {
            let label = credential.label.as_ref().map(|label| format!(", labelled `{label}`"));
            let label = label.unwrap_or_default();
            format!("{named}, by the credential in {}{label}", credential.source)
        }
        None => format!("{named}, by a signature that wasn't accepted"),
    }
}

fn answer(envelope: &LineEnvelope) -> Option<String> {
    let LineEnvelope { status, duration_ms, method, path, .. } = envelope;
    let target = [method, path].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let status = status.map(|status| match status {
        0 => "the client hung up before an answer".to_owned(),
        status => format!("answered {status}"),
    });
    let duration = duration_ms.map(|duration| format!("after {duration} ms"));
    let answer = [status, duration].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let parts: Vec<String> = [target, answer].into_iter().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn from(event: &Event<'_>) -> String {
    let country = |country: CountryCode| spelled(country.as_str());
    let mut text = format!("country {}", event.origin.0.map_or("not known".to_owned(), country));
    if let Some(user) = event.user.0 {
        text.push_str(&format!(", the person in {} by the customer's word", country(user)));
    }
    if let Some(address) = &event.address.0 {
        text.push_str(&format!(", network {address}"));
    }
    if let Some(network) = &event.network.0 {
        text.push_str(&format!(" ({network})"));
    }
    if let Some(system) = &event.asn {
        text.push_str(&format!(", autonomous system AS{}", system.0));
    }
    text
}

fn verdict(event: &Event<'_>) -> String {
    let done = match event.verdict {
        ActionName::Allow => "allow: the request passed".to_owned(),
        ActionName::Report => "report: the request passed, and is reported".to_owned(),
        ActionName::Reroute => {
            let route = event.route.0.as_ref().map(|route| format!(" `{route}`"));
            format!("reroute: the request was sent to the route{}", route.unwrap_or_default())
        }
        ActionName::Block => "block: the request was refused".to_owned(),
    };
    let reason = event.reason.0.map(|code| format!(", since {} ({code})", code.title()));
    let would_be = event.would_be.0.as_ref().map(|would_be| {
        format!(". Mode {} softened it: mode enforce would have said {would_be}", event.mode)
    });
    [done, reason.unwrap_or_default(), would_be.unwrap_or_default()].concat()
}

fn appeal(disclosure: Option<&DisclosureSettings>) -> String {
    let Some(disclosure) = disclosure else {
        return "at the address in the refusal's text and in its header `link`; \
                `disclosure.appeal_url` of the node's configuration (`--config` prints it)"
            .to_owned();
    };
    let url = disclosure.appeal_url.as_ref().map(|url| url.as_str().to_owned());
    let contact = disclosure.contact.as_ref().map(|contact| format!("contact {contact}"));
    let ways: Vec<String> = [url, contact].into_iter().flatten().collect();
    if ways.is_empty() {
        return "the configuration has neither `disclosure.appeal_url` nor `contact`".to_owned();
    }
    ways.join("; ")
}
