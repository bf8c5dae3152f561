"""A folder of records: whole files, a budget, and disks that are full."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.records.names import RECORD, moment, stem
from triton_yolo.clients.stream.sinks.records.store import Store

NOON = 1_795_780_800_123_456_789  # 2026-11-27 12:00:00 UTC, and some


def record(number: int, size: int = 100) -> dict[Path, bytes]:
    """A record of a second of its own: a picture, and what is known of it."""
    place = stem("top", NOON + number * 10**9, "fail", number)
    return {place.with_name(f"{place.name}{end}"): bytes(size // 2) for end in (".jpg", ".json")}


def numbers(folder: Path) -> list[int]:
    """Numbers of the records in a folder, each of which is whole."""
    names = sorted(path.name for path in folder.rglob("*.jpg"))
    assert [name.replace(".jpg", ".json") for name in names] == sorted(path.name for path in folder.rglob("*.json"))
    return [int(name.removesuffix(".jpg").rpartition("-")[2]) for name in names]


def test_names_sort_by_time_of_capture() -> None:
    assert moment(NOON) == "2026-11-27T12:00:00.123Z"
    assert stem("top", NOON, "fail", 17) == Path("top/2026-11-27/20261127T120000.123Z-fail-17")
    assert RECORD.match("20261127T120000.123Z-not-inspected-17.boxes.jpg")
    assert not RECORD.match("20261127T120000.123Z-fail-17.txt")


def test_the_oldest_records_make_room_and_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path, 350)
    assert all(store.keep(record(number)) for number in range(5))
    store.close()

    assert numbers(tmp_path) == [2, 3, 4]
    assert store.status() == {"kept": 5, "removed": 2, "lost": 0, "bytes": 300}


def test_what_lies_there_already_counts_and_other_files_are_left_alone(tmp_path: Path) -> None:
    first = Store(tmp_path, 1000)
    assert all(first.keep(record(number)) for number in range(5))
    first.close()
    (tmp_path / "top" / "notes.txt").write_text("mine")

    second = Store(tmp_path, 350)
    assert second.status()["bytes"] == 300
    assert second.keep(record(9))
    second.close()

    assert numbers(tmp_path) == [3, 4, 9]
    assert (tmp_path / "top" / "notes.txt").read_text() == "mine"


def test_folders_of_days_that_are_gone_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path, 100)
    for number in (0, 86_400):
        assert store.keep(record(number))
    store.close()

    assert [path.name for path in (tmp_path / "top").iterdir()] == ["2026-11-28"]


def test_a_record_larger_than_the_budget_is_lost_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path, 350)
    assert store.keep(record(0))
    assert not store.keep(record(1, 400))
    store.close()

    assert numbers(tmp_path) == [0]
    assert store.lost == 1
    assert "400 bytes is larger than the budget of 350" in caplog.text


def test_a_folder_belongs_to_one_line_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path, 1000)
    with pytest.raises(LineError, match="another line keeps its records there"):
        Store(tmp_path, 1000)
    store.close()
    Store(tmp_path, 1000).close()


@pytest.mark.parametrize("name", ["file/records", "file"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LineError, match=f"sinks: .*/{name}: "):
        Store(tmp_path / name, 1000)


def test_records_are_whole_or_absent_whenever_their_line_is_killed(tmp_path: Path) -> None:
    program = f"""
import itertools
from pathlib import Path
from tests.clients.stream.sinks.records.test_store import record
from triton_yolo.clients.stream.sinks.records.store import Store
store = Store(Path({str(tmp_path)!r}), 50_000_000)
print("begins", flush=True)
for number in itertools.count({{first}}):
    assert store.keep(record(number, 200_000))
"""
    first = 0
    for wait in (0.05, 0.11, 0.23):
        process = subprocess.Popen([sys.executable, "-c", program.format(first=first)], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = Store(tmp_path, 50_000_000)
        store.close()
        assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
        for path in tmp_path.rglob("*.j*"):
            assert path.stat().st_size == 100_000
        pictures = sorted(path.stem for path in tmp_path.rglob("*.jpg"))
        told = sorted(path.stem for path in tmp_path.rglob("*.json"))
        assert set(pictures) >= set(told)  # the picture is in its place before what is known of it
        first = len(pictures) + 1
    assert first > 3


def test_a_full_disk_is_counted_and_said_once_and_records_are_kept_again_when_it_has_room(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(disk / "records", 10_000_000)
    (disk / "others").write_bytes(bytes(700_000))
    kept = [store.keep(record(number, 100_000)) for number in range(6)]
    assert kept == [True] * 3 + [False] * 3
    assert numbers(disk) == [0, 1, 2]
    assert not list(disk.rglob(".*.jpg*"))  # nothing half-written takes room

    assert store.status()["lost"] == 3
    assert store.status()["trouble"] == "No space left on device"
    assert caplog.text.count("No space left on device; what cannot be written is counted as lost") == 1
    (disk / "others").unlink()
    assert store.keep(record(9, 100_000))
    assert "trouble" not in store.status()
    assert "records are kept again; 3 were not" in caplog.text
    store.close()
