//! The exposure over time as a picture, and the page that holds it. Neither runs anything, nor fetches anything.

use super::{bad_facts, good_facts, supposed};
use crate::cli::render::text::{count, plain};
use crate::cli::simulate::{SimulatedRollout, SimulationView};
use crate::domain::rollout::simulate::{Case, Moment};
use crate::domain::time::show_secs;
use askama::Template;
use std::fmt::Write as _;

/// How many rollouts are drawn: a commit of a sensible repo makes a handful.
const MAX_DRAWN: usize = 16;
/// Where the area of the curves begins and ends in a panel.
const LEFT: i64 = 70;
const RIGHT: i64 = 930;
const TOP: i64 = 74;
const BOTTOM: i64 = 330;
/// Where the steps are listed, and how far apart.
const LIST: i64 = 418;
const LINE: i64 = 22;
/// The narrowest step that has room for its number.
const NARROWEST: i64 = 14;
/// Lengths of time that people count in, in seconds.
const ROUND_SECS: [i64; 16] = [
    5,
    15,
    30,
    60,
    120,
    300,
    900,
    1800,
    3600,
    2 * 3600,
    4 * 3600,
    8 * 3600,
    86_400,
    2 * 86_400,
    7 * 86_400,
    30 * 86_400,
];

#[derive(Template)]
#[template(path = "simulation.svg", escape = "html")]
struct Picture {
    height: i64,
    label: String,
    panels: Vec<Panel>,
}

#[derive(Template)]
#[template(path = "simulation.html")]
struct Page {
    version: &'static str,
    heading: String,
    about: Vec<String>,
    svg: String,
    rollouts: Vec<Told>,
}

/// What the page says of a rollout.
struct Told {
    title: String,
    cases: Vec<ToldCase>,
}

struct ToldCase {
    kind: &'static str,
    supposed: String,
    facts: Vec<(&'static str, String)>,
}

/// The picture of one rollout.
struct Panel {
    y: i64,
    title: String,
    steps: Vec<Band>,
    rows: Vec<Tick>,
    columns: Vec<Tick>,
    good: Curve,
    bad: Curve,
    stop: Option<Stop>,
    good_label: String,
    bad_label: String,
}

/// A step: its place, and a line about it.
struct Band {
    number: usize,
    x: i64,
    width: i64,
    class: &'static str,
    has_number: &'static str,
    y: i64,
    text: String,
}

struct Tick {
    at: i64,
    text: String,
}

/// The points of a line, and those around the area that holds most runs.
struct Curve {
    line: String,
    area: String,
}

/// Where the bad change is stopped.
struct Stop {
    x: i64,
    y: i64,
    anchor: &'static str,
    text_x: i64,
    text_y: i64,
    text: String,
}

/// The picture by itself.
pub fn chart(view: &SimulationView) -> Result<String, askama::Error> {
    let mut y = 0;
    let panels: Vec<Panel> = view
        .rollouts
        .iter()
        .take(MAX_DRAWN)
        .map(|rollout| {
            let panel = panel(rollout, y);
            y = panel.bottom();
            panel
        })
        .collect();
    let label = format!("Devices that were offered a change, over time, simulated for stage {}", view.stage);
    Picture { height: y.max(LINE), label, panels }.render()
}

/// The page.
pub fn page(view: &SimulationView) -> Result<String, askama::Error> {
    let SimulationView { stage, commit, against, start, seed, runs, rollouts, at_once, notes, unknown } = view;
    let mut about = vec![format!(
        "Planned against {}. {} of each kind from seed {seed}, beginning at {start}.",
        plain(&against.to_string()),
        super::runs_word(*runs)
    )];
    if *at_once > 0 {
        about.push(format!("{}.", super::at_once(*at_once)));
    }
    about.extend(notes.iter().map(|note| format!("Note: {}.", plain(note))));
    about.extend(unknown.iter().map(|unknown| format!("Unknown: {}.", plain(unknown))));
    let told = |rollout: &SimulatedRollout| {
        let case = |kind, case: &Case, facts: Vec<(&'static str, String, super::Tone)>| ToldCase {
            kind,
            supposed: supposed(case),
            facts: facts.into_iter().map(|(name, value, _)| (name, value)).collect(),
        };
        let SimulatedRollout { policy, devices, good, bad } = rollout;
        Told {
            title: format!("{} by policy {policy}", count(*devices, "device")),
            cases: vec![
                case("a good change", good, good_facts(&good.summary)),
                case("a bad change", bad, bad_facts(&bad.summary, *devices)),
            ],
        }
    };
    Page {
        version: env!("CARGO_PKG_VERSION"),
        heading: format!("commit {} for stage {stage}", commit.short()),
        about,
        svg: chart(view)?,
        rollouts: rollouts.iter().map(told).collect(),
    }
    .render()
}

/// What is drawn how large.
struct Scale {
    secs: i64,
    devices: i64,
}

impl Scale {
    fn x(&self, secs: i64) -> i64 {
        LEFT + secs.clamp(0, self.secs).saturating_mul(RIGHT - LEFT) / self.secs
    }

    fn y(&self, devices: i64) -> i64 {
        BOTTOM - devices.clamp(0, self.devices).saturating_mul(BOTTOM - TOP) / self.devices
    }

