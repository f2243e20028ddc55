//! The rules of the house, read off the source: lengths, widths, imports, names, words. Each prints
//! every violation with its file and line.
//!
//! Test code is what `#[cfg(test)]` marks, and files named `tests.rs`. Only lengths and widths hold
//! for it, and a width doesn't hold for its strings: these are test data.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use proc_macro2::{Delimiter, Group, LineColumn, Span, TokenStream, TokenTree};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Lines in a file of src/.
const MAX_LINES: usize = 600;
/// Columns in a line.
const MAX_COLUMNS: usize = 100;
/// Words in a sentence of the README.
const MAX_WORDS: usize = 25;
/// Words that no message has, and what to write.
const BANNED: [(&str, &str); 3] = [
    ("stands twice", "write \"duplicate `x`\""),
    ("is no", "write \"isn't a valid x\", \"not a x\" or \"no x is …\""),
    ("whoever", "name the subject"),
];

#[test]
fn no_file_is_long() {
    hold(&sources("src"), long_files);
}

#[test]
fn no_line_is_wide() {
    hold(&sources("src"), wide_lines);
    hold(&sources("tests"), wide_lines);
}

#[test]
fn no_files_import_each_other() {
    hold(&sources("src"), circles);
}

#[test]
fn no_type_name_has_two_meanings() {
    hold(&sources("src"), duplicate_types);
}

#[test]
fn no_message_is_a_riddle() {
    hold(&sources("src"), riddles);
}

/// The help is made of comments, so it is read as it is printed.
#[test]
fn no_help_is_a_riddle() {
    let help = |verb: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
        let output = command.args(verb).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(None);
    let verbs = all.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs = verbs.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 8, "the help's verbs weren't read: {verbs:?}");
    let pages = verbs.into_iter().filter(|verb| *verb != "help");
    let mut pages: Vec<(&str, String)> = pages.map(|verb| (verb, help(Some(verb)))).collect();
    pages.push(("", all.clone()));
    let found = pages.iter().flat_map(|(verb, text)| {
        banned(text).map(move |(word, hint)| format!("waybill {verb} --help: {word}: {hint}"))
    });
    report(found.collect());
}

#[test]
fn the_readme_has_short_sentences() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    assert!(sentences(&text).len() > 20, "README.md wasn't read");
    report(long_sentences("README.md", &text));
}

/// The module for Envoy has nothing of the desk in it.
#[test]
fn the_module_has_no_crate_of_the_desk() {
    let manifest = std::fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let desk = manifest.split("\ndesk = [").nth(1).unwrap().split(']').next().unwrap();
    let desk: Vec<&str> = desk.split('"').filter_map(|part| part.strip_prefix("dep:")).collect();
    assert!(desk.len() > 5, "the desk's crates weren't read: {desk:?}");
    let module = crates("entry");
    report(
        desk.iter()
            .filter(|name| module.contains(**name))
            .map(|name| format!("module: {name}"))
            .collect(),
    );
    assert!(!crates("desk").contains("proxy-wasm"), "the desk has the SDK of proxy-wasm");
    for (name, features) in [("proxy-wasm", "entry"), ("clap", "desk")] {
        assert!(crates(features).contains(name), "the tree of `{features}` wasn't read");
    }
}

