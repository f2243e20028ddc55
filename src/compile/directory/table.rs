//! What the columns of a table mean, wherever it comes from: text with separators, or a sheet of a workbook. A row becomes the same
//! JSON object that the other forms hold, so that one reader judges all of them.
//!
//! To both sources a cell is the text that a spreadsheet program shows in it, so that a workbook and its exports say the same.

use super::text::{Fault, Opening, Row, Rows, SEPARATORS, line_ends};
use crate::compile::remarks::{Remark, Remarks, is_wide, without_mark};
use crate::shape::{Json, Problem, Word as _, nearest};
use crate::time::{LAST_SECOND, UnixSeconds};

/// What a cell holds, once it isn't empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Text as it stands
    Text,
    /// Text on one line
    Line,
    /// A name that something else goes by
    Name,
    /// Words between blanks
    Words,
    /// Words between blanks, commas or semicolons, none of which may stand in one
    Codes,
    /// True or false
    Truth,
    /// A time, or a day from its beginning on
    From,
    /// A time, or a day until its end
    Until,
    /// An action, which may say where to
    Action,
}

/// A kind of table.
#[derive(Debug)]
pub(super) struct Kind {
    /// Header, way to the member, what a cell holds
    columns: &'static [(&'static str, &'static [&'static str], Cell)],
    /// The column that must be there
    key: &'static str,
    /// What the first line may look like
    example: &'static str,
    /// Whether each provider has columns too, by [`PROVIDER_COLUMNS`]
    providers: bool,
}

/// The customers.
pub(super) const CUSTOMERS: &Kind = &Kind {
    columns: &[
        ("id", &["id"], Cell::Name),
        ("name", &["name"], Cell::Line),
        ("kind", &["kind"], Cell::Text),
        ("status", &["status"], Cell::Text),
        ("credentials", &["credentials"], Cell::Codes),
        ("mtls", &["mtls"], Cell::Words),
        ("jwt", &["jwt"], Cell::Words),
        ("entity", &["entity"], Cell::Name),
        ("ownership", &["ownership"], Cell::Text),
        ("declared", &["declared"], Cell::Codes),
        ("screening_status", &["screening", "status"], Cell::Text),
        ("screening_at", &["screening", "at"], Cell::From),
        ("screening_until", &["screening", "until"], Cell::Until),
        ("screening_by", &["screening", "by"], Cell::Line),
        ("agreement_id", &["agreement", "id"], Cell::Line),
        ("agreement_accepted", &["agreement", "accepted"], Cell::From),
        ("agreement_until", &["agreement", "until"], Cell::Until),
        ("residency", &["residency"], Cell::Text),
        ("vouches_for_users", &["vouches_for_users"], Cell::Truth),
        ("notes", &["notes"], Cell::Text),
    ],
    key: "id",
    example: "id,credentials,…",
    providers: true,
};

/// What belongs to single credentials.
pub(super) const KEYS: &Kind = &Kind {
    columns: &[
        ("customer", &["customer"], Cell::Name),
        ("digest", &["digest"], Cell::Text),
        ("label", &["label"], Cell::Line),
        ("expires", &["expires"], Cell::Until),
        ("networks", &["networks"], Cell::Codes),
    ],
    key: "customer",
    example: "customer,digest,label,expires,networks",
    providers: false,
};

/// Actions that differ for a customer.
pub(super) const OVERRIDES: &Kind = &Kind {
    columns: &[
        ("customer", &["customer"], Cell::Name),
        ("finding", &["finding"], Cell::Text),
        ("action", &["action"], Cell::Action),
        ("author", &["author"], Cell::Line),
        ("until", &["until"], Cell::Until),
    ],
    key: "customer",
    example: "customer,finding,action,author,until",
    providers: false,
};

/// Who owns whom.
pub(super) const OWNERS: &Kind = &Kind {
    columns: &[
        ("owner", &["owner"], Cell::Name),
        ("of", &["of"], Cell::Name),
        ("share", &["share"], Cell::Text),
        ("name", &["name"], Cell::Line),
        ("country", &["country"], Cell::Line),
        ("kind", &["kind"], Cell::Text),
    ],
    key: "owner",
    example: "owner,of,share,name,country,kind",
    providers: false,
};

