//! Slots: how the servers of a cluster share out its channels.

use crc::CRC_16_XMODEM;
use crc::Crc;
use redis::Value;

/// How many there are, as the specification of clusters says.
const SLOTS: usize = 16_384;

/// Host and port of a server.
pub(super) type Address = (String, u16);

/// For each slot, which of the servers has it.
pub(super) struct Slots(Vec<Option<usize>>);

impl Slots {
    /// Reads the answer to `CLUSTER SLOTS`, which the server at `host` has given: where the servers are that have
    /// any, and which.
    pub(super) fn read(answer: &Value, host: &str) -> Option<(Vec<Address>, Self)> {
        let Value::Array(ranges) = answer else { return None };
        let (mut servers, mut slots) = (Vec::new(), Self(vec![None; SLOTS]));
        for range in ranges {
            let Value::Array(range) = range else { return None };
            // Replicas may follow.
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &range[..] else {
                return None;
            };
            let [name, Value::Int(port), ..] = &primary[..] else { return None };
            let name = match name {
                Value::BulkString(name) => std::str::from_utf8(name).ok()?,
                Value::SimpleString(name) => name,
                Value::Nil => "",
                _ => return None,
            };
            let address = (known(name, host), u16::try_from(*port).ok()?);
            let owner = servers.iter().position(|server| *server == address).unwrap_or_else(|| {
                servers.push(address);
                servers.len() - 1
            });
            let range = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            slots.0.get_mut(range)?.fill(Some(owner));
        }
        (!servers.is_empty()).then_some((servers, slots))
    }

    /// Who has a slot.
    pub(super) fn owner(&self, slot: usize) -> Option<usize> {
        self.0.get(slot).copied().flatten()
    }

    /// Another server has it now.
    pub(super) fn give(&mut self, slot: usize, owner: usize) {
        if let Some(place) = self.0.get_mut(slot) {
            *place = Some(owner);
        }
    }
}

/// The slot that the name of a channel belongs to; of a name with something in braces only that counts.
pub(super) fn slot(channel: &[u8]) -> usize {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let tag = || {
        let (_, rest) = channel.split_at_checked(channel.iter().position(|byte| *byte == b'{')? + 1)?;
        let (tag, _) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'}')?)?;
        (!tag.is_empty()).then_some(tag)
    };
    usize::from(CRC.checksum(tag().unwrap_or(channel))) % SLOTS
}

/// Reads where a slot has moved to, as the server that is at `asked` says it: the slot and the address.
pub(super) fn moved(details: &str, (host, _): &Address) -> Option<(usize, Address)> {
    let (slot, address) = details.split_once(' ')?;
    let (name, port) = address.rsplit_once(':')?;
    Some((slot.parse().ok()?, (known(name, host), port.parse().ok()?)))
}

/// A host, if the server that is at `asked` knows its name; otherwise they have the same.
fn known(name: &str, asked: &str) -> String {
    if name.is_empty() || name == "?" { asked } else { name }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Value {
        Value::BulkString(name.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, servers: &[(Value, i64)]) -> Value {
        let server = |(name, port): &(Value, i64)| {
            Value::Array(vec![name.clone(), Value::Int(*port), name.clone(), Value::Array(Vec::new())])
        };
        let servers = servers.iter().map(server);
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(servers).collect())
    }

    #[test]
    fn a_channel_has_the_slot_that_the_servers_say() {
        // Answers of `CLUSTER KEYSLOT`.
        for (channel, expected) in [
            ("humble-broker:everyone", 14_826),
            ("foo", 12_182),
            ("a{foo}b", 12_182),
            ("a{foo}{bar}", 12_182),
            ("{}foo", 9_500),
            ("{foo", 13_308),
            ("a}{foo}", 12_182),
            ("", 0),
        ] {
            assert_eq!(slot(channel.as_bytes()), expected, "{channel}");
        }
    }

    #[test]
    fn slots_are_read_and_given_away() {
        let answer = Value::Array(vec![
            range(0, 99, &[(name("a"), 1), (name("replica"), 9)]),
            range(200, 16_383, &[(Value::Nil, 2)]),
            range(100, 150, &[(name("a"), 1)]),
        ]);
        let (servers, mut slots) = Slots::read(&answer, "host").unwrap();
        assert_eq!(servers, [("a".to_owned(), 1), ("host".to_owned(), 2)]);
        let owners = [0, 99, 100, 150, 151, 199, 200, 16_383, 16_384].map(|slot| slots.owner(slot));
        let (a, b) = (Some(0), Some(1));
        assert_eq!(owners, [a, a, a, a, None, None, b, b, None]);
        slots.give(16_383, 0);
        slots.give(16_384, 0);
        assert_eq!([16_382, 16_383].map(|slot| slots.owner(slot)), [b, a]);
    }

    #[test]
    fn what_does_not_say_who_has_which_slots_is_refused() {
        for answer in [
            Value::Nil,
            Value::Array(Vec::new()),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![range(0, 1, &[])]),
            Value::Array(vec![range(0, 1, &[(Value::Int(1), 1)])]),
            Value::Array(vec![range(0, 1, &[(name("a"), 65_536)])]),
            Value::Array(vec![range(-1, 1, &[(name("a"), 1)])]),
            Value::Array(vec![range(0, 16_384, &[(name("a"), 1)])]),
            Value::Array(vec![range(2, 0, &[(name("a"), 1)])]),
        ] {
            assert!(Slots::read(&answer, "host").is_none(), "{answer:?}");
        }
    }

    #[test]
    fn where_a_slot_has_moved_to_is_read() {
        let asked = ("asked".to_owned(), 1);
        for (details, host, port) in
            [("7 a:2", "a", 2), ("7 ::1:2", "::1", 2), ("7 :2", "asked", 2), ("7 ?:2", "asked", 2)]
        {
            assert_eq!(moved(details, &asked), Some((7, (host.to_owned(), port))), "{details}");
        }
        for details in ["", "7", "7 a", "7 a:", "7 a:65536", "x a:1"] {
            assert_eq!(moved(details, &asked), None, "{details}");
        }
    }
}
