//! Two specs side by side, as `diff -u` shows files.

use super::text::{Tone, plain};
use crate::domain::manifest::sealed;
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

/// What changes in files, as `git apply` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Empty if nothing changes.
    pub text: String,
    /// What `git apply` needs.
    pub applies: Applies,
}

/// What `git apply` needs to take a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Applies {
    /// Nothing.
    #[default]
    AsItIs,
    /// `--unidiff-zero`: a change stands next to something encrypted, which is left out.
    WithUnidiffZero,
    /// It cannot: a line that changes is encrypted itself, and not shown.
    NotAtAll,
}

impl Patch {
    /// What people must know before they hand it to `git apply`.
    pub fn warning(&self) -> Option<&'static str> {
        match self.applies {
            Applies::AsItIs => None,
            Applies::WithUnidiffZero => {
                Some("lines encrypted with Ansible Vault are left out: `git apply` takes it with `--unidiff-zero`")
            }
            Applies::NotAtAll => {
                Some("a line that changes is encrypted with Ansible Vault and not shown: `git apply` cannot take this")
            }
        }
    }
}

impl FromIterator<Self> for Patch {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            text: sum.text + &one.text,
            applies: sum.applies.max(one.applies),
        })
    }
}

/// A line of a hunk, and how many lines of both sides come before it.
struct Line<'a> {
    tag: ChangeTag,
    text: &'a str,
    old_at: usize,
    new_at: usize,
    is_sealed: bool,
}

/// What changes in a file; nothing of what is encrypted is shown. `before` is `None` for a new file.
pub fn patch(path: &str, before: Option<&str>, after: &str) -> Patch {
    if before == Some(after) {
        return Patch::default();
    }
    let mut text = format!("diff --git a/{path} b/{path}\n");
    let old = match before {
        Some(_) => format!("a/{path}"),
        None => {
            text.push_str("new file mode 100644\n");
            "/dev/null".to_owned()
        }
    };
    let _ = write!(text, "--- {old}\n+++ b/{path}\n");
    let before = before.unwrap_or_default();
    let (sealed_before, sealed_after) = (sealed_lines(before), sealed_lines(after));
    let diff = TextDiff::from_lines(before, after);
    let mut applies = Applies::AsItIs;
    for group in diff.grouped_ops(CONTEXT_LINES) {
        let mut lines = Vec::new();
        for op in &group {
            let (mut old_at, mut new_at) = (op.old_range().start, op.new_range().start);
            for change in diff.iter_changes(op) {
                let tag = change.tag();
                let (of, at) =
                    if tag == ChangeTag::Delete { (&sealed_before, old_at) } else { (&sealed_after, new_at) };
                let is_sealed = of.get(at).copied().unwrap_or(false);
                lines.push(Line { tag, text: change.value(), old_at, new_at, is_sealed });
                old_at += usize::from(tag != ChangeTag::Insert);
                new_at += usize::from(tag != ChangeTag::Delete);
            }
        }
        // An equal line can be left out. Of one that changes people see at least that.
        for part in lines.split(|line| line.is_sealed && line.tag == ChangeTag::Equal) {
            applies = applies.max(hunk(part, sealed_before.len(), &mut text));
        }
    }
    Patch { text, applies }
}

/// For each line of a text whether it belongs to something encrypted.
fn sealed_lines(text: &str) -> Vec<bool> {
    let mut start = 0;
    let hides = |line: &str| {
        let hides = sealed::hides(text.as_bytes(), start, line.trim_end_matches(['\n', '\r']));
        start += line.len();
        hides
    };
    text.split_inclusive('\n').map(hides).collect()
}

