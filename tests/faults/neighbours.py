"""Sound requests of all kinds beside whatever else a server gets, each held against its answer without a load."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from tests.server.pictures import jpeg, picture, png
from tests.server.sensors import noise
from tests.server.test_tiles import Sender
from triton_yolo.clients import Detections, Detector
from triton_yolo.server.process import Addresses

LEAST = 0.4  # score, so that answers differ
BAYER = "bayer_rggb"


class Neighbours:
    """Asks one server; a context manager, to be shared by threads."""

    def __init__(self, addresses: Addresses) -> None:
        """Ask each request once, alone."""
        self._ends = ExitStack()
        url = f"{addresses.host}:{addresses.grpc}"
        grpc = self._ends.enter_context(Detector(url, memory="plain"))
        http = self._ends.enter_context(Detector(f"http://{addresses.host}:{addresses.http}", memory="plain"))
        shared = self._ends.enter_context(Detector(url, memory="system"))
        frames = self._ends.enter_context(shared.frames(2, 96, 128))
        frames.fill(np.stack([picture(1, 96, 128), picture(2, 96, 128)]))
        encoded = {"JPEG": jpeg(picture(3, 120, 160)), "PNG": png(picture(4, 60, 80))}
        sensor = noise(BAYER, 60, 80)[None]
        asked: dict[str, Callable[[], list[Detections]]] = {
            "JPEG over gRPC": lambda: [grpc.detect(encoded["JPEG"], score_threshold=LEAST)],
            "JPEG over HTTP": lambda: [http.detect(encoded["JPEG"], score_threshold=LEAST)],
            "PNG over HTTP": lambda: [http.detect(encoded["PNG"], score_threshold=LEAST)],
            "frames in shared memory": lambda: shared.detect_frames(frames, score_threshold=LEAST),
            "Bayer": lambda: grpc.detect_frames(sensor, pixel_format=BAYER, score_threshold=LEAST),
        }
        self._asked = [(name, ask, _bits(ask())) for name, ask in asked.items()]
        different = len({bits for _, _, bits in self._asked})
        assert different == len(self._asked) - 1, "only the JPEG has the same answer twice, or a mix-up would not show"
        self._stream, self._turn = Sender(grpc, f"neighbour {id(self)}", 1, 6), threading.Lock()
        self._stream.key()

    def __enter__(self) -> Neighbours:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ends.close()

    def ask(self, number: int) -> str:
        """Ask one of the requests; "right", or what is wrong with the answer."""
        if number % (len(self._asked) + 1) == 0:
            with self._turn:
                self._stream.change()  # holds the checksum of its frame against the answer
            return "right"
        name, ask, wanted = self._asked[number % len(self._asked)]
        return "right" if _bits(ask()) == wanted else f"{name}: not the answer of the same request alone"


def _bits(found: list[Detections]) -> bytes:
    """All that the answer says of boxes."""
    return b"".join(array.tobytes() for one in found for array in (one.boxes, one.scores, one.classes))
