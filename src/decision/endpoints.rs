//! The endpoints: paths that the node answers itself, for any caller and method.

use crate::chain::keyring::{DIRECTORY_MEDIA_TYPE, Keyring};
use crate::config::{Config, EndpointSettings};
use crate::decision::disclosure;
use crate::decision::evidence::Watch;
use crate::decision::reply::LocalReply;
use crate::decision::request::Request;

/// The reply of the endpoint that a request asks for. `None` if it asks for none. Only the endpoint
/// of readiness calls `is_ready`: a host may do work to tell.
pub fn answer(
    config: &Config,
    watch: &Watch,
    keyring: &Keyring,
    is_ready: impl FnOnce() -> bool,
    request: &Request<'_>,
) -> Option<LocalReply> {
    let EndpointSettings { ready, directory, disclosure: about } = &config.endpoints;
    let path = request.path();
    if ready.is(path) {
        Some(readiness(is_ready()))
    } else if directory.is(path) {
        let body = keyring.directory(request.time.seconds());
        Some(document("waybill_directory", DIRECTORY_MEDIA_TYPE, body))
    } else if about.is(path) {
        let body = disclosure::disclosure(config, watch);
        Some(document("waybill_disclosure", disclosure::MEDIA_TYPE, body))
    } else {
        None
    }
}

/// A document about the node. Caches keep it an hour, so a next key is seen long before it signs.
fn document(details: &str, media_type: &str, body: String) -> LocalReply {
    LocalReply {
        status: 200,
        details: details.into(),
        headers: vec![
            ("content-type", media_type.into()),
            ("cache-control", "public, max-age=3600".into()),
        ],
        body,
    }
}

/// Whether the node can decide, for a load balancer.
fn readiness(is_ready: bool) -> LocalReply {
    let (status, details, body) = if is_ready {
        (200, "waybill_ready", "ready\n")
    } else {
        (503, "waybill_not_ready", "no snapshot yet\n")
    };
    LocalReply {
        status,
        details: details.into(),
        headers: vec![("content-type", "text/plain".into()), ("cache-control", "no-store".into())],
        body: body.into(),
    }
}
