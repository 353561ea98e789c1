//! Scenarios: what people type and what they see, in virtual time.
//!
//! `tests/scenarios/*.txt` are transcripts. Lines that begin with `$` are typed; what follows them is what is shown, by the command
//! line's own rendering. The controller's passes and acts, and the devices' machines, are those of the daemon and the agent; there is
//! a clock that is moved, and no network. Besides commands there are
//!
//! - `# …`: a remark,
//! - `--- PATH`: a file of the fleet repo, up to the next line `---`,
//! - `> 30m`: time passes,
//! - `! …`: something happens to devices (see [`world::World::happen`]).
//!
//! The whole transcript is made again and compared. `BELLWETHER_SCENARIOS=write cargo test --all-features --test sim scenarios`
//! writes what was seen; read the difference before committing it.

mod commands;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use world::World;

/// Lines of a script that somebody types, or that happen; what is seen is not among them.
enum Line<'a> {
    Remark(&'a str),
    File { path: &'a str, lines: Vec<&'a str> },
    Time(&'a str),
    Happens(&'a str),
    Typed(&'a str),
}

fn lines(script: &str) -> Vec<Line<'_>> {
    let mut read = Vec::new();
    let mut all = script.lines();
    while let Some(line) = all.next() {
        if let Some(path) = line.strip_prefix("--- ") {
            let lines = all.by_ref().take_while(|line| *line != "---").collect();
            read.push(Line::File { path, lines });
        } else if let Some(span) = line.strip_prefix("> ") {
            read.push(Line::Time(span));
        } else if let Some(what) = line.strip_prefix("! ") {
            read.push(Line::Happens(what));
        } else if let Some(typed) = line.strip_prefix("$ ") {
            read.push(Line::Typed(typed));
        } else if line.starts_with('#') {
            read.push(Line::Remark(line));
        }
    }
    read
}

/// Plays a script, and writes down what is typed, what happens, and what is seen.
fn played(script: &str) -> String {
    let mut world = World::new();
    let mut text = String::new();
    for line in lines(script) {
        if !text.is_empty() && !matches!(line, Line::Time(_) | Line::Happens(_)) {
            text.push('\n');
        }
        match line {
            Line::Remark(remark) => _ = write!(text, "{remark}"),
            Line::File { path, lines } => {
                world.files.insert(path.to_owned(), lines.iter().map(|line| format!("{line}\n")).collect());
                _ = write!(text, "--- {path}\n{}\n---", lines.join("\n"));
            }
            Line::Time(span) => {
                world.wait(bellwether::cli::span::parse_secs(span).unwrap_or_else(|error| panic!("> {span}: {error}")));
                _ = write!(text, "> {span}");
            }
            Line::Happens(what) => {
                world.happen(what);
                _ = write!(text, "! {what}");
            }
            Line::Typed(typed) => {
                let seen = commands::run(&mut world, typed);
                _ = write!(text, "$ {typed}\n{seen}");
                if seen.is_empty() {
                    text.pop();
                }
            }
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test has no configuration, and its scripts are files of the project")]
fn scenarios_are_played_word_for_word() {
    let write = std::env::var("BELLWETHER_SCENARIOS").is_ok_and(|value| value == "write");
    let entries = std::fs::read_dir(folder()).expect("the folder of scenarios");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are no scenarios");
    for path in paths {
        let script = std::fs::read_to_string(&path).expect("a script");
        let seen = played(&script);
        if write {
            std::fs::write(&path, &seen).expect("a script can be written");
        } else if let Some(difference) = difference(&script, &seen) {
            let hint = "BELLWETHER_SCENARIOS=write writes what is seen";
            panic!("{}: {difference}\n  {hint}\n\nthe whole of it:\n{seen}", path.display());
        }
    }
}

/// The first line that differs.
fn difference(script: &str, seen: &str) -> Option<String> {
    let (mut wanted, mut found) = (script.lines(), seen.lines());
    for number in 1.. {
        match (wanted.next(), found.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => {
                let shown = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return Some(format!("line {number}\n  expected: {}\n  seen:     {}", shown(one), shown(other)));
            }
        }
    }
    None
}
