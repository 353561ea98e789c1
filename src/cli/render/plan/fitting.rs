//! Texts that must not be longer than a forge takes: whole blocks are left out, never parts of one.

/// A part of a text in two lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// With everything.
    pub full: String,
    /// What is left if there is no room for everything.
    pub short: String,
}

impl Block {
    /// A block that cannot be shortened.
    pub fn whole(text: String) -> Self {
        Self { short: text.clone(), full: text }
    }
}

/// As many blocks as fit into `room` bytes, in their order, and how many were left out and how many shortened. That each is seen
/// comes before that any is seen whole.
pub fn fitted(blocks: &[Block], room: usize) -> Fitted {
    let mut used = 0;
    let shown = blocks.iter().take_while(|block| {
        used += block.short.len();
        used <= room
    });
    let shown: Vec<&Block> = shown.collect();
    let mut left = room - shown.iter().map(|block| block.short.len()).sum::<usize>();
    let (mut text, mut shortened) = (String::new(), 0);
    for block in &shown {
        let more = block.full.len().saturating_sub(block.short.len());
        // What was left out entirely has a better claim to the room that is left, but nothing of it fitted.
        if more <= left {
            left -= more;
            text.push_str(&block.full);
        } else {
            shortened += 1;
            text.push_str(&block.short);
        }
    }
    Fitted { text, left_out: blocks.len() - shown.len(), shortened }
}

/// Blocks that fitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The text.
    pub text: String,
    /// How many blocks are not in it.
    pub left_out: usize,
    /// How many are in it without everything.
    pub shortened: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(full: &str, short: &str) -> Block {
        Block { full: full.to_owned(), short: short.to_owned() }
    }

    fn check(room: usize) -> String {
        let Fitted { text, left_out, shortened } =
            fitted(&[block("aaaa", "a"), block("bbb", "b"), block("cc", "c")], room);
        format!("{text} -{left_out} ~{shortened}")
    }

    #[test]
    fn each_is_seen_before_any_is_seen_whole() {
        let seen: Vec<String> = [0, 1, 3, 4, 5, 6, 9].map(check).into();
        assert_eq!(
            seen,
            [" -3 ~0", "a -2 ~1", "abc -0 ~3", "abcc -0 ~2", "abbbc -0 ~2", "aaaabc -0 ~2", "aaaabbbcc -0 ~0"]
        );
    }

    proptest! {
        #[test]
        fn what_fits_is_never_longer_than_the_room_and_has_only_whole_blocks(
            lengths in prop::collection::vec((0_usize..40, 0_usize..40), 0..12), room in 0_usize..200,
        ) {
            let blocks: Vec<Block> = lengths.iter().map(|(short, more)| block(&"x".repeat(short + more), &"x".repeat(*short))).collect();
            let Fitted { text, left_out, .. } = fitted(&blocks, room);
            prop_assert!(text.len() <= room);
            if text.is_empty() { prop_assert!(left_out == blocks.len() || blocks.iter().take(blocks.len() - left_out).all(|one| one.short.is_empty())); }
        }
    }
}
