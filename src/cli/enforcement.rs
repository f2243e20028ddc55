//! `waybill enforcement`: imports a provider's enforcement against customers into the register.
//!
//! Anthropic reports it in user profiles: `enforcement_status` and `enforcement_actions`, by the
//! API reference of user profiles and the official SDK. A profile has all enforcement in force, so
//! it can lift earlier enforcement. OpenAI reports it in safety cases
//! (`GET /v1/safety/cases/{id}`). A case is one event and lifts nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::clock::now;
use super::error::CommandError;
use super::files::{read, replace};
use super::output::{complain, print, print_json};
use super::register;
use crate::compile::directory::{Directory, ENFORCEMENT};
use crate::register::{Customer, Enforcement, EnforcementEntry, ProviderEnforcement};
use crate::shape::Word as _;
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct EnforcementArguments {
    /// Anthropic's user profiles or OpenAI's safety cases, as the API returns them; `-` reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// Write the changes into the register's enforcement.json; without it they are only printed
    #[arg(long)]
    apply: bool,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// A provider's report on one customer.
struct ProviderReport {
    provider: &'static str,
    /// The provider's name for the customer: a profile's id, a safety identifier
    name: String,
    entry: EnforcementEntry,
    /// Whether it has all enforcement in force
    whole: bool,
}

/// A customer whose enforcement changes.
struct EnforcementChange<'a> {
    customer: &'a Customer,
    provider: &'static str,
    before: ProviderEnforcement,
    after: ProviderEnforcement,
}

pub(super) fn run(arguments: &EnforcementArguments) -> Result<(), CommandError> {
    let EnforcementArguments { file, register: folder, apply, json } = arguments;
    let stdin = Path::new("/dev/stdin");
    let reports = read(if file.as_os_str() == "-" { stdin } else { file })
        .and_then(|text| parse(&text))
        .map_err(|error| error.at(file))?;
    let now = now();
    let register = register::open(folder, now, "nothing is changed")?;
    let (changes, unknown) = compare(&register, &reports, now);
    if *apply && !changes.is_empty() {
        let path = folder.join(ENFORCEMENT);
        let failed = |error: std::io::Error| {
            CommandError::about(&path, format!("can't be written: {error}"))
        };
        replace(&path, document(&path, &changes)?.as_bytes()).map_err(failed)?;
    }
    if *json {
        let change = |change: &EnforcementChange<'_>| {
            let EnforcementChange { customer, provider, before, after } = change;
            let id = &customer.id;
            json!({"customer": id, "provider": provider, "before": before, "after": after})
        };
        let unknown = unknown.iter().map(|ProviderReport { provider, name, entry, .. }| {
            json!({"provider": provider, "name": name, "status": entry.status})
        });
        print_json(&json!({
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
            "unknown": unknown.collect::<Vec<_>>(),
            "applied": apply,
        }));
    } else {
        for EnforcementChange { customer, provider, before, after } in &changes {
            let (id, before, after) = (&customer.id, in_words(before), in_words(after));
            print(&format!("{id}: {provider} {before} -> {after}\n"));
        }
        print(match (changes.is_empty(), apply) {
            (true, _) => "nothing changes\n",
            (false, true) => {
                "written to enforcement.json; nodes apply it from the next snapshot on\n"
            }
            (false, false) => "nothing is written: add --apply\n",
        });
    }
    // a customer whom the provider restricts and the register doesn't know may still send requests
    for ProviderReport { provider, name, entry, .. } in &unknown {
        complain(&format!(
            "unknown {} `{name}`: {provider} reports it as `{}`",
            if *provider == ANTHROPIC { "profile" } else { "profile or customer" },
            entry.status,
        ));
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let help = "write the name that the provider has for each customer into its `providers`";
    Err(CommandError::new(help))
}

const ANTHROPIC: &str = "anthropic";
const OPENAI: &str = "openai";

