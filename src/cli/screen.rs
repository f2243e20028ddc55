//! `waybill screen`: whether an entity of the register is owned from a restricted region, and through whom.

mod svg;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Failure, complain, print, register, table, word, wrap};
use crate::compile::directory::{customers, owners, says_of_customers};
use crate::compile::ownership::{
    Entity, EntityIndex, Holder, OwnershipChain, OwnershipChains, OwnershipResult,
    OwnershipScreening, Percentage, basis_points,
};
use crate::compile::settings::{Comparison, Method, OwnershipSettings};
use crate::names::{Text, UnixSeconds};
use crate::region::{CountryCode, Place};
use crate::register::{Customer, Ownership};
use crate::shape::{Mismatch, Whole};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The entity's id, or a customer's
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    entity: Option<String>,
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// Screen every customer: its result, the largest restricted share, and what is missing where it isn't resolved
    #[arg(long)]
    all: bool,
    /// How a share is counted, in place of the register's setting: cascade, multiplicative or either
    #[arg(long, value_parser = word::<Method>)]
    method: Option<Method>,
    /// How it compares, in place of the register's setting: gt (more than) or ge (or more)
    #[arg(long, value_parser = word::<Comparison>)]
    comparison: Option<Comparison>,
    /// The threshold in basis points, in place of the register's setting
    #[arg(long, value_name = "BASIS_POINTS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    threshold: Option<u64>,
    /// The countries that are restricted, in place of the register's regions: CN,HK
    #[arg(long, value_name = "COUNTRIES", value_parser = Countries::parse)]
    restricted: Option<Countries>,
    /// As of when shares count (RFC 3339); by default now
    #[arg(long, value_name = "TIME", value_parser = word::<UnixSeconds>)]
    time: Option<UnixSeconds>,
    /// Print JSON for machines: --format json
    #[arg(long, conflicts_with_all = ["format", "csv"])]
    json: bool,
    /// Print a table for spreadsheets
    #[arg(long, conflicts_with_all = ["entity", "format"])]
    csv: bool,
    /// The form of the answer
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Words for a person
    Text,
    /// For machines
    Json,
    /// A picture of who holds what
    Svg,
}

/// Countries by their codes, with commas.
#[derive(Debug, Clone)]
struct Countries(Vec<CountryCode>);

/// How many chains are looked for, and how many lines a drawing has.
const CHAINS: usize = 50;
const LINES: usize = 60;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = &arguments.register;
    let files = register::files(folder, says_of_customers)?;
    let (owners, remarks) = owners(&files.documents, arguments.time.unwrap_or_else(register::now));
    register::complain_of(folder, &remarks);
    let Some(owners) = owners else {
        return Err(Failure(format!("{}: nothing is screened", folder.display())));
    };
    let customers = customers(&files.documents);
    let format = if arguments.json { Format::Json } else { arguments.format };
    let mut settings = owners.settings.ownership.clone();
    settings.method = arguments.method.unwrap_or(settings.method);
    settings.comparison = arguments.comparison.unwrap_or(settings.comparison);
    settings.threshold_basis_points =
        arguments.threshold.map_or(settings.threshold_basis_points, Whole);
    let screening = owners.graph.screen(&settings, |place| match &arguments.restricted {
        Some(Countries(countries)) => countries.contains(&place.country),
        None => owners.restricts(place),
    });
    let Some(id) = &arguments.entity else {
        let rows: Vec<Row<'_>> =
            customers.iter().map(|customer| Row::of(customer, &screening)).collect();
        print(&match (format, arguments.csv) {
            (_, true) => Row::table(rows)?,
            (Format::Json, _) => all_as_json(&screening, &rows),
            (Format::Text, _) => all_as_text(&screening, rows),
            (Format::Svg, _) => {
                return Err(Failure(
                    "a picture shows one company: name an entity, or a customer".into(),
                ));
            }
        });
        return Ok(());
    };
    let customer = customers.iter().find(|customer| customer.id.as_str() == id);
    let company = customer.and_then(|customer| customer.entity.as_ref());
    let subject = match (owners.graph.find(id), customer) {
        (Ok(subject), _) => subject,
        (Err(_), Some(customer)) => {
            match company.map(|company| owners.graph.find(company.as_str())) {
                Some(Ok(subject)) => subject,
                Some(Err(mismatch)) => return Err(unknown(&mismatch)),
                None => {
                    let row = Row::of(customer, &screening);
                    print(&if format == Format::Json {
                        format!("{:#}\n", row.as_json())
                    } else {
                        format!("{}: {}: {}\n", row.id, row.status, row.why())
                    });
                    return Ok(());
                }
            }
        }
        (Err(mismatch), None) => return Err(unknown(&mismatch)),
    };
    let view = View::of(&screening, subject);
    print(&match format {
        Format::Json => format!("{:#}\n", view.as_json()),
        Format::Text => view.as_text(),
        Format::Svg => svg::draw(&view.sentence(), &view.rows()),
    });
    if let Some(company) = company.filter(|company| company.as_str() != view.id(subject)) {
        let note = format!(
            "note: this is the entity `{id}`. A customer has the same id, and its company is another: `{company}`"
        );
        if format == Format::Text { print(&format!("\n{note}\n")) } else { complain(&note) }
    }
    Ok(())
}

