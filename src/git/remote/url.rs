//! A fleet repo's address.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The longest address, in bytes. Servers commonly take no longer ones.
const MAX_BYTES: usize = 2048;

/// A fleet repo's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteUrl {
    /// A repository in this machine's file system.
    Local(PathBuf),
    /// A repository behind a network.
    Network(NetworkUrl),
}

/// An address that was checked: it holds no credentials, and no part of it can be taken for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkUrl {
    transport: Transport,
    text: String,
    /// Scheme, host and port.
    origin: String,
}

/// How a remote behind a network is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP over TLS.
    Https,
    /// HTTP without TLS, for this machine only.
    Http,
    /// SSH.
    Ssh,
}

/// Why a text is not an address that can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteUrlError {
    /// Nothing is there.
    #[error("the address of the fleet repo is empty")]
    Empty,
    /// A transport that is not supported, such as Git's own without encryption.
    #[error("fetching over {scheme} is not supported; take https://…, ssh://…, a path or file://…")]
    Scheme {
        /// The transport.
        scheme: String,
    },
    /// `file://` with a host, or with a broken escape.
    #[error("{0:?} is not a file:// address: it needs an absolute path, with %XX for special characters")]
    Malformed(String),
    /// A user or a password in an https address. It is not shown.
    #[error("the address of the fleet repo has a user or a password in it")]
    Credentials,
    /// Without TLS to another machine.
    #[error("http:// without TLS is for this machine only, and {0} is another")]
    PlainHttp(String),
    /// A part that no host, user or path has.
    #[error("the address of the fleet repo has a {part} that cannot be used: {rule}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

impl RemoteUrlError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Credentials => Some(
                "addresses are shown in logs and process lists: put the token in a file and name it with `git: {token_file: …}`, \
                 and the user with `git: {user: …}`",
            ),
            Self::PlainHttp(_) => Some("use https://"),
            Self::Empty | Self::Scheme { .. } | Self::Malformed(_) | Self::Part { .. } => None,
        }
    }
}

impl RemoteUrl {
    /// Reads an address as Git writes them: a path, `file://…`, another scheme, or `host:path` for ssh.
    pub fn parse(text: &str) -> Result<Self, RemoteUrlError> {
        if text.trim().is_empty() {
            return Err(RemoteUrlError::Empty);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "file" => file_path(rest).map(Self::Local).ok_or_else(|| RemoteUrlError::Malformed(text.to_owned())),
                "https" => http(Transport::Https, "https", rest).map(Self::Network),
                "http" => http(Transport::Http, "http", rest).map(Self::Network),
                "ssh" | "git+ssh" | "ssh+git" => ssh(rest).map(Self::Network),
                scheme => Err(RemoteUrlError::Scheme { scheme: scheme.chars().take(20).collect() }),
            };
        }
        match (text.find(':'), text.find('/')) {
            (Some(colon), slash) if slash.is_none_or(|slash| colon < slash) => {
                let (host, path) = (&text[..colon], &text[colon + 1..]);
                // `transport::address` calls a helper program.
                if path.starts_with(':') {
                    return Err(RemoteUrlError::Scheme { scheme: host.chars().take(20).collect() });
                }
                ssh_short(host, path).map(Self::Network)
            }
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }

    /// The same address with a relative path taken from this folder.
    pub fn relative_to(self, folder: &Path) -> Self {
        match self {
            Self::Local(path) => Self::Local(folder.join(path)),
            Self::Network(url) => Self::Network(url),
        }
    }
}

impl std::fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Network(url) => f.write_str(&url.text),
        }
    }
}

impl NetworkUrl {
    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The address as Git takes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port: where credentials may be sent.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The name under which Git knows the transport.
    pub(super) fn protocol(&self) -> &'static str {
        match self.transport {
            Transport::Https => "https",
            Transport::Http => "http",
            Transport::Ssh => "ssh",
        }
    }
}

