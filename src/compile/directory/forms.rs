//! The customers and the owners in each format: JSON, JSON Lines, tables as text, workbooks.

use std::collections::HashMap;

use sha2::Digest as _;

use super::documents::PartialList;
use super::files::Documents;
use super::schema::{self, TableSchema};
use super::table::TableReader;
use super::{delimited, sheet};
use crate::compile::lines;
use crate::compile::remarks::{Remark, Remarks, is_wide, without_mark};
use crate::shape::{Json, Path, Problem, Problems, Shape};
use crate::terms::names::hex;

/// The format of a list's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    /// One document
    Json,
    /// A JSON object a line
    Lines,
    /// A table as text
    Text,
    /// A table as a workbook
    Workbook,
}

/// A list that has several file formats.
#[derive(Debug)]
pub(super) struct RegisterList {
    /// The name: of the JSON document's member, of a sheet, and of files without their ending
    pub(super) name: &'static str,
    /// Its files. A spreadsheet program that exports all sheets appends their names
    pub(super) files: &'static [(&'static str, FileFormat)],
    schema: &'static TableSchema,
    /// Its side tables: the sheet's name, its schema, its files as text
    pub(super) side_tables:
        &'static [(&'static str, &'static TableSchema, &'static [&'static str])],
}

pub(super) const CUSTOMERS: &RegisterList = &RegisterList {
    name: "customers",
    files: &[
        ("customers.json", FileFormat::Json),
        ("customers.jsonl", FileFormat::Lines),
        ("customers.csv", FileFormat::Text),
        ("customers-customers.csv", FileFormat::Text),
        ("customers.xlsx", FileFormat::Workbook),
    ],
    schema: schema::CUSTOMERS,
    side_tables: &[
        ("keys", schema::KEYS, &["customers-keys.csv", "customers.keys.csv"]),
        ("overrides", schema::OVERRIDES, &["customers-overrides.csv", "customers.overrides.csv"]),
    ],
};

pub(super) const OWNERS: &RegisterList = &RegisterList {
    name: "owners",
    files: &[
        ("owners.json", FileFormat::Json),
        ("owners.jsonl", FileFormat::Lines),
        ("owners.csv", FileFormat::Text),
        ("owners-owners.csv", FileFormat::Text),
        ("owners.xlsx", FileFormat::Workbook),
    ],
    schema: schema::OWNERS,
    side_tables: &[],
};

impl RegisterList {
    /// The names of all its files.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files
            .iter()
            .map(|(name, _)| *name)
            .chain(self.side_tables.iter().flat_map(|(_, _, files)| files.iter().copied()))
    }

    /// The file that has it; a second one is an error.
    pub(super) fn find(
        &self,
        documents: &Documents,
        remarks: &mut Remarks,
    ) -> Option<(&'static str, FileFormat)> {
        let mut there =
            self.files.iter().filter(|(name, _)| documents.contains_key(*name)).copied();
        let (file, form) = there.next()?;
        for (other, _) in there {
            duplicate(other, self.name, file, remarks);
        }
        for (sheet, _, files) in self.side_tables {
            let mut files = files.iter().filter(|name| documents.contains_key(**name));
            if form == FileFormat::Text {
                let Some(first) = files.next() else { continue };
                for other in files {
                    duplicate(other, sheet, first, remarks);
                }
                continue;
            }
            let help = match form {
                FileFormat::Workbook => format!("put them into its sheet `{sheet}`"),
                _ => format!("put them into the entries of `{file}`"),
            };
            let message = format!("unexpected file: the {sheet} of `{file}` aren't read from it");
            files.for_each(|name| remarks.error(name, None, &message, &help));
        }
        Some((file, form))
    }
}

/// The places of a list's entries: the file, and each entry's line and number in a JSON document.
#[derive(Debug)]
pub(super) struct EntryLocations {
    pub(super) file: &'static str,
    list: &'static str,
    format: FileFormat,
    places: Vec<(u32, u32)>,
    /// Whether every entry could be read
    pub(super) whole: bool,
    /// The rows of side tables, by the entry's index, its member and the number in that member
    side_rows: HashMap<(usize, &'static str, usize), RowLocation>,
}

/// The place of a side table's row.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowLocation {
    pub(super) file: &'static str,
    /// Where the file has several sheets
    pub(super) sheet: Option<&'static str>,
    pub(super) line: usize,
}

/// A list that was read.
pub(super) struct ListContents<T> {
    pub(super) locations: EntryLocations,
    pub(super) entries: Vec<T>,
    /// Of a table's content the SHA-256 in hexadecimal, equal for a workbook and its exports
    pub(super) digest: Option<String>,
}

