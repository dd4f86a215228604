//! The certificate authority of the tests: the real Pebble, which refuses good nonces at random, on free ports of loopback.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/pebble";
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Pebble {
    child: Child,
    address: SocketAddr,
    pub(crate) ca_file: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
}

impl Pebble {
    /// `http` and `tls`: where it finds the domains that it looks at; `dns`: whom it asks for addresses.
    pub(crate) fn start(directory: &Path, http: u16, tls: u16, dns: SocketAddr) -> Self {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing: `cargo xtask packages` installs it");
        let ca_file = certificates(directory);
        // Pebble does not say which port it got, so that it is given a free one; somebody else may take it in between.
        for _ in 0..10 {
            let address = free();
            let config = serde_json::json!({"pebble": {
                "listenAddress": address, "managementListenAddress": "",
                "certificate": directory.join("pebble.pem"), "privateKey": directory.join("pebble.key"),
                "httpPort": http, "tlsPort": tls, "ocspResponderURL": "", "externalAccountBindingRequired": false,
            }});
            fs::write(directory.join("pebble.json"), config.to_string()).expect("written");
            let (child, log) = spawn(directory, dns);
            let mut pebble = Self { child, address, ca_file: ca_file.clone(), log };
            if pebble.answers() {
                return pebble;
            }
        }
        panic!("Pebble does not start");
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// Lines of its log that contain this.
    pub(crate) fn said(&self, words: &str) -> usize {
        self.log.lock().expect("lock").iter().filter(|line| line.contains(words)).count()
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log.lock().expect("lock");
        log[log.len().saturating_sub(30)..].join("\n")
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if TcpStream::connect_timeout(&self.address, Duration::from_millis(100)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path, dns: SocketAddr) -> (Child, Arc<Mutex<Vec<String>>>) {
    let mut child = Command::new(PROGRAM)
        .arg("-config")
        .arg(directory.join("pebble.json"))
        .args(["-dnsserver", &dns.to_string()])
        .env("PEBBLE_WFE_NONCEREJECT", "15")
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Pebble starts");
    let log = Arc::default();
    follow(child.stdout.take().expect("piped"), &log);
    follow(child.stderr.take().expect("piped"), &log);
    (child, log)
}

fn follow(pipe: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            log.lock().expect("lock").push(line);
        }
    });
}

/// An authority for Pebble's own certificate, and that.
fn certificates(directory: &Path) -> PathBuf {
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "the authority's authority");
    let ca_key = KeyPair::generate().expect("key");
    let path = directory.join("ca.pem");
    fs::write(&path, ca.self_signed(&ca_key).expect("signed").pem()).expect("written");
    let key = KeyPair::generate().expect("key");
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let own = own.signed_by(&key, &Issuer::new(ca, ca_key)).expect("signed");
    fs::write(directory.join("pebble.pem"), own.pem()).expect("written");
    fs::write(directory.join("pebble.key"), key.serialize_pem()).expect("written");
    path
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listens");
    listener.local_addr().expect("address")
}
