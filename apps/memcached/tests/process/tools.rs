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

/// libmemcached under PHP.
const PHP: &str = r"
$c = new Memcached();
$c->setOption(Memcached::OPT_BINARY_PROTOCOL, false);
$c->setOption(Memcached::OPT_COMPRESSION, false);
$c->setOption(Memcached::OPT_TCP_NODELAY, true);
assert($c->addServer('127.0.0.1', (int) $argv[1]));
$many = [];
for ($i = 0; $i < 300; $i++) $many['key' . $i] = str_repeat('v', $i * 10);
assert($c->setMulti($many) && $c->getMulti(array_keys($many)) === $many);
assert($c->set('a', 1) && $c->increment('a', 41) === 42 && $c->decrement('a', 2) === 40 && $c->get('a') === 40);
$c->get('nothing');
assert($c->getResultCode() === Memcached::RES_NOTFOUND);
$found = $c->get('a', null, Memcached::GET_EXTENDED);
assert($c->cas($found['cas'], 'a', 7) && !$c->cas($found['cas'], 'a', 8));
assert($c->getResultCode() === Memcached::RES_DATA_EXISTS && $c->get('a') === 7);
assert(!$c->add('a', 'x') && $c->replace('a', ['of' => ['a', 'kind', 1.5]]) && $c->get('a') === ['of' => ['a', 'kind', 1.5]]);
assert($c->set('s', 'b') && $c->append('s', 'c') && $c->prepend('s', 'a') && $c->get('s') === 'abc');
assert($c->touch('s', 100) && $c->delete('s') && $c->get('s') === false);
$large = str_repeat('x', 1000000);
assert($c->set('large', $large) && $c->get('large') === $large);
assert($c->getDelayed(['key1', 'key2', 'nothing'], true) && count($c->fetchAll()) === 2);
assert(array_values($c->getStats())[0]['curr_items'] === 302);
assert($c->flush() && $c->get('key1') === false);
echo 'done';
";

#[test]
#[ignore = "needs php-memcached"]
fn php_finds_its_values() {
    with_each(|setup| {
        let server = Memcached::start(setup, &[]);
        let said = run(
            "php",
            &["-d", "zend.assertions=1", "-d", "assert.exception=1", "-r", PHP, &server.address().port().to_string()],
        );
        assert_eq!(said, "done");
        server.stop();
    });
}

/// More connections and shorter runs of several mixes, with values of several sizes that are compared.
#[test]
#[ignore = "needs memcaslap"]
fn memcaslap_finds_its_values_in_a_mixed_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let mix = folder.path().join("mix");
    // Keys of two lengths, values of three, a third of the requests to set.
    let text = "key\n16 60 0.5\n61 200 0.5\nvalue\n1 100 0.6\n1000 5000 0.3\n20000 60000 0.1\ncmd\n0 0.33\n1 0.67\n";
    std::fs::write(&mix, text).expect("it can be written");
    with_each(|setup| {
        let server = Memcached::start(setup, &["--cache-memory", "1G"]);
        let place = server.address().to_string();
        let mix = mix.to_str().expect("a path of letters");
        let said = run(
            "memcaslap",
            &["-s", &place, "-T", "2", "-c", "32", "-x", "20000", "-v", "1", "-F", mix, "-d", "8", "-w", "1k"],
        );
        let zero = |what: &str| said.lines().any(|line| line.trim() == format!("{what}: 0"));
        assert!(zero("get_misses") && zero("verify_misses") && zero("verify_failed"), "{said}");
        server.stop();
    });
}
