//! Who owns whom: from entities.json, the owners' table and the statements in bods/.

use std::collections::{BTreeMap, HashSet};

use super::documents::{EntitiesFile, OwnerRow, OwnersFile, PartialList};
use super::files::{BODS, Documents, ENTITIES, OWNERS_JSON, SETTINGS, document};
use super::forms::{self, EntryLocations, ListContents, OWNERS};
use super::owners;
use super::statements::read_statements;
use crate::compile::ownership::bods::{self, BodsStatements};
use crate::compile::ownership::{self, Entity, Graph, GraphError, HoldingEnd, OwnershipScreening};
use crate::compile::remarks::{Remark, Remarks, grouped};
use crate::compile::settings::Settings;
use crate::register::{Customer, Ownership};
use crate::shape::{Path, Problem, Problems};
use crate::terms::names::Text;
use crate::terms::region::{Place, RegionSetId, RegionSettings, Regions, Standing};
use crate::terms::time::UnixSeconds;

/// Who owns whom, and how it is judged.
#[derive(Debug)]
pub struct Owners {
    /// The settings
    pub settings: Settings,
    /// The regions that are restricted
    pub regions: Regions,
    /// The entities of entities.json and bods/, and their holdings
    pub graph: Graph,
}

impl Owners {
    /// Judges every entity as the settings say.
    pub fn screen(&self) -> OwnershipScreening<'_> {
        self.graph.screen(&self.settings.ownership, |place| self.restricts(place))
    }

    /// A customer's result: of its company's screening, or else of its own entry. A customer with
    /// neither is unresolved.
    pub fn of_customer(
        &self,
        customer: &Customer,
        screening: &OwnershipScreening<'_>,
    ) -> Ownership {
        let entity = customer.entity.as_ref().and_then(|id| self.graph.get(id.as_str()));
        entity.map_or(customer.ownership(), |index| screening.judge(index).status)
    }

    /// Whether entities in that place are restricted.
    pub fn restricts(&self, place: Place) -> bool {
        self.regions.standing(place) == Standing::Restricted
    }
}

/// Who owns whom, as far as it could be read.
pub(super) struct OwnersDraft {
    pub(super) settings: Settings,
    pub(super) regions: Option<Regions>,
    /// The entities; or, where they contradict each other, their ids
    graph: Result<Graph, Vec<Text>>,
    /// Whether every entity could be read. Otherwise an unknown id isn't reported.
    whole: bool,
    /// The digest of the owners' table, where it is a table
    pub(super) digest: Option<String>,
}

impl OwnersDraft {
    pub(super) fn owners(self) -> Option<Owners> {
        Some(Owners { settings: self.settings, regions: self.regions?, graph: self.graph.ok()? })
    }

    /// The ids of all entities; `None` if some couldn't be read.
    pub(super) fn entities(&self) -> Option<HashSet<&str>> {
        self.whole.then(|| match &self.graph {
            Ok(graph) => graph.entities().map(|(_, entity)| entity.id.as_str()).collect(),
            Err(ids) => ids.iter().map(Text::as_str).collect(),
        })
    }
}

/// The places of a list's elements: of entities.json, then the owners' rows, then bods/.
struct GraphLocations<'a> {
    /// `entities` or `holdings`
    list: &'static str,
    /// Element numbers in entities.json
    short: Vec<usize>,
    /// Entry numbers of the owners
    rows: Vec<usize>,
    owners: &'a EntryLocations,
    /// The files of bods/
    files: &'a [&'a str],
    statements: Vec<bods::StatementOrigin>,
}

