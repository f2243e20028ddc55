//! `waybill enforcement`: takes what a provider's API says of customers into the register.
//!
//! Anthropic tells it in user profiles (`enforcement_status` and `enforcement_actions`, as the API reference of user profiles
//! and the official SDK describe them), OpenAI in safety cases (`GET /v1/safety/cases/{id}`). A profile says all that holds now, so
//! it may lift what stood before; a safety case is one event, and lifts nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Failure, complain, print, read, register, replace};
use crate::compile::directory::{Directory, ENFORCEMENT};
use crate::names::Text;
use crate::register::{Customer, Enforcement, EnforcementEntry, ProviderEnforcement};
use crate::shape::Word as _;
use crate::time::UnixSeconds;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Anthropic's user profiles or OpenAI's safety cases as their APIs answer, one or many; `-` reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The register's directory
    #[arg(long, value_name = "DIR")]
    register: PathBuf,
    /// Write what changes into the register's enforcement.json; without it, only say what would change
    #[arg(long)]
    apply: bool,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// What a provider says of one customer.
struct Said {
    provider: &'static str,
    /// What the provider calls the customer: a profile's id, a safety identifier
    name: String,
    entry: EnforcementEntry,
    /// Whether it is all that holds now
    whole: bool,
}

/// A customer whose enforcement is another.
struct Change<'a> {
    customer: &'a Customer,
    provider: &'static str,
    before: ProviderEnforcement,
    after: ProviderEnforcement,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { file, register: folder, apply, json } = arguments;
    let said = parse(&text(file)?)
        .map_err(|Failure(message)| Failure(format!("{}: {message}", file.display())))?;
    let now = register::now();
    let register = register::open(folder, now, "nothing is changed")?;
    let (changes, unknown) = compare(&register, &said, now);
    if *apply && !changes.is_empty() {
        let path = folder.join(ENFORCEMENT);
        let failed = |error: std::io::Error| {
            Failure(format!("{}: can't be written: {error}", path.display()))
        };
        replace(&path, document(&path, &changes)?.as_bytes()).map_err(failed)?;
    }
    if *json {
        let change = |change: &Change<'_>| json!({"customer": change.customer.id, "provider": change.provider, "before": change.before, "after": change.after});
        let unknown: Vec<Value> =
            unknown.iter().map(|said| json!({"provider": said.provider, "name": said.name, "status": said.entry.status})).collect();
        print(&format!(
            "{:#}\n",
            json!({"changes": changes.iter().map(change).collect::<Vec<_>>(), "unknown": unknown, "applied": apply})
        ));
    } else {
        for Change { customer, provider, before, after } in &changes {
            print(&format!(
                "{}: {provider} {} -> {}\n",
                customer.id,
                in_words(before),
                in_words(after)
            ));
        }
        print(match (changes.is_empty(), apply) {
            (true, _) => "nothing changes\n",
            (false, true) => {
                "written to enforcement.json; nodes follow it from the next snapshot on\n"
            }
            (false, false) => "nothing is written: add --apply\n",
        });
    }
    // whom the provider restricts, and nobody here knows, may still be calling
    for Said { provider, name, entry, .. } in &unknown {
        complain(&format!(
            "{provider} says `{}` of `{name}`, and no customer of the register has that {}",
            entry.status,
            called(provider)
        ));
    }
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Failure(
            "write the provider's name for each customer into `providers` of the register".into(),
        ))
    }
}

fn called(provider: &str) -> &'static str {
    if provider == ANTHROPIC { "profile" } else { "profile or id" }
}

const ANTHROPIC: &str = "anthropic";
const OPENAI: &str = "openai";

fn text(path: &Path) -> Result<String, Failure> {
    let file = if path.as_os_str() == "-" { Path::new("/dev/stdin") } else { path };
    read(file).map_err(|Failure(message)| Failure(format!("{}: {message}", path.display())))
}

