//! Contradictions between settings, which no single type can refuse.

use super::settings::EndpointSettings;
use super::sources::{IdentitySource, KeySource};
use super::upstream::{Convention, Upstream};
use crate::register::Register;
use crate::shape::{Dictionary, Json, Path, Problems, suggestion};
use crate::terms::finding::{Action, FindingCode};
use crate::terms::names::RouteName;

/// Notes a beta for Anthropic where no request goes there.
pub(super) fn check_beta(
    is_set: bool,
    upstream: &Upstream,
    routes: &Dictionary<RouteName, Upstream>,
    problems: &mut Problems,
) {
    let mut upstreams = routes.iter().map(|(_, route)| route).chain([upstream]);
    if is_set && !upstreams.any(|to| matches!(to.convention, Convention::Anthropic(_))) {
        let at = Path::Member(&Path::Member(&Path::Root, "provider"), "anthropic_beta");
        let help = "remove it, or set the provider's `name` to `anthropic`";
        problems.wrong(&at, "no request goes to `anthropic`", help);
    }
}

/// Notes reroutes to unknown entries of `routes`.
pub(super) fn check_reroutes(
    actions: &Dictionary<FindingCode, Action>,
    register: Option<&Register>,
    routes: Option<&Json>,
    problems: &mut Problems,
) {
    let routes = routes.map(Json::members).unwrap_or_default();
    let known: Vec<&str> = routes.iter().map(|(name, _)| name.as_str()).collect();
    let mut check = |action: &Action, at: &Path<'_>| {
        if let Action::Reroute(name) = action
            && !known.contains(&name.as_str())
        {
            let help = match known.as_slice() {
                [] => "add it to `routes`, which has no entry".into(),
                known => suggestion(name.as_str(), known),
            };
            problems.wrong(&Path::Member(at, "reroute"), &format!("unknown route `{name}`"), &help);
        }
    };
    let actions_at = Path::Member(&Path::Member(&Path::Root, "policy"), "actions");
    for (code, action) in actions.iter() {
        check(action, &Path::Member(&actions_at, code.as_str()));
    }
    let customers_at = Path::Member(&Path::Member(&Path::Root, "register"), "customers");
    for (i, customer) in register.into_iter().flat_map(Register::customers).enumerate() {
        let overrides_at = Path::Member(&Path::Element(&customers_at, i), "overrides");
        for (n, entry) in customer.overrides.iter().enumerate() {
            check(&entry.action, &Path::Member(&Path::Element(&overrides_at, n), "action"));
        }
    }
}

/// Notes a missing or duplicate source.
pub(super) fn check_sources(sources: &[IdentitySource], problems: &mut Problems) {
    let at = Path::Member(&Path::Member(&Path::Root, "identity"), "sources");
    if sources.is_empty() {
        let help = r#"such as [{"header": "x-api-key"}, {"bearer": true}]"#;
        problems.wrong(&at, "no source is given, so no caller can be identified", help);
    }
    for (i, source) in sources.iter().enumerate() {
        if sources.iter().take(i).any(|earlier| earlier.place.same(&source.place)) {
            let message = format!("duplicate source `{}`", source.place);
            problems.wrong(&Path::Element(&at, i), &message, "remove one of the two");
        }
    }
}

/// Notes duplicate variables and secrets.
pub(super) fn check_keys(keys: &[KeySource], problems: &mut Problems) {
    let at = Path::Member(&Path::Member(&Path::Root, "tag"), "keys");
    for (i, key) in keys.iter().enumerate() {
        if keys.iter().take(i).any(|earlier| earlier == key) {
            let at = Path::Element(&at, i);
            let at = Path::Member(&at, key.kind());
            problems.wrong(&at, &format!("duplicate {key}"), "name each key once");
        }
    }
}

/// Notes a path that would have two answers.
pub(super) fn check_endpoints(endpoints: &EndpointSettings, problems: &mut Problems) {
    let at = Path::Member(&Path::Root, "endpoints");
    let EndpointSettings { ready, directory, disclosure } = endpoints;
    let all = [("ready", ready), ("directory", directory), ("disclosure", disclosure)];
    for (i, (name, endpoint)) in all.iter().enumerate() {
        if let Some(path) = endpoint.path()
            && all.iter().take(i).any(|(_, earlier)| earlier.path() == Some(path))
        {
            let help = "give each endpoint its own path, or turn one `off`";
            problems.wrong(&Path::Member(&at, name), &format!("duplicate path `{path}`"), help);
        }
    }
}
