"""A Debian booted in this namespace by a real systemd, and what can be asked of it."""

import json
import subprocess
from pathlib import Path

from asking import PATIENCE, until

NAME = "socketio-humble-broker"
SERVICE = f"{NAME}.service"
CONFIGURATION = f"/etc/{NAME}/broker.toml"


class Machine:
    """The machine, whose files are below `root`; packages of two versions are in its folder /packages."""

    def __init__(self, root, older, newer):
        self.root, self.older, self.newer = Path(root), older, newer
        # Without its own network: the tests connect to it as if they ran there.
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "-D", root, "--boot"],
            stdin=subprocess.DEVNULL,
            stdout=open("/run/test/console", "wb"),
            stderr=subprocess.STDOUT,
        )
        self.leader = until("systemd runs", self.first_process)
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        assert state == "running", f"the machine is {state}"

    def first_process(self):
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        # What the process has for a root, as proc(5) shows it.
        private = [child for child in children if Path("/proc", child, "root", "run/systemd/private").exists()]
        return private[0] if private else None

    def run(self, *command, check=True):
        """Runs a command there, as root."""
        enter = ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        done = subprocess.run([*enter, *clean, *command], capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def outside(self, *command):
        """Runs a command here, where there are more."""
        subprocess.run(command, capture_output=True, check=True, timeout=60)

    def systemctl(self, *arguments, check=True):
        return self.run("systemctl", *arguments, check=check)

    def show(self, name, unit=SERVICE):
        return self.systemctl("show", "-P", name, unit).stdout.strip()

    def state(self):
        return self.show("ActiveState")

    def write(self, path, text, mode=0o644):
        """Writes a file there, as a person would: in one go."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(file.name + ".draft")
        draft.write_text(text)
        draft.chmod(mode)
        draft.rename(file)

    def drop_in(self, name, text):
        """What `systemctl edit` does; without text, undoes it."""
        path = f"/etc/systemd/system/{SERVICE}.d/{name}.conf"
        if text:
            self.write(path, text)
        else:
            file = self.root / path.lstrip("/")
            file.unlink()
            file.parent.rmdir()
        self.systemctl("daemon-reload")

    def journal(self):
        """What the service, and systemd about it, has logged so far."""
        lines = self.run("journalctl", "--sync").stdout + self.run(
            "journalctl", "-u", SERVICE, "-o", "json", "--no-pager"
        ).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def logged(self, text):
        """The entries that contain this."""
        return [entry for entry in self.journal() if text in str(entry.get("MESSAGE"))]

    def end(self):
        self.systemctl("poweroff", check=False)
        self.nspawn.wait(PATIENCE)
