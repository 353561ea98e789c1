//! One comment of ours on a merge request, found again by a mark that is not shown.

use crate::domain::digest::Digest;

/// The longest body of a comment that forges take, in bytes. GitHub counts 65,536 characters; others take more.
pub const MAX_BODY_BYTES: usize = 65_536;

/// What is known of a comment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// What the forge calls it.
    pub id: u64,
    /// The login of who wrote it.
    pub author: &'a str,
    /// Its text.
    pub body: &'a str,
}

/// What to do so that a text stands in exactly one comment of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Write a new one.
    Write,
    /// Write this one anew.
    Edit(u64),
    /// Nothing: it stands there.
    Keep(u64),
}

/// A mark that no reader sees, in front of a text. The subject tells comments of one kind apart; anything can stand in it.
pub fn marked(kind: &str, subject: &str, text: &str) -> String {
    format!("{}\n{text}", mark(kind, subject))
}

fn mark(kind: &str, subject: &str) -> String {
    // By its digest: what stands in a comment of HTML must not be able to end it.
    format!("<!-- bellwether:{kind}:{} -->", Digest::of(subject.as_bytes()).short())
}

/// Where a text with a mark belongs. Only a comment that begins with the mark and that we wrote is ours: anybody can write the mark, and one who
/// did could change what is said in our name later on.
pub fn place(kind: &str, subject: &str, text: &str, me: &str, seen: &[Seen<'_>]) -> Placement {
    let mark = mark(kind, subject);
    let ours = seen.iter().find(|one| one.author.eq_ignore_ascii_case(me) && one.body.starts_with(&mark));
    match ours {
        None => Placement::Write,
        Some(one) if same(one.body, &marked(kind, subject, text)) => Placement::Keep(one.id),
        Some(one) => Placement::Edit(one.id),
    }
}

/// Forges write line ends in their own way and cut blanks at the end.
fn same(one: &str, other: &str) -> bool {
    one.trim_end().lines().eq(other.trim_end().lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(author: &str, body: &str, expected: Placement) {
        let seen = [Seen { id: 1, author: "anna", body: "looks good" }, Seen { id: 2, author, body }];
        assert_eq!(place("plan", "main", "text", "bellwether[bot]", &seen), expected, "{author}: {body}");
    }

    #[test]
    fn there_is_one_comment_and_it_is_written_anew() {
        let ours = marked("plan", "main", "text");
        check("bellwether[bot]", &ours, Placement::Keep(2));
        check("Bellwether[bot]", &ours.replace('\n', "\r\n"), Placement::Keep(2));
        check("bellwether[bot]", &marked("plan", "main", "other"), Placement::Edit(2));
        check("bellwether[bot]", &marked("plan", "canary", "text"), Placement::Write);
        check("bellwether[bot]", &marked("promotion", "main", "text"), Placement::Write);
        check("bellwether[bot]", "text", Placement::Write);
    }

    #[test]
    fn a_mark_that_somebody_else_wrote_or_quoted_is_not_ours() {
        let ours = marked("plan", "main", "text");
        check("mallory", &ours, Placement::Write);
        check("bellwether[bot]", &format!("> {ours}"), Placement::Write);
    }

    #[test]
    fn nothing_that_a_mark_is_about_can_end_it() {
        let text = marked("plan", "a --> <b>", "text");
        assert_eq!(text.matches("-->").count(), 1, "{text}");
    }
}
