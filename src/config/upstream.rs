//! Upstreams: the places that requests are forwarded to, and the providers' conventions there.

use super::settings::{NodeSettings, ProviderSettings, RouteSettings};
use crate::shape::Word as _;
use crate::terms::names::{Authority, HeaderText, Text, UrlPath};
use crate::terms::region::Residency;

/// A place that requests are forwarded to.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The provider's name; it also names the customer's entry in `providers`
    pub provider: Option<Text>,
    /// What is done to requests by that provider's convention
    pub convention: Convention,
    /// What it is called
    pub authority: Option<Authority>,
    /// Where it processes data
    pub residency: Option<Residency>,
    /// The provider's account and profile APIs, which customers may not call
    pub deny_paths: Vec<UrlPath>,
}

/// A provider's convention for naming the customer behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Convention {
    /// `anthropic-user-profile-id`, and the beta that allows it
    Anthropic(Option<HeaderText>),
    /// `openai-safety-identifier`
    OpenAi,
    /// None
    Other,
}

/// Anthropic's Admin API (<https://platform.claude.com/docs/en/api/admin-api>) and user profiles.
const ANTHROPIC_ADMIN_PATHS: &[&str] = &["/v1/organizations", "/v1/user_profiles"];
/// OpenAI's Administration API (<https://platform.openai.com/docs/api-reference/administration>).
const OPENAI_ADMIN_PATHS: &[&str] = &["/v1/organization", "/v1/projects"];

impl Upstream {
    pub(super) fn of_node(provider: Option<ProviderSettings>, node: &NodeSettings) -> Self {
        let (authority, residency) = (node.upstream_authority.clone(), node.residency);
        let (provider, convention, deny_paths) = match provider {
            Some(ProviderSettings { name, anthropic_beta, deny_paths }) => {
                let convention = Convention::of(&name, anthropic_beta);
                (Some(name), convention, deny_paths)
            }
            None => (None, Convention::Other, None),
        };
        let deny_paths = deny_paths.unwrap_or_else(|| convention.admin_paths());
        Self { provider, convention, authority, residency, deny_paths }
    }

    /// The upstream that a route leads to: what its entry says in place of the node's.
    pub(super) fn rerouted(&self, route: RouteSettings) -> Self {
        let Some(provider) = route.provider.filter(|name| Some(name) != self.provider.as_ref())
        else {
            return Self {
                authority: route.authority,
                residency: route.residency.or(self.residency),
                ..self.clone()
            };
        };
        let convention = Convention::of(&provider, None);
        // another vendor's data centre: the node's residency says nothing about it
        Self {
            deny_paths: convention.admin_paths(),
            provider: Some(provider),
            convention,
            authority: route.authority,
            residency: route.residency,
        }
    }

    /// The provider's name, or nothing.
    pub fn provider_name(&self) -> &str {
        self.provider.as_ref().map_or("", Text::as_str)
    }
}

impl Convention {
    fn of(name: &Text, anthropic_beta: Option<HeaderText>) -> Self {
        match name.as_str() {
            "anthropic" => Self::Anthropic(anthropic_beta),
            "openai" => Self::OpenAi,
            _ => Self::Other,
        }
    }

    fn admin_paths(&self) -> Vec<UrlPath> {
        let paths = match self {
            Self::Anthropic(_) => ANTHROPIC_ADMIN_PATHS,
            Self::OpenAi => OPENAI_ADMIN_PATHS,
            Self::Other => &[],
        };
        paths.iter().filter_map(|path| UrlPath::parse(path).ok()).collect()
    }
}
