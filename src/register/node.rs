//! Other resellers' nodes, and their keys.

use super::screening::{Screening, check_screening};
use crate::shape::{Integer, Json, JsonWriter, Path, Problems, Shape, object, ordered, words};
use crate::terms::key::{VerifyingKey, Window};
use crate::terms::names::{CustomerId, NodeId, Text};
use crate::terms::time::LAST_SECOND;

words! {
    /// What a node's signature covers.
    pub enum Binding {
        /// Each request has its own
        Request = "request",
        /// One for a customer and a window of time
        Customer = "customer",
    }
}

words! {
    /// A JWK's key type.
    pub enum KeyType {
        /// Octet key pair (RFC 8037)
        Okp = "OKP",
    }
}

words! {
    /// A JWK's curve.
    pub enum Curve {
        /// Ed25519 (RFC 8037)
        Ed25519 = "Ed25519",
    }
}

words! {
    /// What a JWK is for.
    pub enum KeyUse {
        /// Signatures
        Signature = "sig",
    }
}

object! {
    /// A node's public key: a JWK (RFC 7517, RFC 8037) with its window of validity.
    pub struct NodeKey {
        /// Key type
        kty: KeyType,
        /// Curve
        crv: Curve,
        /// The public key: 32 bytes in base64url without padding
        x: VerifyingKey,
        /// Its thumbprint (RFC 7638), so that a person can tell keys apart; worked out where left
        /// out
        kid: Option<Text> = None,
        /// What it is for, as published directories of keys say it
        r#use: Option<KeyUse> = None,
        /// Never here: the private part of a key
        d: Option<PrivatePart> = None,
        /// Not before, in seconds since 1970
        nbf: Option<Integer<0, LAST_SECOND>> = None,
        /// Expires, in seconds since 1970
        exp: Option<Integer<0, LAST_SECOND>> = None,
    }
}

/// The private part of a key, which a register must not have: no value of this type exists.
#[derive(Debug, Clone)]
pub enum PrivatePart {}

object! {
    /// Another reseller's node.
    pub struct Node {
        /// Its name, as its tags say
        id: NodeId,
        /// The customer that runs it
        customer: CustomerId,
        /// Its screening
        screening: Option<Screening> = None,
        /// Its public keys
        keys: Vec<NodeKey> = Vec::new(),
        /// What its signatures cover
        binding: Binding = Binding::Request,
    }
}

/// Other resellers' nodes, with an index of their keys. Few, next to customers.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: Vec<Node>,
    // INVARIANT (sorted): by thumbprint. Values are indices into `nodes` and its `keys`
    by_thumbprint: Vec<(String, (usize, usize))>,
}

impl Nodes {
    /// Works out the thumbprints of their keys (RFC 7638).
    pub fn new(nodes: Vec<Node>) -> Self {
        let thumbprints = nodes.iter().enumerate().flat_map(|(i, node)| {
            node.keys.iter().enumerate().map(move |(k, key)| (key.x.thumbprint(), (i, k)))
        });
        Self { by_thumbprint: ordered::sorted(thumbprints), nodes }
    }

    /// The node that has a key of this thumbprint, and the key.
    pub fn by_thumbprint(&self, thumbprint: &str) -> Option<(&Node, &NodeKey)> {
        let sorted = &self.by_thumbprint;
        let place = sorted.binary_search_by(|(known, _)| known.as_str().cmp(thumbprint)).ok()?;
        let (_, (node, key)) = sorted.get(place)?;
        let node = self.nodes.get(*node)?;
        Some((node, node.keys.get(*key)?))
    }

    /// The node of that name.
    pub fn by_id(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id.as_str() == id)
    }
}

impl Shape for PrivatePart {
    fn read(_json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        problems.wrong(
            at,
            "this is a private key: anybody who reads it can sign as this node",
            "its owner replaces the key; `waybill keygen --public` prints what belongs here",
        );
        None
    }

    fn write(&self, _out: &mut JsonWriter) {
        match *self {}
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"not": {}})
    }
}

impl NodeKey {
    /// When it counts.
    pub fn window(&self) -> Window {
        Window { nbf: self.nbf.map(|second| second.0), exp: self.exp.map(|second| second.0) }
    }
}

/// Notes contradictions within one node.
pub(crate) fn check_node(node: &Node, at: &Path<'_>, problems: &mut Problems) {
    check_screening(node.screening.as_ref(), at, problems);
    let keys_at = Path::Member(at, "keys");
    for (i, key) in node.keys.iter().enumerate() {
        let here = Path::Element(&keys_at, i);
        if key.window().is_empty() {
            let message = "the key expires before it begins to count";
            problems.wrong(&Path::Member(&here, "exp"), message, "`exp` comes after `nbf`");
        }
        if key.kid.as_ref().is_some_and(|kid| *kid != *key.x.thumbprint()) {
            let help = format!("leave it out, or write `{}`", key.x.thumbprint());
            let message = "this isn't the key's thumbprint (RFC 7638)";
            problems.wrong(&Path::Member(&here, "kid"), message, &help);
        }
    }
}
