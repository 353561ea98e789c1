//! The table of results.

use comfy_table::{Table, presets};
use std::io::Write as _;
use std::path::Path;

/// One result.
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure with its unit.
    pub result: String,
    /// What it is compared with, measured in the same run.
    pub reference: String,
    /// How many times the reference it is.
    pub ratio: String,
    /// What it should be, and whether it is.
    pub aim: String,
}

impl Row {
    /// A result without a reference or an aim.
    pub fn new(what: impl Into<String>, result: impl Into<String>) -> Self {
        let none = String::new;
        Self { what: what.into(), result: result.into(), reference: none(), ratio: none(), aim: none() }
    }

    /// With a reference: a figure of the same kind.
    pub fn against(mut self, name: &str, figure: f64, reference: f64, unit: &str) -> Self {
        self.reference = format!("{name}: {}", show_figure(reference, unit));
        self.ratio = show_figure(figure / reference, "").trim_end().to_owned();
        self
    }

    /// With an aim that the figure should not exceed.
    pub fn at_most(self, figure: f64, aim: f64, unit: &str) -> Self {
        self.aims_at("<", aim, unit, figure < aim)
    }

    /// With an aim that the figure should reach.
    pub fn at_least(self, figure: f64, aim: f64, unit: &str) -> Self {
        self.aims_at("≥", aim, unit, figure >= aim)
    }

    /// One more aim; a row may have several.
    fn aims_at(mut self, sign: &str, aim: f64, unit: &str, met: bool) -> Self {
        let and = if self.aim.is_empty() { "" } else { ", " };
        let met = if met { "met" } else { "MISSED" };
        self.aim += &format!("{and}{sign} {}: {met}", show_figure(aim, unit));
        self
    }
}

/// Three digits that count, and the unit.
pub fn show_figure(figure: f64, unit: &str) -> String {
    let digits = match figure {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        _ => 4,
    };
    format!("{figure:.digits$} {unit}")
}

/// The value below which this share of the values lies.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}

/// What the figures were taken on.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let memory = super::process::kilobytes(Path::new("/proc/meminfo"), "MemTotal:").unwrap_or(0.0) / 1024.0 / 1024.0;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {} cores, {memory:.0} GiB, load {load}", super::process::cores())
}

/// The table, as Markdown.
pub fn show(date: &str, machine: &str, rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["measured", "result", "reference, same run", "ratio", "aim"]);
    for Row { what, result, reference, ratio, aim } in rows {
        table.add_row([what, result, reference, ratio, aim]);
    }
    format!("{date}, {machine}\n\n{table}\n")
}

/// Appends the results to the file of measurements, one line each.
pub fn append(file: &Path, date: &str, machine: &str, command: &str, rows: &[Row]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for Row { what, result, reference, ratio, aim } in rows {
        let mut parts = vec![format!("{what}: {result}")];
        if !reference.is_empty() {
            parts.push(format!("{ratio} × {reference}"));
        }
        if !aim.is_empty() {
            parts.push(format!("aim {aim}"));
        }
        lines.push_str(&format!("| {date} | {machine} | `{command}` | {} |\n", parts.join("; ")));
    }
    std::fs::OpenOptions::new().append(true).open(file)?.write_all(lines.as_bytes())?;
    Ok(())
}
