//! What is measured, and who takes part.

/// Connections at a time, where nothing else is said.
const CONNECTIONS: u32 = 64;
const MESSAGE_BYTES: u32 = 64;
/// Messages per connection, as in mTCP's figure 7.
const MESSAGES: [u32; 5] = [1, 2, 8, 32, 128];
/// Bytes of a message, as in mTCP's figure 8.
const SIZES: [u32; 5] = [64, 256, 1024, 4096, 8192];
/// Connections with a message at a time each.
const ROUND_TRIPS: [u32; 3] = [1, 64, 1000];
/// Bytes of a write, as in iperf's figures, and of one that is large.
const WRITES: [u32; 9] = [64, 128, 256, 512, 1024, 2048, 4096, 8192, LARGE];
pub(super) const LARGE: u32 = 65_536;
const HTTP_CONNECTIONS: [u32; 2] = [64, 1000];
/// Bytes of a packet that is forwarded.
const FORWARDED: [u32; 1] = [64];
/// The same over a pair of virtual interfaces.
const VETH_MESSAGES: [u32; 2] = [1, 8];
const VETH_ROUND_TRIPS: [u32; 3] = [1, 64, 1000];

/// Figures that belong together, in one table and one plot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    Messages,
    Sizes,
    KeptSizes,
    RoundTrips,
    Http,
    Bulk,
    Shards,
    /// Over a pair of virtual interfaces, where the others have no kernel between them, or nothing but it.
    VethMessages,
    VethRoundTrips,
    /// Packets between two ports, beside DPDK.
    Forward,
}

impl Group {
    pub(super) const ALL: [Self; 10] = [
        Self::Messages,
        Self::Sizes,
        Self::KeptSizes,
        Self::RoundTrips,
        Self::Http,
        Self::Bulk,
        Self::Shards,
        Self::VethMessages,
        Self::VethRoundTrips,
        Self::Forward,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Messages => "Messages of 64 bytes per connection",
            Self::Sizes => "Size of the one message of a connection",
            Self::KeptSizes => "Size of messages on 64 connections that stay open",
            Self::RoundTrips => "Round trips of 64 bytes on connections that stay open",
            Self::Http => "httpd, keep-alive",
            Self::Bulk => "Bytes of each write of a stream",
            Self::Shards => "Both ends inside, on one shard and on two, over a link in memory with a queue for each",
            Self::VethMessages => "AF_XDP over veth: messages of 64 bytes per connection",
            Self::VethRoundTrips => "AF_XDP over veth: round trips of 64 bytes on connections that stay open",
            Self::Forward => "Forwarding between two vhost-user ports",
        }
    }

    /// What varies.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Messages | Self::VethMessages => "messages per connection",
            Self::Sizes | Self::KeptSizes => "bytes of a message",
            Self::RoundTrips | Self::Http | Self::VethRoundTrips => "connections",
            Self::Shards => "connections on each shard",
            Self::Bulk => "bytes of a write",
            Self::Forward => "bytes of a packet",
        }
    }

    /// The unit of what is measured.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Http => "thousand requests/s",
            Self::Bulk => "Gbit/s",
            Self::Forward => "cycles per packet",
            _ => "thousand messages/s",
        }
    }

    /// To whom the first one's figure is compared by the bars.
    pub(super) const fn compared(self) -> &'static str {
        match self {
            Self::Http => "httpd over the kernel's network, on whichever driver has the best median",
            Self::Bulk => {
                "the kernel's set-up with the best median; and, so that it shows what the zero-copy API is worth, our copying API"
            }
            Self::Shards => "one shard",
            Self::VethMessages | Self::VethRoundTrips => {
                "the kernel over the same kind of interfaces, busy-polling at both ends"
            }
            Self::Forward => "testpmd in the same run; less is better",
            Self::Messages | Self::Sizes | Self::KeptSizes | Self::RoundTrips => {
                "the kernel's set-up with the best median"
            }
        }
    }

    /// Whether what is measured is a cost: less is better, and bars are upper bounds.
    pub(super) const fn is_cost(self) -> bool {
        matches!(self, Self::Forward)
    }

    /// Whether it is about a pair of virtual interfaces.
    pub(super) const fn is_veth(self) -> bool {
        matches!(self, Self::VethMessages | Self::VethRoundTrips)
    }

    /// The plot's file.
    pub(super) const fn plot(self) -> Option<&'static str> {
        match self {
            Self::Messages => Some("bypass-messages.svg"),
            Self::Sizes => Some("bypass-sizes.svg"),
            Self::KeptSizes => Some("bypass-kept-sizes.svg"),
            Self::Bulk => Some("bypass-writes.svg"),
            _ => None,
        }
    }
}

/// One load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Contest {
    pub(super) group: Group,
    /// The value of what varies in the group.
    pub(super) value: u32,
}

