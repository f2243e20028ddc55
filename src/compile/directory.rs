//! The register as a directory of plain files: read whole, with every mistake's file and line.
//!
//! ```text
//! register.json    settings: regions, how ownership is screened, sources of networks
//! customers.xlsx   or customers.csv, customers.jsonl, customers.json: the customers
//! owners.xlsx      or owners.csv, owners.jsonl, owners.json: who owns whom, a row a holding
//! entities.json    companies, and who holds how much of them
//! bods/*.json      the same as statements of the Beneficial Ownership Data Standard, in one list or (also *.jsonl) one a line
//! nodes.json       other resellers' nodes and their public keys
//! enforcement.json what providers said of customers last, as `waybill enforcement` writes it
//! networks/        what register.json names there: MMDB files and lists
//! ```
//!
//! [`read`] takes the files' bytes and gives a [`Directory`] in which every reference leads somewhere, or [`Remarks`] that
//! say what is wrong; [`owners`] reads only what says who owns whom. JSON Lines and tables are read a line at a time and may hold
//! millions; the JSON documents are held as a tree while they are read.

mod documents;
mod enforcement;
mod forms;
mod owners;
mod sheet;
mod table;
mod text;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::finding::Action;
use crate::names::{CredentialDigest, Text};
use crate::region::{Place, RegionSetId, RegionSettings, Regions, Standing};
use crate::register::{
    Credential, CredentialEntry, Customer, CustomerKind, Node, Override, Ownership,
    ScreeningStatus, check_customer, check_node,
};
use crate::shape::{Json, Mismatch, Path, Problem, Problems, Shape, nearest};
use crate::time::UnixSeconds;

pub use documents::{
    Country, CustomersFile, Document, Each, EntitiesFile, NodesFile, OwnerRow, OwnersFile, Percent,
};
pub use enforcement::EnforcementFile;

use self::forms::{Beside, CUSTOMERS, OWNERS, Origin};
use super::bods::{self, BodsStatements};
use super::networks::{self, Networks};
use super::ownership::{self, Entity, Graph, GraphError, HoldingEnd, OwnershipScreening};
use super::remarks::{Remark, Remarks, grouped, is_wide, without_mark};
use super::settings::Settings;
use crate::names::digest;

/// Files with their bytes, by their way from the register's directory.
pub type Documents = BTreeMap<String, Vec<u8>>;

/// The files of a register, by their way from its directory, with `/` between.
#[derive(Debug, Default, Clone)]
pub struct Files {
    /// Those that [`is_document`] asks for, with their bytes
    pub documents: Documents,
    /// The names of all others
    pub others: BTreeSet<String>,
}

/// A register whose references all lead somewhere.
#[derive(Debug)]
pub struct Directory {
    /// The settings, and who owns whom
    pub owners: Owners,
    /// The customers, in the order written
    pub customers: Vec<Customer>,
    /// Other resellers' nodes
    pub nodes: Vec<Node>,
    /// What is known of addresses
    pub networks: Networks,
    /// The SHA-256 of every file that was read, as 64 hexadecimal digits
    pub digests: BTreeMap<String, String>,
    origin: Origin,
}

/// Who owns whom, and how that is to be judged.
#[derive(Debug)]
pub struct Owners {
    /// The settings
    pub settings: Settings,
    /// The regions to judge by
    pub regions: Regions,
    /// The entities of entities.json and bods/, and their holdings
    pub graph: Graph,
}

/// As large may a file of a register be: all of them are held in memory at once.
pub const MOST_BYTES: u64 = 512_000_000;

const SETTINGS: &str = "register.json";
const CUSTOMERS_JSON: &str = "customers.json";
const OWNERS_JSON: &str = "owners.json";
const ENTITIES: &str = "entities.json";
const NODES: &str = "nodes.json";
/// What providers said of customers last
pub const ENFORCEMENT: &str = "enforcement.json";
const BODS: &str = "bods/";
const NETWORKS: &str = "networks/";

/// What stands at the top of a register; folders end in a slash.
fn top() -> impl Iterator<Item = &'static str> {
    [SETTINGS, ENTITIES, NODES, ENFORCEMENT, BODS, NETWORKS]
        .into_iter()
        .chain(CUSTOMERS.names())
        .chain(OWNERS.names())
}

/// Whether [`read`] wants that file's bytes; of any other its name is enough.
pub fn is_document(name: &str) -> bool {
    (!name.ends_with('/') && top().any(|known| known == name))
        || name.strip_prefix(BODS).is_some_and(|rest| {
            (rest.ends_with(".json") || rest.ends_with(".jsonl")) && !rest.contains('/')
        })
        || (name.starts_with(NETWORKS) && !is_readme(name))
}

fn is_readme(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.starts_with("README"))
}

