//! The command line of `bellwether-agent`.

use super::commands;
use super::settings::{Fragment, Given, KEYS, Origin, key};
use super::{Containers, Memory};
use crate::domain::device::locks::UnknownScope;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run until asked to stop.
    Run(Flags),
    /// Enroll with another controller, keep the old identity aside, and end.
    Join(Flags),
    /// Leave the fleet, and end.
    Leave(Flags, Containers, Memory),
    /// Ask the running agent, and end.
    Ask(Flags, commands::Command),
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
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Print(help())),
            Long("version") | Short('V') => {
                return Ok(Command::Print(concat!("bellwether-agent ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
            }
            Short('o') => options.give("output", parser.value()?.string()?),
            Short('n') => options.give("lines", parser.value()?.string()?),
            Long(name @ ("output" | "lines")) => {
                let name = if name == "output" { "output" } else { "lines" };
                options.give(name, parser.value()?.string()?);
            }
            Long(name @ ("owner" | "reason" | "scope")) => {
                let name = match name {
                    "owner" => "owner",
                    "reason" => "reason",
                    _ => "scope",
                };
                options.give(name, parser.value()?.string()?);
            }
            Long(name @ ("yes" | "remove" | "forget")) => {
                let name = match name {
                    "yes" => "yes",
                    "remove" => "remove",
                    _ => "forget",
                };
                options.give(name, String::new());
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
    let command = match words.as_slice() {
        ["run"] => Ok(Command::Run(flags)),
        ["status"] => Ok(Command::Ask(flags, commands::Command::Status(options.take("output")?.unwrap_or_default()))),
        ["leave"] => {
            let containers = if options.has("remove") { Containers::Remove } else { Containers::Keep };
            let memory = if options.has("forget") { Memory::Delete } else { Memory::SetAside };
            options.must_have_yes("nobody will manage this device any more")?;
            Ok(Command::Leave(flags, containers, memory))
        }
        ["purge", volume] => {
            let volume = volume.parse().map_err(|error| format!("{error}"))?;
            options.must_have_yes("the volume's data will be gone for good")?;
            Ok(Command::Ask(flags, commands::Command::Purge(volume)))
        }
        ["lock", "list"] => {
            Ok(Command::Ask(flags, commands::Command::Locks(options.take("output")?.unwrap_or_default())))
        }
        ["lock", "take", service @ ..] if service.len() <= 1 => {
            Ok(Command::Ask(flags, commands::Command::Take(options.lock(service)?)))
        }
        ["lock", "release", service @ ..] if service.len() <= 1 => {
            Ok(Command::Ask(flags, commands::Command::Release(options.lock(service)?)))
        }
        ["lock", ..] => Err("write `lock list`, `lock take [APP/SERVICE]` or `lock release [APP/SERVICE]`".into()),
        ["check"] => Ok(Command::Ask(flags, commands::Command::Check)),
        ["logs", service] => {
            let service = service.parse().map_err(|error| format!("{error}"))?;
            Ok(Command::Ask(flags, commands::Command::Logs { service, lines: options.take("lines")? }))
        }
        ["join", rest @ ..] if rest.len() <= 2 => {
            for (key, word) in ["server", "token"].into_iter().zip(rest) {
                give(&mut flags, key, (*word).to_owned());
            }
            Ok(Command::Join(flags))
        }
        [] => Err("say what to do: `run`, `join`, `leave`, `status`, `check`, `lock`, `logs` or `purge`".into()),
        ["logs", ..] => Err("write `logs SERVICE` or `logs APP/SERVICE`".into()),
        ["purge", ..] => Err("write `purge APP/VOLUME`".into()),
        _ => Err(format!(
            "`{}` is not a command; there are `run`, `join`, `leave`, `status`, `check`, `lock`, `logs` and `purge`",
            words.join(" ")
        )
        .into()),
    };
    // An option that the command does not have must not pass for one that it heeds.
    match options.0.into_keys().next() {
        Some(name) if command.is_ok() => Err(format!("`{}` has no option --{name}", words.join(" ")).into()),
        Some(_) | None => command,
    }
}

/// What belongs to one command and is no setting.
#[derive(Default)]
struct Options(BTreeMap<&'static str, String>);

impl Options {
    fn give(&mut self, name: &'static str, value: String) {
        self.0.insert(name, value);
    }

    fn lock(&mut self, service: &[&str]) -> Result<commands::LockAsked, lexopt::Error> {
        let service = service.first().map(|text| text.parse().map_err(|error| format!("{error}"))).transpose()?;
        let scopes = |text: String| text.split(',').map(str::parse).collect::<Result<_, UnknownScope>>();
        let scope = self.0.remove("scope").map(scopes).transpose().map_err(|error| format!("--scope: {error}"))?;
        Ok(commands::LockAsked { service, owner: self.0.remove("owner"), reason: self.0.remove("reason"), scope })
    }

    fn has(&mut self, name: &'static str) -> bool {
        self.0.remove(name).is_some()
    }

    /// There may be nobody at a terminal to ask.
    fn must_have_yes(&mut self, what: &str) -> Result<(), lexopt::Error> {
        if self.has("yes") { Ok(()) } else { Err(format!("{what}: say --yes if this is meant").into()) }
    }

    fn take<T>(&mut self, name: &'static str) -> Result<Option<T>, lexopt::Error>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let parse = |text: String| text.parse().map_err(|error: T::Err| format!("--{name}: {error}"));
        Ok(self.0.remove(name).map(parse).transpose()?)
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

On the device, of the agent that runs there:
       bellwether-agent status [-o table|json]     what is assigned, what runs, and what is wrong
       bellwether-agent check                      look at the device and ask the controller for news, now
       bellwether-agent lock list [-o table|json]  the update locks that are held
       bellwether-agent lock take [[APP/]SERVICE] [--owner WHO] [--reason WHY] [--scope service,download,reboot]
       bellwether-agent lock release [[APP/]SERVICE] [--owner WHO]     without a service, the device's own lock
       bellwether-agent logs [APP/]SERVICE [-n N]  the newest lines that a service wrote, 100 unless told otherwise
       bellwether-agent purge APP/VOLUME --yes     remove a volume with its data; what uses it starts with an empty one

While the agent does not run:
       bellwether-agent leave --yes [--remove] [--forget]   manage this device no more: containers keep running unless
                                                   told to remove them, volumes stay, the identity is set aside or forgotten

Status: 0 done, 1 it could not be done, 2 the command line is wrong.

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
            Ok(Command::Leave(flags, containers, memory)) => {
                format!("leave {containers:?} {memory:?} {}", show(&flags))
            }
            Ok(Command::Ask(flags, command)) => format!("{command:?} {}", show(&flags)),
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
        check("status -o json --state-dir /a", "Status(Json) state_dir=/a");
        check(
            "logs web/nav -n 5",
            r#"Logs { service: ServicePath { app: Some("web"), service: "nav" }, lines: Some(5) }"#,
        );
        check("--version", concat!("bellwether-agent ", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        check("", "say what to do: `run`, `join`, `leave`, `status`, `check`, `lock`, `logs` or `purge`");
        check(
            "walk",
            "`walk` is not a command; there are `run`, `join`, `leave`, `status`, `check`, `lock`, `logs` and `purge`",
        );
        check("purge", "write `purge APP/VOLUME`");
        check("logs", "write `logs SERVICE` or `logs APP/SERVICE`");
        check("logs a/b/c", r#""a/b/c" is not a service: write SERVICE or APP/SERVICE"#);
        check("logs nav -n many", "--lines: invalid digit found in string");
        check("status -o yaml", r#"--output: "yaml" is neither table nor json"#);
        check("leave", "nobody will manage this device any more: say --yes if this is meant");
        check("purge web/cache", "the volume's data will be gone for good: say --yes if this is meant");
        check("purge cache --yes", r#""cache" is not a volume: write APP/VOLUME"#);
        check("lock", "write `lock list`, `lock take [APP/SERVICE]` or `lock release [APP/SERVICE]`");
        check("lock take nav --scope all", r#"--scope: "all" is none of service, download and reboot"#);
        check("lock list --owner me", "`lock list` has no option --owner");
        check("leave --yes --remove", "leave Remove SetAside");
        check("leave --yes --forget", "leave Keep Delete");
        check("check -n 3", "`check` has no option --lines");
        check("run --speed 3", "invalid option '--speed'");
        check("run --attribute site", "an attribute is written KEY=VALUE");
    }
}
