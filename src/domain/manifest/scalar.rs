//! The types that YAML 1.1 gives to plain scalars, as Ansible's parser applies them to free variables.
//!
//! The rules are those of PyYAML's resolver: `NO` is false, `1.10` is 1.1, `017` is 15, `12:30` is 750, and dates are told apart
//! from text. Typed keys never come here; they take the text as written.

use super::yaml::{Kind, Node, Scalar, Style};

/// The type and value of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number that fits.
    Int(i128),
    /// A whole number that does not fit, in decimal digits as written.
    BigInt(String),
    /// A number with a fraction.
    Float(f64),
    /// A date or a point in time, as written.
    Date(String),
    /// Text.
    Text(String),
}

/// The type and value that YAML 1.1 gives to a scalar.
pub fn typed(scalar: &Scalar) -> Typed {
    let text = &*scalar.text;
    if is_surely_text(scalar) {
        return Typed::Text(text.to_owned());
    }
    null(text)
        .or_else(|| boolean(text).map(Typed::Bool))
        .or_else(|| integer(text))
        .or_else(|| float(text).map(Typed::Float))
        .or_else(|| date(text).then(|| Typed::Date(text.to_owned())))
        .unwrap_or_else(|| Typed::Text(text.to_owned()))
}

/// Whether a scalar can be nothing but text, as most are: known from its style, first character and length alone.
pub fn is_surely_text(scalar: &Scalar) -> bool {
    if scalar.style != Style::Plain {
        return true;
    }
    match scalar.text.as_bytes() {
        [] | [b'-' | b'+' | b'.' | b'0'..=b'9' | b'~', ..] => false,
        // `false` is the longest of the words that are not.
        text => text.len() > 5 || !text[0].is_ascii_alphabetic(),
    }
}

/// A free variable as JSON, in the types of YAML 1.1. Dates are strings, as in `ansible-inventory`.
pub fn json(node: &Node) -> serde_json::Value {
    use serde_json::Value;
    match &node.kind {
        Kind::Scalar(scalar) if node.tag.is_some() => Value::String(scalar.text.to_string()),
        Kind::Scalar(scalar) => match typed(scalar) {
            Typed::Null => Value::Null,
            Typed::Bool(value) => Value::Bool(value),
            // Numbers beyond what JSON readers hold exactly stay text rather than being rounded.
            Typed::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => Value::from(value),
                (Err(_), Ok(value)) => Value::from(value),
                (Err(_), Err(_)) => Value::String(value.to_string()),
            },
            Typed::Float(value) => serde_json::Number::from_f64(value)
                .map_or_else(|| Value::String(scalar.text.to_string()), Value::Number),
            Typed::BigInt(text) | Typed::Date(text) | Typed::Text(text) => Value::String(text),
        },
        Kind::List(items) => Value::Array(items.iter().map(json).collect()),
        Kind::Map(map) => {
            Value::Object(map.entries.iter().map(|field| (field.key.text.to_string(), json(&field.value))).collect())
        }
    }
}

/// A whole number by the rules of Python's `int()` on text.
pub fn integer_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let single = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    single.then(|| text.replace('_', "").parse().ok()).flatten()
}

fn null(text: &str) -> Option<Typed> {
    matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Typed::Null)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Typed> {
    let (negative, digits) = sign(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digit_set = |text: &str, set: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| b == b'_' || set(&b));
    let value = if let Some(rest) = digits.strip_prefix("0b") {
        digit_set(rest, |b| matches!(b, b'0' | b'1')).then(|| radix(rest, 2))?
    } else if let Some(rest) = digits.strip_prefix("0x") {
        digit_set(rest, u8::is_ascii_hexdigit).then(|| radix(rest, 16))?
    } else if digits.contains(':') {
        Some(sexagesimal(digits)?)
    } else if digits.len() > 1 && digits.starts_with('0') {
        digit_set(digits, |b| (b'0'..=b'7').contains(b)).then(|| radix(digits, 8))?
    } else {
        digit_set(digits, u8::is_ascii_digit).then(|| radix(digits, 10))?
    };
    Some(match value {
        Some(value) if negative => Typed::Int(-value),
        Some(value) => Typed::Int(value),
        None => Typed::BigInt(text.trim_start_matches('+').replace('_', "")),
    })
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// The number, or `None` inside if it is too large.
fn radix(digits: &str, radix: u32) -> Option<i128> {
    let digits = digits.replace('_', "");
    i128::from_str_radix(if digits.is_empty() { "0" } else { &digits }, radix).ok()
}

/// `[1-9][0-9_]*(:[0-5]?[0-9])+`, base 60.
fn sexagesimal(text: &str) -> Option<i128> {
    let mut parts = text.split(':');
    let first = parts.next()?;
    if !first.starts_with(|c: char| ('1'..='9').contains(&c)) || !first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return None;
    }
    let mut value: i128 = first.replace('_', "").parse().ok()?;
    for part in parts {
        value = value.checked_mul(60)?.checked_add(sixtieth(part)?)?;
    }
    Some(value)
}

