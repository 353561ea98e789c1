//! The settings about Git: the fleet repo's address, how it is reached, and whose signatures count.

use super::fragment::{Given, Hidden, TOKEN_VARIABLE};
use super::settings::{Check, Wrong, number, one_of, path, wrong};
use crate::domain::finding::codes;
use crate::domain::ids::StageName;
use crate::git::access::{Access, fits_ssh};
use crate::git::remote::RemoteUrlError;
use crate::git::secret::{Secret, SecretSource};
use crate::git::signature::Signers;
use crate::git::{RemoteUrl, Transport};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// One fetch: long enough for an answer, short enough that a day does not pass unseen.
const TIMEOUT_SECS: RangeInclusive<u64> = 1..=86_400;
/// The longest name of a user.
const MAX_USER_BYTES: usize = 256;

/// Where `http://` may be fetched from.
#[derive(Clone, Copy, PartialEq)]
enum PlainHttp {
    Refused,
    ThisMachine,
}

impl Check<'_> {
    /// The fleet repo and how it is reached.
    pub(super) fn repo(&mut self) -> (Option<RemoteUrl>, Option<Access>) {
        let repo = self.required("repo", address);
        let access = self.access();
        if let (Some((url, place)), Some(access)) = (&repo, &access) {
            let given = Given { value: String::new(), place: place.clone() };
            self.parse(&given, |_| reachable(url, access));
        }
        if let Some((RemoteUrl::Network(url), place)) = &repo
            && url.transport() == Transport::Http
            && self.plain_http() == Some(PlainHttp::Refused)
        {
            let problem = wrong(codes::BAD_VALUE, "http:// without TLS is refused")
                .hint("use https://; for tests on one machine there is `git: {plain_http: this-machine}`");
            self.tell(place, problem);
        }
        (repo.map(|(url, place)| url.relative_to(&place.folder)), access)
    }

    fn plain_http(&mut self) -> Option<PlainHttp> {
        let choices = [("refused", PlainHttp::Refused), ("this-machine", PlainHttp::ThisMachine)];
        self.text("git.plain_http", |text| one_of(text, &choices))
    }

    fn access(&mut self) -> Option<Access> {
        let user = self.given("git.user").map(|given| self.parse(&given, user));
        let token = self.token();
        let ca_file = self.path("git.ca_file");
        let ssh_key = self.ssh_path("git.ssh_key_file");
        let known_hosts = self.ssh_path("git.known_hosts_file");
        let ssh_agent = self.ssh_path("git.ssh_agent");
        let timeout = self.text("git.timeout_secs", |text| number(text, TIMEOUT_SECS))?;
        // One that was said and is wrong has been told.
        let user = match user {
            Some(user) => Some(user?),
            None => None,
        };
        let timeout = Duration::from_secs(timeout);
        Some(Access { user, token, ca_file, ssh_key, known_hosts, ssh_agent, timeout })
    }

    fn token(&mut self) -> Option<SecretSource> {
        let file = self.path("git.token_file");
        let Some(Given { value: Hidden(text), place }) = self.inputs.all.token.clone() else {
            return file.map(SecretSource::File);
        };
        if file.is_some() {
            let message = format!("`git.token_file` and {TOKEN_VARIABLE} both say the token");
            self.tell(&place, wrong(codes::BAD_VALUE, message).hint("say it once"));
            return None;
        }
        match Secret::new(&text, TOKEN_VARIABLE) {
            Ok(secret) => Some(SecretSource::Text(secret)),
            Err(error) => {
                self.tell(&place, wrong(codes::BAD_VALUE, error.to_string()));
                None
            }
        }
    }

    fn ssh_path(&mut self, key: &str) -> Option<PathBuf> {
        let given = self.given(key)?;
        self.parse(&given, |text| {
            let path = path(text, &given.place.folder)?;
            fits_ssh(&path).map_err(|error| wrong(codes::BAD_VALUE, error.to_string()))?;
            Ok(path)
        })
    }

    /// Whose signatures count, by stage. A stage's problems are told by [`Check::stages`].
    pub(super) fn signers(&mut self) -> Option<BTreeMap<StageName, Signers>> {
        let mut signers = BTreeMap::new();
        let stages = self.inputs.all.stages.clone().map(|given| given.value).unwrap_or_default();
        for stage in stages {
            let file = |this: &mut Self, given: &Option<Given>| match given {
                Some(given) => this.parse(given, |text| path(text, &given.place.folder)).map(Some),
                None => Some(None),
            };
            let allowed_signers = file(self, &stage.allowed_signers)?;
            let keyring = file(self, &stage.keyring)?;
            if let (Ok(name), Some(one)) = (stage.name.value.parse(), Signers::of(allowed_signers, keyring)) {
                signers.insert(name, one);
            }
        }
        Some(signers)
    }
}

fn address(text: &str) -> Result<RemoteUrl, Wrong> {
    RemoteUrl::parse(text).map_err(|error| {
        let code = if error == RemoteUrlError::Credentials { codes::URL_CREDENTIALS } else { codes::BAD_VALUE };
        let problem = wrong(code, error.to_string());
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    })
}

/// Whether what an address needs was said.
fn reachable(url: &RemoteUrl, access: &Access) -> Result<(), Wrong> {
    let RemoteUrl::Network(url) = url else { return Ok(()) };
    if url.transport() != Transport::Ssh {
        return Ok(());
    }
    let missing = |message: &str, hint: &str| Err(wrong(codes::MISSING_KEY, message).hint(hint));
    if access.known_hosts.is_none() {
        return missing(
            "an ssh address needs `git: {known_hosts_file: …}`",
            "`ssh-keyscan HOST` prints the line; compare its fingerprint with what the host's operator publishes before you \
             trust it",
        );
    }
    if access.ssh_key.is_none() && access.ssh_agent.is_none() {
        return missing(
            "an ssh address needs `git: {ssh_key_file: …}` or `git: {ssh_agent: …}`",
            "make a key for this controller alone with `ssh-keygen -t ed25519 -N '' -f FILE`, and register it with read access",
        );
    }
    Ok(())
}

fn user(text: &str) -> Result<String, Wrong> {
    // A colon ends the user in the header.
    let unfit = text.is_empty() || text.len() > MAX_USER_BYTES || text.contains(':');
    if unfit || text.chars().any(char::is_control) {
        return Err(wrong(codes::BAD_VALUE, "this is not a user's name: it is not empty and has no colon"));
    }
    Ok(text.to_owned())
}
