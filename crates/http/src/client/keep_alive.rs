//! How long a server says that it keeps a connection for further requests: `Keep-Alive` (RFC 2068 §19.7.1).

use core::time::Duration;

use crate::Headers;

/// A connection is given up so much before its server would close it, or after half of the time if that is less: a request that is
/// on its way then would be lost.
const MARGIN: Duration = Duration::from_secs(1);

/// What a response promises of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct KeepAlive {
    /// How long the connection may be unused.
    pub(super) idle: Option<Duration>,
    /// How many requests may follow.
    pub(super) requests: Option<u64>,
}

impl KeepAlive {
    /// What the fields of a response's head say. What is malformed or unknown says nothing; of several the last one counts.
    pub(super) fn of(headers: &Headers) -> Self {
        headers.get_all("keep-alive").fold(Self::default(), Self::and)
    }

    fn and(self, value: &[u8]) -> Self {
        value.split(|&byte| byte == b',').fold(self, |kept, parameter| {
            let mut sides = parameter.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
            let (Some(name), Some(number)) = (sides.next(), sides.next().and_then(number)) else { return kept };
            if name.eq_ignore_ascii_case(b"timeout") {
                let timeout = Duration::from_secs(number);
                Self { idle: Some(timeout.saturating_sub(MARGIN.min(timeout / 2))), ..kept }
            } else if name.eq_ignore_ascii_case(b"max") {
                Self { requests: Some(number), ..kept }
            } else {
                kept
            }
        })
    }
}

/// A number of digits only; the largest one if it is larger.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_read_leniently() {
        let of = |values: &[&str]| values.iter().fold(KeepAlive::default(), |kept, value| kept.and(value.as_bytes()));
        let kept = |idle_ms: Option<u64>, requests| KeepAlive { idle: idle_ms.map(Duration::from_millis), requests };
        for (values, expected) in [
            (&[][..], kept(None, None)),
            (&["timeout=5"], kept(Some(4000), None)),
            (&["timeout=5, max=100"], kept(Some(4000), Some(100))),
            (&["MAX = 7 ,Timeout= 60"], kept(Some(59_000), Some(7))),
            (&["max=3", "timeout=20"], kept(Some(19_000), Some(3))),
            (&["timeout=9, timeout=3"], kept(Some(2000), None)),
            (&["timeout=2"], kept(Some(1000), None)),
            (&["timeout=1"], kept(Some(500), None)),
            (&["timeout=0, max=0"], kept(Some(0), Some(0))),
            (&["", ",", "=", "timeout", "timeout=", "timeout=+5, max=-1", "timeout=1.5", "other=3"], kept(None, None)),
            (&["timeout=x, max=2"], kept(None, Some(2))),
        ] {
            assert_eq!(of(values), expected, "{values:?}");
        }
        let endless = of(&["timeout=99999999999999999999999, max=99999999999999999999999"]);
        assert_eq!(endless.requests, Some(u64::MAX));
        assert_eq!(endless.idle, Some(Duration::from_secs(u64::MAX) - MARGIN));
    }
}
