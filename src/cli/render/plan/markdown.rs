//! A plan as Markdown, for a comment on a merge request. It always fits into one.

use super::fitting::{Block, Fitted, fitted};
use super::{NAMED_DEVICES, action, by_way, capitalised, fields, remark, sums};
use crate::cli::plan::{GroupView, PlanView};
use crate::cli::render::findings;
use crate::cli::render::table::{Table, code, escaped, fenced, row};
use crate::cli::render::text::{count, names};
use crate::domain::finding::{Affects, Finding, Severity};
use crate::domain::overview::changes::ChangeGroup;
use crate::domain::plan::conflicts::ClaimConflict;
use crate::domain::time::show_secs;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};

/// The longest comment, in bytes: GitHub takes 65,536 characters, and whoever posts it adds a mark of its own.
pub const MAX_COMMENT_BYTES: usize = 65_000;
/// How much of that is kept for saying what was left out, and where the rest is.
const ENDING_BYTES: usize = 4_000;
/// How many lines of one kind are shown before the rest is counted.
const MAX_LINES: usize = 20;
/// How many findings are shown before the rest is counted. A forge shows all of them beside their lines.
const MAX_FINDINGS: usize = 50;
/// How many fields of one group are shown before the rest is counted.
const MAX_FIELDS: usize = 40;
/// The longest line of a text from elsewhere, in characters.
const MAX_LINE_CHARS: usize = 400;
/// The same as Markdown, in bytes.
const MAX_LINE_BYTES: usize = 800;
/// How many notes are shown. There are never more than a few.
const MAX_NOTES: usize = 4;

/// The plan as Markdown. `artifact` is the name of the file with the whole plan, where there is one.
pub fn markdown(view: &PlanView, artifact: Option<&str>) -> String {
    let head = head(view);
    let mut blocks: Vec<Block> = Vec::new();
    blocks.extend(conflicts(&view.conflicts));
    blocks.extend(rollouts(view));
    blocks.extend(detours(view));
    blocks.extend(excluded(view));
    blocks.extend(findings_block(&view.findings));
    blocks.extend(view.groups.iter().map(group));
    let room = MAX_COMMENT_BYTES.saturating_sub(head.len() + ENDING_BYTES);
    let Fitted { mut text, left_out, shortened } = fitted(&blocks, room);
    text.insert_str(0, &head);
    text.push_str(&ending(view, artifact, left_out, shortened));
    text
}

fn head(view: &PlanView) -> String {
    let PlanView { commit, onto, against, plan, unknown, .. } = view;
    let mut text = format!("## Plan for stage {}\n\n", escaped(plan.stage.as_str()));
    let merge = onto.as_ref().map(|onto| format!(", merged into `{}`", onto.short())).unwrap_or_default();
    let _ = writeln!(text, "Commit `{}`{merge}, against {}.\n", commit.short(), line(&against.to_string()));
    let _ = writeln!(text, "**{}**", sums(view));
    if let Some(finding) = broken(view) {
        let _ = writeln!(
            text,
            "\n**The commit cannot be accepted:** {}: {}",
            line(&finding.place.to_string()),
            line(&finding.message)
        );
    }
    if !plan.held.is_empty() {
        let _ = writeln!(text, "\n### Would be held\n");
        listed(&mut text, &plan.held);
        let _ = writeln!(text, "\nAfter it is merged, if this is meant: `bellwether approve {}`", plan.digest.short());
    }
    if !unknown.is_empty() {
        text.push_str("\n### Unknown\n\n");
        listed(&mut text, unknown);
    }
    text
}

/// What keeps the commit as a whole from being accepted.
fn broken(view: &PlanView) -> Option<&Finding> {
    view.findings.iter().find(|one| one.severity == Severity::Error && one.affects == Affects::Commit)
}

