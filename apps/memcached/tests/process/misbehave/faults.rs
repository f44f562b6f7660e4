//! Clients that vanish, stall, send what is no request, and come again.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::values::{Part, Rng, filler, is_shared_value, read_part, shared_key, shared_value};
use crate::server::PATIENCE;

/// What servers may do to who misbehaves: end the connection. Any other error, such as that nothing comes, is none of these.
pub(super) fn excuse(error: &io::Error) {
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
    assert!(kinds.contains(&error.kind()) || error.kind() == ErrorKind::UnexpectedEof, "{error}");
}

/// One client that does one thing.
pub(super) fn misbehave(address: SocketAddr, rng: &mut Rng) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let key = shared_key(rng);
    match rng.below(14) {
        0 => vanish_within(stream, b"get shared:1 shared:2\r\n", rng),
        1 => {
            let request = set(&key, rng, 100_000);
            vanish_within(stream, &request, rng)
        }
        2 => garbage(stream, rng),
        3 => {
            // Many answers that nobody waits for.
            let requests: Vec<u8> = (0..1 + rng.below(200)).flat_map(|_| set(&shared_key(rng), rng, 2_000)).collect();
            stream.write_all(&requests)?;
            reset(stream)
        }
        4 => stall(stream, &key, rng),
        5 => drip(stream, &key, rng),
        6 => say_no_more(stream, rng),
        7 => mistake(stream, &key, rng),
        8 => reset(stream),
        9 => {
            // Large values, which push others out.
            for _ in 0..1 + rng.below(10) {
                stream.write_all(&set(&key, rng, 900_000))?;
            }
            stream.write_all(b"mn\r\n")?;
            until(stream, "MN")
        }
        10 => many_keys(stream, rng),
        11 => {
            // A value that never becomes complete.
            stream.write_all(format!("set {key} 0 0 900000\r\nxxx").as_bytes())?;
            thread::sleep(Duration::from_millis(rng.below(1_000) as u64));
            reset(stream)
        }
        12 if rng.below(20) == 0 => {
            stream.write_all(b"flush_all\r\n")?;
            until(stream, "OK")
        }
        12 => reconnect(address, rng),
        _ => {
            stream.write_all(format!("delete {key} noreply\r\ntouch {key} 1 noreply\r\nquit\r\n").as_bytes())?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
            assert_eq!(rest, b"");
            Ok(())
        }
    }
}

