//! A plan for people and for merge requests.

mod fitting;
mod markdown;

pub use markdown::markdown;

use super::findings;
use super::table::{Table, row};
use super::text::{Tone, count, names, plain, short_digests};
use crate::cli::plan::PlanView;
use crate::domain::digest::Digest;
use crate::domain::ids::DeviceId;
use crate::domain::overview::changes::{ChangeGroup, FieldChange};
use crate::domain::plan::conflicts::ClaimConflict;
use crate::domain::plan::gate::{Action, StagePlan};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many devices a line names before it counts the rest. Programs read all of them with `-o json`.
const NAMED_DEVICES: usize = 20;

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Findings {
    /// Only their number.
    Counted,
    /// Each with its source line.
    Shown,
}

fn action(action: Action) -> (&'static str, Tone) {
    match action {
        Action::Assign => ("assign", Tone::Good),
        Action::Retarget => ("retarget", Tone::Unsure),
        Action::LetGo => ("let go", Tone::Bad),
        Action::Unmanage => ("unmanage", Tone::Bad),
    }
}

/// What happens to devices that a stage loses, said where they are listed.
fn remark(action: Action) -> &'static str {
    match action {
        Action::Assign | Action::Retarget => "",
        Action::LetGo => "the stage lets them go and no stage claims them: they are in transit and keep what they have",
        Action::Unmanage => "no stage lists them any more; they keep what they have",
    }
}

/// The plan as text.
pub fn text(view: &PlanView, shown: Findings, width: Option<u16>) -> String {
    let PlanView { commit, onto, against, plan, groups, conflicts, findings, notes, unknown } = view;
    let merge = onto.as_ref().map(|onto| format!(" merged into {}", onto.short())).unwrap_or_default();
    let mut text = format!(
        "{} {} at commit {}{merge}, against {}\n",
        Tone::Strong.paint("plan for stage"),
        plan.stage,
        commit.short(),
        plain(&against.to_string())
    );
    if plan.changes.is_empty() {
        text.push_str("\nno changes\n");
    } else {
        let _ = write!(text, "\n{}", changes(view).text(width));
        for group in groups {
            let _ = write!(text, "\n{}", group_text(&group.group, width));
        }
    }
    for (policy, planned) in &plan.rollouts {
        let title = format!("{} step by step, as `{policy}` says", count(planned.devices.len(), "device"));
        let _ = writeln!(text, "\n{}", Tone::Strong.paint(title));
        for (number, step) in planned.steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", number + 1, plain(&step.to_string()));
        }
    }
    if !plan.detours.is_empty() {
        let _ = writeln!(text, "\n{}", Tone::Strong.paint("on the way through other releases"));
        for (way, devices) in by_way(plan) {
            let _ = writeln!(text, "  {}: {}", plain(way), names(&devices, NAMED_DEVICES));
        }
    }
    if !conflicts.is_empty() {
        let _ = writeln!(text, "\n{}", Tone::Strong.paint("claimed by several stages"));
        for ClaimConflict { stages, owner, devices } in conflicts {
            let (stages, devices) = (names(stages, NAMED_DEVICES), names(devices, NAMED_DEVICES));
            let _ = writeln!(text, "  {stages}: {devices}; {owner} is the most gated and owns them");
        }
    }
    if !plan.excluded.is_empty() {
        let _ = writeln!(text, "\n{}", Tone::Strong.paint("excluded"));
        for (device, reason) in &plan.excluded {
            let _ = writeln!(text, "  {device}: {}", plain(reason));
        }
    }
    if !plan.held.is_empty() {
        let _ = writeln!(text, "\n{}", Tone::Unsure.paint("would be held"));
        for reason in &plan.held {
            let _ = writeln!(text, "  because {reason}");
        }
        let _ = writeln!(text, "  after it is pushed, if this is meant: bellwether approve {}", plan.digest.short());
    }
    for line in unknown {
        let _ = writeln!(text, "\n{} {}", Tone::Unsure.paint("unknown:"), plain(line));
    }
    for line in notes {
        let _ = writeln!(text, "\n{} {}", Tone::Quiet.paint("note:"), plain(line));
    }
    if !findings.is_empty() {
        match shown {
            Findings::Shown => {
                let _ = write!(text, "\n{}", findings::text(findings));
            }
            Findings::Counted => {
                let _ = writeln!(text, "\n{}; see `bellwether check` or `-o wide`", findings::summary(findings));
            }
        }
    }
    let _ = writeln!(text, "\n{}", sums(view));
    text
}

/// One line: `plan 1a2b3c: 2 to retarget, 1 to unmanage, 4 unchanged`.
pub fn sums(view: &PlanView) -> String {
    let plan = &view.plan;
    let number = |wanted: Action| plan.changes.iter().filter(|change| change.action == wanted).count();
    let all = [Action::Assign, Action::Retarget, Action::LetGo, Action::Unmanage];
    let mut parts: Vec<String> = all
        .into_iter()
        .map(|wanted| (number(wanted), action(wanted).0))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} to {word}"))
        .collect();
    let changing = number(Action::Assign) + number(Action::Retarget);
    parts.push(format!("{} unchanged", plan.claimed.saturating_sub(changing + plan.excluded.len())));
    if !plan.excluded.is_empty() {
        parts.push(format!("{} excluded", plan.excluded.len()));
    }
    format!("plan {}: {}", plan.digest.short(), parts.join(", "))
}

