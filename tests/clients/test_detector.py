from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.clients.comparing import assert_same
from triton_yolo.clients import DetectionError, Detections, Detector
from triton_yolo.clients.request import FRAMES
from triton_yolo.server.process import TritonServer


@pytest.fixture(scope="module")
def reference(server: TritonServer, images: list[Path]) -> list[Detections]:
    """What gRPC finds in each file, one at a time."""
    with Detector(f"grpc://{server.addresses.host}:{server.addresses.grpc}") as detector:
        return [detector.detect(image, score_threshold=0.001) for image in images]


def test_labels_are_those_of_the_configuration(detector: Detector) -> None:
    assert detector.labels() == ("open", "short", "mousebite", "spur", "copper", "pin-hole")
    assert detector.labels(FRAMES) == detector.labels()


def test_a_path_its_string_and_its_bytes_give_the_same(
    detector: Detector, images: list[Path], reference: list[Detections]
) -> None:
    for image in (images[1], str(images[1]), images[1].read_bytes()):
        assert_same(detector.detect(image, score_threshold=0.001), reference[1])


def test_a_frame_gives_the_same_as_its_png(
    detector: Detector, frames: list[np.ndarray], reference: list[Detections]
) -> None:
    for i in (0, 2):
        assert_same(detector.detect(frames[i], score_threshold=0.001), reference[i])


def test_a_view_of_a_frame_is_sent_as_it_looks(detector: Detector, frames: list[np.ndarray]) -> None:
    view = frames[0][::2, ::-1]

    assert_same(detector.detect(view), detector.detect(view.copy()))


def test_a_batch_of_frames_gives_what_its_frames_give(detector: Detector, frames: list[np.ndarray]) -> None:
    batch = np.stack([frames[0], frames[0][::-1], frames[0][:, ::-1]])

    for together, frame in zip(detector.detect_frames(batch), batch, strict=True):
        assert_same(together, detector.detect(frame))


def test_boxes_lie_in_the_original_image_and_come_best_first(reference: list[Detections], frames: list) -> None:
    for found, frame in zip(reference, frames, strict=True):
        height, width = frame.shape[:2]
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [width, height, width, height]).all()
        assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_many_images_come_in_order(
    detector: Detector, images: list[Path], reference: list[Detections], concurrency: int
) -> None:
    found = list(detector.detect_many(images * 2, score_threshold=0.001, concurrency=concurrency))

    assert len(found) == 2 * len(images)
    for one, expected in zip(found, reference * 2, strict=True):
        assert_same(one, expected)


def test_an_endless_generator_of_images_will_do(detector: Detector, images: list[Path]) -> None:
    def endless():
        while True:
            yield images[0]

    found = list(islice(detector.detect_many(endless(), concurrency=2), 5))

    assert len(found) == 5


def test_a_bad_image_among_many_fails_in_its_turn(detector: Detector, images: list[Path]) -> None:
    results = detector.detect_many([images[0], b"no image", images[1]], concurrency=3)

    next(results)
    with pytest.raises(DetectionError, match="neither JPEG nor PNG"):
        next(results)


def test_a_higher_score_threshold_keeps_the_best_of_the_same(detector: Detector, images: list[Path]) -> None:
    loose = detector.detect(images[0], score_threshold=0.0)
    assert len(loose) > 1, "the network finds candidates in any image"
    middle = float(loose.scores[len(loose) // 2])

    strict = detector.detect(images[0], score_threshold=middle)

    np.testing.assert_array_equal(strict.boxes, loose.boxes[: len(strict)])
    assert (strict.scores >= middle).all()
    assert (loose.scores[len(strict) :] <= middle).all()
    assert len(detector.detect(images[0], score_threshold=1.0)) <= len(strict)


def test_an_overlap_of_zero_leaves_no_boxes_of_a_class_on_each_other(detector: Detector, images: list[Path]) -> None:
    found = detector.detect(images[4], score_threshold=0.0, iou_threshold=0.0)

    for i in range(len(found)):
        rest = found.boxes[i + 1 :][found.classes[i + 1 :] == found.classes[i]]
        side = np.minimum(rest[:, 2:], found.boxes[i, 2:]) - np.maximum(rest[:, :2], found.boxes[i, :2])
        assert (np.maximum(side, 0).prod(axis=1) <= 1e-3).all()


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
def test_a_threshold_out_of_range_is_refused_in_the_servers_words(
    detector: Detector, images: list[Path], name: str, value: float
) -> None:
    with pytest.raises(DetectionError) as caught:
        detector.detect(images[0], **{name: value})

    assert str(caught.value) == f"{name} must be a number from 0 to 1, got {value}"


def test_a_numpy_float_is_a_threshold_too(detector: Detector, images: list[Path]) -> None:
    assert_same(
        detector.detect(images[0], score_threshold=np.float32(0.5)),  # type: ignore[arg-type]
        detector.detect(images[0], score_threshold=0.5),
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "image is empty"),
        (b"GIF89a..", "image is neither JPEG nor PNG"),
        ("/nowhere/board.png", "cannot read /nowhere/board.png: No such file"),
        (Path("/"), "cannot read /: Is a directory"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[H, W, 3\] RGB; got uint8 \[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), r"got uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"got float32 \[4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), "frames has no pixels"),
        (7, "an image is a path.*got builtins.int"),
    ],
)
def test_what_is_no_image_is_refused_with_what_was_expected(detector: Detector, image, message: str) -> None:
    with pytest.raises(DetectionError, match=message):
        detector.detect(image)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"uint8 \[B, H, W, 3\] RGB; got uint8 \[4, 4, 3\]"),
        (np.zeros((33, 4, 4, 3), np.uint8), "takes at most 32; send several requests"),
        ([np.zeros((4, 4, 3), np.uint8)], "one uint8 array"),
    ],
)
def test_what_is_no_batch_is_refused(detector: Detector, frames, message: str) -> None:
    with pytest.raises(DetectionError, match=message):
        detector.detect_frames(frames)


def test_a_frame_of_72_megabytes_arrives(detector: Detector) -> None:
    detector.detect(np.full((4000, 6000, 3), 114, np.uint8))
