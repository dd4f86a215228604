//! What the tests of sandboxes and those of virtual machines share: waiting for a state, reading a log, asking an app.
//!
//! Both rigs are built on it. It knows no kind of instance, and never waits longer than it is told.

pub(crate) mod pings;
pub(crate) mod trouble;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;
use teal_runtime::{LogLine, Outcome, Runtime, State};

/// How soon one looks again.
const AGAIN: Duration = Duration::from_millis(20);

/// What was asked for, which the test cannot go on without.
pub(crate) fn done<T: std::fmt::Debug>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Done(value) => value,
        other => panic!("not done: {other:?}"),
    }
}

/// The lines of an instance's log; none if it has none.
pub(crate) fn lines(log: &Path) -> Vec<LogLine> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a log line")).collect()
}

/// Waits until the instance's state is as wanted, and answers it.
pub(crate) async fn until(
    runtime: &impl Runtime,
    id: &InstanceId,
    patience: Duration,
    wanted: impl Fn(&State) -> bool,
) -> State {
    let end = Instant::now() + patience;
    loop {
        let look = runtime.inspect(id).await;
        if let Outcome::Done(inspection) = &look
            && wanted(&inspection.state)
        {
            return inspection.state.clone();
        }
        assert!(Instant::now() < end, "{id} is still {look:?}; its log: {:#?}", lines(&runtime.log(id)));
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until the log has this line so many times.
pub(crate) async fn until_line(log: &Path, patience: Duration, text: &str, count: usize) {
    let end = Instant::now() + patience;
    while lines(log).iter().filter(|line| line.text == text).count() < count {
        assert!(Instant::now() < end, "no line `{text}` in {:#?}", lines(log));
        tokio::time::sleep(AGAIN).await;
    }
}

/// What an app answers to GET: its body. It is waited for so long for a connection, and so long for the answer.
pub(crate) fn get(
    address: SocketAddr,
    path: &str,
    (connect, answer): (Duration, Duration),
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, connect)?;
    stream.set_read_timeout(Some(answer))?;
    // In one piece: a machine that is under way elsewhere would see a request of several packets late.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: app\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other(text.clone()))?;
    if head.contains(" 200 ") { Ok(body.to_owned()) } else { Err(std::io::Error::other(text.clone())) }
}
