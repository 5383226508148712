//! Where connections come from: a TCP port or a unix socket.

use std::fs;
use std::fs::Permissions;
use std::io;
use std::io::ErrorKind;
use std::net;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net as unix;
use std::path::Path;
use std::path::PathBuf;

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixSocket;
use tokio::net::UnixStream;
use tokio::net::lookup_host;
use tokio::net::unix::SocketAddr;
use tokio_util::either::Either;

use crate::config::Listen;
use crate::config::Server;
use crate::config::SocketMode;
use crate::config::SocketPath;
use crate::failure::Failure;
use crate::wire::guard::Abort;

/// The stream of a connection as the system has it.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// Connections that may wait to be accepted. Linux lowers it to `net.core.somaxconn`, which is as much since 5.4;
/// whoever finds no place tries again after a second.
const BACKLOG: u32 = 4096;

/// Bytes that the system takes for a connection beyond what is on its way: enough to keep a fast one
/// busy while we are not looking.
const UNSENT: u32 = 128 << 10;

/// A port or a socket that is listened on.
pub struct Listener(Kind);

enum Kind {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Dropped with the listener, if it is ours.
        _file: Option<SocketFile>,
    },
}

impl Listener {
    /// Listens for clients: on the unix socket if there is one, or else on host and port.
    ///
    /// # Errors
    ///
    /// When the address does not resolve, or cannot be had.
    pub async fn for_clients(server: &Server) -> Result<Self, Failure> {
        match &server.unix_socket {
            Some(path) => Self::unix(path, server.unix_socket_mode).await,
            None => Self::tcp(server.host.as_str(), server.port).await,
        }
    }

    /// Listens for operators.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub async fn for_operators(listen: &Listen) -> Result<Self, Failure> {
        match listen {
            Listen::Tcp(address) => Self::tcp(&address.ip().to_string(), address.port()).await,
            Listen::Unix(path) => Self::unix(path, SocketMode::OWNER_AND_GROUP).await,
        }
    }

    /// Listens for control, which is for the broker's own user.
    ///
    /// # Errors
    ///
    /// When the socket cannot be had.
    pub async fn for_control(path: &SocketPath) -> Result<Self, Failure> {
        Self::unix(path, SocketMode::OWNER).await
    }

    /// Listens on a socket that was there before. Its file, should it have one, belongs to whoever made
    /// it.
    ///
    /// # Errors
    ///
    /// When the system does not let us wait for it.
    pub fn inherited(socket: Inherited) -> Result<Self, Failure> {
        let listener = match socket {
            Inherited::Tcp(socket) => {
                socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)).map(Kind::Tcp)
            }
            Inherited::Unix(socket) => socket
                .set_nonblocking(true)
                .and_then(|()| UnixListener::from_std(socket))
                .map(|listener| Kind::Unix { listener, _file: None }),
        };
        listener.map(Self).map_err(|error| {
            Failure::Unavailable(format!("cannot listen on a socket that was passed: {error}"))
        })
    }

    async fn tcp(host: &str, port: u16) -> Result<Self, Failure> {
        let listen = async {
            let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
            for address in lookup_host((host, port)).await? {
                match bind(address) {
                    Ok(listener) => return Ok(Self(Kind::Tcp(listener))),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        listen.await.map_err(|error: io::Error| {
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            Failure::Unavailable(format!("cannot listen on {host}:{port}: {error}"))
        })
    }

    async fn unix(path: &SocketPath, mode: SocketMode) -> Result<Self, Failure> {
        let listen = async {
            remove_stale(path.as_path()).await?;
            let socket = UnixSocket::new_stream()?;
            socket.bind(path.as_path())?;
            let file = SocketFile::of(path.as_path())?;
            // Until it is listened on nobody can connect, whatever the mode is until then.
            fs::set_permissions(path.as_path(), Permissions::from_mode(mode.bits()))?;
            Ok(Self(Kind::Unix { listener: socket.listen(BACKLOG)?, _file: Some(file) }))
        };
        listen.await.map_err(|error: io::Error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "there is no such directory".to_owned(),
                _ => error.to_string(),
            };
            Failure::Unavailable(format!("cannot listen on unix:{path}: {reason}"))
        })
    }

    /// Where it listens, as `X_LISTEN` says it: the port is the one that was picked.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn address(&self) -> Result<String, Failure> {
        let address = match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Kind::Unix { listener, .. } => listener.local_addr().map(|address| unix_address(&address)),
        };
        address.map_err(|error| Failure::Unavailable(format!("cannot tell what was bound: {error}")))
    }

    /// Waits for a connection, and says the address of the peer; over a unix socket it has none.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Option<IpAddr>)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                prepare(&stream);
                Ok((Either::Left(stream), Some(address.ip().to_canonical())))
            }
            Kind::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Either::Right(stream), None))
            }
        }
    }
}

/// Listens on one address, also while connections of a process before still linger.
fn bind(address: net::SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket that somebody else has made, and that is listened on already.
pub enum Inherited {
    /// A port.
    Tcp(net::TcpListener),
    /// A unix socket.
    Unix(unix::UnixListener),
}

impl Inherited {
    /// The socket, if it is one that connections come from.
    #[must_use]
    pub fn from_tcp(socket: net::TcpListener) -> Option<Self> {
        let listens = SockRef::from(&socket).is_listener();
        listens.is_ok_and(|listens| listens).then_some(Self::Tcp(socket))
    }

    /// The socket, if it is one that connections come from.
    #[must_use]
    pub fn from_unix(socket: unix::UnixListener) -> Option<Self> {
        let listens = SockRef::from(&socket).is_listener();
        listens.is_ok_and(|listens| listens).then_some(Self::Unix(socket))
    }
}

/// A unix socket's address as we write it; one without a file has a name that begins with an `@`.
fn unix_address(address: &SocketAddr) -> String {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => format!("unix:{}", path.display()),
        (None, name) => format!("unix:@{}", String::from_utf8_lossy(name.unwrap_or_default())),
    }
}

/// Sets the options of an accepted socket; one that cannot be set belongs to a connection that is
/// gone already, and reading from it says so.
fn prepare(stream: &TcpStream) {
    // Without it small messages wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    // Without it the system takes megabytes for a peer that does not read, which no limit of ours
    // counts and no age of ours sees. A unix socket takes no more than its send buffer.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

impl Abort for Socket {
    fn abort(&self) {
        match self {
            Either::Left(stream) => stream.abort(),
            // There is no reset between processes of one machine: what has been sent is the peer's.
            Either::Right(_) => {}
        }
    }
}

/// Makes place for a socket at `path`: removes one that nobody listens on any more, and nothing else.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::other("what is there is not a socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        // What a process leaves behind that could not tidy up.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // It does not accept for now, but it is there.
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Err(io::Error::other("address in use")),
    }
}

/// The file of a socket, which goes with it.
struct SocketFile {
    path: PathBuf,
    /// Device and number of the file, by which it is known to be still ours.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever listens there next replaces it, should it stay.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}
