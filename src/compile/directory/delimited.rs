//! Tables as text: with commas, semicolons or tabs between their cells.

use super::cell::CellType;
use super::schema::{Column, TableSchema};
use super::table::TableReader;
use super::text::{QuoteError, QuoteStart, SEPARATORS, TextRow, TextRows, line_ends};
use crate::compile::remarks::{Remarks, is_wide, without_mark};
use crate::shape::Json;

/// The number of invalid quotes after which reading stops.
const MOST_QUOTE_ERRORS: usize = 100;

/// Calls `each` with the line and the JSON object of every row. Notes mistakes of the table itself.
pub(super) fn read(
    schema: &'static TableSchema,
    file: &'static str,
    bytes: &[u8],
    remarks: &mut Remarks,
    mut each: impl FnMut(&mut Remarks, usize, &Json),
) {
    if is_wide(bytes) {
        remarks.wide(file);
        return;
    }
    if let Some(help) = super::sheet::workbook_help(bytes) {
        remarks.error(file, None, "expected text, found a workbook", help);
        return;
    }
    let (mut rows, is_named) = TextRows::new(without_mark(bytes));
    if !is_named {
        rows.separator = separator(schema, &rows);
    }
    let mut table = TableReader::new(schema, file, None);
    let mut errors: usize = 0;
    let quote = |opening: QuoteStart, rows: &mut TextRows<'_>, remarks: &mut Remarks, message| {
        let help = "close the quote at the end of its cell, or remove it; double a quote that is \
                    part of a quoted cell";
        remarks.error(file, Some(opening.line), message, help);
        rows.skip(opening);
    };
    while let Some(row) = rows.next() {
        let row = match row {
            Ok(row) => row,
            Err(QuoteError(opening, message)) => {
                errors = errors.saturating_add(1);
                if errors > MOST_QUOTE_ERRORS {
                    return;
                }
                quote(opening, &mut rows, remarks, message);
                if table.columns.is_none() {
                    return; // the header can't be read
                }
                continue;
            }
        };
        if let Some(opening) = swallowed(&table, &rows, &row) {
            quote(opening, &mut rows, remarks, "unclosed quote: its cell contains another row");
            continue;
        }
        if !row.broken.is_empty() {
            let breaks = row.cells.iter().map(|cell| line_ends(cell)).sum();
            remarks.breaks(file, row.line.saturating_add(1), breaks);
        }
        let Ok(cells) = row.cells.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>()
        else {
            let help = "save the table as UTF-8: `CSV UTF-8` in a spreadsheet program";
            remarks.error(file, Some(row.line), "invalid UTF-8 in this row", help);
            continue;
        };
        let blank = |cells: &[String]| cells.iter().all(|cell| cell.trim().is_empty());
        if let Some((least, most)) = table.widths()
            && !blank(&cells)
            && (cells.len() < least || !cells.get(most..).is_none_or(blank))
        {
            let message = match cells.len() {
                1 => format!("expected {least} cells as in the header, found 1"),
                many => format!("expected {least} cells as in the header, found {many}"),
            };
            let help = why_not_as_wide(&cells, least, rows.separator);
            remarks.error(file, Some(row.line), &message, &help);
            continue;
        }
        if let Some(json) = table.row(row.line, row.number, &cells, remarks) {
            each(remarks, row.line, &json);
        }
        if !table.has_key() {
            return; // without its column, no row can be read
        }
    }
    table.end(remarks);
}

/// The separator of cells: the one that gives the first row the most known columns.
fn separator(schema: &TableSchema, rows: &TextRows<'_>) -> u8 {
    let columns = |separator: &u8| {
        let mut rows = rows.clone();
        rows.separator = *separator;
        loop {
            match rows.next() {
                Some(Ok(row)) if row.cells.iter().all(|cell| cell.trim_ascii().is_empty()) => {}
                Some(Ok(row)) => return (schema.knows(&row.cells), row.cells.len()),
                // only with the right separator does a cell begin with the invalid quote
                Some(Err(_)) => return (1, 0),
                None => return (0, 0),
            }
        }
    };
    // `max_by_key` returns the last of equals
    SEPARATORS.into_iter().rev().max_by_key(columns).unwrap_or(b',')
}

fn named(separator: u8) -> (&'static str, &'static str) {
    match separator {
        b';' => ("a semicolon", "semicolons"),
        b'\t' => ("a tab", "tabs"),
        _ => ("a comma", "commas"),
    }
}

fn why_not_as_wide(cells: &[String], width: usize, separator: u8) -> String {
    let others = SEPARATORS.into_iter().filter(|other| *other != separator);
    let fits = |other: &u8| match cells {
        [cell] => cell.bytes().filter(|byte| byte == other).count().saturating_add(1) == width,
        _ => false,
    };
    match others.into_iter().find(fits) {
        Some(other) => format!(
            "the cells are separated by {}; use {} as in the header",
            named(other).1,
            named(separator).1
        ),
        None => format!("put each cell that contains {} into double quotes", named(separator).0),
    }
}

/// Where a quote opens whose cell contains a line that looks like a row: it was probably left open.
/// Free text may have as many commas as a narrow table, so only wider ones are suspected there.
fn swallowed(table: &TableReader<'_>, rows: &TextRows<'_>, row: &TextRow) -> Option<QuoteStart> {
    let columns = table.columns.as_ref()?;
    let suspicious = |(i, _): &&(usize, QuoteStart)| {
        let free =
            matches!(columns.get(*i), Some(Column::Known(_, _, CellType::Text | CellType::Line)));
        let cell = row.cells.get(*i).map(Vec::as_slice).unwrap_or_default();
        columns.len() > if free { 5 } else { 2 } && rows.has_a_row(cell, columns.len())
    };
    row.broken.iter().find(suspicious).map(|(_, opening)| *opening)
}
