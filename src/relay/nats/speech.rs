//! Speech: what a server of NATS says, read from the stream.

use bytes::Bytes;
use bytes::BytesMut;
use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use crate::relay::connection::Broken;
use crate::relay::nats::tls::TlsStream;

/// Bytes that are read at once.
const READ: usize = 64 * 1024;
/// Longest line, which tells of all servers of a cluster.
const LINE: usize = 1024 * 1024;
/// Largest payload that any server can be made to take.
const PAYLOAD: usize = 64 * 1024 * 1024;

/// A connection to a server, encrypted or not.
pub(super) type Stream = Either<TcpStream, Box<TlsStream>>;

/// Something that the server has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Info(Info),
    /// A message, and where it was published.
    Message {
        subject: Bytes,
        payload: Bytes,
    },
    Ping,
    Pong,
    /// It will not do something, or no more at all.
    Refused(String),
    /// Something that needs no answer.
    Fine,
}

/// What the server says of itself.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Info {
    pub(super) max_payload: usize,
    pub(super) tls_required: bool,
    pub(super) tls_available: bool,
    /// What is to be signed by whoever shows a key.
    pub(super) nonce: String,
}

impl Default for Info {
    fn default() -> Self {
        // The largest payload if it does not say.
        Self { max_payload: 1024 * 1024, tls_required: false, tls_available: false, nonce: String::new() }
    }
}

/// What listens to a server.
pub(super) struct Listener<S = Stream> {
    stream: S,
    heard: BytesMut,
}

impl<S: AsyncRead + Unpin> Listener<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, heard: BytesMut::new() }
    }

    /// What the server says next.
    pub(super) async fn next(&mut self) -> Result<Said, Broken> {
        loop {
            let lacking = match parse(&mut self.heard)? {
                Parsed::Said(said) => return Ok(said),
                Parsed::Lacking(lacking) => lacking,
            };
            // What others say they will send takes no memory before it is there.
            self.heard.reserve(lacking.clamp(READ / 4, READ));
            match self.stream.read_buf(&mut self.heard).await {
                Ok(0) => return Err("the server has closed it".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

impl Listener {
    /// Says something to the server.
    pub(super) async fn answer(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let said = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        said.await.map_err(|error| error.to_string())
    }

    /// The stream, before anything else has come over it.
    pub(super) fn into_stream(self) -> Result<Stream, Broken> {
        if self.heard.is_empty() {
            Ok(self.stream)
        } else {
            // Somebody on the way may have put it there.
            Err("there is more before the encryption begins".to_owned())
        }
    }

    /// What listens, and what can be written to.
    pub(super) fn split(self) -> (Listener<ReadHalf<Stream>>, WriteHalf<Stream>) {
        let (reader, writer) = tokio::io::split(self.stream);
        (Listener { stream: reader, heard: self.heard }, writer)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Said(Said),
    /// So many bytes, at least, are still to come.
    Lacking(usize),
}

/// Takes what is said first from what has been heard, if it is complete.
fn parse(heard: &mut BytesMut) -> Result<Parsed, Broken> {
    let Some(end) = heard.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if heard.len() < LINE {
            Ok(Parsed::Lacking(1))
        } else {
            Err("it talks without end".to_owned())
        };
    };
    let (line, _) = heard.split_at_checked(end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (word, rest) = line
        .split_at_checked(line.iter().position(|byte| b" \t".contains(byte)).unwrap_or(line.len()))
        .unwrap_or_default();
    let rest = rest.trim_ascii();
    let said = match word {
        b"MSG" => {
            let length = rest.rsplit(|byte| b" \t".contains(byte)).next().unwrap_or_default();
            let length = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|length| *length <= PAYLOAD).ok_or_else(|| unknown(line))?;
            let whole = end + 1 + length + 2;
            if heard.len() < whole {
                return Ok(Parsed::Lacking(whole - heard.len()));
            }
            let subject = rest.iter().position(|byte| b" \t".contains(byte)).ok_or_else(|| unknown(line))?;
            let subject = line.len() - rest.len()..line.len() - rest.len() + subject;
            let payload = end + 1..end + 1 + length;
            let message = heard.split_to(whole);
            // A small one does not keep all that was read with it.
            let message = if whole < READ { Bytes::copy_from_slice(&message) } else { message.freeze() };
            return Ok(Parsed::Said(Said::Message {
                subject: message.slice(subject),
                payload: message.slice(payload),
            }));
        }
        b"PING" => Said::Ping,
        b"PONG" => Said::Pong,
        b"+OK" => Said::Fine,
        b"-ERR" => {
            let reason = String::from_utf8_lossy(rest);
            Said::Refused(reason.trim_matches('\'').escape_debug().to_string())
        }
        b"INFO" => Said::Info(serde_json::from_slice(rest).map_err(|_| unknown(b"INFO"))?),
        _ => return Err(unknown(line)),
    };
    drop(heard.split_to(end + 1));
    Ok(Parsed::Said(said))
}

fn unknown(line: &[u8]) -> Broken {
    let start = line.get(..line.len().min(64)).unwrap_or_default();
    format!("it is no NATS server, it says `{}`", start.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &'static [u8], payload: &'static [u8]) -> Said {
        Said::Message { subject: subject.into(), payload: payload.into() }
    }

    fn said(text: &[u8]) -> Result<Vec<Said>, Broken> {
        let (mut heard, mut all) = (BytesMut::from(text), Vec::new());
        while let Parsed::Said(said) = parse(&mut heard)? {
            all.push(said);
        }
        assert!(heard.is_empty(), "{heard:?} is left");
        Ok(all)
    }

    #[test]
    fn what_a_server_says_is_understood() {
        let text = b"INFO {\"max_payload\":7,\"nonce\":\"n\",\"other\":[]} \r\nPING\r\n+OK\r\nMSG a.b 1 3\r\n\r\n\n\r\n\
            MSG a 1 reply 0\r\n\r\nPONG\r\n-ERR 'Slow\tConsumer'\r\n";
        let info = Info { max_payload: 7, nonce: "n".to_owned(), ..Info::default() };
        let expected = vec![
            Said::Info(info),
            Said::Ping,
            Said::Fine,
            message(b"a.b", b"\r\n\n"),
            message(b"a", b""),
            Said::Pong,
            Said::Refused("Slow\\tConsumer".to_owned()),
        ];
        assert_eq!(said(text), Ok(expected));
    }

    #[test]
    fn what_is_not_complete_is_waited_for() {
        let whole = b"MSG humble-broker.text.a 0af 5\r\nhello\r\n";
        for end in 0..whole.len() {
            let mut heard = BytesMut::from(&whole[..end]);
            assert!(matches!(parse(&mut heard), Ok(Parsed::Lacking(1..))), "{end}");
            assert_eq!(heard, whole[..end]);
        }
        assert_eq!(said(whole), Ok(vec![message(b"humble-broker.text.a", b"hello")]));
    }

    #[test]
    fn what_no_server_of_nats_says_ends_the_connection() {
        let endless = vec![b'x'; LINE];
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"INFO {\r\n",
            b"MSG\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 99999999999999999999999\r\n",
            b"MSG a 1 67108865\r\n",
            &endless,
        ] {
            assert!(said(text).is_err(), "{}", text.escape_ascii());
        }
    }
}
