//! A request's header lines as Envoy keeps them.

/// Headers whose lines Envoy joins by a comma before any filter sees them: its inline headers that
/// a client may send. Seen on Envoy 1.40; `test_hostile.py` holds the list against the real one.
pub const JOINED_BY_ENVOY: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Headers about one connection, whose lines Envoy joins too before it reads them.
const JOINED_WHEN_READ: [&str; 3] = ["connection", "te", "upgrade"];

/// Header lines in order, names in lower case, with the pseudo-headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList(Vec<(Vec<u8>, Vec<u8>)>);

impl HeaderList {
    /// The lines.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The value of the first line with that name.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    /// Adds a line as it is.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_vec(), value.to_vec()));
    }

    /// Adds a line. Envoy joins it to the earlier ones of an inline header, unless it is empty.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let mut joined = JOINED_BY_ENVOY.iter().chain(&JOINED_WHEN_READ);
        let is_joined = joined.any(|joined| joined.as_bytes() == name);
        match self.0.iter_mut().find(|(earlier, _)| is_joined && earlier == name) {
            Some((_, lines)) if lines.is_empty() => *lines = value.to_vec(),
            Some((_, lines)) if !value.is_empty() => *lines = [lines, value].join(&b','),
            Some(_) => {}
            None => self.push(name, value),
        }
    }

    /// Replaces all lines of a name by one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        match self.0.iter().position(|(other, _)| other == name.as_bytes()) {
            Some(first) => {
                let mut index = 0_usize;
                self.0.retain_mut(|(other, old)| {
                    let is_first = index == first;
                    index = index.saturating_add(1);
                    if is_first {
                        *old = value.to_vec();
                    }
                    is_first || other != name.as_bytes()
                });
            }
            None => self.push(name.as_bytes(), value),
        }
    }

    /// Removes all lines of a name.
    pub fn remove(&mut self, name: &str) {
        self.retain(|other, _| other != name.as_bytes());
    }

    /// Keeps the lines that are wanted.
    pub fn retain(&mut self, wanted: impl Fn(&[u8], &[u8]) -> bool) {
        self.0.retain(|(name, value)| wanted(name, value));
    }
}
