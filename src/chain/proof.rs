//! From header lines to proof: what earlier nodes signed, verified against keys, register and
//! clock.
//!
//! [`Receiver::receive`] is the only way to a [`Proof`]. Checks that cost little come before those
//! that cost much. Every look-up comes before the first nonce is remembered: a host whose look-up
//! failed may receive the same lines again.

use std::fmt;
use std::sync::Arc;

use super::cache::EnvelopeCache;
use super::envelope::{Earlier, Envelope};
use super::error::{ChainError, Doubt};
use super::hops::{self, Claims, FormatError, Hop, prev_of};
use super::trail::{self, TrailEntry, TrailError};
use super::{Attest, Lines};
use crate::chain::replay::{Admission, ReplayMemory, SignedNonce};
use crate::chain::signature::{self, Input, Message, SignatureError, Signatures, Signed};
use crate::register::{
    Binding, Customer, Node, NodeKey, Ownership, PageGone, ScreeningStatus, Status,
};
use crate::terms::finding::FindingCode;
use crate::terms::names::{self, Authority, NodeId};
use crate::terms::time::UnixSeconds;

/// What a receiver asks of its register.
pub trait Peers {
    /// The node that has a key of this thumbprint (RFC 7638), and the key.
    fn node_by_key(&self, thumbprint: &str) -> Option<(&Node, &NodeKey)>;

    /// The node of that name.
    fn node(&self, id: &str) -> Option<&Node>;

    /// The customer of that id.
    ///
    /// # Errors
    /// That the register can't tell: another replaced it.
    fn customer(&self, id: &str) -> Result<Option<Arc<Customer>>, PageGone>;
}

/// The node that receives: its names, its limits, and its register.
#[derive(Clone, Copy)]
pub struct Receiver<'a> {
    /// Its id, as chains name it
    pub node: &'a NodeId,
    /// The names by which earlier nodes address it; none: its id
    pub authorities: &'a [Authority],
    /// Its register
    pub peers: &'a dyn Peers,
    /// How many nodes a request may have come through, this one included
    pub max_hops: usize,
    /// How far two clocks may differ, in seconds
    pub skew: i64,
    /// How long a signature may last, in seconds
    pub lifetime: i64,
    /// Its clock
    pub now: UnixSeconds,
}

/// The signature headers of a request, this profile's own taken out. Nothing is verified yet.
#[derive(Debug, Default)]
pub struct Inbound {
    /// Whether the request has a header that only a node may send
    pub any: bool,
    /// The signatures, where such a header came
    signatures: Option<Arc<Signatures>>,
    /// The envelope that the very same lines were verified to be
    envelope: Option<Arc<Envelope>>,
}

/// A chain that holds, but for its [`Doubt`]s.
///
/// The fields are private and [`Receiver::receive`] makes it last: who has one needn't check again.
#[derive(Debug)]
pub struct Proof {
    envelope: Arc<Envelope>,
    customer: String,
    runner: Option<Arc<Customer>>,
    doubts: Vec<Doubt>,
    // INVARIANT (parallel): one for each of `envelope.earlier`; read by `Proof::earlier` alone
    trail: Vec<Result<(), TrailError>>,
    worth: Attest,
}

/// A chain that doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why
    pub error: ChainError,
    /// The customer of the node whose key the signature names, for the event. It proves nothing:
    /// anybody can name a key
    pub customer: Option<String>,
}

impl Inbound {
    /// Takes this profile's signature out of the others. `authority` is the one that the request
    /// names.
    pub fn read(lines: &Lines<'_>, authority: &str, cache: &EnvelopeCache) -> Self {
        if lines.is_empty() {
            return Self::default();
        }
        if let Some((signatures, envelope)) = cache.get(lines, authority) {
            return Self { any: true, signatures: Some(signatures), envelope: Some(envelope) };
        }
        let signatures = Arc::new(Signatures::take(&lines.signature_input, &lines.signature));
        let any = signatures.ours.is_some()
            || !lines.tag.is_empty()
            || !lines.chain.is_empty()
            || !lines.trail.is_empty();
        Self { any, signatures: Some(signatures), envelope: None }
    }

    /// The signatures: this profile's own, and the others.
    pub fn signatures(&self) -> &Signatures {
        static NONE: Signatures = Signatures { ours: None, signature_input: None, signature: None };
        self.signatures.as_deref().unwrap_or(&NONE)
    }
}

