//! Command lines as words, without a shell, and `$` as Compose reads it.

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

/// `$$` becomes `$`. `None` if Compose would put the value of a variable here.
pub fn dollars(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('$', Some('$')) => {
                rest.next();
                plain.push('$');
            }
            ('$', Some(next)) if *next == '{' || *next == '_' || next.is_ascii_alphabetic() => return None,
            (c, _) => plain.push(c),
        }
    }
    Some(plain)
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

    #[test]
    fn doubled_dollars_are_dollars_and_variables_are_refused() {
        assert_eq!(dollars("a $$b 5$ $1").as_deref(), Some("a $b 5$ $1"));
        assert_eq!(dollars("$HOME"), None);
        assert_eq!(dollars("x${A:-b}"), None);
    }
}
