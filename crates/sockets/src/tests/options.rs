use super::world::World;
use crate::errno::Errno;
use crate::numbers::{control, ip, level, msg, origin, so, tcp, timestamping};

fn int(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

#[test]
fn what_is_set_is_read_again_as_linux_tells_it() {
    let world = World::new();
    let fd = world.socket(0);
    let cases = [
        (level::SOCKET, so::REUSEADDR, 1, 1),
        (level::SOCKET, so::SNDBUF, 100_000, 200_000),
        (level::SOCKET, so::SNDBUF, 1, 4_608),
        (level::SOCKET, so::RCVBUF, 1, 2_304),
        (level::SOCKET, so::KEEPALIVE, 1, 1),
        (level::TCP, tcp::NODELAY, 1, 1),
        (level::TCP, tcp::CORK, 1, 1),
        (level::TCP, tcp::MAXSEG, 1_000, 1_000),
        (level::TCP, tcp::KEEPIDLE, 5, 5),
        (level::TCP, tcp::KEEPINTVL, 6, 6),
        (level::TCP, tcp::KEEPCNT, 7, 7),
        (level::TCP, tcp::SYNCNT, 3, 3),
        (level::TCP, tcp::USER_TIMEOUT, 3_000, 3_000),
        (level::TCP, tcp::NOTSENT_LOWAT, 9, 9),
        (level::TCP, tcp::INQ, 1, 1),
        (level::IP, ip::TOS, 8, 8),
    ];
    world.on(0, |sockets, now| {
        assert_eq!(sockets.option(now, fd, level::SOCKET, so::KEEPALIVE), Ok(int(0)));
        assert_eq!(sockets.option(now, fd, level::TCP, tcp::KEEPIDLE), Ok(int(7_200)));
        for (level, name, value, expected) in cases {
            assert_eq!(sockets.set_option(now, fd, level, name, &int(value)), Ok(()), "{level} {name}");
            assert_eq!(sockets.option(now, fd, level, name), Ok(int(expected)), "{level} {name}");
        }
        let pace = |sockets: &mut crate::Sockets, value: &[u8]| {
            assert_eq!(sockets.set_option(now, fd, level::SOCKET, so::MAX_PACING_RATE, value), Ok(()));
            sockets
                .option(now, fd, level::SOCKET, so::MAX_PACING_RATE)
                .map(|rate| u64::from_ne_bytes(rate.try_into().expect("8 bytes")))
        };
        assert_eq!(pace(sockets, &int(1_000_000)), Ok(1_000_000));
        assert_eq!(pace(sockets, &(1_u64 << 40).to_ne_bytes()), Ok(1 << 40));
        assert_eq!(pace(sockets, &int(-1)), Ok(u64::MAX), "no bound");
        assert_eq!(sockets.set_option(now, fd, level::TCP, tcp::CONGESTION, b"reno\0"), Ok(()));
        assert_eq!(
            sockets.option(now, fd, level::TCP, tcp::CONGESTION).map(|name| name[..5].to_vec()),
            Ok(b"reno\0".to_vec())
        );
        assert_eq!(sockets.set_option(now, fd, level::TCP, tcp::CONGESTION, b"none"), Err(Errno::NOENT));
        assert_eq!(sockets.set_option(now, fd, level::TCP, tcp::MAXSEG, &int(40)), Err(Errno::INVAL));
        assert_eq!(sockets.set_option(now, fd, level::TCP, tcp::NODELAY, &[1]), Err(Errno::INVAL));
        assert_eq!(sockets.set_option(now, fd, level::TCP, 999, &int(1)), Err(Errno::NOPROTOOPT));
        assert_eq!(sockets.option(now, fd, 999, 1), Err(Errno::NOPROTOOPT));
    });
}

#[test]
fn tcp_info_lies_where_linux_has_it() {
    let world = World::new();
    let (client, _server) = world.connected();
    let info = world.on(0, |sockets, now| sockets.option(now, client, level::TCP, tcp::INFO)).expect("it is open");
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(info[0], 1, "established");
    assert_eq!(info[5] & 7, 7, "timestamps, selective acknowledgements, scaling");
    assert_eq!((word(16), word(80)), (1_448, 10), "snd_mss, snd_cwnd");
    assert_eq!(word(76), 0x7fff_ffff, "snd_ssthresh");
}

#[test]
fn who_asks_is_told_how_much_is_left_to_be_read() {
    let world = World::new();
    let (client, server) = world.connected();
    world.on(1, |sockets, now| sockets.set_option(now, server, level::TCP, tcp::INQ, &int(1))).expect("a flag");
    world.send(0, client, b"0123456789").expect("there is room");
    let mut bytes = [0; 4];
    let received = world.on(1, |sockets, now| sockets.receive(now, server, &mut [&mut bytes], 0)).expect("it is there");
    assert_eq!(received.control, [(level::TCP, control::INQ, int(6))]);
}

#[test]
fn zero_copy_tells_when_memory_is_free_and_ranges_become_one() {
    let world = World::new();
    let (client, _server) = world.connected();
    let send = |flags| world.on(0, |sockets, now| sockets.send(now, client, &[b"bytes"], flags, None));
    world.on(0, |sockets, now| sockets.set_option(now, client, level::SOCKET, so::ZEROCOPY, &int(1))).expect("a flag");
    assert_eq!(send(msg::ZEROCOPY), Ok(5));
    assert_eq!(send(msg::ZEROCOPY), Ok(5));
    let read = || world.on(0, |sockets, now| sockets.receive(now, client, &mut [], msg::ERRQUEUE));
    assert_eq!(read(), Err(Errno::AGAIN));
    world.pass(100_000);
    let told = read().expect("both were acknowledged");
    let [(level::IP, ip::RECVERR, data)] = &told.control[..] else { panic!("{told:?}") };
    assert_eq!((data[4], &data[8..16]), (origin::ZEROCOPY, &[0, 0, 0, 0, 1, 0, 0, 0][..]));
    assert_eq!(read(), Err(Errno::AGAIN));
}

#[test]
fn times_of_sending_and_acknowledging_are_told() {
    let world = World::new();
    let (client, _server) = world.connected();
    let flags = timestamping::TX_SOFTWARE | timestamping::TX_ACK | timestamping::SOFTWARE | timestamping::OPT_ID;
    let flags = flags.to_ne_bytes();
    world
        .on(0, |sockets, now| sockets.set_option(now, client, level::SOCKET, so::TIMESTAMPING, &flags))
        .expect("flags");
    assert_eq!(world.send(0, client, b"bytes"), Ok(5));
    world.pass(100_000);
    let mut infos = Vec::new();
    while let Ok(told) = world.on(0, |sockets, now| sockets.receive(now, client, &mut [], msg::ERRQUEUE)) {
        let data = told.control.iter().find(|(level, ..)| *level == level::IP).map(|(.., data)| data.clone());
        infos.push(data.map(|data| (data[8], data[12])));
    }
    let expected = [timestamping::SND, timestamping::ACK].map(|name| Some((u8::try_from(name).expect("small"), 4)));
    assert_eq!(infos, expected);
}
