"""Frames in the formats of sensors: Bayer, YUYV, NV12."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.server.processes import stubs
from tests.server.rounding import rounding_otherwise
from tests.server.sensors import BAYER, CODES, VIDEO, converted, inputs, model, noise
from tests.server.test_preprocess import assert_letterboxed
from tests.server.wire import Client, concurrently, refusal, same
from tests.support.servers import serving
from triton_yolo.boards import draw_board
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.server.process import TritonServer

SIZES = [(2, 2), (2, 640), (640, 2), (64, 98), (480, 640), (960, 1280), (1922, 1082)]  # height, width


@pytest.mark.parametrize("name", CODES)
def test_colours_are_opencvs_to_the_last_bit(cells: Client, name: str) -> None:
    """At the network's own size, so that nothing is resized: 0 grey levels, borders and interior."""
    frame = noise(name, 640, 640)
    answer = cells.ask(model(name), **inputs(name, frame))
    np.testing.assert_array_equal(answer["images"][0], converted(frame, name).transpose(2, 0, 1))
    assert answer["image_size"].tolist() == [[640, 640]]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CODES)
def test_frames_of_a_sensor_are_letterboxed_as_those_in_rgb(cells: Client, name: str, size: tuple[int, int]) -> None:
    frame = noise(name, *size, seed=1)
    wanted = cells.ask("preprocess_frames", frames=converted(frame, name)[None])
    assert same(cells.ask(model(name), **inputs(name, frame)), wanted)


@pytest.mark.parametrize("name", CODES)
def test_frames_of_a_sensor_are_letterboxed_like_the_reference(cells: Client, name: str) -> None:
    frame = as_sensor(draw_board(3, 854, 480, "photo").image, name)
    assert_letterboxed(cells.ask(model(name), **inputs(name, frame)), converted(frame, name))


@pytest.mark.parametrize("height", [1, 3, 481])
def test_the_height_of_a_yuyv_frame_may_be_odd(cells: Client, height: int) -> None:
    frame = noise("yuyv", height, 640)
    wanted = cells.ask("preprocess_frames", frames=converted(frame, "yuyv")[None])
    assert same(cells.ask("preprocess_yuyv", **inputs("yuyv", frame)), wanted)


@pytest.mark.parametrize("pattern", BAYER)
def test_a_pattern_is_named_after_the_first_pixels(cells: Client, pattern: str) -> None:
    colour = np.broadcast_to(np.array([200, 100, 50], np.uint8), (640, 640, 3))
    answer = cells.ask("preprocess_bayer", **inputs(pattern, as_sensor(colour, pattern)))
    np.testing.assert_array_equal(answer["images"][0], colour.transpose(2, 0, 1))


def test_cameras_with_different_patterns_share_a_batch(cells: Client) -> None:
    frames = {name: noise(name, 480, 640, seed) for seed, name in enumerate(BAYER)}
    positions = np.concatenate([PIXEL_FORMATS[name].inputs(1)["blue_position"] for name in frames])
    together = cells.ask("preprocess_bayer", frames=np.stack([*frames.values()]), blue_position=positions)
    for i, (name, frame) in enumerate(frames.items()):
        alone = cells.ask("preprocess_bayer", **inputs(name, frame))
        np.testing.assert_array_equal(together["images"][i], alone["images"][0])


@pytest.mark.slow
@pytest.mark.parametrize("rounding", ["down", "up"])
def test_sizes_are_rounded_as_the_repository_says(rounding: str, cells_repository: Path, tmp_path: Path) -> None:
    repository = rounding_otherwise(cells_repository, tmp_path / "repository", rounding)
    with serving(repository) as running:
        client = Client(running.addresses)
        for name in ("bayer_grbg", *VIDEO):
            for size in ((1282, 642), (642, 1282), (334, 778)):
                frame = noise(name, *size)
                wanted = client.ask("preprocess_frames", frames=converted(frame, name)[None])
                assert same(client.ask(model(name), **inputs(name, frame)), wanted)


@pytest.mark.parametrize("name", CODES)
def test_a_board_has_the_defects_that_it_has_in_rgb(default: Client, name: str) -> None:
    board = as_sensor(draw_board(9_000_058, 1280, 960, "photo").image, name)
    found = default.ask(model(name, "detect"), {"score_threshold": 0.1}, **inputs(name, board))
    assert found["num_detections"][0, 0] > 3
    assert same(found, default.detect_frames(converted(board, name)[None], score_threshold=0.1))


