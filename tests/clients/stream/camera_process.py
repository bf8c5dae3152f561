"""The real process of a camera and the ring that it fills, as a line runs them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from triton_yolo.clients.memory.ring import Capture, Counts, Reader, Ring
from triton_yolo.clients.pixel_formats import pixel_format

ENDS_WITHIN = 2.0  # seconds, after it was told to stop


class CameraFailed(Exception):
    """The source said why it cannot be opened, or was lost."""


class CameraProcess:
    """A camera's process, opened; it delivers when ``frames`` is asked for some.

    Attributes:
        format: what the source said that it delivers.
        waits: whether it waits for free slots.
        ring: the ring.
        process: the process.
    """

    def __init__(self, kind: str, uri: str, fps: float | None = None, rows: int = 8, **options: Any) -> None:
        """Start the process, and let it open its source.

        Raises:
            CameraFailed: it cannot.
        """
        read, write = os.pipe()
        self._ready, self._freed = os.eventfd(0), os.eventfd(0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "triton_yolo.clients.stream.camera", str(write)],
            stdin=subprocess.PIPE,
            pass_fds=(write, self._ready, self._freed),
        )
        os.close(write)
        self._answers = os.fdopen(read)
        self._tell({"kind": kind, "uri": uri, "fps": fps, "size": None, "options": options})
        try:
            answer = self._answer()
        except CameraFailed:
            self._close()
            raise
        self.format, self.waits = answer["format"], answer["waits"]
        self.ring = Ring.create(f"test-{os.getpid()}-{self.process.pid}", rows, 1, self.format["nbytes"])
        self.reader = Reader(self.ring, {0: self._freed} if self.waits else None)
        place = {"ring": str(self.ring.path), "column": 0, "ready": self._ready, "row": 0}
        self._tell({**place, "freed": self._freed if self.waits else None})

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._close()
        self.reader.close()
        self.ring.close()

    def frames(self, timeout: float = 20.0) -> Iterator[tuple[Capture, np.ndarray]]:
        """Yield frames in the order of their numbers, with their pixels copied, until the source has ended.

        The account is checked with each frame.

        Args:
            timeout: longest wait for the next frame, or for the end, in seconds.

        Raises:
            CameraFailed: the source was lost.
            TimeoutError: nothing came in time.
        """
        last, ended = -1, False
        while not ended:
            heard, _, _ = select.select([self._ready, self._answers], [], [], timeout)
            if not heard:
                raise TimeoutError(f"no frame within {timeout} s; {self.counts()}")
            if self._ready in heard:
                os.eventfd_read(self._ready)  # before looking: what comes later says so again
            else:
                ended = True
            for capture in self.reader.ready():
                if self.reader.take(capture):
                    assert capture.number > last
                    last = capture.number
                    pixels = self._pixels(capture)
                    self.reader.release(capture)
                    self.counts()
                    yield capture, pixels
        self._check_end()

    def _check_end(self) -> None:
        answer = self._answer()
        assert answer and answer.pop("ended") is True
        self.copies = answer["copied"] / answer["published"] if answer else None

    def counts(self) -> Counts:
        """Return the account, in which nothing is missing."""
        found = self.ring.counts(0)
        assert not found.missing, found
        return found

    def stop(self) -> None:
        """Stop it as a line does, and check that it has ended well and in time."""
        assert self.process.stdin
        begun = time.monotonic()
        self._tell({})
        self.process.wait(ENDS_WITHIN)
        assert time.monotonic() - begun < ENDS_WITHIN
        assert self.process.returncode == 0
        self._check_end()
        assert self.counts().in_flight == sum(1 for _ in self.reader.ready())

    def kill(self) -> None:
        """Kill it, and settle its account."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.ring.recover(0)

    def _pixels(self, capture: Capture) -> np.ndarray:
        data = self.ring.slot(capture.row, 0)[: capture.nbytes].copy()
        if self.format["pixel_format"] == "encoded":
            return data
        return data.reshape(pixel_format(self.format["pixel_format"]).shape(capture.height, capture.width))

    def _tell(self, what: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{json.dumps(what)}\n".encode())
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise CameraFailed(f"it died without a word: {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.process.wait(ENDS_WITHIN)
            raise CameraFailed(answer["error"])
        return answer

    def _close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(10)
        self._answers.close()
        os.close(self._ready)
        os.close(self._freed)


@contextmanager
def run_beside(program: list[str], says: Callable[[str], bool] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test, and end it.

    Args:
        program: its command line.
        says: waits for a first line on its stdout for which this is true; None waits for none.
    """
    stdout = subprocess.DEVNULL if says is None else subprocess.PIPE
    process = subprocess.Popen(program, stdout=stdout, stderr=subprocess.DEVNULL, text=True)
    try:
        if says:
            assert process.stdout
            assert says(process.stdout.readline())
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
