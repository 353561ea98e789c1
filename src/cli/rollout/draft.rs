//! `bellwether rollout draft`: a change on a branch of its own, for some devices, before it is merged.

use super::super::console::{Console, Outcome};
use super::super::fault::{Hint as _, usage, with_hint};
use super::super::lists::{self, ListArgs};
use super::super::render::text::{count, names};
use super::super::render::udiff;
use super::super::selecting::{note_doubts, select};
use super::super::{Output, local};
use crate::domain::edits::{Becomes, Desk, Whose, Wish, judge, propose};
use crate::domain::ids::{AppName, CommitId, DeviceId, PolicyName, RolloutName, StageName};
use crate::domain::plan::ownership::Standing;
use crate::git::propose::TreeChange;
use crate::protocol::v1::operator::{Done, DraftRequest, StatusAnswer};
use crate::threads;
use anyhow::{Context as _, anyhow};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where the branches of drafts are.
const BRANCHES: &str = "draft/";
/// How long a patch may be, in bytes.
const MAX_PATCH_BYTES: u64 = 4 << 20;
/// How many devices a change writes files for. More are a group's business.
const MAX_DEVICES: usize = 1000;
/// How many devices are named.
const NAMED: usize = 20;

/// Flags of `rollout draft`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes the change for each device that the filter means into the fleet repo, as a commit on the branch draft/NAME that contains what \
counts for the stage now, pushes that, and drafts the rollout from it. Your work tree is not touched. Nothing reaches a device before \
`rollout activate NAME`. When it is done, merge the branch: the next commit of the stage takes back what it does not have.

Examples:
  bellwether rollout draft try-2 --change 'pin signage=2.0.0' --devices '\"canaries\" in groups' --reason 'new player' \\
    --step '{name: one, take: 1, soak: 1h}'
  bellwether rollout draft faster --change 'var POLL=5' --devices 'tags.site == \"hk\"' --policy cautious --reason 'too slow'
  bellwether rollout draft fix --change fix.patch --devices 'true' --policy cautious --reason 'as reviewed'")]
pub struct DraftArgs {
    /// What it is called
    #[arg(value_name = "NAME")]
    pub name: RolloutName,
    /// What changes: `pin APP=VERSION`, `var KEY=VALUE`, `tag KEY=VALUE`, or a patch file as `git diff` writes it
    #[arg(long, value_name = "CHANGE", required = true)]
    pub change: Vec<String>,
    /// Which devices, as a filter
    #[arg(long, value_name = "EXPR")]
    pub devices: String,
    /// The stage whose devices they are [default: the one that owns all of them]
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
    /// Go out as this policy of fleet.yml says, or as a ready one
    #[arg(long, value_name = "POLICY", conflicts_with = "step")]
    pub policy: Option<PolicyName>,
    /// A step as a policy has it, such as `{name: one, take: 1, soak: 1h}`; all others follow in the last one
    #[arg(long, value_name = "YAML")]
    pub step: Vec<String>,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The clone of the fleet repo
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub repo: PathBuf,
    /// The remote of the clone that the controller reads
    #[arg(long, value_name = "REMOTE", default_value = "origin")]
    pub remote: String,
    /// Where the devices are listed that the change is judged by.
    #[command(flatten)]
    pub list: ListArgs,
    /// Show the diff, and neither commit nor push
    #[arg(long)]
    pub dry_run: bool,
}

/// One change.
enum Asked {
    Key { path: [String; 2], value: String },
    Patch(PathBuf),
}

