//! What is to be said on the forge after a merge: how far each commit has come, and where a person must act.
//!
//! Decided anew at each look from what is and what was said, so it does not matter what was missed meanwhile.

use crate::domain::digest::Digest;
use crate::domain::fleet::{
    Certainty, FleetState, RolloutRecord, StageRecord, StagedProgress, Standing, Told, Topic, Waiting, WaitingFor,
};
use crate::domain::forge::words;
use crate::domain::ids::StageName;
use crate::domain::reported::Phase as Reached;
use crate::domain::rollout::machine::{Phase, Status};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;

/// How long nothing new is said about a topic that stands as it stood, in seconds: whoever looks sees that it goes on.
const SPACING_SECS: i64 = 30;
/// How often something is said about a topic unless how it stands changes for good. GitHub takes 1,000 statuses of a commit and context.
const MAX_TIMES: u32 = 200;
/// How often anything at all is said about a topic.
const MAX_TIMES_EVER: u32 = 400;

/// What is followed.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What the controller knows.
    pub state: &'a FleetState,
    /// The stages that are followed, least gated first.
    pub stages: &'a [StageName],
    /// Seconds of silence after which a device counts as silent.
    pub offline_after_secs: i64,
    /// Now.
    pub now: Timestamp,
}

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// About what.
    pub topic: Topic,
    /// How it stands.
    pub standing: Standing,
    /// The words: one line for progress, Markdown for what a person must do.
    pub text: String,
    /// What is news in it.
    pub news: Digest,
    /// What was said before.
    pub before: Option<Told>,
}

impl Say {
    /// What is noted before it is said.
    pub fn intended(&self, now: Timestamp) -> Told {
        let times = self.before.as_ref().map_or(0, |before| before.times) + 1;
        let id = self.before.as_ref().and_then(|before| before.id);
        Told { standing: self.standing, news: self.news, at: now, times, certainty: Certainty::Intended, id }
    }

    /// Whether it may be there although nobody confirmed it: then whoever says it looks first.
    pub fn is_in_doubt(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.certainty == Certainty::Intended)
    }
}

/// What a look comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// What is to be said, where a person must act first.
    pub say: Vec<Say>,
    /// What nobody asks about any more.
    pub forget: Vec<Topic>,
}

/// What is to stand where; `None` where what was said stays.
type Pages = BTreeMap<Topic, Option<Page>>;

/// What stands where, before it is compared with what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    standing: Standing,
    text: String,
    /// Changes exactly when it is worth saying it again.
    news: String,
}

/// What is to be said now.
pub fn follow(look: &Look<'_>) -> Talk {
    let mut pages = Pages::new();
    for stage in look.stages {
        if let Some(record) = look.state.stages.get(stage) {
            of_stage(look, stage, record, &mut pages);
        }
    }
    let mut talk = Talk::default();
    let told = &look.state.told;
    for (topic, before) in told.iter().filter(|(topic, _)| !pages.contains_key(*topic)) {
        match gone(topic, before) {
            Some(page) => talk.say.extend(compare(look.now, topic.clone(), page, Some(before))),
            None => talk.forget.push(topic.clone()),
        }
    }
    for (topic, page) in pages {
        let before = told.get(&topic);
        talk.say.extend(page.and_then(|page| compare(look.now, topic, page, before)));
    }
    let is_progress = |say: &Say| matches!(say.topic, Topic::Progress { .. });
    talk.say.sort_by_key(is_progress);
    talk
}

/// What is said of something that is no more.
fn gone(topic: &Topic, before: &Told) -> Option<Page> {
    let is_over = before.standing.is_final() && before.certainty == Certainty::Said;
    // What went wrong with a rollout is final for the commit, and a person may still have to act.
    let is_comment = !matches!(topic, Topic::Progress { .. });
    if is_over && (!is_comment || before.standing == Standing::Success) {
        return None;
    }
    match topic {
        Topic::Progress { .. } if before.standing.is_final() => {
            Some(Page { standing: before.standing, text: words::over(before.standing), news: "over".to_owned() })
        }
        Topic::Progress { .. } => Some(Page {
            standing: Standing::Superseded,
            text: "another commit took its place before it was everywhere".to_owned(),
            news: "superseded".to_owned(),
        }),
        // Where there was no merge request to write on, there is nothing to take back.
        Topic::Held { .. } | Topic::Rollout { .. } if before.id.is_none() && before.certainty == Certainty::Said => {
            None
        }
        Topic::Held { .. } | Topic::Rollout { .. } => {
            Some(Page { standing: Standing::Success, text: words::nobody(topic), news: "over".to_owned() })
        }
    }
}

