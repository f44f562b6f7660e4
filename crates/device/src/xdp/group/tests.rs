use std::os::unix::net::UnixDatagram;

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// Which of the frames a filter takes. It does not matter to filters by which socket frames come, but for tags, which have their place
/// elsewhere.
fn taken<'a>(copies: Copies, frames: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let (near, far) = UnixDatagram::pair().unwrap();
    attach(&far, copies.filter()).unwrap();
    far.set_nonblocking(true).unwrap();
    let comes = |frame: &&&[u8]| {
        near.send(frame).unwrap();
        far.recv(&mut [0; 256]).is_ok()
    };
    frames.iter().filter(comes).copied().collect()
}

const ALL: [Copies; 3] = [Copies::Groups(MacAddr(MAC)), Copies::Neighbours, Copies::NeighboursAndErrors];

fn frame(dst: [u8; 6], ethertype: u16, content: &[u8]) -> Vec<u8> {
    [&dst[..], &[2, 0, 0, 0, 0, 1], &ethertype.to_be_bytes(), content].concat()
}

/// A packet of IPv4 with so many words of options, whose payload begins with that byte.
fn v4(protocol: u8, words: u8, fragment: u16, first: u8) -> Vec<u8> {
    let [high, low] = fragment.to_be_bytes();
    let fixed = [0x45 + words, 0, 0, 0, 0, 0, high, low, 64, protocol, 0, 0, 198, 51, 100, 1, 192, 0, 2, 7];
    let options = vec![1; usize::from(words) * 4];
    frame(MAC, 0x0800, &[&fixed, &options[..], &[first, 0, 0, 0]].concat())
}

fn v6(next_header: u8, first: u8) -> Vec<u8> {
    let mut content = vec![0x60, 0, 0, 0, 0, 4, next_header, 64];
    content.resize(40, 0);
    content.extend([first, 0, 0, 0]);
    frame(MAC, 0x86dd, &content)
}

#[test]
fn what_is_for_groups_comes_always() {
    let frames = [
        frame([0xff; 6], 0x0806, &[0; 28]),
        frame([0x33, 0x33, 0, 0, 0, 1], 0x86dd, &[0; 40]),
        frame([1, 0, 0x5e, 0, 0, 1], 0x88cc, &[]),
    ];
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    for copies in ALL {
        assert_eq!(taken(copies, &frames), frames, "{copies:?}");
    }
}

#[test]
fn what_both_want_to_know_comes_of_a_shared_address() {
    let arp = frame(MAC, 0x0806, &[0; 28]);
    let others =
        [v4(1, 0, 0, 3), v6(58, 136), v4(6, 0, 0, 3), v6(6, 1), frame(MAC, 0x88cc, &[]), frame(MAC, 0x8100, &[])];
    let frames: Vec<&[u8]> = std::iter::once(&arp).chain(&others).map(Vec::as_slice).collect();
    let [groups, neighbours, errors] = ALL.map(|copies| taken(copies, &frames));
    assert!(groups.is_empty());
    assert_eq!(neighbours, frames[..1]);
    assert_eq!(errors, frames[..3]);
}

#[test]
fn of_icmp_errors_and_what_is_about_neighbours_come() {
    let all_types = |make: &dyn Fn(u8) -> Vec<u8>| {
        (0..=u8::MAX).filter(|kind| !taken(Copies::NeighboursAndErrors, &[&make(*kind)]).is_empty()).collect::<Vec<_>>()
    };
    for words in [0, 1, 10] {
        assert_eq!(all_types(&|kind| v4(1, words, 0x4000, kind)), [3, 11, 12]);
    }
    assert_eq!(all_types(&|kind| v6(58, kind)), [1, 2, 3, 4, 133, 134, 135, 136, 137]);
    for fragment in [0x2000, 1, 0x1fff] {
        assert!(all_types(&|kind| v4(1, 0, fragment, kind)).is_empty());
    }
    assert!(all_types(&|kind| v4(17, 0, 0, kind)).is_empty());
    assert!(all_types(&|kind| v6(17, kind)).is_empty());
}
