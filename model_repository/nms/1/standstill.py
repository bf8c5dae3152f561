"""A process that stood still while Triton waited for it must answer no more.

Triton gives a Python model's requests up when the model's process shows no sign of life for a second
(ModelInstanceState::ReceiveMessageFromStub in triton-inference-server/python_backend, 24.10): stopped by a signal,
swapped out, or without a processor for that long. It answers them with an error, and keeps the queues between both
processes as they are. Once the process goes on, it computes what was given up, and Triton takes that late answer, whose
memory may hold something else by then, for the answer to the next request. So a process that stood still ends, as if it
had been killed, and the server is started again.

A thread of Python looks at the clock ten times a second. Where it could not, the process stood still, or Python's other
threads computed without a pause or waited for something, such as for a tritonserver that stood still itself. The time
that the main thread had a processor is no standstill; of waiting, the thread that gives Triton the signs of life tells,
which is none of Python's.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

BEAT = 0.1  # seconds between two looks at the clock
SIGNS = 0.3  # seconds between two signs of life
LIMIT = 0.65  # seconds without a look that may be a standstill: Triton's second begins up to 0.3 s after a sign
SUSPECT = 1.0  # seconds after a standstill in which what arrives may have waited through it
STATUS = 70  # the process's exit status: EX_SOFTWARE of sysexits.h
SLEEPS = {"x86_64": "230", "aarch64": "115"}  # clock_nanosleep(2), by machine


class Standstill:
    """Ends the process where it stood still while requests waited; a context manager around each ``execute``."""

    def __init__(self, model: str) -> None:
        """Begin to watch, at the end of ``initialize``: what loads a library may keep Python waiting for longer.

        Args:
            model: its name, for what is said at the end.
        """
        self._model = model
        self._sign = _thread_of_signs()
        self._seen, self._signs, self._computed = time.monotonic(), 0, 0.0
        self._main = _main_thread()
        self._look_anew()
        self._until, self._length = float("-inf"), 0.0
        self._entered, self._wall, self._excuses = self._seen, 0.0, 0
        self._closed = Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watch, in ``finalize``: no thread of Python's may outlive it."""
        self._closed.set()
        self._thread.join()

    def __enter__(self) -> None:
        """Requests have come."""
        self._entered, self._wall = time.monotonic(), _wall_clock()
        self._end_if_late()

    def __exit__(self, *_: object) -> None:
        """They are about to be answered."""
        if (step := _wall_clock() - self._wall) > LIMIT:  # Triton waits by the wall clock
            self._end(f"the clock was set forward by {step:.1f} s")
        self._end_if_late()

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Do something that keeps Python's other threads waiting, as loading a library does."""
        self._excuses += 1
        try:
            yield
        finally:
            self._look_anew()
            self._excuses -= 1

    def _watch(self) -> None:
        while not self._closed.wait(BEAT):
            self._look()
            self._look_anew()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._seen <= LIMIT or self._excuses:
            return
        length = now - self._seen - (self._computed_now() - self._computed)
        if length > LIMIT and not self._lived(length):
            self._until, self._length = now, length

    def _look_anew(self) -> None:
        self._signs, self._seen = self._signs_now(), time.monotonic()
        self._computed = self._computed_now()

    def _lived(self, length: float) -> bool:
        """Whether there were signs of life; two may have been just before a standstill and just after it."""
        return self._signs_now() - self._signs >= max(3, 0.7 * length / SIGNS)

    def _signs_now(self) -> int:
        """How often the thread of the signs has run; always 0 where nobody knows."""
        try:
            return int(self._sign.read_text().split()[2]) if self._sign else 0
        except OSError:  # the model is being unloaded, and that thread has ended
            return self._signs

    def _computed_now(self) -> float:
        """How long the main thread has had a processor, in seconds; what was told last where the kernel doesn't."""
        try:
            return int(self._main.read_text().split()[0]) / 1e9
        except OSError:
            return self._computed

    def _end_if_late(self) -> None:
        self._look()
        if self._until > self._entered - SUSPECT:
            self._end(f"this process stood still for {self._length:.1f} s (stopped? swapped out? no processor?)")

    def _end(self, why: str) -> None:
        sys.stderr.write(
            f"{self._model}: {why}: Triton may have given up its requests, and would take the answers to them for "
            "those of others; the process ends\n"
        )
        sys.stderr.flush()
        os._exit(STATUS)


def _wall_clock() -> float:
    """Seconds that the wall clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()


def _main_thread() -> Path:
    """Return the statistics of the thread that calls ``execute`` (not its clock, which libfaketime sets, too)."""
    return Path(f"/proc/self/task/{threading.main_thread().native_id}/schedstat")


def _thread_of_signs() -> Path | None:
    """Return the statistics of the thread that gives signs of life: the first one of the stub, which sleeps in between.

    None where the kernel doesn't tell: then each time in which Python waited counts as a standstill.
    """
    own = {thread.native_id for thread in threading.enumerate()}
    for _ in range(10):
        for task in sorted(Path("/proc/self/task").iterdir(), key=lambda task: int(task.name)):
            try:
                asleep = (task / "syscall").read_text().split()[0] == SLEEPS.get(platform.machine())
                if asleep and int(task.name) not in own and (task / "schedstat").is_file():
                    return task / "schedstat"
            except OSError:  # the thread has ended, or the kernel doesn't tell
                continue
        time.sleep(0.01)
    return None
