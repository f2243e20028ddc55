//! The types of cells, and how a cell's text becomes JSON.

use crate::shape::{Json, Word as _};
use crate::terms::time::{LAST_SECOND, UnixSeconds};

/// The type of a cell that isn't empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellType {
    /// Text as it is
    Text,
    /// Text on one line
    Line,
    /// An id: other entries refer to it
    Name,
    /// Words separated by blanks
    Words,
    /// Words separated by blanks, commas or semicolons
    Codes,
    /// True or false
    Truth,
    /// A time; a day counts from its beginning
    From,
    /// A time; a day counts to its end
    Until,
    /// An action; `reroute` with its route
    Action,
}

/// Why a cell is invalid, and a valid value with which the rest of the row is checked.
pub(super) struct CellError {
    pub(super) what: &'static str,
    pub(super) help: String,
    pub(super) instead: Option<Json>,
}

impl CellType {
    pub(super) fn value(self, cell: &str) -> Result<Json, CellError> {
        let text = |text: &str| Json::Text(text.to_owned());
        let wrong = |what, help: &str| {
            Err(CellError { what, help: help.to_owned(), instead: self.instead() })
        };
        let list = |words: &mut dyn Iterator<Item = &str>| Json::List(words.map(text).collect());
        if is_error(cell) {
            let help =
                "replace the formula by its value; if the cell shows `###`, make its column wider";
            return wrong("a formula or an error in place of a value", help);
        }
        Ok(match self {
            Self::Text => text(cell),
            Self::Line => Json::Text(cell.split_whitespace().collect::<Vec<_>>().join(" ")),
            Self::Name if is_rounded(cell) || time(cell, false).is_some() => {
                let help = "set the format of these cells to Text, then type it again; otherwise a \
                            spreadsheet rounds long numbers and reads some ids as dates";
                return wrong("a date or a rounded number in place of an id", help);
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
                _ => return wrong("expected TRUE or FALSE", "type TRUE or FALSE"),
            },
            Self::From | Self::Until => match time(cell, self == Self::Until) {
                Some(time) => Json::Text(time),
                None => return wrong("invalid date", &why_no_date(cell)),
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

/// Whether this is a spreadsheet's error, or a formula that was saved in place of its value.
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
    let number = cell.strip_prefix("Err:").is_some_and(is_digits);
    let formula = cell.strip_prefix('=').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_alphanumeric() || "\"(+-$".contains(c))
    });
    number
        || formula
        || ERRORS.contains(&cell)
        || (cell.len() > 1 && cell.bytes().all(|byte| byte == b'#'))
}

/// Whether this is a long number as a spreadsheet rounds it: 1.23457E+14.
fn is_rounded(cell: &str) -> bool {
    cell.split_once("E+").is_some_and(|(number, power)| {
        is_digits(power) && is_digits(&number.replacen(['.', ','], "", 1))
    })
}

/// Whether a text has digits, and nothing else.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A day or a time by ISO 8601, in UTC: `2027-01-31`, `2027-01-31 08:00`.
fn time(cell: &str, end: bool) -> Option<String> {
    let (day, rest) = cell.split_at_checked(10)?;
    let clock = rest.strip_prefix(['T', ' ']).map(|clock| clock.strip_suffix('Z').unwrap_or(clock));
    let time = match (rest, clock) {
        (_, Some(clock)) if clock.len() > 8 && clock.contains(['+', '-']) => {
            format!("{day}T{clock}")
        }
        // a day ends when the next one begins
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
    match parts.as_slice() {
        _ if !parts.iter().all(|part| is_digits(part)) => form.into(),
        [first, _, year] if first.len() < 3 && matches!(year.len(), 2 | 4) => {
            format!("day and month can't be told apart; {form}")
        }
        [number] if number.len() == 5 => format!("set the format of the cell to a date, or {form}"),
        _ => form.into(),
    }
}
