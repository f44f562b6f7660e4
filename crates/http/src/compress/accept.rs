//! Which codings a client takes (RFC 9110 §12.5.3).

use sunstar_http1::Headers;

/// A way to make content smaller (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// `zstd`.
    Zstd,
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
}

impl Coding {
    /// All that there are, the best first where a client has no preference.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The ending of files that have it.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Zstd => "zst",
            Self::Brotli => "br",
            Self::Gzip => "gz",
        }
    }
}

/// What a client says about the codings that it takes: weights in thousandths, 0 where it takes none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// In the order of [`Coding::ALL`].
    codings: [u16; 3],
    identity: u16,
}

impl Accepted {
    /// What a request's `Accept-Encoding` says. Without that field content is sent as it is. Elements that are none are ignored.
    pub fn of(headers: &Headers) -> Self {
        let (mut named, mut identity, mut others) = ([None; 3], None, None);
        let elements = headers.get_all("accept-encoding").flat_map(|value| value.split(|&byte| byte == b','));
        for (name, weight) in elements.filter_map(element) {
            let place = match name {
                b"*" => &mut others,
                name if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                name => match Coding::ALL.iter().position(|&coding| is_named(coding, name)) {
                    Some(at) => &mut named[at],
                    None => continue,
                },
            };
            // Whoever says two things about a coding gets the one that is said first.
            if planted::is("later_weight") {
                place.replace(weight);
            } else {
                place.get_or_insert(weight);
            }
        }
        // Content as it is, is taken unless it is excluded; but anything that is named comes before.
        let identity =
            identity.or(others.filter(|&weight| weight == 0 || planted::is("star_is_identity"))).unwrap_or(1);
        Self { codings: named.map(|weight: Option<u16>| weight.or(others).unwrap_or(0)), identity }
    }

    /// Whether the client takes content as it is.
    pub const fn takes_identity(self) -> bool {
        self.identity > 0
    }

    /// Whether the client takes a coding.
    pub fn takes(self, coding: Coding) -> bool {
        self.weight(coding) > 0
    }

    /// The coding that the client likes best; `None` if that is content as it is, or it takes no coding.
    pub fn best(self) -> Option<Coding> {
        self.by_preference().next()
    }

    /// The codings that the client likes at least as well as content as it is, the best first.
    pub fn by_preference(self) -> impl Iterator<Item = Coding> {
        let mut codings = Coding::ALL;
        // It keeps the order of equal ones.
        codings.sort_by_key(|&coding| core::cmp::Reverse(self.weight(coding)));
        codings.into_iter().filter(move |&coding| self.takes(coding) && self.weight(coding) >= self.identity)
    }

    fn weight(self, coding: Coding) -> u16 {
        Coding::ALL.iter().zip(self.codings).find(|(other, _)| **other == coding).map_or(0, |(_, weight)| weight)
    }
}

fn is_named(coding: Coding, name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(coding.name().as_bytes())
        || (coding == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
}

/// The name and weight of an element.
fn element(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some([b'q' | b'Q', b'=', value @ ..]) => weight(value)?,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((name, weight))
}

/// A weight in thousandths (RFC 9110 §12.4.2).
fn weight(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 || planted::is("weight_four_digits") => (whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
        weight += digit.is_ascii_digit().then(|| u16::from(digit - b'0') * unit)?;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::request;
    use super::*;

    fn accepted(value: &str) -> Accepted {
        Accepted::of(request(&[("Accept-Encoding", value)]).headers())
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        use Coding::{Brotli, Gzip, Zstd};
        for (value, best, takes_identity) in [
            ("", None, true),
            ("gzip", Some(Gzip), true),
            ("x-gzip", Some(Gzip), true),
            ("GZip;Q=1", Some(Gzip), true),
            ("deflate", None, true),
            ("gzip, deflate, br, zstd", Some(Zstd), true),
            ("gzip, deflate, br", Some(Brotli), true),
            ("gzip;q=1.0, br;q=0.999", Some(Gzip), true),
            ("zstd;q=0.1,br;q=0.2,gzip;q=0.15", Some(Brotli), true),
            ("gzip;q=0", None, true),
            ("gzip;q=0.001", Some(Gzip), true),
            ("gzip ; q=0.5 , identity", None, true),
            ("gzip;q=0.5, identity;q=0.4", Some(Gzip), true),
            ("gzip;q=0.5, identity;q=0.5", Some(Gzip), true),
            ("*", Some(Zstd), true),
            ("*;q=0.5, zstd;q=0", Some(Brotli), true),
            ("*;q=0", None, false),
            ("*;q=0, identity", None, true),
            ("*;q=0, gzip", Some(Gzip), false),
            ("identity;q=0", None, false),
            ("identity;q=0, gzip", Some(Gzip), false),
            ("identity;q=0, *;q=0.1", Some(Zstd), false),
            ("gzip;q=0, gzip", None, true),
            // What is malformed is ignored.
            ("gzip;q=2", None, true),
            ("gzip;q=1.001", None, true),
            ("gzip;q=0.1234", None, true),
            ("gzip;q=", None, true),
            ("gzip;q=-1", None, true),
            ("gzip;level=9", None, true),
            ("gzip;q=1;q=1", None, true),
            (",,;q=1, ,gzip,", Some(Gzip), true),
        ] {
            let accepted = accepted(value);
            assert_eq!((accepted.best(), accepted.takes_identity()), (best, takes_identity), "{value}");
        }
        let nothing = Accepted::of(request(&[]).headers());
        assert_eq!((nothing.best(), nothing.takes_identity()), (None, true));
        let two = Accepted::of(request(&[("Accept-Encoding", "br"), ("Accept-Encoding", "gzip;q=0.5")]).headers());
        assert_eq!(two.by_preference().collect::<Vec<_>>(), [Brotli, Gzip]);
    }

    proptest! {
        /// Any text: what is chosen is taken, and nothing better is.
        #[test]
        fn any_text_is_understood_somehow(value in "([a-z*]|gzip|br|zstd|identity|[;=.,q]|q=|[0-9]| ){0,30}") {
            let accepted = accepted(&value);
            if let Some(best) = accepted.best() {
                prop_assert!(accepted.takes(best));
                prop_assert!(value.contains(best.name()) || value.contains('*'));
                prop_assert!(Coding::ALL.iter().all(|&other| accepted.weight(other) <= accepted.weight(best)));
                prop_assert!(accepted.weight(best) >= accepted.identity);
            }
            prop_assert!(accepted.takes_identity() || value.contains("identity") || value.contains('*'));
        }
    }
}
