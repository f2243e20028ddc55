//! `Compliance-Trail`: what each earlier node signed, so that nobody need take the last signer's word.
//!
//! One member per earlier hop, in chain order: `(:tag's bytes: :signature's bytes:);authority="…";params="…"`.
//! With the chain cut after that hop and the request's own method and path the signature base is whole again.
//! A hop that nobody proved has an empty list, `()`, so that the others keep their places.

use std::cell::Cell;

use sfv::{BareItem, KeyRef, ListEntry, ListSerializer, Parser, RefBareItem, StringRef, key_ref};

use super::Opened;
use super::hops::{Claims, Hop, prev_of};
use crate::key::SIGNATURE_LENGTH;
use crate::register::{Binding, Node, NodeKey};
use crate::signature::{self, Input, Message, Signed};

/// The header's name.
pub const HEADER: &str = "compliance-trail";

const AUTHORITY: &KeyRef = key_ref("authority");
const PARAMS: &KeyRef = key_ref("params");

/// What a trail shows of one earlier hop.
#[derive(Debug)]
pub enum Shown {
    /// Nothing
    Nothing,
    /// Something that can't be
    Wrong(&'static str),
    /// A signature whose base is whole; whether it verifies depends on the key
    Signature(Box<Member>),
}

/// A member of the trail with the base of its signature.
#[derive(Debug)]
pub struct Member {
    signed: Signed,
    base: Vec<u8>,
    claims: Claims,
    /// The member as received
    text: Vec<u8>,
    /// Whether it verifies, once that was asked: the key's thumbprint is signed with it, so there is but one key
    verifies: Cell<Option<bool>>,
}

impl Shown {
    /// What that hop signed.
    pub fn input(&self) -> Option<&Input> {
        match self {
            Self::Signature(member) => Some(&member.signed.input),
            Self::Nothing | Self::Wrong(_) => None,
        }
    }

    /// Whether another request could have shown the same.
    pub fn is_of_any_request(&self) -> bool {
        match self {
            Self::Nothing => true,
            // what is wrong may be that it covers what this request lacks
            Self::Wrong(_) => false,
            Self::Signature(member) => member.signed.input.is_of_any_request(),
        }
    }

    /// What that hop's tag says.
    pub fn claims(&self) -> Option<&Claims> {
        match self {
            Self::Signature(member) => Some(&member.claims),
            Self::Nothing | Self::Wrong(_) => None,
        }
    }
}

/// Reads a trail: what it shows of each hop but the last, the signer's. `fits` says by the name that a member was sent to
/// and by what was signed whether it can be the proof of an earlier hop.
pub(super) fn read(
    trail: &[u8],
    chain: &[u8],
    hops: &[Hop],
    message: &Message<'_>,
    fits: impl Fn(&str, &Input) -> Result<(), &'static str>,
) -> Vec<Shown> {
    let earlier = hops.len().saturating_sub(1);
    let all = |shown: fn() -> Shown| (0..earlier).map(|_| shown()).collect();
    if trail.is_empty() {
        return all(|| Shown::Nothing);
    }
    let Ok(list) = Parser::new(trail).parse::<sfv::List>() else {
        return all(|| Shown::Wrong("the trail is no list"));
    };
    let texts: Vec<&[u8]> = signature::members(trail).collect();
    if list.len() != earlier || texts.len() != earlier {
        return all(|| Shown::Wrong("the trail has another number of hops than the chain"));
    }
    let cuts = cuts(chain);
    let mut shown = Vec::with_capacity(earlier);
    for (i, (member, text)) in list.iter().zip(texts).enumerate() {
        let (Some(hop), Some(next), Some(cut)) =
            (hops.get(i), hops.get(i.saturating_add(1)), cuts.get(i))
        else {
            break;
        };
        let chain = chain.get(..*cut).unwrap_or(chain);
        shown.push(
            show(member, text, chain, (hop, next), message, &fits).unwrap_or_else(Shown::Wrong),
        );
    }
    shown
}

/// Where each member of a chain ends.
fn cuts(chain: &[u8]) -> Vec<usize> {
    let begin = chain.as_ptr().addr();
    signature::members(chain)
        .map(|member| member.as_ptr().addr().saturating_sub(begin).saturating_add(member.len()))
        .collect()
}

fn show(
    member: &ListEntry,
    text: &[u8],
    chain: &[u8],
    (hop, next): (&Hop, &Hop),
    message: &Message<'_>,
    fits: impl Fn(&str, &Input) -> Result<(), &'static str>,
) -> Result<Shown, &'static str> {
    let ListEntry::InnerList(list) = member else { return Err("a member of the trail is no list") };
    let (tag, signature) = match list.items.as_slice() {
        [] => return Ok(Shown::Nothing),
        [tag, signature] => {
            (tag.bare_item.as_byte_sequence(), signature.bare_item.as_byte_sequence())
        }
        _ => return Err("a member of the trail isn't a tag and a signature"),
    };
    let signature: Option<[u8; SIGNATURE_LENGTH]> =
        signature.and_then(|bytes| bytes.try_into().ok());
    let (Some(tag), Some(signature)) = (tag, signature) else {
        return Err("a member of the trail isn't a tag and a signature");
    };
    if next.prev != Some(prev_of(&signature)) {
        return Err("it isn't the signature that the next hop names");
    }
    let word = |name: &KeyRef| {
        list.params.get(name).and_then(BareItem::as_string).map(|text| text.as_str())
    };
    let (Some(authority), Some(params)) = (word(AUTHORITY), word(PARAMS)) else {
        return Err("a member of the trail lacks parameters");
    };
    let input = Input::parse(params).map_err(|_| "its parameters aren't this profile's")?;
    fits(authority, &input)?;
    let claims = Claims::parse(tag)?;
    if claims.node != hop.node || claims.customer != hop.customer {
        return Err("its tag is another hop's");
    }
    let values = [("compliance-tag", tag), ("compliance-chain", chain)];
    let base = input
        .base(&Message { authority, values: &values, ..*message })
        .map_err(|_| "it covers what isn't there")?;
    Ok(Shown::Signature(Box::new(Member {
        signed: Signed { input, signature },
        base,
        claims,
        text: text.to_vec(),
        verifies: Cell::new(None),
    })))
}

