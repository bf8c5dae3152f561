"""What waits for the broker, in a file: in order, numbered for good, and bounded.

A SQLite file with a write-ahead log, and not segments of a log of its own: a transaction holds a message, its number
and what was dropped for it together, whatever dies in between, and the file needs no repair and no compaction.
Commits are synchronised with the disk (``synchronous=FULL``), so that what was kept survives a power failure too and
no number is given twice; several messages share a commit where they come faster than the disk takes them. What was
delivered is deleted without waiting for the disk: at worst it is sent once more, with the same number.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from triton_yolo.clients.stream.errors import LineError

OVERHEAD = 64  # bytes of a message beside its topic and payload, about
VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS box (version INTEGER NOT NULL, stream TEXT NOT NULL, dropped INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS topics (topic TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    place INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, bytes INTEGER NOT NULL
);
"""

logger = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A message that waits.

    Attributes:
        place: its place in the order of all messages.
        topic: its topic.
        payload: its content.
    """

    place: int
    topic: str
    payload: bytes


class Outbox:
    """The file; may be used from several threads.

    Attributes:
        stream: names this file's numbers: a file that was lost is another stream, whose numbers begin at 1.
        dropped: messages that were dropped since there was no room for them, since the file was made.
        messages: how many wait.
        nbytes: how many bytes they take, about.
    """

    def __init__(self, path: Path, largest: int) -> None:
        """Open a file, or make it; one that is damaged is put aside.

        Args:
            path: of the file; its folder is made.
            largest: how many bytes may wait.

        Raises:
            LineError: it cannot be opened, or another process uses it.
        """
        self._path, self._largest = path, largest
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise LineError(f"sinks: {path}: {error.strerror}") from None
        try:
            self._open()
        except sqlite3.OperationalError as error:
            words = "another line uses it" if "locked" in str(error) else str(error)
            raise LineError(f"sinks: {path}: {words}") from None
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            logger.warning("%s: %s; it is put aside as %s, and numbers begin anew", path, error, aside.name)
            for suffix in ("", "-wal"):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
            self._open()

    def _open(self) -> None:
        base = sqlite3.connect(self._path, timeout=0.2, isolation_level=None, check_same_thread=False)
        try:
            # One process has it, which also spares the memory that processes would share.
            base.execute("PRAGMA locking_mode = EXCLUSIVE")
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = FULL")
            base.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";")[:-1]:
                base.execute(statement)
            found = base.execute("SELECT version, stream, dropped FROM box").fetchone()
            if found is None:
                found = (VERSION, uuid.uuid4().hex, 0)
                base.execute("INSERT INTO box VALUES (?, ?, ?)", found)
            base.execute("COMMIT")
            version, self.stream, self.dropped = found
            if version != VERSION:
                raise sqlite3.OperationalError(f"of version {version}, and this reads version {VERSION}")
            query = "SELECT count(*), coalesce(sum(bytes), 0) FROM messages"
            self.messages, self.nbytes = base.execute(query).fetchone()
            self._last: dict[str, int] = dict(base.execute("SELECT topic, last FROM topics"))
        except BaseException:
            base.close()
            raise
        self._base = base

    def add(self, messages: Sequence[tuple[str, Callable[[int], bytes]]]) -> None:
        """Keep messages; they are safe when this returns. The oldest are dropped where there is no room.

        Args:
            messages: topic of each, and what makes its payload of its number: the first of a topic has 1, and each
                further one the next, also after a restart.

        Raises:
            sqlite3.Error: they could not be written, as on a full disk; none of them was kept.
        """
        with self._lock:
            last, rows = dict(self._last), list[tuple[str, bytes, int]]()
            for topic, make in messages:
                last[topic] = last.get(topic, 0) + 1
                payload = make(last[topic])
                rows.append((topic, payload, len(topic) + len(payload) + OVERHEAD))
            size, count, dropped = self.nbytes + sum(row[2] for row in rows), self.messages + len(rows), self.dropped
            self._base.execute("BEGIN IMMEDIATE")
            try:
                self._base.executemany("INSERT INTO messages (topic, payload, bytes) VALUES (?, ?, ?)", rows)
                changed = [(topic, last[topic]) for topic in {topic for topic, _ in messages}]
                self._base.executemany("INSERT OR REPLACE INTO topics VALUES (?, ?)", changed)
                if size > self._largest:
                    end = 0
                    with contextlib.closing(
                        self._base.execute("SELECT place, bytes FROM messages ORDER BY place")
                    ) as oldest:
                        while size > self._largest and (row := oldest.fetchone()):
                            end, size, count, dropped = row[0], size - row[1], count - 1, dropped + 1
                    self._base.execute("DELETE FROM messages WHERE place <= ?", (end,))
                    self._base.execute("UPDATE box SET dropped = ?", (dropped,))
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:  # SQLite ends it by itself where the disk is full
                    self._base.execute("ROLLBACK")
                raise
            self._last, self.nbytes, self.messages, self.dropped = last, size, count, dropped

    def after(self, place: int, count: int) -> list[Kept]:
        """Return the messages that come next.

        Args:
            place: of the last one that is known; 0 for none.
            count: how many at most.
        """
        with self._lock:
            query = "SELECT place, topic, payload FROM messages WHERE place > ? ORDER BY place LIMIT ?"
            return [Kept(*row) for row in self._base.execute(query, (place, count))]

    def delivered(self, places: Sequence[int]) -> None:
        """Forget messages.

        Args:
            places: their places; those that are not there any more are ignored.

        Raises:
            sqlite3.Error: they could not be deleted; they will come once more.
        """
        with self._lock:
            # What is lost of this with the power is sent again: no need to wait for the disk.
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.execute("BEGIN IMMEDIATE")
            try:
                size, count = self.nbytes, self.messages
                for place in places:
                    query = "DELETE FROM messages WHERE place = ? RETURNING bytes"
                    for (nbytes,) in self._base.execute(query, (place,)).fetchall():
                        size, count = size - nbytes, count - 1
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
            finally:
                self._base.execute("PRAGMA synchronous = FULL")
            self.nbytes, self.messages = size, count

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            self._base.close()
