//! Local replies: what a node answers itself, in place of an upstream.

/// An answer that doesn't come from an upstream: a refusal, or a document of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status
    pub status: u16,
    /// Header names and values
    pub headers: Vec<(&'static str, String)>,
    /// Text or JSON, as `content-type` says
    pub body: String,
    /// For the access log's `%RESPONSE_CODE_DETAILS%`
    pub details: String,
}

impl LocalReply {
    /// The reply to a request that can't be decided: such a request doesn't pass.
    pub fn undecided() -> Self {
        Self {
            status: 503,
            headers: Vec::new(),
            body: String::new(),
            details: "waybill_undecided".into(),
        }
    }
}
