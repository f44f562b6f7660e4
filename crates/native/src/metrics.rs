//! What a shard's stack and devices count, as metrics.

use sunstar_device::Counters as DeviceCounters;
use sunstar_metrics::{Family, Figure, RegisterError, Registry};
use sunstar_packet::{PoolCounters, SizedPools};
use sunstar_tcpip::dhcpv4::Counters as DhcpCounters;
use sunstar_tcpip::dhcpv6::Counters as Dhcpv6Counters;
use sunstar_tcpip::drops::DropReason;
use sunstar_tcpip::stack::{Counters as StackCounters, Levels};
use sunstar_tcpip::tcp::sockets::Counters as TcpCounters;

use crate::network::Network;
use crate::port::Port;
use crate::spread::{SharedDevice, SpreadCounters};

const DROPS: Family = Family::counter("sunstar_tcpip_drops_total", "Packets that the stack has dropped, by reason.");

const CONNECTIONS: Family = Family::gauge(
    "sunstar_tcp_connections",
    "Connections: those that are open or being opened from here, those that strangers have not confirmed, and those that are over.",
);

const STACK: &[Figure<StackCounters>] = &[
    Figure::counter(
        "sunstar_tcpip_received_packets_total",
        "Packets that came in, those from ourselves included.",
        |of| of.received,
    ),
    Figure::counter("sunstar_tcpip_sent_packets_total", "Packets that left the stack.", |of| of.sent),
    Figure::counter("sunstar_tcpip_arp_requests_sent_total", "ARP requests that looked for a neighbour.", |of| {
        of.arp_requests_sent
    }),
    Figure::counter(
        "sunstar_tcpip_answers_sent_back_total",
        "Answers that were sent where they were asked for, since as many neighbours were looked for as may be.",
        |of| of.answers_sent_back,
    ),
    Figure::counter(
        "sunstar_tcpip_displaced_neighbours_total",
        "Neighbours that were forgotten for others, since as many were known as may be.",
        |of| of.neighbours_displaced,
    ),
    Figure::counter("sunstar_tcpip_arp_replies_sent_total", "ARP replies that were sent.", |of| of.arp_replies_sent),
    Figure::counter(
        "sunstar_tcpip_arp_conflicts_total",
        "ARP messages of others who use one of our addresses.",
        |of| of.arp_conflicts,
    ),
    Figure::counter(
        "sunstar_tcpip_neighbour_solicitations_sent_total",
        "Neighbour solicitations that looked for a neighbour, or for who has an address.",
        |of| of.neighbour_solicitations_sent,
    ),
    Figure::counter(
        "sunstar_tcpip_neighbour_advertisements_sent_total",
        "Neighbour advertisements that were sent.",
        |of| of.neighbour_advertisements_sent,
    ),
    Figure::counter(
        "sunstar_tcpip_router_advertisements_received_total",
        "Router advertisements that were followed.",
        |of| of.router_advertisements_received,
    ),
    Figure::counter(
        "sunstar_tcpip_router_routes_refused_total",
        "Routes that routers have told of and for which there was no room.",
        |of| of.router_routes_refused,
    ),
    Figure::counter(
        "sunstar_tcpip_redirects_forgotten_total",
        "Redirected destinations that were forgotten for others.",
        |of| of.redirects_forgotten,
    ),
    Figure::counter(
        "sunstar_tcpip_ipv6_conflicts_total",
        "Messages of others who have one of our IPv6 addresses, or one that was to be ours.",
        |of| of.address_conflicts_v6,
    ),
    Figure::counter("sunstar_tcpip_group_reports_sent_total", "Reports of multicast groups that were sent.", |of| {
        of.group_reports_sent
    }),
    Figure::counter("sunstar_tcpip_fragments_received_total", "Fragments that came in.", |of| of.fragments_received),
    Figure::counter("sunstar_tcpip_fragments_sent_total", "Fragments that were made.", |of| of.fragments_sent),
    Figure::counter("sunstar_tcpip_echo_replies_sent_total", "Answers to pings.", |of| of.echo_replies_sent),
    Figure::counter("sunstar_tcpip_icmp_errors_received_total", "ICMP errors that sockets were told of.", |of| {
        of.icmp_errors_received
    }),
    Figure::counter("sunstar_tcpip_icmp_errors_sent_total", "ICMP errors that were sent.", |of| of.icmp_errors_sent),
    Figure::counter("sunstar_tcpip_icmp_errors_suppressed_total", "ICMP errors that were too many to be sent.", |of| {
        of.icmp_errors_suppressed
    }),
    Figure::counter("sunstar_udp_received_datagrams_total", "Datagrams that sockets have received.", |of| {
        of.datagrams_received
    }),
    Figure::counter("sunstar_udp_sent_datagrams_total", "Datagrams that sockets have sent.", |of| of.datagrams_sent),
    Figure::counter(
        "sunstar_tcp_cut_segments_total",
        "Segments that were cut since their way had become narrower.",
        |of| of.segments_cut,
    ),
    Figure::counter(
        "sunstar_tcpip_refused_changes_total",
        "Changes of the configuration that others had asked for and that could not be made.",
        |of| of.changes_refused,
    ),
    Figure::counter("sunstar_tcpip_filter_consumed_total", "Packets that packet filters have consumed.", |of| {
        of.packets_consumed
    }),
    Figure::counter("sunstar_tcpip_filter_answered_total", "Packets that packet filters have answered.", |of| {
        of.packets_answered
    }),
];