impl GraphLocations<'_> {
    /// The file, the path in it, and whether it is an element of entities.json.
    fn at(&self, i: usize) -> (&str, String, bool) {
        if let Some(number) = self.short.get(i) {
            let list = Path::Member(&Path::Root, self.list);
            return (ENTITIES, Path::Element(&list, *number).to_string(), true);
        }
        let Some(origin) = self.statement(i) else { return (ENTITIES, "$".into(), false) };
        let file = self.files.get(origin.file).copied().unwrap_or(ENTITIES);
        (file, origin.path.clone(), false)
    }

    /// The owners' entry that an element comes from.
    fn row(&self, i: usize) -> Option<usize> {
        i.checked_sub(self.short.len()).and_then(|i| self.rows.get(i)).copied()
    }

    fn statement(&self, i: usize) -> Option<&bods::StatementOrigin> {
        self.statements.get(i.checked_sub(self.short.len())?.checked_sub(self.rows.len())?)
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

pub(super) fn read_owners(
    documents: &Documents,
    now: UnixSeconds,
    remarks: &mut Remarks,
) -> OwnersDraft {
    let settings = document(documents, SETTINGS, remarks).unwrap_or_default();
    let regions = read_regions(&settings, remarks);
    let EntitiesFile { entities, holdings } = document(documents, ENTITIES, remarks)
        .unwrap_or_else(|| EntitiesFile {
            entities: PartialList::none(!documents.contains_key(ENTITIES)),
            holdings: PartialList::none(true),
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
    let ListContents { locations: owners, entries, digest } = read_owner_rows(documents, remarks);
    whole = whole && owners.whole;
    let elsewhere: HashSet<String> = entities
        .iter()
        .chain(&declared_entities)
        .map(|entity: &Entity| entity.id.to_string())
        .collect();
    let parts = owners::parts(entries, &owners, &elsewhere, remarks);
    let (more, rows): (Vec<_>, Vec<_>) = parts.entities.into_iter().unzip();
    let entity_places = GraphLocations {
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
    let (more, rows): (Vec<_>, Vec<_>) = parts.holdings.into_iter().unzip();
    holdings.extend(more);
    // entries kept by hand come first: contradictions in them are errors
    let after = holdings.len();
    let (more, origins): (Vec<_>, Vec<_>) = declared.holdings.into_iter().unzip();
    holdings.extend(more);
    let mut holding_places = GraphLocations {
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
    let interpretations = declared.interpretations;
    let declarations = ownership::Declarations { after, indirect, interpretations };
    let graph = Graph::with(entities, &holdings, &declarations).map_err(|errors| {
        let known = errors
            .iter()
            .filter(|error| whole || !matches!(error, GraphError::UnknownEntity { .. }));
        known.for_each(|error| {
            remarks.push_error(contradiction(error, &entity_places, &holding_places))
        });
        ids
    });
    if let Ok(graph) = &graph {
        notice_sums(graph, &holdings, &holding_places, remarks);
    }
    OwnersDraft { settings, regions, graph, whole, digest }
}

fn read_owner_rows(documents: &Documents, remarks: &mut Remarks) -> ListContents<OwnerRow> {
    let Some(found) = OWNERS.find(documents, remarks) else {
        return ListContents::none(OWNERS, true);
    };
    let rows = |remarks: &mut Remarks| {
        let read: Option<OwnersFile> = document(documents, OWNERS_JSON, remarks);
        read.map_or_else(|| PartialList::none(false), |file| file.owners)
    };
    forms::read(OWNERS, found, documents, remarks, rows, |_, _, _, _| {})
}

/// How many places and companies are named in notices; `waybill screen` shows the others.
const MOST_NOTICES: usize = 100;

/// Notes unknown places, each once.
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
    let help =
        "it counts as restricted in the worst case; write an ISO 3166-1 code or English name";
    for (place, (count, origin)) in places.iter().take(MOST_NOTICES) {
        let others = match count.saturating_sub(1) {
            0 => String::new(),
            1 => ", also of 1 other party".into(),
            more => format!(", also of {} other parties", grouped(more)),
        };
        let message = format!("unknown place `{place}`{others}");
        let problem = Problem { path: origin.path.clone(), message, help: Some(help.into()) };
        let file = files.get(origin.file).copied().unwrap_or(BODS);
        remarks.notices.push(Remark { file: file.into(), line: origin.line, problem });
    }
    notice_more(places.len(), "unknown places", remarks);
}

/// Notes companies whose shares come to more than 100 %.
fn notice_sums(
    graph: &Graph,
    holdings: &[ownership::Holding],
    places: &GraphLocations<'_>,
    remarks: &mut Remarks,
) {
    let over: BTreeMap<&str, u64> = graph
        .over()
        .filter_map(|(index, sum)| Some((graph.entity(index)?.id.as_str(), sum)))
        .collect();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    let of = holdings.iter().enumerate().map(|(i, holding)| (holding.of.as_str(), i));
    last.extend(of.filter(|(of, _)| over.contains_key(of)));
    let help =
        "correct the shares; leave them if joint holders are listed with the whole share each";
    for (id, sum) in over.iter().take(MOST_NOTICES) {
        let sum = ownership::Percentage(u32::try_from(*sum).unwrap_or(u32::MAX));
        let message = format!("the shares of `{id}` come to {sum}, so its worst case counts");
        let at = last.get(id).copied().unwrap_or(holdings.len());
        remarks.notices.push(places.remark(at, "basis_points", message, Some(help.into())));
    }
    notice_more(over.len(), "companies whose shares come to more than 100 %", remarks);
}

fn notice_more(count: usize, what: &str, remarks: &mut Remarks) {
    if let Some(more @ 1..) = count.checked_sub(MOST_NOTICES) {
        let message = format!("{} more {what}", grouped(more));
        remarks.notice(BODS, "", message, "`waybill screen` names them");
    }
}

/// A contradiction of entities and holdings, with its place.
fn contradiction(
    error: &GraphError,
    entities: &GraphLocations<'_>,
    holdings: &GraphLocations<'_>,
) -> Remark {
    let message = error.to_string();
    match error {
        GraphError::DuplicateEntity { entity, first, .. } => {
            let ((file, ..), (other, path, _)) = (entities.at(*entity), entities.at(*first));
            let place = if file == other { path } else { format!("{path} in {other}") };
            let help = format!("the first is {place}; keep one of the two");
            entities.remark(*entity, "id", message, Some(help))
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
            let rows = all.iter().filter_map(|i| holdings.row(*i));
            let lines: Vec<String> =
                rows.map(|row| holdings.owners.line(row).to_string()).collect();
            let message = match lines.as_slice() {
                [] => message,
                lines => format!("{message}: {}:{}", holdings.owners.file, lines.join(", ")),
            };
            let last = all.last().copied().unwrap_or_default();
            holdings.remark(last, "basis_points", message, error.help())
        }
    }
}

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
    remarks.take(SETTINGS, None, &problems);
    let unlisted: Vec<String> =
        regions.iter().flat_map(Regions::unlisted).map(|code| code.to_string()).collect();
    if !unlisted.is_empty() {
        let message = format!(
            "neither supported nor restricted, so requests are let through and reported: {}",
            unlisted.join(" ")
        );
        let help = "add those to `restricted` that the provider's terms exclude";
        remarks.notice(SETTINGS, "$.regions", message, help);
    }
    regions
}
