"""A copy of the checkout, brought up with docker compose as a user does it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.containers.engine import Engine
from tests.support.compose import compose_command
from triton_yolo.server.process import free_addresses

STAND_INS = Path(__file__).parent / "stand_ins"


def copy_checkout(folder: Path) -> None:
    """Copy what git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0")[:-1]:
        if not (ROOT / name).is_symlink() and not (ROOT / name).is_file():
            continue  # removed, and not yet committed
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


class Project:
    """The services of docker-compose.yml in stand-ins, on free ports."""

    def __init__(self, engine: Engine, checkout: Path, **settings: str) -> None:
        """Prepare; nothing is started."""
        self.engine, self.checkout = engine, checkout
        self.addresses, more = free_addresses(), free_addresses()
        self.prometheus, self.https, self.grpcs = more.http, free_addresses().http, more.metrics
        plant = free_addresses()
        self.page, self.mqtt = plant.http, plant.grpc
        self.name = "containers"
        self.environment = {
            **engine.environment,
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_FILE": f"docker-compose.yml:{STAND_INS / 'services.yml'}",
            "HTTP_PORT": str(self.addresses.http),
            "GRPC_PORT": str(self.addresses.grpc),
            "METRICS_PORT": str(self.addresses.metrics),
            "PROMETHEUS_PORT": str(self.prometheus),
            "GRAFANA_PORT": str(more.grpc),
            "HTTPS_PORT": str(self.https),
            "GRPCS_PORT": str(self.grpcs),
            "PAGE_PORT": str(self.page),
            "MQTT_PORT": str(self.mqtt),
            **settings,
        }

    def compose(self, *arguments: object, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Run docker compose in the checkout."""
        command = (*(compose_command() or ()), *arguments)
        return self.engine.run(*command, check=check, cwd=self.checkout, env={**self.environment, **more})

    def container(self, service: str) -> str:
        """The name of a service's container."""
        return f"{self.name}-{service}-1"

    def state(self, service: str) -> dict[str, Any]:
        """How a service's container is: State of docker inspect."""
        return dict(self.engine.inspect(self.container(service))["State"])

    def healthy(self, service: str) -> bool:
        """Whether the health check of a service's container passes."""
        return bool(self.state(service).get("Health", {}).get("Status") == "healthy")

    def until(self, holds: Callable[[], object], what: str, seconds: float = 180) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{what}: {self.compose('--profile', '*', 'logs', '--tail', '20').stdout}"
            time.sleep(0.5)

    def processes(self, service: str) -> list[dict[str, str]]:
        """/proc/PID/status of each process of a service, the first one first."""
        listed = self.engine.docker("top", self.container(service), "-o", "pid").stdout.split()[1:]
        found = []
        for pid in sorted(map(int, listed)):
            lines = Path("/proc", str(pid), "status").read_text().splitlines()
            found.append({key: value.strip() for key, _, value in (line.partition(":") for line in lines)})
        return found

    def crash(self, service: str, *, name: str | None = None) -> None:
        """Kill a process of a service as the kernel does when memory is out: the first one, or the one of a name."""
        processes = self.processes(service)
        [pid, *_] = [found["Pid"] for found in processes if name is None or found["Name"].startswith(name)]
        subprocess.run(["kill", "-KILL", pid], check=True)

    def in_container(self, service: str, *command: object) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's container."""
        return self.engine.docker("exec", self.container(service), *command, check=False)