/// Reads the register, and lets go of the largest files on the way. `now` is when holdings count, and for notices of what has
/// ended. The directory is there only if nothing is wrong.
pub fn read(files: Files, now: UnixSeconds) -> (Option<Directory>, Remarks) {
    let mut remarks = Remarks::default();
    check_names(&files, &mut remarks);
    let mut digests: BTreeMap<String, String> =
        files.documents.iter().map(|(name, bytes)| (name.clone(), digest(bytes))).collect();
    let (networks, mut documents): (Documents, Documents) =
        files.documents.into_iter().partition(|(name, _)| name.starts_with(NETWORKS));

    let mut read = read_owners(&documents, now, &mut remarks);
    let networks = read_networks(&read.settings, networks, &mut remarks);
    if let (Some(networks), Some(regions)) = (&networks, &read.regions) {
        networks::notice_undivided(&networks.sources, regions, &mut remarks);
    }
    let nodes = document(&documents, NODES, &mut remarks)
        .map_or_else(|| Each::none(true), |file: NodesFile| file.nodes);

    let forms::Read { origin, entries: mut customers, digest: customers_digest } =
        read_customers(&documents, &mut remarks);
    // by far the largest, and their lines are known by now
    documents
        .retain(|name, _| name == CUSTOMERS_JSON || !CUSTOMERS.names().any(|known| known == name));
    // a workbook and its exports say the same in other bytes: what they say is what was compiled
    for (thing, digest) in [(CUSTOMERS, customers_digest), (OWNERS, read.digest.take())] {
        if let Some(digest) = digest {
            digests.retain(|name, _| !thing.names().any(|known| known == name));
            digests.insert(thing.list.to_owned(), digest);
        }
    }
    let ids = check_customers(&customers, &origin, &mut remarks);
    check_entity_references(&customers, &origin, read.entities().as_ref(), &mut remarks);
    check_nodes(&nodes, &customers, &origin, &ids, &mut remarks);
    drop(ids);
    if let Some(words) = document::<EnforcementFile>(&documents, ENFORCEMENT, &mut remarks) {
        enforcement::apply(ENFORCEMENT, &words, &mut customers, origin.whole, &mut remarks);
    }
    notice_customers(&customers, &origin, now, &mut remarks);

    remarks.locate(&documents);
    let owners = read.owners().filter(|_| remarks.count() == 0);
    let directory = owners.zip(networks).map(|(owners, networks)| Directory {
        owners,
        customers,
        nodes: nodes.into_values(),
        networks,
        digests,
        origin,
    });
    (directory, remarks)
}

/// Reads who owns whom, and nothing else; `now` is when holdings count. They are there only if nothing is wrong.
pub fn owners(documents: &Documents, now: UnixSeconds) -> (Option<Owners>, Remarks) {
    let mut remarks = Remarks::default();
    let read = read_owners(documents, now, &mut remarks);
    remarks.locate(documents);
    (read.owners().filter(|_| remarks.count() == 0), remarks)
}

/// Whether [`customers`] or [`owners`] want that file's bytes: all but networks, which are the largest and say nothing here.
pub fn says_of_customers(name: &str) -> bool {
    is_document(name) && !name.starts_with(NETWORKS)
}

/// The customers, as far as they can be read; a register that has only companies yet has none.
pub fn customers(documents: &Documents) -> Vec<Customer> {
    read_customers(documents, &mut Remarks::default()).entries
}

impl Directory {
    /// Where a customer stands: its file and, counted from 1, its line.
    pub fn place(&self, customer: usize) -> (&'static str, usize) {
        (self.origin.file, self.origin.line(customer))
    }
}

impl Owners {
    /// Judges every entity as the settings say.
    pub fn screen(&self) -> OwnershipScreening<'_> {
        self.graph.screen(&self.settings.ownership, |place| self.restricts(place))
    }

    /// Who owns a customer: what screening makes of its company, else what its entry says. Who names no company, and gives no
    /// result either, is unresolved.
    pub fn of_customer(
        &self,
        customer: &Customer,
        screening: &OwnershipScreening<'_>,
    ) -> Ownership {
        let entity = customer.entity.as_ref().and_then(|id| self.graph.get(id.as_str()));
        entity.map_or(customer.ownership(), |index| screening.judge(index).status)
    }

    /// Whether whoever is there is restricted.
    pub fn restricts(&self, place: Place) -> bool {
        self.regions.standing(place) == Standing::Restricted
    }
}

// === the files as such ===

fn check_names(files: &Files, remarks: &mut Remarks) {
    for name in &files.others {
        if is_readme(name) {
            continue;
        }
        let help = match name.strip_prefix(BODS) {
            Some(_) => "BODS statements stand in `bods/` itself, in files that end in `.json` or `.jsonl`".into(),
            None => match nearest(name, &top().collect::<Vec<_>>()) {
                _ if is_other_sheet(name) => "a spreadsheet is read as `.xlsx`, or as text that is saved as `.csv`".into(),
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "a register holds register.json, customers, owners, entities.json, nodes.json, enforcement.json, bods/, networks/ and README files".into()
                }
            },
        };
        remarks.error(name, None, "no such file belongs to a register", Some(&help));
    }
}

/// Whether it is a spreadsheet or a table of another kind.
fn is_other_sheet(name: &str) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let known = ["customers", "owners"].iter().any(|known| stem.to_lowercase().starts_with(known));
    known
        && ["xls", "xlsm", "xlsb", "ods", "fods", "numbers", "tsv", "tab", "txt"]
            .contains(&ending.to_lowercase().as_str())
}

