//! The one nftables table of Teal: our own fixed text, swapped as a whole in one kernel transaction.
//!
//! Only names that this crate made (hexadecimal interface names, addresses, the checked table name) are put into it. No other table is read or
//! changed: where another firewall drops forwarded packets, ours cannot overrule it (`doctor` says so).

use super::{Error, pool::Range};
use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The longest that `nft` may take.
const NFT_WAIT: Duration = Duration::from_secs(20);
/// What is kept of its complaints, in bytes.
const MAX_COMPLAINT: u64 = 4096;
/// What is kept of its answers, in bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// Where no instance may go: this network, private, shared, loopback, link-local, test, benchmark, multicast and reserved ranges.
const CLOSED: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3";

/// What the rules need to know of one attached instance.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) interface: String,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) address: Ipv4Addr,
    pub(crate) egress: bool,
    /// The sandbox of a build: it may reach the ranges that the operator opened for builds.
    pub(crate) build: bool,
}

/// The whole table as text.
pub(crate) fn render(table: &str, pool: Range, guests: &[Guest], allowed: &[Range]) -> String {
    let mut text = format!("table inet {table} {{}}\ndelete table inet {table}\ntable inet {table} {{\n");
    let name = |guest: &Guest| format!("\"{}\"", guest.interface);
    let sets = [
        ("links", "ifname", guests.iter().map(name).collect()),
        ("egress", "ifname", guests.iter().filter(|guest| guest.egress).map(name).collect()),
        ("builds", "ifname", guests.iter().filter(|guest| guest.egress && guest.build).map(name).collect()),
        (
            "guests",
            "ifname . ipv4_addr",
            guests.iter().map(|guest| format!("{} . {}", name(guest), guest.address)).collect(),
        ),
        (
            "gateways",
            "ifname . ipv4_addr",
            guests.iter().map(|guest| format!("{} . {}", name(guest), guest.gateway)).collect(),
        ),
        ("allowed", "ipv4_addr; flags interval; auto-merge", allowed.iter().map(Range::to_string).collect()),
        ("closed", "ipv4_addr; flags interval; auto-merge", vec![CLOSED.to_owned(), pool.to_string()]),
    ];
    sets.iter().for_each(|(name, kind, elements)| set(&mut text, name, kind, elements));
    text.push_str(&chains(pool));
    text
}

fn set(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    // An empty list of elements is a syntax error.
    let held = if elements.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}; ", elements.join(", "))
    };
    let _infallible = writeln!(text, "  set {name} {{ type {kind}; {held}}}");
}

/// What is for an instance that is no more never leaves this host, and whoever would connect to it learns so at once: the kernel of a dead
/// machine cannot say it. Any link of ours is one to somebody: rules of another pool that were left behind must not come between.
fn chains(pool: Range) -> String {
    format!(
        "  chain input {{
    type filter hook input priority -10; policy accept;
    iifname @links jump to_host
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname @links jump from_instance
    oifname @links jump to_instance
  }}
  chain output {{
    type filter hook output priority -10; policy accept;
    ip daddr {pool} oifname != \"tl*\" oifname != \"lo\" jump to_nobody
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {pool} oifname != @links masquerade
  }}
  chain to_host {{
    iifname . ip saddr != @guests drop
    meta nfproto ipv6 drop
    ct state established,related accept
    iifname @egress iifname . ip daddr @gateways meta l4proto {{ tcp, udp }} th dport 53 accept
    drop
  }}
  chain to_nobody {{
    meta l4proto tcp reject with tcp reset
    drop
  }}
  chain from_instance {{
    iifname . ip saddr != @guests drop
    meta nfproto ipv6 drop
    oifname @links drop
    ip daddr {pool} drop
    iifname != @egress drop
    iifname @builds ip daddr @allowed accept
    ip daddr @closed drop
    accept
  }}
  chain to_instance {{
    ct state established,related accept
    drop
  }}
}}
"
    )
}

/// Replaces the table.
pub(crate) fn install(text: &str) -> Result<(), Error> {
    run(&["-f", "-"], text).map(drop)
}

/// Lets `nft` and the kernel check a table without installing it.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    run(&["-c", "-f", "-"], text).map(drop)
}

/// Removes the table, if it is there.
pub(crate) fn uninstall(table: &str) -> Result<(), Error> {
    run(&["-f", "-"], &format!("table inet {table} {{}}\ndelete table inet {table}\n")).map(drop)
}

/// All chains of this host, as JSON.
pub(crate) fn chains_json() -> Result<String, Error> {
    run(&["-j", "list", "chains"], "")
}

/// Where `nft` is: not always in the PATH of an ordinary service.
pub(crate) fn binary() -> Option<PathBuf> {
    ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// Runs `nft` and answers what it prints.
fn run(arguments: &[&str], input: &str) -> Result<String, Error> {
    let binary = binary().ok_or(Error::NoNft)?;
    let failed = |source| Error::Io { what: "nft could not be run".to_owned(), source };
    let mut child = spawn(&binary, arguments).map_err(failed)?;
    let complaint = gather(child.stderr.take(), MAX_COMPLAINT);
    let answer = gather(child.stdout.take(), MAX_ANSWER);
    // nft reads all of it before it does anything; if it ends early, its complaint says why.
    let _broken_pipe = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let status = wait(&mut child).map_err(failed)?;
    let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
    if status { Ok(text(answer)) } else { Err(Error::Nft(text(complaint).trim().to_owned())) }
}

/// Reads the beginning of a stream on a thread of its own; the rest is thrown away, so that the writer never waits.
fn gather(stream: Option<impl Read + Send + 'static>, limit: u64) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            let _cut = stream.by_ref().take(limit).read_to_end(&mut kept);
            let _rest = std::io::copy(&mut stream, &mut std::io::sink());
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

fn spawn(binary: &Path, arguments: &[&str]) -> std::io::Result<Child> {
    Command::new(binary)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Whether it ended well; it is ended after [`NFT_WAIT`].
fn wait(child: &mut Child) -> std::io::Result<bool> {
    let until = Instant::now() + NFT_WAIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(last: u8, egress: bool, build: bool) -> Guest {
        let (gateway, address) = (Ipv4Addr::new(10, 177, 0, last), Ipv4Addr::new(10, 177, 0, last + 1));
        Guest { interface: format!("tl0ab100{last:02x}"), gateway, address, egress, build }
    }

    #[test]
    fn ranges_are_opened_for_builds_with_egress_only() {
        let pool = Range::new(Ipv4Addr::new(10, 177, 0, 0), 16).expect("a range");
        let allowed = [Range::new(Ipv4Addr::new(10, 9, 8, 7), 32).expect("a range")];
        let text = render(
            "teal",
            pool,
            &[guest(1, true, false), guest(5, true, true), guest(9, false, true)],
            &allowed,
        );
        assert!(
            text.contains("set egress { type ifname; elements = { \"tl0ab10001\", \"tl0ab10005\" }; }"),
            "{text}"
        );
        assert!(text.contains("set builds { type ifname; elements = { \"tl0ab10005\" }; }"), "{text}");
        assert!(text.contains("auto-merge; elements = { 10.9.8.7/32 }; }"), "{text}");
    }

    #[test]
    fn empty_sets_are_legal_text() {
        let pool = Range::new(Ipv4Addr::new(10, 177, 0, 0), 16).expect("a range");
        let text = render("teal", pool, &[], &[]);
        assert!(text.contains("set links { type ifname; }"), "{text}");
    }
}
