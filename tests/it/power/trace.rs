//! What a process asked the file system for, in order, as `strace -f -y -xx` tells it.
//!
//! Every call that changes files is either understood or ends the test: a model that overlooks a write would prove nothing.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The system calls that are traced: whatever names a file or a descriptor.
pub const CALLS: &str = "trace=%file,%desc";

/// Calls that change nothing that a power cut could take back, whatever they are used on.
const HARMLESS: &[&str] = &[
    "ppoll",
    "fchown",
    "chown",
    "access",
    "chdir",
    "chmod",
    "close",
    "connect",
    "dup",
    "epoll_",
    "eventfd",
    "execve",
    "faccessat",
    "fadvise64",
    "fchmod",
    "fcntl",
    "flock",
    "fstat",
    "getcwd",
    "getdents",
    "getrandom",
    "ioctl",
    "lseek",
    "lstat",
    "mmap",
    "newfstatat",
    "pipe",
    "poll",
    "pread",
    "read",
    "readlink",
    "recv",
    "socket",
    "stat",
    "statfs",
    "statx",
    "utimensat",
    "inotify_",
    "bind",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "shutdown",
    "fstatfs",
    "timerfd_",
    "signalfd",
    "pidfd_",
];

/// A change of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A directory was made.
    MakeDirectory(PathBuf),
    /// A file was opened, and made or emptied by that.
    Open { path: PathBuf, emptied: bool },
    /// Bytes were written at the end.
    Append(PathBuf, Vec<u8>),
    /// A file was cut or stretched to this length.
    SetLength(PathBuf, u64),
    /// A file or a directory was waited for.
    Sync(PathBuf),
    /// A name was given up for another.
    Rename(PathBuf, PathBuf),
    /// A name was given up.
    Remove(PathBuf),
}

/// The changes within a directory, in the order in which they were done.
pub fn changes(trace: &str, within: &Path) -> Vec<Change> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all = Vec::new();
    for line in trace.lines() {
        let (process, rest) = line.split_once(' ').unwrap_or_default();
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start);
            continue;
        }
        let call = match rest.strip_prefix("<... ").and_then(|resumed| resumed.split_once(" resumed>")) {
            Some((_, end)) => format!("{}{end}", begun.remove(process).unwrap_or_default()),
            None => rest.to_owned(),
        };
        all.extend(change(&call).into_iter().filter(|change| place(change).starts_with(within)));
    }
    all
}

fn place(change: &Change) -> &Path {
    match change {
        Change::MakeDirectory(path)
        | Change::Open { path, .. }
        | Change::Append(path, _)
        | Change::SetLength(path, _)
        | Change::Sync(path)
        | Change::Rename(_, path)
        | Change::Remove(path) => path,
    }
}

/// What one call changed; `None` if nothing, or if it failed.
fn change(call: &str) -> Option<Change> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let paths = paths(arguments);
    let path = |number: usize| paths.get(number).cloned().unwrap_or_else(|| panic!("no path in {call}"));
    match name {
        "openat" | "open" => {
            let emptied = arguments.contains("O_TRUNC");
            let changes = emptied || arguments.contains("O_CREAT");
            changes.then(|| Change::Open { path: path(0), emptied })
        }
        "write" => Some(Change::Append(descriptor(arguments)?, bytes(arguments)?)),
        "ftruncate" => {
            let length = arguments.trim_end_matches(')').rsplit(", ").next().and_then(|length| length.parse().ok());
            Some(Change::SetLength(descriptor(arguments)?, length.expect("a length")))
        }
        "fsync" | "fdatasync" => Some(Change::Sync(descriptor(arguments)?)),
        "rename" | "renameat" | "renameat2" => Some(Change::Rename(path(0), path(1))),
        "unlink" | "unlinkat" | "rmdir" => Some(Change::Remove(path(0))),
        "mkdir" | "mkdirat" => Some(Change::MakeDirectory(path(0))),
        // Sockets have names in brackets that are no paths.
        "writev" | "sendto" | "sendmsg" | "sendmmsg" => {
            assert!(descriptor(arguments).is_none_or(|path| !path.is_absolute()), "not understood: {call}");
            None
        }
        other => {
            assert!(HARMLESS.iter().any(|known| other.starts_with(known)), "not understood: {call}");
            None
        }
    }
}

/// The paths that are named by text, those relative to a descriptor made whole.
fn paths(arguments: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut from = PathBuf::new();
    let mut rest = arguments;
    while let Some(at) = rest.find(['<', '"']) {
        let end = if rest.as_bytes()[at] == b'<' { '>' } else { '"' };
        let (text, after) = rest[at + 1..].split_once(end).unwrap_or_default();
        let named = PathBuf::from(std::ffi::OsString::from_vec(unhex(text)));
        if end == '>' {
            from = named;
        } else {
            all.push(from.join(named));
        }
        rest = after;
    }
    all
}

/// What the first descriptor stands for.
fn descriptor(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(unhex(rest.split_once('>')?.0)));
    path.is_absolute().then_some(path)
}

fn bytes(arguments: &str) -> Option<Vec<u8>> {
    let (_, rest) = arguments.split_once('"')?;
    let (text, rest) = rest.split_once('"')?;
    assert!(!rest.starts_with("..."), "the trace has cut what was written");
    Some(unhex(text))
}

/// The bytes of `\x41\x42`.
fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).expect("two digits")).collect()
}
