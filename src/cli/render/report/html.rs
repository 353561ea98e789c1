//! The drift report as one HTML page. It works without a network, and nothing on it acts.

use super::{VERSION, word};
use crate::cli::render::drift::{Line, NOTHING, layer_word, lines};
use crate::cli::render::text::{count, plain};
use crate::domain::drift::{Layer, Verdict};
use crate::domain::overview::drift::{DeviceDrift, DriftReport};
use askama::Template;

/// How wide the bar of sums is, in units of its own.
const BAR: usize = 1000;

#[derive(Template)]
#[template(path = "drift.html")]
struct Page {
    version: &'static str,
    at: String,
    heading: String,
    sums: Vec<Sum>,
    layers: Vec<&'static str>,
    devices: Vec<Row>,
}

/// One part of the bar.
struct Sum {
    class: &'static str,
    word: &'static str,
    number: usize,
    from: usize,
    width: usize,
}

struct Row {
    device: String,
    standing: String,
    class: &'static str,
    word: &'static str,
    layers: Vec<(&'static str, &'static str)>,
    differences: Vec<Difference>,
}

struct Difference {
    layer: String,
    what: String,
    wanted: String,
    found: String,
}

/// The page.
pub fn drift(report: &DriftReport) -> Result<String, askama::Error> {
    let totals = &report.totals;
    let parts =
        [(Verdict::Drifted, totals.drifted), (Verdict::Unknown, totals.unknown), (Verdict::InSync, totals.in_sync)];
    let all = parts.iter().map(|(_, number)| number).sum::<usize>();
    let mut before = 0;
    let sums = parts.map(|(verdict, number)| {
        let from = before * BAR / all.max(1);
        before += number;
        let width = before * BAR / all.max(1) - from;
        Sum { class: class(verdict), word: word(verdict), number, from, width }
    });
    let mut devices: Vec<Row> = report.devices.iter().map(|(device, one)| row(device.as_str(), one)).collect();
    // What needs a look comes first.
    devices.sort_by_key(|row| parts.iter().position(|(verdict, _)| class(*verdict) == row.class));
    Page {
        version: VERSION,
        at: report.at.to_string(),
        heading: count(all, "device"),
        sums: sums.into(),
        layers: Layer::ALL.iter().map(|layer| layer.name()).collect(),
        devices,
    }
    .render()
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InSync => "good",
        Verdict::Drifted => "bad",
        Verdict::Unknown => "unsure",
    }
}

fn row(device: &str, one: &DeviceDrift) -> Row {
    let layers = Layer::ALL.map(|layer| {
        let (word, verdict) = layer_word(&one.drift, layer);
        (class(verdict), word)
    });
    Row {
        device: device.to_owned(),
        standing: one.standing.to_string(),
        class: class(one.verdict),
        word: word(one.verdict),
        layers: layers.into(),
        differences: lines(&one.drift).into_iter().map(difference).collect(),
    }
}

fn difference(line: Line<'_>) -> Difference {
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| NOTHING.to_owned(), plain);
    match line {
        Line::Differs(one) => Difference {
            layer: one.layer.name().to_owned(),
            what: plain(&one.subject),
            wanted: shown(&one.wanted),
            found: shown(&one.found),
        },
        Line::Unknown { layers, reason } => Difference {
            layer: layers,
            what: format!("unknown: {}", plain(reason)),
            wanted: String::new(),
            found: String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::drift::tests::{device, report};
    use super::*;
    use crate::domain::drift::{Drift, LayerStatus};

    #[test]
    fn the_page_names_every_device_and_what_differs() {
        let page = drift(&report()).expect("a page");
        let order: Vec<usize> =
            ["kiosk-2", "kiosk-3", "kiosk-1"].map(|name| page.find(&format!(">{name}<")).expect(name)).into();
        assert!(order.is_sorted(), "what needs a look comes first: {order:?}");
        for text in ["signage/player", "a|b", "unknown: never heard from", "1 in sync", "1 drifted", "1 unknown"] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    #[test]
    fn nothing_on_the_page_acts_or_is_fetched() {
        let mut report = report();
        let nasty = "<script>alert(1)</script>\u{202e}\"'><img src=x onerror=y>";
        let status = LayerStatus::Unknown { reason: nasty.to_owned() };
        let drift_of = Drift { layers: [(Layer::Apps, status)].into() };
        report.devices.insert("kiosk-4".parse().expect("a device"), device(drift_of));
        let page = drift(&report).expect("a page");
        assert!(page.contains("default-src 'none'"), "{page}");
        for bad in ["<script", "<img", "\u{202e}", "http:", "https:", "<link", "@import", "url("] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
        assert!(page.contains("onerror=y"), "it is shown as text: {page}");
    }

    #[test]
    fn no_device_is_said_too() {
        let mut report = report();
        report.devices.clear();
        report.totals = Default::default();
        let page = drift(&report).expect("a page");
        assert!(page.contains("0 devices") && page.contains("Nothing was compared"), "{page}");
    }
}
