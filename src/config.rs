//! The configuration: one JSON document, parsed once into types.
//!
//! [`Config::parse`] takes the text of Envoy's `StringValue`; it gives a [`Config`] or every
//! mistake in it. Contradictions between settings (a reroute to a route that doesn't exist) are
//! found here, where the whole document is in hand. Nothing later checks again.
//!
//! [`Config::notices`] tells what is allowed but worth knowing, such as a setting without effect.

mod build;
mod checks;
mod notices;
mod policy;
mod settings;
mod sources;
mod upstream;

pub use build::{Config, SourceIndex};
pub use policy::Policy;
pub use settings::{
    ChainSettings, ClientAddressSettings, ConfigDocument, DisclosureSettings, Endpoint,
    EndpointSettings, ForwardingHeader, GeoSettings, IdentitySettings, IgnoredMark, Mode,
    NodeSettings, PolicySettings, ProviderSettings, RelaySettings, RouteSettings, SnapshotSettings,
    TagSettings, schema,
};
pub use sources::{
    Claim, CredentialPlace, IdentitySource, KeySource, OriginSource, San, UserSource,
};
pub use upstream::{Convention, Upstream};

use crate::shape::{Problems, read_document};

/// A field of earlier versions, and what replaces it.
const REPORTS: &str = "$.reports";
const REPORTS_REMOVED: &str = "`reports` was removed: Envoy's access loggers send events";
const REPORTS_INSTEAD: &str = "remove it; docs/operating.md#events says how Envoy's OpenTelemetry \
                               access logger sends events to a collector";

impl Config {
    /// Parses the text of a configuration.
    ///
    /// # Errors
    /// Every mistake in it, each with its JSON path and, where there is one, a hint.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let document = read_document::<ConfigDocument>(text, &mut problems);
        problems.reword(REPORTS, REPORTS_REMOVED, REPORTS_INSTEAD);
        let config = document.map(|(document, json)| {
            let mut config = Self::build(document, &json, &mut problems);
            config.notices = notices::notices(&config);
            config
        });
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }
}
