//! Calls that wait, over whatever machine there is.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::DerefMut;
use core::time::Duration;

use sunstar_tcpip::time::Instant;

use crate::descriptors::Fd;
use crate::epoll::EpollEvent;
use crate::errno::Errno;
use crate::numbers::{msg, ready};
use crate::sockets::{Direction, Patience, Sockets};
use crate::stream::Received;

/// What waiting needs: a clock, a lock around the sockets, and sleep until something has changed.
pub trait Platform {
    /// The sockets while the lock is held.
    type Guard<'a>: DerefMut<Target = Sockets>
    where
        Self: 'a;

    /// Takes the lock.
    fn lock(&self) -> Self::Guard<'_>;

    /// The clock.
    fn now(&self) -> Instant;

    /// A call has changed something: what must leave is sent, and who waits looks again.
    fn changed(&self, sockets: &mut Sockets);

    /// Lets the lock go, sleeps until something has changed or until `deadline`, and takes it again. It may return early.
    ///
    /// # Errors
    /// [`Errno::INTR`] if a signal has come.
    fn wait<'a>(&'a self, guard: Self::Guard<'a>, deadline: Option<Instant>) -> Result<Self::Guard<'a>, Errno>;
}

/// Tries until something else comes of it than [`Errno::AGAIN`], or patience is at its end.
fn retry<P: Platform, T>(
    platform: &P,
    patience: impl FnOnce(&mut Sockets) -> Result<Patience, Errno>,
    mut attempt: impl FnMut(&mut Sockets, Instant) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut sockets = platform.lock();
    let begun_at = platform.now();
    let mut done = attempt(&mut sockets, begun_at);
    platform.changed(&mut sockets);
    if !matches!(done, Err(Errno::AGAIN)) {
        return done;
    }
    let deadline = match patience(&mut sockets)? {
        Patience::None => return done,
        Patience::Until(limit) => Some(begun_at + if planted::is("timeout_too_early") { limit / 2 } else { limit }),
        Patience::Unbounded => None,
    };
    loop {
        if deadline.is_some_and(|deadline| deadline <= platform.now()) {
            return done;
        }
        sockets = platform.wait(sockets, deadline)?;
        done = attempt(&mut sockets, platform.now());
        platform.changed(&mut sockets);
        if !matches!(done, Err(Errno::AGAIN)) {
            return done;
        }
    }
}

/// accept4(2).
///
/// # Errors
/// Those of [`Sockets::accept`], [`Errno::INTR`].
pub fn accept<P: Platform>(platform: &P, fd: Fd, flags: i32) -> Result<Fd, Errno> {
    retry(
        platform,
        |sockets| sockets.patience(fd, Direction::Receive, 0),
        |sockets, now| sockets.accept(now, fd, flags),
    )
}

/// connect(2). When the time is over the connection is still being opened ([`Errno::INPROGRESS`]).
///
/// # Errors
/// Those of [`Sockets::connect`], [`Errno::INTR`].
pub fn connect<P: Platform>(platform: &P, fd: Fd, to: SocketAddr) -> Result<(), Errno> {
    let mut begun = None;
    let done = retry(
        platform,
        |sockets| sockets.patience(fd, Direction::Send, 0),
        |sockets, now| match begun {
            None => match sockets.connect(now, fd, to) {
                Err(under_way @ (Errno::INPROGRESS | Errno::ALREADY)) => {
                    begun = Some(under_way);
                    Err(Errno::AGAIN)
                }
                done => done,
            },
            Some(_) => sockets.connecting(now, fd),
        },
    );
    match (done, begun) {
        (Err(Errno::AGAIN), Some(under_way)) => Err(under_way),
        (done, _) => done,
    }
}

/// recvmsg(2) and its relatives.
///
/// # Errors
/// Those of [`Sockets::receive`], [`Errno::INTR`].
pub fn receive<P: Platform>(platform: &P, fd: Fd, parts: &mut [&mut [u8]], flags: i32) -> Result<Received, Errno> {
    retry(
        platform,
        |sockets| sockets.patience(fd, Direction::Receive, flags),
        |sockets, now| sockets.receive(now, fd, parts, flags),
    )
}

