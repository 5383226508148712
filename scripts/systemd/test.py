"""The packages and the units that they bring, on a machine that a real systemd boots from the folder named."""

import contextlib
import resource
import signal
import sys
import threading
import time

from asking import get, until
from client import Client, Refused
from machine import CONFIGURATION, NAME, SERVICE, Machine
import packages
from packages import SOCKETS

ADMIN = ("127.0.0.1", 9091)
SERVES = "[server]\nhost = \"127.0.0.1\"\n[admin]\nlisten = \"127.0.0.1:9091\"\n"
EXPOSURE = 1.2
WATCHDOG = "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\nRestartSec=100ms\n"


def it_starts_and_tells_when_it_serves(machine):
    machine.write(CONFIGURATION, SERVES)
    units = [SERVICE, *SOCKETS]
    verified = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert not verified.stdout + verified.stderr, verified.stdout + verified.stderr
    machine.systemctl("restart", SERVICE)
    # `restart` has waited for READY=1, so there is nothing to wait for.
    assert get(ADMIN, "/readyz")[0] == 200
    status = machine.show("StatusText")
    assert status == "serving clients on 127.0.0.1:5000, operators on 127.0.0.1:9091", status
    Client().subscribe("room")


def it_may_do_little_and_serve_many(machine):
    exposure = machine.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout.splitlines()[-1]
    level = float(exposure.split(f"{SERVICE}: ")[1].split()[0])
    print(f"  exposure {level}")
    assert level <= EXPOSURE, exposure
    process = machine.show("MainPID")
    told = machine.run("cat", f"/proc/{process}/status").stdout
    status = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    # The user that the package has made, and none that systemd has made up.
    user = machine.run("id", "-u", packages.USER).stdout.strip()
    assert set(status["Uid"].split()) == {user} and 0 < int(user) < 1000, f"{status['Uid']} is not user {user}"
    wanted = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert wanted.items() <= status.items(), told
    limits = machine.run("cat", f"/proc/{process}/limits").stdout
    files = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()
    # A container may allow less than the unit asks for.
    most = str(min(1048576, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    assert files[3:5] == [most, most], limits
    # The hardening hides nothing of /proc that these come from.
    metrics = get(ADMIN, "/metrics")[1]
    for name in ["open_fds", "max_fds", "resident_memory_bytes", "start_time_seconds", "threads"]:
        values = [line for line in metrics.splitlines() if line.startswith(f"process_{name} ")]
        assert values and float(values[0].split()[1]) > 0, f"process_{name} is {values}"


def its_log_is_structured(machine):
    entries = machine.logged("serving clients on")
    assert entries, "the journal has no entry from the start"
    entry = entries[-1]
    wanted = {"PRIORITY": "6", "SYSLOG_IDENTIFIER": NAME, "_SYSTEMD_UNIT": SERVICE}
    assert wanted.items() <= entry.items(), entry
    assert machine.logged("starting with")[-1]["HUMBLE_BROKER_VERSION"], "a field of ours is missing"


def a_reload_is_over_when_systemctl_returns(machine):
    process = machine.show("MainPID")
    client = Client()
    client.subscribe("room")
    for limit in range(1, 11):
        machine.write(CONFIGURATION, f"{SERVES}[limits]\nrooms_per_client = {limit}\n")
        machine.systemctl("reload", SERVICE)
        changed = machine.logged(f"reloaded {CONFIGURATION}")
        assert len(changed) == limit, f"{len(changed)} reloads are logged after {limit}"
        assert "limits.rooms_per_client" in changed[-1]["MESSAGE"], changed[-1]
    assert machine.show("MainPID") == process
    assert machine.show("StatusText").startswith("serving"), machine.show("StatusText")
    client.subscribe("room")


def a_bad_reload_fails_and_changes_nothing(machine):
    process = machine.show("MainPID")
    client = Client()
    machine.write(CONFIGURATION, "[limits]\nroms_per_client = 1\n")
    assert machine.systemctl("reload", SERVICE, check=False).returncode
    assert (machine.state(), machine.show("MainPID")) == ("active", process)
    client.subscribe("room")
    refusal = machine.logged("reload refused")
    assert refusal[-1]["PRIORITY"] == "3" and "roms_per_client" in refusal[-1]["MESSAGE"], refusal
    machine.write(CONFIGURATION, SERVES)
    machine.systemctl("reload", SERVICE)


def a_stop_waits_for_the_drain(machine):
    client = Client()
    answers = []

    def poll():
        try:
            answers.append(client.ask("GET"))
        except Refused as refused:
            answers.append(refused.args[0])

    polling = threading.Thread(target=poll)
    polling.start()
    machine.systemctl("stop", SERVICE)
    polling.join(30)
    # As a session is over for a client that polls.
    assert answers == [400], answers
    outcome = machine.show("Result"), machine.show("ExecMainStatus")
    assert outcome == ("success", "0"), outcome
    assert machine.logged("stopped"), "the log does not say how it has ended"


def credentials_are_read_by_a_daemon_that_may_not_read_the_files(machine):
    folder = f"/etc/{NAME}"
    key = machine.root / f"etc/{NAME}/key.pem"
    openssl = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(key.with_name("certificate.pem"))]
    machine.outside("openssl", *openssl, *files)
    key.chmod(0o600)
    load = "".join(f"LoadCredential={name}:{folder}/{name}\n" for name in ["key.pem", "certificate.pem"])
    machine.drop_in("credentials", f"[Service]\n{load}")
    tls = 'tls = { certificate = "$CREDENTIALS_DIRECTORY/certificate.pem", key = "$CREDENTIALS_DIRECTORY/key.pem" }'
    machine.write(CONFIGURATION, SERVES.replace("[server]", f"[server]\n{tls}"))
    machine.systemctl("start", SERVICE)
    assert machine.logged("serving clients on")[-1]["MESSAGE"].count("with TLS")
    machine.systemctl("reload", SERVICE)
    machine.systemctl("stop", SERVICE)
    machine.drop_in("credentials", None)
    key.unlink()
    key.with_name("certificate.pem").unlink()
    machine.write(CONFIGURATION, SERVES)


def a_daemon_that_is_stopped_is_replaced(machine):
    machine.drop_in("watchdog", WATCHDOG)
    machine.systemctl("restart", SERVICE)
    process, restarts = machine.show("MainPID"), machine.show("NRestarts")
    # Longer than it may go without a beat.
    time.sleep(2.5)
    assert (machine.show("MainPID"), machine.show("NRestarts")) == (process, restarts), "it was not fed"
    machine.systemctl("kill", f"--signal={signal.SIGSTOP}", SERVICE)
    another_is_there(machine, process)
    assert machine.logged("Watchdog timeout"), "nobody says why it was replaced"
    machine.drop_in("watchdog", None)


def a_daemon_that_hangs_is_replaced(machine):
    # A lock that is never given back: the main thread goes on, and so do the other workers.
    machine.drop_in("watchdog", f"{WATCHDOG}ExecStart=\nExecStart=/usr/local/bin/hangs\n")
    machine.systemctl("restart", SERVICE)
    process, before = machine.show("MainPID"), len(machine.logged("Watchdog timeout"))
    client = Client()
    with contextlib.suppress(OSError):
        client.ask("POST", '42["subscribe","\\u0000hold"]')
    another_is_there(machine, process)
    assert len(machine.logged("Watchdog timeout")) == before + 1, "nobody says why it was replaced"
    machine.drop_in("watchdog", None)


def another_is_there(machine, process):
    until("another is there", lambda: machine.show("MainPID") not in (process, "0") and machine.state() == "active")
    Client().subscribe("room")


def a_daemon_that_crashes_is_replaced(machine):
    machine.systemctl("restart", SERVICE)
    process = machine.show("MainPID")
    machine.systemctl("kill", f"--signal={signal.SIGKILL}", SERVICE)
    another_is_there(machine, process)


def a_bad_configuration_is_not_tried_again(machine):
    machine.write(CONFIGURATION, "nonsense = 1\n")
    assert machine.systemctl("restart", SERVICE, check=False).returncode
    until("it has failed", lambda: machine.state() == "failed")
    # Longer than RestartSec=.
    time.sleep(3)
    told = machine.state(), machine.show("ExecMainStatus"), machine.show("NRestarts")
    assert told == ("failed", "78", "0"), told
    machine.write(CONFIGURATION, SERVES)
    machine.systemctl("reset-failed", SERVICE)


def sockets_start_it_and_no_restart_refuses_anyone(machine):
    machine.systemctl("start", *SOCKETS)
    assert machine.state() == "inactive"
    assert get(ADMIN, "/readyz")[0] == 200
    # It answers a moment before systemd has heard that it does.
    until("systemd knows that it serves", lambda: machine.state() == "active")
    passed = machine.logged("over a socket that was passed")
    assert len(passed) == 2, passed
    over, failures, served = threading.Event(), [], []

    def come_and_go():
        while not over.is_set():
            try:
                Client().subscribe("room")
                served.append(1)
            except Refused as refused:
                # Its session has ended with the drain: 400, as every session. 503 would be a refusal.
                if refused.args[0] != 400:
                    failures.append(refused)
            except Exception as error:  # noqa: BLE001
                failures.append(error)

    clients = [threading.Thread(target=come_and_go) for _ in range(4)]
    for client in clients:
        client.start()
    processes = {machine.show("MainPID")}
    for _ in range(3):
        before = len(served)
        until("clients are served", lambda: len(served) > before + 20)
        machine.systemctl("restart", SERVICE)
        processes.add(machine.show("MainPID"))
    # The same goes for an upgrade, which leaves the sockets alone.
    packages.Deb().install(machine, machine.newer)
    processes.add(machine.show("MainPID"))
    over.set()
    for client in clients:
        client.join(60)
    print(f"  {len(served)} clients over {len(processes) - 1} restarts, {len(failures)} refused")
    assert len(processes) == 5, processes
    assert not failures, failures[:5]
    machine.systemctl("stop", *SOCKETS, SERVICE)


def nothing_else_has_failed(machine):
    failed = machine.systemctl("--failed", "--no-legend", "--plain").stdout
    assert not failed, failed


TESTS = [
    packages.a_deb_starts_the_service,
    packages.a_deb_is_upgraded,
    packages.an_upgrade_starts_no_service_that_nobody_wanted,
    it_starts_and_tells_when_it_serves,
    it_may_do_little_and_serve_many,
    its_log_is_structured,
    a_reload_is_over_when_systemctl_returns,
    a_bad_reload_fails_and_changes_nothing,
    a_stop_waits_for_the_drain,
    credentials_are_read_by_a_daemon_that_may_not_read_the_files,
    a_daemon_that_is_stopped_is_replaced,
    a_daemon_that_hangs_is_replaced,
    a_daemon_that_crashes_is_replaced,
    a_bad_configuration_is_not_tried_again,
    sockets_start_it_and_no_restart_refuses_anyone,
    nothing_else_has_failed,
    packages.a_deb_is_removed_and_purged,
    packages.an_rpm_leaves_it_to_presets_what_is_enabled,
    packages.an_rpm_is_upgraded,
    packages.an_rpm_is_erased,
]


def main(root, older, newer):
    machine = Machine(root, older, newer)
    print(machine.run("systemctl", "--version").stdout.splitlines()[0])
    test = None
    try:
        for test in TESTS:
            began = time.monotonic()
            test(machine)
            print(f"ok: {test.__name__.replace('_', ' ')}, {time.monotonic() - began:.1f} s", flush=True)
    except Exception:
        print(f"failed: {test.__name__.replace('_', ' ')}; the last of the journal:", file=sys.stderr)
        for entry in machine.journal()[-40:]:
            print(f"  {entry.get('_PID', '')} {entry.get('MESSAGE')}", file=sys.stderr)
        raise
    finally:
        machine.end()


main(*sys.argv[1:])
