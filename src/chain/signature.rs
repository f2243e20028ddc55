//! HTTP message signatures (RFC 9421) of this profile: Ed25519 over method, authority, path, tag
//! and chain.
//!
//! A signature is ours if its label is `cmp`, or if it has our `tag` parameter. Headers that can't
//! be parsed count as ours too. Other people's signatures under other labels pass untouched. A
//! signature is verified over its components and parameters in the order received. It must cover
//! the five components and have the six parameters of this profile, and may cover more.

use std::borrow::Cow;

use sfv::{BareItem, Dictionary, FieldType as _, InnerList, ListEntry, Parser};
use thiserror::Error;

use crate::terms::key::{SIGNATURE_LENGTH, SigningKey, VerifyingKey};
use crate::terms::time::UnixSeconds;

/// The label of this profile's signatures.
pub const LABEL: &str = "cmp";
/// The value of the `tag` parameter (RFC 9421 2.3) of this profile's signatures.
pub const TAG: &str = "llm-reseller-compliance";

/// What a signature must cover, whatever its binding.
const ALWAYS: [&str; 3] = ["@authority", "compliance-tag", "compliance-chain"];
/// What one that is bound to its request covers beside.
const REQUEST: [&str; 2] = ["@method", "@path"];

/// What a signature covers, from `Signature-Input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    components: Vec<String>,
    /// When it was signed
    pub created: UnixSeconds,
    /// From when on it no longer counts
    pub expires: UnixSeconds,
    /// A number used once
    pub nonce: String,
    /// The key's thumbprint (RFC 7638)
    pub keyid: String,
    /// `@signature-params`: all of it in the order received
    params: String,
}

/// A signature of ours, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was signed
    pub input: Input,
    /// The signature's bytes
    pub signature: [u8; SIGNATURE_LENGTH],
}

/// The two signature headers, ours taken out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// Ours, if one came, or what is wrong with it
    pub ours: Option<Result<Signed, SignatureError>>,
    /// The rest of `Signature-Input`, where another signature stood beside ours
    pub signature_input: Option<String>,
    /// The rest of `Signature`
    pub signature: Option<String>,
}

/// A request, as far as signatures cover it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The method
    pub method: &'a [u8],
    /// The authority, see [`crate::terms::names::authority`]
    pub authority: &'a str,
    /// The path with its query
    pub path: &'a [u8],
    /// Values that stand for fields of that name, whatever `fields` has
    pub values: &'a [(&'a str, &'a [u8])],
    /// Header fields, several lines of one name in order
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

