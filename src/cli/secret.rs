//! `bellwether secret`: the secrets that a fleet refers to. Their values never come here.

use super::Output;
use super::console::{Console, Outcome};
use super::render::devices::Columns;
use super::render::table::{Cell, Table, row};
use super::render::text::{Tone, count, plain};
use crate::domain::ids::StageName;
use crate::domain::overview::secrets::{SecretRow, SecretValue, SecretsAnswer};

/// Flags of `secret`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellwether secret list
  bellwether secret list --stage production -o wide")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with secrets.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the secrets that devices refer to: who has a value, and who uses it; never a value
    List(ListArgs),
}

/// Flags of `secret list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Providers are asked now. A secret that nobody refers to is not listed, because providers are asked by name.

Examples:
  bellwether secret list
  bellwether secret list --stage production -o wide")]
pub struct ListArgs {
    /// Only secrets of this stage
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageName>,
}

/// Runs `secret`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    match &args.command {
        Command::List(args) => list(args, console),
    }
}

fn list(args: &ListArgs, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Wide, Output::Json, Output::Yaml, Output::Md])?;
    let answer: SecretsAnswer = console.global.controller()?.get("/v1/secrets", "list the secrets")?;
    let SecretsAnswer { secrets: mut rows, unread } = answer;
    let wanted = |stage: &StageName| args.stage.as_ref().is_none_or(|only| only == stage);
    rows.retain(|row| wanted(&row.stage));
    for stage in unread.iter().filter(|stage| wanted(stage)) {
        console.note(format!("the commit of stage {stage} has not been read yet; nothing is known of its secrets"));
    }
    if matches!(output, Output::Json | Output::Yaml) {
        console.data(&rows, output)?;
        return Ok(Outcome::Fine);
    }
    if rows.is_empty() {
        console.note("no device refers to a secret");
        return Ok(Outcome::Fine);
    }
    let shown = table(&rows, if output == Output::Wide { Columns::All } else { Columns::Usual });
    match output {
        Output::Md => console.print(shown.markdown())?,
        Output::Wide => console.print(shown.text(None))?,
        Output::Table | Output::Json | Output::Yaml => console.print(shown.text(console.width()))?,
    }
    let lacking = rows.iter().filter(|row| row.value != SecretValue::Present).count();
    if lacking > 0 {
        console.note(format!("{} without a value; devices that use one keep what they have", count(lacking, "secret")));
    }
    Ok(Outcome::Fine)
}

fn table(rows: &[SecretRow], columns: Columns) -> Table {
    let mut headers = vec!["SECRET", "STAGE", "VALUE", "PROVIDER", "SERVICES", "DEVICES"];
    match columns {
        Columns::Usual => {}
        Columns::All => headers.push("NAMES OF DEVICES"),
    }
    let mut table = Table::new(&headers);
    for one in rows {
        let tone = match one.value {
            SecretValue::Present => Tone::Good,
            SecretValue::Missing | SecretValue::Empty | SecretValue::Unusable => Tone::Bad,
            SecretValue::Unavailable => Tone::Unsure,
        };
        let value = match &one.reason {
            Some(reason) => format!("{}: {}", one.value.name(), plain(reason)),
            None => one.value.name().to_owned(),
        };
        let services: Vec<&str> = one.services.iter().map(String::as_str).collect();
        let mut cells = row![
            &one.name,
            &one.stage,
            Cell::new(value, tone),
            one.provider.as_deref().unwrap_or("-"),
            if services.is_empty() { "-".to_owned() } else { services.join(", ") },
            one.device_count,
        ];
        if columns == Columns::All {
            let names: Vec<&str> = one.devices.iter().map(|device| device.as_str()).collect();
            let more = one.device_count - names.len();
            cells.push(Cell::from(match more {
                0 => names.join(", "),
                more => format!("{} and {more} more", names.join(", ")),
            }));
        }
        table.row(cells);
    }
    table
}