fn changes(view: &PlanView) -> Table {
    let mut table = Table::new(&["DEVICE", "ACTION", "FROM", "TO"]);
    let digest = |digest: Option<Digest>| digest.map_or_else(|| "-".to_owned(), |digest| digest.short());
    for change in &view.plan.changes {
        let (word, tone) = action(change.action);
        let to = if change.to.is_none() { "keeps it".to_owned() } else { digest(change.to) };
        table.row(row![&change.device, super::table::Cell::new(word, tone), digest(change.from), to]);
    }
    table
}

fn title(group: &ChangeGroup) -> String {
    let devices = names(&group.devices, NAMED_DEVICES);
    format!("{} {}: {devices}", action(group.action).0, count(group.devices.len(), "device"))
}

fn fields(group: &ChangeGroup) -> Table {
    let mut table = Table::new(&["FIELD", "FROM", "TO"]);
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), short_digests);
    for FieldChange { field, from, to } in &group.fields {
        table.row(row![field, shown(from), shown(to)]);
    }
    table
}

fn group_text(group: &ChangeGroup, width: Option<u16>) -> String {
    let mut text = format!("{}\n", Tone::Strong.paint(title(group)));
    let remark = remark(group.action);
    if !remark.is_empty() {
        let _ = writeln!(text, "{remark}");
    }
    if !group.fields.is_empty() {
        text.push_str(&fields(group).text(width));
    }
    text
}

/// Devices by the way that they take.
fn by_way(plan: &StagePlan) -> BTreeMap<&str, Vec<DeviceId>> {
    let mut ways: BTreeMap<&str, Vec<DeviceId>> = BTreeMap::new();
    for (device, way) in &plan.detours {
        ways.entry(way).or_default().push(device.clone());
    }
    ways
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::bare;
    use super::*;
    use crate::cli::plan::GroupView;
    use crate::cli::planning::Against;
    use crate::domain::fleet::HeldReason;
    use crate::domain::overview::changes::group_changes;
    use crate::domain::plan::gate::PlannedChange;

    pub fn view() -> PlanView {
        let change = |device: &str, action, from: Option<&str>, to: Option<&str>| PlannedChange {
            device: device.parse().expect("a device"),
            action,
            from: from.map(|text| Digest::of(text.as_bytes())),
            to: to.map(|text| Digest::of(text.as_bytes())),
        };
        let changes = vec![
            change("board-1", Action::Unmanage, Some("a"), None),
            change("kiosk-1", Action::Retarget, Some("a"), Some("b")),
            change("kiosk-2", Action::Retarget, Some("a"), Some("b")),
        ];
        let release =
            FieldChange { field: "signage".to_owned(), from: Some("1.5.0".to_owned()), to: Some("2.0.0".to_owned()) };
        let fields = |change: &PlannedChange| if change.to.is_some() { vec![release.clone()] } else { Vec::new() };
        let groups = group_changes(changes.iter().map(|one| (one.device.clone(), one.action, fields(one))));
        let groups = groups.into_iter().map(|group| GroupView { group, diff: None }).collect();
        PlanView {
            commit: "1a2b3c4d".repeat(5).parse().expect("a commit"),
            onto: None,
            conflicts: Vec::new(),
            against: Against::Commit {
                commit: "99887766".repeat(5).parse().expect("a commit"),
                named: "origin/production".to_owned(),
            },
            plan: StagePlan {
                rollouts: Default::default(),
                stage: "production".parse().expect("a stage"),
                tree: "1a2b3c4d".repeat(5).parse().expect("a tree"),
                inventory: None,
                changes,
                detours: BTreeMap::new(),
                excluded: BTreeMap::from([(
                    "kiosk-3".parse().expect("a device"),
                    "its files have findings".to_owned(),
                )]),
                claimed: 5,
                held: vec![HeldReason::DeletionBudget { unmanaged: 2, allowed: 1 }],
                digest: Digest::of(b"plan"),
            },
            groups,
            findings: Vec::new(),
            notes: vec!["no controller was asked".to_owned()],
            unknown: vec!["what stage main claims now".to_owned()],
        }
    }

    #[test]
    fn a_plan_tells_what_happens_to_whom_and_what_holds_it() {
        insta::assert_snapshot!(bare(&text(&view(), Findings::Counted, None)), @"
        plan for stage production at commit 1a2b3c4d, against commit 99887766 (origin/production)

        DEVICE    ACTION     FROM           TO
        board-1   unmanage   ca978112ca1b   keeps it
        kiosk-1   retarget   ca978112ca1b   3e23e8160039
        kiosk-2   retarget   ca978112ca1b   3e23e8160039

        retarget 2 devices: kiosk-1, kiosk-2
        FIELD     FROM    TO
        signage   1.5.0   2.0.0

        unmanage 1 device: board-1
        no stage lists them any more; they keep what they have

        excluded
          kiosk-3: its files have findings

        would be held
          because 2 devices would be unmanaged since the last approval; 1 may be
          after it is pushed, if this is meant: bellwether approve 64879f7d6b96

        unknown: what stage main claims now

        note: no controller was asked

        plan 64879f7d6b96: 2 to retarget, 1 to unmanage, 2 unchanged, 1 excluded
        ");
    }

    #[test]
    fn a_plan_without_changes_says_so() {
        let mut view = view();
        view.plan.changes.clear();
        view.groups.clear();
        view.plan.excluded.clear();
        view.plan.held.clear();
        let text = bare(&text(&view, Findings::Counted, None));
        assert!(text.contains("no changes"), "{text}");
        assert!(text.ends_with("5 unchanged"), "{text}");
    }
}
