"""Frames in the formats of sensors on a GPU: by Python models and by Triton's own DALI backend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc

from tests.clients.comparing import assert_sure_ones_alike
from tests.gpu.comparing import SCORE, THRESHOLD, assert_close, fixed
from tests.server.sensors import BAYER, CODES, VIDEO, converted, inputs, model, noise
from tests.server.test_sensor_frames import BAD
from tests.server.wire import Client, concurrently, refusal
from triton_yolo.boards import draw_board
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients import Detector
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.gpu

LOOSE = THRESHOLD - SCORE
LEVELS = 3.0  # grey levels, mean over a board: NPP's green follows the other colours at edges, OpenCV's does not


@pytest.fixture(scope="module")
def ours(float_gpu_server: TritonServer) -> Client:
    return Client(float_gpu_server.addresses)


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Client:
    """Of Python models, which check their frames."""
    return Client(server.addresses)


@pytest.fixture(scope="module", params=["grpc", "http"])
def detector(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[Detector]:
    at = server.addresses
    url = f"{at.host}:{at.grpc}" if request.param == "grpc" else f"http://{at.host}:{at.http}"
    with Detector(url, memory="cuda") as detector:
        yield detector


@pytest.fixture(scope="module")
def boards() -> list[np.ndarray]:
    return [draw_board(seed, 640, 480, "photo").image for seed in range(3)]


@pytest.mark.parametrize("name", VIDEO)
def test_colours_of_video_are_opencvs_to_the_last_bit(ours: Client, name: str) -> None:
    frame = noise(name, 640, 640)
    answer = ours.ask(model(name), **inputs(name, frame))
    np.testing.assert_array_equal(answer["images"][0], converted(frame, name).transpose(2, 0, 1))


@pytest.mark.parametrize("name", BAYER)
def test_what_a_bayer_pixel_has_seen_stays_as_it_is(ours: Client, name: str) -> None:
    """This holds the pattern against the GPU's, whichever way the other colours are interpolated."""
    frame = noise(name, 640, 640)
    image = ours.ask(model(name), **inputs(name, frame))["images"][0]
    inside = slice(4, -4)
    for place, colour in enumerate(name.removeprefix("bayer_")):
        row, column = divmod(place, 2)
        seen = image["rgb".index(colour), row::2, column::2][inside, inside].astype(int)
        assert np.abs(seen - frame[row::2, column::2][inside, inside]).max() <= 1


@pytest.mark.parametrize("name", BAYER)
def test_colours_of_bayer_boards_are_close_to_opencvs(ours: Client, name: str, record_property) -> None:
    frame = as_sensor(draw_board(1, 640, 640, "photo").image, name)
    image = ours.ask(model(name), **inputs(name, frame))["images"][0]
    difference = np.abs(image.astype(int) - converted(frame, name).transpose(2, 0, 1))
    border = difference.copy()
    border[:, 2:-2, 2:-2] = 0
    levels = {"mean": difference.mean(), "most": difference.max(), "most at the border": border.max()}
    record_property("grey levels from OpenCV", levels)  # pytest --junit-xml keeps them
    assert levels["mean"] < LEVELS, levels


def test_cameras_with_different_patterns_share_a_batch(ours: Client, boards: list[np.ndarray]) -> None:
    frames = {name: as_sensor(boards[0], name) for name in BAYER}
    positions = np.concatenate([PIXEL_FORMATS[name].inputs(1)["blue_position"] for name in frames])
    together = ours.ask("preprocess_bayer", frames=np.stack([*frames.values()]), blue_position=positions)
    for i, (name, frame) in enumerate(frames.items()):
        alone = ours.ask("preprocess_bayer", **inputs(name, frame))
        np.testing.assert_array_equal(together["images"][i], alone["images"][0])


@pytest.mark.parametrize("name", CODES)
def test_boards_have_the_defects_that_they_have_on_the_cpu(
    float_gpu_server: TritonServer, dali_server: TritonServer, boards: list[np.ndarray], name: str
) -> None:
    batch = np.stack([as_sensor(board, name) for board in boards])
    found = []
    for server in (float_gpu_server, dali_server):
        with Detector(f"{server.addresses.host}:{server.addresses.grpc}") as detector:
            found.append(detector.detect_frames(batch, pixel_format=name))  # type: ignore[arg-type]
    assert sum(assert_sure_ones_alike(*pair) for pair in zip(*found, strict=True)) > 4


@pytest.mark.parametrize("name", CODES)
def test_frames_in_the_memory_of_the_gpu_give_what_bytes_give(detector: Detector, server, boards, name) -> None:
    batch = np.stack([as_sensor(board, name) for board in boards])
    with Detector(f"{server.addresses.host}:{server.addresses.grpc}") as plain:
        expected = plain.detect_frames(batch, pixel_format=name, score_threshold=LOOSE)
    with detector.frames(3, 480, 640, pixel_format=name) as frames:
        frames.fill(batch)
        found = detector.detect_frames(frames, pixel_format=name, score_threshold=LOOSE)
    again = detector.detect_frames(batch, pixel_format=name, score_threshold=LOOSE)
    for answers in (found, again):
        pairs = zip(expected, answers, strict=True)
        assert sum(assert_close(fixed(one), fixed(other)) for one, other in pairs) > 0


def test_the_pattern_too_may_lie_in_the_memory_of_the_gpu(client: Client) -> None:
    from tritonclient.utils import cuda_shared_memory as cuda

    wanted = inputs("bayer_grbg", noise("bayer_grbg", 480, 640))
    position = wanted["blue_position"]
    region = cuda.create_shared_memory_region("blue", 1 << 21, 0)  # smaller ones share their block with others
    try:
        cuda.set_shared_memory_region(region, [position])
        client.grpc.register_cuda_shared_memory("blue", cuda.get_raw_handle(region), 0, 1 << 21)
        frames = tritonclient.grpc.InferInput("frames", list(wanted["frames"].shape), "UINT8")
        frames.set_data_from_numpy(wanted["frames"])
        blue = tritonclient.grpc.InferInput("blue_position", list(position.shape), "INT32")
        blue.set_shared_memory("blue", position.nbytes)
        images = client.grpc.infer("preprocess_bayer", [frames, blue]).as_numpy("images")
    finally:
        client.grpc.unregister_cuda_shared_memory("blue")
        cuda.destroy_shared_memory_region(region)
    np.testing.assert_array_equal(images, client.ask("preprocess_bayer", **wanted)["images"])


@pytest.mark.parametrize("case", BAD)
def test_frames_of_another_format_are_refused(client: Client, case: str) -> None:
    name, tensors, text = BAD[case]
    assert text in refusal(lambda: client.ask(name, None, **tensors))
    assert client.ready()


def test_bad_frames_fail_alone_among_requests_of_one_batch(client: Client) -> None:
    good = inputs("bayer_rggb", noise("bayer_rggb", 48, 64))
    bad = {**good, "blue_position": good["blue_position"] + 2}
    wanted = client.ask("preprocess_bayer", **good)["images"]

    def send(i: int) -> bool:
        if i % 4 == 0:
            return "blue_position must be" in refusal(lambda: client.ask("preprocess_bayer", **bad))
        return bool((client.ask("preprocess_bayer", **good)["images"] == wanted).all())

    assert all(concurrently(send, range(48)))
