//! How long a DHCPv6 client waits (RFC 8415 §7.6, §15).

use core::time::Duration;

use sunstar_wire::dhcpv6::Kind;

use crate::chance::Chance;
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// §7.6: `SOL_MAX_DELAY`, `INF_MAX_DELAY`: the first question waits at most so long, so that hosts that start together do not ask together.
const MAX_DELAY_MICROS: u32 = 1_000_000;

/// §7.6: `SOL_MAX_RT`, `INF_MAX_RT`, unless a server says something else.
pub(super) const DEFAULT_MAX_RT: Duration = Duration::from_secs(3_600);
/// §21.24, §21.25: seconds that are believed of what servers say of them.
const MAX_RT_SECONDS: core::ops::RangeInclusive<u32> = 60..=86_400;

/// §7.6: `IRT_DEFAULT`, `IRT_MINIMUM`: when to ask for information again, if nothing else is said, and no sooner than this.
const DEFAULT_REFRESH_S: u32 = 86_400;
const MIN_REFRESH_S: u32 = 600;

/// An address that has held for so long was worth asking for: the client begins at once when it is gone.
pub(super) const SOUND_TIME: Duration = Duration::from_secs(60);

/// The longest wait before the client begins anew. How seldom it asks then is another matter.
const LONGEST_PAUSE_S: u32 = 64;

/// How a question is repeated (§15).
#[derive(Clone, Copy, Debug)]
struct Repetition {
    /// IRT: the first wait.
    first: Duration,
    /// MRT: the longest wait; zero if they grow for ever.
    longest: Duration,
    /// MRC: how often the question is asked; zero if for ever.
    count: u32,
}

/// §7.6.
fn repetition(kind: Kind, max_rt: Duration) -> Repetition {
    let of = |first_s, longest, count| Repetition { first: Duration::from_secs(first_s), longest, count };
    match kind {
        Kind::Request => of(1, Duration::from_secs(30), 10),
        Kind::Renew | Kind::Rebind => of(10, Duration::from_secs(600), 0),
        Kind::Release | Kind::Decline => of(1, Duration::ZERO, 4),
        _ => of(1, max_rt, 0),
    }
}

/// A question, until it is answered or given up. All its messages have one number (§16.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) kind: Kind,
    pub(super) transaction_id: u32,
    /// When it was asked first, for servers that want to know for how long we have tried.
    pub(super) begun_at: Instant,
    /// When it was asked last.
    pub(super) asked_at: Instant,
    /// How often it was asked.
    pub(super) count: u32,
    /// RT: how long an answer is waited for.
    wait: Duration,
}

impl Exchange {
    pub(super) fn new(now: Instant, kind: Kind, chance: &mut Chance) -> Self {
        let transaction_id = chance.draw() % sunstar_wire::dhcpv6::TRANSACTION_IDS;
        Self { kind, transaction_id, begun_at: now, asked_at: now, count: 0, wait: Duration::ZERO }
    }

    /// It is asked once more: answers until when an answer is waited for.
    pub(super) fn ask(&mut self, now: Instant, max_rt: Duration, chance: &mut Chance) -> Instant {
        let Repetition { first, longest, .. } = repetition(self.kind, max_rt);
        self.wait = match self.count {
            // §18.2.1: servers that are slow get all of a second.
            0 if self.kind == Kind::Solicit => first + part(first, 1 + chance.up_to(99_999)),
            0 => about(first, chance),
            _ => self.wait + about(self.wait, chance),
        };
        if longest > Duration::ZERO && self.wait > longest && !planted::is("dhcpv6_no_longest_wait") {
            self.wait = about(longest, chance);
        }
        self.count += 1;
        self.asked_at = now;
        now + self.wait
    }

    /// Whether it was asked as often as it may be (§15).
    pub(super) fn is_exhausted(&self) -> bool {
        let Repetition { count, .. } = repetition(self.kind, Duration::ZERO);
        count > 0 && self.count >= count
    }

    /// §21.9: hundredths of a second since it was asked first.
    pub(super) fn elapsed(&self, now: Instant) -> u16 {
        u16::try_from((now - self.begun_at).as_millis() / 10).unwrap_or(u16::MAX)
    }
}

/// So many millionths of a time.
fn part(time: Duration, millionths: u32) -> Duration {
    Duration::from_micros((time.as_micros() * u128::from(millionths) / 1_000_000).try_into().unwrap_or(u64::MAX))
}

/// A time, give or take a tenth (§15, `RAND`).
fn about(time: Duration, chance: &mut Chance) -> Duration {
    part(time, 900_000 + chance.up_to(200_000))
}

/// How long to wait before the first question.
pub(super) fn delay(chance: &mut Chance) -> Duration {
    Duration::from_micros(chance.up_to(MAX_DELAY_MICROS).into())
}

/// How long to wait before all begins anew, after so many failures: not at all, then longer and longer.
pub(super) fn pause(failures: u32, chance: &mut Chance) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => about(SECOND * (1_u32 << (failures - 1).min(6)).min(LONGEST_PAUSE_S), chance),
    }
}

/// What a server says of the longest wait, if that is to be believed.
pub(super) fn max_rt(seconds: Option<u32>) -> Option<Duration> {
    seconds.filter(|seconds| MAX_RT_SECONDS.contains(seconds)).map(|seconds| Duration::from_secs(seconds.into()))
}

/// After how long information is asked for again (§21.23); never if there is no such time.
pub(super) fn refresh(seconds: Option<u32>) -> Option<Duration> {
    let seconds = seconds.unwrap_or(DEFAULT_REFRESH_S);
    (seconds != u32::MAX).then(|| Duration::from_secs(seconds.max(MIN_REFRESH_S).into()))
}
