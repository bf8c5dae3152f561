"""Frames that lie side by side become one request."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from triton_yolo.clients.memory.ring import PAGE, Capture, Ring
from triton_yolo.clients.request import SharedTensor
from triton_yolo.clients.stream.carriers import PlainCarrier, Slot, SystemCarrier, runs
from triton_yolo.clients.stream.frames import ENCODED, FORMATS, Frame

HEIGHT, WIDTH = 32, PAGE // 32  # a picture of 3 pages in RGB, and of one page in 8 bits


@pytest.fixture
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A ring of four cameras whose frames fill their slots."""
    with Ring.create(f"test-{tmp_path_factory.mktemp('ring').parent.name}-carriers", 3, 4, 3 * PAGE) as one:
        yield one


def frame(ring: Ring, column: int, row: int = 0, pixel_format: str = "rgb", height: int = HEIGHT) -> Frame:
    nbytes = 100 if pixel_format == ENCODED else height * WIDTH * 3
    capture = Capture(column, row, 0, 0, 0, nbytes, height, WIDTH, FORMATS.index(pixel_format))
    return Frame(f"camera-{column}", capture, pixel_format, Slot(ring, capture))


def columns(ring: Ring, *frames: Frame) -> list[list[int]]:
    """Return the columns of each run."""
    return [[frame.capture.column for frame in run] for run in runs(frames)]


def test_frames_of_a_row_become_one_run_in_any_order(ring: Ring) -> None:
    assert columns(ring, *(frame(ring, column) for column in (2, 0, 3, 1))) == [[0, 1, 2, 3]]


def test_a_gap_ends_a_run(ring: Ring) -> None:
    assert columns(ring, *(frame(ring, column) for column in (0, 1, 3))) == [[0, 1], [3]]


def test_rows_are_runs_of_their_own(ring: Ring) -> None:
    # The last slot of a row is followed by the first of the next one; still they are apart.
    assert columns(ring, frame(ring, 3, row=0), frame(ring, 0, row=1)) == [[3], [0]]
    assert columns(ring, frame(ring, 0, row=0), frame(ring, 1, row=1)) == [[0], [1]]


def test_frames_that_do_not_fill_their_slots_are_alone(ring: Ring) -> None:
    assert columns(ring, frame(ring, 0, height=HEIGHT // 2), frame(ring, 1, height=HEIGHT // 2)) == [[0], [1]]


def test_frames_of_different_shapes_are_apart(ring: Ring) -> None:
    found = columns(ring, frame(ring, 0), frame(ring, 1, height=HEIGHT - 1), frame(ring, 2))
    assert sorted(found) == [[0], [1], [2]]


def test_encoded_frames_are_alone(ring: Ring) -> None:
    assert columns(ring, frame(ring, 0, pixel_format=ENCODED), frame(ring, 1, pixel_format=ENCODED)) == [[0], [1]]


def test_frames_of_two_rings_are_apart(ring: Ring) -> None:
    with Ring.create("test-carriers-other", 3, 4, 3 * PAGE) as other:
        assert columns(ring, frame(ring, 0), frame(other, 1)) == [[0], [1]]


def test_a_run_is_one_tensor_in_shared_memory(ring: Ring) -> None:
    [parcel] = SystemCarrier(None).parcels([frame(ring, 2, row=1), frame(ring, 1, row=1)], {})  # type: ignore[arg-type]
    tensor = parcel.request.tensor
    assert isinstance(tensor, SharedTensor)
    assert tensor == SharedTensor(ring.name, 2 * ring.stride, ring.offset(1, 1), (2, HEIGHT, WIDTH, 3))
    assert [one.capture.column for one in parcel.frames] == [1, 2]


def test_plain_requests_carry_each_frame_as_it_is(ring: Ring) -> None:
    ring.slot(0, 1)[:] = 7
    [parcel] = PlainCarrier(None).parcels([frame(ring, 1)], {})  # type: ignore[arg-type]
    assert isinstance(parcel.request.tensor, np.ndarray)
    assert parcel.request.tensor.shape == (1, HEIGHT, WIDTH, 3)
    assert np.shares_memory(parcel.request.tensor, ring.slot(0, 1))
    assert (parcel.request.tensor == 7).all()
