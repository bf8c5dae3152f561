"""Detections from encoded image to original pixels, against ONNX Runtime and a plain reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from tests.conftest import REPOSITORY
from tests.server.pictures import ENCODINGS, jpeg, picture, png
from tests.server.references import detections, letterbox, opencv, overlap, upright
from tests.server.wire import Answer, Client, same
from triton_yolo.boards import Look, draw_board
from triton_yolo.server.process import TritonServer

PIXELS, SCORE = 0.5, 1e-3  # tolerances: original pixels, score

pytestmark = pytest.mark.computes


def network(path: str) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def float_network(float_default: Path) -> ort.InferenceSession:
    return network(str(float_default / "yolo" / "1" / "model.onnx"))


@pytest.fixture(scope="module")
def float_client(float_server: TritonServer) -> Client:
    return Client(float_server.addresses)


@pytest.fixture(scope="module")
def cells_network(cells_repository: object) -> ort.InferenceSession:
    return network(f"{cells_repository}/yolo/1/model.onnx")


def rows(answer: Answer) -> list[list[float]]:
    """One image's detections as x1, y1, x2, y2, score, class."""
    n = int(answer["num_detections"][0, 0])
    for name in ("boxes", "scores", "classes"):
        assert not answer[name][0, n:].any(), f"{name} are not zero past num_detections"
    columns = [answer["boxes"][0, :n], answer["scores"][0, :n, None], answer["classes"][0, :n, None]]
    return np.concatenate(columns, 1).tolist()


def assert_same_detections(got: list[list[float]], wanted: list[list[float]]) -> None:
    """Every box has its partner, whatever the order of nearly equal scores."""
    assert len(got) == len(wanted)
    left = np.array(wanted).reshape(-1, 6)
    for row in np.array(got).reshape(-1, 6):
        far = np.abs(left[:, :4] - row[:4]).max(1) + 1e6 * (left[:, 5] != row[5])
        nearest = int(far.argmin())
        assert far[nearest] <= PIXELS, f"{row} has no partner; the nearest is {left[nearest]}"
        assert abs(left[nearest, 4] - row[4]) <= SCORE
        left = np.delete(left, nearest, 0)


def expected(session: ort.InferenceSession, images: npt.NDArray[np.uint8], size: tuple[int, int], score: float) -> list:
    candidates = session.run(None, {"images": images[None]})[0][0]
    return detections(candidates, *size, score, 0.45)


@pytest.mark.parametrize("look", [pytest.param("binary", marks=pytest.mark.slow), "photo"])
def test_boards_get_the_detections_of_onnx_runtime(
    float_client: Client, float_network: ort.InferenceSession, look: Look
) -> None:
    for seed in range(10):
        width, height = [(640, 640), (1280, 960), (500, 700)][seed % 3]
        encoded = [png, jpeg][seed % 2](draw_board(seed, width=width, height=height, look=look).image)
        pixels = upright(encoded)
        wanted = expected(float_network, letterbox(pixels, opencv), (height, width), 0.25)
        assert_same_detections(rows(float_client.detect(encoded)), wanted)


def test_int8_boards_get_nearly_the_detections_of_onnx_runtime(default: Client) -> None:
    """OpenVINO adds in another order and keeps float32 where the graph says float16: levels differ here and there."""
    session = network(str(REPOSITORY / "yolo" / "1" / "model.onnx"))
    wanted, found = 0, 0
    for seed in range(10):
        pixels = draw_board(seed, width=1280, height=960, look="photo").image
        got = rows(default.detect(png(pixels), score_threshold=0.25))
        for row in expected(session, letterbox(pixels, opencv), pixels.shape[:2], 0.5):
            wanted += 1
            found += any(
                row[5] == other[5] and overlap(row, other) > 0.8 and abs(row[4] - other[4]) < 0.1 for other in got
            )
    assert wanted > 40
    assert found >= 0.95 * wanted


@pytest.mark.parametrize("size", [(640, 640), (1, 1), (37, 611), (960, 1280), (3000, 4000)], ids=str)
def test_any_size_gets_the_detections_of_onnx_runtime_on_the_same_letterbox(
    cells: Client, cells_network: ort.InferenceSession, size: tuple[int, int]
) -> None:
    for seed, name in enumerate(ENCODINGS):
        if seed > 1 and size == (3000, 4000):
            break
        encoded = ENCODINGS[name](picture(seed, *size))
        tensor = cells.detect(encoded, "preprocess")
        height, width = (int(side) for side in tensor["image_size"][0])
        wanted = expected(cells_network, tensor["images"][0], (height, width), 0.5)
        assert_same_detections(rows(cells.detect(encoded, score_threshold=0.5)), wanted)


def test_a_red_square_is_found_where_it_lies_in_the_original(cells: Client) -> None:
    """1280x960 is halved and stands 80 pixels, five cells, below the top; a cell is 32 original pixels wide."""
    pixels = np.zeros((960, 1280, 3), np.uint8)
    pixels[3 * 32 : 4 * 32, 20 * 32 : 21 * 32, 0] = 255
    [[*box, score, index]] = rows(cells.detect(png(pixels), score_threshold=0.6))
    reach = 2 * (6 + 10 / 3)  # of a cell with one bright channel, doubled
    x, y = 20.5 * 32, 3.5 * 32
    np.testing.assert_allclose(box, [x - reach, y - reach, x + reach, y + reach], atol=0.01)
    rank = 1 - 0.1 * ((3 + 5) * 40 + 20) / 1599
    assert (score, index) == (pytest.approx(rank, abs=1e-5), 0)


def test_a_rotated_photograph_is_answered_in_upright_pixels(cells: Client) -> None:
    stored = np.zeros((960, 1280, 3), np.uint8)
    stored[3 * 32 : 4 * 32, 20 * 32 : 21 * 32, 1] = 255
    encoded = ENCODINGS["EXIF orientation 6"](stored)  # to be turned a quarter clockwise: 960 wide, 1280 high
    found = rows(cells.detect(encoded, score_threshold=0.6))
    assert [row[5] for row in found] == [1.0]
    x1, y1, x2, y2 = found[0][:4]
    assert (x1 + x2) / 2 == pytest.approx(960 - 3.5 * 32, abs=0.01)
    assert (y1 + y2) / 2 == pytest.approx(20.5 * 32, abs=0.01)


@pytest.mark.parametrize("size", [(640, 640), (480, 752), (1, 1), (37, 611)], ids=str)
def test_a_frame_and_the_png_of_its_pixels_get_the_same_detections(cells: Client, size: tuple[int, int]) -> None:
    frame = picture(3, *size)
    answer = cells.detect(png(frame), score_threshold=0.3)
    assert answer["num_detections"][0, 0] > 0
    assert same(answer, cells.detect_frames(frame[None], score_threshold=0.3))


def test_no_more_than_100_boxes_are_reported(cells: Client) -> None:
    answer = cells.detect(png(np.full((640, 640, 3), 255, np.uint8)), score_threshold=0, iou_threshold=1)
    assert answer["num_detections"].tolist() == [[100]]
    assert (np.diff(answer["scores"][0]) <= 0).all()


def test_thresholds_of_a_request_apply_to_it_alone(cells: Client) -> None:
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[:, :320] = 200  # 0.78, less by rank
    image = png(pixels)
    assert cells.detect(image, score_threshold=0.79)["num_detections"][0, 0] == 0
    assert cells.detect(image)["num_detections"][0, 0] == 100
    assert cells.detect(image, score_threshold="0.79")["num_detections"][0, 0] == 0, (
        "a number as text, as curl sends it"
    )
