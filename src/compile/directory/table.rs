//! `customers.csv`: one customer a row. A row becomes the same JSON object that the other forms hold, so that one
//! reader judges all three.

use crate::compile::remarks::Remarks;
use crate::shape::{Json, nearest};

/// What a cell holds, once it isn't empty.
#[derive(Debug, Clone, Copy)]
enum Cell {
    /// Text as it stands
    Text,
    /// Words between spaces
    Words,
    /// true or false
    Truth,
}

/// The columns: header, way to the member, what a cell holds. Beside them each provider's, by [`PROVIDER_COLUMNS`].
const COLUMNS: &[(&str, &[&str], Cell)] = &[
    ("id", &["id"], Cell::Text),
    ("kind", &["kind"], Cell::Text),
    ("status", &["status"], Cell::Text),
    ("credentials", &["credentials"], Cell::Words),
    ("mtls", &["mtls"], Cell::Words),
    ("jwt", &["jwt"], Cell::Words),
    ("entity", &["entity"], Cell::Text),
    ("ownership", &["ownership"], Cell::Text),
    ("declared", &["declared"], Cell::Words),
    ("screening_status", &["screening", "status"], Cell::Text),
    ("screening_at", &["screening", "at"], Cell::Text),
    ("screening_until", &["screening", "until"], Cell::Text),
    ("screening_by", &["screening", "by"], Cell::Text),
    ("agreement_id", &["agreement", "id"], Cell::Text),
    ("agreement_accepted", &["agreement", "accepted"], Cell::Text),
    ("agreement_until", &["agreement", "until"], Cell::Text),
    ("residency", &["residency"], Cell::Text),
    ("vouches_for_users", &["vouches_for_users"], Cell::Truth),
];

/// What follows a provider's name in a header: `anthropic_profile`.
const PROVIDER_COLUMNS: &[&str] = &["profile", "enforcement"];

/// A column of the table at hand: the way to its member, and what a cell holds.
type Column = (Vec<String>, Cell);

/// Calls `each` with the line and the JSON object of every row. Notes what is wrong with the table itself.
pub(super) fn read(file: &'static str, text: &[u8], remarks: &mut Remarks, mut each: impl FnMut(&mut Remarks, usize, &Json)) {
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text);
    let mut record = csv::ByteRecord::new();
    let mut columns: Option<Vec<Option<Column>>> = None;
    while reader.read_byte_record(&mut record).is_ok_and(|more| more) {
        let line = record.position().map_or(1, |position| line_of_row(text, position));
        let Ok(row) = csv::StringRecord::from_byte_record(record.clone()) else {
            remarks.error(file, Some(line), "this row isn't UTF-8 text", Some("save the table as UTF-8"));
            continue;
        };
        let Some(columns) = &columns else {
            columns = Some(header(file, line, &row, remarks));
            continue;
        };
        if columns.is_empty() {
            return; // without a header nothing can be told of the rows
        }
        if row.len() != columns.len() {
            let message = format!("this row has {} cells, and the header has {}", row.len(), columns.len());
            remarks.error(file, Some(line), &message, Some("a cell with a comma in it stands in double quotes"));
            continue;
        }
        each(remarks, line, &object(columns, &row));
    }
    if columns.is_none() {
        remarks.error(file, None, "this table is empty", Some("the first line names the columns, with commas between: `id,credentials,…`"));
    }
}

/// The line that a row begins on. The position is where the row before it ended, and blank lines may follow.
fn line_of_row(text: &[u8], position: &csv::Position) -> usize {
    let from = usize::try_from(position.byte()).ok().and_then(|byte| text.get(byte..)).unwrap_or_default();
    let blank = from.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    usize::try_from(position.line()).unwrap_or(usize::MAX).saturating_add(blank)
}

fn header(file: &'static str, line: usize, row: &csv::StringRecord, remarks: &mut Remarks) -> Vec<Option<Column>> {
    let names: Vec<&str> = row.iter().map(str::trim).collect();
    if !names.contains(&"id") {
        // its words aren't repeated: they may be the first customer's credentials
        let message = "the first line names no column `id`";
        remarks.error(file, Some(line), message, Some("it names the columns, with commas between: `id,credentials,…`"));
        return Vec::new();
    }
    let mut columns = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let mut column = column(name);
        if column.is_none() {
            let known: Vec<&str> = COLUMNS.iter().map(|(header, _, _)| *header).collect();
            let help = match nearest(name, &known) {
                _ if *name == "overrides" => "a table can't hold overrides; use customers.jsonl or customers.json".into(),
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of `{}`, or a provider's: `anthropic_profile`, `anthropic_enforcement`", known.join("`, `")),
            };
            remarks.error(file, Some(line), &format!("unknown column `{name}`"), Some(&help));
        } else if names.iter().take(i).any(|earlier| earlier == name) {
            remarks.error(file, Some(line), &format!("the column `{name}` stands twice"), Some("keep one of the two"));
            column = None;
        }
        columns.push(column);
    }
    columns
}

fn column(header: &str) -> Option<Column> {
    if let Some((_, way, cell)) = COLUMNS.iter().find(|(known, _, _)| *known == header) {
        return Some((way.iter().map(|name| (*name).to_owned()).collect(), *cell));
    }
    let (provider, member) = header.rsplit_once('_')?;
    let known = !provider.is_empty() && PROVIDER_COLUMNS.contains(&member);
    known.then(|| (vec!["providers".into(), provider.into(), member.into()], Cell::Text))
}

/// The row as the object that customers.json would hold; an empty cell is a member that is left out.
fn object(columns: &[Option<Column>], row: &csv::StringRecord) -> Json {
    let mut customer = Vec::new();
    for (column, cell) in columns.iter().zip(row) {
        let cell = cell.trim();
        if let Some((way, kind)) = column
            && !cell.is_empty()
        {
            let value = match (kind, cell) {
                (Cell::Words, words) => Json::List(words.split_whitespace().map(|word| Json::Text(word.to_owned())).collect()),
                (Cell::Truth, "true") => Json::Bool(true),
                (Cell::Truth, "false") => Json::Bool(false),
                (Cell::Truth | Cell::Text, text) => Json::Text(text.to_owned()),
            };
            put(&mut customer, way, value);
        }
    }
    Json::Object(customer)
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

/// What a path into a row's object is called in the table: `$.screening.until` is `screening_until`.
pub(super) fn column_of(path: &str) -> String {
    let path = path.trim_start_matches('$').replace("[\"", ".").replace("\"]", "");
    let names = path.split('[').next().unwrap_or_default().split('.').filter(|name| !name.is_empty() && *name != "providers");
    names.collect::<Vec<_>>().join("_")
}
