//! When items expire.

/// Times up to this, in seconds, count from now, others since 1970.
const MAX_RELATIVE_S: i64 = 60 * 60 * 24 * 30;

/// When an item expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry(pub(super) u32);

impl Expiry {
    /// It does not.
    pub const NEVER: Self = Self(0);

    /// What a client's number says, in this second since 1970.
    pub fn new(exptime: i64, now_s: u32) -> Self {
        Self(match exptime {
            0 => 0,
            // The first second there was has passed.
            ..0 => 1,
            1..=MAX_RELATIVE_S => now_s.saturating_add(u32::try_from(exptime).unwrap_or(u32::MAX)),
            absolute => u32::try_from(absolute).unwrap_or(u32::MAX),
        })
    }

    /// A client's number on a clock that says `now_s` where that of the wall says `wall_s`: a second since 1970 becomes that of the
    /// clock, and all else stays as it is. So what was asked for once holds, wherever the wall's clock is put later.
    pub fn on_clock(exptime: i64, now_s: u32, wall_s: u32) -> i64 {
        if exptime <= MAX_RELATIVE_S {
            return exptime;
        }
        let second = exptime.saturating_sub(wall_s.into()).saturating_add(now_s.into());
        // What has passed must not be taken for a time from now.
        if second > now_s.into() && second > MAX_RELATIVE_S { second } else { -1 }
    }

    /// The second since 1970; `None` for never.
    pub const fn second(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0) }
    }
}
