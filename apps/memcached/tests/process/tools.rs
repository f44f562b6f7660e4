//! Real clients. They need programs that are not the repository's.

use std::process::{Command, Output};

use super::server::{Memcached, with_each};

fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().expect("it is installed");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program}: {said}");
    said
}

#[test]
#[ignore = "needs memccapable"]
fn memccapable_finds_both_protocols_whole() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let port = server.address().port().to_string();
        for protocol in [&["-a"][..], &["-b"], &[]] {
            let said = run("memccapable", &[&["-h", "127.0.0.1", "-p", &port][..], protocol].concat());
            assert!(said.contains("All tests passed") && !said.to_lowercase().contains("fail"), "{protocol:?}: {said}");
        }
        server.stop();
    });
}

#[test]
#[ignore = "needs memcaslap"]
fn memcaslap_finds_its_values() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let place = server.address().to_string();
        let said = run("memcaslap", &["-s", &place, "-T", "1", "-c", "8", "-x", "20000", "-v", "1"]);
        let zero = |what: &str| said.lines().any(|line| line.trim() == format!("{what}: 0"));
        assert!(zero("get_misses") && zero("verify_misses") && zero("verify_failed"), "{said}");
        server.stop();
    });
}

const PYTHON: &str = "
import sys
from pymemcache.client.base import Client
c = Client(('127.0.0.1', int(sys.argv[1])))
many = {f'key{i}': 'v' * (i * 10) for i in range(300)}
assert c.set_many(many) == []
assert c.get_many(list(many)) == {key: value.encode() for key, value in many.items()}
assert c.set('a', '1', noreply=False) and c.incr('a', 41) == 42 and c.decr('a', 2) == 40
value, unique = c.gets('a')
assert c.cas('a', '7', unique) and not c.cas('a', '8', unique) and c.get('a') == b'7'
assert c.append('a', '!', noreply=False) and c.prepend('a', '?', noreply=False) and c.get('a') == b'?7!'
assert not c.add('a', 'x', noreply=False) and c.replace('a', 'x', noreply=False) and c.get('a') == b'x'
assert c.touch('a', 100, noreply=False) and c.delete('a', noreply=False) and c.get('a') is None
large = 'x' * 1000000
assert c.set('large', large, noreply=False) and c.get('large') == large.encode()
assert c.stats()[b'curr_items'] == 301
assert c.flush_all(noreply=False) and c.get('key1') is None
c.quit()
";

#[test]
#[ignore = "needs pymemcache"]
fn pymemcache_finds_its_values() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        run("/usr/bin/python3", &["-c", PYTHON, &server.address().port().to_string()]);
        server.stop();
    });
}
