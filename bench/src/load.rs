//! One run of `wrk` (Debian), a closed-loop client, and what it says.

use crate::cpu;
use anyhow::{Context, Result, bail};
use std::{net::SocketAddr, process::Command};

/// What to ask, and how.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    /// A new connection for each request.
    pub(crate) close: bool,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: f64,
    pub(crate) errors: f64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Eight lines as a browser sends them.
pub(crate) const HEADERS: [&str; 7] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
    "Cache-Control: max-age=0",
    "Upgrade-Insecure-Requests: 1",
];

impl Load {
    /// Loads one proxy for so many seconds.
    pub(crate) fn run(&self, target: SocketAddr, host: &str, seconds: u64) -> Result<Outcome> {
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency", &format!("-c{}", self.connections), &format!("-d{seconds}s")]);
        command.args(["-H", &format!("Host: {host}")]);
        for header in HEADERS {
            command.args(["-H", header]);
        }
        if self.close {
            command.args(["-H", "Connection: close"]);
        }
        command.arg(format!("http://{target}{}", self.path));
        cpu::pin(&mut command, cpu::OTHERS)?;
        let output = command.output().context("wrk does not run")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        parse(&text).with_context(|| text.clone())
    }
}

fn parse(text: &str) -> Option<Outcome> {
    let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start));
    let mut words =
        text.lines().map(str::trim).find(|line| line.contains(" requests in "))?.split_whitespace();
    let requests = words.next()?.parse().ok()?;
    let seconds = micros(words.nth(2)?.trim_end_matches(','))? / 1e6;
    let percentile = |name: &str| micros(line(name)?.split_whitespace().nth(1)?);
    Some(Outcome {
        requests,
        seconds,
        errors: errors(text),
        p50_us: percentile("50%")?,
        p99_us: percentile("99%")?,
    })
}

/// `Socket errors: connect 0, read 3, …` and `Non-2xx or 3xx responses: 4`.
fn errors(text: &str) -> f64 {
    let lines = text.lines().filter(|line| line.contains("errors:") || line.contains("Non-2xx"));
    let numbers = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_digit() && c != '-' && c != 'x'));
    numbers.filter_map(|word| word.parse::<f64>().ok()).fold(0.0, |all, number| all + number.max(0.0))
}

/// `1.20ms` and its like, in microseconds.
fn micros(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic())?);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let text = "Running 1s test @ http://x\n  Latency Distribution\n     50%  501.00us\n     75%  609.00us\n     99%    1.20ms\n  15339 requests in 1.10s, 17.72MB read\n  Socket errors: connect 0, read 3, write 0, timeout 0\n  Non-2xx or 3xx responses: 4\nRequests/sec:  13930.67\n";
        let outcome = parse(text).expect("parses");
        assert_eq!((outcome.requests, outcome.seconds, outcome.errors), (15_339.0, 1.1, 7.0));
        assert_eq!((outcome.p50_us, outcome.p99_us), (501.0, 1_200.0));
    }
}
