//! Captured requests, in JSON or as HTTP text, for the pure core.
//!
//! `docs/configuration.md` describes the JSON. HTTP text is a request line, header lines and an
//! empty line. It may come from `curl -v`: the mark `> ` is removed, and lines that curl adds are
//! skipped. A body is never read. The command line gives what HTTP doesn't carry: the direct peer
//! and the time.

use serde_json::json;

use super::arrival::{Approach, Arrival, EnvoyAnswer, SentRequest};
use super::clock::since_1970;
use super::headers::HeaderList;
use crate::config::Config;
use crate::decision::evidence::address::address_with_port;
use crate::decision::request::{ClaimValue, Pair, Request, Time, TlsNames};
use crate::decision::signals::{Signal, Signals};
use crate::shape::{
    Dictionary, Integer, Json, JsonWriter, Path, Problems, Shape, object, read_document,
};
use crate::terms::names::{Text, hex};
use crate::terms::time::{LAST_SECOND, UnixSeconds};

object! {
    /// A captured request.
    pub struct Capture {
        /// The method
        method: Text,
        /// The authority that the request is addressed to
        authority: Option<Text> = None,
        /// The path with its query
        path: Bytes,
        /// Name and value of each header, in order
        headers: Vec<HeaderPair> = Vec::new(),
        /// The address of the machine at the other end of the connection
        direct_peer: Option<Text> = None,
        /// The address that Envoy took for the client's. The node's own finding if left out
        envoy_client: Option<Text> = None,
        /// Names in the client certificate
        tls: TlsCapture = TlsCapture { uri_san: Vec::new(), dns_san: Vec::new() },
        /// Claims of verified JWTs, by the name in payload_in_metadata
        jwt: Dictionary<Text, Dictionary<Text, Json>> = Dictionary::new(),
        /// When the request came, in seconds since 1970. Now if left out
        time: Option<Integer<0, LAST_SECOND>> = None,
    }
}

object! {
    /// Names in a client certificate that Envoy verified.
    pub struct TlsCapture {
        /// URIs. The first counts
        uri_san: Vec<Text> = Vec::new(),
        /// DNS names. The first counts
        dns_san: Vec<Text> = Vec::new(),
    }
}

/// Bytes: a string, or `{"hex": "…"}` for bytes that aren't text.
#[derive(Debug, Clone)]
pub struct Bytes(pub Vec<u8>);

/// A header's name, in lower case as Envoy gives it, and its value.
#[derive(Debug, Clone)]
pub struct HeaderPair(pub(super) Vec<u8>, pub(super) Vec<u8>);

/// The bytes of a captured request, which [`Request`] borrows.
#[derive(Debug)]
pub struct RequestBuffer {
    headers: HeaderList,
    direct_peer: Option<Vec<u8>>,
    envoy_client: Option<Vec<u8>>,
    tls: TlsCapture,
    jwt: Dictionary<Text, Dictionary<Text, Json>>,
    time: Time,
}

