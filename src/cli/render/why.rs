//! Where a device's values come from.

use super::table::{Cell, Table, row};
use super::text::{Tone, age, count, plain};
use crate::domain::desired::{Explained, Explanation, Overridden, PassedOver, PickedRelease, UsedVariable};
use crate::domain::history::LastChange;
use crate::domain::overview::device::DeviceDetail;
use crate::domain::time::Timestamp;
use std::fmt::Write as _;

/// Values, where each is written and since when; below each what it came to and what it overrode.
pub fn table(values: &[&Explained]) -> Table {
    let mut table = Table::new(&["KEY", "VALUE", "FROM", "LAST CHANGED"]);
    for Explained { key, value, place, changed, picked, rendered, uses, overridden } in values {
        let shown = rendered.as_ref().unwrap_or(value);
        table.row(row![key, Cell::new(shown, Tone::Strong), place, last_change(changed.as_ref())]);
        let quiet = |text: &str| Cell::new(text, Tone::Quiet);
        if rendered.is_some() || !uses.is_empty() {
            table.row(row![quiet("  template"), quiet(value), "", ""]);
        }
        for UsedVariable { name, value, place } in uses {
            table.row(row![quiet(&format!("  uses {name}")), quiet(value), quiet(&place.to_string()), ""]);
        }
        if let Some(PickedRelease { release, passed_over }) = picked {
            let release = release.as_ref().map_or("no release", |release| release.as_str());
            table.row(row![quiet("  picks"), Cell::new(release, Tone::Strong), "", ""]);
            for PassedOver { release, why } in passed_over {
                table.row(row![quiet("  passes over"), quiet(release.as_str()), quiet(why), ""]);
            }
        }
        for Overridden { value, place, changed } in overridden {
            let changed = last_change(changed.as_ref());
            table.row(row![quiet("  overrides"), quiet(value), quiet(&place.to_string()), quiet(&changed)]);
        }
    }
    table
}

/// `1a2b3c4d Anna, 2026-11-02`.
fn last_change(changed: Option<&LastChange>) -> String {
    match changed {
        None => String::new(),
        Some(LastChange::Commit { commit, author, at }) => {
            let at = at.to_string();
            let day = at.split_once('T').map_or(at.as_str(), |(day, _)| day);
            format!("{} {author}, {day}", commit.short())
        }
        Some(LastChange::NotCommitted) => "not committed yet".to_owned(),
        Some(LastChange::OlderThan { commits }) => format!("older than {}", count(*commits, "commit")),
    }
}

/// What is said of a device by itself and by operators, and is never part of its content.
pub fn attributes(detail: &DeviceDetail, now: Timestamp) -> Table {
    let mut table = Table::new(&["ATTRIBUTE", "VALUE", "SAID BY"]);
    for (key, value) in &detail.attributes {
        table.row(row![format!("reported.{key}"), Cell::new(value, Tone::Strong), "the device"]);
    }
    for (key, attribute) in &detail.registry {
        let by = format!("{}, {}", attribute.actor, age(now, attribute.since));
        table.row(row![format!("registry.{key}"), Cell::new(&attribute.value, Tone::Strong), by]);
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
    use crate::domain::finding::Place;

    fn explanation() -> Explanation {
        let place = |file: &str, line| Place { file: file.to_owned(), line, column: 3 };
        let value = |key: &str, value: &str, file: &str| Explained {
            key: key.to_owned(),
            value: value.to_owned(),
            place: place(file, 2),
            changed: None,
            picked: None,
            rendered: None,
            uses: Vec::new(),
            overridden: Vec::new(),
        };
        let mut branch = value("branch", "canary", "host_vars/kiosk-1.yml");
        branch.changed = Some(LastChange::Commit {
            commit: "1a2b3c4d".repeat(5).parse().expect("a commit"),
            author: "Anna Muster".to_owned(),
            at: Timestamp::from_millis(1_795_000_000_000),
        });
        branch.overridden = vec![Overridden {
            value: "production".to_owned(),
            place: place("group_vars/all.yml", 1),
            changed: Some(LastChange::OlderThan { commits: 10_000 }),
        }];
        let mut pin = value("pins.signage", "^2.0", "group_vars/kiosks.yml");
        pin.changed = Some(LastChange::NotCommitted);
        pin.picked = Some(PickedRelease {
            release: Some("2.0.0".parse().expect("a version")),
            passed_over: vec![PassedOver { release: "2.1.0".parse().expect("a version"), why: "a draft".to_owned() }],
        });
        Explanation {
            device: "kiosk-1".parse().expect("a device"),
            groups: vec!["boards".to_owned(), "kiosks".to_owned()],
            problem: None,
            values: vec![branch, pin, value("signage/player.environment.URL", "https://example.org", "fleet.yml")],
        }
    }

    #[test]
    fn values_come_with_their_place_and_what_they_overrode() {
        let explanation = explanation();
        let text =
            format!("{}\n{}", head(&explanation), table(&explanation.values.iter().collect::<Vec<_>>()).text(None));
        insta::assert_snapshot!(bare(&text), @r"
        groups, later ones win: all, boards, kiosks

        KEY                              VALUE                 FROM                        LAST CHANGED
        branch                           canary                host_vars/kiosk-1.yml:2:3   1a2b3c4d Anna Muster, 2026-11-18
          overrides                      production            group_vars/all.yml:1:3      older than 10000 commits
        pins.signage                     ^2.0                  group_vars/kiosks.yml:2:3   not committed yet
          picks                          2.0.0
          passes over                    2.1.0                 a draft
        signage/player.environment.URL   https://example.org   fleet.yml:2:3
        ");
    }
}