    fn curve(&self, moments: &[Moment]) -> Curve {
        let point = |text: &mut String, secs: i64, devices: u32| {
            // Tenths, so that slow changes are no stairs.
            let x = LEFT * 10 + secs.clamp(0, self.secs).saturating_mul((RIGHT - LEFT) * 10) / self.secs;
            let down = i64::from(devices).clamp(0, self.devices).saturating_mul((BOTTOM - TOP) * 10) / self.devices;
            let y = BOTTOM * 10 - down;
            let _ = write!(text, "{}.{},{}.{} ", x / 10, x % 10, y / 10, y % 10);
        };
        let (mut line, mut area) = (String::new(), String::new());
        moments.iter().for_each(|at| point(&mut line, at.secs, at.median));
        moments.iter().for_each(|at| point(&mut area, at.secs, at.high));
        moments.iter().rev().for_each(|at| point(&mut area, at.secs, at.low));
        // What is known of its end holds for the rest of the picture.
        if let Some(last) = moments.last().filter(|last| last.secs < self.secs) {
            point(&mut line, self.secs, last.median);
        }
        Curve { line: line.trim_end().to_owned(), area: area.trim_end().to_owned() }
    }
}

impl Panel {
    fn bottom(&self) -> i64 {
        self.y + LIST + LINE * i64::try_from(self.steps.len()).unwrap_or(0) + 10
    }
}

fn panel(rollout: &SimulatedRollout, y: i64) -> Panel {
    let SimulatedRollout { policy, devices, good, bad } = rollout;
    let ends = [good, bad].map(|case| case.exposure.last().map_or(0, |last| last.secs).max(case.typical.secs));
    let scale = Scale {
        secs: ends.into_iter().max().unwrap_or(0).max(1),
        devices: i64::try_from(*devices).unwrap_or(1).max(1),
    };
    Panel {
        y,
        title: format!("{} by policy {policy}", count(*devices, "device")),
        steps: bands(good, &scale),
        rows: (0..=4).map(|part| row(scale.devices * part / 4, &scale)).collect(),
        columns: columns(&scale),
        good: scale.curve(&good.exposure),
        bad: scale.curve(&bad.exposure),
        stop: stop(bad, &scale),
        good_label: format!("a good change ({} fail)", good.odds.failure),
        bad_label: format!("a bad change ({} fail)", bad.odds.failure),
    }
}

fn row(devices: i64, scale: &Scale) -> Tick {
    Tick { at: scale.y(devices), text: devices.to_string() }
}

/// Five to ten moments with round names.
fn columns(scale: &Scale) -> Vec<Tick> {
    let pace = ROUND_SECS.into_iter().find(|pace| scale.secs / pace <= 9).unwrap_or(scale.secs.max(1));
    (0..=scale.secs / pace)
        .map(|number| Tick { at: scale.x(number * pace), text: round(number * pace, pace) })
        .collect()
}

/// A multiple of a round length of time, in the largest unit that the length has whole.
fn round(secs: i64, pace: i64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    match units.into_iter().find(|(unit, _)| pace % unit == 0).filter(|_| secs > 0) {
        Some((unit, name)) => format!("{}{name}", secs / unit),
        None => format!("{secs}s"),
    }
}

/// The steps of the typical run of a good change.
fn bands(good: &Case, scale: &Scale) -> Vec<Band> {
    let run = &good.typical;
    let steps = run.steps.iter().enumerate().map(|(at, step)| {
        let from = step.from.map_or(RIGHT, |from| scale.x(from));
        let to = step.from.map_or(RIGHT, |_| scale.x(step.to.unwrap_or(run.secs)));
        let members = count(usize::try_from(step.members).unwrap_or(usize::MAX), "device");
        let when = match (step.from, step.to) {
            (Some(from), Some(to)) => format!("{members}, from {} to {}", show_secs(from), show_secs(to)),
            (Some(from), None) => format!("{members}, from {} on, never decided", show_secs(from)),
            (None, _) => "never began".to_owned(),
        };
        Band {
            number: at + 1,
            x: from,
            width: to - from,
            class: if at % 2 == 0 { "even" } else { "odd" },
            has_number: if to - from >= NARROWEST { "yes" } else { "no" },
            y: LIST + LINE * i64::try_from(at).unwrap_or(0),
            text: format!("{}. {}: {when}", at + 1, plain(&step.name)),
        }
    });
    steps.collect()
}

fn stop(bad: &Case, scale: &Scale) -> Option<Stop> {
    let (secs, exposed) = (bad.summary.stopped_median_secs?, bad.summary.exposed_median?);
    let (x, y) = (scale.x(secs), scale.y(exposed.into()));
    let devices = count(usize::try_from(exposed).unwrap_or(usize::MAX), "device");
    let is_right = x > (LEFT + RIGHT) / 2;
    Some(Stop {
        x,
        y,
        anchor: if is_right { "end" } else { "start" },
        text_x: if is_right { x - 12 } else { x + 12 },
        text_y: (y - 12).max(TOP + 34),
        text: format!("stopped after {}, {devices} exposed", show_secs(secs)),
    })
}
