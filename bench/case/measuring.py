"""Measures all rungs in one run, in turn, each with its server alone on the machine."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.__main__ import HEIGHT, WIDTH, as_camera
from bench.case.client import Job, seen_by
from bench.case.copies import counting, server_processes
from bench.case.gpu_counters import Counters
from bench.case.repositories import FIRST, repositories
from bench.case.rungs import RUNGS, Rung
from bench.case.traffic import bus_bytes
from bench.case.ways import Setting
from bench.counting_proxy import CountingProxy
from bench.errors import BenchError
from bench.float_graph import NETWORK
from bench.origin import measured_on
from bench.peers.agreement import Tolerance, paired
from triton_yolo.boards import draw_board
from triton_yolo.clients.detections import Detections
from triton_yolo.repository import read_served_model
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.runtimes.base import Device

CAMERAS = 8
BOARDS, STANDS, NOISE = 2, 4, 1.0  # of each camera; frames that one stands for; grey levels of deviation
THRESHOLD = 0.4  # lowest score
FPS = 30.0  # of each camera, where the first rung holds that
SHARE = 0.5  # of what the slowest rung holds: the rate at which latencies are compared where it does not hold FPS
LEAST_TICKS = 4  # of a camera in a measurement
READY = 300.0  # seconds for a server
# What people write first is float32 and ONNX Runtime; what is served may be INT8, and frames may be a sensor's.
TOLERANCE = Tolerance(6.0, 0.15)
MISSED = 0.1  # share of the detections that only one of two rungs has: INT8 moves scores across the threshold


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        repository: the model repository.
        device: of the server.
        backends: folder with Triton's native DALI backend, to use it; None else.
        rounds: all rungs in turn, so many times.
        seconds: length of one measurement.
        fps: of each camera; None to choose it.
    """

    repository: Path
    device: Device
    backends: Path | None
    rounds: int
    seconds: float
    fps: float | None


