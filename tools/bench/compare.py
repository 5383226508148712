"""Measures servers in turns, for scripts/bench.sh, and makes one table of medians and ratios.

Every figure comes from a server that has just been started. The rounds are interleaved: each row is
measured with all servers, one after the other, before it is measured again.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "tools/bench"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FOLDER = TARGET / "bench"
PORT = 5790
# Longest time that a server may take to listen, and one measurement to end.
START, LONGEST = 30, 300
BEGIN, END = "<!-- scripts/bench.sh writes what follows -->", "<!-- until here -->"


@dataclass
class Server:
    """A server to measure: how it is made, started, and what it says of its version."""

    title: str
    prepare: callable
    command: callable
    version: callable
    # Transports and versions that it speaks.
    ways: tuple


@dataclass
class Figure:
    """What is read from a report: its key, a name, its unit, and the bar for ours."""

    key: str
    title: str
    unit: str
    # Most (or least, where more is better) as a ratio to other servers, and as a value.
    ratios: dict = field(default_factory=dict)
    bar: float = None
    more_is_better: bool = False


@dataclass
class Row:
    title: str
    arguments: str
    figures: list
    # What replaces arguments when it is to be quick.
    quick: dict = field(default_factory=dict)
    # Servers that it makes no sense for.
    without: tuple = ()
    # Whether it is measured for every transport and version, and added up.
    every_way: bool = False
    # Whether --seconds applies.
    timed: bool = True


def cpu(**more):
    return Figure("server_cpu_per_delivery", "processor time of a delivery", "µs", **more)


LOST = Figure("missing", "deliveries lost", "", bar=0)
WEBSOCKET = ("websocket 4",)
ALL_4 = ("websocket 4", "polling 4", "upgrade 4")
ALL = (*ALL_4, "websocket 3", "polling 3", "upgrade 3")

ROWS = {
    "one": Row(
        "1 room, 1,000 readers, one message at a time",
        "fanout --readers 1000 --window 1",
        [cpu(ratios={"floor": 1.25, "node": 0.5, "bun": 0.7}), Figure("latency_p50", "p50", "ms"),
         Figure("latency_p99", "p99", "ms")],
    ),
    "many": Row(
        "the same, 32 messages in flight",
        "fanout --readers 1000 --window 32",
        [cpu(ratios={"floor": 2, "node": 1 / 20}),
         Figure("deliveries_per_second", "deliveries a second", "", more_is_better=True), LOST],
    ),
    "publishers": Row(
        "1 room, 100 readers, 10 publishers, 32 messages in flight",
        "fanout --readers 100 --publishers 10 --window 32",
        [cpu(ratios={"floor": 4, "node": 1 / 7}), LOST],
    ),
    "rooms": Row(
        "1,000 rooms of 5 readers, 64 messages in flight",
        "rooms --rooms 1000 --readers 5 --window 64",
        [cpu(ratios={"floor": 1.5, "node": 0.45, "bun": 0.65}), LOST],
    ),
    "large": Row(
        "1 room, 1,000 readers, messages of 4 KiB, 4 in flight",
        "fanout --readers 1000 --size 4096 --window 4",
        [cpu(ratios={"floor": 2, "node": 0.4}), LOST],
    ),
    "latency": Row(
        "1 room, 100 readers, 30,000 deliveries a second",
        "fanout --readers 100 --rate 300",
        [Figure("latency_p50", "p50", "ms", bar=0.45), Figure("latency_p99", "p99", "ms", bar=0.9), cpu()],
    ),
    "burst": Row(
        "a burst of 10,000 messages to 200 readers, by every transport and version that the server speaks",
        "fanout --readers 200 --messages 10000 --window 10000",
        [LOST, Figure("out_of_order", "deliveries out of order", "", bar=0),
         Figure("readers_lost", "readers disconnected", "", bar=0)],
        quick={"10000": "1000"}, every_way=True, timed=False,
    ),
    "connect": Row(
        "5,000 clients connect",
        "connect --clients 5000",
        [Figure("server_cpu_per_connection", "processor time of a connection", "µs", bar=45),
         Figure("connections_per_second", "connections a second", "", ratios={"node": 4}, more_is_better=True)],
        quick={"5000": "500"}, timed=False,
    ),
    "early": Row(
        "1,000 clients subscribe in the moment in which they are connected, by every transport and version",
        "connect --clients 1000 --subscribed --patience 3",
        [Figure("connections_missing", "subscriptions lost", "", bar=0)],
        quick={"1000": "300"}, every_way=True, timed=False,
    ),
    "idle": Row(
        "10,000 connections that do nothing",
        "idle --clients 10000",
        [Figure("server_memory_per_connection", "memory of a connection", "KiB", bar=18)],
        quick={"10000": "1000"}, timed=False,
    ),
    "churn": Row(
        "1,000 clients, of which 200 a second are replaced",
        "churn --clients 1000 --rate 200 --quiet 1",
        [Figure("server_cpu_per_client", "processor time of a client that comes and goes", "µs"),
         Figure("bystander_p99", "p99 of a bystander", "ms")],
    ),
    "avalanche": Row(
        "18,000 clients lose their connections and come back, 1,000 at once",
        "avalanche --clients 18000 --at-once 1000 --patience 10 --quiet 1",
        [Figure("clients_not_back", "clients that are not back", "", bar=0),
         Figure("back_after", "time until they are", "s"),
         Figure("bystander_p99", "p99 of a bystander", "ms", bar=100)],
        quick={"18000": "1000"}, timed=False,
    ),
    "slow": Row(
        "1 room, 50 readers, 15 that do not keep up, 1,000 messages of 4 KiB a second",
        "slow --readers 50 --slow 15 --size 4096 --rate 1000",
        [cpu(), Figure("latency_p99", "p99 of those that keep up", "ms"), LOST,
         Figure("server_memory_most", "most memory", "KiB")],
    ),
}


def run(*command, **options):
    """Runs a command of the preparations; what it prints is seen only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"bench.sh: `{' '.join(map(str, command))}` has failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def copied(name):
    """The sources of a peer, copied to where its packages may be installed."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in (BENCH / "peers" / name).iterdir():
        shutil.copy(file, folder)
    shutil.copy(BENCH / "peers" / "events.mjs", FOLDER)
    return folder


def installed(name, lock, install):
    """Installs the packages of a peer, unless those of this lock file are there."""
    folder = copied(name)
    wanted, stamp = (folder / lock).read_text(), folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        install(folder)
        stamp.write_text(wanted)


def npm(name):
    return lambda _: installed(
        name, "package-lock.json",
        lambda folder: run("npm", "ci", "--no-audit", "--no-fund", cwd=folder),
    )


def pip(folder):
    run(sys.executable, "-m", "venv", "--clear", folder / "venv")
    run(folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check",
        "-r", folder / "requirements.txt")


def package(name, of):
    return json.loads((FOLDER / name / "node_modules" / of / "package.json").read_text())["version"]


def build_ours(options):
    copied("ours")
    if options.broker is None:
        run("cargo", "build", "--locked", "--profile", options.profile, "--bin", "socketio-humble-broker", cwd=ROOT)
        options.broker = TARGET / options.profile / "socketio-humble-broker"
        if options.profile == "dev":
            options.broker = TARGET / "debug/socketio-humble-broker"


def build_example(name):
    return lambda _: run(
        "cargo", "build", "--locked", "--release", "--example", name, cwd=BENCH,
        env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
    )


def bun():
    return str(FOLDER / "bun/node_modules/.bin/bun")


def venv():
    return str(FOLDER / "python/venv/bin/python")


SERVERS = {
    "ours": Server(
        "ours", build_ours,
        lambda options: [options.broker, "--host", "127.0.0.1", "--log-level", "warn",
                         "--config", FOLDER / "ours/broker.toml", "--port"],
        lambda options: f"{run(options.broker, '--version')}, profile {options.profile}, with rules for access, "
                        "quotas and metrics", ALL,
    ),
    "floor": Server("floor", build_example("floor"), lambda _: [TARGET / "release/examples/floor"],
                    lambda _: "tools/bench/examples/floor.rs", WEBSOCKET),
    "bare": Server("bare library", build_example("bare"), lambda _: [TARGET / "release/examples/bare"],
                   lambda _: "tools/bench/examples/bare.rs, socketioxide "
                             + lock_version("socketioxide"), ALL_4),
    "node": Server("Node", npm("node"), lambda _: ["node", FOLDER / "node/server.mjs"],
                   lambda _: f"socket.io {package('node', 'socket.io')} on Node {run('node', '--version')}", ALL),
    "bun": Server("Bun", npm("bun"), lambda _: [bun(), FOLDER / "bun/server.mjs"],
                  lambda _: f"socket.io {package('bun', 'socket.io')} with @socket.io/bun-engine "
                            f"{package('bun', '@socket.io/bun-engine')} on Bun {run(bun(), '--version')}", ALL_4),
    "python": Server("Python", lambda _: installed("python", "requirements.txt", pip),
                     lambda _: [venv(), FOLDER / "python/server.py"],
                     lambda _: python_versions(), ALL_4),
}


def lock_version(crate):
    lines = (BENCH / "Cargo.lock").read_text().splitlines()
    return lines[lines.index(f'name = "{crate}"') + 1].split('"')[1]


def python_versions():
    script = ("import platform, importlib.metadata as of; print(f\"python-socketio {of.version('python-socketio')}"
              " with uvicorn {of.version('uvicorn')} on Python {platform.python_version()}\")")
    return run(venv(), "-c", script)


class Running:
    """A server that has just been started and listens."""

    def __init__(self, name, options):
        self.log = (FOLDER / f"{name}.log").open("w")
        command = [*map(str, SERVERS[name].command(options)), str(PORT)]
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log,
            env={**os.environ, "NODE_ENV": "production"},
        )
        until = time.monotonic() + START
        while True:
            try:
                socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.end()
                    text = Path(self.log.name).read_text()
                    sys.exit(f"bench.sh: {name} does not listen on port {PORT}:\n{text}")
                time.sleep(0.05)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()


def measure(name, arguments, options):
    """One report of the load generator, or what went wrong."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", PORT)) == 0
    if taken:
        sys.exit(f"bench.sh: something listens on port {PORT} already")
    server = Running(name, options)
    try:
        mode, *rest = arguments.split()
        command = [TARGET / "release/socketio-bench", mode, f"127.0.0.1:{PORT}", "--json",
                   "--pid", str(server.process.pid), *rest]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
        # Code 3 is a measurement too: one with losses.
        if done.returncode in (0, 3):
            return json.loads(done.stdout)
        return {"fault": done.stderr.strip()}
    except subprocess.TimeoutExpired:
        return {"fault": f"it took longer than {LONGEST} s"}
    finally:
        server.end()


