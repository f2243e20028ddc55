//! The documents of a register of files as types, and their published JSON Schemas.

use serde_json::{Value, json};

use super::cell::is_digits;
use super::enforcement::EnforcementFile;
use crate::compile::countries;
use crate::compile::ownership::{Entity, EntityType, Holding, WHOLE};
use crate::compile::settings::Settings;
use crate::register::{Customer, Node, SharingFile};
use crate::shape::{Json, Mismatch, Path, Problems, Shape, Word, object, words, wrong_type};
use crate::sharing::day::SharingDay;
use crate::terms::finding::FindingCode;
use crate::terms::names::Text;
use crate::terms::region::Place;

object! {
    /// The customers of a register of files, in its customers.json.
    pub struct CustomersFile {
        /// The customers
        customers: PartialList<Customer>,
    }
}

object! {
    /// Other resellers' nodes, in a register's nodes.json.
    pub struct NodesFile {
        /// The nodes
        nodes: PartialList<Node>,
    }
}

object! {
    /// Companies, persons and states, and their holdings, in a register's entities.json.
    pub struct EntitiesFile {
        /// The companies, persons and states
        entities: PartialList<Entity> = PartialList::none(true),
        /// The holdings. Several holdings of one owner in one company add up
        holdings: PartialList<Holding> = PartialList::none(true),
    }
}

object! {
    /// Who owns whom, in a register's owners.json: a row a holding.
    pub struct OwnersFile {
        /// The rows
        owners: PartialList<OwnerRow>,
    }
}

object! {
    /// An owner and a holding. A row without `of` only describes the owner
    pub struct OwnerRow {
        /// The owner's id, as in other rows, entities.json and bods/
        owner: Text,
        /// The id of the company that it has a share of
        of: Option<Text> = None,
        /// The share in per cent: 60, "60%" or "60,5 %"; left out if unknown
        share: Option<SharePercent> = None,
        /// The owner's name
        name: Option<Text> = None,
        /// The owner's country of incorporation; a person's nationality
        country: Option<Country> = None,
        /// The owner's kind: where left out, a company. Without owners its country decides
        kind: Option<EntityType> = None,
    }
}

/// A share in per cent as people write it, in basis points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharePercent(pub i64);

/// A country as people write it in a table: its code, or its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(pub Place);

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for Country {
    const WHAT: &'static str =
        "a country's code (ISO 3166-1 alpha-2, or a part's by ISO 3166-2), or its English name";
    const PATTERN: &'static str = "^.+$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        Place::parse(text)
            .or_else(|mismatch| countries::named(text).map(Place::whole).ok_or(mismatch))
            .map(Self)
    }
}

impl SharePercent {
    const PATTERN: &'static str = r"^\s*(100([.,]0{1,2})?|[0-9]{1,2}([.,][0-9]{1,2})?)\s*%?\s*$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let number = text.trim().trim_end_matches('%').trim_end();
        let help =
            "write 0 to 100 per cent with up to two decimals, such as `60`, `60%` or `60,5 %`";
        let wrong = |message: String| Err(Mismatch::new(message, help));
        let (whole, part) = number.split_once(['.', ',']).unwrap_or((number, "0"));
        let digits = is_digits(whole) && is_digits(part);
        if text.matches('%').count() > 1 || !digits || whole.len() > 9 {
            return wrong(format!("invalid share `{text}`"));
        }
        let part = part.trim_end_matches('0');
        if part.len() > 2 {
            return wrong(format!("the share `{text}` has more than two decimals"));
        }
        let basis_points = format!("{whole}{part:0<2}").parse::<i64>().unwrap_or(i64::MAX);
        if basis_points > i64::from(WHOLE) {
            return wrong(format!("the share `{text}` is more than 100 %"));
        }
        Ok(Self(basis_points))
    }
}

impl Shape for SharePercent {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = match json {
            Json::Text(text) => text.clone(),
            Json::Number(number) => number.as_f64().to_string(),
            other => {
                wrong_type(at, "a share in per cent", other, problems);
                return None;
            }
        };
        Self::parse(&text).map_err(|mismatch| problems.mismatch(at, mismatch)).ok()
    }

    fn write(&self, out: &mut crate::shape::JsonWriter) {
        out.raw(&format!("\"{}.{:02}\"", self.0 / 100, self.0 % 100));
    }

    fn schema() -> Value {
        json!({
            "type": ["number", "string"], "minimum": 0, "maximum": 100, "pattern": Self::PATTERN,
        })
    }
}

/// A list whose elements are read one by one: an invalid one doesn't hide the others.
#[derive(Debug, Clone)]
pub struct PartialList<T> {
    /// The elements with their numbers
    pub(super) values: Vec<(usize, T)>,
    /// Whether every element could be read
    pub(super) whole: bool,
}

