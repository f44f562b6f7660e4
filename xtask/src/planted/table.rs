//! The bugs that are planted, and who must find them.

use super::Finder;
use super::Kind::{Loom, Process, Unit};

pub(super) const FINDERS: &[Finder] = &[
    Finder { package: PACKET, kind: Loom, tests: "loom_foreign", bugs: &["freed_twice"] },
    Finder { package: PACKET, kind: Loom, tests: "wakes_the_sleeper", bugs: &["missing_barrier"] },
    Finder { package: PACKET, kind: Loom, tests: "loom_two_posters", bugs: &["relaxed_post"] },
    Finder { package: PACKET, kind: Loom, tests: "loom_list_ends", bugs: &["touch_after_post"] },
    Finder {
        package: EXECUTOR,
        kind: Unit,
        tests: "sync_random",
        bugs: &["blocked_by_gone", "double_release", "leaked_waiter", "lost_child_wake", "lost_wake", "overtaking"],
    },
    Finder { package: EXECUTOR, kind: Loom, tests: "loom_child", bugs: &["child_relaxed_drop"] },
    Finder { package: EXECUTOR, kind: Loom, tests: "loom_child_foreign_wake", bugs: &["child_relaxed_wake"] },
    Finder { package: EXECUTOR, kind: Loom, tests: "loom_ring", bugs: &["ring_early_head", "ring_missing_release"] },
    Finder { package: EXECUTOR, kind: Loom, tests: "loom_task_cloned", bugs: &["task_double_free"] },
    Finder { package: EXECUTOR, kind: Loom, tests: "loom_task_word", bugs: &["task_lost_wake", "task_relaxed_word"] },
    Finder { package: EXECUTOR, kind: Unit, tests: "wheel_random", bugs: &["wheel_stale_bitmap", "wheel_wrong_level"] },
    Finder {
        package: HTTP,
        kind: Unit,
        tests: "tests::time",
        bugs: &[
            "alarm_not_moved",
            "alarm_too_early",
            "body_time_restarts",
            "body_time_shared",
            "body_timeout_miscounted",
            "head_not_armed",
            "head_time_of_idle",
            "head_time_restarts",
            "idle_time_restarts",
            "idle_timeout_miscounted",
            "output_rate_ignored",
            "output_timeout_uncounted",
            "overdue_unanswered",
            "pace_saved_up",
            "response_time_restarts",
            "response_time_shared",
            "slow_reader_kept",
            "slow_reader_not_reset",
            "taking_is_idle",
        ],
    },
    Finder {
        package: HTTP,
        kind: Unit,
        tests: "sim_sweep_client",
        bugs: &["client_half_read_kept", "client_repeats_all"],
    },
    Finder { package: HTTP, kind: Unit, tests: "client::tests::faults", bugs: &["client_stale_kept"] },
    Finder { package: HTTP, kind: Unit, tests: "client::tests::pool", bugs: &["client_waits_unbounded"] },
    Finder {
        package: HTTP,
        kind: Process,
        tests: "misbehave::",
        bugs: &["connection_leaked", "frames_leaked", "memory_leaked"],
    },
    Finder { package: HTTP, kind: Unit, tests: "property_conditional", bugs: &["date_beside_tag"] },
    Finder {
        package: HTTP,
        kind: Unit,
        tests: "property_router",
        bugs: &["empty_parameter", "encoded_is_other", "stale_span"],
    },
    Finder { package: HTTP, kind: Unit, tests: "tests::stop", bugs: &["gate_not_awaited", "grace_unbounded"] },
    Finder { package: HTTP, kind: Unit, tests: "property_accept", bugs: &["later_weight"] },
    Finder { package: HTTP, kind: Unit, tests: "refusals", bugs: &["linger_unbounded", "no_linger"] },
    Finder { package: HTTP, kind: Unit, tests: "sim_sweep", bugs: &["no_last_look", "unsent_at_stop"] },
    Finder { package: HTTP, kind: Unit, tests: "property_path", bugs: &["path_checked_encoded", "path_digit_colon"] },
    Finder { package: HTTP, kind: Unit, tests: "property_range", bugs: &["range_meets_one", "range_suffix_wraps"] },
    Finder { package: HTTP, kind: Unit, tests: "endings", bugs: &["unsent_at_failure"] },
    Finder { package: HTTP, kind: Unit, tests: "property_uri", bugs: &["uri_short_address", "uri_signed_port"] },
    Finder { package: HTTP1, kind: Unit, tests: "property_conversations", bugs: &["chunk_one_short"] },
    Finder { package: HTTP1, kind: Unit, tests: "property_fragments", bugs: &["head_end_forgotten"] },
    Finder { package: HTTP1, kind: Unit, tests: "property_framing", bugs: &["http10_stays", "length_beside_coding"] },
    Finder { package: HTTP1, kind: Unit, tests: "trailers_that_frame", bugs: &["trailers_unfiltered"] },
    Finder { package: METRICS, kind: Unit, tests: "a_value_lies_between", bugs: &["bound_outside"] },
    Finder { package: METRICS, kind: Unit, tests: "property_packets", bugs: &["lost_at_packet_end"] },
    Finder { package: NET, kind: Unit, tests: "spread_random", bugs: &["forgotten_return", "given_after_goodbye"] },
    Finder { package: SIM, kind: Unit, tests: "same_trace", bugs: &["address_order"] },
    Finder { package: SIM, kind: Unit, tests: "sim_sweep", bugs: &["early_segment", "split_drops_byte"] },
    Finder { package: SIM, kind: Unit, tests: "a_stream_moves", bugs: &["leaked_stream"] },
    Finder { package: SIM, kind: Unit, tests: "sockets_streams_buffers", bugs: &["lost_reader_wake"] },
    Finder { package: TCPIP, kind: Unit, tests: "forged_errors", bugs: &["forged_error"] },
    Finder { package: TCPIP, kind: Unit, tests: "reassembly", bugs: &["fragments_overlap"] },
    Finder { package: TCPIP, kind: Unit, tests: "behaves_like_a_map", bugs: &["hole_left"] },
    Finder { package: TCPIP, kind: Unit, tests: "sockets", bugs: &["leaked_flow"] },
    Finder { package: TCPIP, kind: Unit, tests: "sums_hold", bugs: &["lost_skipped"] },
    Finder { package: TCPIP, kind: Unit, tests: "routes", bugs: &["metric_first"] },
    Finder { package: TCPIP, kind: Unit, tests: "waiting_packets", bugs: &["neighbour_queue_unbounded"] },
    Finder { package: TCPIP, kind: Unit, tests: "rto", bugs: &["no_backoff"] },
    Finder { package: TCPIP, kind: Unit, tests: "sorted_map", bugs: &["no_cascade"] },
    Finder { package: TCPIP, kind: Unit, tests: "congestion", bugs: &["no_fast_convergence"] },
    Finder {
        package: TCPIP,
        kind: Unit,
        tests: "stream_comes_out_in_order",
        bugs: &["overlap_kept", "sack_not_merged"],
    },
    Finder { package: TCPIP, kind: Unit, tests: "scoreboard", bugs: &["reneging_ignored"] },
    Finder { package: TCPIP, kind: Unit, tests: "checksums_are_verified", bugs: &["udp_unverified"] },
    Finder { package: TCPIP, kind: Unit, tests: "streams_survive_the_wire", bugs: &["window_off_by_one"] },
    Finder { package: WIRE, kind: Unit, tests: "property_sums", bugs: &["carry_lost", "odd_piece_unswapped"] },
    Finder { package: WIRE, kind: Unit, tests: "property_options", bugs: &["option_length_zero"] },
    Finder { package: WIRE, kind: Unit, tests: "property_ipv4", bugs: &["padding_kept"] },
    Finder { package: WIRE, kind: Unit, tests: "property_any_options", bugs: &["sack_without_room"] },
    Finder { package: WIRE, kind: Unit, tests: "property_updates", bugs: &["update_minus_zero"] },
    Finder { package: WIRE, kind: Unit, tests: "property_tagged", bugs: &["vlan_unchecked"] },
];

const NET: &str = "sunstar-net";
const PACKET: &str = "sunstar-packet";
const EXECUTOR: &str = "sunstar-executor";
const HTTP: &str = "sunstar-http";
const HTTP1: &str = "sunstar-http1";
const METRICS: &str = "sunstar-metrics";
const SIM: &str = "sunstar-sim";
const TCPIP: &str = "sunstar-tcpip";
const WIRE: &str = "sunstar-wire";
