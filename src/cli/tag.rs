//! `bellwether tag`: tags of a device or a group, written into the fleet repo.

use super::console::{Console, Outcome};
use super::editing::{EditArgs, WorkTree, edit_output};
use super::fault::usage;
use super::pin::concerns;
use crate::domain::desired::Resolver;
use crate::domain::edits::{Becomes, Desk, ProposeError, Whose, Wish, judge, propose};
use crate::domain::ids::DeviceId;
use crate::threads;

/// Flags of `tag`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes the files of the fleet repo and nothing else: comments, order and quotes stay, the diff is shown before anything is \
written, and committing is up to you.

Examples:
  bellwether tag kiosk-1 site=harbour floor=2
  bellwether tag kiosk-1 floor-                 take a tag away, inherited or not
  bellwether tag --group kiosks owner=ops")]
pub struct Args {
    /// The device, unless a group is named
    #[arg(value_name = "DEVICE|TAG", required = true)]
    pub words: Vec<String>,
    /// A group instead of a device
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// How files are changed.
    #[command(flatten)]
    pub edit: EditArgs,
}

/// Runs `tag`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    edit_output(console)?;
    let (whose, tags) = match (&args.group, args.words.split_first()) {
        (Some(group), _) => (Whose::Group(group.clone()), args.words.as_slice()),
        (None, Some((device, tags))) => {
            (Whose::Device(DeviceId::new(device).map_err(|error| usage(error.to_string()))?), tags)
        }
        (None, None) => return Err(usage("it is `tag DEVICE KEY=VALUE…`")),
    };
    let tags = tags.iter().map(|word| parse(word)).collect::<anyhow::Result<Vec<_>>>()?;
    if tags.is_empty() {
        return Err(usage("name at least one tag: `KEY=VALUE`, or `KEY-` to take it away"));
    }
    let work = WorkTree::open(&args.edit.repo)?;
    let mut resolver = threads::resolver();
    let mut desk = work.desk(&args.edit.list, &mut resolver, console)?;
    let mut notes = Vec::new();
    for (key, value) in &tags {
        let wish = |becomes| [Wish { path: vec!["tags".to_owned(), key.clone()], becomes }];
        let reasons = match value {
            Some(value) => propose(&mut desk, &whose, &wish(Becomes::Text(value.clone()))),
            None => remove(&mut desk, &mut resolver, &whose, key, wish),
        };
        let reasons = work.proposed(reasons, console)?;
        for reason in reasons {
            if !notes.contains(&reason) {
                notes.push(reason);
            }
        }
    }
    judge(&desk, &mut resolver, |device, desired| concerns(&whose, device, desired))?;
    let words: Vec<String> = tags
        .iter()
        .map(|(key, value)| value.as_ref().map_or(format!("{key}-"), |value| format!("{key}={value}")))
        .collect();
    work.finish(&desk, &notes, &format!("Tag {whose}: {}", words.join(" ")), &args.edit, console)
}

/// Takes a tag away; one that is inherited is covered with `null`.
fn remove(
    desk: &mut Desk<'_>,
    resolver: &mut Resolver,
    whose: &Whose,
    key: &str,
    wish: impl Fn(Becomes) -> [Wish; 1],
) -> Result<Vec<String>, ProposeError> {
    let reasons = match propose(desk, whose, &wish(Becomes::Inherited)) {
        Ok(reasons) => reasons,
        Err(ProposeError::NotSet { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let Whose::Device(device) = whose else {
        let key = format!("tags.{key}");
        return if reasons.is_empty() { Err(ProposeError::NotSet { whose: whose.clone(), key }) } else { Ok(reasons) };
    };
    let left = desk.after(resolver);
    if left.devices.get(device).is_some_and(|device| device.tags.contains_key(key)) {
        let mut reasons = propose(desk, whose, &wish(Becomes::Removed))?;
        reasons.push(format!("`{key}` is inherited, so it is written as null"));
        return Ok(reasons);
    }
    if reasons.is_empty() {
        return Err(ProposeError::NotSet { whose: whose.clone(), key: format!("tags.{key}") });
    }
    Ok(reasons)
}

/// `key=value`, or `key-`.
fn parse(word: &str) -> anyhow::Result<(String, Option<String>)> {
    let parsed = match word.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), Some(value.to_owned()))),
        None => word.strip_suffix('-').map(|key| (key.to_owned(), None)),
    };
    parsed
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| usage(format!("`{word}` is no tag: write `KEY=VALUE`, or `KEY-` to take it away")))
}
