//! Host ranges: `web[01:50].example` stands for fifty hosts, `db-[a:c]` for three.

/// How many hosts one pattern may stand for.
const MAX_EXPANDED: usize = 100_000;

/// Why a pattern with brackets is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not of the form `[from:to]` or `[from:to:step]`.
    #[error("`{0}` is not a host range such as `web[01:50]`")]
    Form(String),
    /// Too many hosts.
    #[error("the host range `{0}` stands for more than {MAX_EXPANDED} hosts")]
    TooMany(String),
}

/// The names that a host pattern stands for; a name without brackets stands for itself.
pub fn expand(pattern: &str) -> Result<Vec<String>, RangeError> {
    let shown = || super::show(pattern);
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((head, tail)) = rest.split_once('[') {
        let (inside, after) = tail.split_once(']').ok_or_else(|| RangeError::Form(shown()))?;
        let items = items(inside).ok_or_else(|| RangeError::Form(shown()))?;
        if items.len().saturating_mul(names.len()) > MAX_EXPANDED {
            return Err(RangeError::TooMany(shown()));
        }
        names = names.iter().flat_map(|name| items.iter().map(move |item| format!("{name}{head}{item}"))).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

fn items(inside: &str) -> Option<Vec<String>> {
    let mut parts = inside.split(':');
    let (from, to) = (parts.next()?, parts.next()?);
    let step: usize = parts.next().map_or(Some(1), |step| step.parse().ok())?;
    if parts.next().is_some() || step == 0 || to.is_empty() {
        return None;
    }
    // An empty beginning is zero, as in Ansible.
    let from = if from.is_empty() { "0" } else { from };
    match (letter(from), letter(to)) {
        (Some(from), Some(to)) if from <= to => {
            let letter = |index: usize| char::from(LETTERS[index]).to_string();
            Some((from..=to).step_by(step).map(letter).collect())
        }
        (None, None) => numbers(from, to, step),
        _ => None,
    }
}

/// The order of letters in ranges is Python's `ascii_letters`: small ones first, so `[y:B]` is y, z, A, B.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [letter] => LETTERS.iter().position(|known| known == letter),
        _ => None,
    }
}

/// Numbers, as wide as the beginning where that has a leading zero.
fn numbers(from: &str, to: &str, step: usize) -> Option<Vec<String>> {
    let digits = |text: &str| text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return None;
    }
    let width = if from.len() > 1 && from.starts_with('0') { from.len() } else { 0 };
    if width > 0 && width != to.len() {
        return None;
    }
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    // Ansible takes `[3:1]` for no hosts at all. That loses devices without a word, so it is refused.
    if from > to {
        return None;
    }
    // One more than allowed is enough to be refused.
    Some((from..=to).step_by(step).take(MAX_EXPANDED + 1).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_for_their_hosts() {
        let cases = [
            ("web", "web"),
            ("web[1:3]", "web1 web2 web3"),
            ("web[08:10].example", "web08.example web09.example web10.example"),
            ("db-[a:c]", "db-a db-b db-c"),
            ("db-[y:B]", "db-y db-z db-A db-B"),
            ("n[0:10:5]", "n0 n5 n10"),
            ("n[:2]", "n0 n1 n2"),
            ("[a:b][1:2]", "a1 a2 b1 b2"),
        ];
        for (pattern, wanted) in cases {
            assert_eq!(expand(pattern).map(|names| names.join(" ")).as_deref(), Ok(wanted), "{pattern}");
        }
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for pattern in ["web[1:3", "web[]", "web[1]", "web[3:1]", "web[a:3]", "web[1:3:0]", "web[001:10]", "w[1:2:3:4]"]
        {
            assert!(matches!(expand(pattern), Err(RangeError::Form(_))), "{pattern}");
        }
        for pattern in ["web[0:999999999]", "[0:999][0:999][0:999]"] {
            assert!(matches!(expand(pattern), Err(RangeError::TooMany(_))), "{pattern}");
        }
    }
}
