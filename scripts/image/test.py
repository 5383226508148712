"""The image named, of the revision named: what is in it, and what becomes of it as a container."""

import json
import re
import socket
import sys
import tempfile
import tomllib
from pathlib import Path

from asking import get, until
from container import Container, command, podman

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/interop"))

from clients import Client, Driver  # noqa: E402

PUBLIC, ADMIN = ("127.0.0.1", 5000), ("127.0.0.1", 9091)
URL = "http://127.0.0.1:5000"
PROGRAM = "/usr/bin/socketio-humble-broker"
FOLDER = "/etc/socketio-humble-broker"
SHIPPED = ROOT / "packaging/container/broker.toml"
# A promise of docs/container.md.
MOST_BYTES = 15_000_000
# What `docker stop` gives.
GRACE = 10


def it_says_what_it_is(image, revision, _):
    told = json.loads(podman("image", "inspect", image).stdout)[0]
    config = told["Config"]
    assert config["User"] == "65532:65532", config
    assert config["Entrypoint"] == [PROGRAM] and not config.get("Cmd"), config
    assert set(config["ExposedPorts"]) == {"5000/tcp", "9091/tcp"}, config
    assert config["StopSignal"] in ("SIGTERM", "15"), config
    assert told["Healthcheck"]["Test"] == ["CMD", PROGRAM, "--healthcheck"], told
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    wanted = {
        "title": package["name"],
        "description": package["description"],
        "licenses": package["license"],
        "version": package["version"],
        "revision": revision,
    }
    prefix = "org.opencontainers.image."
    labels = config["Labels"]
    labels = {name.removeprefix(prefix): labels[name] for name in labels if name.startswith(prefix)}
    assert wanted == labels, labels
    answer = command(image, "--version")
    assert answer.stdout == f"{package['name']} {package['version']}\n", answer


def there_is_nothing_else_in_it(image, _, __):
    size = int(podman("image", "inspect", "--format", "{{.Size}}", image).stdout)
    print(f"  {size / 1e6:.1f} MB")
    assert size < MOST_BYTES, size
    mounted = Path(podman("image", "mount", image).stdout.strip())
    try:
        files = {str(path.relative_to(mounted)): path for path in mounted.rglob("*") if not path.is_dir()}
        authorities = "etc/ssl/certs/ca-certificates.crt"
        assert set(files) == {PROGRAM[1:], f"{FOLDER[1:]}/broker.toml", authorities}, set(files)
        assert files[f"{FOLDER[1:]}/broker.toml"].read_bytes() == SHIPPED.read_bytes()
        # Debian's: those of the machine that has built it are not for others.
        base = Path(podman("image", "mount", "localhost/rust:1-slim-trixie").stdout.strip())
        assert files[authorities].read_bytes() == (base / authorities).read_bytes()
        assert files[authorities].read_text().count("BEGIN CERTIFICATE") > 100
    finally:
        podman("image", "umount", "--all")


def it_may_do_nothing_and_serves(image, revision, clients):
    with Container(image) as broker:
        process = broker.show("{{.State.Pid}}")
        told = Path(f"/proc/{process}/status").read_text()
        status = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
        wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "CapAmb": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        assert wanted.items() <= status.items(), told
        assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4, told
        mounts = [line.split() for line in Path(f"/proc/{process}/mountinfo").read_text().splitlines()]
        assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"], mounts
        assert broker.logged("serving clients on 0.0.0.0:5000"), broker.lines()
        for mode in ("websocket", "polling", "upgrade"):
            client = Client(clients, mode, URL).connected()
            client.ask("subscribe", mode)
            client.ask("publish", mode, ["through", b"the port"])
            client.wait_for("data", lambda args, room=mode: args == [room, ["through", b"the port"]])
        # Operators have their own port.
        assert get(ADMIN, "/readyz")[0] == 200
        assert get(PUBLIC, "/metrics")[0] == 404
        build = re.search(r"^humble_broker_build_info\{(.*)\} 1$", get(ADMIN, "/metrics")[1], re.MULTILINE)
        assert build and f'revision="{revision}"' in build[1], build


def its_health_check_can_fail(image, _, __):
    with Container(image) as broker:
        broker.signal("STOP")
        assert not broker.is_healthy(), "a broker that stands still is called healthy"
        broker.signal("CONT")
        until("it is healthy again", broker.is_healthy)


