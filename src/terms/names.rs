//! The small types that documents and requests are made of: names, texts, digests.
//!
//! Each has one constructor, which parses; code that has a value needn't check it again.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use sha2::Digest as _;

use crate::shape::{Mismatch, Word};

/// A node's name: a host name in lower case, as tags and refusals carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeId(String);

/// A host name with an optional port, as in `Host` and `:authority`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority(String);

/// A customer's pseudonym: only its reseller can resolve it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CustomerId(String);

/// The name of an entry in `routes`, which `x-waybill-route` carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RouteName(String);

/// A header's name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(String);

/// A header's value that may be sent as it is: visible ASCII and single spaces inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText(String);

/// Any text of at least one character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Text(String);

/// Notes of people for each other: several lines, as long as a cell of a spreadsheet may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes(String);

/// An `https:` or `mailto:` address that may stand in a `Link` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Url(String);

/// A path, or the beginning of one, that starts with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath(String);

/// The name of an environment variable that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName(String);

/// The SHA-256 digest of a credential's bytes: what a register stores instead of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialDigest([u8; 32]);

/// Declares `as_str` and `Display` for a type that wraps a proven text.
macro_rules! text {
    ($($name:ident),+) => { $(
        impl $name {
            /// The text, as parsed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
    )+ };
}
text!(NodeId, Authority, CustomerId, RouteName, HeaderName, HeaderText);
text!(Text, Notes, Url, UrlPath, VariableName);

/// The text, where `is_valid` says that it is a `what`.
fn proven(is_valid: bool, text: &str, what: &str, help: &str) -> Result<String, Mismatch> {
    if is_valid { Ok(text.to_owned()) } else { Err(invalid(what, text, help)) }
}

#[cold]
fn invalid(what: &str, text: &str, help: &str) -> Mismatch {
    Mismatch::new(format!("invalid {what} `{text}`"), help)
}

fn is_lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

impl Word for NodeId {
    const WHAT: &'static str = "a node's name, such as acme.example";
    const PATTERN: &'static str = "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let ends = |b: Option<u8>| b.is_some_and(is_lower_or_digit);
        let mut bytes = text.bytes();
        let is_valid = bytes.len() <= 253
            && bytes.clone().all(|b| is_lower_or_digit(b) || b".-".contains(&b))
            && ends(bytes.clone().next())
            && ends(bytes.next_back());
        let help = "a host name in lower case, such as `acme.example`";
        proven(is_valid, text, "node name", help).map(Self)
    }
}

impl Word for Authority {
    const WHAT: &'static str =
        "a host name with an optional port, such as api.provider.example:8443";
    const PATTERN: &'static str = r"^[a-z0-9\[][a-z0-9.:\[\]_-]{0,259}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let bytes = text.as_bytes();
        let is_valid = bytes.len() <= 260
            && bytes.first().is_some_and(|b| is_lower_or_digit(*b) || *b == b'[')
            && bytes.iter().all(|b| is_lower_or_digit(*b) || b".:[]_-".contains(b));
        let help = "a host name in lower case with an optional port, without `https://` and path";
        proven(is_valid, text, "authority", help).map(Self)
    }
}

impl Word for CustomerId {
    const WHAT: &'static str = "a customer's pseudonym, such as c-1042: \
        letters, digits and . _ : @ / - , 64 characters at most";
    const PATTERN: &'static str = "^[A-Za-z0-9._:@/-]{1,64}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:@/-".contains(&b);
        // 64 is what OpenAI's safety identifier holds, so that the id can always be sent as it is
        let is_valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        let help = "1 to 64 letters, digits and `.` `_` `:` `@` `/` `-`: a pseudonym, not a name";
        proven(is_valid, text, "customer id", help).map(Self)
    }
}

impl Word for RouteName {
    const WHAT: &'static str = "a route's name: lower-case letters, digits, - and _";
    const PATTERN: &'static str = "^[a-z0-9_-]{1,64}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let allowed = |b: u8| is_lower_or_digit(b) || b"-_".contains(&b);
        let is_valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        let help = "1 to 64 lower-case letters, digits, `-` and `_`";
        proven(is_valid, text, "route name", help).map(Self)
    }
}

impl Word for HeaderName {
    const WHAT: &'static str = "a header's name in lower case";
    const PATTERN: &'static str = "^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        // RFC 9110 5.6.2: token
        let allowed = |b: u8| is_lower_or_digit(b) || b"!#$%&'*+.^_`|~-".contains(&b);
        let is_valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        let help = match text.to_ascii_lowercase() {
            lower if lower != text && lower.bytes().all(allowed) => format!("write `{lower}`"),
            _ => "lower-case letters, digits and `-`".into(),
        };
        proven(is_valid, text, "header name", &help).map(Self)
    }
}

impl Word for HeaderText {
    const WHAT: &'static str = "a header's value: visible ASCII, spaces inside only";
    const PATTERN: &'static str = "^[!-~]([ -~]{0,1022}[!-~])?$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let visible = |b: u8| (b' '..=b'~').contains(&b);
        if (1..=1024).contains(&text.len()) && text.bytes().all(visible) && text.trim() == text {
            return Ok(Self(text.to_owned()));
        }
        let help = "1 to 1,024 visible ASCII characters, no spaces around them";
        Err(Mismatch::new("invalid header value", help))
    }
}

impl Word for Text {
    const WHAT: &'static str = "a text of 1 to 1,024 bytes without control characters";
    const PATTERN: &'static str = r"^[^\u0000-\u001f\u007f]{1,1024}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if (1..=1024).contains(&text.len()) && !text.bytes().any(|b| b.is_ascii_control()) {
            return Ok(Self(text.to_owned()));
        }
        let message = "invalid text: empty, too long or with control characters";
        Err(Mismatch::new(message, "1 to 1,024 bytes"))
    }
}

