//! Files of allowed signers, as ssh-keygen(1) describes them: `names options key-type key comment`, one signer a line.
//!
//! Two differences. A time without `Z` is UTC as well, because the controller's time zone is nobody's business. And signatures with
//! certificates are not supported: a `cert-authority` line is refused rather than passed over, because whoever wrote it believes
//! that it lets somebody sign.

use super::{CheckError, read_bounded};
use crate::domain::time::Timestamp;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;
use std::path::Path;

/// A line.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) name: String,
    pub(super) key: KeyData,
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

/// Why a signer does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Namespace,
    NotYet,
    NoMore,
}

impl Signer {
    /// Whether it may sign in a namespace at a time.
    pub(super) fn may_sign(&self, namespace: &str, now: Timestamp) -> Result<(), Unfit> {
        if self.namespaces.as_ref().is_some_and(|list| !matches_list(list, namespace)) {
            return Err(Unfit::Namespace);
        }
        if self.valid_after.is_some_and(|from| now < from) {
            return Err(Unfit::NotYet);
        }
        if self.valid_before.is_some_and(|until| until <= now) {
            return Err(Unfit::NoMore);
        }
        Ok(())
    }
}

/// Everybody who may sign commits now.
pub(super) fn names(signers: &[Signer], now: Timestamp) -> impl Iterator<Item = String> {
    signers.iter().filter(move |one| one.may_sign(super::ssh::NAMESPACE, now).is_ok()).map(|one| one.name.clone())
}

/// Reads a file. A line that cannot be read is an error for the whole: it may be the one that forbids.
pub(super) fn read(path: &Path) -> Result<Vec<Signer>, CheckError> {
    let bytes = read_bounded(path)?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| CheckError::Unreadable {
        path: path.to_owned(),
        source: std::io::ErrorKind::InvalidData.into(),
    })?;
    let mut signers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let failed = |problem| CheckError::Line { path: path.to_owned(), line: number + 1, problem };
        signers.extend(signer(line).map_err(failed)?);
    }
    Ok(signers)
}

fn signer(line: &str) -> Result<Option<Signer>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, rest) = word(line)?;
    let (second, after_second) = word(rest)?;
    // A key's type is never an option: options are these words or have an equals sign.
    let is_options = second.contains('=') || second.eq_ignore_ascii_case("cert-authority");
    let (options, key) = if is_options { (second, after_second) } else { ("", rest) };
    let mut signer = Signer {
        name: name.trim_matches('"').to_owned(),
        key: match PublicKey::from_openssh(key.trim()) {
            Ok(key) => key.key_data().clone(),
            Err(_) if is_unknown_type(key) => {
                return Err("keys of this type are not supported: name an Ed25519, ECDSA or RSA key");
            }
            Err(_) => return Err("this is not `names options key-type key`"),
        },
        namespaces: None,
        valid_after: None,
        valid_before: None,
    };
    for option in split(options, ',') {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => {
                return Err("certificates are not supported: name the keys of the signers themselves");
            }
            "namespaces" => signer.namespaces = Some(value.to_owned()),
            "valid-after" => signer.valid_after = Some(time(value)?),
            "valid-before" => signer.valid_before = Some(time(value)?),
            "" => {}
            // It may limit what the key is good for.
            _ => return Err("there is an option that is not known"),
        }
    }
    Ok(Some(signer))
}

fn is_unknown_type(key: &str) -> bool {
    let kind = key.split_whitespace().next().unwrap_or_default();
    kind == "ssh-dss" || kind.ends_with("@openssh.com") && !kind.starts_with("sk-")
}

/// The first word and what follows it. White space in quotes does not end a word.
fn word(text: &str) -> Result<(&str, &str), &'static str> {
    let text = text.trim_start();
    let mut quoted = false;
    let end = text.char_indices().find(|(_, char)| {
        quoted ^= *char == '"';
        char.is_whitespace() && !quoted
    });
    let end = end.map(|(at, _)| at).ok_or("the line ends before its key")?;
    Ok((&text[..end], text[end..].trim_start()))
}

fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for char in text.chars() {
        quoted ^= char == '"';
        match parts.last_mut() {
            Some(part) if char != separator || quoted => part.push(char),
            _ => parts.push(String::new()),
        }
    }
    parts
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with or without `Z`.
fn time(text: &str) -> Result<Timestamp, &'static str> {
    let wrong = "a time is written YYYYMMDD or YYYYMMDDHHMM[SS], with a Z for UTC";
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return Err(wrong);
    }
    let padded = format!("{digits:0<14}");
    let part = |from: usize, to: usize| padded[from..to].parse::<i8>().map_err(|_| wrong);
    let year = padded[..4].parse::<i16>().map_err(|_| wrong)?;
    let (month, day) = (part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let time = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| wrong)?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong)?;
    Ok(Timestamp::from_millis(time.timestamp().as_millisecond()))
}