/// A text from elsewhere as one harmless line of a bounded length.
fn line(text: &str) -> String {
    let whole = text.chars().count();
    let mut length = whole.min(MAX_LINE_CHARS);
    loop {
        let shown = escaped(&text.chars().take(length).collect::<String>());
        // What is escaped becomes longer, some of it ten times.
        if shown.len() <= MAX_LINE_BYTES {
            return if length < whole { format!("{shown}…") } else { shown };
        }
        length /= 2;
    }
}

fn listed<T: Display>(text: &mut String, lines: &[T]) {
    for one in lines.iter().take(MAX_LINES) {
        let _ = writeln!(text, "- {}", line(&one.to_string()));
    }
    more(text, lines.len(), MAX_LINES);
}

fn more(text: &mut String, all: usize, shown: usize) {
    if all > shown {
        let _ = writeln!(text, "- and {} more", all - shown);
    }
}

fn group(view: &GroupView) -> Block {
    let GroupView { group: ChangeGroup { action: what, devices, fields: changes }, diff } = view;
    let group = ChangeGroup {
        action: *what,
        devices: BTreeSet::new(),
        fields: changes.iter().take(MAX_FIELDS).cloned().collect(),
    };
    let mut short = format!("\n### {} {}\n\n", capitalised(action(*what).0), count(devices.len(), "device"));
    let _ = writeln!(short, "{}\n", line_of_devices(devices));
    let remark = remark(*what);
    if !remark.is_empty() {
        let _ = writeln!(short, "{}.\n", capitalised(remark));
    }
    let mut full = short.clone();
    if changes.is_empty() {
        return Block { full, short };
    }
    let table = shortened(&fields(&group).markdown());
    full.push_str(&table);
    if changes.len() > MAX_FIELDS {
        let _ = writeln!(full, "\n{} more differ.", count(changes.len() - MAX_FIELDS, "field"));
    }
    if let (Some(diff), Some(device)) = (diff, devices.first()) {
        // Names of devices are made of letters, digits and a few signs that mean nothing in HTML.
        let shown = format!("{device} line by line");
        let _ = write!(full, "\n<details><summary>{shown}</summary>\n\n{}\n</details>\n", fenced("diff", diff));
    }
    let _ = writeln!(short, "{} differ.", count(changes.len(), "field"));
    Block { full, short }
}

/// A table without the rows that are too long to be read.
fn shortened(table: &str) -> String {
    /// The longest row, in bytes: a name and two values of some lines each.
    const MAX_ROW_BYTES: usize = 2_000;
    let row = |row: &str| {
        if row.len() <= MAX_ROW_BYTES {
            return format!("{row}\n");
        }
        let name = row.strip_prefix("| ").and_then(|rest| rest.split_once(" | ")).map_or("", |(name, _)| name);
        let name = if name.len() <= MAX_ROW_BYTES / 2 { name } else { "" };
        format!("| {name} | _too long to be shown_ | _too long to be shown_ |\n")
    };
    table.lines().map(row).collect()
}

fn line_of_devices<T: Display>(devices: impl IntoIterator<Item = T>) -> String {
    escaped(&names(devices, NAMED_DEVICES))
}

fn conflicts(all: &[ClaimConflict]) -> Option<Block> {
    if all.is_empty() {
        return None;
    }
    let mut text = "\n### Claimed by several stages\n\n".to_owned();
    for ClaimConflict { stages, owner, devices } in all.iter().take(MAX_LINES) {
        let stages = names(stages, NAMED_DEVICES);
        let line = format!("{}; {owner} is the most gated and owns {}", stages, count(devices.len(), "device"));
        let _ = writeln!(text, "- {}: {}", escaped(&line), line_of_devices(devices));
    }
    more(&mut text, all.len(), MAX_LINES);
    Some(Block::whole(text))
}

