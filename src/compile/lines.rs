//! Lines of values in a JSON text. [`Json`](crate::shape::Json) doesn't keep them, since only
//! mistakes need them.

use std::collections::HashMap;

use crate::shape::Path;

/// The lines, counted from 1, at which the given paths (as [`Path`] writes them) begin. One pass
/// over the text finds all paths. Of duplicate names the first counts. The text must be valid JSON:
/// for other text the answer may be anything, or nothing.
pub(super) fn locate<'p>(
    text: &[u8],
    paths: impl Iterator<Item = &'p str>,
) -> HashMap<&'p str, usize> {
    let mut wanted: HashMap<&'p str, Option<usize>> = paths.map(|path| (path, None)).collect();
    let mut scan = Scan { text, at: 0, line: 1, path: "$".into() };
    scan.walk(&mut |path, line| {
        if let Some(found) = wanted.get_mut(path) {
            found.get_or_insert(line);
        }
    });
    wanted.into_iter().filter_map(|(path, line)| Some((path, line?))).collect()
}

/// The lines at which the elements of the document's member `name`, a list, begin.
pub(super) fn of_elements(text: &[u8], name: &str) -> Vec<usize> {
    let prefix = format!("$.{name}[");
    let mut lines = Vec::new();
    let mut scan = Scan { text, at: 0, line: 1, path: "$".into() };
    scan.walk(&mut |path, line| {
        let index = path.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(']'));
        // a deeper path has a bracket or a dot behind the index; a duplicate list begins at 0 again
        if index.is_some_and(|index| index.parse() == Ok(lines.len())) {
            lines.push(line);
        }
    });
    lines
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    path: String,
}

/// An open bracket: the length of the path to it, and for a list the number of the next element.
struct Bracket {
    path: usize,
    next: Option<usize>,
}

impl Scan<'_> {
    /// Calls `visit` with the path and line of every value; for a member, with the line of its
    /// name.
    fn walk(&mut self, visit: &mut impl FnMut(&str, usize)) {
        let mut open: Vec<Bracket> = Vec::new();
        let mut named = false; // after a name, the path already leads to its value
        while let Some(byte) = self.next() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' => {}
                b'}' | b']' => {
                    open.pop();
                    self.close(&open);
                    named = false;
                }
                b'"' if !named && matches!(open.last(), Some(Bracket { next: None, .. })) => {
                    let line = self.line;
                    let name = self.string();
                    let member = Path::Member(&Path::Root, &name).to_string();
                    self.path.push_str(member.strip_prefix('$').unwrap_or_default());
                    visit(&self.path, line);
                    named = true;
                }
                _ => {
                    if let Some(Bracket { next: Some(next), .. }) = open.last_mut() {
                        self.path.push_str(&format!("[{next}]"));
                        *next = next.saturating_add(1);
                    }
                    if !named {
                        visit(&self.path, self.line);
                    }
                    named = false;
                    match byte {
                        b'{' | b'[' => open.push(Bracket {
                            path: self.path.len(),
                            next: (byte == b'[').then_some(0),
                        }),
                        b'"' => {
                            self.string();
                            self.close(&open);
                        }
                        _ => {
                            self.bare();
                            self.close(&open);
                        }
                    }
                }
            }
        }
    }

    /// Shortens the path after a value, to the list or object around it.
    fn close(&mut self, open: &[Bracket]) {
        self.path.truncate(open.last().map_or(1, |open| open.path));
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at = self.at.saturating_add(1);
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(byte)
    }

    /// The string whose opening quote was just read.
    fn string(&mut self) -> String {
        let begin = self.at.saturating_sub(1);
        while let Some(byte) = self.next() {
            match byte {
                b'"' => break,
                b'\\' => drop(self.next()),
                _ => {}
            }
        }
        serde_json::from_slice(self.text.get(begin..self.at).unwrap_or_default())
            .unwrap_or_default()
    }

    /// The rest of a number or a literal.
    fn bare(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| !b",]} \t\r\n".contains(byte)) {
            self.at = self.at.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Json;
    use proptest::prelude::*;

    #[test]
    fn paths_have_their_lines() {
        let text = concat!(
            "{\n  \"a\": [1,\n    {\"b\\u0063\": \"x\\\"}\",\n     \"d e\": []},\n\n    null],\n",
            "  \"f\":\n    {\"a\": 2}\n, \"a\": 3}"
        );
        let expected = [
            ("$", 1),
            ("$.a", 2),
            ("$.a[0]", 2),
            ("$.a[1]", 3),
            ("$.a[1].bc", 3),
            ("$.a[1][\"d e\"]", 4),
            ("$.a[2]", 6),
            ("$.f", 7),
            ("$.f.a", 8),
        ];
        let paths = expected.iter().map(|(path, _)| *path).chain(["$.b", "$.a[3]"]);
        assert_eq!(locate(text.as_bytes(), paths), expected.into_iter().collect());
        assert_eq!(of_elements(text.as_bytes(), "a"), [2, 3, 6]);
        assert_eq!(of_elements(b"{\"a\": [[0,\n[0]],\n{\"a\": [1]}]}", "a"), [1, 3]);
    }

    proptest! {
        /// Written one value a line, every path of any document is found, on its line.
        #[test]
        fn every_path_of_any_document_is_found(document in json()) {
            let mut text = String::new();
            let mut expected = Vec::new();
            write(&document, &Path::Root, &mut text, &mut expected);
            let found = locate(text.as_bytes(), expected.iter().map(|(path, _)| path.as_str()));
            for (path, line) in &expected {
                prop_assert_eq!(found.get(path.as_str()), Some(line), "{} in {}", path, text);
            }
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'['), Just(b'}'), Just(b'\\'), any::<u8>()], 0..64,
        )) {
            locate(&text, ["$", "$.a"].into_iter());
        }
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            ".{0,6}".prop_map(Json::Text)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
                proptest::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    fn write(json: &Json, at: &Path<'_>, text: &mut String, expected: &mut Vec<(String, usize)>) {
        let line = text.split('\n').count();
        expected.push((at.to_string(), line));
        match json {
            Json::List(items) => {
                text.push('[');
                for (i, item) in items.iter().enumerate() {
                    text.push_str(if i > 0 { ",\n" } else { "\n" });
                    write(item, &Path::Element(at, i), text, expected);
                }
                text.push(']');
            }
            Json::Object(members) => {
                text.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    text.push_str(if i > 0 { ",\n" } else { "\n" });
                    text.push_str(&serde_json::to_string(name).unwrap());
                    text.push(':');
                    write(value, &Path::Member(at, name), text, expected);
                }
                text.push('}');
            }
            leaf => leaf.write_canonical(text),
        }
    }
}
