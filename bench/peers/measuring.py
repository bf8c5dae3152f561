"""Measures all servers in one run, one at a time, in turn."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.__main__ import HEIGHT, IMAGES, QUALITY, WIDTH, draw_images
from bench.errors import BenchError
from bench.float_graph import NETWORK, float_repository
from bench.opencv_letterbox import decoded
from bench.origin import measured_on
from bench.peers.agreement import Agreement, Tolerance, agreed, from_answer, tolerance_of
from bench.peers.load import Job, loaded
from bench.peers.loop import LoopJob, looped
from bench.peers.peers import Peer, all_peers, cores, installed, request_of
from bench.peers.plan import PATH, Network, Setting
from bench.peers.programs import post
from bench.perf_analyzer import PerfAnalyzer, write_data
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.protocols.http_messages import packed
from triton_yolo.clients.request import ENCODED, Request
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.repository import GRAPH_PATH, read_served_model
from triton_yolo.server.process import TritonServer, free_addresses

LEVELS = (1, 2, 4, 8)  # requests in flight
SEARCH_LEVEL, SEARCH = 4, 4.0  # requests in flight and seconds with which settings are tried
COMPARED = 4  # images whose detections must agree
OURS = {"http": "this server, HTTP", "grpc": "this server, gRPC", "frames": "this server, frames in shared memory"}
LOOP = "loop in one process"
PERF_ANALYZER = "this server, gRPC, under perf_analyzer"

Figures = dict[str, float]
Round = dict[str, dict[int, Figures]]  # by contender, by requests in flight
Step = Callable[[str], None]  # is told what begins


@dataclass(frozen=True)
class Files:
    """What is sent, in files.

    Attributes:
        jpegs: encoded images.
        frames: the same images as raw RGB.
        mean_bytes: of a JPEG.
    """

    jpegs: Sequence[Path]
    frames: Sequence[Path]
    mean_bytes: int

    @classmethod
    def drawn(cls, folder: Path) -> Files:
        """Draw boards into a folder."""
        jpegs, frames = [], []
        for number, image in enumerate(draw_images(IMAGES)):
            jpegs.append(folder / f"{number}.jpg")
            jpegs[-1].write_bytes(image)
            frames.append(folder / f"{number}.rgb")
            frames[-1].write_bytes(decoded(image).tobytes())
        return cls(jpegs, frames, round(statistics.mean(path.stat().st_size for path in jpegs)))


@dataclass(frozen=True)
class Contender:
    """A peer with the setting that was the best, and what it takes.

    Attributes:
        name: in the results.
        peer: the server.
        setting: to serve with.
        network: to serve.
        files: that are sent.
        tolerance: how far its detections may be from this server's.
    """

    name: str
    peer: Peer
    setting: Setting
    network: Network
    files: Sequence[Path]
    tolerance: Tolerance

    def load(self, levels: Sequence[int], seconds: float) -> dict[int, Figures]:
        """Start it alone, load it, and end it."""
        with self._started() as (pid, address, folder):
            job = self._job(address, pid, folder)
            return loaded(replace(job, levels=levels, seconds=seconds))

    def agrees(self, ours: Sequence[Detections]) -> Agreement:
        """Hold its detections of the first images against this server's."""
        with self._started() as (_, address, _):
            return self._agreed(ours, address)

    def tried(self, ours: Sequence[Detections]) -> tuple[float, Agreement]:
        """Hold its detections against others, and return images a second and how far they are apart."""
        with self._started() as (pid, address, folder):
            same = self._agreed(ours, address)
            job = replace(self._job(address, pid, folder), levels=[SEARCH_LEVEL], seconds=SEARCH)
            return loaded(job)[SEARCH_LEVEL]["images_per_second"], same

    @contextmanager
    def _started(self) -> Iterator[tuple[int, str, Path]]:
        with tempfile.TemporaryDirectory(prefix="peer-") as name:
            folder = Path(name)
            (folder / "run").mkdir()
            first = self.files[0].read_bytes()
            with self.peer.started(self.setting, self.network, first, folder / "run") as (program, address):
                yield program.pid, address, folder

    def _agreed(self, ours: Sequence[Detections], address: str) -> Agreement:
        answers = [post(address, PATH, *request_of(self.setting, path.read_bytes())) for path in self.files[:COMPARED]]
        theirs = [from_answer(answer[0] if isinstance(answer, list) else answer) for answer in answers]
        return agreed(self.name, ours, theirs, self.network.thresholds.score, self.tolerance)

    def _job(self, address: str, pid: int, folder: Path) -> Job:
        files, headers = [], []
        for number, path in enumerate(self.files):
            body, of_one = request_of(self.setting, path.read_bytes())
            files.append(str(folder / f"{number}.body"))
            Path(files[-1]).write_bytes(body)
            headers.append(of_one)
        return Job("http", address, files, pid, LEVELS, SEARCH, PATH, headers)


