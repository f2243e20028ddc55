//! Request paths: the query parameters in them, and the one path behind many spellings.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::names::UrlPath;

/// The path without its query.
#[must_use]
pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|b| *b == b'?').next().unwrap_or_default()
}

/// The values of a query parameter, decoded, in order. Its name is compared after decoding.
pub fn query_values<'a>(path: &'a [u8], name: &'a str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    parameters(path).filter(move |pair| is_named(pair, name)).map(|pair| decode(pair.splitn(2, |b| *b == b'=').nth(1).unwrap_or_default()))
}

/// The path with every parameter of that name taken out; `None` where there is none.
#[must_use]
pub fn without_parameter(path: &[u8], name: &str) -> Option<Vec<u8>> {
    if !parameters(path).any(|pair| is_named(pair, name)) {
        return None;
    }
    let mut left = without_query(path).to_vec();
    let mut separator = b'?';
    for pair in parameters(path).filter(|pair| !is_named(pair, name)) {
        left.push(separator);
        left.extend_from_slice(pair);
        separator = b'&';
    }
    Some(left)
}

/// The path that most servers take this one for: percent-decoded as often as it changes anything,
/// backslashes as slashes, doubled slashes as one, dot segments resolved, without query.
#[must_use]
pub fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    let path = without_query(path);
    if is_plain(path) {
        return Cow::Borrowed(path);
    }
    let decoded = stages(path).pop().unwrap_or_default();
    Cow::Owned(joined(&decoded, Dots::Resolved))
}

/// The first of the prefixes that any server could take the path to be below: whatever it decodes, and
/// whether or not it resolves dot segments. `path` is as received.
#[must_use]
pub fn may_be_under<'p>(path: &[u8], prefixes: &'p [UrlPath]) -> Option<&'p UrlPath> {
    let path = without_query(path);
    if is_plain(path) {
        return prefixes.iter().find(|prefix| is_under(path, prefix));
    }
    let readings: Vec<Vec<u8>> =
        stages(path).iter().flat_map(|stage| [Dots::Resolved, Dots::Kept].map(|dots| joined(stage, dots))).collect();
    prefixes.iter().find(|prefix| readings.iter().any(|path| is_under(path, prefix)))
}

/// What is done about `..`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    Resolved,
    Kept,
}

fn is_plain(path: &[u8]) -> bool {
    let ends_segment = |b: &u8| matches!(b, b'%' | b'\\' | b';' | b'#') || *b <= b' ';
    !path.iter().any(ends_segment) && !path.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// The path as received, then after each decoding that changes it.
fn stages(path: &[u8]) -> Vec<Vec<u8>> {
    let mut stages = vec![path.to_vec()];
    while let Some(last) = stages.last().filter(|last| last.contains(&b'%')) {
        let once: Vec<u8> = percent_decode(last).collect();
        if once.len() == last.len() {
            break; // each escape makes it shorter, so this ends
        }
        stages.push(once);
    }
    stages
}

/// The segments with single slashes. Each ends where some servers see its end: at `;`, `?`, `#`, a blank or a control.
fn joined(path: &[u8], dots: Dots) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|b| matches!(b, b'/' | b'\\')) {
        let segment = segment.split(|b| matches!(b, b';' | b'?' | b'#') || *b <= b' ').next().unwrap_or_default();
        match segment {
            b"" | b"." => {}
            b".." if dots == Dots::Resolved => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    if segments.is_empty() {
        return b"/".to_vec();
    }
    segments.iter().flat_map(|segment| std::iter::once(&b'/').chain(segment.iter())).copied().collect()
}

/// Whether a [`normal`] path is that path or lies below it, whatever the case of its letters.
fn is_under(normal: &[u8], prefix: &UrlPath) -> bool {
    starts_with(normal, prefix.as_str().trim_end_matches('/'))
}

/// Whether a [`normal`] path begins with these segments.
#[must_use]
pub fn starts_with(normal: &[u8], prefix: &str) -> bool {
    let (Some(head), Some(rest)) = (normal.get(..prefix.len()), normal.get(prefix.len()..)) else { return false };
    head.eq_ignore_ascii_case(prefix.as_bytes()) && (rest.is_empty() || rest.starts_with(b"/"))
}

/// The query's parameters as sent. Some servers separate them by `;` too.
fn parameters(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.splitn(2, |b| *b == b'?').nth(1).into_iter().flat_map(|query| query.split(|b| matches!(b, b'&' | b';')))
}

fn is_named(pair: &[u8], name: &str) -> bool {
    let found = decode(pair.split(|b| *b == b'=').next().unwrap_or_default());
    found.strip_prefix(b"?").unwrap_or(&found) == name.as_bytes()
}

/// Decodes as HTML forms and most servers do: `+` is a space.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'+') {
        let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        return Cow::Owned(percent_decode(&spaced).collect());
    }
    percent_decode(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Word as _;

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
            assert_eq!(may_be_under(path.as_bytes(), &prefixes), prefixes.last(), "{path}");
        }
        for path in ["/v1/organizationsx", "/v1/%6frganizationsx", "/v1/messages?to=/v1/organizations", "/x/v1/organizations"] {
            assert_eq!(may_be_under(path.as_bytes(), &prefixes), None, "{path}");
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
}