/// What follows a provider's name in a header, such as `anthropic_profile`; the way to its member, what a cell holds.
const PROVIDER_COLUMNS: &[(&str, &[&str], Cell)] = &[
    ("profile", &["profile"], Cell::Text),
    ("enforcement", &["enforcement", "status"], Cell::Text),
    ("enforcement_reason", &["enforcement", "reason"], Cell::Line),
    ("enforcement_opened", &["enforcement", "opened"], Cell::From),
    ("enforcement_expires", &["enforcement", "expires"], Cell::Until),
];
/// Those that are known by name: their columns are, in any case.
const PROVIDERS: &[&str] = &["anthropic", "openai", "gemini"];

/// Quotes that are wrong one after the other: beyond so many the text isn't looked at further.
const MOST_FAULTS: usize = 100;

/// A table that is being read, row by row.
#[derive(Debug)]
pub(super) struct Table<'n> {
    kind: &'static Kind,
    file: &'static str,
    /// The sheet, where the file has several
    sheet: Option<&'n str>,
    columns: Option<Vec<Column>>,
    /// How many columns have a name, and those between them
    named: usize,
}

/// A column of the table at hand.
#[derive(Debug, Clone)]
enum Column {
    /// The way to its member, and what a cell holds
    Known(String, Vec<String>, Cell),
    /// Nothing may stand in it
    Nameless,
    /// Its name is wrong, which was said
    Wrong,
}

impl<'n> Table<'n> {
    pub(super) fn new(kind: &'static Kind, file: &'static str, sheet: Option<&'n str>) -> Self {
        Self { kind, file, sheet, columns: None, named: 0 }
    }

    /// What a path into a row's object, or the name of a column, is in messages.
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
        let path = Self::path(self.sheet, column);
        remarks.push_error(Remark {
            file: self.file.into(),
            line,
            problem: Problem { path, message, help: Some(help) },
        });
    }

    /// Something of the header.
    fn remark(&self, line: usize, message: String, help: String) -> Remark {
        let problem = Problem { path: Self::path(self.sheet, ""), message, help: Some(help) };
        Remark { file: self.file.into(), line: Some(line), problem }
    }

    /// How many cells a row has at least and at most.
    fn widths(&self) -> Option<(usize, usize)> {
        self.columns.as_ref().map(|columns| (self.named, columns.len()))
    }

    /// The object that the row is in customers.json; none for the header and for empty rows. `number` is the row as a spreadsheet
    /// counts. A cell that is wrong is noted, and something that fits stands for it: the rest of the row is judged all the same.
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
                Some(Column::Known(name, way, kind)) => {
                    let value = kind.value(cell).map(Some).unwrap_or_else(|wrong| {
                        let message = format!(
                            "{}: cell `{}{number}` has `{}`",
                            wrong.what,
                            letters(i),
                            shortened(cell)
                        );
                        self.error(remarks, Some(line), name, message, wrong.help);
                        wrong.instead
                    });
                    if let Some(value) = value {
                        put(&mut object, way, value);
                    }
                }
                Some(Column::Wrong) => {}
                Some(Column::Nameless) | None => {
                    let message = "a value stands in this column, which has no name".to_owned();
                    self.error(
                        remarks,
                        Some(line),
                        &letters(i),
                        message,
                        "name it in the first row, or empty it".into(),
                    );
                }
            }
        }
        Some(Json::Object(object))
    }

    /// Notes that the table has no row at all.
    pub(super) fn end(&self, remarks: &mut Remarks) {
        if self.columns.is_none() {
            let help = format!("the first line names the columns: `{}`", self.kind.example);
            self.error(remarks, None, "", "this table is empty".into(), help);
        }
    }

    /// Whether rows can be told apart by their columns.
    pub(super) fn has_key(&self) -> bool {
        self.columns.as_ref().is_none_or(|columns| !columns.is_empty())
    }

    fn header(&self, line: usize, cells: &[String], remarks: &mut Remarks) -> Vec<Column> {
        let kind = self.kind;
        let names: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
        if !names.iter().any(|name| plain(name) == kind.key) {
            // its words aren't repeated: they may be the first customer's credentials
            let message = format!("the first line names no column `{}`", kind.key);
            let help = match self.sheet {
                _ if names.iter().any(|name| name.contains('|')) => {
                    "commas, semicolons or tabs stand between columns, no `|`".into()
                }
                Some(_) => format!("it names the columns, one a cell: `{}`", kind.example),
                None => format!(
                    "it names the columns, with commas, semicolons or tabs between: `{}`",
                    kind.example
                ),
            };
            self.error(remarks, Some(line), "", message, help);
            return Vec::new();
        }
        let mut columns: Vec<Column> = Vec::with_capacity(names.len());
        for name in &names {
            let column = kind.column(name);
            if let Column::Known(header, way, _) = &column
                && columns
                    .iter()
                    .any(|earlier| matches!(earlier, Column::Known(_, known, _) if known == way))
            {
                remarks.push_alone(self.remark(
                    line,
                    format!("the column `{header}` stands twice"),
                    "keep one of the two".into(),
                ));
                columns.push(Column::Wrong);
                continue;
            }
            if matches!(column, Column::Wrong) {
                remarks.push_alone(self.remark(
                    line,
                    format!("unknown column `{}`", shortened(name)),
                    kind.help_for(name),
                ));
            }
            columns.push(column);
        }
        columns
    }
}