fn unknown(mismatch: &Mismatch) -> Failure {
    match &mismatch.help {
        Some(help) => Failure(format!("{}\n  help: {help}", mismatch.message)),
        None => Failure(mismatch.message.clone()),
    }
}

impl Countries {
    fn parse(text: &str) -> Result<Self, String> {
        let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
        codes.map(word::<CountryCode>).collect::<Result<_, _>>().map(Self)
    }
}

/// How many entities have each result, the number by the result.
fn counts(screening: &OwnershipScreening<'_>) -> Vec<(Ownership, usize)> {
    let found: Vec<Ownership> =
        screening.graph().entities().map(|(index, _)| screening.judge(index).status).collect();
    Ownership::ALL
        .iter()
        .map(|status| (*status, found.iter().filter(|found| *found == status).count()))
        .collect()
}

fn all_as_json(screening: &OwnershipScreening<'_>, rows: &[Row<'_>]) -> String {
    let counts: serde_json::Map<String, Value> = counts(screening)
        .into_iter()
        .map(|(status, count)| (status.to_string(), count.into()))
        .collect();
    let entity = |(index, entity): (EntityIndex, &Entity)| {
        (entity.id.to_string(), json!(screening.judge(index).status))
    };
    let entities: serde_json::Map<String, Value> =
        screening.graph().entities().map(entity).collect();
    let customers: Vec<Value> = rows.iter().map(Row::as_json).collect();
    format!("{:#}\n", json!({"counts": counts, "entities": entities, "customers": customers}))
}

/// The customers, restricted ones first and clear ones last, and how many entities have which result.
fn all_as_text(screening: &OwnershipScreening<'_>, mut rows: Vec<Row<'_>>) -> String {
    let entities: String = counts(screening)
        .into_iter()
        .map(|(status, count)| format!("{status}: {count}\n"))
        .collect();
    if rows.is_empty() {
        return entities;
    }
    rows.sort_by_key(|row| row.rank());
    let mut out = String::new();
    for row in &rows {
        let name = row.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let mut line = format!("{:<11} {}{name}", row.status.as_str(), row.id);
        if let Some((known, worst)) = row.shares {
            line.push_str(&format!(": {} restricted", Percentage(known)));
            if worst != known {
                line.push_str(&format!(", up to {} with what isn't known", Percentage(worst)));
            }
        }
        out.push_str(&wrap(&line, "", "            "));
        if row.status == Ownership::Unresolved {
            out.push_str(&wrap(
                &format!("missing: {}", row.missing()),
                "            ",
                "            ",
            ));
        }
    }
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    let by_weight = [Ownership::Restricted, Ownership::Unresolved, Ownership::Clear];
    let counts = by_weight.map(|status| format!("{status} {}", count(status))).join(", ");
    format!("{out}\n{} customers: {counts}\n\nentities on file\n{entities}", rows.len())
}

/// A customer in the list of all.
struct Row<'a> {
    id: &'a str,
    name: Option<&'a Text>,
    entity: Option<&'a Text>,
    status: Ownership,
    /// The largest share that is restricted, by the methods that are asked for, and in the worst case; in basis points
    shares: Option<(u32, u32)>,
    missing: Vec<String>,
}