/// Runs `rollout draft`.
pub fn run(args: &DraftArgs, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let asked = args.change.iter().map(|text| parse(text)).collect::<anyhow::Result<Vec<Asked>>>()?;
    let branch = StageName::new(&format!("{BRANCHES}{}", args.name)).map_err(|error| usage(error.to_string()))?;
    let controller = console.global.controller()?;
    let selected = select(&controller, Some(&args.devices), None)?;
    note_doubts(console, &selected.slips, &selected.undetermined);
    let owned = |standing: &Standing| match standing {
        Standing::Owned(stage) => Some(stage.clone()),
        Standing::InTransit | Standing::Unmanaged => None,
    };
    let rows = selected.devices.iter().map(|one| (&one.row.device, owned(&one.row.standing)));
    let rows: Vec<(&DeviceId, Option<StageName>)> = rows.collect();
    let stage = stage(args.stage.as_ref(), &rows)?;
    let devices: BTreeSet<DeviceId> =
        rows.iter().filter(|(_, of)| of.as_ref() == Some(&stage)).map(|(device, _)| (*device).clone()).collect();
    if devices.is_empty() {
        return Err(with_hint(
            anyhow!("no device of {stage} is meant"),
            "`bellwether devices --filter '…'` shows what a filter means",
        ));
    }
    let status: StatusAnswer = controller.get("/v1/status", "ask what counts")?;
    let counts = status.status.stages.iter().find(|one| one.stage == stage).and_then(|one| one.accepted.clone());
    let base = counts.ok_or_else(|| anyhow!("no commit of {stage} counts yet"))?;
    console.note(format!("devices: {}", names(&devices, NAMED)));
    let mut clone = local::open(&args.repo)?;
    let change = tree_change(args, &asked, &devices, &mut clone, &base, console)?;
    if args.dry_run {
        console.note("nothing was committed");
        return Ok(Outcome::Fine);
    }
    let words = args.change.join(", ");
    let message = format!("{words}\n\nDrafted as {}: {}\n", args.name, args.reason);
    let commit = clone
        .push_change(&base, &change, &branch, &message, &args.remote)
        .with_context(|| format!("cannot make the branch {branch}"))
        .hint("`git branch -D` and `git push --delete` take a branch of an earlier draft away")?;
    console.note(format!("pushed {branch} at {} to {}", commit.short(), args.remote));
    let request = DraftRequest {
        name: args.name.clone(),
        stage,
        branch: branch.clone(),
        commit,
        devices: args.devices.clone(),
        policy: args.policy.clone(),
        steps: args.step.clone(),
        change: words,
        reason: args.reason.clone(),
    };
    let done: Done = controller.post("/v1/rollouts", &request, &format!("draft {}", args.name)).inspect_err(|_| {
        let take_away = format!("git push {} --delete {branch}; git branch -D {branch}", args.remote);
        console.note(format!("the branch stays; to take it away: {take_away}"));
    })?;
    let outcome = console.done(&done, output)?;
    if output == Output::Table {
        let name = &args.name;
        console.note(format!("it does nothing yet; `bellwether rollout activate {name} --reason '…'` lets it begin"));
    }
    Ok(outcome)
}

/// The stage that owns all devices, if one was not named.
fn stage(named: Option<&StageName>, rows: &[(&DeviceId, Option<StageName>)]) -> anyhow::Result<StageName> {
    if let Some(stage) = named {
        return Ok(stage.clone());
    }
    let stages: BTreeSet<&StageName> = rows.iter().filter_map(|(_, stage)| stage.as_ref()).collect();
    let mut stages = stages.into_iter();
    match (stages.next(), stages.next()) {
        (Some(stage), None) => Ok(stage.clone()),
        (None, _) => Err(with_hint(
            anyhow!("the filter means no device that a stage owns"),
            "`bellwether devices --filter '…'` shows what a filter means",
        )),
        (Some(one), Some(other)) => {
            Err(usage(format!("the filter means devices of {one} and {other}: name one of them with `--stage`")))
        }
    }
}

