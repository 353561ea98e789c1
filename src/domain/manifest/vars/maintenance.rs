//! The typed key `maintenance`: `{zone: …, download: [window, …], apply: [window, …]}`.

use super::typed::{merge, templated, value_text};
use super::{Merge, Value};
use crate::domain::finding::codes;
use crate::domain::manifest::compose::units;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys, Setting, setting};
use crate::domain::manifest::yaml::{Key, Kind, Node, Span};
use crate::domain::manifest::zones::Zone;
use crate::domain::window::{MAX_WINDOW_MINUTES, Minutes, Schedule};
use std::collections::BTreeMap;
use std::fmt;

/// How many windows one list may have. Each turn of an agent looks at all of them.
const MAX_WINDOWS: usize = 32;
const NANOS_PER_MINUTE: u64 = 60_000_000_000;
const KNOWN: &[&str] = &["zone", "download", "apply"];

/// A key of `maintenance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaintenanceKey {
    /// `zone`: the time zone of windows that name none.
    Zone,
    /// `download`: when things may be fetched.
    Download,
    /// `apply`: when things may be changed.
    Apply,
}

impl fmt::Display for MaintenanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zone => "zone",
            Self::Download => "download",
            Self::Apply => "apply",
        })
    }
}

/// A value of `maintenance`.
#[derive(Clone, Debug, PartialEq)]
pub enum MaintenanceValue {
    /// Of `zone`.
    Zone(Value<Zone>),
    /// Of `download` and `apply`: at least one.
    Windows(Vec<WrittenWindow>),
}

impl fmt::Display for MaintenanceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(zone) => write!(f, "{zone}"),
            Self::Windows(windows) => {
                let all: Vec<String> = windows.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
        }
    }
}

/// A window as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenWindow {
    /// Where.
    pub span: Span,
    /// When it opens.
    pub opens: Schedule,
    /// How long it is open.
    pub minutes: Minutes,
    /// Its own time zone.
    pub zone: Option<Zone>,
    /// Its opening in the words of the file, on one line.
    words: String,
}

impl fmt::Display for WrittenWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.words, self.minutes)?;
        match &self.zone {
            Some(zone) => write!(f, " ({zone})"),
            None => Ok(()),
        }
    }
}

pub(super) fn maintenance(node: &Node, problems: &mut Problems) -> Option<Merge<MaintenanceKey, MaintenanceValue>> {
    if node.is_null() {
        return merge(node, "`maintenance`", problems, |_, _| None, |_, _| None);
    }
    let mut entries = BTreeMap::new();
    for field in &read::map(node, "`maintenance`", problems)?.entries {
        let Some(key) = key(&field.key) else {
            let keys = Keys { what: "`maintenance`", known: KNOWN, later: &[], extensions: Extensions::Unknown };
            read::unknown(field, &keys, problems);
            continue;
        };
        let value = setting(&field.value, problems, |node, problems| match key {
            MaintenanceKey::Zone => templated(node, "`zone`", problems, parse_zone).map(MaintenanceValue::Zone),
            MaintenanceKey::Download | MaintenanceKey::Apply => windows(node, key, problems),
        });
        if let Some(value) = value {
            entries.insert(key, Setting { span: field.key.span, ..value });
        }
    }
    Some(Merge { span: node.span, base: super::Base::Inherited, entries })
}

fn key(key: &Key) -> Option<MaintenanceKey> {
    match &*key.text {
        "zone" => Some(MaintenanceKey::Zone),
        "download" => Some(MaintenanceKey::Download),
        "apply" => Some(MaintenanceKey::Apply),
        _ => None,
    }
}

