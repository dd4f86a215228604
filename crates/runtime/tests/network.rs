//! Instances' networks on the real kernel: who reaches whom, names, and that nothing is left. Needs root, `nft` and `ip`; skipped loudly without.
//!
//! Pools, tables and names are this run's own, so that a server on the same host and other test runs are not disturbed.

#![allow(clippy::print_stderr, reason = "a skipped test has to be loud")]

use nix::sched::{CloneFlags, setns};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;
use teal_runtime::network::{Error, Link, Network, NetworkConfig};

/// Far beyond what any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a dropped packet is waited for, where it must not get through.
const DROPPED: Duration = Duration::from_millis(700);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A number of this test alone, on this machine.
fn number() -> u8 {
    let own = std::process::id().wrapping_mul(13).wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed));
    u8::try_from(own % 251).expect("below 251")
}

/// A process in a network namespace of its own.
struct Guest(Child);

impl Guest {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "1000"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let guest = Self(child);
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        wait("the namespace", || {
            let theirs = namespace(&guest.pid().to_string());
            theirs.is_some() && theirs != namespace("self")
        });
        guest
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs `work` on a thread inside.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).expect("the namespace");
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).expect("entered");
                work()
            });
            inside.join().expect("the thread inside")
        })
    }

    /// Something that answers every connection with one byte, inside; it goes with the test.
    fn listen(&self) -> u16 {
        self.run(|| serve(TcpListener::bind("0.0.0.0:0").expect("a port"), usize::MAX))
    }

    /// The same for one connection: a thread that stays would keep the namespace alive.
    fn listen_once(&self) -> u16 {
        self.run(|| serve(TcpListener::bind("0.0.0.0:0").expect("a port"), 1))
    }

    fn reaches(&self, to: SocketAddr) -> bool {
        self.run(|| reaches(to))
    }

    fn is_kept_from(&self, to: SocketAddr) -> bool {
        self.run(|| !reaches_within(to, DROPPED))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

struct Rig {
    network: Option<Network>,
    config: NetworkConfig,
    runtime: tokio::runtime::Runtime,
    _state: tempfile::TempDir,
}

impl Rig {
    fn new(name: &str) -> Option<Self> {
        Self::with(name, |_| ())
    }

    fn with(name: &str, change: impl FnOnce(&mut NetworkConfig)) -> Option<Self> {
        let missing = ["/usr/sbin/nft", "/usr/sbin/ip"].into_iter().find(|path| !Path::new(path).exists());
        if !nix::unistd::geteuid().is_root() || missing.is_some() {
            eprintln!(
                "SKIPPED: `{name}` needs root, nft (apt-get install -y nftables) and ip (apt-get install -y iproute2)"
            );
            return None;
        }
        let (state, number) = (tempfile::tempdir().expect("a directory"), number());
        let mut config = NetworkConfig::new(state.path().to_owned());
        config.pool = (Ipv4Addr::new(10, 178, number, 0), 24);
        config.table = format!("teal_test_{}_{number}", std::process::id());
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let network = Some(Network::open(config.clone()).expect("opens"));
        Some(Self { network, config, runtime, _state: state })
    }

    fn network(&self) -> &Network {
        self.network.as_ref().expect("open")
    }

    fn attach(&self, name: &str, guest: &Guest, egress: bool) -> Link {
        self.runtime.block_on(self.network().attach(&id(name), guest.pid(), egress)).expect("attached")
    }

    fn detach(&self, name: &str) {
        self.runtime.block_on(self.network().detach(&id(name))).expect("detached");
    }

    /// What a restart of the server does.
    fn reopen(&mut self) {
        drop(self.network.take());
        self.network = Some(Network::open(self.config.clone()).expect("opens again"));
    }

    fn table(&self) -> String {
        let listed = Command::new("/usr/sbin/nft")
            .args(["list", "table", "inet", &self.config.table])
            .output()
            .expect("nft");
        String::from_utf8_lossy(&listed.stdout).into_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let Some(network) = self.network.take() else { return };
        let ids: Vec<_> = network.list().into_iter().map(|(id, _)| id).collect();
        ids.iter().for_each(|id| drop(self.runtime.block_on(network.detach(id))));
        let _gone = self.runtime.block_on(network.uninstall());
        if !thread::panicking() {
            assert_eq!(self.table(), "", "the table is left");
        }
    }
}

fn id(text: &str) -> InstanceId {
    text.parse().expect("legal")
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "never came: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Answers so many connections with one byte each, on a thread of the same namespace.
fn serve(listener: TcpListener, connections: usize) -> u16 {
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        listener.incoming().flatten().take(connections).for_each(|mut stream| drop(stream.write_all(b"!")));
    });
    port
}

