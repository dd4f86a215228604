//! A constant rate: each request has its moment, whether or not the ones before are answered, and its latency counts from that moment. Threads that block: their
//! sleep is finer than a runtime's clock.

use super::{Aim, Tally, http1};
use crate::cpu;
use anyhow::{Result, anyhow};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

/// All connections together make `rate` requests a second.
pub(super) fn run(aim: &Aim, connections: usize, rate: f64) -> Result<Tally> {
    let period = Duration::from_secs_f64(connections as f64 / rate);
    let begin = Instant::now();
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let aim = aim.clone();
            let first = begin + period.mul_f64(number as f64 / connections as f64);
            spawn(move || one(&aim, number, first, period))
        })
        .collect();
    let mut all = Tally::default();
    for thread in threads {
        all.add(thread.join().map_err(|_| anyhow!("a client broke"))??);
    }
    Ok(all)
}

fn one(aim: &Aim, number: usize, first: Instant, period: Duration) -> Result<Tally> {
    // Many threads share a core with the upstream: whoever is to send now does, and whoever has its answer says so.
    cpu::precede()?;
    let mut tally = Tally::default();
    let request = http1::request(&aim.host(number), false);
    let mut stream = TcpStream::connect(aim.address)?;
    stream.set_nodelay(true)?;
    let (mut due, mut buffer) = (first, vec![0; 64 * 1024]);
    while due < aim.until {
        sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&request)?;
        let mut filled = 0;
        while !http1::whole(&buffer[..filled])? {
            let read = stream.read(&mut buffer[filled..])?;
            if read == 0 {
                return Err(anyhow!("the connection ended in an answer"));
            }
            filled += read;
        }
        tally.note(due);
        due += period;
    }
    Ok(tally)
}
