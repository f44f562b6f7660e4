//! The `Date` of a response (RFC 9110 §6.6.1), in the form of an IMF-fixdate (§5.6.7).

use core::fmt;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
/// The name of the field, and a colon and a space.
const NAME_BYTES: usize = 6;
const LINE_BYTES: usize = NAME_BYTES + 29 + 2;
const SECONDS_PER_DAY: u64 = 86_400;
/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// A point in time as HTTP writes it, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// A server makes one per second and hands it to each response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date([u8; LINE_BYTES]);

impl Date {
    /// The second that began so many seconds after 1970 began in Greenwich, leap seconds not counted; at most the end of the
    /// year 9999.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        let seconds = seconds.min(LAST_SECOND);
        let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        let (year, month, day) = civil(days);
        let mut line = *b"Date: Thu, 00 Jan 0000 00:00:00 GMT\r\n";
        let text = &mut line[NAME_BYTES..];
        text[..3].copy_from_slice(DAYS[at(days % 7)]);
        text[5..7].copy_from_slice(&two_digits(day));
        text[8..11].copy_from_slice(MONTHS[at(month)]);
        text[12..14].copy_from_slice(&two_digits(year / 100));
        text[14..16].copy_from_slice(&two_digits(year % 100));
        text[17..19].copy_from_slice(&two_digits(second / 3600));
        text[20..22].copy_from_slice(&two_digits(second / 60 % 60));
        text[23..25].copy_from_slice(&two_digits(second % 60));
        Self(line)
    }

    /// The 29 characters.
    #[expect(clippy::missing_panics_doc, reason = "the line has a fixed length, which is longer")]
    pub const fn as_bytes(&self) -> &[u8; 29] {
        let text = self.0.split_at(NAME_BYTES).1.first_chunk();
        text.expect("the line is longer")
    }

    /// The header line.
    pub(crate) const fn line(&self) -> &[u8; LINE_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// Year, month from 0, and day of the month from 1, of a day counted from the first of 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from a March, so that the leap day is the last of its year, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    (era * 400 + year_of_era + u64::from(month < 2), month, day)
}

fn two_digits(number: u64) -> [u8; 2] {
    [number / 10, number % 10].map(|digit| b'0' + digit.to_le_bytes()[0])
}

fn at(index: u64) -> usize {
    usize::from(index.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format!("{:?}", Date::from_unix_seconds(seconds)), text);
        }
    }
}
