"""What waits for the broker: in order, numbered for good, bounded, and safe from kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.mqtt.outbox import OVERHEAD, Outbox

LARGE = 10_000_000


def numbers(box: Outbox, after: int = 0, count: int = 100_000) -> list[tuple[str, int]]:
    """Topic and number of each message."""
    return [(kept.topic, int(kept.payload)) for kept in box.after(after, count)]


def add(box: Outbox, *topics: str) -> None:
    box.add([(topic, lambda seq: str(seq).encode()) for topic in topics])


def test_messages_wait_in_order_and_are_numbered_by_topic(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", LARGE)
    add(box, "a", "b", "a")
    add(box, "b")
    assert numbers(box) == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert numbers(box, count=2) == [("a", 1), ("b", 1)]
    second = box.after(0, 2)[1].place
    assert numbers(box, after=second) == [("a", 2), ("b", 2)]
    assert box.messages == 4
    box.close()


def test_what_was_delivered_is_gone_in_any_order_and_numbers_go_on(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", LARGE)
    add(box, "a", "a", "a")
    box.delivered([kept.place for kept in box.after(0, 3)][::-2])
    box.delivered([999])
    assert numbers(box) == [("a", 2)]
    box.delivered([kept.place for kept in box.after(0, 3)])
    assert (box.messages, box.nbytes) == (0, 0)
    stream = box.stream
    box.close()
    box = Outbox(tmp_path / "box", LARGE)
    add(box, "a", "b")
    assert numbers(box) == [("a", 4), ("b", 1)]
    assert box.stream == stream
    box.close()


def test_the_oldest_are_dropped_and_counted_where_there_is_no_room(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", 3 * (OVERHEAD + 2))
    add(box, *"abcde")
    assert numbers(box) == [("c", 1), ("d", 1), ("e", 1)]
    assert (box.dropped, box.messages) == (2, 3)
    box.close()
    box = Outbox(tmp_path / "box", 3 * (OVERHEAD + 2))
    assert (box.dropped, box.messages, box.nbytes) == (2, 3, 3 * (OVERHEAD + 2))
    add(box, "a")
    assert numbers(box) == [("d", 1), ("e", 1), ("a", 2)]
    assert box.dropped == 3
    box.close()


def test_a_message_that_is_larger_than_all_room_is_dropped_too(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", 10)
    add(box, "a")
    assert (numbers(box), box.dropped, box.messages, box.nbytes) == ([], 1, 0, 0)
    box.close()


def test_two_lines_cannot_have_one_file(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", LARGE)
    with pytest.raises(LineError, match="box: another line uses it"):
        Outbox(tmp_path / "box", LARGE)
    box.close()
    Outbox(tmp_path / "box", LARGE).close()


def test_a_damaged_file_is_put_aside_and_numbers_are_of_another_stream(tmp_path: Path) -> None:
    path = tmp_path / "box"
    box = Outbox(path, LARGE)
    add(box, "a")
    stream = box.stream
    box.close()
    path.write_bytes(b"no database " * 1000)
    box = Outbox(path, LARGE)
    add(box, "a")
    assert numbers(box) == [("a", 1)]
    assert box.stream != stream
    box.close()
    [aside] = tmp_path.glob("box.damaged-*")
    assert aside.read_bytes().startswith(b"no database")


@pytest.mark.parametrize(("make", "said"), [("folder", "unable to open"), ("file", "File exists")])
def test_a_path_that_cannot_be_used_is_refused(tmp_path: Path, make: str, said: str) -> None:
    path = tmp_path / "box"
    if make == "folder":
        path.mkdir()
    else:
        (tmp_path / "x").touch()
        path = tmp_path / "x" / "box"
    with pytest.raises(LineError, match=said):
        Outbox(path, LARGE)


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    Outbox(tmp_path / "new" / "box", LARGE).close()
    assert (tmp_path / "new" / "box").stat().st_mode & 0o077 == 0


def test_on_a_full_disk_nothing_is_kept_and_what_was_kept_stays(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", LARGE)
    add(box, "a")
    pages = box._base.execute("PRAGMA page_count").fetchone()[0]
    box._base.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk: SQLite says the same
    with pytest.raises(sqlite3.Error, match="full"):
        box.add([("a", lambda seq: b"x" * 100_000)])
    assert numbers(box) == [("a", 1)]
    box._base.execute("PRAGMA max_page_count = 1000000")
    add(box, "a")
    assert numbers(box) == [("a", 1), ("a", 2)]
    box.close()


WRITER = """
import sys
from pathlib import Path
from triton_yolo.clients.stream.sinks.mqtt.outbox import Outbox
box = Outbox(Path(sys.argv[1]), 10_000_000)
while True:
    box.add([("a", lambda seq: str(seq).encode())] * 3)
    print(box._last["a"], flush=True)
    first = box.after(0, 2)
    box.delivered([kept.place for kept in first])
    print(-int(first[-1].payload), flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_kept_and_no_number_comes_twice(tmp_path: Path) -> None:
    path, last, gone = tmp_path / "box", 0, 0
    for round_ in range(8):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout
            said = [int(process.stdout.readline()) for _ in range(20 + 7 * round_)]
            os.kill(process.pid, signal.SIGKILL)
            said += [int(line) for line in process.stdout.read().split()]
        last, gone = max(last, *said), max(gone, -min(said))
        box = Outbox(path, LARGE)
        found = [number for _, number in numbers(box)]
        box.close()
        assert found == list(range(found[0], found[-1] + 1))
        assert found[-1] >= last  # it may have kept more than it came to say
        assert gone - 2 <= found[0] - 1 <= gone + 2  # what was delivered may be there once more
        last = found[-1]
