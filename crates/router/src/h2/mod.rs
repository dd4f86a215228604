//! HTTP/2 towards clients: hyper speaks it, and each request goes through the same HTTP/1.1 path as everybody's, as text. So there is one
//! set of rules about what may be forwarded, and no second way to an instance.
//!
//! It must never forward what HTTP/1.1 would not let through: nothing here is trusted by what comes behind.

mod answer;
mod pipe;
mod request;
mod stall;

pub(crate) use pipe::Pipe;

use crate::{
    metrics::Own,
    serve::{self, Client, Origin},
    wire::Wire,
    worker::Worker,
};
use answer::{Answer, Outbound, Writer};
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

/// Requests that one client may have under way at once.
const STREAMS: u32 = 128;
/// What of an answer may wait in hyper for its client.
const PIPE: usize = 64 * 1024;
/// A client that sends nothing for this long is asked whether it is there, and has as long to answer.
const ALIVE: Duration = Duration::from_secs(60);

/// Serves one client until it goes or the router stops.
pub(crate) async fn connection(worker: Rc<Worker>, wire: Wire, origin: Origin) {
    let mut leaving = pin!(worker.leaving.clone().cancelled_owned());
    let builder = builder(&worker);
    let service = service_fn(move |request| answer(Rc::clone(&worker), origin.clone(), request));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = leaving.as_mut() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}

fn builder(worker: &Worker) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local { stalled: worker.limits.stalled });
    let lines = u32::try_from(worker.limits.head_bytes).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(lines)
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(PIPE);
    builder
}

/// Answers one request, in the stream's own task as far as it goes without waiting for the client.
async fn answer(
    worker: Rc<Worker>,
    origin: Origin,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let Some((inbound, is_head)) = request::translated(request) else {
        worker.observer.edge.unrouted(Own::Refused);
        return Ok(Answer::refusal(StatusCode::BAD_REQUEST));
    };
    let outbound = Outbound::new(is_head);
    let client = Client::new(&worker, Wire::stream(Pipe::new(inbound, Rc::clone(&outbound))), origin);
    let mut serving = Box::pin(serve::connection(Rc::clone(&worker), client));
    let is_over = poll_fn(|cx| match serving.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if outbound.borrow().has_head() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    let writer = if is_over.await {
        outbound.borrow_mut().end();
        None
    } else {
        let end = Rc::clone(&outbound);
        let rest = async move {
            serving.await;
            end.borrow_mut().end();
        };
        Some(Writer(worker.tasks.spawn_local(rest).abort_handle()))
    };
    Ok(Answer::of(outbound, writer))
}

/// Runs hyper's tasks, one for each stream, on this very thread.
#[derive(Debug, Clone, Copy)]
struct Local {
    /// A client may let an answer stand still for this long.
    stalled: Duration,
}

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(stall::watched(self.stalled, task));
    }
}
