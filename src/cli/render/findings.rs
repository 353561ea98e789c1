//! Findings with their source lines underlined, and as annotations of GitHub's.

use super::text::{Tone, count, names, plain};
use crate::domain::finding::{Affects, Finding, Severity};
use std::fmt::Write as _;

/// How many device names a finding names before it counts the rest.
const NAMED_DEVICES: usize = 5;

/// Findings as text.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        one(finding, &mut text);
    }
    text
}

fn one(finding: &Finding, text: &mut String) {
    let Finding { place, severity, code, message, hint, excerpt, affects } = finding;
    let (word, tone) = match severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Unsure),
    };
    let margin = if place.line == 0 { 1 } else { place.line.to_string().len() };
    let bar = Tone::Quiet.paint(format!("{:margin$} |", ""));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {}", tone.paint(format!("{word}[{code}]")), plain(message));
    let _ = writeln!(text, "{:margin$}{} {}", "", Tone::Quiet.paint("-->"), plain(&place.to_string()));
    if let Some(excerpt) = excerpt {
        let blank = " ".repeat(excerpt.start as usize);
        let underline = tone.paint("^".repeat(excerpt.length.max(1) as usize));
        let number = Tone::Quiet.paint(format!("{} |", place.line));
        let _ = writeln!(text, "{bar}\n{number} {}\n{bar} {blank}{underline}", plain(&excerpt.text));
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "{:margin$} = hint: {}", "", plain(hint));
    }
    if let Some(affected) = affected(affects) {
        let _ = writeln!(text, "{:margin$} = affects: {affected}", "");
    }
}

/// What a finding touches; `None` for nothing.
pub fn affected(affects: &Affects) -> Option<String> {
    match affects {
        Affects::Nothing => None,
        Affects::Commit => Some("the whole commit".to_owned()),
        Affects::Devices(devices) => Some(names(devices, NAMED_DEVICES)),
    }
}

/// `2 errors, 1 warning`.
pub fn summary(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    format!("{}, {}", count(errors, "error"), count(findings.len() - errors, "warning"))
}

/// Findings as commands that GitHub Actions turns into annotations. `prefix` is the fleet repo's folder in the checkout.
pub fn github(findings: &[Finding], prefix: &str) -> String {
    let mut text = String::new();
    for Finding { place, severity, code, message, hint, .. } in findings {
        let word = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut properties = format!("file={}", property(&format!("{prefix}{}", place.file)));
        if place.line > 0 {
            let _ = write!(properties, ",line={}", place.line);
        }
        if place.column > 0 {
            let _ = write!(properties, ",col={}", place.column);
        }
        let hint = hint.as_ref().map(|hint| format!("\nhint: {}", plain(hint))).unwrap_or_default();
        let title = property(&format!("bellwether: {code}"));
        let _ = writeln!(text, "::{word} {properties},title={title}::{}", data(&format!("{}{hint}", plain(message))));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;
    use crate::domain::finding::{Excerpt, Place};

    fn findings() -> Vec<Finding> {
        vec![
            Finding {
                place: Place { file: "host_vars/kiosk-1.yml".to_owned(), line: 12, column: 9 },
                severity: Severity::Error,
                code: "missing-release".to_owned(),
                message: "app signage has no release 9.9.9".to_owned(),
                hint: Some("the newest is 2.0.0".to_owned()),
                excerpt: Some(Excerpt { text: "  signage: 9.9.9".to_owned(), start: 11, length: 5 }),
                affects: Affects::Devices(["kiosk-1".parse().expect("a device")].into()),
            },
            Finding {
                place: Place::file("inventory.yml"),
                severity: Severity::Warning,
                code: "odd".to_owned(),
                message: "50% odd,\u{1b} mostly".to_owned(),
                hint: None,
                excerpt: None,
                affects: Affects::Nothing,
            },
        ]
    }

    #[test]
    fn the_source_line_is_underlined() {
        insta::assert_snapshot!(bare(&text(&findings())), @r"
        error[missing-release]: app signage has no release 9.9.9
          --> host_vars/kiosk-1.yml:12:9
           |
        12 |   signage: 9.9.9
           |            ^^^^^
           = hint: the newest is 2.0.0
           = affects: kiosk-1

        warning[odd]: 50% odd,\u{1b} mostly
         --> inventory.yml
        ");
    }

    #[test]
    fn github_gets_a_command_for_each_finding() {
        insta::assert_snapshot!(github(&findings(), "fleet/"), @r"
        ::error file=fleet/host_vars/kiosk-1.yml,line=12,col=9,title=bellwether%3A missing-release::app signage has no release 9.9.9%0Ahint: the newest is 2.0.0
        ::warning file=fleet/inventory.yml,title=bellwether%3A odd::50%25 odd,\u{1b} mostly
        ");
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(&findings()), "1 error, 1 warning");
        assert_eq!(summary(&[]), "0 errors, 0 warnings");
    }
}
