"""A line of cameras whose frames reach the server through its GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.stream.test_stream import boxes, line_file, stream, synthetic, verdicts
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.gpu


def test_frames_through_the_gpu_give_the_detections_of_frames_in_the_ring(server: TritonServer, tmp_path: Path) -> None:
    found = {}
    for memory in ("system", "cuda"):
        folder = tmp_path / memory
        folder.mkdir()
        cameras = [
            synthetic("left", frames=4),
            synthetic("right", frames=4, seed=3),
            synthetic("bayer", frames=4, pixel_format="bayer_rggb"),
        ]
        report = folder / "report.json"
        result = stream(line_file(folder, server, cameras, memory=memory), "--seconds", 3, "--json", "--report", report)
        assert result.returncode == 0, result.stderr
        assert not json.loads(report.read_text())["total"]["dropped"]
        found[memory] = {
            name: {one["number"] % 4: boxes(one["detections"]) for one in all_of_it}
            for name, all_of_it in verdicts(result).items()
        }
    assert found["cuda"] == found["system"]
