//! What routes do to a manager's filters by `typed_per_filter_config`.

use super::files::Spot;
use super::kinds::{FILTER_CONFIG, Writes, request_writes};
use super::model::{Destination, Filter};
use super::yaml::Yaml;

/// How requests can pass a filter by.
#[derive(Debug)]
pub struct Bypass {
    /// Where it says so
    pub spot: Spot,
    /// What lets them
    pub cause: BypassCause,
}

/// What lets requests pass a filter by.
#[derive(Debug, Clone, Copy)]
pub enum BypassCause {
    /// It is disabled
    Disabled,
    /// Its settings are others
    Overridden,
    /// A matcher may skip it
    Matched,
    /// An Envoy that doesn't know it starts without it
    Optional,
}

/// How requests to a destination can pass a filter by. The most specific level decides.
pub fn bypass(filter: &Filter<'_>, destination: Option<&Destination<'_>>) -> Option<Bypass> {
    let here = |cause| Some(Bypass { spot: filter.spot.clone(), cause });
    if filter.is_matched {
        return here(BypassCause::Matched);
    }
    if filter.is_optional {
        return here(BypassCause::Optional);
    }
    let levels = destination.map(|it| it.levels.as_slice()).unwrap_or_default();
    for (spot, level) in levels.iter().rev() {
        let Some(entry) = entry(level, filter.name) else { continue };
        let spot = spot.member(&format!("typed_per_filter_config.{}", filter.name), entry);
        let cause = match entry.typed() {
            Some((FILTER_CONFIG, config)) if config.may_be_true("disabled") => {
                BypassCause::Disabled
            }
            // Envoy Gateway enables a disabled filter so
            Some((FILTER_CONFIG, config)) if config.get("config").is_none_or(is_empty) => {
                return None;
            }
            _ => BypassCause::Overridden,
        };
        return Some(Bypass { spot, cause });
    }
    if filter.is_disabled { here(BypassCause::Disabled) } else { None }
}

/// What a filter does to request headers on the way to some destinations, overrides included.
pub fn writes_on_way<'a>(
    filter: &Filter<'a>,
    destinations: &[&Destination<'a>],
) -> Vec<(Spot, Writes<'a>)> {
    let mut found = Vec::new();
    let mut is_enabled = false;
    for (spot, level) in destinations.iter().flat_map(|it| &it.levels) {
        let Some(entry) = entry(level, filter.name) else { continue };
        let spot = spot.member(&format!("typed_per_filter_config.{}", filter.name), entry);
        let typed = match entry.typed() {
            Some((FILTER_CONFIG, config)) => {
                is_enabled |= !config.may_be_true("disabled");
                config.get("config").filter(|config| !is_empty(config)).and_then(Yaml::typed)
            }
            other => {
                is_enabled = true;
                other
            }
        };
        if let Some((kind, config)) = typed {
            // an override of a harmless filter is of a type of its own, and as harmless
            let writes = match (request_writes(kind, config), filter.config) {
                (Writes::Anything, Some((own, yaml)))
                    if request_writes(own, yaml) == Writes::Headers(Vec::new()) =>
                {
                    Writes::Headers(Vec::new())
                }
                (writes, _) => writes,
            };
            found.push((spot, writes));
        }
    }
    if !filter.is_disabled || is_enabled {
        let writes =
            filter.config.map_or(Writes::Anything, |(kind, config)| request_writes(kind, config));
        found.push((filter.spot.clone(), writes));
    }
    found
}

fn entry<'a>(level: &'a Yaml, name: &str) -> Option<&'a Yaml> {
    let all = level.get("typed_per_filter_config")?.members();
    all.iter().rev().find(|(key, _)| &*key.name == name).map(|(_, entry)| entry)
}

/// Whether an override has no settings in it.
fn is_empty(config: &Yaml) -> bool {
    let empty = ["google.protobuf.Any", "google.protobuf.Empty"];
    config.type_name().is_none_or(|name| empty.contains(&name))
}
