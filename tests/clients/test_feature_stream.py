"""Detector.features and AsyncDetector.features, with the real server: what is found is of the frame it should be of."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.clients.unreliable import Unreliable
from tests.docs.pages import page
from tests.export.split.necks import SIZE, split_repository
from tests.support.servers import serving
from triton_yolo.clients import AsyncDetector, DetectionError, Detector, ServerUnavailable
from triton_yolo.clients.change_stream import ChangeStream, StreamResult
from triton_yolo.clients.errors import OtherNetwork, TooManyStreams, UnknownBase
from triton_yolo.clients.stream.edge import Edge
from triton_yolo.clients.stream.features import FeatureEncoder
from triton_yolo.server.process import Addresses, TritonServer, free_addresses

MOST_STREAMS = 5
PATIENCE = 60.0  # seconds; machines that run tests are busy
ASKED = {"score_threshold": 0.4}
BOTH = pytest.mark.parametrize("kind", [Detector, AsyncDetector])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick network in two halves, and few streams."""
    written = split_repository(tmp_path_factory.mktemp("halves") / "repository")
    config = written / "gather" / "config.pbtxt"
    config.write_text(config.read_text().replace('"64"', f'"{MOST_STREAMS}"'))
    return written


@pytest.fixture(scope="module")
def edge(repository: Path) -> Edge:
    return Edge.load(repository / "edge.onnx")


@pytest.fixture(scope="module")
def address(repository: Path) -> Iterator[str]:
    with serving(repository) as running:
        assert set(running.proved()) == {"yolo", "yolo_head"}
        yield grpc(running.addresses)


def grpc(addresses: Addresses) -> str:
    return f"{addresses.host}:{addresses.grpc}"


def frames(seed: int) -> Iterator[np.ndarray]:
    """A scene without noise in which now and then something is laid down, or all is another."""
    random = np.random.default_rng(seed)
    scene = random.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    while True:
        event = random.integers(12)
        if event == 0:
            scene = np.roll(scene, 8, axis=1)
        elif event < 8:
            row, column = random.integers(0, SIZE[0] - 20, 2).tolist()
            scene[row : row + 20, column : column + 20] = random.integers(0, 256, 3)
        yield scene.copy()


def exact(edge: Edge, name: str) -> FeatureEncoder:
    """An encoder that sends each difference, so that the server has the features of the frame itself."""
    return FeatureEncoder(name, edge, tolerance=0)


class Whole:
    """What is found in a frame whose features are sent whole."""

    def __init__(self, detector: Detector, edge: Edge) -> None:
        self.stream = ChangeStream(detector, exact(edge, "whole"), ASKED)
        self.kinds: Counter[str] = Counter()

    def check(self, result: StreamResult, frame: np.ndarray) -> None:
        self.stream.want_key_frame()
        right = self.stream.detect(frame).detections
        np.testing.assert_array_equal(result.detections.boxes, right.boxes, "found in another frame")
        np.testing.assert_array_equal(result.detections.scores, right.scores)
        assert len(right)
        self.kinds[result.kind] += 1


@BOTH
def test_a_stream_finds_what_is_found_in_whole_features_and_in_whole_frames(
    kind: type, address: str, edge: Edge, repository: Path
) -> None:
    options = {"tolerance": 0, "score_threshold": 0.4}

    async def found_async() -> list[StreamResult]:
        async with AsyncDetector(address) as detector, detector.features(edge, **options) as stream:  # type: ignore[arg-type]
            return [await stream.detect(frame) for frame in islice(frames(0), 40)]

    if kind is AsyncDetector:
        results = asyncio.run(found_async())
    else:
        with Detector(address) as detector, detector.features(repository / "edge.onnx", **options) as stream:  # type: ignore[arg-type]
            results = [stream.detect(frame) for frame in islice(frames(0), 40)]
    assert [result.number for result in results] == list(range(40))
    assert {"nothing", "differences", "features"} == {result.kind for result in results}
    with Detector(address) as detector:
        whole = Whole(detector, edge)
        for result, frame in zip(results, islice(frames(0), 40), strict=True):
            whole.check(result, frame)
            [unsplit] = detector.detect_frames(frame[None], score_threshold=0.4)
            np.testing.assert_allclose(result.detections.scores[:20], unsplit.scores[:20], atol=0.01)


def test_features_that_are_lost_doubled_and_late_lead_to_no_wrong_detection(address: str, edge: Edge) -> None:
    failed = 0
    with Detector(address) as other, Detector(address) as detector:
        whole, stream = Whole(other, edge), ChangeStream(detector, exact(edge, "unreliable"), ASKED)
        detector.labels("detect_features")
        way = detector.protocol = Unreliable(detector.protocol, 5)
        for frame in islice(frames(5), 200):
            try:
                whole.check(stream.detect(frame), frame)
            except DetectionError as error:
                assert str(error) == "no answer in time"
                failed += 1
        detector.protocol = way.real
    assert min(way.faults[kind] for kind in ("lost", "answer lost", "doubled", "late", "refused")) > 5
    assert sum(whole.kinds.values()) + failed == 200
    assert min(whole.kinds[kind] for kind in ("nothing", "differences", "features")) > 10


def test_two_clients_of_one_name_each_get_what_is_in_their_own_frames(address: str, edge: Edge) -> None:
    with Detector(address) as detector:
        whole, sources = Whole(detector, edge), [frames(3), frames(4)]
        streams = [ChangeStream(detector, exact(edge, "shared"), ASKED) for _ in range(2)]
        for _ in range(15):
            for stream, source in zip(streams, sources, strict=True):
                frame = next(source)
                whole.check(stream.detect(frame), frame)


