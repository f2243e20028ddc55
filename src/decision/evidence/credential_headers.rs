//! Known places of credentials and of accounts: headers and subprotocols that don't go on, whether
//! or not a source of this node reads them.
//!
//! The table is data (`data/credential-headers.json`), each row with its source.

use crate::shape::Json;

/// What a known place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderContent {
    /// A caller's credential
    Credential,
    /// The choice of an account at a provider
    Account,
}

/// The table that this build carries. A test reads it, so that it is never silently empty.
#[derive(Debug)]
pub struct CredentialHeaders {
    /// Names of headers, in lower case
    pub headers: Vec<(String, HeaderContent)>,
    /// Beginnings of subprotocols (`Sec-WebSocket-Protocol`)
    pub subprotocols: Vec<(String, HeaderContent)>,
}

impl CredentialHeaders {
    /// Reads the table.
    pub fn known() -> Self {
        let table: Json = serde_json::from_str(include_str!(concat!(
            env!("OUT_DIR"),
            "/credential-headers.json"
        )))
        .unwrap_or(Json::Null);
        let list = |name: &str, what: &str| {
            let rows = table.get(name).map(Json::items).unwrap_or_default();
            rows.iter()
                .filter_map(|row| {
                    Some((
                        row.get(what)?.as_str()?.to_owned(),
                        HeaderContent::of(row.get("kind")?.as_str()?),
                    ))
                })
                .collect()
        };
        Self { headers: list("headers", "header"), subprotocols: list("subprotocols", "prefix") }
    }
}

impl HeaderContent {
    fn of(word: &str) -> Self {
        if word == "account" { Self::Account } else { Self::Credential }
    }
}
