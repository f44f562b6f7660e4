use core::net::IpAddr;
use core::time::Duration;

use super::{LIFETIME, MIN_PATH_MTU, PathMtus, plateau_below};
use crate::time::Instant;

fn dst(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// RFC 1191 §3, §6.3.
#[test]
fn paths_only_narrow_until_they_are_forgotten() {
    let now = Instant::from_micros(1);
    let mut paths = PathMtus::new(4);
    paths.learn(now, dst(1), 1_400);
    paths.learn(now, dst(1), 1_450);
    assert_eq!(paths.lookup(now, dst(1)), Some(1_400));
    paths.learn(now, dst(1), 100);
    assert_eq!(paths.lookup(now, dst(1)), Some(MIN_PATH_MTU), "RFC 5927 §7.2");
    assert_eq!((paths.lookup(now, dst(2)), paths.lookup(now + LIFETIME, dst(1))), (None, None));
}

#[test]
fn known_paths_are_bounded() {
    let mut paths = PathMtus::new(3);
    let at = |second| Instant::from_micros(0) + Duration::from_secs(second);
    for last in 0..5 {
        paths.learn(at(last.into()), dst(last), 1_400);
    }
    let known: Vec<_> = (0..5).map(|last| paths.lookup(at(5), dst(last)).is_some()).collect();
    assert_eq!(known, [false, false, true, true, true]);
}

/// RFC 1191 §7.
#[test]
fn who_does_not_tell_gets_the_next_plateau() {
    assert_eq!([1_500, 1_492, 600, 70].map(plateau_below), [1_492, 1_006, 508, MIN_PATH_MTU]);
}
