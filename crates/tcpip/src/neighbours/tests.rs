use super::*;

const ROOM: NeighbourLimits = NeighbourLimits { neighbours: 8, waiting_packets: 2 };
const LINK: InterfaceId = InterfaceId(1);
const SOMEBODY: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn key(last: u16) -> Key {
    let [high, low] = last.to_be_bytes();
    (LINK, IpAddr::from([10, 0, high, low]))
}

fn now() -> Instant {
    Instant::from_micros(1_000_000)
}

/// How many of so many unknown neighbours are asked for, and how many packets go back.
fn outputs(neighbours: &mut Neighbours, targets: core::ops::Range<u16>, errand: Errand) -> [usize; 3] {
    let mut counts = [0; 3];
    for last in targets {
        match neighbours.output(now(), key(last), errand, Packet::new()) {
            Output::Waits { .. } => counts[0] += 1,
            Output::SendBack(mac, _) => counts[1] += usize::from(mac == SOMEBODY),
            Output::Refused => counts[2] += 1,
            Output::Send(..) => panic!("nobody is known"),
        }
    }
    counts
}

#[test]
fn answers_take_no_questions_from_others() {
    let mut neighbours = Neighbours::new(NeighbourLimits::DEFAULT);
    let answer = Errand::Answer(Some((LINK, SOMEBODY)));
    assert_eq!(outputs(&mut neighbours, 0..1_000, answer), [64, 936, 0]);
    assert_eq!(outputs(&mut neighbours, 1_000..1_010, Errand::Answer(None)), [0, 0, 10]);
    assert_eq!(outputs(&mut neighbours, 2_000..3_000, Errand::Own), [512, 0, 488]);
}

/// A station of another link can't pass it on.
#[test]
fn nothing_goes_back_by_another_link() {
    let mut neighbours = Neighbours::new(NeighbourLimits::DEFAULT);
    let answer = Errand::Answer(Some((InterfaceId(2), SOMEBODY)));
    assert_eq!(outputs(&mut neighbours, 0..100, answer), [64, 0, 36]);
}

#[test]
fn what_is_forgotten_goes_back() {
    let mut neighbours = Neighbours::new(ROOM);
    let answer = Errand::Answer(Some((LINK, SOMEBODY)));
    assert_eq!(outputs(&mut neighbours, 0..1, answer), [1, 0, 0]);
    assert_eq!(outputs(&mut neighbours, 1..2, Errand::Own), [1, 0, 0]);
    assert_eq!(outputs(&mut neighbours, 2..6, Errand::Own), [4, 0, 0]);
    let given_up = neighbours.take_given_up().expect("somebody was");
    assert_eq!(given_up.forgotten, 1);
    let [(of, mac, _)] = &given_up.back[..] else { panic!("{given_up:?}") };
    assert_eq!((*of, *mac), (key(0), SOMEBODY));
}

/// Where as many wait for a neighbour as may, the oldest goes back.
#[test]
fn what_has_no_room_goes_back() {
    let mut neighbours = Neighbours::new(ROOM);
    let answer = Errand::Answer(Some((LINK, SOMEBODY)));
    let counts = [0; 5].map(|_| outputs(&mut neighbours, 0..1, answer));
    assert_eq!(counts, [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]);
    assert_eq!(neighbours.learn(now(), LINK, key(0).1, SOMEBODY, false).len(), 2);
}

/// Who has confirmed is used at once, and asked whether it is still there; what is known already stays.
#[test]
fn who_has_confirmed_is_known() {
    let mut neighbours = Neighbours::new(ROOM);
    assert_eq!(outputs(&mut neighbours, 0..1, Errand::Own), [1, 0, 0]);
    assert_eq!(neighbours.introduce(now(), key(0), SOMEBODY).len(), 1);
    let _ = neighbours.poll_request();
    assert!(matches!(neighbours.output(now(), key(0), Errand::Own, Packet::new()), Output::Send(SOMEBODY, _)));
    assert_eq!(neighbours.poll_request(), Some(Request { interface: LINK, target: key(0).1, to: SOMEBODY }));
    assert_eq!(neighbours.introduce(now(), key(0), MacAddr([2, 0, 0, 0, 0, 7])).len(), 0);
    assert_eq!(neighbours.mac(LINK, key(0).1), Some(SOMEBODY));
}

