use super::{Child, Difference, ID, Kind, Tree, git_order};
use git2::Oid;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn entry(mode: &str, name: &str, id: u8) -> Vec<u8> {
    [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[id; ID]].concat()
}

/// Entries by name: whether it is a folder, and its content.
fn tree(entries: &BTreeMap<String, (bool, u8)>) -> Tree {
    let mut children: Vec<Child<'_>> = entries
        .iter()
        .map(|(name, (folder, id))| Child {
            name: name.as_bytes(),
            kind: if *folder { Kind::Folder } else { Kind::File },
            id: Oid::from_bytes(&[*id; ID]).unwrap(),
        })
        .collect();
    children.sort_by(git_order);
    let mode = |kind| if kind == Kind::Folder { "40000" } else { "100644" };
    let bytes: Vec<u8> = children
        .iter()
        .flat_map(|child| entry(mode(child.kind), std::str::from_utf8(child.name).unwrap(), child.id.as_bytes()[0]))
        .collect();
    Tree::check(&bytes).unwrap()
}

fn all_of(tree: &Tree) -> Vec<(Vec<u8>, Kind, Oid)> {
    tree.children().map(|child| (child.name.to_vec(), child.kind, child.id)).collect()
}

fn entries() -> impl Strategy<Value = BTreeMap<String, (bool, u8)>> {
    prop::collection::btree_map("[a-c.0]{1,3}", (any::<bool>(), 0..3_u8), 0..12)
}

proptest! {
    #[test]
    fn one_tree_and_what_differs_make_the_other(old in entries(), new in entries()) {
        let (old, new) = (tree(&old), tree(&new));
        let mut made = all_of(&old);
        for difference in old.differences(&new) {
            let (gone, come) = match difference {
                Difference::Removed(gone) => (Some(gone), None),
                Difference::Changed(gone, come) => (Some(gone), Some(come)),
                Difference::Added(come) => (None, Some(come)),
            };
            if let Some(gone) = gone {
                let known = made.iter().position(|one| *one == (gone.name.to_vec(), gone.kind, gone.id));
                made.remove(known.expect("only what is there can go"));
            }
            made.extend(come.map(|child| (child.name.to_vec(), child.kind, child.id)));
        }
        let in_order = |mut all: Vec<(Vec<u8>, Kind, Oid)>| {
            all.sort_by_key(|(name, kind, _)| (name.clone(), *kind == Kind::Folder));
            all
        };
        prop_assert_eq!(in_order(made), in_order(all_of(&new)));
    }

    #[test]
    fn equal_trees_do_not_differ(one in entries()) {
        let (one, two) = (tree(&one), tree(&one));
        prop_assert_eq!(one.differences(&two), []);
    }

    #[test]
    fn any_bytes_are_a_tree_or_refused(bytes: Vec<u8>) {
        if let Ok(tree) = Tree::check(&bytes) {
            tree.children().count();
        }
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    let good = entry("100644", "a", 1);
    assert!(Tree::check(&good).is_ok());
    let cases = [
        good[..good.len() - 1].to_vec(),
        entry("", "a", 1),
        entry("100648", "a", 1),
        entry("1006440000", "a", 1),
        entry("100644", "", 1),
        [entry("100644", "b", 1), entry("100644", "a", 1)].concat(),
        [good.clone(), good.clone()].concat(),
        b"100644 a".to_vec(),
        b"\0".to_vec(),
    ];
    for case in cases {
        assert!(Tree::check(&case).is_err(), "{}", case.escape_ascii());
    }
}
