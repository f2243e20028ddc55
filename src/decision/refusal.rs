//! Refusals: what the caller of a refused request gets, in the form that its SDK understands.
//!
//! A refused caller has a right to know why, by whom, and how to appeal. So every refusal names
//! this node (not the model provider), the reason's code, the policy's revision, a request id, and
//! a contact.

use serde::Serialize;

use crate::config::Config;
use crate::decision::evidence::Evidence;
use crate::decision::path;
use crate::decision::reply::LocalReply;
use crate::terms::finding::FindingCode;

/// The dialect of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Anthropic,
    OpenAi,
    Gemini,
    /// RFC 9457
    Problem,
}

/// <https://platform.claude.com/docs/en/api/errors>
#[derive(Serialize)]
struct AnthropicBody<'a> {
    r#type: &'static str,
    error: AnthropicError,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicError {
    r#type: &'static str,
    message: String,
    details: AnthropicDetails,
}

#[derive(Serialize)]
struct AnthropicDetails {
    error_code: FindingCode,
}

/// <https://platform.openai.com/docs/guides/error-codes>
#[derive(Serialize)]
struct OpenAiBody {
    error: OpenAiError,
}

#[derive(Serialize)]
struct OpenAiError {
    message: String,
    r#type: &'static str,
    /// null
    param: (),
    code: FindingCode,
}

/// `google.rpc.Status` with `google.rpc.ErrorInfo` (<https://cloud.google.com/apis/design/errors>)
#[derive(Serialize)]
struct GeminiBody<'a> {
    error: GeminiError<'a>,
}

#[derive(Serialize)]
struct GeminiError<'a> {
    code: u16,
    message: String,
    status: &'static str,
    details: [ErrorInfo<'a>; 1],
}

#[derive(Serialize)]
struct ErrorInfo<'a> {
    #[serde(rename = "@type")]
    r#type: &'static str,
    reason: String,
    domain: &'a str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    code: FindingCode,
    policy: &'a str,
    request_id: &'a str,
    appeal: &'a str,
}

/// RFC 9457
#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: FindingCode,
    node: &'a str,
    policy: &'a str,
    request_id: &'a str,
    appeal: Option<&'a str>,
}

/// When to ask a node without a register again, in seconds: it gets one within a poll or two.
const RETRY_AFTER_SECONDS: u32 = 10;

/// Paths by the provider whose dialect they speak. A path that several share is decided by header.
const ANTHROPIC_PATHS: &[&str] = &[
    "/v1/messages",
    "/v1/complete",
    "/v1/organizations",
    "/v1/user_profiles",
    "/v1/skills",
    "/v1/environments",
];
const OPENAI_PATHS: &[&str] = &[
    "/v1/chat",
    "/v1/completions",
    "/v1/responses",
    "/v1/conversations",
    "/v1/embeddings",
    "/v1/audio",
    "/v1/images",
    "/v1/videos",
    "/v1/realtime",
    "/v1/moderations",
    "/v1/assistants",
    "/v1/threads",
    "/v1/batches",
    "/v1/fine_tuning",
    "/v1/vector_stores",
    "/v1/uploads",
    "/v1/containers",
    "/v1/evals",
    "/v1/organization",
    "/v1/projects",
    "/v1beta/openai",
    "/openai",
];
const SHARED_PATHS: &[&str] = &["/v1/models", "/v1/files", "/v1/agents", "/v1/sessions"];
const GEMINI_PATHS: &[&str] = &["/v1beta", "/v1alpha", "/upload/v1beta"];

impl Dialect {
    fn of(path: &[u8], speaks_anthropic: bool) -> Self {
        let is_among = |paths: &[&str]| paths.iter().any(|prefix| path::starts_with(path, prefix));
        // a colon precedes Gemini's methods: /v1/models/gemini-2.5-pro:generateContent
        let is_gemini_method = path::starts_with(path, "/v1/models") && path.contains(&b':');
        if is_among(ANTHROPIC_PATHS) {
            Self::Anthropic
        } else if is_among(OPENAI_PATHS) {
            Self::OpenAi
        } else if is_among(GEMINI_PATHS) || is_gemini_method {
            Self::Gemini
        } else if is_among(SHARED_PATHS) {
            if speaks_anthropic { Self::Anthropic } else { Self::OpenAi }
        } else {
            Self::Problem
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Anthropic | Self::OpenAi | Self::Gemini => "application/json",
            Self::Problem => "application/problem+json",
        }
    }
}

/// The methods that go on, told to a caller whose method doesn't (RFC 9110, 15.5.6).
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A request that is refused, and why.
struct Refusal<'a> {
    config: &'a Config,
    dialect: Dialect,
    reason: FindingCode,
    status: u16,
    /// The id of the event
    id: &'a str,
}

