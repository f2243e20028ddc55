//! What Envoy lends for the time of a hook.

use crate::decision::request::Pair;

/// A copy of headers or trailers.
#[derive(Debug, Default)]
pub struct FieldCopy {
    bytes: Vec<u8>,
    sizes: Vec<(usize, usize)>,
}

/// A server's answer to a call. Of one that broke off, nothing is there.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The headers
    pub headers: Vec<Pair<'a>>,
    /// The body, in parts
    pub body: Vec<&'a [u8]>,
}

impl FieldCopy {
    /// A copy of these pairs.
    pub fn of<'a>(pairs: impl ExactSizeIterator<Item = Pair<'a>>) -> Self {
        // an ordinary request has less
        let mut copy =
            Self { bytes: Vec::with_capacity(2_048), sizes: Vec::with_capacity(pairs.len()) };
        for (name, value) in pairs {
            copy.bytes.extend_from_slice(name);
            copy.bytes.extend_from_slice(value);
            copy.sizes.push((name.len(), value.len()));
        }
        copy
    }

    /// The pairs, in order.
    pub fn pairs(&self) -> Vec<Pair<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut take = |size: usize| {
            let (taken, others) = rest.split_at_checked(size).unwrap_or_default();
            rest = others;
            taken
        };
        self.sizes.iter().map(|(name, value)| (take(*name), take(*value))).collect()
    }
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
    fn a_copy_has_what_was_copied() {
        let pairs: [Pair<'_>; 3] = [(b"a", b"1"), (b"empty", b""), (b"c", b"333")];
        assert_eq!(FieldCopy::of(pairs.into_iter()).pairs(), pairs);
    }

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
