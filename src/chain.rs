//! The chain: what the nodes before this one attested, verified, and what goes on from here.
//!
//! ```text
//! headers ──> Presented     ──> Opened              ──> Received
//! (lines)     ours taken out    signature, structure    against register and clock:
//!                               and trail verified      what holds, what fires
//! ```
//!
//! Opening depends on the bytes and the keys alone, so its result is kept where a binding lets a signature
//! come again ([`Custody`]). What time and the register say is looked at each time.

pub mod custody;
pub mod hops;
pub mod trail;

use std::rc::Rc;

pub use custody::Custody;
use hops::{Claims, Hop, prev_of};
use trail::Shown;

use crate::config::{Config, CredentialPlace};
use crate::evidence::Evidence;
use crate::finding::FindingCode;
use crate::identity::Identity;
use crate::lookups::Lookups;
use crate::names::UnixSeconds;
use crate::register::{
    Binding, Customer, Kind, Name, Node, NodeKey, Ownership, ScreeningStatus, Status,
};
use crate::replay::Entered;
use crate::request::Request;
use crate::shape::words;
use crate::signature::{self, Fault, Message, Signatures, Signed};

words! {
    /// How far a node vouches for a request, in the words of STIR/SHAKEN (ATIS-1000074), from the weakest on.
    pub enum Attest {
        /// Passed on, not vouched for
        Gateway = "gateway",
        /// The customer is known, and vouches for what stands behind it
        Partial = "partial",
        /// The customer is known and screened, and the request is its own
        Full = "full",
    }
}

/// The lines of tag, chain, trail and signatures, as received.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lines<'a> {
    /// `Compliance-Tag`
    pub tag: Vec<&'a [u8]>,
    /// `Compliance-Chain`
    pub chain: Vec<&'a [u8]>,
    /// `Compliance-Trail`
    pub trail: Vec<&'a [u8]>,
    /// `Signature-Input`
    pub signature_input: Vec<&'a [u8]>,
    /// `Signature`
    pub signature: Vec<&'a [u8]>,
}

/// What came of tag and chain, not judged yet.
#[derive(Debug, Default)]
pub struct Presented {
    /// Whether anything came that only a node may send
    pub any: bool,
    /// The signature headers, ours taken out
    pub signatures: Rc<Signatures>,
    /// What was opened before of the very same lines
    opened: Option<Rc<Opened>>,
}

/// A verified signature with what it covers. Nothing in it depends on the time or on screening.
#[derive(Debug)]
pub struct Opened {
    /// The signature, as received
    pub signed: Signed,
    /// Whether it is bound to the one request
    pub bound: bool,
    /// Everyone who carried the request, the signer last
    pub hops: Vec<Hop>,
    /// What the signer's tag says
    pub claims: Claims,
    /// What was shown of each earlier hop, in chain order
    pub shown: Vec<Shown>,
    /// The chain's bytes
    pub chain: Vec<u8>,
    /// The tag's bytes
    pub tag: Vec<u8>,
    /// The name by which the signer addressed this node
    pub authority: String,
}

/// What a caller's chain turned out to be.
#[derive(Debug)]
pub enum Received {
    /// The caller isn't one whom chains concern
    Unconcerned,
    /// It is, and sent none
    Missing,
    /// It doesn't hold
    Broken(Broken),
    /// It holds, but for what is said
    Verified(Verified),
}

/// A chain that doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The finding
    pub code: FindingCode,
    /// Its evidence
    pub why: String,
    /// The customer that runs the node whose key it names, for the event. It proves nothing: anybody can name a key
    pub customer: Option<String>,
}

/// A chain that holds.
#[derive(Debug)]
pub struct Verified {
    /// The signature and what it covers
    pub opened: Rc<Opened>,
    /// The customer that runs the signer's node
    pub customer: String,
    /// What speaks against a hop, by the register and the clock
    pub remarks: Vec<(FindingCode, String)>,
    /// For each earlier hop why it is only the signer's word; `None` where it was proven
    pub unproven: Vec<Option<String>>,
    /// What the whole is worth: the first hop's word, or `gateway` as soon as one hop says so or isn't proven
    pub worth: Attest,
}

impl Lines<'_> {
    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.tag.is_empty()
            && self.chain.is_empty()
            && self.trail.is_empty()
            && self.signature.is_empty()
            && self.signature_input.is_empty()
    }
}