/// Reads a JSON document; one that isn't there is none.
fn document<T: Shape>(
    documents: &Documents,
    name: &'static str,
    remarks: &mut Remarks,
) -> Option<T> {
    let json = tree(name, documents.get(name)?, remarks)?;
    let mut problems = Problems::default();
    let value = T::read(&json, &Path::Root, &mut problems);
    remarks.take(name, problems);
    value
}

fn tree(name: &str, bytes: &[u8], remarks: &mut Remarks) -> Option<Json> {
    if is_wide(bytes) {
        remarks.wide(name);
        return None;
    }
    let bytes = without_mark(bytes);
    if bytes.trim_ascii().is_empty() {
        remarks.error(
            name,
            None,
            "this file is empty",
            Some("a JSON object belongs here; remove the file if you don't need it"),
        );
        return None;
    }
    match serde_json::from_slice(bytes) {
        Ok(json) => Some(json),
        Err(error) => {
            remarks.not_json(name, error.line(), &error);
            None
        }
    }
}

// === settings ===

fn read_regions(settings: &Settings, remarks: &mut Remarks) -> Option<Regions> {
    let default = || RegionSettings {
        set: RegionSetId::for_provider(None),
        restricted: Vec::new(),
        unsupported: None,
    };
    let at = Path::Member(&Path::Root, "regions");
    let mut problems = Problems::default();
    let regions =
        Regions::new(&settings.regions.clone().unwrap_or_else(default), &at, &mut problems);
    remarks.take(SETTINGS, problems);
    let unlisted: Vec<String> =
        regions.iter().flat_map(Regions::unlisted).map(|code| code.to_string()).collect();
    if !unlisted.is_empty() {
        let message = format!(
            "these are neither supported nor restricted, so requests from there get through with a report: {}",
            unlisted.join(" ")
        );
        remarks.notice(
            SETTINGS,
            "$.regions",
            message,
            "name those in `restricted` that the provider's terms exclude",
        );
    }
    regions
}

fn read_networks(settings: &Settings, files: Documents, remarks: &mut Remarks) -> Option<Networks> {
    let networks = networks::merge(&settings.networks, &files, remarks);
    for source in networks
        .iter()
        .flat_map(|networks| &networks.sources)
        .filter(|source| !source.unannounced.is_empty())
    {
        let (shown, more) = source.unannounced.split_at(source.unannounced.len().min(10));
        let shown = shown.iter().map(|asn| format!("AS{asn}")).collect::<Vec<_>>().join(" ");
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(" and {} more", grouped(more.len()))
        };
        let help = "a typing error, or gone from the Internet: nothing is listed for them";
        remarks.notice(
            source.file.as_str(),
            "",
            format!("no source knows networks of {shown}{more}"),
            help,
        );
    }
    if !remarks.have_errors_at(SETTINGS, &Path::Member(&Path::Root, "networks")) {
        for name in files
            .keys()
            .filter(|name| !settings.networks.iter().any(|source| source.file.as_str() == *name))
        {
            remarks.notice(
                name,
                "",
                "no source in register.json names this file".into(),
                "name it in `networks`, or remove it",
            );
        }
    }
    networks
}

// === entities ===

/// What was read of who owns whom, right or wrong.
struct Read {
    settings: Settings,
    regions: Option<Regions>,
    /// The entities, or the ids of those that don't fit together
    graph: Result<Graph, Vec<Text>>,
    /// Whether each entity could be read: else one that isn't here may stand in a file all the same
    whole: bool,
    /// What the owners say, where they stand in a table
    digest: Option<String>,
}

impl Read {
    fn owners(self) -> Option<Owners> {
        Some(Owners { settings: self.settings, regions: self.regions?, graph: self.graph.ok()? })
    }

    /// The ids of all entities, or none where the files may hold others.
    fn entities(&self) -> Option<HashSet<&str>> {
        self.whole.then(|| match &self.graph {
            Ok(graph) => graph.entities().map(|(_, entity)| entity.id.as_str()).collect(),
            Err(ids) => ids.iter().map(Text::as_str).collect(),
        })
    }
}

/// Where the elements of a list stand that holds those of entities.json first, then those of the owners, then those of bods/.
struct Places<'a> {
    /// `entities` or `holdings`
    list: &'static str,
    /// Their numbers in entities.json
    short: Vec<usize>,
    /// The rows of the owners
    rows: Vec<usize>,
    owners: &'a Origin,
    /// The files of bods/
    files: &'a [&'a str],
    statements: Vec<bods::StatementOrigin>,
}

