//! Findings as plain text, with the source line underlined.

use super::{Affects, Finding, Severity};
use std::fmt::Write as _;

/// How many device names a finding names before it counts the rest.
const NAMED_DEVICES: usize = 5;

/// All findings as text without colours, each with its place, its source line and its hint; a summary at the end.
pub fn render_findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        render(finding, &mut text);
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    text.push_str(&summary(errors, findings.len() - errors));
    text.push('\n');
    text
}

fn summary(errors: usize, warnings: usize) -> String {
    let count = |number: usize, noun: &str| match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    };
    match (errors, warnings) {
        (0, 0) => "no findings".to_owned(),
        (_, 0) => count(errors, "error"),
        (0, _) => count(warnings, "warning"),
        _ => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

fn render(finding: &Finding, text: &mut String) {
    let Finding { place, severity, code, message, hint, excerpt, affects } = finding;
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let gutter = match place.line {
        0 => " ".to_owned(),
        line => " ".repeat(line.to_string().len()),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{severity}[{code}]: {message}");
    let _ = writeln!(text, "{gutter}--> {place}");
    if let Some(excerpt) = excerpt {
        let blank = " ".repeat(excerpt.start as usize);
        let underline = "^".repeat(excerpt.length.max(1) as usize);
        let _ = writeln!(text, "{gutter} |\n{} | {}\n{gutter} | {blank}{underline}", place.line, excerpt.text);
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "{gutter} = hint: {hint}");
    }
    if let Some(affected) = affected(affects) {
        let _ = writeln!(text, "{gutter} = affects: {affected}");
    }
    text.push('\n');
}

fn affected(affects: &Affects) -> Option<String> {
    match affects {
        Affects::Nothing => None,
        Affects::Commit => Some("the whole commit".to_owned()),
        Affects::Devices(devices) => {
            let mut named: Vec<String> = devices.iter().take(NAMED_DEVICES).map(ToString::to_string).collect();
            if devices.len() > NAMED_DEVICES {
                named.push(format!("and {} more devices", devices.len() - NAMED_DEVICES));
            }
            Some(named.join(", "))
        }
    }
}
