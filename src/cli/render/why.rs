//! Where a device's values come from.

use super::table::{Cell, Table, row};
use super::text::{Tone, plain};
use crate::domain::desired::{Explained, Explanation};
use std::fmt::Write as _;

/// The values that a key names: itself, what is below it, and environment variables and other last parts of that name.
pub fn matching<'a>(explanation: &'a Explanation, key: Option<&str>) -> Vec<&'a Explained> {
    let named = |one: &&Explained| match key {
        None => true,
        Some(key) => {
            let below = one.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']));
            below || one.key.rsplit('.').next() == Some(key)
        }
    };
    explanation.values.iter().filter(named).collect()
}

/// Values, where each is written, and below each what it overrode.
pub fn table(values: &[&Explained]) -> Table {
    let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
    for Explained { key, value, place, overridden } in values {
        table.row(row![key, Cell::new(value, Tone::Strong), place]);
        for one in overridden {
            let quiet = |text: String| Cell::new(text, Tone::Quiet);
            table.row(row![quiet("  overrides".to_owned()), quiet(one.value.clone()), quiet(one.place.to_string())]);
        }
    }
    table
}

/// What an explanation says besides its values.
pub fn head(explanation: &Explanation) -> String {
    let mut text = String::new();
    if !explanation.groups.is_empty() {
        let groups: Vec<String> = explanation.groups.iter().map(|group| plain(group)).collect();
        let _ = writeln!(text, "groups, later ones win: all, {}", groups.join(", "));
    }
    if let Some(problem) = &explanation.problem {
        let _ = writeln!(text, "{} {}", Tone::Bad.paint("gets nothing new from this commit:"), plain(problem));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;
    use crate::domain::desired::Overridden;
    use crate::domain::finding::Place;

    fn explanation() -> Explanation {
        let place = |file: &str, line| Place { file: file.to_owned(), line, column: 3 };
        let value = |key: &str, value: &str, file: &str| Explained {
            key: key.to_owned(),
            value: value.to_owned(),
            place: place(file, 2),
            overridden: Vec::new(),
        };
        let mut branch = value("branch", "canary", "host_vars/kiosk-1.yml");
        branch.overridden = vec![Overridden { value: "production".to_owned(), place: place("group_vars/all.yml", 1) }];
        Explanation {
            device: "kiosk-1".parse().expect("a device"),
            groups: vec!["boards".to_owned(), "kiosks".to_owned()],
            problem: None,
            values: vec![
                branch,
                value("pins.signage", "2.0.0", "group_vars/kiosks.yml"),
                value("signage/player.environment.URL", "https://example.org", "fleet.yml"),
            ],
        }
    }

    #[test]
    fn values_come_with_their_place_and_what_they_overrode() {
        let explanation = explanation();
        let text = format!("{}\n{}", head(&explanation), table(&matching(&explanation, None)).text(None));
        insta::assert_snapshot!(bare(&text), @"
        groups, later ones win: all, boards, kiosks

        KEY                              VALUE                 FROM
        branch                           canary                host_vars/kiosk-1.yml:2:3
          overrides                      production            group_vars/all.yml:1:3
        pins.signage                     2.0.0                 group_vars/kiosks.yml:2:3
        signage/player.environment.URL   https://example.org   fleet.yml:2:3
        ");
    }

    #[test]
    fn a_key_names_itself_what_is_below_it_and_variables_of_that_name() {
        let explanation = explanation();
        let check = |key: &str, expected: &[&str]| {
            let found: Vec<&str> = matching(&explanation, Some(key)).iter().map(|one| one.key.as_str()).collect();
            assert_eq!(found, expected, "{key}");
        };
        check("branch", &["branch"]);
        check("pins", &["pins.signage"]);
        check("signage", &["pins.signage", "signage/player.environment.URL"]);
        check("URL", &["signage/player.environment.URL"]);
        check("pin", &[]);
    }
}
