//! An edit that goes to a branch of its own and a merge request: what the branch is called, and what is left to do.

use crate::domain::digest::Digest;
use crate::domain::ids::{CommitId, ObjectId};

/// How much of what is done stands in the name of a branch, in characters: people read the beginning.
const MAX_SLUG: usize = 48;

/// The branch of an edit. The same edit has the same branch, so that asking for it again finds what is there; and whatever stands in the
/// words, the name is one that every forge and every shell takes.
pub fn branch(words: &str) -> String {
    let chars: Vec<char> = words.chars().take(MAX_SLUG).map(|c| c.to_ascii_lowercase()).collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
    let mut slug = String::new();
    for (at, c) in chars.iter().enumerate() {
        match c {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => slug.push(*c),
            // As in a version; anywhere else a dot can make a name that Git refuses.
            '.' if is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)) => slug.push('.'),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    format!("bellwether-edit-{slug}-{}", Digest::of(words.as_bytes()).short())
}

/// Whether a branch has this edit already: its tree, on top of this commit and nothing else.
pub fn is_there(tree: &ObjectId, base: &CommitId, there: (&ObjectId, &[CommitId])) -> bool {
    there.0 == tree && there.1 == std::slice::from_ref(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expected: &str) {
        let name = branch(words);
        let (begins, digest) = name.rsplit_once('-').expect("a digest");
        assert_eq!((begins, digest.len()), (expected, 12), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')), "{name}");
        assert!(!name.contains("..") && !name.contains(".lock"), "{name}");
    }

    #[test]
    fn a_branch_is_called_by_what_is_done_and_nothing_in_the_words_gets_out() {
        check("Pin signage 1.4.2 on kiosk-1", "bellwether-edit-pin-signage-1.4.2-on-kiosk-1");
        check("Pin x 1. on `rm -rf /`; $(reboot) ../../.git", "bellwether-edit-pin-x-1-on-rm-rf-reboot-git");
        check("Tag k: a..b 1..2 1.lock", "bellwether-edit-tag-k-a-b-1-2-1-lock");
        check("漢字", "bellwether-edit-");
        assert_ne!(branch("Pin a 1 on x"), branch("Pin a 1 on x "));
        assert!(branch(&"very ".repeat(100)).len() < 90);
    }
}