/// Reads JSON values one after the other; a list or a page (`data`) counts as its elements.
fn parse(text: &str) -> Result<Vec<ProviderReport>, CommandError> {
    let mut reports: BTreeMap<(&'static str, String), ProviderReport> = BTreeMap::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|error| CommandError(format!("invalid JSON: {error}")))?;
        let items = match (&value, value.get("data")) {
            (Value::Array(items), _) | (_, Some(Value::Array(items))) => items.as_slice(),
            _ => std::slice::from_ref(&value),
        };
        for item in items {
            let report = report(item)?;
            let key = (report.provider, report.name.clone());
            // of two safety cases the stronger counts, of two equal ones the later
            let weight = |it: &ProviderReport| (it.entry.status, it.entry.opened);
            let is_weaker = |known| !report.whole && weight(&report) < weight(known);
            if !reports.get(&key).is_some_and(is_weaker) {
                reports.insert(key, report);
            }
        }
    }
    Ok(reports.into_values().collect())
}

fn report(item: &Value) -> Result<ProviderReport, CommandError> {
    let member = |name: &str| item.get(name).and_then(Value::as_str);
    if member("object") == Some("safety.case") {
        return safety_case(item);
    }
    if member("type") == Some("user_profile") {
        return user_profile(item);
    }
    let data = item.get("data").unwrap_or(item);
    let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind.starts_with("user_profile.") {
        return Err(CommandError::new(
            "expected a user profile, found an event, which only names it\n  help: fetch the \
             profile (GET /v1/user_profiles/ID) and pass that",
        ));
    }
    Err(CommandError::new(
        "expected a user profile of Anthropic (`\"type\": \"user_profile\"`) or a safety case of \
         OpenAI (`\"object\": \"safety.case\"`)",
    ))
}

/// A user profile: `enforcement_status` is Anthropic's own summary of the open actions.
fn user_profile(profile: &Value) -> Result<ProviderReport, CommandError> {
    let id = profile.get("id").and_then(Value::as_str);
    let id = id.ok_or_else(|| CommandError::new("user profile: missing `id`"))?;
    let wrong = |what: &str| CommandError(format!("user profile `{id}`: {what}"));
    let actions = match profile.get("enforcement_actions") {
        None => None,
        Some(Value::Array(actions)) => Some(actions.as_slice()),
        Some(_) => return Err(wrong("`enforcement_actions`: expected a list")),
    };
    let is = |action: &Value, name: &str, word: &str| {
        action.get(name).and_then(Value::as_str) == Some(word)
    };
    let status = match (profile.get("enforcement_status").and_then(Value::as_str), actions) {
        // by the API's reference, an unknown word is read as `restricted`
        (Some(word), _) => Enforcement::parse(word).unwrap_or(Enforcement::Restricted),
        (None, Some(actions)) if actions.iter().any(|action| is(action, "type", "ban")) => {
            Enforcement::Banned
        }
        (None, Some([])) => Enforcement::Unrestricted,
        (None, Some(_)) => Enforcement::Restricted,
        (None, None) => {
            return Err(wrong(
                "missing `enforcement_status` and `enforcement_actions`\n  help: fetch it without \
                 an older `anthropic-beta: user-profiles-…` header",
            ));
        }
    };
    let mut entry = EnforcementEntry { status, reason: None, opened: None, expires: None };
    if status == Enforcement::Unrestricted {
        return Ok(ProviderReport { provider: ANTHROPIC, name: id.to_owned(), entry, whole: true });
    }
    let mut reasons: Vec<&str> = Vec::new();
    let mut ends = Vec::new();
    for action in actions.unwrap_or_default() {
        let reason = action.get("reason").and_then(Value::as_str).unwrap_or("unspecified");
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        let opened = time(action, "opened_at").map_err(|what| wrong(&what))?;
        entry.opened = [entry.opened, opened].into_iter().flatten().min();
        // rounded up to whole seconds: no enforcement ends early
        let written = action.get("expires_at").and_then(Value::as_str).unwrap_or_default();
        let whole = |UnixSeconds(second)| {
            UnixSeconds(second.saturating_add(i64::from(written.contains('.'))))
        };
        ends.push(time(action, "expires_at").map_err(|what| wrong(&what))?.map(whole));
    }
    entry.reason = reason_of(&reasons.join(", "));
    // it ends with the last of them, and never if one has no end
    entry.expires =
        ends.into_iter().collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
    Ok(ProviderReport { provider: ANTHROPIC, name: id.to_owned(), entry, whole: true })
}