impl Kind {
    fn column(&self, header: &str) -> Column {
        let plain = plain(header);
        if plain.is_empty() {
            return Column::Nameless;
        }
        if let Some((name, way, cell)) = self.columns.iter().find(|(known, _, _)| *known == plain) {
            return Column::Known(
                (*name).to_owned(),
                way.iter().map(|name| (*name).to_owned()).collect(),
                *cell,
            );
        }
        let known = |(name, ..): &&(&str, &[&str], Cell)| {
            self.providers && plain.ends_with(&format!("_{name}"))
        };
        let Some((name, way, cell)) = PROVIDER_COLUMNS.iter().find(known) else {
            return Column::Wrong;
        };
        let size = plain.chars().count().saturating_sub(name.len()).saturating_sub(1);
        let lower: String = plain.chars().take(size).collect();
        // as it was written, where blanks were no longer than an underscore
        let same = header.chars().count() == plain.chars().count();
        let provider = if same { header.chars().take(size).collect() } else { lower.clone() };
        let shouted = header == header.to_uppercase();
        let provider =
            if shouted || PROVIDERS.contains(&lower.as_str()) { lower } else { provider };
        if provider.is_empty() {
            return Column::Wrong;
        }
        let way = ["providers", &provider]
            .into_iter()
            .chain(way.iter().copied())
            .map(str::to_owned)
            .collect();
        Column::Known(format!("{provider}_{name}"), way, *cell)
    }

