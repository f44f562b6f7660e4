//! Devices by vhost-user, and by whose key flows have their shards.

use super::ended;

/// The line of the log about keys, if there is one. Nobody is at the other end.
fn told_of_keys(shards: &str, more: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let device = format!("vhost-user:{},back,server,{more}", folder.path().join("socket").display());
    let arguments = ["--smp", shards, "--overprovisioned", "--prometheus-port", "0", "--network-stack", "native"];
    let network = ["--device", &device, "--host-ipv4-addr", "10.9.0.2", "--play", "shards"];
    let (code, out, errors) = ended(&[&arguments[..], &network].concat());
    assert_eq!((code, out.trim()), (Some(0), shards), "{errors}");
    errors.lines().find(|line| line.contains("flows have the shards by whose queues")).map(str::to_owned)
}

#[test]
fn a_device_with_several_queues_says_which_flows_come_by_them() {
    let line = told_of_keys("2", "queues=2").expect("it is told");
    assert!(line.contains("vhost-user:") && line.ends_with("brings them if its other end has 2, too"), "{line}");
    for (shards, more) in [("2", "queues=2,rss=secret"), ("2", "queues=1"), ("1", "queues=1")] {
        assert_eq!(told_of_keys(shards, more), None, "{shards}, {more}");
    }
}