/// A rule that can't fail holds nothing: each finds its violation here, and nothing beside.
#[test]
fn each_rule_can_fail() {
    type Rule = fn(&[Source]) -> Vec<String>;
    type Case<'a> = (Rule, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let long = "//\n".repeat(MAX_LINES + 1);
    let wide = "x".repeat(MAX_COLUMNS + 1);
    let comment = format!("// {wide}\n// https://{wide}");
    let literal = format!("const A: &str = \"{wide}\";\n#[cfg(test)]\nconst B: &str = \"{wide}\";");
    let cases: [Case<'_>; 8] = [
        (long_files, &[("src/a.rs", &long)], &["src/a.rs:601: 601 lines"]),
        (wide_lines, &[("src/a.rs", &comment)], &["src/a.rs:1: 104 columns"]),
        (wide_lines, &[("src/a.rs", &literal)], &["src/a.rs:1: 120 columns"]),
        (
            duplicate_types,
            &[
                ("src/a.rs", "struct Node; #[cfg(test)] mod t { struct Test; }"),
                ("src/b.rs", "object! { pub struct Node { a: A } }\nimpl T for A { type C = X; }"),
                ("src/c.rs", "trait T { type C; }\nmod t { struct Test; }"),
            ],
            &["src/b.rs:1: `Node` is also a type of src/a.rs:1"],
        ),
        (
            circles,
            &[
                ("src/lib.rs", "pub mod a; pub mod b; pub mod c;"),
                ("src/a.rs", "use crate::b::{self, B};\npub use x::X; mod x;"),
                ("src/a/x.rs", "use super::super::c::C; #[cfg(test)] use super::A;"),
                ("src/b.rs", "fn b() -> u8 {\n    crate::a::X::new()\n}"),
                ("src/c.rs", "fn c() { println!(\"{}\", crate::b::B) }"),
            ],
            &[
                "src/a/x.rs:1: imports src/c.rs",
                "src/b.rs:2: imports src/a/x.rs",
                "src/c.rs:1: imports src/b.rs",
            ],
        ),
        (
            riddles,
            &[(
                "src/a.rs",
                "#[error(\"`{0}` stands\\\n    twice\")] struct A; // whoever\n/// it is no b",
            )],
            &["src/a.rs:1: stands twice"],
        ),
        (riddles, &[("src/a.rs", "f!(\n\"{x} is no y\", \"is not\")")], &["src/a.rs:2: is no"]),
        (riddles, &[("src/a.rs", "concat!(\"Who\", \"ever\")")], &["src/a.rs:1: whoever"]),
    ];
    for (rule, files, expected) in cases {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::parse(path, (*text).to_owned())).collect();
        let found = rule(&sources);
        let right = found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
        assert!(right && found.len() == expected.len(), "expected {expected:?}, found {found:?}");
    }
    let words = "word ".repeat(MAX_WORDS);
    let text =
        format!("# {words}title\n\nOne `{words}`. {words}end.\n\n| {words}cell |\n\n    {words}\n");
    assert_eq!(long_sentences("a.md", &text).len(), 1);
}

fn hold(sources: &[Source], rule: fn(&[Source]) -> Vec<String>) {
    assert!(sources.len() > 10, "the sources weren't found");
    report(rule(sources));
}

fn report(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations\n{}", violations.len(), violations.join("\n"));
}

// === Rules ===

fn long_files(sources: &[Source]) -> Vec<String> {
    let lines = sources.iter().map(|source| (source, source.text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > MAX_LINES);
    long.map(|(source, lines)| format!("{}:{lines}: {lines} lines", source.path)).collect()
}

fn wide_lines(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS && !source.is_test_data(number) && !crosses_with_url(line) {
                found.push(format!("{}:{number}: {columns} columns", source.path));
            }
        }
    }
    found
}

/// Whether a URL stands over the last column that is allowed.
fn crosses_with_url(line: &str) -> bool {
    let start: String = line.chars().take(MAX_COLUMNS).collect();
    let rest = line.get(start.len()..).unwrap_or_default();
    let last = |text: &str| text.rsplit(char::is_whitespace).next().unwrap_or_default().to_owned();
    let first = rest.split(char::is_whitespace).next().unwrap_or_default();
    format!("{}{first}", last(&start)).contains("://")
}

fn duplicate_types(sources: &[Source]) -> Vec<String> {
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for source in sources {
        let mut types = Vec::new();
        type_names(&source.code, false, &mut types);
        for (name, span) in types {
            let place = source.place(span);
            match places.get(&name) {
                Some(first) => found.push(format!("{place}: `{name}` is also a type of {first}")),
                None => drop(places.insert(name, place)),
            }
        }
    }
    found
}

