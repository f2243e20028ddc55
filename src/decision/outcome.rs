//! The outcome: what is done to a request that goes on, or the answer to one that doesn't, as data.
//!
//! Headers that the node owns are stripped on every path, then set. Every place that a credential
//! was looked for in is emptied: the reseller's own credential is put in by Envoy's
//! `credential_injector`.

use std::ops::Deref;
use std::sync::Arc;

use crate::chain::signature::{Message, Signatures};
use crate::chain::{Outbound, Proof, SignedParts, Signer, hops, trail};
use crate::config::{Config, Convention, CredentialPlace, Upstream};
use crate::decision::case::Case;
use crate::decision::evidence::Evidence;
use crate::decision::path;
use crate::decision::receipt::Attestation;
use crate::decision::refusal;
use crate::decision::reply::LocalReply;
use crate::decision::request::{Pair, Request};
use crate::decision::tag;
use crate::decision::verdict::{Verdict, Weighed};
use crate::register::Customer;
use crate::terms::finding::Action;
use crate::terms::names;

/// What is done with the request.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// It goes on, edited
    Forward(Edits<'a>),
    /// It is answered here
    Answer(LocalReply),
}

/// Header edits: first every removal, then every header that is set.
#[derive(Debug, Default)]
pub struct Edits<'a> {
    // INVARIANT (sorted): each once
    /// Names to remove, in every copy, as received
    pub remove: Vec<&'a [u8]>,
    // INVARIANT (absent): once the removals are done, the request has none of these headers
    /// Names and values to set; a pseudo-header's value replaces the one there was
    pub set: Vec<(&'static str, HeaderValue)>,
}

/// A value that is set.
#[derive(Debug, Clone)]
pub enum HeaderValue {
    /// Made for this request
    Own(Vec<u8>),
    /// Signed for many
    Shared(Arc<str>),
}

impl Deref for HeaderValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(value) => value,
            Self::Shared(value) => value.as_bytes(),
        }
    }
}

impl<T: Into<Vec<u8>>> From<T> for HeaderValue {
    fn from(value: T) -> Self {
        Self::Own(value.into())
    }
}

/// How many headers are set at most: a path, `sec-websocket-protocol`, `connection`, a profile and
/// its beta, a route, tag, chain, trail and the two of their signature.
const SET_AT_MOST: usize = 11;

/// The header by which the route table chooses another upstream.
pub const ROUTE_HEADER: &str = "x-waybill-route";

/// Makes the outcome of a verdict at an upstream. `id` is the event's, which a refusal names.
pub fn outcome<'a>(
    case: &Case<'a>,
    request: &Request<'a>,
    upstream: &Upstream,
    (verdict, weighed): (&Verdict, &[Weighed]),
    signer: &mut Signer,
    id: &str,
) -> Outcome<'a> {
    match (&verdict.action, verdict.reason) {
        (Action::Block, Some(reason)) => {
            Outcome::Answer(refusal::refuse(case.config, &case.evidence, reason, id))
        }
        _ => Outcome::Forward(edits(case, request, upstream, (verdict, weighed), signer)),
    }
}

fn edits<'a>(
    case: &Case<'a>,
    request: &Request<'a>,
    upstream: &Upstream,
    (verdict, weighed): (&Verdict, &[Weighed]),
    signer: &mut Signer,
) -> Edits<'a> {
    let Case { config, evidence, inbound, .. } = case;
    let customer = case.identity.customer();
    let mut edits = Edits { remove: Vec::new(), set: Vec::with_capacity(SET_AT_MOST) };
    // sorted once: a caller may send thousands of names
    edits.remove.clone_from(&evidence.withheld);
    edits.remove.sort_unstable();
    edits.remove.dedup();
    edits.empty_path(config, request);
    if let Some(kept) = &evidence.kept_subprotocols {
        edits.replace("sec-websocket-protocol", (!kept.is_empty()).then(|| kept.join(&b", "[..])));
    }
    if evidence.is_upgrade {
        // the next hop would take off the other headers that it lists
        edits.replace("connection", Some(b"upgrade".into()));
    }
    let Signatures { ours, signature_input, signature } = inbound.signatures();
    if ours.is_some() {
        edits.replace("signature-input", signature_input.as_deref().map(Into::into));
        edits.replace("signature", signature.as_deref().map(Into::into));
    }
    edits.follow_convention(upstream, evidence, customer);
    let attestation = Attestation::for_request(&case.identity, &case.receipt);
    let steady = tag::steady(case, attestation, weighed);
    match sign(case, request, upstream, attestation, signer, &steady) {
        None => edits.put(tag::HEADER, tag::finished(&steady, case.now)),
        Some(outbound) => edits.attest(case, &outbound),
    }
    if let Action::Reroute(route) = &verdict.action {
        edits.put(ROUTE_HEADER, route.as_str());
    }
    debug_assert!(edits.are_of_absent_headers(request), "{edits:?}");
    edits
}

impl<'a> Edits<'a> {
    /// Removes every copy of a header.
    fn remove(&mut self, name: &'a [u8]) {
        if let Err(at) = self.remove.binary_search(&name) {
            self.remove.insert(at, name);
        }
    }

    /// Sets a header that there isn't once `remove` is done.
    fn put(&mut self, name: &'static str, value: impl Into<HeaderValue>) {
        self.set.push((name, value.into()));
    }

    /// Likewise, to a value that is signed for many requests.
    fn share(&mut self, name: &'static str, value: &Arc<str>) {
        self.set.push((name, HeaderValue::Shared(Arc::clone(value))));
    }

