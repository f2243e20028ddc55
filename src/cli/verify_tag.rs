//! `waybill verify-tag`: tag, chain and trail of a captured request, verified as a node would.
//!
//! Whoever calls, and by whichever credential, is left aside: the question is what the signatures prove. So are
//! replays, which only a node that sees every request can tell.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::input::{Arguments, Loaded};
use super::{Failure, print};
use crate::chain::hops::Claims;
use crate::chain::{Broken, Custody, Judge, Presented, Verified};
use crate::evidence::Evidence;
use crate::finding::FindingCode;
use crate::lookups::Lookups;
use crate::time::UnixSeconds;

/// What doesn't hold: a finding's code and why.
type Against = (FindingCode, String);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Loaded { screen, request, snapshot } = arguments.load()?;
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
    let text = if arguments.json {
        format!("{:#}\n", as_json(&verified))
    } else {
        as_text(&verified, now).map_err(Failure::new)?
    };
    print(&text);
    match verified {
        Ok(verified) if verified.remarks.is_empty() => Ok(()),
        Ok(verified) => {
            Err(Failure(format!("{} of it doesn't hold", counted(verified.remarks.len()))))
        }
        Err(Broken { code, .. }) => Err(Failure(format!("nothing is proven: {code}"))),
    }
}

fn counted(parts: usize) -> String {
    if parts == 1 { "one part".to_owned() } else { format!("{parts} parts") }
}

fn against((code, why): &Against) -> Value {
    json!({"code": code, "why": why})
}

/// Who stands in a chain, and whether each is proven.
pub(super) fn hops_as_json(verified: &Verified) -> Vec<Value> {
    let hops = verified.hops();
    hops.map(|(hop, why)| json!({"node": hop.node, "customer": hop.customer, "attest": hop.attest, "proven": why.is_none(), "why": why}))
        .collect()
}

fn as_json(verified: &Result<Verified, Broken>) -> Value {
    let verified = match verified {
        Err(Broken { code, why, .. }) => {
            return json!({"holds": false, "against": [{"code": code, "why": why}], "signed": null, "worth": null, "hops": [], "tag": null});
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
            "customer": verified.customer, "keyid": input.keyid, "created": input.created.to_string(), "expires": input.expires.to_string(),
            "authority": verified.opened.authority, "binding": if verified.opened.bound { "request" } else { "customer" },
        },
        "worth": verified.worth,
        "hops": hops_as_json(verified),
        "tag": {
            "node": node, "customer": customer, "screening": screening, "until": until.map(|until| until.to_string()),
            "user": user.map(|place| place.to_string()), "origin": origin.map(|place| place.to_string()), "chain": chain, "findings": findings,
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
                "Signature  doesn't hold: {why}\n           ({code}: see docs/findings.md#{})",
                code.anchor()
            )?;
            return Ok(out);
        }
        Ok(verified) => verified,
    };
    let opened = &verified.opened;
    let input = &opened.signed.input;
    let what = if opened.bound { "this one request" } else { "its customer's requests" };
    writeln!(
        out,
        "Signature  holds at {now}: by {} (customer {} here), for {what} to {}",
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
        "screening not said",
    );
    writeln!(out, "Tag        customer {}, {screening}", or(claims.customer.clone(), "unknown"))?;
    let place =
        |place: Option<crate::region::Place>| or(place.map(|place| place.to_string()), "not said");
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
                "NOT PROVEN, only the next hop's word: {}",
                why.strip_prefix(&format!("{}: ", hop.node)).unwrap_or(why)
            ),
            None if i == last => "signed this request".to_owned(),
            None => "proven: its own signature is in the trail".to_owned(),
        };
        let customer = hop.customer.as_deref().unwrap_or("nobody it knows");
        writeln!(
            out,
            "           {}. {} for {customer}, {}: {proof}",
            i.saturating_add(1),
            hop.node,
            hop.attest
        )?;
    }
    if !verified.remarks.is_empty() {
        writeln!(out, "Against it")?;
        for (code, why) in &verified.remarks {
            writeln!(out, "           {code}: {why}")?;
        }
    }
    Ok(out)
}
