//! `waybill screen`: whether an entity of the register is owned from a restricted region, and through whom.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Failure, print, register, word};
use crate::compile::directory::{entity_of, is_document, owners, says_of_owners};
use crate::compile::ownership::{Chain, Chains, EntityIndex, Holder, Judgement, Percent, Screening, basis_points};
use crate::compile::settings::{Comparison, Method, OwnershipSettings};
use crate::names::UnixSeconds;
use crate::region::{CountryCode, Place};
use crate::register::Ownership;
use crate::shape::Whole;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The entity's id, or that of a customer who is one
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    entity: Option<String>,
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// Screen every entity and count the results
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
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// Countries by their codes, with commas.
#[derive(Debug, Clone)]
struct Countries(Vec<CountryCode>);

/// How many chains are looked for, and how many lines a drawing has.
const CHAINS: usize = 50;
const LINES: usize = 60;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = &arguments.register;
    let files = register::files(folder, says_of_owners)?;
    let (owners, remarks) = owners(&files.documents, arguments.time.unwrap_or_else(register::now));
    register::complain_of(folder, &remarks);
    let Some(owners) = owners else {
        return Err(Failure(format!("{}: nothing is screened", folder.display())));
    };
    let mut settings = owners.settings.ownership.clone();
    settings.method = arguments.method.unwrap_or(settings.method);
    settings.comparison = arguments.comparison.unwrap_or(settings.comparison);
    settings.threshold_basis_points = arguments.threshold.map_or(settings.threshold_basis_points, Whole);
    let screening = owners.graph.screen(&settings, |place| match &arguments.restricted {
        Some(Countries(countries)) => countries.contains(&place.country),
        None => owners.restricts(place),
    });
    let Some(id) = &arguments.entity else {
        print(&all(&screening, arguments.json));
        return Ok(());
    };
    let subject = match owners.graph.find(id) {
        Ok(subject) => subject,
        Err(mismatch) => {
            let of_customer = entity_of(&register::files(folder, is_document)?.documents, id);
            of_customer.and_then(|id| owners.graph.get(id.as_str())).ok_or_else(|| match mismatch.help {
                Some(help) => Failure(format!("{}\n  help: {help}", mismatch.message)),
                None => Failure(mismatch.message),
            })?
        }
    };
    let view = View::of(&screening, subject);
    if arguments.json {
        print(&format!("{:#}\n", view.as_json()));
    } else {
        print(&view.as_text().map_err(Failure::new)?);
    }
    Ok(())
}

impl Countries {
    fn parse(text: &str) -> Result<Self, String> {
        let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
        codes.map(word::<CountryCode>).collect::<Result<_, _>>().map(Self)
    }
}

/// Every entity's result.
fn all(screening: &Screening<'_>, as_json: bool) -> String {
    let results: Vec<(&str, Ownership)> =
        screening.graph().entities().map(|(index, entity)| (entity.id.as_str(), screening.judge(index).status)).collect();
    let count = |status: Ownership| results.iter().filter(|(_, found)| *found == status).count();
    if as_json {
        let counts: serde_json::Map<String, Value> =
            Ownership::ALL.iter().map(|status| (status.to_string(), count(*status).into())).collect();
        let entities: serde_json::Map<String, Value> = results.iter().map(|(id, status)| ((*id).to_owned(), json!(status))).collect();
        return format!("{:#}\n", json!({"counts": counts, "entities": entities}));
    }
    Ownership::ALL.iter().map(|status| format!("{status}: {}\n", count(*status))).collect()
}

/// One entity with all that is printed of it.
struct View<'a> {
    screening: &'a Screening<'a>,
    subject: EntityIndex,
    judgement: Judgement,
    chains: Chains,
    behind: Vec<EntityIndex>,
}

impl<'a> View<'a> {
    fn of(screening: &'a Screening<'a>, subject: EntityIndex) -> Self {
        let (judgement, chains, behind) = (screening.judge(subject), screening.chains(subject, CHAINS), screening.behind(subject));
        Self { screening, subject, judgement, chains, behind }
    }