impl<T> ListContents<T> {
    /// An empty list; `whole` tells whether the register has no such list.
    pub(super) fn none(list: &RegisterList, whole: bool) -> Self {
        Self { locations: EntryLocations::none(list, whole), entries: Vec::new(), digest: None }
    }
}

fn duplicate(file: &str, what: &str, first: &str, remarks: &mut Remarks) {
    let message = format!("duplicate {what}: `{first}` has them too");
    remarks.error(file, None, &message, "keep one of the two files");
}

impl EntryLocations {
    fn none(list: &RegisterList, whole: bool) -> Self {
        let (file, format) = list.files.first().copied().unwrap_or(("", FileFormat::Json));
        Self { file, list: list.name, format, places: Vec::new(), whole, side_rows: HashMap::new() }
    }

    fn push(&mut self, line: usize, number: usize) {
        // four thousand million lines are far beyond the largest file
        let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.places.push((short(line), short(number)));
    }

    /// Notes the row that an element of an entry's member came from.
    pub(super) fn came_from(&mut self, element: (usize, &'static str, usize), row: RowLocation) {
        self.side_rows.insert(element, row);
    }

    /// Whether that element came from a side table.
    pub(super) fn is_side_row(&self, element: (usize, &'static str, usize)) -> bool {
        self.side_rows.contains_key(&element)
    }

    pub(super) fn line(&self, i: usize) -> usize {
        self.line_and_number(i).0
    }

    fn line_and_number(&self, i: usize) -> (usize, usize) {
        let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        self.places.get(i).map_or((0, 0), |(line, number)| (whole(*line), whole(*number)))
    }

    /// `customers.json:14`
    pub(super) fn place(&self, i: usize) -> String {
        format!("{}:{}", self.file, self.line(i))
    }

    /// Notes mistakes of one entry: `say` is given the path to it.
    pub(super) fn note(
        &self,
        i: usize,
        remarks: &mut Remarks,
        say: impl FnOnce(&Path<'_>, &mut Problems),
    ) {
        self.say(i, say).into_iter().for_each(|remark| remarks.push_error(remark));
    }

    /// Remarks on one entry: `say` is given the path to it.
    pub(super) fn say(&self, i: usize, say: impl FnOnce(&Path<'_>, &mut Problems)) -> Vec<Remark> {
        let list = Path::Member(&Path::Root, self.list);
        let path = match self.format {
            FileFormat::Json => Path::Element(&list, self.line_and_number(i).1),
            _ => Path::Root,
        };
        let mut problems = Problems::default();
        say(&path, &mut problems);
        let remark = |problem: &Problem| {
            let of_entry = || self.remark(self.line(i), problem.clone());
            self.of_side_row(i, problem).unwrap_or_else(of_entry)
        };
        problems.iter().map(remark).collect()
    }

    /// The problem with its place in a side table.
    fn of_side_row(&self, i: usize, problem: &Problem) -> Option<Remark> {
        let (list, rest) = problem.path.strip_prefix("$.")?.split_once('[')?;
        let (number, rest) = rest.split_once(']')?;
        let list = ["credentials", "overrides"].into_iter().find(|known| *known == list)?;
        let row = self.side_rows.get(&(i, list, number.parse().ok()?))?;
        Some(row.remark(&format!("${rest}"), problem))
    }

    /// A problem of the entry on that line. In a JSON document the line of the path is found later.
    fn remark(&self, line: usize, problem: Problem) -> Remark {
        let problem = match self.format {
            FileFormat::Text | FileFormat::Workbook => of_column(None, &problem.path, &problem),
            FileFormat::Json | FileFormat::Lines => problem,
        };
        let line = (self.format != FileFormat::Json).then_some(line);
        Remark { file: self.file.into(), line, problem }
    }
}

impl RowLocation {
    /// A problem of a member of that row.
    pub(super) fn remark(self, path: &str, problem: &Problem) -> Remark {
        let problem = of_column(self.sheet, path, problem);
        Remark { file: self.file.into(), line: Some(self.line), problem }
    }
}

/// A problem of a row's object as one of the table: with its column in place of its path.
fn of_column(sheet: Option<&str>, path: &str, problem: &Problem) -> Problem {
    let Some(name) = problem.missing_field() else {
        return Problem { path: TableReader::path(sheet, path), ..problem.clone() };
    };
    let column = TableReader::path(sheet, &format!("{path}.{name}"));
    let help = match TableReader::path(None, path).as_str() {
        "" => format!("fill the column `{name}`"),
        group => format!("fill this column, or leave all `{group}_` columns of the row empty"),
    };
    Problem { path: column, message: "missing value".into(), help: Some(help) }
}

/// Reads a list. `document` reads it as one JSON document. `side` is given the rows of side tables:
/// the table's number, the row's place, and its object.
pub(super) fn read<T: Shape>(
    list: &RegisterList,
    (file, format): (&'static str, FileFormat),
    documents: &Documents,
    remarks: &mut Remarks,
    document: impl FnOnce(&mut Remarks) -> PartialList<T>,
    mut side: impl FnMut(&mut Remarks, usize, RowLocation, &Json),
) -> ListContents<T> {
    let bytes = documents.get(file).map(Vec::as_slice).unwrap_or_default();
    let mut locations = EntryLocations { file, format, ..EntryLocations::none(list, true) };
    let mut entries = Vec::new();
    if format == FileFormat::Json {
        let read = document(remarks);
        let lines = lines::of_elements(without_mark(bytes), list.name);
        locations.whole = read.whole;
        for (number, entry) in read.values {
            locations.push(lines.get(number).copied().unwrap_or_default(), number);
            entries.push(entry);
        }
        return ListContents { locations, entries, digest: None };
    }
    if format != FileFormat::Workbook {
        let many = bytes.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        locations.places.reserve(many);
        entries.reserve(many);
    }
    let errors = remarks.count();
    let mut row = |remarks: &mut Remarks, line: usize, json: &Json| {
        let mut problems = Problems::default();
        let entry = T::read(json, &Path::Root, &mut problems);
        for problem in problems.iter() {
            remarks.push_error(locations.remark(line, problem.clone()));
        }
        if let Some(entry) = entry {
            locations.push(line, 0);
            entries.push(entry);
        }
    };
    let mut digest = TableDigest::default();
    match format {
        FileFormat::Text => {
            delimited::read(list.schema, file, bytes, remarks, |remarks, line, json| {
                digest.add(0, json);
                row(remarks, line, json);
            });
            locations.whole = remarks.count() == errors;
            for (number, (_, schema, files)) in (1_usize..).zip(list.side_tables) {
                let found = files.iter().find_map(|name| Some((*name, documents.get(*name)?)));
                let Some((file, bytes)) = found else { continue };
                delimited::read(schema, file, bytes, remarks, |remarks, line, json| {
                    digest.add(number, json);
                    side(remarks, number, RowLocation { file, sheet: None, line }, json);
                });
            }
        }
        FileFormat::Workbook => {
            let sides: Vec<sheet::NamedSchema> =
                list.side_tables.iter().map(|(name, schema, _)| (*name, *schema)).collect();
            let after = sheet::read(
                file,
                bytes,
                (list.name, list.schema),
                &sides,
                remarks,
                |remarks, number, line, json| {
                    digest.add(number, json);
                    match number.checked_sub(1).and_then(|number| sides.get(number)) {
                        None => row(remarks, line, json),
                        Some((sheet, _)) => {
                            let place = RowLocation { file, sheet: Some(sheet), line };
                            side(remarks, number, place, json);
                        }
                    }
                },
            );
            locations.whole = after == errors;
        }
        FileFormat::Json | FileFormat::Lines if is_wide(bytes) => {
            remarks.wide(file);
            locations.whole = false;
        }
        FileFormat::Json | FileFormat::Lines => {
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
            locations.whole = remarks.count() == errors;
        }
    }
    let is_table = matches!(format, FileFormat::Text | FileFormat::Workbook);
    let digest = is_table.then(|| digest.finish());
    ListContents { locations, entries, digest }
}

/// The digest of tables' content: each row as a line of canonical JSON, without what is for the
/// desk only.
#[derive(Default)]
struct TableDigest {
    main: sha2::Sha256,
    side: [String; 2],
}

impl TableDigest {
    fn add(&mut self, table: usize, json: &Json) {
        let Json::Object(members) = json else { return };
        let is_kept =
            |(name, _): &&(String, Json)| !["name", "notes", "reason", "event"].contains(&&**name);
        let kept = members.iter().filter(is_kept).cloned().collect();
        let mut line = String::new();
        Json::Object(kept).write_canonical(&mut line);
        line.push('\n');
        match table.checked_sub(1).and_then(|table| self.side.get_mut(table)) {
            None => self.main.update(line.as_bytes()),
            Some(lines) => lines.push_str(&line),
        }
    }

    fn finish(self) -> String {
        let mut all = self.main;
        self.side.iter().for_each(|lines| all.update(lines.as_bytes()));
        hex(&all.finalize())
    }
}
