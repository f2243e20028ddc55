//! Reading single settings of Envoy, and noting what can't be played.

use std::collections::BTreeSet;

use crate::shape::Json;

/// What the desk can't play of an Envoy file, in words.
pub(super) type Gaps = BTreeSet<String>;

/// A boolean as protobuf's JSON has it.
pub(super) fn boolean(json: Option<&Json>) -> Option<bool> {
    match json {
        Some(Json::Bool(value)) => Some(*value),
        _ => None,
    }
}

/// A number, which protobuf's JSON may write as text.
pub(super) fn natural(json: Option<&Json>) -> Option<u64> {
    match json? {
        Json::Number(number) => number.as_i64().and_then(|number| u64::try_from(number).ok()),
        Json::Text(text) => text.parse().ok(),
        Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => None,
    }
}

/// The text of a member.
pub(super) fn text<'j>(json: &'j Json, member: &str) -> Option<&'j str> {
    json.get(member).and_then(Json::as_str)
}

/// The elements of a member that is a list.
pub(super) fn items<'j>(json: &'j Json, member: &str) -> &'j [Json] {
    json.get(member).map(Json::items).unwrap_or_default()
}

/// The settings of an extension, and the name of their type without its URL.
pub(super) fn typed(extension: &Json) -> Option<(&str, &Json)> {
    let settings = extension.get("typed_config")?;
    let url = text(settings, "@type")?;
    Some((url.rsplit('/').next().unwrap_or(url), settings))
}
