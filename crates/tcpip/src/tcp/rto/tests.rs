use core::time::Duration;

use proptest::prelude::*;

use super::{RTO_INITIAL, RTO_MAX, RTO_MIN, Rto};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn sampled(samples: &[Duration]) -> Rto {
    let mut rto = Rto::default();
    for &sample in samples {
        rto.on_sample(sample);
    }
    rto
}

/// RFC 6298 §2.1.
#[test]
fn waits_a_second_before_anything_was_measured() {
    assert_eq!(Rto::default().timeout(), RTO_INITIAL);
    assert_eq!(Rto::default().srtt(), None);
}

/// RFC 6298 §2.2: SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR.
#[test]
fn takes_the_first_sample_as_it_is() {
    let rto = sampled(&[ms(400)]);
    assert_eq!((rto.srtt(), rto.rttvar(), rto.timeout()), (Some(ms(400)), ms(200), ms(1_200)));
}

/// RFC 6298 §2.3: RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, then SRTT = 7/8 SRTT + 1/8 R.
#[test]
fn smooths_further_samples() {
    let rto = sampled(&[ms(400), ms(800)]);
    assert_eq!((rto.srtt(), rto.rttvar(), rto.timeout()), (Some(ms(450)), ms(250), ms(1_450)));
    let rto = sampled(&[ms(400), ms(800), ms(50)]);
    assert_eq!((rto.srtt(), rto.rttvar()), (Some(ms(400)), Duration::from_micros(287_500)));
}

/// Linux's minimum belongs to the variation, so that a path with a steady round trip has 200 ms of grace.
#[test]
fn leaves_200_ms_beside_a_steady_round_trip() {
    let steady = [ms(300); 100];
    let timeout = sampled(&steady).timeout();
    assert!((ms(499)..=ms(501)).contains(&timeout), "{timeout:?}");
    assert_eq!(sampled(&[Duration::ZERO]).timeout().as_millis(), RTO_MIN.as_millis());
}

/// RFC 6298 §5.5 doubles at each timeout, up to the bound of §2.5; a sample ends that (§5.7 note).
#[test]
fn doubles_at_each_timeout_up_to_the_bound() {
    let mut rto = sampled(&[ms(100)]);
    let mut timeouts = Vec::new();
    for _ in 0..12 {
        timeouts.push(rto.timeout().as_millis());
        rto.on_timeout();
    }
    let expected = [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800, 120_000, 120_000, 120_000];
    assert_eq!(timeouts, expected);
    rto.on_sample(ms(100));
    assert_eq!((rto.backoff(), rto.timeout()), (0, ms(300)));
}

#[test]
fn forgets_doublings_when_a_timeout_was_spurious() {
    let mut rto = sampled(&[ms(100)]);
    rto.on_timeout();
    rto.on_timeout();
    rto.reset_backoff();
    assert_eq!(rto.timeout(), ms(300));
}

proptest! {
    #[test]
    fn stays_between_its_bounds(samples in prop::collection::vec(0..400_000_000u64, 0..50), timeouts in 0..40) {
        let mut rto = Rto::default();
        for &micros in &samples {
            rto.on_sample(Duration::from_micros(micros));
        }
        for _ in 0..timeouts {
            rto.on_timeout();
        }
        prop_assert!((RTO_MIN..=RTO_MAX).contains(&rto.timeout()));
    }

    #[test]
    fn comes_to_rest_at_a_steady_round_trip(noise in prop::collection::vec(0..10_000_000u64, 0..20), micros in 1_000..1_000_000u64) {
        let mut rto = Rto::default();
        for &micros in &noise {
            rto.on_sample(Duration::from_micros(micros));
        }
        for _ in 0..200 {
            rto.on_sample(Duration::from_micros(micros));
        }
        let srtt = rto.srtt().expect("there were samples").as_micros();
        prop_assert!(srtt.abs_diff(u128::from(micros)) <= 8, "{srtt} after 200 samples of {micros}");
    }
}