impl Places<'_> {
    /// The file, the path in it, and whether it is an element of entities.json.
    fn at(&self, i: usize) -> (&str, String, bool) {
        match self.short.get(i) {
            Some(number) => (
                ENTITIES,
                Path::Element(&Path::Member(&Path::Root, self.list), *number).to_string(),
                true,
            ),
            None => {
                let origin = self.statement(i);
                let file = origin
                    .and_then(|origin| self.files.get(origin.file))
                    .copied()
                    .unwrap_or(ENTITIES);
                (file, origin.map_or_else(|| "$".into(), |origin| origin.path.clone()), false)
            }
        }
    }

    /// The row of the owners that it comes from.
    fn row(&self, i: usize) -> Option<usize> {
        i.checked_sub(self.short.len()).and_then(|i| self.rows.get(i)).copied()
    }

    fn statement(&self, i: usize) -> Option<&bods::StatementOrigin> {
        i.checked_sub(self.short.len())?
            .checked_sub(self.rows.len())
            .and_then(|i| self.statements.get(i))
    }

    fn remark(&self, i: usize, member: &str, message: String, help: Option<String>) -> Remark {
        if let Some(row) = self.row(i) {
            let member = match member {
                "id" => "owner",
                "basis_points" => "share",
                other => other,
            };
            let remark = self
                .owners
                .say(row, |at, problems| problems.note(&Path::Member(at, member), message, help))
                .into_iter()
                .next();
            return remark.unwrap_or_else(|| Remark {
                file: ENTITIES.into(),
                line: None,
                problem: Problem { path: String::new(), message: String::new(), help: None },
            });
        }
        let (file, mut path, short) = self.at(i);
        if short {
            path = format!("{path}.{member}");
        }
        let line = self.statement(i).and_then(|origin| origin.line);
        Remark { file: file.into(), line, problem: Problem { path, message, help } }
    }
}

fn read_owners(documents: &Documents, now: UnixSeconds, remarks: &mut Remarks) -> Read {
    let settings = document(documents, SETTINGS, remarks).unwrap_or_default();
    let regions = read_regions(&settings, remarks);
    let EntitiesFile { entities, holdings } = document(documents, ENTITIES, remarks)
        .unwrap_or_else(|| EntitiesFile {
            entities: Each::none(!documents.contains_key(ENTITIES)),
            holdings: Each::none(true),
        });
    let mut whole = entities.whole;
    let mut statements = BodsStatements::default();
    let files: Vec<&str> =
        documents.keys().map(String::as_str).filter(|name| name.starts_with(BODS)).collect();
    for (name, bytes) in documents.iter().filter(|(name, _)| name.starts_with(BODS)) {
        let errors = remarks.count();
        read_statements(name, bytes, &mut statements, remarks);
        whole = whole && remarks.count() == errors;
    }
    let declared = statements.as_of(now);
    notice_places(&declared.nowhere, &files, remarks);

    let (numbers, mut entities): (Vec<usize>, Vec<_>) = entities.values.into_iter().unzip();
    let (declared_entities, origins): (Vec<_>, Vec<_>) = declared.entities.into_iter().unzip();
    let forms::Read { origin: owners, entries, digest } = read_owner_rows(documents, remarks);
    whole = whole && owners.whole;
    let elsewhere: HashSet<String> = entities
        .iter()
        .chain(&declared_entities)
        .map(|entity: &Entity| entity.id.to_string())
        .collect();
    let owned = owners::owned(entries, &owners, &elsewhere, remarks);
    let (more, rows): (Vec<_>, Vec<_>) = owned.entities.into_iter().unzip();
    let entity_places = Places {
        list: "entities",
        short: numbers,
        rows,
        owners: &owners,
        files: &files,
        statements: origins,
    };
    entities.extend(more);
    entities.extend(declared_entities);
    let (numbers, mut holdings): (Vec<usize>, Vec<_>) = holdings.values.into_iter().unzip();
    let (more, rows): (Vec<_>, Vec<_>) = owned.holdings.into_iter().unzip();
    holdings.extend(more);
    // what people keep by hand comes first: it must fit together
    let after = holdings.len();
    let (more, origins): (Vec<_>, Vec<_>) = declared.holdings.into_iter().unzip();
    holdings.extend(more);
    let mut holding_places = Places {
        list: "holdings",
        short: numbers,
        rows,
        owners: &owners,
        files: &files,
        statements: origins,
    };
    let (indirect, origins): (Vec<_>, Vec<_>) = declared.indirect.into_iter().unzip();
    holding_places.statements.extend(origins);

    let ids: Vec<Text> = entities.iter().map(|entity| entity.id.clone()).collect();
    let said =
        ownership::Declarations { after, indirect, interpretations: declared.interpretations };
    let graph = Graph::with(entities, &holdings, &said).map_err(|errors| {
        let known = errors
            .iter()
            .filter(|error| whole || !matches!(error, GraphError::UnknownEntity { .. }));
        known.for_each(|error| remarks.push_error(unfit(error, &entity_places, &holding_places)));
        ids
    });
    if let Ok(graph) = &graph {
        notice_sums(graph, &holdings, &holding_places, remarks);
    }
    Read { settings, regions, graph, whole, digest }
}

fn read_owner_rows(documents: &Documents, remarks: &mut Remarks) -> forms::Read<OwnerRow> {
    let Some(found) = OWNERS.find(documents, remarks) else {
        return forms::Read {
            origin: Origin::none(OWNERS, true),
            entries: Vec::new(),
            digest: None,
        };
    };
    let rows = |remarks: &mut Remarks| {
        let read: Option<OwnersFile> = document(documents, OWNERS_JSON, remarks);
        read.map_or_else(|| Each::none(false), |file| file.owners)
    };
    forms::read(OWNERS, found, documents, remarks, rows, |_, _, _, _| {})
}