    fn help_for(&self, header: &str) -> String {
        let known: Vec<&str> = self.columns.iter().map(|(name, _, _)| *name).collect();
        match nearest(&plain(header), &known) {
            _ if self.providers && plain(header) == "overrides" => {
                "overrides stand in a table of their own: the sheet `overrides`, or customers-overrides.csv".into()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None if self.providers => {
                format!("one of `{}`, or a provider's: `anthropic_profile`, `anthropic_enforcement`", known.join("`, `"))
            }
            None => format!("one of `{}`", known.join("`, `")),
        }
    }

    /// How many of these are names of columns.
    fn knows(&self, names: &[Vec<u8>]) -> usize {
        let known = |name: &&Vec<u8>| {
            matches!(self.column(&String::from_utf8_lossy(name)), Column::Known(..))
        };
        names.iter().filter(known).count()
    }
}

/// Calls `each` with the line and the JSON object of every row of a text. Notes what is wrong with the table itself.
pub(super) fn read(
    kind: &'static Kind,
    file: &'static str,
    bytes: &[u8],
    remarks: &mut Remarks,
    mut each: impl FnMut(&mut Remarks, usize, &Json),
) {
    if is_wide(bytes) {
        remarks.wide(file);
        return;
    }
    if let Some(help) = super::sheet::is_workbook(bytes) {
        remarks.error(file, None, "this is a workbook, not text", Some(help));
        return;
    }
    let (mut rows, said) = Rows::new(without_mark(bytes));
    if !said {
        rows.separator = separator(kind, &rows);
    }
    let mut table = Table::new(kind, file, None);
    let mut faults: usize = 0;
    let quote = |opening: Opening, rows: &mut Rows<'_>, remarks: &mut Remarks, message: &str| {
        let help = "close the quote at the end of its cell, or remove it; a quote within a quoted cell stands twice";
        remarks.error(file, Some(opening.line), message, Some(help));
        rows.skip(opening);
    };
    while let Some(row) = rows.next() {
        let row = match row {
            Ok(row) => row,
            Err(fault) => {
                faults = faults.saturating_add(1);
                if faults > MOST_FAULTS {
                    return; // a text of nothing but quotes
                }
                match fault {
                    Fault::Open(opening) => {
                        quote(opening, &mut rows, remarks, "a quote opens here and is never closed")
                    }
                    Fault::Trailed(opening) => {
                        let message = "a quote opens here, and where it closes the cell goes on";
                        quote(opening, &mut rows, remarks, message);
                    }
                }
                if table.columns.is_none() {
                    return; // the header is gone
                }
                continue;
            }
        };
        if let Some(opening) = swallowed(&table, &rows, &row) {
            quote(
                opening,
                &mut rows,
                remarks,
                "a quote opens here, and a row stands within its cell",
            );
            continue;
        }
        if !row.broken.is_empty() {
            let breaks = row.cells.iter().map(|cell| line_ends(cell)).sum();
            remarks.breaks(file, row.line.saturating_add(1), breaks);
        }
        let Ok(cells) = row.cells.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>()
        else {
            let help = "save the table as UTF-8: `CSV UTF-8` in a spreadsheet program";
            remarks.error(file, Some(row.line), "this row isn't UTF-8 text", Some(help));
            continue;
        };
        let blank = |cells: &[String]| cells.iter().all(|cell| cell.trim().is_empty());
        if let Some((least, most)) = table.widths()
            && !blank(&cells)
            && (cells.len() < least || !cells.get(most..).is_none_or(blank))
        {
            let message = match cells.len() {
                1 => format!("this row has 1 cell, and the header has {least}"),
                many => format!("this row has {many} cells, and the header has {least}"),
            };
            remarks.error(
                file,
                Some(row.line),
                &message,
                Some(&why_not_as_wide(&cells, least, rows.separator)),
            );
            continue;
        }
        if let Some(json) = table.row(row.line, row.number, &cells, remarks) {
            each(remarks, row.line, &json);
        }
        if !table.has_key() {
            return; // nothing can be told of the rows
        }
    }
    table.end(remarks);
}

/// What stands between the cells: what gives the first row the most columns that are known.
fn separator(kind: &Kind, rows: &Rows<'_>) -> u8 {
    let columns = |separator: &u8| {
        let mut rows = rows.clone();
        rows.separator = *separator;
        loop {
            match rows.next() {
                Some(Ok(row)) if row.cells.iter().all(|cell| cell.trim_ascii().is_empty()) => {}
                Some(Ok(row)) => return (kind.knows(&row.cells), row.cells.len()),
                // a quote that is wrong is there only with what really stands between the cells
                Some(Err(_)) => return (1, 0),
                None => return (0, 0),
            }
        }
    };
    // of equals the last counts
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
            "it has {} between its cells, and the header has {}",
            named(other).1,
            named(separator).1
        ),
        None => format!("a cell with {} in it stands in double quotes", named(separator).0),
    }
}

/// Where a quote opens whose cell has a line that could be a row: it was left open, and what closes it was meant otherwise. What
/// people write freely may have as many commas as a narrow table.
fn swallowed(table: &Table<'_>, rows: &Rows<'_>, row: &Row) -> Option<Opening> {
    let columns = table.columns.as_ref()?;
    let suspicious = |(i, _): &&(usize, Opening)| {
        let free = matches!(columns.get(*i), Some(Column::Known(_, _, Cell::Text | Cell::Line)));
        let cell = row.cells.get(*i).map(Vec::as_slice).unwrap_or_default();
        columns.len() > if free { 5 } else { 2 } && rows.has_a_row(cell, columns.len())
    };
    row.broken.iter().find(suspicious).map(|(_, opening)| *opening)
}

