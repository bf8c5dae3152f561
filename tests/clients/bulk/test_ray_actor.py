"""Detection as an actor of Ray Data: on a real local cluster of several processes, of which some are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.server.pictures import jpeg, picture
from triton_yolo.clients import DetectionError, Detector, ServerUnavailable
from triton_yolo.clients.bulk.ray_actor import Detect

CLUSTER = Path(__file__).with_name("cluster.py")
ACTORS = 3
SECONDS = 300


def batch(*contents: bytes) -> pa.Table:
    return pa.table({"bytes": list(contents), "path": [f"/{number}.jpg" for number in range(len(contents))]})


def test_a_batch_has_a_row_for_each_image_with_detections_or_the_reason(grpc_url: str, grpc_detector: Detector) -> None:
    image = jpeg(picture(3, 64, 64))
    rows = Detect(grpc_url, score_threshold=0.01)(batch(image, b"no image", image)).to_pylist()
    assert [row["file"] for row in rows] == ["/0.jpg", "/1.jpg", "/2.jpg"]
    expected = grpc_detector.detect(image, score_threshold=0.01)
    for row in (rows[0], rows[2]):
        assert (row["width"], row["height"], row["error"]) == (64, 64, None)
        assert row["boxes"] == pytest.approx(expected.boxes.tolist(), abs=0.01)
        assert row["names"] == list(expected.names)
    assert rows[1]["error"].startswith("image is neither JPEG nor PNG")
    assert rows[1]["boxes"] is rows[1]["width"] is None


def test_a_server_that_stays_away_ends_the_batch() -> None:
    with pytest.raises(ServerUnavailable):
        Detect("127.0.0.1:9", patience=0.2)(batch(jpeg(picture(3, 64, 64))))


def test_an_address_that_is_none_is_told_when_the_actor_starts() -> None:
    with pytest.raises(DetectionError, match="is no address of a server"):
        Detect("ftp://127.0.0.1")


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the cluster that detect now."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        try:
            if one.cmdline()[:1] and "MapWorker" in one.cmdline()[0]:
                found.append(one)
        except psutil.Error:
            continue
    return found


@pytest.mark.long
@pytest.mark.slow
def test_on_a_cluster_whose_workers_are_killed_none_is_missing_and_none_is_there_twice(
    tmp_path: Path, grpc_url: str
) -> None:
    boards, total = tmp_path / "boards", 1200
    boards.mkdir()
    for number in range(total):
        (boards / f"{number}.jpg").write_bytes(jpeg(picture(number % 7, 64, 64)))
    (boards / "0.jpg").write_bytes(b"no image")
    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # of sockets, whose paths are short
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        command = [sys.executable, str(CLUSTER), grpc_url, str(boards), str(tmp_path / "out"), str(ACTORS), short]
        with (
            (tmp_path / "log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment) as process,
        ):
            killed: set[int] = set()
            end = time.monotonic() + SECONDS
            family: dict[int, psutil.Process] = {}
            while process.poll() is None:
                if time.monotonic() > end:
                    process.kill()  # which ends the cluster too
                family |= {one.pid: one for one in psutil.Process(process.pid).children(recursive=True)}
                running = workers(process)
                if len(killed) < 2 and len(running) >= 2 and running[0].pid not in killed:
                    time.sleep(0.5)  # until it has a batch
                    with contextlib.suppress(psutil.NoSuchProcess):
                        running[0].send_signal(signal.SIGKILL)
                        killed.add(running[0].pid)
                time.sleep(0.2)
    assert process.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert len(killed) == 2
    _, alive = psutil.wait_procs(family.values(), timeout=30)
    assert not alive
    rows = pyarrow.parquet.read_table(tmp_path / "out").to_pylist()  # type: ignore[no-untyped-call]
    assert Counter(Path(row["file"]).name for row in rows) == Counter(f"{number}.jpg" for number in range(total))
    assert [Path(row["file"]).name for row in rows if row["error"]] == ["0.jpg"]
