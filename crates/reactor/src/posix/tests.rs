use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use sunstar_net::socket::{Keepalive, StreamOption};

use super::*;

fn unix(path: &Path) -> Address {
    UnixAddress::new(path.as_os_str().as_encoded_bytes()).expect("temporary paths are short").into()
}

#[test]
fn addresses_come_back_as_they_were() {
    let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 3);
    for address in [
        Address::Inet("127.0.0.1:80".parse().expect("an address")),
        Address::Inet(scoped.into()),
        UnixAddress::new("/a/path").expect("a path").into(),
        UnixAddress::new([b'x'; 107]).expect("a path").into(),
        UnixAddress::new("@name").expect("a name").into(),
        Address::Unix(UnixAddress::Abstract(vec![0, 1])),
        Address::Unix(UnixAddress::Unnamed),
    ] {
        assert_eq!(address::from_system(address::to_system(&address).expect("a good address")), Ok(address));
    }
    for path in [vec![], b"a\0b".to_vec(), vec![b'x'; 109]] {
        let address = Address::Unix(UnixAddress::Path(path));
        assert_eq!(address::to_system(&address), Err(Error::InvalidInput));
    }
}

/// Binds a socket as [`PosixStack::listen`] does.
fn bind_path(path: &Path) -> Result<(OwnedFd, Option<BoundPath>), Error> {
    let system = address::to_system(&unix(path))?;
    let socket = make(&system, SocketType::STREAM)?;
    let bound = bind_to(&socket, &unix(path), &system, SocketType::STREAM)?;
    listen(&socket, 1).map_err(from_errno)?;
    Ok((socket, bound))
}

#[test]
fn a_path_at_which_nobody_listens_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    drop(UnixListener::bind(&path).expect("the path is free"));
    assert!(path.exists(), "the standard library leaves it behind");
    let (socket, bound) = bind_path(&path).expect("nobody listens there");
    UnixStream::connect(&path).expect("the socket listens");
    assert_eq!(bind_path(&path).err(), Some(Error::AddressInUse));
    drop(socket);
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn a_path_that_is_something_else_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").expect("the folder is ours");
    assert_eq!(bind_path(&file).err(), Some(Error::AddressInUse));
    let other = folder.path().join("datagrams");
    let _datagrams = UnixDatagram::bind(&other).expect("the path is free");
    assert_eq!(bind_path(&other).err(), Some(Error::AddressInUse));
    assert!(file.exists() && other.exists());
}

#[test]
fn a_path_that_somebody_else_has_taken_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let (_socket, bound) = bind_path(&path).expect("the path is free");
    std::fs::remove_file(&path).expect("it was made");
    std::fs::write(&path, "another's").expect("the folder is ours");
    drop(bound);
    assert!(path.exists());
}

#[test]
fn options_reach_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let set = |option| stream::set_option(stream.as_fd(), option);
    set(StreamOption::NoDelay(true)).expect("TCP has it");
    assert_eq!(sockopt::tcp_nodelay(&stream), Ok(true));
    let keepalive = Keepalive { idle: Duration::from_secs(7), interval: Duration::from_secs(8), probes: 9 };
    set(StreamOption::Keepalive(Some(keepalive))).expect("TCP has it");
    assert_eq!(sockopt::socket_keepalive(&stream), Ok(true));
    assert_eq!(sockopt::tcp_keepidle(&stream), Ok(keepalive.idle));
    assert_eq!(sockopt::tcp_keepintvl(&stream), Ok(keepalive.interval));
    assert_eq!(sockopt::tcp_keepcnt(&stream), Ok(keepalive.probes));
    set(StreamOption::Keepalive(None)).expect("TCP has it");
    assert_eq!(sockopt::socket_keepalive(&stream), Ok(false));
    set(StreamOption::UserTimeout(Some(Duration::from_millis(1500)))).expect("TCP has it");
    assert_eq!(sockopt::tcp_user_timeout(&stream), Ok(1500));
    set(StreamOption::UserTimeout(None)).expect("TCP has it");
    assert_eq!(sockopt::tcp_user_timeout(&stream), Ok(0));
    set(StreamOption::ReceiveBufferBytes(10_000)).expect("all have it");
    set(StreamOption::SendBufferBytes(10_000)).expect("all have it");
    // The kernel doubles what it is asked for, for its own needs.
    assert_eq!(sockopt::socket_recv_buffer_size(&stream), Ok(20_000));
    assert_eq!(sockopt::socket_send_buffer_size(&stream), Ok(20_000));
    let zero = Keepalive { idle: Duration::ZERO, ..keepalive };
    assert_eq!(set(StreamOption::Keepalive(Some(zero))), Err(Error::InvalidInput));
    let (unix, _peer) = UnixStream::pair().expect("descriptors are free");
    assert_eq!(stream::set_option(unix.as_fd(), StreamOption::NoDelay(true)), Err(Error::Unsupported));
}

#[test]
fn an_abort_resets_where_there_is_such_a_thing() {
    use std::io::Read;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (mut peer, _) = listener.accept().expect("somebody has connected");
    stream::abort(stream.as_fd());
    assert_eq!(peer.read(&mut [0]).map_err(from_io), Err(Error::ConnectionReset));
    let (unix, mut peer) = UnixStream::pair().expect("descriptors are free");
    stream::abort(unix.as_fd());
    assert_eq!(peer.read(&mut [0]).map_err(from_io), Ok(0));
}

#[test]
fn errors_that_have_no_name_keep_their_number() {
    assert_eq!(from_errno(Errno::CONNREFUSED), Error::ConnectionRefused);
    assert_eq!(from_errno(Errno::XDEV), Error::Os(libc::EXDEV));
    assert_eq!(from_io(std::io::Error::from_raw_os_error(libc::EPIPE)), Error::BrokenPipe);
    assert_eq!(from_io(std::io::ErrorKind::Unsupported.into()), Error::Unsupported);
}
