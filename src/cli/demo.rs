//! `bellwether demo`: the whole journey from a commit to a converged device, on this machine, leaving nothing behind.
//!
//! The controller and every agent are processes of their own, as in real life; the demo only commits, watches and tells.

#[cfg(feature = "agent")]
mod containers;
mod parts;
mod repo;
mod story;
mod watch;

use super::client::Client;
use super::console::{Console, Outcome};
use super::interrupt::asked_to_stop;
use crate::domain::fleet::TokenBound;
use crate::domain::ids::{AppName, DeviceId, ServiceName, VariableName};
use crate::example;
use crate::protocol::v1::operator::{Done, StatusAnswer, TokenAnswer, TokenRequest};
use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use parts::{Part, agent_program};
use repo::{DemoRepo, Edit};
use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use story::{Audience, Teller};
use watch::Watch;

/// The demo's stages, least gated first.
const STAGES: [&str; 3] = ["main", "canary", "production"];
/// How long one scene may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether demo                    with a simulated container engine; needs nothing
  bellwether demo --engine docker    with real containers
  bellwether demo --exit             stops by itself: 0 if everything converged, 1 if not")]
pub struct Args {
    /// What the devices run their services on
    #[arg(long, value_enum, default_value_t)]
    engine: EngineChoice,
    /// Socket of the container engine
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock", env = "BELLWETHER_DEMO_DOCKER_SOCKET")]
    docker_socket: PathBuf,
    /// Stop at the end instead of staying up until Ctrl-C; the default when stdout is no terminal
    #[arg(long)]
    exit: bool,
}

/// What the devices run their services on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum EngineChoice {
    /// A container engine that is only a file.
    #[default]
    Simulated,
    /// A real one, over the Docker API.
    Docker,
}

/// Runs `demo`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(perform(args, console))
}

async fn perform(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("bellwether-demo-").tempdir().context("cannot make a folder")?;
    let terminal = std::io::stdout().is_terminal();
    let ending = if terminal && !args.exit { Ending::WhenAsked } else { Ending::AtOnce };
    let mut demo = Demo::new(args, folder.path(), ending)?;
    let audience = if terminal { Audience::Person } else { Audience::Program };
    let mut teller = Teller { console, audience, scene: 0 };
    let told = tokio::select! {
        told = demo.tell(&mut teller) => told.map(|()| Outcome::Fine),
        () = asked_to_stop() => Ok(Outcome::Failed),
    };
    let told = match told {
        Ok(Outcome::Fine) if ending == Ending::WhenAsked => {
            teller.line("\n   It all stays up until Ctrl-C.")?;
            asked_to_stop().await;
            Ok(Outcome::Fine)
        }
        other => other,
    };
    let cleaned = demo.clean_up(console).await;
    // Closed, and not only dropped, so that what cannot be removed is told.
    let removed = folder.close().context("cannot remove the demo's folder");
    // What went wrong first is what the person wants to know.
    let told = told?;
    cleaned.and(removed)?;
    Ok(told)
}

/// When the demo stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As soon as the story is told.
    AtOnce,
    /// At Ctrl-C.
    WhenAsked,
}

/// Everything that the demo started, and must stop.
struct Demo<'a> {
    args: &'a Args,
    folder: &'a Path,
    ending: Ending,
    agent: PathBuf,
    socket: PathBuf,
    client: Client,
    parts: Vec<Part>,
    devices: Vec<String>,
    #[cfg(feature = "agent")]
    containers: Option<containers::Containers>,
}

impl<'a> Demo<'a> {
    fn new(args: &'a Args, folder: &'a Path, ending: Ending) -> anyhow::Result<Self> {
        let socket = folder.join("controller.sock");
        let desired = crate::domain::desired::Resolver::default().resolve(&example::snapshot());
        Ok(Self {
            args,
            folder,
            ending,
            agent: agent_program()?,
            client: Client::unix(&socket)?,
            socket,
            parts: Vec::new(),
            devices: desired.devices.keys().map(ToString::to_string).collect(),
            #[cfg(feature = "agent")]
            containers: None,
        })
    }

    async fn tell(&mut self, teller: &mut Teller<'_>) -> anyhow::Result<()> {
        teller
            .console
            .print("Bellwether demo: a fleet of seven devices follows three branches of a Git repository.\n")?;
        let files = self.fleet_files(teller).await?;
        let repo = self.make_repo(teller, &files).await?;
        let address = self.start_controller(teller, &repo).await?;
        self.enroll(teller, &address).await?;
        self.promote(teller, &repo, &files).await?;
        self.pull_out_of_shape(teller).await?;
        self.roll_out(teller, &repo, &files).await?;
        self.finish(teller, &repo, &address).await
    }

