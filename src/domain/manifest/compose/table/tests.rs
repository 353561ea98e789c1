//! The table is complete, and the document follows it.

use super::*;
use std::collections::BTreeSet;

/// Every key of the specification's JSON Schema as of 2026, one a line.
const SPECIFICATION: &str = include_str!("specification.txt");

#[test]
fn every_key_of_the_specification_is_in_the_table_and_no_other() {
    let path = |section: &str, key: &str| if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
    let read = SECTIONS.iter().flat_map(|section| section.keys.iter().map(|key| path(section.path, key.name)));
    let refused = INSIDE_REFUSED.iter().flat_map(|(section, keys)| keys.iter().map(|key| path(section, key)));
    let ours: BTreeSet<String> = read.chain(refused).collect();
    let theirs: BTreeSet<String> = SPECIFICATION.lines().map(str::to_owned).collect();
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), [""; 0], "missing in the table");
    assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), [""; 0], "not in the specification");
}

#[test]
fn sections_are_sorted_and_every_refusal_says_what_to_do() {
    for section in SECTIONS {
        assert!(section.keys.windows(2).all(|pair| pair[0].name < pair[1].name), "sort the keys of {:?}", section.path);
        for key in section.keys {
            if let Fate::Refused { why, instead } = key.fate {
                assert!(!why.is_empty() && !instead.is_empty() && !why.ends_with('.') && !instead.ends_with('.'));
            }
        }
    }
}

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compose.md")
}

#[test]
fn the_document_lists_every_key() {
    let kept = std::fs::read_to_string(path()).expect("docs/compose.md is there");
    assert_eq!(
        kept,
        document(),
        "docs/compose.md is stale: `cargo test --all-features --lib write_compose -- --ignored` writes it"
    );
}

#[test]
#[ignore = "writes docs/compose.md"]
fn write_compose() {
    std::fs::write(path(), document()).expect("docs/ can be written to");
}
