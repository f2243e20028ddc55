//! Workbooks (.xlsx): the rows of their sheets, with the text that a spreadsheet program shows.
//!
//! Of formats only what matters is kept: a date is written by ISO 8601 whatever its format, and 0.6
//! formatted as a percentage is `60%`.

use std::collections::HashMap;
use std::io::{Cursor, Read as _};

use calamine::{Cell, DataRef, ExcelDateTime, Reader as _, SheetType, Style, Xlsx, XlsxError};

use super::schema::TableSchema;
use super::table::{TableReader, shortened};
use crate::compile::remarks::Remarks;
use crate::shape::{Json, nearest};

/// A sheet's name and schema.
pub(super) type NamedSchema = (&'static str, &'static TableSchema);

/// The largest size of an unpacked workbook, in bytes: a small file can unpack to any size.
pub(super) const MOST_UNPACKED: u64 = 1_000_000_000;

/// Help for a workbook that can't be read.
const SAVE_AGAIN: &str = "open it in a spreadsheet program and save it as `.xlsx` again";

/// The most columns of a sheet: Excel's limit.
const MOST_COLUMNS: usize = 16_384;

const PACKED: &[u8] = b"PK\x03\x04";
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0";

/// The help for a file that should be text and is a workbook.
pub(super) fn workbook_help(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        _ if bytes.starts_with(PACKED) => {
            Some("rename it to end in `.xlsx`, or save it as `CSV UTF-8`")
        }
        _ if bytes.starts_with(COMPOUND) => {
            Some("save it as `.xlsx` without a password, or as `CSV UTF-8`")
        }
        _ => None,
    }
}

/// Calls `each` with every row of the sheet `first` (or else of the first unknown sheet), then of
/// the side tables: the sheet's number from 0, the row's number, and its JSON object. Notes
/// mistakes of the workbook itself. Returns the number of errors after the first sheet.
pub(super) fn read(
    file: &'static str,
    bytes: &[u8],
    first: NamedSchema,
    beside: &[NamedSchema],
    remarks: &mut Remarks,
    mut each: impl FnMut(&mut Remarks, usize, usize, &Json),
) -> usize {
    if bytes.starts_with(COMPOUND) {
        let help = "save it as `.xlsx` without a password";
        let message = "unreadable workbook: it has a password or is in an older format";
        remarks.error(file, None, message, help);
        return remarks.count();
    }
    if !bytes.starts_with(PACKED) {
        let help = "save it as `.xlsx`, or rename text with separators to end in `.csv`";
        remarks.error(file, None, "not a workbook", help);
        return remarks.count();
    }
    let formulas = match unpacks(bytes) {
        Ok(formulas) => formulas,
        Err((message, help)) => {
            remarks.error(file, None, &message, help);
            return remarks.count();
        }
    };
    let unread = |remarks: &mut Remarks, error: &XlsxError| {
        remarks.error(file, None, &format!("unreadable workbook: {error}"), SAVE_AGAIN);
    };
    let mut book = match Xlsx::new(Cursor::new(bytes)) {
        Ok(book) => book,
        Err(error) => {
            unread(remarks, &error);
            return remarks.count();
        }
    };
    let sheets = book.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    let sheets: Vec<String> = sheets.map(|sheet| sheet.name.clone()).collect();
    let is = |sheet: &str, name: &str| sheet.trim().eq_ignore_ascii_case(name);
    let known = |sheet: &str| beside.iter().any(|(name, _)| is(sheet, name));
    let is_ignored = |sheet: &str| {
        let lower = sheet.trim().to_lowercase();
        lower.starts_with("readme") || lower.starts_with("notes")
    };
    let main = sheets.iter().position(|sheet| is(sheet, first.0));
    let main = main.or_else(|| sheets.iter().position(|sheet| !known(sheet) && !is_ignored(sheet)));
    if main.is_none() {
        let help = "rename the sheet at the bottom of the window";
        remarks.error(file, None, &format!("missing sheet `{}`", first.0), help);
    }
    let mut seen: Vec<usize> = Vec::new();
    let mut after_first = None;
    // the main sheet comes first: the rows of the others belong to its rows
    let order = main.into_iter().chain((0..sheets.len()).filter(|i| main != Some(*i)));
    for (i, sheet) in order.filter_map(|i| Some((i, sheets.get(i)?))) {
        let place = beside.iter().position(|(name, _)| is(sheet, name));
        let (number, kind, label) = match place.and_then(|place| Some((place, beside.get(place)?)))
        {
            _ if main == Some(i) => (0, first.1, None),
            Some((place, (name, kind))) => (place.saturating_add(1), *kind, Some(*name)),
            None if is_ignored(sheet) => continue,
            None => {
                let mut any = false;
                let read = rows(&mut book, sheet, false, |_, cells| {
                    any = any || cells.iter().any(|cell| !cell.trim().is_empty())
                });
                if let Err(error) = read {
                    unread(remarks, &error);
                } else if any {
                    note_unknown_sheet((file, sheet), first, beside, remarks);
                }
                continue;
            }
        };
        if seen.contains(&number) {
            let message = format!("duplicate sheet `{}`", sheet.trim());
            remarks.error(file, None, &message, "keep one of the two");
            continue;
        }
        seen.push(number);
        let mut table = TableReader::new(kind, file, label);
        let read = rows(&mut book, sheet, formulas, |row, cells| {
            if table.has_key()
                && let Some(json) = table.row(row, row, cells, remarks)
            {
                each(remarks, number, row, &json);
            }
        });
        match read {
            Ok(()) if number == 0 => table.end(remarks),
            Ok(()) => {} // an empty side table is valid
            Err(error) => unread(remarks, &error),
        }
        after_first.get_or_insert(remarks.count());
    }
    after_first.unwrap_or_else(|| remarks.count())
}

