//! Compact JSON, written straight into one buffer.
//!
//! An event is written on every request, and serde's serializer took twice as long. Appending a
//! piece costs the same whether it is long or short, so a member's beginning is one text.

/// JSON while it is written.
#[derive(Debug, Default)]
pub struct JsonWriter {
    bytes: Vec<u8>,
    nulls: bool,
}

impl JsonWriter {
    /// A writer of reports, in which a member without a value is null.
    pub fn with_nulls() -> Self {
        Self { nulls: true, ..Self::default() }
    }

    /// Whether a member without a value is null; else it is left out.
    pub fn writes_nulls(&self) -> bool {
        self.nulls
    }

    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text so far; it is UTF-8 as long as only this writer's functions wrote it.
    pub fn into_string(self) -> String {
        String::from_utf8(self.bytes).unwrap_or_default()
    }

    /// Forgets the text and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Text that is JSON already.
    pub fn raw(&mut self, json: &str) {
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// A string; most need no escapes.
    pub fn string(&mut self, text: &str) {
        // looks at every byte, so that the compiler makes it 16 at a time
        let is_plain = |b: u8| (b >= b' ') & (b != b'"') & (b != b'\\');
        if text.bytes().fold(true, |all, b| all & is_plain(b)) {
            self.plain(text);
        } else {
            self.raw(&serde_json::to_string(text).unwrap_or_default());
        }
    }

    /// A string that needs no escapes: without quotes, backslashes and control characters.
    pub fn plain(&mut self, text: &str) {
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    /// A whole number.
    pub fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(digits(number, &mut [0; DIGITS]));
    }

    /// A list.
    pub fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&T, &mut Self)) {
        self.raw("[");
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            write(item, self);
        }
        self.raw("]");
    }
}

/// The most digits of a `u64`.
pub const DIGITS: usize = 20;

/// A number's decimal digits, at the end of `buffer`. Formatting them costs several times as much.
pub fn decimal(number: u64, buffer: &mut [u8; DIGITS]) -> &str {
    std::str::from_utf8(digits(number, buffer)).unwrap_or_default()
}

/// Likewise, as bytes.
pub fn digits(mut number: u64, buffer: &mut [u8; DIGITS]) -> &[u8] {
    let mut unused = DIGITS;
    for digit in buffer.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(number % 10).unwrap_or(0));
        unused = unused.saturating_sub(1);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.get(unused..).unwrap_or_default()
}
