"""Starts a peer's server, waits until it answers, and leaves none of its processes behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from bench.errors import BenchError
from triton_yolo.server.process import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
STARTS = 120.0  # seconds that a server may take
ENDS = 15.0  # seconds that its processes may take after SIGTERM


class Program:
    """A server of its own process tree on 127.0.0.1; a context manager."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Prepare.

        Args:
            name: in errors.
            command: with its arguments.
            environment: variables beside those of this process.
            folder: for what the server says and keeps.
        """
        self.name, self._command, self._folder = name, list(command), folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environment}

    def __enter__(self) -> Program:
        """Start it; it may not answer yet."""
        with (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        return self

    @property
    def pid(self) -> int:
        """The first of its processes."""
        return self._process.pid

    def wait_until_it_answers(self, port: int, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a request again and again until it is answered with status 200.

        Raises:
            BenchError: the server ended, or did not answer in time; with what it said last.
        """
        end = time.monotonic() + STARTS
        last = "no answer"
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with status {self._process.returncode}: {self._said()}")
            try:
                post(f"127.0.0.1:{port}", path, body, headers)
                return
            except (OSError, http.client.HTTPException, BenchError) as error:
                last = str(error)
            time.sleep(0.2)
        raise BenchError(f"{self.name} was not ready after {STARTS:.0f} s ({last}): {self._said()}")

    def _said(self) -> str:
        lines = (self._folder / "said").read_text(errors="replace").strip().splitlines()
        return (lines or ["it said nothing"])[-1][:500]

    def __exit__(self, *_: object) -> None:
        """End all of its processes, first with SIGTERM to the first one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.pid)
            family = first.children(recursive=True)
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDS)
            _, left = psutil.wait_procs(family, timeout=2)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def post(address: str, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
    """Send one request, and return its JSON.

    Raises:
        OSError: there is no server.
        BenchError: another status than 200.
    """
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"status {answer.status}: {content[:300].decode(errors='replace')}")
    return json.loads(content)


def in_own_process(module: str, job: Any, what: str) -> Any:
    """Run a module as a program, which reads its job from stdin and writes what it saw to stdout, both JSON.

    Args:
        module: with its package.
        job: a dataclass.
        what: it is, for the message where it fails.

    Raises:
        BenchError: it failed; with what it said last.
    """
    result = subprocess.run(
        [sys.executable, "-m", module], input=json.dumps(asdict(job)), capture_output=True, text=True, cwd=ROOT
    )
    if result.returncode:
        raise BenchError(f"{what} failed: {(result.stderr.strip().splitlines() or ['?'])[-1]}")
    return json.loads(result.stdout)