fn rollouts(view: &PlanView) -> Vec<Block> {
    let show = |secs: u64| show_secs(i64::try_from(secs).unwrap_or(i64::MAX));
    let rollout = |(policy, planned): (&crate::domain::ids::PolicyName, &crate::domain::plan::gate::PlannedRollout)| {
        let devices = count(planned.devices.len(), "device");
        let title = format!("\n### {devices} step by step, as {} says\n\n", code(policy.as_str()));
        let mut table = Table::new(&["STEP", "DEVICES", "NUMBER", "MAY FAIL", "SEEN FROM", "ENDS AFTER"]);
        for step in planned.steps.iter().take(MAX_LINES) {
            let ends = format!("{} to {}", show(step.earliest_secs), show(step.latest_secs));
            let (number, failures, seen) = (step.members, step.allowed_failures, step.smallest_visible);
            table.row(row![&step.name, &step.devices, number, failures, seen, ends]);
        }
        let end = planned.steps.last().map(|step| (step.earliest_secs, step.latest_secs)).unwrap_or_default();
        let short =
            format!("{title}{}, done after {} to {}.\n", count(planned.steps.len(), "step"), show(end.0), show(end.1));
        Block { full: format!("{title}{}", shortened(&table.markdown())), short }
    };
    view.plan.rollouts.iter().map(rollout).collect()
}

fn detours(view: &PlanView) -> Option<Block> {
    let ways = by_way(&view.plan);
    if ways.is_empty() {
        return None;
    }
    let mut text = "\n### On the way through other releases\n\n".to_owned();
    for (way, devices) in ways.iter().take(MAX_LINES) {
        let _ = writeln!(text, "- {}: {}", line(way), line_of_devices(devices));
    }
    more(&mut text, ways.len(), MAX_LINES);
    Some(Block::whole(text))
}

fn excluded(view: &PlanView) -> Option<Block> {
    if view.plan.excluded.is_empty() {
        return None;
    }
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (device, reason) in &view.plan.excluded {
        reasons.entry(reason).or_default().push(device.as_str());
    }
    let mut text = "\n### Excluded: they keep what they have\n\n".to_owned();
    for (reason, devices) in reasons.iter().take(MAX_LINES) {
        let _ = writeln!(text, "- {}, because {}", line_of_devices(devices), line(reason));
    }
    more(&mut text, reasons.len(), MAX_LINES);
    Some(Block::whole(text))
}

fn findings_block(all: &[Finding]) -> Option<Block> {
    if all.is_empty() {
        return None;
    }
    let title = format!("\n### Findings: {}\n\n", findings::summary(all));
    let mut full = title.clone();
    for Finding { place, severity, code: name, message, .. } in all.iter().take(MAX_FINDINGS) {
        let word = match severity {
            Severity::Error => "**error**",
            Severity::Warning => "warning",
        };
        let _ = writeln!(full, "- {word} {} at {}: {}", line(name), line(&place.to_string()), line(message));
    }
    more(&mut full, all.len(), MAX_FINDINGS);
    Some(Block { full, short: format!("{title}`bellwether check` shows them.\n") })
}

fn ending(view: &PlanView, artifact: Option<&str>, left_out: usize, shortened: usize) -> String {
    let mut text = String::new();
    let place = match artifact {
        Some(name) => format!("the whole plan is in {}", code(name)),
        None => "`bellwether plan -o json` shows the whole plan".to_owned(),
    };
    match (left_out, shortened) {
        (0, 0) => {}
        (0, some) => {
            _ = writeln!(text, "\n**Too long for a comment: {} shortened; {place}.**", parts(some, "is", "are"))
        }
        (some, _) => {
            _ = writeln!(text, "\n**Too long for a comment: {} left out; {place}.**", parts(some, "is", "are"))
        }
    }
    for note in view.notes.iter().take(MAX_NOTES) {
        let _ = writeln!(text, "\n_{}_", line(note));
    }
    let _ = writeln!(text, "\nPlan `{}` of commit `{}`.", view.plan.digest, view.commit);
    text
}

fn parts(number: usize, one: &str, several: &str) -> String {
    format!("{} {}", count(number, "part"), if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests;
