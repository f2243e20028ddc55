//! `waybill letter`: the letter to a refused customer, as text or as a page.

use std::collections::HashSet;
use std::path::PathBuf;

use super::error::CommandError;
use super::event::{configuration, customers};
use super::files::replace;
use super::lookup::{EventArguments, EventHit};
use super::output::{complain, escape, inert, print, wrap_page};
use crate::config::Config;
use crate::journal::letter::{Letter, LetterPart};
use crate::register::Customer;

#[derive(Debug, clap::Args)]
pub(super) struct LetterArguments {
    #[command(flatten)]
    event: EventArguments,
    #[command(flatten)]
    sender: SenderArguments,
    /// The file to write: its ending, .txt or .html, chooses the form; by default text on stdout
    #[arg(short = 'o', long = "output", value_name = "FILE", value_parser = LetterFile::parse)]
    output: Option<LetterFile>,
}

/// On whose behalf a letter is written, and to whom.
#[derive(Debug, clap::Args)]
pub(super) struct SenderArguments {
    /// The node's configuration, for the operator and the appeal: bare JSON, or an Envoy file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The number, from 1, of the Waybill filter in a file with several
    #[arg(long, value_name = "NUMBER")]
    filter: Option<usize>,
    /// The register's directory, for the customer's name
    #[arg(long, value_name = "DIR")]
    register: Option<PathBuf>,
}

impl SenderArguments {
    /// The configuration, and the customers of the register.
    pub(super) fn read(&self) -> Result<(Config, Vec<Customer>), CommandError> {
        let config = configuration(&self.config, self.filter)?;
        let customers = self.register.as_deref().map(customers).transpose()?;
        Ok((config, customers.unwrap_or_default()))
    }
}

/// A file for a letter.
#[derive(Debug, Clone)]
struct LetterFile {
    path: PathBuf,
    is_page: bool,
}

impl LetterFile {
    fn parse(name: &str) -> Result<Self, String> {
        let path = PathBuf::from(name);
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let is_page = match ending.as_deref() {
            Some("html" | "htm") => true,
            Some("txt") => false,
            _ => return Err("expected a name that ends in .txt or .html".into()),
        };
        Ok(Self { path, is_page })
    }
}

pub(super) fn run(arguments: &LetterArguments) -> Result<(), CommandError> {
    let (config, customers) = arguments.sender.read()?;
    let mut hits = arguments.event.find()?;
    // a client may send another event's id as its `x-request-id`
    if hits.iter().any(EventHit::is_by_own_id) {
        hits.retain(EventHit::is_by_own_id);
    }
    // the same line twice is one event
    let mut seen = HashSet::new();
    hits.retain(|hit| seen.insert(hit.text.clone()));
    let [EventHit { event, envelope, .. }] = hits.as_slice() else {
        let ids: Vec<String> =
            hits.iter().take(10).map(|hit| format!("  {}", hit.event.id)).collect();
        return Err(CommandError(format!(
            "{} events have this id. A letter is about one: give the event's own id\n{}",
            hits.len(),
            ids.join("\n")
        )));
    };
    let customer = event
        .customer
        .0
        .as_ref()
        .and_then(|id| customers.iter().find(|customer| customer.id.as_str() == id.0));
    let letter = Letter::write(event, envelope, &config, customer).map_err(CommandError::new)?;
    if config.policy.revision != event.policy.0 {
        complain(&format!(
            "note: policy {} decided, and this configuration is {}",
            event.policy, config.policy.revision
        ));
    }
    if config.disclosure.operator.is_none() {
        complain("note: the configuration has no `disclosure.operator`, so the letter names none");
    }
    match &arguments.output {
        None => print(&as_text(&letter)),
        Some(LetterFile { path, is_page }) => {
            let text = if *is_page { as_page(&letter) } else { as_text(&letter) };
            replace(path, inert(&text).as_bytes())
                .map_err(|error| CommandError::about(path, format!("can't be written: {error}")))?;
        }
    }
    Ok(())
}

fn as_text(letter: &Letter) -> String {
    let mut out = wrap_page(letter.subject, "", "");
    out.push('\n');
    for part in &letter.parts {
        out.push_str(&match part {
            LetterPart::Heading(title) => {
                let gap = if out.ends_with("\n\n") { "" } else { "\n" };
                format!("{gap}{}\n", wrap_page(title, "", ""))
            }
            LetterPart::Paragraph(text) => format!("{}\n", wrap_page(text, "", "")),
            LetterPart::Fact(name, value) => wrap_page(&format!("{name}: {value}"), "", "  "),
            // an address isn't broken
            LetterPart::Link(words, url) => format!("{words}\n  {url}\n\n"),
        });
    }
    out
}

/// A page by itself: nothing is loaded, and no script runs.
pub(super) fn as_page(letter: &Letter) -> String {
    let mut body = String::new();
    let mut facts = false;
    for part in &letter.parts {
        let is_fact = matches!(part, LetterPart::Fact(..));
        if is_fact != facts {
            body.push_str(if is_fact { "<dl>\n" } else { "</dl>\n" });
            facts = is_fact;
        }
        body.push_str(&match part {
            LetterPart::Heading(title) => format!("<h2>{}</h2>\n", escape(title)),
            LetterPart::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
            LetterPart::Fact(name, value) => {
                format!("<dt>{name}</dt><dd>{}</dd>\n", escape(value))
            }
            LetterPart::Link(words, url) if url.starts_with("https://") => {
                let url = escape(url);
                format!("<p>{words} <a href=\"{url}\">{url}</a>.</p>\n")
            }
            LetterPart::Link(words, url) => format!("<p>{words} {}</p>\n", escape(url)),
        });
    }
    if facts {
        body.push_str("</dl>\n");
    }
    let subject = escape(letter.subject);
    format!("{HEAD}<title>{subject}</title>\n<main>\n<h1>{subject}</h1>\n{body}</main>\n</html>\n")
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 40rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.2 }
h2 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem }
dl { margin: 0.5rem 0 }
dt { font-weight: 600 }
dd { margin: 0 0 0.5rem }
@media print { main { max-width: none; margin: 0 } h2, dt { break-after: avoid } }
@page { margin: 2.5cm }
</style>
"#;