/// The shortest pause after the forge did not take something, in seconds; each further one is twice as long.
const PAUSE_SECS: u64 = 10;
/// The longest pause: a quarter of an hour after it is well again, at the latest, everything is said.
const MAX_PAUSE_SECS: u64 = 900;
/// The longest pause that a forge itself names and that is kept: its limits are by the hour.
const MAX_NAMED_SECS: u64 = 3_600;

/// For how many seconds nothing is tried after this many failures in a row; `named` is what the forge says itself.
pub fn pause_secs(failures: u32, named: Option<u64>) -> u64 {
    let usual = PAUSE_SECS.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE_SECS);
    named.map_or(usual, |named| named.clamp(PAUSE_SECS, MAX_NAMED_SECS))
}

fn compare(now: Timestamp, topic: Topic, page: Page, before: Option<&Told>) -> Option<Say> {
    let Page { standing, text, news } = page;
    let news = Digest::of(news.as_bytes());
    if let Some(before) = before {
        let is_same = before.standing == standing;
        // What was good is over: single devices that fail later are not what the commit is judged by.
        let stays = before.standing == Standing::Success && !standing.is_final();
        let stands = before.certainty == Certainty::Said && is_same && (before.news == news || stays);
        let soon = is_same && before.at <= now && now < before.at.plus_secs(SPACING_SECS);
        let is_often = before.times >= MAX_TIMES && (is_same || !standing.is_final());
        let said = before.certainty == Certainty::Said;
        if stands || (said && (soon || is_often)) || before.times >= MAX_TIMES_EVER {
            return None;
        }
    }
    Some(Say { topic, standing, text, news, before: before.cloned() })
}

fn of_stage(look: &Look<'_>, stage: &StageName, record: &StageRecord, pages: &mut Pages) {
    if let Some(waiting) = &record.waiting
        && record.accepted.as_ref() != Some(&waiting.commit)
    {
        let progress = Topic::Progress { stage: stage.clone(), commit: waiting.commit.clone() };
        pages.insert(progress, Some(waits(waiting)));
    }
    if let Some(Waiting { commit, why: WaitingFor::Approval { digest, reasons, changes }, .. }) = &record.waiting {
        let text = words::held(stage, commit, digest, reasons, changes.len());
        let page = Page { standing: Standing::Waiting, text, news: digest.to_string() };
        pages.insert(Topic::Held { stage: stage.clone(), commit: commit.clone() }, Some(page));
    }
    let Some(commit) = &record.accepted else { return };
    let is_of =
        |one: &&RolloutRecord| one.head.stage == *stage && one.head.commit == *commit && one.head.draft.is_none();
    let rollouts: Vec<&RolloutRecord> = look.state.rollouts.values().filter(is_of).collect();
    for one in &rollouts {
        if let Some((text, news)) = words::of_rollout(one) {
            let rollout = one.head.name.clone();
            let topic = Topic::Rollout { rollout, stage: stage.clone(), commit: commit.clone() };
            pages.insert(topic, Some(Page { standing: Standing::Waiting, text, news }));
        }
    }
    let topic = Topic::Progress { stage: stage.clone(), commit: commit.clone() };
    let owed = record.staged.as_ref().is_some_and(|one| one.commit == *commit && one.progress == StagedProgress::Owed);
    let page = match rollouts.is_empty() {
        _ if owed => Some(Page {
            standing: Standing::Waiting,
            text: "waits for the rollouts before it".to_owned(),
            news: "owed".to_owned(),
        }),
        true => match look.state.told.get(&topic) {
            // Counting devices is only worth it while they are on their way.
            Some(Told { standing: Standing::Success, certainty: Certainty::Said, .. }) => None,
            Some(_) | None => Some(reached(look, stage)),
        },
        false => Some(rolled_out(&rollouts)),
    };
    pages.insert(topic, page);
}

fn waits(waiting: &Waiting) -> Page {
    match &waiting.why {
        WaitingFor::Repair { message } => Page {
            standing: Standing::Failure,
            text: format!("it cannot count: {message}"),
            news: format!("repair {message}"),
        },
        WaitingFor::Approval { digest, .. } => Page {
            standing: Standing::Waiting,
            text: format!("held: somebody must approve {}", digest.short()),
            news: format!("held {digest}"),
        },
    }
}

