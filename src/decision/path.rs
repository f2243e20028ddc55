//! Request paths: their query parameters, the one path behind many spellings, and every path that a
//! server could take one for.
//!
//! Work grows linearly with the path: a path is decoded at most `ROUNDS` times, however deep its
//! escapes are nested.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::terms::names::UrlPath;

/// The path without its query.
pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|b| *b == b'?').next().unwrap_or_default()
}

/// The values of a query parameter, decoded, in order. Its name is compared after decoding.
pub fn query_values<'a>(path: &'a [u8], name: &'a str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    parameters(path)
        .filter(move |pair| is_named(pair, name))
        .map(|pair| decode(pair.splitn(2, |b| *b == b'=').nth(1).unwrap_or_default()))
}

/// The path without any parameter of that name. `None` if it has none.
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

/// The path that most servers take this one for: percent-decoded until nothing changes, backslashes
/// as slashes, doubled slashes as one, dot segments resolved, without query.
pub fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    let path = without_query(path);
    if is_plain(path) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(joined(&unfolded(path), Dots::Resolved))
}

/// Every path that a server could take a request's for. Servers differ in how often they decode and
/// in whether they resolve dot segments.
#[derive(Debug, Default)]
pub struct PathReadings<'a> {
    /// The path as received, if all servers read it alike
    plain: Option<&'a [u8]>,
    others: Vec<Vec<u8>>,
    /// Whether the path still holds an escape after `ROUNDS` rounds of decoding
    pub is_folded: bool,
}

/// How often a path is decoded. A server decodes once, behind a careless proxy twice. A path that
/// holds an escape after these rounds is `request.malformed`.
const ROUNDS: usize = 4;

impl<'a> PathReadings<'a> {
    /// The readings of a path as received. Its query is left out.
    pub fn of(path: &'a [u8]) -> Self {
        let path = without_query(path);
        if is_plain(path) {
            return Self { plain: Some(path), others: Vec::new(), is_folded: false };
        }
        let mut others = Vec::new();
        let mut stage = Cow::Borrowed(path);
        for _ in 0..ROUNDS {
            add_readings(&mut others, &stage);
            match decoded_once(&stage) {
                Some(next) => stage = Cow::Owned(next),
                None => return Self { plain: None, others, is_folded: false },
            }
        }
        add_readings(&mut others, &stage);
        Self { plain: None, others, is_folded: decoded_once(&stage).is_some() }
    }

    /// The first of the prefixes that any server could take the path to be below.
    pub fn under<'p>(&self, prefixes: &'p [UrlPath]) -> Option<&'p UrlPath> {
        prefixes.iter().find(|prefix| self.all().any(|path| is_under(path, prefix)))
    }

    /// The path as received, if all servers read it alike.
    pub fn plain(&self) -> Option<&'a [u8]> {
        self.plain
    }

    /// All of them, without query, each in segments with single slashes.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.plain.into_iter().chain(self.others.iter().map(Vec::as_slice))
    }
}

fn add_readings(readings: &mut Vec<Vec<u8>>, stage: &[u8]) {
    let resolved = joined(stage, Dots::Resolved);
    let kept = joined(stage, Dots::Kept);
    if kept != resolved {
        readings.push(kept);
    }
    readings.push(resolved);
}

/// What is done about dot segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    Resolved,
    Kept,
}

fn is_plain(path: &[u8]) -> bool {
    let ends_segment = |b: &u8| matches!(b, b'%' | b'\\' | b';' | b'#') || *b <= b' ';
    !path.iter().any(ends_segment) && !path.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// The byte behind two hexadecimal digits.
fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?).ok()
}

/// The path with each escape decoded once. `None` if it has none.
fn decoded_once(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        if let [b'%', high, low, after @ ..] = rest
            && let Some(byte) = escaped(*high, *low)
        {
            decoded.push(byte);
            rest = after;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    (decoded.len() < path.len()).then_some(decoded)
}

/// The path decoded until nothing changes, in one pass: a byte that comes out of an escape may end
/// another escape. Escapes don't overlap, so the order of decoding makes no difference.
fn unfolded(path: &[u8]) -> Vec<u8> {
    let mut done: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        done.push(*byte);
        while let [.., b'%', high, low] = done.as_slice()
            && let Some(byte) = escaped(*high, *low)
        {
            done.truncate(done.len().saturating_sub(3));
            done.push(byte);
        }
    }
    done
}

/// The segments with single slashes. Each ends where some servers end it: at `;`, `?`, `#`, a blank
/// or a control character.
fn joined(path: &[u8], dots: Dots) -> Vec<u8> {
    let mut joined: Vec<u8> = Vec::with_capacity(path.len().saturating_add(1));
    for segment in path.split(|b| matches!(b, b'/' | b'\\')) {
        let end = segment
            .iter()
            .position(|b| matches!(b, b';' | b'?' | b'#') || *b <= b' ')
            .unwrap_or(segment.len());
        match segment.get(..end).unwrap_or(segment) {
            b"" | b"." => {}
            b".." if dots == Dots::Resolved => {
                let parent = joined.iter().rposition(|b| *b == b'/').unwrap_or(0);
                joined.truncate(parent);
            }
            segment => {
                joined.push(b'/');
                joined.extend_from_slice(segment);
            }
        }
    }
    if joined.is_empty() {
        joined.push(b'/');
    }
    joined
}

/// Whether a [`normal`] path is that path or lies below it, whatever the case of its letters.
fn is_under(normal: &[u8], prefix: &UrlPath) -> bool {
    starts_with(normal, prefix.as_str().trim_end_matches('/'))
}

/// Whether a [`normal`] path begins with these segments.
pub fn starts_with(normal: &[u8], prefix: &str) -> bool {
    let (Some(head), Some(rest)) = (normal.get(..prefix.len()), normal.get(prefix.len()..)) else {
        return false;
    };
    head.eq_ignore_ascii_case(prefix.as_bytes()) && (rest.is_empty() || rest.starts_with(b"/"))
}

/// The query's parameters as sent. Some servers separate them by `;` too.
fn parameters(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.splitn(2, |b| *b == b'?')
        .nth(1)
        .into_iter()
        .flat_map(|query| query.split(|b| matches!(b, b'&' | b';')))
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
