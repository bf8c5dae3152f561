"""The ladder: what it compares, how it counts, and that its pages say what its files say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.case.copies import Copies, between, counting, look
from bench.case.first_client import letterboxed, normalised, suppressed
from bench.case.measuring import _compared, _rate
from bench.case.report import BARS, bars, markdown, picture
from bench.case.rungs import ENCODED, RAW, RUNGS
from bench.case.summary import kept, summary
from bench.case.ways import WAYS
from bench.errors import BenchError
from tests.conftest import ROOT
from triton_yolo.clients.detections import Detections
from triton_yolo.nms.letterbox import PAD, Letterbox

LETTERBOX = Letterbox(64, 64)
KEPT = ROOT / "bench" / "results"


def result(device: str = "cpu") -> dict[str, Any]:
    """A result whose rungs get better one by one."""
    rungs = [
        {
            "number": rung.number,
            "stream": rung.stream,
            "name": rung.name,
            "change": rung.change,
            "frames_per_second": 10.0 * (place + 1),
            "latency_ms": {"p50": 100.0 / (place + 1), "p99": 200.0, "std": 5.0},
            "dropped_share": 0.0,
            "cpu_seconds_per_frame": {"client": 0.01, "server": 0.09 / (place + 1), "both": 0.01 + 0.09 / (place + 1)},
            "server_memory_bytes": 4e8,
            "connection_bytes_per_frame": 5_000_000 // (place * 50 + 1),
            "copied_bytes_per_frame": 1_000_000,
            "bus_bytes_per_frame": 5_000_000 // (place * 50 + 1),
        }
        for place, rung in enumerate(RUNGS)
    ]
    machine = {"cores": 2, "date": "2026-01-01"}
    return {
        "measured_on": machine,
        "device": device,
        "cameras": 8,
        "height": 960,
        "width": 1280,
        "fps_of_latencies": 1.0,
        "rounds": 3,
        "seconds": 10.0,
        "rungs": rungs,
    }


def test_every_rung_has_a_client_and_changes_one_thing_of_the_one_below() -> None:
    assert {rung.kind for rung in RUNGS} <= set(WAYS)
    for ladder in (ENCODED, RAW):
        assert [rung.number for rung in ladder] == sorted({rung.number for rung in ladder})
        for below, rung in pairwise(ladder):
            assert (rung.repository != below.repository) + (rung.kind != below.kind) >= 1


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_each_bar_of_a_device_gets_its_ratio(device: str) -> None:
    found = bars(result(device))
    assert len(found) == sum(bar.device == device for bar in BARS)
    by_words = {bar["words"]: bar for bar in found}
    if device == "cpu":
        bytes_bar = by_words["encoded: bytes over the connection, overlap to written first"]
        assert bytes_bar == {**bytes_bar, "ratio": round(24875 / 5_000_000, 3), "met": True}
        processor = by_words["encoded: processor, overlap to written first"]
        assert (processor["ratio"], processor["met"]) == (0.28, True)
    else:
        memory = by_words["encoded: GPU memory, overlap to written first"]
        assert (memory["ratio"], memory["met"]) == (None, False), "what was not measured is not met"
        assert by_words["encoded: frames/s, overlap to written first"]["ratio"] == 5.0


def test_a_rung_that_is_no_better_says_so() -> None:
    content = result()
    content["rungs"][2] = {
        **content["rungs"][1],
        "number": 2,
        "name": "decoding served",
        "change": "the server decodes",
    }
    assert "the server decodes; **does not pay here**" in markdown(content)
    assert markdown(result()).count("does not pay") == 0


def test_latencies_are_compared_at_a_rate_that_every_rung_holds() -> None:
    slow, fast = RUNGS[0], RUNGS[1]
    assert _rate({slow: [{"frames_per_second": 16.0}], fast: [{"frames_per_second": 999.0}]}) == 1.0
    assert _rate({slow: [{"frames_per_second": 900.0}], fast: [{"frames_per_second": 999.0}]}) == 30.0


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.zeros(count, np.int32),
        ("0",) * count,
    )


def test_what_does_not_detect_the_same_is_not_compared() -> None:
    same = [detections((0, 0, 10, 10))]
    assert _compared(RUNGS[0], same, same)["share"] == 1.0
    with pytest.raises(BenchError, match="0 of 1 detections in common"):
        _compared(RUNGS[1], same, [detections((20, 20, 30, 30))])


def test_the_first_client_letterboxes_normalises_and_suppresses() -> None:
    pixels = np.full((32, 64, 3), 255, np.uint8)
    boxed = letterboxed(pixels, LETTERBOX)
    assert boxed.shape == (64, 64, 3)
    assert (boxed[:16] == PAD).all() and (boxed[16:48] == 255).all() and (boxed[48:] == PAD).all()
    assert normalised(boxed).shape == (1, 3, 64, 64)
    assert normalised(boxed).max() == 1.0

    rows = np.zeros((6, 4), np.float32)  # x1, y1, x2, y2 and two classes
    rows[:, 0] = (10, 20, 30, 40, 0.9, 0.1)
    rows[:, 1] = (11, 21, 31, 41, 0.8, 0.1)  # the same object
    rows[:, 2] = (10, 20, 30, 40, 0.1, 0.7)  # another class at the same place
    rows[:, 3] = (10, 20, 30, 40, 0.2, 0.3)  # below the threshold
    boxes, scores, classes = suppressed(rows, (32, 64), LETTERBOX, 0.4, 0.5)
    order = np.argsort(-scores)
    assert boxes[order].tolist() == [[10, 4, 30, 24]] * 2
    assert scores[order].tolist() == pytest.approx([0.9, 0.7])
    assert classes[order].tolist() == [0, 1]


COPY = """
import os, sys
import numpy as np
from bench.case.copies import look, between
from pathlib import Path
frame = np.zeros(3_000_001, np.uint8)
before = look(Path(sys.argv[1]), {str(os.getpid()): "me"})
for _ in range(3):
    frame.copy()
