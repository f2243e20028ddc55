//! YAML and JSON as Envoy reads them, with the line of each value.
//!
//! Envoy reads YAML by yaml-cpp, takes the last of two equal names, leaves out what the tag
//! `!ignore` marks, and knows no merge keys (`source/common/protobuf/yaml_utility.cc`). A field has
//! two spellings, `http_filters` and `httpFilters`; null is a field that isn't set.

use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Yaml {
    /// Its line, counted from 1
    pub line: usize,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    Null,
    Scalar(Rc<Scalar>),
    List(Rc<[Yaml]>),
    Map(Rc<[(YamlKey, Yaml)]>),
}

#[derive(Debug)]
struct Scalar {
    text: String,
    style: ScalarStyle,
}

/// A name in a map.
#[derive(Debug, Clone)]
pub struct YamlKey {
    /// The name, as written
    pub name: Rc<str>,
    /// Its line
    pub line: usize,
}

/// Why a text isn't YAML that Envoy could read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// The line, counted from 1
    pub line: usize,
    /// What is wrong
    pub message: String,
}

/// The documents of a file, and the line of a merge key in it, which Envoy itself refuses.
#[derive(Debug, Default)]
pub struct YamlDocuments {
    /// The documents, in order
    pub roots: Vec<Yaml>,
    /// The first merge key's line
    pub merge_key: Option<usize>,
}

/// Levels of lists and maps in one another. Envoy's own files have about 30.
const MOST_LEVELS: usize = 200;
/// Values of a file with each alias written out: a few lines could stand for billions.
const MOST_VALUES: usize = 2_000_000;

const NULL: Yaml = Yaml { line: 0, data: Data::Null };

/// Reads a file.
///
/// # Errors
/// What isn't YAML, is nested too deeply, or grows too large by its aliases.
pub fn parse(text: &str) -> Result<YamlDocuments, YamlError> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| YamlError {
            line: error.marker().line(),
            message: error.info().to_owned(),
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// A list or map of which the end isn't read yet.
#[derive(Debug)]
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    ignored: bool,
    /// The name that the next value of a map belongs to, and whether `!ignore` marks it
    key: Option<(YamlKey, bool)>,
    list: Vec<Yaml>,
    map: Vec<(YamlKey, Yaml)>,
    merged: Vec<(YamlKey, Yaml)>,
    size: usize,
}

#[derive(Debug, Default)]
struct Builder {
    documents: YamlDocuments,
    open: Vec<Open>,
    /// By anchor: the value, and how many values are in it
    anchors: Vec<Option<(Yaml, usize)>>,
    size: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
            Event::DocumentEnd => self.anchors.clear(),
            Event::Alias(anchor) => {
                let known = self.anchors.get(anchor).and_then(Clone::clone);
                let Some((value, size)) = known else {
                    return Err(error(line, "an alias inside the value that it stands for"));
                };
                self.put(Yaml { line, ..value }, 0, size, false)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_ignored = tag.as_deref().is_some_and(is_ignore);
                let null = ["", "~", "null", "Null", "NULL"].contains(&text.as_ref());
                let data = if style == ScalarStyle::Plain && tag.is_none() && null {
                    Data::Null
                } else {
                    Data::Scalar(Rc::new(Scalar { text: text.into_owned(), style }))
                };
                self.put(Yaml { line, data }, anchor, 1, is_ignored)?;
            }
            Event::SequenceStart(anchor, tag) => self.start(line, anchor, false, tag.as_deref())?,
            Event::MappingStart(anchor, tag) => self.start(line, anchor, true, tag.as_deref())?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let data = if open.is_map {
                    let mut map = open.map;
                    let own = map.len();
                    for (key, value) in open.merged {
                        // a map's own names win over merged ones
                        let is_own =
                            map.iter().take(own).any(|(known, _)| same(&known.name, &key.name));
                        if !is_own {
                            map.push((key, value));
                        }
                    }
                    Data::Map(map.into())
                } else {
                    Data::List(open.list.into())
                };
                let value = Yaml { line: open.line, data };
                self.put(value, open.anchor, open.size.saturating_add(1), open.ignored)?;
            }
        }
        Ok(())
    }

    fn start(
        &mut self,
        line: usize,
        anchor: usize,
        is_map: bool,
        tag: Option<&Tag>,
    ) -> Result<(), YamlError> {
        if self.open.len() >= MOST_LEVELS {
            return Err(error(line, &format!("nested deeper than {MOST_LEVELS} levels")));
        }
        self.open.push(Open {
            line,
            anchor,
            is_map,
            ignored: tag.is_some_and(is_ignore),
            key: None,
            list: Vec::new(),
            map: Vec::new(),
            merged: Vec::new(),
            size: 0,
        });
        Ok(())
    }

    fn put(
        &mut self,
        value: Yaml,
        anchor: usize,
        size: usize,
        ignored: bool,
    ) -> Result<(), YamlError> {
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor.saturating_add(1), None);
            }
            if let Some(slot) = self.anchors.get_mut(anchor) {
                *slot = Some((value.clone(), size));
            }
        }
        self.size = self.size.saturating_add(size);
        if self.size > MOST_VALUES.saturating_mul(2) {
            let message = format!("more than {MOST_VALUES} values, with aliases written out");
            return Err(error(value.line, &message));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.roots.push(value);
            return Ok(());
        };
        open.size = open.size.saturating_add(size);
        if !open.is_map {
            open.list.push(value);
            return Ok(());
        }
        match open.key.take() {
            None => {
                let Some(name) = value.text() else {
                    return Err(error(value.line, "expected a name, found a list, a map or null"));
                };
                open.key = Some((YamlKey { name: name.into(), line: value.line }, ignored));
            }
            Some((_, true)) => {}
            Some((key, false)) if &*key.name == "<<" => {
                self.documents.merge_key.get_or_insert(key.line);
                let one = [value.clone()];
                let maps = if value.items().is_empty() { &one[..] } else { value.items() };
                open.merged.extend(maps.iter().flat_map(Yaml::members).cloned());
            }
            Some((key, false)) => open.map.push((key, value)),
        }
        Ok(())
    }
}

