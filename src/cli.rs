//! The command line: the same decisions at the desk. The only code that knows files.
//!
//! Exit codes: 0 all is well; 1 something in the input is wrong, with each mistake on stderr; 2 the
//! command itself is wrong. `explain --fail` and `test` answer by theirs, as their help says.

mod arguments;
pub mod arrival;
mod audit;
pub mod capture;
mod cases;
mod check;
mod clock;
mod compile;
mod diff;
mod due;
mod enforcement;
mod error;
mod event;
mod explain;
mod files;
pub mod headers;
mod input;
mod inspect;
mod keygen;
mod letter;
mod letters;
mod logs;
mod lookup;
mod output;
mod register;
mod replay;
mod report;
mod screen;
mod sharing;
mod verify_tag;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::arguments::word;
use self::error::CommandError;
use self::output::{complain, print_json};
use crate::compile::directory::SchemaDocument;

/// Screens, tags and vouches for requests to model providers: the desk of the Envoy filter.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Verify a log of events: what is missing, altered or duplicate
    Audit(audit::AuditArguments),
    /// Check configurations (Envoy files, or the filter's bare JSON) and registers of files
    Check(check::CheckArguments),
    /// Compile a register of files into a signed snapshot
    Compile(compile::CompileArguments),
    /// Show which customers are added, removed or changed between two registers or snapshots
    Diff(diff::DiffArguments),
    /// List what ends soon or has ended: screenings, agreements, credentials, overrides, node keys
    Due(due::DueArguments),
    /// Import a provider's enforcement into the register: Anthropic's user profiles, OpenAI's
    /// safety cases
    Enforcement(enforcement::EnforcementArguments),
    /// Explain a logged decision in words, by the id that the customer has
    Event(event::EventVerbArguments),
    /// Decide a captured request as the node would: evidence, findings, verdict, headers
    Explain(explain::ExplainArguments),
    /// Show a snapshot's contents, or look up an address, a credential or a customer in it
    Inspect(inspect::InspectArguments),
    /// Generate a key for a node or for signing snapshots, or a credential for a customer
    Keygen(keygen::KeygenArguments),
    /// Write the letter to a refused customer: what was decided, on which signals, how to appeal
    Letter(letter::LetterArguments),
    /// Draft the letters to all refused customers of a log who have none yet in a folder
    Letters(letters::LettersArguments),
    /// Decide the events of a log again by another configuration or register, and list what changes
    Replay(replay::ReplayArguments),
    /// Count the events of logs: a page for an officer and an auditor, figures, tables
    Report(report::ReportArguments),
    /// Print the JSON Schema of the configuration, of a register's file, or of an answer
    Schema {
        /// configuration, register, customers, owners, entities, nodes, enforcement,
        /// sharing, sharing-day, explained-event, audit, replay, report or answers
        #[arg(default_value = "configuration", value_parser = word::<SchemaDocument>)]
        document: SchemaDocument,
    },
    /// Screen a company's owners: whether it is owned from a restricted region, and through whom
    Screen(screen::ScreenArguments),
    /// Look for credentials in many hands, in events of days and weeks: the register's sharing.json
    Sharing(sharing::SharingArguments),
    /// Decide an operator's own cases as the node would, and compare
    Test(cases::CasesArguments),
    /// Verify a captured request's tag, chain and trail
    VerifyTag(input::RequestArguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        // the message quotes what was typed, so it is printed inert
        Err(error) if error.use_stderr() => {
            complain(error.render().to_string().trim_end());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match run(&line.verb) {
        Ok(code) => code,
        Err(CommandError(message)) => {
            complain(&message);
            ExitCode::from(1)
        }
    }
}

fn run(verb: &Verb) -> Result<ExitCode, CommandError> {
    match verb {
        Verb::Audit(arguments) => return audit::run(arguments),
        Verb::Explain(arguments) => return explain::run(arguments),
        Verb::Test(arguments) => return Ok(cases::run(arguments)),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Compile(arguments) => compile::run(arguments),
        Verb::Diff(arguments) => diff::run(arguments),
        Verb::Due(arguments) => due::run(arguments),
        Verb::Enforcement(arguments) => enforcement::run(arguments),
        Verb::Event(arguments) => event::run(arguments),
        Verb::Inspect(arguments) => inspect::run(arguments),
        Verb::Keygen(arguments) => keygen::run(arguments),
        Verb::Letter(arguments) => letter::run(arguments),
        Verb::Letters(arguments) => letters::run(arguments),
        Verb::Replay(arguments) => replay::run(arguments),
        Verb::Report(arguments) => report::run(arguments),
        Verb::Schema { document } => {
            print_json(&document.schema());
            Ok(())
        }
        Verb::Screen(arguments) => screen::run(arguments),
        Verb::Sharing(arguments) => sharing::run(arguments),
        Verb::VerifyTag(arguments) => verify_tag::run(arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}
