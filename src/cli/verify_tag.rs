//! `waybill verify-tag`: tag, chain and trail of a captured request, verified as a node would.
//!
//! Caller and credential are ignored: only the signatures are verified. Replays are ignored too,
//! since only a node that sees every request can detect them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::error::CommandError;
use super::input::{RequestArguments, RequestCase};
use super::output::{print, print_json};
use crate::chain::hops::Claims;
use crate::chain::{Broken, Custody, Judge, Presented, Verified};
use crate::evidence::Evidence;
use crate::finding::FindingCode;
use crate::lookups::Lookups;
use crate::names::UnixSeconds;

pub(super) fn run(arguments: &RequestArguments) -> Result<(), CommandError> {
    let RequestCase { screen, request, snapshot } = arguments.load()?;
    let request = request.request();
    let now = request.time.seconds();
    let config = screen.config();
    let mut custody = Custody::default();
    let evidence = Evidence::gather(config, screen.watch(), &request);
    let presented = Presented::read(&evidence.lines, &request, &custody);
    let lookups = Lookups::new(config, snapshot.as_ref());
    let judge = Judge {
        config,
        lookups,
        request: &request,
        evidence: &evidence,
        presented: &presented,
        now,
    };
    let verified = judge.open(&mut custody);
    if arguments.json {
        print_json(&as_json(&verified));
    } else {
        print(&as_text(&verified, now).map_err(CommandError::new)?);
    }
    match verified {
        Ok(verified) if verified.remarks.is_empty() => Ok(()),
        Ok(verified) => Err(CommandError(counted(verified.remarks.len()))),
        Err(Broken { code, .. }) => Err(CommandError(format!("nothing is proven: {code}"))),
    }
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

fn against((code, why): &(FindingCode, String)) -> Value {
    json!({"code": code, "why": why})
}

/// The hops of a chain, each with its proof.
pub(super) fn hops_as_json(verified: &Verified) -> Vec<Value> {
    let hops = verified.hops();
    hops.map(|(hop, why)| {
        json!({
            "node": hop.node, "customer": hop.customer, "attest": hop.attest,
            "proven": why.is_none(), "why": why,
        })
    })
    .collect()
}

fn as_json(verified: &Result<Verified, Broken>) -> Value {
    let verified = match verified {
        Err(Broken { code, why, .. }) => {
            return json!({
                "holds": false, "against": [{"code": code, "why": why}], "signed": null,
                "worth": null, "hops": [], "tag": null,
            });
        }
        Ok(verified) => verified,
    };
    let input = &verified.opened.signed.input;
    let Claims { node, customer, screening, until, user, origin, chain, findings } =
        &verified.opened.claims;
    json!({
        "holds": verified.remarks.is_empty(),
        "against": verified.remarks.iter().map(against).collect::<Vec<_>>(),
        "signed": {
            "customer": verified.customer, "keyid": input.keyid,
            "created": input.created.to_string(), "expires": input.expires.to_string(),
            "authority": verified.opened.authority,
            "binding": if verified.opened.bound { "request" } else { "customer" },
        },
        "worth": verified.worth,
        "hops": hops_as_json(verified),
        "tag": {
            "node": node, "customer": customer, "screening": screening,
            "until": until.map(|until| until.to_string()),
            "user": user.map(|place| place.to_string()),
            "origin": origin.map(|place| place.to_string()),
            "chain": chain, "findings": findings,
        },
    })
}

fn as_text(
    verified: &Result<Verified, Broken>,
    now: UnixSeconds,
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let verified = match verified {
        Err(Broken { code, why, .. }) => {
            writeln!(
                out,
                "Signature  not accepted: {why}\n           ({code}: see docs/findings.md#{})",
                code.anchor()
            )?;
            return Ok(out);
        }
        Ok(verified) => verified,
    };
    let opened = &verified.opened;
    let input = &opened.signed.input;
    let what = if opened.bound { "this request only" } else { "all requests of its customer" };
    writeln!(
        out,
        "Signature  valid at {now}: by {} (customer {} here), for {what}, to {}",
        opened.claims.node, verified.customer, opened.authority
    )?;
    writeln!(
        out,
        "           key {}, created {}, expires {}",
        input.keyid, input.created, input.expires
    )?;

    let claims = &opened.claims;
    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    let until = claims.until.map(|until| format!(" until {until}")).unwrap_or_default();
    let screening = or(
        claims.screening.as_ref().map(|status| format!("screening {status}{until}")),
        "screening not stated",
    );
    writeln!(out, "Tag        customer {}, {screening}", or(claims.customer.clone(), "unknown"))?;
    let place = |place: Option<crate::region::Place>| {
        or(place.map(|place| place.to_string()), "not stated")
    };
    writeln!(out, "           user {}, origin {}", place(claims.user), place(claims.origin))?;
    let found: Vec<&str> = claims.findings.iter().map(|code| code.as_str()).collect();
    writeln!(
        out,
        "           findings: {}",
        if found.is_empty() { "none".to_owned() } else { found.join(", ") }
    )?;

    writeln!(out, "Chain      worth {}", verified.worth)?;
    let last = opened.hops.len().saturating_sub(1);
    for (i, (hop, why)) in verified.hops().enumerate() {
        let proof = match why {
            Some(why) => format!(
                "NOT PROVEN, stated only by the next hop: {}",
                why.strip_prefix(&format!("{}: ", hop.node)).unwrap_or(why)
            ),
            None if i == last => "signed this request".to_owned(),
            None => "proven: its own signature is in the trail".to_owned(),
        };
        let customer = hop.customer.as_deref().unwrap_or("an unknown customer");
        writeln!(
            out,
            "           {}. {} for {customer}, {}: {proof}",
            i.saturating_add(1),
            hop.node,
            hop.attest
        )?;
    }
    if !verified.remarks.is_empty() {
        writeln!(out, "Problems")?;
        for (code, why) in &verified.remarks {
            writeln!(out, "           {code}: {why}")?;
        }
    }
    Ok(out)
}
