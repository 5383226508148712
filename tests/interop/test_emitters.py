"""Back ends that publish over Redis, with the packages that they use for it, reach clients of brokers."""

import itertools
import time

import pytest

from back_ends import FromNode, FromPython, Node, Redis, publish_pickled
from clients import DEADLINE, Client, all_acknowledged, shortened
from daemon import Daemon
from values import BINARY, JSON, SMALL, expected, same

SOURCES = ["emitter", "adapter", "python"]
# The MessagePack of Node writes a double as large as 1e308 as the integer 0.
MESSAGES = [message for message in SMALL if message != JSON["huge"]]
UNSUPPORTED = 'humble_broker_relay_dropped_total{direction="in",reason="unsupported"}'
MALFORMED = 'humble_broker_relay_dropped_total{direction="in",reason="malformed"}'

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def node(server):
    with Node(server.url) as node:
        yield node


@pytest.fixture(scope="module")
def sources(server, node):
    return {
        "emitter": FromNode(node, "emitter"),
        "adapter": FromNode(node, "adapter"),
        "python": FromPython(server.url),
    }


@pytest.fixture(params=SOURCES)
def source(request, sources):
    return sources[request.param]


def start(server, *more):
    settings = [f"relay.redis.url={server.url}", "relay.redis.emitters=true", *more]
    return Daemon(*(part for setting in settings for part in ("--set", setting)))


@pytest.fixture(scope="module")
def brokers(server):
    """Two of one cluster, and one of another, whose clients speak MessagePack."""
    with (
        start(server) as first,
        start(server) as second,
        start(server, "socketio.parser=msgpack", "relay.redis.prefix=other") as third,
    ):
        yield [first, second, third]


@pytest.fixture(scope="module")
def crowd(drivers, server, brokers):
    """Clients of all brokers, all in the room `fence`."""
    first, second, third = brokers
    clients = [Client(drivers[kind], "websocket", first.url) for kind in ("js2", "js3", "js4", "py4", "py5")]
    clients += [Client(drivers[kind], "polling", second.url) for kind in ("js4", "py5-async")]
    clients += [Client(drivers[kind], "websocket", third.url, parser="msgpack") for kind in ("js4", "py5")]
    for client in clients:
        client.connected()
    enter(server, clients, "fence", brokers=3)
    yield clients
    for client in clients:
        client.disconnect()


@pytest.fixture
def room(request, server, crowd):
    """A room of this test alone, with the whole crowd in it."""
    room = f"{request.node.nodeid} {next(NUMBERS)} ü😀#"
    enter(server, crowd, room, brokers=3)
    yield room
    all_acknowledged([client.call("unsubscribe", room) for client in crowd])


def enter(server, clients, room, brokers):
    """Lets clients into a room, and waits until so many brokers hear what is emitted to it."""
    all_acknowledged([client.call("subscribe", room) for client in clients])
    until(lambda: server.subscribers(f"socket.io#/#{room}#") == brokers)


