//! Durations, sizes and shares of CPUs, written as Compose takes them.

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// A duration in nanoseconds: `1m30s`, `1.5h`, `500ms`; `0` alone needs no unit.
pub(in crate::domain::manifest) fn nanos(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut all: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS_PER_SEC,
            "m" => 60 * NANOS_PER_SEC,
            "h" => 3_600 * NANOS_PER_SEC,
            "d" => 86_400 * NANOS_PER_SEC,
            "w" => 604_800 * NANOS_PER_SEC,
            _ => return None,
        };
        all = all.checked_add(scaled(number, unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(())?;
    // Engines count in signed numbers.
    u64::try_from(all).ok().filter(|nanos| i64::try_from(*nanos).is_ok())
}

/// A size in bytes: `64m`, `1.5 GiB`, `1024`. Units are powers of 1024 whatever they are called, as Docker has it.
pub(in crate::domain::manifest) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        "p" | "pb" | "pi" | "pib" => 50,
        _ => return None,
    };
    u64::try_from(scaled(number, 1 << power)?).ok().filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// CPUs in billionths: `0.5`, `2`.
pub(super) fn cpus(text: &str) -> Option<u64> {
    u64::try_from(scaled(text, NANOS_PER_SEC)?).ok().filter(|nanos| i64::try_from(*nanos).is_ok())
}

/// A decimal number times a unit, rounded down. Not a float: what people write is what counts.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    const MAX_DECIMALS: usize = 18;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && decimals.is_empty()) || !digits(whole) || !digits(decimals) || whole.len() > 20 {
        return None;
    }
    let decimals = &decimals[..decimals.len().min(MAX_DECIMALS)];
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if decimals.is_empty() { 0 } else { decimals.parse().ok()? };
    let one = 10_u128.pow(u32::try_from(decimals.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(part.checked_mul(unit)? / one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_compose_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("1h5m30s20ms", Some(3_930_020_000_000)),
            ("500us", Some(500_000)),
            ("2d", Some(172_800_000_000_000)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("1y", None),
            ("99999999999999w", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(nanos(text), wanted, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        let cases = [
            ("1024", Some(1024)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("1.5 GiB", Some(3 << 29)),
            ("2k", Some(2048)),
            ("1b", Some(1)),
            ("0.5k", Some(512)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("-1", None),
            ("99999999p", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(bytes(text), wanted, "{text}");
        }
    }

    #[test]
    fn cpus_are_read_without_rounding() {
        assert_eq!(cpus("0.1"), Some(100_000_000));
        assert_eq!(cpus("2"), Some(2_000_000_000));
        assert_eq!(cpus(".5"), Some(500_000_000));
        assert_eq!(cpus("1e3"), None);
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_read_or_refused(text in "[0-9.]{0,30}[a-zA-Zµ ]{0,3}[0-9.]{0,5}[a-z]{0,2}") {
            let _ = (nanos(&text), bytes(&text), cpus(&text));
        }
    }
}
