//! When a window opens: the five fields of cron.

use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const MINUTES_PER_DAY: i64 = 24 * 60;
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// The longest text of a schedule, in bytes: all fields written out have fewer.
const MAX_BYTES: usize = 600;

/// Minutes, hours, days of the month, months and weekdays, as cron has them: `30 2 * * mon-fri`.
///
/// Fields are lists of numbers, ranges and steps; months and weekdays may be named, and Sunday is 0 or 7. Where both the day of
/// the month and the weekday are restricted, one of them suffices. Equal sets are equal, however they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
}

/// Small numbers, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Set(u64);

/// Which numbers a field may have, and what it is called.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// The names of its numbers, from `first` on.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[] };
const DAY: Field = Field { name: "day of the month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field { name: "month", first: 1, last: 12, names: &MONTHS };
/// Sunday may be 7 too; it becomes 0.
const WEEKDAY: Field = Field { name: "weekday", first: 0, last: 7, names: &WEEKDAYS };

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("a cron expression has five fields (minute, hour, day of the month, month, weekday), not {found}")]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// A part of a field that cannot be read.
    #[error(
        "`{part}` cannot be the {field} of a cron expression: it is a number from {first} to {last}, a range or a step"
    )]
    Part {
        /// Which field.
        field: &'static str,
        /// As written.
        part: String,
        /// The smallest number.
        first: u32,
        /// The largest number.
        last: u32,
    },
    /// A day of the month by steps, and a weekday too: cron programs disagree on what that means.
    #[error("cron programs disagree on a day of the month by steps together with a weekday")]
    Ambiguous,
    /// No such day exists.
    #[error("no calendar has such a day, so this never comes")]
    Never,
}

impl Set {
    fn has(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    /// The smallest number from `from` on.
    fn first_from(self, from: u32) -> Option<u32> {
        let rest = self.0.checked_shr(from)? << from;
        (rest != 0).then(|| rest.trailing_zeros())
    }

    /// The largest number up to `to`.
    fn last_to(self, to: u32) -> Option<u32> {
        let rest = self.0 & (u64::MAX >> (63 - to.min(63)));
        (rest != 0).then(|| 63 - rest.leading_zeros())
    }

    fn is_all(self, field: &Field) -> bool {
        self == field.all()
    }
}

impl Field {
    fn all(&self) -> Set {
        Set((self.first..=self.last.min(self.most())).fold(0, |set, number| set | 1 << number))
    }

    /// The largest number that stays once Sunday is 0.
    fn most(&self) -> u32 {
        if self.last == 7 { 6 } else { self.last }
    }

    fn parse(&self, text: &str) -> Result<Set, ScheduleError> {
        let mut set = 0_u64;
        for part in text.split(',') {
            let numbers = self.part(part).ok_or_else(|| ScheduleError::Part {
                field: self.name,
                part: part.chars().take(40).collect(),
                first: self.first,
                last: self.last,
            })?;
            set |= numbers.fold(0, |set, number| set | 1 << if self.last == 7 { number % 7 } else { number });
        }
        Ok(Set(set))
    }

    /// `*`, `5`, `1-5`, `*/15`, `8-18/2`.
    fn part(&self, part: &str) -> Option<impl Iterator<Item = u32> + use<>> {
        let (range, step) = match part.split_once('/') {
            None => (part, 1),
            Some((range, step)) => (range, number(step).filter(|step| (1..=self.last).contains(step))?),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.most()),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            // A single number with a step goes on to the end in some programs and not in others.
            None if part.contains('/') => return None,
            None => (self.number(range)?, self.number(range)?),
        };
        (from <= to).then(|| (from..=to).step_by(step as usize))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(at) => self.first + u32::try_from(at).ok()?,
            None => number(text)?,
        };
        (self.first..=self.last).contains(&number).then_some(number)
    }

    /// As short as it can be written: `*`, or numbers and ranges.
    fn show(&self, set: Set, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if set.is_all(self) {
            return f.write_str("*");
        }
        let mut at = set.first_from(0);
        let mut comma = "";
        while let Some(from) = at {
            let to = (from..=63).take_while(|number| set.has(*number)).last().unwrap_or(from);
            match to - from {
                0 => write!(f, "{comma}{from}")?,
                1 => write!(f, "{comma}{from},{to}")?,
                _ => write!(f, "{comma}{from}-{to}")?,
            }
            comma = ",";
            at = if to < 63 { set.first_from(to + 1) } else { None };
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(ScheduleError::Fields { found: fields.len() });
        };
        if text.len() > MAX_BYTES {
            let part = text.chars().take(40).collect();
            return Err(ScheduleError::Part { field: "text", part, first: 0, last: 59 });
        }
        let schedule = Self {
            minutes: MINUTE.parse(minutes)?,
            hours: HOUR.parse(hours)?,
            days: DAY.parse(days)?,
            months: MONTH.parse(months)?,
            weekdays: WEEKDAY.parse(weekdays)?,
        };
        let (by_day, by_weekday) = schedule.restrictions();
        let steps = |field: &str| field.contains("*/");
        if by_day && by_weekday && (steps(days) || steps(weekdays)) {
            return Err(ScheduleError::Ambiguous);
        }
        let some_day = |month: u32| schedule.days.first_from(0).is_some_and(|day| day <= longest(month));
        if by_day && !by_weekday && !(1..=12).any(|month| schedule.months.has(month) && some_day(month)) {
            return Err(ScheduleError::Never);
        }
        Ok(schedule)
    }
}

