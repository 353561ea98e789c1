//! Command lines as words, without a shell, and variables as Compose fills them in.

use std::collections::{BTreeMap, BTreeSet};

/// Why a command line cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote is never closed.
    #[error("a quote is not closed")]
    OpenQuote,
    /// The last character is a backslash.
    #[error("a backslash stands at the end")]
    LoneBackslash,
}

/// Splits a command line as a POSIX shell does, without running one: quotes and backslashes count, nothing else does.
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => single(&mut rest, word.get_or_insert_default())?,
            '"' => double(&mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(SplitError::LoneBackslash)?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), SplitError> {
    loop {
        match rest.next().ok_or(SplitError::OpenQuote)? {
            '\'' => return Ok(()),
            c => word.push(c),
        }
    }
}

fn double(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), SplitError> {
    loop {
        match rest.next().ok_or(SplitError::OpenQuote)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(SplitError::OpenQuote)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                '\n' => {}
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// How deep defaults may stand in defaults.
const MAX_DEFAULTS: usize = 8;

/// A text with its variables filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// Variables whose default was taken, and what that is.
    pub defaulted: Vec<Defaulted>,
}

/// A variable that nothing sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaulted {
    /// Its name.
    pub name: String,
    /// What stands for it, filled in itself.
    pub value: String,
}

/// Why a text cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// It needs a variable, and none is set.
    #[error("the variable `{0}` is not set: Compose would take it from the shell, and there is none here")]
    Unset(String),
    /// A `$` that means nothing.
    #[error("a `$` stands before something that is not the name of a variable")]
    Invalid,
}

/// Fills in variables as Compose does where none is set: `$$` is a dollar, `${NAME:-x}` is `x`, `${NAME:+x}` is nothing.
pub fn fill(text: &str) -> Result<Filled, FillError> {
    let mut filled = Filled::default();
    fill_into(text, 0, &mut filled)?;
    Ok(filled)
}

fn fill_into(text: &str, depth: usize, filled: &mut Filled) -> Result<(), FillError> {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.text.push('$');
            rest = after;
            continue;
        }
        let Some(inside) = rest.strip_prefix('{') else {
            let name = name(rest);
            return Err(if name.is_empty() { FillError::Invalid } else { FillError::Unset(name.to_owned()) });
        };
        let end = closing(inside).ok_or(FillError::Invalid)?;
        braced(&inside[..end], depth, filled)?;
        rest = &inside[end + 1..];
    }
    filled.text.push_str(rest);
    Ok(())
}

/// Puts values in the place of variables, as Compose does where they are set; variables without a value stay as they are written.
/// Adds the names that were used.
pub fn set(text: &str, values: &BTreeMap<String, String>, used: &mut BTreeSet<String>) -> String {
    set_within(text, values, used, 0)
}

fn set_within(text: &str, values: &BTreeMap<String, String>, used: &mut BTreeSet<String>, depth: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let from = &rest[at..];
        let length = if from.starts_with("$$") {
            2
        } else if let Some((inside, length)) = from.strip_prefix("${").and_then(|rest| Some((rest, closing(rest)? + 3)))
        {
            let inside = &inside[..length - 3];
            match set_braced(inside, values, used, depth) {
                Some(text) => out.push_str(&text),
                None => out.push_str(&from[..length]),
            }
            rest = &from[length..];
            continue;
        } else {
            let name = name(&from[1..]);
            if let Some(value) = values.get(name) {
                used.insert(name.to_owned());
                out.push_str(value);
                rest = &from[1 + name.len()..];
                continue;
            }
            1
        };
        out.push_str(&from[..length]);
        rest = &from[length..];
    }
    out.push_str(rest);
    out
}

/// What stands in the place of braces; `None` if they stay.
fn set_braced(
    inside: &str,
    values: &BTreeMap<String, String>,
    used: &mut BTreeSet<String>,
    depth: usize,
) -> Option<String> {
    let name = name(inside);
    let rest = &inside[name.len()..];
    let operator = rest.strip_prefix(':').unwrap_or(rest);
    let Some(value) = values.get(name) else {
        // What it falls back to may hang on others.
        let fallback = operator.strip_prefix(['-', '+']).filter(|_| depth < MAX_DEFAULTS)?;
        let head = &inside[..inside.len() - fallback.len()];
        return Some(format!("${{{head}{}}}", set_within(fallback, values, used, depth + 1)));
    };
    used.insert(name.to_owned());
    match operator.strip_prefix('+').filter(|_| depth < MAX_DEFAULTS) {
        Some(other) => Some(set_within(other, values, used, depth + 1)),
        None => Some(value.clone()),
    }
}