def test_a_server_that_has_forgotten_a_stream_says_so_and_gets_a_key_frame(address: str, edge: Edge) -> None:
    encoder = exact(edge, "forgotten")
    first, second = islice(frames(2), 2)
    second[:40, :40] = 255
    with Detector(address) as detector, ChangeStream(detector, encoder, ASKED) as stream:
        stream.detect(first)
        detector.protocol.infer(encoder.forget_request({"forget": 1}))
        late = encoder.encode(second)
        with pytest.raises(UnknownBase, match=r"^send a key frame: stream 'forgotten' is not known here"):
            detector.run(encoder.request(late, ASKED))
        encoder.failed()
        whole = Whole(detector, edge)
        whole.check(stream.detect(second), second)
        detector.protocol.infer(encoder.forget_request({"forget": 1}))
        first[:40, :40] = 0
        whole.check(stream.detect(first), first)  # by itself
    assert whole.kinds == {"features": 2}


def test_the_features_of_another_network_are_refused_in_words_of_their_own(address: str, edge: Edge) -> None:
    with Detector(address) as detector:
        other = Edge(replace(edge.proof, network="f" * 64), edge._compute)
        with (
            detector.features(other) as stream,
            pytest.raises(OtherNetwork, match=r"^features of another network: the features are of f{16}, and"),
        ):
            stream.detect(next(frames(0)))


def test_features_that_were_damaged_on_their_way_are_refused_and_change_nothing(address: str, edge: Edge) -> None:
    with Detector(address) as detector:
        encoder = exact(edge, "damaged")
        whole, stream = Whole(detector, edge), ChangeStream(detector, encoder, ASKED)
        source = frames(6)
        stream.detect(next(source))
        frame = next(source)
        frame[100:120, 100:120] = 255
        request = encoder.request(encoder.encode(frame), ASKED)
        for name, tensor in {"coded": request.tensor, **request.others}.items():
            damaged = np.array(tensor)
            damaged.view(np.uint8).reshape(-1)[0] ^= 1
            changed = {**request.others, name: damaged}
            bad = replace(request, others=changed) if name != "coded" else replace(request, tensor=damaged)
            with pytest.raises(DetectionError, match="damaged on its way"):
                detector.run(bad)
        [found] = detector.run(request)
        encoder.failed()
        whole.check(StreamResult(found, 1, 1, "", 0, np.empty((0, 4), np.int32)), frame)


def test_a_stream_past_the_bound_is_refused_and_one_that_is_closed_makes_room(address: str, edge: Edge) -> None:
    frame = next(frames(7))
    with Detector(address) as detector, ExitStack() as close:
        last = None
        with pytest.raises(TooManyStreams, match=rf"at most {MOST_STREAMS} \(max_streams of gather\)"):
            for _ in range(MOST_STREAMS + 1):
                stream = close.enter_context(detector.features(edge))
                stream.detect(frame)
                last = stream
        assert last is not None
        last.close()
        with detector.features(edge) as stream:
            assert stream.detect(frame).kind == "features"


@pytest.mark.slow
def test_a_server_without_zstandard_gets_zlib(repository: Path, edge: Edge, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "repository")
    codes = tmp_path / "repository" / "gather" / "1" / "codes.py"
    codes.write_text(codes.read_text().replace("    import zstandard\n", '    raise ImportError("not installed")\n'))
    with serving(tmp_path / "repository") as server, Detector(grpc(server.addresses)) as detector:
        whole, stream = Whole(detector, edge), ChangeStream(detector, exact(edge, "zlib"), ASKED)
        for frame in islice(frames(9), 20):
            whole.check(stream.detect(frame), frame)
    assert whole.kinds["differences"] >= 5


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_of_a_stream_leads_to_no_wrong_detection(
    repository: Path, edge: Edge
) -> None:
    addresses, source, kinds = free_addresses(), frames(10), Counter[str]()
    with Detector(grpc(addresses), timeout=60) as detector:
        stream = ChangeStream(detector, exact(edge, "killed"), ASKED)
        for _ in range(3):
            with TritonServer(repository, addresses, log=lambda line: None) as server:
                server.wait_until_ready()
                whole, answered, end = Whole(detector, edge), 0, time.monotonic() + PATIENCE
                while answered < 8 and time.monotonic() < end:
                    frame = next(source)
                    try:
                        whole.check(stream.detect(frame), frame)
                        answered += 1
                    except ServerUnavailable:
                        time.sleep(0.05)  # until the connection is back
                assert answered == 8
                kinds += whole.kinds
                os.kill(server.running.pid, signal.SIGKILL)
                server.running.wait(PATIENCE)
    assert kinds["features"] >= 3
    assert kinds["differences"] >= 3


def test_the_python_of_the_page_on_features_runs(
    repository: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = page("docs/features.md").fenced("python")
    code = code.replace("127.0.0.1:8001", address).replace("best_repository", str(repository))
    exec(compile(code, "features.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["features", "nothing", "differences"]


def test_arguments_that_are_wrong_are_refused_at_once(edge: Edge, tmp_path: Path) -> None:
    detector = Detector()
    with pytest.raises(DetectionError, match="tolerance must be from 0 to 127"):
        detector.features(edge, tolerance=-1)
    with pytest.raises(DetectionError, match=r"`triton-yolo export --split` writes edge.onnx"):
        detector.features(tmp_path / "edge.onnx")
    detector.close()
    with pytest.raises(DetectionError, match="has been closed"):
        detector.features(edge)
