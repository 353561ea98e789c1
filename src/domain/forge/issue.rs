//! One issue that says what is not well, opened when it begins and closed when it is over.

use super::comment::marked;
use crate::domain::overview::drift::DriftTotals;

/// What marks issues about drift.
pub const KIND: &str = "drift";

/// An issue of ours that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// What people call it.
    pub title: &'a str,
    /// What stands in it.
    pub body: &'a str,
}

/// What is to become of the issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Keep,
    /// It is opened.
    Open(Text),
    /// It says something else now.
    Edit(Text),
    /// All is well: it is closed.
    Close,
}

/// What stands in an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub title: String,
    /// Markdown, with the mark in front.
    pub body: String,
}

/// What to do with the issue about the drift of something. What is only unknown opens none and closes none: a fleet that cannot be heard is
/// neither well nor has it been seen to drift.
pub fn step(about: &str, totals: &DriftTotals, report: &str, open: Option<&Open<'_>>) -> Step {
    let text = || {
        let DriftTotals { drifted, unknown, .. } = totals;
        let unknown = if *unknown > 0 { format!(", {unknown} unknown") } else { String::new() };
        let title = format!("Drift of {about}: {drifted} devices{unknown}");
        Text { title, body: marked(KIND, about, report) }
    };
    match (totals.drifted, totals.unknown, open) {
        (0, 0, Some(_)) => Step::Close,
        (0, _, None) => Step::Keep,
        (0, _, Some(open)) => changed(open, text()),
        (_, _, None) => Step::Open(text()),
        (_, _, Some(open)) => changed(open, text()),
    }
}

fn changed(open: &Open<'_>, text: Text) -> Step {
    let same = |one: &str, other: &str| one.trim_end().lines().eq(other.trim_end().lines());
    if same(open.title, &text.title) && same(open.body, &text.body) { Step::Keep } else { Step::Edit(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(drifted: usize, unknown: usize) -> DriftTotals {
        DriftTotals { in_sync: 1, drifted, unknown }
    }

    #[test]
    fn an_issue_begins_with_drift_follows_it_and_ends_when_all_is_known_to_be_well() {
        assert_eq!(step("the fleet", &totals(0, 0), "all well", None), Step::Keep);
        assert_eq!(step("the fleet", &totals(0, 2), "silent", None), Step::Keep);
        let Step::Open(text) = step("the fleet", &totals(2, 1), "two drift", None) else { panic!("it is opened") };
        assert_eq!(text.title, "Drift of the fleet: 2 devices, 1 unknown");
        let body = text.body.replace('\n', "\r\n");
        let open = Open { title: &text.title, body: &body };
        assert_eq!(step("the fleet", &totals(2, 1), "two drift", Some(&open)), Step::Keep);
        assert!(matches!(step("the fleet", &totals(2, 1), "two others drift", Some(&open)), Step::Edit(_)));
        // Nobody can be heard: nobody knows that it is over.
        assert!(matches!(step("the fleet", &totals(0, 3), "silent", Some(&open)), Step::Edit(_)));
        assert_eq!(step("the fleet", &totals(0, 0), "all well", Some(&open)), Step::Close);
    }
}