/// One JSON value after the other; a list or a page (`data`) of them counts as its elements.
fn parse(text: &str) -> Result<Vec<Said>, Failure> {
    let mut said: BTreeMap<(&'static str, String), Said> = BTreeMap::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|error| Failure(format!("this is not JSON: {error}")))?;
        let items = match (&value, value.get("data")) {
            (Value::Array(items), _) | (_, Some(Value::Array(items))) => items.as_slice(),
            _ => std::slice::from_ref(&value),
        };
        for item in items {
            let found = one(item)?;
            let key = (found.provider, found.name.clone());
            // of two safety cases the stronger counts, of two equal ones the later
            let weaker = said
                .get(&key)
                .is_some_and(|known| !found.whole && weight(&found.entry) < weight(&known.entry));
            if !weaker {
                said.insert(key, found);
            }
        }
    }
    Ok(said.into_values().collect())
}

fn weight(entry: &EnforcementEntry) -> (Enforcement, Option<UnixSeconds>) {
    (entry.status, entry.opened)
}

fn one(item: &Value) -> Result<Said, Failure> {
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
        return Err(Failure(
            "this is an event, which says only whom it concerns\n  help: ask for the profile (GET /v1/user_profiles/ID), and give that"
                .into(),
        ));
    }
    Err(Failure(
        "this is neither one of Anthropic's user profiles (`\"type\": \"user_profile\"`) nor one of OpenAI's safety cases (`\"object\": \"safety.case\"`)"
            .into(),
    ))
}

/// A user profile: `enforcement_status` is Anthropic's own summary of the open actions.
fn user_profile(profile: &Value) -> Result<Said, Failure> {
    let id = profile
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| Failure("this user profile has no `id`".into()))?;
    let wrong = |what: &str| Failure(format!("user profile `{id}`: {what}"));
    let actions = match profile.get("enforcement_actions") {
        None => None,
        Some(Value::Array(actions)) => Some(actions.as_slice()),
        Some(_) => return Err(wrong("`enforcement_actions` is no list")),
    };
    let is = |action: &Value, name: &str, word: &str| {
        action.get(name).and_then(Value::as_str) == Some(word)
    };
    let status = match (profile.get("enforcement_status").and_then(Value::as_str), actions) {
        // a word that isn't known here is to be read as `restricted`, says the API's reference
        (Some(word), _) => Enforcement::parse(word).unwrap_or(Enforcement::Restricted),
        (None, Some(actions)) if actions.iter().any(|action| is(action, "type", "ban")) => {
            Enforcement::Banned
        }
        (None, Some([])) => Enforcement::Unrestricted,
        (None, Some(_)) => Enforcement::Restricted,
        (None, None) => {
            return Err(wrong(
                "it has neither `enforcement_status` nor `enforcement_actions`\n  help: ask without an older `anthropic-beta: user-profiles-…` header",
            ));
        }
    };
    let mut entry = EnforcementEntry { status, reason: None, opened: None, expires: None };
    if status == Enforcement::Unrestricted {
        return Ok(Said { provider: ANTHROPIC, name: id.to_owned(), entry, whole: true });
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
        // a part of a second counts as a whole one: nothing ends early
        let whole = |second: UnixSeconds| {
            if action
                .get("expires_at")
                .and_then(Value::as_str)
                .is_some_and(|text| text.contains('.'))
            {
                UnixSeconds(second.0.saturating_add(1))
            } else {
                second
            }
        };
        ends.push(time(action, "expires_at").map_err(|what| wrong(&what))?.map(whole));
    }
    entry.reason = reason_of(&reasons.join(", "));
    // it ends when the last of them does, and never where one doesn't
    entry.expires =
        ends.into_iter().collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
    Ok(Said { provider: ANTHROPIC, name: id.to_owned(), entry, whole: true })
}