/// Why a signature doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// There is none
    #[error("no signature of this profile came")]
    Missing,
    /// The headers can't be read as structured fields (RFC 9651)
    #[error("the signature headers aren't structured fields")]
    Unparsable,
    /// Two signatures of this profile, or one label twice
    #[error("two signatures of this profile came")]
    Several,
    /// The signature isn't 64 bytes
    #[error("the signature isn't 64 bytes")]
    Length,
    /// A parameter is missing, or has another type
    #[error("the parameter {0} is missing or of another type")]
    Parameter(&'static str),
    /// Another algorithm than ed25519
    #[error("the algorithm isn't ed25519")]
    Algorithm,
    /// Made for another purpose
    #[error("it was signed for another purpose")]
    Purpose,
    /// A component that must be covered isn't
    #[error("it doesn't cover {0}")]
    Uncovered(&'static str),
    /// A component is covered that this node can't see. It is named where its name is one of
    /// `KNOWN`. Any other name is the sender's choice, and an event must not repeat it
    #[error("it covers {}, which isn't there", .0.unwrap_or("something"))]
    Unseen(Option<&'static str>),
    /// More components are covered than a signature of this profile needs
    #[error("it covers more than {COMPONENTS_AT_MOST} components")]
    Many,
    /// The bytes don't verify
    #[error("the signature doesn't verify")]
    Forged,
    /// Created later than the clock, beyond the tolerance
    #[error("it was created in the future")]
    Future,
    /// Past its time
    #[error("it has expired")]
    Expired,
    /// Meant to last longer than this node takes
    #[error("it is to last longer than this node takes")]
    Long,
}

/// The most components that a signature may cover. The profile asks for five; each costs a look at
/// all headers.
const COMPONENTS_AT_MOST: usize = 64;

/// What a fault may name: this profile's own fields, and RFC 9421's derived components (2.2).
const KNOWN: [&str; 8] = [
    "compliance-tag",
    "compliance-chain",
    "@scheme",
    "@target-uri",
    "@request-target",
    "@query",
    "@query-param",
    "@status",
];

impl SignatureError {
    fn unseen(component: &str) -> Self {
        Self::Unseen(KNOWN.into_iter().find(|known| *known == component))
    }
}

impl Signatures {
    /// Takes this profile's own out of the lines of both headers.
    pub fn take(signature_input: &[&[u8]], signature: &[&[u8]]) -> Self {
        if signature_input.is_empty() && signature.is_empty() {
            return Self::default();
        }
        let wrong = |fault| Self { ours: Some(Err(fault)), signature_input: None, signature: None };
        if !(are_whole(signature_input) && are_whole(signature)) {
            return wrong(SignatureError::Unparsable);
        }
        let (input_text, signature_text) = (joined(signature_input), joined(signature));
        let (Some(mut inputs), Some(mut signatures)) = (parse(&input_text), parse(&signature_text))
        else {
            return wrong(SignatureError::Unparsable);
        };
        let carries_ours = |label: &sfv::Key, entry: Option<&ListEntry>| {
            label.as_str() == LABEL || entry.is_some_and(carries_our_tag)
        };
        let mut labels: Vec<String> = Vec::new();
        labels.extend(
            inputs
                .iter()
                .filter(|(label, entry)| carries_ours(label, Some(entry)))
                .map(|(label, _)| label.as_str().to_owned()),
        );
        if signatures.contains_key(LABEL) && !inputs.contains_key(LABEL) {
            labels.push(LABEL.to_owned());
        }
        let [label] = labels.as_slice() else {
            signatures.retain(|label, _| !carries_ours(label, inputs.get(label.as_str())));
            inputs.retain(|label, entry| !carries_ours(label, Some(entry)));
            let ours = (!labels.is_empty()).then_some(Err(SignatureError::Several));
            return Self {
                ours,
                signature_input: inputs.serialize(),
                signature: signatures.serialize(),
            };
        };
        // a dictionary keeps the last of equal keys and drops the others (RFC 9651 4.2.2)
        let twice = |text: &[u8]| {
            members(text).filter(|member| key(member) == label.as_bytes()).count() > 1
        };
        let one = if twice(&input_text) || twice(&signature_text) {
            Err(SignatureError::Several)
        } else {
            let bytes = signatures.get(label.as_str());
            inputs
                .get(label.as_str())
                .zip(bytes)
                .ok_or(SignatureError::Missing)
                .and_then(|(input, bytes)| Signed::read(input, bytes))
        };
        inputs.retain(|other, _| other.as_str() != label);
        signatures.retain(|other, _| other.as_str() != label);
        Self {
            ours: Some(one),
            signature_input: inputs.serialize(),
            signature: signatures.serialize(),
        }
    }
}

impl Signed {
    fn read(input: &ListEntry, signature: &ListEntry) -> Result<Self, SignatureError> {
        let ListEntry::InnerList(input) = input else { return Err(SignatureError::Unparsable) };
        let ListEntry::Item(signature) = signature else { return Err(SignatureError::Length) };
        let bytes = signature
            .bare_item
            .as_byte_sequence()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(SignatureError::Length)?;
        Ok(Self { input: Input::read(input)?, signature: bytes })
    }

    /// Whether it is this key's, of this message.
    ///
    /// # Errors
    /// [`SignatureError::Unseen`], [`SignatureError::Forged`].
    pub fn verify(&self, key: &VerifyingKey, message: &Message<'_>) -> Result<(), SignatureError> {
        let base = self.input.base(message)?;
        if key.verify(&base, &self.signature) { Ok(()) } else { Err(SignatureError::Forged) }
    }
}

impl Input {
    /// Reads `@signature-params` as they stand in a trail.
    ///
    /// # Errors
    /// What this profile asks for and isn't there.
    pub fn parse(params: &str) -> Result<Self, SignatureError> {
        Self::read(&inner_list(params)?)
    }

    fn read(input: &InnerList) -> Result<Self, SignatureError> {
        let text = |name: &'static str| {
            let value = input.params.get(name).and_then(BareItem::as_string);
            value.map(|text| text.as_str()).ok_or(SignatureError::Parameter(name))
        };
        let time = |name: &'static str| {
            let value = input.params.get(name).and_then(BareItem::as_integer);
            value
                .map(|second| UnixSeconds(i64::from(second)))
                .ok_or(SignatureError::Parameter(name))
        };
        if text("alg")? != "ed25519" {
            return Err(SignatureError::Algorithm);
        }
        if text("tag")? != TAG {
            return Err(SignatureError::Purpose);
        }
        let components = components(input)?;
        if let Some(missing) =
            ALWAYS.iter().find(|name| !components.iter().any(|covered| covered == **name))
        {
            return Err(SignatureError::Uncovered(missing));
        }
        Ok(Self {
            created: time("created")?,
            expires: time("expires")?,
            nonce: text("nonce")?.to_owned(),
            keyid: text("keyid")?.to_owned(),
            params: serialized(input).ok_or(SignatureError::Unparsable)?,
            components,
        })
    }

    /// `@signature-params`: the components and parameters in the order received.
    pub fn params(&self) -> &str {
        &self.params
    }

    /// A component that would bind it to its request, and that it doesn't cover.
    pub fn unbound(&self) -> Option<&'static str> {
        REQUEST.into_iter().find(|name| !self.components.iter().any(|covered| covered == name))
    }

    /// Whether it covers only what the next request brings again: no other component of this
    /// request.
    pub fn is_of_any_request(&self) -> bool {
        self.components.iter().all(|covered| ALWAYS.contains(&covered.as_str()))
    }

    /// Checks that it counts now, within `skew` seconds between two clocks, and lasts no longer
    /// than `lifetime` seconds.
    ///
    /// # Errors
    /// [`SignatureError::Future`], [`SignatureError::Expired`], [`SignatureError::Long`].
    pub fn check_time(
        &self,
        now: UnixSeconds,
        skew: i64,
        lifetime: i64,
    ) -> Result<(), SignatureError> {
        if self.created.0 > now.0.saturating_add(skew) {
            return Err(SignatureError::Future);
        }
        if self.expires.0.saturating_add(skew) <= now.0 {
            return Err(SignatureError::Expired);
        }
        if self.expires.0.saturating_sub(self.created.0) > lifetime {
            return Err(SignatureError::Long);
        }
        Ok(())
    }

    /// The signature base (RFC 9421 2.5) of a message.
    ///
    /// # Errors
    /// [`SignatureError::Unseen`].
    pub fn base(&self, message: &Message<'_>) -> Result<Vec<u8>, SignatureError> {
        base_of(self.components.iter().map(String::as_str), &self.params, message)
    }
}

