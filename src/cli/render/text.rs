//! Words, lengths of time and harmless texts.

use crate::domain::drift::{LayerStatus, Verdict};
use crate::domain::reported::Phase;
use crate::domain::time::{Timestamp, show_secs};
use anstyle::{AnsiColor, Style};

/// What a text means to whom reads it, shown as a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Not known, or to be looked at.
    Unsure,
    /// Less important than the rest.
    Quiet,
    /// A heading.
    Strong,
}

impl Tone {
    /// The style of texts outside tables.
    pub fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Unsure => AnsiColor::Yellow.on_default(),
            Self::Quiet => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }

    /// A text in this tone.
    pub fn paint(self, text: impl std::fmt::Display) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

/// A text from elsewhere on one line, without anything that could act on a terminal or reorder what is read.
pub fn plain(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The same text with the digests in it as short as people write them.
pub fn short_digests(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut parts = text.split(PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        shown.push_str(PREFIX);
        if digits == 64 {
            shown.push_str(&part[..12]);
            shown.push_str(&part[64..]);
        } else {
            shown.push_str(part);
        }
    }
    shown
}

/// How long ago something was: `3h 20m ago`; `in 2h` if it is still to come.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    match now.secs_since(then) {
        0 => "now".to_owned(),
        secs @ 1.. => format!("{} ago", show_secs(secs)),
        secs => format!("in {}", show_secs(secs.saturating_neg())),
    }
}

/// The same for something that may never have been.
pub fn age_or_never(now: Timestamp, then: Option<Timestamp>) -> String {
    then.map_or_else(|| "never".to_owned(), |then| age(now, then))
}

/// `1 device`, `2 devices`.
pub fn count(number: usize, noun: &str) -> String {
    crate::domain::counted::counted(number, noun)
}

/// A verdict: a sign for the eye and words for everybody.
pub fn verdict(verdict: Verdict) -> (&'static str, Tone) {
    match verdict {
        Verdict::InSync => ("✔ in sync", Tone::Good),
        Verdict::Drifted => ("✘ drifted", Tone::Bad),
        Verdict::Unknown => ("? unknown", Tone::Unsure),
    }
}

/// How one layer stands, in the words of [`verdict`].
pub fn layer_verdict(status: &LayerStatus) -> Verdict {
    match status {
        LayerStatus::InSync => Verdict::InSync,
        LayerStatus::Drifted { .. } => Verdict::Drifted,
        LayerStatus::Unknown { .. } => Verdict::Unknown,
    }
}

/// What an agent is doing.
pub fn phase(phase: Option<Phase>) -> (&'static str, Tone) {
    match phase {
        None => ("unknown", Tone::Unsure),
        Some(Phase::Waiting) => ("waiting", Tone::Plain),
        Some(Phase::Applying) => ("applying", Tone::Unsure),
        Some(Phase::Settled) => ("settled", Tone::Good),
        Some(Phase::Failing) => ("failing", Tone::Bad),
    }
}

/// Names on one line, at most `limit` of them.
pub fn names<T: std::fmt::Display>(all: impl IntoIterator<Item = T>, limit: usize) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    if all.len() <= limit {
        return all.join(", ");
    }
    format!("{} and {} more", all[..limit].join(", "), all.len() - limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_for_people() {
        let at = Timestamp::from_millis;
        let check = |now, then, expected: &str| assert_eq!(age(at(now), at(then)), expected);
        check(0, 0, "now");
        check(12_000_000, 0, "3h 20m ago");
        check(0, 7_200_000, "in 2h");
        assert_eq!(age_or_never(at(0), None), "never");
    }

    #[test]
    fn a_text_from_elsewhere_cannot_act_on_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}d é ✔"), r"a\u{1b}[2Jb\nc\u{202e}d é ✔");
    }

    #[test]
    fn whole_digests_are_shown_short_and_nothing_else_is() {
        let digits = "0123456789ab".to_owned() + &"c".repeat(52);
        assert_eq!(short_digests(&format!("a@sha256:{digits} b")), "a@sha256:0123456789ab b");
        for text in ["", "sha256:", "sha256:0123é", "a/b:1.2", &format!("sha256:{digits}0")] {
            assert_eq!(short_digests(text), text);
        }
    }

    #[test]
    fn long_lists_of_names_are_cut_and_say_so() {
        assert_eq!(names(["a", "b"], 2), "a, b");
        assert_eq!(names(["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