fn note_unknown_sheet(
    (file, sheet): (&str, &str),
    first: NamedSchema,
    beside: &[NamedSchema],
    remarks: &mut Remarks,
) {
    let known: Vec<&str> = [first].iter().chain(beside).map(|(name, _)| *name).collect();
    let help = match nearest(&sheet.trim().to_lowercase(), &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "one of `{}`; sheets whose names begin with README or Notes are ignored",
            known.join("`, `")
        ),
    };
    let message = format!("unknown sheet `{}`", shortened(sheet));
    remarks.error(file, None, &message, &help);
}

/// Unpacks everything once, to measure it: the sizes in a workbook may be false. Returns whether it
/// has formulas.
fn unpacks(bytes: &[u8]) -> Result<bool, (String, &'static str)> {
    let damaged =
        |error: &dyn std::fmt::Display| (format!("damaged workbook: {error}"), SAVE_AGAIN);
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    let mut left = MOST_UNPACKED;
    let mut formulas = false;
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|error| damaged(&error))?;
        let strings =
            entry.name().is_ok_and(|name| name.to_lowercase().ends_with("sharedstrings.xml"));
        let mut entry = entry.take(left.saturating_add(1));
        let mut size: u64 = 0;
        let mut head = Vec::new();
        let mut last = [0; 2];
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = entry.read(&mut buffer).map_err(|error| damaged(&error))?;
            if read == 0 {
                break;
            }
            size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            let part = buffer.get(..read).unwrap_or_default();
            formulas = formulas || holds_formula(&last, part);
            last = part.last_chunk().copied().unwrap_or_default();
            if head.len() < 4_096 {
                head.extend(part);
            }
        }
        if size > left {
            return Err((
                "workbook too large: unpacked it has more than 1,000 MB".into(),
                "remove content that isn't part of the register",
            ));
        }
        // the reader allocates space for as many strings as the file announces
        if strings && announces_more_strings_than(&head, size) {
            return Err(damaged(&"its text table announces more texts than it has bytes"));
        }
        left = left.saturating_sub(size);
    }
    Ok(formulas)
}

/// Whether a formula begins in this part, or between the previous part and this one.
fn holds_formula(before: &[u8; 2], part: &[u8]) -> bool {
    let begins = |bytes: &[u8]| matches!(bytes, b"<f>" | b"<f ");
    let across: Vec<u8> = before.iter().chain(part.iter().take(2)).copied().collect();
    across.windows(3).any(begins) || (part.contains(&b'<') && part.windows(3).any(begins))
}

