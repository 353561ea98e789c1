//! From drafts to findings: equal ones are put together, source lines are added, and the whole is sorted and bounded.

use crate::domain::finding::{Affects, Excerpt, Finding, Place, Severity, codes};
use crate::domain::ids::DeviceId;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::sealed;
use crate::domain::manifest::yaml::Span;
use crate::domain::snapshot::{Entry, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// How many findings a commit can have. People fix the first dozen; what affects the whole commit is never left out.
pub const MAX_FINDINGS: usize = 1000;
/// The longest source line that is shown, in characters.
const MAX_EXCERPT: usize = 160;
/// How many characters before the place are kept of a line that is cut.
const BEFORE: usize = 40;

/// What drafts are about.
#[derive(Debug, Default)]
pub struct Gathered {
    commit: BTreeSet<Draft>,
    devices: BTreeMap<Draft, BTreeSet<DeviceId>>,
}

impl Gathered {
    /// A draft about the commit as a whole. A warning affects nothing, wherever it stands.
    pub fn commit(&mut self, draft: Draft) {
        match draft.severity {
            Severity::Error => {
                self.commit.insert(draft);
            }
            Severity::Warning => self.nothing(draft),
        }
    }

    /// A draft about no device in particular.
    pub fn nothing(&mut self, draft: Draft) {
        self.devices.entry(draft).or_default();
    }

    /// A draft about a device.
    pub fn device(&mut self, draft: &Draft, device: &DeviceId) {
        match self.devices.get_mut(draft) {
            Some(devices) => {
                devices.insert(device.clone());
            }
            None => {
                self.devices.insert(draft.clone(), BTreeSet::from([device.clone()]));
            }
        }
    }

    /// Whether the commit as a whole is refused.
    pub fn rejects(&self) -> bool {
        !self.commit.is_empty()
    }

    /// The findings, sorted and bounded, with source lines.
    pub fn finish(self, snapshot: &Snapshot) -> Vec<Finding> {
        let Self { commit, devices } = self;
        let total = commit.len() + devices.len();
        let commit = commit.into_iter().map(|draft| (draft, Affects::Commit));
        let devices = devices.into_iter().map(|(draft, devices)| {
            let affects = match draft.severity {
                Severity::Error if !devices.is_empty() => Affects::Devices(devices),
                Severity::Error | Severity::Warning => Affects::Nothing,
            };
            (draft, affects)
        });
        // What refuses the commit comes first, so that the bound cannot hide it.
        let kept = commit.chain(devices).take(MAX_FINDINGS);
        let mut findings: Vec<Finding> = kept.map(|(draft, affects)| finding(draft, affects, snapshot)).collect();
        if total > MAX_FINDINGS {
            findings.push(Finding {
                place: Place::file("."),
                severity: Severity::Warning,
                code: codes::TOO_MANY_FINDINGS.name.to_owned(),
                message: format!("{} more findings are not shown", total - MAX_FINDINGS),
                hint: Some("mend these first".to_owned()),
                excerpt: None,
                affects: Affects::Nothing,
            });
        }
        findings.sort();
        findings
    }
}

/// A draft as one line, for places where a finding is only mentioned.
pub fn sentence(draft: &Draft) -> String {
    format!("{}: {}", place(&draft.file, draft.span), draft.message)
}

/// A place in a file.
pub fn place(file: &str, span: Span) -> Place {
    Place { file: file.to_owned(), line: span.line, column: span.column }
}

fn finding(draft: Draft, affects: Affects, snapshot: &Snapshot) -> Finding {
    let bytes = match snapshot.entries.get(&*draft.file) {
        Some(Entry::File { bytes, .. }) => Some(&**bytes),
        Some(Entry::Refused(_)) | None => None,
    };
    finding_in(bytes, draft, affects)
}

/// A draft as a finding, with its source line where the file's bytes are known.
pub fn finding_in(bytes: Option<&[u8]>, draft: Draft, affects: Affects) -> Finding {
    let Draft { file, span, severity, code, message, hint } = draft;
    let excerpt = bytes.and_then(|bytes| excerpt(bytes, span));
    Finding { place: place(&file, span), severity, code: code.name.to_owned(), message, hint, excerpt, affects }
}

/// The line of a place, cut round the place if it is long. There is none of what is encrypted.
fn excerpt(bytes: &[u8], span: Span) -> Option<Excerpt> {
    if span.line == 0 {
        return None;
    }
    let start = (span.start as usize).min(bytes.len());
    let line_start = bytes[..start].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line_end = bytes[start..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |newline| start + newline);
    let end = (span.end as usize).clamp(start, line_end);
    let before: Vec<char> = shown(&bytes[line_start..start]);
    let marked = shown(&bytes[start..end]);
    let after = shown(&bytes[end..line_end]);
    let line: String = before.iter().chain(&marked).chain(&after).collect();
    if sealed::hides(bytes, line_start, &line) {
        return None;
    }
    let skipped =
        if before.len() + marked.len() + after.len() <= MAX_EXCERPT { 0 } else { before.len().saturating_sub(BEFORE) };
    let from = before.len() - skipped;
    let text: String = before.iter().skip(skipped).chain(&marked).chain(&after).take(MAX_EXCERPT).collect();
    let length = marked.len().clamp(1, (MAX_EXCERPT - from).max(1));
    Some(Excerpt { text: text.trim_end().to_owned(), start: from as u32, length: length as u32 })
}

/// At most [`MAX_EXCERPT`] characters of either end matter; of a longer piece the end before the place would be needed, so the
/// piece is cut to a size from which both can be had.
fn shown(bytes: &[u8]) -> Vec<char> {
    const ENOUGH: usize = 4 * MAX_EXCERPT;
    let text = if bytes.len() > 2 * ENOUGH {
        let head = String::from_utf8_lossy(&bytes[..ENOUGH]);
        let tail = String::from_utf8_lossy(&bytes[bytes.len() - ENOUGH..]);
        format!("{head}{tail}")
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    text.chars().filter(|c| *c != '\u{feff}').map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn underlined(text: &str, start: usize, end: usize) -> String {
        let span = Span { line: 1, column: 1, start: start as u32, end: end as u32 };
        let excerpt = excerpt(text.as_bytes(), span).expect("the place has a line");
        format!("{}\n{}{}", excerpt.text, " ".repeat(excerpt.start as usize), "^".repeat(excerpt.length as usize))
    }

    #[test]
    fn the_place_is_underlined_in_its_line() {
        assert_eq!(underlined("a: 1\nbranch: mian\nc: 2\n", 13, 17), "branch: mian\n        ^^^^");
        assert_eq!(underlined("grün: ärger\n", 7, 13), "grün: ärger\n      ^^^^^");
        assert_eq!(underlined("a:\n  - b\n  - c\n", 5, 14), "  - b\n  ^^^");
        assert_eq!(underlined("", 0, 0), "\n^");
    }

    #[test]
    fn a_long_line_is_cut_round_the_place() {
        let line = format!("{}HERE{}", "a".repeat(1_000_000), "b".repeat(1_000_000));
        let shown = underlined(&line, 1_000_000, 1_000_004);
        let (text, underline) = shown.split_once('\n').expect("two lines");
        assert_eq!(text.len(), 160);
        assert_eq!(underline.trim_start(), "^^^^");
        assert_eq!(&text[underline.len() - 4..underline.len()], "HERE");
    }
}
