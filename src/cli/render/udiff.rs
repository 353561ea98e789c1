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
}