fn sixtieth(part: &str) -> Option<i128> {
    let fits = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    fits.then(|| part.parse().ok()).flatten()
}

/// The forms of PyYAML's float resolver: an exponent needs its sign and a fraction, `.inf` and `.nan` count, base 60 too.
fn float(text: &str) -> Option<f64> {
    let (negative, rest) = sign(text);
    let signed = |value: f64| if negative { -value } else { value };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(signed(f64::INFINITY)),
        _ => {}
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(f64::NAN);
    }
    let (whole, fraction) = rest.split_once('.')?;
    if whole.contains(':') {
        return sixty_based(whole, fraction).map(signed);
    }
    let (fraction, exponent) = match fraction.find(['e', 'E']) {
        Some(at) => (&fraction[..at], Some(&fraction[at + 1..])),
        None => (fraction, None),
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    // `.5` is a number, `.` and `._` are not; `_` may not begin a whole part.
    let begins = match whole.as_bytes().first() {
        Some(first) => first.is_ascii_digit(),
        None => !negative && !text.starts_with('+') && fraction.starts_with(|c: char| c.is_ascii_digit()),
    };
    if !begins || !number(whole) || !number(fraction) {
        return None;
    }
    let exponent = match exponent {
        None => String::new(),
        Some(exponent) => {
            let digits = exponent.strip_prefix(['+', '-'])?;
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            format!("e{exponent}")
        }
    };
    let plain = format!("{}.{}{exponent}", or_zero(&whole.replace('_', "")), or_zero(&fraction.replace('_', "")));
    plain.parse::<f64>().ok().map(signed)
}

/// `[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*`, summed from the end as PyYAML does it, so that rounding is the same.
fn sixty_based(whole: &str, fraction: &str) -> Option<f64> {
    if !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    let mut parts: Vec<&str> = whole.split(':').collect();
    let first = parts.first().filter(|first| first.starts_with(|c: char| c.is_ascii_digit()))?;
    let well = first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && parts.iter().skip(1).all(|part| sixtieth(part).is_some());
    let last = format!("{}.{}", parts.pop()?.replace('_', ""), or_zero(&fraction.replace('_', "")));
    let mut value: f64 = last.parse().ok().filter(|_| well)?;
    let mut base = 60.0;
    for part in parts.iter().rev() {
        value += part.replace('_', "").parse::<f64>().ok()? * base;
        base *= 60.0;
    }
    Some(value)
}

fn or_zero(digits: &str) -> &str {
    if digits.is_empty() { "0" } else { digits }
}

/// `YYYY-MM-DD`, or a date with one-digit parts and a time.
fn date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let Some((month, rest)) = text[5..].split_once('-') else { return false };
    if digits(month, 2..=2) && digits(rest, 2..=2) {
        return true;
    }
    let Some(split) = rest.find(['T', 't', ' ', '\t']) else { return false };
    let (day, time) = (&rest[..split], rest[split + 1..].trim_start_matches([' ', '\t']));
    if !digits(month, 1..=2) || !digits(day, 1..=2) {
        return false;
    }
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = (time[..zone].trim_end_matches([' ', '\t']), &time[zone..]);
    let mut parts = clock.split(':');
    let hour = parts.next().is_some_and(|part| digits(part, 1..=2));
    let minute = parts.next().is_some_and(|part| digits(part, 2..=2));
    let second = parts.next().is_some_and(|part| {
        let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
        digits(whole, 2..=2) && fraction.bytes().all(|b| b.is_ascii_digit())
    });
    let zone_fits = match zone.strip_prefix(['+', '-']) {
        Some(offset) => {
            let (hours, minutes) = offset.split_once(':').unwrap_or((offset, "00"));
            digits(hours, 1..=2) && digits(minutes, 2..=2)
        }
        None => zone.is_empty() || zone == "Z",
    };
    hour && minute && second && parts.next().is_none() && zone_fits
}

