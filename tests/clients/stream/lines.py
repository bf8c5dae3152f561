"""Lines of cameras as the real command runs them, and what must hold of each when it has ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.conftest import ROOT
from triton_yolo.clients.memory.ring import FOLDER, PREFIX
from triton_yolo.server.process import TritonServer

PATIENCE = 90.0  # seconds; machines that run tests are busy
# A stall of twenty seconds is no fault: frames have time, and room.
DEADLINE_MS = 40_000
EASY = {"deadline_ms": DEADLINE_MS, "slots": 66, "backlog": 64}


def grpc_url(server: TritonServer) -> str:
    """Return the address that a line's file names."""
    return f"{server.addresses.host}:{server.addresses.grpc}"


def camera(name: str, fps: float = 2, size: str = "240x320", **more: Any) -> dict[str, Any]:
    """Return a camera of small frames at a low rate."""
    return {"name": name, "uri": "synthetic:photo", "fps": fps, "options": {"size": size, "frames": 3}, **more}


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return found


class RunningLine:
    """The command ``triton-yolo stream`` with a file of its own; nothing of it is left behind.

    Attributes:
        verdicts: what it has printed of frames so far, in order.
        boards: the same of boards of several frames.
        file: the line's file.
        process: the command's process.
        socket: the control socket.
    """

    def __init__(
        self,
        folder: Path,
        cameras: list[dict[str, Any]],
        *,
        prefix: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        reads: bool = True,
        report: Path | None = None,
        options: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        """Prepare.

        Args:
            folder: for its files.
            cameras: of the line's file.
            prefix: words before the command.
            environment: variables that are added.
            reads: whether somebody reads what it prints.
            report: where it writes its report, if not in the folder.
            options: further options of the command.
            settings: other keys of the line's file.
        """
        self.name = f"test-{os.getpid()}-{folder.name}"[:60]
        self.settings = {"name": self.name, **EASY, **settings}
        self.file, self.socket = folder / "line.yaml", folder / "socket"
        self.path, self.log = report or folder / "report.json", folder / "stderr.txt"
        self.write(cameras)
        self._prefix, self._environment, self._reads = prefix, environment or {}, reads
        self._options = options
        self.verdicts: list[dict[str, Any]] = []
        self.boards: list[dict[str, Any]] = []

    def write(self, cameras: list[dict[str, Any]]) -> None:
        """Write the line's file."""
        beside = self.file.with_suffix(".new")
        beside.write_text(yaml.safe_dump({**self.settings, "cameras": cameras}))
        beside.replace(self.file)

    @property
    def command(self) -> list[str]:
        """The command line."""
        options = ["--json", "--report", str(self.path), "--control", str(self.socket)]
        return [*self._prefix, sys.executable, "-m", "triton_yolo", "stream", str(self.file), *options, *self._options]

    def __enter__(self) -> RunningLine:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=os.environ | {"COLUMNS": "200"} | self._environment,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        if self._reads:
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        left = self.cameras()
        self.process.kill()
        self.process.wait()
        for one in left.values():
            if one.is_running():
                one.kill()
        if self._reads:
            self._reader.join(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()
        for path in self.rings():
            path.unlink(missing_ok=True)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            content = json.loads(line)
            (self.boards if "board" in content else self.verdicts).append(content)

    def rings(self) -> list[Path]:
        """Return its rings in shared memory."""
        return sorted(FOLDER.glob(f"{PREFIX}{os.getuid()}-{self.name}*"))

    def cameras(self) -> dict[str, psutil.Process]:
        """Return the processes of its cameras, by name."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return {}
        found = {}
        for child in children:
            try:
                words = child.cmdline()
            except psutil.NoSuchProcess:
                continue
            if "triton_yolo.clients.stream.camera" in words:
                found[words[-1]] = child
        return found

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request to the control socket, and return the answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.socket))
            client.sendall(f"{json.dumps(request)}\n".encode())
            with client.makefile("rb") as answers:
                content: dict[str, Any] = json.loads(answers.readline())
                return content

    def report(self) -> dict[str, dict[str, Any]]:
        """Return the report of the cameras at this moment, by name; empty before the line runs."""
        if self.process.poll() is not None:
            raise AssertionError(f"the line has ended with {self.process.returncode}: {self.log.read_text()}")
        try:
            content = self.ask({"report": True})
        except (FileNotFoundError, ConnectionRefusedError):
            return {}
        return {row["name"]: row for row in content["cameras"]}

    def wait_for(self, name: str, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Wait until a camera's report is as it should be, and return that."""
        seen: dict[str, Any] = {}

        def holds() -> bool:
            seen.clear()
            seen.update(self.report().get(name, {}))
            return bool(seen and condition(seen))

        try:
            until(holds, f"{name}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {seen}; {self.log.read_text()}") from None
        return dict(seen)

    def wait_for_more(self, name: str, frames: int = 5) -> None:
        """Wait until so many further frames of a camera are inspected."""
        before = self.wait_for(name, lambda row: True, "runs")["answered"]
        self.wait_for(name, lambda row: row["answered"] >= before + frames, f"{frames} more frames")

    def end(self, status: int = 0) -> dict[str, Any]:
        """Press Ctrl-C, and return the report once all of it is proved."""
        self.process.send_signal(signal.SIGINT)
        return self.ended(status)

    def ended(self, status: int = 0) -> dict[str, Any]:
        """Wait for the end, and return the report: each frame has one verdict, and nothing is left."""
        assert self.process.wait(PATIENCE) == status, self.log.read_text()
        if self._reads:
            self._reader.join(PATIENCE)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()
        assert not self.rings()
        assert not self.socket.exists()
        content: dict[str, Any] = json.loads(self.path.read_text())
        for row in [*content["cameras"], content["total"]]:
            assert row["in_flight"] == 0, row
            assert row["captured"] == row["answered"] + sum(row["dropped"].values()), row
        for row in content["cameras"] if self._reads else ():
            mine = [verdict for verdict in self.verdicts if verdict["camera"] == row["name"]]
            assert [verdict["number"] for verdict in mine] == list(range(row["captured"])), row
            states = Counter(verdict["state"] for verdict in mine)
            assert states.pop("inspected", 0) == row["answered"], row
            assert sum(states.values()) == sum(row["dropped"].values()), row
            assert all(("detections" in verdict) == (verdict["state"] == "inspected") for verdict in mine)
        return content

    def untouched(self, *names: str) -> None:
        """Make sure that every frame of these cameras was inspected, and that none of them was opened anew."""
        rows = {row["name"]: row for row in json.loads(self.path.read_text())["cameras"]}
        for name in names:
            assert rows[name]["captured"] == rows[name]["answered"] > 0, rows[name]
            assert rows[name]["restarts"] == 0, rows[name]