impl<'a> Row<'a> {
    fn of(customer: &'a Customer, screening: &OwnershipScreening<'_>) -> Self {
        let (id, name, entity) =
            (customer.id.as_str(), customer.name.as_ref(), customer.entity.as_ref());
        let said = |status, missing: &str| {
            let missing =
                if status == Ownership::Unresolved { vec![missing.to_owned()] } else { Vec::new() };
            Self { id, name, entity, status, shares: None, missing }
        };
        let Some(company) = entity else {
            return match customer.ownership {
                None => said(
                    Ownership::Unresolved,
                    "no company is on file for it: name one in `entity`, or say `ownership` yourself",
                ),
                Some(status) => said(status, BY_HAND),
            };
        };
        let Some(index) = screening.graph().get(company.as_str()) else {
            return said(
                Ownership::Unresolved,
                &format!("its company `{company}` is not among the entities"),
            );
        };
        let OwnershipResult { status, itself, ownerless, cascade, multiplicative } =
            screening.judge(index);
        let largest = |by_cascade: u32, by_product: f64| match screening.settings().method {
            _ if itself.is_some() => 10_000,
            Method::Cascade => by_cascade,
            Method::Multiplicative => basis_points(by_product),
            Method::Either => by_cascade.max(basis_points(by_product)),
        };
        let shares = (
            largest(cascade.basis_points, multiplicative.share),
            largest(cascade.basis_points_worst, multiplicative.share_worst),
        );
        let missing = match status {
            Ownership::Unresolved if ownerless => {
                vec![format!("who owns `{company}`: no owner of it is on file")]
            }
            Ownership::Unresolved => missing(screening, index),
            _ => Vec::new(),
        };
        Self { id, name, entity, status, shares: (!ownerless).then_some(shares), missing }
    }

    fn missing(&self) -> String {
        self.missing.join("; ")
    }

    /// Of a customer without a company: where its result comes from.
    fn why(&self) -> String {
        if self.missing.is_empty() { BY_HAND.into() } else { self.missing() }
    }

    fn rank(&self) -> (u8, std::cmp::Reverse<u32>, &'a str) {
        let rank = match self.status {
            Ownership::Restricted => 0,
            Ownership::Unresolved => 1,
            Ownership::Clear => 2,
        };
        (rank, std::cmp::Reverse(self.shares.map_or(0, |(known, _)| known)), self.id)
    }

    fn as_json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "entity": self.entity, "status": self.status,
            "share_basis_points": self.shares.map(|(known, _)| known), "share_basis_points_worst": self.shares.map(|(_, worst)| worst),
            "missing": self.missing,
        })
    }

    fn table(mut rows: Vec<Self>) -> Result<String, Failure> {
        rows.sort_by_key(Self::rank);
        let percent = |share: Option<u32>| {
            share.map_or_else(String::new, |share| {
                Percentage(share).to_string().trim_end_matches(" %").to_owned()
            })
        };
        let text = |text: Option<&Text>| text.map_or_else(String::new, ToString::to_string);
        let row = |row: Self| {
            let (known, worst) =
                (row.shares.map(|(known, _)| known), row.shares.map(|(_, worst)| worst));
            vec![
                row.id.to_owned(),
                text(row.name),
                text(row.entity),
                row.status.to_string(),
                percent(known),
                percent(worst),
                row.missing(),
            ]
        };
        table(
            &[
                "customer",
                "name",
                "company",
                "result",
                "restricted_percent",
                "possible_percent",
                "missing",
            ],
            rows.into_iter().map(row),
        )
    }
}

