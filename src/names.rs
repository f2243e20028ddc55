//! The small types that documents and requests are made of: names, addresses, dates, digests.
//!
//! Each has one constructor that parses, so whoever holds one needn't look at it again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use ipnet::{IpNet, Ipv6Net};
use serde::{Serialize, Serializer};
use sha2::Digest as _;

use crate::key::VerifyingKey;
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

/// What people write down for each other: text of several lines, as long as a cell of a spreadsheet may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes(String);

/// An `https:` or `mailto:` address that may stand in a `Link` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Url(String);

/// A path, or the beginning of one, that starts with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath(String);

/// An Ed25519 public key: 32 bytes in standard base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey(VerifyingKey);

/// The name of an environment variable that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName(String);

/// A NAT64 prefix of 96 bits (RFC 6052, 2.2), behind which an IPv4 address stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat64Prefix(Ipv6Net);

/// A network in CIDR notation. IPv4-mapped IPv6 networks are held as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpNet);

/// The SHA-256 digest of a credential's bytes: what a register stores instead of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialDigest([u8; 32]);

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
pub const LAST_SECOND: u64 = 253_402_300_799;

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
text!(
    NodeId,
    Authority,
    CustomerId,
    RouteName,
    HeaderName,
    HeaderText,
    Text,
    Notes,
    Url,
    UrlPath,
    VariableName
);

impl Word for NodeId {
    const WHAT: &'static str = "a node's name, such as acme.example";
    const PATTERN: &'static str = "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        if bytes.len() <= 253
            && bytes.iter().all(|b| allowed(*b))
            && ends(bytes.first())
            && ends(bytes.last())
        {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(
            format!("`{text}` is no node name"),
            "a host name in lower case, such as `acme.example`",
        ))
    }
}

impl Word for Authority {
    const WHAT: &'static str =
        "a host name with an optional port, such as api.provider.example:8443";
    const PATTERN: &'static str = r"^[a-z0-9\[][a-z0-9.:\[\]_-]{0,259}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let bytes = text.as_bytes();
        let allowed =
            |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".:[]_-".contains(b);
        let first = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'[';
        if bytes.len() <= 260 && bytes.first().is_some_and(first) && bytes.iter().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(
            format!("`{text}` is no authority"),
            "a host name in lower case with an optional port, without `https://` and path",
        ))
    }
}

impl Word for CustomerId {
    const WHAT: &'static str = "a customer's pseudonym, such as c-1042: letters, digits and . _ : @ / - , 64 characters at most";
    const PATTERN: &'static str = "^[A-Za-z0-9._:@/-]{1,64}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:@/-".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        // 64 is what OpenAI's safety identifier holds, so that the id can always be sent as it is
        Err(Mismatch::new(
            format!("`{text}` is no customer id"),
            "1 to 64 letters, digits and `.` `_` `:` `@` `/` `-`: a pseudonym, not a name",
        ))
    }
}

impl Word for RouteName {
    const WHAT: &'static str = "a route's name: lower-case letters, digits, - and _";
    const PATTERN: &'static str = "^[a-z0-9_-]{1,64}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(
            format!("`{text}` is no route name"),
            "1 to 64 lower-case letters, digits, `-` and `_`",
        ))
    }
}

impl Word for HeaderName {
    const WHAT: &'static str = "a header's name in lower case";
    const PATTERN: &'static str = "^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        // RFC 9110 5.6.2: token
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+.^_`|~-".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        let help = match text.to_ascii_lowercase() {
            lower if lower != text && lower.bytes().all(allowed) => format!("write `{lower}`"),
            _ => "lower-case letters, digits and `-`".into(),
        };
        Err(Mismatch::new(format!("`{text}` is no header name in lower case"), help))
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
        Err(Mismatch::new(
            "this can't be a header's value",
            "1 to 1,024 visible ASCII characters, no spaces around them",
        ))
    }
}

impl Word for Text {
    const WHAT: &'static str = "a text of 1 to 1,024 bytes without control characters";
    const PATTERN: &'static str = r"^[^\u0000-\u001f\u007f]{1,1024}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if (1..=1024).contains(&text.len()) && !text.bytes().any(|b| b.is_ascii_control()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(
            "this text is empty, too long or has control characters",
            "1 to 1,024 bytes",
        ))
    }
}

impl Word for Notes {
    const WHAT: &'static str = "text of up to 32767 characters, line breaks included";
    const PATTERN: &'static str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]{0,32767}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if text.chars().count() > 32_767 {
            return Err(Mismatch::new("these notes are too long", "32767 characters at most"));
        }
        if text.bytes().any(|b| (b < b' ' && !b"\t\n\r".contains(&b)) || b == 0x7f) {
            return Err(Mismatch::new(
                "there is a control character in these notes",
                "take it out; line breaks and tabs may stay",
            ));
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
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("mailto:"));
        if rest.is_some_and(|rest| (1..=1000).contains(&rest.len()) && rest.bytes().all(allowed)) {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(
            format!("`{text}` is no address that a refused caller could open"),
            "an `https://` or `mailto:` address, percent-encoded",
        ))
    }
}

