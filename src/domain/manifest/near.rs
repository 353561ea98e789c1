//! "Did you mean": the known word that is spelled almost like another.

/// Words longer than this are never compared: the effort is a product of lengths.
const LONGEST: usize = 64;

/// The known word nearest to `word`, if it is near enough to be a slip of the fingers: one slip in short words, two in
/// words of six letters and more.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    // A slip changes the length by one at most, so most words are told apart without being compared. Every free variable of every
    // file comes here.
    let near_in_length = |candidate: &&str| {
        let other = candidate.chars().count();
        candidate.len() <= LONGEST && length.abs_diff(other) <= allowed(other)
    };
    known
        .into_iter()
        .filter(|candidate| *candidate != word)
        .filter(near_in_length)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(slips, candidate)| *slips <= allowed(candidate.chars().count()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many slips a known word of so many letters may have.
fn allowed(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_fingers_is_recognised() {
        let known = ["variables", "services", "pins", "os", "branch"];
        let cases = [
            ("varaibles", Some("variables")),
            ("service", Some("services")),
            ("pin", Some("pins")),
            ("brnach", Some("branch")),
            ("pots", None),
            ("o", None),
            ("variables", None),
            ("", None),
        ];
        for (word, wanted) in cases {
            assert_eq!(nearest(word, known), wanted, "{word:?}");
        }
    }
}
