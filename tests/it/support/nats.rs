//! A real server of NATS, and the keys and tokens of those whom it lets in.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread::park_timeout;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::DEADLINE;

/// A server on a free port, which ends with the test.
pub struct Nats {
    child: Child,
    configuration: String,
    /// Where its clients reach it.
    pub port: u16,
    /// Where other servers reach it; 0 if it is no part of a cluster.
    pub cluster: u16,
    folder: TempDir,
}

impl Nats {
    /// Starts a server that is configured so, beyond where it listens.
    pub fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, [port, cluster]) = launch(folder.path(), 0, configuration);
        Self { child, configuration: configuration.to_owned(), port, cluster, folder }
    }

    /// The argument of a daemon that names this server.
    pub fn argument(&self) -> String {
        format!("relay.nats.servers=nats://127.0.0.1:{}", self.port)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, after it was killed, where it was.
    pub fn restart(&mut self) {
        (self.child, [self.port, self.cluster]) = launch(self.folder.path(), self.port, &self.configuration);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server, and waits until it says where it listens; port 0 is a free one.
fn launch(folder: &Path, port: u16, configuration: &str) -> (Child, [u16; 2]) {
    let file = folder.join("server.conf");
    let listen = if port == 0 { "-1".to_owned() } else { port.to_string() };
    let own = format!("listen: \"127.0.0.1:{listen}\"\nports_file_dir: \"{}\"\n", folder.display());
    fs::write(&file, own + configuration).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut child = Command::new("nats-server")
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start nats-server: {error}; install Debian's nats-server"));
    let ports = folder.join(format!("nats-server_{}.ports", child.id()));
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(&ports).unwrap_or_default();
        if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
            let port = |kind: &str| {
                let address = ports[kind][0].as_str()?.rsplit(':').next()?;
                Some(address.parse().unwrap())
            };
            return (child, [port("nats").unwrap(), port("cluster").unwrap_or(0)]);
        }
        let log = || fs::read_to_string(folder.join("log")).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "nats-server has ended: {}", log());
        assert!(began.elapsed() < DEADLINE, "nats-server does not listen: {}", log());
        park_timeout(Duration::from_millis(2));
    }
}

/// Whose key it is.
#[derive(Clone, Copy)]
pub enum Kind {
    Operator = 14,
    Account = 0,
    User = 20,
}

/// A key as NATS has them.
pub struct Nkey {
    kind: Kind,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl Nkey {
    /// A new one.
    pub fn new(kind: Kind) -> Self {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).unwrap();
        Self { kind, seed, pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap() }
    }

    /// How others know it.
    pub fn public(&self) -> String {
        encode(&[&[(self.kind as u8) << 3], self.pair.public_key().as_ref()].concat())
    }

    /// What is kept secret.
    pub fn seed(&self) -> String {
        let prefix = (18_u16 << 11 | (self.kind as u16) << 6).to_be_bytes();
        encode(&[&prefix[..], &self.seed].concat())
    }

    /// A token about `subject` that this key has signed.
    pub fn sign(&self, subject: &str, nats: &str) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
        let claims = format!(
            r#"{{"jti":"1","iat":1700000000,"iss":"{}","name":"test","sub":"{subject}","nats":{nats}}}"#,
            self.public()
        );
        let signed = format!("{}.{}", encoded(header), encoded(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Servers that trust one operator, and whom they let in: their configuration, and the file of a user's
/// credentials as `nsc` writes it.
pub fn operated() -> (String, String) {
    let (operator, account, user) =
        (Nkey::new(Kind::Operator), Nkey::new(Kind::Account), Nkey::new(Kind::User));
    let own = operator.sign(&operator.public(), r#"{"type":"operator","version":2}"#);
    let limits = r#"{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1}"#;
    let claims = format!(r#"{{"limits":{limits},"type":"account","version":2}}"#);
    let accounts = operator.sign(&account.public(), &claims);
    let claims = r#"{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}"#;
    let token = account.sign(&user.public(), claims);
    let configuration = format!(
        "operator: \"{own}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{accounts}\" }}\n",
        account.public()
    );
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed()
    );
    (configuration, credentials)
}

/// In base 32, with the checksum.
fn encode(bytes: &[u8]) -> String {
    let mut sum = 0_u16;
    for byte in bytes {
        sum ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 };
        }
    }
    BASE32_NOPAD.encode(&[bytes, &sum.to_le_bytes()].concat())
}