/// Reads the statements of a file of bods/: one list, or one statement after the other, each on a line of its own as
/// publishers of many write them, or on several.
fn read_statements(
    name: &str,
    bytes: &[u8],
    statements: &mut BodsStatements,
    remarks: &mut Remarks,
) {
    let text = without_mark(bytes);
    let in_a_row = name.ends_with(".jsonl") || text.trim_ascii_start().starts_with(b"{");
    let json = if in_a_row { None } else { tree(name, bytes, remarks) };
    let mut problems = Problems::default();
    statements.read(json.as_ref().unwrap_or(&Json::List(Vec::new())), &mut problems);
    remarks.take(name, problems);
    if !in_a_row {
        return;
    }
    let lines = || {
        text.split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty())
    };
    let mut add = |number: usize, json: &Json, remarks: &mut Remarks| {
        let mut problems = Problems::default();
        statements.read_line(json, number, &mut problems);
        for problem in problems.iter() {
            remarks.push_error(Remark {
                file: name.into(),
                line: Some(number),
                problem: problem.clone(),
            });
        }
    };
    // the first line decides: a statement on several lines begins with no whole one
    if lines().next().is_none_or(|(_, first)| {
        serde_json::from_slice::<Json>(first).is_ok() || name.ends_with(".jsonl")
    }) {
        for (i, line) in lines() {
            let number = i.saturating_add(1);
            match serde_json::from_slice::<Json>(line) {
                Ok(json) => add(number, &json, remarks),
                Err(error) => remarks.not_json(name, number, &error),
            }
        }
        return;
    }
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Json>();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let blanks = rest.len().saturating_sub(rest.trim_ascii_start().len());
        let before = text.get(..stream.byte_offset().saturating_add(blanks)).unwrap_or_default();
        let number = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        match stream.next() {
            None => return,
            Some(Ok(json)) => add(number, &json, remarks),
            Some(Err(error)) => return remarks.not_json(name, error.line(), &error),
        }
    }
}

/// As many places and companies are named in notices: who reads more of them asks `waybill screen`.
const MOST_NOTICES: usize = 100;

/// Says which places nobody knows, each once.
fn notice_places(
    nowhere: &[(String, bods::StatementOrigin)],
    files: &[&str],
    remarks: &mut Remarks,
) {
    let mut places: BTreeMap<&str, (usize, &bods::StatementOrigin)> = BTreeMap::new();
    for (place, origin) in nowhere {
        let (count, _) = places.entry(place).or_insert((0, origin));
        *count = count.saturating_add(1);
    }
    let help = "it counts as restricted in the worst case; a country needs its ISO 3166-1 code or English name";
    for (place, (count, origin)) in places.iter().take(MOST_NOTICES) {
        let others = match count.saturating_sub(1) {
            0 => String::new(),
            1 => ", nor of one other party".into(),
            more => format!(", nor of {} other parties", grouped(more)),
        };
        let message = format!("nobody knows the place `{place}`{others}");
        let problem = Problem { path: origin.path.clone(), message, help: Some(help.into()) };
        let file = files.get(origin.file).copied().unwrap_or(BODS);
        remarks.notices.push(Remark { file: file.into(), line: origin.line, problem });
    }
    notice_more(places.len(), "places that nobody knows", remarks);
}

/// Says of which companies more than the whole is held.
fn notice_sums(
    graph: &Graph,
    holdings: &[ownership::Holding],
    places: &Places<'_>,
    remarks: &mut Remarks,
) {
    let over: BTreeMap<&str, u64> = graph
        .over()
        .filter_map(|(index, sum)| Some((graph.entity(index)?.id.as_str(), sum)))
        .collect();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, holding) in
        holdings.iter().enumerate().filter(|(_, holding)| over.contains_key(holding.of.as_str()))
    {
        last.insert(holding.of.as_str(), i);
    }
    let help = "joint holders may be listed with the whole each: any of them may hold it in the worst case";
    for (id, sum) in over.iter().take(MOST_NOTICES) {
        let sum = ownership::Percentage(u32::try_from(*sum).unwrap_or(u32::MAX));
        let message =
            format!("the shares of `{id}` come to {sum}, so it is left to its worst case");
        let at = last.get(id).copied().unwrap_or(holdings.len());
        remarks.notices.push(places.remark(at, "basis_points", message, Some(help.into())));
    }
    notice_more(over.len(), "companies of which more than the whole is held", remarks);
}

fn notice_more(count: usize, what: &str, remarks: &mut Remarks) {
    if let Some(more @ 1..) = count.checked_sub(MOST_NOTICES) {
        remarks.notice(
            BODS,
            "",
            format!("{} more {what}", grouped(more)),
            "`waybill screen` names them",
        );
    }
}

