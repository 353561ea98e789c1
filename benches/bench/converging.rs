//! From a commit to devices that run it: real agents, real HTTPS, a real Git repository.

use super::agents::{self, Kind};
use super::controller::{self, Controller};
use super::process::{On, cpu_secs};
use super::repo::Remote;
use super::table::{Row, quantile, show_figure};
use super::{Options, fleet};
use bellwether::cli::client::Client;
use bellwether::domain::ids::CommitId;
use bellwether::protocol::v1::operator::Done;
use serde_json::Value;
use std::path::Path;

/// How many agents there are.
const AGENTS: usize = 1000;
/// How many commits, each of which changes every device.
const COMMITS: usize = 3;
/// The aim for the slowest of a hundred, in milliseconds.
const AIM: f64 = 2000.0;

/// Which agents, and where they keep their state.
struct Crowd<'a> {
    name: &'a str,
    kind: Kind,
    folder: &'a Path,
}

/// A row for each kind of disk.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder.as_path();
    let count = if options.quick { 10 } else { AGENTS };
    let light =
        Crowd { name: "light agents (machine and link, engine and ledger as values)", kind: Kind::Light, folder };
    let whole = Crowd { name: "whole agents, all on one disk", kind: Kind::Whole, folder };
    let mut rows = vec![row(folder, count, &light)?, row(folder, count, &whole)?];
    // Real devices do not share a disk. Memory stands for a thousand disks, each with little to do.
    if let Some(folder) = &options.memory {
        let crowd = Crowd { name: "whole agents, state in memory, as if each had a disk", kind: Kind::Whole, folder };
        rows.push(row(&options.folder, count, &crowd)?);
    }
    Ok(rows)
}

fn row(folder: &Path, count: usize, crowd: &Crowd<'_>) -> anyhow::Result<Row> {
    let folder = tempfile::Builder::new().prefix("converging-").tempdir_in(folder)?;
    let remote = Remote::make(&folder.path().join("remote.git"), count)?;
    let data = folder.path().join("controller");
    let mut controller = Controller::start(On::Any, &data, &folder.path().join("remote.git"))?;
    let states = tempfile::Builder::new().prefix("agents-").tempdir_in(crowd.folder)?;
    let agents = agents::start(crowd.kind, states.path(), &controller, 0, count)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let operator = Client::unix(&controller::socket(&data))?;

    let controller_id = controller.process.id();
    let mut wait = |commit: &CommitId| -> anyhow::Result<Vec<i64>> {
        controller.process.ask(&format!("converged {commit} {count}"))
    };
    wait(&remote.tip()?)?;
    let (mut millis, mut first) = (Vec::new(), Vec::new());
    let (mut agents_cpu, mut controller_cpu) = (0.0, 0.0);
    for round in 1..=COMMITS {
        let before = (cpu_secs(agents.id())?, cpu_secs(controller_id)?);
        let commit = remote.commit([("group_vars/all.yml".to_owned(), fleet::all(round))])?;
        let committed = bellwether::clock::now().millis();
        let _: Done = runtime.block_on(operator.post("/v1/refresh", &Value::Null))?;
        let recorded = wait(&commit)?;
        agents_cpu += cpu_secs(agents.id())? - before.0;
        controller_cpu += cpu_secs(controller_id)? - before.1;
        let mut these: Vec<f64> = recorded.into_iter().map(|at| (at - committed) as f64).collect();
        first.push(quantile(&mut these, 0.0));
        millis.extend(these);
        // What the agents do after they settled is not part of the next round.
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    drop((agents, controller));
    let (p50, p99) = (quantile(&mut millis, 0.50), quantile(&mut millis, 0.99));
    let result = format!(
        "p50 {}, p99 {}, first {}; CPU of a round: controller {:.2} s, agents {:.2} s",
        show_figure(p50, "ms"),
        show_figure(p99, "ms"),
        show_figure(quantile(&mut first, 0.5), "ms"),
        controller_cpu / COMMITS as f64,
        agents_cpu / COMMITS as f64,
    );
    let what = format!("commit to report of “applied” recorded, {count} {}", crowd.name);
    Ok(Row::new(what, result).at_most(p99, AIM, "ms"))
}