impl Contest {
    pub(super) fn all() -> Vec<Self> {
        let of = |group, values: &'static [u32]| values.iter().map(move |&value| Self { group, value });
        // The smallest size is the first of the messages.
        of(Group::Messages, &MESSAGES)
            .chain(of(Group::Sizes, &SIZES[1..]))
            .chain(of(Group::KeptSizes, &SIZES))
            .chain(of(Group::RoundTrips, &ROUND_TRIPS))
            .chain(of(Group::Http, &HTTP_CONNECTIONS))
            .chain(of(Group::Bulk, &WRITES))
            .chain(of(Group::Shards, &[CONNECTIONS]))
            .chain(of(Group::VethMessages, &VETH_MESSAGES))
            .chain(of(Group::VethRoundTrips, &VETH_ROUND_TRIPS))
            .chain(of(Group::Forward, &FORWARDED))
            .collect()
    }

    pub(super) fn name(&self) -> String {
        let word = match self.group {
            Group::Messages => "messages",
            Group::Sizes => "size",
            Group::KeptSizes => "kept size",
            Group::RoundTrips => "rr",
            Group::Http => "httpd",
            Group::Bulk => "bulk",
            Group::Shards => "shards",
            Group::VethMessages => "xdp messages",
            Group::VethRoundTrips => "xdp rr",
            Group::Forward => "forward",
        };
        format!("{word} {}", self.value)
    }

    /// What both programs are told, where two of the same kind are the ends.
    pub(super) fn arguments(&self) -> Vec<String> {
        self.arguments_of(1)
    }

    /// Into how many of `most` pairs of programs it can be divided: each has a connection at least.
    pub(super) fn pairs(&self, most: usize) -> usize {
        match self.group {
            Group::RoundTrips | Group::VethRoundTrips => most.min(self.value as usize),
            _ => most,
        }
    }

    /// What each of so many pairs of programs is told, which divide the connections.
    pub(super) fn arguments_of(&self, pairs: usize) -> Vec<String> {
        let pairs = u32::try_from(pairs).unwrap_or(u32::MAX);
        let messages = |connections: u32, messages: u32, size: u32| {
            let connections = connections / pairs;
            format!("--load messages --connections {connections} --messages {messages} --size {size}")
        };
        let text = match self.group {
            Group::Messages | Group::VethMessages => messages(CONNECTIONS, self.value, MESSAGE_BYTES),
            Group::Sizes => messages(CONNECTIONS, 1, self.value),
            // The program of the shards has no other load.
            Group::KeptSizes | Group::Shards => messages(CONNECTIONS, 0, self.value),
            Group::RoundTrips | Group::VethRoundTrips => messages(self.value, 0, MESSAGE_BYTES),
            Group::Http => format!("--load http --connections {}", self.value),
            Group::Bulk => format!("--load bulk --connections 1 --write {}", self.value),
            // testpmd and what forwards for it have arguments of their own.
            Group::Forward => return Vec::new(),
        };
        text.split(' ').map(str::to_owned).collect()
    }

    /// Who takes part: first whom the bars are about.
    pub(super) fn contestants(&self) -> Vec<Contestant> {
        match self.group {
            Group::Http => vec![Contestant::Lending, Contestant::HttpIoUring, Contestant::HttpEpoll],
            Group::Shards => vec![Contestant::TwoShards, Contestant::OneShard],
            Group::Forward => vec![Contestant::Forwarder, Contestant::Testpmd],
            Group::VethMessages | Group::VethRoundTrips => vec![
                Contestant::Xdp,
                Contestant::XdpServer,
                Contestant::Veth,
                Contestant::VethSpinning,
                Contestant::VethBoth,
            ],
            Group::Bulk => {
                vec![
                    Contestant::Lending,
                    Contestant::Copying,
                    Contestant::Kernel,
                    Contestant::KernelSpinning,
                    Contestant::KernelBoth,
                ]
            }
            _ => vec![Contestant::Lending, Contestant::Kernel, Contestant::KernelSpinning, Contestant::KernelBoth],
        }
    }

    /// What is demanded: how many times whose figure.
    pub(super) fn bars(&self) -> &'static [Bar] {
        match (self.group, self.value) {
            (Group::Messages, 1) => &[Bar { factor: 8.0, than: Than::BestOfKernel }],
            (Group::Messages, 128) => &[Bar { factor: 5.0, than: Than::BestOfKernel }],
            (Group::Http, _) => &[Bar { factor: 4.0, than: Than::BestOfKernel }],
            (Group::Bulk, 64) => &[Bar { factor: 3.0, than: Than::BestOfKernel }],
            (Group::Bulk, LARGE) => {
                &[Bar { factor: 1.3, than: Than::BestOfKernel }, Bar { factor: 1.25, than: Than::Copying }]
            }
            (Group::VethMessages, 1) => &[Bar { factor: 1.5, than: Than::Spinning }],
            (Group::VethRoundTrips, 64) => &[Bar { factor: 1.3, than: Than::Spinning }],
            (Group::Shards, _) => &[Bar { factor: 1.9, than: Than::OneShard }],
            (Group::Forward, _) => &[Bar { factor: 1.5, than: Than::Testpmd }],
            _ => &[],
        }
    }
}