fn http(transport: Transport, scheme: &str, rest: &str) -> Result<NetworkUrl, RemoteUrlError> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // Before anything else is said about it: nothing of such an address is ever shown.
    if authority.contains('@') || path.contains(['?', '#']) && rest.contains('@') {
        return Err(RemoteUrlError::Credentials);
    }
    let host = check_authority(authority)?;
    check_path(path)?;
    if path.contains(['?', '#']) {
        return Err(RemoteUrlError::Part { part: "path", rule: "it has neither `?` nor `#`" });
    }
    if transport == Transport::Http && !is_this_machine(host) {
        return Err(RemoteUrlError::PlainHttp(host.to_owned()));
    }
    let origin = format!("{scheme}://{}", authority.to_ascii_lowercase());
    Ok(NetworkUrl { transport, text: format!("{origin}{path}"), origin })
}

fn ssh(rest: &str) -> Result<NetworkUrl, RemoteUrlError> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = split_user(authority)?;
    check_authority(host)?;
    check_path(path)?;
    let origin = format!("ssh://{user}{host}");
    Ok(NetworkUrl { transport: Transport::Ssh, text: format!("{origin}{path}"), origin })
}

/// `user@host:path`, where the path is relative to the user's folder.
fn ssh_short(authority: &str, path: &str) -> Result<NetworkUrl, RemoteUrlError> {
    let (user, host) = split_user(authority)?;
    check_authority(host)?;
    check_path(path)?;
    let origin = format!("ssh://{user}{host}");
    Ok(NetworkUrl { transport: Transport::Ssh, text: format!("{user}{host}:{path}"), origin })
}

/// The user with its `@`, or nothing, and the rest.
fn split_user(authority: &str) -> Result<(&str, &str), RemoteUrlError> {
    let Some(at) = authority.rfind('@') else { return Ok(("", authority)) };
    let user = &authority[..at];
    if user.contains(':') {
        return Err(RemoteUrlError::Credentials);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    if user.is_empty() || user.starts_with('-') || !user.bytes().all(plain) {
        let rule = "it is letters, digits, `.`, `_`, `+` or `-`, and does not begin with `-`";
        return Err(RemoteUrlError::Part { part: "user", rule });
    }
    Ok((&authority[..=at], &authority[at + 1..]))
}

/// Host and port; answers with the host.
fn check_authority(authority: &str) -> Result<&str, RemoteUrlError> {
    let wrong = |part, rule| RemoteUrlError::Part { part, rule };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let no_end = || wrong("host", "an address in brackets needs its `]`");
            let (address, port) = rest.split_once(']').ok_or_else(no_end)?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("host", "in brackets stands an IPv6 address"));
            }
            (address, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(no_end)?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
    if host.is_empty() || host.len() > 253 || host.starts_with('-') || !host.bytes().all(plain) {
        let rule = "it is a DNS name or an address, and does not begin with `-`";
        return Err(wrong("host", rule));
    }
    if !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(wrong("port", "it is a number from 1 to 65535"));
    }
    Ok(host)
}

