"""Writers and a reader of one ring, which are killed at random moments, and an account that must be exact."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.ring_processes import ENTRY, LATE_EACH, NBYTES, ROWS
from triton_yolo.clients.memory.ring import ANSWERED, Reason, Ring, State

WAITING = (True, True, False)  # of each writer: whether it waits for a free slot, or the newest frame wins
Shown = Callable[[list[float]], Iterable[float]]
LOOK = 0.004  # seconds between two looks at how far the frames are


class Torture:
    """The process that owns the ring, starts the others, kills them, and lets the dead ones' accounts be settled.

    An answer is an entry in the journal and then a release. A reader that is killed between the two leaves a frame that
    is in the journal and counted as CONSUMER_LOST: at most one for each death of a reader, and after each death it is
    known whether it is one, since the journal is then one entry longer than the answers of the ring.
    """

    def __init__(self, frames: int, kills: int, seed: int, folder: Path) -> None:
        """Make the ring.

        Args:
            frames: frames that are to be answered, at least.
            kills: how many processes are to be killed.
            seed: seed of everything that is random in this process.
            folder: folder for the journal.
        """
        self._frames, self._kills, self._random = frames, kills, random.Random(seed)
        self._journal = folder / "journal"
        self._journal.touch()
        self._ring = Ring.create(f"torture-{os.getpid()}", ROWS, len(WAITING), NBYTES)
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._freed = [os.eventfd(0, os.EFD_CLOEXEC) for _ in WAITING]
        self._reader: subprocess.Popen[str] | None = None
        self._writers: dict[int, subprocess.Popen[str]] = {}
        self.killed, self.unsure = Counter[str](), 0

    def run(self, shown: Shown) -> None:
        """Let the frames flow, and kill.

        Args:
            shown: passes on the moments of the kills, and may show how many are over.

        Raises:
            BenchError: a process has failed, or a reader has journalled more than it answered.
        """
        self._start_reader()
        for column in range(len(WAITING)):
            self._start_writer(column)
        for at in shown(sorted(self._random.uniform(0, self._frames) for _ in range(self._kills))):
            self._wait_for(at)
            time.sleep(self._random.uniform(0, LOOK))  # else it would follow the looks
            self._kill()
        self._wait_for(self._frames)
        for writer in self._writers.values():
            self._end(writer)
        self._tell("stop")
        self._end(self._reader)

    def _wait_for(self, answered: float) -> None:
        while self._answered() < answered:
            time.sleep(LOOK)
            for process in (self._reader, *self._writers.values()):
                if process and process.poll() is not None:
                    raise BenchError(f"a process of the ring's torture has failed with {process.returncode}")

    def _answered(self) -> int:
        return sum(self._ring.account(column)[ANSWERED] for column in range(len(WAITING)))

    def _kill(self) -> None:
        """Kill the reader, a writer, a writer and the reader at once, or a writer and the reader that recovers it."""
        kind = self._random.choices(("reader", "writer", "both", "reader while it recovers"), (3, 5, 1, 1))[0]
        self.killed[kind] += 1
        column = self._random.randrange(len(WAITING))
        if kind != "reader":
            self._writers[column].kill()
        if kind in ("reader", "both"):
            self._kill_reader()
        if kind != "reader":
            self._writers[column].wait()
            _close(self._writers[column])
        if kind == "reader while it recovers":
            self._tell(f"recover {column}")
            time.sleep(self._random.uniform(0, 0.0005))
            self._kill_reader()
        if kind != "writer":
            self._start_reader()
        if kind != "reader":
            self._tell(f"recover {column}")
            assert self._reader and self._reader.stdout
            if not self._reader.stdout.readline().strip().isdigit():
                raise BenchError("the reader has not recovered a column")
            self._start_writer(column)

    def _kill_reader(self) -> None:
        assert self._reader
        self._reader.kill()
        self._reader.wait()
        _close(self._reader)
        more = self._journal.stat().st_size // ENTRY.size - self._answered() - self.unsure
        if more not in (0, 1):
            raise BenchError(f"a dead reader has journalled {more} frames that it did not answer")
        self.unsure += more

    def _start_reader(self) -> None:
        arguments = ("reader", self._ring.path, self._journal, self._ready, *self._freed)
        self._reader = self._start(*arguments)

    def _start_writer(self, column: int) -> None:
        freed = self._freed[column] if WAITING[column] else -1
        seed = self._random.randrange(1 << 30)
        self._writers[column] = self._start("writer", self._ring.path, column, self._ready, freed, seed)

    def _start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bench.ring_processes", *map(str, arguments)]
        files = (self._ready, *self._freed)
        pipe = subprocess.PIPE
        root = Path(__file__).resolve().parents[1]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, pass_fds=files, cwd=root)

    def _tell(self, line: str) -> None:
        assert self._reader and self._reader.stdin
        self._reader.stdin.write(f"{line}\n")
        self._reader.stdin.flush()

    def _end(self, process: subprocess.Popen[str] | None) -> None:
        assert process and process.stdin
        process.stdin.close()
        if process.wait():
            raise BenchError(f"a process of the ring's torture has failed with {process.returncode}")
        _close(process)

    def account(self) -> dict[str, Any]:
        """Return what became of the frames, when all processes have ended.

        Raises:
            BenchError: says what is wrong with it.
        """
        entries = list(ENTRY.iter_unpack(self._journal.read_bytes()))
        counts = [self._ring.counts(column) for column in range(len(WAITING))]
        dropped = sum((Counter(dict(one.dropped)) for one in counts), Counter[Reason]())
        captured, answered = sum(one.captured for one in counts), sum(one.answered for one in counts)
        found = {
            "captured": captured,
            "answered": answered,
            "dropped": {reason.words: dropped[reason] for reason in Reason if dropped[reason]},
            "torn": sum(not whole for _, whole, _ in entries),
            "answered_twice": len(entries) - len({(column, number) for column, _, number in entries}),
            "missing": sum(one.missing for one in counts),
            "journalled_and_lost": self.unsure,
            "slots_not_free": sum(
                state != State.FREE for column in range(len(WAITING)) for state in self._ring.states(column).tolist()
            ),
        }
        wrong = [name for name in ("torn", "answered_twice", "missing", "slots_not_free") if found[name]]
        if captured != answered + sum(dropped.values()):
            wrong.append("captured")
        if len(entries) != answered + self.unsure or self.unsure > dropped[Reason.CONSUMER_LOST]:
            wrong.append("answered")
        highest = {column: one.captured for column, one in enumerate(counts)}
        if any(number >= highest[column] or number % LATE_EACH == 0 for column, _, number in entries):
            wrong.append("numbers")
        if wrong:
            raise BenchError(f"the ring's account is wrong: {', '.join(wrong)} in {found}")
        return found

    def close(self) -> None:
        """End everything."""
        for process in (self._reader, *self._writers.values()):
            if process and process.poll() is None:
                process.kill()
                process.wait()
            if process:
                _close(process)
        self._ring.close()
        for file in (self._ready, *self._freed):
            os.close(file)


def torture(frames: int, kills: int, seed: int, shown: Shown = iter) -> dict[str, Any]:
    """Torture a ring, and return what became of the frames.

    Args:
        frames: frames that are to be answered, at least.
        kills: how many processes are to be killed.
        seed: seed of everything that is random.
        shown: passes on the moments of the kills, and may show how many are over.

    Raises:
        BenchError: a frame was torn, lost or answered twice; a slot, a file or a descriptor is left.
    """
    before, start = _descriptors(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = Torture(frames, kills, seed, Path(folder))
        try:
            run.run(shown)
            found = run.account()
        finally:
            path = run._ring.path
            run.close()
            killed, run = run.killed, None  # type: ignore[assignment]  # its map is a descriptor
    leaked = {"files": int(path.exists()), "descriptors": len(_descriptors() - before)}
    if any(leaked.values()):
        raise BenchError(f"the ring has left {leaked}")
    return {
        "frame_bytes": NBYTES,
        "writers": {"wait": sum(WAITING), "newest_wins": WAITING.count(False)},
        "killed": {"total": sum(killed.values()), **killed},
        **found,
        "leaked": leaked,
        "seconds": round(time.monotonic() - start),
    }


def _descriptors() -> set[tuple[str, str]]:
    """Return what is open, by number and name."""
    folder = Path("/proc/self/fd")
    return {(file, os.readlink(folder / file)) for file in os.listdir(folder) if (folder / file).is_symlink()}


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            try:
                pipe.close()
            except BrokenPipeError:  # what it was told last did not reach it
                continue