def title(row, options):
    """What a row is called, with the numbers that it has when it is to be quick."""
    text = row.title
    for old, new in row.quick.items() if options.quick else ():
        text = text.replace(f"{int(old):,}", f"{int(new):,}")
    return text


def measure_row(row, name, options):
    arguments = row.arguments
    for old, new in row.quick.items() if options.quick else ():
        arguments = arguments.replace(old, new)
    if row.timed:
        arguments += f" --seconds {options.seconds}"
    if not row.every_way:
        return measure(name, arguments, options)
    total = {}
    for way in SERVERS[name].ways:
        transport, engine = way.split()
        report = measure(name, f"{arguments} --transport {transport} --engine {engine}", options)
        if "fault" in report:
            return {"fault": f"{way}: {report['fault']}"}
        for figure in row.figures:
            total[figure.key] = total.get(figure.key, 0) + report[figure.key]
    return total


def measure_all(options):
    """All reports: for each row and server, one for each round."""
    reports = {}
    names = options.servers
    with (FOLDER / "reports.jsonl").open("w") as kept:
        for number in range(options.rounds):
            for key in options.rows:
                row = ROWS[key]
                # Each goes first in turn, so that nobody always follows on the same one's heels.
                for name in names[number % len(names):] + names[:number % len(names)]:
                    if name in row.without:
                        continue
                    began = time.monotonic()
                    report = measure_row(row, name, options)
                    reports.setdefault((key, name), []).append(report)
                    kept.write(json.dumps({"round": number, "row": key, "server": name, **report}) + "\n")
                    kept.flush()
                    values = ", ".join(f"{figure.title} {shown(report.get(figure.key))} {figure.unit}".strip()
                                       for figure in row.figures)
                    print(f"{number + 1}/{options.rounds} {key:10} {name:6} {time.monotonic() - began:5.1f} s  "
                          f"{report.get('fault', values)}", file=sys.stderr, flush=True)
    return reports