/// Where entities and holdings don't fit together.
fn unfit(error: &GraphError, entities: &Places<'_>, holdings: &Places<'_>) -> Remark {
    let message = error.to_string();
    match error {
        GraphError::DuplicateEntity { entity, first, .. } => {
            let ((file, ..), (other, path, _)) = (entities.at(*entity), entities.at(*first));
            let place = if file == other { path } else { format!("{path} in {other}") };
            entities.remark(
                *entity,
                "id",
                message,
                Some(format!("the first is {place}; keep one of the two")),
            )
        }
        GraphError::UnknownEntity { holding, end, .. } => {
            let member = match end {
                HoldingEnd::Owner => "owner",
                HoldingEnd::Of => "of",
            };
            holdings.remark(*holding, member, message, error.help())
        }
        GraphError::BadShare { holding, .. } => {
            holdings.remark(*holding, "basis_points", message, error.help())
        }
        GraphError::SumOver100 { holdings: all, .. } => {
            let rows: Vec<usize> = all.iter().filter_map(|i| holdings.row(*i)).collect();
            let message = match rows.as_slice() {
                [] => message,
                rows => {
                    let lines = rows
                        .iter()
                        .map(|row| holdings.owners.line(*row).to_string())
                        .collect::<Vec<_>>()
                        .join(", ");
                    format!("{message}: {}:{lines}", holdings.owners.file)
                }
            };
            holdings.remark(
                all.last().copied().unwrap_or_default(),
                "basis_points",
                message,
                error.help(),
            )
        }
    }
}

/// Guesses which name was meant: few times and among few names, so that many mistakes in a large register stay quick to tell.
struct Guesses(usize);

impl Guesses {
    const MOST: Self = Self(100);
    const MOST_CANDIDATES: usize = 2_000;

    /// "did you mean `x`?", or the other help.
    fn help<'k>(
        &mut self,
        word: &str,
        known: impl ExactSizeIterator<Item = &'k str>,
        other: &str,
    ) -> String {
        let near = match self.0.checked_sub(1) {
            Some(left) if known.len() <= Self::MOST_CANDIDATES => {
                self.0 = left;
                let mut candidates: Vec<&str> = known.collect();
                candidates.sort_unstable();
                nearest(word, &candidates)
            }
            _ => None,
        };
        near.map_or_else(|| other.to_owned(), |near| format!("did you mean `{near}`?"))
    }
}

// === customers ===

fn read_customers(documents: &Documents, remarks: &mut Remarks) -> forms::Read<Customer> {
    let Some(found) = CUSTOMERS.find(documents, remarks) else {
        let help = "customers.json is enough for a start: {\"customers\": []}; customers.xlsx, customers.csv and customers.jsonl do as well";
        remarks.error(CUSTOMERS_JSON, None, "this register has no customers", Some(help));
        return forms::Read {
            origin: Origin::none(CUSTOMERS, false),
            entries: Vec::new(),
            digest: None,
        };
    };
    let customers = |remarks: &mut Remarks| {
        let read: Option<CustomersFile> = document(documents, CUSTOMERS_JSON, remarks);
        read.map_or_else(|| Each::none(false), |file| file.customers)
    };
    let mut keys: Vec<Row<CredentialEntry>> = Vec::new();
    let mut overrides: Vec<Row<Override>> = Vec::new();
    let mut read = forms::read(
        CUSTOMERS,
        found,
        documents,
        remarks,
        customers,
        |remarks, table, place, json| match table {
            1 => keys.extend(Row::read(place, json, remarks)),
            _ => overrides.extend(Row::read(place, json, remarks)),
        },
    );
    attach(&mut read, keys, overrides, remarks);
    read
}

/// A row of a table beside the customers: whose it is, and what it says.
struct Row<T> {
    place: Beside,
    customer: String,
    what: T,
}

impl<T: Shape> Row<T> {
    fn read(place: Beside, json: &Json, remarks: &mut Remarks) -> Option<Self> {
        let Json::Object(members) = json else { return None };
        let (whose, rest): (Vec<_>, Vec<_>) =
            members.iter().cloned().partition(|(name, _)| name == "customer");
        let mut problems = Problems::default();
        let customer = whose.first().and_then(|(_, id)| id.as_str()).map(str::to_owned);
        if customer.is_none() {
            problems.note(&Path::Root, "`customer` is missing", None);
        }
        let what = T::read(&Json::Object(rest), &Path::Root, &mut problems);
        problems
            .iter()
            .for_each(|problem| remarks.push_error(place.remark(&problem.path, problem)));
        Some(Self { place, customer: customer?, what: what? })
    }
}

