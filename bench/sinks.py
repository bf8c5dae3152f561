"""Command line: python -m bench.sinks, what verdicts, log and records cost beside a line.

Frames of the drawn line and what a real server has found in them are replayed at the rate of cameras, in one process,
through the code that a line runs; the processor time of the same replay without verdicts and sinks is taken off.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.origin import measured_on
from triton_yolo.boards.line import Line as Belt
from triton_yolo.boards.sensor import as_sensor
from triton_yolo.cli.exits import leave
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.memory.ring import Capture
from triton_yolo.clients.request import Pixels, SharedTensor
from triton_yolo.clients.stream.frames import FORMATS, Frame, Place, Result, ResultState
from triton_yolo.clients.stream.line import Line, checked
from triton_yolo.clients.stream.pictures import Pictures
from triton_yolo.clients.stream.run import Stream
from triton_yolo.clients.stream.sinks import make_sink
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole
from triton_yolo.server.process import TritonServer, free_addresses

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, STILL, MOVING = 960, 1280, 30, 20  # frames that a board stands, and that the belt moves
VERDICT = {"boards": "motion", "rules": [{"classes": ["short"], "score": 0.5, "frames": 3}]}
LOG = {"kind": "log", "path": "FOLDER/log.db"}
# The first of the two boards passes, the second fails as long as it stands: a board of each camera in ten seconds.
RECORDS = {"kind": "records", "folder": "FOLDER/records", "interval_s": 10}
AROUND = {"before_s": 2, "after_s": 2}
# The sinks of a line; None for one without verdicts.
WAYS: dict[str, list[dict[str, Any]] | None] = {
    "nothing": None,
    "verdicts": [],
    "verdicts, log": [LOG],
    "verdicts, log, a picture of each failed board": [LOG, RECORDS],
    "verdicts, log, a picture and a film of each": [LOG, {**RECORDS, **AROUND}],
    "verdicts, log, a picture of each, films of everything": [LOG, {**RECORDS, "everything": True}],
    "verdicts, log, pictures of failed frames, one a second": [LOG, {**RECORDS, "interval_s": 1}],
}


def main(
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = ROOT / "bench" / "results",
    cameras: Annotated[int, typer.Option(min=1, help="Number of cameras.")] = 4,
    fps: Annotated[float, typer.Option(min=0.1, help="Frames a second of each camera.")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one replay.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="All ways in turn, so many times.")] = 2,
    pixel_format: Annotated[str, typer.Option(help="What the sensors deliver, such as bayer_rggb.")] = "rgb",
) -> None:
    """Measure verdicts, log and records of cameras of 1280x960: processor time as a share of one core.

    Leaves sinks-FORMAT.json.
    """
    try:
        belt = Belt(0, WIDTH, HEIGHT, boards=2, still_frames=STILL, moving_frames=MOVING)
        images = [next(belt).image for _ in range(2 * (STILL + MOVING))]
        with TritonServer(ROOT / "model_repository", free_addresses(), lambda line: None) as server:
            server.wait_until_ready()
            with Detector(f"{server.addresses.host}:{server.addresses.grpc}") as detector:
                found = [detector.detect(image) for image in tracked(images, len(images), "frames")]
        frames = [np.ascontiguousarray(as_sensor(image, pixel_format)) for image in images]
        replay = Replay(frames, found, pixel_format, cameras, fps)
        measured: dict[str, list[dict[str, Any]]] = defaultdict(list)
        runs = [way for _ in range(rounds) for way in WAYS]
        for way in tracked(runs, len(runs), "replays"):
            measured[way].append(replay.spent(WAYS[way], seconds))
    except TritonYoloError as error:
        leave("python -m bench.sinks", str(error))
    text = json.dumps(
        {
            "measured_on": measured_on(),
            "frame": {"height": HEIGHT, "width": WIDTH, "pixel_format": pixel_format},
            **{"cameras": cameras, "fps": fps, "seconds": seconds, "rounds": rounds, "verdict": VERDICT},
            "ways": summary(measured),
        },
        indent=2,
    )
    write_whole(out / f"sinks-{pixel_format}.json", f"{text}\n".encode())
    typer.echo(text)


def summary(measured: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the medians of each way; ``share_of_a_core`` is what it takes beyond the way before all others."""
    [base, *_] = measured
    shares = {way: statistics.median(one["share"] for one in each) for way, each in measured.items()}
    beyond = {way: round(share - shares[base], 4) for way, share in shares.items()}
    return {way: {"share_of_a_core": beyond[way], **each[-1]["of"]} for way, each in measured.items()}