    /// The example's files, with images that the engine can run.
    async fn fleet_files(&mut self, teller: &Teller<'_>) -> anyhow::Result<Vec<Edit>> {
        let files = example_files();
        match self.args.engine {
            EngineChoice::Simulated => {
                let note = "containers are simulated: `--engine docker` runs real ones";
                teller.console.print(format!("{note}\n"))?;
                Ok(files)
            }
            EngineChoice::Docker => self.with_containers(files).await,
        }
    }

    #[cfg(feature = "agent")]
    async fn with_containers(&mut self, files: Vec<Edit>) -> anyhow::Result<Vec<Edit>> {
        let containers = containers::Containers::connect(&self.args.docker_socket).await?;
        containers.refuse_foreign(&self.devices).await?;
        let mut all = files.clone();
        all.extend(story::new_release(&files)?);
        // Whatever fails from here on, what was made is cleaned up.
        let containers = self.containers.insert(containers);
        containers.with_images(&all).await?;
        containers.with_images(&files).await
    }

    #[cfg(not(feature = "agent"))]
    async fn with_containers(&mut self, _files: Vec<Edit>) -> anyhow::Result<Vec<Edit>> {
        anyhow::bail!("this build has no part that speaks to container engines")
    }

    async fn make_repo(&self, teller: &mut Teller<'_>, files: &[Edit]) -> anyhow::Result<DemoRepo> {
        teller
            .scene(
                "The fleet repo",
                "Inventory, configuration and releases in Git; each branch is a stage of promotion.",
            )
            .await?;
        let repo = DemoRepo::create(&self.folder.join("fleet.git"), files, &STAGES)?;
        teller.good(format!("bare repository with branches {}", STAGES.join(" → ")))?;
        teller.line(format!("{} files: fleet.yml, inventory.yml, group_vars, host_vars, releases, os", files.len()))?;
        Ok(repo)
    }

    async fn start_controller(&mut self, teller: &mut Teller<'_>, repo: &DemoRepo) -> anyhow::Result<String> {
        teller
            .scene(
                "The controller",
                "One process and one database file. It watches the branches and signs assignments.",
            )
            .await?;
        let config = self.folder.join("bellwether.yml");
        std::fs::write(&config, self.controller_config(repo)).context("cannot write the controller's configuration")?;
        let program = std::env::current_exe().context("cannot find out where this program is")?;
        let arguments = ["serve".to_owned(), "--config".to_owned(), config.display().to_string()];
        self.parts.push(Part::start("controller", &program, &arguments, self.folder)?);
        self.watch().until_ready().await?;
        let status: StatusAnswer = self.client.get("/v1/status").await?;
        let address = status.address.context("the controller does not say where it listens")?;
        let address = format!("https://localhost:{}", address.port());
        teller.good(format!("running at {address}, fleet {}", status.fleet))?;
        Ok(address)
    }

    fn controller_config(&self, repo: &DemoRepo) -> String {
        let quoted =
            |path: &Path| serde_json::to_string(&path.to_string_lossy()).expect("a text can be written as JSON");
        format!(
            "fleet: lindenhof\nrepo: {}\nstages: [{}]\ndata_dir: {}\nsocket: {}\nlisten: 127.0.0.1:0\npoll_secs: 1\n",
            quoted(repo.path()),
            STAGES.join(", "),
            quoted(&self.folder.join("controller")),
            quoted(&self.socket),
        )
    }

    async fn enroll(&mut self, teller: &mut Teller<'_>, address: &str) -> anyhow::Result<()> {
        teller
            .scene(
                "Devices enroll",
                "One token for these seven names. Each device makes its own key and pins the fleet's.",
            )
            .await?;
        let names = self.devices.iter().map(|name| DeviceId::new(name)).collect::<Result<BTreeSet<_>, _>>()?;
        let uses = u32::try_from(names.len())?;
        let request = TokenRequest { bound: TokenBound::Names(names), uses, valid_secs: 3600 };
        let token: TokenAnswer = self.client.post("/v1/tokens", &request).await.context("cannot make a token")?;
        for device in self.devices.clone() {
            let arguments = self.agent_arguments(&device, address, &token.token);
            let part = Part::start(&device, &self.agent, &arguments, self.folder)?;
            self.parts.push(part);
        }
        let progress = progress(self.devices.len());
        let told = self
            .watch()
            .until_settled(|row| {
                let _ = progress.suspend(|| teller.good(story::settled_line(row)));
                progress.inc(1);
            })
            .await;
        progress.finish_and_clear();
        told.map(|_| ())
    }

