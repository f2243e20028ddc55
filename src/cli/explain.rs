//! `waybill explain`: one request, decided on the desk as the node would decide it.

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arrival::EnvoyAnswer;
use super::error::CommandError;
use super::input::{RequestArguments, RequestCase};
use super::output::{print, print_json};
use super::verify_tag::hops_as_json;
use crate::cli::capture::text_or_hex;
use crate::decision::Decision;
use crate::decision::identity::Identity;
use crate::decision::outcome::{Outcome, apply};
use crate::decision::receipt::Receipt;
use crate::decision::request::Request;
use crate::terms::finding::Action;
use crate::terms::names::printable;

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    request: RequestArguments,
    /// Say the verdict by the exit status: 1 for block, or where Envoy answers by itself; 0 for
    /// allow, report and reroute
    #[arg(long)]
    fail: bool,
}

pub(super) fn run(arguments: &ExplainArguments) -> Result<ExitCode, CommandError> {
    let is_json = arguments.request.json;
    let RequestCase { node, request: owned, mut gaps } = arguments.request.load()?;
    let refused = if arguments.fail { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let owned = match owned {
        Ok(owned) => owned,
        Err(answer) => {
            if is_json {
                print_json(&answer_as_json(&answer, &gaps));
            } else {
                print(&format!("{}{}", first_line(&gaps), answer_as_text(&answer)));
            }
            return Ok(refused);
        }
    };
    let mut worker = node.worker(&mut gaps)?;
    let request = owned.request();
    let decision = node
        .screen
        .decide(&request, node.snapshot.as_ref(), &mut worker, "explain".to_owned())
        .map_err(CommandError::new)?;
    if is_json {
        print_json(&as_json(&decision, &request, &gaps));
    } else {
        print(&format!("{}{}", first_line(&gaps), as_text(&decision, &request)));
    }
    Ok(match decision.verdict.action {
        Action::Block => refused,
        Action::Allow | Action::Report | Action::Reroute(_) => ExitCode::SUCCESS,
    })
}

/// What the answer lacks.
fn first_line(gaps: &[String]) -> String {
    if gaps.is_empty() { String::new() } else { format!("note: {}\n\n", gaps.join("; ")) }
}

fn answer_as_text(EnvoyAnswer { status, why }: &EnvoyAnswer) -> String {
    format!("Envoy answers {status} by itself: {why}. The request doesn't reach the node.\n")
}

/// The same members as a decision's JSON has.
pub(super) fn answer_as_json(EnvoyAnswer { status, why }: &EnvoyAnswer, gaps: &[String]) -> Value {
    json!({
        "notes": gaps, "envoy": {"status": status, "why": why}, "evidence": null, "findings": [],
        "verdict": null, "policy": null, "request_headers": [], "response": null,
    })
}

/// The JSON that `docs/configuration.md` publishes.
pub(super) fn as_json(decision: &Decision<'_>, request: &Request<'_>, gaps: &[String]) -> Value {
    let address = &decision.case.evidence.address;
    let caller = decision.case.identity.caller();
    let findings = decision.weighed.iter().map(|weighed| {
        let finding = &weighed.finding;
        json!({"code": finding.code, "action": weighed.action, "evidence": finding.evidence})
    });
    let (headers, response) = match &decision.outcome {
        Outcome::Forward(edits) => (apply(request, edits), Value::Null),
        Outcome::Answer(refusal) => (
            Vec::new(),
            json!({"status": refusal.status, "headers": refusal.headers, "body": refusal.body}),
        ),
    };
    let headers = headers.iter();
    let headers =
        headers.map(|(name, value)| json!([String::from_utf8_lossy(name), text_or_hex(value)]));
    json!({
        "notes": gaps,
        "envoy": null,
        "evidence": {
            "client": address.client,
            "claimed": address.claimed.iter().map(|claim| text_or_hex(claim)).collect::<Vec<_>>(),
            "malformed": address.malformed,
            "customer": decision.customer(),
            "credential": caller.map(|caller| {
                let source = decision.case.config.source_name(caller.source);
                json!({"source": source, "label": caller.label()})
            }),
            "user": decision.case.geography.user.map(|place| place.country),
            "origin": decision.case.geography.origin.map(|place| place.country),
            "via": decision.case.geography.via.map(|place| place.country),
            "chain": chain(&decision.case.receipt),
            "path": text_or_hex(&decision.case.evidence.path),
            "relay_marks": decision.case.evidence.relay_marks.iter()
                .map(|mark| json!({"software": mark.software, "header": mark.header}))
                .collect::<Vec<_>>(),
            "owned_headers": decision.case.evidence.reserved.iter()
                .map(|header| header.name)
                .collect::<Vec<_>>(),
        },
        "findings": findings.collect::<Vec<_>>(),
        "verdict": {
            "action": decision.verdict.action,
            "would_be": decision.verdict.would_be,
            "reason": decision.verdict.reason,
            "status": decision.status(),
            "route": decision.route(),
        },
        "policy": decision.case.config.policy.revision,
        "request_headers": headers.collect::<Vec<_>>(),
        "response": response,
    })
}

/// The worth of a verified chain, and its hops.
fn chain(receipt: &Receipt) -> Value {
    let Some(proof) = receipt.proof() else { return Value::Null };
    json!({"worth": proof.worth(), "hops": hops_as_json(proof)})
}

/// Text in sections of labelled lines.
#[derive(Default)]
struct Page(String);

impl Page {
    fn section(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{gap}{title}\n"));
    }

    fn line(&mut self, label: &str, value: impl Display) {
        self.0.push_str(&format!("  {label:<16} {value}\n"));
    }
}

/// The decision as text.
fn as_text(decision: &Decision<'_>, request: &Request<'_>) -> String {
    let case = &decision.case;
    let (evidence, geography, policy) = (&case.evidence, &case.geography, &case.config.policy);
    let mut page = Page::default();
    let header = |name| printable(request.first(name).unwrap_or_default());
    page.section("Request");
    let target = format!("{}{}", header(":authority"), printable(&evidence.path));
    page.line("to", format!("{} {target}", header(":method")));
    page.line("received", decision.time.seconds());

    page.section("Evidence");
    let address = &evidence.address;
    let ended = if address.malformed { " (an invalid address ended the search)" } else { "" };
    let client = match address.client {
        Some(client) => format!("{client}{ended}"),
        None => "unknown: pass the direct peer's address with --direct-peer".to_owned(),
    };
    page.line("client address", client);
    if !address.claimed.is_empty() {
        let claimed: Vec<String> = address.claimed.iter().map(|claim| printable(claim)).collect();
        page.line("claimed hops", claimed.join(", "));
    }
    page.line("customer", who(decision));
    if let Some(customer) = case.identity.customer() {
        let screening = customer.screening.as_ref().map(|it| {
            let until = it.until.map(|until| format!(" until {until}")).unwrap_or_default();
            let by = it.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
            format!("{}{until}{by}", it.status)
        });
        page.line("screening", screening.unwrap_or_else(|| "none on record".to_owned()));
        page.line("ownership", customer.ownership());
        let declared: Vec<&str> =
            customer.declared.iter().map(|country| country.as_str()).collect();
        let declared = if declared.is_empty() { "nothing".into() } else { declared.join(", ") };
        page.line("declared", declared);
    }
    let country = |place: Option<crate::terms::region::Place>| {
        place.map_or_else(|| "unknown".to_owned(), |place| place.to_string())
    };
    page.line("origin", country(geography.origin));
    page.line("user", country(geography.user));
    if let Some(proof) = case.receipt.proof() {
        page.line("via", country(geography.via));
        page.line("chain", format!("worth {}", proof.worth()));
        for (hop, proof) in proof.hops() {
            let customer = hop.customer.as_deref().unwrap_or("an unknown customer");
            let proof = match proof {
                Ok(()) => "proven".to_owned(),
                Err(error) => format!("not proven: {}: {error}", hop.node),
            };
            page.line("", format!("{} for {customer}, {}: {proof}", hop.node, hop.attest));
        }
    }

    page.section("Findings");
    if decision.weighed.is_empty() {
        page.0.push_str("  none\n");
    }
    for weighed in &decision.weighed {
        let (action, finding) = (weighed.action.as_str(), &weighed.finding);
        let code = finding.code.as_str();
        page.0.push_str(&format!("  {action:<8} {code:<27} {}\n", finding.evidence));
    }

    page.section("Verdict");
    page.line("action", verdict(decision));
    if let Some(reason) = decision.verdict.reason {
        page.line("reason", format!("{reason}: {}", reason.title()));
        page.line("read more", format!("docs/findings.md#{}", reason.anchor()));
    }
    page.line("policy", format!("{} (mode {})", policy.revision, policy.mode));

    match &decision.outcome {
        Outcome::Forward(edits) => {
            page.section("Forwarded request");
            edits.remove.iter().for_each(|name| page.line("removed", printable(name)));
            for (name, value) in &edits.set {
                page.line("set", format!("{name}: {}", printable(value)));
            }
        }
        Outcome::Answer(refusal) => {
            page.section("Response");
            page.line("status", refusal.status);
            refusal.headers.iter().for_each(|(name, value)| page.line(name, value));
            page.0.push_str(&format!("\n{}\n", pretty(&refusal.body)));
        }
    }
    page.0
}

fn who(decision: &Decision<'_>) -> String {
    match &decision.case.identity {
        Identity::Unloaded => "unknown: no register is loaded".to_owned(),
        Identity::Missing => "unknown: the request has no credential".to_owned(),
        Identity::Unknown => "unknown: no credential of the request is in the register".to_owned(),
        Identity::Unproven => "unknown: the signature isn't accepted".to_owned(),
        Identity::Conflict(one, other) => {
            format!("{} or {}: the credentials are of both", one.id, other.id)
        }
        Identity::Known(caller) => {
            let label = caller.label().map(|label| format!(" ({label})")).unwrap_or_default();
            let source = decision.case.config.source_name(caller.source);
            format!("{} ({}), by {source}{label}", caller.customer.id, caller.customer.kind)
        }
    }
}

fn verdict(decision: &Decision<'_>) -> String {
    let action = match &decision.verdict.action {
        Action::Reroute(route) => format!("reroute to {route}"),
        other => other.as_str().to_owned(),
    };
    let would_be = decision.verdict.would_be.as_ref();
    let would_be = would_be.map(|would| format!(" (would be {} in mode enforce)", would.as_str()));
    let would_be = would_be.unwrap_or_default();
    let status = decision.status().map(|status| format!(", HTTP {status}")).unwrap_or_default();
    format!("{action}{status}{would_be}")
}

fn pretty(body: &str) -> String {
    serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |body| format!("{body:#}"))
}