/// Connects and hears the byte.
fn reaches(to: SocketAddr) -> bool {
    reaches_within(to, PATIENCE)
}

fn reaches_within(to: SocketAddr, patience: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, patience) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.read_exact(&mut [0]).is_ok()
}

fn ip(arguments: &str) {
    let done = Command::new("/usr/sbin/ip").args(arguments.split(' ')).status().expect("ip");
    assert!(done.success(), "ip {arguments}");
}

fn interface_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

#[test]
fn the_host_reaches_instances_and_they_reach_neither_it_nor_each_other() {
    let Some(rig) = Rig::new("isolation") else { return };
    let (one, two) = (Guest::new(), Guest::new());
    let (first, second) = (rig.attach("e-1-0", &one, true), rig.attach("e-2-0", &two, true));
    let (at_one, at_two) = (one.listen(), two.listen());
    assert!(reaches((first.address, at_one).into()), "host to instance");
    assert!(reaches((second.address, at_two).into()), "host to instance");
    assert!(one.reaches((Ipv4Addr::LOCALHOST, at_one).into()), "an instance's own loopback");
    assert!(one.is_kept_from((second.address, at_two).into()), "instance to instance");
    assert!(two.is_kept_from((first.address, at_one).into()), "instance to instance");
    let at_host = serve(TcpListener::bind("0.0.0.0:0").expect("a port"), usize::MAX);
    assert!(reaches((first.gateway, at_host).into()), "the listener works");
    for address in [first.gateway, second.gateway] {
        assert!(one.is_kept_from((address, at_host).into()), "instance to the host at {address}");
    }
}

/// A namespace that plays the outside: a public address, and a private one as a mirror's.
struct Outside {
    guest: Guest,
    interface: String,
    public: Ipv4Addr,
    mirror: Ipv4Addr,
}