/// A header as it is looked for: in lower case, with `_` for blanks.
fn plain(header: &str) -> String {
    header.to_lowercase().split_whitespace().collect::<Vec<_>>().join("_")
}

/// A column as spreadsheets call it: A, B, …, Z, AA.
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

/// What a message shows of a cell.
fn shortened(cell: &str) -> String {
    let shown: String =
        cell.chars().take(40).map(|c| if c == '`' || c.is_control() { ' ' } else { c }).collect();
    if cell.chars().nth(40).is_some() { format!("{shown}…") } else { shown }
}

// === cells ===

/// Why a cell isn't what its column asks for, and what may stand for it while the rest is judged.
struct Wrong {
    what: &'static str,
    help: String,
    instead: Option<Json>,
}

impl Cell {
    fn value(self, cell: &str) -> Result<Json, Wrong> {
        let text = |text: &str| Json::Text(text.to_owned());
        let list = |words: &mut dyn Iterator<Item = &str>| Json::List(words.map(text).collect());
        if is_error(cell) {
            let help = "put the value there in place of the formula; `###` means that the column is too narrow to show it".into();
            return Err(Wrong { what: "no value", help, instead: self.instead() });
        }
        Ok(match self {
            Self::Text => text(cell),
            Self::Line => Json::Text(cell.split_whitespace().collect::<Vec<_>>().join(" ")),
            Self::Name if is_rounded(cell) || time(cell, false).is_some() => {
                let help = "a spreadsheet rounds long numbers, and takes what looks like one for a date: give these cells the format Text, then type it anew".into();
                return Err(Wrong {
                    what: "a date or a rounded number in place of a name",
                    help,
                    instead: self.instead(),
                });
            }
            Self::Name => text(cell),
            Self::Words => list(&mut cell.split_whitespace()),
            Self::Codes => list(
                &mut cell
                    .split(|c: char| c.is_whitespace() || c == ',' || c == ';')
                    .filter(|word| !word.is_empty()),
            ),
            Self::Truth => match cell.to_lowercase().as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => {
                    let help = "type TRUE or FALSE".into();
                    return Err(Wrong {
                        what: "expected true or false",
                        help,
                        instead: self.instead(),
                    });
                }
            },
            Self::From | Self::Until => match time(cell, self == Self::Until) {
                Some(time) => Json::Text(time),
                None => {
                    return Err(Wrong {
                        what: "invalid date",
                        help: why_no_date(cell),
                        instead: self.instead(),
                    });
                }
            },
            Self::Action => match cell.split_once([' ', ':']) {
                Some(("reroute", route)) => {
                    Json::Object(vec![("reroute".into(), text(route.trim()))])
                }
                _ => text(cell),
            },
        })
    }

    fn instead(self) -> Option<Json> {
        match self {
            Self::From => Some(Json::Text("1970-01-01T00:00:00Z".into())),
            Self::Until => Some(Json::Text("9999-12-31T23:59:59Z".into())),
            _ => None,
        }
    }
}

/// What spreadsheet programs show where there is no value, or a formula that was saved in place of its value.
fn is_error(cell: &str) -> bool {
    const ERRORS: &[&str] = &[
        "#N/A",
        "#REF!",
        "#VALUE!",
        "#NAME?",
        "#DIV/0!",
        "#NUM!",
        "#NULL!",
        "#SPILL!",
        "#CALC!",
        "#FIELD!",
        "#GETTING_DATA",
    ];
    let number = cell
        .strip_prefix("Err:")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    let formula = cell.strip_prefix('=').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_alphanumeric() || "\"(+-$".contains(c))
    });
    number
        || formula
        || ERRORS.contains(&cell)
        || (cell.len() > 1 && cell.bytes().all(|byte| byte == b'#'))
}

/// Whether this is how a spreadsheet shows a long number: 1.23457E+14.
fn is_rounded(cell: &str) -> bool {
    cell.split_once("E+").is_some_and(|(number, power)| {
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(power) && digits(&number.replacen(['.', ','], "", 1))
    })
}

