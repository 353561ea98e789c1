//! A controller in a child process: what `bellwether serve` starts, and a look at its state for the benchmark.

use super::{fleet, process};
use anyhow::{Context as _, bail, ensure};
use bellwether::config::CertificateSource;
use bellwether::controller::{Options, SharedWorld};
use bellwether::daemon::{self, Inputs};
use bellwether::domain::fleet::{Change, DeviceRecord, Reported};
use bellwether::domain::ids::CommitId;
use bellwether::domain::reported::{Freshness, Phase, Report};
use bellwether::git::{Access, RemoteUrl};
use bellwether::ports::store::Store as _;
use bellwether::store::SqliteStore;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long everything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the state is looked at while something is waited for. The times themselves come from the state.
const LOOK: Duration = Duration::from_millis(10);

/// A controller as the benchmark sees it.
pub struct Controller {
    /// The child.
    pub process: process::Running,
    /// `https://127.0.0.1:PORT`
    pub server: String,
    /// Its authority, in PEM.
    pub authority: String,
    /// A token that lets every device in.
    pub token: String,
}

impl Controller {
    /// Starts one over a fleet repo, with an empty store in a folder.
    pub fn start(on: process::On, folder: &Path, repo: &Path) -> anyhow::Result<Self> {
        let arguments = ["controller", &folder.display().to_string(), &repo.display().to_string()];
        let mut process = process::Running::start(on, &arguments)?;
        let started: Value = process.answer()?;
        let text = |name: &str| started[name].as_str().map(str::to_owned).context("a started controller");
        Ok(Self { server: text("server")?, authority: text("authority")?, token: text("token")?, process })
    }
}

/// A child that is a controller until its input ends.
pub fn child(folder: &Path, repo: &Path) -> anyhow::Result<()> {
    // As many workers as there are cores for this process, as `bellwether serve` has.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let inputs = inputs(folder, repo);
        let socket = inputs.socket.clone();
        let daemon = daemon::start(inputs).await?;
        let token = token(&socket).await?;
        process::say(&json!({
            "server": format!("https://{}", daemon.address),
            "authority": daemon.ca_pem,
            "token": token,
        }));
        let (world, counters) = (daemon.world.clone(), daemon.counters.clone());
        let asked = tokio::task::spawn_blocking(move || {
            process::serve(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["converged", commit, count] => converged(&world, &CommitId::new(commit)?, count.parse()?),
                ["report", number] => newest_report(&world, number.parse()?),
                ["counts"] => Ok(json!({
                    "reports": counters.reports.load(Ordering::Relaxed),
                    "transactions": counters.transactions.load(Ordering::Relaxed),
                    "passes": counters.passes.load(Ordering::Relaxed),
                    "refused": counters.refused.load(Ordering::Relaxed),
                })),
                _ => bail!("{line:?} is nothing that the controller answers"),
            })
        });
        let stop = async {
            if let Ok(Err(error)) = asked.await {
                eprintln!("controller: {error:#}");
            }
        };
        Ok(daemon.run(stop).await?)
    })
}

fn inputs(folder: &Path, repo: &Path) -> Inputs {
    Inputs {
        options: Options { fleet: fleet::name(), stages: fleet::policies(), poll_secs: 1, offline_after_secs: 300 },
        data_dir: folder.to_owned(),
        repo: RemoteUrl::Local(repo.to_owned()),
        access: Access::default(),
        signers: BTreeMap::new(),
        listen: ([127, 0, 0, 1], 0).into(),
        socket: socket(folder),
        certificate: CertificateSource::SelfMade { names: ["127.0.0.1".to_owned()].into() },
        operators: BTreeMap::new(),
        secrets: bellwether::secrets::Sources::default(),
        lists: Vec::new(),
        forge: None,
    }
}

/// Where operators reach the controller of a folder.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// Asks for a token as a person does, over the socket.
async fn token(socket: &Path) -> anyhow::Result<String> {
    use bellwether::cli::client::Client;
    use bellwether::domain::fleet::TokenBound;
    use bellwether::protocol::v1::operator::{TokenAnswer, TokenRequest};
    let client = Client::unix(socket)?;
    let request = TokenRequest { bound: TokenBound::Selector("*".to_owned()), uses: 100_000, valid_secs: 86_400 };
    let begun = Instant::now();
    loop {
        match client.post::<TokenAnswer>("/v1/tokens", &request).await {
            Ok(answer) => return Ok(answer.token),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            // The socket may not be there yet.
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Waits until so many devices have reported that they run what a commit says; when each of these reports was recorded, in
/// milliseconds since 1970.
fn converged(world: &SharedWorld, commit: &CommitId, count: usize) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let mut recorded: BTreeMap<_, i64> = BTreeMap::new();
    loop {
        {
            let world = world.read();
            for (device, record) in &world.state.devices {
                if !recorded.contains_key(device) {
                    recorded.extend(reached(record, commit).map(|at| (device.clone(), at)));
                }
            }
        }
        if recorded.len() >= count {
            return Ok(json!(recorded.into_values().collect::<Vec<_>>()));
        }
        ensure!(begun.elapsed() < PATIENCE, "{} of {count} devices converged", recorded.len());
        std::thread::sleep(LOOK);
    }
}

/// When the report was recorded that says that a device runs what this commit assigned to it.
fn reached(record: &DeviceRecord, commit: &CommitId) -> Option<i64> {
    let assignment = record.assignment.as_ref().filter(|assignment| assignment.commit == *commit)?;
    let Reported { received_at, report, .. } = record.reported.as_deref()?;
    let there = report.applied == Some(assignment.spec.digest) && report.observed == Some(assignment.mark());
    (there && report.phase == Phase::Settled).then(|| received_at.millis())
}

fn newest_report(world: &SharedWorld, number: usize) -> anyhow::Result<Value> {
    let world = world.read();
    let reported = world.state.devices.get(&fleet::device(number)).and_then(|record| record.reported.as_ref());
    Ok(serde_json::to_value(&reported.context("a device that reported")?.report)?)
}

/// A child that writes reports for some seconds, each in a transaction of its own: what batching is compared with.
pub fn child_of_transactions(folder: &str, report: &str, secs: f64) -> anyhow::Result<()> {
    let mut report: Report = serde_json::from_str(report)?;
    let mut store = SqliteStore::open(&Path::new(folder).join("bellwether.db"))?;
    let device = fleet::device(0);
    let begun = Instant::now();
    let mut written = 0u64;
    while begun.elapsed().as_secs_f64() < secs {
        written += 1;
        report.seq = written;
        let freshness = Freshness { start: 1, start_id: report.start_id.clone(), seq: written, earlier: Vec::new() };
        let reported = Reported { received_at: bellwether::clock::now(), freshness, report: report.clone() };
        store.commit(&[Change::Reported(device.clone(), Arc::new(reported))])?;
    }
    process::say(&json!(written as f64 / begun.elapsed().as_secs_f64()));
    Ok(())
}
