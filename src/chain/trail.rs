//! `Compliance-Trail`: what each earlier node signed, so that nobody need take the last signer's
//! word.
//!
//! One member per earlier hop, in chain order:
//! `(:tag's bytes: :signature's bytes:);authority="…";params="…"`. With the chain cut after that
//! hop and the request's own method and path the signature base is whole again. A hop that nobody
//! proved has an empty list, `()`, so that the others keep their places.

use std::sync::OnceLock;

use sfv::{BareItem, KeyRef, ListEntry, ListSerializer, Parser, RefBareItem, StringRef, key_ref};
use thiserror::Error;

use super::hops::{Claims, FormatError, Hop, prev_of};
use crate::chain::signature::{self, Input, Message, Signed};
use crate::register::{Binding, Node, NodeKey};
use crate::terms::key::SIGNATURE_LENGTH;

/// The header's name.
pub const HEADER: &str = "compliance-trail";

const AUTHORITY: &KeyRef = key_ref("authority");
const PARAMS: &KeyRef = key_ref("params");

/// What a trail shows of one earlier hop.
#[derive(Debug)]
pub(super) enum TrailEntry {
    /// Nothing
    Absent,
    /// A member that can't be that hop's
    Invalid(TrailError),
    /// A signature whose base is whole. Whether it verifies depends on the key
    Signature(Box<TrailMember>),
}

/// A member of the trail with the base of its signature.
#[derive(Debug)]
pub(super) struct TrailMember {
    signed: Signed,
    base: Vec<u8>,
    claims: Claims,
    /// The member as received
    text: Vec<u8>,
    /// Whether it verifies, once that was asked. The key's thumbprint is signed too, so there is
    /// one key
    verifies: OnceLock<bool>,
}

/// Why an earlier hop isn't proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TrailError {
    /// The trail has `()` in its place, or there is none
    #[error("the trail doesn't show it")]
    Absent,
    /// Not a list of structured fields
    #[error("the trail isn't a list")]
    NotList,
    /// More or fewer members than earlier hops
    #[error("the trail has another number of hops than the chain")]
    OtherLength,
    /// A member is an item
    #[error("a member of the trail isn't a list")]
    MemberType,
    /// A member isn't a pair of bytes
    #[error("a member of the trail isn't a tag and a signature")]
    NotPair,
    /// The next hop's `prev` is the digest of another signature
    #[error("it isn't the signature that the next hop names")]
    OtherSignature,
    /// `authority` or `params` is missing
    #[error("a member of the trail lacks parameters")]
    NoParameters,
    /// `params` aren't those of this profile
    #[error("its parameters aren't this profile's")]
    Parameters,
    /// It was signed for this node
    #[error("it was sent to this node, not to the next hop")]
    SentHere,
    /// It outlasts what this node takes
    #[error("it is to last longer than this node takes")]
    Long,
    /// It wasn't in force when the signer signed
    #[error("it was signed at another time than what stands on it")]
    OtherTime,
    /// Its tag can't be read
    #[error("the tag isn't a dictionary")]
    TagType,
    /// Its tag has no `node`
    #[error("the tag doesn't say whose it is")]
    NoTagNode,
    /// Its tag names another node or customer than the chain
    #[error("its tag is another hop's")]
    OthersTag,
    /// It covers a component that this request lacks
    #[error("it covers what isn't there")]
    Uncovered,
    /// The register has the key under another node
    #[error("its key is another node's")]
    OthersKey,
    /// The key's window didn't hold the signature's time
    #[error("its key didn't count then")]
    KeyWindow,
    /// It covers no single request, though its node binds each
    #[error("it isn't bound to the request")]
    Unbound,
    /// The bytes don't verify
    #[error("its signature doesn't verify")]
    Forged,
    /// No node has the key
    #[error("its key isn't in the register")]
    UnknownKey,
}

impl From<FormatError> for TrailError {
    fn from(error: FormatError) -> Self {
        if error == FormatError::NoTagNode { Self::NoTagNode } else { Self::TagType }
    }
}

impl TrailEntry {
    fn member(&self) -> Option<&TrailMember> {
        match self {
            Self::Signature(member) => Some(member),
            Self::Absent | Self::Invalid(_) => None,
        }
    }

    /// What that hop signed.
    pub(super) fn input(&self) -> Option<&Input> {
        self.member().map(|member| &member.signed.input)
    }

    /// What that hop's tag says.
    pub(super) fn claims(&self) -> Option<&Claims> {
        self.member().map(|member| &member.claims)
    }

    /// Whether another request could have shown the same.
    pub(super) fn is_of_any_request(&self) -> bool {
        match self {
            Self::Absent => true,
            // the member may be invalid because it covers a header that this request lacks
            Self::Invalid(_) => false,
            Self::Signature(member) => member.signed.input.is_of_any_request(),
        }
    }

    /// Whether it proves that hop, by the keys of the register.
    pub(super) fn verify<'n>(
        &self,
        hop: &Hop,
        key: impl Fn(&str) -> Option<(&'n Node, &'n NodeKey)>,
    ) -> Result<(), TrailError> {
        let member = match self {
            Self::Absent => return Err(TrailError::Absent),
            Self::Invalid(error) => return Err(*error),
            Self::Signature(member) => member,
        };
        let Signed { input, signature } = &member.signed;
        let (node, key) = key(&input.keyid).ok_or(TrailError::UnknownKey)?;
        if node.id.as_str() != hop.node {
            return Err(TrailError::OthersKey);
        }
        // its nonce is remembered for no longer than this
        if !key.window().contains(u64::try_from(input.created.0).unwrap_or(0)) {
            return Err(TrailError::KeyWindow);
        }
        if node.binding != Binding::Customer && input.unbound().is_some() {
            return Err(TrailError::Unbound);
        }
        // not under `get_or_init`: others would wait for a signature
        let known = member.verifies.get().copied();
        let verifies = known.unwrap_or_else(|| key.x.verify(&member.base, signature));
        let _known = member.verifies.set(verifies);
        if verifies { Ok(()) } else { Err(TrailError::Forged) }
    }
}

