//! A session's WebSocket as the library sees it: a stream that watches the frames pass.
//!
//! The library knows no way to end a session as clients need it, and closes connections without
//! a reason. What it lacks is mended here, on its unmodified frames:
//!
//! - what is written waits with that of publishers, who do without the library: see [`outgoing`];
//! - our mark in the queue, or a refusal, is followed by a close frame 1001 and the end of the stream;
//! - the first ping, which the library sends at once, is answered for the client;
//! - the Engine.IO packet `close`, after which Python clients stay away for good, is left out;
//! - a message above the limit is answered with a close frame 1009 before it has arrived;
//! - the last bytes are not lost to a reset, as the stream lingers until the peer has closed too.
//!
//! [`outgoing`]: crate::wire::outgoing

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::protocol::Generation;
use crate::wire::frame;
use crate::wire::frame::SizeLimit;
use crate::wire::linger::linger;
use crate::wire::link::Link;
use crate::wire::outgoing::Stream;
use crate::wire::payload::Packet;
use crate::wire::refusal;

/// WebSocket close code: the server is going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;
/// WebSocket close code: the message is too big to process.
const TOO_BIG: u16 = 1009;
/// The Engine.IO packet `pong` as a client sends it, masked with zeros.
const PONG: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'3'];

/// How often is read, while there is something to read, before what the client has published is written: as
/// much in one write as possible, and no wait that anybody would notice.
const READS: u8 = 16;

/// The stream of one session's WebSocket.
///
/// It relies on one habit of the library's WebSocket implementation: each write begins with a
/// whole frame, because all of a write is taken.
pub struct Channel {
    link: Arc<Link>,
    /// What the library reads before it reads from the stream.
    replay: Bytes,
    /// The library's answer to a probe that we have already answered.
    swallow_probe: bool,
    incoming: SizeLimit,
    too_big: bool,
    /// The library waits for a pong that the client will not send.
    pong_due: bool,
    /// What the client had sent that is no event when nothing waited to leave.
    chatter: u64,
    /// How often has been read since the client published something that is not written: above
    /// [`READS`] once everybody else has had a turn.
    unwritten: u8,
}

impl Channel {
    /// The channel of a session that begins with WebSocket.
    ///
    /// `early` are bytes that the client sent behind its handshake; `limit` is the largest message.
    pub fn new(stream: impl Stream + 'static, link: Arc<Link>, early: Bytes, limit: usize) -> Self {
        let incoming = SizeLimit::new(limit);
        link.outgoing().lock().stream = Some(Box::new(stream));
        Self::over(link, early, incoming)
    }

    /// The channel of a session that goes on over WebSocket after a probe.
    ///
    /// The probe is over: it is acted out once more for the library, which takes it for real.
    /// `first` are packets that the client has not received over polling; they leave first.
    pub fn upgraded(
        stream: impl Stream + 'static,
        link: Arc<Link>,
        early: &[u8],
        limit: usize,
        first: &[Packet],
    ) -> Self {
        let mut replay = BytesMut::new();
        frame::put_masked(&mut replay, frame::TEXT, b"2probe");
        frame::put_masked(&mut replay, frame::TEXT, b"5");
        replay.extend_from_slice(early);
        let announced = std::mem::take(&mut link.poll_state().announced);
        {
            let mut way = link.outgoing().lock();
            for packet in first {
                let mut frame = BytesMut::new();
                packet.put_frame(link.generation(), &mut frame);
                way.put(&frame, link.cost(packet));
            }
            way.stream = Some(Box::new(stream));
        }
        let mut channel = Self::over(link, replay.freeze(), SizeLimit::new(limit).with(announced));
        channel.swallow_probe = true;
        channel
    }

    fn over(link: Arc<Link>, replay: Bytes, incoming: SizeLimit) -> Self {
        Self {
            chatter: link.heard().chatter(incoming.announced()),
            link,
            replay,
            swallow_probe: false,
            incoming,
            too_big: false,
            pong_due: false,
            unwritten: 0,
        }
    }

    /// Takes the frames that the library writes, and leaves out those that are not for the client.
    fn take_frames(&mut self, mut bytes: &[u8]) {
        let link = self.link.clone();
        let mut way = link.outgoing().lock();
        if link.is_closing() {
            way.close(&link, GOING_AWAY);
        }
        if way.stream.is_none() {
            return;
        }
        while let Some((header, payload, rest)) = frame::split(bytes) {
            match self.verdict(header.opcode, payload) {
                Verdict::Pass(cost) => {
                    let (frame, _) = bytes.split_at(bytes.len() - rest.len());
                    way.put(frame, cost);
                }
                Verdict::LeaveOut => {}
                Verdict::End(last) => {
                    way.put(&last, 0);
                    return way.close(&link, GOING_AWAY);
                }
            }
            bytes = rest;
        }
        debug_assert!(bytes.is_empty(), "a write of the library ended inside a frame");
        way.put(bytes, 0);
    }

