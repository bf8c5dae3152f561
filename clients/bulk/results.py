"""Where the results of a long run are kept, so that none is lost and none is there twice, whenever it is killed."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal

from triton_yolo.clients.bulk.log import Log, Record, ResultsError
from triton_yolo.files import write_whole

Format = Literal["jsonl", "parquet"]

SETTINGS, REFUSED, RESULTS = "run.json", "refused.jsonl", "results.jsonl"
PART_RECORDS = 50_000  # in a Parquet file


class Results(ABC):
    """A folder with the results of a run, and with what was refused; a context manager.

    Each file has one record, there or there. Of the names of what is done it keeps a hash of 16 bytes.

    Attributes:
        done: files with detections.
        refused: files without.
    """

    kind: ClassVar[Format]
    _log: Log  # that _open opens

    def __init__(self, folder: Path, settings: Record) -> None:
        """Open the folder; it is made where it is not there.

        Args:
            folder: of the run.
            settings: what the results depend on; a run with others cannot go on here.

        Raises:
            ResultsError: another run writes there, or has written with other settings.
            OSError: it cannot be written to.
        """
        import fcntl  # Windows has none

        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            lock = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ResultsError(f"another run writes to {folder}: wait for it, or give another folder") from None
            self._check({"format": self.kind, **settings})
            self._refused = Log(folder / REFUSED)
            stack.callback(self._refused.close)
            self._seen = {_hash(name) for name in self._refused.names()}
            self.refused = len(self._seen)
            stack.callback(lambda: self._log.close())
            for name in self._open():
                self._seen.add(_hash(name))
            self.done = len(self._seen) - self.refused
            self._open_files = stack.pop_all()

    def _check(self, settings: Record) -> None:
        path = self.folder / SETTINGS
        if not path.exists():
            if any(self.folder.iterdir()):
                raise ResultsError(f"{self.folder} has other files: give a folder that is empty, or one of a run")
            write_whole(path, f"{json.dumps(settings)}\n".encode())
        try:
            before = json.loads(path.read_text())
        except ValueError:
            before = {}
        for name, value in settings.items():
            if before.get(name) != value:
                raise ResultsError(
                    f"{self.folder} has results of a run with {name} {before.get(name)}, and this one has {value}: "
                    "give another folder"
                )

    @abstractmethod
    def _open(self) -> Iterator[str]:
        """Open the log that results are written to, and yield the files that have some."""

    @abstractmethod
    def _add(self, record: Record) -> None:
        """Keep a record."""

    def has(self, name: str) -> bool:
        """Return whether a file is done, with detections or without."""
        return _hash(name) in self._seen

    def add(self, record: Record) -> None:
        """Keep the record of a file: with "detections", or with the "error" for which it was refused.

        A file that has one already keeps that.

        Raises:
            OSError: it cannot be written.
        """
        if self.has(record["file"]):
            return
        if "error" in record:
            self._refused.add(record)
            self.refused += 1
        else:
            self._add(record)
            self.done += 1
        self._seen.add(_hash(record["file"]))

    def close(self) -> None:
        """Wait for the disk, and let others write."""
        self._open_files.close()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, OSError):  # what is to be written now cannot be written either; the next run does
            self._open_files.close()
        else:
            self.close()


class JsonLines(Results):
    """Results as one file of JSON lines, as `detect --json` prints them."""

    kind = "jsonl"

    def _open(self) -> Iterator[str]:
        self._log = Log(self.folder / RESULTS)
        yield from self._log.names()

    def _add(self, record: Record) -> None:
        self._log.add(record)


class Parquet(Results):
    """Results as Parquet files of many records each.

    Records are kept as JSON lines until there are enough for a file. Lines and file have the same number, and where
    there is the file the lines are superfluous, so that a record is there once whatever moment the run is killed at.
    """

    kind = "parquet"

    def _open(self) -> Iterator[str]:
        import pyarrow.parquet  # an extra

        parts = sorted(self.folder.glob("part-*.parquet"))
        for part in parts:
            self._lines(part).unlink(missing_ok=True)
            table = pyarrow.parquet.read_table(part, columns=["file"])  # type: ignore[no-untyped-call]
            yield from table["file"].to_pylist()
        self._number = max((int(part.stem.partition("-")[2]) for part in parts), default=-1) + 1
        self._log = Log(self._lines(self._part))
        yield from self._log.names()

    @property
    def _part(self) -> Path:
        return self.folder / f"part-{self._number:06}.parquet"

    @staticmethod
    def _lines(part: Path) -> Path:
        return part.with_suffix(".jsonl")

    def _add(self, record: Record) -> None:
        self._log.add(record)
        if self._log.records >= PART_RECORDS:
            self._finish()
            self._number += 1
            self._log = Log(self._lines(self._part))

    def _finish(self) -> None:
        """Make the Parquet file of the lines, and remove them."""
        self._log.close()
        if self._log.records:
            with open(self._log.path, "rb") as file:
                write_parquet(self._part, map(json.loads, file))
        self._log.path.unlink()

    def close(self) -> None:
        """See Results."""
        self._finish()
        super().close()


def write_parquet(path: Path, records: Iterable[Record]) -> None:
    """Write records as a Parquet file, which is there whole or not at all; ``table`` says which columns it has.

    Args:
        path: of the file.
        records: as ``detect --json`` has them.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow.parquet

    beside = path.with_suffix(".new")
    with open(beside, "wb") as file:
        pyarrow.parquet.write_table(table(records), file, compression="zstd")  # type: ignore[no-untyped-call]
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def table(records: Iterable[Record], errors: bool = False) -> Any:
    """Return records as a table of Arrow.

    Columns: file (string), width and height (int32, pixels), boxes (lists of 4 float32: x1, y1, x2, y2 in pixels),
    scores (lists of float32), classes (lists of int32), names (lists of strings).

    Args:
        records: as ``detect --json`` has them.
        errors: whether there is a column error (string) too, and rows without detections, whose lists are null.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {
        "file": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "boxes": pa.list_(pa.list_(pa.float32(), 4)),
        "scores": pa.list_(pa.float32()),
        "classes": pa.list_(pa.int32()),
        "names": pa.list_(pa.string()),
        **({"error": pa.string()} if errors else {}),
    }
    return pa.Table.from_pylist([_row(record) for record in records], pa.schema(list(columns.items())))


def _row(record: Record) -> Record:
    if "error" in record:
        return record
    found = record["detections"]
    lists = {"boxes": "box", "scores": "score", "classes": "class", "names": "name"}
    return {**record, **{column: [one[key] for one in found] for column, key in lists.items()}}


def _hash(name: str) -> bytes:
    return blake2b(name.encode(errors="surrogateescape"), digest_size=16).digest()


KINDS: dict[Format, type[Results]] = {"jsonl": JsonLines, "parquet": Parquet}
