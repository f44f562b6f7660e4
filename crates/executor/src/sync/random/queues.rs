//! Queue and Pipe.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::Rng;
use super::harness::{Census, Item, Scenario, World, run};
use crate::sync::{PipeReader, PipeWriter, Queue, QueueClosed, pipe};

const PUSHERS: usize = 0;
const POPPERS: usize = 1;

struct Queues {
    world: Rc<World>,
    queue: Rc<Queue<Item>>,
    census: Census,
    /// What the queue should hold.
    model: Rc<RefCell<VecDeque<usize>>>,
    next_value: usize,
    ends: bool,
}

fn popped(model: &RefCell<VecDeque<usize>>, item: Item) {
    assert_eq!(Some(item.value), model.borrow_mut().pop_front(), "items come out as they went in");
}

impl Queues {
    fn new(world: &Rc<World>, rng: &mut Rng) -> Self {
        Self {
            world: Rc::clone(world),
            queue: Rc::new(Queue::new(1 + rng.below(4))),
            census: Census::default(),
            model: Rc::default(),
            next_value: 0,
            ends: rng.one_in(4),
        }
    }

    fn next_item(&mut self) -> Item {
        self.next_value += 1;
        self.census.item(self.next_value)
    }

    fn spawn_push(&mut self) {
        let item = self.next_item();
        let value = item.value;
        let (world, queue, model) = (Rc::clone(&self.world), Rc::clone(&self.queue), Rc::clone(&self.model));
        self.world.spawn(async move {
            let place = world.arrive(PUSHERS, 0);
            match queue.push(item).await {
                Ok(()) => {
                    place.served();
                    model.borrow_mut().push_back(value);
                }
                Err(rejected) => assert_eq!(rejected.item.value, value, "a rejected item comes back"),
            }
        });
    }

    fn spawn_pop(&self) {
        let (world, queue, model) = (Rc::clone(&self.world), Rc::clone(&self.queue), Rc::clone(&self.model));
        self.world.spawn(async move {
            let place = world.arrive(POPPERS, 0);
            match queue.pop().await {
                Ok(item) => {
                    place.served();
                    popped(&model, item);
                }
                Err(QueueClosed) => assert!(model.borrow().is_empty(), "an item was left behind"),
            }
        });
    }

    fn end(&self, rng: &mut Rng) {
        if rng.one_in(2) {
            self.queue.close(QueueClosed);
        } else {
            self.model.borrow_mut().clear();
            self.queue.abort(QueueClosed);
        }
    }
}

impl Scenario for Queues {
    fn act(&mut self, world: &World, rng: &mut Rng) {
        match rng.below(10) {
            0..3 => self.spawn_push(),
            3..6 => self.spawn_pop(),
            6 => {
                let item = self.next_item();
                if self.queue.try_push(item).is_ok() {
                    assert_eq!(self.queue.pushers(), 0, "somebody overtook those who wait");
                    self.model.borrow_mut().push_back(self.next_value);
                }
            }
            7 => {
                if let Ok(item) = self.queue.try_pop() {
                    assert_eq!(self.queue.poppers(), 0, "somebody overtook those who wait");
                    popped(&self.model, item);
                }
            }
            8 => self.queue.set_capacity(1 + rng.below(4)),
            _ if self.ends && world.tasks() > 3 && rng.one_in(4) => self.end(rng),
            _ => {}
        }
    }

    fn check(&self, _world: &World) {
        assert_eq!(self.queue.len(), self.model.borrow().len(), "items were lost or made");
    }

    fn check_quiet(&self, world: &World) {
        assert_eq!(self.queue.pushers(), world.waiting(PUSHERS), "somebody was granted room and not woken");
        assert_eq!(self.queue.poppers(), world.waiting(POPPERS), "somebody was granted an item and not woken");
        if world.waiting(PUSHERS) > 0 {
            assert!(!self.queue.is_ended() && self.queue.len() >= self.queue.capacity(), "there is room to push");
        }
        if world.waiting(POPPERS) > 0 {
            assert!(!self.queue.is_ended() && self.queue.is_empty(), "there is an item to pop");
        }
        assert_eq!(self.census.alive(), self.queue.len() + world.waiting(PUSHERS), "an item leaked");
    }

    fn release(&mut self) {
        self.model.borrow_mut().clear();
        self.queue.abort(QueueClosed);
    }

    fn check_end(&self) {
        assert_eq!(self.census.alive(), 0, "an item leaked");
    }
}

#[test]
fn sync_random_queue() {
    run("sync_random_queue", Queues::new);
}

/// Something that at most one task uses at a time, put back when the task is dropped.
struct Lease<T> {
    home: Rc<RefCell<Option<T>>>,
    value: Option<T>,
}