/// The signature base (RFC 9421 2.5) of a message under any `@signature-params`, of this profile or
/// not.
///
/// # Errors
/// [`SignatureError::Unparsable`], [`SignatureError::Unseen`].
pub fn base(params: &str, message: &Message<'_>) -> Result<Vec<u8>, SignatureError> {
    let input = inner_list(params)?;
    let params = serialized(&input).ok_or(SignatureError::Unparsable)?;
    base_of(components(&input)?.iter().map(String::as_str), &params, message)
}

/// Signs a message. Returns the parameters of `Signature-Input`, in the order that `docs/chain.md`
/// shows, and the signature. `None` only if the message lacks a covered component.
pub fn sign(
    key: &SigningKey,
    keyid: &str,
    (created, expires): (UnixSeconds, UnixSeconds),
    nonce: &str,
    bound: bool,
    message: &Message<'_>,
) -> Option<(String, [u8; SIGNATURE_LENGTH])> {
    const BOUND: [&str; 5] =
        ["@method", "@authority", "@path", "compliance-tag", "compliance-chain"];
    let covered: &[&str] = if bound { &BOUND } else { &ALWAYS };
    let list = [r#"(""#, &covered.join(r#"" ""#), r#"")"#].concat();
    let (created, expires) = (created.0.to_string(), expires.0.to_string());
    let parts = [
        &list,
        ";created=",
        &created,
        ";expires=",
        &expires,
        ";nonce=\"",
        nonce,
        r#"";alg="ed25519";keyid=""#,
        keyid,
        r#"";tag=""#,
        TAG,
        "\"",
    ];
    let params = parts.concat();
    let base = base_of(covered.iter().copied(), &params, message).ok()?;
    let signature = key.sign(&base);
    Some((params, signature))
}

fn base_of<'c>(
    components: impl Iterator<Item = &'c str>,
    params: &str,
    message: &Message<'_>,
) -> Result<Vec<u8>, SignatureError> {
    let mut base = Vec::with_capacity(1_024);
    for component in components {
        let value = message.value(component).ok_or_else(|| SignatureError::unseen(component))?;
        base.push(b'"');
        base.extend_from_slice(component.as_bytes());
        base.extend_from_slice(b"\": ");
        base.extend_from_slice(&value);
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(params.as_bytes());
    Ok(base)
}

impl<'a> Message<'a> {
    /// A component's value (RFC 9421 2.1, 2.2). `None` where it is absent, or a node can't see it.
    fn value(&self, component: &str) -> Option<Cow<'a, [u8]>> {
        let question = self.path.iter().position(|b| *b == b'?').unwrap_or(self.path.len());
        match component {
            "@method" => Some(self.method.into()),
            "@authority" => Some(self.authority.as_bytes().into()),
            "@path" => Some(
                self.path.get(..question).filter(|path| !path.is_empty()).unwrap_or(b"/").into(),
            ),
            // an absent query is signed as a lone question mark (2.2.7)
            "@query" => Some(
                self.path.get(question..).filter(|query| !query.is_empty()).unwrap_or(b"?").into(),
            ),
            "@request-target" => Some(self.path.into()),
            _ if component.starts_with('@') => None,
            name => self.field(name),
        }
    }

    /// All lines of a field, without the blanks around each, joined (2.1).
    fn field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        if let Some((_, value)) = self.values.iter().find(|(other, _)| *other == name) {
            return Some((*value).into());
        }
        let mut lines = self
            .fields
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.trim_ascii());
        let first = lines.next()?;
        match lines.next() {
            None => Some(first.into()),
            Some(second) => {
                let mut all = [first, second].join(&b", "[..]);
                for line in lines {
                    all.extend_from_slice(b", ");
                    all.extend_from_slice(line);
                }
                Some(all.into())
            }
        }
    }
}

