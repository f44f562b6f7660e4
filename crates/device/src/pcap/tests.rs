use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sunstar_packet::Buffer;

use super::*;
use crate::link::{LinkOptions, LinkQueue, link};

/// A packet as it is in a file.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    interface: u32,
    unix_ns: u64,
    flags: u32,
    queue: u32,
    original_bytes: u32,
    bytes: Vec<u8>,
}

struct File {
    interfaces: Vec<String>,
    snap_bytes: u32,
    packets: Vec<Recorded>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The options from `at` on.
fn options(block: &[u8], mut at: usize) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let (code, len) = (word(block, at) & 0xffff, (word(block, at) >> 16) as usize);
        if code == 0 {
            assert_eq!((len, at + 8), (0, block.len()), "the end is the last");
            return found;
        }
        found.push((code, block[at + 4..at + 4 + len].to_vec()));
        at += 4 + len.next_multiple_of(4);
    }
}

/// Reads a file by the specification, and nothing that it does not say.
fn read(path: &std::path::Path) -> File {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut file = File { interfaces: Vec::new(), snap_bytes: 0, packets: Vec::new() };
    let mut index = 0;
    while !rest.is_empty() {
        let (kind, len) = (word(rest, 0), word(rest, 4) as usize);
        let (block, behind) = rest.split_at(len);
        assert_eq!(word(block, len - 4) as usize, len, "the length stands at both ends");
        match (index, kind) {
            (0, 0x0a0d_0d0a) => assert_eq!((word(block, 8), word(block, 12)), (0x1a2b_3c4d, 1)),
            (1 | 2, 1) => {
                assert_eq!(word(block, 8), 1, "Ethernet");
                file.snap_bytes = word(block, 12);
                let options = options(block, 16);
                assert_eq!(options[1], (9, vec![9]), "nanoseconds");
                file.interfaces.push(String::from_utf8(options[0].1.clone()).unwrap());
            }
            (3.., 6) => {
                let (kept, options) = (word(block, 20) as usize, |at| options(block, at));
                let options = options(28 + kept.next_multiple_of(4));
                file.packets.push(Recorded {
                    interface: word(block, 8),
                    unix_ns: u64::from(word(block, 12)) << 32 | u64::from(word(block, 16)),
                    flags: word(&options[0].1, 0),
                    queue: word(&options[1].1, 0),
                    original_bytes: word(block, 24),
                    bytes: block[28..28 + kept].to_vec(),
                });
            }
            _ => panic!("block {index} is of type {kind:#x}"),
        }
        index += 1;
        rest = behind;
    }
    file
}

fn packet(parts: &[&[u8]]) -> Packet {
    let mut packet = Packet::new();
    for part in parts {
        packet.push_back(Buffer::copy_from_slice(part)).unwrap();
    }
    packet
}

struct Setup {
    _folder: tempfile::TempDir,
    path: PathBuf,
    capture: Capture,
    here: LinkQueue,
    there: Pcap<LinkQueue>,
}

fn setup(options: CaptureOptions, ring_packets: usize) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcapng");
    let capture = Capture::create(&path, &["other", "link0"], options).unwrap();
    let (here, there) = link(LinkOptions { ring_packets, ..LinkOptions::default() });
    // As a shard has it that sends by another one's queue.
    let there = Pcap::new(there, capture.recorder(1, 3).another());
    Setup { _folder: folder, path, capture, here, there }
}

#[test]
fn both_directions_are_recorded_with_their_times() {
    let origin_since_epoch = Duration::from_secs(1_700_000_000);
    let options = CaptureOptions { snap_bytes: 9, origin_since_epoch };
    let Setup { _folder, path, capture, mut here, mut there } = setup(options, 8);
    here.tx_burst(Instant::ORIGIN, &mut [packet(&[b"to", b" there"])].into()).unwrap();
    there.rx_burst(Instant::from_nanos(1), &mut VecDeque::new(), 8).unwrap();
    let mut packets = VecDeque::from([packet(&[b"to here", b" and", b" cut"])]);
    there.tx_burst(Instant::from_nanos(5_000_000_002), &mut packets).unwrap();
    assert_eq!((there.recorder().recorded(), there.recorder().copies().bytes()), (2, 17));
    drop(there);
    capture.finish().unwrap();

    let file = read(&path);
    assert_eq!((&file.interfaces[..], file.snap_bytes), (&["other".to_owned(), "link0".to_owned()][..], 9));
    let base = 1_700_000_000_000_000_000;
    let received = Recorded {
        interface: 1,
        unix_ns: base + 1,
        flags: 1,
        queue: 3,
        original_bytes: 8,
        bytes: b"to there".to_vec(),
    };
    let sent = Recorded {
        interface: 1,
        unix_ns: base + 5_000_000_002,
        flags: 2,
        queue: 3,
        original_bytes: 15,
        bytes: b"to here a".to_vec(),
    };
    assert_eq!(file.packets, [received, sent]);
}