fn check_path(path: &str) -> Result<(), RemoteUrlError> {
    let rule = "it is not empty, does not begin with `-`, and has no white space or control characters";
    let empty = path.trim_matches('/').is_empty();
    let unfit = path.chars().any(|char| char.is_control() || char.is_whitespace());
    if empty || path.starts_with('-') || unfit || path.len() > MAX_BYTES {
        return Err(RemoteUrlError::Part { part: "path", rule });
    }
    Ok(())
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn file_path(rest: &str) -> Option<PathBuf> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => crate::domain::digest::unhex(
                &String::from_utf8(vec![left.next()?, left.next()?]).ok()?.to_ascii_lowercase(),
            )?[0],
            byte => byte,
        });
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match RemoteUrl::parse(text) {
            Ok(RemoteUrl::Local(path)) => format!("local {path:?}"),
            Ok(RemoteUrl::Network(url)) => format!("{} {} at {}", url.protocol(), url.text, url.origin),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn addresses_are_read_as_git_writes_them() {
        check("/srv/fleet.git", r#"local "/srv/fleet.git""#);
        check("../fleet.git", r#"local "../fleet.git""#);
        check("./odd:name", r#"local "./odd:name""#);
        check("file:///srv/fleet.git", r#"local "/srv/fleet.git""#);
        check("file://localhost/srv/a%20b%C3%BC", r#"local "/srv/a bü""#);
        check("FILE:///srv", r#"local "/srv""#);
        check(
            "HTTPS://Git.example:8443/a/fleet.git",
            "https https://git.example:8443/a/fleet.git at https://git.example:8443",
        );
        check("http://127.0.0.1:80/f", "http http://127.0.0.1:80/f at http://127.0.0.1:80");
        check("http://[::1]/f", "http http://[::1]/f at http://[::1]");
        check(
            "ssh://git@git.example:2222/fleet.git",
            "ssh ssh://git@git.example:2222/fleet.git at ssh://git@git.example:2222",
        );
        check("git@git.example:acme/fleet.git", "ssh git@git.example:acme/fleet.git at ssh://git@git.example");
        check("host:fleet", "ssh host:fleet at ssh://host");
    }

    #[test]
    fn addresses_with_credentials_are_refused_without_showing_them() {
        let refused = "the address of the fleet repo has a user or a password in it";
        for text in [
            "https://user:secret@git.example/fleet.git",
            "https://secret@git.example/fleet.git",
            "https://git.example/fleet.git?token=a@b",
            "ssh://git:secret@git.example/fleet.git",
        ] {
            check(text, refused);
            assert!(RemoteUrl::parse(text).unwrap_err().hint().unwrap().contains("token_file"));
        }
    }

    #[test]
    fn nothing_of_an_address_can_be_taken_for_an_option() {
        for (text, part) in [
            ("ssh://-oProxyCommand=touch%20x/fleet", "host"),
            ("-oProxyCommand=x:fleet", "host"),
            ("ssh://-u@host/fleet", "user"),
            ("-u@host:fleet", "user"),
            ("host:-upload-pack", "path"),
            ("https://-host/fleet", "host"),
            ("https://ho st/fleet", "host"),
            ("https://host/fleet\nx", "path"),
            ("https://host/a?b", "path"),
            ("https://host", "path"),
            ("https://host:0/f", "port"),
            ("https://host:port/f", "port"),
            ("https://[::1/f", "host"),
            ("https://[host]/f", "host"),
            ("ssh://host", "path"),
            ("host:", "path"),
        ] {
            let error = RemoteUrl::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the address of the fleet repo has a {part} that")), "{text}: {error}");
        }
    }

    #[test]
    fn other_transports_are_named() {
        let other =
            |scheme| format!("fetching over {scheme} is not supported; take https://…, ssh://…, a path or file://…");
        check("git://git.example/fleet.git", &other("git"));
        check("ext::sh -c true", &other("ext"));
        check("ftp://git.example/fleet.git", &other("ftp"));
        check("http://git.example/f", "http:// without TLS is for this machine only, and git.example is another");
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        check("", "the address of the fleet repo is empty");
        check(" ", "the address of the fleet repo is empty");
        let malformed = |text| {
            format!("{text:?} is not a file:// address: it needs an absolute path, with %XX for special characters")
        };
        for text in ["file://host/srv", "file://srv", "file:///a%2", "file:///a%zz", "file:///a%ü"] {
            check(text, &malformed(text));
        }
    }

    #[test]
    fn relative_paths_are_taken_from_a_folder() {
        let path = |text| RemoteUrl::parse(text).unwrap().relative_to(Path::new("/etc/bellwether")).to_string();
        assert_eq!(path("fleet.git"), "/etc/bellwether/fleet.git");
        assert_eq!(path("/srv/fleet.git"), "/srv/fleet.git");
        assert_eq!(path("host:fleet.git"), "host:fleet.git");
    }
}
