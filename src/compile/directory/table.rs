//! Rows of cells become JSON objects like those of the other formats: one reader checks all.
//!
//! The rows come from text with separators or from a sheet of a workbook. In both, a cell is the
//! text that a spreadsheet program shows, so that a workbook and its exports are equal.

use super::schema::{Column, TableSchema, plain};
use crate::compile::remarks::{Remark, Remarks};
use crate::shape::{Json, Problem};

/// A table that is being read, row by row.
#[derive(Debug)]
pub(super) struct TableReader<'n> {
    schema: &'static TableSchema,
    file: &'static str,
    /// The sheet, where the file has several
    sheet: Option<&'n str>,
    pub(super) columns: Option<Vec<Column>>,
    /// The number of columns up to the last that has a name
    named: usize,
}

impl<'n> TableReader<'n> {
    pub(super) fn new(
        schema: &'static TableSchema,
        file: &'static str,
        sheet: Option<&'n str>,
    ) -> Self {
        Self { schema, file, sheet, columns: None, named: 0 }
    }

    /// The column, with its sheet, of a path into a row's object; a column's name stays.
    pub(super) fn path(sheet: Option<&str>, path: &str) -> String {
        let column = column_of(path);
        match sheet {
            Some(sheet) if column.is_empty() => sheet.to_owned(),
            Some(sheet) => format!("{sheet}!{column}"),
            None => column,
        }
    }

    fn error(
        &self,
        remarks: &mut Remarks,
        line: Option<usize>,
        column: &str,
        message: String,
        help: String,
    ) {
        remarks.push_error(self.remark(line, column, message, help));
    }

    fn remark(&self, line: Option<usize>, column: &str, message: String, help: String) -> Remark {
        let path = Self::path(self.sheet, column);
        Remark {
            file: self.file.into(),
            line,
            problem: Problem { path, message, help: Some(help) },
        }
    }

    /// The least and the greatest number of cells in a row.
    pub(super) fn widths(&self) -> Option<(usize, usize)> {
        self.columns.as_ref().map(|columns| (self.named, columns.len()))
    }