#[test]
fn what_is_held_back_is_recorded_when_it_goes() {
    let Setup { _folder, path, capture, mut here, mut there } = setup(CaptureOptions::default(), 1);
    let mut packets = VecDeque::from([packet(&[b"1"]), packet(&[b"2"])]);
    there.tx_burst(Instant::from_nanos(1), &mut packets).unwrap();
    there.tx_burst(Instant::from_nanos(2), &mut packets).unwrap();
    here.rx_burst(Instant::from_nanos(3), &mut VecDeque::new(), 1).unwrap();
    there.tx_burst(Instant::from_nanos(4), &mut packets).unwrap();
    drop(there);
    capture.finish().unwrap();
    let times: Vec<u64> = read(&path).packets.iter().map(|packet| packet.unix_ns).collect();
    assert_eq!(times, [1, 4]);
}

#[test]
fn what_was_recorded_is_written_soon() {
    let Setup { _folder, path, capture, here: _here, mut there } = setup(CaptureOptions::default(), 8);
    there.tx_burst(Instant::from_nanos(7), &mut [packet(&[b"x"])].into()).unwrap();
    let deadline = there.deadline().expect("it is to be written");
    assert_eq!(deadline, Instant::from_nanos(100_000_007));
    there.tx_burst(deadline, &mut VecDeque::new()).unwrap();
    assert_eq!(there.deadline(), None);
    // The queue still exists.
    capture.finish().unwrap();
    assert_eq!(read(&path).packets.len(), 1);
}

#[test]
fn nothing_waits_for_a_file_that_can_not_be_written() {
    let capture = Capture::create("/dev/full".as_ref(), &["x"], CaptureOptions::default());
    assert!(capture.is_err(), "the first bytes are written at once");

    let Setup { _folder, capture, mut here, mut there, .. } = setup(CaptureOptions::default(), 4096);
    capture.finish().unwrap();
    // Nobody takes what is handed over from now on.
    for _ in 0..100 {
        there.tx_burst(Instant::ORIGIN, &mut [packet(&[&[0; 1400]])].into()).unwrap();
    }
    assert_eq!(there.recorder().recorded() + there.recorder().lost(), 100);
    assert!(there.recorder().lost() > 50, "a chunk is kept, no more");
    assert_eq!(here.rx_burst(Instant::ORIGIN, &mut VecDeque::new(), 4096).unwrap(), 100, "the packets went on");
}

#[test]
fn large_files_are_whole() {
    let Setup { _folder, path, capture, here: _here, mut there } = setup(CaptureOptions::default(), 4096);
    for index in 0..2000_u32 {
        let payload = vec![0; 1000 + index as usize % 400];
        there.tx_burst(Instant::ORIGIN, &mut [packet(&[&index.to_be_bytes(), &payload])].into()).unwrap();
    }
    let (recorded, lost) = (there.recorder().recorded(), there.recorder().lost());
    drop(there);
    capture.finish().unwrap();
    assert_eq!((read(&path).packets.len() as u64, recorded + lost), (recorded, 2000));
}

/// tshark reads it: times, directions, and what is in the packets.
#[test]
#[ignore = "needs tshark; cargo xtask test tools"]
fn tools_tshark_reads_captures() {
    let options =
        CaptureOptions { origin_since_epoch: Duration::from_secs(1_700_000_000), ..CaptureOptions::default() };
    let Setup { _folder, path, capture, mut here, mut there } = setup(options, 8);
    let arp = sunstar_wire::Arp::request(sunstar_wire::MacAddr([2; 6]), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let ethernet = sunstar_wire::EthernetHeader {
        dst: sunstar_wire::MacAddr::BROADCAST,
        src: sunstar_wire::MacAddr([2; 6]),
        vlan: sunstar_wire::Vlan::Untagged,
        ethertype: sunstar_wire::EtherType::ARP,
    };
    let request = || packet(&[&ethernet.to_bytes(), &arp.to_bytes()]);
    here.tx_burst(Instant::ORIGIN, &mut [request()].into()).unwrap();
    there.rx_burst(Instant::from_nanos(123_456_789), &mut VecDeque::new(), 1).unwrap();
    there.tx_burst(Instant::from_nanos(123_456_790), &mut [request()].into()).unwrap();
    drop(there);
    capture.finish().unwrap();
    let fields = ["frame.time_epoch", "frame.packet_flags_direction", "frame.interface_name", "arp.dst.proto_ipv4"];
    let mut tshark = Command::new("tshark");
    tshark.args(["-T", "fields", "-r"]).arg(path).args(fields.iter().flat_map(|field| ["-e", field]));
    let output = tshark.output().expect("the package tshark is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines[0], ["1700000000.123456789", "0x00000001", "link0", "10.0.0.2"]);
    assert_eq!(lines[1], ["1700000000.123456790", "0x00000002", "link0", "10.0.0.2"]);
}
