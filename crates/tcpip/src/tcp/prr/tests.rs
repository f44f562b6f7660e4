use proptest::prelude::*;

use super::Prr;
use crate::tcp::congestion::Window;

const MSS: u32 = 1_000;

fn window(ssthresh: u32) -> Window {
    Window { cwnd: 20 * MSS, ssthresh, mss: MSS }
}

/// One segment of twenty is lost, the receiver acknowledges each of the others, and the sender sends when it may.
/// Answers how much was sent after each acknowledgement.
fn sent_per_ack(ssthresh: u32, lost: u32) -> (Vec<u32>, u32) {
    let mut window = window(ssthresh);
    let mut prr = Prr::new(20 * MSS);
    // Three selective acknowledgements have shown the loss: the first one counts when the recovery begins.
    let mut in_flight = (20 - lost - 3) * MSS;
    let mut sent = Vec::new();
    for ack in 0..20 - lost - 2 {
        let delivered = if ack == 0 { 3 * MSS } else { MSS };
        if ack > 0 {
            in_flight = in_flight.saturating_sub(MSS);
        }
        prr.on_ack(&mut window, delivered, in_flight, false);
        let bytes = window.cwnd.saturating_sub(in_flight) / MSS * MSS;
        prr.on_sent(bytes);
        in_flight += bytes;
        sent.push(bytes / MSS);
    }
    (sent, in_flight)
}

/// RFC 9937 §4: with half the window lost to the reduction, one segment leaves for two that arrive.
#[test]
fn spreads_the_reduction_over_the_round_trip() {
    let (sent, in_flight) = sent_per_ack(10 * MSS, 1);
    assert_eq!(sent[..8], [1, 1, 0, 1, 0, 1, 0, 1]);
    assert!(sent.iter().all(|&segments| segments <= 1), "{sent:?}");
    assert_eq!(in_flight, 10 * MSS);
}

/// CUBIC leaves seven tenths: seven leave for ten that arrive.
#[test]
fn sends_in_proportion_to_the_threshold() {
    let (sent, in_flight) = sent_per_ack(14 * MSS, 1);
    assert!(sent.iter().all(|&segments| segments <= 2), "{sent:?}");
    assert_eq!(in_flight, 14 * MSS);
}

/// RFC 9937 §4, conservative bound: after heavy losses no more is sent than was delivered.
#[test]
fn sends_what_was_delivered_after_heavy_losses() {
    let (sent, _) = sent_per_ack(10 * MSS, 15);
    assert_eq!(sent, [3, 1, 1], "what left is what arrived");
}

/// RFC 9937 §4, slow start bound: while all goes well, one segment more per acknowledgement.
#[test]
fn catches_up_while_recovery_makes_progress() {
    let mut window = window(10 * MSS);
    let mut prr = Prr::new(20 * MSS);
    prr.on_ack(&mut window, MSS, 2 * MSS, true);
    assert_eq!(window.cwnd, 4 * MSS);
    prr.on_sent(2 * MSS);
    prr.on_ack(&mut window, MSS, 3 * MSS, true);
    assert_eq!(window.cwnd, 5 * MSS);
}

/// RFC 9937 §6.2: the retransmission that recovery is about is never held back.
#[test]
fn lets_the_first_retransmission_out() {
    let mut window = window(10 * MSS);
    let mut prr = Prr::new(200_000 * MSS);
    window.ssthresh = 10 * MSS;
    prr.on_ack(&mut window, 1, 10 * MSS, false);
    assert_eq!(window.cwnd, 11 * MSS);
}

#[test]
fn ignores_acknowledgements_that_deliver_nothing() {
    let mut window = window(10 * MSS);
    Prr::new(20 * MSS).on_ack(&mut window, 0, 19 * MSS, false);
    assert_eq!(window.cwnd, 20 * MSS);
}

#[test]
fn ends_at_the_threshold() {
    let mut window = window(10 * MSS);
    Prr::new(20 * MSS).end(&mut window);
    assert_eq!(window.cwnd, 10 * MSS);
}

proptest! {
    /// Whatever arrives: what is sent stays within what was delivered, one segment per safe acknowledgement, and the first one.
    #[test]
    fn conserves_packets(
        recover in 1..100u32, threshold in 2..100u32,
        acks in prop::collection::vec((0..10u32, 0..4u32, any::<bool>()), 0..100),
    ) {
        let mut window = window(threshold * MSS);
        let mut prr = Prr::new(recover * MSS);
        let mut in_flight = recover * MSS;
        let (mut delivered, mut sent, mut safe_acks) = (0, 0, 0);
        for (segments, lost, is_safe) in acks {
            let bytes = (segments * MSS).min(in_flight);
            in_flight = (in_flight - bytes).saturating_sub(lost * MSS);
            let cwnd = window.cwnd;
            prr.on_ack(&mut window, bytes, in_flight, is_safe);
            if bytes == 0 {
                prop_assert_eq!(window.cwnd, cwnd);
                continue;
            }
            delivered += bytes;
            safe_acks += u32::from(is_safe);
            let out = window.cwnd - in_flight;
            prr.on_sent(out);
            in_flight += out;
            sent += out;
            // In proportion a threshold above the flight would let more out than arrives; it is not used then.
            prop_assert!(sent <= delivered + (safe_acks + 1) * MSS, "{sent} sent for {delivered}");
            prop_assert!(in_flight <= (threshold * MSS).max(recover * MSS) + MSS);
        }
    }
}
