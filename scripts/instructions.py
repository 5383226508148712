"""Counts what an event costs two builds of the daemon, in instructions, by callgrind.

For scripts/metrics-cost.sh: `instructions.py WITHOUT WITH`. The difference between a long and a short
run is what the events in between have cost; start, handshakes and end are in both.
"""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

SHORT, LONG = 1000, 5000
READERS = (0, 1, 10)
MOST = 1.03
DEADLINE = 120


class Client:
    """A Socket.IO client over WebSocket, with nothing that it need not have."""

    def __init__(self, address):
        self.stream = socket.create_connection(address, timeout=DEADLINE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: broker\r\n"
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
            f"sec-websocket-key: {key}\r\n\r\n".encode()
        )
        self.reader = self.stream.makefile("rb")
        while self.reader.readline() != b"\r\n":
            pass
        self.expect("0")
        self.send("40")
        self.expect("40")

    def send(self, packet):
        data = packet.encode()
        assert len(data) < 126
        # A mask of zeroes leaves the bytes as they are.
        self.stream.sendall(bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data)

    def expect(self, start):
        """Waits for a packet that starts so; it must be the next, but for pings."""
        while True:
            head = self.reader.read(2)
            assert len(head) == 2, "the broker has closed the connection"
            length = head[1]
            if length == 126:
                length = int.from_bytes(self.reader.read(2), "big")
            packet = self.reader.read(length).decode()
            if packet != "2":
                assert packet.startswith(start), f"{packet} is not {start}"
                return
            self.send("3")


def instructions(program, readers, events):
    """What a run with so many events costs."""
    with tempfile.TemporaryDirectory() as folder:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(f"{folder}/notify")
        manager.settimeout(DEADLINE)
        counts = f"{folder}/counts"
        log = open(f"{folder}/log", "wb")
        daemon = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", program]
            + ["--host=127.0.0.1", "--port=0", "--set", "server.workers=1"]
            # No heartbeat falls into a run.
            + ["--set", "socketio.ping_interval=1h", "--set", "socketio.ping_timeout=1h"],
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": f"{folder}/notify"},
            stderr=log,
        )
        try:
            ready = manager.recv(4096).decode()
            host, port = re.search(r"^X_LISTEN=(.*):(\d+)$", ready, re.MULTILINE).groups()
            listening = [Client((host, int(port))) for _ in range(readers)]
            for client in listening:
                client.send('420["subscribe","room"]')
                client.expect("430[]")
            publisher = Client((host, int(port)))
            # One after the other, so that every event takes the same way.
            for _ in range(events):
                publisher.send('421["publish","room","' + 64 * "x" + '"]')
                publisher.expect("431[]")
                for client in listening:
                    client.expect('42["data","room",')
            for _ in range(2):
                daemon.send_signal(signal.SIGTERM)
            daemon.wait(DEADLINE)
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        with open(counts) as file:
            return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.MULTILINE).group(1))


def main():
    without, recorded = sys.argv[1:]
    # As an exit, so that no daemon is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    worst = 0.0
    print("readers   without      with   ratio   (instructions of an event)")
    for readers in READERS:
        costs = [
            (instructions(program, readers, LONG) - instructions(program, readers, SHORT)) / (LONG - SHORT)
            for program in (without, recorded)
        ]
        ratio = costs[1] / costs[0]
        worst = max(worst, ratio)
        print(f"{readers:7}   {costs[0]:7.0f}   {costs[1]:7.0f}   {ratio:.3f}", flush=True)
    if worst > MOST:
        sys.exit(f"the metrics cost more than {(MOST - 1) * 100:.0f} %")


main()