impl Opened {
    /// Whether nothing that it rests on is looked up in the request but what the lines themselves say.
    fn is_of_any_request(&self) -> bool {
        self.signed.input.is_of_any_request() && self.shown.iter().all(Shown::is_of_any_request)
    }
}

impl Presented {
    /// Takes our signature out of the others, unless the same lines were opened before.
    pub fn read(lines: &Lines<'_>, request: &Request<'_>, custody: &Custody) -> Self {
        if lines.is_empty() {
            return Self::default();
        }
        if let Some((signatures, opened)) = custody.opened(lines, request) {
            return Self { any: true, signatures, opened: Some(opened) };
        }
        let signatures = Rc::new(Signatures::take(&lines.signature_input, &lines.signature));
        let any = signatures.ours.is_some()
            || !lines.tag.is_empty()
            || !lines.chain.is_empty()
            || !lines.trail.is_empty();
        Self { any, signatures, opened: None }
    }
}

/// Whether a signature may name the caller.
fn identifies(config: &Config) -> bool {
    config.sources.iter().any(|source| source.place == CredentialPlace::Chain)
}

impl Received {
    /// Adds whether the signer is who authenticated.
    fn matched(mut self, identity: &Identity) -> Self {
        if let (Self::Verified(verified), Some(customer)) = (&mut self, identity.customer())
            && verified.customer != customer.id.as_str()
        {
            let why = format!("signed by {}, authenticated as {}", verified.customer, customer.id);
            verified.remarks.push((FindingCode::ChainMismatch, why));
        }
        self
    }

    /// The chain, where it holds.
    pub fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Verified(verified) => Some(verified),
            Self::Unconcerned | Self::Missing | Self::Broken(..) => None,
        }
    }

    /// Whether this caller may send tag and chain.
    pub fn concerns(&self) -> bool {
        !matches!(self, Self::Unconcerned)
    }
}

impl Verified {
    /// The signer's hop.
    pub fn signer(&self) -> Option<&Hop> {
        self.opened.hops.last()
    }

    /// Everyone who carried the request, with why it is only somebody's word; `None` where its signature is proven.
    pub fn hops(&self) -> impl Iterator<Item = (&Hop, Option<&str>)> {
        let why = |i: usize| self.unproven.get(i).and_then(Option::as_deref); // the signer, who comes last, has no entry
        self.opened.hops.iter().enumerate().map(move |(i, hop)| (hop, why(i)))
    }

    /// Earlier hops whose own signature is proven, with what was shown of each.
    fn proven(&self) -> impl Iterator<Item = (&Hop, &Shown)> {
        let earlier = self.opened.hops.iter().zip(&self.opened.shown).zip(&self.unproven);
        earlier.filter(|(_, unproven)| unproven.is_none()).map(|(pair, _)| pair)
    }

    /// What proven tags say, with who says it: the signer's own, then those of earlier hops.
    pub fn claims(&self) -> impl Iterator<Item = (&Hop, &Claims)> {
        let earlier = self.proven().filter_map(|(hop, shown)| Some((hop, shown.claims()?)));
        self.signer().map(|signer| (signer, &self.opened.claims)).into_iter().chain(earlier)
    }

    /// Earlier hops whose own signature is proven, and was for this one request.
    fn proven_once(&self) -> impl Iterator<Item = (&Hop, &signature::Input)> {
        self.proven()
            .filter_map(|(hop, shown)| Some((hop, shown.input()?)))
            .filter(|(_, input)| input.unbound().is_none())
    }

    /// Whether nothing speaks against it that would make vouching for it a lie.
    pub fn stands(&self) -> bool {
        self.remarks.iter().all(|(code, _)| {
            matches!(code, FindingCode::ChainIncomplete | FindingCode::ChainUnproven)
        })
    }
}

/// A fault, as a finding.
fn invalid(why: impl ToString) -> (FindingCode, String) {
    (FindingCode::ChainInvalid, why.to_string())
}

/// What a chain is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'j, 'a> {
    /// The configuration
    pub config: &'a Config,
    /// The register
    pub lookups: Lookups<'a>,
    /// The request
    pub request: &'j Request<'a>,
    /// Its evidence
    pub evidence: &'j Evidence<'a>,
    /// Tag, chain and signatures as received
    pub presented: &'j Presented,
    /// The clock
    pub now: UnixSeconds,
}

