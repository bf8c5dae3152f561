"""triton-yolo stream against the real server: what a person and a script see of a line that works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import yaml

from tests.conftest import ROOT
from triton_yolo.boards import draw_board
from triton_yolo.boards.line import Line
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.images import Image
from triton_yolo.clients.memory.ring import FOLDER
from triton_yolo.clients.stream.line import read_line
from triton_yolo.server.process import TritonServer

HEIGHT, WIDTH = 240, 320


def stream(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "triton_yolo", "stream", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False)


def url(server: TritonServer) -> str:
    return f"{server.addresses.host}:{server.addresses.grpc}"


def line_file(folder: Path, server: TritonServer, cameras: list[dict[str, Any]], **settings: Any) -> Path:
    """A line's file with a deadline that a busy machine keeps."""
    content = {"name": f"test-{folder.name}", "url": url(server), "deadline_ms": 60_000, "backlog": 6, **settings}
    path = folder / "line.yaml"
    path.write_text(yaml.safe_dump({**content, "cameras": cameras}))
    return path


def synthetic(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "uri": "synthetic:photo", "fps": 5, "options": {"size": f"{HEIGHT}x{WIDTH}", **options}}


def verdicts(result: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """Lines of JSON by camera."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in result.stdout.splitlines():
        verdict = json.loads(line)
        found.setdefault(verdict["camera"], []).append(verdict)
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six boards as PNGs of different sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(6):
        from PIL import Image as Picture

        Picture.fromarray(draw_board(seed, WIDTH + 16 * seed, HEIGHT, "photo").image).save(folder / f"{seed}.png")
    return folder


def boxes(detections: list[dict[str, Any]]) -> list[tuple[str, list[float]]]:
    return [(one["name"], [round(v) for v in one["box"]]) for one in detections]


def test_each_frame_has_a_verdict_in_order_and_the_report_adds_up(server: TritonServer, tmp_path: Path) -> None:
    cameras = [synthetic("left"), synthetic("right", seed=3)]
    report = tmp_path / "report.json"
    result = stream(line_file(tmp_path, server, cameras), "--seconds", 3, "--json", "--report", report)
    assert result.returncode == 0, result.stderr
    content = json.loads(report.read_text())
    found = verdicts(result)
    assert set(found) == {"left", "right"}
    for camera in content["cameras"]:
        numbers = [verdict["number"] for verdict in found[camera["name"]]]
        assert numbers == list(range(camera["captured"]))
        assert camera["captured"] == camera["answered"] + sum(camera["dropped"].values())
        assert camera["captured"] >= 3
        assert camera["in_flight"] == 0
        assert camera["bytes_per_frame"] == HEIGHT * WIDTH * 3
        assert camera["copies_per_frame"] == {"to_ring": 1, "to_server": 0}
        inspected = [one for one in found[camera["name"]] if one["state"] == "inspected"]
        assert len(inspected) == camera["answered"]
        assert all(one["latency_ms"] > 0 for one in inspected)
        assert camera["latency_ms"]["p50"] <= camera["latency_ms"]["p99"]
    for key in ("captured", "answered", "in_flight", "detections"):
        assert content["total"][key] == sum(camera[key] for camera in content["cameras"])
    assert content["total"]["account_checks"] > 0
    assert not list(FOLDER.glob(f"*test-{tmp_path.name}*"))


def images_of(server: TritonServer, model: str) -> int:
    """Images that a model has answered."""
    with tritonclient.grpc.InferenceServerClient(url(server)) as client:
        return int(client.get_inference_statistics(model).model_stats[0].inference_count)


@pytest.mark.parametrize(("pixel_format", "model"), [("rgb", "detect_frames"), ("bayer_grbg", "detect_bayer")])
def test_the_server_has_found_something_before_the_first_frame_comes(
    server: TritonServer, tmp_path: Path, pixel_format: str, model: str
) -> None:
    before = images_of(server, model)
    report = tmp_path / "report.json"
    cameras = [synthetic(name, pixel_format=pixel_format) for name in ("left", "right")]
    result = stream(line_file(tmp_path, server, cameras, deadline_ms=60_000), "--seconds", 1, "--report", report)
    assert result.returncode == 0, result.stderr
    total = json.loads(report.read_text())["total"]
    assert total["captured"] == total["answered"]
    assert images_of(server, model) - before == total["answered"] + len(cameras)


@pytest.mark.parametrize("memory", ["system", "plain"])
def test_a_line_finds_what_the_client_finds_in_the_same_frames(
    server: TritonServer, tmp_path: Path, memory: str
) -> None:
    settings = {"memory": memory}
    cameras = [synthetic("a", frames=4), synthetic("b", frames=4, pixel_format="bayer_grbg")]
    result = stream(line_file(tmp_path, server, cameras, **settings), "--seconds", 3, "--json")
    assert result.returncode == 0, result.stderr
    drawn = [
        np.ascontiguousarray(frame.image) for frame, _ in zip(Line(0, WIDTH, HEIGHT, boards=2), range(4), strict=False)
    ]
    with Detector(url(server)) as detector:
        expected = [boxes(detector.detect(image).as_dict()["detections"]) for image in drawn]
    inspected = [one for one in verdicts(result)["a"] if one["state"] == "inspected"]
    assert len(inspected) >= 3
    for verdict in inspected:
        assert boxes(verdict["detections"]) == expected[verdict["number"] % 4]
    assert [one for one in verdicts(result)["b"] if one["state"] == "inspected"]


def test_every_picture_of_a_folder_is_inspected_and_the_line_ends_with_it(server: TritonServer, pictures: Path) -> None:
    result = stream("--camera", pictures, "--url", url(server), "--deadline", 60_000, "--json")
    assert result.returncode == 0, result.stderr
    [found] = verdicts(result).values()
    assert [(one["number"], one["state"]) for one in found] == [(n, "inspected") for n in range(6)]
    files: list[Image] = sorted(pictures.iterdir())
    with Detector(url(server)) as detector:
        expected = [boxes(each.as_dict()["detections"]) for each in detector.detect_many(files)]
    assert [boxes(one["detections"]) for one in found] == expected


def test_without_json_a_table_is_printed_at_the_end(server: TritonServer, pictures: Path) -> None:
    result = stream("--camera", pictures, "--url", url(server), "--deadline", 60_000)
    assert result.returncode == 0, result.stderr
    assert "camera-1" in result.stdout
    assert "ended" in result.stdout


def test_what_the_page_on_streams_shows_as_a_file_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "streaming.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "line-3.yaml").write_text(example)
    assert [camera.name for camera in read_line(tmp_path / "line-3.yaml").cameras] == ["top", "side"]


def test_the_schema_of_a_line_is_printed() -> None:
    result = stream("--schema")
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["properties"]) >= {"name", "url", "cameras", "deadline_ms"}