fn announces_more_strings_than(head: &[u8], size: u64) -> bool {
    let text = String::from_utf8_lossy(head);
    let announced = text
        .split_once("uniqueCount=")
        .map(|(_, rest)| rest.chars().skip(1).take_while(char::is_ascii_digit).collect::<String>());
    announced.is_some_and(|digits| digits.parse::<u64>().unwrap_or(u64::MAX) > size)
}

/// Calls `each` with the number, from 1, and the cells of every row. With `formulas`, a formula
/// without a stored value counts as text, so that its cell isn't taken for empty: programs that
/// aren't spreadsheets write such cells.
fn rows(
    book: &mut Xlsx<Cursor<&[u8]>>,
    sheet: &str,
    formulas: bool,
    mut each: impl FnMut(usize, &[String]),
) -> Result<(), XlsxError> {
    let mut unsolved: HashMap<(u32, u32), String> = HashMap::new();
    if formulas {
        let mut reader = book.worksheet_cells_reader(sheet)?;
        while let Some(cell) = reader.next_cell_with_formula()? {
            if let (DataRef::Empty, Some(formula)) = (cell.value, cell.formula) {
                unsolved.insert(cell.pos, format!("={formula}"));
            }
        }
    }
    let mut reader = book.worksheet_cells_reader(sheet)?;
    let formats: Vec<CellFormat> = reader.styles().iter().map(CellFormat::of).collect();
    let mut cells: Vec<String> = Vec::new();
    let mut current = None;
    while let Some((cell, style)) = reader.next_cell_with_style_id()? {
        let (row, column) = cell.get_position();
        if current != Some(row) {
            if let Some(row) = current {
                each(number(row), &cells);
            }
            cells.clear();
            current = Some(row);
        }
        let text = match unsolved.remove(&cell.get_position()) {
            Some(formula) => formula,
            None => shown(&cell, formats.get(style).copied().unwrap_or_default()),
        };
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        if text.is_empty() || column >= MOST_COLUMNS {
            continue;
        }
        if cells.len() <= column {
            cells.resize(column.saturating_add(1), String::new());
        }
        if let Some(place) = cells.get_mut(column) {
            *place = text;
        }
    }
    if let Some(row) = current {
        each(number(row), &cells);
    }
    Ok(())
}

fn number(row: u32) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX).saturating_add(1)
}

/// The part of a cell's format that matters.
#[derive(Debug, Default, Clone, Copy)]
struct CellFormat {
    /// A number is shown as a percentage
    percent: bool,
    /// A date is shown with its time
    time: bool,
}

impl CellFormat {
    fn of(style: &Style) -> Self {
        let mut format = Self::default();
        let Some(written) = &style.number_format else { return format };
        let (mut quoted, mut bracket, mut escaped) = (false, false, false);
        for c in written.format_code.chars() {
            match c {
                _ if escaped => escaped = false,
                '"' => quoted = !quoted,
                _ if quoted => {}
                '\\' | '_' | '*' => escaped = true,
                '[' => bracket = true,
                ']' => bracket = false,
                ';' => break,
                '%' if !bracket => format.percent = true,
                'h' | 'H' if !bracket => format.time = true,
                _ => {}
            }
        }
        format
    }
}

/// The text that a spreadsheet program shows in the cell, with dates by ISO 8601.
fn shown(cell: &Cell<DataRef<'_>>, format: CellFormat) -> String {
    match cell.get_value() {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.clone()
        }
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(true) => "TRUE".into(),
        DataRef::Bool(false) => "FALSE".into(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) if format.percent => format!("{}%", plain(number * 100.0)),
        DataRef::Float(number) => plain(*number),
        DataRef::DateTime(time) => date(time, format),
        DataRef::Error(error) => error.to_string(),
    }
}

/// A number as it is typed. A spreadsheet keeps 15 digits, and shows longer numbers by their power.
fn plain(number: f64) -> String {
    let rounded = format!("{number:.14e}");
    let number = rounded.parse().unwrap_or(number);
    if number.abs() >= 1e15 {
        format!("{number:E}").replace('E', "E+")
    } else {
        format!("{number}")
    }
}

fn date(time: &ExcelDateTime, format: CellFormat) -> String {
    if time.is_duration() {
        return plain(time.as_f64());
    }
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    if format.time {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    } else {
        format!("{year:04}-{month:02}-{day:02}")
    }
}