    fn agent_arguments(&self, device: &str, address: &str, token: &str) -> Vec<String> {
        let state = self.folder.join("devices").join(device);
        let engine = match self.args.engine {
            EngineChoice::Simulated => "simulated",
            EngineChoice::Docker => "docker",
        };
        let flags = [
            ("state-dir", state.display().to_string()),
            ("server", address.to_owned()),
            ("token", token.to_owned()),
            ("device", device.to_owned()),
            ("engine", engine.to_owned()),
            ("docker-socket", self.args.docker_socket.display().to_string()),
            ("os", "simulated".to_owned()),
            // Containers may be real; the machine of whoever watches is left alone.
            ("host", "simulated".to_owned()),
            ("os-soak-secs", "1".to_owned()),
            ("poll-interval-secs", "1".to_owned()),
            ("look-interval-secs", "2".to_owned()),
        ];
        let mut arguments = vec!["run".to_owned()];
        for (flag, value) in flags {
            arguments.extend([format!("--{flag}"), value]);
        }
        arguments
    }

    async fn promote(&mut self, teller: &mut Teller<'_>, repo: &DemoRepo, files: &[Edit]) -> anyhow::Result<()> {
        teller
            .scene(
                "A new release reaches main",
                "telemetry 1.1.0 is added; devices with `pins: {telemetry: latest}` follow their own branch.",
            )
            .await?;
        let edits = self.with_own_images(story::new_release(files)?).await?;
        let mut rows = self.watch().rows().await?;
        let commit = story::release(repo, &edits)?;
        teller.line(format!("commit {commit} on main"))?;
        self.refresh().await?;
        rows = story::only_this_stage_changes(teller, &mut self.watch(), &rows, "main").await?;
        for (from, into, why) in [
            ("main", "canary", "Promotion is a merge: exactly what main runs, now on the campus."),
            ("canary", "production", "And now everywhere else. The board that is pinned to 0.9.3 stays where it is."),
        ] {
            teller.scene(&format!("{from} is merged into {into}"), why).await?;
            let commit = repo.merge(from, into)?;
            teller.line(format!("commit {commit} on {into}"))?;
            self.refresh().await?;
            rows = story::only_this_stage_changes(teller, &mut self.watch(), &rows, into).await?;
        }
        Ok(())
    }

    async fn refresh(&self) -> anyhow::Result<()> {
        let _: Done =
            self.client.post("/v1/refresh", &serde_json::json!({})).await.context("cannot wake the controller")?;
        Ok(())
    }

    async fn pull_out_of_shape(&mut self, teller: &mut Teller<'_>) -> anyhow::Result<()> {
        teller
            .scene(
                "Somebody changes a device by hand",
                "Drift is read from the engine, reported first, and mended then.",
            )
            .await?;
        let folder = self.folder.join("devices");
        #[cfg(feature = "agent")]
        let containers = self.containers.take();
        let mut watch = self.watch();
        let told = story::out_of_shape(teller, &mut watch, async |device, app, service| {
            #[cfg(feature = "agent")]
            if let Some(containers) = &containers {
                containers.remove_by_hand(device.as_str(), service.as_str()).await?;
                return Ok(format!("the container of {app}/{service} is removed"));
            }
            tamper_simulated(&folder.join(device.as_str()), app, service)
        })
        .await;
        #[cfg(feature = "agent")]
        {
            self.containers = containers;
        }
        told
    }

    /// A release that does not run reaches production, and then one that does.
    async fn roll_out(&mut self, teller: &mut Teller<'_>, repo: &DemoRepo, files: &[Edit]) -> anyhow::Result<()> {
        teller
            .scene(
                "A bad release is caught by its canary",
                "production shall follow the policy `canary-first`: nobody else gets what a canary was not well with.",
            )
            .await?;
        let before = self.watch().rows().await?;
        let commit = repo.commit("production", "Roll out by canary-first", &[story::with_policy(files)?])?;
        teller.line(format!("commit {commit} on production: fleet.yml names the policy"))?;
        // Its image is another than the example's, which the engine has under other names.
        let bad = self.with_own_images(story::bad_release(&example_files())?).await?;
        let commit = repo.commit("production", "Release telemetry 1.2.0 in a hurry", &bad)?;
        teller.line(format!("commit {commit} on production, past main and canary"))?;
        self.refresh().await?;
        story::rollout_ends(teller, &mut self.watch(), &commit, "ROLLED_BACK").await?;
        let after = self.watch().until_settled(|_| {}).await?;
        let releases = |rows: &watch::Rows| rows.values().map(story::settled_line).collect::<Vec<_>>();
        ensure!(releases(&before) == releases(&after), "somebody kept the bad release");
        teller.good("every device runs what it ran before; the content stays in quarantine")?;

        teller
            .scene("The mended release goes through", "The canary first; the others when it has been well for a while.")
            .await?;
        let mended = self.with_own_images(story::mended_release(files)?).await?;
        let commit = repo.commit("production", "Release telemetry 1.2.1", &mended)?;
        teller.line(format!("commit {commit} on production"))?;
        self.refresh().await?;
        story::rollout_ends(teller, &mut self.watch(), &commit, "DONE").await?;
        Ok(())
    }

