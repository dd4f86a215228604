//! WebSockets through the router: Autobahn's cases written anew as data, because its program wants a Python that is gone. Each runs against a real
//! echo twice, directly and through the router, and what comes back must be the same, frame by frame, to the end of the connection; and right.

mod case;
mod framing;
mod text;
mod wire;

use crate::{
    app::{App, Seen},
    rig::{Rig, route},
};
use case::Case;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
};
use tokio_tungstenite::tungstenite::{
    self, Error, WebSocket,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

const THREADS: usize = 4;

/// Tungstenite; what it finds wrong it says with the code that is due.
fn echo() -> App {
    App::raw(Arc::<Seen>::default(), |stream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        loop {
            let failed = match socket.read() {
                Ok(message) if message.is_text() || message.is_binary() => socket.send(message).err(),
                Ok(_) => socket.flush().err(),
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                fail(&mut socket, &error);
                return;
            }
        }
    })
}

fn fail(socket: &mut WebSocket<TcpStream>, error: &Error) {
    let code = match error {
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Protocol(_) => CloseCode::Protocol,
        Error::Capacity(_) => CloseCode::Size,
        _ => return settle(socket.get_mut()),
    };
    let _ = socket.close(Some(CloseFrame { code, reason: "".into() }));
    let _ = socket.flush();
    settle(socket.get_mut());
}

/// Closes so that nothing that was said is lost to a reset: the client's last bytes are read first.
fn settle(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

/// An echo that has compression (RFC 7692) without a memory from one message to the next: a compressed message goes back as it came.
fn compressing() -> App {
    App::raw(Arc::<Seen>::default(), |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let asked = String::from_utf8_lossy(&head).to_ascii_lowercase();
        assert!(
            asked.contains("permessage-deflate; client_no_context_takeover"),
            "the offer came through: {asked}"
        );
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                      Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).and_then(|()| mirror(&mut stream));
        settle(&mut stream);
    })
}

/// Each frame goes back without its mask, up to the close.
fn mirror(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        let mut extended = vec![0; [0, 2, 8][usize::from((head[1] & 0x7f).saturating_sub(125))]];
        stream.read_exact(&mut extended)?;
        let length = match extended.len() {
            0 => usize::from(head[1] & 0x7f),
            _ => extended.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let (mut mask, mut payload) = ([0; 4], vec![0; length]);
        stream.read_exact(&mut mask)?;
        stream.read_exact(&mut payload)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        stream.write_all(&[&[head[0], head[1] & 0x7f], &extended[..], &payload].concat())?;
        if head[0] & 0xf == case::CLOSE {
            return Ok(());
        }
    }
}

fn run(cases: &[Case], direct: SocketAddr, routed: SocketAddr) {
    let failed: Vec<String> = thread::scope(|scope| {
        let part = |part| {
            move || -> Vec<String> {
                let part: &[Case] = part;
                part.iter().filter_map(|case| case.run(direct, routed).err()).collect()
            }
        };
        let parts: Vec<_> =
            cases.chunks(cases.len().div_ceil(THREADS)).map(|cases| scope.spawn(part(cases))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    });
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[test]
#[expect(clippy::print_stdout, reason = "how many cases there are is asked for")]
fn what_comes_back_through_the_router_is_what_comes_back_directly() {
    let (mut rig, echo) = (Rig::start(), echo());
    rig.control.replace(vec![route("e-1", &[echo.address])]);
    let parts = [
        framing::sizes,
        framing::pings,
        framing::reserved,
        framing::fragments,
        framing::closing,
        framing::limits,
        text::utf8,
    ];
    let cases: Vec<Case> = parts.into_iter().flat_map(|part| part()).collect();
    run(&cases, echo.address, rig.http());
    println!("{} of Autobahn's cases, each directly and through the router", cases.len());
}

#[test]
#[expect(clippy::print_stdout, reason = "how many cases there are is asked for")]
fn compressed_messages_come_back_as_they_are() {
    let (mut rig, echo) = (Rig::start(), compressing());
    rig.control.replace(vec![route("e-1", &[echo.address])]);
    let cases = text::compressed();
    run(&cases, echo.address, rig.http());
    println!("{} of Autobahn's cases of compression, each directly and through the router", cases.len());
}
