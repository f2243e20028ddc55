//! Changes of headers that an Envoy file writes out, and the formats of their values.

use super::address::EnvoyAddress;
use super::settings::Gaps;
use crate::cli::headers::HeaderList;
use crate::envoy::yaml::Yaml;

/// What formats print beside headers.
#[derive(Debug, Default)]
pub(super) struct FormatContext<'a> {
    /// The other end of the connection
    pub(super) peer: Option<&'a EnvoyAddress>,
    /// The client's address, as far as Envoy has found it
    pub(super) client: Option<&'a EnvoyAddress>,
}

/// A format that the desk can't print.
#[derive(Debug)]
pub(super) struct UnknownFormat;

/// Plays a list of header mutations. `place` names them in a gap.
pub(super) fn mutate(
    mutations: &[Yaml],
    headers: &mut HeaderList,
    context: &FormatContext<'_>,
    place: &str,
    gaps: &mut Gaps,
) {
    for mutation in mutations {
        if let Some(name) = mutation.str("remove") {
            headers.remove(&name.to_ascii_lowercase());
        } else if let Some(append) = mutation.get("append") {
            if add(append, headers, context).is_err() {
                gaps.insert(format!("{place} writes a value that the desk can't know"));
            }
        } else {
            gaps.insert(format!("{place} changes headers in a way that the desk doesn't play"));
        }
    }
}

/// Plays one HeaderValueOption.
fn add(
    option: &Yaml,
    headers: &mut HeaderList,
    context: &FormatContext<'_>,
) -> Result<(), UnknownFormat> {
    let header = option.get("header").ok_or(UnknownFormat)?;
    let name = header.str("key").ok_or(UnknownFormat)?.to_ascii_lowercase();
    let value = print(header.str("value").ok_or(UnknownFormat)?, "", headers, context)?;
    if value.is_empty() && !option.is_true("keep_empty_value") {
        return Ok(());
    }
    let exists = headers.first(&name).is_some();
    match option.str("append_action").unwrap_or("APPEND_IF_EXISTS_OR_ADD") {
        "APPEND_IF_EXISTS_OR_ADD" => headers.add(name.as_bytes(), &value),
        "ADD_IF_ABSENT" if !exists => headers.add(name.as_bytes(), &value),
        "OVERWRITE_IF_EXISTS_OR_ADD" => headers.set(&name, &value),
        "OVERWRITE_IF_EXISTS" if exists => headers.set(&name, &value),
        "ADD_IF_ABSENT" | "OVERWRITE_IF_EXISTS" => {}
        _ => return Err(UnknownFormat),
    }
    Ok(())
}

/// Prints a format. `missing` is printed for what isn't there.
pub(super) fn print(
    format: &str,
    missing: &str,
    headers: &HeaderList,
    context: &FormatContext<'_>,
) -> Result<Vec<u8>, UnknownFormat> {
    let mut out = Vec::new();
    let mut rest = format;
    while let Some((before, operator)) = rest.split_once('%') {
        out.extend(before.as_bytes());
        let (operator, after) = operator.split_once('%').ok_or(UnknownFormat)?;
        rest = after;
        let address = |address: Option<&EnvoyAddress>| address.map(EnvoyAddress::to_string);
        let value = match operator {
            "" => Some(b"%".to_vec()),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
                address(context.peer).map(String::into_bytes)
            }
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => {
                address(context.client).map(String::into_bytes)
            }
            _ => {
                let names = operator.strip_prefix("REQ(").and_then(|rest| rest.strip_suffix(')'));
                let names = names.ok_or(UnknownFormat)?.to_ascii_lowercase();
                names.split('?').find_map(|name| headers.first(name)).map(<[u8]>::to_vec)
            }
        };
        out.extend(value.unwrap_or_else(|| missing.as_bytes().to_vec()));
    }
    out.extend(rest.as_bytes());
    Ok(out)
}
