//! The command line. One file per subcommand: its flags, what it asks for, and nothing that decides.
//!
//! Data goes to stdout, everything else to stderr. What people read is made by the pure functions of [`render`].

pub mod approve;
pub mod check;
pub mod client;
pub mod completions;
pub mod console;
pub mod demo;
pub mod device;
pub mod devices;
pub mod diff;
pub mod drift;
pub mod editing;
pub mod enroll;
pub mod epoch;
pub mod events;
pub mod fault;
pub mod follow;
pub mod forge;
pub mod hold;
pub mod import;
pub mod interrupt;
pub mod inventory;
pub mod lists;
mod local;
pub mod ls;
pub mod pin;
pub mod plan;
pub mod planning;
pub mod post;
pub mod promote;
pub mod refresh;
pub mod reject;
pub mod release;
pub mod remote;
pub mod render;
pub mod resume;
pub mod retry;
pub mod rollout;
pub mod rollouts;
pub mod schema;
mod secret;
pub mod selecting;
pub mod serve;
pub mod simulate;
pub mod span;
pub mod status;
pub mod tag;
pub mod why;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use console::{Console, Outcome};
use fault::Usage;
use std::path::PathBuf;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  fine; nothing changes, nothing drifts
  1  error
  2  the command line cannot be understood
  3  with --exit-code: there are changes, or drift
  4  with --exit-code: could not be determined, because something is unknown";

/// GitOps for fleets of Linux devices.
///
/// A fleet repo in Git says what every device shall run; the controller assigns it in stages; agents on the devices apply it.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, after_help = EXIT_CODES, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of all commands.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Form of the answer on stdout [default: table]
    #[arg(short, long, global = true, value_enum)]
    pub output: Option<Form>,
    /// When to use colours; `auto` is on terminals, and never with NO_COLOR set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,
    /// The controller: `https://HOST:PORT`, or `unix:PATH` of its socket [default: the socket in ./bellwether-data]
    #[arg(long, global = true, value_name = "URL", env = "BELLWETHER_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// File with an operator's key, for https
    #[arg(long, global = true, value_name = "FILE", env = "BELLWETHER_KEY_FILE", hide_env_values = true)]
    pub key_file: Option<PathBuf>,
    /// Certificate of the controller's authority (PEM), for https
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "BELLWETHER_CA_FILE",
        hide_env_values = true,
        conflicts_with = "ca_fingerprint"
    )]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of that certificate instead of the file
    #[arg(long, global = true, value_name = "HEX", env = "BELLWETHER_CA_FINGERPRINT", hide_env_values = true)]
    pub ca_fingerprint: Option<String>,
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// The same with more columns.
    Wide,
    /// JSON for programs.
    Json,
    /// YAML for programs and people.
    Yaml,
    /// Markdown, for merge requests and job summaries.
    Md,
}

/// Forms of an answer that is a report for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// One HTML page that needs nothing beside it.
    Html,
    /// JUnit's XML, which CI systems show as test results.
    Junit,
    /// SARIF 2.1.0, which forges show beside the lines.
    Sarif,
    /// A picture that needs nothing beside it.
    Svg,
}

/// Every form of an answer that `--output` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One of those that most commands know.
    Usual(Output),
    /// One of a few commands.
    Report(Report),
}

impl ValueEnum for Form {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Form; 9] = [
            Form::Usual(Output::Table),
            Form::Usual(Output::Wide),
            Form::Usual(Output::Json),
            Form::Usual(Output::Yaml),
            Form::Usual(Output::Md),
            Form::Report(Report::Html),
            Form::Report(Report::Junit),
            Form::Report(Report::Sarif),
            Form::Report(Report::Svg),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Usual(output) => output.to_possible_value(),
            Self::Report(report) => report.to_possible_value(),
        }
    }
}

