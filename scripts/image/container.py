"""Containers of the image, as podman runs them: without root, capabilities or a root that can be written to."""

import json
import resource
import subprocess
import time

from asking import until

# What a container may do: nothing. It needs no cgroup, and not every machine has one to give.
LITTLE = [
    "--cgroups=disabled",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
]


def podman(*arguments, check=True):
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=120)
    if check and done.returncode:
        raise AssertionError(f"podman {' '.join(arguments)}: {done.returncode}: {done.stdout}{done.stderr}")
    return done


def limits():
    """Podman asks for more than a container may have that is itself in one."""
    names = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(kind)[1] for name, kind in names.items()}
    return [f"--ulimit={name}={most}:{most}" for name, most in hard.items()]


def command(image, *arguments, options=()):
    """Runs the broker's program to its end, with these arguments."""
    return podman(
        "run", "--rm", "--network=none", *LITTLE, *limits(), *options, image, *arguments, check=False
    )


class Container:
    """A broker that is healthy when it is made, and gone afterwards."""

    def __init__(self, image, *options):
        ports = ["--publish=127.0.0.1:5000:5000", "--publish=127.0.0.1:9091:9091"]
        # Without the firewall of the machine, which is not ours.
        network = ["--network=slirp4netns:port_handler=slirp4netns", *ports]
        run = ["run", "--detach", *network, *LITTLE, *limits(), *options, image]
        self.name = podman(*run).stdout.strip()

    def __enter__(self):
        try:
            until("it is healthy", self.is_healthy)
        except BaseException:
            self.__exit__(AssertionError)
            raise
        return self

    def __exit__(self, failure, *_):
        if failure:
            print("the last of its log:", *self.lines()[-20:], sep="\n  ", flush=True)
        podman("rm", "--force", "--time=0", self.name)

    def is_healthy(self):
        """Runs the image's HEALTHCHECK, as the engine does by and by."""
        return podman("healthcheck", "run", self.name, check=False).returncode == 0

    def signal(self, name):
        podman("kill", f"--signal={name}", self.name)

    def stop(self):
        """Stops it as `docker stop` does, which kills after 10 s; returns how long it took and its exit code."""
        began = time.monotonic()
        podman("stop", "--time=10", self.name)
        return time.monotonic() - began, self.show("{{.State.ExitCode}}")

    def show(self, template):
        return podman("inspect", "--format", template, self.name).stdout.strip()

    def lines(self):
        logs = podman("logs", self.name)
        return (logs.stdout + logs.stderr).splitlines()

    def logged(self, text):
        """The messages so far that contain this; all of the log has to be JSON."""
        entries = [json.loads(line) for line in self.lines()]
        return [entry for entry in entries if text in entry["message"]]
