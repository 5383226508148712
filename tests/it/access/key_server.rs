//! A server of keys over HTTPS, which answers as a test wants.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::StreamOwned;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::support::http::connect;
use crate::support::tls::Identity;

/// How it answers.
#[derive(Clone)]
pub enum Answer {
    /// With this status and these further headers, and this body.
    Status(&'static str, String),
    /// With this set of keys.
    Keys(String),
    /// With a head, and then with more and more.
    Endless,
    /// With a head and a byte of its body, and then not any further.
    Stuck,
    /// Not at all, once it has been asked.
    Silent,
    /// Not even to a handshake.
    NoHandshake,
    /// Without TLS.
    Plain,
}

/// A server of keys.
pub struct KeyServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Mutex<Answer>,
    tls: Mutex<Arc<ServerConfig>>,
    asked: AtomicUsize,
    stopped: AtomicBool,
}

impl KeyServer {
    /// A server that shows the certificate of `identity`.
    pub fn start(identity: &Identity, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            tls: Mutex::new(Arc::new(config(identity))),
            asked: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let all = shared.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if all.stopped.load(SeqCst) {
                    return;
                }
                let one = all.clone();
                // A client that goes away, or does not like the certificate, is no failure.
                std::thread::spawn(move || drop(stream.and_then(|stream| one.serve(stream))));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// The address of its keys.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/keys?for=broker", self.address.port())
    }

    /// From now on it answers so.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// From now on it shows this certificate.
    pub fn show(&self, identity: &Identity) {
        *self.shared.tls.lock().unwrap() = Arc::new(config(identity));
    }

    /// How many connections it has had.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        drop(connect(self.address));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        self.asked.fetch_add(1, SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::NoHandshake => return until_end(&mut stream),
            Answer::Plain => return respond(&mut stream, "200 OK", "{\"keys\":[]}"),
            _ => {}
        }
        let tls = self.tls.lock().unwrap().clone();
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            request.extend(byte);
        }
        assert!(request.starts_with(b"GET /keys?for=broker HTTP/1.1\r\n"), "{request:?}");
        match answer {
            Answer::Keys(keys) => respond(&mut stream, "200 OK\r\ncontent-type: application/json", &keys)?,
            Answer::Status(head, body) => respond(&mut stream, head, &body)?,
            Answer::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    stream.write_all(&[b' '; 16 * 1024])?;
                }
            }
            Answer::Stuck => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")?;
                until_end(&mut stream)?;
            }
            _ => until_end(&mut stream)?,
        }
        stream.conn.send_close_notify();
        stream.flush()
    }
}

fn respond(stream: &mut impl Write, head: &str, body: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    stream.flush()
}

/// Waits until the client has gone.
fn until_end(stream: &mut impl Read) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

fn config(identity: &Identity) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.der()], key)
        .unwrap()
}