class Ours:
    """This project's server."""

    def __init__(self, repository: Path, files: Files) -> None:
        """Prepare.

        Args:
            repository: to serve.
            files: to send.
        """
        self.repository, self._files = repository, files

    @contextmanager
    def started(self) -> Iterator[TritonServer]:
        """Run it alone until the context ends."""
        with TritonServer(self.repository, free_addresses(), lambda line: None) as server:
            server.wait_until_ready()
            yield server

    def reference(self) -> tuple[str, list[Detections], list[Detections]]:
        """Return the arithmetic that was proved, and the detections of the first JPEGs and of the first frames."""
        with self.started() as server, Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
            jpegs = [detector.detect(path.read_bytes()) for path in self._files.jpegs[:COMPARED]]
            frames = [
                detector.detect_frames(np.fromfile(path, np.uint8).reshape(1, HEIGHT, WIDTH, 3))[0]
                for path in self._files.frames[:COMPARED]
            ]
            return server.proved()["yolo"].arithmetic, jpegs, frames

    def load(self, kinds: Sequence[str], levels: Sequence[int], seconds: float, folder: Path) -> Round:
        """Start it alone, load it in each way, and end it."""
        with self.started() as server:
            return {OURS[kind]: loaded(self._job(kind, server, levels, seconds, folder)) for kind in kinds}

    def under_perf_analyzer(self, analyzer: PerfAnalyzer, data: Path, seconds: float) -> dict[int, Figures]:
        """Start it alone, and load it with most requests in flight under perf_analyzer."""
        with self.started() as server, tempfile.TemporaryDirectory() as folder:
            most = LEVELS[-1]
            url, table = f"127.0.0.1:{server.addresses.grpc}", Path(folder, "table.csv")
            seen = analyzer.run(url, ENCODED, data, f"{most}:{most}:1", seconds / 3, table)[0]
            return {most: {"images_per_second": round(seen.throughput, 2), "p50_ms": seen.p50, "p99_ms": seen.p99}}

    def _job(self, kind: str, server: TritonServer, levels: Sequence[int], seconds: float, folder: Path) -> Job:
        at, pid = server.addresses, server.running.pid
        if kind == "grpc":
            return Job("grpc", f"{at.host}:{at.grpc}", list(map(str, self._files.jpegs)), pid, levels, seconds)
        if kind == "frames":
            files = list(map(str, self._files.frames))
            return Job("frames", f"{at.host}:{at.grpc}", files, pid, levels, seconds, shape=(HEIGHT, WIDTH))
        bodies, headers = [], []
        for number, path in enumerate(self._files.jpegs):
            body, of_one = packed(Request(ENCODED, "image", np.fromfile(path, np.uint8)[None]))
            bodies.append(str(folder / f"{number}.infer"))
            Path(bodies[-1]).write_bytes(body)
            headers.append(of_one)
        path_of = f"/v2/models/{ENCODED}/infer"
        return Job("http", f"{at.host}:{at.http}", bodies, pid, levels, seconds, path_of, headers)


