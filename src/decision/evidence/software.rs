//! What a caller's program says it is, in words of a published table.
//!
//! The table is data (`data/client-software.json`), each row with its source. It says how a form is
//! written and where it fits. Anybody can send any name, so no rule reads this: it is for the event
//! alone. Beside the table's words only two small numbers of a client's bytes get there.

use std::fmt;

use super::beginnings::Beginnings;
use crate::shape::{Json, JsonWriter, Mismatch, Word};
use crate::terms::names::mixed;

/// What a caller's program says it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Software<'a> {
    /// The program or library, in the table's word
    pub sdk: Option<&'a str>,
    /// Its version, where the name goes with one
    pub version: Option<SoftwareVersion>,
    /// The operating system that `x-stainless-os` names
    told_os: Option<&'a str>,
    /// The operating system in the program's name
    named_os: Option<&'a str>,
}

/// The first two numbers of a version, of at most three digits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftwareVersion {
    major: u16,
    minor: u16,
}

/// The table that this build carries. A test reads it, so that it is never silently empty.
#[derive(Debug, Default)]
pub struct ClientSoftware {
    // INVARIANT (order): programs, then systems, both in the order of the table
    forms: Vec<SoftwareForm>,
    /// How many of them are of programs
    programs: usize,
    begins: Beginnings,
}

/// What a header names: a form's place, and the version in it.
type Named = Option<(usize, Option<SoftwareVersion>)>;

/// What values name that were read lately: the clients of one program send the same ones. One
/// worker's, of one table.
#[derive(Debug, Default)]
pub struct SoftwareMemo(Vec<(Vec<u8>, (Named, Named))>);

/// How many values are remembered.
const REMEMBERED: usize = 64;
/// The longest value that is, in bytes: longer than those of programs.
const REMEMBERED_AT_MOST: usize = 256;

/// How a header names a program or a system: `head*middle{version}tail`, in lower case.
#[derive(Debug)]
struct SoftwareForm {
    word: String,
    head: String,
    /// What follows any letters, digits, hyphens and underscores
    middle: Option<String>,
    /// What follows the word that begins with the version
    tail: Option<String>,
}

/// What stands for what the table can't say.
pub const OTHER: &str = "other";

/// Words that begin behind this many bytes aren't read.
const READ_AT_MOST: usize = 512;

impl ClientSoftware {
    /// Reads the table.
    pub fn known() -> Self {
        let table: Json =
            serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/client-software.json")))
                .unwrap_or(Json::Null);
        let mut known = Self::default();
        known.add_rows(&table, "software", "sdk");
        known.programs = known.forms.len();
        known.add_rows(&table, "systems", "os");
        known
    }

    fn add_rows(&mut self, table: &Json, list: &str, what: &str) {
        for row in table.get(list).map(Json::items).unwrap_or_default() {
            let Some(word) = row.get(what).and_then(Json::as_str) else { continue };
            for form in row.get("forms").map(Json::items).unwrap_or_default() {
                let form = SoftwareForm::new(word, form.as_str().unwrap_or_default());
                if self.begins.add(&form.head, self.forms.len()) {
                    self.forms.push(form);
                }
            }
        }
    }

    /// The words for programs, in the order of the table.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().take(self.programs).map(|form| form.word.as_str())
    }

    /// The words for operating systems, in the order of the table.
    pub fn systems(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().skip(self.programs).map(|form| form.word.as_str())
    }

    /// The program and the system that a value names: of the forms that fit its words, the first.
    fn named_in(&self, value: &[u8]) -> (Named, Named) {
        let (mut program, mut system) = (None, None);
        let mut starts = true;
        for (at, byte) in value.iter().take(READ_AT_MOST).enumerate() {
            if separates(*byte) {
                starts = true;
            } else if std::mem::take(&mut starts) {
                let word = || value.get(at..).unwrap_or_default();
                self.begins.any(*byte, word, |place, word| {
                    let best = if place < self.programs { &mut program } else { &mut system };
                    if best.is_none_or(|(known, _)| place < known)
                        && let Some(form) = self.forms.get(place)
                        && let Some(version) = form.version_in(word)
                    {
                        *best = Some((place, version));
                    }
                    false // the other list may have a word for it too
                });
            }
        }
        (program, system)
    }

    fn word(&self, (place, _): (usize, Option<SoftwareVersion>)) -> Option<&str> {
        self.forms.get(place).map(|form| form.word.as_str())
    }
}