def measure(plan: Plan, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything.

    Args:
        plan: what is measured.
        step: is told what is done next.

    Raises:
        BenchError: a rung does not find what the first one finds, or a client failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step("drawing boards")
        setting = drawn(folder, plan.repository, plan.device)
        served = repositories(NETWORK, plan.repository, folder, plan.device)
        ladder = _Ladder(plan, setting, served, folder, step)
        first = ladder.checked()
        if plan.fps:
            fps = plan.fps
            speeds, paced = ladder.rounds("speed and latency", None, fps)
        else:
            [speeds] = ladder.rounds("speed", None)
            fps = max(_rate(speeds), LEAST_TICKS / plan.seconds)
            [paced] = ladder.rounds("latency", fps)
    rungs = [
        {
            "number": rung.number,
            "stream": rung.stream,
            "name": rung.name,
            "change": rung.change,
            **_together(speeds[rung], paced[rung]),
            **first[rung],
        }
        for rung in RUNGS
    ]
    return {
        "measured_on": measured_on(plan.device),
        "device": plan.device,
        "native_dali": plan.backends is not None,
        "cameras": CAMERAS,
        "height": HEIGHT,
        "width": WIDTH,
        "fps_of_latencies": fps,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "rungs": rungs,
    }


def drawn(folder: Path, repository: Path, device: Device, cameras: int = CAMERAS) -> Setting:
    """Draw what the cameras see, and write it as they deliver it.

    Args:
        folder: for the files.
        repository: that is served.
        device: of the server.
        cameras: how many.
    """
    boards = np.stack([frame for boards in range(BOARDS) for frame in _standing(boards, cameras)])
    mosaics = np.zeros(boards.shape[:3], np.uint8)
    for place, channel in enumerate((0, 1, 1, 2)):  # RGGB
        row, column = divmod(place, 2)
        mosaics[:, row::2, column::2] = boards[:, row::2, column::2, channel]
    boards.tofile(folder / "frames")
    mosaics.tofile(folder / "mosaics")
    jpegs = []
    for number, board in enumerate(boards):
        path = folder / f"{number}.jpg"
        path.write_bytes(as_camera(board))
        jpegs.append(str(path))
    served = read_served_model(repository)
    return Setting(
        "",
        jpegs,
        str(folder / "frames"),
        str(folder / "mosaics"),
        (len(boards), HEIGHT, WIDTH),
        cameras,
        THRESHOLD,
        served.thresholds.iou,
        served.max_detections,
        served.letterbox,
        "cuda" if device == "gpu" else "system",
    )


def _standing(board: int, cameras: int) -> list[np.ndarray]:
    """Return the frames of all cameras while their boards stand, tick by tick: uint8 [H, W, 3] with sensor noise."""
    still = [draw_board(board * cameras + camera, WIDTH, HEIGHT, "photo").image for camera in range(cameras)]
    random = np.random.default_rng(board)
    noise = [random.normal(0, NOISE, still[0].shape) for _ in range(STANDS)]
    return [np.clip(np.rint(picture + each), 0, 255).astype(np.uint8) for each in noise for picture in still]


def _rate(speeds: Mapping[Rung, Sequence[dict[str, Any]]]) -> float:
    """Return the rate of a camera at which latencies are compared: the line's own, or what the slowest holds easily."""
    slowest = min(statistics.median(seen["frames_per_second"] for seen in rounds) for rounds in speeds.values())
    return min(FPS, round(SHARE * slowest / CAMERAS, 2))


def _together(speeds: Sequence[dict[str, Any]], paced: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of the rounds: throughput and cost as fast as it goes, latencies at the common rate."""

    def median(rounds: Sequence[Any], *keys: str) -> float:
        values = []
        for seen in rounds:
            for key in keys:
                seen = seen[key]
            values.append(seen)
        return float(statistics.median(values))

    costs = {side: median(speeds, "cpu_seconds_per_frame", side) for side in ("client", "server")}
    counted = {key: median(speeds, key) for key in speeds[0] if key.startswith("gpu_")}
    return {
        "frames_per_second": median(speeds, "frames_per_second"),
        "latency_ms": {key: median(paced, "latency_ms", key) for key in ("p50", "p99", "std")},
        "dropped_share": median(paced, "dropped_share"),
        "cpu_seconds_per_frame": {**costs, "both": round(sum(costs.values()), 6)},
        "server_memory_bytes": median(speeds, "server_memory_bytes"),
        **counted,
    }


class _Ladder:
    """The rungs, by the server that they share."""

    def __init__(
        self,
        plan: Plan,
        setting: Setting,
        repositories: Mapping[str, Path],
        folder: Path,
        step: Callable[[str], None],
    ) -> None:
        self._plan, self._setting, self._repositories = plan, setting, repositories
        self._folder, self._step = folder, step

    @contextmanager
    def _server(self, name: str) -> Iterator[TritonServer]:
        plan = self._plan
        backends = None if name == FIRST else plan.backends
        with TritonServer(
            self._repositories[name], free_addresses(), lambda line: None, plan.device, backends
        ) as server:
            server.wait_until_ready(READY)
            yield server

    def _visits(self, what: str) -> Iterator[tuple[Rung, TritonServer]]:
        for name in self._repositories:
            self._step(f"{what}: the server of the {name} repository")
            with self._server(name) as server:
                for rung in RUNGS:
                    if rung.repository == name:
                        self._step(f"{what}: {rung.stream} {rung.number}, {rung.name}")
                        yield rung, server

    def checked(self) -> dict[Rung, dict[str, Any]]:
        """Hold the detections of all rungs against those of the first; count copies, and bytes over the connection."""
        found: dict[Rung, list[Detections]] = {}
        figures: dict[Rung, dict[str, Any]] = {}
        counts = self._folder / "copies"
        counts.mkdir()
        with counting(counts):
            for rung, server in self._visits("detections"):
                with CountingProxy("127.0.0.1", server.addresses.grpc) as proxy:
                    setting = replace(self._setting, address=f"{proxy.host}:{proxy.port}")
                    told = seen_by(
                        Job(rung.kind, setting, server.running.pid, 0.0, 0.0, str(counts), server_processes(server))
                    )
                    frames = len(told["detections"])
                    connection = round(proxy.bytes / 2 / frames)  # it was done twice
                found[rung] = [Detections.from_dict(answer) for answer in told["detections"]]
                copied = sum(one["nbytes"] for one in told["copies"])
                figures[rung] = {
                    "connection_bytes_per_frame": connection,
                    "copied_bytes_per_frame": round(copied / frames),
                    "bus_bytes_per_frame": bus_bytes(rung, self._setting, server.repository, self._plan.device),
                }
        reference = found[RUNGS[0]]
        for rung, detections in found.items():
            figures[rung]["same_detections"] = _compared(rung, reference, detections)
        return figures

    def rounds(self, what: str, *rates: float | None) -> list[dict[Rung, list[dict[str, Any]]]]:
        """Measure each rung in every round.

        Args:
            what: in words.
            rates: frames a second of each camera, one measurement for each; None for as fast as it goes.

        Returns:
            for each rate what was seen, by rung, in the order of the rounds.
        """
        seen: list[dict[Rung, list[dict[str, Any]]]] = [{rung: [] for rung in RUNGS} for _ in rates]
        for number in range(self._plan.rounds):
            for rung, server in self._visits(f"{what}, round {number + 1} of {self._plan.rounds}"):
                setting = replace(self._setting, address=f"127.0.0.1:{server.addresses.grpc}")
                for fps, of_rate in zip(rates, seen, strict=True):
                    with Counters(self._plan.device == "gpu") as counters:
                        figures = seen_by(Job(rung.kind, setting, server.running.pid, fps, self._plan.seconds))
                    of_rate[rung].append({**figures, **counters.figures(figures["frames_per_second"])})
        return seen


def _compared(rung: Rung, reference: Sequence[Detections], detections: Sequence[Detections]) -> dict[str, Any]:
    """Return how many of a rung's detections are the first one's.

    Raises:
        BenchError: they are others: what does not do the same work is not compared.
    """
    common = sum(len(paired(mine, other, TOLERANCE)) for mine, other in zip(reference, detections, strict=True))
    most = max(sum(map(len, reference)), sum(map(len, detections)))
    if common < (1 - MISSED) * most:
        raise BenchError(
            f"{rung.stream} {rung.number} has {common} of {most} detections in common with the first rung, so that "
            "nothing is compared"
        )
    return {"share": round(common / most, 4) if most else 1.0}
