from __future__ import annotations

import asyncio
import base64
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

from tests.gpu.comparing import SCORE, THRESHOLD, assert_close, fixed
from triton_yolo.boards import draw_board
from triton_yolo.clients import AsyncDetector, DetectionError, Detections, Detector, Frames
from triton_yolo.clients.inputs import frames_request
from triton_yolo.clients.memory.cuda import BLOCK
from triton_yolo.clients.memory.registration import unregister
from triton_yolo.clients.memory.shared import PREFIX
from triton_yolo.clients.request import SharedTensor
from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.gpu

NO_HANDLE = base64.b64encode(bytes(64)).decode()
LOOSE = THRESHOLD - SCORE
CLIENT = """
import os, signal, sys
from triton_yolo.clients import Detector

detector = Detector(sys.argv[1], memory="cuda")
frames = detector.frames(2, 64, 64)
detector.detect_frames(frames)
print("ready", os.getpid(), flush=True)
{end}
"""


@pytest.fixture(scope="module", params=["grpc", "http"])
def url(request: pytest.FixtureRequest, server: TritonServer) -> str:
    at = server.addresses
    return f"{at.host}:{at.grpc}" if request.param == "grpc" else f"http://{at.host}:{at.http}"


@pytest.fixture(scope="module")
def detector(url: str) -> Iterator[Detector]:
    with Detector(url, memory="cuda") as detector:
        yield detector


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    """Three boards, uint8 [3, 480, 640, 3]."""
    return np.stack([draw_board(seed, 640, 480, look="photo").image for seed in range(3)])


@pytest.fixture(scope="module")
def expected(server: TritonServer, batch: np.ndarray) -> list[Detections]:
    """What is found in them when gRPC carries their bytes."""
    with Detector(f"{server.addresses.host}:{server.addresses.grpc}") as detector:
        return detector.detect_frames(batch, score_threshold=LOOSE)


def with_torch(frames: Frames, pixels: np.ndarray) -> tuple[Any, int]:
    """Write pixels through a view; return the view and its address."""
    torch = pytest.importorskip("torch")
    view = torch.from_dlpack(frames)
    view[: len(pixels)] = torch.from_numpy(pixels).to(view.device)
    return view, view.data_ptr()


def with_cupy(frames: Frames, pixels: np.ndarray) -> tuple[Any, int]:
    """Write pixels through a view; return the view and its address."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)  # it wants the NumPy that it was built for
    view = cupy.from_dlpack(frames)
    view[: len(pixels)] = cupy.asarray(pixels)
    return view, view.data.ptr


libraries = pytest.mark.parametrize("write", [with_torch, with_cupy])


def registered(server: TritonServer) -> set[str]:
    """Names of the regions that the server has."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.addresses.grpc}") as client:
        return set(client.get_cuda_shared_memory_status(as_json=True).get("regions", {}))


@pytest.fixture
def left(server: TritonServer) -> Callable[[], set[str]]:
    """Tells what there is on the server that was not there before."""
    before = registered(server)
    return lambda: registered(server) - before


def free_bytes() -> int:
    from cuda.bindings import runtime

    code, free, _ = runtime.cudaMemGetInfo()
    assert code == runtime.cudaError_t.cudaSuccess
    return free


def assert_all_same(found: list[Detections], expected: list[Detections]) -> None:
    """Batches of other sizes are computed in another order, so that the last bits differ."""
    pairs = zip(expected, found, strict=True)
    assert sum(assert_close(fixed(one), fixed(other)) for one, other in pairs) > 0


@libraries
def test_what_is_written_into_a_view_is_found_as_if_grpc_had_carried_it(detector, batch, expected, write) -> None:
    with detector.frames(*batch.shape[:3]) as frames:
        view, address = write(frames, batch)

        assert tuple(view.shape) == batch.shape
        assert write(frames, batch[:0])[1] == address, "a second view is the same memory"
        assert_all_same(detector.detect_frames(frames, score_threshold=LOOSE), expected)
        assert_all_same(detector.detect_frames(frames, count=2, score_threshold=LOOSE), expected[:2])
        write(frames, batch[::-1].copy())
        assert_all_same(detector.detect_frames(frames, score_threshold=LOOSE), expected[::-1])
        del view


def test_libraries_see_each_others_pixels(detector: Detector, batch: np.ndarray) -> None:
    with detector.frames(*batch.shape[:3]) as frames:
        ours, address = with_torch(frames, batch)
        theirs, other = with_cupy(frames, batch[:0])

        assert address == other
        np.testing.assert_array_equal(theirs.get(), batch)
        theirs[...] = 7
        assert int(ours.min()) == int(ours.max()) == 7
        del ours, theirs


def test_an_array_is_copied_to_the_gpu(detector: Detector, batch, expected) -> None:
    assert_all_same(detector.detect_frames(batch, score_threshold=LOOSE), expected)
    assert_all_same([detector.detect(frame, score_threshold=LOOSE) for frame in batch], expected)
    with detector.frames(4, *batch.shape[1:3]) as frames:
        frames.fill(batch)
        assert_all_same(detector.detect_frames(frames, count=3, score_threshold=LOOSE), expected)


def test_an_asynchronous_detector_gives_the_same(url: str, batch: np.ndarray, expected: list[Detections], left) -> None:
    async def run() -> list[list[Detections]]:
        async with AsyncDetector(url, memory="cuda") as detector:
            async with await detector.frames(4, *batch.shape[1:3]) as frames:
                frames.fill(batch)
                own = await detector.detect_frames(frames, count=3, score_threshold=LOOSE)
            return [own, await detector.detect_frames(batch, score_threshold=LOOSE)]

    for found in asyncio.run(run()):
        assert_all_same(found, expected)
    assert left() == set()