/// What stands between braces.
fn braced(inside: &str, depth: usize, filled: &mut Filled) -> Result<(), FillError> {
    let name = name(inside);
    let rest = &inside[name.len()..];
    if name.is_empty() || depth >= MAX_DEFAULTS {
        return Err(FillError::Invalid);
    }
    let operator = rest.strip_prefix(':').unwrap_or(rest);
    match operator.chars().next() {
        Some('-') => {
            let (at, from) = (filled.defaulted.len(), filled.text.len());
            fill_into(&operator[1..], depth + 1, filled)?;
            // Before those that its own default took.
            filled.defaulted.insert(at, Defaulted { name: name.to_owned(), value: filled.text[from..].to_owned() });
            Ok(())
        }
        Some('+') => Ok(()),
        None if rest.is_empty() => Err(FillError::Unset(name.to_owned())),
        Some('?') => Err(FillError::Unset(name.to_owned())),
        Some(_) | None => Err(FillError::Invalid),
    }
}

/// The name at the beginning of a text.
fn name(text: &str) -> &str {
    let starts = text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if starts { &text[..end] } else { "" }
}

/// Where the brace closes that was open before this text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_split_as_in_a_shell() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  a   b ", &["a", "b"]),
            ("sh -c 'echo \"hi  there\"'", &["sh", "-c", "echo \"hi  there\""]),
            (r#"a "b \"c\" \n" d\ e"#, &["a", r#"b "c" \n"#, "d e"]),
            ("''", &[""]),
            ("a''b", &["ab"]),
        ];
        for (line, wanted) in cases {
            assert_eq!(split(line).expect(line), *wanted, "{line}");
        }
        assert_eq!(split("echo 'x"), Err(SplitError::OpenQuote));
        assert_eq!(split("echo \"x\\"), Err(SplitError::OpenQuote));
        assert_eq!(split("echo \\"), Err(SplitError::LoneBackslash));
    }

    fn check(text: &str) -> String {
        match fill(text) {
            Ok(Filled { text, defaulted }) => {
                let all: Vec<String> = defaulted.iter().map(|one| format!("{}={}", one.name, one.value)).collect();
                format!("{text} {all:?}")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variables_are_filled_in_as_where_none_is_set() {
        insta::assert_snapshot!(check("a $$b $${C}"), @"a $b ${C} []");
        insta::assert_snapshot!(check("x${A:-b}y${B-${C:-d}}z${D:-}"), @r#"xbydz ["A=b", "B=d", "C=d", "D="]"#);
        insta::assert_snapshot!(check("x${A:+b}y"), @"xy []");
        insta::assert_snapshot!(check("$HOME/x"), @"the variable `HOME` is not set: Compose would take it from the shell, and there is none here");
        insta::assert_snapshot!(check("${A:?say it}"), @"the variable `A` is not set: Compose would take it from the shell, and there is none here");
        insta::assert_snapshot!(check("5$"), @"a `$` stands before something that is not the name of a variable");
        insta::assert_snapshot!(check("${1}"), @"a `$` stands before something that is not the name of a variable");
        insta::assert_snapshot!(check("${A"), @"a `$` stands before something that is not the name of a variable");
        insta::assert_snapshot!(check(&"${A:-".repeat(1000)), @"a `$` stands before something that is not the name of a variable");
    }

    #[test]
    fn values_that_are_given_stand_in_the_place_of_their_variables_alone() {
        let check = |text: &str, wanted: &str, names: &str| {
            let values = [("TAG", "1.2"), ("HOST", "r.example:5000")];
            let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let mut used = BTreeSet::new();
            assert_eq!(set(text, &values, &mut used), wanted, "{text}");
            assert_eq!(used.into_iter().collect::<Vec<_>>().join(" "), names, "{text}");
        };
        check("$HOST/web:${TAG}", "r.example:5000/web:1.2", "HOST TAG");
        check("${TAG:-1} ${TAG-1} ${TAG:?say it} ${TAG:+x${HOST}}", "1.2 1.2 1.2 xr.example:5000", "HOST TAG");
        check("${OTHER} $OTHER ${OTHER:-x} $$TAG $${TAG} 5$", "${OTHER} $OTHER ${OTHER:-x} $$TAG $${TAG} 5$", "");
        check("${OTHER:-a${TAG}b}", "${OTHER:-a1.2b}", "TAG");
        check("${TAG", "${TAG", "");
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_filled_in_or_refused(text in "[a${}:?+_A1-]{0,40}") {
            let _ = fill(&text);
        }
    }
}
