//! The customers and the owners, in whichever of their forms they are: JSON, JSON Lines, text with separators, a workbook.

use std::collections::HashMap;

use sha2::Digest as _;

use super::documents::Each;
use super::table::{self, Kind, Table};
use super::{Documents, sheet};
use crate::compile::lines;
use crate::compile::remarks::{Remark, Remarks, is_wide, without_mark};
use crate::names::hex;
use crate::shape::{Json, Path, Problem, Problems, Shape};

/// How a list is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One document
    Json,
    /// A JSON object a line
    Lines,
    /// A table as text
    Text,
    /// A table as a workbook
    Workbook,
}

/// What is kept in any of the forms.
#[derive(Debug)]
pub(super) struct Thing {
    /// What it is called: a member of the JSON document, a sheet, the beginning of file names
    pub(super) list: &'static str,
    /// Its files. A spreadsheet program that saves all sheets of a workbook at once puts the sheet's name behind the workbook's
    pub(super) files: &'static [(&'static str, Form)],
    kind: &'static Kind,
    /// Tables beside it: a sheet's name, what it holds, its files where it is text
    pub(super) beside: &'static [(&'static str, &'static Kind, &'static [&'static str])],
}

pub(super) const CUSTOMERS: &Thing = &Thing {
    list: "customers",
    files: &[
        ("customers.json", Form::Json),
        ("customers.jsonl", Form::Lines),
        ("customers.csv", Form::Text),
        ("customers-customers.csv", Form::Text),
        ("customers.xlsx", Form::Workbook),
    ],
    kind: table::CUSTOMERS,
    beside: &[
        ("keys", table::KEYS, &["customers-keys.csv", "customers.keys.csv"]),
        ("overrides", table::OVERRIDES, &["customers-overrides.csv", "customers.overrides.csv"]),
    ],
};

pub(super) const OWNERS: &Thing = &Thing {
    list: "owners",
    files: &[
        ("owners.json", Form::Json),
        ("owners.jsonl", Form::Lines),
        ("owners.csv", Form::Text),
        ("owners-owners.csv", Form::Text),
        ("owners.xlsx", Form::Workbook),
    ],
    kind: table::OWNERS,
    beside: &[],
};

impl Thing {
    /// The names of all files that it may be in.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files
            .iter()
            .map(|(name, _)| *name)
            .chain(self.beside.iter().flat_map(|(_, _, files)| files.iter().copied()))
    }

    /// The file that it is in; any other is noted.
    pub(super) fn find(
        &self,
        documents: &Documents,
        remarks: &mut Remarks,
    ) -> Option<(&'static str, Form)> {
        let mut there =
            self.files.iter().filter(|(name, _)| documents.contains_key(*name)).copied();
        let (file, form) = there.next()?;
        for (other, _) in there {
            let message = format!("the {} stand in `{file}` already", self.list);
            remarks.error(
                other,
                None,
                &message,
                Some("keep one of the two, so that there is one truth"),
            );
        }
        for (sheet, _, files) in self.beside {
            let mut files = files.iter().filter(|name| documents.contains_key(**name));
            if form == Form::Text {
                let Some(first) = files.next() else { continue };
                for other in files {
                    let message = format!("the {sheet} stand in `{first}` already");
                    remarks.error(
                        other,
                        None,
                        &message,
                        Some("keep one of the two, so that there is one truth"),
                    );
                }
                continue;
            }
            let help = match form {
                Form::Workbook => format!("they go into its sheet `{sheet}`"),
                _ => format!("each entry of `{file}` holds its own"),
            };
            files.for_each(|name| {
                remarks.error(
                    name,
                    None,
                    &format!("the {sheet} of `{file}` don't stand in a table"),
                    Some(&help),
                )
            });
        }
        Some((file, form))
    }
}

/// Where a list stands: its file, and for each entry its line and, in a JSON document, its number in the list.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) file: &'static str,
    list: &'static str,
    form: Form,
    places: Vec<(u32, u32)>,
    /// Whether each entry could be read
    pub(super) whole: bool,
    /// Where that stands which belongs to an entry and came from a table beside: by the entry's index, its member and the number in it
    beside: HashMap<(usize, &'static str, usize), Beside>,
}

