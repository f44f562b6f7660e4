//! Hosts that crash, come back, and are kept apart.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;
use sunstar_executor::timer::sleep;
use sunstar_net::{Error, StreamOption};

use crate::tests::support::*;
use crate::{Failure, NativeOptions, PortOptions, Sim};

const SECOND: Duration = Duration::from_secs(1);

/// A world with a server that sends back what it gets.
fn with_server(shards: usize) -> (Sim, crate::LanId) {
    let mut sim = Sim::new(1);
    let lan = sim.lan();
    let options = NativeOptions { shards, ..NativeOptions::new([PortOptions::new(lan)]) };
    sim.native_background_host("server", options, || async {
        let listener = listen(80);
        loop {
            let stream = accept(&listener).await;
            drop(spawn(async move {
                loop {
                    let bytes = read(&stream).await?;
                    if bytes.is_empty() {
                        return Ok::<_, Error>(());
                    }
                    write(&stream, bytes).await?;
                }
            }));
        }
    });
    (sim, lan)
}

/// Adds a client that asks once a second, and says how that went.
fn add_client(sim: &mut Sim, lan: crate::LanId, questions: usize) -> Rc<RefCell<Vec<Result<(), Error>>>> {
    let outcomes: Rc<RefCell<Vec<_>>> = Rc::default();
    let told = Rc::clone(&outcomes);
    sim.native_host("client", NativeOptions::new([PortOptions::new(lan)]), move || {
        let told = Rc::clone(&told);
        async move {
            let mut stream = None;
            for _ in 0..questions {
                let outcome = ask(&mut stream).await;
                told.borrow_mut().push(outcome);
                sleep(SECOND).await;
            }
        }
    });
    outcomes
}

async fn ask(stream: &mut Option<Stream>) -> Result<(), Error> {
    let result = async {
        if stream.is_none() {
            let new = connect(&at("server", 80)).await?;
            new.set_option(StreamOption::UserTimeout(Some(5 * SECOND)))?;
            *stream = Some(new);
        }
        let stream = stream.as_ref().expect("it was just connected");
        write(stream, "question").await?;
        if read(stream).await?.is_empty() { Err(Error::ConnectionAborted) } else { Ok(()) }
    };
    let outcome = result.await;
    if outcome.is_err() {
        *stream = None;
    }
    outcome
}

#[test]
fn a_host_that_was_restarted_resets_what_it_does_not_know() {
    let (mut sim, lan) = with_server(1);
    let outcomes = add_client(&mut sim, lan, 4);
    sim.run_for(SECOND / 2).unwrap();
    assert!(sim.crash("server").unwrap() && !sim.crash("server").unwrap());
    assert!(sim.restart("server") && !sim.restart("server"));
    sim.run().unwrap();
    assert_eq!(*outcomes.borrow(), [Ok(()), Err(Error::ConnectionReset), Ok(()), Ok(())]);
}

#[test]
fn a_host_that_crashed_is_silent() {
    for shards in 1..3 {
        let (mut sim, lan) = with_server(shards);
        let outcomes = add_client(&mut sim, lan, 2);
        sim.run_for(SECOND / 2).unwrap();
        sim.crash("server").unwrap();
        sim.run_for(7 * SECOND).unwrap();
        assert_eq!(*outcomes.borrow(), [Ok(()), Err(Error::TimedOut)]);
        sim.run().unwrap();
    }
}

#[test]
fn hosts_that_are_kept_apart_wait_for_each_other() {
    let (mut sim, lan) = with_server(1);
    let outcomes = add_client(&mut sim, lan, 3);
    sim.run_for(SECOND / 2).unwrap();
    sim.partition_one_way(&["server"], &["client"]);
    sim.run_for(3 * SECOND).unwrap();
    assert_eq!(outcomes.borrow().len(), 1);
    sim.reunite(&["server"], &["client"]);
    sim.limit_time(10 * SECOND);
    sim.run().unwrap();
    assert_eq!(*outcomes.borrow(), [Ok(()); 3]);
}

#[test]
fn who_makes_no_progress_is_out_of_time() {
    let (mut sim, lan) = with_server(1);
    add_client(&mut sim, lan, 3);
    sim.run_for(SECOND / 2).unwrap();
    sim.partition(&["server"], &["client"]);
    sim.limit_time(3 * SECOND);
    let error = sim.run().unwrap_err();
    assert!(matches!(error.failure, Failure::OutOfTime(_)), "{error}");
}

#[test]
fn what_is_left_in_a_network_is_told() {
    let (mut sim, lan) = with_server(1);
    sim.native_host("client", NativeOptions::new([PortOptions::new(lan)]), || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        // Nobody lets it go: as if the network did not.
        std::mem::forget(stream);
        assert_eq!(sunstar_native::Network::current().expect("there is one").levels().tcp.connections, 1);
    });
    let error = sim.run().unwrap_err();
    assert!(error.to_string().contains("1 connections on shard 0 of client"), "{error}");
}
