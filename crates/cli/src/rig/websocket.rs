//! WebSockets with traffic, held open: they must not be cut by a switch; if the server ends one it says 1012 first.

use super::{Shared, ledger::Lane, request::TIME, stream::is_time_to_leave};
use futures_util::{SinkExt, StreamExt};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::Response},
};

/// Between two messages of one WebSocket.
const PAUSE: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TcpStream>;

/// How a WebSocket ended that nobody is to blame for.
enum Ended {
    /// We left.
    ByUs,
    /// The server said 1012 (service restart).
    WithNotice,
}

/// Holds one WebSocket open until the run ends, opening it again whenever it ended.
pub(super) async fn hold(shared: Arc<Shared>, number: usize) {
    tokio::time::sleep(Duration::from_millis(number as u64 * 53 % 1000)).await;
    while !shared.is_stopping() {
        let outcome = tokio::select! {
            outcome = once(&shared, number) => outcome,
            () = shared.stopped() => return,
        };
        match outcome {
            Ok(Ended::ByUs) => {}
            Ok(Ended::WithNotice) => shared.ledger().websockets.ended_with_notice += 1,
            Err((kind, detail)) => {
                let now = shared.now();
                shared.ledger().stream_failed(now, Lane::Websocket, kind, detail);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn once(shared: &Shared, number: usize) -> Result<Ended, (&'static str, String)> {
    let began = shared.now();
    let opened = tokio::time::timeout(TIME, open(shared)).await;
    let opened = opened.map_err(|_| ("websocket not opened", "timed out".into()))?;
    let (mut socket, version) = opened.map_err(|e| ("websocket not opened", e))?;
    {
        let websockets = &mut shared.ledger().websockets;
        websockets.opened += 1;
        let waited = (shared.now() - began) as f64 / 1000.0;
        websockets.slowest_first_ms = websockets.slowest_first_ms.max(waited);
    }
    let mut count = 0u64;
    loop {
        count += 1;
        let text = format!("{number}-{count}");
        if let Err(error) = socket.send(Message::text(text.clone())).await {
            return end_of(&mut socket, error.to_string()).await;
        }
        match tokio::time::timeout(TIME, echo(&mut socket, &text)).await {
            Err(_) => {
                return Err(("websocket silent", format!("no answer to {text} within {} s", TIME.as_secs())));
            }
            Ok(Some(outcome)) => return outcome,
            Ok(None) => shared.ledger().websockets.messages += 1,
        }
        if is_time_to_leave(shared, version.as_deref(), number) {
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
            return Ok(Ended::ByUs);
        }
        // Between messages the end of the connection is looked for, too.
        if let Ok(message) = tokio::time::timeout(PAUSE, socket.next()).await
            && let Some(outcome) = judge(message, None)
        {
            return outcome;
        }
    }
}

/// Reads until the echo of `text` (`None`), or until the end.
async fn echo(socket: &mut Socket, text: &str) -> Option<Result<Ended, (&'static str, String)>> {
    loop {
        let message = socket.next().await;
        if let Some(Ok(Message::Text(answer))) = &message
            && answer.as_str().split_whitespace().last() == Some(text)
        {
            return None;
        }
        if let Some(outcome) = judge(message, Some(text)) {
            return Some(outcome);
        }
    }
}

/// What a message means that is not the awaited echo: `None` if nothing.
fn judge(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    awaited: Option<&str>,
) -> Option<Result<Ended, (&'static str, String)>> {
    let cut = |why: String| Some(Err(("websocket cut", why)));
    match message {
        Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1012 => Some(Ok(Ended::WithNotice)),
        Some(Ok(Message::Close(frame))) => cut(format!("closed with {frame:?}")),
        Some(Ok(Message::Text(text))) => {
            Some(Err(("websocket mixed up", format!("got {text:?}, awaited {awaited:?}"))))
        }
        Some(Ok(_)) => None,
        Some(Err(error)) => cut(error.to_string()),
        None => cut("ended without a close frame".into()),
    }
}

/// After a failed send: a close frame that is still to be read tells more than the error.
async fn end_of(socket: &mut Socket, error: String) -> Result<Ended, (&'static str, String)> {
    let message = tokio::time::timeout(Duration::from_secs(1), socket.next()).await.unwrap_or(None);
    match judge(message, None) {
        Some(Ok(ended)) => Ok(ended),
        _ => Err(("websocket cut", error)),
    }
}

async fn open(shared: &Shared) -> Result<(Socket, Option<String>), String> {
    let stream = TcpStream::connect(shared.options.target).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let request =
        format!("ws://{}/ws", shared.options.host).into_client_request().map_err(|e| e.to_string())?;
    let (socket, response): (Socket, Response<_>) =
        client_async(request, stream).await.map_err(|e| e.to_string())?;
    let version = response.headers().get("x-version").and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok((socket, version))
}