impl Form {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller
    Serve(Box<serve::Args>),
    /// Show everything at work, in a minute or two, on this machine and without leaving anything behind
    Demo(demo::Args),
    /// Find everything that is wrong with a fleet repo
    Check(check::Args),
    /// Make a fleet repo of an Ansible inventory by writing fleet.yml
    Import(import::Args),
    /// Show what a commit would change on which devices, before it is merged
    Plan(plan::Args),
    /// Let the rollouts of a commit run in virtual time, before it is merged
    Simulate(simulate::Args),
    /// Post a plan on its merge request: one comment, kept up to date, and a check
    Post(post::Args),
    /// Open the merge request that brings what one stage runs to the next, with evidence
    Promote(promote::Args),
    /// Wait for what becomes of a commit that was pushed to a stage
    Follow(follow::Args),
    /// Show the content of devices before and after a commit, line by line
    Diff(diff::Args),
    /// Report where devices differ from what they were told; changes nothing
    Drift(drift::Args),
    /// Show the fleet on one screen
    Status(status::Args),
    /// List devices
    Devices(devices::Args),
    /// List dynamic groups, and the devices in them
    Ls(ls::Args),
    /// Show everything about one device
    Device(device::Args),
    /// Explain where the values of a device come from, and what it waits for
    Why(why::Args),
    /// Write into the fleet repo which release of an app a device or a group shall run
    Pin(pin::Args),
    /// Write tags of a device or a group into the fleet repo
    Tag(tag::Args),
    /// List the secrets that devices refer to, never their values
    Secret(secret::Args),
    /// Make, list, show and invalidate releases of apps
    Release(release::Args),
    /// Show what an Ansible inventory means, as ansible-inventory prints it
    Inventory(inventory::Args),
    /// Let a held commit count, or a pending device join
    Approve(approve::Args),
    /// Refuse a device that asks to join
    Reject(reject::Args),
    /// Assign nothing new to a device, a stage or the fleet
    Hold(hold::Args),
    /// End a hold, or a conflict that a person has looked at
    Resume(resume::Args),
    /// Offer a device its assignment once more, also over its update locks
    Retry(retry::Args),
    /// List rollouts: commits that go out step by step
    Rollouts(rollouts::Args),
    /// Show one rollout, or ask something of it: pause, resume, abort, approve, retry, rollback
    Rollout(rollout::Args),
    /// Make a token with which devices join, or list those that wait
    Enroll(enroll::Args),
    /// Make everything assigned from now on newer than all before, after losing the controller's memory
    Epoch(epoch::Args),
    /// List what happened, and who did it
    Events(events::Args),
    /// Have the controller look at the fleet repo now
    Refresh(refresh::Args),
    /// Print JSON Schemas of every kind of file
    Schema(schema::Args),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::Args),
}

impl Command {
    fn run(&self, console: &Console) -> anyhow::Result<Outcome> {
        match self {
            Self::Serve(args) => serve::run(args, console),
            Self::Demo(args) => demo::run(args, console),
            Self::Check(args) => check::run(args, console),
            Self::Import(args) => import::run(args, console),
            Self::Plan(args) => plan::run(args, console),
            Self::Simulate(args) => simulate::run(args, console),
            Self::Post(args) => post::run(args, console),
            Self::Promote(args) => promote::run(args, console),
            Self::Follow(args) => follow::run(args, console),
            Self::Diff(args) => diff::run(args, console),
            Self::Drift(args) => drift::run(args, console),
            Self::Status(args) => status::run(args, console),
            Self::Devices(args) => devices::run(args, console),
            Self::Ls(args) => ls::run(args, console),
            Self::Device(args) => device::run(args, console),
            Self::Why(args) => why::run(args, console),
            Self::Pin(args) => pin::run(args, console),
            Self::Tag(args) => tag::run(args, console),
            Self::Secret(args) => secret::run(args, console),
            Self::Release(args) => release::run(args, console),
            Self::Inventory(args) => inventory::run(args, console),
            Self::Approve(args) => approve::run(args, console),
            Self::Reject(args) => reject::run(args, console),
            Self::Rollouts(args) => rollouts::run(args, console),
            Self::Rollout(args) => rollout::run(args, console),
            Self::Hold(args) => hold::run(args, console),
            Self::Resume(args) => resume::run(args, console),
            Self::Retry(args) => retry::run(args, console),
            Self::Enroll(args) => enroll::run(args, console),
            Self::Epoch(args) => epoch::run(args, console),
            Self::Events(args) => events::run(args, console),
            Self::Refresh(args) => refresh::run(args, console),
            Self::Schema(args) => schema::run(args, console),
            Self::Completions(args) => completions::run(args, console),
        }
    }