impl Outside {
    fn new(number: u8) -> Self {
        let (guest, interface) = (Guest::new(), format!("tto{}n{number}", std::process::id() % 100_000));
        let (public, mirror) = (Ipv4Addr::new(203, 0, 113, number), Ipv4Addr::new(172, 29, number, 2));
        ip(&format!("link add {interface} type veth peer name eth0 netns {}", guest.pid()));
        ip(&format!("addr add 172.29.{number}.1/24 dev {interface}"));
        ip(&format!("link set {interface} up"));
        guest.run(|| {
            ip(&format!("addr add {mirror}/24 dev eth0"));
            ip("link set eth0 up");
            ip(&format!("addr add {public}/32 dev eth0"));
        });
        ip(&format!("route add {public}/32 via {mirror}"));
        // What `attach` does for the interface of a default route, which this is not.
        fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"), "1").expect("set");
        Self { guest, interface, public, mirror }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _gone = Command::new("/usr/sbin/ip")
            .args(["link", "del", &self.interface])
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn a_forged_source_address_goes_nowhere() {
    let number = number();
    let Some(rig) = Rig::new("forged") else { return };
    let outside = Outside::new(number);
    let guest = Guest::new();
    let link = rig.attach("e-1-0", &guest, true);
    let heard = outside.guest.run(|| UdpSocket::bind("0.0.0.0:0").expect("a port"));
    heard.set_read_timeout(Some(PATIENCE)).expect("set");
    let to = SocketAddr::from((outside.public, heard.local_addr().expect("bound").port()));
    let forged = Ipv4Addr::new(172, 29, number, 77);
    guest.run(|| ip(&format!("addr add {forged}/32 dev eth0")));
    for (from, text) in [(forged, b"forged"), (link.address, b"honest")] {
        guest.run(|| UdpSocket::bind((from, 0)).expect("a port").send_to(text, to).expect("sent"));
    }
    let mut first = [0; 6];
    heard.recv(&mut first).expect("the second one comes through");
    assert_eq!(&first, b"honest");
}

#[test]
fn the_outside_is_reached_with_egress_only_and_private_ranges_by_builds_where_opened() {
    let number = number();
    let open =
        |config: &mut NetworkConfig| config.egress_allow = vec![(Ipv4Addr::new(172, 29, number, 0), 24)];
    let Some(rig) = Rig::with("outside", open) else { return };
    let outside = Outside::new(number);
    let port = outside.guest.listen();
    let (public, mirror) = ((outside.public, port).into(), (outside.mirror, port).into());
    assert!(reaches(public) && reaches(mirror), "the host itself reaches both");
    let (app, build, closed) = (Guest::new(), Guest::new(), Guest::new());
    rig.attach("e-1-0", &app, true);
    rig.attach("b-1", &build, true);
    rig.attach("b-2", &closed, false);
    assert!(app.reaches(public), "NAT to the outside");
    assert!(app.is_kept_from(mirror), "a private range is closed to instances");
    assert!(build.reaches(public) && build.reaches(mirror), "opened for builds");
    assert!(closed.is_kept_from(public) && closed.is_kept_from(mirror), "no egress, no outside");
    rig.attach("b-2", &closed, true);
    assert!(closed.reaches(public), "egress can be given later");
}

/// Answers each question with its own bytes, marked as a response.
fn resolver() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("bound");
    let udp = UdpSocket::bind(address).expect("the same port");
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            let _gone = udp.send_to(&buffer[..length], from);
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut message = vec![0; 2];
            if stream.read_exact(&mut message).is_ok() {
                let length = usize::from(u16::from_be_bytes([message[0], message[1]]));
                message.resize(2 + length, 0);
                let _gone = stream.read_exact(&mut message[2..]);
                message[4] |= 0x80;
                let _gone = stream.write_all(&message);
            }
        }
    });
    address
}

const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04teal\x04test\x00\x00\x01\x00\x01";

fn ask_udp(gateway: Ipv4Addr, patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    socket.set_read_timeout(Some(patience)).expect("set");
    socket.connect((gateway, 53)).expect("an address");
    socket.send(QUESTION).ok()?;
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

fn ask_tcp(gateway: Ipv4Addr) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&(gateway, 53).into(), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let length = u16::try_from(QUESTION.len()).expect("short").to_be_bytes();
    stream.write_all(&[&length[..], QUESTION].concat()).ok()?;
    let mut answer = vec![0; 2 + QUESTION.len()];
    stream.read_exact(&mut answer).ok()?;
    Some(answer.split_off(2))
}

fn expected() -> Vec<u8> {
    let mut answer = QUESTION.to_vec();
    answer[2] |= 0x80;
    answer
}

#[test]
fn names_are_answered_on_the_gateway_also_after_a_restart() {
    let server = resolver();
    let Some(mut rig) = Rig::with("names", |config| config.resolvers = vec![server]) else { return };
    let (guest, closed) = (Guest::new(), Guest::new());
    let link = rig.attach("e-1-0", &guest, true);
    let without = rig.attach("e-2-0", &closed, false);
    assert_eq!(closed.run(|| ask_udp(without.gateway, DROPPED)), None, "no egress, no names");
    for _ in 0..2 {
        assert_eq!(guest.run(|| ask_udp(link.gateway, PATIENCE)), Some(expected()));
        assert_eq!(guest.run(|| ask_tcp(link.gateway)), Some(expected()));
        assert_eq!(guest.run(|| ask_udp(without.gateway, DROPPED)), None, "another's gateway");
        rig.reopen();
        assert_eq!(rig.network().find(&id("e-1-0")), Some(link.clone()), "found again");
    }
}

