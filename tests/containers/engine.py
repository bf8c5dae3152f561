"""A Docker engine of these tests alone: its folders, its socket, and nothing of it left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from tests.support.compose import compose_command

NEEDED = ("dockerd", "docker", "mmdebstrap", "cc")


def unavailable() -> str | None:
    """Why no engine can be started here; None where one can."""
    if os.geteuid():
        return "a Docker engine of its own needs root"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install docker.io mmdebstrap gcc"
    if compose_command() is None:
        return "Compose 2 is not installed"
    if drops_forwarded():
        return "the firewall drops what bridges forward, as another Docker engine sets it: stop that one first"
    return None


def drops_forwarded() -> bool:
    """Whether containers of one network could not reach each other without rules of their own."""
    filtered = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not filtered.exists() or filtered.read_text().strip() == "0" or shutil.which("iptables") is None:
        return False
    rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True)
    return "-P FORWARD DROP" in rules.stdout


class NoEngine(Exception):
    """dockerd ended or did not answer; with the end of its log."""


class Engine:
    """A running dockerd; a context manager."""

    def __enter__(self) -> Engine:
        self.folder = Path(tempfile.mkdtemp(prefix="engine-"))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "DOCKER_"))},
            "DOCKER_HOST": f"unix://{self.folder}/sock",
            "DOCKER_CONFIG": str(self.folder / "config"),
        }
        # No rules of a firewall and no default bridge, which another engine may have: published ports need neither, and
        # services are on networks of their own.
        namespace = f"engine-{uuid.uuid4().hex}"  # a folder's random name may have what containerd does not take
        command = [
            *("dockerd", "--data-root", self.folder / "data", "--exec-root", self.folder / "exec"),
            *("--pidfile", self.folder / "pid", "--host", f"unix://{self.folder}/sock"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
            *("--containerd-namespace", namespace),
            *("--containerd-plugins-namespace", f"{namespace}-plugins"),
        ]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self) -> None:
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if self.docker("info", check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise NoEngine(f"no Docker engine can be started: {(self.folder / 'log').read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command with this engine; an error shows what it said."""
        options = {"env": self.environment, "timeout": 900, **options}
        result = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
        assert not check or result.returncode == 0, f"{command}: {result.stdout[-3000:]}{result.stderr[-3000:]}"
        return result

    def docker(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run docker."""
        return self.run("docker", *arguments, check=check)

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine says of a container or an image."""
        [found] = json.loads(self.docker("inspect", name).stdout)
        return dict(found)

    def listed(self, kind: str) -> set[str]:
        """Names of all containers, networks or volumes."""
        form = "{{.Names}}" if kind == "container" else "{{.Name}}"
        every = ("--all",) if kind == "container" else ()
        return set(self.docker(kind, "ls", *every, "--format", form).stdout.split())
