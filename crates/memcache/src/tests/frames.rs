//! What is made of any datagram, in two ways that must agree, and of any answer: the check behind a fuzz target and properties.

use sunstar_memcache::{
    Endpoint, FRAME_HEADER_BYTES, Limits, MAX_DATAGRAM_BYTES, MAX_KEY_BYTES, Request, RequestId, single_get,
};
use sunstar_packet::Buffer;

thread_local! {
    /// Made once: the frames of an endpoint are a large piece of memory.
    static ENDPOINT: Endpoint = Endpoint::new(Limits::DEFAULT);
}

/// Reads the bytes as a datagram, and as an answer that is cut into datagrams.
pub(crate) fn check_datagram(bytes: &[u8]) {
    let is_whole = bytes.len() > FRAME_HEADER_BYTES && bytes[4..6] == [0, 1];
    let id = RequestId::of(bytes);
    assert_eq!(id.is_some(), is_whole, "a datagram of {} bytes", bytes.len());
    if let Some(id) = id {
        assert_eq!(id.header(3, 5), [bytes[0], bytes[1], 0, 3, 0, 5, 0, 0]);
        check_frames(id, bytes);
    }
    let Some((command, key)) = single_get(bytes) else { return };
    assert!((1..=MAX_KEY_BYTES).contains(&key.len()), "a key of {} bytes", key.len());
    let mut connection = ENDPOINT.with(Endpoint::accept);
    connection.handle_input(Buffer::copy_from_slice(&bytes[FRAME_HEADER_BYTES..])).expect("nothing came before");
    let Some(Request::Retrieve { command: other, keys, is_last: true }) = connection.poll_request() else {
        panic!("it is no request: {}", bytes.escape_ascii());
    };
    assert!(other == command && keys.iter().eq([key]), "another request");
    assert!(connection.poll_request().is_none() && !connection.is_in_request(), "more than one request");
}

/// The frames of an answer, which is some repetition of the bytes, are numbered and carry all of it.
fn check_frames(id: RequestId, bytes: &[u8]) {
    let times = usize::from(bytes[2]) + 1;
    let reply: Vec<Buffer> = (0..times).map(|_| Buffer::copy_from_slice(&bytes[FRAME_HEADER_BYTES..])).collect();
    let all = reply.concat();
    let frames: Vec<Buffer> = id.frames(&reply).collect();
    let count = u16::try_from(frames.len()).expect("they can be counted");
    let mut carried = Vec::new();
    for (place, frame) in (0..).zip(&frames) {
        let (header, data) = frame.split_at(FRAME_HEADER_BYTES);
        assert_eq!(header, id.header(place, count), "frame {place} of {count}");
        assert!(frame.len() <= MAX_DATAGRAM_BYTES && !data.is_empty(), "a frame of {} bytes", frame.len());
        carried.extend_from_slice(data);
    }
    assert!(carried == all, "{} bytes of {}", carried.len(), all.len());
    let sum: usize = frames.iter().map(|frame| frame.len()).sum();
    assert_eq!(RequestId::frames_bytes(all.len()), Some(sum), "what they take");
}
