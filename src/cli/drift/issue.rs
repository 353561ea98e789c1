//! `bellwether drift --issue`: one issue on the forge while anything drifts.

use crate::cli::console::{Console, Outcome};
use crate::cli::forge::{ForgeArgs, hinted};
use crate::cli::render::drift::undated;
use crate::cli::render::text::plain;
use crate::domain::forge::comment::MAX_BODY_BYTES;
use crate::domain::forge::issue::{KIND, Open, Step, step};
use crate::domain::ids::StageName;
use crate::domain::overview::drift::DriftReport;
use crate::ports::forge::{ForgeError, Issue, Tracker};
use anyhow::Context as _;

/// The label by which the issue is found.
const LABEL: &str = "bellwether-drift";
/// How much of a body is left for the mark and the word that something is missing, in bytes.
const RESERVE_BYTES: usize = 1_024;

/// Opens, edits or closes the issue, whatever the report asks for.
pub(super) fn run(
    report: &DriftReport,
    stage: Option<&StageName>,
    args: &ForgeArgs,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let attempted = "cannot say it in an issue";
    let mut forge = args.open_github().context(attempted)?;
    let (did, url) = carry(&mut forge, report, stage).map_err(hinted).context(attempted)?;
    let url = url.map(|url| format!(" {}", plain(&url))).unwrap_or_default();
    console.note(format!("issue: {did}{url}"));
    Ok(Outcome::Fine)
}

fn carry(
    forge: &mut dyn Tracker,
    report: &DriftReport,
    stage: Option<&StageName>,
) -> Result<(&'static str, Option<String>), ForgeError> {
    let about = stage.map_or("the fleet".to_owned(), |stage| format!("stage {stage}"));
    // When it was made changes with every look, and is no news.
    let text = bounded(undated(report));
    let me = forge.me()?;
    let found = forge.open_issues(LABEL)?;
    let mark = crate::domain::forge::comment::marked(KIND, &about, "");
    let ours = |one: &&Issue| one.author.eq_ignore_ascii_case(&me) && one.body.starts_with(mark.trim_end());
    let ours = found.iter().find(ours);
    let open = ours.map(|one| Open { title: &one.title, body: &one.body });
    match (step(&about, &report.totals, &text, open.as_ref()), ours) {
        (Step::Open(text), _) => Ok(("opened", Some(forge.new_issue(&text.title, &text.body, &[LABEL])?.url))),
        (Step::Edit(text), Some(one)) => {
            Ok(("brought up to date", Some(forge.edit_issue(one.number, &text.title, &text.body)?.url)))
        }
        (Step::Close, Some(one)) => {
            forge.close_issue(one.number)?;
            Ok(("closed", Some(one.url.clone())))
        }
        (Step::Keep, one) => Ok(("nothing to change", one.map(|one| one.url.clone()))),
        (Step::Edit(_) | Step::Close, None) => Ok(("nothing to change", None)),
    }
}

/// As much of a text as an issue takes, line by line.
fn bounded(text: String) -> String {
    let most = MAX_BODY_BYTES - RESERVE_BYTES;
    if text.len() <= most {
        return text;
    }
    let end = text.bytes().take(most).rposition(|byte| byte == b'\n').map_or(0, |at| at + 1);
    format!("{}\nThe rest does not fit here: `bellwether drift` shows it.\n", &text[..end])
}