impl<T> Lease<T> {
    fn take(home: &Rc<RefCell<Option<T>>>) -> Option<Self> {
        let value = Some(home.borrow_mut().take()?);
        Some(Self { home: Rc::clone(home), value })
    }

    fn get(&mut self) -> &mut T {
        self.value.as_mut().expect("it is there until the lease is dropped")
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        *self.home.borrow_mut() = self.value.take();
    }
}

struct Pipes {
    world: Rc<World>,
    reader: Rc<RefCell<Option<PipeReader<Item>>>>,
    writer: Rc<RefCell<Option<PipeWriter<Item>>>>,
    census: Census,
    model: Rc<RefCell<VecDeque<usize>>>,
    next_value: usize,
    reader_gone: Rc<Cell<bool>>,
    writer_gone: Rc<Cell<bool>>,
    capacity: usize,
    ends: bool,
}

impl Pipes {
    fn new(world: &Rc<World>, rng: &mut Rng) -> Self {
        let capacity = 1 + rng.below(3);
        let (reader, writer) = pipe(capacity);
        Self {
            world: Rc::clone(world),
            reader: Rc::new(RefCell::new(Some(reader))),
            writer: Rc::new(RefCell::new(Some(writer))),
            census: Census::default(),
            model: Rc::default(),
            next_value: 0,
            reader_gone: Rc::default(),
            writer_gone: Rc::default(),
            capacity,
            ends: rng.one_in(2),
        }
    }

    fn spawn_write(&mut self) {
        self.next_value += 1;
        let (value, item) = (self.next_value, self.census.item(self.next_value));
        let (world, writer, model) = (Rc::clone(&self.world), Rc::clone(&self.writer), Rc::clone(&self.model));
        let reader_gone = Rc::clone(&self.reader_gone);
        self.world.spawn(async move {
            let Some(mut writer) = Lease::take(&writer) else { return };
            let _place = world.arrive(PUSHERS, 0);
            match writer.get().write(item).await {
                Ok(()) => model.borrow_mut().push_back(value),
                Err(_) => assert!(reader_gone.get(), "a pipe broke by itself"),
            }
        });
    }

    fn spawn_read(&mut self, unread: bool) {
        let (world, reader, model) = (Rc::clone(&self.world), Rc::clone(&self.reader), Rc::clone(&self.model));
        let writer_gone = Rc::clone(&self.writer_gone);
        self.world.spawn(async move {
            let Some(mut reader) = Lease::take(&reader) else { return };
            let _place = world.arrive(POPPERS, 0);
            match reader.get().read().await {
                Some(item) if unread => {
                    assert_eq!(Some(&item.value), model.borrow().front(), "items come out as they went in");
                    reader.get().unread(item);
                }
                Some(item) => popped(&model, item),
                None => assert!(writer_gone.get() && model.borrow().is_empty(), "a stream ended by itself"),
            }
        });
    }
}

impl Pipes {
    fn drop_writer(&mut self) {
        if self.writer.take().is_some() {
            self.writer_gone.set(true);
        }
    }

    fn drop_reader(&mut self) {
        if self.reader.take().is_some() {
            self.reader_gone.set(true);
            self.model.borrow_mut().clear();
        }
    }
}

impl Scenario for Pipes {
    fn act(&mut self, world: &World, rng: &mut Rng) {
        match rng.below(8) {
            0..3 => self.spawn_write(),
            3..5 => self.spawn_read(false),
            5 => self.spawn_read(true),
            6 if self.ends && world.tasks() > 1 && rng.one_in(4) => self.drop_writer(),
            7 if self.ends && world.tasks() > 1 && rng.one_in(8) => self.drop_reader(),
            _ => {}
        }
    }

    fn check_quiet(&self, world: &World) {
        let held = self.model.borrow().len();
        if world.waiting(PUSHERS) > 0 {
            assert!(!self.reader_gone.get() && held >= self.capacity, "there is room to write");
        }
        if world.waiting(POPPERS) > 0 {
            assert!(!self.writer_gone.get() && held == 0, "there is an item to read");
        }
        let held = if self.reader_gone.get() { 0 } else { held };
        assert_eq!(self.census.alive(), held + world.waiting(PUSHERS), "an item leaked");
    }

    fn release(&mut self) {
        // A half that a task uses comes back when the free one is gone.
        self.drop_reader();
        self.drop_writer();
    }

    fn check_end(&self) {
        assert_eq!(self.census.alive(), 0, "an item leaked");
    }
}

#[test]
fn sync_random_pipe() {
    run("sync_random_pipe", Pipes::new);
}
