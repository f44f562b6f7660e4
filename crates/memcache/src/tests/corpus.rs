//! The inputs that the fuzz targets have found worth keeping.

use std::fs;
use std::path::Path;

use super::answered::check_client;
use super::frames::check_datagram;
use super::packets::check_packets;
use super::served::check_server;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count >= 15, "the corpus has only {count} inputs");
}

#[test]
fn the_corpora_hold() {
    replay("memcache", check_server);
    replay("memcache_binary", check_packets);
    replay("memcache_client", check_client);
    replay("memcache_datagram", check_datagram);
}
