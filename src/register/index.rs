//! A register that the configuration has inline, with an index for each kind of name.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::customer::{Customer, check_customer};
use super::node::{Node, Nodes, check_node};
use crate::shape::{Path, Problems, object, suggestion};
use crate::terms::names::CredentialDigest;
use crate::terms::region::RegionSettings;

object! {
    /// A small register inside the configuration.
    pub struct InlineRegister {
        /// The customers
        customers: Vec<Customer>,
        /// Other resellers' nodes
        nodes: Vec<Node> = Vec::new(),
        /// The regions to judge by; may stand beside the register instead
        regions: Option<RegionSettings> = None,
    }
}

/// A name by which a customer is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// A secret; only its digest is kept
    Secret(CredentialDigest),
    /// A name in a client certificate that Envoy verified
    Certificate(&'a str),
    /// A claim in a JWT that Envoy verified
    Claim(&'a str),
    /// The customer's own id. A snapshot has ids of those customers only that run nodes
    Id(&'a str),
}

/// A customer that a name led to.
#[derive(Debug)]
pub struct Match {
    /// The customer
    pub customer: Arc<Customer>,
    /// The index of the secret's entry in the customer's `credentials`; `None` for other names
    pub entry: Option<usize>,
}

/// The snapshot that was asked isn't the current one any more, and a page of it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page is gone: a newer snapshot took this one's place")]
pub struct PageGone;

/// All customers, with what leads to them.
#[derive(Debug)]
pub struct Register {
    /// Other resellers' nodes
    pub nodes: Nodes,
    customers: Vec<Arc<Customer>>,
    // INVARIANT (indices): every value is an index into `customers`, and into its `credentials`
    by_secret: HashMap<CredentialDigest, (usize, usize), BuildHasherDefault<DigestHasher>>,
    by_certificate: HashMap<String, usize>,
    by_claim: HashMap<String, usize>,
}

/// A digest is evenly spread, so its first eight bytes are its hash. Only the operator chooses the
/// keys, so nobody can force collisions.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

impl Register {
    /// Indexes the customers. Notes duplicate ids, credentials, names and keys, unknown customers
    /// of nodes, dates that contradict each other, and members without effect.
    #[cold] // as in shape.rs
    pub fn new(inline: InlineRegister, at: &Path<'_>, problems: &mut Problems) -> Self {
        let mut register = Self {
            nodes: Nodes::default(),
            customers: Vec::new(),
            by_secret: HashMap::default(),
            by_certificate: HashMap::new(),
            by_claim: HashMap::new(),
        };
        let customers_at = Path::Member(at, "customers");
        let mut ids: HashMap<&str, usize> = HashMap::new();
        for (i, customer) in inline.customers.iter().enumerate() {
            let here = Path::Element(&customers_at, i);
            if let Some(first) = ids.insert(customer.id.as_str(), i) {
                let message = format!("duplicate `{}`", customer.id);
                let help = format!("the first is $.register.customers[{first}]");
                problems.wrong(&Path::Member(&here, "id"), &message, &help);
            }
            register.index(customer, i, &here, problems);
        }
        let nodes_at = Path::Member(at, "nodes");
        for (i, node) in inline.nodes.iter().enumerate() {
            let here = Path::Element(&nodes_at, i);
            let earlier = inline.nodes.get(..i).unwrap_or_default();
            if !ids.contains_key(node.customer.as_str()) {
                let known = inline.customers.iter().map(|customer| customer.id.as_str());
                let help = suggestion(node.customer.as_str(), &known.collect::<Vec<_>>());
                let message = format!("unknown customer `{}`", node.customer);
                problems.wrong(&Path::Member(&here, "customer"), &message, &help);
            }
            if earlier.iter().any(|earlier| earlier.id == node.id) {
                let message = format!("duplicate `{}`", node.id);
                problems.note(&Path::Member(&here, "id"), message, None);
            }
            let keys_at = Path::Member(&here, "keys");
            for (k, key) in node.keys.iter().enumerate() {
                let own = node.keys.iter().take(k);
                let mut others = earlier.iter().flat_map(|earlier| &earlier.keys).chain(own);
                if others.any(|other| other.x == key.x) {
                    let help = "each node has its own keys, each of them once";
                    problems.wrong(&Path::Element(&keys_at, k), "duplicate key", help);
                }
            }
            check_node(node, &here, problems);
        }
        register.nodes = Nodes::new(inline.nodes);
        register.customers = inline.customers.into_iter().map(Arc::new).collect();
        register
    }

    /// Indexes customer `i`, and checks it.
    fn index(&mut self, customer: &Customer, i: usize, at: &Path<'_>, problems: &mut Problems) {
        check_customer(customer, at, problems);
        if customer.entity.is_some() {
            let help = "write `ownership` here; a register of files has entities, \
                        which `waybill compile` screens";
            let here = Path::Member(at, "entity");
            problems.wrong(&here, "an inline register has no entities", help);
        }
        let mut claim = |is_duplicate: bool, list: &str, n: usize, what: &str| {
            if is_duplicate {
                let place = Path::Member(at, list);
                let help = format!("each {what} leads to one customer; remove the other");
                problems.wrong(&Path::Element(&place, n), &format!("duplicate {what}"), &help);
            }
        };
        for (n, credential) in customer.credentials.iter().enumerate() {
            let other = self.by_secret.insert(credential.digest, (i, n));
            claim(other.is_some(), "credentials", n, "credential");
        }
        for (n, name) in customer.mtls.iter().enumerate() {
            let other = self.by_certificate.insert(name.as_str().into(), i);
            claim(other.is_some(), "mtls", n, "certificate name");
        }
        for (n, value) in customer.jwt.iter().enumerate() {
            let other = self.by_claim.insert(value.as_str().into(), i);
            claim(other.is_some(), "jwt", n, "claim value");
        }
    }

    /// All customers, in the order of the register.
    pub fn customers(&self) -> impl Iterator<Item = &Customer> {
        self.customers.iter().map(|customer| &**customer)
    }

    /// The customer of a name.
    pub fn customer(&self, name: Name<'_>) -> Option<Match> {
        let (index, entry) = match name {
            Name::Secret(digest) => {
                let (index, entry) = self.by_secret.get(&digest)?;
                (*index, Some(*entry))
            }
            Name::Certificate(name) => (*self.by_certificate.get(name)?, None),
            Name::Claim(value) => (*self.by_claim.get(value)?, None),
            // a list is enough: an inline register is small, and only a chain asks
            Name::Id(id) => {
                (self.customers.iter().position(|customer| customer.id.as_str() == id)?, None)
            }
        };
        Some(Match { customer: self.customers.get(index).map(Arc::clone)?, entry })
    }
}
