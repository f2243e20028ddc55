//! What Envoy lends for the time of a hook.

use crate::decision::request::Pair;

/// A server's answer to a call. Of one that broke off, nothing is there.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The headers
    pub headers: Vec<Pair<'a>>,
    /// The body, in parts
    pub body: Vec<&'a [u8]>,
}

impl Answer<'_> {
    /// The body's size in bytes.
    pub fn size(&self) -> usize {
        self.body.iter().map(|part| part.len()).fold(0, usize::saturating_add)
    }

    /// At most `most` bytes of the body, from `begin` on.
    pub fn read(&self, begin: usize, most: usize) -> Vec<u8> {
        let mut read = Vec::with_capacity(most.min(self.size().saturating_sub(begin)));
        let mut skipped = begin;
        for part in &self.body {
            let rest = part.get(skipped..).unwrap_or_default();
            skipped = skipped.saturating_sub(part.len());
            let wanted = most.saturating_sub(read.len()).min(rest.len());
            read.extend_from_slice(rest.get(..wanted).unwrap_or_default());
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_parts_is_read_from_anywhere() {
        let answer = Answer { headers: Vec::new(), body: vec![b"abc", b"", b"defg", b"h"] };
        let whole = b"abcdefgh";
        assert_eq!(answer.size(), whole.len());
        for begin in 0..=whole.len() {
            for end in begin..=whole.len() {
                assert_eq!(answer.read(begin, end - begin), &whole[begin..end]);
            }
        }
        assert!(answer.read(9, 4).is_empty());
    }
}