impl<T: Shape> Shape for PartialList<T> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Json::List(items) = json else {
            wrong_type(at, "a list", json, problems);
            return None;
        };
        let read =
            |(i, item)| T::read(item, &Path::Element(at, i), problems).map(|value| (i, value));
        let values: Vec<(usize, T)> = items.iter().enumerate().filter_map(read).collect();
        Some(Self { whole: values.len() == items.len(), values })
    }

    fn write(&self, out: &mut crate::shape::JsonWriter) {
        out.list(&self.values, |(_, value), out| value.write(out));
    }

    fn schema() -> Value {
        Vec::<T>::schema()
    }
}

impl<T> PartialList<T> {
    /// An empty list; `whole` tells whether the file has none either.
    pub(super) fn none(whole: bool) -> Self {
        Self { values: Vec::new(), whole }
    }

    /// The elements that could be read, without their numbers.
    pub fn into_values(self) -> Vec<T> {
        self.values.into_iter().map(|(_, value)| value).collect()
    }
}

words! {
    /// A kind of document that has a published schema.
    pub enum SchemaDocument {
        /// The filter's configuration
        Configuration = "configuration",
        /// register.json
        Register = "register",
        /// customers.json; a line of customers.jsonl is its `#/$defs/customer`
        Customers = "customers",
        /// entities.json
        Entities = "entities",
        /// owners.json; a line of owners.jsonl is an element of its `owners`
        Owners = "owners",
        /// nodes.json
        Nodes = "nodes",
        /// enforcement.json
        Enforcement = "enforcement",
        /// sharing.json
        Sharing = "sharing",
        /// What `waybill event --json` answers
        ExplainedEvent = "explained-event",
        /// What `waybill audit verify --json` answers
        Audit = "audit",
        /// What `waybill replay --json` answers
        Replay = "replay",
        /// What `--json` of all other verbs answers
        Answers = "answers",
        /// What `waybill report --json` answers
        Report = "report",
        /// A daily row that `waybill sharing` reads and writes
        SharingDay = "sharing-day",
    }
}

/// The schema of an answer, as it is published.
fn published(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl SchemaDocument {
    /// Its JSON Schema (draft 2020-12), generated from the types that read it.
    pub fn schema(self) -> Value {
        let (mut schema, title) = match self {
            Self::Configuration => return crate::config::schema(),
            Self::ExplainedEvent => {
                return published(include_str!("../../../docs/explained-event.schema.json"));
            }
            Self::Audit => return published(include_str!("../../../docs/audit.schema.json")),
            Self::Replay => return published(include_str!("../../../docs/replay.schema.json")),
            Self::Answers => return published(include_str!("../../../docs/answers.schema.json")),
            Self::Report => return published(include_str!("../../../docs/report.schema.json")),
            Self::SharingDay => (SharingDay::schema(), "Waybill: a daily row of waybill sharing"),
            Self::Register => (Settings::schema(), "Waybill register: register.json, version 1"),
            Self::Customers => (customers_schema(), "Waybill register: customers.json"),
            Self::Entities => (EntitiesFile::schema(), "Waybill register: entities.json"),
            Self::Owners => (OwnersFile::schema(), "Waybill register: owners.json"),
            Self::Nodes => (nodes_schema(), "Waybill register: nodes.json"),
            Self::Enforcement => (EnforcementFile::schema(), "Waybill register: enforcement.json"),
            Self::Sharing => (sharing_schema(), "Waybill register: sharing.json"),
        };
        set(&mut schema, "", "$schema", "https://json-schema.org/draft/2020-12/schema".into());
        set(&mut schema, "", "title", title.into());
        schema
    }
}

/// Sets a member of the object at a JSON pointer.
fn set(schema: &mut Value, pointer: &str, name: &str, value: Value) {
    if let Some(members) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) {
        members.insert(name.into(), value);
    }
}

fn customers_schema() -> Value {
    let mut customer = Customer::schema();
    set(&mut customer, "", "not", json!({"required": ["entity", "ownership"]}));
    let mut schema = CustomersFile::schema();
    set(&mut schema, "/properties/customers", "items", json!({"$ref": "#/$defs/customer"}));
    set(&mut schema, "", "$defs", json!({"customer": customer}));
    schema
}

fn sharing_schema() -> Value {
    let codes = FindingCode::ALL.iter().filter(|code| code.is_of_sharing());
    let codes: Vec<&str> = codes.map(|code| code.as_str()).collect();
    let mut schema = SharingFile::schema();
    set(&mut schema, "/properties/signals/items/properties/finding", "enum", json!(codes));
    schema
}

fn nodes_schema() -> Value {
    let mut schema = NodesFile::schema();
    let node = "/properties/nodes/items";
    set(&mut schema, node, "required", json!(["id", "customer", "keys"]));
    set(&mut schema, &format!("{node}/properties/keys"), "minItems", json!(1));
    schema
}
