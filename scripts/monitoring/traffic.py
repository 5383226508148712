"""A bit of everything that clients do: they stay, come and go, publish, are wrong, and are refused."""

import math
import threading
import urllib.error
import urllib.request

import socketio

SUBSCRIBERS = 12
ROOMS = 4
# What the daemon is told to allow; another is refused.
ORIGIN = "https://app.example"


class Traffic:
    def __init__(self, url):
        self.url = url
        self.over = threading.Event()
        self.failures = []
        self.threads = [
            threading.Thread(target=self._run, args=(work,), daemon=True)
            for work in (self._publish, self._come_and_go, self._be_refused)
        ]

    def __enter__(self):
        self.subscribers = [self._client(number) for number in range(SUBSCRIBERS)]
        for number, client in enumerate(self.subscribers):
            client.call("subscribe", f"room {number % ROOMS}", timeout=30)
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        for client in self.subscribers:
            client.disconnect()

    def check(self):
        assert not self.failures, f"the traffic has come to an end: {self.failures}"

    def _run(self, work):
        try:
            work()
        except Exception as error:  # It is told by `check`; in a thread nobody would hear of it.
            self.failures.append(error)

    def _client(self, number):
        transports = ["polling"] if number % 3 == 0 else ["websocket"]
        # Else websocket-client makes up an origin.
        client = socketio.Client(websocket_extra_options={"suppress_origin": True}, reconnection=False)
        client.connect(self.url, transports=transports, wait_timeout=30)
        return client

    def _publish(self):
        client = self._client(1)
        turn = 0
        while not self.over.wait(0.05):
            turn += 1
            # Waves and sizes, so that a curve can be told from a line.
            for _ in range(round(2 + 1.5 * math.sin(turn / 60))):
                client.emit("publish", (f"room {turn % ROOMS}", "x" * (50 + turn % 400)))
            if turn % 10 == 0:
                client.emit("broadcast", "to everyone")
            if turn % 50 == 0:
                client.call("publish", ("", "there is no such room"), timeout=30)
        client.disconnect()

    def _come_and_go(self):
        turn = 0
        while not self.over.wait(0.4):
            turn += 1
            client = self._client(turn)
            client.call("subscribe", f"room {turn % 20}", timeout=30)
            client.call("unsubscribe", f"room {turn % 20}", timeout=30)
            client.disconnect()

    def _be_refused(self):
        """Seldom enough not to be an alert."""
        request = urllib.request.Request(
            f"{self.url}/socket.io/?EIO=4&transport=polling", headers={"Origin": f"{ORIGIN}.evil"}
        )
        while not self.over.wait(2):
            try:
                urllib.request.urlopen(request, timeout=30).close()
            except urllib.error.HTTPError as error:
                assert error.code == 403, f"a wrong origin was answered with {error.code}"
            else:
                raise AssertionError("a wrong origin was not refused")
