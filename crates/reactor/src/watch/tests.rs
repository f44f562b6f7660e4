use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::{Instant, Poller, add_poller};

use super::*;
use crate::{Backend, Config, LinuxPlatform, run};

/// What takes longer than this never comes.
const FUSE: Duration = Duration::from_secs(60);

/// Reads bytes in the shard's rounds.
struct Reader {
    stream: UnixStream,
    watch: DescriptorWatch,
    wants_room: Cell<bool>,
    bytes: Cell<usize>,
    sleeps: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Poller for Reader {
    fn poll(&self, _now: Instant) -> usize {
        let mut byte = [0];
        let count = (&self.stream).read(&mut byte).unwrap_or(0);
        self.bytes.set(self.bytes.get() + count);
        if count > 0 {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
        count
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn prepare_sleep(&self, _cx: &mut Context<'_>) -> bool {
        self.sleeps.set(self.sleeps.get() + 1);
        // Nobody but this test would ask for a descriptor that is ready, and go on sleeping.
        self.watch.arm(self.stream.as_fd(), true, self.wants_room.take()).expect("descriptors can be watched");
        true
    }
}

impl Reader {
    async fn has_read(&self, count: usize) {
        poll_fn(|cx| {
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            if self.bytes.get() >= count { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn each_backend(test: impl Fn(Backend)) {
    for backend in [Backend::Epoll, Backend::IoUring] {
        match LinuxPlatform::with_backend(Some(backend)) {
            Ok(_) => test(backend),
            Err(error) => println!("{backend} is not available here: {error}"),
        }
    }
}

#[test]
fn a_descriptor_ends_sleeps_again_and_again() {
    each_backend(|backend| {
        let config = Config {
            smp: Some(1),
            overprovisioned: true,
            reactor_backend: Some(backend),
            stop_on_signals: false,
            ..Config::default()
        };
        let ended = run(config, || async {
            let (stream, mut peer) = UnixStream::pair().expect("descriptors are free");
            stream.set_nonblocking(true).expect("it is a socket");
            let watch = DescriptorWatch::new().expect("this is a shard");
            let (bytes, sleeps, waiting) = Default::default();
            let reader = Rc::new(Reader { stream, watch, wants_room: Cell::new(true), bytes, sleeps, waiting });
            add_poller(Rc::clone(&reader) as Rc<dyn Poller>);
            let writer = thread::spawn(move || {
                for _ in 0..20 {
                    thread::sleep(Duration::from_millis(1));
                    peer.write_all(b"x").expect("it is read");
                }
                peer
            });
            let done = with_timeout(FUSE, reader.has_read(20)).await;
            writer.join().expect("it does not panic");
            (done, reader.sleeps.get())
        });
        let (done, sleeps) = ended.expect("it runs");
        assert_eq!(done, Ok(()), "{backend}");
        assert!(sleeps > 0, "{backend}: it slept");
    });
}

#[test]
fn outside_of_shards_there_is_no_watch() {
    assert!(DescriptorWatch::new().is_none());
}