/// Types that are declared, in macros too. Inside `impl` and `trait` a `type` is an associated one.
fn type_names(tokens: &[TokenTree], associated: bool, names: &mut Vec<(String, Span)>) {
    let mut inside = false;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) => {
                let name = match tokens.get(index + 1) {
                    Some(TokenTree::Ident(name)) => name,
                    _ => {
                        inside |= word == "impl";
                        continue;
                    }
                };
                let declares = match word.to_string().as_str() {
                    "struct" | "enum" | "union" | "trait" => true,
                    "type" => !associated,
                    _ => false,
                };
                if declares {
                    names.push((name.to_string(), name.span()));
                }
                inside |= word == "impl" || word == "trait";
            }
            TokenTree::Group(group) => {
                type_names(&plain(group.stream()), inside && is_block(group), names);
                inside &= !is_block(group);
            }
            TokenTree::Punct(mark) => inside &= mark.as_char() != ';',
            TokenTree::Literal(_) => {}
        }
    }
}

fn riddles(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let mut messages = Vec::new();
        literals(&source.code, &mut messages);
        for (text, span) in messages {
            let place = source.place(span);
            found.extend(banned(&text).map(|(word, hint)| format!("{place}: {word}: {hint}")));
        }
    }
    found
}

/// The banned words of a text, by whole words.
fn banned(text: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let text = format!(" {} ", words.join(" "));
    BANNED.into_iter().filter(move |(word, _)| text.contains(&format!(" {word} ")))
}

