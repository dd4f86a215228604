//! TLS as those who look for weaknesses see it: testssl.sh and sslyze against a real router with a certificate of a local authority. Run by
//! `cargo xtask scan`, which brings both; nothing here leaves the loopback.
#![expect(clippy::print_stdout, reason = "what the scanners found is asked for")]

use crate::{
    app::App,
    rig::{Rig, route},
    secure::{give, https, secure},
};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};
use teal_core::certificate::{Certificate, PrivateKey};

/// The only name that means the loopback everywhere.
const NAME: &str = "localhost";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A router with a certificate such as an authority gives, and the authority's own.
struct Scanned {
    rig: Rig,
    _app: App,
    directory: tempfile::TempDir,
}

impl Scanned {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut rig, app) = (
            secure(),
            App::answering(|asked| {
                // Which headers of this kind a page has is its app's business; without any there is a finding.
                asked.stream.send(b"HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nContent-Length: 3\r\n\r\none")
            }),
        );
        let mut shop = route("e-1", &[app.address]);
        shop.domains = vec![NAME.into()];
        shop.force_https = true;
        rig.control.replace(vec![shop]);
        let certificate = certificate(&directory.path().join("authority.pem"));
        give(&mut rig, vec![certificate], Vec::new());
        Self { rig, _app: app, directory }
    }

    fn at(&self) -> String {
        format!("{NAME}:{}", https(&self.rig).port())
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// For 90 days, as authorities give them.
fn certificate(authority: &Path) -> Certificate {
    let mut ca = CertificateParams::new(Vec::new()).expect("legal");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "An authority of this test");
    let (ca_key, key) = (KeyPair::generate().expect("makes"), KeyPair::generate().expect("makes"));
    let ca_certificate = ca.self_signed(&ca_key).expect("signs");
    fs::write(authority, ca_certificate.pem()).expect("writes");
    let mut own = CertificateParams::new(vec![NAME.to_owned()]).expect("legal");
    let now = SystemTime::now();
    (own.not_before, own.not_after) = ((now - DAY).into(), (now + 89 * DAY).into());
    own.distinguished_name = rcgen::DistinguishedName::new();
    own.distinguished_name.push(DnType::CommonName, NAME);
    own.use_authority_key_identifier_extension = true;
    own.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.crl_distribution_points =
        vec![CrlDistributionPoint { uris: vec!["http://localhost/none.crl".into()] }];
    let signed = own.signed_by(&key, &Issuer::new(ca, ca_key)).expect("signs");
    let chain = signed.pem() + &ca_certificate.pem();
    Certificate { names: vec![NAME.into()], chain, key: PrivateKey::new(key.serialize_pem()) }
}

/// Findings that say something about the scanner or the loopback, by name, with the reason.
const EXCUSED: &[(&str, &str)] = &[
    ("engine_problem", "about the scanner's own OpenSSL, which has no GOST"),
    ("secure_renego", "the scanner's own OpenSSL speaks TLS 1.3 first, which has no renegotiation"),
    (
        "sessionresumption_ticket",
        "the scanner's client may leave before a ticket comes; resumption is tried by `it secure`",
    ),
];

/// What must be in the report, word for word, so that an empty or broken one is none.
const EXPECTED: &[(&str, &str)] = &[
    ("SSLv2", "not offered"),
    ("SSLv3", "not offered"),
    ("TLS1", "not offered"),
    ("TLS1_1", "not offered"),
    ("TLS1_2", "offered"),
    ("TLS1_3", "offered with final"),
    ("ALPN_HTTP2", "h2"),
    ("heartbleed", "not vulnerable"),
    ("CCS", "not vulnerable"),
    ("ticketbleed", "not vulnerable"),
    ("ROBOT", "not vulnerable"),
    ("CRIME_TLS", "not vulnerable"),
    ("SWEET32", "not vulnerable"),
    ("FREAK", "not vulnerable"),
    ("LOGJAM", "not vulnerable"),
    ("RC4", "not vulnerable"),
    ("cert_trust", "Ok via SAN"),
];

/// Findings that are worse than low, and what is missing in the report.
fn complaints(findings: &[Value]) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let bad = findings.iter().filter(|finding| {
        let excused = EXCUSED.iter().any(|(id, _)| *id == text(finding, "id"));
        !excused && !["OK", "INFO", "LOW"].contains(&text(finding, "severity").as_str())
    });
    let mut complaints: Vec<String> = bad.map(ToString::to_string).collect();
    for (id, expected) in EXPECTED {
        let there =
            |finding: &&Value| text(finding, "id") == *id && text(finding, "finding").starts_with(expected);
        if findings.iter().find(there).is_none() {
            complaints.push(format!("{id} is not `{expected}` in the report"));
        }
    }
    complaints
}

