//! `waybill explain`: one request, decided on the desk as the node would decide it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::error::CommandError;
use super::input::{RequestArguments, RequestCase};
use super::output::{complain, print, print_json};
use super::verify_tag::hops_as_json;
use crate::capture::text_or_hex;
use crate::chain::Signer;
use crate::finding::Action;
use crate::identity::Identity;
use crate::keyring::Keyring;
use crate::names::printable;
use crate::outcome::{Outcome, apply};
use crate::receipt::Receipt;
use crate::replay::InMemory;
use crate::request::Request;
use crate::screen::{Decision, Worker};

pub(super) fn run(arguments: &RequestArguments) -> Result<(), CommandError> {
    let RequestCase { screen, request: owned, snapshot } = arguments.load()?;
    let request = owned.request();
    let draft = Keyring::gather(&screen.config().tag, &|name| std::env::var(name));
    if let Some(problem) = draft.wrong.iter().next() {
        return Err(CommandError(problem.to_string()));
    }
    if !draft.unset.is_empty() {
        complain("note: the variables of `tag.keys` aren't set here, so the tag is shown unsigned");
    }
    let mut worker = Worker::new(Signer::new(draft.keyring), Box::new(InMemory::default()));
    let decision = screen.decide(&request, snapshot.as_ref(), &mut worker, "explain".to_owned());
    if arguments.json {
        print_json(&as_json(&decision, &request));
    } else {
        print(&as_text(&decision, &request).map_err(CommandError::new)?);
    }
    Ok(())
}

/// The JSON that `docs/configuration.md` publishes.
fn as_json(decision: &Decision<'_>, request: &Request<'_>) -> Value {
    let address = &decision.case.evidence.address;
    let caller = decision.case.identity.caller();
    let findings: Vec<Value> = decision
        .weighed
        .iter()
        .map(|weighed| {
            let finding = &weighed.finding;
            json!({"code": finding.code, "action": weighed.action, "evidence": finding.evidence})
        })
        .collect();
    let (headers, response) = match &decision.outcome {
        Outcome::Forward(edits) => (apply(request, edits), Value::Null),
        Outcome::Answer(refusal) => (
            Vec::new(),
            json!({"status": refusal.status, "headers": refusal.headers, "body": refusal.body}),
        ),
    };
    let headers: Vec<Value> = headers
        .iter()
        .map(|(name, value)| json!([String::from_utf8_lossy(name), text_or_hex(value)]))
        .collect();
    json!({
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
        "findings": findings,
        "verdict": {
            "action": decision.verdict.action,
            "would_be": decision.verdict.would_be,
            "reason": decision.verdict.reason,
            "status": decision.status(),
            "route": decision.route(),
        },
        "policy": decision.case.config.policy.revision,
        "request_headers": headers,
        "response": response,
    })
}

/// The worth of a verified chain, and its hops.
fn chain(receipt: &Receipt) -> Value {
    let Some(proof) = receipt.proof() else { return Value::Null };
    json!({"worth": proof.worth(), "hops": hops_as_json(proof)})
}

