//! Filters over a large fleet: from the text of a question to the names of the devices that are meant.
//!
//! What is known of the devices comes out of pools whose sizes have no common factor, so that it is combined in every way without
//! being kept a million times.

use super::Options;
use super::process::{self, peak_mib};
use super::table::{Row, median, show_figure};
use anyhow::{anyhow, ensure};
use bellwether::domain::desired::FreeVariables;
use bellwether::domain::filter::index::{Builder, Index};
use bellwether::domain::filter::{Answer, DynamicGroups, Facts, Filter, evaluate};
use bellwether::domain::fleet::Registry;
use bellwether::domain::ids::DeviceId;
use bellwether::domain::manifest::vars::Vars;
use bellwether::domain::overview::query::index_matches;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// How many answers a figure is the median of.
const RUNS: usize = 5;
/// What an answer about a million devices may take, in milliseconds.
const ANSWER_MS: f64 = 1000.0;

/// Sizes of the pools.
const SITES: usize = 401;
const KERNELS: usize = 53;
const GROUPS: usize = 20;
const VARIABLES: usize = 997;

/// Questions by what answering them takes.
const QUESTIONS: [(&str, &str); 9] = [
    ("equality", r#"tags.site == "site-077""#),
    ("a group", r#""group_07" in groups"#),
    ("a beginning", r#"tags.site.startsWith("site-1")"#),
    ("three of these together", r#"reported.arch == "mips" && "group_07" in groups && tags.site.startsWith("site-1")"#),
    ("all but a few", r#"!(tags.site == "site-077")"#),
    ("a part of a million names", r#"device.contains("77")"#),
    ("a regular expression on a million names", r#"device.matches("7[0-4]$")"#),
    ("a variable, device by device", "vars.kiosk.volume > 4"),
    ("two attributes with each other", "tags.site == reported.site"),
];

/// What a child measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Milliseconds to arrange the devices.
    arranged: f64,
    /// In the order of [`QUESTIONS`].
    answers: Vec<Answered>,
    /// The most memory that the child ever had, in MiB.
    peak: f64,
}

#[derive(Serialize, Deserialize)]
struct Answered {
    /// How many devices were meant.
    meant: usize,
    /// Milliseconds from the text to the names, one for each repetition.
    wall: Vec<f64>,
    /// Milliseconds to look at each device by itself, without an index.
    one_by_one: f64,
}

/// Every row about filters.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let count = if options.quick { "1000" } else { "1000000" };
    let Measured { arranged, answers, peak } = process::run(&["filters", count])?;
    let result = format!("{}, peak {peak:.0} MiB", show_figure(arranged, "ms"));
    let mut rows = vec![Row::new(format!("arrange {count} devices for filters"), result)];
    for ((what, _), Answered { meant, wall, one_by_one }) in QUESTIONS.iter().zip(answers) {
        let wall = median(wall);
        rows.push(
            Row::new(format!("filter {count} devices: {what}"), format!("{}, {meant} meant", show_figure(wall, "ms")))
                .against("each device looked at by itself", wall, one_by_one, "ms")
                .at_most(wall, ANSWER_MS, "ms"),
        );
    }
    Ok(rows)
}

/// A child that asks everything. Each answer must be what looking at the devices one by one comes to.
pub fn child(devices: usize) -> anyhow::Result<()> {
    let fleet = Fleet::new(devices)?;
    let begun = Instant::now();
    let index = fleet.index();
    let arranged = millis(begun);
    let answers = QUESTIONS.iter().map(|(_, text)| fleet.ask(text, &index)).collect::<Result<_, _>>()?;
    process::say(&serde_json::to_value(Measured { arranged, answers, peak: peak_mib()? })?);
    Ok(())
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

/// What is known of many devices.
struct Fleet {
    names: Vec<DeviceId>,
    groups: Vec<BTreeSet<String>>,
    tags: Vec<BTreeMap<String, String>>,
    reported: Vec<BTreeMap<String, String>>,
    vars: Vec<Arc<FreeVariables>>,
    labels: BTreeMap<String, String>,
    registry: Registry,
}

impl Fleet {
    fn new(devices: usize) -> anyhow::Result<Self> {
        let texts = |pairs: [(&str, String); 2]| -> BTreeMap<String, String> {
            pairs.map(|(name, value)| (name.to_owned(), value)).into()
        };
        let site = |number: usize| format!("site-{number:03}");
        let variables = |number: usize| {
            let text =
                format!("kiosk: {{ volume: {}, url: 'https://{number}.example' }}\nfloor: {number}\n", number % 11);
            let vars = Arc::new(Vars::read_free(&"host_vars/unit.yml".into(), text.as_bytes()));
            Arc::new(FreeVariables::of_files(vec![vars]))
        };
        Ok(Self {
            names: (0..devices).map(|number| DeviceId::new(&format!("unit-{number:07}"))).collect::<Result<_, _>>()?,
            groups: (0..GROUPS).map(|number| [format!("group_{number:02}"), "kiosks".to_owned()].into()).collect(),
            tags: (0..SITES)
                .map(|number| texts([("site", site(number)), ("rack", format!("{}", number % 9))]))
                .collect(),
            reported: (0..KERNELS)
                .map(|number| {
                    let arch = ["mips", "arm64", "amd64"][number % 3];
                    texts([("site", site(number)), ("arch", arch.to_owned())])
                })
                .collect(),
            vars: (0..VARIABLES).map(variables).collect(),
            labels: BTreeMap::new(),
            registry: Registry { attributes: BTreeMap::new(), registered: None },
        })
    }

    fn facts(&self, number: usize) -> Facts<'_> {
        Facts {
            device: self.names[number].as_str(),
            stage: Some(Some("main")),
            device_type: Some(Some("raspberrypi4")),
            groups: Some(&self.groups[number % GROUPS]),
            tags: Some(&self.tags[number % SITES]),
            labels: Some(&self.labels),
            vars: Some(Some(&self.vars[number % VARIABLES])),
            reported: Some(&self.reported[number % KERNELS]),
            registry: Some(&self.registry),
        }
    }

    fn index(&self) -> Index {
        let mut builder = Builder::default();
        for (number, name) in self.names.iter().enumerate() {
            builder.add(name, &self.facts(number));
        }
        builder.finish()
    }

    fn ask(&self, text: &str, index: &Index) -> anyhow::Result<Answered> {
        let groups = DynamicGroups::default();
        let filter = || Filter::new(text, &groups).map_err(|error| anyhow!("{text}: {}", error.message));
        let test = filter()?.test;
        let begun = Instant::now();
        let meant = (0..self.names.len())
            .filter(|number| evaluate(&test, &self.facts(*number), &groups) == Answer::Yes)
            .count();
        let one_by_one = millis(begun);
        let mut wall = Vec::new();
        for _ in 0..RUNS {
            let begun = Instant::now();
            let found = index_matches(index, &filter()?.test, &groups);
            wall.push(millis(begun));
            ensure!(found.yes.len() == meant, "{text} means {} devices, not {meant}", found.yes.len());
        }
        ensure!(meant > 0, "{text} means nothing, so it measures nothing");
        Ok(Answered { meant, wall, one_by_one })
    }
}
