//! What the page's terms mean, in the words of the glossary.

const GLOSSARY: &str = include_str!("../../../docs/glossary.md");

/// The meaning of a term, without the glossary's links.
pub(super) fn meaning(term: &str) -> String {
    let heading = format!("### {term}\n");
    let rest = GLOSSARY.split_once(&heading).map_or("", |(_, rest)| rest);
    let text = rest.split("\n\n").next().unwrap_or_default();
    let sentences = plain(text);
    // the last words lead to other pages: "…; see chain.md", "chain.md has the rule", "See …"
    let kept = sentences.split_inclusive(". ").filter(|sentence| !sentence.contains(".md"));
    let kept: String = kept.collect();
    let before = sentences.split("; see ").next().unwrap_or_default();
    let text = if kept.is_empty() { before.to_owned() } else { kept };
    let text = text.trim().trim_end_matches('.');
    if text.is_empty() { String::new() } else { format!("{text}.") }
}

/// Markdown without links, code marks and line breaks.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let Some((label, link)) = after.split_once("](") else {
            rest = after;
            continue;
        };
        out.push_str(label);
        rest = link.split_once(')').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::meaning;

    #[test]
    fn the_terms_of_the_page_have_a_meaning() {
        for term in super::super::page::TERMS {
            let text = meaning(term);
            assert!(text.len() > 20 && !text.contains(".md"), "{term}: {text}");
        }
        assert_eq!(
            meaning("finding"),
            "A rule that fired on a request: a stable code, such as geo.restricted, and a few \
             words of evidence."
        );
    }
}
