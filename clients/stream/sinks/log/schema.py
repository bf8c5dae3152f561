"""The tables of a line's log, and how its file is opened.

Times are nanoseconds since 1970; boxes are pixels of the picture. Several lines may share a file: each start of a line
is a run.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from triton_yolo.clients.stream.errors import LineError

VERSION = 2
APPLICATION = 0x54594C47  # "TYLG": what ``file`` and others tell this kind of database by
BUSY_SECONDS = 5.0  # that another process may hold the file

TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    line TEXT NOT NULL,
    started_ns INTEGER NOT NULL
);
CREATE TABLE boards (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (id),
    camera TEXT NOT NULL,
    board INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,        -- capture of the last frame; when the verdict was given where there is none
    verdict TEXT NOT NULL,         -- pass, fail, not inspected
    why TEXT NOT NULL,
    frames INTEGER NOT NULL,
    inspected INTEGER NOT NULL,
    defects INTEGER NOT NULL,
    worst TEXT,                    -- class of the worst defect
    score REAL,                    -- and its score
    first_number INTEGER,
    last_number INTEGER,
    first_ns INTEGER,              -- capture of the first frame
    reused INTEGER                 -- inspected frames that stand on an earlier one's detections; NULL: not known
);
CREATE INDEX boards_by_time ON boards (at_ns);
CREATE INDEX boards_by_frame ON boards (run, camera, first_number);
CREATE TABLE frames (              -- those that failed or were not inspected
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (id),
    camera TEXT NOT NULL,
    number INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,        -- capture; when the verdict was given where that is not known
    verdict TEXT NOT NULL,
    why TEXT NOT NULL,
    latency_ms REAL,
    age INTEGER                    -- frames from the one that its defects were found in to it; NULL: not known
);
CREATE INDEX frames_by_time ON frames (at_ns);
CREATE TABLE defects (             -- of frames that failed
    frame INTEGER NOT NULL REFERENCES frames (id) ON DELETE CASCADE,
    class TEXT NOT NULL,
    score REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL
);
CREATE INDEX defects_by_frame ON defects (frame);
"""

# What later versions have added: version, table, column, type.
ADDED = ((2, "boards", "reused", "INTEGER"), (2, "frames", "age", "INTEGER"))


def opened_to_write(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open a log, make it where there is none, and add to one of an earlier version what it lacks.

    One thread at a time may use the connection, whichever that is.

    Args:
        path: of the file.
        synchronous: "normal" or "full", as SQLite has it.

    Raises:
        LineError: it cannot be made or written, or is something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise LineError(f"sinks: {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN IMMEDIATE")  # of two lines that begin at once, one makes the tables
        if _is_empty(database):
            for statement in TABLES.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")
        if lacks := _lacks(database, path):
            for table, column, kind in lacks:
                database.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")
    except sqlite3.Error as error:
        database.close()
        raise LineError(f"sinks: {path}: {error}") from None
    except LineError:
        database.close()
        raise
    return database


def opened_to_read(path: Path) -> sqlite3.Connection:
    """Open a log that may be written at the same time. One of an earlier version is shown with the columns of today.

    Args:
        path: of the file.

    Raises:
        LineError: there is none, or it is something else.
    """
    if not path.is_file():
        raise LineError(f"{path}: there is no such file" if not path.exists() else f"{path}: no file")
    for query in (
        "mode=ro",
        "immutable=1",
    ):  # the second where nobody may write beside the file
        database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{query}", timeout=BUSY_SECONDS, uri=True)
        try:
            lacks = _lacks(database, path)
            for table in {table for table, _, _ in lacks}:
                columns = "".join(f", NULL AS {column}" for one, column, _ in lacks if one == table)
                database.execute(f"CREATE TEMP VIEW {table} AS SELECT *{columns} FROM main.{table}")
        except sqlite3.Error as error:
            database.close()
            if "unable to open" not in str(error) or path.with_name(f"{path.name}-wal").exists():
                raise LineError(f"{path}: {error}") from None
        except LineError:
            database.close()
            raise
        else:
            return database
    raise LineError(f"{path}: it cannot be opened")


def _is_empty(database: sqlite3.Connection) -> bool:
    return not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _lacks(database: sqlite3.Connection, path: Path) -> list[tuple[str, str, str]]:
    """Return table, name and type of each column that a log of an earlier version lacks.

    Raises:
        LineError: it is no log, or one of a later version.
        sqlite3.Error: it cannot be read.
    """
    [kind], [version] = (database.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
    if kind != APPLICATION:
        raise LineError(f"{path}: no log of a line")
    if version > VERSION:
        raise LineError(f"{path}: a log of version {version}; this triton-yolo knows version {VERSION}")
    return [(table, column, kind) for since, table, column, kind in ADDED if since > version]


def closed(database: sqlite3.Connection) -> None:
    """Close a log; what cannot be brought from its journal into the file now is when it is opened next."""
    with contextlib.suppress(sqlite3.Error):
        database.close()
