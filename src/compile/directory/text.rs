//! The rows and cells of a table as text (RFC 4180), with the lines on which rows and quotes open.
//!
//! Quotes are read strictly. A quote that is left open would swallow the rows after it, and their
//! customers would be missing.

/// TextRows of a table, one at a time.
#[derive(Debug, Clone)]
pub(super) struct TextRows<'t> {
    text: &'t [u8],
    at: usize,
    /// The line of `at`, counted from 1
    line: usize,
    /// The row of `at` as a spreadsheet counts: a line break within a cell begins no new row
    row: usize,
    pub(super) separator: u8,
}

/// A row that isn't empty.
#[derive(Debug)]
pub(super) struct TextRow {
    pub(super) line: usize,
    pub(super) number: usize,
    pub(super) cells: Vec<Vec<u8>>,
    /// The quoted cells with line breaks: their numbers, and where they open
    pub(super) broken: Vec<(usize, QuoteStart)>,
}

/// Where a quote opens.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuoteStart {
    at: usize,
    pub(super) line: usize,
    row: usize,
}

/// An invalid quote, and what is wrong with it.
#[derive(Debug)]
pub(super) struct QuoteError(pub(super) QuoteStart, pub(super) &'static str);

/// The separators of cells.
pub(super) const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

impl<'t> TextRows<'t> {
    /// The rows of a text without its byte order mark, and whether its first line names the
    /// separator: `sep=;`, as Excel reads and writes it.
    pub(super) fn new(text: &'t [u8]) -> (Self, bool) {
        let rows = Self { text, at: 0, line: 1, row: 1, separator: b',' };
        let first = text.split(|byte| is_end(*byte)).next().unwrap_or_default();
        let line = first.trim_ascii_end();
        let line =
            line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        match line.strip_prefix(b"sep=").or(line.strip_prefix(b"SEP=")) {
            Some([separator]) if SEPARATORS.contains(separator) => {
                (rows.after(first.len(), *separator), true)
            }
            // the tab was trimmed
            Some([]) if first.starts_with(b"sep=\t") || first.starts_with(b"SEP=\t") => {
                (rows.after(first.len(), b'\t'), true)
            }
            _ => (rows, false),
        }
    }

    fn after(self, length: usize, separator: u8) -> Self {
        // `next` passes over the end of the line, and counts it
        Self { at: length, separator, ..self }
    }

    /// Continues with the line after the one on which a quote opens.
    pub(super) fn skip(&mut self, opening: QuoteStart) {
        let rest = self.text.get(opening.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len());
        self.at = opening.at.saturating_add(length);
        self.line = opening.line;
        self.row = opening.row;
    }

    /// Whether a line of this cell may be a row: it has as many separators as a row of that width.
    pub(super) fn has_a_row(&self, cell: &[u8], width: usize) -> bool {
        let separators = |line: &[u8]| line.iter().filter(|byte| **byte == self.separator).count();
        cell.split(|byte| is_end(*byte))
            .skip(1)
            .any(|line| separators(line).saturating_add(1) == width)
    }

    /// The next row that isn't empty.
    pub(super) fn next(&mut self) -> Option<Result<TextRow, QuoteError>> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = rest
            .get(..rest.iter().position(|byte| !is_end(*byte)).unwrap_or(rest.len()))
            .unwrap_or_default();
        self.at = self.at.saturating_add(ends.len());
        self.line = self.line.saturating_add(line_ends(ends));
        self.row = self.row.saturating_add(line_ends(ends));
        self.peek()?;
        let mut row =
            TextRow { line: self.line, number: self.row, cells: Vec::new(), broken: Vec::new() };
        loop {
            let cell = match self.peek() {
                Some(b'"') => match self.quoted() {
                    Ok((cell, opening)) => {
                        if self.line > opening.line {
                            row.broken.push((row.cells.len(), opening));
                        }
                        cell
                    }
                    Err(fault) => return Some(Err(fault)),
                },
                _ => self.bare().to_vec(),
            };
            row.cells.push(cell);
            match self.peek() {
                Some(byte) if byte == self.separator => self.at = self.at.saturating_add(1),
                _ => break, // the end of the text, or of the line, which the next call passes over
            }
        }
        Some(Ok(row))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The text up to the end of the cell.
    fn bare(&mut self) -> &'t [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| *byte == self.separator || is_end(*byte);
        let cell = rest.get(..rest.iter().position(ends).unwrap_or(rest.len())).unwrap_or_default();
        self.at = self.at.saturating_add(cell.len());
        cell
    }

    fn quoted(&mut self) -> Result<(Vec<u8>, QuoteStart), QuoteError> {
        let opening = QuoteStart { at: self.at, line: self.line, row: self.row };
        let mut cell = Vec::new();
        self.at = self.at.saturating_add(1);
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'"') else {
                return Err(QuoteError(opening, "unclosed quote"));
            };
            let part = rest.get(..length).unwrap_or_default();
            self.line = self.line.saturating_add(line_ends(part));
            cell.extend(part);
            self.at = self.at.saturating_add(length).saturating_add(1);
            if self.peek() != Some(b'"') {
                break;
            }
            cell.push(b'"');
            self.at = self.at.saturating_add(1);
        }
        if self.bare().iter().all(|byte| *byte == b' ') {
            Ok((cell, opening))
        } else {
            Err(QuoteError(opening, "invalid quote: text follows it in the same cell"))
        }
    }
}

fn is_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// How many lines end in the text: with a line feed, a carriage return, or both.
pub(super) fn line_ends(text: &[u8]) -> usize {
    let alone = text
        .iter()
        .zip(text.iter().skip(1).map(Some).chain([None]))
        .filter(|(byte, next)| **byte == b'\r' && *next != Some(&b'\n'));
    text.iter().filter(|byte| **byte == b'\n').count().saturating_add(alone.count())
}
