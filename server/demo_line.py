"""A line of drawn boards with its page in a browser: triton-yolo demo --line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from triton_yolo.cli.exits import leave
from triton_yolo.cli.main import install_command
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.stream.addresses import listen, url_of
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.server.process import TritonServer, die_with_parent, free_addresses

USUAL = "127.0.0.1:8001"  # where `triton-yolo serve` listens
LOOK_SECONDS = 2.0  # for a server there to answer
END_SECONDS = 20.0  # for the line to end in order
NEEDED = ("av", "pydantic", "starlette", "uvicorn", "websockets", "yaml")  # of the extra stream
# Each board stands for four seconds, and then the next one comes.
STILL, MOVING, FPS = 6, 2, 2
# Which boards have how many defects, by camera.
CAMERAS: dict[str, tuple[str, list[int]]] = {
    "top": ("synthetic:photo", [0, 2, 0, 0, 0]),
    "bottom": ("synthetic:photo", [0, 0, 0, 0, 1]),
    "solder": ("synthetic:photo", [0, 0, 0, 3, 0]),
    "etching": ("synthetic:scan", [0, 0, 1, 0, 0]),
}


def show(command: str, repository: Path, page: str, browser: bool) -> None:
    """Run a line until Ctrl-C, with a server for itself where none runs.

    Args:
        command: what the user called.
        repository: model repository of that server.
        page: HOST:PORT of the page.
        browser: whether to open it in a browser.

    Raises:
        typer.Exit: the page's port is taken, or a package is not installed.
        ServerError: the server did not start.
    """
    if lacking := [name for name in NEEDED if find_spec(name) is None]:
        leave(command, f"{lacking[0]} is not installed: {install_command('stream')}")
    try:
        with listen(page) as listener:  # for a moment: a port that is taken is said before a server starts
            url, port = url_of(listener), listener.getsockname()[1]
    except LineError as error:
        leave(command, str(error))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that all of it ends
    try:
        _show(repository, page, url, port, browser)
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(repository: Path, page: str, url: str, port: int, browser: bool) -> None:
    """Run the line.

    Args:
        repository: model repository of a server, if none runs.
        page: HOST:PORT of the page.
        url: address of the page.
        port: port of the page.
        browser: whether to open it in a browser.

    Raises:
        typer.Exit: the line has failed.
    """
    with contextlib.suppress(KeyboardInterrupt), _server(repository) as grpc, tempfile.TemporaryDirectory() as name:
        file = Path(name, "line.yaml")
        address = f"{page.rpartition(':')[0]}:{port}"
        file.write_text(_line(grpc))
        with _running([sys.executable, "-m", "triton_yolo", "stream", str(file), "--page", address]) as line:
            if _answers(f"http://127.0.0.1:{port}/" if socket.gethostname() in url else url, line):
                typer.echo(f"The line's page is at {url}  (Ctrl-C ends the line)")
                if browser and _has_screen():
                    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            status = line.wait()
        if status:
            raise typer.Exit(status)


def _line(grpc: str) -> str:
    """Return a line's file: JSON is YAML too."""
    cameras = [
        {
            "name": name,
            "uri": uri,
            "fps": FPS,
            "options": {
                "size": "480x640",
                "seed": 40 + place,
                "frames": len(defects) * (STILL + MOVING),
                "boards": len(defects),
                "still": STILL,
                "moving": MOVING,
                "defects": defects,
            },
        }
        for place, (name, (uri, defects)) in enumerate(CAMERAS.items())
    ]
    line: dict[str, Any] = {
        "name": "demo",
        "url": grpc,
        "deadline_ms": 2000,
        "verdict": {"boards": "motion", "min_frames": 2, "rules": [{"score": 0.4, "frames": 2}]},
        "cameras": cameras,
    }
    return json.dumps(line, indent=2)


@contextlib.contextmanager
def _server(repository: Path) -> Iterator[str]:
    """Yield the address of a server that runs, or of one that is started for this line."""
    try:
        with Detector(USUAL, timeout=LOOK_SECONDS) as detector:
            detector.labels("detect_frames")
    except DetectionError:
        pass
    else:
        typer.echo(f"Taking the server at {USUAL}")
        yield USUAL
        return
    typer.echo("Starting tritonserver, since none runs ...")
    with TritonServer(repository, free_addresses(), lambda line: None) as server:
        server.wait_until_ready()
        yield f"{server.addresses.host}:{server.addresses.grpc}"


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a line, which ends in order whatever ends this."""
    line = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent)  # Ctrl-C is passed on
    try:
        yield line
    finally:
        if line.poll() is None:
            typer.echo("Stopping ...", err=True)
            line.send_signal(signal.SIGINT)
        try:
            line.wait(END_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            line.kill()
            line.wait()


def _answers(url: str, line: subprocess.Popen[bytes]) -> bool:
    """Wait until a page is there; return False where its line has ended."""
    while line.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=LOOK_SECONDS):
            return True
        time.sleep(0.1)
    return False


def _has_screen() -> bool:
    """Return whether a browser would have a window: in a terminal alone, one of text would open."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