impl Judge<'_, '_> {
    /// Verifies what a caller's chain says, where chains concern it: customers that are resellers, and callers
    /// whom nothing but the signature names.
    pub fn receive(&self, identity: &Identity, custody: &mut Custody) -> Received {
        let reseller = identity.customer().map(|customer| customer.kind == Kind::Reseller);
        let concerned = match (identity, reseller) {
            (_, Some(true)) if !self.presented.any => return Received::Missing,
            (_, Some(true)) => true,
            (Identity::Missing | Identity::Unknown, _) => {
                self.presented.any && identifies(self.config)
            }
            _ => false,
        };
        if !concerned {
            return Received::Unconcerned;
        }
        self.open(custody).map_or_else(Received::Broken, Received::Verified).matched(identity)
    }

    /// Verifies what came, whoever sent it.
    ///
    /// # Errors
    /// Why it doesn't hold.
    pub fn open(&self, custody: &mut Custody) -> Result<Verified, Broken> {
        let of_nobody = |(code, why)| Broken { code, why, customer: None };
        let signed = match &self.presented.signatures.ours {
            None => return Err(of_nobody(invalid(Fault::Missing))),
            Some(Err(fault)) => return Err(of_nobody(invalid(fault))),
            Some(Ok(signed)) => signed,
        };
        let Some((node, key)) =
            self.lookups.nodes().and_then(|nodes| nodes.by_thumbprint(&signed.input.keyid))
        else {
            return Err(of_nobody((
                FindingCode::ChainUnknownNode,
                "no node in the register has the key that signed".into(),
            )));
        };
        let opened = self.open_of(signed, node, key, custody);
        opened.map_err(|(code, why)| Broken {
            code,
            why,
            customer: Some(node.customer.to_string()),
        })
    }

    /// The same, once it is known whose key it names.
    fn open_of(
        &self,
        signed: &Signed,
        node: &Node,
        key: &NodeKey,
        custody: &mut Custody,
    ) -> Result<Verified, (FindingCode, String)> {
        let Self { evidence, presented, .. } = self;
        // what costs little comes before what costs much
        self.check_time(signed, node, key)?;
        let opened = match &presented.opened {
            // the key may have become another node's since
            Some(opened) if opened.claims.node == node.id.as_str() => Rc::clone(opened),
            _ => {
                let opened = Rc::new(self.verify(signed, node, key)?);
                custody.keep(&evidence.lines, self.request, &presented.signatures, &opened);
                opened
            }
        };
        // a node may have got another binding since
        if !opened.bound && node.binding != Binding::Customer {
            return Err(invalid(format!(
                "it isn't bound to the request, and {} signs each",
                node.id
            )));
        }
        // before the trail, whose every signature costs as much as this one did
        if opened.bound {
            self.enter(custody, &signed.input, node.id.as_str(), 0)?;
        }
        let verified = self.judge(opened, node);
        // or one request of an earlier node would vouch for any number of the signer's own
        for (hop, input) in verified.proven_once() {
            // a signer may date its own signature back to when this one still held, see `fits`
            self.enter(
                custody,
                input,
                &hop.node,
                self.lifetime().saturating_add(self.skew()).saturating_sub(1),
            )?;
        }
        Ok(verified)
    }

    /// Enters a signature's nonce until `longer` seconds after the last in which it holds, see `Input::check_time`.
    fn enter(
        &self,
        custody: &mut Custody,
        input: &signature::Input,
        node: &str,
        longer: i64,
    ) -> Result<(), (FindingCode, String)> {
        let until = UnixSeconds(
            input.expires.0.saturating_add(self.skew()).saturating_sub(1).saturating_add(longer),
        );
        match custody.enter(node, &input.nonce, until, self.now) {
            Entered::New | Entered::Forgotten => Ok(()),
            Entered::Seen => {
                Err((FindingCode::ChainReplayed, format!("signed by {node}, and seen before")))
            }
            Entered::Busy => Err((
                FindingCode::ChainReplayed,
                "whether it was seen before can't be told: too many at once".into(),
            )),
        }
    }

    fn skew(&self) -> i64 {
        i64::try_from(self.config.chain.skew_seconds.0).unwrap_or(0)
    }

    fn lifetime(&self) -> i64 {
        i64::try_from(self.config.chain.max_lifetime_seconds.0).unwrap_or(0)
    }

