//! A remote behind https or ssh, asked by the installed `git`.
//!
//! Everything that `git` would otherwise look up is said here: no configuration of this machine or of a person, no hooks, no
//! helpers, no prompts, one protocol. What it reads from the remote is never believed to be sound: a branch's commit counts once
//! libgit2 has found it in the mirror.

use super::{NetworkUrl, RemoteError, Transport};
use crate::domain::ids::StageName;
use crate::git::access::{Access, DEFAULT_USER};
use crate::git::program::{Bounds, Program, ProgramError, Stop};
use crate::git::{Tips, upkeep};
use git2::{Oid, Repository};
use std::path::Path;

/// Where a fetch puts the branches before they are looked at.
const INCOMING: &str = "refs/bellwether/incoming/";
/// How long the list of a remote's branches may be, in bytes: a hundred thousand branches with long names.
const MAX_LIST_BYTES: usize = 16 << 20;
/// A transfer slower than this many bytes per second …
const LOW_SPEED_BYTES: &str = "500";
/// … for this many seconds is given up.
const LOW_SPEED_SECS: &str = "60";

/// A remote behind a network.
pub(in crate::git) struct Network<'a> {
    url: &'a NetworkUrl,
    access: &'a Access,
    mirror: &'a Path,
    stop: &'a Stop,
    settings: Vec<(String, String)>,
    secrets: Vec<String>,
    ssh: Option<String>,
}

impl<'a> Network<'a> {
    pub(super) fn new(
        url: &'a NetworkUrl,
        access: &'a Access,
        mirror: &'a Path,
        stop: &'a Stop,
    ) -> Result<Self, RemoteError> {
        let mut this = Self { url, access, mirror, stop, settings: Vec::new(), secrets: Vec::new(), ssh: None };
        match url.transport() {
            Transport::Https | Transport::Http => this.prepare_http()?,
            Transport::Ssh => this.ssh = Some(access.ssh_command()?),
        }
        Ok(this)
    }

    fn prepare_http(&mut self) -> Result<(), RemoteError> {
        let mut set = |name: &str, value: String| self.settings.push((name.to_owned(), value));
        // A redirect to another host must not take the token along, and one on the same host is better written down.
        set("http.followRedirects", "false".to_owned());
        set("http.sslVerify", "true".to_owned());
        set("http.lowSpeedLimit", LOW_SPEED_BYTES.to_owned());
        set("http.lowSpeedTime", LOW_SPEED_SECS.to_owned());
        if let Some(path) = &self.access.ca_file {
            set("http.sslCAInfo", path.display().to_string());
        }
        if let Some(token) = &self.access.token {
            let secret = token.secret()?;
            let user = self.access.user.as_deref().unwrap_or(DEFAULT_USER);
            // In the environment of the process, which nobody else can read; not among its arguments, which everybody can, and
            // not in a file, which a crash would leave behind. It is bound to this host.
            set(
                &format!("http.{}/.extraHeader", self.url.origin()),
                format!("Authorization: {}", secret.authorization(user)),
            );
            self.secrets = secret.forms(user);
        }
        Ok(())
    }

    fn git(&self) -> Program {
        let program = upkeep::git(self.mirror, &self.settings)
            .env("GIT_ALLOW_PROTOCOL", self.url.protocol())
            .hiding(self.secrets.iter().cloned());
        match &self.ssh {
            Some(command) => program.env("GIT_SSH_COMMAND", command).env("GIT_SSH_VARIANT", "ssh"),
            None => program,
        }
    }

    fn run(&self, attempted: &'static str, program: Program, answer_bytes: usize) -> Result<Vec<u8>, RemoteError> {
        let bounds = Bounds { wall: self.access.timeout, answer_bytes };
        program.run(bounds, self.stop).map_err(|source| self.failed(attempted, source))
    }

    fn failed(&self, attempted: &'static str, source: ProgramError) -> RemoteError {
        RemoteError::Program { url: self.url.text().to_owned(), attempted, source }
    }

    pub(super) fn heads(&self, stages: &[StageName]) -> Result<Tips, RemoteError> {
        let arguments = ["ls-remote", "--quiet", "--heads", "--end-of-options", self.url.text()];
        let listed = self.run("asked", self.git().args(arguments), MAX_LIST_BYTES)?;
        let unintelligible = || RemoteError::Unintelligible(self.url.text().to_owned());
        let listed = std::str::from_utf8(&listed).map_err(|_| unintelligible())?;
        let mut heads = Tips::new();
        let mut branches = 0;
        for line in listed.lines() {
            let (id, name) = line.split_once('\t').ok_or_else(unintelligible)?;
            let Some(branch) = name.strip_prefix("refs/heads/") else { continue };
            branches += 1;
            if let Some(stage) = stages.iter().find(|stage| stage.as_str() == branch) {
                // Abbreviated ids are ids to libgit2.
                let id = Oid::from_str(id).ok().filter(|_| id.len() == 40).ok_or_else(unintelligible)?;
                heads.insert(stage.clone(), id);
            }
        }
        if branches == 0 { Err(RemoteError::ShowsNoBranches(self.url.text().to_owned())) } else { Ok(heads) }
    }

    pub(super) fn bring(&self, mirror: &Repository, wanted: &Tips, known: &Tips) -> Result<Tips, RemoteError> {
        // A fetch that was killed may have left locks, and what it brought.
        upkeep::sweep(self.mirror);
        forget_incoming(mirror).map_err(RemoteError::Copy)?;
        let moved: Vec<&StageName> =
            wanted.iter().filter(|(stage, id)| known.get(*stage) != Some(id)).map(|(stage, _)| stage).collect();
        let mut heads = wanted.clone();
        if !moved.is_empty() {
            self.fetch(&moved)?;
            for stage in moved {
                let failed = |source| RemoteError::Branch { branch: stage.clone(), source };
                let reference = mirror.find_reference(&format!("{INCOMING}{stage}")).map_err(failed)?;
                heads.insert(stage.clone(), reference.peel_to_commit().map_err(failed)?.id());
            }
            forget_incoming(mirror).map_err(RemoteError::Copy)?;
        }
        Ok(heads)
    }

    /// The whole history of these branches: whether a branch was rewritten, and who changed a line, cannot be told without.
    fn fetch(&self, stages: &[&StageName]) -> Result<(), RemoteError> {
        let options = [
            "fetch",
            "--progress",
            "--no-tags",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-show-forced-updates",
            "--no-write-commit-graph",
            "--refmap=",
            "--end-of-options",
            self.url.text(),
        ];
        let refspecs = stages.iter().map(|stage| format!("+refs/heads/{stage}:{INCOMING}{stage}"));
        let program = self.git().args(options).args(refspecs);
        self.run("fetched from", program, 0).map(|_| ())
    }
}

fn forget_incoming(mirror: &Repository) -> Result<(), git2::Error> {
    for reference in mirror.references_glob(&format!("{INCOMING}*"))? {
        reference?.delete()?;
    }
    Ok(())
}
