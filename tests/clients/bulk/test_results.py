"""Records are there once, whatever a run was killed at."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from triton_yolo.clients.bulk import results as module
from triton_yolo.clients.bulk.log import Record, ResultsError
from triton_yolo.clients.bulk.results import KINDS, REFUSED, RESULTS, Format, Results

BOX = {"box": [1.5, 2.0, 3.0, 4.25], "score": 0.5, "class": 2, "name": "short"}
EVERY = pytest.mark.parametrize("kind", list(KINDS))


def opened(folder: Path, kind: Format = "jsonl", **settings: object) -> Results:
    return KINDS[kind](folder, settings)


def record(number: int) -> Record:
    return {"file": f"{number}.jpg", "width": 640, "height": 480, "detections": [BOX] * (number % 3)}


def kept(folder: Path) -> list[Record]:
    """All records with detections, in the form of `detect --json`, of either format."""
    return sorted(_kept(folder), key=lambda one: one["file"])


def _kept(folder: Path) -> Iterator[Record]:
    for path in (*folder.glob(RESULTS), *sorted(folder.glob("part-*.jsonl"))):
        yield from map(json.loads, path.read_text().splitlines())
    for path in sorted(folder.glob("part-*.parquet")):
        for row in pyarrow.parquet.read_table(path).to_pylist():
            columns = zip(row["boxes"], row["scores"], row["classes"], row["names"], strict=True)
            found = [dict(zip(("box", "score", "class", "name"), one, strict=True)) for one in columns]
            yield {**{name: row[name] for name in ("file", "width", "height")}, "detections": found}


@EVERY
def test_records_are_kept_and_known_again(tmp_path: Path, kind: Format) -> None:
    with opened(tmp_path / "run", kind) as run:
        for number in range(5):
            run.add(record(number))
        run.add({"file": "bad.jpg", "error": "image is neither JPEG nor PNG"})
        run.add({"file": "bad.jpg", "error": "twice"})
        run.add(record(3))
    with opened(tmp_path / "run", kind) as run:
        assert (run.done, run.refused) == (5, 1)
        assert run.has("4.jpg")
        assert run.has("bad.jpg")
        assert not run.has("5.jpg")
        run.add(record(5))
    assert kept(tmp_path / "run") == [record(number) for number in range(6)]
    assert [json.loads(line) for line in (tmp_path / "run" / REFUSED).read_text().splitlines()] == [
        {"file": "bad.jpg", "error": "image is neither JPEG nor PNG"}
    ]


@EVERY
def test_a_line_that_was_not_finished_is_not_there(tmp_path: Path, kind: Format) -> None:
    run = opened(tmp_path, kind)
    run.add(record(0))
    run._open_files.close()  # as a kill does: nothing is finished
    [log] = [path for path in tmp_path.glob("*.jsonl") if path.name != REFUSED]
    with log.open("ab") as file:
        file.write(json.dumps(record(1)).encode()[:-7])
    with opened(tmp_path, kind) as run:
        assert run.done == 1
        assert not run.has("1.jpg")
        run.add(record(1))
    assert kept(tmp_path) == [record(0), record(1)]


def test_a_parquet_file_makes_its_lines_superfluous_at_whatever_moment_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_RECORDS", 3)
    run = opened(tmp_path, "parquet")
    for number in range(2):
        run.add(record(number))
    lines = tmp_path / "part-000000.jsonl"
    before = lines.read_bytes()
    for number in range(2, 5):
        run.add(record(number))
    run._open_files.close()
    lines.write_bytes(before)  # the run was killed between the file and the removal of its lines
    (tmp_path / "part-000001.new").write_bytes(b"half a file")
    with opened(tmp_path, "parquet") as run:
        assert run.done == 5
        run.add(record(5))
        run.add(record(6))
    assert kept(tmp_path) == [record(number) for number in range(7)]
    assert [path.name for path in sorted(tmp_path.glob("part*"))] == [f"part-{n:06}.parquet" for n in range(3)]


def test_a_second_run_waits_for_no_other(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(ResultsError, match=f"another run writes to {tmp_path}"):
        opened(tmp_path)


def test_a_run_with_other_settings_does_not_go_on(tmp_path: Path) -> None:
    opened(tmp_path, score_threshold=0.5).close()
    with pytest.raises(ResultsError, match=r"with score_threshold 0\.5, and this one has None"):
        opened(tmp_path, score_threshold=None)
    with pytest.raises(ResultsError, match="with format jsonl, and this one has parquet"):
        opened(tmp_path, "parquet", score_threshold=0.5)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ResultsError, match="has other files"):
        opened(tmp_path)


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b'{"a": 1}\n'])
def test_a_file_that_holds_something_else_is_an_error_with_its_line(tmp_path: Path, line: bytes) -> None:
    with opened(tmp_path) as run:
        run.add(record(0))
    with (tmp_path / RESULTS).open("ab") as file:
        file.write(line)
    with pytest.raises(ResultsError, match=r"results\.jsonl, line 2: no record of a file"):
        opened(tmp_path)


def test_a_disk_that_takes_no_more_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    length = len(json.dumps(record(0))) + 1
    try:
        with pytest.raises(OSError, match="File too large"), opened(tmp_path) as run:
            run.add(record(0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (length + 30, before[1]))
            run.add(record(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / RESULTS).stat().st_size == length + 30
    with opened(tmp_path) as run:
        assert run.done == 1
        run.add(record(1))
    assert kept(tmp_path) == [record(0), record(1)]
