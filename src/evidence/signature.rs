//! HTTP message signatures (RFC 9421) in a request: which are this profile's own, and what is left without.
//!
//! Ours are the label `cmp`, whatever carries our `tag` parameter, and what can't be parsed. Other
//! people's signatures under other labels pass untouched. Nothing is verified in this version.

use sfv::{BareItem, Dictionary, FieldType, ListEntry, Parser};

/// The label of this profile's signatures.
const LABEL: &str = "cmp";
/// The value of the `tag` parameter (RFC 9421 2.3) of this profile's signatures.
const TAG: &str = "llm-reseller-compliance";

/// The two signature headers after ours were taken out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// Whether any was ours
    pub had_ours: bool,
    /// The rest of `Signature-Input`, where another signature stood beside ours
    pub signature_input: Option<String>,
    /// The rest of `Signature`
    pub signature: Option<String>,
}

impl SignatureHeaders {
    /// Takes this profile's own members out of the lines of both headers.
    #[must_use]
    pub fn without_ours(signature_input: &[&[u8]], signature: &[&[u8]]) -> Self {
        if signature_input.is_empty() && signature.is_empty() {
            return Self::default();
        }
        let unparsable = Self { had_ours: true, signature_input: None, signature: None };
        let (Some(mut inputs), Some(mut signatures)) = (parse(signature_input), parse(signature)) else { return unparsable };
        let mut ours: Vec<String> = vec![LABEL.into()];
        ours.extend(inputs.iter().filter(|(_, entry)| carries_our_tag(entry)).map(|(label, _)| label.as_str().to_owned()));
        let before = (inputs.len(), signatures.len());
        inputs.retain(|label, _| !ours.iter().any(|own| own == label.as_str()));
        signatures.retain(|label, _| !ours.iter().any(|own| own == label.as_str()));
        let had_ours = before != (inputs.len(), signatures.len());
        Self { had_ours, signature_input: inputs.serialize(), signature: signatures.serialize() }
    }
}

/// Parses the lines of a dictionary; several lines are one field (RFC 9651 4.2).
fn parse(lines: &[&[u8]]) -> Option<Dictionary> {
    Parser::new(&lines.join(&b", "[..])).parse().ok()
}

fn carries_our_tag(entry: &ListEntry) -> bool {
    let params = match entry {
        ListEntry::Item(item) => &item.params,
        ListEntry::InnerList(list) => &list.params,
    };
    matches!(params.get("tag"), Some(BareItem::String(tag)) if tag.as_str() == TAG)
}