/// The lines of a field as one (RFC 9110 5.3), without the blanks around each.
pub fn joined<'a>(lines: &[&'a [u8]]) -> Cow<'a, [u8]> {
    match lines {
        [] => Cow::Borrowed(b""),
        [line] => line.trim_ascii().into(),
        lines => {
            lines.iter().map(|line| line.trim_ascii()).collect::<Vec<_>>().join(&b", "[..]).into()
        }
    }
}

/// The members of a list or dictionary, unparsed: split at commas outside of strings. In a display
/// string (RFC 9651 3.3.8), which begins with `%"`, a backslash is an ordinary character.
pub fn members(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escapes, mut escaped, mut before) = (false, true, false, 0);
    let separate = move |byte: &u8| {
        let separates = *byte == b',' && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted && escapes,
            b'"' => {
                escapes = before != b'%';
                quoted = !quoted;
            }
            _ => {}
        }
        before = *byte;
        separates
    };
    text.split(separate).map(<[u8]>::trim_ascii)
}

/// The key of a dictionary's member.
fn key(member: &[u8]) -> &[u8] {
    let end =
        member.iter().position(|b| matches!(b, b'=' | b';' | b' ' | b'\t')).unwrap_or(member.len());
    member.get(..end).unwrap_or(member)
}

/// Whether each line makes sense by itself. A string that goes on in the next line (RFC 9651 4.2
/// warns of it) hides the line from those who join lines, and not from those who don't.
fn are_whole(lines: &[&[u8]]) -> bool {
    lines.len() < 2 || lines.iter().all(|line| parse(line.trim_ascii()).is_some())
}

fn parse(text: &[u8]) -> Option<Dictionary> {
    Parser::new(text).parse().ok()
}

/// `@signature-params` by themselves: the one member of a list.
fn inner_list(params: &str) -> Result<InnerList, SignatureError> {
    let list: sfv::List = Parser::new(params).parse().map_err(|_| SignatureError::Unparsable)?;
    match <[ListEntry; 1]>::try_from(list) {
        Ok([ListEntry::InnerList(input)]) => Ok(input),
        _ => Err(SignatureError::Unparsable),
    }
}

fn carries_our_tag(entry: &ListEntry) -> bool {
    let params = match entry {
        ListEntry::Item(item) => &item.params,
        ListEntry::InnerList(list) => &list.params,
    };
    matches!(params.get("tag"), Some(BareItem::String(tag)) if tag.as_str() == TAG)
}

/// The names of the covered components. A component with parameters (`;sf`, `;req` and such) is an
/// error.
fn components(input: &InnerList) -> Result<Vec<String>, SignatureError> {
    // a list of ten thousand fits into a header, and anybody may send one
    if input.items.len() > COMPONENTS_AT_MOST {
        return Err(SignatureError::Many);
    }
    let mut names: Vec<String> = Vec::with_capacity(input.items.len());
    for item in &input.items {
        let name = item.bare_item.as_string().ok_or(SignatureError::Unparsable)?.as_str();
        if !item.params.is_empty() {
            return Err(SignatureError::unseen(name));
        }
        // each once (2.5)
        if names.iter().any(|known| known == name) {
            return Err(SignatureError::Unparsable);
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// An inner list with its parameters, as RFC 9651 serializes it.
fn serialized(list: &InnerList) -> Option<String> {
    vec![ListEntry::InnerList(list.clone())].serialize()
}
