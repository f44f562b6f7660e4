//! What both kinds of queues promise: scripted, and at random against a model.

use alloc::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::testing::{DATA, Pair, pair};

fn options(size: u16) -> QueueOptions {
    QueueOptions { size, ..QueueOptions::default() }
}

fn segment(offset: u64, len: u32) -> Segment {
    Segment { address: DATA + offset, len }
}

fn each_kind(test: impl Fn(bool)) {
    test(false);
    test(true);
}

fn take(pair: &mut Pair) -> Chain {
    let mut chain = Chain::default();
    assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain));
    chain
}

#[test]
fn a_chain_goes_there_and_back() {
    each_kind(|is_packed| {
        let mut pair = pair(is_packed, options(8));
        pair.data.write(0, b"question");
        let token = pair.driver.add(&[segment(0, 5), segment(5, 3)], &[segment(64, 16)]).expect("there is room");
        let mut chain = Chain::default();
        assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Nothing), "it was not published");
        assert!(pair.driver.publish(), "a device that has not said otherwise is told");
        let chain = take(&mut pair);
        let mut question = [0; 16];
        assert_eq!(chain.read(&pair.map, 2, &mut question), 6);
        assert_eq!(&question[..6], b"estion");
        assert_eq!(chain.write(&pair.map, 4, b"answer, and more than fits"), 12);
        pair.device.put_used(chain.id(), 16);
        assert_eq!(pair.driver.take_used(), Ok(None), "it was not published");
        assert!(pair.device.publish());
        assert_eq!(pair.driver.take_used(), Ok(Some(Used { token, written: Some(16) })));
        assert_eq!(pair.driver.take_used(), Ok(None));
        let mut answer = [0; 16];
        pair.data.read(64, &mut answer);
        assert_eq!(&answer, b"\0\0\0\0answer, and ");
        assert_eq!(pair.driver.free(), 8);
    });
}

#[test]
fn a_full_ring_takes_no_more_until_something_was_used() {
    each_kind(|is_packed| {
        let mut pair = pair(is_packed, options(4));
        for _ in 0..2 {
            pair.driver.add(&[segment(0, 1)], &[segment(1, 1)]).expect("there is room");
        }
        assert_eq!(pair.driver.add(&[segment(0, 1)], &[]), Err(Full));
        let _ = pair.driver.publish();
        let chain = take(&mut pair);
        pair.device.put_used(chain.id(), 0);
        let _ = pair.device.publish();
        pair.driver.take_used().expect("the ring is fine").expect("one came back");
        assert_eq!(pair.driver.free(), 2);
        assert_eq!(pair.driver.add(&[segment(0, 1); 3], &[]), Err(Full), "two are free");
        pair.driver.add(&[segment(0, 1); 2], &[]).expect("they are");
    });
}

#[test]
fn chains_are_read_to_a_bound() {
    let most = usize::from(MAX_CHAIN_DESCRIPTORS);
    let mut pair = pair(false, options(2 * MAX_CHAIN_DESCRIPTORS));
    for count in [most, most + 1] {
        pair.driver.add(&vec![segment(0, 1); count], &[]).expect("there is room");
        let _ = pair.driver.publish();
        let mut chain = Chain::default();
        let taken = pair.device.take(&pair.map, &mut chain);
        assert_eq!(taken, Ok(if count == most { Taken::Chain } else { Taken::Refused(ChainError::Endless) }));
        pair.device.put_used(chain.id(), 0);
        let _ = pair.device.publish();
        pair.driver.take_used().expect("the ring is fine").expect("it came back");
    }
}

#[test]
fn what_was_taken_can_be_put_back_to_be_taken_again() {
    each_kind(|is_packed| {
        let mut pair = pair(is_packed, options(4));
        for first in 0..3 {
            pair.driver.add(&[segment(first, 1)], &[]).expect("there is room");
        }
        let _ = pair.driver.publish();
        let chains = [take(&mut pair), take(&mut pair), take(&mut pair)];
        pair.device.untake(&[chains[1].id(), chains[2].id()]);
        assert_eq!(take(&mut pair).readable(), chains[1].readable());
        assert_eq!(take(&mut pair).readable(), chains[2].readable());
        let mut chain = Chain::default();
        assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Nothing));
    });
}

