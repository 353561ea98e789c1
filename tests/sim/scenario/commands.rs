//! Commands as they are typed: understood by the command line's own parser, shown by its own rendering.

use super::world::World;
use bellwether::cli::fault::render_error;
use bellwether::cli::render::detail::waits;
use bellwether::cli::render::devices::{Columns, events, table};
use bellwether::cli::render::rollouts::{Lists, detail, explained, failures, list};
use bellwether::cli::rollout::{Ask, Named, StepAsk};
use bellwether::cli::{Cli, Command, rollout};
use bellwether::domain::acts::operator::check_reason;
use bellwether::domain::fleet::{Change, Event};
use bellwether::domain::ids::{Actor, DeviceId, RolloutName};
use bellwether::domain::manifest::rollouts::read_step;
use bellwether::domain::overview::{device, rollouts};
use bellwether::domain::plan::rollouts::DraftSteps;
use bellwether::domain::rollout::machine::{Acknowledge, Act, Which};
use clap::Parser as _;

/// Who types, where nobody else is named.
const SOMEBODY: &str = "anna";

/// Runs a command; answers with what is seen.
pub fn run(world: &mut World, typed: &str) -> String {
    let (typed, who) = typed.rsplit_once("    # by ").unwrap_or((typed, SOMEBODY));
    let words = words(typed);
    let seen = match words.first().map(String::as_str) {
        Some("git") => git(world, &words),
        Some("bellwether") => bellwether(world, who, &words),
        _ => panic!("{typed:?} is no command of a scenario"),
    };
    let text = seen.unwrap_or_else(|error| render_error(&error));
    let plain = anstream::adapter::strip_str(&text).to_string();
    plain.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Words as a shell sees them, with single quotes.
fn words(typed: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in typed.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// `git commit -am 'message' && git push` or `git merge BRANCH && git push` on the branch of the stage.
fn git(world: &mut World, words: &[String]) -> anyhow::Result<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let message = match words.as_slice() {
        ["git", "commit", _, message, ..] => (*message).to_owned(),
        ["git", "merge", branch, ..] => {
            world.merge(branch);
            format!("Merge branch {branch}")
        }
        _ => panic!("{words:?}: people commit or merge, and push"),
    };
    let id = world.push(&message);
    Ok(format!("[{} {}] {message}\n", world.stage, id.short()))
}

fn bellwether(world: &mut World, who: &str, words: &[String]) -> anyhow::Result<String> {
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let now = world.clock();
    match &cli.command {
        Command::Rollouts(_) => world.look(|input| Ok(list(&rollouts::rows(&input.pass), now).text(None))),
        Command::Rollout(args) => {
            let wide = words.ends_with(&["-o".to_owned(), "wide".to_owned()]);
            of_rollout(world, who, args, if wide { Lists::Whole } else { Lists::Short })
        }
        Command::Devices(_) => world.look(|input| {
            let all = device::devices(input).into_iter().map(|one| device::row(input, one));
            Ok(table(&all.collect::<Vec<_>>(), Columns::Usual, now).text(None))
        }),
        Command::Why(args) => {
            let device = args.device.clone();
            world.look(|input| {
                let detail = device::detail(input, &device).expect("the device is known");
                Ok(waits(&detail.waits, now))
            })
        }
        other => panic!("scenarios do not know {other:?}"),
    }
}

fn actor(who: &str) -> Actor {
    Actor::new(who).expect("an actor")
}

fn of_rollout(world: &mut World, who: &str, args: &rollout::Args, lists: Lists) -> anyhow::Result<String> {
    let now = world.clock();
    let found = |world: &mut World, name: &RolloutName| {
        world.look(|input| {
            let found = rollouts::detail(&input.pass, name);
            found.ok_or_else(|| anyhow::anyhow!("there is no rollout {name}"))
        })
    };
    let (named, act) = match (&args.act, &args.name) {
        (None, Some(name)) if args.history => {
            let subject = format!("rollout {name}");
            let all: Vec<Event> =
                world.history.iter().rev().filter(|event| event.subject == subject).cloned().collect();
            return Ok(events(&all, now).text(None));
        }
        (None, Some(name)) if args.explain => return Ok(explained(&found(world, name)?, now)),
        (None, Some(name)) => return Ok(detail(&found(world, name)?, lists, None, now)),
        (Some(Ask::Failures { name }), _) => return Ok(failures(&found(world, name)?.failures, now)),
        (Some(Ask::Approve(named)), _) => (named, Act::Approve),
        (Some(Ask::Pause { named, until, lasting }), _) => {
            let until = until.or_else(|| lasting.map(|secs| now.plus_secs(secs)));
            (named, Act::Pause { until })
        }
        (Some(Ask::Resume { named, ack }), _) => {
            let acknowledge = if *ack { Acknowledge::Failures } else { Acknowledge::Nothing };
            (named, Act::Resume { acknowledge })
        }
        (Some(Ask::Abort(named)), _) => (named, Act::Abort),
        (Some(Ask::Retry { named, devices, failed: _ }), _) => (named, Act::Retry(which(devices))),
        (Some(Ask::Reroute { named: Named { name, reason }, devices, failed: _, via }), _) => {
            check_reason(reason)?;
            let changes = world.reroute(name, &which(devices), via, &actor(who), reason)?;
            return Ok(world.act(&changes));
        }
        (Some(Ask::Rollback(named)), _) => (named, Act::Rollback),
        (Some(Ask::Activate(named)), _) => (named, Act::Activate),
        (Some(Ask::Step(StepAsk::Add { named, step, at })), _) => {
            let steps = world.steps_of(&named.name);
            let step = read_step(step).map_err(anyhow::Error::msg)?;
            (named, Act::AddStep { at: at.map_or(steps, |at| at - 1), step: Box::new(step) })
        }
        (Some(Ask::Draft(args)), _) => {
            check_reason(&args.reason)?;
            let steps: Result<Vec<_>, String> = args.step.iter().map(|step| read_step(step)).collect();
            let steps = match &args.policy {
                Some(policy) => DraftSteps::Policy(policy.clone()),
                None => DraftSteps::Own(steps.map_err(anyhow::Error::msg)?),
            };
            let changes = world.draft(&args.name, &args.change, &args.devices, steps, &actor(who), &args.reason)?;
            return Ok(world.act(&changes));
        }
        (Some(other), _) => panic!("no scenario has asked for {other:?} yet"),
        (None, None) => panic!("a rollout is named"),
    };
    let Named { name, reason } = named;
    check_reason(reason)?;
    let changes = world.rollout_act(name, act, &actor(who), reason)?;
    Ok(world.act(&changes))
}

fn which(devices: &[DeviceId]) -> Which {
    match devices.is_empty() {
        true => Which::Failed,
        false => Which::Devices(devices.iter().cloned().collect()),
    }
}

/// The events among changes, as acts answer with them.
pub fn shown(changes: &[Change]) -> String {
    let events = changes.iter().filter_map(|change| match change {
        Change::Event(event) => Some(format!("{} {}: {}\n", event.kind, event.subject, event.message)),
        _ => None,
    });
    events.collect()
}
