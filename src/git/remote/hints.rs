//! What a person can do about a fetch that failed, from what `git` and `ssh` say in English.

use crate::git::program::ProgramError;

/// Words of a complaint, and what to do about it. The first that fits is told.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["Host key verification failed", "host key is known for", "REMOTE HOST IDENTIFICATION HAS CHANGED"],
        "the host's key is not the one in `git: {known_hosts_file: …}`; compare its fingerprint with what the host's operator \
         publishes before you write it there",
    ),
    (&["UNPROTECTED PRIVATE KEY FILE", "bad permissions"], "let only the controller's user read the key: chmod 600"),
    (
        &["Permission denied (", "Too many authentication failures", "Identity file", "error in libcrypto"],
        "the host does not take the key of `git: {ssh_key_file: …}`; is it registered there with read access, and without a \
         passphrase?",
    ),
    (
        &["cannot run ssh", "ssh: not found", "ssh: command not found", "'ssh': No such file"],
        "install an OpenSSH client",
    ),
    (
        &["terminal prompts disabled", "Authentication failed", "error: 401", "error: 403", "Invalid username or"],
        "the remote wants other credentials: look at `git: {user: …, token_file: …}`, and whether the token may read this \
         repository",
    ),
    (
        &["certificate", "SSL", "TLS"],
        "the remote's certificate is not trusted: name its authority with `git: {ca_file: …}`",
    ),
    (
        &["update url base from redirection", "redirect", "error: 301", "error: 302", "error: 307", "error: 308"],
        "redirects are not followed, so that no token goes astray; write the address that the remote redirects to",
    ),
    (
        &["not valid: is this a git repository", "invalid server response", "bad line length", "protocol error"],
        "what answers is no Git server; a login page or a maintenance page, perhaps",
    ),
    (
        &["not found", "does not appear to be a git repository", "error: 404"],
        "is the address right, and may we read it?",
    ),
];

/// The hint as it follows the complaint; empty if nobody knows one.
pub(super) fn hint(error: &ProgramError) -> String {
    let hint = match error {
        ProgramError::NotInstalled("git") => {
            "fetching over https and ssh needs Git: install it, or take a path as `repo`"
        }
        ProgramError::TookTooLong { .. } => {
            "a first fetch can be long: raise `git: {timeout_secs: …}` if the remote is only slow"
        }
        ProgramError::NotInstalled(_)
        | ProgramError::NotStarted { .. }
        | ProgramError::SaidTooMuch { .. }
        | ProgramError::Stopped => return String::new(),
        ProgramError::Failed { said, .. } => {
            let fits = |words: &[&str]| words.iter().any(|word| said.contains(word));
            match HINTS.iter().find(|(words, _)| fits(words)) {
                Some((_, hint)) => hint,
                None => return String::new(),
            }
        }
    };
    format!(" (hint: {hint})")
}
