"""Frames of streams as tiles that changed: detections on the whole frame, and never on another one."""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.server.pictures import picture
from tests.server.processes import whole
from tests.support.servers import serving
from triton_yolo.clients import DetectionError, Detections, Detector
from triton_yolo.clients.errors import TooManyStreams, UnknownBase
from triton_yolo.clients.request import Request
from triton_yolo.clients.stream.encoder import Place
from triton_yolo.clients.stream.tile_request import KEY_POSITION, Content, tile_request
from triton_yolo.server.process import TritonServer

HEIGHT, WIDTH, SIDE = 96, 128, 32
ASKED = {"frame_checksum": 1, "score_threshold": 0.4}


class Sender:
    """A client that keeps what it has sent, and compares what the server has detected on."""

    def __init__(self, detector: Detector, stream: str, session: int, seed: int) -> None:
        self.detector, self.place = detector, Place(stream, session, 0)
        self.random = np.random.default_rng(seed)
        self.frame = picture(seed, HEIGHT, WIDTH)

    def key(self) -> Detections:
        self.place = replace(self.place, base=-1)
        return self.answer(tile_request(self.place, Content(KEY_POSITION, self.frame[None]), ASKED))

    def change(self) -> Detections:
        """Change some tiles, and send them."""
        return self.answer(self.next(coded=bool(self.random.integers(2))))

    def next(self, coded: bool = False) -> Request:
        """The request for a frame in which some tiles have changed."""
        rows = self.random.integers(0, HEIGHT - SIDE + 1, 3)
        columns = self.random.integers(0, WIDTH - SIDE + 1, 3)
        positions = np.stack([rows, columns], 1).astype(np.int32)
        for row, column in positions:
            self.frame[row : row + SIDE, column : column + SIDE] = self.random.integers(0, 256, (SIDE, SIDE, 3))
        tiles = np.stack([self.frame[row : row + SIDE, column : column + SIDE] for row, column in positions])
        self.place = replace(self.place, base=self.place.number, number=self.place.number + 1)
        if coded:
            code = np.asarray(cv2.imencode(".png", np.concatenate([*tiles])[..., ::-1])[1])
            return tile_request(self.place, Content(positions, coded=code), ASKED)
        return tile_request(self.place, Content(positions, tiles), ASKED)

    def answer(self, request: Request) -> Detections:
        """Send a request; what is answered must be of this frame and no other."""
        [found] = self.detector.run(request)
        assert found.extra["frame_number"].tolist() == [self.place.number]
        assert found.extra["frame_checksum"].tolist() == [zlib.crc32(self.frame)]
        return found


@pytest.fixture(params=["grpc", "http"])
def detector(request: pytest.FixtureRequest, cells_server: TritonServer) -> Iterator[Detector]:
    at = cells_server.addresses
    with Detector(f"{at.host}:{at.grpc}" if request.param == "grpc" else f"http://{at.host}:{at.http}") as found:
        yield found


@pytest.fixture
def over_grpc(cells_server: TritonServer) -> Iterator[Detector]:
    with Detector(f"{cells_server.addresses.host}:{cells_server.addresses.grpc}") as found:
        yield found


def test_what_is_found_is_what_is_found_in_the_whole_frame(detector: Detector) -> None:
    sender = Sender(detector, "whole", 1, 0)
    answers, wanted = [sender.key()], [detector.detect_frames(sender.frame[None], score_threshold=0.4)[0]]
    for _ in range(6):
        answers.append(sender.change())
        wanted += detector.detect_frames(sender.frame[None], score_threshold=0.4)
    assert any(len(one) for one in wanted)
    for found, right in zip(answers, wanted, strict=True):
        np.testing.assert_array_equal(found.boxes, right.boxes)
        np.testing.assert_array_equal(found.scores, right.scores)


def test_no_checksum_is_made_where_none_is_asked_for(over_grpc: Detector) -> None:
    request = tile_request(Place("no checksum", 1, 3), Content(KEY_POSITION, picture(0, 8, 8)[None]), {})
    assert over_grpc.run(request)[0].extra["frame_checksum"].tolist() == [-1]


def test_a_frame_that_is_not_there_is_an_error_of_its_own_kind(detector: Detector) -> None:
    name = f"kind, {detector.address.protocol}"
    sender = Sender(detector, name, 1, 1)
    with pytest.raises(UnknownBase, match=f"^send a key frame: stream {name!r} is not known here"):
        sender.change()
    sender.key()
    lost, frame = sender.next(), sender.frame.copy()
    with pytest.raises(UnknownBase, match="the last one here is"):
        sender.change()
    sender.frame, sender.place = frame, replace(sender.place, number=sender.place.number - 1)
    sender.answer(lost)  # it was only late
    with pytest.raises(UnknownBase):
        detector.run(lost)  # twice
    sender.change()


def test_two_clients_on_one_stream_never_get_detections_on_the_others_frames(over_grpc: Detector) -> None:
    one, other = Sender(over_grpc, "shared", 1, 2), Sender(over_grpc, "shared", 2, 3)
    refused = 0
    one.key()
    for step in range(20):
        for sender in (other, one) if step % 2 else (one, other):
            try:
                sender.change()
            except UnknownBase as error:
                assert "another key frame since" in str(error)
                refused += 1
                sender.key()
    assert refused >= 20


def test_streams_of_many_threads_do_not_mix(over_grpc: Detector) -> None:
    """Frames are in flight, and read by the next step, while others are put together."""

    def send(number: int) -> None:
        sender = Sender(over_grpc, f"thread {number}", number, number)
        sender.key()
        for _ in range(25):
            sender.change()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))


