//! TCP, RFC 9293.

pub mod assembler;
pub mod congestion;
pub mod connection;
pub(crate) mod cookie;
pub mod delivery;
pub mod fast_open;
pub mod half_open;
pub mod prr;
pub mod rack;
pub mod rto;
pub mod scoreboard;
pub mod secret;
pub mod sockets;
pub mod time_wait;

#[cfg(test)]
pub(crate) mod test_stream {
    //! A stream whose every byte is known by its place.

    use sunstar_packet::Buffer;

    /// The bytes from `offset` on.
    pub(crate) fn data(offset: u32, len: usize) -> Buffer {
        // Two bytes of each are the same as their neighbours' with a chance of one in 256, wherever one begins.
        let byte = |place: u32| place.wrapping_mul(0x9e37_79b1).to_be_bytes()[0];
        let bytes: Vec<u8> = (0..len).zip(0..).map(|(_, at)| byte(offset.wrapping_add(at))).collect();
        Buffer::copy_from_slice(&bytes)
    }
}