/// Writes a hunk; nothing if nothing changes in these lines. `total` is how many lines the old file has.
fn hunk(lines: &[Line<'_>], total: usize, text: &mut String) -> Applies {
    let Some(first) = lines.first().filter(|_| lines.iter().any(|line| line.tag != ChangeTag::Equal)) else {
        return Applies::AsItIs;
    };
    let old = lines.iter().filter(|line| line.tag != ChangeTag::Insert).count();
    let new = lines.iter().filter(|line| line.tag != ChangeTag::Delete).count();
    let _ = writeln!(text, "@@ -{} +{} @@", range(first.old_at, old), range(first.new_at, new));
    let mut applies = Applies::AsItIs;
    for Line { tag, text: line, is_sealed, .. } in lines {
        let sign = match tag {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        if *is_sealed {
            applies = Applies::NotAtAll;
            let _ = writeln!(text, "{sign}{}", sealed::ENCRYPTED);
            continue;
        }
        let _ = write!(text, "{sign}{line}");
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
    // Without a line below the change `git apply` takes it for the end of the file.
    let ends_with_change = lines.last().is_some_and(|last| last.tag != ChangeTag::Equal);
    if ends_with_change && first.old_at + old < total {
        applies = applies.max(Applies::WithUnidiffZero);
    }
    applies
}

/// Where the lines of one side are, as headers of hunks say it.
fn range(before: usize, count: usize) -> String {
    match count {
        0 => format!("{before},0"),
        1 => format!("{}", before + 1),
        _ => format!("{},{count}", before + 1),
    }
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
        assert_eq!(patch("a.yml", Some("x\n"), "x\n"), Patch::default());
        insta::assert_snapshot!(patch("a.yml", Some("x: 1\ny: 2"), "x: 1\ny: 3").text, @r"
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
        insta::assert_snapshot!(patch("host_vars/a.yml", None, "x: 1\n").text, @r"
        diff --git a/host_vars/a.yml b/host_vars/a.yml
        new file mode 100644
        --- /dev/null
        +++ b/host_vars/a.yml
        @@ -0,0 +1 @@
        +x: 1
        ");
    }

    /// Applies a patch with the real git; the flags are those that the patch asks for.
    fn applied(patch: &Patch, before: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.yml"), before).expect("write");
        std::fs::write(folder.path().join("patch"), &patch.text).expect("write");
        let flags: &[&str] = match patch.applies {
            Applies::AsItIs => &[],
            Applies::WithUnidiffZero => &["--unidiff-zero"],
            Applies::NotAtAll => panic!("it cannot be applied"),
        };
        let mut git = std::process::Command::new("git");
        let status = git.arg("apply").args(flags).arg("patch").current_dir(folder.path()).status().expect("run git");
        assert!(status.success(), "git apply {flags:?}\n{}", patch.text);
        std::fs::read_to_string(folder.path().join("a.yml")).expect("read")
    }

    #[test]
    fn encrypted_lines_are_left_out_and_git_applies_the_rest() {
        let digits = "6138".repeat(20);
        let vault = format!("token: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {digits}\n  6535\n");
        let cases = [
            (format!("a: 1\nb: 2\n{vault}c: 3\nd: 4\n"), "b: 2", "b: 5"),
            (format!("a: 1\nb: 2\n{vault}c: 3\nd: 4\n"), "c: 3\n", ""),
            (format!("{vault}c: 3\n"), "c: 3", "c: 3\nd: 4"),
            (format!("a: 1\n{vault}b: 2\n{vault}c: 3\n"), "b: 2", "b: 5"),
            ("a: 1\nb: 2\ne: { __ansible_vault: x }\nc: 3\n".to_owned(), "b: 2", "b: 5"),
            (format!("a: 1\n{vault}b: {{c: \"$ANSIBLE_VAULT;1.1\", d: 1}}\n"), "d: 1", "d: 2"),
        ];
        let mut shown = String::new();
        for (before, from, to) in cases {
            let after = before.replace(from, to);
            let patch = patch("a.yml", Some(&before), &after);
            assert!(!patch.text.contains("ANSIBLE_VAULT") && !patch.text.contains("6138"), "{}", patch.text);
            if patch.applies != Applies::NotAtAll {
                assert_eq!(applied(&patch, &before), after);
            }
            shown.push_str(&format!("{:?}\n{}\n", patch.applies, patch.text));
        }
        insta::assert_snapshot!(shown, @r"
        AsItIs
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -1,3 +1,3 @@
         a: 1
        -b: 2
        +b: 5
         token: !vault |

        AsItIs
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -7,2 +7 @@
        -c: 3
         d: 4

        AsItIs
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -5 +5,2 @@
         c: 3
        +d: 4

        AsItIs
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -6,2 +6,2 @@
        -b: 2
        +b: 5
         token: !vault |

        WithUnidiffZero
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -1,2 +1,2 @@
         a: 1
        -b: 2
        +b: 5

        NotAtAll
        diff --git a/a.yml b/a.yml
        --- a/a.yml
        +++ b/a.yml
        @@ -6 +6 @@
        -!vault (encrypted)
        +!vault (encrypted)
        ");
    }
}