/// How many days a month can have.
fn longest(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Schedule {
    /// Weekdays (from Sunday, 0) at one time of the day.
    pub fn weekly(weekdays: impl IntoIterator<Item = u32>, hour: u32, minute: u32) -> Self {
        let set = |numbers: &mut dyn Iterator<Item = u32>| Set(numbers.fold(0, |set, number| set | 1 << number));
        Self {
            minutes: set(&mut [minute % 60].into_iter()),
            hours: set(&mut [hour % 24].into_iter()),
            days: DAY.all(),
            months: MONTH.all(),
            weekdays: set(&mut weekdays.into_iter().map(|weekday| weekday % 7)),
        }
    }

    /// Reads weekdays as a field of cron has them: `mon`, `mon-fri`, `sat,sun`. Numbers are weekdays from Sunday, 0 or 7.
    pub fn weekdays(text: &str) -> Result<Vec<u32>, ScheduleError> {
        let set = WEEKDAY.parse(text)?;
        Ok((0..7).filter(|weekday| set.has(*weekday)).collect())
    }

    /// Whether the day of the month counts, and whether the weekday does.
    fn restrictions(&self) -> (bool, bool) {
        (!self.days.is_all(&DAY), !self.weekdays.is_all(&WEEKDAY))
    }

    fn has_day(&self, date: Date) -> bool {
        let by_date = self.days.has(date.day().unsigned_abs().into());
        let by_weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset().unsigned_abs().into());
        self.months.has(date.month().unsigned_abs().into())
            && match self.restrictions() {
                (true, true) => by_date || by_weekday,
                (true, false) => by_date,
                (false, true) => by_weekday,
                (false, false) => true,
            }
    }

    /// The latest opening up to a minute, and not before another. Minutes are local ones since 1970.
    pub(super) fn last(&self, to: i64, not_before: i64) -> Option<i64> {
        let (today, latest) = (to.div_euclid(MINUTES_PER_DAY), to.rem_euclid(MINUTES_PER_DAY));
        for day in (not_before.div_euclid(MINUTES_PER_DAY)..=today).rev() {
            let latest = if day == today { latest } else { MINUTES_PER_DAY - 1 };
            if date(day).is_some_and(|date| self.has_day(date))
                && let Some(minute) = self.last_in_day(latest)
            {
                let found = day * MINUTES_PER_DAY + minute;
                return (found >= not_before).then_some(found);
            }
        }
        None
    }

    /// The next opening after a minute, up to another.
    pub(super) fn next(&self, after: i64, to: i64) -> Option<i64> {
        let from = after + 1;
        let (today, earliest) = (from.div_euclid(MINUTES_PER_DAY), from.rem_euclid(MINUTES_PER_DAY));
        for day in today..=to.div_euclid(MINUTES_PER_DAY) {
            let earliest = if day == today { earliest } else { 0 };
            if date(day).is_some_and(|date| self.has_day(date))
                && let Some(minute) = self.first_in_day(earliest)
            {
                let found = day * MINUTES_PER_DAY + minute;
                return (found <= to).then_some(found);
            }
        }
        None
    }

    fn last_in_day(&self, to: i64) -> Option<i64> {
        let (hour, minute) = parts(to);
        let same = self.hours.has(hour).then(|| self.minutes.last_to(minute)).flatten();
        let (hour, minute) = match same {
            Some(minute) => (hour, minute),
            None => (self.hours.last_to(hour.checked_sub(1)?)?, self.minutes.last_to(59)?),
        };
        Some(i64::from(hour * 60 + minute))
    }

    fn first_in_day(&self, from: i64) -> Option<i64> {
        let (hour, minute) = parts(from);
        let same = self.hours.has(hour).then(|| self.minutes.first_from(minute)).flatten();
        let (hour, minute) = match same {
            Some(minute) => (hour, minute),
            None => (self.hours.first_from(hour + 1)?, self.minutes.first_from(0)?),
        };
        Some(i64::from(hour * 60 + minute))
    }
}

/// Hour and minute of a minute of the day.
fn parts(minute_of_day: i64) -> (u32, u32) {
    let minute = u32::try_from(minute_of_day).unwrap_or(0);
    (minute / 60, minute % 60)
}

/// The date so many days after 1970-01-01; `None` outside the years that a calendar can write.
fn date(day: i64) -> Option<Date> {
    let midnight = jiff::Timestamp::from_second(day.checked_mul(86_400)?).ok()?;
    Some(Offset::UTC.to_datetime(midnight).date())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            (&MINUTE, self.minutes),
            (&HOUR, self.hours),
            (&DAY, self.days),
            (&MONTH, self.months),
            (&WEEKDAY, self.weekdays),
        ];
        for (index, (field, set)) in fields.into_iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            field.show(set, f)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;
    fn try_from(text: String) -> Result<Self, ScheduleError> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}
