"""Command line: python -m bench.features, or triton-yolo bench features."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import BenchError
from bench.origin import measured_on
from bench.processor_time import processor_seconds
from bench.tiles.measuring import EVERYTHING, LINK_MBITS, QUALITY, encoded, precision
from bench.tiles.scenes import Scene, Seen, part_passes, scenes
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.change_stream import ChangeStream
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.stream.edge import Edge
from triton_yolo.clients.stream.features import TOLERANCE, FeatureEncoder
from triton_yolo.clients.stream.tiles import TileEncoder
from triton_yolo.errors import TritonYoloError
from triton_yolo.export.repository import EDGE, write_split
from triton_yolo.export.samples import samples
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import ServedProof
from triton_yolo.export.split.proved import split_graph
from triton_yolo.files import write_whole
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.repository import GRAPH_PATH
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
NEVER = 1 << 30  # frames from one key frame to the next
EACH = 5  # frames, of which the features of one are sent whole too; precision is that of these frames
FRAMES = {"a part passes": 1000, "stops and goes": 102, "always moves": 40, "stands still": 40}
TOLERANCES, SWEPT = (0, 1, 2, 4), 60  # of which bytes are compared, and frames that this is done on


@dataclass
class Sent:
    """What one way to send has cost, and what was found."""

    nbytes: list[int] = field(default_factory=list)
    found: list[Detections] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    client: float = 0.0
    server: float = 0.0


def main(
    repository: Annotated[Path, typer.Option(help="Model repository whose graph is cut in two.")] = ROOT
    / "model_repository",
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    frames: Annotated[int, typer.Option(min=2, help="The most frames of a scene.")] = max(FRAMES.values()),
) -> None:
    """Measure features as differences against whole features, tiles and JPEGs: bytes of drawn scenes, and detections.

    No key frame comes after the first; detections are compared in each fifth frame. Leaves features.json; takes 5
    minutes on 2 idle cores.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = _measure(cut(repository, Path(folder) / "repository"), frames)
    except TritonYoloError as error:
        leave("python -m bench.features", str(error))
    text = json.dumps(result, indent=2)
    write_whole(out / "features.json", f"{text}\n".encode())
    typer.echo(text)


def cut(repository: Path, target: Path) -> Path:
    """Copy a repository, and cut its graph in two.

    Args:
        repository: to copy.
        target: to make.

    Returns:
        the target.
    """
    if not (repository / GRAPH_PATH).is_file():
        raise BenchError(f"{repository} has no {GRAPH_PATH}")
    shutil.copytree(repository, target)
    path = target / GRAPH_PATH
    graph = read_network(path)
    served = served_model_of(graph, path)
    pictures = samples(None, served.letterbox)
    write_split(target, split_graph(graph, [], pictures, ServedProof.carried_by(path), served.letterbox), served)
    return target


def _measure(repository: Path, frames: int) -> dict[str, Any]:
    """Run everything; the result is what the file holds."""
    edge = Edge.load(repository / EDGE)
    known = {scene.name: scene for scene in [*scenes(), part_passes(FRAMES["a part passes"])]}
    found = {}
    with TritonServer(repository, free_addresses(), lambda line: None) as server:
        server.wait_until_ready()
        for name, count in FRAMES.items():
            found[name] = _scene(known[name], min(count, frames), server, edge)
    return {
        "measured_on": measured_on(),
        "settings": {
            "compared_each": EACH,
            "tolerance": TOLERANCE,
            "quality": QUALITY,
            "link_mbits_of_the_tiles": LINK_MBITS,
        },
        "features": edge.length,
        "edge_ms": 1000 * _edge_seconds(edge, known["stands still"]),
        "scenes": found,
        "bytes_a_frame_by_tolerance": _by_tolerance(edge, known["a part passes"], min(SWEPT, frames)),
    }


def _scene(scene: Scene, count: int, server: TritonServer, edge: Edge) -> dict[str, Any]:
    """Send the frames of a scene in each way, and detect on whole features and on differences."""
    whole, differences = Sent(), Sent()
    tiles, jpeg = TileEncoder("tiles", quality=QUALITY, link_mbits=LINK_MBITS), list[int]()
    of_tiles = list[int]()
    seen = list[Seen]()
    at = server.addresses
    with Detector(f"{at.host}:{at.grpc}") as detector:
        streams = [
            ChangeStream(detector, FeatureEncoder(name, edge, key_interval=interval), EVERYTHING)
            for name, interval in (("whole", 1), ("differences", NEVER))
        ]
        detector.labels("detect_features")
        for number, frame in enumerate(tracked(islice(scene.frames(), count), count, scene.name)):
            if number % EACH == 0:
                _send(streams[0], frame, whole, server)
            _send(streams[1], frame, differences, server)
            coded = tiles.encode(frame.image)
            tiles.answered(coded, 0.01)
            of_tiles.append(coded.nbytes)
            jpeg.append(len(encoded(frame.image)))
            seen.append(replace(frame, image=frame.image[:1, :1]))
        for stream in streams:
            stream.close()
    after = slice(1, None)  # what begins a stream is its key frame
    found = {"whole": whole.found, "differences": differences.found[::EACH]}
    mean = {name: statistics.mean(ways[after]) for name, ways in (("tiles", of_tiles), ("jpeg", jpeg))}
    changes, coded_whole = statistics.mean(differences.nbytes[after]), statistics.mean(whole.nbytes)
    return {
        "what": scene.what,
        "frames": count,
        "bytes_a_frame": {"features": edge.length, "coded_features": coded_whole, "differences": changes, **mean},
        "saved_of_features": 1 - changes / edge.length,
        "saved_of_coded_features": 1 - changes / coded_whole,
        "first_frame_bytes": differences.nbytes[0],
        "shares": {kind: number / count for kind, number in differences.kinds.most_common()},
        "client_processor_ms_a_frame": 1000 * differences.client / count,
        "server_processor_ms_a_frame": 1000 * differences.server / count,
        "map50_95": {name: precision(seen[::EACH], detections) for name, detections in found.items()},
    }


def _send(stream: ChangeStream, frame: Seen, sent: Sent, server: TritonServer) -> None:
    client, there = time.process_time(), processor_seconds(server.running.pid)
    result = stream.detect(frame.image)
    sent.client += time.process_time() - client
    sent.server += processor_seconds(server.running.pid) - there
    sent.nbytes.append(result.nbytes)
    sent.found.append(result.detections)
    sent.kinds[result.kind] += 1


def _edge_seconds(edge: Edge, scene: Scene) -> float:
    """Return the median time of the half beside the camera, with the letterboxing."""
    spent = []
    for frame in islice(scene.frames(), 20):
        start = time.perf_counter()
        edge.features(frame.image)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def _by_tolerance(edge: Edge, scene: Scene, count: int) -> dict[str, float]:
    """Return the mean bytes of a frame's differences by the tolerance in steps, without a server."""
    found = {}
    for tolerance in TOLERANCES:
        encoder, nbytes = FeatureEncoder("tolerance", edge, tolerance=tolerance, key_interval=NEVER), list[int]()
        for frame in tracked(islice(scene.frames(), count), count, f"tolerance {tolerance}"):
            coded = encoder.encode(frame.image)
            encoder.answered(coded, 0.01)
            nbytes.append(coded.nbytes)
        found[str(tolerance)] = statistics.mean(nbytes[1:])
    return found


if __name__ == "__main__":
    typer.run(main)
