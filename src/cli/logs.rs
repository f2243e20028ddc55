//! Files of log lines: plain, gzip or zstd, several in a row, or stdin as `-`.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Read, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::CommandError;
use crate::compile::remarks::grouped;

/// The longest line that is read. Envoy's own bound of headers is 60 kB.
const MOST_BYTES: usize = 4_000_000;
/// How often progress is shown, on a terminal.
const PROGRESS: Duration = Duration::from_millis(500);
const LINES_BETWEEN_LOOKS: u64 = 4_096;

/// A line's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinePlace<'a> {
    /// The file
    pub(super) file: &'a Path,
    /// The line, counted from 1
    pub(super) line: u64,
}

/// The files that lines came from, by number.
#[derive(Debug, Default)]
pub(super) struct FileNames(Vec<PathBuf>);

impl FileNames {
    /// The number of a line's file.
    pub(super) fn note(&mut self, place: LinePlace<'_>) -> usize {
        if place.line == 1 || self.0.is_empty() {
            self.0.push(place.file.to_owned());
        }
        self.0.len().saturating_sub(1)
    }

    /// The name of a file.
    pub(super) fn of(&self, file: usize) -> String {
        self.0.get(file).map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// A line by its number, with its file where there are several.
    pub(super) fn line(&self, file: usize, line: u64) -> String {
        if self.0.len() < 2 { format!("line {line}") } else { format!("{}:{line}", self.of(file)) }
    }
}

/// Calls `see` for each line of some files, without its line feed, until it breaks. Returns the
/// number of lines. Memory doesn't grow with the files.
pub(super) fn each_line(
    paths: &[PathBuf],
    see: &mut dyn FnMut(LinePlace<'_>, &[u8]) -> ControlFlow<()>,
) -> Result<u64, CommandError> {
    let mut all: u64 = 0;
    let mut progress = ReadingProgress::new();
    for path in paths {
        let unreadable =
            |error: std::io::Error| CommandError::about(path, format!("can't be read: {error}"));
        let mut reader = open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        let mut line: u64 = 0;
        while next_line(&mut reader, &mut bytes).map_err(unreadable)? {
            line = line.saturating_add(1);
            all = all.saturating_add(1);
            progress.look(all);
            if see(LinePlace { file: path, line }, &bytes).is_break() {
                return Ok(all);
            }
        }
    }
    Ok(all)
}

/// Reads the next line. Of one that is too long, the rest is dropped.
fn next_line(reader: &mut dyn BufRead, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    bytes.clear();
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX);
    if (&mut *reader).take(most).read_until(b'\n', bytes)? == 0 {
        return Ok(false);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        return Ok(true);
    }
    if bytes.len() >= MOST_BYTES {
        reader.skip_until(b'\n')?;
    }
    Ok(true)
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(BufReader::new(Zstd::new(reader)?)),
        _ => Box::new(reader),
    })
}

/// All frames of a zstd file, one behind the other.
struct Zstd {
    frame: Option<ruzstd::decoding::StreamingDecoder<Source, ruzstd::decoding::FrameDecoder>>,
}

type Source = BufReader<Box<dyn Read>>;

impl Zstd {
    fn new(source: Source) -> std::io::Result<Self> {
        let frame = ruzstd::decoding::StreamingDecoder::new(source);
        Ok(Self { frame: Some(frame.map_err(std::io::Error::other)?) })
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let Some(frame) = self.frame.as_mut() else { return Ok(0) };
            let read = frame.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut source = match self.frame.take() {
                Some(frame) => frame.into_inner(),
                None => return Ok(0),
            };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            *self = Self::new(source)?;
        }
    }
}

/// Shows how far long work is, on a terminal.
struct ReadingProgress {
    is_shown: bool,
    last: Instant,
    has_written: bool,
}

impl ReadingProgress {
    fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), last: Instant::now(), has_written: false }
    }

    fn look(&mut self, lines: u64) {
        if !self.is_shown || !lines.is_multiple_of(LINES_BETWEEN_LOOKS) {
            return;
        }
        if self.last.elapsed() > PROGRESS {
            self.last = Instant::now();
            self.has_written = true;
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            if write!(std::io::stderr(), "\r{} lines read", grouped(lines)).is_err() {}
        }
    }
}

impl Drop for ReadingProgress {
    fn drop(&mut self) {
        if self.has_written && write!(std::io::stderr(), "\r\x1b[K").is_err() {}
    }
}