def a_signal_has_it_read_its_configuration_again(image, _, clients):
    place, control = "--tmpfs=/run/broker:mode=1777", "HUMBLE_BROKER_ADMIN__CONTROL_SOCKET=/run/broker/control.sock"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "broker.toml")
        Path(folder).chmod(0o755)
        file.write_bytes(SHIPPED.read_bytes())
        with Container(image, f"--volume={folder}:{FOLDER}:ro", place, f"--env={control}") as broker:
            client = Client(clients, "websocket", URL).connected()
            assert client.ask("subscribe", "first") == []
            file.write_text(f"{SHIPPED.read_text()}\n[limits]\nrooms_per_client = 1\n")
            broker.signal("HUP")
            until("it has reloaded", lambda: broker.logged("reloaded"))
            refusal = client.ask("subscribe", "second")
            assert refusal[0]["error"] == "too_many_rooms", refusal
            file.write_text("nonsense = 1\n")
            broker.signal("HUP")
            until("it has refused", lambda: broker.logged("reload refused"))
            asked = podman("exec", broker.name, PROGRAM, "reload", check=False)
            assert asked.returncode == 78 and "nonsense" in asked.stderr, asked
            file.write_text(SHIPPED.read_text())
            asked = podman("exec", broker.name, PROGRAM, "reload", check=False)
            assert asked.returncode == 0 and "limits.rooms_per_client" in asked.stdout, asked
            # The connection is still the first one.
            client.ask("publish", "first", "still there")
            client.wait_for("data", lambda args: args == ["first", "still there"])


def a_stop_delivers_what_was_published_and_lets_clients_come_back(image, _, clients):
    with Container(image) as broker:
        # Enough of them for the drain to be spread over some seconds. Few of them open a connection for every
        # poll: a forwarded port queues only one here, and who waits too often for the system to try again
        # is beyond what any broker can do within the timeout.
        several = [Client(clients, "websocket" if number % 15 else "polling", URL) for number in range(60)]
        for client in several:
            client.connected()
        assert [client.ask("subscribe", "last") for client in several] == [[]] * len(several)
        publisher = Client(clients, "websocket", URL).connected()
        publisher.burst("last", 200)
        publisher.ask("publish", "last", "the end")
        took, code = broker.stop()
        print(f"  stopped {len(several) + 1} clients in {took:.1f} s")
        for client in several:
            messages = client.log.take_messages_until("disconnect", lambda args: True)
            got = [args[1] for event, args in messages if event == "data"]
            assert got == [*range(200), "the end"], f"{client} has got {got[-3:]}, {len(got)} in all"
        assert (code, broker.logged("stopped") != []) == ("0", True), (code, broker.lines())
        assert took < GRACE, took
    # Whoever was asked to go for good would not try; here nobody is there yet.
    with Container(image):
        for client in several:
            client.wait_for("connect")


def a_stop_is_over_in_time_whoever_hangs(image, _, clients):
    with Container(image) as broker, idle_reader("heavy"):
        publisher = Client(clients, "websocket", URL).connected()
        for _ in range(7):
            assert publisher.ask("publish", "heavy", "x" * 900_000) == []
        took, code = broker.stop()
        print(f"  a client that does not read has held it for {took:.1f} s")
        # Longer than the drain of a single client takes, or this one has not been in the way.
        assert 6 < took < GRACE, took
        assert code == "0", code


def idle_reader(room):
    """The stream of a client that has subscribed, and does not read any more."""
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.settimeout(30)
    stream.connect(PUBLIC)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    stream.sendall(f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: broker\r\n{upgrade}\r\n".encode())
    received = b""
    for text, answer in (("40", b'40{"sid"'), (f'420["subscribe","{room}"]', b"430[]")):
        frame = text.encode()
        # A mask of zeros is one as well.
        stream.sendall(bytes([0x81, 0x80 | len(frame), 0, 0, 0, 0]) + frame)
        while answer not in received:
            received += stream.recv(4096)
    return stream


def the_program_is_there_for_questions_as_well(image, _, __):
    checked = command(image, "--check-config", options=["--user=1000770000:0"])
    assert checked.returncode == 0, checked
    wrong = command(image, "--check-config", options=["--env=HUMBLE_BROKER_DRAIN__TIMEOUT=8"])
    assert wrong.returncode == 78 and "HUMBLE_BROKER_DRAIN__TIMEOUT: `8`" in wrong.stderr, wrong


def names_are_found_without_a_library(image, _, __):
    with Container(image, "--hostname=broker", "--env=HUMBLE_BROKER_SERVER__HOST=broker") as broker:
        serves = broker.logged("serving clients on")[0]["message"]
        assert re.search(r"clients on 10\.[0-9.]+:5000 ", serves), serves


TESTS = [
    it_says_what_it_is,
    there_is_nothing_else_in_it,
    the_program_is_there_for_questions_as_well,
    it_may_do_nothing_and_serves,
    its_health_check_can_fail,
    a_signal_has_it_read_its_configuration_again,
    a_stop_delivers_what_was_published_and_lets_clients_come_back,
    a_stop_is_over_in_time_whoever_hangs,
    names_are_found_without_a_library,
]


def main(image, revision):
    print(podman("--version").stdout.strip())
    clients = Driver("js4")
    try:
        for test in TESTS:
            name = test.__name__.replace("_", " ")
            try:
                test(image, revision, clients)
            except Exception:
                print(f"failed: {name}", file=sys.stderr)
                raise
            print(f"ok: {name}", flush=True)
    finally:
        clients.close()


main(*sys.argv[1:])
