use core::net::Ipv4Addr;

use super::*;

const KEYS: FastOpenKeys = FastOpenKeys::new(
    [0xa1, 0xa1, 0xa1, 0xa1, 0xb2, 0xb2, 0xb2, 0xb2, 0xc3, 0xc3, 0xc3, 0xc3, 0xd4, 0xd4, 0xd4, 0xd4],
    None,
);
const PAIR: AddressPair = AddressPair::V4 { src: Ipv4Addr::new(192, 0, 2, 1), dst: Ipv4Addr::new(192, 168, 0, 1) };
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn listener() -> FastOpenListener {
    FastOpenListener { backlog: 1, needs_cookie: true, keys: KEYS }
}

fn option(cookie: &[u8]) -> Option<FastOpenOption> {
    FastOpenOption::new(cookie)
}

#[test]
fn cookies_are_those_of_linux() {
    assert_eq!(KEYS.cookie(PAIR), [0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb]);
    let v6 = AddressPair::V6 {
        src: "fd3d:fa7b:d17d::1".parse().expect("an address"),
        dst: "fd3d:0a0b:17d6::1".parse().expect("an address"),
    };
    assert_eq!(KEYS.cookie(v6), [0xc1, 0xd1, 0xe9, 0x74, 0x2a, 0x47, 0xa9, 0xbc]);
}

#[test]
fn a_connection_needs_the_cookie_and_room() {
    let decide = |waiting, option, has_data| listener().decide(waiting, PAIR, option, has_data);
    let right = option(&KEYS.cookie(PAIR));
    assert_eq!(decide(0, right, true), Decision::Accept);
    assert_eq!(decide(1, right, true), Decision::Ordinary);
    assert_eq!(decide(0, None, true), Decision::Ordinary);
    assert_eq!(decide(0, option(&[1; 8]), true), Decision::Offer(false));
    assert_eq!(decide(0, Some(FastOpenOption::REQUEST.experimental(true)), false), Decision::Offer(true));
    let open = FastOpenListener { needs_cookie: false, ..listener() };
    assert_eq!(open.decide(0, PAIR, None, true), Decision::Accept);
    assert_eq!(open.decide(0, PAIR, None, false), Decision::Ordinary);
}

#[test]
fn an_old_key_holds_until_it_is_forgotten() {
    let changed = FastOpenKeys::new([9; 16], Some(KEYS.primary));
    assert!(changed.accepts(PAIR, &KEYS.cookie(PAIR)));
    assert_ne!(changed.cookie(PAIR), KEYS.cookie(PAIR));
    assert!(!FastOpenKeys::new([9; 16], None).accepts(PAIR, &KEYS.cookie(PAIR)));
}

#[test]
fn the_older_form_is_tried_once() {
    let mut cookies = Cookies::new(1);
    let refused = |was_old| Answer { mss: Some(1_000), cookie: None, was_refused: Some(was_old) };
    assert_eq!(cookies.lookup(SERVER), (FastOpenOption::REQUEST, None));
    cookies.learn(SERVER, refused(false));
    assert_eq!(cookies.lookup(SERVER), (FastOpenOption::REQUEST.experimental(true), Some(1_000)));
    cookies.learn(SERVER, refused(true));
    cookies.learn(SERVER, refused(false));
    assert!(!cookies.lookup(SERVER).0.is_experimental);
    let given = Answer { mss: None, cookie: option(&[1; 4]), was_refused: None };
    cookies.learn(SERVER, given);
    assert_eq!(cookies.lookup(SERVER), (option(&[1; 4]).expect("four bytes"), Some(1_000)));
    cookies.learn(IpAddr::V4(Ipv4Addr::LOCALHOST), given);
    assert_eq!(cookies.lookup(SERVER), (FastOpenOption::REQUEST, None), "there is room for one");
}