fn set(key: &str, rng: &mut Rng, limit: usize) -> Vec<u8> {
    let value = shared_value(key, rng.next(), rng.below(limit));
    let expiry = [0, 0, 0, 1, -1][rng.below(5)];
    [format!("set {key} 0 {expiry} {}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat()
}

/// Ends the connection at once, without the peer's consent.
fn reset(stream: TcpStream) -> io::Result<()> {
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

fn vanish_within(mut stream: TcpStream, request: &[u8], rng: &mut Rng) -> io::Result<()> {
    stream.write_all(&request[..rng.below(request.len())])?;
    if rng.below(2) == 0 {
        thread::sleep(Duration::from_millis(rng.below(300) as u64));
    }
    if rng.below(2) == 0 { reset(stream) } else { stream.shutdown(Shutdown::Both) }
}

/// Bytes by chance, with line ends between them. All that comes is errors, or the end.
fn garbage(mut stream: TcpStream, rng: &mut Rng) -> io::Result<()> {
    for _ in 0..1 + rng.below(20) {
        let mut bytes = filler(rng.next(), rng.below(300));
        // The first byte of requests of the binary protocol, which have other answers.
        bytes.iter_mut().filter(|byte| **byte == 0x80).for_each(|byte| *byte = 0);
        bytes.extend_from_slice(b"\r\n");
        stream.write_all(&bytes)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers)?;
    let is_error = |line: &[u8]| line.starts_with(b"ERROR") || line.starts_with(b"CLIENT_ERROR") || line.is_empty();
    assert!(answers.split(|byte| *byte == b'\n').all(is_error), "{}", answers.escape_ascii());
    Ok(())
}

/// Asks for much, takes nothing for a while, and vanishes.
fn stall(mut stream: TcpStream, key: &str, rng: &mut Rng) -> io::Result<()> {
    stream.write_all(&set(key, rng, 900_000))?;
    stream.set_write_timeout(Some(Duration::from_millis(50)))?;
    let requests = format!("get {key}\r\n").repeat(1_000);
    // Until the server reads no more.
    let _full = stream.write_all(requests.as_bytes());
    thread::sleep(Duration::from_millis(rng.below(1_000) as u64));
    if rng.below(2) == 0 {
        // Takes some after all.
        stream.shutdown(Shutdown::Write)?;
        (&stream).take(rng.next() % 200_000).read_to_end(&mut Vec::new())?;
    }
    reset(stream)
}

/// Sends bytes one by one.
fn drip(mut stream: TcpStream, key: &str, rng: &mut Rng) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let pause = Duration::from_millis(rng.below(10) as u64);
    let request = [&set(key, rng, 60)[..], format!("get {key}\r\n").as_bytes()].concat();
    for byte in request {
        stream.write_all(&[byte])?;
        thread::sleep(pause);
    }
    until(stream, "END")
}

/// Asks a few times, ends its side, and gets all answers.
fn say_no_more(mut stream: TcpStream, rng: &mut Rng) -> io::Result<()> {
    let count = 1 + rng.below(30);
    let requests: String = (0..count).map(|_| format!("get {}\r\n", shared_key(rng))).collect();
    stream.write_all(requests.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut reader = BufReader::new(stream);
    for _ in 0..count {
        items_until(&mut reader, "END")?;
    }
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest)?;
    assert_eq!(rest, b"");
    Ok(())
}

/// Requests that are none; the connection goes on behind them, or ends.
fn mistake(mut stream: TcpStream, key: &str, rng: &mut Rng) -> io::Result<()> {
    let requests = match rng.below(5) {
        0 => format!("set {key} 0 0 3\r\nabcdef\r\n").into_bytes(),
        1 => "x".repeat(20_000).into_bytes(),
        2 => format!("set {key} 0 0 2000000\r\n{}\r\n", "x".repeat(2_000_000)).into_bytes(),
        3 => format!("get {}\r\nincr {key} 1\r\ntouch {key} x\r\n", "k".repeat(251)).into_bytes(),
        _ => format!("set {key} a b 5\r\nquit\r\n\r\n").into_bytes(),
    };
    stream.write_all(&requests)?;
    stream.write_all(b"mn\r\n")?;
    until(stream, "MN")
}

/// One line that asks for very many items.
fn many_keys(stream: TcpStream, rng: &mut Rng) -> io::Result<()> {
    // Of most there is none, or it would take long to look at all of them.
    let key = |rng: &mut Rng| if rng.below(50) == 0 { shared_key(rng) } else { "nothing".to_owned() };
    let keys: String = (0..1 + rng.below(3_000)).map(|_| format!(" {}", key(rng))).collect();
    let mut writer = stream.try_clone()?;
    // The answers are longer than what fits between both.
    thread::scope(|scope| {
        scope.spawn(move || drop(writer.write_all(format!("get{keys}\r\n").as_bytes())));
        until(stream, "END")
    })
}

/// Connects again and again, with a request now and then.
fn reconnect(address: SocketAddr, rng: &mut Rng) -> io::Result<()> {
    for _ in 0..1 + rng.below(20) {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        if rng.below(2) == 0 {
            stream.write_all(format!("get {}\r\n", shared_key(rng)).as_bytes())?;
            until(stream, "END")?;
        }
    }
    Ok(())
}

/// Reads what comes until this line, or until the connection ends.
fn until(stream: TcpStream, last: &str) -> io::Result<()> {
    items_until(&mut BufReader::new(stream), last)
}

/// The same; every item has to be right.
fn items_until(from: &mut BufReader<TcpStream>, last: &str) -> io::Result<()> {
    loop {
        match read_part(from)? {
            Part::Item(item) => {
                let is_right = item.flags == 0 && is_shared_value(&item.key, &item.value);
                assert!(is_right, "{} has {:.200}", item.key, item.value.escape_ascii().to_string());
            }
            Part::Line(line) if line == last => return Ok(()),
            Part::Line(_) => {}
        }
    }
}