#[test]
fn who_wants_no_notifications_gets_none() {
    each_kind(|is_packed| {
        for has_event_index in [false, true] {
            let mut pair = pair(is_packed, QueueOptions { has_event_index, ..options(4) });
            pair.device.disable_notifications();
            pair.driver.disable_notifications();
            for _ in 0..100 {
                pair.driver.add(&[segment(0, 1)], &[]).expect("there is room");
                assert!(!pair.driver.publish());
                let chain = take(&mut pair);
                pair.device.put_used(chain.id(), 0);
                assert!(!pair.device.publish());
                pair.driver.take_used().expect("the ring is fine").expect("it came back");
            }
            assert!(!pair.device.enable_notifications(), "nothing is there");
            assert!(!pair.driver.enable_notifications(), "nothing is there");
            pair.driver.add(&[segment(0, 1)], &[]).expect("there is room");
            assert!(pair.driver.publish());
            let chain = take(&mut pair);
            pair.device.put_used(chain.id(), 0);
            assert!(pair.device.publish());
            assert!(pair.driver.enable_notifications(), "one is there already");
        }
    });
}

#[test]
fn with_an_event_index_only_the_first_is_told() {
    each_kind(|is_packed| {
        let mut pair = pair(is_packed, QueueOptions { has_event_index: true, ..options(8) });
        for _ in 0..20 {
            assert!(!pair.device.enable_notifications());
            pair.driver.add(&[segment(0, 1)], &[]).expect("there is room");
            assert!(pair.driver.publish(), "the device waits for it");
            pair.driver.add(&[segment(0, 1)], &[]).expect("there is room");
            assert!(!pair.driver.publish(), "the device was told, and has not asked again");
            for _ in 0..2 {
                let chain = take(&mut pair);
                pair.device.put_used(chain.id(), 0);
            }
            let _ = pair.device.publish();
            while pair.driver.take_used().expect("the ring is fine").is_some() {}
        }
    });
}

#[test]
fn a_batch_in_order_comes_back_by_one_entry() {
    each_kind(|is_packed| {
        let mut pair = pair(is_packed, QueueOptions { is_in_order: true, ..options(8) });
        let mut last = None;
        for _ in 0..5 {
            let tokens: Vec<u16> =
                (0..3).map(|_| pair.driver.add(&[segment(0, 1)], &[segment(8, 1)]).expect("room")).collect();
            let _ = pair.driver.publish();
            for _ in 0..3 {
                let chain = take(&mut pair);
                last = Some(chain.id());
                pair.device.put_used(chain.id(), 1);
            }
            assert!(last.is_some());
            let _ = pair.device.publish();
            let used: Vec<u16> = core::iter::from_fn(|| pair.driver.take_used().expect("the ring is fine"))
                .map(|used| used.token)
                .collect();
            assert_eq!(used, tokens);
        }
    });
}

#[test]
fn chains_that_break_a_rule_are_refused_and_can_be_given_back() {
    each_kind(|is_packed| {
        for (bad, error) in [
            (Segment { address: 0, len: 1 }, ChainError::NotMapped),
            (Segment { address: DATA + 0xffff, len: 2 }, ChainError::NotMapped),
            (Segment { address: u64::MAX, len: u32::MAX }, ChainError::NotMapped),
        ] {
            let mut pair = pair(is_packed, options(4));
            let token = pair.driver.add(&[segment(0, 1), bad], &[]).expect("the driver does not look");
            let _ = pair.driver.publish();
            let mut chain = Chain::default();
            assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Refused(error)));
            pair.device.put_used(chain.id(), 0);
            let _ = pair.device.publish();
            assert_eq!(pair.driver.take_used(), Ok(Some(Used { token, written: Some(0) })));
            assert_eq!(pair.driver.free(), 4);
        }
    });
}