def value_of(reports, figure):
    values = [report[figure.key] for report in reports if figure.key in report]
    # A loss in one round is a loss.
    return (max if figure.key in ("missing", "out_of_order", "readers_lost", "clients_not_back", "connections_missing") else median)(values) \
        if values else None


def shown(value):
    if value is None:
        return "failed"
    if value == 0:
        return "0"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def verdict(figure, values):
    """The bar for ours in words, and whether it is met; nothing where there is none."""
    ours, words, met = values.get("ours"), [], []
    sign = "≥" if figure.more_is_better else "≤"
    if figure.bar is not None:
        words.append(f"{sign} {figure.bar}" if figure.bar else "0")
        met.append(ours is not None and ours <= figure.bar)
    for name, most in figure.ratios.items():
        if values.get(name):
            words.append(f"{sign} {shown(most)} of {SERVERS[name].title}")
            ratio = None if ours is None else ours / values[name]
            met.append(ratio is not None and (ratio >= most if figure.more_is_better else ratio <= most))
    return "; ".join(words), ("" if not met else "yes" if all(met) else "**no**")


def table(reports, options):
    """The lines of the table, in Markdown."""
    names = [name for name in SERVERS if name in options.servers]
    others = [name for name in ("floor", "node", "bun") if name in names] if "ours" in names else []
    heads = [SERVERS[name].title for name in names] + [f"ours / {SERVERS[name].title}" for name in others]
    lines = ["| | " + " | ".join(heads) + " | bar | met |", "| --- |" + " --- |" * (len(heads) + 2)]
    for key in options.rows:
        row = ROWS[key]
        lines.append(f"| **{title(row, options)}** |" + " |" * (len(heads) + 2))
        for figure in row.figures:
            values = {name: value_of(reports[key, name], figure) for name in names if (key, name) in reports}
            cells = [shown(values[name]) if name in values else "" for name in names]
            for name in others:
                both = values.get("ours") and values.get(name)
                cells.append(shown(values["ours"] / values[name]) if both else "")
            unit = f", {figure.unit}" if figure.unit else ""
            lines.append(f"| {figure.title}{unit} | " + " | ".join([*cells, *verdict(figure, values)]) + " |")
    return lines


