//! Where commands write: data to stdout, everything else to stderr, colours only where they are wanted.

use super::fault::{render_error, usage, with_hint};
use super::render::text::plain;
use super::{Color, Form, Global, Output, Report};
use crate::domain::drift::Verdict;
use crate::domain::manifest::yaml::print::to_yaml;
use crate::protocol::v1::operator::Done;
use anstream::ColorChoice;
use anyhow::{Context as _, anyhow};
use serde::Serialize;
use std::fmt::Display;
use std::io::{BufRead as _, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

/// The longest answer of a person that is read, in bytes; names are shorter.
const MAX_TYPED_BYTES: u64 = 1024;

/// What became of a command, as its exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: done, and nothing to say by the exit code.
    Fine,
    /// 1: it did not work.
    Failed,
    /// 2: the command line asks for something that there is not.
    Usage,
    /// 3: `--exit-code` was asked for, and there are changes or drift.
    Changes,
    /// 4: `--exit-code` was asked for, and something is unknown.
    Unknown,
}

impl Outcome {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Changes => 3,
            Self::Unknown => 4,
        }
    }
}

/// Whether the exit code tells what was found.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ExitArgs {
    /// Exit with 3 if anything differs, else with 4 if anything could not be determined
    #[arg(long)]
    pub exit_code: bool,
}

impl ExitArgs {
    /// What a command that found this exits with.
    pub fn outcome(self, found: Verdict) -> Outcome {
        match found {
            Verdict::Drifted if self.exit_code => Outcome::Changes,
            Verdict::Unknown if self.exit_code => Outcome::Unknown,
            Verdict::InSync | Verdict::Drifted | Verdict::Unknown => Outcome::Fine,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// The flags of all commands, and the two streams.
#[derive(Debug)]
pub struct Console {
    /// The flags.
    pub global: Global,
}

impl Console {
    /// Takes the flags; from here on the streams follow `--color`.
    pub fn new(global: Global) -> Self {
        match global.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::AlwaysAnsi,
            Color::Never => ColorChoice::Never,
        }
        .write_global();
        Self { global }
    }

    /// The form of the answer, if the command can give it.
    pub fn output(&self, possible: &[Output]) -> anyhow::Result<Output> {
        match self.chosen() {
            Form::Usual(output) if possible.contains(&output) => Ok(output),
            other => Err(impossible(other, possible, &[])),
        }
    }

    /// The form of the answer of a command that makes reports too.
    pub fn form(&self, usual: &[Output], reports: &[Report]) -> anyhow::Result<Form> {
        let chosen = self.chosen();
        let is_possible = match chosen {
            Form::Usual(output) => usual.contains(&output),
            Form::Report(report) => reports.contains(&report),
        };
        if is_possible { Ok(chosen) } else { Err(impossible(chosen, usual, reports)) }
    }

    fn chosen(&self) -> Form {
        self.global.output.unwrap_or(Form::Usual(Output::default()))
    }

    /// Columns of the terminal; `None` if stdout is none, so that nothing is wrapped or cut.
    pub fn width(&self) -> Option<u16> {
        comfy_table::Table::new().width()
    }

    /// Whether a person reads stdout.
    pub fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Writes data to stdout, styles included where they are wanted.
    pub fn print(&self, data: impl Display) -> anyhow::Result<()> {
        let mut stdout = anstream::stdout().lock();
        match write!(stdout, "{data}").and_then(|()| stdout.flush()) {
            // Whoever reads has read enough. The exit code still says what was found.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| anyhow::Error::new(error).context("cannot write the answer to stdout")),
        }
    }

    /// Writes a value for programs.
    pub fn data(&self, value: &impl Serialize, output: Output) -> anyhow::Result<()> {
        let value = serde_json::to_value(value).context("cannot write the answer as JSON")?;
        match output {
            Output::Yaml => self.print(to_yaml(&value)),
            Output::Json | Output::Table | Output::Wide | Output::Md => self.print(format!("{value:#}\n")),
        }
    }

    /// The form in which an act answers; asked for before it is done.
    pub fn act_output(&self) -> anyhow::Result<Output> {
        self.output(&[Output::Table, Output::Json, Output::Yaml])
    }

    /// Writes what an act did.
    pub fn done(&self, done: &Done, output: Output) -> anyhow::Result<Outcome> {
        match output {
            Output::Json | Output::Yaml => self.data(done, output)?,
            Output::Table | Output::Wide | Output::Md => {
                let lines = done.events.iter().map(|event| {
                    format!("{} {}: {}\n", plain(&event.kind), plain(&event.subject), plain(&event.message))
                });
                self.print(lines.collect::<String>())?;
            }
        }
        Ok(Outcome::Fine)
    }

    /// Asks the person at the terminal to type a word before something that cannot be taken back. Where nobody can be asked, the
    /// command line must say so itself.
    pub fn confirm(&self, question: &str, word: &str) -> anyhow::Result<()> {
        let (stdin, stderr) = (std::io::stdin(), std::io::stderr());
        if !stdin.is_terminal() || !stderr.is_terminal() {
            return Err(with_hint(usage("there is no terminal to ask at"), "say `--yes` if this is meant"));
        }
        self.note(question);
        let mut asking = anstream::stderr().lock();
        // Nobody can be told that stderr does not work.
        let _ = write!(asking, "Type {} to go on: ", plain(word)).and_then(|()| asking.flush());
        drop(asking);
        let mut typed = String::new();
        stdin.lock().take(MAX_TYPED_BYTES).read_line(&mut typed).context("cannot read the answer")?;
        if typed.trim() == word {
            return Ok(());
        }
        Err(anyhow!("nothing was done: {} was not typed", plain(word)))
    }

    /// Writes a line about what happens to stderr.
    pub fn note(&self, line: impl Display) {
        // Nobody can be told that stderr does not work.
        let _ = writeln!(anstream::stderr().lock(), "{line}");
    }

    /// Writes an error to stderr, its whole chain once and its hint.
    pub fn error(&self, error: &anyhow::Error) {
        let _ = write!(anstream::stderr().lock(), "{}", render_error(error));
    }
}

fn impossible(chosen: Form, usual: &[Output], reports: &[Report]) -> anyhow::Error {
    let possible = usual.iter().copied().map(Form::Usual).chain(reports.iter().copied().map(Form::Report));
    let names: Vec<String> = possible.map(Form::name).collect();
    usage(format!("this command cannot answer as {}; it can as {}", chosen.name(), names.join(", ")))
}
