use std::cell::Cell;

use sunstar::executor::combine::when_all;
use sunstar::executor::{spawn, yield_now};
use sunstar::reactor::{Config, run};
use sunstar_memcache::ListForm;

use super::*;
use crate::options::Bounds;
use crate::server::Settings;

/// Runs a test on the only shard of a server that has some pages of items. Whoever may let others have their turn does so.
fn on_a_shard<Fut: Future<Output = ()> + 'static>(test: impl FnOnce(Rc<Server>) -> Fut + Send + 'static) {
    let task_quota = Duration::from_nanos(1);
    let config = Config { smp: Some(1), overprovisioned: true, task_quota, ..Config::default() };
    let served = run(config, || async move {
        let bounds = Bounds { memory_bytes: 64 << 20, item_bytes: 1 << 20, connections: 4 };
        let settings = Settings::new(bounds, None, 0, 0);
        let servers = Sharded::start(move || async move { Server::new(settings) }).await.expect("it starts");
        let server = servers.local();
        Rc::clone(&server).join(servers);
        let value = "x".repeat(1_000);
        let sets: String =
            (0..3_000).map(|number| format!("set key{number} 0 0 1000 noreply\r\n{value}\r\n")).collect();
        ask(&server, &sets).await;
        test(server).await;
        servers.stop().await.expect("it stops");
    });
    served.expect("a shard runs");
}

/// What a server answers, to nobody.
async fn ask(server: &Server, requests: &str) -> String {
    let output = datagram::answer(server, Buffer::copy_from_slice(requests.as_bytes()), usize::MAX).await;
    let mut reply: Vec<Buffer> = Vec::new();
    output.expect("it is answered").poll_transmit(&mut reply);
    String::from_utf8(reply.concat()).expect("text")
}

#[test]
fn dead_items_are_looked_for_once_at_a_time() {
    on_a_shard(|server| async move {
        let ask = || ask(&server, "lru_crawler crawl all\r\n");
        let busy = "BUSY currently processing crawler request\r\n";
        assert_eq!(when_all(vec![ask(), ask(), ask()]).await, ["OK\r\n", busy, busy]);
        assert_eq!(ask().await, "OK\r\n");
    });
}

/// Whoever lists: nobody, of classes that no item has.
fn lister(server: &Server) -> Session<'_> {
    let (output, batch) = (Output::new(&server.endpoint), Batch::new(&server.endpoint, &server.under_way));
    Session { server, client: None, limit_bytes: usize::MAX, output, batch, now_s: server.now_s() }
}

#[test]
fn others_have_their_turns_while_all_items_are_listed() {
    on_a_shard(|server| async move {
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let other = spawn(async move {
            while counted.get() < usize::MAX {
                counted.update(|turns| turns.saturating_add(1));
                yield_now().await;
            }
        });
        yield_now().await;
        let (before, pages) = (turns.get(), server.store.borrow().pages());
        assert!(pages > 20, "{pages} pages");
        lister(&server).list(ListForm::Facts, 0).await.expect("nobody stops");
        let turns_given = turns.replace(usize::MAX) - before;
        other.await.expect("it ends");
        assert!(turns_given >= pages / 2, "{turns_given} turns in {pages} pages");
    });
}

#[test]
fn a_list_of_all_items_ends_when_the_server_stops() {
    on_a_shard(|server| async move {
        server.stop().request_abort();
        let ended = lister(&server).list(ListForm::Requests, 0).await;
        assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    });
}

/// So many connections of a shard are told by `stats conns`.
const TOLD_CONNECTIONS: u64 = 1024;

/// Those that `stats conns` tells, and how many were left out until now.
async fn told(server: &Server) -> (Vec<u64>, u64) {
    let text = ask(server, "stats conns\r\n").await;
    let number = |line: &str| line.strip_prefix("STAT ")?.strip_suffix(":state conn_read")?.parse().ok();
    (text.lines().filter_map(number).collect(), server.counters.conns_left_out.get())
}

#[test]
fn the_oldest_connections_are_told_and_the_others_counted() {
    on_a_shard(|server| async move {
        let enter = || server.connections.enter(None, server.now_s());
        let all: Vec<_> = (0..TOLD_CONNECTIONS).map(|_| enter()).collect();
        assert!(told(&server).await == ((0..TOLD_CONNECTIONS).collect(), 0), "there are as many as are told");
        let _later = [enter(), enter()];
        assert!(told(&server).await == ((0..TOLD_CONNECTIONS).collect(), 2), "two are left out");
        assert_eq!(told(&server).await.1, 4, "each who asks misses them");
        server.connections.leave(&all[0]);
        assert!(told(&server).await == ((1..=TOLD_CONNECTIONS).collect(), 5), "the next one has moved up");
    });
}
