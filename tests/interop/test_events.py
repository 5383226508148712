"""The four events and their acknowledgements, as each client sees them."""

import pytest

from clients import KINDS, MODES, Client, heard
from daemon import Daemon

WITNESS = "js4-websocket"


@pytest.fixture
def other(client, crowd):
    """Somebody else."""
    return crowd["py5-websocket" if client.name == WITNESS else WITNESS]


def test_a_publisher_in_the_room_receives_its_own_message(client, other, room):
    assert client.ask("subscribe", room) == []
    assert client.ask("publish", room, "mine") == []
    assert heard([client, other]) == {client: [("data", [room, "mine"])], other: []}


def test_a_publisher_outside_the_room_receives_nothing(client, other, room):
    assert other.ask("subscribe", room) == []
    assert client.ask("publish", room, "yours") == []
    assert heard([client, other]) == {client: [], other: [("data", [room, "yours"])]}


def test_publishing_to_an_empty_room_is_a_success(client, room):
    assert client.ask("publish", room, "nobody there") == []
    assert heard([client]) == {client: []}


def test_after_unsubscribing_nothing_is_delivered(client, other, room):
    assert client.ask("subscribe", room) == []
    assert other.ask("publish", room, 1) == []
    assert client.ask("unsubscribe", room) == []
    assert other.ask("publish", room, 2) == []
    assert client.ask("subscribe", room) == []
    assert other.ask("publish", room, 3) == []
    assert heard([client]) == {client: [("data", [room, 1]), ("data", [room, 3])]}


def test_membership_is_idempotent(client, other, room):
    assert client.ask("unsubscribe", room) == []
    assert client.ask("subscribe", room) == []
    assert client.ask("subscribe", room) == []
    assert other.ask("publish", room, "once") == []
    assert client.ask("unsubscribe", room) == []
    assert other.ask("publish", room, "never") == []
    assert client.ask("unsubscribe", room) == []
    assert heard([client]) == {client: [("data", [room, "once"])]}


def test_events_without_an_acknowledgement_work_and_stay_silent(client, crowd, room):
    client.emit("subscribe", room)
    client.emit("publish", room, "to me")
    client.emit("broadcast", [room, "to you"])
    # Refused, every one of them, and nobody is told.
    client.emit("subscribe")
    client.emit("publish", room)
    client.emit("publish", None, "nowhere")
    client.emit("broadcast", "one", "two")
    client.emit("no such event", room)
    client.emit("unsubscribe", room)
    client.emit("publish", room, "to nobody")
    # What the client heard comes first, so that its broadcast is on its way to the others.
    assert heard([client]) == {client: [("data", [room, "to me"])]}
    others = [other for other in crowd.values() if other is not client]
    assert heard(others) == {other: [("broadcast", [[room, "to you"]])] for other in others}


def test_a_number_and_its_digits_are_different_rooms(client, other):
    assert client.ask("subscribe", 7) == []
    assert other.ask("subscribe", "7") == []
    assert other.ask("publish", 7, "to the number") == []
    assert client.ask("publish", "7", "to the text") == []
    assert client.ask("unsubscribe", 7) == []
    assert other.ask("publish", 7, "to nobody") == []
    assert other.ask("unsubscribe", "7") == []
    assert heard([client, other]) == {
        client: [("data", [7, "to the number"])],
        other: [("data", ["7", "to the text"])],
    }


@pytest.mark.parametrize("name", [0, -1, 2**53 - 1, " ", "😀 é \x00 \u2028", "x" * 1024, "ü" * 512])
def test_unusual_rooms_work(crowd, name):
    for client in crowd.values():
        assert client.ask("subscribe", name) == []
        assert client.ask("publish", name, "here") == []
        assert client.ask("unsubscribe", name) == []
    assert heard(crowd.values()) == {client: [("data", [name, "here"])] for client in crowd.values()}


REFUSED = {
    "malformed": [
        ["subscribe"],
        ["subscribe", "room", "extra"],
        ["unsubscribe"],
        ["unsubscribe", "room", "extra"],
        ["publish"],
        ["publish", "room"],
        ["publish", "room", "message", {"exclude_self": True}],
        ["broadcast"],
        ["broadcast", "message", "extra"],
    ],
    "unknown_event": [["hello"], ["data", "room", "message"], ["Subscribe", "room"]],
    "invalid_room": [
        [event, *([room] if event != "publish" else [room, "message"])]
        for event in ["subscribe", "unsubscribe", "publish"]
        for room in ["", None, True, 1.5, 2**53, [], ["room"], {}, b"room", "x" * 1025, "ü" * 513]
    ],
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_is_acknowledged_with_its_code_and_a_sentence(client, code):
    answers = {repr(event): client.call(*event) for event in REFUSED[code]}
    for event, answer in answers.items():
        assert_refused(answer(), code, event)
    assert heard([client]) == {client: []}


def test_a_message_over_the_limit_is_refused(crowd, room):
    """Two attachments that pass one by one; over polling they would be one body, answered 413."""
    for client in (client for client in crowd.values() if client.mode != "polling"):
        assert client.ask("subscribe", room) == []
        assert_refused(client.ask("publish", room, [bytes(600_000), bytes(600_000)]), "too_large", client)
        assert client.ask("publish", room, "still here") == []
        assert client.ask("unsubscribe", room) == []
        assert heard([client]) == {client: [("data", [room, "still here"])]}


def test_more_rooms_than_the_limit_are_refused(connect_all):
    with Daemon("--set", "limits.rooms_per_client=3") as daemon:
        for client in connect_all(daemon.url).values():
            for room in ["one", 2, "three", "one"]:
                assert client.ask("subscribe", room) == []
            assert_refused(client.ask("subscribe", "four"), "too_many_rooms", client)
            assert client.ask("publish", "four", "not for me") == []
            assert client.ask("unsubscribe", "one") == []
            assert client.ask("subscribe", "four") == []
            assert client.ask("unsubscribe", 2) == []
            assert client.ask("publish", "four", "for me") == []
            assert heard([client]) == {client: [("data", ["four", "for me"])]}
            client.disconnect()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_emitted_in_the_connect_callback_is_not_lost(kind, mode, drivers, daemon, room):
    early = [["subscribe", room], *(["publish", room, number] for number in range(10))]
    client = Client(drivers[kind], mode, daemon.url, early=early).connected()
    assert heard([client]) == {client: [("data", [room, number]) for number in range(10)]}
    client.disconnect()


def assert_refused(answer, code, what):
    assert len(answer) == 1, f"{what}: {answer}"
    refusal = answer[0]
    assert isinstance(refusal, dict) and set(refusal) == {"error", "message"}, f"{what}: {answer}"
    assert refusal["error"] == code, f"{what}: {answer}"
    assert isinstance(refusal["message"], str) and refusal["message"], f"{what}: {answer}"