/// So many that one of them would have to go.
fn make_up(neighbours: &mut Neighbours) {
    for last in 100..200 {
        assert_eq!(neighbours.learn(now(), LINK, key(last).1, SOMEBODY, true).len(), 0);
    }
}

/// Who asks for us before anything is sent to him may have been made up, and goes for others.
#[test]
fn strangers_go_for_others() {
    let mut neighbours = Neighbours::new(ROOM);
    neighbours.learn(now(), LINK, key(0).1, SOMEBODY, true);
    make_up(&mut neighbours);
    assert_eq!((neighbours.mac(LINK, key(0).1), neighbours.len()), (None, 4));
}

/// What waits for an address is sent when it is known, though strangers make others up meanwhile and then.
#[test]
fn who_is_sought_and_found_keeps_its_place() {
    let mut neighbours = Neighbours::new(ROOM);
    assert_eq!(outputs(&mut neighbours, 0..1, Errand::Answer(None)), [1, 0, 0]);
    assert_eq!(outputs(&mut neighbours, 0..1, Errand::Own), [1, 0, 0]);
    make_up(&mut neighbours);
    assert!(!neighbours.has_forgotten());
    assert_eq!(neighbours.learn(now(), LINK, key(0).1, SOMEBODY, false).len(), 2);
    make_up(&mut neighbours);
    assert_eq!(neighbours.mac(LINK, key(0).1), Some(SOMEBODY));
}

/// Whoever answers datagrams is made to seek whomever others make up, and seeks them apart.
#[test]
fn who_is_sought_keeps_its_place_when_datagrams_are_answered() {
    let mut neighbours = Neighbours::new(ROOM);
    assert_eq!(outputs(&mut neighbours, 0..1, Errand::Own), [1, 0, 0]);
    assert_eq!(outputs(&mut neighbours, 100..1_000, Errand::Datagram), [512, 0, 388]);
    assert_eq!(neighbours.learn(now(), LINK, key(0).1, SOMEBODY, false).len(), 1, "it waits still");
    assert_eq!(outputs(&mut neighbours, 2_000..3_000, Errand::Own), [511, 0, 489], "as many are asked for as ever");
}

/// They are bounded like other strangers, of whom one can come in though all places are taken by them.
#[test]
fn who_is_sought_goes_for_others_like_it() {
    let mut neighbours = Neighbours::new(ROOM);
    assert_eq!(outputs(&mut neighbours, 0..20, Errand::Own), [20, 0, 0]);
    assert_eq!((neighbours.len(), neighbours.take_given_up().expect("some were").forgotten), (4, 16));
    make_up(&mut neighbours);
    assert_eq!((neighbours.len(), neighbours.take_given_up().expect("one was").forgotten), (4, 1));
}

/// Who has confirmed our answer is there; that another station has the address says nothing of the one that is known.
#[test]
fn who_has_confirmed_keeps_its_place() {
    let other = MacAddr([2, 0, 0, 0, 0, 7]);
    for (known, is_kept) in [(None, true), (Some(SOMEBODY), true), (Some(other), false)] {
        let mut neighbours = Neighbours::new(ROOM);
        if let Some(known) = known {
            neighbours.learn(now(), LINK, key(0).1, known, true);
        }
        assert!(!neighbours.is_introduced(LINK, key(0).1));
        assert_eq!(neighbours.introduce(now(), key(0), SOMEBODY).len(), 0);
        assert_eq!(neighbours.is_introduced(LINK, key(0).1), is_kept);
        make_up(&mut neighbours);
        assert_eq!(neighbours.mac(LINK, key(0).1), is_kept.then_some(SOMEBODY), "{known:?}");
    }
}
