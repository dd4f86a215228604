//! `teal __rig URL`: one run of the rig for benches and end-to-end tests. The report is JSON on standard output; exits 1 unless it is good.
//! Standard input steers it: a line `back` announces a return to an earlier version, `stays VERSION` takes that back, the end of the input (without --seconds) ends the run.

use super::{Options, Report, Rig, Secure};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
};
use clap::Args;
use std::{
    io::BufRead,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

#[derive(Debug, Args)]
#[command(
    after_help = "Lines on standard input: `back` announces that production goes back to an earlier version, `stays VERSION`
that this one is current after all; `standing` asks for a line of JSON with the counts so far; `halt` begins nothing new and answers once all is answered; `recorded BOOT SEQUENCE ID` tells what the app
recorded, for whoever can read that elsewhere than in its event stream. Without --seconds the run ends with standard input.

Example:
  teal __rig http://127.0.0.1:8080 --app-host shop.localhost --rate 200 --seconds 30"
)]
pub(crate) struct RigArgs {
    /// Where to connect: http://HOST:PORT.
    #[arg(value_name = "TARGET")]
    target: String,
    /// The Host to ask for [default: that of the address].
    #[arg(long, value_name = "HOST")]
    app_host: Option<String>,
    /// Where TLS is spoken: half of the requests go there then, a part of them over HTTP/2.
    #[arg(long, value_name = "ADDRESS", requires = "authority")]
    tls: Option<SocketAddr>,
    /// The certificate (PEM) of the authority that TLS is verified by.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// Requests per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Percent of requests that are POSTs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100))]
    posts: u32,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// WebSockets to hold open.
    #[arg(long, default_value_t = 0)]
    websockets: usize,
    /// Streams of server-sent events to hold open.
    #[arg(long, default_value_t = 1)]
    sse: usize,
    /// Hold streams to old versions until the server ends them.
    #[arg(long)]
    hold: bool,
}

/// Runs it.
pub(crate) fn run(context: &Context, args: RigArgs) -> Result<()> {
    let (target, host) = address(&args.target)?;
    let secure = match (args.tls, &args.authority) {
        (Some(target), Some(authority)) => Some(Secure::new(target, authority)?),
        _ => None,
    };
    let rig = Rig::start(Options {
        target,
        secure,
        host: args.app_host.unwrap_or(host),
        rate: args.rate,
        posts: args.posts,
        websockets: args.websockets,
        streams: args.sse,
        hold: args.hold,
    })?;
    steer(context, &rig, args.seconds.map(Duration::from_secs))?;
    let report = rig.stop();
    let text = serde_json::to_string(&report)
        .map_err(|e| Error::because("the report does not turn into JSON", e))?;
    context.out.raw(&text)?;
    verdict(&report)
}

/// Obeys standard input until it ends or the time is over.
fn steer(context: &Context, rig: &Rig, time: Option<Duration>) -> Result<()> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let until = time.map(|time| Instant::now() + time);
    loop {
        let left =
            until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
        match lines.recv_timeout(left) {
            Ok(line) => obey(context, rig, line.trim())?,
            Err(mpsc::RecvTimeoutError::Timeout) if until.is_some() => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                // With a time given the run goes on without anybody to steer it.
                if let Some(until) = until {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                }
                return Ok(());
            }
        }
    }
}

fn obey(context: &Context, rig: &Rig, line: &str) -> Result<()> {
    match line {
        "" => Ok(()),
        "back" => {
            rig.expect_back();
            context.out.raw(r#"{"back":true}"#)
        }
        "standing" => {
            let standing = rig.standing();
            let view = serde_json::json!({
                "requests": standing.requests, "failed": standing.failed, "version": standing.version, "untold": standing.untold,
                "elapsed_ms": rig.elapsed_ms()
            });
            context.out.raw(&view.to_string())
        }
        "halt" => {
            rig.halt();
            context.out.raw(r#"{"halted":true}"#)
        }
        other if other.starts_with("stays ") => {
            rig.stays(other.trim_start_matches("stays "));
            context.out.raw(r#"{"back":false}"#)
        }
        // Not answered: there are thousands of them.
        other if other.strip_prefix("recorded ").is_some_and(|words| rig.recorded(words)) => Ok(()),
        other => {
            let error = Error::usage(format!("the rig does not know `{other}`"));
            Err(error.hint("say `back`, `stays VERSION`, `standing`, `halt` or `recorded BOOT SEQUENCE ID`"))
        }
    }
}

fn verdict(report: &Report) -> Result<()> {
    if report.ok {
        return Ok(());
    }
    let why = if report.valid {
        format!("{} of {} failed", report.failed, report.requests)
    } else {
        report.why_not_valid.join("; ")
    };
    Err(Error::new(Kind::Verdict, format!("the run is red: {why}")))
}

fn address(url: &str) -> Result<(SocketAddr, String)> {
    let wrong = || Error::usage(format!("`{url}` is not http://HOST:PORT"));
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
    let port = authority.port_u16().unwrap_or(80);
    let mut addresses =
        (authority.host().trim_matches(['[', ']']), port).to_socket_addrs().map_err(|_| wrong())?;
    Ok((addresses.next().ok_or_else(wrong)?, authority.to_string()))
}
