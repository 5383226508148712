"""A real Prometheus with the shipped configuration, but for its targets and how often it asks."""

import json
import queue
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from files import PROMETHEUS

# Prometheus replays its log and listens within a second, on a quiet machine.
READY_WITHIN = 60


class Prometheus:
    def __init__(self, directory, target):
        configuration = directory / "prometheus.yml"
        configuration.write_text(self._configured(target))
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory}/data",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log = []
        listening = queue.Queue()
        threading.Thread(target=self._read_log, args=(listening,), daemon=True).start()
        try:
            self.url = f"http://{listening.get(timeout=READY_WITHIN)}"
        except queue.Empty:
            self.stop()
            raise AssertionError("Prometheus does not listen:\n" + "".join(self.log)) from None

    @staticmethod
    def _configured(target):
        """The example that we ship, with each of its places changed exactly once."""
        text = (PROMETHEUS / "prometheus.yml").read_text()
        for pattern, replacement in (
            (r"scrape_interval: 15s", "scrape_interval: 1s"),
            (r"evaluation_interval: 15s", "evaluation_interval: 1s"),
            (r"- alerts\.yml", f"- {PROMETHEUS}/alerts.yml"),
            (r"- broker-1\.example:9091\n *- broker-2\.example:9091", f"- {target}"),
        ):
            text, count = re.subn(pattern, replacement, text)
            assert count == 1, f"prometheus.yml has {count} times `{pattern}`"
        return text

    def _read_log(self, listening):
        """The port is free to choose for the kernel, so Prometheus has to say which it is."""
        for line in self.process.stderr:
            self.log.append(line)
            if address := re.search(r'msg="Listening on" address=(\S+)', line):
                listening.put(address.group(1))

    def ask(self, what, **parameters):
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)["data"]

    def values(self, query):
        """What the query gives now: one number for each series."""
        return [float(series["value"][1]) for series in self.ask("query", query=query)["result"]]

    def active_alerts(self):
        """The alerts whose condition holds, whether or not for long enough."""
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"]}

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def until(what, condition, within=60):
    """Waits for the condition to give something true, and returns it."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        # Prometheus announces nothing; it can only be asked, and scrapes once a second.
        time.sleep(0.25)
    return result
