//! The files: Envoy and people read them alike, each node's configuration is valid, and what isn't
//! among them is said.

use super::super::files::{EnvoyFile, Spot, source_path};
use super::super::kinds::{
    COMPOSITE_MATCHER, DYNAMIC_MODULE, HTTP_CONNECTION_MANAGER, WASM, configuration, is_waybill,
};
use super::super::model::Gateway;
use super::super::nodes;
use super::super::report::{LocalFile, Promise, Report, Surroundings};
use super::super::yaml::{Yaml, same};

pub(super) fn prove(gateway: &Gateway<'_>, surroundings: &Surroundings<'_>, report: &mut Report) {
    let mut managers: usize = 0;
    let mut nodes: usize = 0;
    let mut other_modules: usize = 0;
    for (file, EnvoyFile { documents, .. }) in gateway.files.iter().enumerate() {
        if let Some(line) = documents.merge_key {
            let spot = Spot { file, line, path: "<<".into() };
            let message = "a merge key: Envoy 1.40 refuses it, and other readers merge";
            report.note(
                Promise::Readable,
                &spot,
                message,
                "write the fields out, or use an anchor",
            );
        }
        for root in &documents.roots {
            let spot = Spot::new(file, root, "");
            repeated_names(root, &spot, report);
            root.walk(&mut |value| {
                match value.typed() {
                    Some((HTTP_CONNECTION_MANAGER, _)) => managers = managers.saturating_add(1),
                    // told where its filter is
                    Some((COMPOSITE_MATCHER, _)) | None => {}
                    Some((kind @ (WASM | DYNAMIC_MODULE), settings)) => {
                        let place = Spot::new(file, value, "");
                        if !is_waybill(kind, settings) {
                            other_modules = other_modules.saturating_add(1);
                            return;
                        }
                        nodes = nodes.saturating_add(1);
                        if kind == WASM {
                            filter(settings, &place, surroundings, report);
                        } else {
                            dynamic_module(settings, &place, surroundings, report);
                        }
                    }
                    Some(_) => {}
                }
            });
        }
    }
    elsewhere(gateway, report);
    let first = Spot { file: 0, line: 1, path: String::new() };
    if managers > gateway.managers.len() {
        let message = "a connection manager where check can't follow the way to it";
        let help = "put it into `filter_chains` of a listener";
        report.wrong(Promise::Whole, &first, message, help);
    }
    let is_part = gateway.managers.is_empty() && !is_empty(gateway);
    if nodes == 0 && (!is_part || other_modules > 0) {
        let help = "a filter is Waybill's if its name or its code's file name contains `waybill`, \
                    or if its configuration has `node` and `identity`";
        report.wrong(Promise::Node, &first, "no Waybill filter in this file", help);
    }
}

/// Whether there is nothing of Envoy's in the files.
fn is_empty(gateway: &Gateway<'_>) -> bool {
    let it = &gateway.resources;
    let lists = [&it.listeners, &it.clusters, &it.tables, &it.extensions, &it.secrets];
    lists.iter().all(|list| list.is_empty()) && it.others.iter().all(|it| !is_part(it.yaml))
}

/// Whether a document is a part of a way: a filter, or a manifest of Kubernetes or Compose.
fn is_part(yaml: &Yaml) -> bool {
    let mut found = yaml.get("apiVersion").or(yaml.get("services")).is_some();
    yaml.walk(&mut |value| found |= value.type_name().is_some());
    found
}

/// What bootstraps and listeners take from elsewhere must be among the files.
fn elsewhere(gateway: &Gateway<'_>, report: &mut Report) {
    let resources = &gateway.resources;
    for listener in &resources.listeners {
        if let Some(source) = listener.yaml.get("fcds_config") {
            let spot = Spot::new(listener.file, source, "fcds_config");
            let message = "filter chains come by discovery, so nobody can tell what they lead to";
            report.wrong(Promise::Whole, &spot, message, "write them into `filter_chains`");
        }
    }
    for bootstrap in &resources.bootstraps {
        let Some(dynamic) = bootstrap.yaml.get("dynamic_resources") else { continue };
        let spot = Spot::new(bootstrap.file, dynamic, "dynamic_resources");
        for (name, what, found) in [
            ("lds_config", "listeners", &resources.listeners),
            ("cds_config", "clusters", &resources.clusters),
        ] {
            let Some(source) = dynamic.get(name) else { continue };
            let is_there = found.iter().any(|it| {
                // its own static ones come from this file
                it.file != bootstrap.file
            });
            if !is_there {
                let message = format!("its {what} come from elsewhere, and aren't among the files");
                let help = match source_path(source) {
                    Some(path) => format!("give `{path}` to check too"),
                    None => "give Envoy's `/config_dump` to check instead, which has them all"
                        .to_owned(),
                };
                report.wrong(Promise::Whole, &spot.member(name, source), message, help);
            }
        }
    }
}

/// One note for files without a connection manager.
pub(super) fn note_parts(gateway: &Gateway<'_>, report: &mut Report) {
    if !gateway.managers.is_empty() || is_empty(gateway) {
        return;
    }
    let resources = &gateway.resources;
    let mut unseen = vec!["connection managers"];
    if resources.listeners.is_empty() {
        unseen.push("listeners");
    }
    if resources.tables.is_empty() {
        unseen.push("routes");
    }
    if resources.clusters.is_empty() {
        unseen.push("clusters");
    }
    let spot = Spot { file: 0, line: 1, path: String::new() };
    let message = format!("this is a part: check sees no {} around it", unseen.join(", "));
    let help = "give the files around it too, to prove the whole way";
    report.note(Promise::Whole, &spot, message, help);
}

