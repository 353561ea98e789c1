//! Keeping the mirror in order: what a killed program left behind is swept away, and many small packs become few.

use super::program::{Bounds, Program, ProgramError, Stop};
use std::path::Path;
use std::time::Duration;

/// How many packs the mirror may have before they are put together. Each fetch makes one, and each slows down every look for an
/// object; Git itself draws the line here.
pub(super) const MAX_PACKS: usize = 50;
/// How many objects the mirror may have outside packs. Each is a file, and the folders of a large fleet are megabytes each time.
pub(super) const MAX_LOOSE: usize = 400;
/// How long putting packs together may take. It can be given up at any moment and tried again.
const WALL: Duration = Duration::from_secs(600);

/// What holds for every call of `git`: it works on the mirror, runs nothing by itself, asks nobody and uses little memory.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    // One pack for each fetch, however small: thousands of loose objects are slower to read and to tidy.
    ("fetch.unpackLimit", "1"),
    // Each object is compared with its id in any case, and what is read is checked by those who read it. Git's own opinion about
    // form would let one odd commit of one branch keep all stages from being fetched.
    ("transfer.fsckObjects", "false"),
    ("transfer.credentialsInUrl", "die"),
    ("transfer.bundleURI", "false"),
    ("protocol.version", "2"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    ("core.bigFileThreshold", "16m"),
];

/// `git` on the mirror in this folder, with these settings besides its usual ones and nobody else's.
pub(super) fn git(mirror: &Path, settings: &[(String, String)]) -> Program {
    let own = [("safe.directory".to_owned(), mirror.display().to_string())];
    let usual = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let all: Vec<(String, String)> = usual.chain(own).chain(settings.iter().cloned()).collect();
    let mut program = Program::new("git", mirror)
        .env("GIT_DIR", mirror)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ADVICE", "0")
        .env("GIT_CONFIG_COUNT", all.len().to_string());
    for (number, (name, value)) in all.into_iter().enumerate() {
        program =
            program.env(&format!("GIT_CONFIG_KEY_{number}"), name).env(&format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    program
}

/// Removes what a killed program left: locks, which would keep the next one from working for ever, and half-written packs. Only
/// called when no program works on the mirror, which is ours alone. What cannot be removed is in nobody's way, or will be told by
/// whom it is.
pub(super) fn sweep(mirror: &Path) {
    sweep_files(mirror, Depth::Here, &|name| name.ends_with(".lock") || name == "gc.pid");
    sweep_files(&mirror.join("refs"), Depth::Below(super::MAX_DEPTH), &|name| name.ends_with(".lock"));
    let half_written = |name: &str| {
        name.starts_with("tmp_") || name.starts_with(".tmp-") || name.ends_with(".keep") || name.ends_with(".lock")
    };
    sweep_files(&mirror.join("objects/pack"), Depth::Here, &half_written);
    sweep_files(&mirror.join("objects/info"), Depth::Here, &|name| name.ends_with(".lock"));
}

#[derive(Clone, Copy)]
enum Depth {
    Here,
    Below(usize),
}

fn sweep_files(folder: &Path, depth: Depth, unwanted: &dyn Fn(&str) -> bool) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match depth {
            Depth::Below(more) if is_folder && more > 0 => {
                sweep_files(&entry.path(), Depth::Below(more - 1), unwanted);
            }
            _ if !is_folder && entry.file_name().to_str().is_some_and(unwanted) => {
                let _ = std::fs::remove_file(entry.path());
            }
            _ => {}
        }
    }
}

/// How many packs the mirror has.
pub(super) fn packs(mirror: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(mirror.join("objects/pack")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count()
}

/// How many objects the mirror has outside packs.
pub(super) fn loose(mirror: &Path) -> usize {
    // Git spreads them over folders that are named by the first two digits of their ids.
    let folders = (0..=u8::MAX).map(|first| mirror.join(format!("objects/{first:02x}")));
    folders.filter_map(|folder| std::fs::read_dir(folder).ok()).map(Iterator::count).sum()
}

/// Puts small packs and loose objects together. Objects that no branch leads to any more stay: a commit that a stage last accepted must stay readable
/// after a forced push.
pub(super) fn compact(mirror: &Path, stop: &Stop) -> Result<(), ProgramError> {
    let arguments = ["repack", "--geometric=2", "-d", "-q", "--no-write-bitmap-index"];
    git(mirror, &[]).args(arguments).run(Bounds { wall: WALL, answer_bytes: 64 << 10 }, stop).map(|_| ())
}