    fn check_time(
        &self,
        signed: &Signed,
        node: &Node,
        key: &NodeKey,
    ) -> Result<(), (FindingCode, String)> {
        signed.input.check_time(self.now, self.skew(), self.lifetime()).map_err(|fault| {
            let code = if fault == Fault::Expired {
                FindingCode::ChainExpired
            } else {
                FindingCode::ChainInvalid
            };
            (code, format!("signed by {}: {fault}", node.id))
        })?;
        let second = |time: i64| u64::try_from(time).unwrap_or(0);
        let window = key.window();
        // two clocks, so a key counts from the tolerance before its window until the tolerance after it
        if window.nbf.is_some_and(|nbf| second(self.now.0.saturating_add(self.skew())) < nbf) {
            return Err(invalid(format!("the key of {} doesn't count yet", node.id)));
        }
        if window.exp.is_some_and(|exp| second(self.now.0.saturating_sub(self.skew())) >= exp) {
            return Err((
                FindingCode::ChainExpired,
                format!("the key of {} no longer counts", node.id),
            ));
        }
        Ok(())
    }

    /// What needs nothing but bytes and keys.
    fn verify(
        &self,
        signed: &Signed,
        node: &Node,
        key: &NodeKey,
    ) -> Result<Opened, (FindingCode, String)> {
        let lines = &self.evidence.lines;
        let authority = signature::authority(self.request.first(":authority").unwrap_or_default())
            .unwrap_or_default();
        if !self.config.answers_to(&authority) {
            return Err(invalid("it is addressed to a name that this node doesn't answer to"));
        }
        let unbound = signed.input.unbound();
        if let Some(missing) = unbound
            && node.binding != Binding::Customer
        {
            return Err(invalid(format!("signed by {}: {}", node.id, Fault::Uncovered(missing))));
        }
        let message = Message {
            method: self.request.first(":method").unwrap_or_default(),
            authority: &authority,
            path: self.request.path(),
            values: &[],
            fields: &self.request.headers,
        };
        signed
            .verify(&key.x, &message)
            .map_err(|fault| invalid(format!("signed by {}: {fault}", node.id)))?;

        let (tag, chain) = (signature::joined(&lines.tag), signature::joined(&lines.chain));
        let claims = Claims::parse(&tag).map_err(invalid)?;
        let most = usize::try_from(self.config.chain.max_hops.0).unwrap_or(usize::MAX);
        let hops = hops::parse(&chain, most).map_err(invalid)?;
        let Some(last) = hops.last() else { return Err(invalid("the chain names nobody")) };
        if last.node != node.id.as_str() {
            return Err(invalid(format!("the last hop is {}, signed by {}", last.node, node.id)));
        }
        if claims.node != last.node || claims.customer != last.customer {
            return Err(invalid("tag and last hop name different nodes or customers"));
        }
        if hops.iter().any(|hop| hop.node == self.config.node.id.as_str()) {
            return Err(invalid("this node stands in it already: a loop"));
        }
        let trail = signature::joined(&lines.trail);
        let shown = trail::read(&trail, &chain, &hops, &message, |sent_to, input| {
            self.fits(signed, sent_to, input)
        });
        Ok(Opened {
            signed: signed.clone(),
            bound: unbound.is_none(),
            hops,
            claims,
            shown,
            chain: chain.into_owned(),
            tag: tag.into_owned(),
            authority,
        })
    }