/// The name of a time zone.
pub fn parse_zone(text: &str, span: Span, _: &'static str, problems: &mut Problems) -> Option<Zone> {
    match Zone::named(text) {
        Ok(zone) => {
            if zone.is_irregular() {
                let message = format!(
                    "the clocks of {zone} are set by dates that no rule describes; devices count with `{}` all year",
                    zone.rule
                );
                let hint =
                    "leave an hour more on both sides of its windows, or give them a zone such as `UTC`".to_owned();
                problems.warning(span, codes::IRREGULAR_TIME_ZONE, message, Some(hint));
            }
            Some(zone)
        }
        Err(unknown) => {
            let hint = match unknown.near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write a name of the IANA database, such as `Europe/Zurich` or `UTC`".to_owned(),
            };
            let message = format!("there is no time zone `{}`", show(text));
            problems.error_hint(span, codes::UNKNOWN_TIME_ZONE, message, hint);
            None
        }
    }
}

fn windows(node: &Node, key: MaintenanceKey, problems: &mut Problems) -> Option<MaintenanceValue> {
    let what = match key {
        MaintenanceKey::Download => "`download`",
        MaintenanceKey::Apply | MaintenanceKey::Zone => "`apply`",
    };
    let items = read::list(node, what, problems)?;
    if items.is_empty() {
        // Either reading would surprise somebody: never, or at any time.
        let message = format!("{what} lists no window");
        let hint = "write `null` to lift the restriction, or use `hold` to keep the device from changing";
        problems.error_hint(node.span, codes::BAD_WINDOW, message, hint);
        return None;
    }
    if items.len() > MAX_WINDOWS {
        let message = format!("{what} lists {} windows; at most {MAX_WINDOWS} are accepted", items.len());
        problems.error(node.span, codes::TOO_LARGE, message);
        return None;
    }
    let errors = problems.errors();
    let windows: Vec<WrittenWindow> = items.iter().filter_map(|item| read_window(item, problems)).collect();
    (problems.errors() == errors).then_some(MaintenanceValue::Windows(windows))
}

/// `{cron: …, duration: …}` or `{days: …, time: …, duration: …}`, both with a `zone` if they want.
pub fn read_window(node: &Node, problems: &mut Problems) -> Option<WrittenWindow> {
    const KEYS: Keys = Keys {
        what: "a window",
        known: &["cron", "days", "time", "duration", "zone"],
        later: &[],
        extensions: Extensions::Unknown,
    };
    const FORM: &str =
        "write `{days: mon-fri, time: 02:00, duration: 2h}` or `{cron: \"0 2 * * mon-fri\", duration: 2h}`";
    let errors = problems.errors();
    let (mut by_cron, mut days, mut time, mut minutes, mut zone) = (None, None, None, None, None);
    for field in read::fields(node, &KEYS, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "cron" => by_cron = Some(cron(value, problems)),
            "days" => days = Some(weekdays(value, problems)),
            "time" => time = Some(time_of_day(value, problems)),
            "duration" => minutes = Some(duration(value, problems)),
            _ => {
                let text = value_text(value, "`zone`", problems);
                zone = text.and_then(|text| parse_zone(&text, value.span, "`zone`", problems));
            }
        }
    }
    if minutes.is_none() {
        problems.error_hint(node.span, codes::BAD_WINDOW, "a window has no `duration`", FORM);
    }
    let opens = match (by_cron, days, time) {
        (Some(cron), None, None) => cron,
        (None, days, Some(time)) => match (days, time) {
            (None, time) => {
                time.map(|(hour, minute)| (Schedule::weekly(0..7, hour, minute), at("every day", hour, minute)))
            }
            (Some(days), time) => days.zip(time).map(|((days, words), (hour, minute))| {
                (Schedule::weekly(days, hour, minute), at(&words, hour, minute))
            }),
        },
        (Some(_), _, _) => {
            problems.error_hint(node.span, codes::BAD_WINDOW, "a window has both `cron` and `days` or `time`", FORM);
            None
        }
        (None, _, None) => {
            problems.error_hint(node.span, codes::BAD_WINDOW, "a window has neither `cron` nor `time`", FORM);
            None
        }
    };
    let ((opens, words), minutes) = opens.zip(minutes?)?;
    (problems.errors() == errors).then_some(WrittenWindow { span: node.span, opens, minutes, zone, words })
}