    fn as_json(&self) -> Value {
        let Judgement { status, itself, ownerless, cascade, multiplicative } = self.judgement;
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

    fn as_text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        self.draw(&mut out)?;
        let owners = self.owners();
        if self.judgement.itself.is_none() && !owners.is_empty() {
            writeln!(out, "\nmultiplied along each chain and added up:")?;
            for (index, place, share) in &owners {
                writeln!(out, "  {}  from {place}: {}", Percent(basis_points(*share)), self.name(*index))?;
            }
        }
        for note in self.notes() {
            writeln!(out, "\nnote: {note}")?;
        }
        writeln!(out, "\n{}", self.sentence())?;
        Ok(out)
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
        self.behind.iter().filter_map(|index| Some((*index, self.screening.blocked(*index)?))).take(CHAINS)
    }

    /// The restricted owners at the ends of the chains, each with where it is and its share, largest first.
    fn owners(&self) -> Vec<(EntityIndex, Place, f64)> {
        let mut owners: Vec<(EntityIndex, Place, f64)> = Vec::new();
        for Chain { entities, share, .. } in &self.chains.chains {
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
            notes.push(format!("only the {} largest chains were looked at", self.chains.chains.len()));
        }
        if self.chains.rings {
            notes.push(
                "companies here hold shares of each other: the multiplied share counts every turn of the ring, the chains none".into(),
            );
        }
        let mut list = |which: &dyn Fn(EntityIndex) -> bool, one: &str, many: &str| {
            let found: Vec<&str> = self.behind.iter().filter(|index| which(**index)).map(|index| self.id(*index)).collect();
            let (first, rest) = found.split_at(found.len().min(5));
            match (first, rest) {
                ([], _) => {}
                ([only], _) => notes.push(format!("`{only}` {one}")),
                (few, []) => notes.push(format!("`{}` {many}", few.join("`, `"))),
                (few, more) => notes.push(format!("`{}` and {} more {many}", few.join("`, `"), more.len())),
            }
        };
        list(
            &|index| index != self.subject && self.screening.taken_by_place(index),
            "has no owner on file and is taken by its place alone; with `\"type\": \"company\"` it would need owners",
            "have no owner on file and are taken by their place alone; with `\"type\": \"company\"` they would need owners",
        );
        list(
            &|index| self.screening.graph().entity(index).is_some_and(|entity| !entity.nowhere.is_empty()),
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
        let Judgement { status, itself, ownerless, cascade, multiplicative } = self.judgement;
        let OwnershipSettings { method, comparison, threshold_basis_points: Whole(threshold) } = self.screening.settings();
        let threshold = Percent(u32::try_from(*threshold).unwrap_or(u32::MAX));
        let beyond = match comparison {
            Comparison::Gt => format!("more than {threshold}"),
            Comparison::Ge => format!("{threshold} or more"),
        };
        let within = match comparison {
            Comparison::Gt => format!("not more than {threshold}"),
            Comparison::Ge => format!("less than {threshold}"),
        };
        // each method that was asked for: its share, whether that is beyond the threshold, and what it is called
        let asked = |by_cascade: (u32, bool), by_product: (f64, bool)| -> Vec<(Percent, bool, &str)> {
            let by_cascade = (Percent(by_cascade.0), by_cascade.1, "cascade");
            let by_product = (Percent(basis_points(by_product.0)), by_product.1, "multiplied");
            match method {
                Method::Cascade => vec![by_cascade],
                Method::Multiplicative => vec![by_product],
                Method::Either => vec![by_cascade, by_product],
            }
        };
        let plain = asked((cascade.basis_points, cascade.restricted), (multiplicative.share, multiplicative.restricted));
        let worst =
            asked((cascade.basis_points_worst, cascade.restricted_worst), (multiplicative.share_worst, multiplicative.restricted_worst));
        // equal ones are said once; the first word is the share, the second how it is counted
        let said = |shares: Vec<(Percent, bool, &str)>, all: bool| -> Vec<(String, String)> {
            let mut said: Vec<(String, String)> = Vec::new();
            for (share, _, method) in shares.into_iter().filter(|(_, beyond, _)| all || *beyond) {
                match said.iter_mut().find(|(known, _)| *known == share.to_string()) {
                    Some((_, methods)) => methods.push_str(&format!(" and {method}")),
                    None => said.push((share.to_string(), method.to_owned())),
                }
            }
            said
        };
        let list = |said: &[(String, String)]| said.iter().map(|(share, how)| format!("{share} ({how})")).collect::<Vec<_>>().join(" and ");
        let from: BTreeSet<String> = self.owners().into_iter().map(|(_, place, _)| place.to_string()).collect();
        let from = from.into_iter().collect::<Vec<_>>().join(", ");
        let from = if from.is_empty() { "restricted places".to_owned() } else { from };
        match (status, itself) {
            (Ownership::Restricted, Some(place)) => format!("restricted: it is itself in {place}"),
            (Ownership::Restricted, None) => match said(plain, false).as_slice() {
                [(share, how)] => format!("restricted: {share} is held from {from} ({how}), {beyond}"),
                several => format!("restricted: {} is held from {from}, {beyond}", list(several)),
            },
            (Ownership::Unresolved, _) if ownerless => "unresolved: it is a company, and no owner of it is on file".into(),
            (Ownership::Unresolved, _) => format!(
                "unresolved: with what isn't known up to {} could be restricted, {beyond}; {} is known to be",
                list(&said(worst, false)),
                list(&said(plain, true))
            ),
            (Ownership::Clear, _) => {
                format!("clear: even with what isn't known at most {} is restricted, {within}", list(&said(worst, true)))
            }
        }
    }

    /// The owners as a tree, the entity at its root.
    fn draw(&self, out: &mut String) -> std::fmt::Result {
        let line = |holder| Line { holder, below: Vec::new(), again: false, left_out: 0 };
        let mut lines = vec![line(Holder { entity: Some(self.subject), basis_points: 0, more: false, through: false })];
        let mut queue = VecDeque::from([0]);
        let mut seen = BTreeSet::new();
        while let Some(at) = queue.pop_front() {
            let Some(index) = lines.get(at).and_then(|line| line.holder.entity) else { continue };
            let mut holders = self.screening.holders(index);
            let again = !seen.insert(index);
            if self.screening.itself(index).is_some() || again {
                holders.clear();
            }
            holders.sort_by_key(|holder| (holder.entity.is_none(), std::cmp::Reverse(holder.basis_points)));
            let rest = holders.split_off(holders.len().min(LINES.saturating_sub(lines.len())));
            let first = lines.len();
            lines.extend(holders.into_iter().map(line));
            queue.extend(first..lines.len());
            if let Some(holder) = rest.first() {
                lines.push(Line { left_out: rest.len(), ..line(Holder { entity: None, ..*holder }) });
            }
            let below = (first..lines.len()).collect();
            if let Some(line) = lines.get_mut(at) {
                (line.below, line.again) = (below, again);
            }
        }
        let mut stack = vec![(0_usize, String::new(), String::new())];
        while let Some((at, first, further)) = stack.pop() {
            let Some(line) = lines.get(at) else { continue };
            writeln!(out, "{first}{}", self.label(line))?;
            for below in line.below.iter().rev() {
                let last = line.below.last() == Some(below);
                let (branch, beside) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                stack.push((*below, format!("{further}{branch}"), format!("{further}{beside}")));
            }
        }
        Ok(())
    }

    fn label(&self, line: &Line) -> String {
        if line.left_out > 0 {
            return format!("{} more", line.left_out);
        }
        let Holder { entity, basis_points, more, through } = line.holder;
        let share = match (basis_points, more) {
            (0, true) => "? %".into(),
            (known, true) => format!("{} or more", Percent(known)),
            (known, false) => Percent(known).to_string(),
        };
        let share = if through { format!("{share} through others") } else { share };
        let Some(index) = entity else { return format!("{share}  not known") };
        let mut label = if index == self.subject && !line.again { self.name(index) } else { format!("{share}  {}", self.name(index)) };
        match (self.screening.itself(index), self.screening.blocked(index)) {
            (Some(place), _) => label.push_str(&format!(": restricted, in {place}")),
            (None, Some(share)) if self.screening.settings().method != Method::Multiplicative => {
                label.push_str(&format!(": counts as restricted, for {} of it is", Percent(share)))
            }
            (None, _) if self.screening.ends_unknown(index) => label.push_str(": not known who is behind"),
            (None, _) => {}
        }
        if line.again && !self.screening.holders(index).is_empty() {
            label.push_str(" (see above)");
        }
        label
    }
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