#[test]
fn an_unreachable_name_server_is_told_and_not_waited_for_forever() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let Some(rig) = Rig::with("silent", |config| config.resolvers = vec![address]) else { return };
    let guest = Guest::new();
    let link = rig.attach("e-1-0", &guest, true);
    let answer = guest.run(|| ask_udp(link.gateway, PATIENCE)).expect("a refusal");
    assert_eq!(answer[3] & 0x0f, 2, "SERVFAIL");
}

#[test]
fn detaching_leaves_nothing_and_the_address_rests() {
    let Some(rig) = Rig::new("detach") else { return };
    let guest = Guest::new();
    let link = rig.attach("e-1-0", &guest, true);
    assert_eq!(rig.attach("e-1-0", &guest, true), link, "twice the same");
    assert!(interface_exists(&link.host_interface) && rig.table().contains(&link.host_interface));
    assert!(rig.config.state.join("network.json").exists());
    for _ in 0..2 {
        rig.detach("e-1-0");
    }
    assert!(!interface_exists(&link.host_interface));
    assert!(!rig.table().contains(&link.host_interface));
    assert!(rig.network().list().is_empty());
    assert!(!guest.run(|| interface_exists_inside("eth0")));
    assert_ne!(rig.attach("e-2-0", &guest, true).address, link.address);
}

/// `/sys` shows the namespace that it was mounted in; this one the thread's.
fn interface_exists_inside(name: &str) -> bool {
    fs::read_to_string("/proc/thread-self/net/dev").expect("the list").contains(&format!("{name}:"))
}

#[test]
fn an_instance_that_starts_again_keeps_its_address() {
    let Some(rig) = Rig::new("again") else { return };
    let first = Guest::new();
    let link = rig.attach("e-1-0", &first, true);
    let second = Guest::new();
    assert_eq!(rig.attach("e-1-0", &second, true), link, "a new namespace while the old one is there");
    assert!(reaches((link.address, second.listen_once()).into()));
    drop((first, second));
    wait("the kernel takes the interface away with the namespace", || {
        !interface_exists(&link.host_interface)
    });
    let third = Guest::new();
    assert_eq!(rig.attach("e-1-0", &third, true), link);
    assert!(reaches((link.address, third.listen_once()).into()));
}

#[test]
fn a_pool_that_the_host_uses_and_the_hosts_own_namespace_are_refused() {
    let Some(mut rig) = Rig::new("refused") else { return };
    let own = rig.runtime.block_on(rig.network().attach(&id("e-1-0"), std::process::id(), true));
    assert!(matches!(own, Err(Error::Namespace { .. })), "{own:?}");
    let interface = format!("ttd{}", std::process::id());
    ip(&format!("link add {interface} type veth peer name {interface}p"));
    ip(&format!("addr add {}/26 dev {interface}", Ipv4Addr::from_bits(rig.config.pool.0.to_bits() + 65)));
    ip(&format!("link set {interface} up"));
    let refused = Network::open(rig.config.clone());
    ip(&format!("link del {interface}"));
    let message = refused.expect_err("overlaps").to_string();
    assert!(message.contains("overlaps the host's route"), "{message}");
    rig.reopen();
}

#[test]
fn a_pool_may_change_only_without_instances() {
    let Some(mut rig) = Rig::new("changed") else { return };
    let guest = Guest::new();
    rig.attach("e-1-0", &guest, true);
    let mut other = rig.config.clone();
    other.pool = (Ipv4Addr::new(10, 179, number(), 0), 24);
    let message = Network::open(other.clone()).expect_err("an instance runs").to_string();
    assert!(message.contains("former pool"), "{message}");
    rig.detach("e-1-0");
    rig.config = other;
    rig.reopen();
    assert_eq!(rig.attach("e-1-0", &guest, true).address.octets()[1], 179);
}
