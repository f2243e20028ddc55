//! Notices: what is allowed in a configuration but worth knowing.

use super::build::Config;
use super::settings::{ChainSettings, Mode};
use super::sources::CredentialPlace;
use crate::shape::{Integer, Problem};
use crate::terms::finding::{Action, FindingCode};

const SIGNED_FOR_CLIENT: &str =
    "tags are signed for the name that the client asked for, which the next hop may not answer to";
const NAME_NEXT_HOP: &str = "set the next hop's name, as the route's `host_rewrite_literal` does";

/// Notices, in the order found. Never inlined: copies of this are kilobytes of the module.
#[derive(Default)]
struct Notices(Vec<Problem>);

impl Notices {
    #[inline(never)]
    fn add(&mut self, path: &str, message: &str, help: &str) {
        let (message, help) = (message.into(), Some(help.into()));
        self.0.push(Problem { path: path.into(), message, help });
    }
}

/// Settings without effect, or with more effect than it seems.
pub(super) fn notices(config: &Config) -> Vec<Problem> {
    let mut notices = Notices::default();
    if !config.tag.keys.is_empty() {
        note_signing(config, &mut notices);
    }
    if config.register.is_some() && config.geo.origin.iter().any(|source| source.header.is_none()) {
        notices.add(
            "$.geo.origin",
            "countries are looked up in a snapshot's address table, and a snapshot isn't set",
            "set a header by Envoy's geoip filter, and name it here",
        );
    }
    if config.geo.origin.is_empty() {
        notices.add(
            "$.geo.origin",
            "no source gives a request's country, so every request is `geo.unknown`",
            "set a header by Envoy's geoip filter, and name it here",
        );
    }
    if let Some(regions) = &config.regions {
        let unlisted: Vec<String> = regions.unlisted().map(|code| code.to_string()).collect();
        if !unlisted.is_empty() {
            let message = "countries neither supported nor restricted pass";
            let help = "name those in `restricted` that the provider's terms exclude";
            notices.add("$.regions", &format!("{message}: {}", unlisted.join(" ")), help);
        }
    }
    if config.policy.mode == Mode::Report {
        notices.add(
            "$.policy.mode",
            "mode `report` refuses only callers that can't be identified",
            "mode `enforce` makes all findings take effect",
        );
    }
    if config.sources.iter().any(|source| source.place == CredentialPlace::Chain) {
        let proofs = [
            FindingCode::ChainInvalid,
            FindingCode::ChainExpired,
            FindingCode::ChainReplayed,
            FindingCode::ChainUnknownNode,
        ];
        for code in proofs.into_iter().filter(|code| *config.policy.action(*code) != Action::Block)
        {
            notices.add(
                &format!("$.policy.actions.{code}"),
                "a caller with an invalid signature gets in without being identified",
                "set it to `block`, or remove `{\"chain\": true}` from `identity.sources`",
            );
        }
    }
    if config.disclosure.appeal_url.is_none() {
        notices.add(
            "$.disclosure.appeal_url",
            "refused callers aren't told where to appeal",
            "set an `https://` or `mailto:` address",
        );
    }
    notices.0
}

/// Notes signatures that the next node may not take.
fn note_signing(config: &Config, notices: &mut Notices) {
    if config.node.upstream_authority.is_none() {
        notices.add("$.node.upstream_authority", SIGNED_FOR_CLIENT, NAME_NEXT_HOP);
    }
    for (name, _) in config.routes.iter().filter(|(_, route)| route.authority.is_none()) {
        notices.add(&format!("$.routes.{name}.authority"), SIGNED_FOR_CLIENT, NAME_NEXT_HOP);
    }
    let ChainSettings { max_lifetime_seconds: Integer(usual), .. } = ChainSettings::default();
    if config.tag.lifetime_seconds.0 > usual {
        notices.add(
            "$.tag.lifetime_seconds",
            &format!("by default, other nodes accept signatures of {usual} seconds at most"),
            "a minute is enough: a node signs each request anew",
        );
    }
}
