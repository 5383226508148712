//! Messages on their way to clients: their bytes, as each client gets them, and what they take of its send
//! queue.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::iter::once;

use bytes::Bytes;
use bytes::BytesMut;

use crate::protocol::Encoding;
use crate::protocol::Generation;
use crate::wire::payload::MSGPACK_EVENT;
use crate::wire::payload::Packet;

/// What stands before the arguments of an acknowledgement in msgpack; its id follows them.
const MSGPACK_ACKNOWLEDGEMENT: &[u8] = b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data";
const MSGPACK_ID: &[u8] = b"\xa2id";

/// An event or an acknowledgement.
#[derive(Debug)]
pub(super) struct Message {
    /// What the library would make of it.
    packets: Vec<Packet>,
    arguments: Bytes,
    attachments: VecDeque<Bytes>,
    cost: usize,
}

impl Message {
    /// An event with `arguments`, its name first, and the attachments they refer to.
    pub(super) fn event(encoding: Encoding, arguments: &[u8], attachments: &VecDeque<Bytes>) -> Self {
        let head = match (encoding, attachments.len()) {
            (Encoding::Json, 0) => b"42".to_vec(),
            (Encoding::Json, count) => format!("45{count}-").into_bytes(),
            (Encoding::Msgpack, _) => MSGPACK_EVENT.to_vec(),
        };
        Self::new(encoding, [&head, arguments, b""], attachments.clone())
    }

    /// An acknowledgement with `arguments`, of the event with this id.
    pub(super) fn acknowledgement(encoding: Encoding, arguments: &[u8], id: i64) -> Self {
        let (head, tail) = match encoding {
            Encoding::Json => (format!("43{id}").into_bytes(), Vec::new()),
            Encoding::Msgpack => {
                // An integer is never one that cannot be written.
                let id = rmp_serde::to_vec(&id).unwrap_or_default();
                (MSGPACK_ACKNOWLEDGEMENT.to_vec(), [MSGPACK_ID, &id].concat())
            }
        };
        Self::new(encoding, [&head, arguments, &tail], VecDeque::new())
    }

    /// A message whose first packet has the arguments between what stands before and behind them.
    fn new(encoding: Encoding, parts: [&[u8]; 3], attachments: VecDeque<Bytes>) -> Self {
        let [head, arguments, _] = parts.map(<[u8]>::len);
        let first = Bytes::from(parts.concat());
        let arguments = first.slice(head..head + arguments);
        let first = match encoding {
            Encoding::Json => Packet::Text(first),
            Encoding::Msgpack => Packet::Binary(first),
        };
        let attached = attachments.iter().cloned().map(Packet::Binary);
        let packets: Vec<_> = once(first).chain(attached).collect();
        let cost = packets.iter().map(|packet| packet.cost(encoding)).sum();
        Self { packets, arguments, attachments, cost }
    }

    /// Its arguments.
    pub(super) fn arguments(&self) -> &Bytes {
        &self.arguments
    }

    /// What its arguments refer to.
    pub(super) fn attachments(&self) -> &VecDeque<Bytes> {
        &self.attachments
    }

    /// What it takes of a send queue.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Its bytes, attachments included.
    pub(super) fn bytes(&self) -> usize {
        self.arguments.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// Messages for the same recipients, in their order; most often one.
pub(super) struct Batch<'a> {
    messages: &'a [Message],
    cost: usize,
    /// How they go over a WebSocket, by generation, once somebody needs it.
    frames: [OnceCell<Bytes>; 2],
}

impl<'a> Batch<'a> {
    pub(super) fn new(messages: &'a [Message]) -> Self {
        Self { messages, cost: messages.iter().map(Message::cost).sum(), frames: Default::default() }
    }

    /// The messages one by one.
    pub(super) fn messages(&self) -> &'a [Message] {
        self.messages
    }

    /// What all of it takes of a send queue.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// How all of it goes over a WebSocket to a client of `generation`.
    pub(super) fn frames(&self, generation: Generation) -> &Bytes {
        let [v3, v4] = &self.frames;
        let frames = match generation {
            Generation::V3 => v3,
            Generation::V4 => v4,
        };
        frames.get_or_init(|| {
            let mut frames = BytesMut::new();
            for packet in self.messages.iter().flat_map(|message| &message.packets) {
                packet.put_frame(generation, &mut frames);
            }
            frames.freeze()
        })
    }
}