/// A day or a time as people and spreadsheets write it by ISO 8601, in UTC: `2027-01-31`, `2027-01-31 08:00`.
fn time(cell: &str, end: bool) -> Option<String> {
    let (day, rest) = cell.split_at_checked(10)?;
    let clock = rest.strip_prefix(['T', ' ']).map(|clock| clock.strip_suffix('Z').unwrap_or(clock));
    let time = match (rest, clock) {
        (_, Some(clock)) if clock.len() > 8 && clock.contains(['+', '-']) => {
            format!("{day}T{clock}")
        }
        // the day is over when the next one begins
        ("", _) if end => {
            let begin = UnixSeconds::parse(&format!("{day}T00:00:00Z")).ok()?;
            UnixSeconds(begin.0.saturating_add(86_400).min(LAST_SECOND.cast_signed())).to_string()
        }
        ("", _) => format!("{day}T00:00:00Z"),
        (_, Some(clock)) if clock.len() == 5 => format!("{day}T{clock}:00Z"),
        (_, Some(clock)) => format!("{day}T{clock}Z"),
        _ => return None,
    };
    UnixSeconds::parse(&time).ok().map(|_| time)
}

fn why_no_date(cell: &str) -> String {
    let form = "type year, month and day: `2027-01-31`, or with a time in UTC `2027-01-31 08:00`";
    let parts: Vec<&str> = cell.split(['/', '.', '-']).collect();
    let numbers = |parts: &[&str]| {
        parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match parts.as_slice() {
        [first, _, year] if numbers(&parts) && first.len() < 3 && matches!(year.len(), 2 | 4) => {
            format!("nobody can tell its day from its month; {form}")
        }
        [number] if numbers(&parts) && matches!(number.len(), 5) => {
            format!("give the cell the format of a date, or {form}")
        }
        _ => form.into(),
    }
}

fn put(members: &mut Vec<(String, Json)>, way: &[String], value: Json) {
    let Some((name, rest)) = way.split_first() else { return };
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

/// What a path into a row's object is called in the table: `$.screening.until` is `screening_until`. A provider's status has the
/// name of what it belongs to.
fn column_of(path: &str) -> String {
    let Some(path) = path.strip_prefix('$') else { return path.to_owned() };
    let path = path.replace("[\"", ".").replace("\"]", "");
    let names = path
        .split('[')
        .next()
        .unwrap_or_default()
        .split('.')
        .filter(|name| !name.is_empty() && *name != "providers");
    let name = names.collect::<Vec<_>>().join("_");
    name.strip_suffix("_enforcement_status")
        .map_or(name.clone(), |provider| format!("{provider}_enforcement"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        let names = [0, 25, 26, 51, 52, 701, 702, 16_383].map(letters);
        assert_eq!(names, ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA", "XFD"]);
    }

    #[test]
    fn days_and_times() {
        for (cell, end, expected) in [
            ("2027-01-31", true, Some("2027-02-01T00:00:00Z")),
            ("2028-02-28", true, Some("2028-02-29T00:00:00Z")),
            ("9999-12-30", true, Some("9999-12-31T00:00:00Z")),
            ("9999-12-31", true, Some("9999-12-31T23:59:59Z")),
            ("2027-01-31", false, Some("2027-01-31T00:00:00Z")),
            ("2027-01-31T08:09:10Z", true, Some("2027-01-31T08:09:10Z")),
            ("2027-01-31 08:09:10", true, Some("2027-01-31T08:09:10Z")),
            ("2027-01-31 08:09", false, Some("2027-01-31T08:09:00Z")),
            ("2027-01-31T08:09Z", false, Some("2027-01-31T08:09:00Z")),
            ("2027-02-30", true, None),
            ("2027-01-31T08:09:10+08:00", true, Some("2027-01-31T08:09:10+08:00")),
            ("2027-01-31 08:09+08:00", true, None),
            ("2027-01-31x", true, None),
            ("2027-1-31", true, None),
            ("31/01/2027", true, None),
            ("01/31/2027", true, None),
            ("1927-01-31", true, None),
            ("46053", true, None),
            ("2027-01-3é", true, None),
        ] {
            assert_eq!(time(cell, end).as_deref(), expected, "{cell}");
        }
    }
}
