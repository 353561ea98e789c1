//! Shares of devices, in integers: per ten thousand, so that `99.5%` is exact and every machine rounds alike.
//!
//! There is one rule for rounding, and it is always against the rollout: what *must* be reached is rounded up
//! ([`Share::ceil_of`]), what *may* be used up is rounded down ([`Share::floor_of`]). Comparisons round nothing:
//! [`Share::is_reached`] multiplies instead of dividing.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A share from 0 % to 100 %, in steps of a hundredth of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u16);

/// The text is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a percentage from 0% to 100% with at most two decimals, such as 99.5%")]
pub struct ShareError(pub String);

impl Share {
    /// What the whole has.
    pub const WHOLE: u16 = 10_000;
    /// 0 %.
    pub const NONE: Self = Self(0);
    /// 100 %.
    pub const ALL: Self = Self(Self::WHOLE);

    /// From a number per ten thousand, 0 to 10000.
    pub const fn per_ten_thousand(number: u16) -> Option<Self> {
        if number <= Self::WHOLE { Some(Self(number)) } else { None }
    }

    /// From whole percent; more than 100 is 100.
    pub const fn percent(number: u16) -> Self {
        Self(if number >= 100 { Self::WHOLE } else { number * 100 })
    }

    /// How many of ten thousand.
    pub fn count(self) -> u16 {
        self.0
    }

    /// The share that `part` is of `of`, rounded up; 100 % if there is nothing to have a share of.
    pub fn reached_by(part: u32, of: u32) -> Self {
        let share = (u64::from(part) * u64::from(Self::WHOLE)).div_ceil(u64::from(of.max(1)));
        Self(u16::try_from(share).unwrap_or(Self::WHOLE).min(Self::WHOLE))
    }

    /// The smallest number of `count` that is at least this share.
    pub fn ceil_of(self, count: u32) -> u32 {
        narrow((u64::from(count) * u64::from(self.0)).div_ceil(u64::from(Self::WHOLE)))
    }

    /// The largest number of `count` that is at most this share.
    pub fn floor_of(self, count: u32) -> u32 {
        narrow(u64::from(count) * u64::from(self.0) / u64::from(Self::WHOLE))
    }

    /// Whether `part` is at least this share of `of`. Of nothing, every share is reached.
    pub fn is_reached(self, part: u32, of: u32) -> bool {
        u64::from(part) * u64::from(Self::WHOLE) >= u64::from(of) * u64::from(self.0)
    }
}

/// A share of a number that fits is no larger than it.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let parsed = text.strip_suffix('%').map(str::trim_end).and_then(|number| {
            let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |text: &str, most: usize| {
                (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
            };
            if !digits(whole, 3) || !digits(part, 2) {
                return None;
            }
            let hundredths = part.parse::<u16>().ok()? * if part.len() == 1 { 10 } else { 1 };
            Self::per_ten_thousand(whole.parse::<u16>().ok()? * 100 + hundredths)
        });
        parsed.ok_or_else(|| ShareError(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Share {
    type Error = ShareError;
    fn try_from(text: String) -> Result<Self, ShareError> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

/// A number of devices: so many, or a share of a number that is stated where the amount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// A share.
    Share(Share),
}

impl Amount {
    /// What must be reached of `count`: rounded up.
    pub fn ceil_of(self, count: u32) -> u32 {
        match self {
            Self::Count(number) => number,
            Self::Share(share) => share.ceil_of(count),
        }
    }

    /// What may be used up of `count`: rounded down, but at least one for a share that is not 0 %. A share so small that it
    /// allows nothing would never let anything happen, which nobody means by it; who means that writes 0.
    pub fn floor_of(self, count: u32) -> u32 {
        match self {
            Self::Count(number) => number,
            Self::Share(Share::NONE) => 0,
            Self::Share(share) => share.floor_of(count).max(1),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(number) => write!(f, "{number}"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        let cases =
            ["80%", "99.5%", "99.95%", "0.25 %", "0%", "100%", "100.01%", "99.555%", "80", "-1%", "%", ".5%", "1.%"];
        let shown = cases.map(|text| match text.parse::<Share>() {
            Ok(share) => format!("{text}: {share} ({})", share.count()),
            Err(error) => error.to_string(),
        });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        80%: 80% (8000)
        99.5%: 99.5% (9950)
        99.95%: 99.95% (9995)
        0.25 %: 0.25% (25)
        0%: 0% (0)
        100%: 100% (10000)
        "100.01%" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        "99.555%" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        "80" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        "-1%" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        "%" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        ".5%" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        "1.%" is not a percentage from 0% to 100% with at most two decimals, such as 99.5%
        "#);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number in 0..=Share::WHOLE) {
            let share = Share::per_ten_thousand(number).expect("in range");
            prop_assert_eq!(share.to_string().parse::<Share>(), Ok(share));
        }

        #[test]
        fn rounding_is_against_the_rollout_and_never_off_by_one(number in 0..=Share::WHOLE, count in 0_u32..=u32::MAX) {
            let share = Share::per_ten_thousand(number).expect("in range");
            let must = share.ceil_of(count);
            prop_assert!(share.is_reached(must, count));
            prop_assert!(must == 0 || !share.is_reached(must - 1, count));
            prop_assert!(share.floor_of(count) <= must && must <= share.floor_of(count) + 1);
        }
    }
}