impl SoftwareMemo {
    fn named_in(&mut self, table: &ClientSoftware, value: &[u8]) -> (Named, Named) {
        self.0.resize_with(REMEMBERED, Default::default);
        let place = usize::try_from(mixed(value) >> 40).unwrap_or(0) % REMEMBERED;
        let slot = self.0.get_mut(place).filter(|_| value.len() <= REMEMBERED_AT_MOST);
        let Some((known, named)) = slot else { return table.named_in(value) };
        if known != value {
            *named = table.named_in(value);
            known.clear();
            known.extend_from_slice(value);
        }
        *named
    }
}

impl<'a> Software<'a> {
    /// Takes in a line of `user-agent`. What an earlier line said stays.
    pub fn read_user_agent(
        &mut self,
        table: &'a ClientSoftware,
        memo: &mut SoftwareMemo,
        value: &[u8],
    ) {
        let (program, system) = memo.named_in(table, value);
        if self.sdk.is_none()
            && let Some(named) = program
        {
            (self.sdk, self.version) = (table.word(named), named.1);
        }
        self.named_os = self.named_os.or_else(|| table.word(system?));
    }

    /// Takes in a line of `x-stainless-os`. What an earlier line said stays.
    pub fn read_system(
        &mut self,
        table: &'a ClientSoftware,
        memo: &mut SoftwareMemo,
        value: &[u8],
    ) {
        let (_, system) = memo.named_in(table, value);
        self.told_os = self.told_os.or_else(|| table.word(system?));
    }

    /// The operating system, in the table's word: of `x-stainless-os`, else of the program's name.
    pub fn os(&self) -> Option<&'a str> {
        self.told_os.or(self.named_os)
    }
}

impl SoftwareForm {
    fn new(word: &str, form: &str) -> Self {
        let (name, tail) = match form.split_once("{version}") {
            Some((name, tail)) => (name, Some(tail.to_owned())),
            None => (form, None),
        };
        let (head, middle) = match name.split_once('*') {
            Some((head, middle)) => (head, Some(middle.to_owned())),
            None => (name, None),
        };
        Self { word: word.to_owned(), head: head.to_owned(), middle, tail }
    }

    /// Whether the text begins with this form, and the version in it.
    fn version_in(&self, text: &[u8]) -> Option<Option<SoftwareVersion>> {
        let mut rest = without(text, &self.head)?;
        if let Some(middle) = &self.middle {
            let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            rest = without(skip(rest, is_name), middle)?;
        }
        let Some(tail) = &self.tail else {
            let goes_on = rest.first().is_some_and(u8::is_ascii_alphanumeric);
            return (!goes_on).then_some(None);
        };
        let version = SoftwareVersion::at_start(rest);
        if !tail.is_empty() {
            without(skip(rest, |b| !separates(*b)), tail)?;
        }
        Some(version)
    }
}

impl SoftwareVersion {
    /// The version that a text begins with.
    fn at_start(text: &[u8]) -> Option<Self> {
        let (major, rest) = number(text.strip_prefix(b"v").unwrap_or(text))?;
        let (minor, _) = number(rest.strip_prefix(b".")?)?;
        Some(Self { major, minor })
    }
}

impl fmt::Display for SoftwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Word for SoftwareVersion {
    const WHAT: &'static str = "The first two numbers of a version.";
    const PATTERN: &'static str = "^(0|[1-9][0-9]{0,2})\\.(0|[1-9][0-9]{0,2})$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        Self::at_start(text.as_bytes()).filter(|version| version.to_string() == text).ok_or_else(
            || {
                let help = "two numbers of at most three digits, such as `0.75`";
                Mismatch::new(format!("invalid version `{text}`"), help)
            },
        )
    }

    fn put(&self, out: &mut JsonWriter) {
        out.raw("\"");
        out.number(self.major.into());
        out.raw(".");
        out.number(self.minor.into());
        out.raw("\"");
    }
}

/// Whether a word ends here.
const fn separates(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',' | b';' | b'(' | b')')
}

/// The text behind a beginning, which is in lower case.
fn without<'t>(text: &'t [u8], beginning: &str) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(beginning.len())?;
    // forms of one program begin alike and end otherwise
    let ends = start.last().map(u8::to_ascii_lowercase) == beginning.bytes().next_back();
    (ends && start.eq_ignore_ascii_case(beginning.as_bytes())).then_some(rest)
}

