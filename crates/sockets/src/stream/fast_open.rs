//! Fast Open (RFC 7413): sending with the SYN, and taking what came with one.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use sunstar_packet::Buffer;
use sunstar_tcpip::tcp::connection::State;
use sunstar_tcpip::tcp::fast_open::{FastOpenKeys, FastOpenListener, FastOpenRequest};

use super::open::open_error;
use super::options::set::{int, within};
use super::{Phase, Stream, World};
use crate::errno::Errno;
use crate::numbers::tcp;
use crate::settings::{Settings, fast_open};

/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// One key, or one and the one before it.
fn keys(bytes: &[u8]) -> Option<FastOpenKeys> {
    let (primary, rest) = bytes.split_first_chunk::<KEY_BYTES>()?;
    Some(FastOpenKeys::new(*primary, rest.first_chunk::<KEY_BYTES>().copied()))
}

impl Stream {
    pub(super) fn set_fast_open_option(&mut self, world: &mut World<'_>, name: i32, value: &[u8]) -> Result<(), Errno> {
        match name {
            tcp::FASTOPEN => {
                let backlog = int(value)?;
                if matches!(self.phase, Phase::Open(_)) || backlog < 0 {
                    return Err(Errno::INVAL);
                }
                self.wishes.fast_open_backlog = backlog.unsigned_abs();
                self.listen_fast(world);
            }
            tcp::FASTOPEN_CONNECT => {
                let is_wanted = within(value, 0, 1)? != 0;
                if world.settings.fast_open & fast_open::CLIENT == 0 {
                    return Err(Errno::OPNOTSUPP);
                }
                if self.phase != Phase::Fresh {
                    return Err(Errno::INVAL);
                }
                self.wishes.connects_fast = is_wanted;
            }
            tcp::FASTOPEN_NO_COOKIE => {
                let is_wanted = within(value, 0, 1)? != 0;
                if self.phase != Phase::Fresh {
                    return Err(Errno::INVAL);
                }
                self.wishes.needs_no_cookie = is_wanted;
            }
            _ => {
                if value.len() != KEY_BYTES && value.len() != 2 * KEY_BYTES {
                    return Err(Errno::INVAL);
                }
                self.wishes.fast_open_keys = value.to_vec();
                self.listen_fast(world);
            }
        }
        Ok(())
    }

    /// The keys of a listener (`TCP_FASTOPEN_KEY`); those of all are not told here.
    pub(super) fn fast_open_key_bytes(&self, _settings: &Settings) -> Vec<u8> {
        self.wishes.fast_open_keys.clone()
    }

    /// Lets a listener know whether it takes what comes with a SYN. `backlog` is that of the listener.
    pub(super) fn listen_fast(&mut self, world: &mut World<'_>) {
        let Phase::Listening(listener) = self.phase else { return };
        let (settings, wishes) = (world.settings, &self.wishes);
        let is_on = |bit| settings.fast_open & bit != 0;
        let backlog = match wishes.fast_open_backlog {
            0 if is_on(fast_open::SERVER_WITHOUT_OPTION) => self.backlog,
            backlog => backlog.min(settings.somaxconn) as usize,
        };
        let keys = keys(&wishes.fast_open_keys).or(settings.fast_open_keys);
        let needs_cookie = !is_on(fast_open::SERVER_COOKIE_NOT_REQUIRED) && !wishes.needs_no_cookie;
        let wanted = keys.filter(|_| is_on(fast_open::SERVER) && backlog > 0);
        let wanted = wanted.map(|keys| FastOpenListener { backlog, needs_cookie, keys });
        world.stack.tcp().set_fast_open(listener, wanted);
    }

    fn needs_cookie(&self, settings: &Settings) -> bool {
        settings.fast_open & fast_open::CLIENT_NO_COOKIE == 0 && !self.wishes.needs_no_cookie
    }

    /// connect(2) with `TCP_FASTOPEN_CONNECT`: nothing is sent before there are data, if they may go at once.
    pub(super) fn connect_fast(&mut self, world: &mut World<'_>, to: SocketAddr) -> Result<(), Errno> {
        let may_go = !self.needs_cookie(world.settings) || world.stack.tcp().has_cookie(to.ip());
        if may_go {
            self.deferred = Some(to);
            return Ok(());
        }
        self.open_with(world, to, Buffer::new()).map(drop)?;
        Err(Errno::INPROGRESS)
    }

    /// Whether a write has to open the connection, or ask what has become of that.
    pub(super) fn opens_fast(&self, is_asked: bool) -> bool {
        is_asked || self.deferred.is_some()
    }

    /// sendmsg(2) with `MSG_FASTOPEN`, or the first one after a connect that was deferred. Answers how many bytes went with the SYN; nothing
    /// if the connection is open, and the bytes go their usual way.
    pub(super) fn send_fast(
        &mut self,
        world: &mut World<'_>,
        bytes: &[u8],
        to: Option<SocketAddr>,
    ) -> Result<Option<usize>, Errno> {
        if world.settings.fast_open & fast_open::CLIENT == 0 {
            return Err(Errno::OPNOTSUPP);
        }
        match self.phase {
            Phase::Fresh => {
                let to = self.deferred.take().or(to).ok_or(Errno::DESTADDRREQ)?;
                let taken = self.open_with(world, to, Buffer::copy_from_slice(bytes))?;
                if taken == 0 { Err(Errno::INPROGRESS) } else { Ok(Some(taken)) }
            }
            Phase::Listening(_) => Err(Errno::ISCONN),
            Phase::Open(_) if self.is_connected => Err(Errno::ISCONN),
            Phase::Open(_) => self.go_on_connecting(world.stack, Errno::ALREADY).map(|()| None),
        }
    }

    fn open_with(&mut self, world: &mut World<'_>, to: SocketAddr, data: Buffer) -> Result<usize, Errno> {
        let from = self.leaving_from(to)?;
        let options = Rc::new(self.wishes.connection_options(world.settings));
        let request = FastOpenRequest { data, needs_cookie: self.needs_cookie(world.settings) };
        let opened = world.stack.connect_fast_open(world.now, from, to, options, request);
        let (id, taken) = opened.map_err(open_error)?;
        self.local = world.stack.tcp().flow(id).map(|flow| flow.src()).or(self.local);
        self.phase = Phase::Open(id);
        self.is_connected = false;
        self.written += u64::from(taken);
        self.look(world);
        Ok(taken as usize)
    }

    /// Whether the connection is still being opened.
    pub(crate) fn is_opening(&self, world: &mut World<'_>) -> bool {
        matches!(self.state(world.stack), State::SynSent | State::SynReceived)
    }
}