def test_a_frame_in_flight_is_not_changed_by_the_next_request_of_its_stream(over_grpc: Detector) -> None:
    """Sent without waiting: each answer must be what is found in its own frame."""
    sender = Sender(over_grpc, "in flight", 1, 4)
    sender.key()
    requests, frames = [], []
    for _ in range(24):
        requests.append(sender.next())
        frames.append(sender.frame.copy())
    turn = threading.Condition()
    sent = 0

    def send(number: int) -> Detections | None:
        nonlocal sent
        with turn:  # in order, as far as this side can see to it
            turn.wait_for(lambda: sent == number)
            sent += 1
            turn.notify_all()
        try:
            return over_grpc.run(requests[number])[0]
        except UnknownBase:
            return None  # the server's threads took another one first

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(send, range(len(requests))))
    assert answers[0] is not None
    for answer, frame in zip(answers, frames, strict=True):
        if answer is not None:
            assert answer.extra["frame_checksum"].tolist() == [zlib.crc32(frame)]
            np.testing.assert_array_equal(
                answer.boxes, over_grpc.detect_frames(frame[None], score_threshold=0.4)[0].boxes
            )


def test_a_stream_past_the_bound_is_refused_and_one_that_was_given_up_makes_room(tmp_path: Path) -> None:
    repository = copy_with_cells(REPOSITORY, tmp_path / "repository")
    config = repository / "assemble" / "config.pbtxt"
    config.write_text(config.read_text().replace('"64"', '"2"'))
    with serving(repository) as server, Detector(f"{server.addresses.host}:{server.addresses.grpc}") as detector:
        first, second, third = (Sender(detector, f"stream {number}", number, number) for number in range(3))
        first.key()
        second.key()
        with pytest.raises(TooManyStreams, match=r"^no room for another stream: .* at most 2"):
            third.key()
        first.change()
        content = Content(KEY_POSITION, first.frame[:1, :1][None])
        detector.protocol.infer(tile_request(first.place, content, {"forget": 1}, "assemble"))
        third.key()
        with pytest.raises(UnknownBase):
            first.change()
        second.change()


def mutated(request: Request, random: np.random.Generator) -> Request:
    """A request of which one tensor has another content, shape or size, and whose checksum is of the sound one."""
    tensors = {"tiles": request.tensor, **request.others}
    name = str(random.choice(list(tensors)))
    array = np.array(tensors[name])
    kind = random.integers(5)
    if kind == 0 and array.size:  # a bit
        flat = array.view(np.uint8).reshape(-1)
        flat[random.integers(flat.size)] ^= 1 << random.integers(8)
    elif kind == 1 and array.size:  # numbers that nobody expects
        if array.dtype != np.bool_:
            limits = np.iinfo(array.dtype)
            values = [limits.min, limits.max, 0, limits.max // 2, 97]
            array.reshape(-1)[random.integers(array.size)] = values[random.integers(len(values))]
        else:
            array = ~array
    elif kind == 2 and array.ndim > 1 and array.shape[1]:  # less of it
        array = array[:, : array.shape[1] - 1 - random.integers(array.shape[1])]
    elif kind == 3 and array.ndim > 1:  # more of it
        array = np.concatenate([array, array, array[:, :1]], 1)
    elif array.ndim > 3:  # another shape of as many bytes
        array = np.swapaxes(array, 1, 2)
    else:
        array = np.roll(array, 1, axis=-1)
    tensors[name] = np.ascontiguousarray(array)
    return replace(request, tensor=tensors.pop("tiles"), others=tensors)


def fuzz(server: TritonServer, count: int) -> Counter[str]:
    """Send mutated requests between sound ones, on a stream whose neighbour goes on; what is answered must be right."""
    kinds: Counter[str] = Counter()
    with Detector(f"{server.addresses.host}:{server.addresses.grpc}") as detector:
        sender, neighbour = Sender(detector, "mutated", 1, 5), Sender(detector, "neighbour", 1, 6)
        random = np.random.default_rng(7)
        sender.key()
        neighbour.key()
        for number in range(count):
            before, frame = sender.place, sender.frame.copy()
            sound = sender.next(coded=bool(number % 2))
            try:
                [found] = detector.run(mutated(sound, random))
                kinds["answered"] += 1
                assert found.extra["frame_checksum"].tolist() == [zlib.crc32(sender.frame)], "a wrong picture"
            except DetectionError as error:
                kinds[type(error).__name__] += 1
                if number % 4:
                    sender.place, sender.frame = before, frame
                else:
                    sender.answer(sound)  # the frame that is kept was not touched
                    kinds["went on"] += 1
            if number % 20 == 0:
                neighbour.change()
    return kinds


def test_mutated_requests_are_refused_and_change_nothing(cells_server: TritonServer) -> None:
    processes = [process.pid for process in whole(cells_server)]
    kinds = fuzz(cells_server, 400)
    assert kinds["DetectionError"] >= 200
    assert kinds["went on"] >= 40
    assert [process.pid for process in whole(cells_server)] == processes


@pytest.mark.slow
@pytest.mark.long
def test_ten_thousand_mutated_requests_leave_the_server_as_it_was(fresh: TritonServer) -> None:
    processes = [process.pid for process in whole(fresh)]
    kinds = fuzz(fresh, 10_000)
    assert sum(kinds.values()) - kinds["went on"] == 10_000
    assert [process.pid for process in whole(fresh)] == processes