/// How far the rollouts of a commit have come: the one that is worst off is named.
fn rolled_out(rollouts: &[&RolloutRecord]) -> Page {
    let (mut all, mut ok, mut bad) = (0, 0, 0);
    for one in rollouts {
        all += one.members.len();
        for member in one.members.values() {
            match member.phase {
                Phase::Succeeded { .. } => ok += 1,
                Phase::Bad { .. } => bad += 1,
                Phase::Queued { .. }
                | Phase::Offered { .. }
                | Phase::InProgress { .. }
                | Phase::Ready { .. }
                | Phase::Superseded
                | Phase::Canceled
                | Phase::Excluded { .. } => {}
            }
        }
    }
    let failed = if bad == 0 { String::new() } else { format!(", {bad} failed") };
    let counts = format!("{ok} of {all} devices{failed}");
    let Some(one) = rollouts.iter().min_by_key(|one| grade(&one.head.status)) else { return reached_text(0, 0, 0, 0) };
    let head = &one.head;
    let (step, steps) = ((head.current + 1).min(head.steps.len()), head.steps.len());
    let (standing, words) = match &head.status {
        Status::Error { why, .. } | Status::Aborted { why, .. } => {
            (Standing::Failure, format!("{}: {why}", head.status))
        }
        Status::RollingBack { .. } | Status::RolledBack { .. } => (Standing::Failure, head.status.to_string()),
        Status::PendingApproval | Status::Draft => (Standing::Waiting, "waits for approval".to_owned()),
        Status::Paused { why, .. } => (Standing::UnderWay, format!("paused: {why}")),
        Status::Active => (Standing::UnderWay, format!("step {step} of {steps}")),
        Status::Superseded { .. } => (Standing::Superseded, "another commit took its place".to_owned()),
        Status::Done { .. } => (Standing::Success, "done".to_owned()),
    };
    let tenths = (ok + bad) * 10 / all.max(1);
    Page {
        standing,
        text: format!("{counts}; {words}"),
        news: format!("{standing:?} {} {} {step} {tenths}", head.name, head.status.as_str()),
    }
}

/// From worst to best.
fn grade(status: &Status) -> u8 {
    match status {
        Status::Error { .. } => 0,
        Status::RollingBack { .. } => 1,
        Status::RolledBack { .. } => 2,
        Status::Aborted { .. } => 3,
        Status::PendingApproval => 4,
        Status::Paused { .. } => 5,
        Status::Active => 6,
        Status::Draft => 7,
        Status::Superseded { .. } => 8,
        Status::Done { .. } => 9,
    }
}

/// How far a commit has come that goes to all devices at once.
fn reached(look: &Look<'_>, stage: &StageName) -> Page {
    let (mut all, mut ok, mut bad, mut silent) = (0, 0, 0, 0);
    for record in look.state.devices.values() {
        let Some(assignment) = record.assignment.as_ref().filter(|one| one.stage == *stage) else { continue };
        all += 1;
        let reported = record.reported.as_ref();
        let heard = reported.filter(|one| one.report.observed == Some(assignment.mark()));
        let last = reported.map_or(assignment.assigned_at, |one| one.received_at);
        match heard.map(|one| one.report.phase) {
            Some(Reached::Settled) => ok += 1,
            Some(Reached::Failing) => bad += 1,
            // Who has just been told something is not silent yet.
            _ if last.max(assignment.assigned_at).plus_secs(look.offline_after_secs) < look.now => silent += 1,
            Some(Reached::Waiting | Reached::Applying) | None => {}
        }
    }
    reached_text(all, ok, bad, silent)
}

fn reached_text(all: usize, ok: usize, bad: usize, silent: usize) -> Page {
    let standing = match ok + bad + silent < all {
        true => Standing::UnderWay,
        false if bad > 0 => Standing::Failure,
        false => Standing::Success,
    };
    let more = |count: usize, word: &str| if count == 0 { String::new() } else { format!(", {count} {word}") };
    let tenths = (ok + bad + silent) * 10 / all.max(1);
    Page {
        standing,
        text: format!("{ok} of {all} devices{}{}", more(bad, "failed"), more(silent, "silent")),
        news: format!("{standing:?} {tenths} {}", bad > 0),
    }
}

#[cfg(test)]
mod tests;
