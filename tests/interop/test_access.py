"""Access: each example of the configuration does what its comments promise, to real clients."""

import pytest

from access import Example, Provider, token_of
from clients import MODES, Client

# How each kind of client shows its token: version 2 has no `auth`.
WAYS = [
    ("js2", "query"),
    ("js2", "header"),
    ("js4", "auth"),
    ("js4", "header"),
    ("py5", "auth"),
    ("py5", "header"),
    ("py5", "query"),
]
# What a client hears that is refused for good.
REFUSED = {
    "js2": ["unauthorized"],
    "js4": ["unauthorized"],
    "py5": [{"message": "unauthorized"}],
}


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def way(request):
    return request.param


@pytest.fixture
def leave():
    """Has clients leave at the end, or some would try to come back for as long as the tests run."""
    clients = []
    yield clients.append
    for client in clients:
        client.disconnect()


# An upgrade begins as polling does, so far as access is concerned.
@pytest.fixture(params=["websocket", "polling"])
def crowd(request, way, drivers, leave):
    kind, how = way
    return Crowd(drivers[kind], how, request.param, leave)


class Crowd:
    """Connects clients of one kind that all show their tokens in the same way."""

    def __init__(self, driver, how, mode, leave):
        self.driver, self.how, self.mode, self.leave = driver, how, mode, leave

    def attempt(self, url, token=None):
        shown = None if token is None else (self.how, token)
        client = Client(self.driver, self.mode, url, shown=shown)
        self.leave(client)
        return client

    def connect(self, url, token=None):
        return self.attempt(url, token).connected()

    def refuse(self, url, token=None):
        client = self.attempt(url, token)
        assert client.wait_for("connect_error") == REFUSED[self.driver.kind], client


def may(client, event, *args):
    assert client.ask(event, *args) == [], f"{client}: {event} {args}"


def may_not(client, event, *args):
    (refusal,) = client.ask(event, *args)
    assert refusal["error"] == "forbidden", f"{client}: {event} {args}: {refusal}"


def hears(client, event, *args):
    client.wait_for(event, lambda heard: heard == list(args))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    example = Example("access-tokens.toml", tmp_path_factory.mktemp("tokens"))
    example.with_tokens("sensors", "dashboard", "operator").with_hash_of("next")
    with example.daemon() as daemon:
        yield daemon.url


def test_services_show_tokens_that_are_the_same_every_time(tokens, crowd):
    sensors, following, dashboard, operator = (
        crowd.connect(tokens, token_of(name)) for name in ("sensors", "next", "dashboard", "operator")
    )
    may(dashboard, "subscribe", "sensors.1")
    may_not(dashboard, "subscribe", "sensors.1.raw")
    may(operator, "subscribe", "sensors.1.raw")
    may(sensors, "publish", "sensors.1", 21)
    hears(dashboard, "data", "sensors.1", 21)
    may(following, "publish", "sensors.1.raw", b"\0")
    hears(operator, "data", "sensors.1.raw", b"\0")
    may_not(sensors, "subscribe", "sensors.1")
    may_not(dashboard, "publish", "sensors.1", 21)
    may(operator, "publish", "orders.1", "stop")
    may_not(operator, "publish", "sensors.1", 21)
    may_not(sensors, "broadcast", "all")
    may(operator, "broadcast", "all")
    for client in (sensors, following, dashboard):
        hears(client, "broadcast", "all")
    calls = [sensors.call("publish", "sensors.1", number) for number in range(200)]
    refusals = {refusal["error"] for answer in (call() for call in calls) for refusal in answer}
    assert refusals == {"rate_limited"}


def test_who_has_no_token_of_a_service_is_refused(tokens, crowd):
    crowd.refuse(tokens)
    crowd.refuse(tokens, "the-token-of-nobody")


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    example = Example("access-public-read.toml", tmp_path_factory.mktemp("public"))
    with example.with_tokens("writer").daemon() as daemon:
        yield daemon.url


def test_anybody_may_listen_and_who_has_a_token_publish(public, crowd):
    reader, writer = crowd.connect(public), crowd.connect(public, token_of("writer"))
    may(reader, "subscribe", "public.news")
    for room in ("public.drafts", "public.drafts.1", "private", 7):
        may_not(reader, "subscribe", room)
    may(writer, "subscribe", "public.drafts")
    may_not(reader, "publish", "public.news", "mine")
    may_not(reader, "broadcast", "mine")
    may(writer, "publish", "public.news", "news")
    hears(reader, "data", "public.news", "news")
    may_not(writer, "publish", "private", "news")
    may(writer, "broadcast", "soon")
    hears(reader, "broadcast", "soon")
    crowd.refuse(public, "the-token-of-nobody")


