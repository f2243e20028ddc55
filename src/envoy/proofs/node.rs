//! The node is on each way to a credential: enabled, once, and no route takes it off.

use super::super::kinds::is_waybill;
use super::super::model::{Filter, FilterList};
use super::super::overrides::{Bypass, BypassCause, bypass};
use super::super::report::{Promise, Report};
use super::super::way::Way;

pub(super) fn prove(way: &Way<'_, '_>, list: &FilterList<'_>, report: &mut Report) {
    let mut nodes = list.filters.iter().filter(|filter| filter.is_node());
    let Some(node) = nodes.next() else {
        missing(way, list, report);
        return;
    };
    if let Some(second) = nodes.next() {
        let help = "keep one: the second one refuses the tag of the first as forged";
        report.wrong(Promise::Node, &second.spot, "a second Waybill filter", help);
    }
    if let Some((kind, wasm)) = node.until_discovered
        && !is_waybill(kind, wasm)
    {
        let spot = node.spot.member("config_discovery.default_config", wasm);
        let help = "remove it: without it, Envoy refuses requests until the configuration is there";
        report.wrong(
            Promise::Node,
            &spot,
            "until the node's configuration is discovered, another filter lets requests pass",
            help,
        );
    }
    // where no route leads anywhere, the filter alone is judged
    let relevant = way.relevant();
    if relevant.is_empty() {
        tell(node, bypass(node, None), "requests", report);
    }
    for destination in relevant {
        let to = match destination.cluster {
            Ok(cluster) => format!("requests to cluster `{cluster}`"),
            Err(_) => "requests".to_owned(),
        };
        tell(node, bypass(node, Some(destination)), &to, report);
    }
}

fn tell(node: &Filter<'_>, bypass: Option<Bypass>, requests: &str, report: &mut Report) {
    let Some(Bypass { spot, cause }) = bypass else { return };
    let (message, help) = match cause {
        BypassCause::Disabled => (
            format!("the node is disabled here, so {requests} pass it by"),
            format!("remove `disabled` of the filter `{}` here", node.name),
        ),
        BypassCause::Overridden => (
            format!("the node's settings are overridden here for {requests}"),
            "remove the override: check can't prove that the node still decides".to_owned(),
        ),
        BypassCause::Matched => (
            format!("a matcher may skip the node, so {requests} may pass it by"),
            "take the filter out of `ExtensionWithMatcher`: it decides about all requests"
                .to_owned(),
        ),
        BypassCause::Optional => (
            format!("the node is optional here: in an Envoy without wasm, {requests} pass it by"),
            "remove `is_optional`, so that such an Envoy doesn't start".to_owned(),
        ),
    };
    report.wrong(Promise::Node, &spot, message, help);
}

fn missing(way: &Way<'_, '_>, list: &FilterList<'_>, report: &mut Report) {
    let unseen = list.filters.iter().find(|filter| filter.config.is_none());
    if let Some(filter) = unseen {
        let message =
            format!("the configuration of the filter `{}` isn't among the files", filter.name);
        let help = "give the file with it too (ECDS): nobody can tell whether it is the node's";
        report.wrong(Promise::Whole, &filter.spot, message, help);
        return;
    }
    let clusters: Vec<String> =
        way.holders().iter().filter_map(|it| Some(format!("`{}`", it.cluster.ok()?))).collect();
    let message = match clusters.first() {
        Some(first) => format!(
            "no Waybill filter is on the way to cluster {first}, for which {} puts in a credential",
            held_by(way)
        ),
        None => "this list has no Waybill filter, so its requests pass the node by".to_owned(),
    };
    let help = "put the node into this list, before the router, or lead these routes elsewhere";
    report.wrong(Promise::Node, &list.spot, message, help);
}

fn held_by<'w>(way: &'w Way<'_, '_>) -> &'w str {
    way.held.iter().flatten().next().map_or("a filter", String::as_str)
}
