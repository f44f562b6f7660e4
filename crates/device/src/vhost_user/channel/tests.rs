use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::vhost_user::message::{Request, RingFile, RingState};

fn pair() -> (Channel, UnixStream) {
    let (here, there) = UnixStream::pair().expect("a pair of sockets");
    here.set_nonblocking(true).expect("it does not block");
    (Channel::new(here.into()), there)
}

#[test]
fn messages_come_whole_with_their_descriptors() {
    let (mut back, front) = pair();
    let front = Channel::new(front.into());
    assert!(back.receive().expect("nothing is wrong").is_none());
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"shared").expect("it is written");
    let kick = Request::SetVringKick(RingFile { index: 1, has_file: true });
    let base = Request::SetVringBase(RingState { index: 1, value: 2 });
    front.send(&kick.encode(false), &[file.as_fd()]).expect("it goes");
    front.send(&base.encode(false), &[]).expect("it goes");
    let first = back.receive().expect("nothing is wrong").expect("it has come");
    assert_eq!(first.files.len(), 1);
    assert_eq!(Request::decode(first.header, &first.payload, 1), Ok(kick));
    let mut same = File::from(first.files.into_iter().next().expect("one"));
    let mut content = String::new();
    same.rewind().expect("it is a file");
    same.read_to_string(&mut content).expect("it is read");
    assert_eq!(content, "shared");
    let second = back.receive().expect("nothing is wrong").expect("it has come");
    assert!(second.files.is_empty(), "they belong to the first");
    assert_eq!(Request::decode(second.header, &second.payload, 0), Ok(base));
    assert!(back.receive().expect("nothing is wrong").is_none());
}

#[test]
fn a_message_in_pieces_is_waited_for() {
    let (mut back, mut front) = pair();
    let bytes = Request::SetFeatures(7).encode(false);
    for byte in &bytes[..bytes.len() - 1] {
        front.write_all(&[*byte]).expect("it goes");
        assert!(back.receive().expect("nothing is wrong").is_none());
    }
    front.write_all(&bytes[bytes.len() - 1..]).expect("it goes");
    let whole = back.receive().expect("nothing is wrong").expect("it has come");
    assert_eq!(Request::decode(whole.header, &whole.payload, 0), Ok(Request::SetFeatures(7)));
}

#[test]
fn the_end_of_a_connection_is_told() {
    let (mut back, front) = pair();
    drop(front);
    assert!(matches!(back.receive(), Err(ChannelError::Closed)));
    assert!(matches!(back.send(&[0; 12], &[]), Err(ChannelError::Closed)));
    let (mut back, mut front) = pair();
    front.write_all(&[1, 0, 0, 0]).expect("it goes");
    drop(front);
    assert!(matches!(back.receive(), Err(ChannelError::Cut)));
}

#[test]
fn what_is_too_long_is_not_read() {
    let (mut back, mut front) = pair();
    front.write_all(&[5, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255]).expect("it goes");
    assert!(matches!(back.receive(), Err(ChannelError::Message(MessageError::TooLong { number: 5, .. }))));
}

#[test]
fn descriptors_are_bounded() {
    let (mut back, front) = pair();
    let file = tempfile::tempfile().expect("a file");
    let files = [file.as_fd(); MAX_FILES + 1];
    let front = Channel::new(front.into());
    assert!(matches!(front.send(&[0; 12], &files), Err(ChannelError::TooManyFiles)));
    // Each byte of a message may bring some.
    let bytes = Request::SetFeatures(7).encode(false);
    front.send(&bytes[..4], &files[..MAX_FILES]).expect("it goes");
    assert!(back.receive().expect("nothing is wrong").is_none());
    front.send(&bytes[4..8], &files[..1]).expect("it goes");
    assert!(matches!(back.receive(), Err(ChannelError::TooManyFiles)));
}

#[test]
fn more_descriptors_than_there_is_room_for_are_told() {
    let (mut back, front) = pair();
    let file = tempfile::tempfile().expect("a file");
    let files = [file.as_fd(); 2 * MAX_FILES];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2 * MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    let bytes = Request::SetOwner.encode(false);
    sendmsg(&front, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).expect("it goes");
    assert!(matches!(back.receive(), Err(ChannelError::TooManyFiles)));
}

#[test]
fn who_does_not_read_is_not_waited_for() {
    let (back, _front) = pair();
    let error = (0..100_000).find_map(|_| back.send(&[0; 64], &[]).err()).expect("there is an end of room");
    assert!(matches!(error, ChannelError::Unread), "{error}");
}
