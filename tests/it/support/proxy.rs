//! A TCP proxy that breaks WebSockets on purpose.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;

use super::http::connect;

/// What the proxy does to a connection once it has seen a text pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Closes it both ways.
    Cut,
    /// Passes nothing on any more, in either direction, and keeps it open.
    Hang,
}

/// Where the proxy looks for the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    FromClient,
    FromServer,
}

/// Starts a proxy to `server` for one connection: as soon as `text` comes from `direction`, it
/// strikes. With `pass`, the text still gets through.
pub fn start(
    server: SocketAddr,
    direction: Direction,
    text: &'static [u8],
    pass: bool,
    fault: Fault,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = connect(server);
        let forward = |from: &TcpStream, to: &TcpStream, trigger: Option<&'static [u8]>| {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || copy(from, to, trigger, pass, fault))
        };
        let up = forward(&client, &server, (direction == Direction::FromClient).then_some(text));
        let down = forward(&server, &client, (direction == Direction::FromServer).then_some(text));
        let _ = (up.join(), down.join());
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream, trigger: Option<&[u8]>, pass: bool, fault: Fault) {
    let mut seen = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        seen.extend_from_slice(&bytes[..read]);
        let strike = trigger.is_some_and(|text| seen.windows(text.len()).any(|window| window == text));
        if (!strike || pass) && to.write_all(&bytes[..read]).is_err() {
            return;
        }
        if strike {
            match fault {
                Fault::Cut => {
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    return;
                }
                Fault::Hang => {
                    // Swallows what still comes, until the other side gives up.
                    while matches!(from.read(&mut bytes), Ok(1..)) {}
                    return;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
