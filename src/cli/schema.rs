//! `bellwether schema`: JSON Schemas of every kind of file, for editors and programs.

use super::Output;
use super::console::{Console, Outcome};
use super::fault::usage;
use crate::schemas;
use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Flags of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Editors that know YAML use them through a comment in the first line of a file:
  # yaml-language-server: $schema=../schemas/inventory.json

Examples:
  bellwether schema                     which kinds there are
  bellwether schema inventory
  bellwether schema --write schemas     all of them, a file each")]
pub struct Args {
    /// The kind of file
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
    /// Write files into this folder instead
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<PathBuf>,
}

/// Runs `schema`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.output(&[Output::Table, Output::Json, Output::Yaml])?;
    let mut wanted = schemas::schemas();
    if let Some(kind) = &args.kind {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        if !names.contains(&kind.as_str()) {
            return Err(usage(format!("there is no schema {kind}; there are {}", names.join(", "))));
        }
        wanted.retain(|(name, _)| name == kind);
    }
    if let Some(folder) = &args.write {
        write(folder, &wanted)?;
        console.note(format!("{} written to {}", super::render::text::count(wanted.len(), "schema"), folder.display()));
        return Ok(Outcome::Fine);
    }
    match (&args.kind, wanted.first()) {
        (Some(_), Some((_, schema))) if output == Output::Yaml => console.data(schema, output)?,
        (Some(_), Some((_, schema))) => console.print(schemas::text(schema))?,
        _ if output == Output::Table => {
            console.print(wanted.iter().map(|(name, _)| format!("{name}\n")).collect::<String>())?;
        }
        _ => console.data(&wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>(), output)?,
    }
    Ok(Outcome::Fine)
}

fn write(folder: &Path, wanted: &[(&str, Value)]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, schema) in wanted {
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, schemas::text(schema)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