/// String literals, those of `concat!` in one piece. Of attributes only those that hold messages.
fn literals(tokens: &[TokenTree], found: &mut Vec<(String, Span)>) {
    const SILENT: [&str; 6] = ["doc", "expect", "allow", "cfg", "cfg_attr", "deprecated"];
    for (index, token) in tokens.iter().enumerate() {
        let before = |steps: usize| index.checked_sub(steps).and_then(|index| tokens.get(index));
        match token {
            TokenTree::Literal(literal) => {
                found.extend(string(&literal.to_string()).map(|text| (text, literal.span())));
            }
            TokenTree::Group(group) => {
                let inner = plain(group.stream());
                let is_attribute = group.delimiter() == Delimiter::Bracket
                    && (is_mark(before(1), '#')
                        || is_mark(before(1), '!') && is_mark(before(2), '#'));
                if is_attribute && SILENT.iter().any(|name| is_word(inner.first(), name)) {
                    continue;
                }
                let mut texts = Vec::new();
                literals(&inner, &mut texts);
                if is_mark(before(1), '!') && is_word(before(2), "concat") {
                    let whole: String = texts.iter().map(|(text, _)| text.as_str()).collect();
                    texts = vec![(whole, group.span_open())];
                }
                found.append(&mut texts);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The text of a literal that is a string; breaks and escaped breaks are spaces.
fn string(literal: &str) -> Option<String> {
    let text = literal.trim_start_matches(['b', 'c', 'r']).trim_matches('#');
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.replace("\\\n", " ").replace("\\n", " "))
}

// === Imports ===

/// Each import inside a circle of files. A re-export (`pub use`) of a child isn't an import: a path
/// through it leads to the child.
fn circles(sources: &[Source]) -> Vec<String> {
    let house = House::new(sources);
    let imports = house.imports();
    let mut reached: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for start in 0..sources.len() {
        let mut open = vec![start];
        let seen = reached.entry(start).or_default();
        while let Some(file) = open.pop() {
            let next = imports.keys().filter(|(from, _)| *from == file).map(|(_, to)| *to);
            open.extend(next.filter(|to| seen.insert(*to)));
        }
    }
    let closes = |from: usize, to: usize| reached.get(&to).is_some_and(|all| all.contains(&from));
    let inside = imports.iter().filter(|((from, to), _)| closes(*from, *to));
    inside.map(|((_, to), place)| format!("{place}: imports {}", sources[*to].path)).collect()
}

type Module = Vec<String>;

/// All modules, each with the file that it is in.
struct House<'a> {
    sources: &'a [Source],
    modules: BTreeMap<Module, usize>,
    /// What a module re-exports: its name there, and the whole path
    exports: BTreeMap<(Module, String), Module>,
}

/// A path as the source has it: the module that it is in, its parts, the name it gets, its place.
struct Named {
    module: Module,
    parts: Vec<String>,
    alias: String,
    is_public: bool,
    span: Span,
}

impl<'a> House<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let files = sources.iter().enumerate();
        let modules: BTreeMap<Module, usize> =
            files.map(|(file, source)| (source.module(), file)).collect();
        let mut house = Self { sources, modules, exports: BTreeMap::new() };
        let mut inline = Vec::new();
        for (file, source) in sources.iter().enumerate() {
            for named in house.paths(source) {
                inline.push((named.module.clone(), file));
                if named.is_public {
                    let parts = house.absolute(&named);
                    house.exports.insert((named.module, named.alias), parts);
                }
            }
        }
        for (module, file) in inline {
            house.modules.entry(module).or_insert(file);
        }
        house
    }

    /// Which file imports which, with the first place.
    fn imports(&self) -> BTreeMap<(usize, usize), String> {
        let mut imports = BTreeMap::new();
        for (from, source) in self.sources.iter().enumerate() {
            for named in self.paths(source).into_iter().filter(|named| !named.is_public) {
                let to = self.file(self.absolute(&named), 8);
                if let Some(to) = to.filter(|to| *to != from) {
                    imports.entry((from, to)).or_insert_with(|| source.place(named.span));
                }
            }
        }
        imports
    }

    fn absolute(&self, named: &Named) -> Module {
        let mut path = named.module.clone();
        let mut parts = named.parts.iter().peekable();
        while let Some(part) =
            parts.next_if(|part| ["crate", "self", "super"].contains(&part.as_str()))
        {
            match part.as_str() {
                "crate" => path.clear(),
                "super" => drop(path.pop()),
                _ => {}
            }
        }
        path.extend(parts.cloned());
        path
    }

    /// The file that declares what a whole path names.
    fn file(&self, path: Module, depth: usize) -> Option<usize> {
        let depth = depth.checked_sub(1)?;
        let length = (0..=path.len()).rev().find(|end| self.modules.contains_key(&path[..*end]))?;
        let (module, rest) = path.split_at(length);
        let exported = rest.split_first().and_then(|(name, rest)| {
            let target = self.exports.get(&(module.to_vec(), name.clone()))?;
            self.file([target.as_slice(), rest].concat(), depth)
        });
        exported.or_else(|| self.modules.get(module).copied())
    }

    /// Paths into this crate: those of `use`, and those that stand in code.
    fn paths(&self, source: &Source) -> Vec<Named> {
        let mut found = Vec::new();
        self.walk(&source.code, &source.module(), &mut found);
        found
    }

    fn walk(&self, tokens: &[TokenTree], module: &Module, found: &mut Vec<Named>) {
        let mut index = 0;
        let mut is_public = false;
        while let Some(token) = tokens.get(index) {
            index += 1;
            match token {
                TokenTree::Ident(word) if word == "use" => {
                    let end = tokens.iter().skip(index).position(|token| is_mark(Some(token), ';'));
                    let tree = &tokens[index..end.map_or(tokens.len(), |end| index + end)];
                    let mut names = Vec::new();
                    branches(tree, &[], &mut names);
                    let inner =
                        names.into_iter().filter(|(parts, _, _)| self.is_ours(&parts[0], module));
                    found.extend(inner.map(|(parts, alias, span)| Named {
                        module: module.clone(),
                        parts,
                        alias,
                        is_public,
                        span,
                    }));
                    index += tree.len();
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(index), tokens.get(index + 1))
                    {
                        let inner = [module.as_slice(), &[name.to_string()]].concat();
                        self.walk(&code_of(body.stream()), &inner, found);
                        index += 2;
                    }
                }
                TokenTree::Ident(word) => {
                    let (parts, length) = path_from(&tokens[index - 1..]);
                    if parts.len() > 1 && self.is_ours(&parts[0], module) {
                        let alias = String::new();
                        let (module, span) = (module.clone(), word.span());
                        found.push(Named { module, parts, alias, is_public: false, span });
                    }
                    index += length - 1;
                }
                TokenTree::Group(group) => self.walk(&code_of(group.stream()), module, found),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            // `pub use`, `pub(crate) use`
            is_public = match token {
                TokenTree::Ident(word) => word == "pub",
                TokenTree::Group(group) => is_public && group.delimiter() == Delimiter::Parenthesis,
                _ => false,
            };
        }
    }

    /// Whether a path's first part leads into this crate; else it names another crate or a local
    /// item.
    fn is_ours(&self, first: &str, module: &Module) -> bool {
        let child = [module.as_slice(), &[first.to_owned()]].concat();
        ["crate", "self", "super"].contains(&first) || self.modules.contains_key(&child)
    }
}

