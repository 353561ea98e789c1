//! What a check of a commit says, and what of it stands beside which line.

use crate::domain::finding::{Affects, Finding, Severity};
use serde::Serialize;

/// How many annotations a check has at most: more than anybody reads on one page, and ten requests on GitHub.
pub const MAX_ANNOTATIONS: usize = 500;
/// The longest text of an annotation, in bytes. GitHub takes 64 KiB.
const MAX_MESSAGE_BYTES: usize = 4_000;
/// The longest path of an annotation, in bytes: as long as a path can be on Linux.
const MAX_PATH_BYTES: usize = 4_096;
/// The longest title of an annotation, in characters. GitHub takes 255.
const MAX_TITLE_CHARS: usize = 200;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// Nothing speaks against it.
    Success,
    /// A person should look: something would be held, or is unknown.
    Neutral,
    /// It cannot be merged as it is.
    Failure,
}

/// How bad what an annotation says is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something that it touches gets nothing new.
    Failure,
    /// It works, but probably not as meant.
    Warning,
}

/// What is said beside a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Annotation {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, where one is known.
    pub column: Option<u32>,
    /// How bad it is.
    pub level: Level,
    /// One line above it.
    pub title: String,
    /// The text. Forges show it as it is.
    pub message: String,
}

/// What a plan comes to as a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// What is wrong with the files.
    pub findings: &'a [Finding],
    /// Whether it would be held.
    pub held: usize,
    /// How many things could not be determined.
    pub unknown: usize,
}

impl Outcome<'_> {
    /// What came of it. Findings that touch single devices do not fail it: everything else goes on without them, and the branch may
    /// be the one that mends them.
    pub fn conclusion(&self) -> Conclusion {
        let is_broken = |one: &Finding| one.severity == Severity::Error && one.affects == Affects::Commit;
        if self.findings.iter().any(is_broken) {
            return Conclusion::Failure;
        }
        let errors = self.findings.iter().any(|one| one.severity == Severity::Error);
        if self.held > 0 || self.unknown > 0 || errors { Conclusion::Neutral } else { Conclusion::Success }
    }

    /// What stands beside the lines, errors first, and how much is left out. `folder` is where the fleet repo is in the
    /// repository: empty, or ending in `/`.
    pub fn annotations(&self, folder: &str) -> (Vec<Annotation>, usize) {
        let mut all: Vec<&Finding> = self.findings.iter().collect();
        all.sort_by_key(|one| one.severity);
        let left_out = all.len().saturating_sub(MAX_ANNOTATIONS);
        (all.into_iter().take(MAX_ANNOTATIONS).map(|one| annotation(one, folder)).collect(), left_out)
    }
}

fn annotation(finding: &Finding, folder: &str) -> Annotation {
    let Finding { place, severity, code, message, hint, .. } = finding;
    let hint = hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Annotation {
        path: cut(&harmless(&format!("{folder}{}", place.file)), MAX_PATH_BYTES),
        // What is about a whole file stands at its top.
        line: place.line.max(1),
        column: Some(place.column).filter(|column| *column > 0 && place.line > 0),
        level: match severity {
            Severity::Error => Level::Failure,
            Severity::Warning => Level::Warning,
        },
        title: harmless(code).chars().take(MAX_TITLE_CHARS).collect(),
        message: cut(&harmless(&format!("{message}{hint}")), MAX_MESSAGE_BYTES),
    }
}

/// A text without what acts on a terminal or reorders what is read; line ends stay.
fn harmless(text: &str) -> String {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::finding::Place;

    fn finding(severity: Severity, affects: Affects) -> Finding {
        Finding {
            place: Place { file: "host_vars/a.yml".to_owned(), line: 3, column: 5 },
            severity,
            code: "odd".to_owned(),
            message: "odd\u{1b}[2J".to_owned(),
            hint: Some("mend it".to_owned()),
            excerpt: None,
            affects,
        }
    }

    fn conclusion(findings: &[Finding], held: usize, unknown: usize) -> Conclusion {
        Outcome { findings, held, unknown }.conclusion()
    }

    #[test]
    fn only_what_keeps_the_whole_commit_out_fails_a_check() {
        let one = |severity, affects| [finding(severity, affects)];
        assert_eq!(conclusion(&[], 0, 0), Conclusion::Success);
        assert_eq!(conclusion(&one(Severity::Warning, Affects::Commit), 0, 0), Conclusion::Success);
        assert_eq!(conclusion(&one(Severity::Error, Affects::Commit), 0, 0), Conclusion::Failure);
        let device = Affects::Devices(["a".parse().expect("a device")].into());
        assert_eq!(conclusion(&one(Severity::Error, device), 0, 0), Conclusion::Neutral);
        assert_eq!(conclusion(&[], 1, 0), Conclusion::Neutral);
        assert_eq!(conclusion(&[], 0, 1), Conclusion::Neutral);
    }

    #[test]
    fn a_finding_stands_beside_its_line_and_is_mere_text() {
        let mut whole_file = finding(Severity::Error, Affects::Commit);
        (whole_file.place.line, whole_file.place.column) = (0, 0);
        let findings = [finding(Severity::Warning, Affects::Nothing), whole_file];
        let (annotations, left_out) = Outcome { findings: &findings, held: 0, unknown: 0 }.annotations("fleet/");
        assert_eq!(left_out, 0);
        insta::assert_snapshot!(serde_json::to_string_pretty(&annotations).expect("JSON"), @r#"
        [
          {
            "path": "fleet/host_vars/a.yml",
            "line": 1,
            "column": null,
            "level": "failure",
            "title": "odd",
            "message": "odd\\u{1b}[2J\nhint: mend it"
          },
          {
            "path": "fleet/host_vars/a.yml",
            "line": 3,
            "column": 5,
            "level": "warning",
            "title": "odd",
            "message": "odd\\u{1b}[2J\nhint: mend it"
          }
        ]
        "#);
    }

    #[test]
    fn there_are_never_more_annotations_than_anybody_reads_and_none_is_endless() {
        let mut long = finding(Severity::Warning, Affects::Nothing);
        long.message = "é".repeat(1 << 20);
        long.code = "é".repeat(1_000);
        let findings = vec![long; MAX_ANNOTATIONS + 7];
        let (annotations, left_out) = Outcome { findings: &findings, held: 0, unknown: 0 }.annotations("");
        assert_eq!((annotations.len(), left_out), (MAX_ANNOTATIONS, 7));
        assert!(
            annotations
                .iter()
                .all(|one| one.message.len() <= MAX_MESSAGE_BYTES + 4 && one.title.chars().count() <= 200)
        );
    }
}