class Still(Place):
    """A frame that nobody writes to any more."""

    def __init__(self, pixels: Pixels) -> None:
        """Take a frame over.

        Args:
            pixels: the frame.
        """
        self._pixels = pixels

    def tensor(self, count: int, shape: tuple[int, ...]) -> SharedTensor:
        """See Place; no server sees these."""
        raise NotImplementedError

    def pixels(self, shape: tuple[int, ...]) -> Pixels:
        """See Place."""
        return self._pixels

    def is_followed_by(self, other: Place, nbytes: int) -> bool:
        """See Place."""
        return False


class Replay:
    """Frames of several cameras over one belt, each at another place of it."""

    def __init__(
        self, frames: Sequence[Pixels], found: Sequence[Detections], pixel_format: str, cameras: int, fps: float
    ) -> None:
        """Prepare.

        Args:
            frames: as sensors deliver them.
            found: what a server has found in each.
            pixel_format: of the frames.
            cameras: number of cameras.
            fps: frames a second of each.
        """
        self._frames, self._found, self._format = [Still(frame) for frame in frames], found, pixel_format
        self._nbytes = frames[0].nbytes
        self._names, self._fps = [f"camera-{number}" for number in range(cameras)], fps

    def spent(self, sinks: Iterable[dict[str, Any]] | None, seconds: float) -> dict[str, Any]:
        """Replay the belt, and return the processor time of this process as a share of one core."""
        with tempfile.TemporaryDirectory() as folder:
            line = self._line(sinks or [], folder)
            made = [make_sink(settings, line) for settings in line.sinks]
            stream = Stream(line, made)
            stream._pictures = pictures = Pictures(made)
            begin, used = time.monotonic(), time.process_time()
            count = round(seconds * self._fps)
            for number in range(count):
                for camera in range(len(self._names)):
                    # One after the other, as cameras that are not triggered together.
                    due = begin + (number + camera / len(self._names)) / self._fps
                    time.sleep(max(0.0, due - time.monotonic()))
                    self._frame(stream, camera, number, sinks is not None)
            share = (time.process_time() - used) / (time.monotonic() - begin)
            pictures.close()
            for sink in made:
                sink.close()
            reports = {sink.kind: {"missed": sink.missed, **sink.status()} for sink in made}
            return {"share": share, "of": {"frames": count * len(self._names), "sinks": reports}}

    def _line(self, sinks: Iterable[dict[str, Any]], folder: str) -> Line:
        settings = [{key: _in(value, folder) for key, value in sink.items()} for sink in sinks]
        cameras = [{"name": name, "uri": "synthetic:photo"} for name in self._names]
        return checked({"name": "bench", "verdict": VERDICT, "sinks": settings, "cameras": cameras}, "bench.sinks")

    def _frame(self, stream: Stream, camera: int, number: int, is_judged: bool) -> None:
        """Let a frame come as the collector does: its picture may be taken, then its result is passed on."""
        place = (number + camera * len(self._frames) // len(self._names)) % len(self._frames)
        now, wall = time.monotonic_ns(), time.time_ns()
        form = FORMATS.index(self._format)
        capture = Capture(camera, 0, number, now, wall, self._nbytes, HEIGHT, WIDTH, form)
        frame = Frame(self._names[camera], capture, self._format, self._frames[place])
        found = self._found[place]
        result = Result(frame.camera, number, ResultState.INSPECTED, "", wall, now, (HEIGHT, WIDTH), 30.0, found)
        if is_judged:
            stream._judge.see(frame)
            verdict = stream._judge.frame(result)
            stream._pictures.take(frame, verdict, lambda: None)
            stream._put(verdict)
            stream._put_boards(stream._judge.boards(verdict))


def _in(value: Any, folder: str) -> Any:
    return value.replace("FOLDER", folder) if isinstance(value, str) else value


if __name__ == "__main__":
    typer.run(main)