/// What would have to be known for a result: the far ends of the largest chains that lead to nobody known.
fn missing(screening: &OwnershipScreening<'_>, subject: EntityIndex) -> Vec<String> {
    let id = |index: EntityIndex| {
        screening.graph().entity(index).map_or("", |entity| entity.id.as_str())
    };
    let mut missing: Vec<String> = Vec::new();
    let chains = screening.chains(subject, CHAINS).chains;
    for chain in chains.iter().filter(|chain| !chain.restricted) {
        let share = match chain.shares.first() {
            Some(Some(share)) => format!("{} of", Percentage(*share)),
            _ => "the rest of".to_owned(),
        };
        let what = match chain.entities.as_slice() {
            [None, Some(of), ..] => format!("who holds {share} `{}`", id(*of)),
            [Some(end), ..]
                if screening
                    .graph()
                    .entity(*end)
                    .is_some_and(|entity| entity.places().next().is_none()) =>
            {
                format!("where `{}` is", id(*end))
            }
            [Some(end), ..] => format!("who is behind `{}`", id(*end)),
            _ => continue,
        };
        if !missing.contains(&what) {
            missing.push(what);
        }
    }
    let more = missing.len().saturating_sub(MOST_MISSING);
    missing.truncate(MOST_MISSING);
    if more > 0 {
        missing.push(format!("and {more} more"));
    }
    if missing.is_empty() {
        missing.push(format!("what the notes of `waybill screen {}` say", id(subject)));
    }
    missing
}

/// Where the result of a customer without a company comes from.
const BY_HAND: &str =
    "no company is on file for it: the register says the result itself, in `ownership`";

/// How many missing things of one customer are named.
const MOST_MISSING: usize = 5;

/// One entity with all that is printed of it.
struct View<'a> {
    screening: &'a OwnershipScreening<'a>,
    subject: EntityIndex,
    judgement: OwnershipResult,
    chains: OwnershipChains,
    behind: Vec<EntityIndex>,
}

impl<'a> View<'a> {
    fn of(screening: &'a OwnershipScreening<'a>, subject: EntityIndex) -> Self {
        let (judgement, chains, behind) = (
            screening.judge(subject),
            screening.chains(subject, CHAINS),
            screening.behind(subject),
        );
        Self { screening, subject, judgement, chains, behind }
    }

    fn as_json(&self) -> Value {
        let OwnershipResult { status, itself, ownerless, cascade, multiplicative } = self.judgement;
        let settings = self.screening.settings();
        let paths: Vec<Value> = self
            .chains
            .chains
            .iter()
            .map(|chain| {
                json!({
                    "entities": chain.entities.iter().map(|entity| entity.map(|index| self.id(index))).collect::<Vec<_>>(),
                    "shares_basis_points": chain.shares,
                    "basis_points": chain.share.map(basis_points),
                    "end": if chain.restricted { "restricted" } else { "unknown" },
                })
            })
            .collect();
        let blocked: Vec<Value> = self
            .blocked()
            .map(|(index, share)| {
                json!({"entity": self.id(index), "place": self.screening.itself(index).map(|place| place.to_string()), "share_basis_points": share})
            })
            .collect();
        let owners: Vec<Value> = self
            .owners()
            .into_iter()
            .map(|(index, place, share)| json!({"entity": self.id(index), "place": place.to_string(), "basis_points": basis_points(share)}))
            .collect();
        json!({
            "entity": self.id(self.subject),
            "status": status,
            "method": settings.method,
            "comparison": settings.comparison,
            "threshold_basis_points": settings.threshold_basis_points.0,
            "itself": itself.map(|place| place.to_string()),
            "ownerless": ownerless,
            "cascade": {
                "restricted": cascade.restricted,
                "restricted_worst": cascade.restricted_worst,
                "share_basis_points": cascade.basis_points,
                "share_basis_points_worst": cascade.basis_points_worst,
                "blocked": blocked,
            },
            "multiplicative": {
                "restricted": multiplicative.restricted,
                "restricted_worst": multiplicative.restricted_worst,
                "basis_points": basis_points(multiplicative.share),
                "basis_points_worst": basis_points(multiplicative.share_worst),
            },
            "owners": owners,
            "paths": paths,
            "paths_left_out": self.chains.more,
            "notes": self.notes(),
        })
    }

