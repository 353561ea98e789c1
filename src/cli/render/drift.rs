//! The drift report for people and for job summaries.

use super::table::{Cell, Table, row};
use super::text::{Tone, age, count, layer_verdict, verdict};
use crate::domain::drift::{Difference, Drift, Layer, LayerStatus, Verdict};
use crate::domain::overview::drift::{DriftReport, DriftTotals};
use crate::domain::time::Timestamp;
use std::fmt::Write as _;

/// What is shown where nothing should be, or nothing is.
pub const NOTHING: &str = "nothing";

/// `7 devices: 5 in sync, 1 drifted, 1 unknown`.
pub fn totals(totals: &DriftTotals) -> String {
    let DriftTotals { in_sync, drifted, unknown } = totals;
    let devices = count(in_sync + drifted + unknown, "device");
    format!("{devices}: {in_sync} in sync, {drifted} drifted, {unknown} unknown")
}

fn devices(report: &DriftReport) -> Table {
    let mut table =
        Table::new(&["DEVICE", "STAGE", "DRIFT", "SPEC", "APPS", "VARIABLES", "OS", "HOST", "CONNECTIVITY"]);
    for (device, one) in &report.devices {
        let (word, tone) = verdict(one.verdict);
        let mut cells = row![device, &one.standing, Cell::new(word, tone)];
        cells.extend(Layer::ALL.map(|layer| layer_cell(&one.drift, layer)));
        table.row(cells);
    }
    table
}

fn layer_cell(drift: &Drift, layer: Layer) -> Cell {
    let (word, found) = layer_word(drift, layer);
    Cell::new(word, verdict(found).1)
}

/// How a layer stands, in one word.
pub fn layer_word(drift: &Drift, layer: Layer) -> (&'static str, Verdict) {
    // A layer that is missing was not compared.
    let found = drift.layers.get(&layer).map_or(Verdict::Unknown, layer_verdict);
    let word = match found {
        Verdict::InSync => "ok",
        Verdict::Drifted => "drifted",
        Verdict::Unknown => "unknown",
    };
    (word, found)
}

/// What differs in one layer, or why it is unknown, one row each: layer, subject, wanted, found.
fn detail_rows(layer: Layer, status: &LayerStatus) -> Vec<Vec<Cell>> {
    match status {
        LayerStatus::InSync => Vec::new(),
        LayerStatus::Unknown { reason } => {
            vec![row![layer.name(), Cell::new(format!("unknown: {reason}"), Tone::Unsure), "", ""]]
        }
        LayerStatus::Drifted { differences } => differences.iter().map(|one| difference_row(layer, one)).collect(),
    }
}

fn difference_row(layer: Layer, difference: &Difference) -> Vec<Cell> {
    let Difference { layer: _, subject, wanted, found } = difference;
    let shown = |value: &Option<String>, tone| match value {
        Some(value) => Cell::new(value, tone),
        None => Cell::new(NOTHING, Tone::Quiet),
    };
    row![layer.name(), subject, shown(wanted, Tone::Good), shown(found, Tone::Bad)]
}

/// What differs on one device, layer by layer. Empty if all is in sync.
pub fn layers(drift: &Drift) -> Table {
    let mut table = Table::new(&["LAYER", "WHAT", "WANTED", "FOUND"]);
    for (layer, status) in &drift.layers {
        detail_rows(*layer, status).into_iter().for_each(|cells| table.row(cells));
    }
    table
}

fn details(report: &DriftReport) -> Table {
    let mut table = Table::new(&["DEVICE", "LAYER", "WHAT", "WANTED", "FOUND"]);
    for (device, one) in &report.devices {
        for (cells, first) in grouped(&one.drift) {
            let mut all = row![if first { device.as_str() } else { "" }];
            all.extend(cells);
            table.row(all);
        }
    }
    table
}

/// The rows of a device.
fn grouped(drift: &Drift) -> Vec<(Vec<Cell>, bool)> {
    let rows = lines(drift).into_iter().map(|line| match line {
        Line::Differs(one) => difference_row(one.layer, one),
        Line::Unknown { layers, reason } => {
            row![layers, Cell::new(format!("unknown: {reason}"), Tone::Unsure), "", ""]
        }
    });
    rows.enumerate().map(|(index, cells)| (cells, index == 0)).collect()
}

/// One thing that a report says of a device.
pub enum Line<'a> {
    /// Something is not as it was told.
    Differs(&'a Difference),
    /// These layers are unknown for one reason.
    Unknown {
        /// Their names.
        layers: String,
        /// Why.
        reason: &'a str,
    },
}

/// What a report says of a device: what differs, then what is not known.
pub fn lines(drift: &Drift) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (layer, status) in &drift.layers {
        match status {
            LayerStatus::Unknown { reason } => match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, layers)) => layers.push(layer.name()),
                None => reasons.push((reason, vec![layer.name()])),
            },
            LayerStatus::Drifted { differences } => lines.extend(differences.iter().map(Line::Differs)),
            LayerStatus::InSync => {}
        }
    }
    lines.extend(reasons.into_iter().map(|(reason, layers)| Line::Unknown { layers: layers.join(", "), reason }));
    lines
}

/// The report as columns; then what differs; then the sums.
pub fn text(report: &DriftReport, width: Option<u16>) -> String {
    let mut text = devices(report).text(width);
    let details = details(report);
    if !details.is_empty() {
        let _ = write!(text, "\n{}", details.text(width));
    }
    let tone = match (report.totals.drifted, report.totals.unknown) {
        (0, 0) => Tone::Good,
        (0, _) => Tone::Unsure,
        _ => Tone::Bad,
    };
    let _ = writeln!(text, "\n{}", tone.paint(totals(&report.totals)));
    text
}