/// Gives customers what stands in the tables beside them.
fn attach(
    read: &mut forms::Read<Customer>,
    keys: Vec<Row<CredentialEntry>>,
    overrides: Vec<Row<Override>>,
    remarks: &mut Remarks,
) {
    if keys.is_empty() && overrides.is_empty() {
        return;
    }
    let forms::Read { origin, entries: customers, .. } = read;
    let ids: HashMap<String, usize> = customers
        .iter()
        .enumerate()
        .rev()
        .map(|(i, customer)| (customer.id.to_string(), i))
        .collect();
    let mut guesses = Guesses::MOST;
    let whole = origin.whole;
    let mut find =
        |place: Beside, id: &str, remarks: &mut Remarks| {
            let found = ids.get(id).copied();
            if found.is_none() && whole {
                let help = guesses.help(
                    id,
                    ids.keys().map(String::as_str),
                    "add the customer, or take the row out",
                );
                let message = format!("no customer `{id}` is in the register");
                remarks.push_error(place.remark(
                    "$.customer",
                    &Problem { path: String::new(), message, help: Some(help) },
                ));
            }
            found
        };
    for Row { place, customer: id, what } in keys {
        let Some(i) = find(place, &id, remarks) else { continue };
        let Some(customer) = customers.get_mut(i) else { continue };
        // a digest may stand beside the customer too: the row says more of it
        let bare = customer.credentials.iter().position(|known| known.digest == what.digest);
        let bare = bare.filter(|n| !origin.is_beside(i, "credentials", *n));
        match bare.and_then(|n| customer.credentials.get_mut(n).map(|known| (n, known))) {
            Some((n, known)) => {
                *known = Credential::from(what);
                origin.came_from(i, "credentials", n, place);
            }
            None => {
                customer.credentials.push(Credential::from(what));
                origin.came_from(
                    i,
                    "credentials",
                    customer.credentials.len().saturating_sub(1),
                    place,
                );
            }
        }
    }
    for Row { place, customer: id, what } in overrides {
        let Some(i) = find(place, &id, remarks) else { continue };
        let Some(customer) = customers.get_mut(i) else { continue };
        customer.overrides.push(what);
        origin.came_from(i, "overrides", customer.overrides.len().saturating_sub(1), place);
    }
}

/// Notes what contradicts itself, and ids, credentials and names that lead to two customers. Gives back the ids.
fn check_customers<'a>(
    customers: &'a [Customer],
    origin: &Origin,
    remarks: &mut Remarks,
) -> HashMap<&'a str, usize> {
    let mut ids: HashMap<&str, usize> = HashMap::with_capacity(customers.len());
    let mut credentials: HashMap<&CredentialDigest, usize> =
        HashMap::with_capacity(customers.len());
    let mut certificates: HashMap<&str, usize> = HashMap::new();
    let mut claims: HashMap<&str, usize> = HashMap::new();
    for (i, customer) in customers.iter().enumerate() {
        let found = origin.say(i, |at, problems| {
            check_customer(customer, at, problems);
            if customer.entity.is_some() && customer.ownership.is_some() {
                let help = "keep `entity` where the owners are on file, `ownership` where you answer for the result yourself";
                problems.note(at, "`entity` and `ownership` exclude each other", Some(help.into()));
            }
            if let Some(first) = first_place(ids.entry(customer.id.as_str()), i) {
                let help = format!("the first is {}", origin.place(first));
                problems.note(&Path::Member(at, "id"), format!("`{}` stands twice", customer.id), Some(help));
            }
            let mut twice = |list: &str, n: usize, what: &str, first: Option<usize>| {
                let Some(first) = first else { return };
                let list = Path::Member(at, list);
                let (message, help) = if first == i {
                    (format!("this {what} stands twice"), "keep one of the two".into())
                } else {
                    let help = format!("it is at {} too; remove it from one", origin.place(first));
                    (format!("this {what} leads to two customers"), help)
                };
                problems.note(&Path::Element(&list, n), message, Some(help));
            };
            for (n, credential) in customer.credentials.iter().enumerate() {
                twice("credentials", n, "credential", first_place(credentials.entry(&credential.digest), i));
            }
            for (n, name) in customer.mtls.iter().enumerate() {
                twice("mtls", n, "name in certificates", first_place(certificates.entry(name.as_str()), i));
            }
            for (n, value) in customer.jwt.iter().enumerate() {
                twice("jwt", n, "value of a claim", first_place(claims.entry(value.as_str()), i));
            }
        });
        found.into_iter().for_each(|remark| remarks.push_error(remark));
    }
    ids
}

/// Whose entry it is already, if anybody's; else it is `i`'s from now on.
fn first_place<K>(entry: Entry<'_, K, usize>, i: usize) -> Option<usize> {
    match entry {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(free) => {
            free.insert(i);
            None
        }
    }
}

fn check_entity_references(
    customers: &[Customer],
    origin: &Origin,
    known: Option<&HashSet<&str>>,
    remarks: &mut Remarks,
) {
    let Some(known) = known else { return };
    let mut guesses = Guesses::MOST;
    for (i, customer) in customers.iter().enumerate() {
        if let Some(id) = customer.entity.as_ref().filter(|id| !known.contains(id.as_str())) {
            let help = guesses.help(
                id.as_str(),
                known.iter().copied(),
                "add it to entities.json, with its country of incorporation",
            );
            let mismatch = Mismatch::new(format!("no entity `{id}` is in the register"), help);
            let found = origin
                .say(i, |at, problems| problems.mismatch(&Path::Member(at, "entity"), mismatch));
            found.into_iter().for_each(|remark| remarks.push_error(remark));
        }
    }
}

/// What is said of customers all at once: how many there are, and where the first stands.
struct Tally {
    count: usize,
    first: Option<Remark>,
}