/// At least so many times as much; at most where the group is about a cost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bar {
    pub(super) factor: f64,
    pub(super) than: Than,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Than {
    BestOfKernel,
    Copying,
    OneShard,
    /// The kernel's TCP over a pair of virtual interfaces, which spins as Sunstar does.
    Spinning,
    Testpmd,
}

/// Who sets up both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contestant {
    /// Sunstar, whose streams take and give memory without copies.
    Lending,
    /// Sunstar, with copies out of and into the application's memory.
    Copying,
    /// epoll, a processor for each end.
    Kernel,
    /// The same, spinning.
    KernelSpinning,
    /// epoll, both ends on each of the two processors.
    KernelBoth,
    /// httpd on the kernel's sockets with one of its drivers, loaded by http-load.
    HttpIoUring,
    HttpEpoll,
    /// Two hosts in one process, on so many shards.
    OneShard,
    TwoShards,
    /// Sunstar by AF_XDP at both ends of a pair of virtual interfaces.
    Xdp,
    /// The same at the server's end, with the kernel's client.
    XdpServer,
    /// epoll over such a pair, as over loopback; with both ends on a processor they are two processes, since each is in a namespace.
    Veth,
    VethSpinning,
    VethBoth,
    /// sunstar-forward.
    Forwarder,
    /// testpmd of DPDK with its back ends of vhost-user.
    Testpmd,
}

impl Contestant {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lending => "Sunstar",
            Self::Copying => "Sunstar, copying",
            Self::Kernel | Self::Veth => "kernel, an end on each core",
            Self::KernelSpinning | Self::VethSpinning => "kernel, an end on each core, spinning",
            Self::KernelBoth | Self::VethBoth => "kernel, both ends on each core",
            Self::Xdp => "Sunstar at both ends",
            Self::XdpServer => "Sunstar, with the kernel's client",
            Self::HttpIoUring => "kernel, httpd on io_uring",
            Self::HttpEpoll => "kernel, httpd on epoll",
            Self::OneShard => "Sunstar, one shard",
            Self::TwoShards => "Sunstar, two shards",
            Self::Forwarder => "Sunstar",
            Self::Testpmd => "DPDK's testpmd",
        }
    }

    pub(super) const fn is_kernel(self) -> bool {
        matches!(
            self,
            Self::Kernel
                | Self::KernelSpinning
                | Self::KernelBoth
                | Self::HttpIoUring
                | Self::HttpEpoll
                | Self::Veth
                | Self::VethSpinning
                | Self::VethBoth
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Contest, Contestant, Group, Than};

    #[test]
    fn every_group_has_contests_and_those_with_a_device_the_kernel_beside_it() {
        for group in Group::ALL {
            assert!(Contest::all().iter().any(|contest| contest.group == group), "{group:?}");
        }
        for contest in Contest::all() {
            let contestants = contest.contestants();
            let has_kernel = contestants.iter().any(|one| one.is_kernel());
            let is_without = matches!(contest.group, Group::Shards | Group::Forward);
            assert!(has_kernel != is_without && !contestants[0].is_kernel(), "{contest:?}");
        }
    }

    #[test]
    fn programs_divide_the_connections() {
        let contest = |value| Contest { group: Group::VethRoundTrips, value };
        assert_eq!((contest(1).pairs(2), contest(64).pairs(2)), (1, 2));
        assert_eq!(contest(64).arguments_of(2)[2..4], ["--connections", "32"]);
        assert_eq!(contest(64).arguments()[2..4], ["--connections", "64"]);
    }

    #[test]
    fn all_bars_are_there() {
        assert_eq!(Contest::all().iter().map(|contest| contest.bars().len()).sum::<usize>(), 11);
        for contest in Contest::all() {
            // Whoever a bar is about takes part.
            let names = contest.contestants();
            let has = |than| match than {
                Than::BestOfKernel => names.iter().any(|one| one.is_kernel()),
                Than::Copying => names.contains(&Contestant::Copying),
                Than::OneShard => names.contains(&Contestant::OneShard),
                Than::Spinning => names.contains(&Contestant::VethSpinning),
                Than::Testpmd => names.contains(&Contestant::Testpmd),
            };
            assert!(contest.bars().iter().all(|bar| has(bar.than)), "{contest:?}");
        }
    }

    #[test]
    fn only_forwarding_is_about_a_cost_and_is_asked_for_by_its_name() {
        let costs: Vec<String> =
            Contest::all().iter().filter(|contest| contest.group.is_cost()).map(Contest::name).collect();
        assert_eq!(costs, ["forward 64"]);
    }
}
