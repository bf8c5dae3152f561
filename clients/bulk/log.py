"""A file of JSON lines that outlives whoever writes it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from triton_yolo.errors import TritonYoloError

Record = dict[str, Any]

SYNC_SECONDS = 5.0  # between two times that the disk is waited for


class ResultsError(TritonYoloError):
    """A folder with results cannot be used; says why."""


class Log:
    """A file of JSON lines that is only ever appended to; a line that was not finished is taken away at the next start.

    Attributes:
        path: of the file.
        records: lines in it.
    """

    def __init__(self, path: Path) -> None:
        """Open it; it is made where it is not there.

        Raises:
            ResultsError: it has a line that is no JSON object with a file.
        """
        self.path, self.records = path, 0
        self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115  # closed by close
        self._synced = time.monotonic()

    def names(self) -> Iterator[str]:
        """Yield the files that it has records of, and take away what was not finished behind them."""
        end = 0
        self.records = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                self.records += 1
                try:
                    name = json.loads(line)["file"]
                except (ValueError, KeyError, TypeError):
                    raise ResultsError(f"{self.path}, line {self.records}: no record of a file") from None
                yield name
        os.truncate(self.path, end)

    def add(self, record: Record) -> None:
        """Append a record.

        Raises:
            OSError: it cannot be written.
        """
        rest = memoryview(f"{json.dumps(record)}\n".encode())
        while rest:  # more than once where the disk is full, which the second time says
            rest = rest[self._file.write(rest) :]
        self.records += 1
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fdatasync(self._file)
            self._synced = time.monotonic()

    def close(self) -> None:
        """Wait for the disk, and close it; closing twice is fine."""
        if not self._file.closed:
            os.fsync(self._file)
            self._file.close()
