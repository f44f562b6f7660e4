use super::*;

#[test]
fn a_listener_is_connected_to_and_its_file_goes_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    assert!(matches!(connect(&path), Err(SocketError::NotThere { .. })));
    let listener = Listener::bind(&path).expect("nothing is in the way");
    assert!(listener.accept().expect("it works").is_none());
    let _connection = connect(&path).expect("somebody listens");
    assert!(listener.accept().expect("it works").is_some());
    let error = Listener::bind(&path).expect_err("it is in use");
    assert_eq!(error.to_string(), format!("{path:?} is in use: another process listens there"));
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn what_a_dead_process_has_left_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    drop(UnixListener::bind(&path).expect("nothing is in the way"));
    assert!(path.exists(), "the standard library leaves it");
    assert!(matches!(connect(&path), Err(SocketError::NobodyListens { .. })));
    let first = Listener::bind(&path).expect("it is replaced");
    fs::remove_file(&path).expect("it is there");
    let second = Listener::bind(&path).expect("nothing is in the way");
    drop(first);
    assert!(path.exists(), "it is another one's");
    drop(second);
    assert!(!path.exists());
}

#[test]
fn who_has_no_time_to_be_connected_to_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let busy = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    rustix::net::bind(&busy, &SocketAddrUnix::new(&path).expect("it is short")).expect("nothing is in the way");
    rustix::net::listen(&busy, 0).expect("it is bound");
    let waiting: Vec<_> = std::iter::from_fn(|| connect(&path).ok()).take(100).collect();
    assert!(waiting.len() < 100, "there is no room for so many");
    let error = connect(&path).expect_err("it is busy");
    assert_eq!(error.to_string(), format!("{path:?} has too many who wait there to be served"));
    assert!(matches!(Listener::bind(&path), Err(SocketError::InUse { .. })), "it is not left over");
}

#[test]
fn what_is_in_the_way_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    fs::write(&path, b"a file").expect("it is written");
    let error = Listener::bind(&path).expect_err("it is no socket");
    assert_eq!(error.to_string(), format!("{path:?} is there already, and is no socket"));
    assert!(path.exists());
    let nowhere = folder.path().join("no/socket");
    assert!(matches!(Listener::bind(&nowhere), Err(SocketError::NoFolder { .. })));
    assert!(matches!(Listener::bind(Path::new("")), Err(SocketError::NoPath)));
    let long = PathBuf::from("x".repeat(108));
    let error = Listener::bind(&long).expect_err("it is too long");
    assert_eq!(error.to_string(), format!("{long:?} is no path of a socket: it may have 107 bytes"));
    let denied = refused(&path, io::Error::from(io::ErrorKind::PermissionDenied)).to_string();
    assert_eq!(denied, format!("no permission to use the socket {path:?}: permission denied"));
}