/// Reads a trail: an entry for each of the `earlier` hops before the signer. `fits` says whether a
/// signature that was sent to that name can be the proof of an earlier hop.
pub(super) fn read(
    trail: &[u8],
    chain: &[u8],
    (earlier, signer): (&[Hop], &Hop),
    message: &Message<'_>,
    fits: impl Fn(&str, &Input) -> Result<(), TrailError>,
) -> Vec<TrailEntry> {
    let all = |entry: fn() -> TrailEntry| earlier.iter().map(|_| entry()).collect();
    if trail.is_empty() {
        return all(|| TrailEntry::Absent);
    }
    let Ok(list) = Parser::new(trail).parse::<sfv::List>() else {
        return all(|| TrailEntry::Invalid(TrailError::NotList));
    };
    let texts: Vec<&[u8]> = signature::members(trail).collect();
    if list.len() != earlier.len() || texts.len() != earlier.len() {
        return all(|| TrailEntry::Invalid(TrailError::OtherLength));
    }
    let next = earlier.iter().skip(1).chain([signer]);
    let hops = earlier.iter().zip(next).zip(cuts(chain));
    list.iter()
        .zip(texts)
        .zip(hops)
        .map(|((member, text), ((hop, next), cut))| {
            let chain = chain.get(..cut).unwrap_or(chain);
            read_member(member, text, chain, (hop, next), message, &fits)
                .unwrap_or_else(TrailEntry::Invalid)
        })
        .collect()
}

/// Where each member of a chain ends.
fn cuts(chain: &[u8]) -> Vec<usize> {
    let begin = chain.as_ptr().addr();
    signature::members(chain)
        .map(|member| member.as_ptr().addr().saturating_sub(begin).saturating_add(member.len()))
        .collect()
}

fn read_member(
    member: &ListEntry,
    text: &[u8],
    chain: &[u8],
    (hop, next): (&Hop, &Hop),
    message: &Message<'_>,
    fits: impl Fn(&str, &Input) -> Result<(), TrailError>,
) -> Result<TrailEntry, TrailError> {
    let ListEntry::InnerList(list) = member else { return Err(TrailError::MemberType) };
    let (tag, signature) = match list.items.as_slice() {
        [] => return Ok(TrailEntry::Absent),
        [tag, signature] => {
            (tag.bare_item.as_byte_sequence(), signature.bare_item.as_byte_sequence())
        }
        _ => return Err(TrailError::NotPair),
    };
    let signature: Option<[u8; SIGNATURE_LENGTH]> =
        signature.and_then(|bytes| bytes.try_into().ok());
    let (Some(tag), Some(signature)) = (tag, signature) else {
        return Err(TrailError::NotPair);
    };
    if next.prev != Some(prev_of(&signature)) {
        return Err(TrailError::OtherSignature);
    }
    let word = |name: &KeyRef| {
        list.params.get(name).and_then(BareItem::as_string).map(|text| text.as_str())
    };
    let (Some(authority), Some(params)) = (word(AUTHORITY), word(PARAMS)) else {
        return Err(TrailError::NoParameters);
    };
    let input = Input::parse(params).map_err(|_| TrailError::Parameters)?;
    fits(authority, &input)?;
    let claims = Claims::parse(tag)?;
    if claims.node != hop.node || claims.customer != hop.customer {
        return Err(TrailError::OthersTag);
    }
    let values = [("compliance-tag", tag), ("compliance-chain", chain)];
    let base = input
        .base(&Message { authority, values: &values, ..*message })
        .map_err(|_| TrailError::Uncovered)?;
    Ok(TrailEntry::Signature(Box::new(TrailMember {
        signed: Signed { input, signature },
        base,
        claims,
        text: text.to_vec(),
        verifies: OnceLock::new(),
    })))
}

/// The trail as it goes on: proven members as received, `()` for the others, and the signer's own.
pub(super) fn onward<'e>(
    earlier: impl Iterator<Item = (&'e TrailEntry, Result<(), TrailError>)>,
    (tag, signed, authority): (&[u8], &Signed, &str),
) -> Option<String> {
    let mut trail = String::new();
    for (entry, proof) in earlier {
        let text = entry.member().filter(|_| proof.is_ok()).map_or(&b"()"[..], |shown| &shown.text);
        trail.push_str(std::str::from_utf8(text).ok()?);
        trail.push_str(", ");
    }
    let mut own = String::new();
    let mut list = ListSerializer::with_buffer(&mut own);
    {
        let mut pair = list.inner_list();
        pair.bare_item(RefBareItem::ByteSequence(tag));
        pair.bare_item(RefBareItem::ByteSequence(&signed.signature));
        let member = pair.finish().parameter(AUTHORITY, StringRef::from_str(authority).ok()?);
        member.parameter(PARAMS, StringRef::from_str(signed.input.params()).ok()?);
    }
    list.finish()?;
    trail.push_str(&own);
    Some(trail)
}
