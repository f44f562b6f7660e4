use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use sunstar_packet::Buffer;

use super::*;

#[test]
fn what_is_dropped_after_the_end_is_cut_off() {
    let driver = EpollDriver::new().map(Rc::new).expect("descriptors are free");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let ours = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (mut theirs, _) = listener.accept().expect("one has connected");
    let detached = DetachedStream { blocks: true, is_tcp: true, ..DetachedStream::new(ours.into()) };
    let stream = Rc::clone(&driver).stream(detached).expect("it is connected");
    driver.finish();
    stream.enqueue(Buffer::from("too late"));
    drop(stream);
    let end = theirs.read_to_end(&mut Vec::new());
    assert_eq!(end.map_err(|error| error.kind()).err(), Some(ErrorKind::ConnectionReset));
    assert_eq!(driver.counters().snapshot().cut_off_streams, 1);
}