/// A date or point in time as Python's `isoformat` writes it. What is no date in any calendar stays as it is.
pub fn iso_format(text: &str) -> String {
    iso(text).unwrap_or_else(|| text.to_owned())
}

/// Whether a text that looks like a date is one. PyYAML refuses a file with one that is not.
pub fn is_real_date(text: &str) -> bool {
    iso(text).is_some()
}

fn iso(text: &str) -> Option<String> {
    let (day, time) = match text.find(['T', 't', ' ', '\t']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_start_matches([' ', '\t']))),
        None => (text, None),
    };
    let mut parts = day.split('-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=days).contains(&day) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    let Some(time) = time else { return Some(date) };
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = (time[..zone].trim_end_matches([' ', '\t']), &time[zone..]);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<u32>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Python keeps six digits.
    let micros = format!("{:0<6.6}", fraction);
    let micros = if micros == "000000" { String::new() } else { format!(".{micros}") };
    let zone = match (zone, zone.strip_prefix(['+', '-'])) {
        ("", _) => String::new(),
        (_, Some(offset)) => {
            let (hours, minutes) = offset.split_once(':').unwrap_or((offset, "0"));
            let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
            let total = hours * 60 + minutes;
            if total >= 24 * 60 {
                return None;
            }
            let sign = if zone.starts_with('-') && total > 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", total / 60, total % 60)
        }
        (_, None) => "+00:00".to_owned(),
    };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{micros}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Typed {
        typed(&Scalar { text: text.into(), style: Style::Plain })
    }

    #[test]
    fn plain_scalars_have_the_types_that_ansible_gives_them() {
        let text = |text: &str| Typed::Text(text.to_owned());
        let date = |text: &str| Typed::Date(text.to_owned());
        let cases = [
            ("NO", Typed::Bool(false)),
            ("yes", Typed::Bool(true)),
            ("On", Typed::Bool(true)),
            ("off", Typed::Bool(false)),
            ("TRUE", Typed::Bool(true)),
            ("y", text("y")),
            ("n", text("n")),
            ("1.10", Typed::Float(1.1)),
            ("017", Typed::Int(15)),
            ("00123", Typed::Int(83)),
            ("0o17", text("0o17")),
            ("08", text("08")),
            ("0x1F", Typed::Int(31)),
            ("0b11", Typed::Int(3)),
            ("1_000", Typed::Int(1000)),
            ("-7", Typed::Int(-7)),
            ("12:30", Typed::Int(750)),
            ("12:30:45", Typed::Int(45045)),
            ("08:00:27:00:00:01", text("08:00:27:00:00:01")),
            ("1e3", text("1e3")),
            ("1.5e3", text("1.5e3")),
            ("1.5e+3", Typed::Float(1500.0)),
            (".5", Typed::Float(0.5)),
            (".", text(".")),
            ("1.2.3", text("1.2.3")),
            (".inf", Typed::Float(f64::INFINITY)),
            ("2025-10-10", date("2025-10-10")),
            ("2025-10-10T12:00:00Z", date("2025-10-10T12:00:00Z")),
            ("2025-10-10 12:00:00 +02:00", date("2025-10-10 12:00:00 +02:00")),
            ("2025-10-10-1056-pi2", text("2025-10-10-1056-pi2")),
            ("~", Typed::Null),
            ("", Typed::Null),
            ("hello", text("hello")),
            ("123456789012345678901234567890", Typed::Int(123456789012345678901234567890)),
        ];
        for (written, wanted) in cases {
            assert_eq!(plain(written), wanted, "{written:?}");
        }
        assert!(matches!(plain(".NaN"), Typed::Float(value) if value.is_nan()));
    }

    #[test]
    fn quoted_scalars_are_always_text() {
        assert_eq!(typed(&Scalar { text: "NO".into(), style: Style::Double }), Typed::Text("NO".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn every_text_has_a_type(text: String) {
            plain(&text);
        }

        #[test]
        fn almost_numbers_have_a_type(text in "[-+]?[0-9_.:eExbTZ ~-]{0,24}") {
            plain(&text);
        }
    }
}
