//! The words that are said on the forge after a merge. What comes from devices, files and people stands in it as text: it makes no link,
//! notifies nobody, and is no HTML.

use crate::domain::digest::Digest;
use crate::domain::fleet::{HeldReason, RolloutRecord, Standing, Topic};
use crate::domain::ids::{CommitId, StageName};
use crate::domain::rollout::machine::{Head, Status, StepStatus};
use std::fmt::Write as _;

/// The longest text of others that is quoted, in characters. Where it is whole stands in `bellwether rollout`.
const MAX_QUOTED_CHARS: usize = 400;
/// The longest line of a status, in characters. GitHub takes 140, the others more.
pub const MAX_LINE_CHARS: usize = 140;

/// A text of others as code: nothing in it is obeyed.
fn quoted(text: &str) -> String {
    let shown = |c: char| match c {
        '`' => '\'',
        c if c.is_control() || is_odd(c) => ' ',
        c => c,
    };
    let mut quoted: String = text.chars().take(MAX_QUOTED_CHARS).map(shown).collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        quoted.push('…');
    }
    format!("`{}`", if quoted.trim().is_empty() { "–" } else { quoted.trim() })
}

/// What reorders or hides what is read.
fn is_odd(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// One line of bounded length for a status.
pub fn line(text: &str) -> String {
    let plain = |c: char| if c.is_control() || is_odd(c) { ' ' } else { c };
    let mut line: String = text.chars().map(plain).take(MAX_LINE_CHARS).collect();
    if text.chars().nth(MAX_LINE_CHARS).is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// A commit that waits for a person.
pub(super) fn held(
    stage: &StageName,
    commit: &CommitId,
    digest: &Digest,
    reasons: &[HeldReason],
    changes: usize,
) -> String {
    let mut text = format!(
        "### Held: stage {} waits for approval\n\nCommit {} does not count yet, and everything goes on as it is:\n\n",
        quoted(stage.as_str()),
        quoted(commit.as_str())
    );
    for reason in reasons {
        let _ = writeln!(text, "- {}", quoted(&reason.to_string()));
    }
    let _ = write!(
        text,
        "\nIt would change {changes} devices. Whoever has looked at that approves exactly this with\n\n```sh\nbellwether approve {digest}\n```\n"
    );
    text
}

/// What a rollout waits for that only a person can do, and what is news in it; `None` if there is nothing.
pub(super) fn of_rollout(rollout: &RolloutRecord) -> Option<(String, String)> {
    let head = &*rollout.head;
    let name = &head.name;
    match &head.status {
        Status::PendingApproval => {
            let (have, need) = (head.approved_by.len(), usize::from(head.policy.approvals));
            Some((asks(head, "before it begins", have, need), format!("approval {have}")))
        }
        Status::Active => {
            let step = head.steps.get(head.current).filter(|step| step.status == StepStatus::Queued)?;
            let (have, need) = (step.approved_by.len(), usize::from(head.policy.step(head.current).approvals));
            let when = format!("before step {} of {}", head.current + 1, head.steps.len());
            (have < need).then(|| (asks(head, &when, have, need), format!("approval {} {have}", head.current)))
        }
        Status::Error { why, at } => {
            let text = format!(
                "### ERROR: rollout {} of stage {} has stopped\n\n{}\n\nNothing more is offered until somebody decides. What failed, and where: \
                 `bellwether rollout show {name}`. Then one of\n\n```sh\nbellwether rollout retry {name} --failed --reason '…'\n\
                 bellwether rollout rollback {name} --reason '…'\nbellwether rollout resume {name} --ack --reason '…'\n```\n",
                quoted(name.as_str()),
                quoted(head.stage.as_str()),
                quoted(why),
            );
            Some((text, format!("error {}", at.millis())))
        }
        Status::Draft
        | Status::Paused { .. }
        | Status::Done { .. }
        | Status::Aborted { .. }
        | Status::Superseded { .. }
        | Status::RollingBack { .. }
        | Status::RolledBack { .. } => None,
    }
}

fn asks(head: &Head, when: &str, have: usize, need: usize) -> String {
    let Head { name, stage, .. } = head;
    format!(
        "### Rollout {} of stage {} waits for approval\n\n{have} of {need} people have approved it {when}.\n\n\
         ```sh\nbellwether rollout approve {name} --reason '…'\n```\n",
        quoted(name.as_str()),
        quoted(stage.as_str())
    )
}

/// Nobody has to act any more.
pub(super) fn nobody(topic: &Topic) -> String {
    let what = match topic {
        Topic::Held { stage, commit } => {
            format!("Commit {} in stage {}", quoted(commit.short()), quoted(stage.as_str()))
        }
        Topic::Rollout { rollout, .. } => format!("Rollout {}", quoted(rollout.as_str())),
        Topic::Progress { stage, .. } => format!("Stage {}", quoted(stage.as_str())),
    };
    format!("{what} waited for somebody here. That is over: nobody has to do anything.\n")
}

/// What is over, when nothing more is known of it.
pub(super) fn over(standing: Standing) -> String {
    match standing {
        Standing::Waiting | Standing::UnderWay => "it goes on",
        Standing::Success => "done",
        Standing::Failure => "it went wrong",
        Standing::Superseded => "another commit took its place",
    }
    .to_owned()
}