def until(condition, seconds=DEADLINE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come about in time"
        time.sleep(0.01)


def heard(source, clients):
    """What each client has got: a last message of the same source comes behind all others."""
    fence = f"passed {next(NUMBERS)}"
    source.emit("data", "fence", fence, to=["fence"])
    messages = {
        client: client.log.take_messages_until("data", lambda args: args == ["fence", fence])
        for client in clients
    }
    # Who was not asked before has a last message from then.
    return {
        client: [(name, args) for name, args in each if args[0] != "fence"]
        for client, each in messages.items()
    }


def assert_heard(source, clients, sent, event="data"):
    """Asserts that each client has got what was sent, in this order, and nothing else."""
    for client, messages in heard(source, clients).items():
        assert [name for name, _ in messages] == [event] * len(sent), f"{client}: {shortened(messages)}"
        exact = source.exact and client.driver.kind.startswith("py")
        for (_, args), wanted in zip(messages, sent):
            wanted = [expected(value, client.name) for value in wanted]
            assert same(args, wanted, exact), f"{client}: {shortened(args)}, not {shortened(wanted)}"


def count(brokers, metric):
    return [broker.metric(metric) for broker in brokers]


def assert_counted(brokers, metric, before, more):
    until(lambda: count(brokers, metric) == [value + more for value in before])


def test_a_room_gets_whatever_is_emitted_to_it(source, crowd, room):
    for message in MESSAGES:
        source.emit("data", room, message, to=[room])
    assert_heard(source, crowd, [[room, message] for message in MESSAGES])


def test_everyone_gets_whatever_is_broadcast(source, crowd):
    for message in MESSAGES:
        source.emit("broadcast", message)
    assert_heard(source, crowd, [[message] for message in MESSAGES], event="broadcast")


def test_binary_that_is_large_arrives(source, crowd, room):
    message = {"a": [bytes(range(256)) * 400, {"b": b"", "c": "ü" * 50_000}], "d": BINARY["every byte"]}
    source.emit("data", room, message, to=[room])
    assert_heard(source, crowd, [[room, message]])


def test_a_thousand_messages_arrive_in_their_order(source, crowd, room):
    source.emit("data", room, to=[room], times=1000)
    assert_heard(source, crowd, [[room, number] for number in range(1000)])


def test_each_room_gets_its_own(source, server, crowd):
    rooms = [f"own {next(NUMBERS)}" for _ in crowd]
    for client, room in zip(crowd, rooms):
        enter(server, [client], room, brokers=1)
    for room in rooms:
        source.emit("data", room, {"for": room}, to=[room])
    for (client, messages), room in zip(heard(source, crowd).items(), rooms):
        assert messages == [("data", [room, {"for": room}])], client


@pytest.mark.parametrize("way", ["emitter", "adapter"])
def test_a_room_of_node_is_an_integer_where_the_message_says_so(way, sources, server, crowd):
    first, second = crowd[:2]
    enter(server, [first], 7, brokers=1)
    enter(server, [second], "7", brokers=1)
    source = sources[way]
    source.emit("data", 7, "integer", to=["7"])
    source.emit("data", "7", "text", to=["7"])
    source.emit("data", 7, "integer", to=[7])
    messages = heard(source, crowd)
    assert messages.pop(first) == [("data", [7, "integer"])] * 2
    assert messages.pop(second) == [("data", ["7", "text"])]
    assert not any(messages.values())
    all_acknowledged([first.call("unsubscribe", 7), second.call("unsubscribe", "7")])


def test_a_room_of_python_is_an_integer(sources, server, crowd):
    enter(server, crowd[:2], 11, brokers=1)
    sources["python"].emit("data", 11, b"\0", to=[11])
    assert_heard(sources["python"], crowd[:2], [[11, b"\0"]])


def test_what_json_has_not_is_written_as_node_does(sources, server, crowd):
    # Those who speak MessagePack would get it as it is.
    clients, room = crowd[:-2], f"odd {next(NUMBERS)}"
    enter(server, clients, room, brokers=2)
    values = ["NaN", "-Infinity", "undefined", "new Date(1795712739123)", "{a: undefined, b: [undefined]}"]
    for value in values:
        sources["emitter"].emit("data", room, {"$js": value}, to=[room])
    written = [None, None, None, "2026-11-26T17:05:39.123Z", {"b": [None]}]
    assert_heard(sources["emitter"], clients, [[room, value] for value in written])


def test_whoever_is_in_a_room_that_is_excepted_gets_nothing(source, server, crowd, room):
    excepted = f"excepted {next(NUMBERS)}"
    out, still_in = crowd[1::2], crowd[::2]
    enter(server, out, excepted, brokers=3)
    for number in range(3):
        source.emit("data", room, number, to=[room])
        source.emit("data", room, "not for all", to=[room], except_=[excepted])
        source.emit("broadcast", "not for all", except_=["nobody", excepted])
    for client, messages in heard(source, crowd).items():
        if client in still_in:
            assert len(messages) == 9, client
        else:
            assert messages == [("data", [room, number]) for number in range(3)], client
    all_acknowledged([client.call("unsubscribe", excepted) for client in out])


def test_what_a_broker_does_not_do_is_counted_and_reaches_nobody(source, server, brokers, crowd, room):
    other = f"other {next(NUMBERS)}"
    enter(server, crowd, other, brokers=3)
    before = count(brokers, UNSUPPORTED)
    source.emit("data", room, "for two rooms", to=[room, other])
    source.emit("data", room, "for another room", to=[other])
    source.emit("data", room, "for everyone")
    source.emit("broadcast", "for a room", to=[room])
    source.emit("message", "another event")
    source.emit("publish", room, "another event", to=[room])
    assert_heard(source, crowd, [])
    assert_counted(brokers, UNSUPPORTED, before, 6)


def test_another_namespace_is_another(source, brokers, crowd):
    before = count(brokers, UNSUPPORTED)
    source.emit("broadcast", "for others", namespace="/other")
    assert_heard(source, crowd, [])
    # Node has channels of their own for it, which nobody here hears.
    assert_counted(brokers, UNSUPPORTED, before, 1 if isinstance(source, FromPython) else 0)


def test_a_pickle_is_refused_and_counted(sources, server, brokers, crowd):
    before = count(brokers, MALFORMED)
    publish_pickled(server, "socketio", "broadcast", "pickled")
    assert_counted(brokers, MALFORMED, before, 1)
    assert_heard(sources["python"], crowd, [])


def test_what_is_wrong_is_counted_and_harms_nobody(sources, server, brokers, crowd, room):
    before = count(brokers, MALFORMED)
    wrong = [b"", b"\x93", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b'{"method":"emit"}', b"[" * 100_000]
    for payload in wrong:
        for channel in ("socket.io#/#", f"socket.io#/#{room}#", "socketio"):
            assert server.client.publish(channel, payload) >= 3
    sources["emitter"].emit("data", room, to=[room])
    sources["emitter"].emit("data", "", "without a room", to=[""])
    assert_heard(sources["emitter"], crowd, [])
    # Nobody is in the room without a name; so nobody hears of it.
    assert_counted(brokers, MALFORMED, before, 3 * len(wrong) + 1)


def test_a_server_of_node_does_not_wait_for_brokers(node, brokers):
    # It asks all servers that hear requests; one that hears and does not answer would hold it up.
    assert node.command("fetch") == 0
    node.command("join", to="a", room="b")


def test_a_room_is_heard_of_while_somebody_is_in_it(server, crowd):
    room = f"short {next(NUMBERS)}"
    channel = f"socket.io#/#{room}#"
    assert server.subscribers(channel) == 0
    enter(server, crowd[:2], room, brokers=1)
    all_acknowledged([client.call("unsubscribe", room) for client in crowd[:2]])
    until(lambda: server.subscribers(channel) == 0)


def test_a_channel_that_two_rooms_have_stays_while_one_of_them_is_there(server, sources, crowd):
    client, witness = crowd[:2]
    enter(server, [client], 13, brokers=1)
    enter(server, [client], "13", brokers=1)
    enter(server, [witness], "short 13", brokers=1)
    all_acknowledged([client.call("unsubscribe", 13), witness.call("unsubscribe", "short 13")])
    until(lambda: server.subscribers("socket.io#/#short 13#") == 0)
    sources["emitter"].emit("data", "13", "still", to=["13"])
    assert_heard(sources["emitter"], [client], [["13", "still"]])


def test_keys_and_channels_can_be_others(drivers, server, sources):
    settings = ["relay.redis.emitter_key=mine", "relay.redis.python_channel=humble-broker:python"]
    with start(server, *settings) as broker, Node(server.url, key="mine") as node:
        client = Client(drivers["js4"], "websocket", broker.url).connected()
        all_acknowledged([client.call("subscribe", "a")])
        until(lambda: server.subscribers("mine#/#a#") == 1)
        python = FromPython(server.url, channel="humble-broker:python")
        for source in (FromNode(node, "emitter"), FromNode(node, "adapter"), python):
            for other in sources.values():
                other.emit("broadcast", "to others")
            source.emit("data", "a", 1, to=["a"])
            assert client.wait_for("data") == ["a", 1]
        client.emit("broadcast", "none")
        assert client.log.events == []
        client.disconnect()


def test_after_a_restart_of_the_server_back_ends_are_heard_again(drivers, tmp_path):
    with Redis(tmp_path) as server, start(server) as broker:
        client = Client(drivers["js4"], "websocket", broker.url).connected()
        enter(server, [client], "a", brokers=1)
        server.stop()
        until(lambda: broker.metric("humble_broker_relay_up") == 0)
        server.start()
        for channel in ("socket.io#/#a#", "socket.io#/#", "socketio"):
            server.subscribed(channel, 1)
        with Node(server.url) as node:
            for source in (FromNode(node, "emitter"), FromNode(node, "adapter"), FromPython(server.url)):
                source.emit("data", "a", "again", to=["a"])
                assert client.wait_for("data") == ["a", "again"]
                source.emit("broadcast", "to all")
                assert client.wait_for("broadcast") == ["to all"]
        client.disconnect()


def test_without_being_asked_to_a_broker_hears_no_emitter(drivers, server, sources):
    with Daemon("--set", f"relay.redis.url={server.url}") as broker:
        client = Client(drivers["js4"], "websocket", broker.url).connected()
        until(lambda: broker.metric("humble_broker_relay_up") == 1)
        for source in sources.values():
            source.emit("broadcast", "to others")
        client.ask("subscribe", "a")
        client.emit("publish", "a", "last")
        assert client.log.take_messages_until("data", lambda args: args == ["a", "last"]) == []
        client.disconnect()
