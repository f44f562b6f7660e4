//! The memory cap.

use super::server::{Memcached, with_shards};

const CAP_BYTES: usize = 16 << 20;

/// What the process has for connections and messages beside what it has at its start, at most.
const BASE_BYTES: usize = 4 << 20;

#[test]
fn the_cap_is_kept_and_what_is_new_is_there() {
    with_shards(|setup| {
        let server = Memcached::start(setup, &["--cache-memory", "16M"]);
        let mut client = server.client();
        client.ask("get a\r\n", "END\r\n");
        let before = server.resident_bytes();
        // Sizes change, so pages have to move.
        for (round, size) in [100, 3000, 20_000, 100, 300_000].into_iter().enumerate() {
            let value = "x".repeat(size);
            let count = (20 << 20) / (size + 200);
            for start in (0..count).step_by(100) {
                let set = |number| format!("set {round}:{number} 0 0 {size} noreply\r\n{value}\r\n");
                client.ask((start..count.min(start + 100)).map(set).collect::<String>(), "");
            }
            let last = count - 1;
            let item = format!("VALUE {round}:{last} 0 {size}\r\n{value}\r\n");
            client.ask(format!("get {round}:{last}\r\n"), format!("{item}END\r\n"));
            assert!(client.figure("memory_bytes") <= CAP_BYTES as u64 + 65_536, "round {round}");
            let grown = server.resident_bytes() - before;
            assert!(grown <= CAP_BYTES + CAP_BYTES / 20 + BASE_BYTES, "round {round}: {grown} bytes more");
        }
        assert!(client.figure("evictions") > 0 && client.figure("store_no_memory") == 0);
        server.stop();
    });
}
