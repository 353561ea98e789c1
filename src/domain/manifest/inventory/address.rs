//! Host names with a port: `name:2222`, `[2001:db8::1]:22`, and what Ansible takes for an address at all.

use regex::Regex;
use std::sync::LazyLock;

/// A key under `hosts:`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name, or the range of names.
    pub pattern: &'a str,
    /// The digits of the port.
    pub port: Option<&'a str>,
}

/// Takes a port off where the rest is an address; everything else is a name as it stands.
pub fn target(text: &str) -> Target<'_> {
    // Most names have nothing that could be a port.
    if !text.contains(':') {
        return Target { pattern: text, port: None };
    }
    parsed(text).unwrap_or(Target { pattern: text, port: None })
}

/// An address with an optional port, as Ansible's `parse_address` sees it with ranges allowed. `None` if it is none.
pub fn parsed(text: &str) -> Option<Target<'_>> {
    let mut target = Target { pattern: text, port: None };
    // Both forms are tried in turn, the second on what the first left over.
    if let Some((pattern, port)) = bracketed(target.pattern) {
        target = Target { pattern, port: Some(port) };
    }
    if let Some((pattern, port)) = with_port(target.pattern) {
        target = Target { pattern, port: Some(port) };
    }
    (!target.pattern.is_empty()
        && ADDRESS.iter().any(|regex| regex.is_match(target.pattern))
        && ends_well(target.pattern))
    .then_some(target)
}

/// `[…]:port`
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (inside, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    (!inside.is_empty() && !inside.contains('\n') && is_number(port)).then_some((inside, port))
}

/// `…:port`, where colons before the port stand in brackets.
fn with_port(text: &str) -> Option<(&str, &str)> {
    let (rest, port) = text.rsplit_once(':').filter(|(_, port)| is_number(port))?;
    let mut inside = false;
    for character in rest.chars() {
        match character {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ':' | ']' if !inside => return None,
            _ => {}
        }
    }
    (!inside).then_some((rest, port))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Labels of a name may not end in `-` or `_`. The regular expression engine has no look-behind, so that is asked here, for what is
/// a name only; an address has neither.
fn ends_well(text: &str) -> bool {
    !text.split('.').any(|label| label.ends_with(['-', '_']))
}

/// IPv4, IPv6 and host names, each with ranges in the place of a component.
static ADDRESS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    let numeric = r"\[(?:[0-9]+:[0-9]+)(?::[0-9]+)?\]";
    let hexadecimal = r"\[(?:[0-9a-f]+:[0-9a-f]+)(?::[0-9]+)?\]";
    let letters = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]";
    let four = format!("(?:[01]?[0-9]{{1,2}}|2[0-4][0-9]|25[0-5]|{numeric})");
    let six = format!("(?:[0-9a-f]{{1,4}}|{hexadecimal})");
    let v6 = [
        "(?:X:){7}X",
        "(?:X:){1,6}:",
        "(?:X:)(?::X){1,6}",
        "(?:X:){2}(?::X){1,5}",
        "(?:X:){3}(?::X){1,4}",
        "(?:X:){4}(?::X){1,3}",
        "(?:X:){5}(?::X){1,2}",
        "(?:X:){6}(?::X)",
        ":(?::X){1,6}",
        "X?::",
        r"(?:0:){6}(?:X\.){3}X",
        r"::(?:ffff:)?(?:X\.){3}X",
        r"(?:0:){5}ffff:(?:X\.){3}X",
    ]
    .join("|")
    .replace('X', &six);
    let label = format!(r"(?:[\w]|{letters})(?:[\w_-]|{letters})*");
    let build = |text: String| Regex::new(&text).expect("the expression is a constant and valid");
    [
        build(format!(r"(?i)^(?:{four}\.){{3}}{four}$")),
        build(format!(r"(?i)^(?:{v6})$")),
        build(format!(r"(?i)^{label}(?:\.{label})*$")),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_taken_off_addresses_and_left_on_everything_else() {
        let cases = [
            ("web", "web", None),
            ("web:2222", "web", Some("2222")),
            ("web[1:3]:22", "web[1:3]", Some("22")),
            ("web[1:3]", "web[1:3]", None),
            ("[2001:db8::1]:22", "2001:db8::1", Some("22")),
            ("2001:db8::1", "2001:db8::1", None),
            ("10.0.0.1:22", "10.0.0.1", Some("22")),
            ("odd name:22", "odd name:22", None),
            ("web-:22", "web-:22", None),
            ("a:b:22", "a:b:22", None),
        ];
        for (text, pattern, port) in cases {
            assert_eq!(target(text), Target { pattern, port }, "{text}");
        }
    }

    #[test]
    fn what_ansible_splits_at_colons_is_no_address() {
        for text in ["a:b", "a:&b", "a:!b", "web*:db", "~a.*"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        for text in ["a:80", "web1", "2001:db8::1", "g[0:1]", "10.0.0.[1:9]"] {
            assert!(parsed(text).is_some(), "{text}");
        }
    }
}