def zeros(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


BLUE = zeros(1, 2, dtype=np.int32)
BAD = {
    "bayer, odd height": (
        "detect_bayer",
        {"frames": zeros(1, 5, 4), "blue_position": BLUE},
        "frames must be Bayer [H, W] with an even H and W, got [5, 4]",
    ),
    "bayer, odd width": ("detect_bayer", {"frames": zeros(1, 4, 5), "blue_position": BLUE}, "got [4, 5]"),
    "bayer, no pixels": (
        "detect_bayer",
        {"frames": zeros(1, 0, 4), "blue_position": BLUE},
        "frames has no pixels: (0, 4)",
    ),
    "bayer, no such place": (
        "detect_bayer",
        {"frames": zeros(1, 4, 4), "blue_position": np.array([[0, 2]], np.int32)},
        "blue_position must be the row and column of the blue pixel among the first 2 x 2, each 0 or 1, got [0, 2]",
    ),
    "bayer, place below": ("detect_bayer", {"frames": zeros(1, 4, 4), "blue_position": BLUE - 1}, "got [-1, -1]"),
    "bayer, no place": ("detect_bayer", {"frames": zeros(1, 4, 4)}, "missing required input(s) ['blue_position']"),
    "bayer, one place for two": (
        "detect_bayer",
        {"frames": zeros(2, 4, 4), "blue_position": BLUE},
        "batch size does not match other inputs for 'detect_bayer'",
    ),
    "bayer in colour": (
        "detect_bayer",
        {"frames": zeros(1, 4, 4, 3), "blue_position": BLUE},
        "unexpected shape for input 'frames' for model 'detect_bayer'. Expected [-1,-1,-1], got [1,4,4,3]",
    ),
    "yuyv, odd width": (
        "detect_yuyv",
        {"frames": zeros(1, 5, 3, 2)},
        "frames must be YUYV [H, W, 2] with an even W, got [5, 3, 2]",
    ),
    "yuyv, no pixels": ("detect_yuyv", {"frames": zeros(1, 5, 0, 2)}, "frames has no pixels: (5, 0, 2)"),
    "yuyv in RGB": ("detect_yuyv", {"frames": zeros(1, 4, 4, 3)}, "Expected [-1,-1,-1,2], got [1,4,4,3]"),
    "nv12, odd height": (
        "detect_nv12",
        {"frames": zeros(1, 7, 4)},
        "frames must be NV12 [H * 3/2, W] with an even H and W, got [7, 4]",
    ),
    "nv12, odd width": ("detect_nv12", {"frames": zeros(1, 6, 3)}, "got [6, 3]"),
    "nv12, luma alone": ("detect_nv12", {"frames": zeros(1, 4, 4)}, "got [4, 4]"),
    "nv12, no pixels": ("detect_nv12", {"frames": zeros(1, 0, 2)}, "frames has no pixels: (0, 2)"),
}


@pytest.mark.parametrize("case", BAD)
def test_frames_of_another_format_are_refused(cells: Client, case: str) -> None:
    name, tensors, text = BAD[case]
    assert text in refusal(lambda: cells.ask(name, None, **tensors))
    assert cells.ready()


@pytest.mark.parametrize("name", CODES)
def test_bad_frames_fail_alone_among_requests_of_one_batch(cells: Client, name: str) -> None:
    """Bayer frames of one size meet in a batch; Triton keeps those of another size apart."""
    ensemble = model(name, "detect")
    good = inputs(name, as_sensor(draw_board(5, 64, 48, "photo").image, name))
    if name in BAYER:
        bad = {**good, "blue_position": good["blue_position"] + 2}
    else:
        bad = {"frames": np.ascontiguousarray(good["frames"][:, :, :-1] if name == "yuyv" else good["frames"][:, :-1])}
    wanted = cells.ask(ensemble, {"score_threshold": 0.2}, **good)

    def send(i: int) -> bool:
        if i % 4 == 0:
            return "must be " in refusal(lambda: cells.ask(ensemble, None, **bad))
        return same(cells.ask(ensemble, {"score_threshold": 0.2}, **good), wanted)

    assert all(concurrently(send, range(48)))
    assert cells.ready()


def has_dali(server: TritonServer, name: str) -> bool:
    """Whether the process of a model has loaded DALI."""
    [stub] = [p for p in stubs(server.running.pid) if any(f"/{name}/" in part for part in p.cmdline())]
    return any("libdali" in mapped.path for mapped in stub.memory_maps())


@pytest.mark.slow
def test_dali_computes_definitions_that_somebody_has_changed_when_the_first_frame_comes(
    cells_repository: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(cells_repository, repository)
    changed = [path for path in repository.glob("preprocess*/1/dali.py") if path.parts[-3] != "preprocess_nv12"]
    for path in changed:
        path.write_text(f"{path.read_text()}# changed\n")
    with serving(repository) as running:
        client = Client(running.addresses)

        assert has_dali(running, "preprocess"), "an encoded image does not wait"
        for name in ("rgb", "bayer_rggb", *VIDEO):
            assert not has_dali(running, model(name))
            client.ask(model(name), **inputs(name, noise(name, 4, 4)))
            assert has_dali(running, model(name)) == (name != "nv12")