#[test]
fn a_bad_report_is_seen() {
    let finding = |id: &str, severity: &str, finding: &str| serde_json::json!({"id": id, "severity": severity, "finding": finding});
    let good: Vec<Value> = EXPECTED.iter().map(|(id, text)| finding(id, "OK", text)).collect();
    assert_eq!(complaints(&good), Vec::<String>::new());
    assert_eq!(complaints(&[]).len(), EXPECTED.len(), "an empty report is none");
    let mut old = good.clone();
    old[2] = finding("TLS1", "LOW", "offered (deprecated)");
    assert_eq!(complaints(&old).len(), 1, "an old protocol is seen, however it is rated");
    old[2] = finding("TLS1", "OK", "not offered");
    old.push(finding("cipherlist_NULL", "CRITICAL", "offered"));
    assert_eq!(complaints(&old).len(), 1);
}

/// One report of testssl.sh.
fn testssl(scanned: &Scanned) -> Vec<Value> {
    let file = scanned.place("testssl.json");
    if file.exists() {
        fs::remove_file(&file).expect("removes the report before");
    }
    let mut command = Command::new("/usr/bin/testssl");
    command.args(["--quiet", "--warnings", "off", "--color", "0", "-n", "none", "--ip", "127.0.0.1"]);
    command.args(["-p", "-s", "-f", "-P", "-S", "-h", "-U"]);
    command.arg("--add-ca").arg(scanned.place("authority.pem")).arg("--jsonfile").arg(&file);
    let output = command.arg(scanned.at()).stdin(Stdio::null()).output().expect("testssl.sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let report = fs::read_to_string(&file).unwrap_or_else(|error| panic!("no report: {error}: {text}"));
    let findings: Vec<Value> = serde_json::from_str(&report).expect("JSON");
    println!("testssl.sh: {} findings", findings.len());
    for finding in
        findings.iter().filter(|finding| finding["severity"] != "OK" && finding["severity"] != "INFO")
    {
        println!("  {} {}: {}", finding["severity"], finding["id"], finding["finding"]);
    }
    assert!(findings.len() >= 80, "{} findings are no whole report: {text}", findings.len());
    findings
}

#[test]
#[ignore = "needs testssl.sh: cargo xtask scan"]
fn testssl_finds_nothing_above_low() {
    let scanned = Scanned::start();
    // WARN is said of a check that the scanner could not make: on a busy machine its clients give up. It is asked again, a finding is not.
    let doubt = |complaint: &String| complaint.contains(r#""severity":"WARN""#);
    let mut left = complaints(&testssl(&scanned));
    for _ in 0..2 {
        if left.is_empty() || !left.iter().all(doubt) {
            break;
        }
        left = complaints(&testssl(&scanned));
    }
    assert_eq!(left, Vec::<String>::new());
}

/// Starts sslyze. It knows most alerts by which a server may turn a client without a name away, but not the one that rustls sends.
const SSLYZE: &str = "from sslyze.connection_helpers import tls_connection
tls_connection._HANDSHAKE_REJECTED_TLS_ERRORS['tlsv1 alert access denied'] = 'TLS alert: access denied'
from sslyze.__main__ import main
main()";

#[test]
#[ignore = "needs sslyze: cargo xtask scan"]
fn sslyze_agrees_with_mozillas_intermediate() {
    let scanned = Scanned::start();
    let python = std::env::var_os("TEAL_SSLYZE")
        .expect("TEAL_SSLYZE names a Python that has sslyze: cargo xtask scan sets it");
    let file = scanned.place("sslyze.json");
    let mut command = Command::new(python);
    command.args(["-c", SSLYZE, "--mozilla_config", "intermediate"]);
    command.arg("--certinfo_ca_file").arg(scanned.place("authority.pem"));
    command.arg("--json_out").arg(&file).arg(scanned.at());
    let output = command.stdin(Stdio::null()).output().expect("sslyze runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("OK - Compliant"), "{text}");
    let report = fs::read_to_string(&file).unwrap_or_else(|error| panic!("no report: {error}: {text}"));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let results = &report["server_scan_results"][0]["scan_result"];
    let suites = |version: &str| {
        let accepted = &results[format!("{version}_cipher_suites")]["result"]["accepted_cipher_suites"];
        accepted.as_array().expect("a list").len()
    };
    let counts = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3"].map(suites);
    println!("sslyze: Mozilla's intermediate holds; suites by version {counts:?}");
    assert_eq!(counts, [0, 0, 0, 0, 3, 3], "{text}");
}