/// Two equal names: Envoy takes the last, a person reads the first.
fn repeated_names(yaml: &Yaml, at: &Spot, report: &mut Report) {
    let members = yaml.members();
    for (i, (key, value)) in members.iter().enumerate() {
        let earlier = members.iter().take(i).any(|(known, _)| same(&known.name, &key.name));
        let spot = Spot { line: key.line, ..at.member(&key.name, value) };
        if earlier {
            let message = format!("duplicate name `{}`: Envoy takes the last", key.name);
            report.wrong(Promise::Readable, &spot, message, "keep one of the two");
        }
        repeated_names(value, &Spot { path: key.name.to_string(), ..spot }, report);
    }
    for (i, item) in yaml.items().iter().enumerate() {
        let path = format!("{}[{i}]", at.path);
        repeated_names(item, &Spot { line: item.line, path, ..at.clone() }, report);
    }
}

/// The settings of one Waybill filter.
fn filter(wasm: &Yaml, place: &Spot, surroundings: &Surroundings<'_>, report: &mut Report) {
    let Some(config) = wasm.get("config") else { return };
    let spot = place.field(wasm, "config");
    failure(config, &spot, report);
    if let Some(vm) = config.get("vm_config") {
        let vm_spot = spot.member("vm_config", vm);
        if let Some(file) = vm.at(&["code", "local", "filename"]) {
            module(file, &vm_spot.member("code.local.filename", file), surroundings, report);
        }
    }
    let restricted = config.at(&["capability_restriction_config", "allowed_capabilities"]);
    if let Some(restricted) = restricted.filter(|it| !it.members().is_empty()) {
        let message = "Envoy keeps functions from the filter, which then can't decide";
        let spot = spot.member("capability_restriction_config", restricted);
        report.wrong(Promise::Node, &spot, message, "remove it");
    }
    match configuration(wasm) {
        Some(text) => nodes::check_text(text, place.file, surroundings, report),
        None => {
            let spot = spot.field(config, "configuration");
            report.wrong(Promise::Configuration, &spot, nodes::NO_TEXT.0, nodes::NO_TEXT.1);
        }
    }
}

/// After a failure the filter lets nothing pass, and is started again.
fn failure(config: &Yaml, spot: &Spot, report: &mut Report) {
    let policy = config.get("failure_policy");
    let is = |name: &str| {
        policy.and_then(Yaml::text).is_some_and(|text| text.eq_ignore_ascii_case(name))
    };
    let policy_spot = spot.field(config, "failure_policy");
    // of the numbers of wasm.proto only this one lets Waybill run on
    let is_reload = is("FAIL_RELOAD") || is("1");
    let is_closed = policy.is_none() || is("FAIL_CLOSED");
    if (!is_reload && !is_closed) || config.may_be_true("fail_open") {
        report.wrong(
            Promise::Failure,
            &policy_spot,
            "after one failure, this may let every request pass unscreened",
            "set `failure_policy: FAIL_RELOAD`, which restarts the filter",
        );
    } else if !is_reload {
        report.note(
            Promise::Failure,
            &policy_spot,
            "after one failure, every request is refused until Envoy is restarted",
            "set `failure_policy: FAIL_RELOAD`, which restarts the filter",
        );
    }
    let interval = config.at(&["reload_config", "backoff", "base_interval"]);
    if let Some(interval) = interval
        && seconds(interval).is_none_or(|seconds| seconds < 0.002)
    {
        report.wrong(
            Promise::Failure,
            &spot.member("reload_config.backoff.base_interval", interval),
            "Envoy 1.40 ends at a failure of the filter with an interval below 2 ms",
            "write at least `0.002s`; the shipped files have `0.1s`",
        );
    }
}

/// A duration of protobuf's JSON, such as `0.1s`.
fn seconds(duration: &Yaml) -> Option<f64> {
    duration.text()?.strip_suffix('s')?.parse().ok()
}

/// The settings of one Waybill filter that is a dynamic module.
fn dynamic_module(
    settings: &Yaml,
    place: &Spot,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) {
    if let Some(config) = settings.get("dynamic_module_config") {
        let spot = place.member("dynamic_module_config", config);
        if let Some(remote) = config.at(&["module", "remote"]) {
            report.wrong(
                Promise::Failure,
                &spot.member("module.remote", remote),
                "until Envoy has fetched this module, every request passes unscreened",
                "put the file on the machine, and name it in `module.local.filename`",
            );
        }
        if let Some(file) = config.at(&["module", "local", "filename"]) {
            module(file, &spot.member("module.local.filename", file), surroundings, report);
        }
    }
    match configuration(settings) {
        Some(text) => nodes::check_text(text, place.file, surroundings, report),
        None => {
            let spot = place.field(settings, "filter_config");
            report.wrong(Promise::Configuration, &spot, nodes::NO_TEXT.0, nodes::NO_TEXT.1);
        }
    }
}

/// A local file of code is there.
fn module(file: &Yaml, spot: &Spot, surroundings: &Surroundings<'_>, report: &mut Report) {
    let name = file.text().unwrap_or_default();
    match (surroundings.local_file)(name) {
        LocalFile::Present => {}
        LocalFile::Foreign => {
            let message = format!("`{name}` isn't a module of Waybill");
            report.note(Promise::Module, spot, message, "name the file that `./build.sh` makes");
        }
        LocalFile::Missing => {
            let message =
                format!("missing file `{name}`: Envoy doesn't start without the filter's code");
            let help = "make it by `./build.sh`, or correct the path; a relative path counts from \
                        the folder that Envoy is started in";
            report.wrong(Promise::Module, spot, message, help);
        }
        LocalFile::Elsewhere => {
            let message =
                format!("`{name}` isn't on this machine, so check can't tell whether it is there");
            report.note(Promise::Module, spot, message, "run check where Envoy runs");
        }
    }
}