/// A step of a random run.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add { readable: usize, writable: usize },
    PublishDriver,
    Take,
    Untake,
    Put { pick: usize, written: u32 },
    PublishDevice,
    TakeUsed,
    Sleep { is_driver: bool },
    Wake { is_driver: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..4, 0_usize..3).prop_map(|(readable, writable)| Step::Add { readable, writable }),
        2 => Just(Step::PublishDriver),
        4 => Just(Step::Take),
        1 => Just(Step::Untake),
        4 => (any::<usize>(), 0_u32..5000).prop_map(|(pick, written)| Step::Put { pick, written }),
        2 => Just(Step::PublishDevice),
        4 => Just(Step::TakeUsed),
        1 => any::<bool>().prop_map(|is_driver| Step::Sleep { is_driver }),
        1 => any::<bool>().prop_map(|is_driver| Step::Wake { is_driver }),
    ]
}

/// What must be true of both sides, by plain queues.
#[derive(Default)]
struct Model {
    /// Token, and where each part lies.
    added: VecDeque<(u16, Vec<Part>)>,
    available: VecDeque<(u16, Vec<Part>)>,
    /// With the number of the take.
    taken: VecDeque<(u16, Vec<Part>, ChainId, u64)>,
    takes: u64,
    put: VecDeque<(u16, Option<u32>)>,
    used: VecDeque<(u16, Option<u32>)>,
    /// Whether the side sleeps, and was told since.
    sleeps: [Option<bool>; 2],
    out: usize,
    next_offset: u64,
}

impl Model {
    fn run(&mut self, pair: &mut Pair, options: QueueOptions, step: Step) {
        match step {
            Step::Add { readable, writable } => self.add(pair, options, readable, writable),
            Step::PublishDriver => {
                let told = pair.driver.publish();
                self.tell(1, told, !self.added.is_empty());
                self.available.append(&mut self.added);
            }
            Step::Take => {
                let mut chain = Chain::default();
                let taken = pair.device.take(&pair.map, &mut chain).expect("the ring is fine");
                let Some((token, parts)) = self.available.pop_front() else {
                    assert_eq!(taken, Taken::Nothing);
                    return;
                };
                assert_eq!(taken, Taken::Chain);
                assert_eq!([chain.readable(), chain.writable()].concat(), parts);
                self.taken.push_back((token, parts, chain.id(), self.takes));
                self.takes += 1;
            }
            Step::Untake => {
                // Not if one that was taken later has been given back.
                if let Some((token, parts, id, _)) = self.taken.pop_back_if(|taken| taken.3 + 1 == self.takes) {
                    self.takes -= 1;
                    pair.device.untake(&[id]);
                    self.available.push_front((token, parts));
                }
            }
            Step::Put { pick, written } => {
                let pick = if options.is_in_order || self.taken.is_empty() { 0 } else { pick % self.taken.len() };
                if let Some((token, _, id, _)) = self.taken.remove(pick) {
                    pair.device.put_used(id, written);
                    self.put.push_back((token, Some(written)));
                }
            }
            Step::PublishDevice => {
                let told = pair.device.publish();
                self.tell(0, told, !self.put.is_empty());
                self.used.append(&mut self.put);
            }
            Step::TakeUsed => {
                let used = pair.driver.take_used().expect("the ring is fine").map(|used| (used.token, used.written));
                assert_eq!(used, self.used.pop_front());
                self.out -= usize::from(used.is_some());
            }
            Step::Sleep { is_driver } => self.sleep(pair, is_driver),
            Step::Wake { is_driver } => {
                self.sleeps[usize::from(!is_driver)] = None;
                if is_driver { pair.driver.disable_notifications() } else { pair.device.disable_notifications() }
            }
        }
    }

    fn sleep(&mut self, pair: &mut Pair, is_driver: bool) {
        let (is_there, has_news) = if is_driver {
            (pair.driver.enable_notifications(), !self.used.is_empty())
        } else {
            (pair.device.enable_notifications(), !self.available.is_empty())
        };
        assert_eq!(is_there, has_news);
        self.sleeps[usize::from(!is_driver)] = (!is_there).then_some(false);
    }

