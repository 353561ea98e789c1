//! What speaks for a promotion, and what against it.

use super::table::{Table, escaped, row};
use super::text::{Tone, count};
use crate::domain::forge::promotion::{Evidence, Objection};
use crate::domain::time::{Timestamp, show_secs};
use std::fmt::Write as _;

/// How many rollouts and objections are shown before the rest is counted.
const MAX_LINES: usize = 20;

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// What speaks for it.
    pub evidence: &'a Evidence,
    /// What speaks against it.
    pub objections: &'a [Objection],
}

/// The title of the merge request.
pub fn title(evidence: &Evidence) -> String {
    format!("Promote {} from {} to {}", evidence.commit.short(), evidence.from, evidence.to)
}

fn verdict(shown: &Shown<'_>) -> String {
    let tried = match shown.evidence.exercised() {
        0 => "0 devices exercised by a rollout".to_owned(),
        number => format!("{} exercised by a rollout", count(number, "device")),
    };
    format!("{}, {tried}", if shown.objections.is_empty() { "ready" } else { "not ready" })
}

fn facts(evidence: &Evidence) -> Table {
    let mut table = Table::new(&["STAGE", "COMMIT", "DEVICES", "SETTLED", "FAILING", "OFFLINE"]);
    let Evidence { from, commit, devices, settled, failing, offline, .. } = evidence;
    table.row(row![from, commit.short(), devices, settled, failing, offline]);
    table
}

fn rollouts(evidence: &Evidence) -> Table {
    let mut table = Table::new(&["ROLLOUT", "POLICY", "STATUS", "DEVICES", "SUCCEEDED", "FAILED", "TOOK", "ENDED"]);
    for one in evidence.rollouts.iter().take(MAX_LINES) {
        let took = |from: Timestamp, to: Timestamp| show_secs(to.secs_since(from));
        let took = one.began.zip(one.ended).map_or_else(|| "-".to_owned(), |(from, to)| took(from, to));
        let ended = one.ended.map_or_else(|| "-".to_owned(), |at| at.to_string());
        table.row(row![&one.rollout, &one.policy, &one.status, one.devices, one.ok, one.bad, took, ended]);
    }
    table
}

/// For a terminal.
pub fn text(shown: &Shown<'_>, width: Option<u16>) -> String {
    let Shown { evidence, objections } = shown;
    let mut text = format!("{}\n\n{}", Tone::Strong.paint(title(evidence)), facts(evidence).text(width));
    if !evidence.rollouts.is_empty() {
        let _ = write!(text, "\n{}", rollouts(evidence).text(width));
    }
    for one in evidence.approvals().iter().take(MAX_LINES) {
        let _ = writeln!(text, "\napproved: {}", super::text::plain(one));
    }
    for one in objections.iter().take(MAX_LINES) {
        let _ = writeln!(text, "\n{} {}", Tone::Unsure.paint("not ready:"), super::text::plain(&one.to_string()));
    }
    let _ = writeln!(text, "\n{}", verdict(shown));
    text
}

/// For the merge request.
pub fn markdown(shown: &Shown<'_>) -> String {
    let Shown { evidence, objections } = shown;
    let mut text = format!("**{}**\n\n{}", escaped(&verdict(shown)), facts(evidence).markdown());
    if !evidence.rollouts.is_empty() {
        let _ = write!(text, "\n{}", rollouts(evidence).markdown());
    }
    if !evidence.approvals().is_empty() {
        text.push_str("\n### Approved\n\n");
        for one in evidence.approvals().iter().take(MAX_LINES) {
            let _ = writeln!(text, "- {}", escaped(one));
        }
    }
    if !objections.is_empty() {
        text.push_str("\n### Not ready\n\n");
        for one in objections.iter().take(MAX_LINES) {
            let _ = writeln!(text, "- {}", escaped(&one.to_string()));
        }
    }
    let _ = writeln!(
        text,
        "\nThe files are exactly those of commit `{}`, which stage {} runs: no merge has changed them.",
        evidence.commit,
        escaped(evidence.from.as_str())
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;
    use crate::domain::forge::promotion::Exercised;

    #[test]
    fn evidence_says_what_was_tried_on_what_for_how_long() {
        let at = |secs| Timestamp::EPOCH.plus_secs(secs);
        let evidence = Evidence {
            from: "canary".parse().expect("a stage"),
            to: "production".parse().expect("a stage"),
            commit: "1a2b3c4d".repeat(5).parse().expect("a commit"),
            at: at(86_400),
            devices: 5,
            settled: 4,
            failing: 0,
            offline: 1,
            approved_by: Some("ada".parse().expect("a name")),
            finished: None,
            rollouts: vec![Exercised {
                rollout: "canary-1".parse().expect("a rollout"),
                policy: "cautious".parse().expect("a policy"),
                status: "DONE".to_owned(),
                devices: 5,
                ok: 4,
                bad: 0,
                approved_by: Default::default(),
                began: Some(at(0)),
                ended: Some(at(7_200)),
            }],
        };
        let failing = [Objection::Failing { failing: 1, devices: 5 }];
        insta::assert_snapshot!(bare(&text(&Shown { evidence: &evidence, objections: &[] }, None)), @"
        Promote 1a2b3c4d from canary to production

        STAGE    COMMIT     DEVICES   SETTLED   FAILING   OFFLINE
        canary   1a2b3c4d   5         4         0         1

        ROLLOUT    POLICY     STATUS   DEVICES   SUCCEEDED   FAILED   TOOK   ENDED
        canary-1   cautious   DONE     5         4           0        2h     1970-01-01T02:00:00Z

        approved: the commit, by ada

        ready, 4 devices exercised by a rollout
        ");
        insta::assert_snapshot!(markdown(&Shown { evidence: &evidence, objections: &failing }), @"
        **not ready, 4 devices exercised by a rollout**

        | Stage | Commit | Devices | Settled | Failing | Offline |
        | --- | --- | --- | --- | --- | --- |
        | canary | 1a2b3c4d | 5 | 4 | 0 | 1 |

        | Rollout | Policy | Status | Devices | Succeeded | Failed | Took | Ended |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | canary-1 | cautious | DONE | 5 | 4 | 0 | 2h | 1970-01-01T02:00:00Z |

        ### Approved

        - the commit, by ada

        ### Not ready

        - 1 of 5 devices of the stage fail

        The files are exactly those of commit `1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d`, which stage canary runs: no merge has changed them.
        ");
    }
}