/// The decision as text.
fn as_text(decision: &Decision<'_>, request: &Request<'_>) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let line = |out: &mut String, name: &str, value: &str| writeln!(out, "  {name:<16} {value}");
    let header = |name| printable(request.first(name).unwrap_or_default());
    writeln!(out, "Request")?;
    line(
        &mut out,
        "to",
        &format!(
            "{} {}{}",
            header(":method"),
            header(":authority"),
            printable(&decision.case.evidence.path)
        ),
    )?;
    line(&mut out, "received", &decision.time.seconds().to_string())?;

    writeln!(out, "\nEvidence")?;
    let address = &decision.case.evidence.address;
    let client = address.client.map_or_else(
        || "unknown: pass the direct peer's address with --direct-peer".to_owned(),
        |address| address.to_string(),
    );
    let stopped = address.malformed && address.client.is_some();
    let malformed = if stopped { " (an invalid address ended the search)" } else { "" };
    line(&mut out, "client address", &format!("{client}{malformed}"))?;
    if !address.claimed.is_empty() {
        let claimed: Vec<String> = address.claimed.iter().map(|claim| printable(claim)).collect();
        line(&mut out, "claimed hops", &claimed.join(", "))?;
    }
    line(&mut out, "customer", &who(decision))?;
    if let Some(customer) = decision.case.identity.customer() {
        let screening = customer.screening.as_ref().map_or_else(
            || "none on record".to_owned(),
            |screening| {
                let until =
                    screening.until.map(|until| format!(" until {until}")).unwrap_or_default();
                let by = screening.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
                format!("{}{until}{by}", screening.status)
            },
        );
        line(&mut out, "screening", &screening)?;
        line(&mut out, "ownership", customer.ownership().as_str())?;
        let declared: Vec<&str> =
            customer.declared.iter().map(|country| country.as_str()).collect();
        line(
            &mut out,
            "declared",
            if declared.is_empty() { "nothing".to_owned() } else { declared.join(", ") }.as_str(),
        )?;
    }
    let country = |place: Option<crate::region::Place>| {
        place.map_or_else(|| "unknown".to_owned(), |place| place.to_string())
    };
    line(&mut out, "origin", &country(decision.case.geography.origin))?;
    line(&mut out, "user", &country(decision.case.geography.user))?;
    if let Some(proof) = decision.case.receipt.proof() {
        line(&mut out, "via", &country(decision.case.geography.via))?;
        line(&mut out, "chain", &format!("worth {}", proof.worth()))?;
        for (hop, proof) in proof.hops() {
            let customer = hop.customer.as_deref().unwrap_or("an unknown customer");
            let proof = match proof {
                Ok(()) => "proven".to_owned(),
                Err(error) => format!("not proven: {}: {error}", hop.node),
            };
            line(&mut out, "", &format!("{} for {customer}, {}: {proof}", hop.node, hop.attest))?;
        }
    }

    writeln!(out, "\nFindings")?;
    if decision.weighed.is_empty() {
        writeln!(out, "  none")?;
    }
    for weighed in &decision.weighed {
        writeln!(
            out,
            "  {:<8} {:<27} {}",
            weighed.action.as_str(),
            weighed.finding.code.as_str(),
            weighed.finding.evidence
        )?;
    }

    writeln!(out, "\nVerdict")?;
    line(&mut out, "action", &verdict(decision))?;
    if let Some(reason) = decision.verdict.reason {
        line(&mut out, "reason", &format!("{reason}: {}", reason.title()))?;
        line(&mut out, "read more", &format!("docs/findings.md#{}", reason.anchor()))?;
    }
    line(
        &mut out,
        "policy",
        &format!(
            "{} (mode {})",
            decision.case.config.policy.revision, decision.case.config.policy.mode
        ),
    )?;

    match &decision.outcome {
        Outcome::Forward(edits) => {
            writeln!(out, "\nForwarded request")?;
            for name in &edits.remove {
                line(&mut out, "removed", &printable(name))?;
            }
            for (name, value) in &edits.set {
                line(&mut out, "set", &format!("{name}: {}", printable(value)))?;
            }
        }
        Outcome::Answer(refusal) => {
            writeln!(out, "\nResponse")?;
            line(&mut out, "status", &refusal.status.to_string())?;
            for (name, value) in &refusal.headers {
                line(&mut out, name, value)?;
            }
            writeln!(out, "\n{}", pretty(&refusal.body))?;
        }
    }
    Ok(out)
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
            format!(
                "{} ({}), by {}{label}",
                caller.customer.id,
                caller.customer.kind,
                decision.case.config.source_name(caller.source)
            )
        }
    }
}

fn verdict(decision: &Decision<'_>) -> String {
    let action = match &decision.verdict.action {
        Action::Reroute(route) => format!("reroute to {route}"),
        other => other.as_str().to_owned(),
    };
    let would_be = decision
        .verdict
        .would_be
        .as_ref()
        .map(|would| format!(" (would be {} in mode enforce)", would.as_str()))
        .unwrap_or_default();
    let status = decision.status().map(|status| format!(", HTTP {status}")).unwrap_or_default();
    format!("{action}{status}{would_be}")
}

fn pretty(body: &str) -> String {
    serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |body| format!("{body:#}"))
}
