//! What became of the devices that a rollout takes back: who has what it had, who is on the way, who keeps what it got and why.

use crate::domain::fleet::RolloutRecord;
use crate::domain::ids::DeviceId;
use crate::domain::rollout::machine::{Back, Member, Phase, Returns, Reversal, Status, World};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// How many devices are in which place of the way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackCounts {
    /// They wait for their turn, a hold or a budget.
    pub waiting: usize,
    /// They were told to go back.
    pub going: usize,
    /// They have what they had.
    pub went_back: usize,
    /// They were told to, and have not been heard of since: they go back when they are.
    pub away: usize,
    /// They keep what they got.
    pub kept: usize,
}

impl BackCounts {
    /// All that something was to be taken back from.
    pub fn all(&self) -> usize {
        let Self { waiting, going, went_back, away, kept } = *self;
        waiting + going + went_back + away + kept
    }
}

/// Where a device is on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackState {
    /// It waits for its turn, a hold or a budget.
    Waiting,
    /// It was told to go back.
    Going,
    /// It has what it had.
    WentBack,
    /// It was told to, and has not been heard of since.
    Away,
    /// It keeps what it got.
    Kept,
}

impl BackState {
    fn of(back: Back) -> Self {
        match back {
            Back::Waiting => Self::Waiting,
            Back::Offered { .. } => Self::Going,
            Back::Done => Self::WentBack,
            Back::Away => Self::Away,
            Back::Kept => Self::Kept,
        }
    }

    /// The word for people, like those of the devices of a step.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITS_TO_GO_BACK",
            Self::Going => "GOING_BACK",
            Self::WentBack => "WENT_BACK",
            Self::Away => "AWAY",
            Self::Kept => "KEPT",
        }
    }
}

impl fmt::Display for BackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A device that something is taken back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackRow {
    /// The device.
    pub device: DeviceId,
    /// Where it is on its way back.
    pub state: BackState,
    /// How far it had come with what is taken back: one word.
    pub was: String,
    /// Why it is not back, in a sentence; `None` if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether what became of devices before does not stand any more: all of them go back, or were to.
fn is_undone(status: &Status) -> bool {
    match status {
        Status::RollingBack { .. } | Status::RolledBack { .. } | Status::Aborted { .. } => true,
        Status::Draft
        | Status::PendingApproval
        | Status::Active
        | Status::Paused { .. }
        | Status::Done { .. }
        | Status::Error { .. }
        | Status::Superseded { .. } => false,
    }
}

/// The word for what a device is by now: where a rollout is taken back, its place on the way.
pub(super) fn word(status: &Status, member: &Member) -> &'static str {
    match member.back.filter(|_| is_undone(status)) {
        Some(back) => BackState::of(back).as_str(),
        None => member.phase.as_str(),
    }
}

/// Whether a device has the change for good, as far as the rollout knows.
pub(super) fn has_succeeded(status: &Status, member: &Member) -> bool {
    let stands = member.back.is_none() || !is_undone(status);
    stands && matches!(member.phase, Phase::Succeeded { .. })
}

/// How many devices are where on the way back; `None` if nothing is taken back.
pub(super) fn counts(record: &RolloutRecord) -> Option<BackCounts> {
    let mut counts = BackCounts::default();
    for back in record.members.values().filter_map(|member| member.back) {
        *match BackState::of(back) {
            BackState::Waiting => &mut counts.waiting,
            BackState::Going => &mut counts.going,
            BackState::WentBack => &mut counts.went_back,
            BackState::Away => &mut counts.away,
            BackState::Kept => &mut counts.kept,
        } += 1;
    }
    (counts.all() > 0).then_some(counts)
}

/// The devices that something is taken back from, those first that are not back, by name.
pub(super) fn rows<W: World + ?Sized>(record: &RolloutRecord, world: Option<&W>, most: usize) -> Vec<BackRow> {
    let on_the_way = || record.members.iter().filter_map(|(device, member)| Some((device, member, member.back?)));
    let open = on_the_way().filter(|(_, _, back)| *back != Back::Done);
    let done = on_the_way().filter(|(_, _, back)| *back == Back::Done);
    let row = |(device, member, back): (&DeviceId, &Arc<Member>, Back)| BackRow {
        device: device.clone(),
        state: BackState::of(back),
        was: member.phase.as_str().to_owned(),
        why: why(&record.head.status, device, member, back, world),
    };
    open.chain(done).take(most).map(row).collect()
}

fn why<W: World + ?Sized>(
    status: &Status,
    device: &DeviceId,
    member: &Member,
    back: Back,
    world: Option<&W>,
) -> Option<String> {
    Some(match back {
        Back::Done => return None,
        Back::Waiting => match world.map(|world| world.returns(device)) {
            Some(Returns::Held) => "it is held, and goes back when that ends".to_owned(),
            Some(Returns::Now | Returns::Never) | None => "it waits for its turn".to_owned(),
        },
        Back::Offered { since, .. } => format!("it was told at {since}"),
        Back::Away => "it is not heard of, and goes back when it is".to_owned(),
        Back::Kept => kept(status, member, world.map(|world| world.returns(device))).to_owned(),
    })
}

/// Why a device keeps what it got.
fn kept(status: &Status, member: &Member, returns: Option<Returns>) -> &'static str {
    match (member.previous, member.reversal, returns, status) {
        (None, _, _, _) => "it had nothing before",
        (Some(_), Reversal::Impossible, _, _) => "a release on the way is irreversible",
        (Some(_), Reversal::Possible, Some(Returns::Now | Returns::Held), Status::Aborted { .. }) => {
            "the way back was aborted before its turn"
        }
        (Some(_), Reversal::Possible, _, _) => "what it is assigned was not this rollout's any more",
    }
}
