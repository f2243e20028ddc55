//! What is wrong with a document: each mistake with its place, its words and a hint.

use std::fmt;

use super::json::Json;

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON path, `$.node.id`; empty where it concerns a file as a whole
    pub path: String,
    /// What is wrong, in the user's words
    pub message: String,
    /// What to do
    pub help: Option<String>,
}

/// The mistakes of one document, in the order found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Why a text isn't what its place asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong
    pub message: String,
    /// What to do
    pub help: Option<String>,
}

/// The way from the document's root to a value.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// `$`
    Root,
    /// A member of an object
    Member(&'a Path<'a>, &'a str),
    /// An element of an array
    Element(&'a Path<'a>, usize),
}

/// The candidate that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .copied()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8) // strsim's 0..1; below, suggestions read as random
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or the list to choose from.
pub fn suggestion(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => "none is allowed here".into(),
        None => format!("one of `{}`", candidates.join("`, `")),
    }
}

// === impl Problem, Problems, Mismatch ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

const MISSING: &str = "missing field ";

impl Problem {
    /// The member that isn't there, where that is the mistake.
    pub fn missing_field(&self) -> Option<&str> {
        self.message.strip_prefix(MISSING).map(|name| name.trim_matches('`'))
    }
}

impl Problems {
    /// Notes one mistake.
    pub fn note(&mut self, at: &Path<'_>, message: impl Into<String>, help: Option<String>) {
        self.0.push(Problem { path: at.to_string(), message: message.into(), help });
    }

    /// Notes one mistake with a hint. Never inlined and without ownership: each call costs
    /// least so.
    #[inline(never)]
    pub fn wrong(&mut self, at: &Path<'_>, message: &str, help: &str) {
        self.note(at, message, Some(help.to_owned()));
    }

    /// Says in better words what is wrong at a place, if anything is.
    #[cold]
    pub fn reword(&mut self, path: &str, message: &str, help: &str) {
        for problem in self.0.iter_mut().filter(|problem| problem.path == path) {
            problem.message = message.to_owned();
            problem.help = Some(help.to_owned());
        }
    }

    /// Notes that a member isn't there.
    pub fn missing(&mut self, at: &Path<'_>, name: &str) {
        self.note(at, format!("{MISSING}`{name}`"), None);
    }

    /// Notes a second member of the same name.
    pub(super) fn duplicate(&mut self, at: &Path<'_>, name: &str) {
        self.wrong(at, &format!("duplicate field `{name}`"), "keep one of the two");
    }

    /// Notes that a text isn't what its place asks for.
    pub fn mismatch(&mut self, at: &Path<'_>, mismatch: Mismatch) {
        self.note(at, mismatch.message, mismatch.help);
    }

    /// Takes in a mistake that is already put into words.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl Mismatch {
    /// A mistake with a hint.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Member(parent, name)
                if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                write!(f, "{parent}.{name}")
            }
            Self::Member(parent, name) => write!(f, "{parent}[{name:?}]"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Notes that another type was expected.
pub fn wrong_type(at: &Path<'_>, expected: &str, found: &Json, problems: &mut Problems) {
    let help = matches!(found, Json::Null).then(|| "leave the field out instead".into());
    problems.note(at, format!("expected {expected}, found {}", found.kind()), help);
}
