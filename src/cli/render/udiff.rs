//! Two specs side by side, as `diff -u` shows files.

use super::text::{Tone, plain};
use crate::domain::spec::SealedSpec;
use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;

/// How many equal lines are shown around a difference, as everybody's diff does.
const CONTEXT_LINES: usize = 3;

/// A spec as people read it; nothing for none.
pub fn pretty(spec: Option<&SealedSpec>) -> String {
    let Some(spec) = spec else { return String::new() };
    let text = serde_json::to_string_pretty(&*spec.spec).expect("a spec has only string keys");
    format!("{text}\n")
}

/// The unified diff of two texts, with what each is called; empty if they are equal.
pub fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        if text.is_empty() {
            let _ = writeln!(text, "{}", Tone::Strong.paint(format!("--- {}", plain(old_name))));
            let _ = writeln!(text, "{}", Tone::Strong.paint(format!("+++ {}", plain(new_name))));
        }
        let _ = writeln!(text, "{}", Tone::Quiet.paint(hunk.header()));
        for change in hunk.iter_changes() {
            let (sign, tone) = match change.tag() {
                ChangeTag::Delete => ('-', Tone::Bad),
                ChangeTag::Insert => ('+', Tone::Good),
                ChangeTag::Equal => (' ', Tone::Plain),
            };
            let line = change.value().trim_end_matches('\n');
            let _ = writeln!(text, "{}", tone.paint(format!("{sign}{}", plain(line))));
        }
    }
    text
}

/// What changes in a file, as `git apply` takes it; empty if nothing does. `before` is `None` for a new file.
pub fn patch(path: &str, before: Option<&str>, after: &str) -> String {
    if before == Some(after) {
        return String::new();
    }
    let mut text = format!("diff --git a/{path} b/{path}\n");
    let old = match before {
        Some(_) => format!("a/{path}"),
        None => {
            text.push_str("new file mode 100644\n");
            "/dev/null".to_owned()
        }
    };
    let diff = TextDiff::from_lines(before.unwrap_or_default(), after);
    let _ = write!(text, "{}", diff.unified_diff().context_radius(CONTEXT_LINES).header(&old, &format!("b/{path}")));
    text
}

/// The same for a terminal.
pub fn painted(patch: &str) -> String {
    let paint = |line: &str| {
        let tone = match line.as_bytes().first() {
            _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => Tone::Strong,
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Quiet,
            _ => Tone::Plain,
        };
        format!("{}\n", tone.paint(plain(line.trim_end_matches('\r'))))
    };
    patch.lines().map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;

    #[test]
    fn equal_texts_have_no_diff() {
        assert_eq!(unified("a\n", "a\n", "x", "y"), "");
    }

    #[test]
    fn a_diff_has_names_context_and_signs() {
        let old: String = (1..=9).map(|number| format!("line {number}\n")).collect();
        let new = old.replace("line 5", "line five");
        insta::assert_snapshot!(bare(&unified(&old, &new, "assigned", "desired")), @"
        --- assigned
        +++ desired
        @@ -2,7 +2,7 @@
         line 2
         line 3
         line 4
        -line 5
        +line five
         line 6
         line 7
         line 8
        ");
    }

    #[test]
    fn a_patch_names_new_files_and_missing_line_ends() {
        assert_eq!(patch("a.yml", Some("x\n"), "x\n"), "");
        insta::assert_snapshot!(patch("a.yml", Some("x: 1\ny: 2"), "x: 1\ny: 3"), @r"
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -1,2 +1,2 @@
         x: 1
        -y: 2
        \ No newline at end of file
        +y: 3
        \ No newline at end of file
        ");
        insta::assert_snapshot!(patch("host_vars/a.yml", None, "x: 1\n"), @r"
        diff --git a/host_vars/a.yml b/host_vars/a.yml
        new file mode 100644
        --- /dev/null
        +++ b/host_vars/a.yml
        @@ -0,0 +1 @@
        +x: 1
        ");
    }
}
