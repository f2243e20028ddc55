//! Paths: their normal form, every reading of them, their parameters, and the shared state that
//! they reach.

use waybill::decision::evidence::shared_state::SharedState;
use waybill::decision::path::{PathReadings, normal, query_values, starts_with, without_parameter};
use waybill::shape::Word as _;
use waybill::terms::names::UrlPath;

#[test]
fn a_path_has_one_normal_form() {
    for (path, expected) in [
        ("/v1/organizations", "/v1/organizations"),
        ("/v1/%6frganizations?x=1", "/v1/organizations"),
        ("/v1//organizations/", "/v1/organizations"),
        ("/v1/./a/../organizations", "/v1/organizations"),
        ("/v1/%252e%252e/%2e%2e/v1\\organizations", "/v1/organizations"),
        ("/../..", "/"),
        ("/%", "/%"),
        ("/%2%35%32e", "/"),
        ("/a%2525252525252562", "/ab"),
        ("/%%341", "/A"),
        ("", ""),
        ("*", "*"),
    ] {
        assert_eq!(String::from_utf8_lossy(&normal(path.as_bytes())), expected, "{path}");
    }
}

#[test]
fn an_admin_path_is_seen_whatever_a_server_decodes() {
    let prefixes = ["/v2", "/v1/organizations"].map(|prefix| UrlPath::parse(prefix).unwrap());
    for path in [
        "/v1/organizations",
        "/v1/organizations;x",
        "/v1;a/organizations",
        "/v1/organizations%3fx",
        "/v1/organizations%00",
        "/v1/organizations%20",
        "/v1/organizations/..%2f..%2fm",
        "/v1/organizations/x%2f..%2f..%2f..%2fmessages",
        "/v1/organizations/../messages",
    ] {
        assert_eq!(PathReadings::of(path.as_bytes()).under(&prefixes), prefixes.last(), "{path}");
    }
    for path in [
        "/v1/organizationsx",
        "/v1/%6frganizationsx",
        "/v1/messages?to=/v1/organizations",
        "/x/v1/organizations",
    ] {
        assert_eq!(PathReadings::of(path.as_bytes()).under(&prefixes), None, "{path}");
    }
}

/// Four rounds are read. A fifth is malformed, in any path.
#[test]
fn a_path_is_decoded_four_times() {
    let prefixes = ["/v1/organizations"].map(|prefix| UrlPath::parse(prefix).unwrap());
    let nested = |rounds: usize| format!("/v1/%{}6frganizations", "25".repeat(rounds - 1));
    for (path, under, folded) in [
        ("/v1/messages".to_owned(), false, false),
        (nested(1), true, false),
        (nested(4), true, false),
        (nested(5), false, true),
        (nested(20_000), false, true),
        ("/files/100%25.txt".to_owned(), false, false),
        ("/files/100%2525.txt".to_owned(), false, false),
        ("/files/100%.txt%zz%2".to_owned(), false, false),
        ("/v1/messages?a=%252525252525".to_owned(), false, false),
        (format!("/{}", "%25".repeat(20_000)), false, false),
    ] {
        let readings = PathReadings::of(path.as_bytes());
        let name = path.get(..40).unwrap_or(&path);
        assert_eq!(readings.under(&prefixes).is_some(), under, "{name}");
        assert_eq!(readings.is_folded, folded, "{name}");
    }
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let prefix = "/v1/organizations";
    assert!(starts_with(b"/v1/organizations", prefix));
    assert!(starts_with(b"/V1/Organizations/me", prefix));
    assert!(!starts_with(b"/v1/organizationsx", prefix));
    assert!(!starts_with(b"/v1", prefix));
}

#[test]
fn a_parameter_is_found_and_taken_out_in_every_spelling() {
    let path = b"/v1beta/models?alt=sse&key=a%20b&k%65y=c&keys=d;key=e&key&&x";
    let values: Vec<_> = query_values(path, "key").map(|v| v.into_owned()).collect();
    assert_eq!(values, [&b"a b"[..], b"c", b"e", b""]);
    assert_eq!(without_parameter(path, "key").unwrap(), b"/v1beta/models?alt=sse&keys=d&&x");
    assert_eq!(without_parameter(b"/a?key=1", "key").unwrap(), b"/a");
    assert_eq!(without_parameter(b"/a??key=1", "key").unwrap(), b"/a");
    assert_eq!(without_parameter(b"/a?b=1", "key"), None);
}

#[test]
fn what_is_shared_is_reached_by_id_or_listed_and_creating_is_not() {
    let known = SharedState::known();
    let reached = |asked: &str| {
        let (method, path) = asked.split_once(' ').unwrap();
        known.reached(method.as_bytes(), &PathReadings::of(path.as_bytes())).map(str::to_owned)
    };
    for asked in [
        "GET /v1/files",
        "HEAD /v1/files",
        "GET /v1/files/",
        "GET /v1/files?limit=2",
        "GET /V1/Files/file-1/content",
        "DELETE /v1/files/file-1",
        "GET /v1/%66iles",
        "GET /v1/x/../files",
        "GET /v1/files/..%2fmessages",
        "GET /v1/messages/batches",
        "POST /v1/messages/batches/b-1/cancel",
        "GET /v1/responses/resp_1",
        "DELETE /v1/responses/resp_1",
        "POST /v1/responses/resp_1/cancel",
        "POST /v1/assistants/asst_1",
        "POST /v1/threads/thread_1",
        "POST /v1/threads/thread_1/runs",
        "GET /v1/chat/completions",
        "DELETE /v1/models/ft:gpt-4o:acme",
        "GET /v1beta/cachedContents",
        "PATCH /v1beta/cachedContents/c-1",
        "POST /v1beta/batches/b-1:cancel",
    ] {
        assert!(reached(asked).is_some(), "{asked}");
    }
    for asked in [
        "POST /v1/files",
        "POST /v1/responses",
        "POST /v1/responses/compact",
        "POST /v1/responses/input_tokens",
        "POST /v1/messages/batches",
        "POST /v1/messages/count_tokens",
        "POST /v1/messages",
        "POST /v1/chat/completions",
        "POST /v1/threads/runs",
        "POST /v1/threads",
        "GET /v1/models",
        "GET /v1/models/gpt-4o",
        "POST /v1beta/models/gemini-2.5-pro:generateContent",
        "GET /v1/filesx",
        "GET /x/v1/files",
        "GET /",
        "GET ",
    ] {
        assert_eq!(reached(asked), None, "{asked}");
    }
}
