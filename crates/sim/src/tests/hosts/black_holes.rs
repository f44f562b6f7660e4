//! Paths that swallow what is large, and tell nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_net::Address;
use sunstar_net::socket::{ListenOptions, stack};
use sunstar_tcpip::tcp::connection::PathProbing;

use crate::tests::support::*;
use crate::{
    Chance, LinkOptions, NativeOptions, Parts, PortOptions, Random, Report, Sim, SimError, SimOptions,
    for_each_seed_minimised, resolve_v6,
};

const SHAPE: u64 = 3_100;

/// What a line takes without its hole, whatever it is drawn as: 8 kbit/s would do.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// RFC 4821 §7.7: what is swallowed is sent again in pieces that get through, in either direction.
#[test]
fn sim_sweep_black_holes() {
    for_each_seed_minimised(0..20, world);
}

/// Who asks, and who sends it back, with a hole between them that nothing heals.
fn world(seed: u64, parts: &Parts) -> Result<Report, SimError> {
    let mut random = Random::stream(seed, SHAPE);
    let mut sim = Sim::with_options(seed, SimOptions::drawn(seed));
    let lans = [sim.lan(), sim.lan()];
    let is_v6 = random.below(2) == 0;
    let mut line = |name: &str| {
        let mut line = LinkOptions::drawn(&mut random).healed();
        line.loss = Chance::per_million(u32::try_from(random.below(5_000)).unwrap_or(0));
        line.queue_bytes = line.queue_bytes.max(16_384);
        line.queue_frames = line.queue_frames.max(16);
        let least = if is_v6 { 1_280 } else { 600 };
        line.black_hole_bytes = parts.next(name).then(|| usize::try_from(random.between(least, 1_499)).unwrap_or(0));
        line
    };
    let lines = [line("the hole there"), line("the hole back")];
    sim.trunk(lans, lines[0].clone(), lines[1].clone());
    let probing = [PathProbing::AfterBlackHole, PathProbing::Always];
    let mut host = |lan| {
        let mut options = NativeOptions::new([PortOptions::new(lan)]);
        options.network.tcp.path_probing = probing[random.index(2)];
        options
    };
    sim.native_background_host("server", host(lans[0]), move || async move {
        let all: IpAddr = if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let listener = stack().unwrap().listen(&Address::Inet((all, 80).into()), &ListenOptions::default()).unwrap();
        loop {
            let stream = accept(&listener).await;
            drop(spawn(async move {
                let bytes = read_all(&stream).await?;
                write(&stream, bytes).await?;
                flush(&stream).await
            }));
        }
    });
    let client = host(lans[1]);
    let bytes = 1 << random.between(4, 17);
    sim.native_host("client", client, move || async move {
        // Until the addresses are known to be free.
        sleep(Duration::from_secs(3)).await;
        let to = if is_v6 { v6("server", 80) } else { at("server", 80) };
        let stream = connect(&to).await.unwrap();
        write(&stream, vec![b'x'; bytes]).await.unwrap();
        stream.shutdown();
        assert_eq!(read_all(&stream).await.unwrap().len(), bytes);
    });
    sim.limit_time(PATIENCE);
    sim.run()
}

fn v6(host: &str, port: u16) -> Address {
    Address::Inet((IpAddr::V6(resolve_v6(host).expect("the host exists")), port).into())
}