impl Word for UrlPath {
    const WHAT: &'static str = "a path that starts with a slash";
    const PATTERN: &'static str = r"^/[!-~]{0,1000}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if text.starts_with('/')
            && text.len() <= 1001
            && text.bytes().all(|b| (b'!'..=b'~').contains(&b))
        {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(
            format!("`{text}` is no path"),
            "a path starts with `/` and has no spaces",
        ))
    }
}

impl Word for TrustedKey {
    const WHAT: &'static str = "an Ed25519 public key: 32 bytes in base64";
    const PATTERN: &'static str = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let wrong = || {
            Mismatch::new(
                "this is no Ed25519 public key",
                "32 bytes in standard base64: 43 characters and `=`",
            )
        };
        VerifyingKey::from_base64(text).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}

impl TrustedKey {
    /// The key.
    pub fn key(&self) -> &VerifyingKey {
        &self.0
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
            "this is no name of an environment variable",
            "the key itself never stands in the configuration; name the variable that holds it",
        ))
    }
}

impl Word for Network {
    const WHAT: &'static str = "a network in CIDR notation, such as 203.0.113.0/24";
    const PATTERN: &'static str = "^[0-9a-fA-F:.]+/[0-9]{1,3}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let bad = |help: String| {
            Err(Mismatch::new(format!("`{text}` is no network in CIDR notation"), help))
        };
        let Ok(network) = text.parse::<IpNet>() else {
            return match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => bad(format!("for this one address write `{text}/32`")),
                Ok(IpAddr::V6(_)) => bad(format!("for this one address write `{text}/128`")),
                Err(_) => bad("such as `203.0.113.0/24` or `2001:db8::/32`".into()),
            };
        };
        if network.trunc() != network {
            return bad(format!(
                "it has bits beyond its prefix; did you mean `{}`?",
                network.trunc()
            ));
        }
        let mapped = match network {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        Ok(Self(match mapped {
            Some((v4, prefix)) => IpNet::new(v4.into(), prefix).unwrap_or(network),
            None => network,
        }))
    }
}

impl Word for Nat64Prefix {
    const WHAT: &'static str = "a NAT64 prefix of 96 bits, such as 2001:db8:64::/96";
    const PATTERN: &'static str = "^[0-9a-fA-F:.]+/96$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        match text.parse::<IpNet>() {
            Ok(IpNet::V6(prefix)) if prefix.prefix_len() == 96 && prefix.trunc() == prefix => {
                Ok(Self(prefix))
            }
            _ => Err(Mismatch::new(
                format!("`{text}` is not a NAT64 prefix of 96 bits"),
                "the /96 that your NAT64 puts before IPv4 addresses, such as `2001:db8:64::/96`; 64:ff9b::/96 is known without it",
            )),
        }
    }
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Nat64Prefix {
    /// The IPv4 address behind this prefix.
    pub fn embedded(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let [.., a, b, c, d] = address.octets();
        self.0.contains(&address).then(|| Ipv4Addr::new(a, b, c, d))
    }
}