    /// Whether `--exit-code` asks for 3 and 4. An error then means that nothing could be determined.
    fn tells_by_exit_code(&self) -> bool {
        match self {
            Self::Plan(args) => args.exit.exit_code,
            Self::Diff(args) => args.exit.exit_code,
            Self::Drift(args) => args.exit.exit_code,
            _ => false,
        }
    }
}

/// Does what the command line says and answers with the status to exit with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap knows which of its messages belong on stdout (help, version) and which status they mean.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let console = Console::new(cli.global);
    match cli.command.run(&console) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            console.error(&error);
            let usage = fault::cause::<Usage>(&error).is_some();
            let outcome = match (usage, cli.command.tells_by_exit_code()) {
                (true, _) => Outcome::Usage,
                (false, true) => Outcome::Unknown,
                (false, false) => Outcome::Failed,
            };
            outcome.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for_and_shows_examples() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no about", command.get_name());
            if command.get_name() != "serve" {
                let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(after.contains("Examples:"), "{} has no examples", command.get_name());
            }
        }
    }

    /// What a command line is understood as: `ok`, or the kind of mistake.
    fn check(line: &str, expected: &str) {
        let answer = match Cli::try_parse_from(std::iter::once("bellwether").chain(line.split(' '))) {
            Ok(_) => "ok".to_owned(),
            Err(error) => {
                assert_eq!(error.exit_code(), 2, "{line}");
                format!("{:?}", error.kind())
            }
        };
        assert_eq!(answer, expected, "{line}");
    }

    #[test]
    fn commands_are_understood() {
        for line in [
            "check",
            "check fleet.git --rev main --format github",
            "plan --stage canary --repo . --rev HEAD --base main --exit-code -o md",
            "simulate",
            "simulate --stage canary --failure-rate 2.5% --offline 10 --latency 30m --seed 7 --runs 20 --policy cautious -o text",
            "simulate --all --noise 0.5% --start 2026-12-01T06:00:00Z -o svg",
            "plan --base origin/main --head topic -o md --artifact plan.json",
            "post plan.json --merge-request 12 --repository acme/fleet --only comment",
            "post plan.json --merge-request 12 --repository acme/fleet --api https://forge.example/api/v3 --app-id 7 --app-key app.pem",
            "promote production --dry-run",
            "promote production --draft --repository acme/fleet -o md",
            "promote production --rollback --repository acme/fleet",
            "import",
            "import ansible --name acme --branch canary --key-prefix fleet_ --dry-run -o json",
            "diff kiosk-1 --stage canary",
            "diff --stage canary",
            "drift kiosk-1 kiosk-2 --stage canary --exit-code",
            "drift kiosk-1 --suggest --repo fleet",
            "status -o wide",
            "--server unix:/run/x.sock devices",
            "devices --server https://fleet.example:8443 --ca-fingerprint ab --key-file k",
            "devices --filter true --view by-site",
            "ls",
            "ls /co/cisco --repo . --rev main",
            "drift --filter true",
            "device kiosk-1 -o yaml",
            "device set kiosk-1 rack=4 owner-",
            "why kiosk-1 pins --repo . --rev main",
            "pin kiosk-1 signage 1.4.2 --repo fleet --dry-run",
            "pin --group kiosks signage latest -y",
            "pin kiosk-1 signage --remove",
            "tag kiosk-1 site=harbour floor-",
            "tag --group kiosks site=harbour --yes",
            "release list",
            "release new signage 1.6.0 --compose c.yml --draft --tag a=b --requires-type pi4 --plain-http r:5000 --yes",
            "release list signage --rev main -o wide",
            "release show signage 1.4.2 --repo fleet",
            "release invalidate signage 1.4.2 --reason bad --dry-run",
            "release invalidate signage 1.4.2 --undo --yes",
            "approve 3f9a1c20be77",
            "reject kiosk-9",
            "hold device kiosk-1 --reason broken --for 3h",
            "hold --reason broken stage production --until 2026-12-01T06:00:00Z",
            "hold fleet --reason broken",
            "resume device kiosk-1",
            "retry kiosk-1 --force --reason now",
            "enroll kiosk-1 kiosk-2 --valid 1h",
            "enroll --selector kiosk-* --uses 50",
            "enroll --pending",
            "epoch raise --reason lost --yes",
            "events kiosk-1 --limit 20",
            "refresh",
            "inventory -i hosts.yml -i more --list --limit web:&zurich",
            "inventory --host kiosk-1 --playbook-dir plays",
            "inventory --graph kiosks --vars",
            "schema",
            "schema inventory --write schemas",
            "completions zsh",
        ] {
            check(line, "ok");
        }
    }

    #[test]
    fn mistakes_are_told_and_exit_with_2() {
        check("simulate --runs 0", "ValueValidation");
        check("simulate --failure-rate 101%", "ValueValidation");
        check("promote", "MissingRequiredArgument");
        check("promote production --to 99887766", "ValueValidation");
        check("promote production --rollback --draft", "ArgumentConflict");
        check("plan --head topic --rev main", "ArgumentConflict");
        check("post plan.json --merge-request x --repository acme/fleet", "ValueValidation");
        check("post plan.json --merge-request 1 --repository acme/fleet --app-id 7", "MissingRequiredArgument");
        check("device", "MissingRequiredArgument");
        check("device two/words", "ValueValidation");
        check("device set kiosk-1", "MissingRequiredArgument");
        check("device set kiosk-1 rack", "ValueValidation");
        check("enroll", "MissingRequiredArgument");
        check("enroll kiosk-1 --selector kiosk-*", "ArgumentConflict");
        check("hold fleet --reason x --for 3h --until 2026-12-01T06:00:00Z", "ArgumentConflict");
        check("hold fleet --reason x --for soon", "ValueValidation");
        check("epoch raise --yes", "MissingRequiredArgument");
        check("epoch", "DisplayHelpOnMissingArgumentOrSubcommand");
        check("pin kiosk-1 signage 1.4.2 --yes --dry-run", "ArgumentConflict");
        check("tag", "MissingRequiredArgument");
        check("release invalidate signage 1.4.2", "MissingRequiredArgument");
        check("events --limit 0", "ValueValidation");
        check("inventory", "MissingRequiredArgument");
        check("inventory --list --host a", "ArgumentConflict");
        check("status -o pdf", "InvalidValue");
        check("status --ca-file a --ca-fingerprint b", "ArgumentConflict");
    }

    #[test]
    fn an_outcome_is_told_by_its_exit_code_only_if_that_is_asked_for() {
        use crate::domain::drift::Verdict;
        use console::ExitArgs;
        let codes = |exit_code| {
            [Verdict::InSync, Verdict::Drifted, Verdict::Unknown]
                .map(|verdict| ExitArgs { exit_code }.outcome(verdict).code())
        };
        assert_eq!(codes(false), [0, 0, 0]);
        assert_eq!(codes(true), [0, 3, 4]);
        assert_eq!([Outcome::Failed.code(), Outcome::Usage.code()], [1, 2]);
    }
}
