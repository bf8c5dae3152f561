"""`triton-yolo detect --into`: a run over many files, against the real server."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.clients.bulk.test_results import kept
from tests.clients.bulk.test_sources import archive
from tests.clients.commands import run
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.server.pictures import jpeg, picture
from triton_yolo.clients import DetectionError, Detections, Detector
from triton_yolo.clients.bulk.results import REFUSED, RESULTS
from triton_yolo.clients.bulk.run import persistently
from triton_yolo.clients.commands.detect import main
from triton_yolo.clients.errors import AnswerLate, ServerBusy, ServerUnavailable
from triton_yolo.server.process import TritonServer, free_addresses

COMMAND = [sys.executable, "-m", "triton_yolo", "detect"]
EVERY = pytest.mark.parametrize("kind", ["jsonl", pytest.param("parquet", marks=[pytest.mark.slow, pytest.mark.long])])


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@EVERY
def test_every_image_has_one_record_and_what_is_refused_its_reason(
    tmp_path: Path, grpc_url: str, grpc_detector: Detector, images: list[Path], kind: str
) -> None:
    shard = archive(tmp_path / "shard.tar", a_jpg=images[1].read_bytes(), bad_png=b"no image")
    options = ("--into", tmp_path / "run", "--format", kind, "--url", grpc_url, "--score-threshold", "0.01")
    first = run(main, images[0], shard, images[2].parent, *options)
    assert first.exit_code == 1
    assert first.stdout == f"{tmp_path / 'run'}: {len(images) + 1} done, 1 refused\n"
    assert f"{tmp_path / 'run' / REFUSED} says which were refused, and why" in first.stderr
    [bad] = lines(tmp_path / "run" / REFUSED)
    assert bad["file"] == f"{shard}/bad.png"
    assert str(bad["error"]).startswith("image is neither JPEG nor PNG")
    again = run(main, images[0], shard, images[2].parent, *options)
    assert f"{len(images) + 2} files are done already" in again.stderr
    assert again.stdout == first.stdout
    if kind == "jsonl":
        found = {str(line["file"]): line for line in lines(tmp_path / "run" / RESULTS)}
        assert set(found) == {f"{shard}/a.jpg", *map(str, images)}
        expected = grpc_detector.detect(images[1], score_threshold=0.01)
        assert Detections.from_dict(found[f"{shard}/a.jpg"]).boxes.tolist() == expected.boxes.tolist()
        assert found[f"{shard}/a.jpg"]["detections"] == found[str(images[1])]["detections"]


@pytest.mark.slow
@EVERY
def test_a_run_that_is_killed_at_any_moment_misses_none_and_has_none_twice(
    tmp_path: Path, grpc_url: str, kind: str
) -> None:
    folder, out = tmp_path / "boards", tmp_path / "run"
    folder.mkdir()
    total = 400
    for number in range(total):
        (folder / f"{number}.jpg").write_bytes(jpeg(picture(number % 7, 64, 64)))
    (folder / "0.jpg").write_bytes(b"no image")
    rng, kills = random.Random(4), 0
    small = "from triton_yolo.clients.bulk import results; results.PART_RECORDS = 60"
    command = [sys.executable, "-c", f"{small}\nfrom triton_yolo.cli.main import main; main()", "detect"]
    for attempt in range(30):
        with subprocess.Popen(
            [*command, folder, "--into", out, "--format", kind, "--url", grpc_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            if attempt < 5:
                wait_for_growth(out, process, rng.randrange(1, 4))
                process.kill()
                process.communicate()
                kills += process.returncode != 1
                continue
            _, told = process.communicate(timeout=120)
            assert process.returncode == 1, told
            break
    assert kills >= 3, "or the runs were too short to be killed"
    names = Counter(record["file"] for record in kept(out))
    assert set(names.values()) == {1}
    assert set(names) == {str(folder / f"{number}.jpg") for number in range(1, total)}
    assert [record["file"] for record in lines(out / REFUSED)] == [str(folder / "0.jpg")]


def wait_for_growth(out: Path, process: subprocess.Popen[str], times: int) -> None:
    """Until what the run has kept has grown so often, or it has ended."""
    size = -1
    end = time.monotonic() + 60
    while times and process.poll() is None:
        now = sum(path.stat().st_size for path in out.glob("*") if path.exists())
        times -= size >= 0 and now > size
        size = now
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_server_that_comes_back_loses_no_image(tmp_path: Path) -> None:
    """It is gone for a while in the middle of the run."""
    repository = copy_with_cells(REPOSITORY, tmp_path / "repository")
    folder, out, at = tmp_path / "boards", tmp_path / "run", free_addresses()
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.jpg").write_bytes(jpeg(picture(number % 7, 64, 64)))
    command = [*COMMAND, folder, "--into", out, "--url", f"127.0.0.1:{at.grpc}", "--concurrency", "2"]
    with TritonServer(repository, at, lambda line: None) as server:
        server.wait_until_ready()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for_growth(out, process, 2)
    assert process.poll() is None, "it ended before the server did"
    with TritonServer(repository, at, lambda line: None) as server:
        server.wait_until_ready()
        told, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert told == f"{out}: 300 done, 0 refused\n"
    assert len({str(record["file"]) for record in lines(out / RESULTS)}) == len(lines(out / RESULTS)) == 300


def test_patience_ends_and_what_is_done_is_kept(tmp_path: Path, images: list[Path]) -> None:
    url = f"127.0.0.1:{free_addresses().grpc}"
    done = run(main, images[0], "--into", tmp_path / "run", "--url", url, "--patience", "0")
    assert done.exit_code == 2
    assert "is not available" in done.stderr
    assert "call the same again to go on" in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--json"], "--into writes its own results: leave --json out"),
        (["--draw", "drawn"], "--into writes its own results: leave --draw out"),
    ],
)
def test_other_forms_of_results_are_refused(tmp_path: Path, options: list[str], complaint: str) -> None:
    done = run(main, "a.jpg", "--into", tmp_path / "run", *options)
    assert done.exit_code == 2
    assert complaint in done.stderr


def test_a_place_that_is_not_there_is_one_line(tmp_path: Path, grpc_url: str) -> None:
    done = run(main, tmp_path / "nowhere", "--into", tmp_path / "run", "--url", grpc_url)
    assert done.exit_code == 2
    assert "nowhere: no such file or folder" in done.stderr


def test_only_what_is_the_servers_fault_is_asked_again() -> None:
    asked: list[DetectionError] = []

    def ask() -> str:
        asked.append(errors.pop(0))
        if not errors:
            return "found"
        raise asked[-1]

    errors: list[DetectionError] = [
        ServerUnavailable("gone"),
        ServerBusy("full"),
        AnswerLate("late"),
        DetectionError(""),
    ]
    assert persistently(ask, 60, threading.Event()) == "found"
    assert len(asked) == 4
    errors = [DetectionError("no image"), DetectionError("")]
    with pytest.raises(DetectionError, match="no image"):
        persistently(ask, 60, threading.Event())


def test_who_waits_for_a_server_stops_when_the_run_does() -> None:
    stopped = threading.Event()
    stopped.set()

    def late() -> None:
        raise AnswerLate("late")

    with pytest.raises(ServerUnavailable, match="late"):
        persistently(late, 3600, stopped)