const DHCP: &[Figure<DhcpCounters>] = &[
    Figure::counter("sunstar_dhcp_sent_messages_total", "DHCP messages that were sent.", |of| of.sent),
    Figure::counter("sunstar_dhcp_received_messages_total", "DHCP messages that were taken in.", |of| of.received),
    Figure::counter(
        "sunstar_dhcp_ignored_messages_total",
        "DHCP messages for somebody else, at the wrong time, from the wrong server, or without what is needed.",
        |of| of.ignored,
    ),
    Figure::counter("sunstar_dhcp_refusals_total", "Refusals by DHCP servers.", |of| of.naks),
    Figure::counter("sunstar_dhcp_declined_total", "Addresses that were declined, since somebody uses them.", |of| {
        of.declined
    }),
    Figure::counter("sunstar_dhcp_leases_total", "Leases that began or were prolonged.", |of| of.leases),
    Figure::counter("sunstar_dhcp_expired_total", "Leases that ended without being prolonged.", |of| of.expired),
];

const DHCPV6: &[Figure<Dhcpv6Counters>] = &[
    Figure::counter("sunstar_dhcpv6_sent_messages_total", "DHCPv6 messages that were sent.", |of| of.sent),
    Figure::counter("sunstar_dhcpv6_received_messages_total", "DHCPv6 messages that were taken in.", |of| of.received),
    Figure::counter(
        "sunstar_dhcpv6_ignored_messages_total",
        "DHCPv6 messages for somebody else, at the wrong time, from the wrong server, or without what is needed.",
        |of| of.ignored,
    ),
    Figure::counter("sunstar_dhcpv6_refusals_total", "Refusals by DHCPv6 servers.", |of| of.refused),
    Figure::counter(
        "sunstar_dhcpv6_declined_total",
        "Addresses by DHCPv6 that were declined, since somebody uses them.",
        |of| of.declined,
    ),
    Figure::counter(
        "sunstar_dhcpv6_leases_total",
        "Leases by DHCPv6 that began or were prolonged, and information that was given.",
        |of| of.leases,
    ),
    Figure::counter("sunstar_dhcpv6_expired_total", "Leases by DHCPv6 that ended without being prolonged.", |of| {
        of.expired
    }),
];

