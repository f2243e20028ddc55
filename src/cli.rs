//! The command line: the same decisions at the desk. The only code that knows files.
//!
//! Exit codes: 0 all is well, 1 something in the input is wrong (each mistake on stderr), 2 the command
//! itself was wrong.

mod check;
mod compile;
mod diff;
mod due;
mod enforcement;
mod envoy;
mod explain;
mod found;
mod input;
mod inspect;
mod keygen;
mod register;
mod screen;
mod verify_tag;

use std::borrow::Cow;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::compile::directory::{Document, MOST_BYTES};
use crate::shape::Word;

/// Screens, tags and vouches for requests to model providers: the desk of the Envoy filter.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check configurations (Envoy files around the filter, or the filter's bare JSON) and registers of files
    Check(check::Arguments),
    /// Compile a register of files into one signed snapshot
    Compile(compile::Arguments),
    /// Say who is added, removed or changed between two registers or snapshots
    Diff(diff::Arguments),
    /// List what ends soon, or has ended: screenings, agreements, credentials, overrides, keys of nodes
    Due(due::Arguments),
    /// Take a provider's enforcement against customers into the register: Anthropic's user profiles, OpenAI's safety cases
    Enforcement(enforcement::Arguments),
    /// Decide one request on the desk: evidence, findings, verdict, headers
    Explain(input::Arguments),
    /// Show what is in a snapshot, and look an address, a credential or a customer up in it
    Inspect(inspect::InspectArguments),
    /// Make a key for a node or for signing snapshots, or a credential for a customer
    Keygen(keygen::Arguments),
    /// Print the JSON Schema of the configuration, or of a register's file
    Schema {
        /// configuration, register, customers, owners, entities, nodes or enforcement
        #[arg(default_value = "configuration", value_parser = word::<Document>)]
        document: Document,
    },
    /// Say whether a company is owned from a restricted region, and through whom
    Screen(screen::Arguments),
    /// Verify a captured request's tag, chain and trail: what holds, what doesn't, and why
    VerifyTag(input::Arguments),
}

/// Why a verb gave up.
#[derive(Debug)]
struct Failure(String);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // what is wrong repeats what was written
        Err(error) if error.use_stderr() => {
            complain(error.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    let outcome = match arguments.verb {
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Compile(arguments) => compile::run(&arguments),
        Verb::Diff(arguments) => diff::run(&arguments),
        Verb::Due(arguments) => due::run(&arguments),
        Verb::Enforcement(arguments) => enforcement::run(&arguments),
        Verb::Inspect(arguments) => inspect::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Keygen(arguments) => keygen::run(&arguments),
        Verb::Screen(arguments) => screen::run(&arguments),
        Verb::VerifyTag(arguments) => verify_tag::run(&arguments),
        Verb::Schema { document } => {
            print(&format!("{:#}\n", document.schema()));
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            complain(&message);
            ExitCode::from(1)
        }
    }
}

/// Reads a word of the command line.
fn word<T: Word>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|mismatch| match mismatch.help {
        Some(help) => format!("{}; {help}", mismatch.message),
        None => mismatch.message,
    })
}

impl Failure {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Reads a file of text.
fn read(path: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(bytes(path)?).map_err(|_| Failure("isn't UTF-8 text".into()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Writes beside the file, then renames: whoever reads it has the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = beside(path);
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    beside.into()
}

/// Reads a file, or a pipe that this process was given: nobody may ever write to one that lies in a directory, and a device may
/// never end.
fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| Failure(format!("can't be read: {error}"));
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Failure("this is a directory: a file is needed here".into()));
    }
    if metadata.is_file() && metadata.len() > MOST_BYTES {
        return Err(too_large());
    }
    if !metadata.is_file() && !is_handed_over(path, &metadata) {
        return Err(Failure(
            "not a regular file: pipes and devices are read only as `/dev/stdin` and `<(…)`".into(),
        ));
    }
    let mut bytes = Vec::new();
    let most = MOST_BYTES.saturating_add(1);
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > MOST_BYTES) {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

fn too_large() -> Failure {
    Failure(format!(
        "this has more than {} MB, which is as much as is read of one file",
        MOST_BYTES / 1_000_000
    ))
}

/// Whether this is a pipe or a terminal among the process's own descriptors: a shell opened it for us.
fn is_handed_over(path: &Path, metadata: &std::fs::Metadata) -> bool {
    let own = path == Path::new("/dev/stdin")
        || ["/dev/fd", "/proc/self/fd"]
            .iter()
            .any(|folder| path.parent() == Some(Path::new(folder)));
    own && (is_pipe(metadata) || std::fs::File::open(path).is_ok_and(|file| file.is_terminal()))
}

#[cfg(unix)]
fn is_pipe(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::Metadata) -> bool {
    false
}

/// Writes to stdout. A reader that went away (`| head`) is no error.
fn print(text: &str) {
    use std::io::Write as _;
    if std::io::stdout().write_all(shown(text).as_bytes()).is_err() {}
}

/// Writes a line to stderr.
fn complain(line: &str) {
    use std::io::Write as _;
    if writeln!(std::io::stderr(), "{}", shown(line)).is_err() {}
}

/// A table for spreadsheet programs (RFC 4180). What such a program would take for a formula gets an apostrophe in front.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header).map_err(Failure::new)?;
    let inert = |cell: String| {
        if cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<f64>().is_err() {
            format!("'{cell}")
        } else {
            cell
        }
    };
    for row in rows {
        writer.write_record(row.into_iter().map(inert)).map_err(Failure::new)?;
    }
    String::from_utf8(writer.into_inner().map_err(Failure::new)?).map_err(Failure::new)
}

/// Text for a terminal, broken at its width, with a line feed at the end: `first` stands before the first line, `further`
/// before those that follow. Whatever isn't a terminal gets one line.
fn wrap(text: &str, first: &str, further: &str) -> String {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<usize>().ok());
    let shown_to_a_person = std::io::stdout().is_terminal();
    let width = set.or_else(|| {
        Some(usize::from(terminal_size::terminal_size().filter(|_| shown_to_a_person)?.0.0))
    });
    let Some(width) = width else { return format!("{first}{text}\n") };
    let options =
        textwrap::Options::new(width.max(20)).initial_indent(first).subsequent_indent(further);
    format!("{}\n", textwrap::fill(text, options))
}

/// Text as it stands in XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text without what a terminal obeys: controls and marks that turn the direction of writing become `\uXXXX`, which JSON
/// reads as the same characters. Captured requests and registers hold what others wrote.
fn shown(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return text.into();
    }
    text.chars()
        .map(|c| if obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() })
        .collect::<String>()
        .into()
}
