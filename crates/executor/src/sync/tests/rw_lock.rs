use std::rc::Rc;

use crate::sync::RwLock;
use crate::sync::test_executor::{TestTask, block_on};

#[test]
fn many_read_or_one_writes() {
    let lock = RwLock::new(1);
    let (first, second) = (block_on(lock.read()), lock.try_read().unwrap());
    assert_eq!((*first, *second), (1, 1));
    assert!(lock.try_write().is_none());
    drop((first, second));
    let mut writer = lock.try_write().unwrap();
    *writer = 2;
    assert!(lock.try_read().is_none() && lock.try_write().is_none());
    drop(writer);
    assert_eq!(lock.into_inner(), 2);
}

#[test]
fn a_writer_is_not_starved_by_readers() {
    let lock = RwLock::new(());
    let reader = block_on(lock.read());
    let writer = TestTask::waiting(lock.write());
    let late = TestTask::waiting(lock.read());
    assert!(lock.try_read().is_none());
    assert_eq!(lock.waiters(), 2);
    drop(reader);
    assert!(writer.is_woken() && !late.is_woken());
    drop(writer.finish());
    drop(late.finish());
}

#[test]
fn readers_behind_a_writer_who_gives_up_go_on() {
    let lock = RwLock::new(());
    let _reader = block_on(lock.read());
    let writer = TestTask::waiting(lock.write());
    let late = TestTask::waiting(lock.read());
    drop(writer);
    drop(late.finish());
}

#[test]
fn readers_next_to_each_other_go_in_together() {
    let lock = RwLock::new(());
    let writer = block_on(lock.write());
    let (first, second) = (TestTask::waiting(lock.read()), TestTask::waiting(lock.read()));
    drop(writer);
    let _both = (first.finish(), second.finish());
}

#[test]
fn a_downgraded_writer_lets_readers_in_and_keeps_writers_out() {
    let lock = RwLock::new(1);
    let mut writer = block_on(lock.write());
    *writer = 2;
    let next = TestTask::waiting(lock.write());
    let reader = writer.downgrade();
    assert_eq!(*reader, 2);
    assert!(!next.is_woken());
    drop(reader);
    drop(next.finish());
}

#[test]
fn owned_guards_keep_the_lock_alive() {
    let lock = Rc::new(RwLock::new(1));
    let mut writer = block_on(Rc::clone(&lock).write_owned());
    *writer = 5;
    drop(writer);
    let reader = block_on(Rc::clone(&lock).read_owned());
    drop(lock);
    assert_eq!(*reader, 5);
}

#[test]
fn debug_output_never_waits() {
    let mut lock = RwLock::new(1);
    *lock.value_mut() = 3;
    assert_eq!(std::format!("{lock:?}"), "RwLock { value: 3, .. }");
    let _writer = lock.try_write();
    assert_eq!(std::format!("{lock:?}"), "RwLock { value: <locked>, .. }");
}
