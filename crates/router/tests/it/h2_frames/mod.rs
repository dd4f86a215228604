//! Conformance of the router's HTTP/2, frame by frame: the cases of h2spec written anew (its names are kept), and more from RFC 9113, RFC 8441
//! and RFC 7541. Each case has a connection of its own to the real router over TLS; nothing here knows what the router is made of.

mod block;
mod case;
mod connection;
mod floods;
mod frame;
mod generic;
mod messages;
mod slow;
mod starting;
mod states;
mod types;

use crate::{
    app::{App, gate, respond},
    rig::{Rig, route},
    secure::{Trust, give, https, secure},
};
use case::Case;
use std::{sync::Arc, thread};
use tokio_rustls::rustls::ClientConfig;

/// As many at once, so that one that waits costs nobody else time.
const THREADS: usize = 6;

/// A router with a certificate, an app behind it, and what a client needs to come to it.
pub(crate) struct Site {
    pub(crate) rig: Rig,
    pub(crate) app: App,
    pub(crate) client: Arc<ClientConfig>,
}

pub(crate) fn site(app: App) -> Site {
    Site::of(secure(), app)
}

impl Site {
    fn of(mut rig: Rig, app: App) -> Self {
        rig.control.replace(vec![route("e-1", &[app.address])]);
        let mut trust = Trust::default();
        let own = trust.make(&["shop.test"]);
        give(&mut rig, vec![own], Vec::new());
        Self { rig, app, client: trust.client(&["h2"]) }
    }
}

fn all() -> Vec<Case> {
    let parts = [
        generic::frames,
        generic::control,
        generic::exchanges,
        generic::forms,
        starting::beginnings,
        starting::compression,
        states::states,
        states::numbers,
        types::of_streams,
        types::of_connections,
        types::windows,
        types::continuations,
        messages::fields,
        messages::beginnings,
        messages::bodies,
    ];
    parts.into_iter().flat_map(|part| part()).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "how many cases there are is asked for")]
fn every_frame_that_a_client_can_send_gets_what_the_standard_says() {
    let (open, wait) = gate();
    // `/wait` is answered when all is over, so that its streams stay as the case has left them.
    let app = App::answering(move |asked| match asked.path.as_str() {
        "/wait" => wait.pass().and_then(|()| respond(asked, "waited")),
        "/hints" => {
            asked.stream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
            respond(asked, "hinted")
        }
        _ => respond(asked, "an answer of more than three bytes"),
    });
    let site = site(app);
    let (cases, address) = (all(), https(&site.rig));
    let run = |cases: &[Case]| -> Vec<String> {
        cases.iter().filter_map(|case| case.run(address, &site.client).err()).collect()
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let parts: Vec<_> =
            cases.chunks(cases.len().div_ceil(THREADS)).map(|part| scope.spawn(|| run(part))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    });
    drop(open);
    println!("{} cases of HTTP/2", cases.len());
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
    let heads = site.app.seen.heads.lock().expect("sound").join("\n");
    assert!(!heads.contains("/cut"), "a path with a fragment went on: {heads}");
    assert!(!heads.contains("malformed"), "an app has seen what it must not: {heads}");
}