    /// The same files with images that the engine can run.
    async fn with_own_images(&mut self, edits: Vec<Edit>) -> anyhow::Result<Vec<Edit>> {
        #[cfg(feature = "agent")]
        if let Some(containers) = &mut self.containers {
            return containers.with_images(&edits).await;
        }
        Ok(edits)
    }

    async fn finish(&mut self, teller: &mut Teller<'_>, repo: &DemoRepo, address: &str) -> anyhow::Result<()> {
        teller.scene("The drift report", "What was assigned, compared with what each device says it runs.").await?;
        let mut watch = self.watch();
        watch.until_settled(|_| {}).await?;
        let report = watch.drift().await?;
        story::show_report(teller, &report)?;
        let totals = report.totals;
        ensure!(totals.drifted == 0 && totals.unknown == 0, "the drift report is not clean");
        teller.good("everything converged")?;
        if self.ending == Ending::AtOnce {
            let hint = "at a terminal and without `--exit` it stays up, for `bellwether status`, `why` and `drift`";
            return teller.console.print(format!("\nThe controller ran at {address}; {hint}.\n"));
        }
        teller.console.print(format!(
            "\nThe controller runs at {address}. While it does, try in another terminal:\n\n  \
             export BELLWETHER_SERVER=unix:{socket}\n  \
             bellwether status\n  \
             bellwether why {victim}\n  \
             bellwether drift --exit-code\n  \
             git clone {repo} fleet && cd fleet   # change something, push, and watch `bellwether devices`\n",
            socket = self.socket.display(),
            victim = story::VICTIM.0,
            repo = repo.path().display(),
        ))
    }

    fn watch(&mut self) -> Watch<'_> {
        Watch { client: &self.client, parts: &mut self.parts, patience: PATIENCE }
    }

    /// Stops every process, agents first, and removes what they left in the engine.
    async fn clean_up(&mut self, console: &Console) -> anyhow::Result<()> {
        if !self.parts.is_empty() {
            console.note("stopping the demo's processes");
        }
        while let Some(mut part) = self.parts.pop() {
            part.stop().await;
        }
        #[cfg(feature = "agent")]
        if let Some(containers) = &self.containers {
            console.note("removing the demo's containers, networks, volumes and images");
            containers.clean_up(&self.devices).await?;
        }
        Ok(())
    }
}

/// The example as the story begins: production gets everything at once.
fn example_files() -> Vec<Edit> {
    let at_first = |text: &str| text.replace("policy: canary-first", "policy: immediate");
    example::FILES.iter().map(|(path, text)| ((*path).to_owned(), at_first(text))).collect()
}

/// A bar for long work, on terminals only.
fn progress(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("   {spinner} {pos} of {len} devices {bar:20}").ok();
    let bar = ProgressBar::new(length as u64);
    if let Some(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Changes a variable of a simulated container behind its agent's back.
#[cfg(feature = "agent")]
fn tamper_simulated(state: &Path, app: &AppName, service: &ServiceName) -> anyhow::Result<String> {
    use crate::agent::engine::simulated::SimulatedEngine;
    use crate::ports::engine::fake::Tamper;
    let name = VariableName::new("SCREEN")?;
    let engine = SimulatedEngine::open(&state.join("engine")).context("cannot open the simulated engine")?;
    let tamper = Tamper::SetVariable {
        app: app.clone(),
        service: service.clone(),
        name: name.clone(),
        value: "solitaire".to_owned(),
    };
    ensure!(engine.tamper(&tamper)?, "there is no container of {app}/{service} to change");
    Ok(format!("{name} of {app}/{service} is set to solitaire"))
}

#[cfg(not(feature = "agent"))]
fn tamper_simulated(_: &Path, _: &AppName, _: &ServiceName) -> anyhow::Result<String> {
    anyhow::bail!("this build has no simulated engine")
}
