//! The tree of owners as a picture: SVG without scripts, in light and dark colours.

use super::super::output::escape;
use super::tree::{Tone, TreeRow};

/// Pixels: of a line of text, of a step to the right, of a character at most, around everything.
const LINE: usize = 20;
const STEP: usize = 26;
const CHARACTER: usize = 8;
const MARGIN: usize = 16;
/// Characters of a label's line.
const COLUMNS: usize = 64;

const STYLE: &str = "text{font:14px system-ui,sans-serif;fill:#1a1a1a}\
path{stroke:#8a8a8a;fill:none}.sheet{fill:#fff}.restricted{fill:#c62828}.unknown{fill:#b26a00}\
.plain{fill:#2e7d32}@media(prefers-color-scheme:dark){text{fill:#eee}.sheet{fill:#1b1b1b}\
.restricted{fill:#ff6b6b}.unknown{fill:#ffb74d}.plain{fill:#81c784}}";

/// Draws the rows, the result in words above them.
pub(super) fn draw(sentence: &str, rows: &[TreeRow]) -> String {
    let mut body = String::new();
    let mut widest = 0;
    let mut y = MARGIN;
    let text = |body: &mut String, x: usize, y: &mut usize, words: &str, weight: &str| -> usize {
        let lines = textwrap::wrap(words, COLUMNS);
        for line in &lines {
            *y = y.saturating_add(LINE);
            body.push_str(&format!("<text x=\"{x}\" y=\"{y}\"{weight}>{}</text>\n", escape(line)));
        }
        let longest =
            lines.iter().map(|line| textwrap::core::display_width(line)).max().unwrap_or(0);
        x.saturating_add(longest.saturating_mul(CHARACTER))
    };
    widest = text(&mut body, MARGIN, &mut y, sentence, " font-weight=\"600\"").max(widest);
    y = y.saturating_add(LINE / 2);
    // where each row's dot is
    let mut dots: Vec<(usize, usize)> = Vec::with_capacity(rows.len());
    for row in rows {
        let above = row.parent.and_then(|parent| dots.get(parent).copied());
        let x = above.map_or(MARGIN.saturating_add(6), |(x, _)| x.saturating_add(STEP));
        let dot = y.saturating_add(LINE).saturating_sub(5);
        if let Some((from, top)) = above {
            body.push_str(&format!(
                "<path d=\"M{from} {}V{dot}H{}\"/>\n",
                top.saturating_add(5),
                x.saturating_sub(5)
            ));
        }
        let class = match row.tone {
            Tone::Restricted => "restricted",
            Tone::Unknown => "unknown",
            Tone::Plain => "plain",
        };
        body.push_str(&format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{dot}\" r=\"5\"/>\n"));
        dots.push((x, dot));
        widest = text(&mut body, x.saturating_add(12), &mut y, &row.label, "").max(widest);
        y = y.saturating_add(6);
    }
    let (width, height) = (widest.saturating_add(MARGIN), y.saturating_add(MARGIN));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"sheet\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n",
        escape(sentence)
    )
}