/// The report as Markdown.
pub fn markdown(report: &DriftReport, now: Timestamp) -> String {
    with_heading(report, &format!(" ({}, {})", report.at, age(now, report.at)))
}

/// The same without the time at which it was made, for where only what has changed is news.
pub fn undated(report: &DriftReport) -> String {
    with_heading(report, "")
}

fn with_heading(report: &DriftReport, when: &str) -> String {
    let mut text = format!("## Drift\n\n**{}**{when}\n\n", totals(&report.totals));
    text.push_str(&devices(report).markdown());
    let details = details(report);
    if !details.is_empty() {
        let _ = write!(text, "\n<details><summary>What differs</summary>\n\n{}\n</details>\n", details.markdown());
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::bare;
    use super::*;
    use crate::domain::overview::drift::DeviceDrift;
    use crate::domain::plan::ownership::Standing;
    use std::collections::BTreeMap;

    pub(in super::super) fn device(drift: Drift) -> DeviceDrift {
        let stage = "production".parse().expect("a stage");
        DeviceDrift { standing: Standing::Owned(stage), verdict: drift.verdict(), drift, mended: Vec::new() }
    }

    fn all(status: &LayerStatus) -> Drift {
        Drift { layers: Layer::ALL.into_iter().map(|layer| (layer, status.clone())).collect() }
    }

    /// One device of each kind.
    pub(in super::super) fn report() -> DriftReport {
        let mut drifted = all(&LayerStatus::InSync);
        let difference = |layer, subject: &str, wanted: Option<&str>, found: Option<&str>| Difference {
            layer,
            subject: subject.to_owned(),
            wanted: wanted.map(str::to_owned),
            found: found.map(str::to_owned),
        };
        drifted.layers.insert(
            Layer::Apps,
            LayerStatus::Drifted {
                differences: vec![difference(Layer::Apps, "signage/player", Some("present"), None)],
            },
        );
        drifted.layers.insert(
            Layer::Variables,
            LayerStatus::Drifted {
                differences: vec![difference(Layer::Variables, "signage/web environment.URL", Some("a|b"), Some("c"))],
            },
        );
        let mut unknown = all(&LayerStatus::Unknown { reason: "the device has not reported yet".to_owned() });
        unknown.layers.insert(Layer::Connectivity, LayerStatus::Unknown { reason: "never heard from".to_owned() });
        DriftReport {
            at: Timestamp::from_millis(1_800_000_000_000),
            totals: DriftTotals { in_sync: 1, drifted: 1, unknown: 1 },
            devices: BTreeMap::from([
                ("kiosk-1".parse().expect("a device"), device(all(&LayerStatus::InSync))),
                ("kiosk-2".parse().expect("a device"), device(drifted)),
                ("kiosk-3".parse().expect("a device"), device(unknown)),
            ]),
        }
    }

    #[test]
    fn the_report_names_what_differs_and_what_is_unknown() {
        insta::assert_snapshot!(bare(&text(&report(), None)), @"
        DEVICE    STAGE        DRIFT       SPEC      APPS      VARIABLES   OS        HOST      CONNECTIVITY
        kiosk-1   production   ✔ in sync   ok        ok        ok          ok        ok        ok
        kiosk-2   production   ✘ drifted   ok        drifted   drifted     ok        ok        ok
        kiosk-3   production   ? unknown   unknown   unknown   unknown     unknown   unknown   unknown

        DEVICE    LAYER                             WHAT                                       WANTED    FOUND
        kiosk-2   apps                              signage/player                             present   nothing
                  variables                         signage/web environment.URL                a|b       c
        kiosk-3   spec, apps, variables, os, host   unknown: the device has not reported yet
                  connectivity                      unknown: never heard from

        3 devices: 1 in sync, 1 drifted, 1 unknown
        ");
    }

    #[test]
    fn the_report_fits_a_job_summary() {
        let report = report();
        insta::assert_snapshot!(markdown(&report, report.at), @r"
        ## Drift

        **3 devices: 1 in sync, 1 drifted, 1 unknown** (2027-01-15T08:00:00Z, now)

        | Device | Stage | Drift | Spec | Apps | Variables | OS | Host | Connectivity |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | kiosk-1 | production | ✔ in sync | ok | ok | ok | ok | ok | ok |
        | kiosk-2 | production | ✘ drifted | ok | drifted | drifted | ok | ok | ok |
        | kiosk-3 | production | ? unknown | unknown | unknown | unknown | unknown | unknown | unknown |

        <details><summary>What differs</summary>

        | Device | Layer | What | Wanted | Found |
        | --- | --- | --- | --- | --- |
        | kiosk-2 | apps | signage/player | present | nothing |
        |  | variables | signage/web environment.URL | a\|b | c |
        | kiosk-3 | spec, apps, variables, os, host | unknown: the device has not reported yet |  |  |
        |  | connectivity | unknown: never heard from |  |  |

        </details>
        ");
    }

    #[test]
    fn a_layer_that_was_not_compared_is_unknown() {
        let mut report = report();
        let empty = Drift { layers: BTreeMap::new() };
        report.devices = BTreeMap::from([("kiosk-1".parse().expect("a device"), device(empty))]);
        let text = bare(&text(&report, None));
        assert!(!text.lines().nth(1).unwrap_or_default().contains("ok"), "{text}");
    }
}