    fn as_text(&self) -> String {
        let mut out = String::new();
        for TreeRow { first, further, label, .. } in self.rows() {
            out.push_str(&wrap(&label, &first, &further));
        }
        let owners = self.owners();
        if self.judgement.itself.is_none() && !owners.is_empty() {
            out.push_str(&format!(
                "\n{}",
                wrap("multiplied along each chain and added up:", "", "")
            ));
            for (index, place, share) in &owners {
                let line = format!(
                    "{}  from {place}: {}",
                    Percentage(basis_points(*share)),
                    self.name(*index)
                );
                out.push_str(&wrap(&line, "  ", "    "));
            }
        }
        for note in self.notes() {
            out.push_str(&format!("\n{}", wrap(&format!("note: {note}"), "", "  ")));
        }
        out.push_str(&format!("\n{}", wrap(&self.sentence(), "", "")));
        out
    }

    fn id(&self, index: EntityIndex) -> &str {
        self.screening.graph().entity(index).map_or("", |entity| entity.id.as_str())
    }

    /// Its name, id and places.
    fn name(&self, index: EntityIndex) -> String {
        let Some(entity) = self.screening.graph().entity(index) else { return String::new() };
        let places: BTreeSet<String> = entity.places().map(|place| place.to_string()).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let places = match (places.join(" "), entity.nowhere.join(", ")) {
            (known, unknown) if unknown.is_empty() => {
                if known.is_empty() {
                    "place not known".into()
                } else {
                    known
                }
            }
            (known, unknown) if known.is_empty() => format!("in {unknown}, not known where"),
            (known, unknown) => format!("{known}, and in {unknown}, not known where"),
        };
        match &entity.name {
            Some(name) => format!("{name} ({}, {places})", entity.id),
            None => format!("{} ({places})", entity.id),
        }
    }

    /// Who counts as restricted by the cascade, with what those before hold of it; the first of them where they are many.
    fn blocked(&self) -> impl Iterator<Item = (EntityIndex, u32)> {
        self.behind
            .iter()
            .filter_map(|index| Some((*index, self.screening.blocked(*index)?)))
            .take(CHAINS)
    }

    /// The restricted owners at the ends of the chains, each with where it is and its share, largest first.
    fn owners(&self) -> Vec<(EntityIndex, Place, f64)> {
        let mut owners: Vec<(EntityIndex, Place, f64)> = Vec::new();
        for OwnershipChain { entities, share, .. } in &self.chains.chains {
            if let Some(Some(end)) = entities.first()
                && let Some(place) = self.screening.itself(*end)
                && let Some(share) = share
            {
                match owners.iter_mut().find(|(owner, _, _)| owner == end) {
                    Some((_, _, sum)) => *sum += share,
                    None => owners.push((*end, place, *share)),
                }
            }
        }
        owners.sort_by(|a, b| b.2.total_cmp(&a.2));
        owners
    }