@pytest.fixture(scope="module")
def tenants(tmp_path_factory):
    example = Example("access-tenants.toml", tmp_path_factory.mktemp("tenants"))
    with example.with_key("tenants.pem").daemon() as daemon:
        yield lambda **claims: (daemon.url, example.sign(audience="broker", **claims))


def test_tenants_do_not_notice_each_other(tenants, crowd):
    member, admin, device, other, nobodys = (
        crowd.connect(*tenants(**claims))
        for claims in (
            {"role": "member", "tenant": "a"},
            {"role": "admin", "tenant": "a"},
            {"role": "device", "tenant": "a", "sub": "pump"},
            {"role": "admin", "tenant": "b"},
            {"role": "member"},
        )
    )
    for room in ("a.chat", "a.notices", "a.device.pump"):
        may(member, "subscribe", room)
        may_not(other, "subscribe", room)
        may_not(other, "publish", room, 1)
        may_not(nobodys, "subscribe", room)
    may(other, "subscribe", "b.chat")
    may(member, "publish", "a.chat", "hello")
    hears(member, "data", "a.chat", "hello")
    for event in ("subscribe", "publish"):
        message = [1] if event == "publish" else []
        may_not(member, event, "a.admin.log", *message)
        may(admin, event, "a.admin.log", *message)
        may_not(member, event, "b.chat", *message)
    may_not(member, "publish", "a.notices", "mine")
    may(admin, "publish", "a.notices", "tonight")
    hears(member, "data", "a.notices", "tonight")
    may(device, "publish", "a.device.pump", 7)
    hears(member, "data", "a.device.pump", 7)
    may_not(device, "publish", "a.device.valve", 7)
    may(device, "subscribe", "a.commands.pump")
    may(member, "publish", "a.commands.pump", "off")
    hears(device, "data", "a.commands.pump", "off")
    may_not(admin, "broadcast", "all")
    url, token = tenants(role="member", tenant="a")
    crowd.refuse(url, token[:-4] + "AAAA")
    crowd.refuse(*tenants(tenant="a"))


ISSUED = {"issuer": "https://id.example.com/", "audience": "https://broker.example.com"}
ROLE = "https://broker.example.com/role"


@pytest.fixture(scope="module")
def provided(tmp_path_factory, drivers):
    folder = tmp_path_factory.mktemp("jwt")
    example = Example("access-jwt.toml", folder)

    def sign(**claims):
        return example.sign(**{**ISSUED, **claims})

    with Provider(folder) as provider, example.with_provider(provider).daemon() as daemon:
        # A client of JavaScript is turned away, and comes back, until the keys have been fetched.
        first = Client(drivers["js4"], "websocket", daemon.url, shown=("auth", sign(sub="first")))
        first.connected().disconnect()
        yield daemon.url, sign


def test_users_of_an_identity_provider_have_rooms_of_their_own(provided, crowd):
    url, sign = provided
    jo = crowd.connect(url, sign(sub="jo"))
    doe = crowd.connect(url, sign(sub="jo.doe"))
    editor = crowd.connect(url, sign(sub="ed", **{ROLE: "editor"}))
    may(jo, "subscribe", "inbox.jo")
    for room in ("inbox.jo.doe", "inbox.*", "outbox.jo"):
        may_not(jo, "subscribe", room)
    may(doe, "subscribe", "inbox.jo.doe")
    for client in (jo, doe):
        may(client, "subscribe", "news.sport")
        may_not(client, "publish", "news.sport", 0)
    may(editor, "subscribe", "outbox.jo")
    may_not(doe, "publish", "outbox.jo", "mine")
    may(jo, "publish", "outbox.jo", "a question")
    hears(editor, "data", "outbox.jo", "a question")
    may(editor, "publish", "inbox.jo", "an answer")
    hears(jo, "data", "inbox.jo", "an answer")
    may(editor, "publish", "news.sport", 3)
    for client in (jo, doe):
        hears(client, "data", "news.sport", 3)
    crowd.refuse(url)
    crowd.refuse(url, sign(sub="jo", audience="https://other.example.com"))
    crowd.refuse(url, sign(sub="jo", issuer="https://id.example.net/"))


# Headers stay what they were: who shows its token there cannot renew it.
@pytest.mark.parametrize("kind, how", [("js2", "query"), ("js4", "auth"), ("py5", "auth")])
@pytest.mark.parametrize("mode", MODES)
def test_when_a_token_ends_a_client_comes_back_with_the_next(provided, drivers, leave, kind, how, mode):
    url, sign = provided
    first, second = sign(sub="jo", expires="3s"), sign(sub="jo", **{ROLE: "editor"})
    client = Client(drivers[kind], mode, url, shown=(how, first, second))
    leave(client)
    client.connected()
    may_not(client, "publish", "news", 1)
    client.wait_for("disconnect")
    client.wait_for("connect")
    may(client, "publish", "news", 1)
