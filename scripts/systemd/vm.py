"""What only a kernel of its own can show of the service, run as root on a machine that has just been booted."""

import json
import os
import resource
import socket
import subprocess
from pathlib import Path

from asking import get, until
from client import Client

NAME = "socketio-humble-broker"
SERVICE = f"{NAME}.service"
CONFIGURATION = Path(f"/etc/{NAME}/broker.toml")
ADMIN = ("127.0.0.1", 9091)
SERVES = '[server]\nhost = "127.0.0.1"\n[admin]\nlisten = "127.0.0.1:9091"\n'
FILES = 1048576
# More than a container is commonly allowed.
CONNECTIONS = 24_000
# What a node begins with, and what may wait to be sent, have room in it; all that is published below has not.
MEMORY, QUEUES = 96, 32
# No reader is sent more than it may keep waiting, 8 MB, and none is sent what another is.
READERS, MESSAGES, SIZE = 20, 12, 500_000
# Time enough for clients that answer no ping, as the machine may be slow.
SLOWLY = '[socketio]\nping_timeout = "10min"\n'
MIB = 1024 * 1024


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def show(name):
    return run("systemctl", "show", "-P", name, SERVICE)


def group(name):
    """What the kernel says of the cgroup of the service."""
    return Path(f"/sys/fs/cgroup{show('ControlGroup')}/{name}").read_text().strip()


def metric(name):
    lines = get(ADMIN, "/metrics")[1].splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def the_package_starts_the_service():
    run("apt-get", "install", "-q", "-y", "/run/test/broker.deb")
    assert show("ActiveState") == "active"
    CONFIGURATION.write_text(SERVES)
    run("systemctl", "restart", SERVICE)
    Client().subscribe("room")


def as_many_files_are_open_as_the_unit_says():
    limits = Path(f"/proc/{show('MainPID')}/limits").read_text()
    files = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()
    assert files[3:5] == [str(FILES)] * 2, limits
    assert metric("process_max_fds") == FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    # Time enough, as the machine may be slow.
    CONFIGURATION.write_text(f'{SERVES}[limits]\nconnections_per_ip = 0\nheader_timeout = "10min"\n')
    run("systemctl", "restart", SERVICE)
    connections = []
    for number in range(CONNECTIONS):
        # No address has as many ports.
        source = f"127.0.1.{1 + number // 4000}"
        connections.append(socket.create_connection(("127.0.0.1", 5000), 30, (source, 0)))
    until("all are accepted", lambda: metric("process_open_fds") > CONNECTIONS)
    Client().subscribe("room")
    for connection in connections:
        connection.close()
    print(f"  {CONNECTIONS} connections at once, of {FILES} files")


def clients_that_do_not_read_stay_below_the_limit_of_memory():
    CONFIGURATION.write_text(f'{SERVES}[limits]\nsend_queue_total = "{QUEUES} MB"\n{SLOWLY}')
    # Stopped first, as it still has what the connections before took.
    run("systemctl", "stop", SERVICE)
    run("systemctl", "set-property", "--runtime", SERVICE, f"MemoryMax={MEMORY}M")
    run("systemctl", "start", SERVICE)
    assert group("memory.max") == str(MEMORY * MIB)
    readers, publisher = [Client() for _ in range(READERS)], Client()
    for number, reader in enumerate(readers):
        reader.subscribe(f"room-{number}")
    waiting = 0
    for _ in range(MESSAGES):
        for number in range(READERS):
            publisher.ask("POST", f'42{json.dumps(["publish", f"room-{number}", "x" * SIZE])}')
        # The most of it: who does not read is cut off sooner or later.
        waiting = max(waiting, metric("humble_broker_send_queue_bytes") / MIB)
    peak = int(group("memory.peak")) / MIB
    events = dict(line.split() for line in group("memory.events").splitlines())
    sent = READERS * MESSAGES * SIZE / MIB
    print(f"  {sent:.0f} MiB for clients that do not read: {waiting:.0f} MiB wait, peak {peak:.0f} MiB")
    assert waiting > 0, "nobody was made to wait for anything"
    assert events["oom_kill"] == "0" and show("NRestarts") == "0", events
    assert peak < MEMORY
    Client().subscribe("room")


def who_exceeds_it_is_replaced():
    process = show("MainPID")
    run("systemctl", "set-property", "--runtime", SERVICE, "MemoryMax=2M")
    until("it is killed", lambda: show("MainPID") != process)
    run("systemctl", "set-property", "--runtime", SERVICE, "MemoryMax=infinity")
    until("another serves", lambda: show("ActiveState") == "active" and show("MainPID") not in (process, "0"))
    Client().subscribe("room")
    told = run("journalctl", "-u", SERVICE, "-o", "cat", "--no-pager")
    assert "oom-kill" in told, told


TESTS = [
    the_package_starts_the_service,
    as_many_files_are_open_as_the_unit_says,
    clients_that_do_not_read_stay_below_the_limit_of_memory,
    who_exceeds_it_is_replaced,
]


def main():
    print(run("systemctl", "--version").splitlines()[0], "on Linux", os.uname().release)
    for test in TESTS:
        test()
        print(f"ok: {test.__name__.replace('_', ' ')}", flush=True)
    print("passed")


main()
