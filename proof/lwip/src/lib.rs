//! lwIP as a host, on a clock that the caller moves. See `lwip.c`.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

unsafe extern "C" {
    fn host_begin(is_v6: i32, own_mac: *const u8, own: *const u8, peer: *const u8) -> i32;
    fn host_end();
    fn host_turn(now: u32) -> u32;
    fn host_take(now: u32, bytes: *const u8, len: usize);
    fn host_leaving(bytes: *mut u8) -> usize;
    fn host_listen(port: u16) -> i32;
    fn host_connect(from: u16, to: u16) -> i32;
    fn host_send(bytes: *const u8, len: usize) -> usize;
    fn host_receive(bytes: *mut u8, room: u16) -> usize;
    fn host_end_stream() -> i32;
    fn host_abort();
    fn host_has_opened() -> i32;
    fn host_has_ended() -> i32;
    fn host_is_reset() -> i32;
    fn host_is_over() -> i32;
}

/// Bytes of the longest frame.
const FRAME: usize = 1_514;

/// There is one stack in a process: when it was last told the time.
static STACK: Mutex<u32> = Mutex::new(0);

/// The host while it lives; others wait until it is dropped.
pub struct Lwip {
    last_ms: MutexGuard<'static, u32>,
    /// What is added to the caller's clock, so that time never goes back for the stack.
    offset_ms: u32,
}

impl Lwip {
    /// A host with addresses of one version of IP.
    ///
    /// # Panics
    /// If lwIP has no memory.
    pub fn new(mac: [u8; 6], own: IpAddr, peer: IpAddr) -> Self {
        // Whoever has failed has dropped the host nevertheless.
        let last_ms = STACK.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets()[12..].to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let (own_bytes, peer_bytes) = (bytes(own), bytes(peer));
        // SAFETY: the lock says that nobody else calls it, so below. The addresses are as long as their version says.
        let begun = unsafe { host_begin(own.is_ipv6().into(), mac.as_ptr(), own_bytes.as_ptr(), peer_bytes.as_ptr()) };
        assert_eq!(begun, 0, "lwIP begins");
        let offset_ms = *last_ms;
        Self { last_ms, offset_ms }
    }

    fn note(&mut self, now_ms: u32) -> u32 {
        *self.last_ms = self.offset_ms.wrapping_add(now_ms);
        *self.last_ms
    }

    /// A frame has come.
    pub fn take(&mut self, now_ms: u32, frame: &[u8]) {
        let now = self.note(now_ms);
        // SAFETY: as above. The bytes are copied.
        unsafe { host_take(now, frame.as_ptr(), frame.len()) }
    }

    /// Does what is due; answers for how many milliseconds there is nothing to do then.
    pub fn turn(&mut self, now_ms: u32) -> u32 {
        let now = self.note(now_ms);
        // SAFETY: as above.
        unsafe { host_turn(now) }
    }

    /// The next frame that is to leave.
    pub fn leaving(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; FRAME];
        // SAFETY: as above, and there is room for the longest frame.
        let len = unsafe { host_leaving(frame.as_mut_ptr()) };
        frame.truncate(len);
        (len > 0).then_some(frame)
    }

    /// Listens at a port.
    pub fn listen(&mut self, port: u16) {
        // SAFETY: as above.
        assert_eq!(unsafe { host_listen(port) }, 0, "lwIP listens");
    }

    /// Connects a port to one of the peer's.
    pub fn connect(&mut self, from: u16, to: u16) {
        // SAFETY: as above.
        assert_eq!(unsafe { host_connect(from, to) }, 0, "lwIP connects");
    }

    /// Hands over as many bytes as there is room for.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        // SAFETY: as above. The bytes are copied.
        unsafe { host_send(bytes.as_ptr(), bytes.len()) }
    }

    /// What has come, or a part of it.
    pub fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let room = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        // SAFETY: as above, and there is so much room.
        unsafe { host_receive(bytes.as_mut_ptr(), room) }
    }

    /// Ends our stream.
    pub fn end_stream(&mut self) {
        // SAFETY: as above.
        assert_eq!(unsafe { host_end_stream() }, 0, "lwIP ends the stream");
    }

    /// Resets the connection.
    pub fn abort(&mut self) {
        // SAFETY: as above.
        unsafe { host_abort() }
    }

    /// Whether the connection is open, or was.
    pub fn has_opened(&self) -> bool {
        // SAFETY: as above.
        unsafe { host_has_opened() != 0 }
    }

    /// Whether the other side's stream has ended, and all of it was received.
    pub fn has_ended(&self) -> bool {
        // SAFETY: as above.
        unsafe { host_has_ended() != 0 }
    }

    /// Whether the other side has reset the connection, or refused it.
    pub fn is_reset(&self) -> bool {
        // SAFETY: as above.
        unsafe { host_is_reset() != 0 }
    }

    /// Whether nothing is left to be sent or to be acknowledged.
    pub fn is_over(&self) -> bool {
        // SAFETY: as above.
        unsafe { host_is_over() != 0 }
    }
}

impl Drop for Lwip {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { host_end() }
    }
}
