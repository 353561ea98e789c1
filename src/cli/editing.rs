//! Writing what a command has changed in a fleet repo: the work tree is shown the diff first, and nothing is ever committed.

mod mr;

pub use mr::{MrArgs, Proposal, propose};

use super::console::{Console, Outcome};
use super::fault::{Hint as _, usage, with_hint};
use super::forge::ForgeArgs;
use super::lists::{self, ListArgs};
use super::render::udiff;
use super::{Output, local};
use crate::domain::desired::Resolver;
use crate::domain::edits::{Desk, FileChange, ProposeError};
use crate::domain::manifest::edit::EditError;
use crate::domain::snapshot::{Entry, Snapshot};
use crate::git::{open_clone, read_worktree};
use anyhow::{Context as _, anyhow};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The longest answer to a question, in bytes.
const MAX_REPLY_BYTES: u64 = 64;

/// Flags of commands that change files of a fleet repo.
#[derive(Clone, Debug, clap::Args)]
pub struct EditArgs {
    /// The folder of the fleet repo, with its files
    #[arg(long, visible_alias = "dir", value_name = "PATH", default_value = ".")]
    pub repo: PathBuf,
    /// Where the devices are listed that the change is judged by.
    #[command(flatten)]
    pub list: ListArgs,
    /// Show the diff and write nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Write without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Whether it goes to a merge request.
    #[command(flatten)]
    pub mr: MrArgs,
    /// Where that is opened.
    #[command(flatten)]
    pub forge: ForgeArgs,
}

/// A fleet repo whose files can be changed.
pub struct WorkTree {
    root: PathBuf,
    /// Its files as they are on disk.
    pub snapshot: Snapshot,
}

/// What a command did to files, for programs.
#[derive(Debug, Serialize)]
struct EditView<'a> {
    /// Whether the files were written.
    written: bool,
    /// What was done on the forge.
    #[serde(skip_serializing_if = "Option::is_none")]
    merge_request: Option<&'a str>,
    /// One sentence each.
    notes: &'a [String],
    files: Vec<FileView<'a>>,
}

#[derive(Debug, Serialize)]
struct FileView<'a> {
    path: &'a str,
    is_new: bool,
    patch: String,
}

fn view(file: &FileChange) -> FileView<'_> {
    let FileChange { path, before, after } = file;
    FileView { path, is_new: before.is_none(), patch: udiff::patch(path, before.as_deref(), after).text }
}

