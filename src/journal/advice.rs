//! What to do about a finding: the words of `docs/findings.md`, which is their only home.

use crate::terms::finding::FindingCode;

const PAGE: &str = include_str!("../../docs/findings.md");

/// A finding's section in `docs/findings.md`, as plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What a refused customer can do
    pub refused: Option<String>,
    /// How the operator clears it
    pub clear: String,
}

impl Advice {
    /// The advice on a finding.
    pub fn on(code: FindingCode) -> Self {
        let heading = format!("\n### {code}\n");
        let section = PAGE.split_once(&heading).map_or("", |(_, rest)| rest);
        let section = section.split("\n#").next().unwrap_or_default();
        let part = |name: &str| {
            let (_, rest) = section.split_once(&format!("- **{name}**: "))?;
            let rest = rest.split("\n- **").next()?;
            let words: Vec<&str> = rest.split_whitespace().collect();
            Some(plain(&words.join(" ")))
        };
        Self { refused: part("If you are refused"), clear: part("To clear it").unwrap_or_default() }
    }
}

/// Markdown as plain text: a link to another page keeps the page's name, and numbers of sources go.
fn plain(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, bracket)) = rest.split_once('[') {
        let Some((inside, after)) = bracket.split_once(']') else { break };
        out.push_str(before);
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = match target {
            Some((target, after)) => {
                out.push_str(inside);
                if target.starts_with(|first: char| first.is_ascii_lowercase()) {
                    out.push_str(" (docs/");
                    out.push_str(target);
                    out.push(')');
                }
                after
            }
            None if inside.bytes().all(|byte| byte.is_ascii_digit() || b", ".contains(&byte)) => {
                out.truncate(out.trim_end().len());
                after
            }
            None => {
                out.push('[');
                out.push_str(inside);
                out.push(']');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is read whole: each finding has words, and no mark-up is left in them.
    #[test]
    fn every_finding_has_advice() {
        for code in FindingCode::ALL {
            let Advice { refused, clear } = Advice::on(*code);
            assert!(clear.len() > 10, "{code}: {clear}");
            assert!(refused.is_some(), "{code}");
            for text in [Some(clear), refused].into_iter().flatten() {
                assert!(!text.contains("](") && !text.contains("**"), "{code}: {text}");
            }
        }
        assert_eq!(Advice::on(FindingCode::CustomerSuspended).clear, "set `status` to `active`.");
    }

    #[test]
    fn links_become_words() {
        let text = plain("see [how](register.md#a), [there](#here) and [x] by FAQ 398 [4, 7].");
        assert_eq!(text, "see how (docs/register.md#a), there and [x] by FAQ 398.");
    }
}
