import pytest

from clients import KINDS, MODES, Client, Driver, all_acknowledged
from daemon import Daemon

NAMES = [f"{kind}-{mode}" for kind in KINDS for mode in MODES]


@pytest.fixture(scope="session")
def drivers():
    drivers = {kind: Driver(kind) for kind in KINDS}
    yield drivers
    for driver in drivers.values():
        driver.close()


@pytest.fixture(scope="session")
def daemon():
    with Daemon() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def connect_all(drivers):
    """Connects one client of every kind over every transport."""

    def connect_all(url, kinds=KINDS, **options):
        clients = [Client(drivers[kind], mode, url, **options) for kind in kinds for mode in MODES]
        return {client.name: client.connected() for client in clients}

    return connect_all


@pytest.fixture(scope="session")
def connected(connect_all, daemon):
    return connect_all(daemon.url)


@pytest.fixture
def crowd(connected):
    """Clients of every kind over every transport, all connected to one daemon."""
    yield connected
    # What a failed test has left behind is not the next one's.
    for client in connected.values():
        client.log.forget()


@pytest.fixture(params=NAMES)
def client(request, crowd):
    """Each client of the crowd in turn."""
    return crowd[request.param]


@pytest.fixture
def room(request):
    """A room of this test alone."""
    return request.node.nodeid


@pytest.fixture
def full_room(crowd, room):
    """A room of this test alone, with the whole crowd in it."""
    all_acknowledged([client.call("subscribe", room) for client in crowd.values()])
    yield room
    all_acknowledged([client.call("unsubscribe", room) for client in crowd.values()])