impl WorkTree {
    /// Reads the files of a fleet repo. A bare repository has none that could be changed.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Err(anyhow!("there is nothing at {}", path.display()))
                .hint("name the folder of the fleet repo with `--repo`");
        }
        let clone = open_clone(path).ok();
        if clone.as_ref().is_some_and(|clone| clone.work_tree().is_none()) {
            let error = anyhow!("{} is a bare repository: it has no files to change", path.display());
            return Err(with_hint(error, "clone it, and change the clone"));
        }
        let root = local::root_of(path, clone.as_ref());
        if !root.join("inventory.yml").exists() && !root.join("fleet.yml").exists() {
            let error = anyhow!("{} is no fleet repo: it has neither inventory.yml nor fleet.yml", root.display());
            return Err(with_hint(error, "name the folder of the fleet repo with `--repo`"));
        }
        let snapshot = read_worktree(&root).with_context(|| format!("cannot read {}", root.display()))?;
        Ok(Self { root, snapshot })
    }

    /// A desk to change the files on, with the devices that they are for.
    pub fn desk(&self, list: &ListArgs, resolver: &mut Resolver, console: &Console) -> anyhow::Result<Desk<'_>> {
        let found = lists::find(list, resolver, &self.snapshot, Some(console))?;
        if !found.origin.is_empty() {
            console.note(format!("devices: {}", found.origin));
        }
        Ok(Desk::with_devices(&self.snapshot, found.source))
    }

    /// What was proposed. An edit that would change more than was asked is shown as advice, for somebody to make by hand.
    pub fn proposed<T>(&self, outcome: Result<T, ProposeError>, console: &Console) -> anyhow::Result<T> {
        let error = match outcome {
            Ok(proposed) => return Ok(proposed),
            Err(error) => error,
        };
        let ProposeError::Edit { path, source: EditError::Unfaithful { attempted, .. } } = &error else {
            return Err(error.into());
        };
        let before = match self.snapshot.entries.get(path.as_str()) {
            Some(Entry::File { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
            Some(Entry::Refused(_)) | None => String::new(),
        };
        console.note("the edit would have been:");
        console.note(udiff::painted(&udiff::patch(path, Some(&before), attempted).text));
        Err(with_hint(error.into(), "change it by hand; nothing was written"))
    }

    /// Shows what changed, asks if it may, and writes. `message` is what a commit of it could say.
    pub fn finish(
        &self,
        desk: &Desk<'_>,
        notes: &[String],
        message: &str,
        args: &EditArgs,
        console: &Console,
    ) -> anyhow::Result<Outcome> {
        let files = desk.files();
        let output = edit_output(console)?;
        let is_for_people = matches!(output, Output::Table | Output::Wide | Output::Md);
        if is_for_people {
            for file in &files {
                let patch = udiff::patch(&file.path, file.before.as_deref(), &file.after).text;
                console.print(if console.is_terminal() { udiff::painted(&patch) } else { patch })?;
            }
        }
        notes.iter().for_each(|note| console.note(note));
        let proposed = match args.mr.mr && !args.dry_run && !files.is_empty() {
            true => {
                let proposal = Proposal { files: &files, message, notes };
                Some(propose(self, &proposal, &args.mr, &args.forge, console)?)
            }
            false => None,
        };
        let write = !args.mr.mr && !files.is_empty() && !args.dry_run && self.may_write(&files, args)?;
        if write {
            self.write(&files)?;
        }
        if !is_for_people {
            console.data(
                &EditView {
                    written: write,
                    merge_request: proposed.as_deref(),
                    notes,
                    files: files.iter().map(view).collect(),
                },
                output,
            )?;
        }
        if files.is_empty() {
            console.note("nothing changes: the files say so already");
        } else if let Some(proposed) = &proposed {
            console.note(format!("merge request: {proposed}"));
        } else if write {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let paths = paths.join(" ");
            console.note(format!("wrote {paths}; to commit it:"));
            let folder =
                if self.root == Path::new(".") { String::new() } else { format!(" -C {}", self.root.display()) };
            let message = message.replace('\'', "’");
            console.note(format!("  git{folder} add {paths} && git{folder} commit -m '{message}'"));
        } else {
            console.note("nothing was written");
        }
        Ok(Outcome::Fine)
    }

    fn may_write(&self, files: &[FileChange], args: &EditArgs) -> anyhow::Result<bool> {
        if args.yes {
            return Ok(true);
        }
        let (stdin, stderr) = (std::io::stdin(), std::io::stderr());
        if !stdin.is_terminal() || !stderr.is_terminal() {
            return Err(usage("nobody can be asked here: say `--yes` to write, or `--dry-run` to look"));
        }
        let what = if files.len() == 1 { files[0].path.clone() } else { format!("{} files", files.len()) };
        let mut prompt = anstream::stderr().lock();
        let _ = write!(prompt, "Write {what} in {}? [y/N] ", self.root.display()).and_then(|()| prompt.flush());
        drop(prompt);
        let mut reply = String::new();
        // Until somebody says yes nothing has been touched, so Ctrl-C leaves nothing behind.
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdin.lock().take(MAX_REPLY_BYTES)), &mut reply)
            .context("cannot read the answer")?;
        Ok(matches!(reply.trim(), "y" | "Y" | "yes" | "Yes"))
    }

    /// Writes all files or, if one of them cannot be written, none that is not ready by then.
    fn write(&self, files: &[FileChange]) -> anyhow::Result<()> {
        let mut ready = Vec::new();
        for file in files {
            let target = self.target(file).with_context(|| format!("cannot write {}", file.path))?;
            ready.push((file, target));
        }
        for (file, target) in ready {
            put(&target, file.after.as_bytes()).with_context(|| format!("cannot write {}", file.path))?;
        }
        Ok(())
    }

    /// Where a file goes: inside the root, through no link, and still as it was when the diff was made.
    fn target(&self, file: &FileChange) -> anyhow::Result<PathBuf> {
        let mut target = self.root.clone();
        for part in file.path.split('/') {
            if matches!(part, "" | "." | ".." | ".git") {
                return Err(anyhow!("the path leaves the fleet repo"));
            }
            target.push(part);
            if target.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(anyhow!("{} is a symbolic link", target.display()));
            }
        }
        if content(&target)?.as_deref() != file.before.as_deref().map(str::as_bytes) {
            return Err(anyhow!("the file has changed meanwhile")).hint("run the command again");
        }
        Ok(target)
    }
}

/// The forms in which commands that edit can answer.
pub fn edit_output(console: &Console) -> anyhow::Result<Output> {
    console.output(&[Output::Table, Output::Json, Output::Yaml])
}

/// What a file holds; `None` if there is none. Links are not followed.
fn content(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(anyhow::Error::new(error)),
    };
    let mut bytes = Vec::new();
    file.take(crate::domain::snapshot::MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes a file so that it is there as a whole or not at all. It keeps its rights; a new one gets the usual ones.
fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    /// What other programs give to new files, before the user's mask.
    const USUAL_MODE: u32 = 0o666;
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder)?;
    let mode = std::fs::metadata(path).ok().map(|metadata| metadata.permissions());
    let mut builder = tempfile::Builder::new();
    // A dot at the front: should the machine lose power now, nothing reads what is left.
    let usual = std::fs::Permissions::from_mode(USUAL_MODE);
    let mut file = builder.prefix(".bellwether-").permissions(usual).tempfile_in(folder)?;
    file.write_all(bytes)?;
    if let Some(mode) = mode {
        file.as_file().set_permissions(mode)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
