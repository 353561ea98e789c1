//! A simulation for people: as text, as a picture, and as a page.

mod chart;

pub use chart::{chart, page};

use super::table::{Cell, Table, row};
use super::text::{Tone, count, plain};
use crate::cli::simulate::{SimulatedRollout, SimulationView};
use crate::domain::rollout::simulate::{Case, Outcome, Run, StepRun, Summary};
use crate::domain::time::show_secs;
use std::fmt::Write as _;

/// What is told of the events of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// Nothing.
    Left,
    /// All of them.
    Shown,
}

/// Everything about a simulation.
pub fn text(view: &SimulationView, width: Option<u16>, events: Events) -> String {
    let mut text = String::new();
    let SimulationView { stage, commit, against, start, seed, runs, rollouts, at_once: others, notes, unknown } = view;
    let _ = writeln!(text, "commit {} for stage {stage}, against {}", commit.short(), plain(&against.to_string()));
    let _ = writeln!(text, "{} of each kind from seed {seed}, beginning at {start}", runs_word(*runs));
    for rollout in rollouts {
        text.push('\n');
        of_rollout(rollout, width, events, &mut text);
    }
    if *others > 0 {
        let _ = writeln!(text, "\n{}", at_once(*others));
    }
    for note in notes {
        let _ = writeln!(text, "\n{} {}", Tone::Quiet.paint("note:"), plain(note));
    }
    for unknown in unknown {
        let _ = writeln!(text, "\n{} {}", Tone::Unsure.paint("unknown:"), plain(unknown));
    }
    text
}

fn of_rollout(rollout: &SimulatedRollout, width: Option<u16>, events: Events, text: &mut String) {
    let SimulatedRollout { policy, devices, good, bad } = rollout;
    let _ = writeln!(text, "{}", Tone::Strong.paint(format!("{} by policy {policy}", count(*devices, "device"))));
    for (case, facts) in [(good, good_facts(&good.summary)), (bad, bad_facts(&bad.summary, *devices))] {
        let kind = if std::ptr::eq(case, good) { "a good change" } else { "a bad change" };
        let _ = writeln!(text, "\n{}: {}", Tone::Strong.paint(kind), supposed(case));
        let mut table = Table::new(&[]);
        for (name, value, tone) in facts {
            table.fact(name, Cell::new(value, tone));
        }
        text.push_str(&table.text(width));
        let _ = writeln!(text, "\n{}", Tone::Quiet.paint(heading(case)));
        text.push_str(&steps(&case.typical).text(width));
        if let Some(waits) = &case.typical.waits {
            let _ = writeln!(text, "at the end: {}", plain(waits));
        }
        if events == Events::Shown {
            for (secs, what) in &case.typical.timeline {
                let _ = writeln!(text, "  {:>8}  {}", show_secs(*secs), plain(what));
            }
        }
    }
}

/// `10% of devices fail, 5% are away, each takes up to 5m`.
fn supposed(case: &Case) -> String {
    let odds = case.odds;
    let latency = show_secs(odds.latency_secs.into());
    format!("{} of devices fail, {} are away, each takes up to {latency}", odds.failure, odds.offline)
}

/// What one run in the middle is called.
fn heading(case: &Case) -> String {
    let kind = match case.typical.outcome {
        Outcome::Done => "that went through",
        Outcome::Stopped => "that was stopped",
        Outcome::Paused => "that paused",
        Outcome::Stuck => "that did not go on",
    };
    format!("a run {kind}, in the middle of its kind:")
}

/// Name, value and tone of what is told of a good change.
fn good_facts(summary: &Summary) -> Vec<(&'static str, String, Tone)> {
    let Summary { runs, done, stopped, paused, stuck, .. } = *summary;
    let mut facts = vec![("goes through", format!("{done} of {}", runs_word(runs)), good_if(done == runs))];
    let false_stops = stopped + paused + stuck;
    let kinds = [(stopped, "stopped by a gate"), (paused, "paused for want of reports"), (stuck, "did not go on")];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    facts.push(("false stops", format!("{false_stops}{kinds}"), good_if(false_stops == 0)));
    if let (Some(median), Some(most)) = (summary.done_median_secs, summary.done_95_secs) {
        let text = format!("{} in half of the runs, {} in 95%", show_secs(median), show_secs(most));
        facts.push(("takes", text, Tone::Plain));
    }
    facts
}

/// The same of a bad one.
fn bad_facts(summary: &Summary, devices: usize) -> Vec<(&'static str, String, Tone)> {
    let Summary { runs, done, stopped, paused, stuck, .. } = *summary;
    let others = [(done, "go through"), (paused, "pause for want of reports"), (stuck, "do not go on")];
    let others: Vec<String> =
        others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    let mut facts = vec![("is stopped", format!("{stopped} of {}{others}", runs_word(runs)), good_if(done == 0))];
    if let (Some(median), Some(most)) = (summary.exposed_median, summary.exposed_95) {
        let text = format!("{median} of {} in half of these runs, {most} in 95%", count(devices, "device"));
        facts.push(("exposed by then", text, Tone::Plain));
    }
    if let Some(median) = summary.stopped_median_secs {
        facts.push(("stopped after", format!("{} in half of these runs", show_secs(median)), Tone::Plain));
    }
    facts
}

/// `1 run`, `100 runs`.
fn runs_word(runs: u32) -> String {
    count(usize::try_from(runs).unwrap_or(usize::MAX), "run")
}

/// `1 device follows no policy and gets it at once`.
fn at_once(devices: usize) -> String {
    let (follow, get) = if devices == 1 { ("follows", "gets") } else { ("follow", "get") };
    format!("{} {follow} no policy and {get} it at once", count(devices, "device"))
}

fn good_if(good: bool) -> Tone {
    if good { Tone::Good } else { Tone::Bad }
}

fn steps(run: &Run) -> Table {
    let mut table = Table::new(&["STEP", "STATUS", "DEVICES", "FROM", "TO", "N", "OK", "FAILED", "OPEN", "LEFT OUT"]);
    let time = |secs: Option<i64>| secs.map_or_else(|| "-".to_owned(), show_secs);
    for (number, step) in run.steps.iter().enumerate() {
        let StepRun { name, status, from, to, members, ok, bad, excluded } = step;
        let began = from.is_some();
        let of = |count: u32| if began { count.to_string() } else { "-".to_owned() };
        let open = of(members.saturating_sub(ok + bad));
        let tone = match status.as_str() {
            "PASSED" => Tone::Good,
            "FAILED" => Tone::Bad,
            _ => Tone::Plain,
        };
        table.row(row![
            number + 1,
            Cell::new(status, tone),
            name,
            time(*from),
            time(*to),
            of(*members),
            of(*ok),
            of(*bad),
            open,
            of(*excluded)
        ]);
    }
    table
}