/// The branches of a `use`: parts, the name that it gives, where it is.
fn branches(tree: &[TokenTree], stem: &[String], found: &mut Vec<(Vec<String>, String, Span)>) {
    for branch in tree.split(|token| is_mark(Some(token), ',')) {
        let (parts, length) = path_from(branch);
        let mut whole = [stem, &parts].concat();
        match branch.get(length) {
            Some(TokenTree::Group(group)) => branches(&plain(group.stream()), &whole, found),
            next => {
                let Some(first) = branch.first() else { continue };
                if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
                    whole.pop();
                }
                let renamed = next.filter(|next| is_word(Some(next), "as"));
                let renamed = renamed.and_then(|_| branch.get(length + 1)).map(ToString::to_string);
                let alias = renamed.or_else(|| whole.last().cloned()).unwrap_or_default();
                if !whole.is_empty() {
                    found.push((whole, alias, first.span()));
                }
            }
        }
    }
}

/// The names at the start, with `::` between them, and how many tokens these are.
fn path_from(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut parts = Vec::new();
    let mut index = 0;
    while let Some(TokenTree::Ident(name)) = tokens.get(index) {
        parts.push(name.to_string());
        index += 1;
        if !(is_mark(tokens.get(index), ':') && is_mark(tokens.get(index + 1), ':')) {
            break;
        }
        index += 2;
    }
    (parts, index)
}

// === Sources ===

struct Source {
    path: String,
    text: String,
    /// All but test code
    code: Vec<TokenTree>,
    /// String literals of test code: begin, end
    test_data: Vec<(LineColumn, LineColumn)>,
}

impl Source {
    fn parse(path: &str, text: String) -> Self {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let is_test = path.starts_with("tests/") || path.ends_with("/tests.rs");
        let (code, tests) =
            if is_test { (Vec::new(), plain(tokens)) } else { split(plain(tokens)) };
        let mut strings = Vec::new();
        literals(&tests, &mut strings);
        let test_data = strings.iter().map(|(_, span)| (span.start(), span.end())).collect();
        Self { path: path.to_owned(), text, code, test_data }
    }

    /// The path of its module: `src/a/b.rs` is `[a, b]`.
    fn module(&self) -> Module {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = path.split('/').filter(|part| *part != "lib").map(str::to_owned);
        parts.collect()
    }

    fn place(&self, span: Span) -> String {
        format!("{}:{}", self.path, span.start().line)
    }

