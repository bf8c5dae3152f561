"""The pip server with its models on a GPU, against the same on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.comparing import OVERLAP, SCORE, THRESHOLD, Ask, assert_close
from tests.server.pictures import ENCODINGS, jpeg, png
from tests.server.references import letterbox, upright
from tests.server.wire import Client, refusal, same
from triton_yolo.boards import draw_board
from triton_yolo.clients import Detections, Detector, Image
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.gpu

LOW = THRESHOLD - SCORE
SIZES = [(1280, 960), (640, 640), (500, 700), (1920, 1080), (333, 777)]  # width, height


def detector(server: TritonServer) -> Detector:
    return Detector(f"{server.addresses.host}:{server.addresses.grpc}")


@pytest.fixture(scope="module")
def on_gpu(float_gpu_server: TritonServer) -> Iterator[Detector]:
    with detector(float_gpu_server) as ours:
        yield ours


@pytest.fixture(scope="module")
def on_cpu(dali_server: TritonServer) -> Iterator[Detector]:
    with detector(dali_server) as ours:
        yield ours


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Client:
    return Client(server.addresses)


@pytest.fixture(scope="module")
def boards() -> list[np.ndarray]:
    return [
        draw_board(seed, *SIZES[seed % len(SIZES)], ("photo", "binary")[seed % 2]).image  # type: ignore[arg-type]
        for seed in range(20)
    ]


def encoded(detector: Detector, image: Image) -> Ask:
    return partial(detector.detect, image, score_threshold=LOW)


def framed(detector: Detector, frame: np.ndarray) -> Ask:
    return lambda iou_threshold=OVERLAP: detector.detect_frames(
        frame[None], score_threshold=LOW, iou_threshold=iou_threshold
    )[0]


@pytest.mark.parametrize("encode", [png, jpeg], ids=["PNG", "JPEG"])
def test_encoded_boards_get_the_detections_of_the_cpu(on_gpu, on_cpu, boards, encode) -> None:
    images = [encode(board) for board in boards]
    found = sum(assert_close(encoded(on_cpu, image), encoded(on_gpu, image)) for image in images)
    assert found > 100


def test_frames_get_the_detections_of_the_cpu(on_gpu, on_cpu, boards) -> None:
    found = sum(assert_close(framed(on_cpu, board), framed(on_gpu, board)) for board in boards)
    assert found > 100


def test_scans_get_the_detections_of_the_cpu(on_gpu, on_cpu, deeppcb: Path) -> None:
    scans = sorted((deeppcb / "images").glob("*.png")) + sorted((deeppcb / "images").glob("*.jpg"))
    found = sum(assert_close(encoded(on_cpu, scan), encoded(on_gpu, scan)) for scan in scans[::25])
    assert found > 100


def test_each_step_gives_what_it_gives_on_the_cpu(float_gpu_server, dali_server, boards) -> None:
    """The ensembles' steps one by one, each on the CPU's output of the step before."""
    ours, theirs = (Client(each.addresses) for each in (float_gpu_server, dali_server))
    for board in boards[:5]:
        for name, inputs in (
            ("preprocess", {"image": np.frombuffer(png(board), np.uint8)[None]}),
            ("preprocess_frames", {"frames": board[None]}),
        ):
            wanted, got = (client.ask(name, **inputs) for client in (theirs, ours))
            np.testing.assert_array_equal(got["image_size"], wanted["image_size"])
            assert np.abs(got["images"].astype(int) - wanted["images"]).max() <= 1, "grey levels"
        candidates = theirs.ask("yolo", images=wanted["images"])["candidates"]
        answers = [c.ask("nms", candidates=candidates, image_size=wanted["image_size"]) for c in (theirs, ours)]
        assert same(*answers)


@pytest.mark.parametrize("name", [name for name in ENCODINGS if "CMYK" not in name])
def test_every_encoding_is_decoded_and_letterboxed(client: Client, name: str) -> None:
    encoded = ENCODINGS[name](draw_board(1, 500, 700, "photo").image)
    answer = client.detect(encoded, "preprocess")
    pixels = upright(encoded)
    assert answer["image_size"].tolist() == [list(pixels.shape[:2])]
    difference = np.abs(answer["images"][0].astype(int) - letterbox(pixels))
    assert difference.mean() < 1.5, "grey levels"


def test_batches_of_all_sizes_get_what_one_frame_gets(client: Client) -> None:
    """Batches that the network was not recorded for are filled up; the filling changes nothing."""
    frames = np.stack([draw_board(seed, 640, 480, "photo").image for seed in range(32)])

    @cache
    def answer(first: int, end: int, iou_threshold: float) -> dict[str, np.ndarray]:
        return client.detect_frames(frames[first:end], score_threshold=LOW, iou_threshold=iou_threshold)

    def frame(i: int, first: int, end: int) -> Ask:
        return lambda iou_threshold=OVERLAP: as_detections(answer(first, end, iou_threshold), i - first)

    for count in (2, 3, 7, 8, 9, 15, 17, 32):
        for i in range(count):
            assert_close(frame(i, i, i + 1), frame(i, 0, count))


def as_detections(answer: dict[str, np.ndarray], row: int) -> Detections:
    n = int(answer["num_detections"][row, 0])
    return Detections(*(answer[name][row, :n] for name in ("boxes", "scores", "classes")), ("",) * n)


def test_requests_that_share_batches_get_their_own_answers(client: Client) -> None:
    """Frames and images of several sizes, with images that are refused among them, 16 at a time."""
    boards = [draw_board(seed, *SIZES[seed % len(SIZES)], "photo").image for seed in range(10)]
    images = [jpeg(board) for board in boards]

    def one(i: int, as_frame: bool, iou_threshold: float = OVERLAP) -> Detections:
        settings = {"score_threshold": LOW, "iou_threshold": iou_threshold}
        if as_frame:
            return as_detections(client.detect_frames(boards[i][None], **settings), 0)
        return as_detections(client.detect(images[i], **settings), 0)

    once = cache(one)
    for i in range(len(boards)):
        for as_frame in (False, True):
            once(i, as_frame)  # before there is anybody to share a batch with
    broken = images[0][:2000] + bytes(500) + images[0][2500:]

    def ask(number: int) -> None:
        i = number % len(boards)
        if number % 7 == 3:
            refusal(lambda: client.detect(images[i][: len(images[i]) // 2]))
        elif number % 7 == 5:
            client_answer_or_error(client, broken)
        else:
            assert_close(partial(once, i, number % 2 == 1), partial(one, i, number % 2 == 1))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(300)))
    assert client.ready()


def client_answer_or_error(client: Client, image: bytes) -> None:
    """Damaged pixels may decode to something, or be refused; neighbours must not notice."""
    try:
        client.detect(image)
    except Exception as error:
        assert "image" in str(error)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"no image", "image is neither JPEG nor PNG"),
        (b"", "image is empty"),
        (jpeg(np.zeros((64, 64, 3), np.uint8))[:400], "image is a JPEG that ends early"),
        (png(np.zeros((64, 64, 3), np.uint8))[:60], "image cannot be decoded"),
    ],
)
def test_what_is_no_image_is_refused_alone(client: Client, image: bytes, message: str) -> None:
    assert message in client.refusal(image)
    assert client.detect(png(np.zeros((64, 64, 3), np.uint8)))["num_detections"].shape == (1, 1)


def test_pixels_of_the_last_request_do_not_show(client: Client) -> None:
    """A batch of 9 is filled up to 16 with what lies behind it: images of earlier requests, whose boxes stay inside."""
    boards = np.stack([draw_board(seed, 640, 480, "photo").image for seed in range(16)])
    grey = np.full((9, 480, 640, 3), 114, np.uint8)
    client.detect_frames(np.concatenate([grey, grey[:7]]))
    before = client.detect_frames(grey)
    client.detect_frames(boards)
    after = client.detect_frames(grey)
    assert len(after["num_detections"]) == len(grey)
    assert same(before, after)


def test_frames_without_pixels_are_refused(client: Client) -> None:
    assert "frames has no pixels" in refusal(lambda: client.detect_frames(np.zeros((1, 0, 4, 3), np.uint8)))