/// A safety case: a warning, or that OpenAI no longer serves whom the safety identifier names.
fn safety_case(case: &Value) -> Result<Said, Failure> {
    let member = |name: &str| case.get(name).and_then(Value::as_str);
    let id = member("id").unwrap_or("without id");
    let name = member("entity_identifier")
        .ok_or_else(|| Failure(format!("safety case `{id}`: it has no `entity_identifier`")))?;
    let status = match case.pointer("/notice/type").and_then(Value::as_str) {
        Some("warning") => Enforcement::Pending,
        Some("deactivation") => Enforcement::Banned,
        Some(_) => Enforcement::Restricted,
        None => return Err(Failure(format!("safety case `{id}`: it has no `notice.type`"))),
    };
    let opened = case
        .get("created_at")
        .and_then(Value::as_i64)
        .filter(|second| *second >= 0)
        .map(UnixSeconds);
    let entry = EnforcementEntry {
        status,
        reason: member("reason").and_then(reason_of),
        opened,
        expires: None,
    };
    Ok(Said { provider: OPENAI, name: name.to_owned(), entry, whole: false })
}

fn time(action: &Value, name: &str) -> Result<Option<UnixSeconds>, String> {
    match action.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => UnixSeconds::parse(text)
            .map(Some)
            .map_err(|mismatch| format!("`{name}`: {}", mismatch.message)),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

/// A provider's reason as far as a register holds it.
fn reason_of(text: &str) -> Option<Text> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    Text::parse(text.trim()).ok()
}

/// Whose enforcement is another than the register says, and whom the register doesn't know although the provider restricts them.
fn compare<'a, 's>(
    register: &'a Directory,
    said: &'s [Said],
    now: UnixSeconds,
) -> (Vec<Change<'a>>, Vec<&'s Said>) {
    let mut by_name: BTreeMap<(&str, &str), Vec<&Customer>> = BTreeMap::new();
    for customer in &register.customers {
        for (provider, entry) in customer.providers.iter() {
            if let Some(profile) = &entry.profile {
                by_name.entry((provider.as_str(), profile.as_str())).or_default().push(customer);
            }
        }
        // a customer without a profile is known to OpenAI by its id
        if customer.at_provider(OPENAI).is_none_or(|entry| entry.profile.is_none()) {
            by_name.entry((OPENAI, customer.id.as_str())).or_default().push(customer);
        }
    }
    let (mut changes, mut unknown) = (Vec::new(), Vec::new());
    for found in said {
        let Some(customers) = by_name.get(&(found.provider, found.name.as_str())) else {
            if found.entry.status != Enforcement::Unrestricted {
                unknown.push(found);
            }
            continue;
        };
        for customer in customers {
            let before = customer
                .at_provider(found.provider)
                .map(|entry| entry.enforcement.clone())
                .unwrap_or_default();
            let after = ProviderEnforcement::from(found.entry.clone());
            let ended = before.expires.is_some_and(|expires| expires <= now);
            let stands = !found.whole && !ended && before.status >= after.status;
            if !stands && json!(before) != json!(after) {
                changes.push(Change { customer, provider: found.provider, before, after });
            }
        }
    }
    (changes, unknown)
}

/// The register's enforcement.json with the changes in it.
fn document(path: &Path, changes: &[Change<'_>]) -> Result<String, Failure> {
    let before = if path.exists() {
        read(path).map_err(|Failure(message)| Failure(format!("{}: {message}", path.display())))?
    } else {
        "{}".into()
    };
    let before: Value = serde_json::from_str(&before).map_err(Failure::new)?;
    let mut entries: Vec<Value> =
        before.get("enforcement").and_then(Value::as_array).cloned().unwrap_or_default();
    for Change { customer, provider, after, .. } in changes {
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
            status => {
                entry.insert("status".into(), status);
            }
        }
        entries.push(Value::Object(entry));
    }
    Ok(format!("{:#}\n", json!({"enforcement": entries})))
}

fn in_words(enforced: &ProviderEnforcement) -> String {
    let details = enforced.details();
    if details.is_empty() {
        enforced.status.to_string()
    } else {
        format!("{} ({details})", enforced.status)
    }
}