def machine():
    """The machine in words."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} processors of {model}, Linux {platform.release().split('-')[0]}"


def section(reports, options, load):
    """What docs/performance.md says about it."""
    commit = run("git", "describe", "--always", "--dirty", cwd=ROOT)
    faults = [f"- {SERVERS[name].title}, {title(ROWS[key], options)}: {report['fault']}"
              for (key, name), found in reports.items() for report in found[:1] if "fault" in report]
    return "\n".join([
        BEGIN, "",
        f"`scripts/bench.sh{options.said}` at {commit}, {time.strftime('%Y-%m-%d', time.gmtime())}: "
        f"{machine()}, load of the machine {load[0]:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after. Medians of {options.rounds} interleaved rounds of "
        f"{options.seconds:g} s each; of losses, the worst. Every server was started "
        "anew for every figure. Messages have 128 bytes and clients use WebSocket and Engine.IO 4 unless it says "
        "otherwise. Processor time is of the server alone, user and kernel.", "",
        *table(reports, options), "",
        *(["What failed:", "", *faults, ""] if faults else []),
        "The servers:", "",
        *(f"- {SERVERS[name].title}: {SERVERS[name].version(options)}" for name in SERVERS if name in options.servers),
        "", END,
    ])


def write(text, begin, end):
    """Puts it into docs/performance.md, where `begin` and `end` are."""
    file = ROOT / "docs/performance.md"
    before, _, rest = file.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{file} has no place for the figures, between `{begin}` and `{end}`")
    file.write_text(before + text + after)


def chosen(known):
    def choose(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"`{name}` is not known; there are {', '.join(known)}")
        return names
    return choose


def arguments():
    parser = argparse.ArgumentParser(prog="bench.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="one round of a second each, with fewer clients: whether it works")
    parser.add_argument("--rounds", type=int, default=None, help="rounds; 3 by default")
    parser.add_argument("--seconds", type=float, default=None, help="length of each measurement; 3 by default")
    parser.add_argument("--rows", type=chosen(ROWS), default=list(ROWS), help=", ".join(ROWS))
    parser.add_argument("--servers", type=chosen(SERVERS), default=list(SERVERS), help=", ".join(SERVERS))
    parser.add_argument("--profile", default="release", help="cargo's profile of the broker; `release` by default")
    parser.add_argument("--broker", type=Path, help="a broker that is built already, of that profile")
    parser.add_argument("--write", action="store_true",
                        help="write docs/performance.md, as a run of everything that is not quick does by itself")
    options = parser.parse_args()
    options.said = "".join(f" {word}" for word in sys.argv[1:] if "/" not in word and word != "--broker")
    options.write |= not options.quick and options.rows == list(ROWS) and options.servers == list(SERVERS)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 3)
    return options


def main():
    options = arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    run("cargo", "build", "--locked", "--release", cwd=BENCH, env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})
    for name in options.servers:
        print(f"preparing {name}", file=sys.stderr, flush=True)
        SERVERS[name].prepare(options)
    # Servers take it over from here.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = os.getloadavg()
    reports = measure_all(options)
    text = section(reports, options, load)
    print(text)
    if options.write:
        write(text, BEGIN, END)


if __name__ == "__main__":
    main()