found = between(before, look(Path(sys.argv[1]), {str(os.getpid()): "me"}))
[large] = [one for one in found if one.size == 3_000_001]
print(large.process, large.count, large.nbytes, large.microseconds > 0, "umath" in large.library)
"""


def test_copies_of_a_process_are_counted_to_the_last_one(tmp_path: Path) -> None:
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler: apt-get install gcc")
    with counting(tmp_path):
        told = subprocess.run(
            [sys.executable, "-c", COPY, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=60
        )
    assert told.stdout.split() == ["me", "3", "9000003", "True", "True"], told.stderr


def test_small_copies_of_a_library_are_together() -> None:
    before = {("a", "lib", 2000): (1, 1.0), ("a", "lib", 100_000): (1, 1.0)}
    after = {("a", "lib", 2000): (3, 2.0), ("a", "lib", 4000): (1, 1.0), ("a", "lib", 100_000): (1, 1.0)}
    assert between(before, after) == [Copies("a", "lib", 0, 3, 8000, 2.0)]
    assert look(Path("nowhere"), {"1": "a"}) == {}


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture(result(), tmp_path / "case.png")
    assert (tmp_path / "case.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_page_says_what_the_kept_files_say(device: str) -> None:
    page = (ROOT / "docs" / "case.md").read_text()
    [shown] = re.findall(rf"<!-- case-{device} -->\n\n(.*?)\n\n<!-- /case-{device} -->", page, re.DOTALL)
    folder = KEPT / f"case-{device}"
    if not folder.is_dir():
        assert shown == "Not measured yet."
        return
    content = json.loads((folder / "case.json").read_text())
    assert content["device"] == device
    assert (folder / "case.md").read_text() == markdown(content)
    assert shown == markdown(content).strip()


def test_the_readme_has_the_table_that_the_kept_files_make() -> None:
    readme = (ROOT / "README.md").read_text()
    [shown] = re.findall(r"<!-- case -->\n\n(.*?)\n\n<!-- /case -->", readme, re.DOTALL)
    assert shown == summary(kept()).strip()


def test_the_readme_s_table_shows_the_first_rung_and_the_one_that_is_served() -> None:
    text = summary([result("cpu")])
    assert (
        "| JPEGs, 2 cores | 10.0 -> **50.0** | 100 -> **20.0 ms** | 100.0 -> **28.0 ms** | 5,000 -> **24.9 kB** |"
        in text
    )
    assert "| raw frames, 2 cores |" in text
