//! The files of bods/.

use super::files::tree;
use crate::compile::ownership::bods::BodsStatements;
use crate::compile::remarks::{Remarks, without_mark};
use crate::shape::{Json, Problems};

/// Reads the statements of a file: one list, or one statement after the other, each on its own line
/// (as large publishers write them) or on several.
pub(super) fn read_statements(
    name: &str,
    bytes: &[u8],
    statements: &mut BodsStatements,
    remarks: &mut Remarks,
) {
    let text = without_mark(bytes);
    let in_a_row = name.ends_with(".jsonl") || text.trim_ascii_start().starts_with(b"{");
    let json = if in_a_row { None } else { tree(name, bytes, remarks) };
    let mut problems = Problems::default();
    statements.read(json.as_ref().unwrap_or(&Json::List(Vec::new())), &mut problems);
    remarks.take(name, None, &problems);
    if !in_a_row {
        return;
    }
    let lines = || {
        text.split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.trim_ascii().is_empty())
    };
    let mut add = |number: usize, json: &Json, remarks: &mut Remarks| {
        let mut problems = Problems::default();
        statements.read_line(json, number, &mut problems);
        remarks.take(name, Some(number), &problems);
    };
    // the first line decides: it is complete JSON only where each statement has its own line
    if lines().next().is_none_or(|(_, first)| {
        serde_json::from_slice::<Json>(first).is_ok() || name.ends_with(".jsonl")
    }) {
        for (i, line) in lines() {
            let number = i.saturating_add(1);
            match serde_json::from_slice::<Json>(line) {
                Ok(json) => add(number, &json, remarks),
                Err(error) => remarks.not_json(name, number, &error),
            }
        }
        return;
    }
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Json>();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let blanks = rest.len().saturating_sub(rest.trim_ascii_start().len());
        let before = text.get(..stream.byte_offset().saturating_add(blanks)).unwrap_or_default();
        let number = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        match stream.next() {
            None => return,
            Some(Ok(json)) => add(number, &json, remarks),
            Some(Err(error)) => return remarks.not_json(name, error.line(), &error),
        }
    }
}