/// A safety case: a warning to the named customer, or its deactivation by OpenAI.
fn safety_case(case: &Value) -> Result<ProviderReport, CommandError> {
    let member = |name: &str| case.get(name).and_then(Value::as_str);
    let id = member("id").unwrap_or("without id");
    let name = member("entity_identifier")
        .ok_or_else(|| CommandError(format!("safety case `{id}`: missing `entity_identifier`")))?;
    let status = match case.pointer("/notice/type").and_then(Value::as_str) {
        Some("warning") => Enforcement::Pending,
        Some("deactivation") => Enforcement::Banned,
        Some(_) => Enforcement::Restricted,
        None => return Err(CommandError(format!("safety case `{id}`: missing `notice.type`"))),
    };
    let opened = case.get("created_at").and_then(Value::as_i64);
    let opened = opened.filter(|second| *second >= 0).map(UnixSeconds);
    let reason = member("reason").and_then(reason_of);
    let entry = EnforcementEntry { status, reason, opened, expires: None };
    Ok(ProviderReport { provider: OPENAI, name: name.to_owned(), entry, whole: false })
}

fn time(action: &Value, name: &str) -> Result<Option<UnixSeconds>, String> {
    match action.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => UnixSeconds::parse(text)
            .map(Some)
            .map_err(|mismatch| format!("`{name}`: {}", mismatch.message)),
        Some(_) => Err(format!("`{name}`: expected a string")),
    }
}

/// A provider's reason, cut to what a register holds.
fn reason_of(text: &str) -> Option<Text> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    Text::parse(text.trim()).ok()
}

/// The changes against the register, and the restricted customers that the register doesn't know.
fn compare<'a, 's>(
    register: &'a Directory,
    reports: &'s [ProviderReport],
    now: UnixSeconds,
) -> (Vec<EnforcementChange<'a>>, Vec<&'s ProviderReport>) {
    let mut by_name: BTreeMap<(&str, &str), Vec<&Customer>> = BTreeMap::new();
    for customer in &register.customers {
        for (provider, entry) in customer.providers.iter() {
            if let Some(profile) = &entry.profile {
                by_name.entry((provider.as_str(), profile.as_str())).or_default().push(customer);
            }
        }
        // OpenAI knows a customer without a profile by its id
        if customer.at_provider(OPENAI).is_none_or(|entry| entry.profile.is_none()) {
            by_name.entry((OPENAI, customer.id.as_str())).or_default().push(customer);
        }
    }
    let (mut changes, mut unknown) = (Vec::new(), Vec::new());
    for report in reports {
        let Some(customers) = by_name.get(&(report.provider, report.name.as_str())) else {
            if report.entry.status != Enforcement::Unrestricted {
                unknown.push(report);
            }
            continue;
        };
        for customer in customers {
            let provider = report.provider;
            let before = customer.at_provider(provider).map(|entry| entry.enforcement.clone());
            let before = before.unwrap_or_default();
            let after = ProviderEnforcement::from(report.entry.clone());
            let ended = before.expires.is_some_and(|expires| expires <= now);
            let stands = !report.whole && !ended && before.status >= after.status;
            if !stands && json!(before) != json!(after) {
                changes.push(EnforcementChange { customer, provider, before, after });
            }
        }
    }
    (changes, unknown)
}

/// The register's enforcement.json with the changes in it.
fn document(path: &Path, changes: &[EnforcementChange<'_>]) -> Result<String, CommandError> {
    let before =
        if path.exists() { read(path).map_err(|error| error.at(path))? } else { "{}".into() };
    let before: Value = serde_json::from_str(&before).map_err(CommandError::new)?;
    let mut entries: Vec<Value> =
        before.get("enforcement").and_then(Value::as_array).cloned().unwrap_or_default();
    for EnforcementChange { customer, provider, after, .. } in changes {
        entries.retain(|entry| {
            entry.get("customer") != Some(&json!(customer.id))
                || entry.get("provider") != Some(&json!(provider))
        });
        let mut entry = serde_json::Map::from_iter([
            ("customer".to_owned(), json!(customer.id)),
            ("provider".to_owned(), json!(provider)),
        ]);
        match json!(after) {
            Value::Object(members) => entry.extend(members),
            status => entry.extend([("status".to_owned(), status)]),
        }
        entries.push(Value::Object(entry));
    }
    Ok(format!("{:#}\n", json!({"enforcement": entries})))
}

fn in_words(enforced: &ProviderEnforcement) -> String {
    match enforced.details() {
        details if details.is_empty() => enforced.status.to_string(),
        details => format!("{} ({details})", enforced.status),
    }
}
