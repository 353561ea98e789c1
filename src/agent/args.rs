//! The command line of `bellwether-agent`.

use super::settings::{Fragment, Given, KEYS, Origin, key};
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run until asked to stop.
    Run(Flags),
    /// Enroll with another controller, keep the old identity aside, and end.
    Join(Flags),
    /// Print this and end.
    Print(String),
}

/// The flags as the first stage of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Values from the command line.
    pub fragment: Fragment,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
}

/// Reads a command line without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut flags = Flags::default();
    let mut words = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Print(help())),
            Long("version") | Short('V') => {
                return Ok(Command::Print(concat!("bellwether-agent ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
            }
            Long("config") => flags.config = Some(parser.value()?.into()),
            Long("attribute") => {
                let pair = parser.value()?.string()?;
                let (name, value) = pair.split_once('=').ok_or("an attribute is written KEY=VALUE")?;
                flags.fragment.attributes.insert(name.to_owned(), value.to_owned());
            }
            Long(name) => match key(name) {
                Some(key) => {
                    let value = parser.value()?.string()?;
                    give(&mut flags, key, value);
                }
                None => return Err(argument.unexpected()),
            },
            Value(word) => words.push(word.string()?),
            Short(_) => return Err(argument.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run"] => Ok(Command::Run(flags)),
        ["join", rest @ ..] if rest.len() <= 2 => {
            for (key, word) in ["server", "token"].into_iter().zip(rest) {
                give(&mut flags, key, (*word).to_owned());
            }
            Ok(Command::Join(flags))
        }
        [] => Err("say what to do: `run` or `join`".into()),
        _ => Err(format!("{words:?} is not a command; there are `run` and `join [URL [TOKEN]]`").into()),
    }
}

fn give(flags: &mut Flags, key: &'static str, value: String) {
    flags.fragment.values.insert(key, Given { value, origin: Origin::CommandLine });
}

fn help() -> String {
    let mut text = "\
Runs what the controller assigned to this device, and reports.

Usage: bellwether-agent run [FLAGS]
       bellwether-agent join URL [TOKEN] [FLAGS]   enroll with another controller; the old identity is kept aside

Flags; each is also a key of the configuration file and a variable BELLWETHER_AGENT_…:
"
    .to_owned();
    for (key, meaning) in KEYS {
        let flag = format!("--{} VALUE", key.replace('_', "-"));
        text.push_str(&format!("  {flag:<30} {meaning}\n"));
    }
    text.push_str("  --attribute KEY=VALUE          a fact that the device states of itself; can be repeated\n");
    text.push_str("  --config FILE                  configuration file; /etc/bellwether/agent.json if it is there\n");
    text.push_str("  --version, --help\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let answer = match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Command::Print(text)) => text,
            Ok(Command::Run(flags)) => format!("run {}", show(&flags)),
            Ok(Command::Join(flags)) => format!("join {}", show(&flags)),
            Err(error) => error.to_string(),
        };
        assert_eq!(answer.trim(), expected);
    }

    fn show(flags: &Flags) -> String {
        let Fragment { values, attributes } = &flags.fragment;
        let values = values.iter().map(|(key, given)| format!("{key}={}", given.value));
        values.chain(attributes.iter().map(|(name, value)| format!("+{name}={value}"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn flags_become_settings() {
        check("run --state-dir /tmp/a --engine=simulated", "run engine=simulated state_dir=/tmp/a");
        check("run --attribute site=zurich --attribute a=b=c", "run +a=b=c +site=zurich");
        check("join https://a:8443 bwt1_x", "join server=https://a:8443 token=bwt1_x");
        check("--version", concat!("bellwether-agent ", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        check("", "say what to do: `run` or `join`");
        check("walk", r#"["walk"] is not a command; there are `run` and `join [URL [TOKEN]]`"#);
        check("run --speed 3", "invalid option '--speed'");
        check("run --attribute site", "an attribute is written KEY=VALUE");
    }
}