def measure(
    repository: Path, arithmetic: Literal["auto", "float"], only: str, rounds: int, seconds: float, step: Step
) -> dict[str, Any]:
    """Run everything; the result is what bench/results/peers-cpu.json holds.

    Args:
        repository: model repository to serve.
        arithmetic: "auto": the repository's graph, as this processor computes it right. "float": the float graph that
            the default repository's was made from.
        only: peers whose names contain this are measured.
        rounds: all in turn, so many times.
        seconds: length of one measurement.
        step: is told what begins.
    """
    peers = [peer for peer in all_peers(cores()) if only.lower() in peer.name.lower()]
    if not peers:
        raise BenchError(f"no peer's name contains {only!r}: {', '.join(peer.name for peer in all_peers(cores()))}")
    versions = installed(peers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = Files.drawn(folder)
        analyzer = PerfAnalyzer(folder)
        write_data([path.read_bytes() for path in files.jpegs], folder / "images.json")
        if arithmetic == "float":
            repository = float_repository(NETWORK, repository, folder / "float_repository")
        ours = Ours(repository, files)
        step("this server's detections")
        proved, of_jpegs, of_frames = ours.reference()
        network = _network(repository, proved, folder)
        contenders, tried, agreements = _best_settings(peers, network, proved, files.jpegs, of_jpegs, step)
        loop_job = LoopJob(str(repository), proved, list(map(str, files.jpegs)), seconds)
        step(f"{LOOP}: which is the best")
        loops = looped(replace(loop_job, seconds=SEARCH))["loops"]
        loop_job = replace(loop_job, name=max(loops, key=lambda name: loops[name]["images_per_second"]))

        of_raw = replace(network, frame=(HEIGHT, WIDTH))
        raws = [replace(one, name=f"{one.name}, raw frames", network=of_raw, files=files.frames) for one in contenders]
        for raw in raws:
            step(f"{raw.name}: detections")
            agreements[raw.name] = raw.agrees(of_frames)

        turns: list[tuple[str, Callable[[], Round]]] = [
            ("this server", lambda: ours.load(tuple(OURS), LEVELS, seconds, folder)),
            *((one.name, partial(_alone, one, seconds)) for one in (*contenders, *raws)),
            (LOOP, lambda: {LOOP: _loop(loop_job)}),
            (
                PERF_ANALYZER,
                lambda: {PERF_ANALYZER: ours.under_perf_analyzer(analyzer, folder / "images.json", seconds)},
            ),
        ]
        seen: list[Round] = []
        for number in range(rounds):
            first = number % len(turns)  # another one begins in each round
            one_round: Round = {}
            for turn, run in (*turns[first:], *turns[:first]):
                step(f"round {number + 1} of {rounds}: {turn}")
                one_round |= run()
            seen.append(one_round)

    return {
        "measured_on": {**measured_on(), "peers": versions},
        "images": {
            "count": IMAGES,
            "width": WIDTH,
            "height": HEIGHT,
            "quality": QUALITY,
            "mean_bytes": files.mean_bytes,
        },
        "arithmetic": proved,
        "seconds": seconds,
        "agreement": {
            "images": COMPARED,
            **{
                one.name: {"tolerance": asdict(one.tolerance), "largest": asdict(agreements[one.name])}
                for one in (*contenders, *raws)
            },
        },
        "tried": {
            "requests_in_flight": SEARCH_LEVEL,
            "seconds": SEARCH,
            "images_per_second": {
                **tried,
                LOOP: {name: figures["images_per_second"] for name, figures in loops.items()},
            },
        },
        "chosen": {**{one.name: str(one.setting) for one in (*contenders, *raws)}, LOOP: loop_job.name},
        **summary(seen, [one.name for one in contenders], [raw.name for raw in raws]),
    }


def summary(rounds: Sequence[Round], peers: Sequence[str], raws: Sequence[str]) -> dict[str, Any]:
    """Return medians of all figures, the rounds' images a second, and how this server compares.

    Args:
        rounds: what was seen in each.
        peers: names of the peers that take JPEGs.
        raws: names of those that take raw frames.
    """
    names = list(rounds[0])
    order = [name for name in (*OURS.values(), *peers, *raws, LOOP, PERF_ANALYZER) if name in names]
    speeds: dict[str, dict[int, list[float]]] = {
        name: {level: [one[name][level]["images_per_second"] for one in rounds] for level in rounds[0][name]}
        for name in order
    }
    best = {name: max(levels, key=lambda level: statistics.median(levels[level])) for name, levels in speeds.items()}
    highest = {name: speeds[name][best[name]] for name in order}

    def fastest(names: Sequence[str]) -> str:
        return max(names, key=lambda name: statistics.median(highest[name]))

    def ratio(one: str, other: str) -> dict[str, Any]:
        each = [a / b for a, b in zip(highest[one], highest[other], strict=True)]
        middle, low, high = (round(f(each), 3) for f in (statistics.median, min, max))
        return {"of": one, "to": other, "median": middle, "lowest": low, "highest": high}

    return {
        "rounds": len(rounds),
        "medians": {
            name: {
                str(level): {
                    figure: round(statistics.median(one[name][level][figure] for one in rounds), 3)
                    for figure in rounds[0][name][level]
                }
                for level in rounds[0][name]
            }
            for name in order
        },
        "images_per_second_of_rounds": {
            name: {str(level): listed for level, listed in levels.items()} for name, levels in speeds.items()
        },
        "best_in_flight": best,
        "ratios": [
            ratio(OURS["http"], fastest(peers)),
            ratio(OURS["grpc"], fastest(peers)),
            ratio(OURS["grpc"], LOOP),
            ratio(OURS["frames"], fastest(raws)),
        ],
    }


def short(repository: Path, rounds: int, seconds: float, step: Step) -> float:
    """Return images a second of this server over gRPC, 4 requests in flight, to the best loop in one process.

    Args:
        repository: model repository to serve.
        rounds: both in turn, so many times; the median is returned.
        seconds: length of one measurement.
        step: is told what begins.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = Files.drawn(folder)
        ours = Ours(repository, files)
        step("this server's arithmetic")
        proved, _, _ = ours.reference()
        job = LoopJob(str(repository), proved, list(map(str, files.jpegs)), min(seconds, SEARCH))
        step(LOOP)
        loops = looped(job)["loops"]
        job = replace(job, seconds=seconds, name=max(loops, key=lambda name: loops[name]["images_per_second"]))
        ratios = []
        for number in range(rounds):
            step(f"round {number + 1} of {rounds}")
            served = ours.load(["grpc"], [SEARCH_LEVEL], seconds, folder)[OURS["grpc"]][SEARCH_LEVEL]
            alone = looped(job)["loops"][job.name]
            ratios.append(served["images_per_second"] / alone["images_per_second"])
        return statistics.median(ratios)


def _network(repository: Path, arithmetic: str, folder: Path) -> Network:
    """Return what the peers serve: the repository's graph in the arithmetic that was proved here."""
    served, graph = read_served_model(repository), repository / GRAPH_PATH
    if arithmetic != "int8":
        plain = folder / "float.onnx"
        plain.write_bytes(without_quantisers(read_network(graph)).SerializeToString())
        graph = plain
    return Network(str(graph.resolve()), served.letterbox, served.thresholds, served.max_detections)


def _best_settings(
    peers: Sequence[Peer],
    network: Network,
    arithmetic: str,
    jpegs: Sequence[Path],
    ours: Sequence[Detections],
    step: Step,
) -> tuple[list[Contender], dict[str, dict[str, float]], dict[str, Agreement]]:
    """Try each peer's settings; return it with the best, images a second of all, and how the detections agree."""
    contenders, tried, agreements = [], {}, {}
    for peer in peers:
        seen: list[tuple[float, Agreement, Contender]] = []
        for setting in peer.settings:
            step(f"{peer.name}: {setting}")
            tolerance = tolerance_of(setting.engine, arithmetic)
            contender = Contender(peer.name, peer, setting, network, jpegs, tolerance)
            seen.append((*contender.tried(ours), contender))
        _, agreements[peer.name], best = max(seen, key=lambda one: one[0])
        contenders.append(best)
        tried[peer.name] = {str(contender.setting): speed for speed, _, contender in seen}
    return contenders, tried, agreements


def _alone(contender: Contender, seconds: float) -> Round:
    return {contender.name: contender.load(LEVELS, seconds)}


def _loop(job: LoopJob) -> dict[int, Figures]:
    """Return the loop's figures as those of requests in flight: one image at a time, and as many as it takes."""
    seen = looped(job)
    return {1: seen["one_at_a_time"], LEVELS[-1]: seen["loops"][job.name]}