/// A row of a table beside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    pub(super) file: &'static str,
    /// Where the file has several
    pub(super) sheet: Option<&'static str>,
    pub(super) line: usize,
}

/// What was read of a list.
pub(super) struct Read<T> {
    pub(super) origin: Origin,
    pub(super) entries: Vec<T>,
    /// Of tables the SHA-256 of what they say, as 64 hexadecimal digits: a workbook and its exports say the same
    pub(super) digest: Option<String>,
}

impl Origin {
    pub(super) fn none(thing: &Thing, whole: bool) -> Self {
        let (file, form) = thing.files.first().copied().unwrap_or(("", Form::Json));
        Self { file, list: thing.list, form, places: Vec::new(), whole, beside: HashMap::new() }
    }

    fn push(&mut self, line: usize, number: usize) {
        // a register of four thousand million lines would be past everything else here
        self.places.push((
            u32::try_from(line).unwrap_or(u32::MAX),
            u32::try_from(number).unwrap_or(u32::MAX),
        ));
    }

    /// What stands there in the entry's list came from that row.
    pub(super) fn came_from(
        &mut self,
        entry: usize,
        list: &'static str,
        number: usize,
        row: Beside,
    ) {
        self.beside.insert((entry, list, number), row);
    }

    /// Whether it came from another row already.
    pub(super) fn is_beside(&self, entry: usize, list: &'static str, number: usize) -> bool {
        self.beside.contains_key(&(entry, list, number))
    }

    pub(super) fn line(&self, i: usize) -> usize {
        self.places.get(i).map_or(0, |(line, _)| usize::try_from(*line).unwrap_or(usize::MAX))
    }

    /// `customers.json:14`
    pub(super) fn place(&self, i: usize) -> String {
        format!("{}:{}", self.file, self.line(i))
    }