const TCP: &[Figure<TcpCounters>] = &[
    Figure::counter("sunstar_tcp_received_segments_total", "Segments that came in.", |of| of.segments_received),
    Figure::counter(
        "sunstar_tcp_sent_segments_total",
        "Segments that left; one that the device cuts counts once.",
        |of| of.segments_sent,
    ),
    Figure::counter(
        "sunstar_tcp_retransmitted_segments_total",
        "Segments with data that had been sent before.",
        |of| of.segments_retransmitted,
    ),
    Figure::counter("sunstar_tcp_accepted_total", "Connections that strangers have opened.", |of| of.accepted),
    Figure::counter("sunstar_tcp_connects_total", "Connections that were opened from here, or tried to.", |of| {
        of.connects
    }),
    Figure::counter(
        "sunstar_tcp_exhausted_ports_total",
        "Connections that were not opened, since all ports for their destination were in use.",
        |of| of.ports_exhausted,
    ),
    Figure::counter(
        "sunstar_tcp_cut_port_searches_total",
        "Connections that were not opened though not all ports were looked at, since that was done too often of late.",
        |of| of.port_searches_cut,
    ),
    Figure::counter("sunstar_tcp_resets_sent_total", "Resets that were sent.", |of| of.resets_sent),
    Figure::counter("sunstar_tcp_suppressed_resets_total", "Resets that were not sent, over their rate.", |of| {
        of.resets_suppressed
    }),
    Figure::counter("sunstar_tcp_cookies_sent_total", "SYNs that were answered by a cookie.", |of| of.cookies_sent),
    Figure::counter("sunstar_tcp_cookies_accepted_total", "Connections that cookies have opened.", |of| {
        of.cookies_accepted
    }),
    Figure::counter(
        "sunstar_tcp_cookies_failed_total",
        "Segments of no connection that came while cookies are good, and brought none.",
        |of| of.cookies_failed,
    ),
    Figure::counter("sunstar_tcp_dropped_syns_total", "Attempts to connect that found the backlog full.", |of| {
        of.syns_dropped
    }),
    Figure::counter(
        "sunstar_tcp_dropped_confirmations_total",
        "Confirmations of connections that found the backlog full.",
        |of| of.confirmations_dropped,
    ),
    Figure::counter("sunstar_tcp_half_open_expired_total", "Strangers who have not confirmed in time.", |of| {
        of.half_open_expired
    }),
    Figure::counter("sunstar_tcp_half_open_unreachable_total", "Strangers who could not be reached.", |of| {
        of.half_open_unreachable
    }),
    Figure::counter(
        "sunstar_tcp_time_wait_dropped_total",
        "Connections that were over and had to be forgotten early.",
        |of| of.time_wait_dropped,
    ),
    Figure::counter(
        "sunstar_tcp_time_wait_reused_total",
        "Connections that were opened anew by the same ports.",
        |of| of.time_wait_reused,
    ),
    Figure::counter(
        "sunstar_tcp_dropped_replies_total",
        "Resets and answers of no connection that were dropped.",
        |of| of.replies_dropped,
    ),
    Figure::counter(
        "sunstar_tcp_refused_growth_total",
        "Buffers that their path could use larger, and that stayed as they were.",
        |of| of.growth_refused,
    ),
    Figure::counter(
        "sunstar_tcp_refused_pieces_total",
        "Segments with data that were dropped, since too many pieces waited for the application or behind gaps.",
        |of| of.pieces_refused,
    ),
    Figure::counter(
        "sunstar_tcp_refused_reports_total",
        "Edges of selective acknowledgements that would have cut what was sent into too many pieces.",
        |of| of.reports_refused,
    ),
    Figure::counter(
        "sunstar_tcp_black_holes_total",
        "Connections whose large segments were swallowed without a word.",
        |of| of.black_holes,
    ),
    Figure::counter(
        "sunstar_tcp_path_probes_arrived_total",
        "Segments larger than before that were sent to try the path, and have arrived.",
        |of| of.path_probes_arrived,
    ),
    Figure::counter("sunstar_tcp_path_probes_lost_total", "The same that were lost.", |of| of.path_probes_lost),
    Figure::counter(
        "sunstar_tcp_suppressed_challenges_total",
        "Segments that did not fit their connection and were not answered, since others had been.",
        |of| of.challenges_suppressed,
    ),
    Figure::counter(
        "sunstar_tcp_reset_orphans_total",
        "Connections that were let go and were reset before they had ended, since they were too many, or memory was short.",
        |of| of.orphans_reset,
    ),
    Figure::counter(
        "sunstar_tcp_held_back_senders_total",
        "How often somebody got little room to send, since all connections together hold as much as they may.",
        |of| of.senders_held_back,
    ),
    Figure::counter(
        "sunstar_tcp_timed_out_total",
        "Connections that ended since the other side had not acknowledged or taken anything in time.",
        |of| of.timed_out,
    ),
    Figure::counter(
        "sunstar_tcp_raised_mss_total",
        "Attempts to connect that asked for smaller segments than are sent to anybody.",
        |of| of.small_mss_raised,
    ),
    Figure::gauge(
        "sunstar_tcp_longest_probe_slots",
        "How far behind its place in the table of connections an entry was ever put.",
        |of| of.longest_probe,
    ),
];

