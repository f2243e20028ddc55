//! The documents of a register of files, as types, and the JSON Schemas that are published of them.

use super::enforcement::EnforcementFile;
use crate::compile::ownership::{Entity, Holding};
use crate::compile::settings::Settings;
use crate::register::{Customer, Node};
use crate::shape::{Json, Path, Problems, Shape, object, words};

object! {
    /// The customers of a register of files, in its customers.json.
    pub struct CustomersFile {
        /// The customers
        customers: Each<Customer>,
    }
}

object! {
    /// Other resellers' nodes, in a register's nodes.json.
    pub struct NodesFile {
        /// The nodes
        nodes: Each<Node>,
    }
}

object! {
    /// Companies, persons and states, and who holds how much of whom, in a register's entities.json.
    pub struct EntitiesFile {
        /// The companies, persons and states
        entities: Each<Entity> = Each::none(true),
        /// Who holds how much of whom. Several holdings of one owner in one company add up
        holdings: Each<Holding> = Each::none(true),
    }
}

/// A list of which each element is read for itself, with its number: one that is wrong doesn't hide the others.
#[derive(Debug, Clone)]
pub struct Each<T> {
    pub(super) values: Vec<(usize, T)>,
    /// Whether each element could be read: else one that isn't here may stand in the file all the same
    pub(super) whole: bool,
}

impl<T: Shape> Shape for Each<T> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Json::List(items) = json else {
            crate::shape::wrong_type(at, "a list", json, problems);
            return None;
        };
        let read = |(i, item)| T::read(item, &Path::Element(at, i), problems).map(|value| (i, value));
        let values: Vec<(usize, T)> = items.iter().enumerate().filter_map(read).collect();
        Some(Self { whole: values.len() == items.len(), values })
    }

    fn schema() -> serde_json::Value {
        Vec::<T>::schema()
    }
}

impl<T> Each<T> {
    /// Nothing; `whole` says whether nothing stands in the file either.
    pub(super) fn none(whole: bool) -> Self {
        Self { values: Vec::new(), whole }
    }

    /// The elements that could be read, without their numbers.
    #[must_use]
    pub fn into_values(self) -> Vec<T> {
        self.values.into_iter().map(|(_, value)| value).collect()
    }
}

words! {
    /// A kind of document that has a published schema.
    pub enum Document {
        /// The filter's configuration
        Configuration = "configuration",
        /// register.json
        Register = "register",
        /// customers.json; a line of customers.jsonl is its `#/$defs/customer`
        Customers = "customers",
        /// entities.json
        Entities = "entities",
        /// nodes.json
        Nodes = "nodes",
        /// enforcement.json
        Enforcement = "enforcement",
    }
}

impl Document {
    /// Its JSON Schema (draft 2020-12), generated from the types that read it.
    #[must_use]
    pub fn schema(self) -> serde_json::Value {
        let (mut schema, title) = match self {
            Self::Configuration => return crate::config::schema(),
            Self::Register => (Settings::schema(), "Waybill register: register.json, version 1"),
            Self::Customers => (customers_schema(), "Waybill register: customers.json"),
            Self::Entities => (EntitiesFile::schema(), "Waybill register: entities.json"),
            Self::Nodes => (nodes_schema(), "Waybill register: nodes.json"),
            Self::Enforcement => (EnforcementFile::schema(), "Waybill register: enforcement.json"),
        };
        if let Some(members) = schema.as_object_mut() {
            members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
            members.insert("title".into(), title.into());
        }
        schema
    }
}

fn customers_schema() -> serde_json::Value {
    let mut customer = Customer::schema();
    if let Some(members) = customer.as_object_mut() {
        members.insert("not".into(), serde_json::json!({"required": ["entity", "ownership"]}));
    }
    let mut schema = CustomersFile::schema();
    if let Some(items) = schema.pointer_mut("/properties/customers/items") {
        *items = serde_json::json!({"$ref": "#/$defs/customer"});
    }
    if let Some(members) = schema.as_object_mut() {
        members.insert("$defs".into(), serde_json::json!({"customer": customer}));
    }
    schema
}

fn nodes_schema() -> serde_json::Value {
    let mut schema = NodesFile::schema();
    let node = schema.pointer_mut("/properties/nodes/items").and_then(serde_json::Value::as_object_mut);
    if let Some(node) = node {
        node.insert("required".into(), serde_json::json!(["id", "customer", "keys"]));
    }
    let keys = schema.pointer_mut("/properties/nodes/items/properties/keys").and_then(serde_json::Value::as_object_mut);
    if let Some(keys) = keys {
        keys.insert("minItems".into(), 1.into());
    }
    schema
}
