//! Memory for what is sent.

use sunstar_packet::BufferMut;

use crate::socket;

/// An empty buffer with room for `bytes` at least, from which the current shard's network sends without copying it.
///
/// A device may have memory of its own, of which it sends what lies there as it is, and copies, and counts, all else: the frames of AF_XDP, what
/// a vhost-user device shares with another process. There the buffer lies, with room in front for the headers of a datagram; on networks
/// without such devices, as the kernel's sockets, it is an ordinary buffer on the heap. The memory for it is bounded, and apart from that in
/// which the device receives, so a buffer may be kept for ever, and sent as often and by as many streams as may be. When
/// it is used up, and if so much can't be had in one piece (1 MiB is the most), the buffer lies on the heap as well: sending it works all the same,
/// and costs one copy.
///
/// Where the streams of a network leave by several devices that have memory of their own each,
/// [`Stream::allocate_buffer`](crate::Stream::allocate_buffer) chooses that of the stream.
///
/// Ends the program as the global allocator does when there is no memory at all; sizes that come from outside want a bound.
///
/// # Panics
/// Outside of any shard.
///
/// ```no_run
/// use sunstar_net::{Error, TcpStream, allocate_buffer};
/// use sunstar_packet::Buffer;
///
/// // Once, for all who ask.
/// fn page(text: &str) -> Buffer {
///     let mut page = allocate_buffer(text.len());
///     page.extend_from_slice(text.as_bytes()).expect("it was made for that many bytes");
///     page.freeze()
/// }
///
/// async fn serve(stream: &mut TcpStream, page: &Buffer) -> Result<(), Error> {
///     stream.write(page.clone()).await
/// }
/// ```
#[track_caller]
pub fn allocate_buffer(bytes: usize) -> BufferMut {
    match socket::stack() {
        Ok(stack) => stack.allocate_buffer(bytes),
        // Who has no network sends nothing, but may have the bytes.
        Err(_) => BufferMut::with_capacity(0, bytes),
    }
}