    /// Whether a literal of a test reaches over a line's last column.
    fn is_test_data(&self, line: usize) -> bool {
        let last = LineColumn { line, column: MAX_COLUMNS - 1 };
        self.test_data.iter().any(|(begin, end)| *begin <= last && last < *end)
    }
}

/// All sources below a folder, in the order of their paths.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    let mut open = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let source = |path: &std::path::PathBuf| {
        let name = path.strip_prefix(ROOT).unwrap().to_string_lossy().replace('\\', "/");
        Source::parse(&name, std::fs::read_to_string(path).unwrap())
    };
    paths.iter().map(source).collect()
}

/// Names of the crates in the tree of some features.
fn crates(features: &str) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--locked",
        "--offline",
        "--no-default-features",
        "--features",
        features,
    ]);
    command.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    if features == "entry" {
        command.args(["--target", "wasm32-wasip1"]);
    }
    let output = command.current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

// === Tokens ===

fn plain(tokens: TokenStream) -> Vec<TokenTree> {
    tokens.into_iter().collect()
}

fn code_of(tokens: TokenStream) -> Vec<TokenTree> {
    split(plain(tokens)).0
}

/// Code, and what `#[cfg(test)]` marks: up to a semicolon or a block.
fn split(tokens: Vec<TokenTree>) -> (Vec<TokenTree>, Vec<TokenTree>) {
    let (mut code, mut tests) = (Vec::new(), Vec::new());
    let mut is_test = false;
    for token in tokens {
        if !is_test && is_test_mark(&token) {
            is_test = true;
        }
        let ends = is_mark(Some(&token), ';')
            || matches!(&token, TokenTree::Group(group) if is_block(group));
        let to = if is_test { &mut tests } else { &mut code };
        to.push(token);
        is_test &= !ends;
    }
    (code, tests)
}

fn is_test_mark(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket
        && group.stream().to_string().replace(' ', "") == "cfg(test)")
}

fn is_block(group: &Group) -> bool {
    group.delimiter() == Delimiter::Brace
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

// === Sentences ===

fn long_sentences(path: &str, text: &str) -> Vec<String> {
    let counted = sentences(text).into_iter().map(|(line, sentence)| {
        let is_word = |word: &&str| word.contains(char::is_alphanumeric);
        (line, sentence.split_whitespace().filter(is_word).count(), sentence)
    });
    let long = counted.filter(|(_, words, _)| *words > MAX_WORDS);
    long.map(|(line, words, sentence)| format!("{path}:{line}: {words} words: {sentence}"))
        .collect()
}

/// The sentences of a page with the line each begins in. Headings, code and tables are left out;
/// code inside a sentence is one word, and so is a link's address.
fn sentences(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    let mut sentence = (0, String::new());
    let mut blank = true;
    for (number, line) in (1..).zip(text.lines().chain([""])) {
        let start = line.trim_start();
        fenced ^= start.starts_with("```");
        let left_out = fenced
            || ["```", "|", "#"].iter().any(|mark| start.starts_with(mark))
            || blank && line.starts_with("    ");
        let item = ["- ", "* ", "> "].iter().any(|mark| start.starts_with(mark))
            || start.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        if left_out || item || start.is_empty() {
            found.push(std::mem::take(&mut sentence));
        }
        blank = start.is_empty() || blank && line.starts_with("    ");
        if left_out {
            continue;
        }
        for word in without_code(start).split_whitespace() {
            if sentence.1.is_empty() {
                sentence.0 = number;
            }
            sentence.1.push_str(word);
            sentence.1.push(' ');
            let end = word.trim_end_matches(['*', '_', ')', '"', '\'']);
            if end.ends_with(['.', '!', '?']) {
                found.push(std::mem::take(&mut sentence));
            }
        }
    }
    found.retain(|(_, sentence)| !sentence.is_empty());
    found
}

/// A line with `code` in place of code, and links without their addresses.
fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    let text: String =
        parts.map(|(number, part)| if number % 2 == 0 { part } else { "code" }).collect();
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}