const LEVELS: &[Figure<Levels>] = &[
    Figure::gauge(
        "sunstar_tcp_orphaned_connections",
        "Connections that the application has let go and that have not ended.",
        |of| of.tcp.orphans as u64,
    ),
    Figure::gauge("sunstar_tcp_unacknowledged_bytes", "Bytes that wait to be sent or acknowledged.", |of| {
        of.tcp.send_bytes
    }),
    Figure::gauge("sunstar_tcp_waiting_replies", "Resets and answers of no connection that wait to be sent.", |of| {
        of.tcp.replies as u64
    }),
    Figure::gauge("sunstar_tcpip_neighbours", "Neighbours that are known or asked for.", |of| of.neighbours as u64),
    Figure::gauge("sunstar_tcpip_incomplete_packets", "Packets that are put together from fragments.", |of| {
        of.incomplete_packets as u64
    }),
    Figure::gauge("sunstar_tcpip_incomplete_bytes", "Memory that is counted for those.", |of| {
        of.incomplete_bytes as u64
    }),
    Figure::gauge("sunstar_tcpip_waiting_packets", "Packets that are ready to be sent.", |of| {
        of.outgoing_packets as u64
    }),
];

const DEVICE: &[Figure<DeviceCounters>] = &[
    Figure::counter("sunstar_device_received_packets_total", "Packets that the shard's queue has received.", |of| {
        of.rx_packets
    }),
    Figure::counter("sunstar_device_received_bytes_total", "Bytes of those.", |of| of.rx_bytes),
    Figure::counter("sunstar_device_sent_packets_total", "Packets that the shard's queue has sent.", |of| {
        of.tx_packets
    }),
    Figure::counter("sunstar_device_sent_bytes_total", "Bytes of those.", |of| of.tx_bytes),
    drops("rx_truncated", |of| of.rx_truncated),
    drops("rx_malformed", |of| of.rx_malformed),
    drops("rx_other_vlan", |of| of.rx_other_vlan),
    drops("rx_dropped", |of| of.rx_dropped),
    drops("tx_refused", |of| of.tx_refused),
    drops("tx_dropped", |of| of.tx_dropped),
    Figure::counter("sunstar_device_no_frames_total", "How often receiving had to stop for lack of frames.", |of| {
        of.rx_no_frames
    }),
    Figure::counter("sunstar_device_full_total", "How often the device had no room for packets.", |of| of.tx_full),
    Figure::counter("sunstar_device_receive_copies_total", "Packets that were copied to be received.", |of| {
        of.rx_copies
    }),
    Figure::counter("sunstar_device_receive_copied_bytes_total", "Bytes of those.", |of| of.rx_copied_bytes),
    Figure::counter(
        "sunstar_device_send_copies_total",
        "Packets of which something had to be copied, since the device does not see it where it lies.",
        |of| of.tx_copies,
    ),
    Figure::counter("sunstar_device_send_copied_bytes_total", "Bytes that were copied for that.", |of| {
        of.tx_copied_bytes
    }),
    Figure::counter(
        "sunstar_device_reconnects_total",
        "How often the other side of the device has come back after it was gone.",
        |of| of.reconnects,
    ),
    Figure::counter(
        "sunstar_device_peer_errors_total",
        "How often the other side of the device has broken a rule, so that something was refused or has ended.",
        |of| of.peer_errors,
    ),
];

const fn drops(reason: &'static str, count: fn(&DeviceCounters) -> u64) -> Figure<DeviceCounters> {
    let labels: &'static [(&'static str, &'static str)] = match reason.as_bytes() {
        b"rx_truncated" => &[("reason", "rx_truncated")],
        b"rx_malformed" => &[("reason", "rx_malformed")],
        b"rx_other_vlan" => &[("reason", "rx_other_vlan")],
        b"rx_dropped" => &[("reason", "rx_dropped")],
        b"tx_refused" => &[("reason", "tx_refused")],
        _ => &[("reason", "tx_dropped")],
    };
    Figure::counter("sunstar_device_drops_total", "Packets that the device has dropped, by reason.", count)
        .labelled(labels)
}

/// What became of a port, beside what its queue counts.
struct PortCounters {
    lost: u64,
    errors: u64,
    heap_buffers: u64,
    buffers: PoolCounters,
}

