//! Marks of relay software: overt headers by which gateways and resale panels show themselves.
//!
//! The table is data (`data/relay-marks.json`), each row with its source. A mark proves nothing and
//! accuses nobody: it is a reason to ask a customer that isn't registered as a reseller. A relay
//! that wants to hide strips its marks.

use super::beginnings::Beginnings;
use crate::shape::Json;

/// One overt mark.
#[derive(Debug, Clone)]
pub struct RelayMark {
    /// The software that leaves it
    pub software: String,
    /// The header's name in lower case. A prefix if it ends in `*`
    pub header: String,
    /// A part that the value must contain, in lower case. Any value fits if there is none
    pub value: Option<String>,
    /// Whether the value is a caller's credential, so that the header doesn't go on
    pub is_credential: bool,
}

/// The table that this build carries. A test reads it, so that it is never silently empty.
pub fn marks() -> Vec<RelayMark> {
    let table: Json =
        serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/relay-marks.json")))
            .unwrap_or(Json::Null);
    let rows = table.get("marks").map(Json::items).unwrap_or_default();
    rows.iter().filter_map(RelayMark::from_row).collect()
}

/// The marks of one header. Most values hold none: one pass over the value tells.
#[derive(Debug)]
pub(super) struct MarkGroup {
    /// The header's name, or its beginning with `*` behind it
    pub(super) header: String,
    /// In the order of the table
    marks: Vec<RelayMark>,
    /// Whether any value fits one of them
    any: bool,
    begins: Beginnings,
}

impl MarkGroup {
    /// Groups the marks by header, in the order of the table.
    pub(super) fn of(marks: Vec<RelayMark>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for mark in marks {
            let at =
                groups.iter().position(|group| group.header == mark.header).unwrap_or(groups.len());
            if at == groups.len() {
                groups.push(Self {
                    header: mark.header.clone(),
                    marks: Vec::new(),
                    any: false,
                    begins: Beginnings::default(),
                });
            }
            if let Some(group) = groups.get_mut(at) {
                group.add(mark);
            }
        }
        groups
    }

    fn add(&mut self, mark: RelayMark) {
        let part = mark.value.as_deref().unwrap_or_default();
        self.any |= !self.begins.add(part, self.marks.len());
        self.marks.push(mark);
    }

    /// The marks that a value may hold.
    pub(super) fn candidates(&self, value: &[u8]) -> &[RelayMark] {
        let begins = |place: usize, rest: &[u8]| {
            let mark = self.marks.get(place).and_then(|mark| mark.value.as_deref());
            let wanted = mark.unwrap_or_default().as_bytes();
            rest.get(..wanted.len()).is_some_and(|part| part.eq_ignore_ascii_case(wanted))
        };
        let is_shown = || {
            value.iter().enumerate().any(|(at, byte)| {
                self.begins.any(*byte, || value.get(at..).unwrap_or_default(), begins)
            })
        };
        if self.any || is_shown() { &self.marks } else { &[] }
    }
}

impl RelayMark {
    fn from_row(row: &Json) -> Option<Self> {
        let text = |name| row.get(name).and_then(Json::as_str).map(str::to_owned);
        let is_credential = matches!(row.get("credential"), Some(Json::Bool(true)));
        Some(Self {
            software: text("software")?,
            header: text("header")?,
            value: text("value"),
            is_credential,
        })
    }

    /// Whether an element of the header's value is this mark and isn't `ignored`.
    pub fn is_in(&self, value: &[u8], ignored: impl Fn(&[u8]) -> bool) -> bool {
        let wanted = self.value.as_deref().unwrap_or_default().as_bytes();
        value.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|element| {
            let contains = wanted.is_empty()
                || element.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted));
            contains && !element.is_empty() && !ignored(element)
        })
    }
}
