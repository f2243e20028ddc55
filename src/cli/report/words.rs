//! Commands and times, as the page writes them.

use super::content::ReportContent;
use crate::journal::audit::AuditSettings;
use crate::journal::selection::{Condition, UnixMillis};
use crate::terms::time::UnixSeconds;

/// A command that starts from the same files and selection.
pub(super) fn command(
    content: &ReportContent<'_>,
    verb: &str,
    conditions: &[Condition],
    end: &str,
) -> String {
    let selection = content.selection;
    let mut words = vec![format!("waybill {verb}")];
    words.extend(content.files.iter().map(|file| quoted(&file.display().to_string())));
    if verb == "report" {
        for (name, time) in [("--since", selection.since), ("--until", selection.until)] {
            words.extend(time.map(|time| format!("{name} {time}")));
        }
        for condition in selection.conditions.iter().chain(conditions) {
            words.push(format!("--where {}", quoted(&condition.to_string())));
        }
    }
    if verb == "audit verify" {
        let AuditSettings { open, is_part } = content.audit_settings;
        words.push(format!("--open {}h", open.div_euclid(3_600)));
        words.extend(is_part.then(|| "--part".to_owned()));
    }
    words.join(" ") + end
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@,+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A time to the second, as people read it.
pub(super) fn short(time: UnixMillis) -> String {
    clock(UnixSeconds(time.0.div_euclid(1_000)))
}

pub(super) fn clock(time: UnixSeconds) -> String {
    time.to_string().trim_end_matches('Z').replace('T', " ")
}