/// The refusal of a request for `reason`. `id` is the event's.
#[cold]
pub fn refuse(
    config: &Config,
    evidence: &Evidence<'_>,
    reason: FindingCode,
    id: &str,
) -> LocalReply {
    let is_method = reason == FindingCode::RequestMalformed && evidence.is_trace;
    let status = if is_method { 405 } else { reason.status() };
    let dialect = Dialect::of(&evidence.path, evidence.speaks_anthropic);
    let refusal = Refusal { config, dialect, reason, status, id };
    LocalReply {
        status,
        headers: refusal.headers(),
        body: refusal.body(),
        details: format!("waybill_{reason}"),
    }
}

impl<'a> Refusal<'a> {
    fn body(&self) -> String {
        let Self { config, reason, status, id, .. } = *self;
        let (node, policy) = (config.node.id.as_str(), config.policy.revision.as_str());
        let message = self.message();
        match self.dialect {
            Dialect::Anthropic => to_json(&AnthropicBody {
                r#type: "error",
                error: AnthropicError {
                    r#type: anthropic_type(status),
                    message,
                    details: AnthropicDetails { error_code: reason },
                },
                request_id: id,
            }),
            Dialect::OpenAi => to_json(&OpenAiBody {
                error: OpenAiError {
                    message,
                    r#type: openai_type(status),
                    param: (),
                    code: reason,
                },
            }),
            Dialect::Gemini => to_json(&GeminiBody {
                error: GeminiError {
                    code: status,
                    message,
                    status: gemini_status(status),
                    details: [ErrorInfo {
                        r#type: "type.googleapis.com/google.rpc.ErrorInfo",
                        reason: reason.as_str().to_ascii_uppercase().replace(['.', '-'], "_"),
                        domain: node,
                        metadata: Metadata {
                            code: reason,
                            policy,
                            request_id: id,
                            appeal: self.appeal().unwrap_or_default(),
                        },
                    }],
                },
            }),
            Dialect::Problem => to_json(&ProblemBody {
                r#type: "about:blank",
                title: reason.title(),
                status,
                detail: message,
                code: reason,
                node,
                policy,
                request_id: id,
                appeal: self.appeal(),
            }),
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let Self { dialect, reason, status, .. } = *self;
        let (node, error) = (&self.config.node.id, proxy_error(status));
        let mut headers = vec![
            ("content-type", dialect.media_type().to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-waybill-reason", reason.to_string()),
            ("proxy-status", format!("\"{node}\"; error={error}; details=\"{reason}\"")),
        ];
        // a missing register is the one reason that waiting helps against
        headers.push(if status == 503 {
            ("retry-after", RETRY_AFTER_SECONDS.to_string())
        } else {
            ("x-should-retry", "false".to_owned())
        });
        if status == 405 {
            headers.push(("allow", ALLOW.to_owned()));
        }
        if status == 401 {
            // RFC 9110 15.5.2 asks for a challenge
            headers.push(("www-authenticate", "Bearer".to_owned()));
        }
        let id_header = if dialect == Dialect::Anthropic { "request-id" } else { "x-request-id" };
        headers.push((id_header, self.id.to_owned()));
        headers.extend(self.appeal().map(|url| ("link", format!("<{url}>; rel=\"help\""))));
        headers
    }

    fn appeal(&self) -> Option<&'a str> {
        self.config.disclosure.appeal_url.as_ref().map(|url| url.as_str())
    }

    /// One or two plain sentences: who decided, why, under which policy, and where to turn.
    fn message(&self) -> String {
        let Self { config, reason, id, .. } = *self;
        let turn = match (self.appeal(), &config.disclosure.contact) {
            (Some(url), _) => format!("Appeal at {url}"),
            (None, Some(contact)) => format!("Questions go to {contact}"),
            (None, None) => "Ask the seller of your key".to_owned(),
        };
        format!(
            "{}, not the model provider, refused this request: {} ({reason}, policy {}). \
             {turn}, request id {id}.",
            config.node.id,
            reason.title(),
            config.policy.revision
        )
    }
}

fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default() // none of these bodies can fail
}

const fn anthropic_type(status: u16) -> &'static str {
    match status {
        400 | 405 => "invalid_request_error",
        401 => "authentication_error",
        503 => "api_error",
        _ => "permission_error",
    }
}

const fn openai_type(status: u16) -> &'static str {
    match status {
        400 | 401 | 405 => "invalid_request_error",
        503 => "server_error",
        _ => "request_forbidden",
    }
}

const fn gemini_status(status: u16) -> &'static str {
    match status {
        400 | 405 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        503 => "UNAVAILABLE",
        _ => "PERMISSION_DENIED",
    }
}

/// RFC 9209 2.3
const fn proxy_error(status: u16) -> &'static str {
    match status {
        400 | 405 => "http_request_error",
        503 => "proxy_configuration_error",
        _ => "http_request_denied",
    }
}
