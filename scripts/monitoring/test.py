"""The alerts and the dashboard of packaging/, against a real daemon that a real Prometheus scrapes."""

import argparse
import math
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import files
from prometheus import Prometheus, until
from traffic import ORIGIN, Traffic

sys.path.insert(0, str(files.ROOT / "tests/interop"))
from daemon import BINARY, Daemon  # noqa: E402
from redis_server import RedisServer  # noqa: E402

FAILED_RELOADS = "count(humble_broker_config_last_reload_success == 0) or vector(0)"
WAITING_KEYS = "count(humble_broker_config_needs_restart == 1) or vector(0)"


def configuration(directory, path="/socket.io"):
    return (
        f'[server]\nallowed_origins = ["{ORIGIN}"]\npath = "{path}"\n\n'
        f'[admin]\ncontrol_socket = "{directory}/control.sock"\n'
    )


def reload(directory, code):
    done = subprocess.run([BINARY, "reload", "--socket", f"{directory}/control.sock"], timeout=60)
    assert done.returncode == code, f"the reload ended with {done.returncode} instead of {code}"


def the_metrics_are_clean_and_complete(url):
    wanted = {
        name
        for expression in [rule["expr"] for rule in files.alerts] + [query for _, query, _ in files.queries()]
        for name in files.METRIC.findall(expression)
    } - {"up"}
    missing = set(wanted)

    def scraped():
        """Some appear with their first count, which the traffic brings about."""
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
            scrape = response.read()
        missing.difference_update(files.METRIC.findall(scrape.decode()))
        return not missing and scrape

    try:
        scrape = until("all metrics", scraped)
    except AssertionError:
        raise AssertionError(f"the daemon has no such metric: {sorted(missing)}") from None
    subprocess.run(["promtool", "check", "metrics"], input=scrape, check=True, timeout=60)
    print(f"{len(wanted)} metrics are there, under these names")


def every_query_returns_data(prometheus):
    waiting = files.queries()
    assert waiting

    def all_answered():
        waiting[:] = [query for query in waiting if not any(map(math.isfinite, prometheus.values(query[1])))]
        return not waiting

    try:
        until("data for every query", all_answered)
    except AssertionError:
        lines = "\n".join(f"  {title}: {query}" for title, query, _ in waiting)
        raise AssertionError(f"these return nothing, or no number:\n{lines}") from None
    print(f"{len(files.queries())} queries of {len(files.panels)} panels return data")


def the_rules_are_evaluated(prometheus):
    def all_rules():
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = until("the rules' first turn", all_rules)
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in files.alerts}
    for rule in rules:
        assert rule["health"] == "ok", f"{rule['name']}: {rule['health']}: {rule.get('lastError')}"


def reloads_are_seen(prometheus, directory, file):
    """With their alerts, whose labels are then those of a real daemon."""
    until("the first scrape", lambda: prometheus.values("humble_broker_draining") == [0])
    assert prometheus.values(FAILED_RELOADS) == [0] and prometheus.values(WAITING_KEYS) == [0]
    file.write_text(configuration(directory, path="/elsewhere"))
    reload(directory, 0)
    until("the alert on a key that waits", lambda: "HumbleBrokerNeedsRestart" in prometheus.active_alerts())
    assert prometheus.values(WAITING_KEYS) == [1]
    file.write_text("[server]\nport = 5000\nprot = 5001\n")
    reload(directory, 78)
    until("the alert on a failed reload", lambda: "HumbleBrokerReloadFailed" in prometheus.active_alerts())
    assert prometheus.values(FAILED_RELOADS) == [1]
    file.write_text(configuration(directory))
    reload(directory, 0)
    until("the end of the alerts", lambda: not prometheus.active_alerts())
    print("a key that waits for a restart and a failed reload are seen, and that they are over")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--picture", type=Path, help="draw the dashboard to this file")
    parser.add_argument("--seconds", type=int, default=0, help="how long there is traffic at least")
    chosen = parser.parse_args()
    files.check()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        file = directory / "broker.toml"
        file.write_text(configuration(directory))
        with RedisServer(directory) as server, Daemon(
            "--config", str(file), "--set", f"relay.redis.url={server.url}"
        ) as daemon:
            with Prometheus(directory, daemon.url.removeprefix("http://")) as prometheus:
                began = time.time()
                with Traffic(daemon.url) as traffic:
                    reloads_are_seen(prometheus, directory, file)
                    the_metrics_are_clean_and_complete(daemon.url)
                    every_query_returns_data(prometheus)
                    the_rules_are_evaluated(prometheus)
                    active = prometheus.active_alerts()
                    assert not active, f"nothing is wrong, and yet there are alerts: {active}"
                    until("enough traffic", lambda: time.time() >= began + chosen.seconds, chosen.seconds + 60)
                    traffic.check()
                    if chosen.picture:
                        # Only here, as nobody else has to install what it draws with.
                        import picture

                        picture.draw(prometheus, began, chosen.picture)
                code = daemon.stop()
                assert code == 0, f"the daemon ended with {code}"
                until("the alert on a daemon that has gone", lambda: "HumbleBrokerDown" in prometheus.active_alerts())
                print("so is a daemon that has gone")


main()