    /// Whether what an earlier node signed can stand under this signer's: sent to somebody else than this node, and in force
    /// when the signer signed. So a hop's proof is of use for no longer than the signer's own signature may last.
    fn fits(
        &self,
        signer: &Signed,
        sent_to: &str,
        earlier: &signature::Input,
    ) -> Result<(), &'static str> {
        if self.config.answers_to(sent_to) {
            return Err("it was sent to this node, not to the next hop");
        }
        earlier.check_time(signer.input.created, self.skew(), self.lifetime()).map_err(|fault| {
            match fault {
                Fault::Long => "it is to last longer than this node takes",
                _ => "it was signed at another time than what stands on it",
            }
        })
    }

    /// What the register and the clock say of a chain that verified.
    fn judge(&self, opened: Rc<Opened>, signer: &Node) -> Verified {
        let mut remarks = Vec::new();
        for hop in &opened.hops {
            let node = self.lookups.nodes().and_then(|nodes| nodes.by_id(&hop.node));
            match node {
                None => remarks.push((
                    FindingCode::ChainUnknownNode,
                    format!("{} isn't in the register", hop.node),
                )),
                Some(node) => {
                    // the signer's customer is the caller, whose own findings say it
                    let runs = (node.id != signer.id)
                        .then(|| self.lookups.customer(Name::Id(node.customer.as_str())))
                        .flatten();
                    if let Some(why) = unscreened(node, self.now)
                        .or_else(|| runs.and_then(|runs| unfit(node, &runs.customer)))
                    {
                        remarks.push((FindingCode::ChainUnscreenedNode, why));
                    }
                }
            }
        }
        let silent = opened.hops.iter().find(|hop| hop.attest == Attest::Gateway);
        let incomplete = match silent {
            Some(hop) => Some(format!("{} doesn't vouch for what came before it", hop.node)),
            None if opened.claims.chain == Some(Attest::Gateway) => Some(format!(
                "{} says that the chain is worth no more than `gateway`",
                opened.claims.node
            )),
            None => None,
        };
        let is_complete = incomplete.is_none();
        remarks.extend(incomplete.map(|why| (FindingCode::ChainIncomplete, why)));
        let lookup =
            |keyid: &str| self.lookups.nodes().and_then(|nodes| nodes.by_thumbprint(keyid));
        let unproven = trail::judge(&opened, lookup);
        let mut words: Vec<&str> = unproven.iter().flatten().map(String::as_str).collect();
        words.dedup();
        if !words.is_empty() {
            remarks.push((FindingCode::ChainUnproven, words.join(", ")));
        }
        // a proof that is missing is worth no more than a wrong one, or leaving it out would pay
        let is_proven = unproven.iter().all(Option::is_none);
        let first = opened.hops.first().map_or(Attest::Gateway, |hop| hop.attest);
        let worth = if is_complete && is_proven { first } else { Attest::Gateway };
        Verified { customer: signer.customer.to_string(), opened, remarks, unproven, worth }
    }
}

/// Why a node isn't screened.
fn unscreened(node: &Node, now: UnixSeconds) -> Option<String> {
    match &node.screening {
        None => Some(format!("{} has no screening on record", node.id)),
        Some(screening) if screening.status != ScreeningStatus::Passed => {
            Some(format!("{}: screening {}", node.id, screening.status))
        }
        Some(screening) => screening
            .until
            .filter(|until| *until <= now)
            .map(|until| format!("{}: screened until {until}", node.id)),
    }
}

/// Why whoever runs a node isn't fit to, whatever the node's own screening says.
fn unfit(node: &Node, customer: &Customer) -> Option<String> {
    let why = match (customer.status, customer.ownership()) {
        (Status::Suspended, _) => "is suspended",
        (_, Ownership::Restricted) => "is owned from a restricted region",
        _ => return None,
    };
    Some(format!("{}: its customer {} {why}", node.id, customer.id))
}

/// What this node vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vouched {
    /// How far, for its own hop
    pub attest: Attest,
    /// What the whole chain is worth, where earlier hops stand in it
    pub chain: Option<Attest>,
}

impl Vouched {
    /// `full` for a screened customer's own request, `partial` for a reseller's whose chain was verified,
    /// `gateway` for all else.
    pub fn for_request(identity: &Identity, received: &Received) -> Self {
        let screened = identity
            .customer()
            .filter(|customer| customer.screening_status() == Some(ScreeningStatus::Passed));
        let verified = received.verified();
        let attest = match (screened.map(|customer| customer.kind), verified) {
            (Some(_), Some(verified)) if verified.stands() => Attest::Partial,
            (Some(Kind::Customer), None) if !received.concerns() => Attest::Full,
            _ => Attest::Gateway,
        };
        Self {
            attest,
            chain: verified.map(|verified| {
                verified.worth.min(if attest == Attest::Gateway { attest } else { Attest::Full })
            }),
        }
    }
}

/// The chain as it goes on from here: what was received, byte by byte, and this node's own hop.
pub fn onward(
    config: &Config,
    customer: Option<&str>,
    vouched: Vouched,
    received: Option<&Verified>,
) -> Option<String> {
    let before = received.map(|verified| {
        (verified.opened.chain.as_slice(), prev_of(&verified.opened.signed.signature))
    });
    hops::append(before, config.node.id.as_str(), customer, vouched.attest)
}