impl Receiver<'_> {
    /// Verifies tag, chain, trail and signature.
    ///
    /// # Errors
    /// That the register can't tell. Nothing was remembered then: the same lines may be received
    /// again. Within that: why the chain doesn't hold.
    pub fn receive(
        &self,
        lines: &Lines<'_>,
        inbound: &Inbound,
        message: &Message<'_>,
        cache: &EnvelopeCache,
        memory: &mut dyn ReplayMemory,
    ) -> Result<Result<Proof, Rejection>, PageGone> {
        let (envelope, node) = match self.open(lines, inbound, message, cache) {
            Ok(envelope) => envelope,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let runner = self.peers.customer(node.customer.as_str())?;
        let doubts = self.doubts(&envelope, node)?;
        let proof = self.prove(envelope, (node, runner), doubts, memory);
        let customer = || Some(node.customer.to_string());
        Ok(proof.map_err(|error| Rejection { error, customer: customer() }))
    }

    /// Verifies what doesn't depend on customers and replays.
    fn open(
        &self,
        lines: &Lines<'_>,
        inbound: &Inbound,
        message: &Message<'_>,
        cache: &EnvelopeCache,
    ) -> Result<(Arc<Envelope>, &Node), Rejection> {
        let by_nobody = |error| Rejection { error, customer: None };
        let signed = match &inbound.signatures().ours {
            None => return Err(by_nobody(ChainError::Unsigned(SignatureError::Missing))),
            Some(Err(error)) => return Err(by_nobody(ChainError::Unsigned(error.clone()))),
            Some(Ok(signed)) => signed,
        };
        let Some((node, key)) = self.peers.node_by_key(&signed.input.keyid) else {
            return Err(by_nobody(ChainError::UnknownKey));
        };
        let reject = |error| Rejection { error, customer: Some(node.customer.to_string()) };
        self.check_time(signed, node, key).map_err(reject)?;
        let envelope = match &inbound.envelope {
            // the key may have become another node's since
            Some(envelope) if envelope.claims.node == node.id.as_str() => Arc::clone(envelope),
            _ => {
                let envelope = self.verify(lines, signed, node, key, message).map_err(reject)?;
                let envelope = Arc::new(envelope);
                if let Some(signatures) = &inbound.signatures {
                    cache.put(lines, signatures, &envelope);
                }
                envelope
            }
        };
        // a node may have got another binding since the envelope was verified
        if !envelope.bound && node.binding != Binding::Customer {
            return Err(reject(ChainError::Unbound(node.id.to_string())));
        }
        Ok((envelope, node))
    }

    /// Whether an authority, in the form of signatures, is this node's.
    fn answers_to(&self, authority: &str) -> bool {
        let is = |own: &str| names::authority(own.as_bytes()).is_some_and(|own| own == authority);
        if self.authorities.is_empty() {
            is(self.node.as_str())
        } else {
            self.authorities.iter().any(|own| is(own.as_str()))
        }
    }

    /// What the trail and the replay memory say of an envelope.
    fn prove(
        &self,
        envelope: Arc<Envelope>,
        (node, runner): (&Node, Option<Arc<Customer>>),
        mut doubts: Vec<Doubt>,
        memory: &mut dyn ReplayMemory,
    ) -> Result<Proof, ChainError> {
        // before the trail, whose every signature costs as much as this one did
        if envelope.bound {
            self.admit(memory, &envelope.signed.input, node.id.as_str(), 0)?;
        }
        let mut trail = Vec::with_capacity(envelope.earlier.len());
        let mut unproven: Vec<String> = Vec::new();
        for Earlier { hop, entry } in &envelope.earlier {
            let proof = entry.verify(hop, |keyid| self.peers.node_by_key(keyid));
            match proof {
                Err(error) => unproven.push(format!("{}: {error}", hop.node)),
                // or one request of an earlier node would vouch for any number of the signer's own
                Ok(()) => {
                    if let Some(input) = entry.input().filter(|input| input.unbound().is_none()) {
                        // a signer may date its own signature back to when this one held, see
                        // `fits`
                        let longer = self.lifetime.saturating_add(self.skew).saturating_sub(1);
                        self.admit(memory, input, &hop.node, longer)?;
                    }
                }
            }
            trail.push(proof);
        }
        let is_complete = !doubts.iter().any(|doubt| doubt.code() == FindingCode::ChainIncomplete);
        // a missing proof is worth no more than a wrong one, or leaving it out would pay
        let worth = if is_complete && unproven.is_empty() {
            envelope.first().attest
        } else {
            Attest::Gateway
        };
        if !unproven.is_empty() {
            doubts.push(Doubt::Unproven(unproven.join(", ")));
        }
        let customer = node.customer.to_string();
        Ok(Proof { envelope, customer, runner, doubts, trail, worth })
    }

    /// Remembers a signature's nonce until `longer` seconds after the last second in which the
    /// signature holds, see [`Input::check_time`].
    fn admit(
        &self,
        memory: &mut dyn ReplayMemory,
        input: &Input,
        signer: &str,
        longer: i64,
    ) -> Result<(), ChainError> {
        let last = input.expires.0.saturating_add(self.skew).saturating_sub(1);
        let until = UnixSeconds(last.saturating_add(longer));
        let nonce = SignedNonce { signer, nonce: input.nonce.as_bytes(), until };
        match memory.admit(nonce, self.now) {
            Admission::New | Admission::Evicting => Ok(()),
            Admission::Replay => Err(ChainError::Replayed(signer.to_owned())),
            Admission::Busy => Err(ChainError::ReplayUnknown),
        }
    }

    fn check_time(&self, signed: &Signed, node: &Node, key: &NodeKey) -> Result<(), ChainError> {
        signed
            .input
            .check_time(self.now, self.skew, self.lifetime)
            .map_err(|error| ChainError::Signature { node: node.id.to_string(), error })?;
        let second = |time: i64| u64::try_from(time).unwrap_or(0);
        let window = key.window();
        // two clocks: a key counts from the tolerance before its window until the tolerance after
        // it
        if window.nbf.is_some_and(|nbf| second(self.now.0.saturating_add(self.skew)) < nbf) {
            return Err(ChainError::EarlyKey(node.id.to_string()));
        }
        if window.exp.is_some_and(|exp| second(self.now.0.saturating_sub(self.skew)) >= exp) {
            return Err(ChainError::EndedKey(node.id.to_string()));
        }
        Ok(())
    }

    /// The checks that need nothing but bytes and keys.
    fn verify(
        &self,
        lines: &Lines<'_>,
        signed: &Signed,
        node: &Node,
        key: &NodeKey,
        message: &Message<'_>,
    ) -> Result<Envelope, ChainError> {
        let by_node = |error| ChainError::Signature { node: node.id.to_string(), error };
        if !self.answers_to(message.authority) {
            return Err(ChainError::Misaddressed);
        }
        let unbound = signed.input.unbound();
        if let Some(missing) = unbound.filter(|_| node.binding != Binding::Customer) {
            return Err(by_node(SignatureError::Uncovered(missing)));
        }
        signed.verify(&key.x, message).map_err(by_node)?;

        let (tag, chain) = (signature::joined(&lines.tag), signature::joined(&lines.chain));
        let claims = Claims::parse(&tag)?;
        let mut hops = hops::parse(&chain, self.max_hops)?;
        let Some(signer) = hops.pop() else { return Err(FormatError::EmptyChain.into()) };
        if signer.node != node.id.as_str() {
            return Err(ChainError::OthersHop { hop: signer.node, node: node.id.to_string() });
        }
        if claims.node != signer.node || claims.customer != signer.customer {
            return Err(ChainError::OthersTag);
        }
        if hops.iter().chain([&signer]).any(|hop| hop.node == self.node.as_str()) {
            return Err(ChainError::Loop);
        }
        let trail = signature::joined(&lines.trail);
        let entries = trail::read(&trail, &chain, (&hops, &signer), message, |sent_to, input| {
            self.fits(signed, sent_to, input)
        });
        let mut entries = entries.into_iter();
        let mut next = || entries.next().unwrap_or(TrailEntry::Invalid(TrailError::OtherLength));
        let earlier = hops.into_iter().map(|hop| Earlier { hop, entry: next() }).collect();
        Ok(Envelope {
            signed: signed.clone(),
            bound: unbound.is_none(),
            earlier,
            signer,
            claims,
            chain: chain.into_owned(),
            tag: tag.into_owned(),
            authority: message.authority.to_owned(),
        })
    }

    /// Whether an earlier node's signature can be under this signer's: sent to another node than
    /// this one, and in force when the signer signed. So a hop's proof is of use for no longer than
    /// the signer's own signature may last.
    fn fits(&self, signer: &Signed, sent_to: &str, earlier: &Input) -> Result<(), TrailError> {
        if self.answers_to(sent_to) {
            return Err(TrailError::SentHere);
        }
        earlier.check_time(signer.input.created, self.skew, self.lifetime).map_err(|error| {
            match error {
                SignatureError::Long => TrailError::Long,
                _ => TrailError::OtherTime,
            }
        })
    }

    /// What the register says of the nodes that carried the request.
    fn doubts(&self, envelope: &Envelope, signer: &Node) -> Result<Vec<Doubt>, PageGone> {
        let mut doubts = Vec::new();
        for hop in envelope.hops() {
            let Some(node) = self.peers.node(&hop.node) else {
                doubts.push(Doubt::UnknownNode(hop.node.clone()));
                continue;
            };
            // the signer's customer is the caller, whose own findings say it
            let runner = if node.id == signer.id {
                None
            } else {
                self.peers.customer(node.customer.as_str())?
            };
            let unscreened = unscreened(node, self.now);
            doubts
                .extend(unscreened.or_else(|| runner.and_then(|customer| unfit(node, &customer))));
        }
        if let Some(hop) = envelope.hops().find(|hop| hop.attest == Attest::Gateway) {
            doubts.push(Doubt::Gateway(hop.node.clone()));
        } else if envelope.claims.chain == Some(Attest::Gateway) {
            doubts.push(Doubt::Worthless(envelope.claims.node.clone()));
        }
        Ok(doubts)
    }
}

