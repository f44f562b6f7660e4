use crate::sync::pipe;
use crate::sync::test_executor::{TestTask, block_on};

#[test]
fn the_end_of_the_stream_comes_after_the_last_item() {
    let (mut reader, mut writer) = pipe(2);
    block_on(writer.write(1)).unwrap();
    block_on(writer.write(2)).unwrap();
    drop(writer);
    assert_eq!([(); 3].map(|()| block_on(reader.read())), [Some(1), Some(2), None]);
}

#[test]
fn a_reader_who_waits_sees_the_end() {
    let (mut reader, writer) = pipe::<()>(1);
    let reading = TestTask::waiting(reader.read());
    drop(writer);
    assert_eq!(reading.finish(), None);
}

#[test]
fn a_writer_waits_for_room_and_learns_that_the_reader_is_gone() {
    let (reader, mut writer) = pipe(1);
    block_on(writer.write(1)).unwrap();
    assert!(!writer.is_broken());
    let writing = TestTask::waiting(writer.write(2));
    drop(reader);
    assert_eq!(writing.finish().unwrap_err().item, 2);
    assert!(writer.is_broken());
}

#[test]
fn an_item_put_back_is_the_next_one_read_and_may_exceed_the_capacity() {
    let (mut reader, mut writer) = pipe(1);
    block_on(writer.write(1)).unwrap();
    let item = block_on(reader.read()).unwrap();
    block_on(writer.write(2)).unwrap();
    reader.unread(item);
    let writing = TestTask::waiting(writer.write(3));
    assert_eq!(block_on(reader.read()), Some(1));
    assert!(!writing.is_woken());
    assert_eq!(block_on(reader.read()), Some(2));
    writing.finish().unwrap();
}

#[test]
fn an_item_may_be_put_back_after_the_end() {
    let (mut reader, writer) = pipe(1);
    drop(writer);
    reader.unread(1);
    assert_eq!([block_on(reader.read()), block_on(reader.read())], [Some(1), None]);
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    let (mut reader, mut writer) = pipe(1);
    let reading = TestTask::waiting(reader.read());
    block_on(writer.write(1)).unwrap();
    assert!(reading.is_woken());
    drop(reading);
    assert_eq!(block_on(reader.read()), Some(1));
}
