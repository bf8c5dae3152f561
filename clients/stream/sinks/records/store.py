"""A folder of records that keeps to a budget: the oldest go first, and a full disk is counted."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.records.names import PART, RECORD
from triton_yolo.files import write_together

logger = logging.getLogger(__name__)


class Store:
    """Keeps records, each of one or several files. May be used in any thread.

    Attributes:
        kept: records that were kept.
        removed: records that were removed, since others needed their room.
        lost: records that could not be written.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        """Take over a folder: what it holds counts, and what a line that died was writing is removed.

        Args:
            folder: is made.
            budget: bytes that all records may take together.

        Raises:
            LineError: it cannot be written to, or another line writes there.
        """
        self._folder, self._budget = folder, budget
        self.kept = self.removed = self.lost = self._used = 0
        self._full = ""  # why nothing can be written
        self._lock = threading.Lock()
        self._records: deque[tuple[int, Sequence[Path]]] = deque()
        self._held = _hold(folder)
        try:
            self._scan()
        except OSError as error:
            self.close()
            raise LineError(f"sinks: {error.filename or folder}: {error.strerror}") from None

    def keep(self, files: Mapping[Path, bytes]) -> bool:
        """Write a record, whole or not at all, and return whether it is there.

        Args:
            files: content by path in the folder.
        """
        size = sum(map(len, files.values()))
        with self._lock:
            try:
                self._make_room(size)
                write_together({self._folder / path: content for path, content in files.items()})
            except OSError as error:
                self._failed(error)
                return False
            self._add(size, [self._folder / path for path in files])
        return True

    def adopt(self, part: Path, path: Path) -> bool:
        """Take a file over as a record that was written here beside its place, and return whether it is there.

        Args:
            part: where it is.
            path: its path in the folder.
        """
        with self._lock:
            try:
                size = part.stat().st_size
                self._make_room(size)
                os.replace(part, self._folder / path)
            except OSError as error:
                self._failed(error)
                with contextlib.suppress(OSError):
                    part.unlink()
                return False
            self._add(size, [self._folder / path])
        return True

    def part(self, path: Path) -> Path:
        """Return where a file may be written that is to be adopted; its folder is made.

        Args:
            path: its path in the folder.

        Raises:
            OSError: the folder cannot be made.
        """
        place = self._folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place.with_name(f".{place.name}.part")

    def failed(self, error: OSError) -> None:
        """Count a record that could not be written."""
        with self._lock:
            self._failed(error)

    def status(self) -> dict[str, Any]:
        """Return what was counted, and the bytes that the records take."""
        counts = {"kept": self.kept, "removed": self.removed, "lost": self.lost, "bytes": self._used}
        return {**counts, **({"trouble": self._full} if self._full else {})}

    def close(self) -> None:
        """Let another line use the folder."""
        os.close(self._held)

    def _add(self, size: int, paths: Sequence[Path]) -> None:
        self._records.append((size, paths))
        self._used += size
        self.kept += 1
        if self._full:
            logger.warning("records: %s: records are kept again; %d were not", self._folder, self.lost)
            self._full = ""

    def _failed(self, error: OSError) -> None:
        self.lost += 1
        words = error.strerror or str(error)
        if words != self._full:
            self._full = words
            logger.warning("records: %s: %s; what cannot be written is counted as lost", self._folder, words)

    def _make_room(self, size: int) -> None:
        """Remove the oldest records.

        Raises:
            OSError: there is never so much room.
        """
        if size > self._budget:
            raise OSError(errno.EFBIG, f"a record of {size} bytes is larger than the budget of {self._budget}")
        while self._records and self._used + size > self._budget:
            oldest, paths = self._records.popleft()
            # What is known of a picture goes before the picture, as it came after it.
            for path in sorted(paths, key=lambda path: path.suffix != ".json"):
                with contextlib.suppress(OSError):  # somebody has removed it; or nobody may, and the disk says so
                    path.unlink()
            for folder in {path.parent for path in paths}:
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()
            self._used -= oldest
            self.removed += 1

    def _scan(self) -> None:
        """Find the records that are there, the oldest first."""
        found: dict[tuple[str, str], list[Path]] = {}
        for inside, _, names in os.walk(self._folder):
            for name in names:
                path = Path(inside, name)
                if PART.match(name):
                    self._take_part(path, found)
                elif match := RECORD.match(name):
                    found.setdefault((match[1], inside), []).append(path)
        for _, paths in sorted(found.items()):
            size = sum(path.stat().st_size for path in paths)
            self._records.append((size, paths))
            self._used += size
        self._make_room(0)

    def _take_part(self, path: Path, found: dict[tuple[str, str], list[Path]]) -> None:
        """Keep a film whose line has died, as far as it goes, and remove every other part."""
        whole = path.with_name(path.name[1:].removesuffix(".part"))
        match = RECORD.match(whole.name)
        if path.suffix == ".part" and match and path.stat().st_size:
            os.replace(path, whole)
            found.setdefault((match[1], str(whole.parent)), []).append(whole)
        else:
            path.unlink()


def _hold(folder: Path) -> int:
    """Return a descriptor that nobody else has while it is open.

    Raises:
        LineError: somebody has it, or the folder cannot be written to.
    """
    import fcntl  # Windows has none

    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LineError(f"sinks: {folder}: {error.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise LineError(f"sinks: {folder}: another line keeps its records there; name another") from None
    return held