    /// Says something of one entry: `say` is given the path that leads to it.
    pub(super) fn say(&self, i: usize, say: impl FnOnce(&Path<'_>, &mut Problems)) -> Vec<Remark> {
        let list = Path::Member(&Path::Root, self.list);
        let number = self
            .places
            .get(i)
            .map_or(0, |(_, number)| usize::try_from(*number).unwrap_or(usize::MAX));
        let path = if self.form == Form::Json { Path::Element(&list, number) } else { Path::Root };
        let mut problems = Problems::default();
        say(&path, &mut problems);
        let beside = |problem: &Problem| {
            if self.beside.is_empty() { None } else { self.of_beside(i, problem) }
        };
        problems
            .iter()
            .map(|problem| {
                beside(problem).unwrap_or_else(|| self.remark(self.line(i), problem.clone()))
            })
            .collect()
    }

    /// The problem where it stands in a table beside.
    fn of_beside(&self, i: usize, problem: &Problem) -> Option<Remark> {
        let (list, rest) = problem.path.strip_prefix("$.")?.split_once('[')?;
        let (number, rest) = rest.split_once(']')?;
        let list = ["credentials", "overrides"].into_iter().find(|known| *known == list)?;
        let row = self.beside.get(&(i, list, number.parse().ok()?))?;
        Some(row.remark(&format!("${rest}"), problem))
    }

    /// A problem of the entry on that line. In a JSON document the line is looked for later: the problem's own is closer.
    fn remark(&self, line: usize, problem: Problem) -> Remark {
        let path = match self.form {
            Form::Text | Form::Workbook => Table::path(None, &problem.path),
            Form::Json | Form::Lines => problem.path,
        };
        Remark {
            file: self.file.into(),
            line: (self.form != Form::Json).then_some(line),
            problem: Problem { path, ..problem },
        }
    }
}

impl Beside {
    /// The problem of a member of that row.
    pub(super) fn remark(self, path: &str, problem: &Problem) -> Remark {
        let path = Table::path(self.sheet, path);
        Remark {
            file: self.file.into(),
            line: Some(self.line),
            problem: Problem { path, ..problem.clone() },
        }
    }
}

/// Reads a list. `document` reads it as one JSON document; `beside` is given the rows of tables beside it: the number of the table, the
/// row, and its object.
pub(super) fn read<T: Shape>(
    thing: &Thing,
    (file, form): (&'static str, Form),
    documents: &Documents,
    remarks: &mut Remarks,
    document: impl FnOnce(&mut Remarks) -> Each<T>,
    mut beside: impl FnMut(&mut Remarks, usize, Beside, &Json),
) -> Read<T> {
    let bytes = documents.get(file).map(Vec::as_slice).unwrap_or_default();
    let mut origin = Origin { file, form, ..Origin::none(thing, true) };
    let mut entries = Vec::new();
    if form == Form::Json {
        let read = document(remarks);
        let lines = lines::of_elements(without_mark(bytes), thing.list);
        origin.whole = read.whole;
        for (number, entry) in read.values {
            origin.push(lines.get(number).copied().unwrap_or_default(), number);
            entries.push(entry);
        }
        return Read { origin, entries, digest: None };
    }
    if form != Form::Workbook {
        let many = bytes.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        origin.places.reserve(many);
        entries.reserve(many);
    }
    let errors = remarks.count();
    let mut row = |remarks: &mut Remarks, line: usize, json: &Json| {
        let mut problems = Problems::default();
        let entry = T::read(json, &Path::Root, &mut problems);
        for problem in problems.iter() {
            remarks.push_error(origin.remark(line, problem.clone()));
        }
        if let Some(entry) = entry {
            origin.push(line, 0);
            entries.push(entry);
        }
    };
    let mut said = Said::default();
    match form {
        Form::Text => {
            table::read(thing.kind, file, bytes, remarks, |remarks, line, json| {
                said.add(0, json);
                row(remarks, line, json);
            });
            origin.whole = remarks.count() == errors;
            for (number, (_, kind, files)) in (1_usize..).zip(thing.beside) {
                let Some((file, bytes)) =
                    files.iter().find_map(|name| Some((*name, documents.get(*name)?)))
                else {
                    continue;
                };
                table::read(kind, file, bytes, remarks, |remarks, line, json| {
                    said.add(number, json);
                    beside(remarks, number, Beside { file, sheet: None, line }, json);
                });
            }
        }
        Form::Workbook => {
            let sides: Vec<sheet::Side> =
                thing.beside.iter().map(|(name, kind, _)| (*name, *kind)).collect();
            let after = sheet::read(
                file,
                bytes,
                (thing.list, thing.kind),
                &sides,
                remarks,
                |remarks, number, line, json| {
                    said.add(number, json);
                    match number.checked_sub(1).and_then(|number| sides.get(number)) {
                        None => row(remarks, line, json),
                        Some((sheet, _)) => {
                            beside(remarks, number, Beside { file, sheet: Some(sheet), line }, json)
                        }
                    }
                },
            );
            origin.whole = after == errors;
        }
        Form::Json | Form::Lines if is_wide(bytes) => {
            remarks.wide(file);
            origin.whole = false;
        }
        Form::Json | Form::Lines => {
            for (i, line) in without_mark(bytes).split(|byte| *byte == b'\n').enumerate() {
                let number = i.saturating_add(1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                match serde_json::from_slice(line) {
                    Ok(json) => row(remarks, number, &json),
                    Err(error) => remarks.not_json(file, number, &error),
                }
            }
            origin.whole = remarks.count() == errors;
        }
    }
    let digest = matches!(form, Form::Text | Form::Workbook).then(|| said.digest());
    Read { origin, entries, digest }
}

/// What tables say, for their digest: each row as a line of canonical JSON, without what is for the desk only.
#[derive(Default)]
struct Said {
    first: sha2::Sha256,
    beside: [String; 2],
}

impl Said {
    fn add(&mut self, table: usize, json: &Json) {
        let Json::Object(members) = json else { return };
        let kept =
            members.iter().filter(|(name, _)| name != "name" && name != "notes").cloned().collect();
        let mut line = String::new();
        Json::Object(kept).write_canonical(&mut line);
        line.push('\n');
        match table.checked_sub(1).and_then(|table| self.beside.get_mut(table)) {
            None => self.first.update(line.as_bytes()),
            Some(beside) => beside.push_str(&line),
        }
    }

    fn digest(self) -> String {
        let mut all = self.first;
        self.beside.iter().for_each(|lines| all.update(lines.as_bytes()));
        hex(&all.finalize())
    }
}
