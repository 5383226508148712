//! Clients of MessagePack: where their token is, and how they are refused.

use humble_broker::protocol::Generation;
use humble_broker::wire::payload::Packet;

use super::revoked::ROLES;
use super::revoked::tokens;
use crate::support::Client;
use crate::support::Reloading;
use crate::support::Way;

#[test]
fn clients_of_message_pack_show_their_token_and_hear_the_refusal_in_their_own_form() {
    let text = format!("socketio.parser = 'msgpack'\n{}{ROLES}", tokens(&[("alpha", "reader")]));
    let node = Reloading::start(&text);
    let enter = |way: Way, auth: &[u8]| {
        if way.generation() == Generation::V3 {
            return Client::open_with(node.daemon.address, way, std::str::from_utf8(auth).unwrap());
        }
        let mut client = Client::open(node.daemon.address, way);
        let (fields, data): (&[u8], &[u8]) =
            if auth.is_empty() { (b"\x82", b"") } else { (b"\x83", b"\xa4data") };
        client.send_binary(&[fields, b"\xa4type\x00\xa3nsp\xa1/", data, auth].concat());
        client
    };
    for way in [Way::WebSocket4, Way::Polling4] {
        let mut client = enter(way, b"\x81\xa5token\xa5alpha");
        assert!(client.binary().starts_with(b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xb0"));
        client.send_binary(b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa9subscribe\xa5other\xa2id\x07");
        let answer = client.binary();
        assert!(answer.windows(9).any(|window| window == b"forbidden"), "{answer:x?}");
        for wrong in [
            &b""[..],
            b"\x80",
            b"\xc0",
            b"\x81\xa5token\xa4alph",
            b"\x81\xa5token\xa0",
            b"\x81\xa5token\x07",
            b"\x81\xa5token\xc4\x05alpha",
            b"\x81\xa5token\x91\xa5alpha",
            b"\x82\xa5token\xa5alpha\xa5token\xa5alpha",
            b"\x81\xa5Token\xa5alpha",
            b"\xa5alpha",
            b"\x91\xa5alpha",
        ] {
            let mut client = enter(way, wrong);
            let expected = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xacunauthorized";
            assert_eq!(client.packet(), Packet::Binary(expected.to_vec().into()), "{way:?} {wrong:x?}");
            client.await_end();
        }
    }
    for way in [Way::WebSocket3, Way::Polling3] {
        let mut client = enter(way, b"&token=alpha");
        let connected = client.binary();
        assert!(connected.windows(6).any(|window| window == b"\xa4type\x00"), "{connected:x?}");
        for wrong in [&b"&token=beta"[..], b"&token=", b"&other=alpha"] {
            let mut client = enter(way, wrong);
            let expected = b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xacunauthorized";
            assert_eq!(client.packet(), Packet::Binary(expected.to_vec().into()), "{way:?} {wrong:x?}");
            client.await_end();
        }
    }
}