    /// What a reader should know beside the result.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.chains.more {
            notes.push(format!(
                "only the {} largest chains were looked at",
                self.chains.chains.len()
            ));
        }
        if self.chains.rings {
            notes.push(
                "companies here hold shares of each other: the multiplied share counts every turn of the ring, the chains none".into(),
            );
        }
        let mut list = |which: &dyn Fn(EntityIndex) -> bool, one: &str, many: &str| {
            let found: Vec<&str> = self
                .behind
                .iter()
                .filter(|index| which(**index))
                .map(|index| self.id(*index))
                .collect();
            let (first, rest) = found.split_at(found.len().min(5));
            match (first, rest) {
                ([], _) => {}
                ([only], _) => notes.push(format!("`{only}` {one}")),
                (few, []) => notes.push(format!("`{}` {many}", few.join("`, `"))),
                (few, more) => {
                    notes.push(format!("`{}` and {} more {many}", few.join("`, `"), more.len()))
                }
            }
        };
        list(
            &|index| index != self.subject && self.screening.taken_by_place(index),
            "has no owner on file and is taken by its place alone; with `\"type\": \"company\"` it would need owners",
            "have no owner on file and are taken by their place alone; with `\"type\": \"company\"` they would need owners",
        );
        list(
            &|index| {
                self.screening
                    .graph()
                    .entity(index)
                    .is_some_and(|entity| !entity.nowhere.is_empty())
            },
            "is said to be in a place that nobody knows, which counts as restricted in the worst case",
            "are said to be in places that nobody knows, which count as restricted in the worst case",
        );
        list(
            &|index| self.screening.contradicts_itself(index),
            "has more than the whole held of it as it stands on file: any of its holders may hold it in the worst case",
            "have more than the whole held of them as they stand on file: any of their holders may hold them in the worst case",
        );
        list(
            &|index| self.screening.in_closed_ring(index),
            "holds all of itself: nobody is on file behind it",
            "hold all of each other: nobody is on file behind them",
        );
        notes
    }

    /// The result in one sentence.
    fn sentence(&self) -> String {
        let OwnershipResult { status, itself, ownerless, cascade, multiplicative } = self.judgement;
        let OwnershipSettings { method, comparison, threshold_basis_points: Whole(threshold) } =
            self.screening.settings();
        let threshold = Percentage(u32::try_from(*threshold).unwrap_or(u32::MAX));
        let beyond = match comparison {
            Comparison::Gt => format!("more than {threshold}"),
            Comparison::Ge => format!("{threshold} or more"),
        };
        let within = match comparison {
            Comparison::Gt => format!("not more than {threshold}"),
            Comparison::Ge => format!("less than {threshold}"),
        };
        // each method that was asked for: its share, whether that is beyond the threshold, and what it is called
        let asked = |by_cascade: (u32, bool),
                     by_product: (f64, bool)|
         -> Vec<(Percentage, bool, &str)> {
            let by_cascade = (Percentage(by_cascade.0), by_cascade.1, "cascade");
            let by_product = (Percentage(basis_points(by_product.0)), by_product.1, "multiplied");
            match method {
                Method::Cascade => vec![by_cascade],
                Method::Multiplicative => vec![by_product],
                Method::Either => vec![by_cascade, by_product],
            }
        };
        let plain = asked(
            (cascade.basis_points, cascade.restricted),
            (multiplicative.share, multiplicative.restricted),
        );
        let worst = asked(
            (cascade.basis_points_worst, cascade.restricted_worst),
            (multiplicative.share_worst, multiplicative.restricted_worst),
        );
        // equal ones are said once; the first word is the share, the second how it is counted
        let said = |shares: Vec<(Percentage, bool, &str)>, all: bool| -> Vec<(String, String)> {
            let mut said: Vec<(String, String)> = Vec::new();
            for (share, _, method) in shares.into_iter().filter(|(_, beyond, _)| all || *beyond) {
                match said.iter_mut().find(|(known, _)| *known == share.to_string()) {
                    Some((_, methods)) => methods.push_str(&format!(" and {method}")),
                    None => said.push((share.to_string(), method.to_owned())),
                }
            }
            said
        };
        let list = |said: &[(String, String)]| {
            said.iter()
                .map(|(share, how)| format!("{share} ({how})"))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let from: BTreeSet<String> =
            self.owners().into_iter().map(|(_, place, _)| place.to_string()).collect();
        let from = from.into_iter().collect::<Vec<_>>().join(", ");
        let from = if from.is_empty() { "restricted places".to_owned() } else { from };
        match (status, itself) {
            (Ownership::Restricted, Some(place)) => format!("restricted: it is itself in {place}"),
            (Ownership::Restricted, None) => match said(plain, false).as_slice() {
                [(share, how)] => {
                    format!("restricted: {share} is held from {from} ({how}), {beyond}")
                }
                several => format!("restricted: {} is held from {from}, {beyond}", list(several)),
            },
            (Ownership::Unresolved, _) if ownerless => {
                "unresolved: it is a company, and no owner of it is on file".into()
            }
            (Ownership::Unresolved, _) => format!(
                "unresolved: with what isn't known up to {} could be restricted, {beyond}; {} is known to be",
                list(&said(worst, false)),
                list(&said(plain, true))
            ),
            (Ownership::Clear, _) => {
                format!(
                    "clear: even with what isn't known at most {} is restricted, {within}",
                    list(&said(worst, true))
                )
            }
        }
    }

    /// The owners as a tree, the entity at its root, from the top down.
    fn rows(&self) -> Vec<TreeRow> {
        let line = |holder| Line { holder, below: Vec::new(), again: false, left_out: 0 };
        let mut lines = vec![line(Holder {
            entity: Some(self.subject),
            basis_points: 0,
            more: false,
            through: false,
        })];
        let mut queue = VecDeque::from([0]);
        let mut seen = BTreeSet::new();
        while let Some(at) = queue.pop_front() {
            let Some(index) = lines.get(at).and_then(|line| line.holder.entity) else { continue };
            let mut holders = self.screening.holders(index);
            let again = !seen.insert(index);
            if self.screening.itself(index).is_some() || again {
                holders.clear();
            }
            holders.sort_by_key(|holder| {
                (holder.entity.is_none(), std::cmp::Reverse(holder.basis_points))
            });
            let rest = holders.split_off(holders.len().min(LINES.saturating_sub(lines.len())));
            let first = lines.len();
            lines.extend(holders.into_iter().map(line));
            queue.extend(first..lines.len());
            if let Some(holder) = rest.first() {
                lines.push(Line {
                    left_out: rest.len(),
                    ..line(Holder { entity: None, ..*holder })
                });
            }
            let below = (first..lines.len()).collect();
            if let Some(line) = lines.get_mut(at) {
                (line.below, line.again) = (below, again);
            }
        }
        let mut rows = Vec::with_capacity(lines.len());
        let mut stack = vec![(0_usize, None, String::new(), String::new())];
        while let Some((at, parent, first, further)) = stack.pop() {
            let Some(line) = lines.get(at) else { continue };
            let row = rows.len();
            for below in line.below.iter().rev() {
                let last = line.below.last() == Some(below);
                let (branch, beside) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                stack.push((
                    *below,
                    Some(row),
                    format!("{further}{branch}"),
                    format!("{further}{beside}"),
                ));
            }
            rows.push(TreeRow {
                parent,
                first,
                further,
                label: self.label(line),
                tone: self.tone(line),
            });
        }
        rows
    }

    fn tone(&self, line: &Line) -> Tone {
        let Some(index) = line.holder.entity else {
            return if line.left_out > 0 { Tone::Plain } else { Tone::Unknown };
        };
        let counts = self.screening.settings().method != Method::Multiplicative
            && self.screening.blocked(index).is_some();
        if self.screening.itself(index).is_some() || counts {
            Tone::Restricted
        } else if self.screening.ends_unknown(index) {
            Tone::Unknown
        } else {
            Tone::Plain
        }
    }

    fn label(&self, line: &Line) -> String {
        if line.left_out > 0 {
            return format!("{} more", line.left_out);
        }
        let Holder { entity, basis_points, more, through } = line.holder;
        let share = match (basis_points, more) {
            (0, true) => "? %".into(),
            (known, true) => format!("{} or more", Percentage(known)),
            (known, false) => Percentage(known).to_string(),
        };
        let share = if through { format!("{share} through others") } else { share };
        let Some(index) = entity else { return format!("{share}  not known") };
        let mut label = if index == self.subject && !line.again {
            self.name(index)
        } else {
            format!("{share}  {}", self.name(index))
        };
        match (self.screening.itself(index), self.screening.blocked(index)) {
            (Some(place), _) => label.push_str(&format!(": restricted, in {place}")),
            (None, Some(share)) if self.screening.settings().method != Method::Multiplicative => {
                label.push_str(&format!(
                    ": counts as restricted, for {} of it is",
                    Percentage(share)
                ))
            }
            (None, _) if self.screening.ends_unknown(index) => {
                label.push_str(": not known who is behind")
            }
            (None, _) => {}
        }
        if line.again && !self.screening.holders(index).is_empty() {
            label.push_str(" (see above)");
        }
        label
    }
}

/// A row of the tree as it is drawn.
pub(super) struct TreeRow {
    /// The row that it hangs on
    pub(super) parent: Option<usize>,
    /// What stands before its first line in text, and before further ones
    first: String,
    further: String,
    pub(super) label: String,
    pub(super) tone: Tone,
}

/// How a row counts.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    /// As restricted
    Restricted,
    /// As not known
    Unknown,
    /// As neither
    Plain,
}

/// A line of the drawing.
struct Line {
    holder: Holder,
    /// The lines of its own holders
    below: Vec<usize>,
    /// Whether it is drawn with its holders further up
    again: bool,
    /// Instead of one holder: how many there is no room for
    left_out: usize,
}
