//! What one core of the controller serves: polls without news, and reports that are durable when they are answered.
//!
//! The controller has one core and the devices another, so that requests in a second are those of one core. Where the devices'
//! core is the slower one, requests in a second of the controller's processor time are the figure that counts.

use super::controller::Controller;
use super::process::{self, On, cpu_secs};
use super::repo::Remote;
use super::table::{Row, show_figure};
use super::{Options, agents};
use anyhow::bail;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// How many devices ask at once, each over its own connection.
const CONNECTIONS: usize = 256;
/// The aims, in requests in a second and core.
const POLLS: f64 = 5000.0;
const REPORTS: f64 = 2000.0;

#[derive(Deserialize)]
struct Asked {
    count: f64,
    secs: f64,
    p99: f64,
}

/// Requests of one kind.
struct Rate {
    /// In a second, by the clock.
    by_clock: f64,
    /// In a second of the controller's processor time.
    by_cpu: f64,
    p99: f64,
}

/// Both rows about serving.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder.as_path();
    let (connections, secs) = if options.quick { (8, 0.3) } else { (CONNECTIONS, 8.0) };
    let repo = folder.join("serving.git");
    Remote::make(&repo, connections + 1)?;
    let mut controller = Controller::start(On::Core(0), &folder.join("serving"), &repo)?;
    let report = real_report(&mut controller, folder, connections)?;

    let authority = folder.join("authority.pem");
    std::fs::write(&authority, &controller.authority)?;
    let arguments = ["client", &controller.server, &authority.display().to_string(), &controller.token];
    let mut client = process::Running::start(On::Core(1), &arguments)?;
    let _: Value = client.answer()?;
    let _: Value = client.ask(&format!("enroll {connections}"))?;
    let mut rate = |question: &str, rest: &str| -> anyhow::Result<Rate> {
        // The first requests warm up both sides.
        let _: Value = client.ask(&format!("{question} {}{rest}", secs / 10.0))?;
        let before = cpu_secs(controller.process.id())?;
        let Asked { count, secs, p99 } = client.ask(&format!("{question} {secs}{rest}"))?;
        let took = cpu_secs(controller.process.id())? - before;
        Ok(Rate { by_clock: count / secs, by_cpu: count / took, p99 })
    };
    let health = rate("health", "")?;
    let polls = rate("poll", "")?;
    let reports = rate("report", &format!(" {report}"))?;
    drop((client, controller));

    let alone = folder.join("transactions");
    std::fs::create_dir_all(&alone)?;
    let alone: f64 = process::run(&["transactions", &alone.display().to_string(), &report, &(secs / 2.0).to_string()])?;
    Ok(vec![
        row("polls without news", connections, &polls)
            .against("GET /healthz by CPU", polls.by_cpu, health.by_cpu, "/s")
            .at_least(polls.by_cpu, POLLS, "/s"),
        row(&format!("durable reports of {} bytes", report.len()), connections, &reports)
            .against("one transaction each, no network", reports.by_clock, alone, "/s")
            .at_least(reports.by_cpu, REPORTS, "/s"),
    ])
}

fn row(what: &str, connections: usize, rate: &Rate) -> Row {
    let Rate { by_clock, by_cpu, p99 } = rate;
    let each = 1_000_000.0 / by_cpu;
    let result = format!(
        "{}, {} by the clock, {each:.0} µs of CPU each, p99 {}",
        show_figure(*by_cpu, "/s of CPU"),
        show_figure(*by_clock, "/s"),
        show_figure(*p99, "ms"),
    );
    Row::new(format!("{what}, one core, {connections} connections"), result)
}

/// The report of a real agent that settled: what all the others send, too.
fn real_report(controller: &mut Controller, folder: &Path, number: usize) -> anyhow::Result<String> {
    let folder = folder.join("one-agent");
    let mut agents = agents::start(agents::Kind::Whole, &folder, controller, number, 1)?;
    for _ in 0..300 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let report: anyhow::Result<Value> = controller.process.ask(&format!("report {number}"));
        let report = report?;
        if report["phase"] == "settled" {
            let _: Value = agents.ask("stop")?;
            return Ok(report.to_string());
        }
    }
    bail!("an agent did not settle within a minute")
}