fn parse(text: &str) -> anyhow::Result<Asked> {
    let pair = |rest: &str| -> anyhow::Result<(String, String)> {
        let (key, value) = rest.trim().split_once('=').ok_or_else(|| usage(format!("`{text}`: write NAME=VALUE")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let key = |first: &str, rest: &str| {
        let (name, value) = pair(rest)?;
        Ok(Asked::Key { path: [first.to_owned(), name], value })
    };
    match text.split_once(' ') {
        Some(("pin", rest)) => {
            AppName::new(&pair(rest)?.0).map_err(|error| usage(error.to_string()))?;
            key("pins", rest)
        }
        Some(("var", rest)) => key("variables", rest),
        Some(("tag", rest)) => key("tags", rest),
        _ if Path::new(text).is_file() => Ok(Asked::Patch(PathBuf::from(text))),
        // One word is meant for a file.
        _ if !text.contains(char::is_whitespace) => Err(with_hint(
            usage(format!("there is no patch file `{text}`")),
            "`git diff > fix.patch` writes one, and its path counts from the folder that you are in; \
             a change by itself is `pin APP=VERSION`, `var KEY=VALUE` or `tag KEY=VALUE`",
        )),
        _ => Err(usage(format!(
            "`{text}` is neither `pin APP=VERSION`, `var KEY=VALUE`, `tag KEY=VALUE` nor a patch file"
        ))),
    }
}

/// What the commit of the draft changes, shown before it is made.
fn tree_change(
    args: &DraftArgs,
    asked: &[Asked],
    devices: &BTreeSet<DeviceId>,
    clone: &mut crate::git::GitClone,
    base: &CommitId,
    console: &Console,
) -> anyhow::Result<TreeChange> {
    if let [Asked::Patch(path)] = asked {
        let mut patch = Vec::new();
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        file.take(MAX_PATCH_BYTES + 1)
            .read_to_end(&mut patch)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if patch.len() as u64 > MAX_PATCH_BYTES {
            return Err(anyhow!("{} is longer than {MAX_PATCH_BYTES} bytes", path.display()));
        }
        return Ok(TreeChange::Patch(patch));
    }
    let mut wishes = Vec::new();
    for one in asked {
        match one {
            Asked::Key { path, value } => {
                wishes.push(Wish { path: path.to_vec(), becomes: Becomes::Text(value.clone()) });
            }
            Asked::Patch(_) => return Err(usage("a patch file stands alone: put everything into it")),
        }
    }
    if devices.len() > MAX_DEVICES {
        return Err(with_hint(
            anyhow!("{} would be written one by one; at most {MAX_DEVICES} are", count(devices.len(), "device")),
            "change a group instead, and give the change as a patch file: `git diff > change.patch`",
        ));
    }
    let files = local::commit_by_id(clone, base, "what counts")
        .hint("fetch first: the draft is made from the commit that counts for the stage")?
        .files;
    let mut resolver = threads::resolver();
    let found = lists::find(&args.list, &mut resolver, &files, Some(console))?;
    let mut desk = Desk::with_devices(&files, found.source);
    for device in devices {
        propose(&mut desk, &Whose::Device(device.clone()), &wishes)
            .with_context(|| format!("cannot change {device}"))?;
    }
    judge(&desk, &mut resolver, |device, _| devices.contains(device)).hint("nothing was committed")?;
    let changed = desk.files();
    for file in &changed {
        let patch = udiff::patch(&file.path, file.before.as_deref(), &file.after).text;
        console.note(if console.is_terminal() { udiff::painted(&patch) } else { patch });
    }
    Ok(TreeChange::Files(changed.into_iter().map(|file| (file.path, file.after)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fault::render_error;
    use crate::cli::render::bare;

    #[test]
    fn a_change_that_means_nothing_says_what_it_may_be() {
        let told = |text: &str| match parse(text) {
            Ok(_) => "it is one".to_owned(),
            Err(error) => bare(&render_error(&error)),
        };
        let all = ["no-such.patch", "pin signage", "label a=b", "Cargo.toml"];
        insta::assert_snapshot!(all.map(|text| format!("{text}: {}", told(text))).join("\n"), @r#"
        no-such.patch: error: there is no patch file `no-such.patch`
        hint: `git diff > fix.patch` writes one, and its path counts from the folder that you are in; a change by itself is `pin APP=VERSION`, `var KEY=VALUE` or `tag KEY=VALUE`
        pin signage: error: `pin signage`: write NAME=VALUE
        label a=b: error: `label a=b` is neither `pin APP=VERSION`, `var KEY=VALUE`, `tag KEY=VALUE` nor a patch file
        Cargo.toml: it is one
        "#);
    }
}
