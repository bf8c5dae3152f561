"""The sink that shows what is sent of cameras whose changes are: a film a minute of each, at a bounded rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import Event, Picture
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.records.drawing import with_sent
from triton_yolo.clients.stream.sinks.records.everything import Everything
from triton_yolo.clients.stream.sinks.records.films import can_be_made
from triton_yolo.clients.stream.sinks.records.recent import SECOND, is_due
from triton_yolo.clients.stream.sinks.records.store import Store
from triton_yolo.clients.stream.verdict import FrameVerdict

FPS, LONGEST, FILM_SECONDS = 5, 960, 60.0
DISK = 1_000_000_000  # bytes; the oldest films are removed where there would be more


class SentFilms(Sink):
    """Films what was sent; the rest of each picture is dark.

    Attributes:
        shown: frames that are in films.
    """

    kind = "tiles"
    events = (Picture,)

    def __init__(self, folder: Path) -> None:
        """Begin.

        Args:
            folder: where to.

        Raises:
            LineError: it cannot be written to, another line writes there, or no film can be made.
        """
        if not can_be_made():
            raise LineError("--show-tiles: films need an FFmpeg with libx264, as in the wheels of PyAV")
        self._store = Store(folder, DISK)
        self._films = Everything(self._store, FILM_SECONDS, "sent", with_sent)
        self._last: dict[str, int] = {}
        self.shown = 0
        super().__init__()

    def wants(self, verdict: FrameVerdict) -> int | None:
        """See Sink."""
        result = verdict.result
        pause = int(0.9 * SECOND / FPS)  # cameras are not quite regular
        return LONGEST if result.sent and is_due(self._last, result.camera, pause, verdict) else None

    def write(self, event: Event) -> None:
        """See Sink."""
        assert isinstance(event, Picture)
        self._films.add(event.verdict, event.image, event.scale)
        self.shown += 1

    def finish(self) -> None:
        """See Sink."""
        self._films.close()
        self._store.close()

    def status(self) -> dict[str, Any]:
        """See Sink."""
        return {"shown": self.shown, **self._store.status()}