    /// The row as an object of customers.json; `None` for the header and for empty rows. `number`
    /// is the row as a spreadsheet counts. An invalid cell is noted and replaced by a valid value:
    /// the rest of the row is still checked.
    pub(super) fn row(
        &mut self,
        line: usize,
        number: usize,
        cells: &[String],
        remarks: &mut Remarks,
    ) -> Option<Json> {
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return None;
        }
        let Some(columns) = &self.columns else {
            let columns = self.header(line, cells, remarks);
            let named = columns.iter().rposition(|column| !matches!(column, Column::Nameless));
            self.named = named.map_or(0, |last| last.saturating_add(1));
            self.columns = Some(columns);
            return None;
        };
        let mut object = Vec::new();
        for (i, cell) in cells.iter().enumerate() {
            let cell = cell.trim();
            match columns.get(i) {
                _ if cell.is_empty() => {}
                Some(Column::Known(name, path, cell_type)) => {
                    let value = cell_type.value(cell).map(Some).unwrap_or_else(|wrong| {
                        let (what, column, cell) = (wrong.what, letters(i), shortened(cell));
                        let message = format!("{what}: cell `{column}{number}` has `{cell}`");
                        self.error(remarks, Some(line), name, message, wrong.help);
                        wrong.instead
                    });
                    if let Some(value) = value {
                        put(&mut object, path, value);
                    }
                }
                Some(Column::Wrong) => {}
                Some(Column::Nameless) | None => {
                    let message = "unexpected value: this column has no name".to_owned();
                    let help = "name the column in the first row, or remove the value".into();
                    self.error(remarks, Some(line), &letters(i), message, help);
                }
            }
        }
        Some(Json::Object(object))
    }

    /// Notes a table without any row.
    pub(super) fn end(&self, remarks: &mut Remarks) {
        if self.columns.is_none() {
            let help =
                format!("write the columns' names into the first line: `{}`", self.schema.example);
            self.error(remarks, None, "", "empty table".into(), help);
        }
    }

    /// Whether the columns are known, so that rows can be read.
    pub(super) fn has_key(&self) -> bool {
        self.columns.as_ref().is_none_or(|columns| !columns.is_empty())
    }

    fn header(&self, line: usize, cells: &[String], remarks: &mut Remarks) -> Vec<Column> {
        let schema = self.schema;
        let names: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
        if !names.iter().any(|name| plain(name) == schema.key) {
            // the cells aren't quoted: they may be the first customer's credentials
            let message = format!("missing column `{}` in the first line", schema.key);
            let help = match self.sheet {
                _ if names.iter().any(|name| name.contains('|')) => {
                    "separate the columns with commas, semicolons or tabs, not with `|`".into()
                }
                Some(_) => {
                    format!("write the columns' names into it, one a cell: `{}`", schema.example)
                }
                None => format!(
                    "write the columns' names into it, with commas, semicolons or tabs: `{}`",
                    schema.example
                ),
            };
            self.error(remarks, Some(line), "", message, help);
            return Vec::new();
        }
        let mut columns: Vec<Column> = Vec::with_capacity(names.len());
        for name in &names {
            let column = schema.column(name);
            let is_taken = |path: &Vec<String>| {
                let is = |it: &Column| matches!(it, Column::Known(_, known, _) if known == path);
                columns.iter().any(is)
            };
            let (message, help) = match &column {
                Column::Known(header, path, _) if is_taken(path) => {
                    (format!("duplicate column `{header}`"), "keep one of the two".into())
                }
                Column::Wrong => {
                    (format!("unknown column `{}`", shortened(name)), schema.help_for(name))
                }
                Column::Known(..) | Column::Nameless => {
                    columns.push(column);
                    continue;
                }
            };
            remarks.push_alone(self.remark(Some(line), "", message, help));
            columns.push(Column::Wrong);
        }
        columns
    }
}

/// A column's letters in a spreadsheet: A, B, …, Z, AA.
fn letters(column: usize) -> String {
    let mut name = String::new();
    let mut rest = Some(column);
    while let Some(number) = rest {
        let letter = u8::try_from(number % 26).unwrap_or_default().saturating_add(b'A');
        name.insert(0, char::from(letter));
        rest = (number / 26).checked_sub(1);
    }
    name
}

/// The part of a cell that a message shows.
pub(super) fn shortened(cell: &str) -> String {
    let shown: String =
        cell.chars().take(40).map(|c| if c == '`' || c.is_control() { ' ' } else { c }).collect();
    if cell.chars().nth(40).is_some() { format!("{shown}…") } else { shown }
}

fn put(members: &mut Vec<(String, Json)>, path: &[String], value: Json) {
    let Some((name, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        members.push((name.clone(), value));
        return;
    }
    if !members.iter().any(|(known, _)| known == name) {
        members.push((name.clone(), Json::Object(Vec::new())));
    }
    if let Some((_, Json::Object(inner))) = members.iter_mut().find(|(known, _)| known == name) {
        put(inner, rest, value);
    }
}

/// The column of a path into a row's object: `$.screening.until` is `screening_until`. The column
/// of a provider's `enforcement.status` is `…_enforcement`.
fn column_of(path: &str) -> String {
    let Some(path) = path.strip_prefix('$') else { return path.to_owned() };
    let path = path.replace("[\"", ".").replace("\"]", "");
    let names = path.split('[').next().unwrap_or_default().split('.');
    let names = names.filter(|name| !name.is_empty() && *name != "providers");
    let name = names.collect::<Vec<_>>().join("_");
    name.strip_suffix("_enforcement_status")
        .map_or(name.clone(), |provider| format!("{provider}_enforcement"))
}
