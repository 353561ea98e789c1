//! Host patterns, as `--limit` takes them: Ansible's rules.
//!
//! `a:b` is a union, `&c` keeps only what is in c, `!d` takes d away. Whatever the written order, unions come first, then every `&`,
//! then every `!`. A term is the name of a host or group, a glob, or `~` and a regular expression; `[0]`, `[-1]`, `[1:3]` and `[2:]`
//! choose among what it matches.

use super::ALL;
use super::address;
use super::graph::Graph;
use crate::domain::manifest::problems::show;
use regex::Regex;
use std::collections::BTreeSet;

/// Why a pattern selects nothing that can be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No group and no host has such a name. Ansible goes on, and takes `a:!typo` for all of `a`.
    #[error("`{0}` matches no host and no group")]
    Unmatched(String),
    /// The subscript is beyond what the term matches.
    #[error("`{0}` selects beyond the hosts that it matches")]
    Subscript(String),
    /// The expression cannot be read.
    #[error("`{term}` is not a regular expression: {message}")]
    Expression {
        /// The term.
        term: String,
        /// What is wrong.
        message: String,
    },
    /// `&` or `!` alone.
    #[error("`{0}` lacks a name")]
    Nameless(String),
    /// No term at all.
    #[error("the pattern is empty")]
    Empty,
}

/// Splits a pattern into its terms: at commas if there are any, else at colons unless the whole is an address.
pub fn terms(pattern: &str) -> Vec<String> {
    let split: Vec<&str> = if pattern.contains(',') {
        pattern.split(',').collect()
    } else if address::parsed(pattern).is_some() {
        vec![pattern]
    } else {
        at_colons(pattern)
    };
    split.into_iter().map(str::trim).filter(|term| !term.is_empty()).map(str::to_owned).collect()
}

/// Runs of characters that are neither white space, colons nor brackets, or whole bracketed parts.
fn at_colons(pattern: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(character) = pattern[at..].chars().next() {
        let closing = (character == '[').then(|| pattern[at..].find(']')).flatten();
        let next = at + closing.map_or(character.len_utf8(), |end| end + 1);
        let parts = closing.is_none() && (character.is_whitespace() || matches!(character, ':' | '[' | ']'));
        if parts {
            found.push(&pattern[start..at]);
            start = next;
        }
        at = next;
    }
    found.push(&pattern[start..]);
    found
}

/// The hosts that terms select, in the inventory's order, as indexes into [`Graph::hosts`].
pub fn select(graph: &Graph, terms: &[String]) -> Result<Vec<usize>, PatternError> {
    let of_kind = |kind: Kind| terms.iter().filter(|term| !term.is_empty()).filter(move |term| Kind::of(term) == kind);
    if terms.iter().all(String::is_empty) {
        return Err(PatternError::Empty);
    }
    let mut hosts: Vec<usize> = match of_kind(Kind::Union).next() {
        // Only exclusions or intersections: they are of all hosts.
        None => graph.hosts_of(ALL),
        Some(_) => Vec::new(),
    };
    for term in of_kind(Kind::Union) {
        match graph.host_named(term) {
            Some(host) => hosts.push(host),
            None => hosts.extend(matched(graph, term)?),
        }
    }
    for term in of_kind(Kind::Intersection) {
        let those: BTreeSet<usize> = matched(graph, &term[1..])?.into_iter().collect();
        hosts.retain(|host| those.contains(host));
    }
    for term in of_kind(Kind::Exclusion) {
        let those: BTreeSet<usize> = matched(graph, &term[1..])?.into_iter().collect();
        hosts.retain(|host| !those.contains(host));
    }
    let mut seen = BTreeSet::new();
    hosts.retain(|host| seen.insert(*host));
    Ok(hosts)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Union,
    Intersection,
    Exclusion,
}

impl Kind {
    fn of(term: &str) -> Self {
        match term.as_bytes().first() {
            Some(b'&') => Self::Intersection,
            Some(b'!') => Self::Exclusion,
            Some(_) | None => Self::Union,
        }
    }
}

