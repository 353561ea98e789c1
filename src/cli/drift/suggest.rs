//! `bellwether drift --suggest`: the change of the fleet repo that would accept what was found.

use super::Args;
use crate::cli::Output;
use crate::cli::console::{Console, Outcome};
use crate::cli::editing::{Proposal, WorkTree, propose};
use crate::cli::render::text::{Tone, count, plain};
use crate::cli::render::udiff::{self, Patch};
use crate::domain::edits::FileChange;
use crate::domain::edits::suggest::{Left, Offered, Suggestion, suggest};
use crate::domain::overview::drift::DriftReport;
use crate::threads;
use serde::Serialize;

/// The answer for programs.
#[derive(Serialize)]
struct SuggestView<'a> {
    /// What `git apply` takes; empty if there is nothing to suggest.
    patch: String,
    #[serde(flatten)]
    suggestion: &'a Suggestion,
}

/// Prints the patch to stdout, and to stderr what it accepts and what it cannot.
pub(super) fn run(report: &DriftReport, args: &Args, output: Output, console: &Console) -> anyhow::Result<Outcome> {
    let work = WorkTree::open(&args.repo)?;
    let mut resolver = threads::resolver();
    let mut desk = work.desk(&args.list, &mut resolver, console)?;
    let offered = if args.mended { Offered::AndMended } else { Offered::Standing };
    let suggestion = suggest(&mut desk, &mut resolver, report, offered)?;
    let files = desk.files();
    let patch: Patch =
        files.iter().map(|FileChange { path, before, after }| udiff::patch(path, before.as_deref(), after)).collect();
    let warning = patch.warning();
    let patch = patch.text;
    match output {
        Output::Json | Output::Yaml => console.data(&SuggestView { patch, suggestion: &suggestion }, output)?,
        Output::Md => {
            let body =
                if patch.is_empty() { "Nothing to suggest.\n".to_owned() } else { format!("```diff\n{patch}```\n") };
            let left = suggestion.left.iter().map(|left| format!("\n- {}", plain(&line(left))));
            console.print(format!("{body}{}\n", left.collect::<String>()))?;
        }
        Output::Table | Output::Wide => {
            suggestion
                .accepted
                .iter()
                .for_each(|one| console.note(format!("{} {}", Tone::Good.paint("accepts"), plain(one))));
            for left in &suggestion.left {
                console.note(format!("{} {}", Tone::Unsure.paint("cannot"), plain(&line(left))));
            }
            if !patch.is_empty() {
                console.note(format!(
                    "this accepts {}; to do so: `bellwether drift --suggest{} | git apply`",
                    count(suggestion.accepted.len(), "difference"),
                    if args.mended { " --mended" } else { "" },
                ));
            } else {
                console.note("nothing to suggest");
                let mended: usize = report.devices.values().map(|one| one.mended.len()).sum();
                if mended > 0 && offered == Offered::Standing {
                    console.note(format!(
                        "agents have mended {} already: `--mended` offers what they found",
                        count(mended, "difference")
                    ));
                }
            }
            console.print(if console.is_terminal() { udiff::painted(&patch) } else { patch })?;
        }
    }
    warning.into_iter().for_each(|warning| console.note(warning));
    if args.mr.mr && !files.is_empty() {
        let about = match args.devices.as_slice() {
            [one] => one.to_string(),
            [] => args.stage.as_ref().map_or("the fleet".to_owned(), |stage| format!("stage {stage}")),
            several => count(several.len(), "device"),
        };
        let message = format!("Accept the drift of {about}");
        let proposal = Proposal { files: &files, message: &message, notes: &suggestion.accepted };
        let done = propose(&work, &proposal, &args.mr, &args.forge, console)?;
        console.note(format!("merge request: {done}"));
    }
    Ok(Outcome::Fine)
}

fn line(left: &Left) -> String {
    format!("{} {}: {}", left.device, left.subject, left.reason)
}
