//! Command lines as words, without a shell, and variables as Compose fills them in.

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
    /// Variables whose default was taken.
    pub defaulted: Vec<String>,
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
            filled.defaulted.push(name.to_owned());
            fill_into(&operator[1..], depth + 1, filled)
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
            Ok(Filled { text, defaulted }) => format!("{text} {defaulted:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variables_are_filled_in_as_where_none_is_set() {
        insta::assert_snapshot!(check("a $$b $${C}"), @"a $b ${C} []");
        insta::assert_snapshot!(check("x${A:-b}y${B-${C:-d}}z${D:-}"), @r#"xbydz ["A", "B", "C", "D"]"#);
        insta::assert_snapshot!(check("x${A:+b}y"), @"xy []");
        insta::assert_snapshot!(check("$HOME/x"), @"the variable `HOME` is not set: Compose would take it from the shell, and there is none here");
        insta::assert_snapshot!(check("${A:?say it}"), @"the variable `A` is not set: Compose would take it from the shell, and there is none here");
        insta::assert_snapshot!(check("5$"), @"a `$` stands before something that is not the name of a variable");
        insta::assert_snapshot!(check("${1}"), @"a `$` stands before something that is not the name of a variable");
        insta::assert_snapshot!(check("${A"), @"a `$` stands before something that is not the name of a variable");
        insta::assert_snapshot!(check(&"${A:-".repeat(1000)), @"a `$` stands before something that is not the name of a variable");
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_filled_in_or_refused(text in "[a${}:?+_A1-]{0,40}") {
            let _ = fill(&text);
        }
    }
}
