//! The rows of `owners`, a holding each, as people keep them in a spreadsheet. They become entities
//! and holdings like those of entities.json.

use std::collections::{HashMap, HashSet};

use super::documents::OwnerRow;
use super::forms::EntryLocations;
use crate::compile::ownership::{Entity, Holding, Share};
use crate::compile::remarks::Remarks;
use crate::shape::Path;

/// Entities and holdings, with the numbers of their rows.
#[derive(Debug, Default)]
pub(super) struct GraphParts {
    pub(super) entities: Vec<(Entity, usize)>,
    pub(super) holdings: Vec<(Holding, usize)>,
}

/// An entity while rows are read: its number, and the rows that give its name, country and kind.
struct EntityRows {
    number: usize,
    given: [Option<usize>; 3],
}

/// Joins the rows. `elsewhere` are the ids of entities in other files.
pub(super) fn parts(
    rows: Vec<OwnerRow>,
    locations: &EntryLocations,
    elsewhere: &HashSet<String>,
    remarks: &mut Remarks,
) -> GraphParts {
    let mut parts = GraphParts::default();
    let mut known: HashMap<String, EntityRows> = HashMap::new();
    for (i, row) in rows.into_iter().enumerate() {
        let OwnerRow { owner, of, share, name, country, kind } = row;
        let given =
            [("name", name.is_some()), ("country", country.is_some()), ("kind", kind.is_some())];
        let ids = [Some(&owner), of.as_ref()].into_iter().flatten();
        for id in ids.filter(|id| !elsewhere.contains(id.as_str())) {
            known.entry(id.to_string()).or_insert_with(|| {
                parts.entities.push((Entity::unknown(id.clone()), i));
                EntityRows { number: parts.entities.len().saturating_sub(1), given: [None; 3] }
            });
        }
        match known.get_mut(owner.as_str()) {
            Some(known) => {
                let Some((entity, _)) = parts.entities.get_mut(known.number) else { continue };
                let country = country.map(|country| country.0);
                let differs = [
                    differ(&name, &entity.name),
                    differ(&country, &entity.jurisdiction),
                    differ(&kind, &entity.kind),
                ];
                for (((column, is_given), differs), first) in
                    given.into_iter().zip(differs).zip(&mut known.given)
                {
                    if differs {
                        let other = locations.place(first.unwrap_or_default());
                        let help = format!("the other value is at {other}; keep one of the two");
                        let message = format!("two different values of `{column}` for `{owner}`");
                        locations.note(i, remarks, |at, problems| {
                            problems.wrong(&Path::Member(at, column), &message, &help);
                        });
                    } else if is_given {
                        first.get_or_insert(i);
                    }
                }
                entity.name = entity.name.take().or(name);
                entity.jurisdiction = entity.jurisdiction.or(country);
                entity.kind = entity.kind.or(kind);
            }
            None => {
                if let Some((column, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                    let message =
                        format!("`{owner}` is described in entities.json or bods/ already");
                    let help = "leave name, country and kind empty here, or remove it there";
                    locations.note(i, remarks, |at, problems| {
                        problems.wrong(&Path::Member(at, column), &message, help);
                    });
                }
            }
        }
        match of {
            Some(of) => {
                let basis_points = Share(share.map(|share| share.0));
                parts.holdings.push((Holding { owner, of, basis_points }, i));
            }
            None if share.is_some() => locations.note(i, remarks, |at, problems| {
                let help = "name the company in `of`, or leave `share` empty";
                let message = "missing company: the row has a share";
                problems.wrong(&Path::Member(at, "of"), message, help);
            }),
            None => {}
        }
    }
    parts
}

/// Whether both values are given, and not the same.
fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_some() && other.is_some() && one != other
}
