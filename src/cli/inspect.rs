//! `waybill inspect`: what is in a snapshot, and what a request would find there.

use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::CommandError;
use super::output::{print, print_json};
use crate::compile::remarks::grouped;
use crate::register::{Customer, Name, Override};
use crate::shape::{Word as _, to_report};
use crate::snapshot::Snapshot;
use crate::snapshot::layout::{Contents, PageKind, PageRow};
use crate::terms::key::{TrustedKey, VerifyingKey};
use crate::terms::names::CredentialDigest;
use crate::terms::network::SourceRole;

#[derive(Debug, clap::Args)]
pub(super) struct InspectArguments {
    /// The snapshot
    #[arg(value_name = "FILE")]
    snapshot: PathBuf,
    /// A key that must have signed it, in base64; may be given several times. Without it any key is
    /// accepted, which proves nothing
    #[arg(long, value_name = "BASE64")]
    trusted_key: Vec<String>,
    /// Look an address up; `-` reads addresses from stdin, one a line, and prints one line of JSON
    /// for each
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Look a credential up by its digest: sha256: and 64 hexadecimal digits
    #[arg(long, value_name = "DIGEST")]
    credential: Option<String>,
    /// Look a name in a client certificate up
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// Look the value of an identifying JWT claim up
    #[arg(long, value_name = "VALUE")]
    claim: Option<String>,
    /// Look a customer up by its id: reads all of them
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Look a node up by the thumbprint of one of its keys
    #[arg(long, value_name = "KEYID")]
    node: Option<String>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &InspectArguments) -> Result<(), CommandError> {
    let keys = arguments.trusted_key.iter().map(|text| TrustedKey::parse(text));
    let keys: Vec<TrustedKey> = keys.collect::<Result<_, _>>()?;
    let snapshot = open(&arguments.snapshot, |key| {
        keys.is_empty() || keys.iter().any(|trusted| trusted.key() == key)
    })?;
    if arguments.address.as_deref() == Some("-") {
        return stream(&snapshot);
    }
    let mut found = serde_json::Map::new();
    if let Some(text) = &arguments.address {
        found.insert("address".into(), address(&snapshot, text)?);
    }
    let none = |what: &str| CommandError(format!("no customer has this {what}"));
    let customer = |name: Name<'_>, what: &str| {
        let found = snapshot.customer(name).map_err(CommandError::new)?;
        found.map(|found| describe(&found.customer)).ok_or_else(|| none(what))
    };
    if let Some(text) = &arguments.credential {
        let digest = CredentialDigest::parse(text)?;
        found.insert("customer".into(), customer(Name::Secret(digest), "credential")?);
    }
    if let Some(name) = &arguments.certificate {
        found.insert("customer".into(), customer(Name::Certificate(name), "certificate")?);
    }
    if let Some(value) = &arguments.claim {
        found.insert("customer".into(), customer(Name::Claim(value), "claim")?);
    }
    if let Some(id) = &arguments.customer {
        let mut records = snapshot.customers().filter(|customer| customer.id.as_str() == id);
        let customer = records.next().ok_or_else(|| none("id, or it has no credential"))?;
        let mut customer = Customer::clone(&customer);
        for signal in records.flat_map(|record| record.signals.clone()) {
            if !customer.signals.contains(&signal) {
                customer.signals.push(signal);
            }
        }
        found.insert("customer".into(), describe(&customer));
    }
    if let Some(thumbprint) = &arguments.node {
        let unknown = || CommandError::new("no node has a key of this thumbprint");
        let (node, _) = snapshot.nodes.by_thumbprint(thumbprint).ok_or_else(unknown)?;
        let node = json!({"id": node.id, "customer": node.customer, "keys": node.keys.len()});
        found.insert("node".into(), node);
    }
    let asked = !found.is_empty();
    if arguments.json {
        let answer = if asked { Value::Object(found) } else { contents(&snapshot) };
        print_json(&answer);
    } else if asked {
        found.values().for_each(print_json);
    } else {
        print(&as_text(&snapshot, arguments.trusted_key.is_empty()).map_err(CommandError::new)?);
    }
    Ok(())
}

/// Reads and verifies a snapshot.
pub(super) fn open(
    path: &Path,
    trusts: impl Fn(&VerifyingKey) -> bool,
) -> Result<Snapshot, CommandError> {
    let bytes = super::files::bytes(path).map_err(|error| error.at(path))?;
    Snapshot::read(bytes, trusts).map_err(|error| CommandError::about(path, error))
}

fn address(snapshot: &Snapshot, text: &str) -> Result<Value, CommandError> {
    let text = text.trim();
    let address: IpAddr =
        text.parse().map_err(|_| CommandError(format!("invalid address `{text}`")))?;
    let facts = snapshot.address(address);
    let places = facts.iter().flat_map(|facts| facts.places()).map(
        |(place, role, source)| json!({"source": source, "role": role, "place": place.to_string()}),
    );
    let lists = facts.iter().flat_map(|facts| facts.lists());
    let lists = lists.map(|(list, class)| json!({"source": list, "class": class}));
    Ok(json!({
        "address": address,
        "places": places.collect::<Vec<_>>(),
        "asn": facts.and_then(|facts| facts.asn()),
        "lists": lists.collect::<Vec<_>>(),
    }))
}