impl Word for Notes {
    const WHAT: &'static str = "text of up to 32767 characters, line breaks included";
    const PATTERN: &'static str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]{0,32767}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if text.chars().count() > 32_767 {
            return Err(Mismatch::new("notes too long", "32767 characters at most"));
        }
        if text.bytes().any(|b| (b < b' ' && !b"\t\n\r".contains(&b)) || b == 0x7f) {
            let help = "take it out; line breaks and tabs may stay";
            return Err(Mismatch::new("control character in notes", help));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Word for Url {
    const WHAT: &'static str = "an https: or mailto: address";
    const PATTERN: &'static str = r#"^(https://|mailto:)[!#-;=?-\[\]_a-z~]{1,1000}$"#;

    fn parse(text: &str) -> Result<Self, Mismatch> {
        // what RFC 3986 allows, so that it can stand between < and > in a Link header
        let allowed = |b: u8| (b'!'..=b'~').contains(&b) && !b"\"<>\\^`{|}".contains(&b);
        let is_valid = |rest: &str| (1..=1000).contains(&rest.len()) && rest.bytes().all(allowed);
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("mailto:"));
        let help = "an `https://` or `mailto:` address, percent-encoded";
        proven(rest.is_some_and(is_valid), text, "address", help).map(Self)
    }
}

impl Word for UrlPath {
    const WHAT: &'static str = "a path that starts with a slash";
    const PATTERN: &'static str = r"^/[!-~]{0,1000}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let visible = |b: u8| (b'!'..=b'~').contains(&b);
        let is_valid = text.starts_with('/') && text.len() <= 1001 && text.bytes().all(visible);
        proven(is_valid, text, "path", "a path starts with `/` and has no spaces").map(Self)
    }
}

impl Word for VariableName {
    const WHAT: &'static str = "the name of an environment variable";
    const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]{0,127}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let named = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !text.starts_with(|c: char| c.is_ascii_digit());
        if named && (1..=128).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        // the text isn't repeated: somebody may have put the key itself here
        Err(Mismatch::new(
            "not the name of an environment variable",
            "name the variable that holds the key; the key itself must not be in the configuration",
        ))
    }
}

impl Word for CredentialDigest {
    const WHAT: &'static str =
        "a credential's digest: sha256: and 64 hexadecimal digits in lower case";
    const PATTERN: &'static str = "^sha256:[0-9a-f]{64}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        // neither message repeats the text: it may be somebody's key
        let Some(hex) = text.strip_prefix("sha256:") else {
            return Err(Mismatch::new(
                "not a digest: credentials must not be stored in plain text",
                "store `sha256:` and the output of `printf %s KEY | sha256sum`",
            ));
        };
        let bad = || {
            Mismatch::new(
                "invalid digest: expected 64 hexadecimal digits in lower case",
                "the output of `printf %s KEY | sha256sum`",
            )
        };
        if hex.len() != 64 {
            return Err(bad());
        }
        let mut digest = [0; 32];
        for (i, digit) in hex.bytes().enumerate() {
            let nibble = match digit {
                b'0'..=b'9' => digit.wrapping_sub(b'0'),
                b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
                _ => return Err(bad()),
            };
            if let Some(byte) = digest.get_mut(i / 2) {
                *byte = *byte << 4 | nibble;
            }
        }
        Ok(Self(digest))
    }
}

impl CredentialDigest {
    /// The digest of a credential's bytes, as presented.
    pub fn of(credential: &[u8]) -> Self {
        Self(sha2::Sha256::digest(credential).into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a snapshot keeps of a digest: its first half, the other is zero.
    pub fn of_key(key: [u8; 16]) -> Self {
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(key) {
            *to = from;
        }
        Self(digest)
    }
}

impl fmt::Display for CredentialDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    push_hex(bytes, &mut text);
    text
}

/// Likewise, at the end of a text.
pub fn push_hex(bytes: &[u8], text: &mut String) {
    let digit = |nibble: u8| nibble.wrapping_add(if nibble < 10 { b'0' } else { b'a' - 10 });
    for part in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(part) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
        }
        let digits = digits.get(..part.len().saturating_mul(2)).unwrap_or_default();
        text.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

/// Whether a text is so many lower-case hexadecimal digits.
pub fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of bytes, in lower-case hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

/// A number by all bytes, eight at a time (the multiplier is FxHash's), for places of a cache. A
/// caller who forces two values into one place only makes them take turns.
pub fn mixed(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.chain(rest.iter().map(|byte| u64::from(*byte))).fold(0, |mixed, word| {
        (u64::rotate_left(mixed, 5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// Bytes as text for a person: as they are if printable ASCII, else in hexadecimal.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|b| (b' '..=b'~').contains(&b)) => text.to_owned(),
        _ => format!("0x{}", hex(bytes)),
    }
}

/// An authority as signatures cover it: in lower case, without a default port (RFC 9421 2.2.3).
/// Behind a proxy that ends TLS nobody knows which scheme the caller used, so the default port of
/// either scheme is dropped.
pub fn authority(authority: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(authority).ok()?;
    let bare = [":443", ":80"]
        .into_iter()
        .find_map(|port| text.strip_suffix(port))
        .filter(|bare| !bare.is_empty() && !bare.ends_with(':'));
    let bare = bare.unwrap_or(text);
    // an ordinary one is in lower case
    Some(if bare.bytes().any(|b| b.is_ascii_uppercase()) {
        bare.to_ascii_lowercase().into()
    } else {
        bare.into()
    })
}
