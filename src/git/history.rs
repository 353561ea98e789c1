//! Work trees with a history, made by the `git` program, for tests. Their commits have the same ids each time.

use std::path::Path;
use std::process::Command;

/// When the history begins, in seconds.
pub const BEGIN_SECS: i64 = 1_790_000_000;

/// A work tree whose commits are a minute apart, each by somebody.
pub struct History {
    folder: tempfile::TempDir,
    commits: i64,
}

impl History {
    /// An empty one.
    pub fn new() -> Self {
        let history = Self { folder: tempfile::tempdir().unwrap(), commits: 0 };
        history.git("nobody", &["init", "-q", "-b", "main", "."]);
        history
    }

    /// Runs the `git` program as somebody.
    pub fn git(&self, author: &str, arguments: &[&str]) {
        let at = format!("{} +0100", BEGIN_SECS + self.commits * 60);
        let output = Command::new("git")
            .args(["-c", &format!("user.name={author}"), "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_DATE", &at)
            .env("GIT_COMMITTER_DATE", &at)
            .output()
            .expect("the tests need git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Writes a file without committing it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits a file as somebody, a minute after the commit before.
    pub fn commit(&mut self, author: &str, path: &str, text: &str) {
        self.later();
        self.write(path, text);
        self.git(author, &["add", "-A"]);
        self.git(author, &["commit", "-qm", path]);
    }

    /// Lets a minute pass.
    pub fn later(&mut self) {
        self.commits += 1;
    }

    /// The work tree.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