fn stream(snapshot: &Snapshot) -> Result<(), CommandError> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let answer = address(snapshot, &line.map_err(CommandError::new)?)?;
        if writeln!(out, "{}", super::output::inert(&answer.to_string())).is_err() {
            break;
        }
    }
    out.flush().or(Ok(()))
}

/// A customer as a request finds it. Of its credentials the snapshot has no whole digests.
fn describe(customer: &Customer) -> Value {
    let credential = customer.credentials.first().map(|credential| {
        let networks: Vec<String> = credential.networks.iter().map(ToString::to_string).collect();
        json!({"label": credential.label, "expires": credential.expires, "networks": networks})
    });
    let providers = customer.providers.iter().map(|(name, entry)| {
        let profile = entry.profile.as_ref().map(|profile| profile.as_str());
        json!({"name": name, "profile": profile, "enforcement": entry.enforcement})
    });
    let overrides = customer.overrides.iter().map(|entry| {
        let Override { finding, action, author, until, .. } = entry;
        json!({"finding": finding, "action": action, "author": author, "until": until})
    });
    json!({
        "id": customer.id,
        "kind": customer.kind,
        "status": customer.status,
        "credential": credential,
        "screening": to_report(&customer.screening),
        "agreement": to_report(&customer.agreement),
        "ownership": customer.ownership(),
        "declared": customer.declared,
        "vouches_for_users": customer.vouches_for_users,
        "residency": to_report(&customer.residency),
        "providers": providers.collect::<Vec<_>>(),
        "overrides": overrides.collect::<Vec<_>>(),
        "signals": customer.signals,
    })
}

/// The pages of each kind: how many, and the rows and the bytes in them.
fn sizes(snapshot: &Snapshot) -> impl Iterator<Item = (PageKind, usize, usize, usize)> {
    let head = &snapshot.head;
    PageKind::ALL.iter().map(|kind| {
        let pages = head.pages.get(head.of_kind(*kind)).unwrap_or_default();
        let sum = |size: fn(&PageRow) -> usize| pages.iter().map(size).sum();
        (*kind, pages.len(), sum(|page| page.rows), sum(|page| page.size))
    })
}

fn contents(snapshot: &Snapshot) -> Value {
    let (preamble, head) = (&snapshot.preamble, &snapshot.head);
    let pages = sizes(snapshot).map(|(kind, pages, rows, bytes)| {
        (kind.to_string(), json!({"pages": pages, "rows": rows, "bytes": bytes}))
    });
    let Contents { compiler, customers, keys, nodes, regions, sources, files, .. } = &head.contents;
    json!({
        "sequence": preamble.sequence,
        "created": preamble.created,
        "key": preamble.key.to_base64(),
        "bytes": preamble.file_size,
        "compiler": compiler,
        "customers": customers.0,
        "keys": keys.0,
        "nodes": nodes.0,
        "regions": {
            "set": head.regions.set,
            "supported": regions.supported,
            "restricted": regions.restricted,
        },
        "pages": pages.collect::<serde_json::Map<_, _>>(),
        "sources": to_report(sources),
        "files": to_report(files),
    })
}

fn as_text(snapshot: &Snapshot, any_key: bool) -> Result<String, std::fmt::Error> {
    let (preamble, head) = (&snapshot.preamble, &snapshot.head);
    let mut out = String::new();
    let Contents { compiler, customers, keys, nodes, regions, sources, .. } = &head.contents;
    let (sequence, created) = (preamble.sequence, preamble.created);
    writeln!(out, "sequence   {sequence}, made {created} by {compiler}")?;
    let doubt = if any_key { " (give --trusted-key: any key will do now)" } else { "" };
    writeln!(out, "signed     {}{doubt}", preamble.key.to_base64())?;
    let (size, held) = (grouped(preamble.file_size), grouped(snapshot.table_size()));
    writeln!(out, "size       {size} bytes; each worker holds {held} of them")?;
    let (customers, keys) = (grouped(customers.0), grouped(keys.0));
    writeln!(out, "customers  {customers}, by {keys} credentials and names; nodes {}", nodes.0)?;
    let (supported, restricted) = (regions.supported.len(), regions.restricted.len());
    writeln!(out, "regions    {}: {supported} supported, {restricted} restricted", regions.set)?;
    for (kind, pages, rows, bytes) in sizes(snapshot) {
        let (kind, pages) = (kind.as_str(), grouped(pages));
        let (rows, bytes) = (grouped(rows), grouped(bytes));
        writeln!(out, "  {kind:<10} {rows:>10} rows {bytes:>12} bytes {pages:>6} pages")?;
    }
    writeln!(out, "sources")?;
    for source in sources {
        let says = match (source.role, source.class) {
            (Some(SourceRole::Decides), _) => "country, decides".to_owned(),
            (Some(SourceRole::Hints), _) => "country, hints".to_owned(),
            (None, Some(class)) => format!("list: {class}"),
            (None, None) => "autonomous system".to_owned(),
        };
        let (name, networks) = (source.name.as_str(), grouped(source.networks.0));
        writeln!(out, "  {name:<24} {says:<18} {networks:>9} networks, as of {}", source.date)?;
    }
    Ok(out)
}
