//! Random traffic among shards on one thread, with callers that give up at any step and shards that stop.
//!
//! Whatever happens, every payload is dropped exactly once, nothing stays resident, and who waited is answered.

use alloc::vec::Vec;
use core::future::pending;

use proptest::prelude::*;

use super::super::{ServiceGroup, ShardId, SubmitError, invoke_on_all, post, submit_to, submit_to_with, try_post};
use super::{Token, alive, tokens};
use crate::testing::{TestWorld, rounds, settle_all};
use crate::{Executor, JoinHandle, yield_now};

const SHARDS: u16 = 3;

/// What happens next; shards and handles are chosen modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    Round { shard: u8 },
    Post { from: u8, to: u8, count: u16 },
    TryPost { from: u8, to: u8, count: u16 },
    Submit { from: u8, to: u8, serve: Serve, grouped: bool, count: u8 },
    Broadcast { from: u8, yields: u8 },
    GiveUp { handle: u16 },
    StopTasks { shard: u8 },
}

/// What a request does where it is served.
#[derive(Clone, Debug)]
enum Serve {
    Yields(u8),
    Panics,
    PanicsLate,
    Hangs,
    Nested { to: u8 },
    Large,
}

fn serve() -> impl Strategy<Value = Serve> {
    prop_oneof![
        4 => (0_u8..4).prop_map(Serve::Yields),
        1 => Just(Serve::Panics),
        1 => Just(Serve::PanicsLate),
        1 => Just(Serve::Hangs),
        2 => any::<u8>().prop_map(|to| Serve::Nested { to }),
        1 => Just(Serve::Large),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<u8>().prop_map(|shard| Step::Round { shard }),
        2 => (any::<u8>(), any::<u8>(), 0_u16..300).prop_map(|(from, to, count)| Step::Post { from, to, count }),
        1 => (any::<u8>(), any::<u8>(), 0_u16..300).prop_map(|(from, to, count)| Step::TryPost { from, to, count }),
        6 => (any::<u8>(), any::<u8>(), serve(), any::<bool>(), 1_u8..40)
            .prop_map(|(from, to, serve, grouped, count)| Step::Submit { from, to, serve, grouped, count }),
        1 => (any::<u8>(), 0_u8..3).prop_map(|(from, yields)| Step::Broadcast { from, yields }),
        6 => any::<u16>().prop_map(|handle| Step::GiveUp { handle }),
        1 => any::<u8>().prop_map(|shard| Step::StopTasks { shard }),
    ]
}

struct Traffic {
    shards: Vec<Executor>,
    handles: Vec<(usize, JoinHandle<()>)>,
    group: ServiceGroup,
    token: Token,
}

impl Traffic {
    fn id(n: u8) -> ShardId {
        ShardId::new(u16::from(n) % SHARDS)
    }

    fn shard(&self, n: u8) -> &Executor {
        &self.shards[Self::id(n).index()]
    }

    fn spawn(&mut self, from: u8, future: impl Future<Output = ()> + 'static) {
        let handle = self.shard(from).spawn(future);
        self.handles.push((Self::id(from).index(), handle));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Round { shard } => rounds(self.shard(shard), 1),
            Step::Post { from, to, count } => {
                let token = self.token.clone();
                self.spawn(from, async move {
                    for _ in 0..count {
                        let token = token.clone();
                        post(Self::id(to), move || drop(token)).await.expect("no shard has gone");
                    }
                });
            }
            Step::TryPost { from, to, count } => {
                let token = &self.token;
                self.shard(from).enter(|| {
                    for _ in 0..count {
                        let token = token.clone();
                        drop(try_post(Self::id(to), move || drop(token)));
                    }
                });
            }
            Step::Submit { from, to, serve, grouped, count } => {
                for _ in 0..count {
                    let (token, serve, group) = (self.token.clone(), serve.clone(), self.group.clone());
                    self.spawn(from, async move {
                        let request = async move || serve.run(token).await;
                        let answer = if grouped {
                            submit_to_with(&group, Self::id(to), request).await
                        } else {
                            submit_to(Self::id(to), request).await
                        };
                        drop(answer);
                    });
                }
            }
            Step::Broadcast { from, yields } => {
                let token = self.token.clone();
                self.spawn(from, async move {
                    let each = async move || {
                        for _ in 0..yields {
                            yield_now().await;
                        }
                        drop(token);
                    };
                    drop(invoke_on_all(each).await);
                });
            }
            Step::GiveUp { handle } => {
                if !self.handles.is_empty() {
                    let (shard, handle) = self.handles.swap_remove(usize::from(handle) % self.handles.len());
                    self.shards[shard].enter(|| handle.abort());
                }
            }
            Step::StopTasks { shard } => self.shard(shard).stop_tasks(),
        }
    }
}

impl Serve {
    async fn run(self, token: Token) -> (Token, [u64; 9]) {
        match self {
            Self::Yields(times) => {
                for _ in 0..times {
                    yield_now().await;
                }
            }
            Self::Panics => panic!("planned"),
            Self::PanicsLate => {
                yield_now().await;
                panic!("planned, later");
            }
            Self::Hangs => pending().await,
            Self::Nested { to } => {
                let inner = token.clone();
                let answer: Result<Token, SubmitError> = submit_to(Traffic::id(to), async move || inner).await;
                drop(answer);
            }
            Self::Large => {}
        }
        (token, [7; 9])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn message_random_traffic_leaks_nothing(
        steps in proptest::collection::vec(step(), 1..60),
        drop_order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
        orderly in any::<bool>(),
    ) {
        let (count, token) = tokens();
        let shards = TestWorld::default().executors(usize::from(SHARDS));
        let mut traffic = Traffic { shards, handles: Vec::new(), group: ServiceGroup::new(2), token };
        for step in steps {
            traffic.take(step);
        }
        let Traffic { shards, handles, token, .. } = traffic;
        drop(token);
        if orderly {
            settle_all(&shards);
            shards.iter().for_each(Executor::stop_tasks);
            settle_all(&shards);
            shards.iter().for_each(Executor::stop_tasks);
            settle_all(&shards);
            prop_assert!(handles.iter().all(|(_, handle)| handle.is_finished()));
            for (shard, handle) in handles {
                shards[shard].enter(|| drop(handle));
            }
            prop_assert_eq!(shards.iter().map(Executor::residents).collect::<Vec<_>>(), [0; SHARDS as usize]);
            prop_assert_eq!(alive(&count), 0);
        } else {
            for (shard, handle) in handles {
                shards[shard].enter(|| drop(handle));
            }
            let mut shards: Vec<_> = shards.into_iter().map(Some).collect();
            for shard in drop_order {
                drop(shards[shard].take());
                for other in shards.iter().flatten() {
                    other.round();
                }
            }
            prop_assert_eq!(alive(&count), 0);
        }
    }
}