/// The hosts of one term without its sign. As in Ansible, a host can come several times, and a subscript counts it each time.
fn matched(graph: &Graph, term: &str) -> Result<Vec<usize>, PatternError> {
    if term.is_empty() {
        return Err(PatternError::Nameless(term.to_owned()));
    }
    let (name, subscript) = match term.starts_with('~') {
        true => (term, None),
        false => subscript(term),
    };
    let matcher = Matcher::new(name)?;
    let groups: Vec<usize> =
        (0..graph.groups.len()).filter(|&group| matcher.is_match(&graph.groups[group].name)).collect();
    let mut hosts: Vec<usize> = groups.iter().flat_map(|&group| graph.hosts_of(group)).collect();
    if groups.is_empty() || name.starts_with('~') || name.contains(['.', '?', '*', '[']) {
        hosts.extend((0..graph.hosts.len()).filter(|&host| matcher.is_match(&graph.hosts[host].name)));
    }
    if hosts.is_empty() && groups.is_empty() {
        return Err(PatternError::Unmatched(show(term)));
    }
    match subscript {
        None => Ok(hosts),
        Some(subscript) => subscript.of(&hosts).ok_or_else(|| PatternError::Subscript(show(term))),
    }
}

/// Which of the matching hosts are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscript {
    /// This one; negative from the end.
    One(i64),
    /// From one to another, both included.
    Range(usize, usize),
    /// From this one on.
    From(usize),
}

impl Subscript {
    fn of(self, hosts: &[usize]) -> Option<Vec<usize>> {
        match self {
            _ if hosts.is_empty() => Some(Vec::new()),
            Self::One(index) if index < 0 => {
                let from_end = usize::try_from(index.unsigned_abs()).ok()?;
                Some(vec![*hosts.get(hosts.len().checked_sub(from_end)?)?])
            }
            Self::One(index) => Some(vec![*hosts.get(usize::try_from(index).ok()?)?]),
            // Ansible takes an end of zero for no end at all, and then for a single host.
            Self::Range(start, 0) => Some(vec![*hosts.get(start)?]),
            Self::Range(start, end) => {
                let end = end.saturating_add(1).min(hosts.len());
                hosts.get(start..end.max(start)).filter(|some| !some.is_empty()).map(<[usize]>::to_vec)
            }
            Self::From(start) => hosts.get(start..).filter(|some| !some.is_empty()).map(<[usize]>::to_vec),
        }
    }
}

/// Takes a subscript off a term.
fn subscript(term: &str) -> (&str, Option<Subscript>) {
    let parsed = || {
        let (name, inside) = term.strip_suffix(']')?.rsplit_once('[')?;
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
        let subscript =
            match inside.split_once(':').or_else(|| inside.split_once('-').filter(|(start, _)| !start.is_empty())) {
                Some((start, "")) => Subscript::From(number(start)?),
                Some((start, end)) => Subscript::Range(number(start)?, number(end)?),
                None => {
                    number(inside.strip_prefix('-').unwrap_or(inside))?;
                    Subscript::One(inside.parse().ok()?)
                }
            };
        (!name.is_empty()).then_some((name, Some(subscript)))
    };
    parsed().unwrap_or((term, None))
}

/// What names are compared with.
enum Matcher {
    Glob(Vec<char>),
    Expression(Regex),
}

impl Matcher {
    fn new(name: &str) -> Result<Self, PatternError> {
        let Some(expression) = name.strip_prefix('~') else { return Ok(Self::Glob(name.chars().collect())) };
        // Like `re.match`: from the beginning, and not to the end.
        Regex::new(&format!("^(?:{expression})")).map(Self::Expression).map_err(|error| {
            let message = error.to_string();
            let message = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            PatternError::Expression { term: show(name), message }
        })
    }

