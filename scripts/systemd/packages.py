"""Packages on a machine: installed, upgraded, removed, as a person would do it, with what their scripts do."""

from asking import until
from client import Client
from machine import CONFIGURATION, NAME, SERVICE

SOCKETS = [f"{NAME}-public.socket", f"{NAME}-admin.socket"]
USER = "humble-broker"
PROGRAMS = [NAME, "socket.io-humble-broker"]
CHANGED = "# changed by an operator\n"


class Deb:
    """The package for Debian. It starts the service, as packages there do."""

    def install(self, machine, version):
        machine.run("apt-get", "install", "-q", "-y", "--reinstall", f"/packages/{version}.deb")

    def version(self, machine):
        return machine.run("dpkg-query", "-W", "-f", "${Version}", NAME).stdout

    def changes(self, machine):
        return machine.run("dpkg", "--verify", NAME).stdout.split("\n")[:-1]


class Rpm:
    """The package of RPM; the libraries that it needs are there, only not as packages of RPM."""

    def install(self, machine, version):
        machine.run("rpm", "-U", "--nodeps", f"/packages/{version}.rpm")

    def version(self, machine):
        return machine.run("rpm", "-q", "--queryformat", "%{VERSION}-%{RELEASE}", NAME).stdout

    def changes(self, machine):
        return machine.run("rpm", "-V", "--nodeps", NAME, check=False).stdout.split("\n")[:-1]


def enabled(machine, unit):
    return machine.systemctl("is-enabled", unit, check=False).stdout.strip()


def it_is_installed(machine, package, version):
    package.install(machine, version)
    assert package.version(machine) == f"{version}-1", package.version(machine)
    assert not package.changes(machine), package.changes(machine)
    account = machine.run("getent", "passwd", USER).stdout.strip().split(":")
    assert account[5:] == ["/", "/usr/sbin/nologin"], account
    for name in PROGRAMS:
        assert machine.run(name, "--version").stdout.startswith(NAME), name
    # As the service, which reads no file that others may not.
    machine.run("setpriv", f"--reuid={USER}", "--clear-groups", NAME, "--check-config")
    for document in ["packaging/grafana/dashboard.json", "packaging/prometheus/alerts.yml"]:
        assert (machine.root / "usr/share/doc" / NAME / document).stat().st_size > 1000, document
    assert [enabled(machine, unit) for unit in SOCKETS] == ["disabled", "disabled"]


def an_upgrade_keeps_what_was_changed(machine, package, version):
    file = machine.root / CONFIGURATION.lstrip("/")
    edited = file.read_text() + CHANGED
    machine.write(CONFIGURATION, edited)
    assert [change.split()[-1] for change in package.changes(machine)] == [CONFIGURATION], package.changes(machine)
    process = machine.show("MainPID")
    package.install(machine, version)
    assert package.version(machine) == f"{version}-1", package.version(machine)
    assert file.read_text() == edited
    beside = sorted(path.name for path in file.parent.iterdir())
    assert beside == ["broker.toml"], beside
    until("the other one runs", lambda: machine.show("MainPID") not in (process, "0") and machine.state() == "active")
    Client().subscribe("room")


def nothing_of_it_runs(machine):
    for unit in [SERVICE, *SOCKETS]:
        assert machine.show("ActiveState", unit) in ("inactive", "failed"), unit
    process = machine.run("pidof", NAME, check=False).stdout
    assert not process, process
    assert not (machine.root / "usr/bin" / NAME).exists()
    assert not (machine.root / "usr/bin/socket.io-humble-broker").is_symlink()


def left_behind(machine, *folders):
    """What bears the name of the package below these folders."""
    found = machine.run("find", *folders, "-name", f"*{NAME}*").stdout.split()
    return sorted(found)


def a_deb_starts_the_service(machine):
    it_is_installed(machine, Deb(), machine.older)
    assert (enabled(machine, SERVICE), machine.state()) == ("enabled", "active")
    Client().subscribe("room")


def a_deb_is_upgraded(machine):
    an_upgrade_keeps_what_was_changed(machine, Deb(), machine.newer)


def an_upgrade_starts_no_service_that_nobody_wanted(machine):
    machine.systemctl("disable", "--now", SERVICE)
    Deb().install(machine, machine.newer)
    assert (enabled(machine, SERVICE), machine.state()) == ("disabled", "inactive")
    machine.systemctl("enable", "--now", SERVICE)


def a_deb_is_removed_and_purged(machine):
    machine.systemctl("enable", "--now", *SOCKETS)
    Client().subscribe("room")
    machine.run("apt-get", "remove", "-q", "-y", NAME)
    nothing_of_it_runs(machine)
    assert (machine.root / CONFIGURATION.lstrip("/")).exists(), "a removal is no purge"
    machine.run("apt-get", "purge", "-q", "-y", NAME)
    left = left_behind(machine, "/etc", "/usr", "/var/lib")
    assert not left, left


def an_rpm_leaves_it_to_presets_what_is_enabled(machine):
    machine.write("/etc/systemd/system-preset/50-test.preset", f"enable {SERVICE}\ndisable *\n")
    it_is_installed(machine, Rpm(), machine.older)
    assert (enabled(machine, SERVICE), machine.state()) == ("enabled", "inactive")
    machine.systemctl("start", SERVICE)
    Client().subscribe("room")


def an_rpm_is_upgraded(machine):
    an_upgrade_keeps_what_was_changed(machine, Rpm(), machine.newer)


def an_rpm_is_erased(machine):
    machine.systemctl("stop", SERVICE)
    machine.systemctl("enable", "--now", *SOCKETS)
    Client().subscribe("room")
    machine.run("rpm", "-e", NAME)
    nothing_of_it_runs(machine)
    # What somebody has changed is not thrown away.
    left = left_behind(machine, "/etc", "/usr")
    assert left == [f"/etc/{NAME}"], left
    saved = [path.name for path in (machine.root / "etc" / NAME).iterdir()]
    assert saved == ["broker.toml.rpmsave"], saved
