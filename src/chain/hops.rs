//! `Compliance-Chain` and `Compliance-Tag` of earlier nodes: structured fields (RFC 9651) become
//! values.

use sfv::{
    BareItem, Dictionary, KeyRef, ListEntry, ListSerializer, Parser, RefBareItem, StringRef,
    TokenRef, key_ref,
};
use sha2::Digest as _;
use thiserror::Error;

use super::Attest;
use crate::register::ScreeningStatus;
use crate::shape::Word as _;
use crate::terms::finding::FindingCode;
use crate::terms::region::Place;
use crate::terms::time::UnixSeconds;

/// The header's name.
pub const HEADER: &str = "compliance-chain";

const CUSTOMER: &KeyRef = key_ref("customer");
const ATTEST: &KeyRef = key_ref("attest");
const PREV: &KeyRef = key_ref("prev");

/// The longest name of a node or customer, in bytes: more than any that a register takes. Events
/// repeat these names.
const NAME_AT_MOST: usize = 256;

/// The SHA-256 of the bytes of a signature.
pub type Prev = [u8; 32];

/// A node that carried a request, and the customer that it did so for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The node
    pub node: String,
    /// The customer that it authenticated, if one
    pub customer: Option<String>,
    /// How far it vouches
    pub attest: Attest,
    /// The digest of the signature before
    pub prev: Option<Prev>,
}

/// What a tag says, as far as the next node heeds it. An unknown member counts as absent: the
/// signer may be newer than this code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The node that speaks
    pub node: String,
    /// Its customer
    pub customer: Option<String>,
    /// That customer's screening: `passed`, `pending`, `refused`, or `none` where there is none on
    /// record
    pub screening: Option<String>,
    /// How long it counts
    pub until: Option<UnixSeconds>,
    /// Where the person is
    pub user: Option<Place>,
    /// Where the request began
    pub origin: Option<Place>,
    /// What the chain before it is worth
    pub chain: Option<Attest>,
    /// Its findings of the families that this node adopts, each once
    pub findings: Vec<FindingCode>,
}

/// Why a chain or a tag can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Not a list of strings with parameters
    #[error("the chain isn't a list of hops")]
    NotHops,
    /// More nodes than this one takes
    #[error("{count} hops, and with this node at most {most} are taken")]
    ManyHops {
        /// How many there are
        count: usize,
        /// How many are taken, this node among them
        most: usize,
    },
    /// A hop isn't a string
    #[error("a hop has no name")]
    NoName,
    /// A hop's `attest` is missing or unknown
    #[error("a hop doesn't say how far it vouches")]
    NoAttest,
    /// A hop's customer isn't a string
    #[error("a hop's customer isn't a string")]
    CustomerType,
    /// A hop's `prev` isn't a SHA-256
    #[error("a hop's `prev` isn't the digest of a signature")]
    PrevType,
    /// The first hop has a `prev`
    #[error("the first hop names a signature before it")]
    FirstPrev,
    /// A later hop has no `prev`
    #[error("a later hop has no `prev`")]
    NoPrev,
    /// Only the first hop can say `full`
    #[error("a later hop says `full`")]
    LaterFull,
    /// A hop without a customer says more than `gateway`
    #[error("a hop vouches for nobody")]
    VouchesForNobody,
    /// Longer than any name in a register
    #[error("a name in the chain is too long")]
    LongName,
    /// A node carried it twice
    #[error("duplicate node in the chain")]
    DuplicateNode,
    /// The list of hops is empty
    #[error("the chain names nobody")]
    EmptyChain,
    /// Not a dictionary
    #[error("the tag isn't a dictionary")]
    TagType,
    /// The tag has no `node`
    #[error("the tag doesn't say whose it is")]
    NoTagNode,
}

/// The digest that the next hop's `prev` holds.
pub fn prev_of(signature: &[u8]) -> Prev {
    sha2::Sha256::digest(signature).into()
}