/// For each earlier hop why it isn't proven, by the keys of the register.
pub(super) fn judge<'n>(
    opened: &Opened,
    key: impl Fn(&str) -> Option<(&'n Node, &'n NodeKey)>,
) -> Vec<Option<String>> {
    let why = |(hop, shown): (&Hop, &Shown)| match shown {
        Shown::Nothing => Some("there is no trail of it"),
        Shown::Wrong(why) => Some(*why),
        Shown::Signature(member) => {
            let Signed { input, signature } = &member.signed;
            let created = u64::try_from(input.created.0).unwrap_or(0);
            match key(&input.keyid) {
                Some((node, _)) if node.id.as_str() != hop.node => {
                    Some("its key is another node's")
                }
                // its nonce is remembered for no longer than this
                Some((_, key)) if !key.window().contains(created) => {
                    Some("its key didn't count then")
                }
                Some((node, _))
                    if node.binding != Binding::Customer && input.unbound().is_some() =>
                {
                    Some("it isn't bound to the request")
                }
                Some((_, key)) => {
                    let verifies = member
                        .verifies
                        .get()
                        .unwrap_or_else(|| key.x.verify(&member.base, signature));
                    member.verifies.set(Some(verifies));
                    (!verifies).then_some("its signature doesn't verify")
                }
                None => Some("its key isn't in the register"),
            }
        }
    };
    opened
        .hops
        .iter()
        .zip(&opened.shown)
        .map(|pair| why(pair).map(|why| [pair.0.node.as_str(), ": ", why].concat()))
        .collect()
}

/// The trail as it goes on: what was proven as received, `()` for what wasn't, and the signer's own.
pub fn onward(opened: &Opened, unproven: &[Option<String>]) -> Option<String> {
    let mut trail = String::new();
    for (shown, unproven) in opened.shown.iter().zip(unproven) {
        match (shown, unproven) {
            (Shown::Signature(member), None) => {
                trail.push_str(std::str::from_utf8(&member.text).ok()?)
            }
            _ => trail.push_str("()"),
        }
        trail.push_str(", ");
    }
    let mut own = String::new();
    let mut list = ListSerializer::with_buffer(&mut own);
    {
        let mut pair = list.inner_list();
        pair.bare_item(RefBareItem::ByteSequence(&opened.tag));
        pair.bare_item(RefBareItem::ByteSequence(&opened.signed.signature));
        let member =
            pair.finish().parameter(AUTHORITY, StringRef::from_str(&opened.authority).ok()?);
        member.parameter(PARAMS, StringRef::from_str(opened.signed.input.params()).ok()?);
    }
    list.finish()?;
    trail.push_str(&own);
    Some(trail)
}
