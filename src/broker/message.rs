//! A message on its way to clients: its bytes, as each of them gets them, and what it takes of their send
//! queues.

use std::cell::OnceCell;
use std::collections::VecDeque;

use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::wire::frame;
use crate::wire::payload::message_cost;

/// What stands before the arguments of an event in msgpack.
const MSGPACK_EVENT: &[u8] = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data";
/// The same for an acknowledgement, whose id follows its arguments.
const MSGPACK_ACKNOWLEDGEMENT: &[u8] = b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data";
const MSGPACK_ID: &[u8] = b"\xa2id";

/// An event or an acknowledgement.
#[derive(Debug)]
pub(super) struct Message {
    encoding: Encoding,
    /// What stands before the arguments.
    head: Vec<u8>,
    arguments: Vec<u8>,
    /// What stands behind them.
    tail: Vec<u8>,
    attachments: VecDeque<Bytes>,
    cost: usize,
    /// How it goes over a WebSocket, by generation, once somebody needs it.
    frames: [OnceCell<Bytes>; 2],
}

impl Message {
    /// An event with `arguments`, its name first, and the attachments they refer to.
    pub(super) fn event(encoding: Encoding, arguments: Vec<u8>, attachments: &VecDeque<Bytes>) -> Self {
        let head = match (encoding, attachments.len()) {
            (Encoding::Json, 0) => b"2".to_vec(),
            (Encoding::Json, count) => format!("5{count}-").into_bytes(),
            (Encoding::Msgpack, _) => MSGPACK_EVENT.to_vec(),
        };
        Self::new(encoding, head, arguments, Vec::new(), attachments.clone())
    }

    /// An acknowledgement with `arguments`, of the event with this id.
    pub(super) fn acknowledgement(encoding: Encoding, arguments: Vec<u8>, id: i64) -> Self {
        let (head, tail) = match encoding {
            Encoding::Json => (format!("3{id}").into_bytes(), Vec::new()),
            Encoding::Msgpack => {
                // An integer is never one that cannot be written.
                let id = rmp_serde::to_vec(&id).unwrap_or_default();
                (MSGPACK_ACKNOWLEDGEMENT.to_vec(), [MSGPACK_ID, &id].concat())
            }
        };
        Self::new(encoding, head, arguments, tail, VecDeque::new())
    }

    fn new(
        encoding: Encoding,
        head: Vec<u8>,
        arguments: Vec<u8>,
        tail: Vec<u8>,
        attachments: VecDeque<Bytes>,
    ) -> Self {
        let attached: usize = attachments.iter().map(|bytes| message_cost(bytes.len())).sum();
        let cost = message_cost(head.len() + arguments.len() + tail.len()) + attached;
        Self { encoding, head, arguments, tail, attachments, cost, frames: Default::default() }
    }

    /// Its arguments.
    pub(super) fn arguments(&self) -> &[u8] {
        &self.arguments
    }

    /// What its arguments refer to.
    pub(super) fn attachments(&self) -> &VecDeque<Bytes> {
        &self.attachments
    }

    /// What it takes of a send queue: what the packets cost that the library would make of it.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Its bytes, attachments included.
    pub(super) fn bytes(&self) -> usize {
        self.arguments.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// How it goes over a WebSocket to a client of `generation`: the frames that the library would make
    /// of it.
    pub(super) fn frames(&self, generation: Generation) -> &Bytes {
        let [v3, v4] = &self.frames;
        let frames = match generation {
            Generation::V3 => v3,
            Generation::V4 => v4,
        };
        frames.get_or_init(|| self.make_frames(generation))
    }

    fn make_frames(&self, generation: Generation) -> Bytes {
        // Engine.IO 3 has a type before what is binary too.
        let kind: &[u8] = match generation {
            Generation::V3 => &[4],
            Generation::V4 => &[],
        };
        let mut frames = BytesMut::new();
        let (opcode, kind_of_first) = match self.encoding {
            Encoding::Json => (frame::TEXT, &b"4"[..]),
            Encoding::Msgpack => (frame::BINARY, kind),
        };
        let parts = [kind_of_first, &self.head, &self.arguments, &self.tail];
        frame::put_parts(&mut frames, opcode, &parts);
        for bytes in &self.attachments {
            frame::put_parts(&mut frames, frame::BINARY, &[kind, bytes]);
        }
        frames.freeze()
    }
}
