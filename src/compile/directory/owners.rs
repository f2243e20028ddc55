//! `owners`: who owns whom, a row a holding, as people keep it in a spreadsheet. What comes of it are entities and holdings like
//! those of entities.json.

use std::collections::{HashMap, HashSet};

use super::documents::OwnerRow;
use super::forms::Origin;
use crate::compile::ownership::{Entity, Holding, Share};
use crate::compile::remarks::Remarks;
use crate::shape::{Path, Problems};

/// Entities and holdings with the numbers of the rows that say them.
#[derive(Debug, Default)]
pub(super) struct Owned {
    pub(super) entities: Vec<(Entity, usize)>,
    pub(super) holdings: Vec<(Holding, usize)>,
}

/// An entity while its rows are read: its number, and the rows that say its name, country and kind.
struct Known {
    number: usize,
    said: [Option<usize>; 3],
}

/// Puts the rows together. `elsewhere` are the ids of entities that stand in other files.
pub(super) fn owned(
    rows: Vec<OwnerRow>,
    origin: &Origin,
    elsewhere: &HashSet<String>,
    remarks: &mut Remarks,
) -> Owned {
    let mut owned = Owned::default();
    let mut known: HashMap<String, Known> = HashMap::new();
    for (i, row) in rows.into_iter().enumerate() {
        let OwnerRow { owner, of, share, name, country, kind } = row;
        let said =
            [("name", name.is_some()), ("country", country.is_some()), ("kind", kind.is_some())];
        let note = |remarks: &mut Remarks, say: &dyn Fn(&Path<'_>, &mut Problems)| {
            origin.say(i, say).into_iter().for_each(|remark| remarks.push_error(remark));
        };
        for id in [Some(&owner), of.as_ref()]
            .into_iter()
            .flatten()
            .filter(|id| !elsewhere.contains(id.as_str()))
        {
            known.entry(id.to_string()).or_insert_with(|| {
                let entity = Entity {
                    id: id.clone(),
                    jurisdiction: None,
                    headquarters: None,
                    others: Vec::new(),
                    nowhere: Vec::new(),
                    kind: None,
                    name: None,
                };
                owned.entities.push((entity, i));
                Known { number: owned.entities.len().saturating_sub(1), said: [None; 3] }
            });
        }
        match known.get_mut(owner.as_str()) {
            Some(known) => {
                let Some((entity, _)) = owned.entities.get_mut(known.number) else { continue };
                let country = country.map(|country| country.0);
                let differs = [
                    name.is_some() && entity.name.is_some() && name != entity.name,
                    country.is_some()
                        && entity.jurisdiction.is_some()
                        && country != entity.jurisdiction,
                    kind.is_some() && entity.kind.is_some() && kind != entity.kind,
                ];
                for (((column, is_said), differs), first) in
                    said.into_iter().zip(differs).zip(&mut known.said)
                {
                    if differs {
                        let help = format!(
                            "the other is {}; keep one of the two",
                            origin.place(first.unwrap_or_default())
                        );
                        note(remarks, &|at, problems| {
                            let message = format!("`{owner}` has two that differ: {column}");
                            problems.note(&Path::Member(at, column), message, Some(help.clone()));
                        });
                    } else if is_said {
                        first.get_or_insert(i);
                    }
                }
                entity.name = entity.name.take().or(name);
                entity.jurisdiction = entity.jurisdiction.or(country);
                entity.kind = entity.kind.or(kind);
            }
            None => {
                if let Some((column, _)) = said.into_iter().find(|(_, is_said)| *is_said) {
                    note(remarks, &|at, problems| {
                        let message =
                            format!("who `{owner}` is stands in entities.json or bods/ already");
                        let help = "leave name, country and kind empty here, or take it out there";
                        problems.note(&Path::Member(at, column), message, Some(help.into()));
                    });
                }
            }
        }
        match of {
            Some(of) => owned
                .holdings
                .push((Holding { owner, of, basis_points: Share(share.map(|share| share.0)) }, i)),
            None if share.is_some() => note(remarks, &|at, problems| {
                let help = "name the company that it is a share of, or empty `share`";
                problems.note(&Path::Member(at, "of"), "a share of nothing", Some(help.into()));
            }),
            None => {}
        }
    }
    owned
}