    fn is_match(&self, name: &str) -> bool {
        match self {
            Self::Glob(glob) => globbed(glob, name),
            Self::Expression(expression) => expression.is_match(name),
        }
    }
}

/// Whether a glob matches a whole name, as Python's `fnmatch` does it. Linear in practice: only the last `*` is gone back to.
fn globbed(glob: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if glob.get(g) == Some(&'*') {
            star = Some((g + 1, n));
            g += 1;
        } else if let Some(next) = one(glob, g, name[n]) {
            g = next;
            n += 1;
        } else if let Some((after, at)) = star {
            star = Some((after, at + 1));
            g = after;
            n = at + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|character| *character == '*')
}

/// The place in the glob after what matches this character, if it does.
fn one(glob: &[char], at: usize, character: char) -> Option<usize> {
    match glob.get(at)? {
        '?' => Some(at + 1),
        '[' => match class(glob, at) {
            Some((end, is_in)) => is_in(character).then_some(end),
            None => (character == '[').then_some(at + 1),
        },
        literal => (*literal == character).then_some(at + 1),
    }
}

/// A class such as `[a-c]` or `[!x]`: where it ends, and what is in it. `None` if it is not closed.
fn class(glob: &[char], at: usize) -> Option<(usize, impl Fn(char) -> bool + '_)> {
    let negated = glob.get(at + 1) == Some(&'!');
    let first = at + 1 + usize::from(negated);
    // A bracket that comes first is a member.
    let close = (first + 1..glob.len()).find(|&index| glob[index] == ']')?;
    let members = &glob[first..close];
    let is_in = move |character: char| {
        let mut index = 0;
        let mut found = false;
        while index < members.len() {
            if members.get(index + 1) == Some(&'-') && index + 2 < members.len() {
                found |= (members[index]..=members[index + 2]).contains(&character);
                index += 3;
            } else {
                found |= members[index] == character;
                index += 1;
            }
        }
        found != negated
    };
    Some((close + 1, is_in))
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Slips, read};
    use super::*;
    use crate::domain::manifest::vars::Vars;

    fn graph() -> Graph {
        let yaml = b"all: {children: {web: {hosts: {w1: , w2: , w3: }}, db: {hosts: {d1: , w2: }}, empty: }}\n";
        let file = "inventory.yml".into();
        let mut builder = Builder::default();
        let found = read(&file, yaml, Slips::Warnings, &mut builder, &mut |node| Vars::free(&file, node).into());
        assert_eq!(found.structure.errors(), 0);
        builder.finish().expect("no cycle")
    }

    fn check(pattern: &str, wanted: &str) {
        let graph = graph();
        let got = match select(&graph, &terms(pattern)) {
            Ok(hosts) => hosts.iter().map(|&host| &*graph.hosts[host].name).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, wanted, "{pattern}");
    }

    #[test]
    fn unions_come_first_then_intersections_then_exclusions() {
        check("web", "w1 w2 w3");
        check("web:db", "w1 w2 w3 d1");
        check("web,&db", "w2");
        check("!w1:&web:db:web", "w2 w3");
        check("!db", "w1 w3");
        check("empty", "");
    }

    #[test]
    fn globs_expressions_and_subscripts_choose() {
        check("w*", "w1 w2 w3");
        check("[wd]1", "w1 d1");
        check("w[!2]", "w1 w3");
        check("~w[12]$", "w1 w2");
        check("web[0]", "w1");
        check("web[-1]", "w3");
        check("web[0:1]", "w1 w2");
        check("web[1:]", "w2 w3");
    }

    #[test]
    fn what_matches_nothing_is_an_error_and_never_everything() {
        check("web:!typo", "`typo` matches no host and no group");
        check("a:80", "`a:80` matches no host and no group");
        check("web[7]", "`web[7]` selects beyond the hosts that it matches");
        check("~(", "`~(` is not a regular expression: unclosed group");
        check("&", "`` lacks a name");
        check(" ", "the pattern is empty");
    }
}
