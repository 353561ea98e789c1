//! Names in a filter that no device has, and the one that was probably meant.
//!
//! An unknown name is no error: tomorrow a device may have it. But a filter that means nothing because of a slip of the fingers
//! should say so.

use super::Index;
use crate::domain::filter::{Attribute, STEP, Source, Term, Test};
use crate::domain::manifest::near::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// How many names are told at most: a filter has few.
const MAX_SLIPS: usize = 8;

impl Index {
    /// What a filter names that no device has, with the nearest name that one has: `vars.colour`, `vars.color`.
    pub fn slips(&self, test: &Test) -> Vec<(String, String)> {
        let mut named = BTreeSet::new();
        attributes(test, &mut named);
        let mut variables: Option<BTreeSet<&str>> = None;
        let mut slips = BTreeMap::new();
        for Attribute { source, name } in named {
            let Some(prefix) = source.prefix() else { continue };
            let near = if *source == Source::Variables {
                let first = name.split(STEP).next().unwrap_or_default();
                let known = variables.get_or_insert_with(|| self.variables());
                if known.contains(first) { None } else { Some((first, nearest(first, known.iter().copied()))) }
            } else {
                let of_source = || self.attributes().filter(|one| one.source == *source).map(|one| &*one.name);
                let is_known = of_source().any(|known| known == &**name);
                if is_known { None } else { Some((&**name, nearest(name, of_source()))) }
            };
            if let Some((name, Some(near))) = near {
                slips.insert(format!("{prefix}.{name}"), format!("{prefix}.{near}"));
            }
        }
        slips.into_iter().take(MAX_SLIPS).collect()
    }

    /// The names of the variables that some device has.
    fn variables(&self) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut names = BTreeSet::new();
        for vars in self.vars.iter().flatten() {
            names.extend(vars.own_names());
            if seen.insert(vars.shared()) {
                names.extend(vars.names());
            }
        }
        names
    }
}

fn attributes<'a>(test: &'a Test, named: &mut BTreeSet<&'a Attribute>) {
    match test {
        Test::Not(one) => attributes(one, named),
        Test::All(all) | Test::Any(all) => all.iter().for_each(|one| attributes(one, named)),
        Test::One(attribute, _) => {
            named.insert(attribute);
        }
        Test::Two(Term { attribute: one, .. }, _, Term { attribute: other, .. }) => named.extend([one, other]),
        Test::Is(_) | Test::InGroup(_) | Test::InDynamic(_) => {}
    }
}
