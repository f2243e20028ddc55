//! Paths and names of hosts as Envoy's connection manager rewrites them.

use crate::cli::headers::HeaderList;
use crate::envoy::yaml::Yaml;
use crate::terms::names::hex;

/// A request that Envoy answers by itself: it never reaches the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyAnswer {
    /// The HTTP status
    pub status: u16,
    /// Why, in words
    pub why: &'static str,
}

/// Rewrites `:authority` and `:path`.
pub(super) fn normalize(manager: &Yaml, headers: &mut HeaderList) -> Result<(), EnvoyAnswer> {
    split_absolute(headers)?;
    let path = headers.first(":path").unwrap_or_default().to_vec();
    let refused = |status, why| Err(EnvoyAnswer { status, why });
    if !path.starts_with(b"/") || path.iter().any(|b| !b.is_ascii_graphic() || *b == b'#') {
        return refused(400, "invalid path");
    }
    let at = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
    let (path, query) = path.split_at_checked(at).unwrap_or_default();
    let mut path = path.to_vec();
    let action = manager.str("path_with_escaped_slashes_action").unwrap_or_default();
    if matches!(action, "REJECT_REQUEST" | "UNESCAPE_AND_REDIRECT" | "UNESCAPE_AND_FORWARD") {
        let unescaped = unescape(&path, |byte| matches!(byte, b'/' | b'\\'));
        match action {
            "REJECT_REQUEST" if unescaped != path => return refused(400, "an escaped slash"),
            "UNESCAPE_AND_REDIRECT" if unescaped != path => {
                return refused(307, "an escaped slash: redirected to the path without it");
            }
            _ => path = unescaped,
        }
    }
    if manager.is_true("normalize_path") {
        let Some(normalized) = canonical(&path) else { return refused(400, "invalid path") };
        path = normalized;
    }
    if manager.is_true("merge_slashes") {
        path.dedup_by(|one, other| *one == b'/' && *other == b'/');
    }
    headers.set(":path", &[path.as_slice(), query].concat());
    if let Some(host) = headers.first(":authority") {
        let host = host_of(manager, host);
        headers.set(":authority", &host);
    }
    Ok(())
}

/// Takes the authority out of a request line such as `GET http://host/path`.
fn split_absolute(headers: &mut HeaderList) -> Result<(), EnvoyAnswer> {
    let path = headers.first(":path").unwrap_or_default();
    let Some(rest) = path.strip_prefix(b"http://").or(path.strip_prefix(b"https://")) else {
        return Ok(());
    };
    let at = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(at).unwrap_or_default();
    let path = if path.is_empty() { b"/" } else { path };
    if !path.starts_with(b"/") {
        return Err(EnvoyAnswer { status: 404, why: "a path without a slash" });
    }
    let (host, path) = (host.to_vec(), path.to_vec());
    headers.set(":authority", &host);
    headers.set(":path", &path);
    Ok(())
}

/// A path with escapes of some bytes written out.
fn unescape(path: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(byte);
        match escaped.filter(|byte| wanted(*byte)) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn byte(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// A path under `normalize_path`. `None`: it is refused.
fn canonical(path: &[u8]) -> Option<Vec<u8>> {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if path.windows(3).any(|three| three == b"%00") {
        return None;
    }
    // first, dots lose the parameters behind them, if they are neither escaped nor behind `\`
    let bare = |segment: &'_ [u8]| -> Vec<u8> {
        match segment {
            [b'.', b';', ..] => b".".to_vec(),
            [b'.', b'.', b';', ..] => b"..".to_vec(),
            other => other.to_vec(),
        }
    };
    let path = path.split(|b| *b == b'/').map(bare).collect::<Vec<_>>().join(&b'/');
    let slashes: Vec<u8> = path.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut segments = slashes.split(|b| *b == b'/').skip(1).peekable();
    while let Some(written) = segments.next() {
        let segment = unescape(written, is_unreserved);
        if segment == b".." {
            kept.pop();
        } else if segment != b"." {
            kept.push(segment);
            continue;
        }
        if segments.peek().is_none() {
            kept.push(Vec::new());
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in kept {
        out.push(b'/');
        for byte in &segment {
            if br#""<>^`{|}"#.contains(byte) {
                out.push(b'%');
                out.extend(hex(&[*byte]).to_ascii_uppercase().bytes());
            } else {
                out.push(*byte);
            }
        }
    }
    Some(out)
}

/// A host's name under the settings that strip its port or its final dot.
fn host_of(manager: &Yaml, host: &[u8]) -> Vec<u8> {
    let colon = host.iter().rposition(|b| *b == b':').filter(|at| {
        let port = host.get(at.saturating_add(1)..).unwrap_or_default();
        !port.is_empty() && port.iter().all(u8::is_ascii_digit)
    });
    let (name, port) = host.split_at_checked(colon.unwrap_or(host.len())).unwrap_or_default();
    let is = |setting: &str| manager.is_true(setting);
    let mut port = port;
    if is("strip_any_host_port") || is("strip_matching_host_port") && port == b":80" {
        port = b"";
    }
    let name = match name.strip_suffix(b".") {
        Some(short) if is("strip_trailing_host_dot") => short,
        _ => name,
    };
    [name, port].concat()
}
