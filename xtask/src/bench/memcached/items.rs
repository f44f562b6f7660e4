//! A client that knows on which shard an item is, and asks for such items on purpose.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::server::Server;
use super::{KEY_BYTES, VALUE_BYTES};

const CONNECTIONS: usize = 32;
/// Requests under way on each connection.
const DEPTH: usize = 16;
/// Keys that are tried; about half of them are on either shard.
const KEYS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// Which items are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Where {
    Here,
    There,
}

/// Connections, each with a batch of requests for items of its own shard, and one for items of the other.
pub(super) struct Client {
    connections: Vec<(TcpStream, [Vec<u8>; 2])>,
    answer_bytes: usize,
    input: Vec<u8>,
}

impl Client {
    /// Connects, and finds out what is where by the server's count of operations on other shards. Nobody else may ask meanwhile.
    ///
    /// # Errors
    /// If the server fails, or all items or connections are on one shard.
    pub(super) fn new(server: &Server) -> Result<Self> {
        let (value, mut witness) = ("x".repeat(VALUE_BYTES), connect(server)?);
        let keys: Vec<String> = (0..KEYS).map(|number| format!("{number:0KEY_BYTES$}")).collect();
        for key in &keys {
            let set = format!("set {key} 0 0 {VALUE_BYTES}\r\n{value}\r\n");
            ask(&mut witness, set.as_bytes(), "STORED\r\n".len())?;
        }
        let answer_bytes = format!("VALUE {} 0 {VALUE_BYTES}\r\n{value}\r\nEND\r\n", keys[0]).len();
        let is_there = |stream: &mut TcpStream, key: &String| -> Result<bool> {
            let before = server.figure("foreign_operations")?;
            ask(stream, get(key).as_bytes(), answer_bytes)?;
            Ok(server.figure("foreign_operations")? > before)
        };
        // Of each key, whether it is on the other shard than the witness.
        let foreign = keys.iter().map(|key| is_there(&mut witness, key)).collect::<Result<Vec<_>>>()?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = connect(server)?;
            // It is with the witness if the first key is where it is for that one.
            let is_apart = is_there(&mut stream, &keys[0])? != foreign[0];
            let batch = |is_wanted: bool| {
                let of = keys.iter().zip(&foreign).filter(|(_, foreign)| (**foreign != is_apart) == is_wanted);
                let batch: Vec<String> = of.map(|(key, _)| get(key)).cycle().take(DEPTH).collect();
                batch.concat().into_bytes()
            };
            let batches = [batch(false), batch(true)];
            ensure!(batches.iter().all(|batch| !batch.is_empty()), "all items are on one shard");
            connections.push((stream, batches));
        }
        Ok(Self { connections, answer_bytes, input: vec![0; answer_bytes * DEPTH] })
    }

    /// Asks so often on all connections, and answers how many operations that were. While answers are read on one connection requests are
    /// under way on all others, so that the server has always something to do.
    ///
    /// # Errors
    /// If the server does not answer as it should.
    pub(super) fn run(&mut self, place: Where, times: usize) -> Result<usize> {
        let place = usize::from(place == Where::There);
        for (stream, batches) in &mut self.connections {
            stream.write_all(&batches[place])?;
        }
        for turn in 1..=times {
            for (stream, batches) in &mut self.connections {
                hear(stream, &mut self.input, self.answer_bytes)?;
                if turn < times {
                    stream.write_all(&batches[place])?;
                }
            }
        }
        Ok(times * CONNECTIONS * DEPTH)
    }

    /// Asks so often for one item on one connection, when the answer before is there.
    ///
    /// # Errors
    /// If the server does not answer as it should.
    pub(super) fn run_alone(&mut self, place: Where, times: usize) -> Result<usize> {
        let (stream, batches) = &mut self.connections[0];
        let batch = &batches[usize::from(place == Where::There)];
        let request = &batch[..batch.len() / DEPTH];
        for _ in 0..times {
            stream.write_all(request)?;
            hear(stream, &mut self.input[..self.answer_bytes], self.answer_bytes)?;
        }
        Ok(times)
    }
}

fn connect(server: &Server) -> Result<TcpStream> {
    let stream = TcpStream::connect(server.address).context("connecting")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads as many answers as there is room for.
fn hear(stream: &mut TcpStream, input: &mut [u8], answer_bytes: usize) -> Result<()> {
    stream.read_exact(input).context("an answer is missing")?;
    let is_whole = input.chunks_exact(answer_bytes).all(|answer| answer.ends_with(b"END\r\n"));
    ensure!(is_whole, "an answer is not as long as it should be");
    Ok(())
}

fn get(key: &str) -> String {
    format!("get {key}\r\n")
}

fn ask(stream: &mut TcpStream, question: &[u8], answer_bytes: usize) -> Result<()> {
    stream.write_all(question)?;
    stream.read_exact(&mut vec![0; answer_bytes]).context("an answer is missing")
}
