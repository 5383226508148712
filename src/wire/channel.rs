//! A session's WebSocket as the library sees it: a stream that watches the frames pass.
//!
//! The library knows no way to end a session as clients need it, and closes connections without
//! a reason. What it lacks is mended here, on its unmodified frames:
//!
//! - messages that leave are taken off the session's send queue;
//! - our mark in the queue, or a refusal, is followed by a close frame 1001 and the end of the stream;
//! - the first ping, which the library sends at once, is answered for the client;
//! - the Engine.IO packet `close`, after which Python clients stay away for good, is left out;
//! - a message above the limit is answered with a close frame 1009 before it has arrived;
//! - the last bytes are not lost to a reset, as the stream lingers until the peer has closed too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;

use bytes::Buf;
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
use crate::wire::payload::Packet;
use crate::wire::refusal;

/// WebSocket close code: the server is going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;
/// WebSocket close code: the message is too big to process.
const TOO_BIG: u16 = 1009;
/// The Engine.IO packet `pong` as a client sends it, masked with zeros.
const PONG: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'3'];

/// The stream of one session's WebSocket.
///
/// It relies on one habit of the library's WebSocket implementation: each write begins with a
/// whole frame, because all of a write is taken or none of it.
pub struct Channel<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    /// Gone once the stream is closed from our side.
    stream: Option<S>,
    link: Arc<Link>,
    /// What the library reads before it reads from the stream.
    replay: Bytes,
    /// The library's answer to a probe that we have already answered.
    swallow_probe: bool,
    incoming: SizeLimit,
    too_big: bool,
    /// The library waits for a pong that the client will not send.
    pong_due: bool,
    /// Bytes that the library has handed over and the stream has not taken yet.
    out: BytesMut,
    /// What `out` takes of the send queue until it is empty.
    owed: usize,
    /// The task that waits for `out` to shrink.
    writer: Option<Waker>,
    /// What the client had sent that is no event when `out` was last empty.
    chatter: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Channel<S> {
    /// The channel of a session that begins with WebSocket.
    ///
    /// `early` are bytes that the client sent behind its handshake; `limit` is the largest message.
    pub fn new(stream: S, link: Arc<Link>, early: Bytes, limit: usize) -> Self {
        let incoming = SizeLimit::new(limit);
        Self {
            chatter: link.heard().chatter(incoming.announced()),
            stream: Some(stream),
            link,
            replay: early,
            swallow_probe: false,
            incoming,
            too_big: false,
            pong_due: false,
            out: BytesMut::new(),
            owed: 0,
            writer: None,
        }
    }

    /// The channel of a session that goes on over WebSocket after a probe.
    ///
    /// The probe is over: it is acted out once more for the library, which takes it for real.
    /// `first` are packets that the client has not received over polling; they leave first.
    pub fn upgraded(stream: S, link: Arc<Link>, early: &[u8], limit: usize, first: &[Packet]) -> Self {
        let mut replay = BytesMut::new();
        frame::put_masked(&mut replay, frame::TEXT, b"2probe");
        frame::put_masked(&mut replay, frame::TEXT, b"5");
        replay.extend_from_slice(early);
        let mut channel = Self::new(stream, link, replay.freeze(), limit);
        channel.swallow_probe = true;
        channel.incoming =
            SizeLimit::new(limit).with(std::mem::take(&mut channel.link.poll_state().announced));
        channel.chatter = channel.link.heard().chatter(channel.incoming.announced());
        for packet in first {
            channel.owed += channel.link.cost(packet);
            packet.put_frame(channel.link.generation(), &mut channel.out);
        }
        channel
    }

    /// Closes the stream from our side with `code`; the library sees its end at once.
    fn close(&mut self, code: u16) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        frame::put_close(&mut self.out, code);
        linger(stream, std::mem::take(&mut self.out), self.link.clone());
        // Whoever waits for the stream waits in vain now: it has another owner.
        self.link.reader.wake();
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Nothing will leave any more: the library sees the end of the stream.
    ///
    /// Not an error of writing, which it ignores: its WebSocket would keep what is still to come, and
    /// offer all of it again with each message.
    fn fail(&mut self) {
        self.out = BytesMut::new();
        if let Some(stream) = self.stream.take() {
            linger(stream, BytesMut::new(), self.link.clone());
        }
        self.link.reader.wake();
    }

    /// Writes what is waiting; `Ready` when nothing is.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(stream) = self.stream.as_mut().filter(|_| !self.out.is_empty()) {
            match Pin::new(stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(sent @ 1..)) => self.out.advance(sent),
                Poll::Ready(_) => self.fail(),
                Poll::Pending => {
                    self.writer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        if self.out.is_empty() {
            self.out = BytesMut::new(); // What has been busy once does not keep its memory.
            self.link.dequeue(std::mem::take(&mut self.owed));
        }
        if self.is_too_talkative() {
            self.link.reader.wake();
        }
        self.chatter = self.link.heard().chatter(self.incoming.announced());
        Poll::Ready(())
    }

    /// Whether the client has the library answer more than it reads, so that nothing more is read from
    /// it until it does: the answers wait in a queue that we do not see.
    fn is_too_talkative(&self) -> bool {
        self.link.heard().is_chatty(self.incoming.announced(), self.chatter)
    }

    /// Takes the frames that the library writes, and leaves out those that are not for the client.
    fn take_frames(&mut self, mut bytes: &[u8]) {
        while let Some((header, payload, rest)) = frame::split(bytes) {
            match self.verdict(header.opcode, payload) {
                Verdict::Pass(cost) => {
                    self.owed += cost;
                    let (frame, _) = bytes.split_at(bytes.len() - rest.len());
                    self.out.extend_from_slice(frame);
                }
                Verdict::LeaveOut => {}
                Verdict::End(last) => {
                    self.out.extend_from_slice(&last);
                    return self.close(GOING_AWAY);
                }
            }
            bytes = rest;
        }
        debug_assert!(bytes.is_empty(), "a write of the library ended inside a frame");
        self.out.extend_from_slice(bytes);
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
            self.link.reader.wake();
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

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Channel<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.link.reader.register(cx.waker());
        if this.too_big {
            this.close(TOO_BIG);
        } else if this.link.is_closing() {
            this.close(GOING_AWAY);
        }
        if !this.out.is_empty() && this.is_too_talkative() {
            return Poll::Pending;
        }
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Ok(()));
        };
        if this.pong_due && this.incoming.is_between_messages() && buf.remaining() >= PONG.len() {
            this.pong_due = false;
            buf.put_slice(&PONG);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if this.replay.is_empty() {
            ready!(Pin::new(stream).poll_read(cx, buf))?;
        } else {
            let early = this.replay.split_to(this.replay.len().min(buf.remaining()));
            buf.put_slice(&early);
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        if let Err(within) = this.incoming.follow(read) {
            this.too_big = true;
            buf.set_filled(before + within);
            if within == 0 {
                this.close(TOO_BIG);
            }
        }
        this.link.heard().note_attachments(this.incoming.announced());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Channel<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.link.is_closing() {
            self.close(GOING_AWAY);
        }
        ready!(self.poll_drain(cx));
        if self.stream.is_some() {
            self.take_frames(buf);
            // What does not leave now leaves before anything more is taken.
            let _ = self.poll_drain(cx);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx).map(Ok)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx));
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Channel<S> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            linger(stream, std::mem::take(&mut self.out), self.link.clone());
        }
    }
}