    fn verdict(&mut self, opcode: u8, payload: &[u8]) -> Verdict {
        let packet = match opcode {
            frame::TEXT if self.swallow_probe && payload == b"3probe" => {
                self.swallow_probe = false;
                return Verdict::LeaveOut;
            }
            frame::TEXT => Packet::Text(payload),
            frame::BINARY => Packet::Binary(match self.link.generation() {
                Generation::V3 => payload.get(1..).unwrap_or_default(),
                Generation::V4 => payload,
            }),
            _ => return Verdict::Pass(0),
        };
        if packet.is_close() {
            return Verdict::LeaveOut;
        }
        if self.link.is_first_ping(&packet) {
            self.pong_due = true;
            self.link.outgoing().tasks().reader.wake();
            return Verdict::LeaveOut;
        }
        if let Some(last) = refusal::last_frame(&packet, &self.link) {
            return Verdict::End(last);
        }
        Verdict::Pass(self.link.cost(&packet))
    }
}

/// What becomes of a frame.
enum Verdict {
    /// It is sent, and has taken this much of the send queue.
    Pass(usize),
    LeaveOut,
    End(BytesMut),
}

impl Channel {
    /// Reads what the client sends, and writes what found no room before.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let link = &*self.link;
        let mut way = self.link.resume();
        if self.too_big {
            way.close(&self.link, TOO_BIG);
        } else if link.is_closing() {
            way.close(&self.link, GOING_AWAY);
        }
        if std::mem::take(&mut way.emptied) {
            self.chatter = link.heard().chatter(self.incoming.announced());
        } else if !way.out.is_empty() && link.heard().is_chatty(self.incoming.announced(), self.chatter) {
            // The client has the library answer more than it reads, and the answers wait in a queue that
            // we do not see: nothing more is read from it until it has read those.
            way.reader_waits = true;
            return Poll::Pending;
        }
        let Some(stream) = &mut way.stream else {
            return Poll::Ready(Ok(()));
        };
        if self.pong_due && self.incoming.is_between_messages() && buf.remaining() >= PONG.len() {
            self.pong_due = false;
            buf.put_slice(&PONG);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if self.replay.is_empty() {
            ready!(Pin::new(stream).poll_read(cx, buf))?;
        } else {
            let early = self.replay.split_to(self.replay.len().min(buf.remaining()));
            buf.put_slice(&early);
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        if let Err(within) = self.incoming.follow(read) {
            self.too_big = true;
            buf.set_filled(before + within);
            if within == 0 {
                way.close(&self.link, TOO_BIG);
            }
        }
        link.heard().note_attachments(self.incoming.announced());
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Channel {
    /// Whenever this is called, the library has handled all that was read before.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.link.outgoing().tasks().reader.register(cx.waker());
        let incoming = self.poll_incoming(cx, buf);
        self.unwritten = match incoming {
            _ if self.link.due().is_empty() => 0,
            // There is more to handle first, and for a while it may be.
            Poll::Ready(Ok(())) if self.unwritten < READS => self.unwritten + 1,
            // Others may be about to publish to the same clients, and one write does for all.
            Poll::Pending if self.unwritten <= READS => {
                self.link.call_late();
                cx.waker().wake_by_ref();
                READS + 1
            }
            _ => {
                self.link.flush();
                0
            }
        };
        incoming
    }
}

impl AsyncWrite for Channel {
    /// Takes all there is, whatever waits: what the library writes is bounded by the session's send queue,
    /// and its heartbeat would not go on behind a write that does not end.
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.take_frames(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What does not leave now leaves when the reader is woken.
        drop(self.link.write());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.outgoing().tasks().closer.register(cx.waker());
        let mut way = self.link.write();
        let all_has_left = way.out.is_empty();
        match &mut way.stream {
            Some(stream) if all_has_left => Pin::new(stream).poll_shutdown(cx),
            Some(_) => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.link.flush();
        let mut way = self.link.outgoing().lock();
        if let Some(stream) = way.stream.take() {
            linger(stream, std::mem::take(&mut way.out), self.link.clone());
        }
    }
}
