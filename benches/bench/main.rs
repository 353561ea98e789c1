//! One table of measurements, taken on the real parts: `scripts/bench`.
//!
//! Every figure is taken in a child process of this same program, so that peak memory and processor time belong to one thing
//! alone. Where wall time says little, because client and server share two cores, the processor time of the measured process
//! is what counts. Each figure that another machine would change has a reference beside it, measured in the same run.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark reads clocks, waits, and prints a table"
)]

mod agents;
mod client;
mod controller;
mod converging;
mod downloading;
mod filtering;
mod fleet;
mod idle;
mod light;
mod listed;
mod planning;
mod process;
mod repo;
mod rollouts;
mod serving;
mod table;

use anyhow::{Context as _, bail};
use std::path::PathBuf;

/// What this run shall do.
struct Options {
    /// A few seconds over all with small numbers: shows that the benchmark works, and measures nothing.
    quick: bool,
    /// The date, for the record.
    date: String,
    /// A folder on the disk that is measured. Whoever starts this removes it.
    folder: PathBuf,
    /// A folder in memory.
    memory: Option<PathBuf>,
    /// The agent's binary as it ships.
    agent: Option<PathBuf>,
    /// The file that the results are appended to.
    record: Option<PathBuf>,
    /// Only these parts; empty means all.
    only: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    if arguments.next_if(|argument| argument == "child").is_some() {
        return child(&arguments.collect::<Vec<_>>());
    }
    let options = options(arguments)?;
    let mut rows = Vec::new();
    let parts: [(&str, Part); 7] = [
        ("planning", planning::rows),
        ("listed", listed::rows),
        ("filters", filtering::rows),
        ("rollouts", rollouts::rows),
        ("serving", serving::rows),
        ("converging", converging::rows),
        ("agent", idle::rows),
    ];
    for (name, part) in parts {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            eprintln!("measuring: {name}");
            rows.extend(part(&options).with_context(|| format!("could not measure {name}"))?);
        }
    }
    let machine = table::machine();
    print!("{}", table::show(&options.date, &machine, &rows));
    if let Some(record) = &options.record {
        table::append(record, &options.date, &machine, &options.command(), &rows)?;
    }
    Ok(())
}

impl Options {
    /// The command that measures this again.
    fn command(&self) -> String {
        let parts: String = self.only.iter().map(|part| format!(" --only {part}")).collect();
        format!("scripts/bench{parts}")
    }
}

type Part = fn(&Options) -> anyhow::Result<Vec<table::Row>>;

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let quick = std::env::var_os("BELLWETHER_BENCH_QUICK").is_some_and(|value| value == "1");
    let mut options = Options {
        quick,
        date: "undated".to_owned(),
        folder: PathBuf::new(),
        memory: None,
        agent: None,
        record: None,
        only: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--date" => options.date = value()?,
            "--folder" => options.folder = value()?.into(),
            "--memory" => options.memory = Some(value()?.into()),
            "--agent" => options.agent = Some(value()?.into()),
            "--record" => options.record = Some(value()?.into()),
            "--only" => options.only.push(value()?),
            other => bail!("{other} is not an option; start this with scripts/bench"),
        }
    }
    if !options.folder.is_dir() {
        bail!("--folder must name a folder for files; start this with scripts/bench");
    }
    if options.quick && options.record.is_some() {
        bail!("a quick run measures nothing that is worth recording");
    }
    Ok(options)
}

fn child(arguments: &[String]) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["plan", case, devices] => planning::child(case, devices.parse()?),
        ["listed", case, devices] => listed::child(case, devices.parse()?),
        ["check", folder] => listed::child_of_check(folder.as_ref()),
        ["rollouts", case, devices, folder] => rollouts::child(case, devices.parse()?, folder.as_ref()),
        ["filters", devices] => filtering::child(devices.parse()?),
        ["plan-git", case, folder, devices] => planning::child_through_git(case, folder.as_ref(), devices.parse()?),
        ["controller", folder, repo] => controller::child(folder.as_ref(), repo.as_ref()),
        ["transactions", folder, report, secs] => controller::child_of_transactions(folder, report, secs.parse()?),
        ["client", server, authority, token] => client::child(server, authority, token),
        ["agents", kind, folder, server, token, first, count] => {
            let (first, count): (usize, usize) = (first.parse()?, count.parse()?);
            agents::child(kind, folder.as_ref(), server, token, first..first + count)
        }
        _ => bail!("{arguments:?} is no child of this benchmark"),
    }
}