fn at(days: &str, hour: u32, minute: u32) -> String {
    format!("{days} {hour:02}:{minute:02}")
}

fn cron(node: &Node, problems: &mut Problems) -> Option<(Schedule, String)> {
    let text = value_text(node, "`cron`", problems)?;
    match text.parse::<Schedule>() {
        Ok(schedule) => Some((schedule, text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))),
        Err(error) => {
            let hint = "fields are minute, hour, day of the month, month and weekday: `30 2 * * mon-fri`";
            problems.error_hint(node.span, codes::BAD_CRON, show_error(&error.to_string()), hint);
            None
        }
    }
}

fn show_error(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `mon-fri`, or `[mon, wed-fri]`.
fn weekdays(node: &Node, problems: &mut Problems) -> Option<(Vec<u32>, String)> {
    let items = match &node.kind {
        Kind::List(_) => read::list(node, "`days`", problems)?,
        Kind::Scalar(_) | Kind::Map(_) => std::slice::from_ref(node),
    };
    let mut all = Vec::new();
    let mut words = Vec::new();
    for item in items {
        let text = value_text(item, "`days`", problems)?;
        let named = !text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*');
        match Schedule::weekdays(&text) {
            Ok(days) if named => all.extend(days),
            Ok(_) | Err(_) => {
                const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
                let near = NAMES.into_iter().find(|name| text.to_ascii_lowercase().starts_with(name));
                let hint = match near.or_else(|| nearest(&text, NAMES)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write `mon`, `mon-fri` or `[mon, wed, sat]`; leave `days` out for every day".to_owned(),
                };
                let message = format!("`{}` is no weekday", show(&text));
                problems.error_hint(item.span, codes::BAD_WINDOW, message, hint);
                return None;
            }
        }
        words.push(text);
    }
    if all.is_empty() {
        let hint = "name at least one, or leave `days` out for every day";
        problems.error_hint(node.span, codes::BAD_WINDOW, "`days` names no weekday", hint);
        return None;
    }
    Some((all, words.join(",")))
}

/// `02:00`.
fn time_of_day(node: &Node, problems: &mut Problems) -> Option<(u32, u32)> {
    let text = value_text(node, "`time`", problems)?;
    let part = |part: &str, most: u32, lengths: &[usize]| -> Option<u32> {
        let plain = lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|number| plain && *number <= most)
    };
    let parsed =
        text.split_once(':').and_then(|(hour, minute)| Some((part(hour, 23, &[1, 2])?, part(minute, 59, &[2])?)));
    if parsed.is_none() {
        let message = format!("`{}` is no time of the day", show(&text));
        problems.error_hint(node.span, codes::BAD_WINDOW, message, "write hours and minutes, `00:00` to `23:59`");
    }
    parsed
}

/// `90m`, `2h`, `1h30m`, `1d`.
fn duration(node: &Node, problems: &mut Problems) -> Option<Minutes> {
    let text = value_text(node, "`duration`", problems)?;
    let nanos = units::nanos(&text);
    let minutes = nanos.filter(|nanos| nanos.is_multiple_of(NANOS_PER_MINUTE)).map(|nanos| nanos / NANOS_PER_MINUTE);
    let fitting =
        minutes.and_then(|minutes| u32::try_from(minutes).ok()).and_then(|minutes| Minutes::try_from(minutes).ok());
    if fitting.is_none() {
        let message = match (nanos, minutes) {
            (None, _) => format!("`{}` is no duration", show(&text)),
            (Some(0), _) => "a window that is open for no time never lets anything happen".to_owned(),
            (Some(_), None) => format!("`{}` is not a whole number of minutes", show(&text)),
            (Some(_), Some(_)) => format!("`{}` is too long for a window", show(&text)),
        };
        let days = MAX_WINDOW_MINUTES / 1440;
        problems.error_hint(
            node.span,
            codes::BAD_WINDOW,
            message,
            format!("write `90m`, `2h` or `1d`, at most {days} days"),
        );
    }
    fitting
}