impl Capture {
    /// Reads a request from a file's text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        if text.trim_start().starts_with('{') {
            let mut problems = Problems::default();
            let captured = read_document::<Self>(text, &mut problems).map(|(captured, _)| captured);
            return captured.filter(|_| problems.is_empty()).ok_or(problems);
        }
        Self::from_http(text)
    }

    fn from_http(text: &str) -> Result<Self, Problems> {
        let is_curl = text.lines().any(|line| line.starts_with("> "));
        let sent = |line| {
            if is_curl {
                str::strip_prefix(line, "> ").or(line.strip_prefix('>'))
            } else {
                Some(line)
            }
        };
        let mut lines = text.lines().filter_map(sent).map(str::trim_end);
        let first = lines.next().ok_or_else(|| invalid("the request is empty"))?;
        let [method, path, ..] = first.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
            return Err(invalid(&format!("`{first}` isn't a valid request line")));
        };
        let mut headers = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid(&format!("`{line}` isn't a valid header line")))?;
            headers.push(HeaderPair(name.trim().to_ascii_lowercase().into(), value.trim().into()));
        }
        let host = headers.iter().position(|HeaderPair(name, _)| name == b"host");
        let host = host.map(|i| headers.remove(i));
        let mut problems = Problems::default();
        let mut text =
            |text: &str| Text::read(&Json::Text(text.into()), &Path::Root, &mut problems);
        let authority = host.map(|HeaderPair(_, value)| text(&String::from_utf8_lossy(&value)));
        let (Some(method), None | Some(Some(_))) = (text(method), &authority) else {
            return Err(problems);
        };
        Ok(Self {
            method,
            authority: authority.flatten(),
            path: Bytes(path.into()),
            headers,
            direct_peer: None,
            envoy_client: None,
            tls: TlsCapture { uri_san: Vec::new(), dns_san: Vec::new() },
            jwt: Dictionary::new(),
            time: None,
        })
    }

    /// Sets what HTTP text doesn't carry.
    ///
    /// # Errors
    /// An invalid address or time.
    pub fn with(mut self, direct_peer: Option<&str>, time: Option<&str>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if let Some(peer) = direct_peer {
            if address_with_port(peer.as_bytes()).is_none() {
                let message = format!("--direct-peer: `{peer}` isn't a valid address");
                problems.wrong(&Path::Root, &message, "such as `203.0.113.9`");
            }
            self.direct_peer = Text::read(&Json::Text(peer.into()), &Path::Root, &mut problems);
        }
        if let Some(time) = time {
            let seconds = UnixSeconds::read(&Json::Text(time.into()), &Path::Root, &mut problems);
            self.time = seconds.and_then(|time| u64::try_from(time.0).ok()).map(Integer);
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// Completes a request as the node sees it: pseudo-headers first, lines joined as Envoy joins
    /// them, and a time.
    pub fn complete(self) -> RequestBuffer {
        let mut headers = HeaderList::default();
        self.lines().iter().for_each(|(name, value)| headers.add(name, value));
        let text = |text: &Option<Text>| text.as_ref().map(|text| bytes(text).to_vec());
        let (direct_peer, envoy_client) = (text(&self.direct_peer), text(&self.envoy_client));
        self.buffer(headers, direct_peer, envoy_client)
    }

    /// Completes a request as its client sent it: plays Envoy up to the node. Adds to `gaps` what
    /// can't be played.
    ///
    /// # Errors
    /// That Envoy answers by itself.
    pub fn receive(
        self,
        approach: &Approach,
        config: &Config,
        gaps: &mut Vec<String>,
    ) -> Result<RequestBuffer, EnvoyAnswer> {
        let sent = SentRequest {
            headers: &self.lines(),
            peer: self.direct_peer.as_ref().map(bytes),
            client: self.envoy_client.as_ref().map(bytes),
            has_claims: !self.jwt.is_empty(),
        };
        let Arrival { headers, direct, client } = approach.receive(&sent, gaps)?;
        let pairs: Vec<Pair<'_>> = headers.iter().collect();
        let signals = Signals::read(config, &pairs, |signal| match signal {
            Signal::DirectPeer => direct.clone(),
            Signal::EnvoyClient => client.clone().map(String::into_bytes),
            Signal::Certificate(_) | Signal::Claim(_) => None,
        });
        let addresses = signals.request(Vec::new(), Time(0));
        let direct_peer = addresses.direct_peer.map(<[u8]>::to_vec);
        let known = self.envoy_client.as_ref().map(bytes);
        let envoy_client = known.or(addresses.envoy_client).map(<[u8]>::to_vec);
        Ok(self.buffer(headers, direct_peer, envoy_client))
    }

    /// The lines as they were written, behind the pseudo-headers.
    fn lines(&self) -> HeaderList {
        let mut lines = HeaderList::default();
        lines.push(b":method", bytes(&self.method));
        self.authority.iter().for_each(|name| lines.push(b":authority", bytes(name)));
        lines.push(b":path", &self.path.0);
        self.headers.iter().for_each(|HeaderPair(name, value)| lines.push(name, value));
        lines
    }

    fn buffer(
        self,
        headers: HeaderList,
        direct_peer: Option<Vec<u8>>,
        envoy_client: Option<Vec<u8>>,
    ) -> RequestBuffer {
        // a request without a time is one of now
        let now = || u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX);
        let time = self.time.map_or_else(now, |seconds| seconds.0.saturating_mul(1_000_000_000));
        RequestBuffer {
            headers,
            direct_peer,
            envoy_client,
            tls: self.tls,
            jwt: self.jwt,
            time: Time(time),
        }
    }
}