impl Tally {
    fn count(&mut self, origin: &Origin, i: usize, place: impl FnOnce(&Path<'_>, &mut Problems)) {
        self.count = self.count.saturating_add(1);
        if self.first.is_none() {
            self.first = origin.say(i, place).into_iter().next();
        }
    }

    fn notice(self, one: &str, many: &str, help: &str, remarks: &mut Remarks) {
        if let Some(mut remark) = self.first {
            remark.problem.message = match self.count {
                1 => format!("1 {one}"),
                n => format!("{} {many}; the first is here", grouped(n)),
            };
            remark.problem.help = Some(help.into());
            remarks.notices.push(remark);
        }
    }
}

/// Notes what is allowed and yet worth knowing.
fn notice_customers(
    customers: &[Customer],
    origin: &Origin,
    now: UnixSeconds,
    remarks: &mut Remarks,
) {
    let [mut unowned, mut expired, mut ended, mut reroutes] =
        [const { Tally { count: 0, first: None } }; 4];
    for (i, customer) in customers.iter().enumerate() {
        if customer.entity.is_none() && customer.ownership.is_none() {
            unowned.count(origin, i, |at, problems| problems.note(at, "", None));
        }
        if let Some(screening) = &customer.screening
            && screening.status == ScreeningStatus::Passed
            && screening.until.is_some_and(|until| until <= now)
        {
            let until = |at: &Path<'_>, problems: &mut Problems| {
                problems.note(&Path::Member(&Path::Member(at, "screening"), "until"), "", None)
            };
            expired.count(origin, i, until);
        }
        for (n, entry) in customer.overrides.iter().enumerate() {
            let here = |name: &'static str| {
                move |at: &Path<'_>, problems: &mut Problems| {
                    problems.note(
                        &Path::Member(&Path::Element(&Path::Member(at, "overrides"), n), name),
                        "",
                        None,
                    );
                }
            };
            if entry.until <= now {
                ended.count(origin, i, here("until"));
            }
            if matches!(entry.action, Action::Reroute(_)) {
                reroutes.count(origin, i, here("action"));
            }
        }
    }
    unowned.notice(
        "customer has neither `entity` nor `ownership`, and is `unresolved`",
        "customers have neither `entity` nor `ownership`, and are `unresolved`",
        "name the company in `entity`, or say `ownership` yourself",
        remarks,
    );
    expired.notice(
        "screening has ended",
        "screenings have ended",
        "each request is `customer.screening-expired` until it is renewed",
        remarks,
    );
    ended.notice(
        "override has ended and does nothing",
        "overrides have ended and do nothing",
        "remove what is no longer needed",
        remarks,
    );
    reroutes.notice(
        "override reroutes to an entry of the node's `routes`",
        "overrides reroute to entries of the node's `routes`",
        "the register can't see whether the node has that entry: check the configuration",
        remarks,
    );
}

// === nodes ===

fn check_nodes(
    nodes: &Each<Node>,
    customers: &[Customer],
    origin: &Origin,
    ids: &HashMap<&str, usize>,
    remarks: &mut Remarks,
) {
    let mut problems = Problems::default();
    let mut notices = Problems::default();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut keys: HashMap<&[u8], usize> = HashMap::new();
    let mut guesses = Guesses::MOST;
    let nodes_at = Path::Member(&Path::Root, "nodes");
    for (i, node) in &nodes.values {
        let here = Path::Element(&nodes_at, *i);
        check_node(node, &here, &mut problems);
        if let Some(first) = first_place(names.entry(node.id.as_str()), *i) {
            let help = format!("the first is $.nodes[{first}]; one node may have several keys");
            problems.note(
                &Path::Member(&here, "id"),
                format!("`{}` stands twice", node.id),
                Some(help),
            );
        }
        let keys_at = Path::Member(&here, "keys");
        if node.keys.is_empty() && !remarks.have_errors_at(NODES, &keys_at) {
            let help =
                "ask its operator for the public JWK, as `waybill keygen --public` prints it";
            problems.note(
                &here,
                format!("`{}` has no key, so nothing that it signs can be verified", node.id),
                Some(help.into()),
            );
        }
        for (n, key) in node.keys.iter().enumerate() {
            if let Some(first) = first_place(keys.entry(key.x.as_bytes()), *i) {
                let help =
                    format!("it is a key of $.nodes[{first}] already; each node has its own");
                problems.note(&Path::Element(&keys_at, n), "this key stands twice", Some(help));
            }
        }
        let customer_at = Path::Member(&here, "customer");
        match ids.get(node.customer.as_str()).and_then(|i| customers.get(*i)) {
            None if !origin.whole => {} // it may stand in what couldn't be read
            None => {
                let help = guesses.help(
                    node.customer.as_str(),
                    ids.keys().copied(),
                    "add the reseller that runs the node to the customers",
                );
                problems.note(
                    &customer_at,
                    format!("no customer `{}` is in the register", node.customer),
                    Some(help),
                );
            }
            Some(customer) if customer.kind != CustomerKind::Reseller => notices.note(
                &customer_at,
                format!(
                    "`{}` isn't a reseller, so a chain beside its credential counts for nothing",
                    node.customer
                ),
                Some("give the customer the kind `reseller`".into()),
            ),
            Some(_) => {}
        }
    }
    remarks.take(NODES, problems);
    remarks.notices.extend(notices.iter().map(|problem| Remark {
        file: NODES.into(),
        line: None,
        problem: problem.clone(),
    }));
}