    /// Sets a header that there was before, or removes it where nothing is left of it.
    fn replace(&mut self, name: &'static str, value: Option<Vec<u8>>) {
        self.remove(name.as_bytes());
        self.set.retain(|(other, _)| *other != name);
        self.set.extend(value.map(|value| (name, value.into())));
    }

    /// Sets tag, chain and trail with their signature.
    fn attest(&mut self, case: &Case<'_>, outbound: &Outbound) {
        let Case { evidence, inbound, receipt, .. } = case;
        self.share(tag::HEADER, &outbound.tag);
        self.share(hops::HEADER, &outbound.chain);
        if let Some(trail) = receipt.proof().and_then(Proof::trail_onward) {
            self.put(trail::HEADER, trail);
        }
        let Outbound { signature_input, signature, .. } = outbound;
        if evidence.lines.signature.is_empty() && evidence.lines.signature_input.is_empty() {
            self.share("signature-input", signature_input);
            self.share("signature", signature);
            return;
        }
        // other people's signatures stay beside ours
        let beside = |others: &Option<String>, own: &str| match others {
            None => own.as_bytes().to_vec(),
            Some(others) => [others, ", ", own].concat().into_bytes(),
        };
        let others = inbound.signatures();
        self.replace("signature-input", Some(beside(&others.signature_input, signature_input)));
        self.replace("signature", Some(beside(&others.signature, signature)));
    }

    /// The invariant of `set`: a host adds these headers without looking for others.
    fn are_of_absent_headers(&self, request: &Request<'_>) -> bool {
        let stays = |name: &str| {
            let is_it = |(other, _): &Pair<'_>| *other == name.as_bytes();
            request.headers.iter().any(is_it) && !self.remove.contains(&name.as_bytes())
        };
        let mut names = self.set.iter().map(|(name, _)| *name);
        names.clone().all(|name| name.starts_with(':') || !stays(name))
            && names.all(|name| self.set.iter().filter(|(other, _)| *other == name).count() == 1)
    }

    fn empty_path(&mut self, config: &Config, request: &Request<'_>) {
        let mut emptied: Option<Vec<u8>> = None;
        for source in config.sources.iter().filter(|source| !source.forward) {
            if let CredentialPlace::Query(name) = &source.place {
                let path = emptied.as_deref().unwrap_or(request.path());
                emptied = path::without_parameter(path, name.as_str()).or(emptied);
            }
        }
        self.set.extend(emptied.map(|path| (":path", path.into())));
    }

    fn follow_convention(
        &mut self,
        upstream: &Upstream,
        evidence: &Evidence<'_>,
        customer: Option<&Customer>,
    ) {
        let entry = customer.and_then(|customer| customer.at_provider(upstream.provider_name()));
        let profile =
            entry.and_then(|entry| entry.profile.as_ref()).map(|profile| profile.as_str());
        match &upstream.convention {
            Convention::Anthropic(beta) => {
                let Some(profile) = profile else { return };
                self.put("anthropic-user-profile-id", profile);
                let Some(beta) = beta.as_ref().map(|beta| beta.as_str().as_bytes()) else { return };
                let asked = evidence.anthropic_betas.join(&b","[..]);
                if !asked.split(|b| *b == b',').any(|element| element.trim_ascii() == beta) {
                    let all = if asked.is_empty() {
                        beta.to_vec()
                    } else {
                        [&asked, beta].join(&b","[..])
                    };
                    self.replace("anthropic-beta", Some(all));
                }
            }
            Convention::OpenAi => {
                // at most 128 characters: a customer's id never has more
                let identifier = profile
                    .filter(|profile| profile.len() <= 128)
                    .or(customer.map(|customer| customer.id.as_str()));
                self.set.extend(
                    identifier.map(|identifier| ("openai-safety-identifier", identifier.into())),
                );
            }
            Convention::Other => {}
        }
    }
}

/// Signs tag and chain for the next hop, addressed to the upstream's authority. `None` without a
/// key that counts now.
fn sign(
    Case { config, identity, receipt, now, .. }: &Case<'_>,
    request: &Request<'_>,
    upstream: &Upstream,
    Attestation { attest, .. }: Attestation,
    signer: &mut Signer,
    steady: &str,
) -> Option<Arc<Outbound>> {
    if signer.keyring().is_empty() {
        return None;
    }
    let proof = receipt.proof();
    let customer = identity.customer().map(|customer| customer.id.as_str());
    let chain = || match proof {
        None => hops::append(None, config.node.id.as_str(), customer, attest),
        Some(proof) => proof.chain_onward(&config.node.id, customer, attest),
    };
    let before = proof.map_or(&[][..], Proof::signature);
    let named = upstream.authority.as_ref().map(|authority| authority.as_str().as_bytes());
    let authority = names::authority(named.unwrap_or(request.authority()))?;
    let message = Message { fields: &[], ..request.message(&authority) };
    let lifetime = i64::try_from(config.tag.lifetime_seconds.0).unwrap_or(0);
    let tag = || tag::finished(steady, *now);
    let parts = SignedParts { steady, before, tag: &tag, chain: &chain };
    signer.sign((config.tag.binding, lifetime), parts, message, *now)
}

/// The request's headers after the edits, as the next hop gets them.
pub fn apply(request: &Request<'_>, edits: &Edits<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_set = |name: &[u8]| edits.set.iter().find(|(n, _)| n.as_bytes() == name);
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in &request.headers {
        match is_set(name) {
            Some((_, new)) if name.starts_with(b":") => headers.push((name.to_vec(), new.to_vec())),
            _ if edits.remove.contains(name) => {}
            _ => headers.push((name.to_vec(), value.to_vec())),
        }
    }
    let added = edits.set.iter().filter(|(name, _)| !name.starts_with(':'));
    headers.extend(added.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())));
    headers
}