fn error(line: usize, message: &str) -> YamlError {
    YamlError { line, message: message.to_owned() }
}

fn is_ignore(tag: &Tag) -> bool {
    tag.handle == "!" && tag.suffix == "ignore"
}

/// Whether two names are one field for Envoy: `http_filters` and `httpFilters`.
pub fn same(one: &str, other: &str) -> bool {
    let is_field = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    one == other || (is_field(one) && is_field(other) && camels(one).eq(camels(other)))
}

/// A field's name in lower camel case, as protobuf derives it.
fn camels(name: &str) -> impl Iterator<Item = u8> {
    let mut after_underscore = false;
    name.bytes().filter_map(move |b| {
        if b == b'_' {
            after_underscore = true;
            return None;
        }
        let upper = std::mem::take(&mut after_underscore);
        Some(if upper { b.to_ascii_uppercase() } else { b })
    })
}

impl Yaml {
    /// The value of a field; nothing where it isn't set or is null. Of two, Envoy takes the last.
    pub fn get(&self, field: &str) -> Option<&Self> {
        let named = self.members().iter().rev().find(|(key, _)| same(&key.name, field));
        named.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The value that a row of fields leads to.
    pub fn at(&self, fields: &[&str]) -> Option<&Self> {
        fields.iter().try_fold(self, |value, field| value.get(field))
    }

    /// The text of a field.
    pub fn str(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Self::text)
    }

    /// The elements of a field that is a list.
    pub fn list(&self, field: &str) -> &[Self] {
        self.get(field).map(Self::items).unwrap_or_default()
    }

    /// Whether a field of type bool is true for Envoy. Of another type, it isn't.
    pub fn is_true(&self, field: &str) -> bool {
        self.str(field).is_some_and(|text| is_word(text, ["true", "yes", "on", "y", "t", "1"]))
    }

    /// Whether a field of type bool may be true: it is set, and isn't false.
    pub fn may_be_true(&self, field: &str) -> bool {
        self.get(field).is_some_and(|value| {
            let no = ["false", "no", "off", "n", "f", "0"];
            !value.text().is_some_and(|text| is_word(text, no))
        })
    }

    /// A field's whole number.
    pub fn number(&self, field: &str) -> Option<u64> {
        let text = self.str(field)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(scalar) => Some(&scalar.text),
            Data::Null | Data::List(_) | Data::Map(_) => None,
        }
    }

    /// Whether each line of the text is a line of the file. Its `line` is then that of the first.
    pub fn is_block(&self) -> bool {
        matches!(&self.data, Data::Scalar(scalar) if scalar.style == ScalarStyle::Literal)
    }

    /// The elements of a list.
    pub fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Null | Data::Scalar(_) | Data::Map(_) => &[],
        }
    }

    /// The members of a map.
    pub fn members(&self) -> &[(YamlKey, Self)] {
        match &self.data {
            Data::Map(members) => members,
            Data::Null | Data::Scalar(_) | Data::List(_) => &[],
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// The type that `@type` names, without what is before the slash.
    pub fn type_name(&self) -> Option<&str> {
        self.members()
            .iter()
            .rev()
            .find(|(key, _)| &*key.name == "@type")
            .and_then(|(_, url)| url.text().map(|url| url.rsplit('/').next().unwrap_or(url)))
    }

    /// The typed value of an extension: its type, and its fields. A TypedStruct is opened.
    pub fn typed(&self) -> Option<(&str, &Self)> {
        let name = self.type_name()?;
        if !["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"].contains(&name) {
            return Some((name, self));
        }
        let url = self.str("type_url")?;
        Some((url.rsplit('/').next().unwrap_or(url), self.get("value").unwrap_or(&NULL)))
    }

    /// The type and the settings of an extension.
    pub fn extension(&self) -> Option<(&str, &Self)> {
        self.get("typed_config")?.typed()
    }

    /// Calls `see` for this value and all values in it.
    pub fn walk<'a>(&'a self, see: &mut dyn FnMut(&'a Self)) {
        see(self);
        self.items().iter().for_each(|item| item.walk(see));
        self.members().iter().for_each(|(_, value)| value.walk(see));
    }

    /// Whether a text in it is this word, in any case.
    pub fn mentions(&self, word: &str) -> bool {
        let mut found = false;
        self.walk(&mut |value| {
            found |= value.text().is_some_and(|text| text.eq_ignore_ascii_case(word));
        });
        found
    }

    /// Whether it is the same value at the same place, not a copy.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.data, &other.data) {
            (Data::Map(one), Data::Map(another)) => Rc::ptr_eq(one, another),
            (Data::List(one), Data::List(another)) => Rc::ptr_eq(one, another),
            _ => false,
        }
    }
}

fn is_word<const N: usize>(text: &str, words: [&str; N]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}
