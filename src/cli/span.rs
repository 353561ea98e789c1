//! Lengths and points of time as people type them.

use crate::domain::time::Timestamp;

/// Seconds in a length of time such as `90s`, `3h`, `1h30m` or `2d`.
pub fn parse_secs(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is no length of time such as 90s, 30m, 3h, 1h30m or 2d");
    let mut total: i64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit: i64 = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(bad()),
        };
        let count: i64 = std::mem::take(&mut number).parse().map_err(|_| bad())?;
        total = count.checked_mul(unit).and_then(|secs| total.checked_add(secs)).ok_or_else(bad)?;
    }
    if total > 0 && number.is_empty() { Ok(total) } else { Err(bad()) }
}

/// A point in time.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: crate::domain::time::TimestampError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, secs) in [("90s", 90), ("30m", 1800), ("3h", 10_800), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(parse_secs(text), Ok(secs), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "3", "h", "3 h", "-1h", "1.5h", "0s", "1h30", "99999999999999999d", "9223372036854775807s1s"] {
            assert!(parse_secs(text).is_err(), "{text}");
        }
    }
}
