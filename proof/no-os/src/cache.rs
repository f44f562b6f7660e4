//! Checks of the memcache protocol and its store.

use alloc::vec::Vec;

use sunstar_memcache::{
    ClientEvent, Endpoint, KeyHash, Limits, MIN_MEMORY_BYTES, Operation, Output, Reply, Request, RetrievalCommand,
    StorageCommand, StorageVerb, Store, Value,
};
use sunstar_packet::Buffer;

pub(crate) fn items_are_stored_and_found() -> bool {
    conversation().is_some_and(|value| value == b"hello"[..])
}

/// The value that a client finds after it has stored it.
fn conversation() -> Option<Value> {
    let endpoint = Endpoint::new(Limits::DEFAULT);
    let (mut client, mut server) = (endpoint.connect(), endpoint.accept());
    let mut store = Store::new(KeyHash::new([1, 2]), MIN_MEMORY_BYTES);
    let (verb, key) = (StorageVerb::Set, &b"a"[..]);
    client.store(&StorageCommand { verb, key, flags: 0, exptime: 0, noreply: false }, Buffer::from("hello")).ok()?;
    client.retrieve(RetrievalCommand::GET, [key]).ok()?;
    let mut wire: Vec<Buffer> = Vec::new();
    client.poll_transmit(&mut wire);
    let mut answers = Output::new(&endpoint);
    for buffer in wire.drain(..) {
        server.handle_input(buffer).ok()?;
        while let Some(request) = server.poll_request() {
            serve(&mut store, request, &mut answers);
        }
    }
    answers.poll_transmit(&mut wire);
    for buffer in wire.drain(..) {
        client.handle_input(buffer).ok()?;
    }
    match (client.poll_event()?, client.poll_event()?) {
        (ClientEvent::Reply(Reply::Stored), ClientEvent::Item(item)) => Some(item.value),
        _ => None,
    }
}

fn serve(store: &mut Store, request: Request, answers: &mut Output) {
    match request {
        Request::Store(StorageCommand { verb, key, flags, exptime, noreply }, value) => {
            let key = store.key(&key);
            store.execute(&Operation::Store { verb, flags, exptime, noreply }, key, &value, 1, answers);
        }
        Request::Retrieve { command, keys, .. } => {
            for key in keys.iter() {
                store.execute(&Operation::Retrieve(command), store.key(key), &Value::new(), 1, answers);
            }
            answers.put_reply(&Reply::End);
        }
        _ => {}
    }
}