/// Reads a chain and checks its structure. It has fewer than `most` hops. Every hop but the first
/// has `prev`, and no later one says `full`. No node is in it twice, and no name is too long.
///
/// # Errors
/// What breaks it.
pub fn parse(text: &[u8], most: usize) -> Result<Vec<Hop>, FormatError> {
    let list: sfv::List = Parser::new(text).parse().map_err(|_| FormatError::NotHops)?;
    if list.len() >= most {
        return Err(FormatError::ManyHops { count: list.len(), most });
    }
    let mut hops: Vec<Hop> = Vec::with_capacity(list.len());
    for member in &list {
        let ListEntry::Item(item) = member else { return Err(FormatError::NotHops) };
        let node = item.bare_item.as_string().ok_or(FormatError::NoName)?.as_str();
        let attest = item
            .params
            .get(ATTEST)
            .and_then(BareItem::as_token)
            .and_then(|word| Attest::parse(word.as_str()).ok());
        let attest = attest.ok_or(FormatError::NoAttest)?;
        let customer = match item.params.get(CUSTOMER) {
            None => None,
            Some(customer) => {
                Some(customer.as_string().ok_or(FormatError::CustomerType)?.as_str().to_owned())
            }
        };
        let prev = match item.params.get(PREV) {
            None => None,
            Some(prev) => {
                let bytes = prev.as_byte_sequence().and_then(|bytes| bytes.try_into().ok());
                Some(bytes.ok_or(FormatError::PrevType)?)
            }
        };
        match (hops.is_empty(), prev) {
            (true, Some(_)) => return Err(FormatError::FirstPrev),
            (false, None) => return Err(FormatError::NoPrev),
            (false, Some(_)) if attest == Attest::Full => return Err(FormatError::LaterFull),
            _ => {}
        }
        if customer.is_none() && attest != Attest::Gateway {
            return Err(FormatError::VouchesForNobody);
        }
        if [Some(node), customer.as_deref()]
            .into_iter()
            .flatten()
            .any(|name| name.len() > NAME_AT_MOST)
        {
            return Err(FormatError::LongName);
        }
        if hops.iter().any(|earlier| earlier.node == node) {
            return Err(FormatError::DuplicateNode);
        }
        hops.push(Hop { node: node.to_owned(), customer, attest, prev });
    }
    if hops.is_empty() { Err(FormatError::EmptyChain) } else { Ok(hops) }
}

impl Claims {
    /// Reads a tag.
    ///
    /// # Errors
    /// [`FormatError::TagType`], [`FormatError::NoTagNode`].
    pub fn parse(text: &[u8]) -> Result<Self, FormatError> {
        let dictionary: Dictionary = Parser::new(text).parse().map_err(|_| FormatError::TagType)?;
        let item = |name: &str| match dictionary.get(name) {
            Some(ListEntry::Item(item)) => Some(&item.bare_item),
            Some(ListEntry::InnerList(_)) | None => None,
        };
        let text = |name: &str| item(name).and_then(BareItem::as_string).map(|text| text.as_str());
        let word = |name: &str| item(name).and_then(BareItem::as_token).map(|word| word.as_str());
        let mut findings = Vec::new();
        if let Some(ListEntry::InnerList(list)) = dictionary.get("findings") {
            for code in list.items.iter().filter_map(|item| item.bare_item.as_string()) {
                let code = FindingCode::parse(code.as_str()).ok();
                findings.extend(code.filter(|code| code.is_adopted() && !findings.contains(code)));
            }
        }
        Ok(Self {
            node: text("node").ok_or(FormatError::NoTagNode)?.to_owned(),
            customer: text("customer").map(ToOwned::to_owned),
            screening: word("screening")
                .filter(|word| *word == "none" || ScreeningStatus::parse(word).is_ok())
                .map(ToOwned::to_owned),
            until: item("until")
                .and_then(BareItem::as_date)
                .map(|date| UnixSeconds(i64::from(date.unix_seconds()))),
            user: text("user").and_then(|text| Place::from_bytes(text.as_bytes())),
            origin: text("origin").and_then(|text| Place::from_bytes(text.as_bytes())),
            chain: word("chain").and_then(|word| Attest::parse(word).ok()),
            findings,
        })
    }

    /// The word for the customer's screening, where it is said and isn't `passed`.
    pub fn unscreened(&self) -> Option<&str> {
        self.screening.as_deref().filter(|word| *word != ScreeningStatus::Passed.as_str())
    }
}

/// A chain with one more hop, whose `prev` is the digest of the signature before. The bytes of
/// earlier hops stay as received: earlier nodes signed them.
pub fn append(
    before: Option<(&[u8], Prev)>,
    node: &str,
    customer: Option<&str>,
    attest: Attest,
) -> Option<String> {
    let mut own = String::new();
    let mut list = ListSerializer::with_buffer(&mut own);
    {
        let mut hop = list.bare_item(StringRef::from_str(node).ok()?);
        if let Some(customer) = customer {
            hop = hop.parameter(CUSTOMER, StringRef::from_str(customer).ok()?);
        }
        hop = hop.parameter(ATTEST, TokenRef::from_str(attest.as_str()).ok()?);
        if let Some((_, prev)) = &before {
            hop.parameter(PREV, RefBareItem::ByteSequence(prev));
        }
    }
    list.finish()?;
    match before {
        None => Some(own),
        Some((before, _)) => Some([std::str::from_utf8(before).ok()?, ", ", &own].concat()),
    }
}
