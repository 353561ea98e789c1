//! Programs of the device that run when something of the host has changed, by the contract of `docs/host.md`.

use crate::agent::os::program::{Program, Run};
use crate::domain::device::action::Failure;
use crate::domain::device::host::{HookEnd, HookFailure};
use crate::domain::ids::HookName;
use crate::domain::spec::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the contract that this agent speaks.
const CONTRACT: u32 = 1;
/// How long a hook may run: a service that restarts in good order, not a download.
const LIMIT: Duration = Duration::from_secs(120);
/// The exit code of a hook after which the device has to reboot.
const REBOOT_REQUIRED: i32 = 10;
/// Write permission for the group and for all.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// The program of a hook, if it may be run.
pub(super) fn program(folder: Option<&Path>, hook: &HookName) -> Result<PathBuf, Failure> {
    let refused = |reason, message| Err(Failure { reason, message });
    let Some(folder) = folder else {
        let message = "this device runs no hooks; set `host_hooks` in its agent's configuration to their directory";
        return refused("NotAllowed", message.to_owned());
    };
    let path = folder.join(hook.as_str());
    let about = match std::fs::symlink_metadata(&path) {
        Ok(about) => about,
        Err(error) => return refused("HookNotThere", format!("{}: {error}", path.display())),
    };
    if !about.is_file() || about.mode() & 0o111 == 0 {
        return refused("HookNotThere", format!("{} is no program", path.display()));
    }
    // Who may write the program decides what the agent does.
    if about.mode() & OTHERS_MAY_WRITE != 0 || (about.uid() != 0 && about.uid() != rustix::process::geteuid().as_raw())
    {
        let message = format!("{} can be changed by others than its owner, or is not root's", path.display());
        return refused("HookNotSafe", message);
    }
    Ok(path)
}

/// Runs a hook.
pub(super) async fn run(
    path: &Path,
    hook: &HookName,
    because: &BTreeSet<Subject>,
    files: Option<&Path>,
) -> Result<HookEnd, HookFailure> {
    let failed = |message: String, log| HookFailure { failure: Failure { reason: "HookFailed", message }, log };
    let changed: Vec<String> = because.iter().map(ToString::to_string).collect();
    let mut environment = BTreeMap::from([
        ("BELLWETHER_HOOK_CONTRACT", OsString::from(CONTRACT.to_string())),
        ("BELLWETHER_HOOK", hook.as_str().into()),
        ("BELLWETHER_CHANGED", changed.join("\n").into()),
    ]);
    environment.extend(files.map(|files| ("BELLWETHER_FILES", files.into())));
    let Some(program) = Program::at(path) else {
        return Err(failed("its path cannot be used".to_owned(), Vec::new()));
    };
    let Run { code, lines } =
        program.run_telling(&["changed"], &environment, LIMIT).await.map_err(|reason| failed(reason, Vec::new()))?;
    match code {
        Some(0) => Ok(HookEnd::Done),
        Some(REBOOT_REQUIRED) => Ok(HookEnd::RebootRequired),
        Some(code) => {
            let last = lines.last().map(|line| format!(": {line}")).unwrap_or_default();
            Err(failed(format!("it ended with {code}{last}"), lines))
        }
        None => Err(failed("it was ended by a signal".to_owned(), lines)),
    }
}