/// A list of patterns, of which one must fit and none with a `!` before it may.
fn matches_list(list: &str, text: &str) -> bool {
    let (mut fits, mut forbidden) = (false, false);
    for pattern in list.split(',').map(str::trim) {
        match pattern.strip_prefix('!') {
            Some(pattern) => forbidden |= matches(pattern.as_bytes(), text.as_bytes()),
            None => fits |= matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
    fits && !forbidden
}

/// `*` is anything, `?` any one character. Both texts are short, and stars that follow each other are one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([b'*', rest @ ..], _) => {
            let rest = &rest[rest.iter().take_while(|byte| **byte == b'*').count()..];
            (0..=text.len()).any(|skipped| matches(rest, &text[skipped..]))
        }
        ([b'?', pattern @ ..], [_, text @ ..]) => matches(pattern, text),
        ([one, pattern @ ..], [other, text @ ..]) => one == other && matches(pattern, text),
        ([], []) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGaDrhPqSPHIYfeIBBLH4xh1gXq/RXECyCyCRo8jnxe5";

    fn check(line: &str, expected: &str) {
        let shown = match signer(line) {
            Ok(None) => "nobody".to_owned(),
            Ok(Some(one)) => {
                let time = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| time.to_string());
                format!(
                    "{} {} {}..{}",
                    one.name,
                    one.namespaces.as_deref().unwrap_or("-"),
                    time(one.valid_after),
                    time(one.valid_before)
                )
            }
            Err(problem) => format!("error: {problem}"),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn lines_are_read_as_ssh_keygen_reads_them() {
        check("", "nobody");
        check("  # ada", "nobody");
        check(&format!("ada@fleet.example {KEY} a comment"), "ada@fleet.example - -..-");
        check(&format!("ada,ben {KEY}"), "ada,ben - -..-");
        check(&format!(r#"ada namespaces="git,file" {KEY}"#), "ada git,file -..-");
        check(
            &format!(r#"ada namespaces="git",valid-after="20260101",valid-before="202701020304Z" {KEY}"#),
            "ada git 2026-01-01T00:00:00Z..2027-01-02T03:04:00Z",
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_never_passed_over() {
        let certificates = "error: certificates are not supported: name the keys of the signers themselves";
        check(&format!("ada cert-authority {KEY}"), certificates);
        check(&format!("ada CERT-AUTHORITY,namespaces=\"git\" {KEY}"), certificates);
        let kind = "error: keys of this type are not supported: name an Ed25519, ECDSA or RSA key";
        check("ada ssh-dss AAAAB3NzaC1kc3M=", kind);
        check("ada ssh-ed25519-cert-v01@openssh.com AAAA", kind);
        let unreadable = "error: this is not `names options key-type key`";
        check("ada", "error: the line ends before its key");
        check("ada ssh-ed25519 AAAA", unreadable);
        check("ada nonsense AAAA", unreadable);
        let time = "error: a time is written YYYYMMDD or YYYYMMDDHHMM[SS], with a Z for UTC";
        for wrong in ["2026", "20261301", "2026-01-01", ""] {
            check(&format!(r#"ada valid-before="{wrong}" {KEY}"#), time);
        }
        check(&format!(r#"ada verify-required="x" {KEY}"#), "error: there is an option that is not known");
    }

    #[test]
    fn a_signer_counts_in_its_namespaces_and_in_its_time() {
        let of = |options: &str| signer(&format!("ada {options} {KEY}")).unwrap().unwrap();
        let now = Timestamp::from_millis(1_780_000_000_000); // 2026-05-28
        assert_eq!(of(r#"namespaces="git""#).may_sign("git", now), Ok(()));
        assert_eq!(of(r#"namespaces="g?t,file""#).may_sign("git", now), Ok(()));
        assert_eq!(of(r#"namespaces="*,!git""#).may_sign("git", now), Err(Unfit::Namespace));
        assert_eq!(of(r#"namespaces="file""#).may_sign("git", now), Err(Unfit::Namespace));
        assert_eq!(of(r#"namespaces="""#).may_sign("git", now), Err(Unfit::Namespace));
        assert_eq!(of(r#"valid-after="20260601""#).may_sign("git", now), Err(Unfit::NotYet));
        assert_eq!(of(r#"valid-before="20260501""#).may_sign("git", now), Err(Unfit::NoMore));
        assert_eq!(of(r#"valid-after="20260501",valid-before="20260601""#).may_sign("git", now), Ok(()));
    }
}