const PORT: &[Figure<PortCounters>] = &[
    Figure::counter("sunstar_device_lost_packets_total", "Packets that were dropped since the device is gone.", |of| {
        of.lost
    }),
    Figure::counter("sunstar_device_errors_total", "Errors of the device.", |of| of.errors),
    Figure::gauge(
        "sunstar_device_send_buffers",
        "Buffers that the application has, or that wait to be acknowledged, in the device's memory.",
        |of| of.buffers.in_use_frames as u64,
    ),
    Figure::gauge("sunstar_device_send_buffer_bytes", "Memory of the device that is taken for those.", |of| {
        of.buffers.reserved_bytes as u64
    }),
    Figure::counter(
        "sunstar_device_heap_buffers_total",
        "Buffers that lie on the heap, since the device's memory had no room for them.",
        |of| of.heap_buffers,
    ),
];

const SPREAD: &[Figure<SpreadCounters>] = &[
    Figure::counter(
        "sunstar_native_forwarded_packets_total",
        "Packets of flows that came to this shard's queue and belong to another one.",
        |of| of.rx_forwarded,
    ),
    Figure::counter(
        "sunstar_native_told_packets_total",
        "Packets of no flow that came to this shard's queue, by the shards that were told of them.",
        |of| of.rx_told,
    ),
    Figure::counter(
        "sunstar_native_sent_elsewhere_packets_total",
        "Packets that another shard's queue has sent for this one.",
        |of| of.tx_forwarded,
    ),
    Figure::counter(
        "sunstar_native_unforwarded_packets_total",
        "Packets that found the way to another shard full.",
        |of| of.dropped,
    ),
];

fn show_port(readings: &mut sunstar_metrics::Readings<'_>, port: &Port) {
    let labels = [("device", &*port.name)];
    readings.show_figures(DEVICE, &labels, &port.queue.counters());
    let buffers = port.buffers.as_ref().map(SizedPools::counters).unwrap_or_default();
    let counters = PortCounters { lost: port.lost, errors: port.errors, heap_buffers: port.heap_buffers, buffers };
    readings.show_figures(PORT, &labels, &counters);
    let spread = port.shared.as_ref().map(SharedDevice::counters).unwrap_or_default();
    readings.show_figures(SPREAD, &labels, &spread);
}

/// Has the network's figures shown on the current shard, as long as the shard lives.
pub(crate) fn publish(network: &Network) -> Result<(), RegisterError> {
    let registry = Registry::here();
    let mut families = Figure::families(STACK);
    families.extend(Figure::families(TCP));
    families.extend(Figure::families(LEVELS));
    families.extend([DROPS, CONNECTIONS]);
    let stack = network.clone();
    let observe = move |readings: &mut sunstar_metrics::Readings<'_>| {
        let (counters, drops, tcp, counts) =
            stack.with_stack(|stack| (stack.counters(), *stack.drops(), stack.tcp().counters(), stack.tcp().counts()));
        readings.show_figures(STACK, &[], &counters);
        readings.show_figures(TCP, &[], &tcp);
        readings.show_figures(LEVELS, &[], &stack.levels());
        for reason in DropReason::ALL {
            readings.show(&DROPS, &[("reason", reason.name())], drops.count(reason));
        }
        for (kind, count) in ["open", "half_open", "time_wait"].into_iter().zip(counts) {
            readings.show(&CONNECTIONS, &[("kind", kind)], count as u64);
        }
    };
    registry.observe(&families, &[], observe)?.keep();
    let mut families = Figure::families(DEVICE);
    families.extend(Figure::families(PORT));
    families.extend(Figure::families(SPREAD));
    families.extend(Figure::families(DHCP));
    families.extend(Figure::families(DHCPV6));
    let network = network.clone();
    let observe = move |readings: &mut sunstar_metrics::Readings<'_>| {
        network.shared().look(|state| {
            for port in &state.ports {
                show_port(readings, port);
                let labels = [("device", &*port.name)];
                readings.show_figures(DHCP, &labels, &state.stack.dhcpv4_counters(port.interface));
                readings.show_figures(DHCPV6, &labels, &state.stack.dhcpv6_counters(port.interface));
            }
        });
    };
    registry.observe(&families, &[], observe)?.keep();
    Ok(())
}
