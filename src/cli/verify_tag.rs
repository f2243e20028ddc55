//! `waybill verify-tag`: tag, chain and trail of a captured request, verified as a node would.
//!
//! Only the signatures are verified, not the caller's credential. Replays aren't detected: only a
//! node that sees every request can do that.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::error::CommandError;
use super::input::{NodeCase, RequestArguments, RequestCase};
use super::output::{complain, print, print_json};
use crate::chain::hops::Claims;
use crate::chain::{Inbound, Proof, Rejection};
use crate::decision::Worker;
use crate::decision::evidence::Evidence;
use crate::decision::evidence::software::SoftwareMemo;
use crate::decision::receipt::receiver;
use crate::lookups::Lookups;
use crate::terms::names;
use crate::terms::time::UnixSeconds;

pub(super) fn run(arguments: &RequestArguments) -> Result<(), CommandError> {
    // a signature covers neither the peer nor what the filters before the node add
    let RequestCase { node, request, .. } = arguments.load()?;
    node.gaps.iter().for_each(|gap| complain(&format!("note: {gap}")));
    let request = request.map_err(|answer| {
        CommandError(format!("Envoy answers {} by itself: {}", answer.status, answer.why))
    })?;
    let NodeCase { screen, snapshot, .. } = &node;
    let request = request.request();
    let now = request.time.seconds();
    let config = screen.config();
    let Worker { cache, mut memory, .. } = Worker::default();
    let lines =
        Evidence::gather(config, screen.watch(), &request, &mut SoftwareMemo::default()).lines;
    let authority = names::authority(request.authority()).unwrap_or_default();
    let inbound = Inbound::read(&lines, &authority, &cache);
    let lookups = Lookups::new(config, snapshot.as_ref());
    let message = request.message(&authority);
    let receiver = receiver(config, &lookups, now);
    let proof = receiver
        .receive(&lines, &inbound, &message, &cache, &mut *memory)
        .map_err(CommandError::new)?;
    if arguments.json {
        print_json(&as_json(&proof));
    } else {
        print(&as_text(&proof, now).map_err(CommandError::new)?);
    }
    match proof {
        Ok(proof) if proof.doubts().is_empty() => Ok(()),
        Ok(proof) => Err(CommandError(counted(proof.doubts().len()))),
        Err(Rejection { error, .. }) => {
            Err(CommandError(format!("nothing is proven: {}", error.code())))
        }
    }
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

/// The hops of a chain, and whether each is proven.
pub(super) fn hops_as_json(proof: &Proof) -> Vec<Value> {
    let hops = proof.hops().map(|(hop, proof)| {
        let why = proof.err().map(|error| format!("{}: {error}", hop.node));
        json!({
            "node": hop.node, "customer": hop.customer, "attest": hop.attest,
            "proven": why.is_none(), "why": why,
        })
    });
    hops.collect()
}

fn as_json(proof: &Result<Proof, Rejection>) -> Value {
    let proof = match proof {
        Err(Rejection { error, .. }) => {
            return json!({
                "holds": false, "against": [{"code": error.code(), "why": error.to_string()}],
                "signed": null, "worth": null, "hops": [], "tag": null,
            });
        }
        Ok(proof) => proof,
    };
    let against = proof.doubts().iter();
    let against = against.map(|doubt| json!({"code": doubt.code(), "why": doubt.to_string()}));
    let input = proof.input();
    let Claims { node, customer, screening, until, user, origin, chain, findings } =
        proof.signer_claims();
    json!({
        "holds": proof.doubts().is_empty(),
        "against": against.collect::<Vec<_>>(),
        "signed": {
            "customer": proof.customer(), "keyid": input.keyid,
            "created": input.created.to_string(), "expires": input.expires.to_string(),
            "authority": proof.authority(),
            "binding": if proof.is_bound() { "request" } else { "customer" },
        },
        "worth": proof.worth(),
        "hops": hops_as_json(proof),
        "tag": {
            "node": node, "customer": customer, "screening": screening,
            "until": until.map(|until| until.to_string()),
            "user": user.map(|place| place.to_string()),
            "origin": origin.map(|place| place.to_string()),
            "chain": chain, "findings": findings,
        },
    })
}

fn as_text(proof: &Result<Proof, Rejection>, now: UnixSeconds) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let proof = match proof {
        Err(Rejection { error, .. }) => {
            let code = error.code();
            writeln!(out, "Signature  not accepted: {error}")?;
            writeln!(out, "           ({code}: see docs/findings.md#{})", code.anchor())?;
            return Ok(out);
        }
        Ok(proof) => proof,
    };
    let (input, claims) = (proof.input(), proof.signer_claims());
    let what = if proof.is_bound() { "this request only" } else { "all requests of its customer" };
    let (node, customer, to) = (&claims.node, proof.customer(), proof.authority());
    writeln!(
        out,
        "Signature  valid at {now}: by {node} (customer {customer} here), for {what}, to {to}"
    )?;
    let (key, created, expires) = (&input.keyid, &input.created, &input.expires);
    writeln!(out, "           key {key}, created {created}, expires {expires}")?;

    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    let until = claims.until.map(|until| format!(" until {until}")).unwrap_or_default();
    let screening = claims.screening.as_ref().map(|status| format!("screening {status}{until}"));
    let screening = or(screening, "screening not stated");
    writeln!(out, "Tag        customer {}, {screening}", or(claims.customer.clone(), "unknown"))?;
    let place = |place: Option<crate::terms::region::Place>| {
        or(place.map(|place| place.to_string()), "not stated")
    };
    writeln!(out, "           user {}, origin {}", place(claims.user), place(claims.origin))?;
    let found: Vec<&str> = claims.findings.iter().map(|code| code.as_str()).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    writeln!(out, "           findings: {found}")?;

    writeln!(out, "Chain      worth {}", proof.worth())?;
    let last = proof.hops().count().saturating_sub(1);
    for (i, (hop, proven)) in proof.hops().enumerate() {
        let proof = match proven {
            Err(error) => format!("NOT PROVEN, stated only by the next hop: {error}"),
            Ok(()) if i == last => "signed this request".to_owned(),
            Ok(()) => "proven: its own signature is in the trail".to_owned(),
        };
        let customer = hop.customer.as_deref().unwrap_or("an unknown customer");
        let (i, node, attest) = (i.saturating_add(1), &hop.node, &hop.attest);
        writeln!(out, "           {i}. {node} for {customer}, {attest}: {proof}")?;
    }
    if !proof.doubts().is_empty() {
        writeln!(out, "Problems")?;
        for doubt in proof.doubts() {
            writeln!(out, "           {}: {doubt}", doubt.code())?;
        }
    }
    Ok(out)
}