def test_what_a_stream_still_has_to_write_is_waited_for(detector: Detector, batch, expected) -> None:
    torch = pytest.importorskip("torch")
    with detector.frames(*batch.shape[:3]) as frames:
        view, pixels = torch.from_dlpack(frames), torch.from_numpy(batch).cuda()
        view.zero_()
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(500_000_000)  # cycles: a quarter of a second
            view.copy_(pixels)

        assert_all_same(detector.detect_frames(frames, score_threshold=LOOSE), expected)
        del view


def test_threads_do_not_write_into_each_others_frames(detector: Detector, batch, expected) -> None:
    def detect(number: int) -> None:
        shown = [number % 3, (number + 1) % 3]
        assert_all_same(detector.detect_frames(batch[shown], score_threshold=LOOSE), [expected[i] for i in shown])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(detect, range(24)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"region": "nobody"}, "^Unable to find shared memory region: 'nobody'$"),
        ({"offset": BLOCK}, "^Invalid offset.* for shared memory region: '{name}'$"),
        ({"offset": 10**9}, "^Invalid offset for shared memory region: '{name}'$"),
        ({"byte_size": BLOCK + 1}, "^Invalid offset \\+ byte size for shared memory region: '{name}'$"),
        ({"byte_size": 8 * 8 * 3}, "byte size mismatch for input 'frames'.* Expected 384, got 192$"),
        ({"shape": (1, 8, 8, 3)}, "byte size mismatch for input 'frames'.* Expected 192, got 384$"),
    ],
)
def test_a_wrong_place_is_refused_in_the_servers_words(detector: Detector, changed: dict, message: str) -> None:
    with detector.frames(2, 8, 8) as frames:
        frames.fill(np.full((2, 8, 8, 3), 114, np.uint8))
        request = frames_request(frames, {})
        assert isinstance(request.tensor, SharedTensor)
        with pytest.raises(DetectionError, match=message.replace("{name}", frames.name)):
            detector.protocol.infer(replace(request, tensor=replace(request.tensor, **changed)))

        assert len(detector.detect_frames(frames)) == 2


@pytest.mark.parametrize("change", [{"byte_size": 64 * BLOCK}, {"raw_handle": NO_HANDLE}])
def test_a_wrong_registration_is_refused_with_what_to_check(detector: Detector, left, change: dict) -> None:
    with detector.frames(2, 8, 8) as frames:
        unregister(detector.protocol, "cuda", frames.name)
        frames._fields.update(change)  # type: ignore[attr-defined]
        with pytest.raises(DetectionError, match=r"; memory 'cuda' needs a server that uses the same GPU"):
            frames.register()  # type: ignore[attr-defined]
    assert left() == set()


def test_more_than_the_gpu_holds_is_refused(detector: Detector, left) -> None:
    with pytest.raises(DetectionError, match=r"cannot allocate \d+ bytes on GPU 0: out of memory"):
        detector.frames(1, 1_000_000, 1_000_000)
    assert left() == set()


def test_frames_are_registered_until_they_are_closed(detector: Detector, server: TritonServer, left) -> None:
    with pytest.raises(ZeroDivisionError), detector.frames(2, 64, 64) as frames:
        assert left() == {frames.name}
        with pytest.raises(DetectionError, match=r"lie on the GPU: view them with torch\.from_dlpack"):
            _ = frames.array
        raise ZeroDivisionError

    assert left() == set()
    frames.close()
    for use in (frames.__dlpack__, lambda: detector.detect_frames(frames)):
        with pytest.raises(DetectionError, match="frames have been closed"):
            use()


def test_a_client_that_forgets_to_close_leaves_nothing(url: str, left) -> None:
    done = subprocess.run([sys.executable, "-c", CLIENT.format(end=""), url], capture_output=True, text=True)

    assert done.stdout.startswith("ready")
    assert "Exception ignored" not in done.stderr
    assert left() == set()


def test_a_killed_client_does_not_hinder_the_next(url: str, left, batch, expected) -> None:
    end = "os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", CLIENT.format(end=end), url], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    (forgotten,) = left()
    assert forgotten.startswith(f"{PREFIX}{done.stdout.split()[1]}-")

    with Detector(url, memory="cuda") as detector:
        assert_all_same(detector.detect_frames(batch, score_threshold=LOOSE), expected)
        unregister(detector.protocol, "cuda", forgotten)
    assert left() == set()


def test_two_clients_at_once_do_not_meet(url: str, batch, expected) -> None:
    with (
        Detector(url, memory="cuda") as one,
        Detector(url, memory="cuda") as other,
        one.frames(*batch.shape[:3]) as ours,
        other.frames(*batch.shape[:3]) as theirs,
    ):
        ours.fill(batch)
        theirs.fill(batch[::-1])

        assert_all_same(one.detect_frames(ours, score_threshold=LOOSE), expected)
        assert_all_same(other.detect_frames(theirs, score_threshold=LOOSE), expected[::-1])


def test_the_gpus_memory_does_not_grow_over_5000_requests(server: TritonServer) -> None:
    small = np.full((1, 32, 32, 3), 114, np.uint8)

    def requests(number: int) -> int:
        for i in range(number):
            detector.detect_frames(small)
            if i % 10 == 0:  # regions come and go too, of the size of one camera's frame
                with detector.frames(1, 960, 1280) as frames:
                    detector.detect_frames(frames)
        return free_bytes()

    with Detector(f"127.0.0.1:{server.addresses.grpc}", memory="cuda") as detector:
        before = requests(500)
        assert before - requests(5000) < 2 * BLOCK
