//! Numbers as people write them.

use std::time::Duration;

/// The longest time that is taken: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;
/// The highest rate, which no machine has.
const MAX_RATE: f64 = 1e9;

/// A time, as in `10`, `1.5s`, `500ms`, `20us`, `2m`, `1h`; without a unit in seconds.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time ends in us, ms, s, m or h".to_owned()),
    };
    match positive(number).map(|number| number * unit) {
        Some(seconds) if seconds <= MAX_SECONDS => Ok(Duration::from_secs_f64(seconds)),
        Some(_) => Err("it is a year at most".to_owned()),
        None => Err("it must be a time, as in 10s, 500ms or 2m".to_owned()),
    }
}

/// A number of things from 1 on, as in `1000`, `50k`, `2m`.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number: Option<u64> = number.parse().ok();
    let number = number.and_then(|number| number.checked_mul(unit)).filter(|number| *number > 0);
    number.ok_or_else(|| "it must be a whole number from 1 on, as in 1000, 50k or 2m".to_owned())
}

/// Bytes, at least one, as in `64`, `16k` (of 1024), `1m`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let number: Option<usize> = number.parse().ok();
    let number = number.filter(|number| *number > 0).and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "it must be a number of bytes from 1 on, as in 64 or 16k".to_owned())
}

/// A number of bytes, or the least and the most of them, as in `100`, `10:16k`. The least may be none.
pub(super) fn sizes(text: &str) -> Result<(usize, usize), String> {
    let (least, most) = text.split_once(':').unwrap_or((text, text));
    let size_or_none = |text| if text == "0" { Ok(0) } else { size(text) };
    match (size_or_none(least), size_or_none(most)) {
        (Ok(least), Ok(most)) if least <= most => Ok((least, most)),
        _ => {
            Err("it must be a number of bytes, or two with a colon, the smaller one first, as in 100 or 10:16k"
                .to_owned())
        }
    }
}

/// A number from zero to one.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    positive(text).filter(|part| *part <= 1.0).ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

/// A whole number from `LEAST` to `MOST`.
pub(super) fn whole<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("it must be a whole number from {LEAST} to {MOST}"))
}

/// Requests per second, as in `1000`, `50k`, or two of them, from which to which it changes.
pub(super) fn rates(text: &str) -> Result<(f64, f64), String> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    match (rate(from), rate(to)) {
        (Some(from), Some(to)) if from + to > 0.0 => Ok((from, to)),
        _ => Err(format!("it must be a rate of at most {MAX_RATE}, as in 1000, 50k or 100:20k")),
    }
}

fn rate(text: &str) -> Option<f64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1e3),
        b'm' | b'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    positive(number).map(|number| number * unit).filter(|rate| *rate <= MAX_RATE)
}

/// A number without sign and exponent.
fn positive(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let nanos = |text| span(text).map(|span| span.as_nanos());
        assert_eq!(nanos("10"), Ok(10_000_000_000));
        assert_eq!(nanos("1.5s"), Ok(1_500_000_000));
        assert_eq!(nanos("20us"), Ok(20_000));
        assert_eq!((nanos("500ms"), nanos("2m")), (Ok(500_000_000), Ok(120_000_000_000)));
        assert_eq!(nanos("0"), Ok(0));
        for text in ["", "s", "-1s", "1e3", "1d", "9000h", "inf", "1 s"] {
            assert!(nanos(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_sizes_and_rates_have_units() {
        assert_eq!((count("50k"), count("2m"), count("7")), (Ok(50_000), Ok(2_000_000), Ok(7)));
        assert_eq!((size("16k"), size("1m"), size("64")), (Ok(16_384), Ok(1 << 20), Ok(64)));
        assert_eq!((rates("1.5k"), rates("0:2m")), (Ok((1500.0, 1500.0)), Ok((0.0, 2e6))));
        assert_eq!(whole::<1, 9>("9"), Ok(9));
        assert_eq!((sizes("100"), sizes("0:2k")), (Ok((100, 100)), Ok((0, 2048))));
        assert_eq!((fraction("0.5"), fraction("1")), (Ok(0.5), Ok(1.0)));
        assert!(sizes("2:1").is_err() && sizes("x").is_err() && fraction("1.1").is_err() && fraction("-0").is_err());
        for text in ["", "0", "-1", "k", "x", "1.5", "99999999999999999999", "99999999999999m"] {
            assert!(count(text).is_err() && size(text).is_err() && whole::<1, 9>(text).is_err(), "{text}");
        }
        for text in ["", "0", "0:0", "1:", "-1", "2000m", "nan", "1:2:3"] {
            assert!(rates(text).is_err(), "{text}");
        }
    }
}
