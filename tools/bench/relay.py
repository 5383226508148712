"""Measures what goes from one node to another, for scripts/bench-relay.sh: two nodes, readers at the one and
publishers at the other, in turns with Node's server and its adapter.

What is taken by both nodes together counts, and what the server between them takes does not: it is the same.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from statistics import median

import compare
from compare import FOLDER, ROOT, TARGET, shown

NODES, BETWEEN = (5791, 5792), 5793
BEGIN, END = "<!-- scripts/bench-relay.sh writes what follows -->", "<!-- until here -->"

ROWS = {
    "stream": ("1 reader, 64 messages in flight", "--readers 1 --window 64"),
    "fanout": ("100 readers, 32 messages in flight", "--readers 100 --window 32"),
    "publishers": ("1 reader, 10 publishers, 64 messages in flight", "--readers 1 --publishers 10 --window 64"),
    "rate": ("1 reader, 1,000 messages a second", "--readers 1 --rate 1000"),
}
# Key of a report, what it is called, and its unit.
FIGURES = [
    ("cpu_per_message", "processor time of a message, µs"),
    ("publishes_per_second", "messages a second"),
    ("latency_p50", "p50, ms"),
    ("latency_p99", "p99, ms"),
    ("added_p50", "of which p50 is more than within a node, ms"),
    ("added_p99", "of which p99 is more than within a node, ms"),
    ("missing", "lost"),
]


def ours(*relay):
    settings = [word for setting in relay for word in ("--set", setting)]
    return lambda options, port: [
        options.broker, "--host", "127.0.0.1", "--log-level", "warn", "--config", FOLDER / "ours/broker.toml",
        *settings, "--port", port,
    ]


# How a node is started, and what is between the nodes.
PAIRS = {
    "ours over Redis": (ours(f"relay.redis.url='redis://127.0.0.1:{BETWEEN}'"), "redis"),
    "ours over a Redis Cluster": (
        ours(f"relay.redis.url='redis://127.0.0.1:{BETWEEN}'", "relay.redis.cluster=true"), "cluster"),
    "ours over NATS": (ours(f"relay.nats.servers='nats://127.0.0.1:{BETWEEN}'"), "nats"),
    "Node over Redis": (lambda _, port: ["node", FOLDER / "relay/server.mjs", BETWEEN, port], "redis"),
}
REDIS = ["redis-server", "--port", BETWEEN, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
SERVERS = {
    "redis": REDIS,
    # Of one server, so that no more processors are in use.
    "cluster": [*REDIS, "--cluster-enabled", "yes", "--cluster-config-file", FOLDER / "cluster.conf"],
    "nats": ["nats-server", "--addr", "127.0.0.1", "--port", BETWEEN],
}


class Processes:
    """Processes that are ended together."""

    def __init__(self):
        self.all = []

    def start(self, command, log):
        with (FOLDER / log).open("w") as file:
            process = subprocess.Popen([*map(str, command)], stdout=file, stderr=file, start_new_session=True)
        self.all.append(process)
        return process

    def end(self):
        for process in reversed(self.all):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(compare.START)
            # Those that it has started end in their own time.
            until = time.monotonic() + compare.START
            while has_members(process.pid):
                if time.monotonic() > until:
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.05)


def has_members(group):
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False


def listening(port):
    until = time.monotonic() + compare.START
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"bench-relay.sh: nobody listens on port {port}; see {FOLDER.relative_to(ROOT)}/*.log")


def found_cluster():
    """Gives all slots to the server, which is alone."""
    def ask(*command):
        return compare.run("redis-cli", "-p", str(BETWEEN), *command)

    # It knows them from the last time.
    if "cluster_slots_assigned:0" in ask("CLUSTER", "INFO"):
        ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    until = time.monotonic() + compare.START
    while "cluster_state:ok" not in ask("CLUSTER", "INFO"):
        if time.monotonic() > until:
            sys.exit("bench-relay.sh: the cluster does not come up")
        time.sleep(0.05)


def measure(name, arguments, options):
    """What the load generator says of messages from node to node, and how they fare within one."""
    node, between = PAIRS[name]
    processes = Processes()
    try:
        processes.start(SERVERS[between], "between.log")
        listening(BETWEEN)
        if between == "cluster":
            found_cluster()
        # A shell that has started both, so that they are measured together.
        both = " & ".join(" ".join(map(str, node(options, port))) for port in NODES)
        pair = processes.start(["sh", "-c", f"{both} & wait"], "pair.log")
        for port in NODES:
            listening(port)
        across = generate(f"{arguments} --publish-at 127.0.0.1:{NODES[1]} --pid {pair.pid}", options)
        # As fast as it goes, there is nothing to compare.
        within = generate(arguments, options) if "--rate" in arguments else None
    finally:
        processes.end()
    across["cpu_per_message"] = 1e6 * across["server_cpu"] / across["publishes_per_second"]
    for key in ("p50", "p99") if within else ():
        across[f"added_{key}"] = across[f"latency_{key}"] - within[f"latency_{key}"]
    return across


def generate(arguments, options):
    command = f"{TARGET}/release/socketio-bench fanout 127.0.0.1:{NODES[0]} {arguments} --json --seconds {options.seconds:g}"
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=compare.LONGEST)
    # Code 3 is a measurement too: one with losses.
    if done.returncode not in (0, 3):
        sys.exit(f"bench-relay.sh: `{command}` has failed:\n{done.stderr}")
    return json.loads(done.stdout)


def table(reports, names):
    against = [name for name in names if name.startswith("ours")] if "Node over Redis" in names else []
    heads = [*names, *(f"{name} / Node" for name in against)]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    for row, (title, _) in ROWS.items():
        lines.append(f"| **{title}** |" + " |" * len(heads))
        for key, figure in FIGURES:
            if key not in reports[row, names[0]][0]:
                continue
            # A loss in one round is a loss.
            value = {name: (max if key == "missing" else median)(report[key] for report in reports[row, name])
                     for name in names}
            ratios = [shown(value[name] / value["Node over Redis"]) if value["Node over Redis"] > 0 and key != "missing"
                      and "added" not in key else "" for name in against]
            lines.append(f"| {figure} | " + " | ".join([*map(shown, value.values()), *ratios]) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(prog="bench-relay.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="length of each measurement")
    parser.add_argument("--profile", default="release", help="cargo's profile of the broker")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    options.broker = None
    FOLDER.mkdir(parents=True, exist_ok=True)
    compare.run("cargo", "build", "--locked", "--release", cwd=compare.BENCH,
                env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})
    compare.build_ours(options)
    compare.npm("relay")(options)
    load = os.getloadavg()
    names, reports = list(PAIRS), {}
    for number in range(options.rounds):
        for row, (_, arguments) in ROWS.items():
            for name in names[number % len(names):] + names[:number % len(names)]:
                report = measure(name, arguments, options)
                reports.setdefault((row, name), []).append(report)
                values = ", ".join(f"{figure} {shown(report[key])}" for key, figure in FIGURES if key in report)
                print(f"{number + 1}/{options.rounds} {row:10} {name:25} {values}", file=sys.stderr, flush=True)
    said = "".join(f" {word}" for word in sys.argv[1:])
    text = "\n".join([
        BEGIN, "",
        f"`scripts/bench-relay.sh{said}` at {compare.run('git', 'describe', '--always', '--dirty', cwd=ROOT)}, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}: {compare.machine()}, load {load[0]:.1f} before. Medians of "
        f"{options.rounds} interleaved rounds of {options.seconds:g} s each; of losses, the worst. Messages of 128 "
        "bytes from a client of one node to clients of another, over WebSocket. Processor time is of both nodes "
        "together, and not of what is between them.", "",
        *table(reports, names), "", END,
    ])
    print(text)
    if options.write:
        compare.write(text, BEGIN, END)


if __name__ == "__main__":
    main()