impl fmt::Debug for Receiver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("node", self.node).finish_non_exhaustive()
    }
}

impl Proof {
    /// The customer that runs the signer's node: its id.
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// The same customer, as the register has it.
    pub fn runner(&self) -> Option<&Arc<Customer>> {
        self.runner.as_ref()
    }

    /// What speaks against it.
    pub fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }

    /// What the chain is worth: the first hop's word, or `gateway` as soon as one hop says so or
    /// isn't proven.
    pub fn worth(&self) -> Attest {
        self.worth
    }

    /// What the signature covers, and when it was made.
    pub fn input(&self) -> &Input {
        &self.envelope.signed.input
    }

    /// Whether the signature covers the one request.
    pub fn is_bound(&self) -> bool {
        self.envelope.bound
    }

    /// The name by which the signer addressed this node.
    pub fn authority(&self) -> &str {
        &self.envelope.authority
    }

    /// What the signer's tag says.
    pub fn signer_claims(&self) -> &Claims {
        &self.envelope.claims
    }

    fn earlier(&self) -> impl Iterator<Item = (&Earlier, Result<(), TrailError>)> {
        self.envelope.earlier.iter().zip(self.trail.iter().copied())
    }

    /// Everyone who carried the request, the signer last, each with whether its signature is
    /// proven.
    pub fn hops(&self) -> impl Iterator<Item = (&Hop, Result<(), TrailError>)> {
        let earlier = self.earlier().map(|(earlier, proof)| (&earlier.hop, proof));
        earlier.chain([(&self.envelope.signer, Ok(()))])
    }

    /// What proven tags say, with who says it: the signer's own, then those of earlier hops.
    pub fn claims(&self) -> impl Iterator<Item = (&Hop, &Claims)> {
        let proven = self.earlier().filter(|(_, proof)| proof.is_ok());
        let earlier = proven.filter_map(|(Earlier { hop, entry }, _)| Some((hop, entry.claims()?)));
        [(&self.envelope.signer, &self.envelope.claims)].into_iter().chain(earlier)
    }

    /// Whether no doubt is left that would make vouching for it a lie.
    pub fn is_trusted(&self) -> bool {
        self.doubts.iter().all(|doubt| {
            matches!(doubt.code(), FindingCode::ChainIncomplete | FindingCode::ChainUnproven)
        })
    }

    /// The signer's signature, which the next hop's `prev` names.
    pub fn signature(&self) -> &[u8] {
        &self.envelope.signed.signature
    }

    /// The chain as it goes on: byte by byte as received, and this node's own hop.
    pub fn chain_onward(
        &self,
        node: &NodeId,
        customer: Option<&str>,
        attest: Attest,
    ) -> Option<String> {
        let before = (self.envelope.chain.as_slice(), prev_of(self.signature()));
        hops::append(Some(before), node.as_str(), customer, attest)
    }

    /// The trail as it goes on: proven members as received, `()` for the others, and the signer's
    /// own.
    pub fn trail_onward(&self) -> Option<String> {
        let earlier = self.earlier().map(|(earlier, proof)| (&earlier.entry, proof));
        let Envelope { tag, signed, authority, .. } = &*self.envelope;
        trail::onward(earlier, (tag, signed, authority))
    }
}

/// Why a node isn't screened.
fn unscreened(node: &Node, now: UnixSeconds) -> Option<Doubt> {
    let id = || node.id.to_string();
    match &node.screening {
        None => Some(Doubt::NoScreening(id())),
        Some(screening) if screening.status != ScreeningStatus::Passed => {
            Some(Doubt::Screening { node: id(), status: screening.status })
        }
        Some(screening) => {
            let until = screening.until.filter(|until| *until <= now)?;
            Some(Doubt::ScreeningEnded { node: id(), until })
        }
    }
}

/// Why the customer that runs a node isn't fit to, whatever the node's own screening says.
fn unfit(node: &Node, customer: &Customer) -> Option<Doubt> {
    let (node, id) = (node.id.to_string(), customer.id.to_string());
    match (customer.status, customer.ownership()) {
        (Status::Suspended, _) => Some(Doubt::Suspended { node, customer: id }),
        (_, Ownership::Restricted) => Some(Doubt::RestrictedOwner { node, customer: id }),
        _ => None,
    }
}
