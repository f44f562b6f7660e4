//! Where flows are.

/// No place.
pub(super) const NONE: u32 = u32::MAX;
/// Where a flow is, in the two upper bits of its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connection(u32),
    HalfOpen(u32),
    Over(u32),
}

impl Place {
    const KIND: u32 = 30;

    pub(super) fn pack(self) -> u32 {
        match self {
            Self::Connection(place) => place,
            Self::HalfOpen(place) => place | (1 << Self::KIND),
            Self::Over(place) => place | (2 << Self::KIND),
        }
    }

    pub(super) fn unpack(packed: u32) -> Self {
        let place = packed & ((1 << Self::KIND) - 1);
        match packed >> Self::KIND {
            0 => Self::Connection(place),
            1 => Self::HalfOpen(place),
            _ => Self::Over(place),
        }
    }
}
