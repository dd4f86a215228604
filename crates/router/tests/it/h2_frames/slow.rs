//! A client that opens its window a little again and again: it never stands still, and is given up all the same once it is too slow.

use super::{
    Site,
    block::request,
    connection::{Connection, Seen},
    frame::{WHOLE, headers, window},
};
use crate::{
    app::App,
    pace::hurried,
    rig::{Rig, until},
    secure::https,
};
use std::net::SocketAddr;

/// More than the router lets through before it gives up.
const TOO_MUCH: usize = 1024 * 1024 * 1024;
/// What the window is opened by: so little that the app is always ahead, however busy the machine.
const DROP: u32 = 1024;
/// Far more drops than there is time for.
const DROPS: usize = 30_000;

fn taken(seen: &Seen) -> usize {
    seen.data.get(&1).map_or(0, |lengths| lengths.iter().sum())
}

#[test]
fn a_window_that_is_opened_in_drops_is_not_waited_for() {
    let app = App::answering(|asked| {
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n").as_bytes())?;
        loop {
            asked.stream.send(&[b'x'; 65536])?;
        }
    });
    let rig = Rig::with(|options| {
        hurried(options);
        options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    });
    let mut site = Site::of(rig, app);
    let mut connection = Connection::open(https(&site.rig), &site.client, &[(4, 0)]);
    connection.send(&headers(1, WHOLE, &request("GET", "/")));
    assert!(connection.until(|seen| seen.answers.contains_key(&1)), "{:?}", connection.seen);
    let given_up = (0..DROPS).any(|_| {
        let wanted = taken(&connection.seen) + DROP as usize;
        connection.send(&[window(1, DROP), window(0, DROP)].concat());
        connection.until(|seen| taken(seen) >= wanted || seen.resets.contains_key(&1));
        connection.seen.resets.contains_key(&1)
    });
    assert!(given_up && !connection.seen.closed, "only the stream: {:?}", connection.seen.resets);
    until("the app is free", || site.rig.control.counts("e-1").in_flight == 0);
    assert_eq!(site.rig.control.counts("e-1").failed, 0, "the client's doing");
}