/// The text behind such bytes.
fn skip(text: &[u8], is_such: impl Fn(&u8) -> bool) -> &[u8] {
    let end = text.iter().position(|b| !is_such(b)).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

/// A number of at most three digits, and the text behind it.
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let rest = skip(text, u8::is_ascii_digit);
    let digits = text.len().checked_sub(rest.len()).and_then(|length| text.get(..length))?;
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let value = digits.iter().fold(0_u16, |value, digit| {
        value.saturating_mul(10).saturating_add(u16::from(digit.saturating_sub(b'0')))
    });
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::{ClientSoftware, REMEMBERED_AT_MOST, Software, SoftwareMemo, SoftwareVersion};
    use crate::shape::Word as _;

    fn read(value: &[u8]) -> String {
        let table = ClientSoftware::known();
        let mut software = Software::default();
        software.read_user_agent(&table, &mut SoftwareMemo::default(), value);
        let version = software.version.map(|version| version.to_string());
        let (sdk, os) = (software.sdk.unwrap_or("other"), software.os().unwrap_or("other"));
        [sdk, version.as_deref().unwrap_or("-"), os].join(" ")
    }

    /// The forms that the programs themselves send.
    #[test]
    fn programs_are_known_by_their_names() {
        for (value, wanted) in [
            ("Anthropic/Python 0.75.0", "anthropic-python 0.75 other"),
            ("AsyncAnthropicBedrock/Python 0.75.0", "anthropic-python 0.75 other"),
            ("AnthropicVertex/JS 0.68.0", "anthropic-typescript 0.68 other"),
            ("Anthropic/Go 1.19.0", "anthropic-go 1.19 other"),
            ("AnthropicClientAsyncImpl/Java 2.11.0", "anthropic-java 2.11 other"),
            ("AsyncAzureOpenAI/Python 2.8.0", "openai-python 2.8 other"),
            ("OpenAI/JS 6.9.0", "openai-node 6.9 other"),
            ("OpenAI/Go 3.8.1", "openai-go 3.8 other"),
            ("OpenAIClientImpl/Java unknown", "openai-java - other"),
            ("google-genai-sdk/1.52.0 gl-python/3.12.3", "google-genai-python 1.52 other"),
            ("google-genai-sdk/1.30.0 gl-node/v22.19.0", "google-genai-js 1.30 other"),
            ("google-genai-sdk/1.30.0 gl-go/go1.24", "other - other"),
            ("litellm/1.80.0", "litellm 1.80 other"),
            ("langchainjs-openai/1.0.0 ((node/v20.18.0; win32; x64))", "langchain 1.0 windows"),
            ("ai/5.0.44 ai-sdk/anthropic/2.0.17 runtime/node.js/24", "vercel-ai 5.0 other"),
            ("ai-sdk/openai-compatible/2.0.47 runtime/node.js/24", "vercel-ai 2.0 other"),
            ("opencode/1.18.31 ai-sdk/provider-utils/4.0.23", "opencode 1.18 other"),
            ("curl/8.5.0", "curl 8.5 other"),
            ("python-requests/2.34.2", "python-requests 2.34 other"),
            ("claude-cli/2.1.12 (external, cli)", "claude-code 2.1 other"),
            ("claude-cli/2.1.12 (external, sdk-cli)", "claude-agent-sdk 2.1 other"),
            ("codex_cli_rs/0.46.0 (Ubuntu 22.4.0; x86_64) xterm-256color", "codex-cli 0.46 linux"),
            ("codex_cli_rs/0.46.0 (Mac OS 26.2.0; arm64) iTerm", "codex-cli 0.46 macos"),
            ("codex_exec/0.138.0 (Windows 10.0; x86_64)", "codex-exec 0.138 windows"),
            (
                "GeminiCLI/0.34.0/gemini-2.5-pro (darwin; arm64) \
                 google-genai-sdk/1.41.0 gl-node/v22",
                "gemini-cli 0.34 macos",
            ),
            ("Zed/0.200.0 (linux; x86_64)", "zed 0.200 linux"),
            ("Open WebUI (https://github.com/open-webui/open-webui)", "open-webui - other"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 CherryStudio/1.5.1 Chrome/134.0 Electron/35.6.0 Safari/537.36",
                "cherry-studio 1.5 windows",
            ),
            ("Mozilla/5.0 (Linux; Android 14) Chrome/134.0", "other - android"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)", "other - ios"),
            // lines that Envoy joined: the table's order decides, not the client's
            ("curl/8.5.0,OpenAI/JS 6.9.0", "openai-node 6.9 other"),
        ] {
            assert_eq!(read(value.as_bytes()), wanted, "{value}");
        }
    }

    /// What a client invents ends in words of the table, and two small numbers.
    #[test]
    fn nothing_else_is_taken() {
        let padded = [&b" ".repeat(511)[..], b"curl/8.5"].concat();
        let beyond = [&b" ".repeat(512)[..], b"curl/8.5"].concat();
        for (value, wanted) in [
            (&b""[..], "other - other"),
            (b"curl", "other - other"),
            (b"xcurl/8.5", "other - other"),
            (b"a/curl/8.5", "other - other"),
            (b"curl/", "curl - other"),
            (b"curl/8", "curl - other"),
            (b"curl/8.", "curl - other"),
            (b"curl/.5", "curl - other"),
            (b"curl/1234.5", "curl - other"),
            (b"curl/1.2345", "curl - other"),
            (b"curl/007.05\"},{", "curl 7.5 other"),
            (b"curl/999.999.999", "curl 999.999 other"),
            (b"curl/-1.5", "curl - other"),
            (b"curl/\xd9\xa1.\xd9\xa2", "curl - other"),
            (b"curl/8.5\xff\xfe", "curl 8.5 other"),
            (b"\xff curl/8.5", "curl 8.5 other"),
            (b"\xffcurl/8.5", "other - other"),
            (b"CURL/8.5;LINUX", "curl 8.5 linux"),
            (b"linuxes (Androids)", "other - other"),
            (b"open webuis", "other - other"),
            (b"google-genai-sdk/1.2", "other - other"),
            (&padded, "curl 8.5 other"),
            (&beyond, "other - other"),
        ] {
            assert_eq!(read(value), wanted, "{:?}", String::from_utf8_lossy(value));
        }
    }

    /// Whatever the order of the headers.
    #[test]
    fn x_stainless_os_counts_before_the_name() {
        let table = ClientSoftware::known();
        let lines = |told: &[u8], is_first: bool| {
            let (mut software, memo) = (Software::default(), &mut SoftwareMemo::default());
            if is_first {
                software.read_system(&table, memo, told);
            }
            software.read_user_agent(&table, memo, b"Zed/1.2 (windows; x86_64)");
            software.read_system(&table, memo, told);
            software.read_system(&table, memo, b"iOS");
            software.os().unwrap_or("other").to_owned()
        };
        for (told, wanted) in [
            (&b"Linux"[..], "linux"),
            (b"MacOS", "macos"),
            (b"Windows", "windows"),
            (b"Android", "android"),
            (b"FreeBSD", "ios"),
            (b"Other:linux", "ios"),
        ] {
            assert_eq!([lines(told, true), lines(told, false)], [wanted, wanted]);
        }
    }

    #[test]
    fn versions_are_read_as_they_are_written() {
        for (text, is_version) in [
            ("0.75", true),
            ("999.0", true),
            ("01.2", false),
            ("1.2.3", false),
            ("v1.2", false),
            ("1000.1", false),
            ("1", false),
        ] {
            let version = SoftwareVersion::parse(text).ok().map(|version| version.to_string());
            assert_eq!(version.as_deref(), is_version.then_some(text));
        }
    }

    /// Whatever was read before: each value is read as if it were the first.
    #[test]
    fn what_is_remembered_makes_no_difference() {
        let (table, mut memo) = (ClientSoftware::known(), SoftwareMemo::default());
        let long = ["curl/1.5", &" ".repeat(REMEMBERED_AT_MOST), "Linux"].concat();
        let mut values: Vec<String> = (0..300).map(|n| format!("curl/1.{n} (Linux)")).collect();
        values.extend([String::new(), "x".to_owned(), long]);
        for value in values.iter().flat_map(|value| [value, value]).chain(&values) {
            let value = value.as_bytes();
            assert_eq!(memo.named_in(&table, value), table.named_in(value));
        }
    }
}
