//! `waybill event`: one decision in words.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::CommandError;
use super::files::read;
use super::lookup::{EventArguments, EventHit};
use super::output::{print, print_json, wrap_page};
use super::{check, register};
use crate::compile::directory::{self, says_of_customers};
use crate::config::Config;
use crate::journal::explanation::{EventContext, explained, explanation, gaps};
use crate::register::Customer;

#[derive(Debug, clap::Args)]
pub(super) struct EventVerbArguments {
    #[command(flatten)]
    event: EventArguments,
    /// The register's directory, for the customer's name
    #[arg(long, value_name = "DIR")]
    register: Option<PathBuf>,
    /// The node's configuration, for where to appeal: bare JSON, or an Envoy file with it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The number, from 1, of the Waybill filter in a file with several
    #[arg(long, value_name = "NUMBER", requires = "config")]
    filter: Option<usize>,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &EventVerbArguments) -> Result<(), CommandError> {
    let customers = arguments.register.as_deref().map(customers).transpose()?;
    let config = arguments.config.as_deref().map(|path| configuration(path, arguments.filter));
    let config = config.transpose()?;
    let hits = arguments.event.find()?;
    let disclosure = config.as_ref().map(|config| &config.disclosure);
    let context = |envelope| EventContext { envelope, register: customers.as_deref(), disclosure };
    if arguments.json {
        let mut answers = hits.iter().map(|hit| as_json(hit, &context(&hit.envelope)));
        let mut first = answers.next().unwrap_or_default();
        if let Some(first) = first.as_object_mut() {
            first.insert("more".into(), answers.collect());
        }
        print_json(&first);
        return Ok(());
    }
    if hits.len() > 1 {
        let count = hits.len();
        print(&wrap_page(
            &format!("{count} events have this id. A client may choose its `x-request-id`."),
            "",
            "",
        ));
        print("\n");
    }
    let pages: Vec<String> = hits.iter().map(|hit| as_text(hit, &context(&hit.envelope))).collect();
    print(&pages.join("\n"));
    Ok(())
}

/// The customers of a register. Its networks aren't read, since they take seconds.
pub(super) fn customers(folder: &Path) -> Result<Vec<Customer>, CommandError> {
    let files = register::files(folder, says_of_customers)?;
    let customers = directory::customers(&files.documents);
    if customers.is_empty() {
        return Err(CommandError::about(folder, "no customer can be read: try `waybill check`"));
    }
    Ok(customers)
}

/// A node's configuration.
pub(super) fn configuration(path: &Path, filter: Option<usize>) -> Result<Config, CommandError> {
    let parse = |text: String| {
        let text = check::configuration(&text, filter)?;
        Config::parse(&text).map_err(CommandError::new)
    };
    read(path).and_then(parse).map_err(|error| error.at(path))
}

fn as_json(hit: &EventHit, context: &EventContext<'_>) -> Value {
    let event: Value = serde_json::from_str(&hit.text).unwrap_or_default();
    let envelope = &hit.envelope;
    let name = context.register.and_then(|all| {
        let id = hit.event.customer.0.as_ref()?;
        all.iter().find(|it| it.id.as_str() == id.0)?.name.as_ref()
    });
    json!({
        "event": event,
        "explained": explained(&hit.event),
        "customer_name": name.map(ToString::to_string),
        "line": {
            "file": hit.file,
            "line": hit.line,
            "status": envelope.status,
            "duration_ms": envelope.duration_ms,
            "request_id": envelope.request_id,
            "provider_request_id": envelope.provider_request_id,
            "method": envelope.method,
            "path": envelope.path,
        },
        "not_told": gaps(&hit.event, context),
    })
}

fn as_text(hit: &EventHit, context: &EventContext<'_>) -> String {
    let mut lines = explanation(&hit.event, context).into_iter();
    let mut out = String::new();
    if let Some(first) = lines.next() {
        let place = format!("{} (line {} of {})", first.text, hit.line, hit.file);
        out.push_str(&labelled(first.label, &place));
    }
    let mut last = "";
    for line in lines {
        if matches!(line.label, "Verdict" | "Finding" | "Findings" | "Appeal") {
            out.push('\n');
        }
        let label = if line.label == last { "" } else { line.label };
        out.push_str(&labelled(
            if line.label == "Finding" { "Finding" } else { label },
            &line.text,
        ));
        if !line.label.is_empty() {
            last = line.label;
        }
    }
    out
}

/// Text behind a label, wrapped.
fn labelled(label: &str, text: &str) -> String {
    wrap_page(text, &format!("{label:<10}"), &" ".repeat(10))
}
