//! A fleet repo for a test: a bare repository to be watched and a clone to edit, made with the real `git`.
//!
//! Authors, dates and configuration are fixed, so the same edits give the same commit ids on every machine.

use super::process::output_of;
use super::run::run;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// When a test's first command was given; each further one is a minute later, so that commits have an order in time.
const FIRST_COMMAND_SECS: u64 = 1_767_225_600; // 2026-01-01T00:00:00Z

/// A bare repository and its work clone.
pub struct FleetRepo {
    bare: PathBuf,
    work: PathBuf,
    minutes: AtomicU64,
}

impl FleetRepo {
    /// An empty repository whose work clone stands on the unborn branch `main`.
    pub fn new(name: &str) -> Self {
        let directory = run().scratch(name);
        let repo = Self { bare: directory.join("fleet.git"), work: directory.join("work"), minutes: AtomicU64::new(0) };
        let bare = repo.bare.display().to_string();
        repo.git_in(&directory, &["init", "--quiet", "--bare", "--initial-branch=main", &bare]);
        repo.git_in(&directory, &["init", "--quiet", "--initial-branch=main", &repo.work.display().to_string()]);
        repo.git(&["remote", "add", "origin", &bare]);
        repo
    }

    /// The remote as a controller is told about it.
    pub fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// The bare repository.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The work clone.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Writes files in the work clone, making their directories.
    pub fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.work.join(path);
            std::fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("make a directory");
            std::fs::write(path, content).expect("write a file of the fleet repo");
        }
    }

    /// Commits these files and everything else that changed in the work clone; the commit's id.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        self.write(files);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.tip("HEAD")
    }

    /// Deletes files and commits that; the commit's id.
    pub fn delete(&self, message: &str, paths: &[&str]) -> String {
        self.git(&[&["rm", "--quiet", "-r", "--"], paths].concat());
        self.commit(message, &[])
    }

    /// Makes `branch` the one to edit, creating it from where the work clone stands.
    pub fn switch(&self, branch: &str) {
        let exists = self.try_git(&["rev-parse", "--quiet", "--verify", &format!("refs/heads/{branch}")]).is_ok();
        let arguments: &[&str] =
            if exists { &["switch", "--quiet", branch] } else { &["switch", "--quiet", "--create", branch] };
        self.git(arguments);
    }

    /// Pushes a branch to the bare repository.
    pub fn push(&self, branch: &str) {
        self.git(&["push", "--quiet", "origin", branch]);
    }

    /// Promotes: merges `from` into `to`, creating `to` at `from` if there is none, and pushes it. Leaves the work clone
    /// on the branch that it was on; the id of `to`'s new tip.
    pub fn merge(&self, from: &str, to: &str) -> String {
        let before = self.git(&["branch", "--show-current"]);
        if self.try_git(&["rev-parse", "--quiet", "--verify", &format!("refs/heads/{to}")]).is_ok() {
            self.git(&["switch", "--quiet", to]);
            self.git(&["merge", "--quiet", "--no-ff", "--message", &format!("Promote {from} to {to}"), from]);
        } else {
            self.git(&["switch", "--quiet", "--create", to, from]);
        }
        self.push(to);
        self.git(&["switch", "--quiet", &before]);
        self.tip(to)
    }

    /// The commit that a name stands for.
    pub fn tip(&self, name: &str) -> String {
        self.git(&["rev-parse", &format!("{name}^{{commit}}")])
    }

    /// What `git` prints for these arguments in the work clone, trimmed. Panics with its error when it fails.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.work, arguments)
    }

    /// As [`FleetRepo::git`], for commands that may fail.
    pub fn try_git(&self, arguments: &[&str]) -> Result<String, String> {
        output_of(self.git_command(&self.work).args(arguments))
    }

    /// As [`FleetRepo::git`], with bytes for its standard input.
    #[track_caller]
    pub fn git_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.git_command(&self.work);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut git = command.spawn().expect("start git");
        git.stdin.take().expect("stdin was piped").write_all(input).expect("git reads its input");
        let output = git.wait_with_output().expect("wait for git");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn git_in(&self, directory: &Path, arguments: &[&str]) -> String {
        output_of(self.git_command(directory).args(arguments)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `git` that knows no configuration but what is said here, and asks nothing.
    fn git_command(&self, directory: &Path) -> Command {
        let minutes = self.minutes.fetch_add(1, Ordering::Relaxed);
        let date = format!("{} +0000", FIRST_COMMAND_SECS + 60 * minutes);
        let mut command = run().command("git");
        command.current_dir(directory);
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_CEILING_DIRECTORIES"] {
            command.env_remove(name);
        }
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@fleet.example")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@fleet.example")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date);
        command
    }
}
