"""There is one namespace, `/`; asking for another is refused and harms nobody."""

import pytest

from clients import KINDS, MODES, Client, heard


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_namespace_is_refused(kind, mode, crowd, drivers, daemon, room):
    stray = Client(drivers[kind], mode, daemon.url, namespace="/nowhere")
    stray.wait_for("connect_error")
    neighbour = crowd[f"{kind}-{mode}"]
    assert neighbour.ask("subscribe", room) == []
    assert neighbour.ask("publish", room, "unharmed") == []
    assert heard([neighbour]) == {neighbour: [("data", [room, "unharmed"])]}
    stray.disconnect()


@pytest.mark.parametrize("kind", ["js3", "js4"])
def test_a_refused_namespace_leaves_the_other_on_the_same_connection(kind, drivers, daemon, room):
    client = Client(drivers[kind], "websocket", daemon.url).connected()
    stray = Client(drivers[kind], "websocket", daemon.url, namespace="/nowhere", over=client)
    stray.wait_for("connect_error")
    assert client.ask("subscribe", room) == []
    assert client.ask("publish", room, "unharmed") == []
    assert heard([client]) == {client: [("data", [room, "unharmed"])]}
    client.disconnect()
