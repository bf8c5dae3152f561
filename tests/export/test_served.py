"""Networks of other families, exported by the command and served by the real tritonserver."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

from tests.clients.comparing import assert_same
from tests.conftest import ROOT
from tests.export.layouts import FAMILIES
from tests.export.opened import best_rows, family_network, run
from tests.server.references import detections, letterbox
from tests.server.sensors import CODES, converted
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.slow

LABELS = ["Käfer", "wasp", "ant"]
# Family, height and width of the input, --size where the file leaves it open, batch size in the file, options.
CASES = [
    ("yolov5", (320, 320), None, 1, []),
    ("yolov8", (384, 640), "384x640", None, []),
    ("yolov10", (416, 416), None, 4, []),
    ("yolox-raw", (416, 416), None, 1, []),
    ("split", (320, 320), "320", None, ["--input", "bgr-0-255", "--std", "255,255,255", "--letterbox", "top-left"]),
]


def picture(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Blocks of random colours, uint8 [height, width, 3] RGB."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)[:height, :width])


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def wanted(
    model: onnx.ModelProto, name: str, options: list[str], pixels: npt.NDArray[np.uint8], size: tuple[int, int]
) -> list[list[float]]:
    """What the network detects, read the plain way: letterbox, channels, range, decoding, suppression."""
    family = FAMILIES[name]
    blue_first = family.input.startswith("bgr") or "bgr-0-255" in options
    centred = family.centred and "top-left" not in options
    planes = letterbox(pixels, target=size, centred=centred)[:: -1 if blue_first else 1]
    images = (planes[None] / (1 if family.input.endswith("255") else 255)).astype(np.float32)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    boxes, scores = family.read(run(model, images.repeat(batch, 0)))
    iou = 1.0 if name == "yolov10" else 0.45
    return detections(
        np.array(best_rows(boxes[0], scores[0], 1000), np.float32), *pixels.shape[:2], 0.25, iou, size, centred
    )


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], TritonServer]]:
    """Starts a server of a repository. All end together, since each takes seconds for it."""
    with ExitStack() as stack:
        servers: list[TritonServer] = []

        def start(repository: Path) -> TritonServer:
            servers.append(stack.enter_context(TritonServer(repository, free_addresses(), log=lambda line: None)))
            servers[-1].wait_until_ready()
            return servers[-1]

        yield start
        for server in servers:
            server.running.terminate()


@pytest.mark.parametrize(("name", "size", "given", "batch", "options"), CASES, ids=[case[0] for case in CASES])
def test_the_server_detects_what_the_network_does(
    tmp_path: Path,
    serve: Callable[[Path], TritonServer],
    name: str,
    size: tuple[int, int],
    given: str | None,
    batch: int | None,
    options: list[str],
) -> None:
    model = family_network(FAMILIES[name], size=size, batch=batch, names=LABELS)
    file = onnx.ModelProto()
    file.CopyFrom(model)
    if given:  # the file leaves height and width open
        for i in (2, 3):
            file.graph.input[0].type.tensor_type.shape.dim[i].dim_param = f"side{i}"
    onnx.save(file, tmp_path / "network.onnx")
    command = [sys.executable, "-m", "triton_yolo", "export", str(tmp_path / "network.onnx"), *options]
    command += ["--size", given] if given else []
    exported = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert exported.returncode == 0, exported.stderr

    height, width = size
    # As large as the input allows, so that no pixel is resized; the last is, by two.
    pixels = [picture(height, width - 40, 1), picture(height - 30, width, 2), picture(2 * height, 2 * width - 80, 3)]
    server = serve(tmp_path / "network_repository")
    with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
        assert detector.labels() == tuple(LABELS)
        for one in pixels:
            expected, threshold = cut(wanted(model, name, options, one, size))
            assert len(expected) > 20
            check(detector.detect(png(one), score_threshold=threshold), expected)
            check(detector.detect(one, score_threshold=threshold), expected)
            assert_sensors_are_served(detector, one)


def assert_sensors_are_served(detector: Detector, pixels: npt.NDArray[np.uint8]) -> None:
    """Frames in the formats of sensors get what they get in RGB."""
    for name in CODES:
        frame = as_sensor(pixels, name)
        [found] = detector.detect_frames(frame[None], pixel_format=name)  # type: ignore[arg-type]
        [in_rgb] = detector.detect_frames(converted(frame, name)[None])
        assert len(found) > 0
        assert_same(found, in_rgb)


def cut(rows: list[list[float]]) -> tuple[list[list[float]], float]:
    """The best rows, and a threshold in the widest gap of scores below them: rounding must not move a row across it."""
    scores = [row[4] for row in rows]
    gaps = [(scores[i - 1] - scores[i], i) for i in range(len(scores) // 2, len(scores))]
    _, number = max(gaps)
    return rows[:number], (scores[number - 1] + scores[number]) / 2


def check(found: Detections, expected: list[list[float]]) -> None:
    """Boxes within half a pixel, scores within a thousandth, the same classes and names, in nearly the same order."""
    assert len(found) == len(expected)
    rows = np.array(expected)
    np.testing.assert_allclose(found.scores, rows[:, 4], atol=1e-3)
    boxes = np.abs(found.boxes[:, None] - rows[None, :, :4]).max(2)
    scores = np.abs(found.scores[:, None] - rows[None, :, 4])
    same_class = found.classes[:, None] == rows[None, :, 5]
    nearest = np.where(same_class, boxes + 1e4 * scores, np.inf).argmin(1)  # equal scores may change places by rounding
    assert sorted(nearest) == list(range(len(rows)))
    assert boxes[np.arange(len(rows)), nearest].max() < 0.5
    assert found.names == tuple(LABELS[int(c)] for c in rows[nearest, 5])