    fn add(&mut self, pair: &mut Pair, options: QueueOptions, readable: usize, writable: usize) {
        if !(1..=usize::from(options.size)).contains(&(readable + writable)) {
            return;
        }
        let segments: Vec<Segment> = (0..readable + writable)
            .map(|_| {
                self.next_offset = (self.next_offset + 37) % 0xff00;
                segment(self.next_offset, 1 + u32::try_from(self.next_offset % 200).expect("small"))
            })
            .collect();
        let parts = segments.iter().map(|segment| pair.map.part(*segment).expect("it is mapped")).collect();
        let free = pair.driver.free();
        match pair.driver.add(&segments[..readable], &segments[readable..]) {
            Ok(token) => {
                let names = self.added.iter().chain(&self.available).map(|(token, _)| *token);
                let names = names.chain(self.taken.iter().map(|(token, ..)| *token));
                let mut names = names.chain(self.put.iter().chain(&self.used).map(|(token, _)| *token));
                assert!(names.all(|name| name != token), "a token names one chain");
                self.added.push_back((token, parts));
                self.out += 1;
            }
            Err(Full) if options.has_indirect => assert!(free == 0 || segments.len() > 4),
            Err(Full) => assert!(usize::from(free) < segments.len()),
        }
    }

    /// A side that sleeps is told of the first thing that happens.
    fn tell(&mut self, side: usize, told: bool, has_news: bool) {
        assert!(has_news || !told, "nobody is told of nothing");
        if let Some(was_told) = &mut self.sleeps[side]
            && has_news
        {
            assert!(told || *was_told, "a side that sleeps must be told");
            *was_told |= told;
        }
    }
}

proptest! {
    #[test]
    fn queue_random_steps_agree_with_plain_queues(
        is_packed: bool,
        has_event_index: bool,
        is_in_order: bool,
        has_indirect: bool,
        size_shift in 0_u16..5,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let options = QueueOptions { size: 1 << size_shift, has_event_index, is_in_order, has_indirect };
        let mut pair = pair(is_packed, options);
        let mut model = Model::default();
        for step in steps {
            model.run(&mut pair, options, step);
        }
        // What is out comes back, and the ring is as free as it was.
        for step in [Step::PublishDriver, Step::PublishDevice] {
            model.run(&mut pair, options, step);
        }
        while model.out > 0 {
            for step in [Step::Take, Step::Put { pick: 0, written: 1 }, Step::PublishDevice, Step::TakeUsed] {
                model.run(&mut pair, options, step);
            }
        }
        prop_assert_eq!(pair.driver.free(), options.size);
    }

    /// Whatever lies in the ring, both sides stay within it: they answer, refuse or break, and do not panic.
    #[test]
    fn queue_random_garbage_harms_nobody(
        is_packed: bool,
        has_event_index: bool,
        is_in_order: bool,
        garbage in prop::collection::vec((0_usize..3, any::<usize>(), any::<u64>()), 0..64),
        small in any::<bool>(),
    ) {
        let options = QueueOptions { size: 8, has_event_index, is_in_order, has_indirect: true };
        let mut pair = pair(is_packed, options);
        let mut chain = Chain::default();
        for (area, place, value) in garbage {
            let _ = pair.driver.add(&[segment(0, 8)], &[segment(8, 8)]);
            let _ = pair.driver.publish();
            let area = &pair.areas[area];
            // Small values are more often those that mean something.
            let bytes = if small { (value & 0x0003_0003_0000_ffff).to_le_bytes() } else { value.to_le_bytes() };
            let place = place % area.len();
            area.write(place, &bytes[..bytes.len().min(area.len() - place)]);
            if let Ok(Taken::Chain | Taken::Refused(_)) = pair.device.take(&pair.map, &mut chain) {
                let mut bytes = [0; 32];
                chain.read(&pair.map, 0, &mut bytes);
                chain.write(&pair.map, 0, &bytes);
                pair.device.put_used(chain.id(), 1);
                let _ = pair.device.publish();
            }
            let _ = pair.driver.take_used();
            let _ = (pair.driver.enable_notifications(), pair.device.enable_notifications());
        }
    }
}
