//! What the desk prints: text for people, JSON for machines, tables for spreadsheets.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

use super::error::CommandError;

/// The output formats of verbs that also print tables.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct OutputFormat {
    /// Print JSON for machines
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Print a table (CSV) for spreadsheets
    #[arg(long)]
    pub(super) csv: bool,
}

/// Writes to stdout. If the reader went away (`| head`), the rest is dropped without an error.
pub(super) fn print(text: &str) {
    if std::io::stdout().write_all(inert(text).as_bytes()).is_err() {}
}

/// Writes JSON to stdout.
pub(super) fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}

/// Writes a line to stderr.
pub(super) fn complain(line: &str) {
    if writeln!(std::io::stderr(), "{}", inert(line)).is_err() {}
}

/// A table (RFC 4180). A cell that a spreadsheet would take for a formula gets an apostrophe.
pub(super) fn table(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Result<String, CommandError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(CommandError::new)?;
    let inert = |cell: String| {
        if cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<f64>().is_err() {
            format!("'{cell}")
        } else {
            cell
        }
    };
    for row in rows {
        writer.write_record(row.into_iter().map(inert)).map_err(CommandError::new)?;
    }
    String::from_utf8(writer.into_inner().map_err(CommandError::new)?).map_err(CommandError::new)
}

/// Text wrapped at the terminal's width, with a line feed at the end; one line if stdout isn't a
/// terminal. `first` is put before the first line, `further` before the others.
pub(super) fn wrap(text: &str, first: &str, further: &str) -> String {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<usize>().ok());
    let is_terminal = std::io::stdout().is_terminal();
    let width = set
        .or_else(|| Some(usize::from(terminal_size::terminal_size().filter(|_| is_terminal)?.0.0)));
    let Some(width) = width else { return format!("{first}{text}\n") };
    let options =
        textwrap::Options::new(width.max(20)).initial_indent(first).subsequent_indent(further);
    format!("{}\n", textwrap::fill(text, options))
}

/// Text wrapped for a page of at most 80 columns, or of a narrower terminal.
pub(super) fn wrap_page(text: &str, first: &str, further: &str) -> String {
    let is_terminal = std::io::stdout().is_terminal();
    let terminal = terminal_size::terminal_size().filter(|_| is_terminal);
    let width = terminal.map_or(PAGE, |(width, _)| usize::from(width.0).min(PAGE));
    let options = textwrap::Options::new(width.max(20))
        .initial_indent(first)
        .subsequent_indent(further)
        // dates, codes and ids have hyphens, and are read and copied whole
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    format!("{}\n", textwrap::fill(text, options))
}

/// The columns of a page.
const PAGE: usize = 80;

/// Text in XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text that commands no terminal: controls and marks that turn the direction of writing become
/// `\uXXXX`, which JSON reads as the same characters. Captured requests and registers hold what
/// others wrote.
pub(super) fn inert(text: &str) -> Cow<'_, str> {
    let commands = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(commands) {
        return text.into();
    }
    text.chars()
        .map(|c| if commands(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() })
        .collect::<String>()
        .into()
}