/// A problem of HTTP text.
fn invalid(message: &str) -> Problems {
    let mut problems = Problems::default();
    let help =
        "expected a line such as `POST /v1/messages HTTP/1.1`, header lines, and an empty line";
    problems.wrong(&Path::Root, message, help);
    problems
}

impl RequestBuffer {
    /// The request as the pure core takes it. It has the claims that are text: Envoy gives no
    /// others.
    pub fn request(&self) -> Request<'_> {
        let claims = self.jwt.iter().flat_map(|(provider, claims)| {
            claims.iter().filter_map(|(claim, value)| {
                let value = value.as_str()?.as_bytes();
                Some(ClaimValue { provider: provider.as_str(), claim: claim.as_str(), value })
            })
        });
        Request {
            headers: self.headers.iter().collect(),
            direct_peer: self.direct_peer.as_deref(),
            envoy_client: self.envoy_client.as_deref(),
            tls: TlsNames {
                uri_san: self.tls.uri_san.first().map(bytes),
                dns_san: self.tls.dns_san.first().map(bytes),
            },
            claims: claims.collect(),
            time: self.time,
        }
    }
}

fn bytes(text: &Text) -> &[u8] {
    text.as_str().as_bytes()
}

impl Shape for Bytes {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let hex = match json {
            Json::Text(text) => return Some(Self(text.clone().into_bytes())),
            other => other.get("hex"),
        };
        let digits = match hex {
            Some(Json::Text(digits)) if digits.len().is_multiple_of(2) => digits.as_bytes(),
            _ => {
                let help = "write bytes that aren't text as an even number of hexadecimal digits";
                problems.wrong(at, "expected a string or {\"hex\": \"…\"}", help);
                return None;
            }
        };
        let byte = |pair: &[u8]| {
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        if bytes.is_none() {
            problems.note(at, "invalid hexadecimal digits", None);
        }
        bytes.map(Self)
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw(&text_or_hex(&self.0).to_string());
    }

    fn schema() -> serde_json::Value {
        let properties = json!({"hex": {"type": "string"}});
        json!({"oneOf": [
            {"type": "string"},
            {"type": "object", "properties": properties, "required": ["hex"]},
        ]})
    }
}

impl Shape for HeaderPair {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Json::List(pair) = json else {
            let message = format!("expected a pair [name, value], found {}", json.kind());
            problems.note(at, message, None);
            return None;
        };
        let [Json::Text(name), value] = pair.as_slice() else {
            let help = "such as [\"x-api-key\", \"sk-…\"]";
            problems.wrong(at, "expected a pair [name, value]", help);
            return None;
        };
        Bytes::read(value, &Path::Element(at, 1), problems)
            .map(|Bytes(value)| Self(name.to_ascii_lowercase().into(), value))
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw(&json!([text_or_hex(&self.0), text_or_hex(&self.1)]).to_string());
    }

    fn schema() -> serde_json::Value {
        let items = json!([{"type": "string"}, Bytes::schema()]);
        json!({"type": "array", "prefixItems": items, "minItems": 2, "maxItems": 2})
    }
}

/// Bytes as JSON: a string if printable ASCII, else `{"hex": "…"}`.
pub fn text_or_hex(bytes: &[u8]) -> serde_json::Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|b| (b' '..=b'~').contains(&b)) => text.into(),
        _ => json!({"hex": hex(bytes)}),
    }
}