impl Network {
    /// The network of an address in 4 or 16 bytes and the length of its prefix.
    pub fn from_parts(address: &[u8], prefix: u8) -> Option<Self> {
        let address = match <[u8; 4]>::try_from(address) {
            Ok(v4) => IpAddr::from(v4),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        IpNet::new(address, prefix).ok().map(Self)
    }

    /// Its address in 4 or 16 bytes, and the length of its prefix.
    pub fn parts(&self) -> (Vec<u8>, u8) {
        let address = match self.0.addr() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        (address, self.0.prefix_len())
    }

    /// Whether the address is in it. IPv4-mapped addresses must be IPv4 by then.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Its first and its last address.
    pub fn range(&self) -> (IpAddr, IpAddr) {
        (self.0.network(), self.0.broadcast())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
                "this is no digest; a credential never stands here in plain text",
                "store `sha256:` and the output of `printf %s KEY | sha256sum`",
            ));
        };
        let bad = || {
            Mismatch::new(
                "this digest isn't 64 hexadecimal digits in lower case",
                "the output of `printf %s KEY | sha256sum`",
            )
        };
        if hex.len() != 64 {
            return Err(bad());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let mut value = 0_u8;
            for digit in pair {
                let nibble = match digit {
                    b'0'..=b'9' => digit.wrapping_sub(b'0'),
                    b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
                    _ => return Err(bad()),
                };
                value = value << 4 | nibble;
            }
            *byte = value;
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

impl Word for UnixSeconds {
    const WHAT: &'static str = "a time by RFC 3339, such as 2027-01-31T00:00:00Z";
    const PATTERN: &'static str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let second = |text: &str| {
            // the parser takes whatever stands between `Z` and another `Z`
            let text = Some(text)
                .filter(|text| text.len() == 20 || text.as_bytes().get(19) == Some(&b'.'))?;
            let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        let ahead_of_utc = || {
            let (time, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let sign = if offset.starts_with('+') { 1 } else { -1 };
            let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
            let number = |digits: &str, most: i64| {
                let digits = Some(digits).filter(|digits| {
                    digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
                })?;
                digits.parse::<i64>().ok().filter(|number| *number <= most)
            };
            let seconds = number(hours, 23)?
                .checked_mul(3_600)?
                .checked_add(number(minutes, 59)?.checked_mul(60)?)?;
            second(&format!("{time}Z"))?
                .checked_sub(seconds.checked_mul(sign)?)
                .filter(|second| u64::try_from(*second).is_ok_and(|second| second <= LAST_SECOND))
        };
        if let Some(second) = second(text).or_else(ahead_of_utc) {
            return Ok(Self(second));
        }
        let midnight = format!("{text}T00:00:00Z");
        let help = if humantime::parse_rfc3339(&midnight).is_ok() {
            format!("say when on that day: `{midnight}`")
        } else {
            "from 1970 on, such as `2027-01-31T00:00:00Z`".into()
        };
        Err(Mismatch::new(format!("`{text}` is no time by RFC 3339"), help))
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = u64::try_from(self.0)
            .ok()
            .filter(|seconds| *seconds <= LAST_SECOND)
            .map(Duration::from_secs);
        match since.and_then(|since| UNIX_EPOCH.checked_add(since)) {
            Some(time) => humantime::format_rfc3339_seconds(time).fmt(f),
            None => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for UnixSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The IPv4 address that an IPv6 address embeds, and by which it is judged.
///
/// IPv4-compatible and IPv4-mapped (RFC 4291, 2.5.5), SIIT's IPv4-translated (RFC 2765, 2.1), NAT64's well-known
/// prefix (RFC 6052, 2.1), 6to4 (RFC 3056, 2) and the client in a Teredo address (RFC 4380, 4). Without this, a tunnel
/// would be a way around what is known of an address.
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low =
        |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap_or_default());
    match (address.to_bits(), address.segments()) {
        (0 | 1, _) => None, // unspecified and loopback aren't IPv4-compatible
        (
            bits,
            [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
            | [0, 0, 0, 0, 0xffff, 0, _, _]
            | [0x64, 0xff9b, 0, 0, 0, 0, _, _],
        ) => Some(low(bits)),
        (bits, [0x2002, ..]) => Some(low(bits >> 80)),
        (bits, [0x2001, 0, ..]) => Some(low(!bits)),
        _ => None,
    }
}

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0'.wrapping_add(nibble)
        } else {
            b'a'.wrapping_add(nibble).wrapping_sub(10)
        }
    };
    let mut digits = Vec::with_capacity(bytes.len().saturating_mul(2));
    bytes.iter().for_each(|byte| digits.extend_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]));
    String::from_utf8(digits).unwrap_or_default()
}

/// Bytes as text for a person: as they are if printable ASCII, else in hexadecimal.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|b| (b' '..=b'~').contains(&b)) => text.to_owned(),
        _ => format!("0x{}", hex(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::{UnixSeconds, Word as _};

    #[test]
    fn times_have_offsets() {
        let second = |text| UnixSeconds::parse(text).ok().map(|time| time.0);
        assert_eq!(second("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(second("1970-01-01T08:00:01+08:00"), Some(1));
        assert_eq!(
            second("1969-12-31T16:00:01-08:00"),
            None,
            "nothing before 1970 is read, not even by its own clock"
        );
        assert_eq!(second("1970-01-01T00:00:00-23:59"), Some(86_340));
        assert_eq!(second("1970-01-01T01:00:00.999+00:30"), Some(1_800));
        for wrong in [
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2027-01-31T00:00:00+24:00",
            "2027-01-31T00:00:00+08:60",
            "2027-01-31T00:00:00+8:00",
            "2027-01-31T00:00:00+0800",
            "2027-01-31T00:00:00Z+08:00",
            "2027-01-31T00:00:00ZZ",
            "2027-01-31T00:00:00Z--Z",
            "2027-01-31T00:00:00.Z5Z",
            "2027-01-31T00:00:00 08:00",
            "2027-01-31T00:00:00é8:00",
            "2027-99-99T00:00:00+08:00",
            "+08:00",
            "",
        ] {
            assert_eq!(second(wrong), None, "{wrong}");
        }
    }
}