/// sendmsg(2) and its relatives: a blocking descriptor takes everything.
///
/// # Errors
/// Those of [`Sockets::send`], [`Errno::INTR`], as long as nothing was taken.
pub fn send<P: Platform>(
    platform: &P,
    fd: Fd,
    parts: &[&[u8]],
    flags: i32,
    to: Option<SocketAddr>,
) -> Result<usize, Errno> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let (mut taken, mut rest_flags, mut opens, mut has_begun) = (0, flags, false, false);
    let mut lacks_room = false;
    let done = retry(
        platform,
        |sockets| sockets.patience(fd, Direction::Send, flags),
        |sockets, now| {
            if opens {
                // What could not be opened has taken nothing.
                sockets.opened(now, fd)?;
                opens = false;
            }
            if lacks_room && !sockets.wakes_writers(now, fd)? {
                return Err(Errno::AGAIN);
            }
            if taken < len || len == 0 {
                let rest = behind(parts, taken);
                let sent = sockets.send(now, fd, &rest, rest_flags, to);
                // The connection is opened once.
                rest_flags &= !msg::FASTOPEN;
                has_begun |= sent == Err(Errno::INPROGRESS);
                opens = has_begun || sockets.is_opening(fd)?;
                taken += match sent {
                    Err(Errno::INPROGRESS) => return Err(Errno::AGAIN),
                    Err(Errno::AGAIN) if !opens => {
                        lacks_room = true;
                        return Err(Errno::AGAIN);
                    }
                    sent => sent?,
                };
            }
            lacks_room = taken < len && !opens;
            if taken < len || opens { Err(Errno::AGAIN) } else { Ok(taken) }
        },
    );
    match done {
        Err(Errno::AGAIN) if taken > 0 => Ok(taken),
        Err(Errno::AGAIN) if opens && has_begun => Err(Errno::INPROGRESS),
        Err(_) if taken > 0 && !opens => Ok(taken),
        done => done,
    }
}

/// What is left of parts without the first bytes.
fn behind<'a>(parts: &[&'a [u8]], mut count: usize) -> Vec<&'a [u8]> {
    let mut rest = Vec::with_capacity(parts.len());
    for part in parts {
        let skipped = count.min(part.len());
        count -= skipped;
        if skipped < part.len() {
            rest.push(&part[skipped..]);
        }
    }
    rest
}

/// close(2); lingers as `SO_LINGER` says.
///
/// # Errors
/// [`Errno::BADF`], [`Errno::INTR`].
pub fn close<P: Platform>(platform: &P, fd: Fd) -> Result<(), Errno> {
    let lingers = platform.lock().lingers(platform.now(), fd)?;
    if let Some(limit) = lingers {
        platform.lock().shutdown(platform.now(), fd, crate::numbers::shut::RDWR).ok();
        let waited = retry(
            platform,
            |_| Ok(Patience::Until(limit)),
            |sockets, now| sockets.lingers(now, fd)?.map_or(Ok(()), |_| Err(Errno::AGAIN)),
        );
        if waited == Err(Errno::INTR) {
            return Err(Errno::INTR);
        }
    }
    let mut sockets = platform.lock();
    let done = sockets.close(platform.now(), fd);
    platform.changed(&mut sockets);
    done
}

/// A descriptor that poll(2) looks at: `struct pollfd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollFd {
    /// The descriptor; a negative one is left out.
    pub fd: Fd,
    /// For what.
    pub events: u32,
    /// What was found.
    pub revents: u32,
}

/// poll(2): answers how many were found ready. No time is for ever.
///
/// # Errors
/// [`Errno::INTR`].
pub fn poll<P: Platform>(platform: &P, fds: &mut [PollFd], limit: Option<Duration>) -> Result<usize, Errno> {
    let patience = patience(limit);
    let found = retry(
        platform,
        |_| Ok(patience),
        |sockets, now| {
            for one in fds.iter_mut() {
                let asked = one.events | ready::ERR | ready::HUP | ready::NVAL;
                one.revents = if one.fd < 0 { 0 } else { sockets.readiness(now, one.fd) & asked };
            }
            let found = fds.iter().filter(|one| one.revents != 0).count();
            if found == 0 { Err(Errno::AGAIN) } else { Ok(found) }
        },
    );
    none_is_zero(found)
}

/// epoll_wait(2). No time is for ever.
///
/// # Errors
/// Those of [`Sockets::epoll_wait`], [`Errno::INTR`].
pub fn epoll_wait<P: Platform>(
    platform: &P,
    at: Fd,
    max: usize,
    limit: Option<Duration>,
) -> Result<Vec<EpollEvent>, Errno> {
    let patience = patience(limit);
    none_is_zero(retry(platform, |_| Ok(patience), |sockets, now| sockets.epoll_wait(now, at, max)))
}

fn patience(limit: Option<Duration>) -> Patience {
    match limit {
        None => Patience::Unbounded,
        Some(Duration::ZERO) => Patience::None,
        Some(limit) => Patience::Until(limit),
    }
}

/// Who has waited in vain has found nothing, which is no error.
fn none_is_zero<T: Default>(found: Result<T, Errno>) -> Result<T, Errno> {
    match found {
        Err(Errno::AGAIN) => Ok(T::default()),
        found => found,
    }
}

/// Whether a call that has failed raises `SIGPIPE`.
pub fn raises_sigpipe(error: Errno, flags: i32) -> bool {
    error == Errno::PIPE && flags & msg::NOSIGNAL == 0
}
