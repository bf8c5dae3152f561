"""The sink: keeps what a PLC is told, and writes it into the server's nodes."""

from __future__ import annotations

from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.opcua.server import NodeServer
from triton_yolo.clients.stream.sinks.opcua.settings import OpcUaSettings
from triton_yolo.clients.stream.sinks.plc.making import make_state
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict


class OpcUa(Sink):
    """Results in nodes."""

    kind, events = "opcua", (FrameVerdict, BoardVerdict, CameraStatus, LineStatus)

    def __init__(self, settings: OpcUaSettings, line: str, cameras: tuple[str, ...], boards: str) -> None:
        """Listen.

        Args:
            settings: of the line's file.
            line: name of the line.
            cameras: names of the cameras.
            boards: how boards are told apart.

        Raises:
            LineError: it cannot listen there, or a file cannot be used.
        """
        self.period = settings.beat_ms / 1000
        self._state = make_state(settings, cameras, boards, lambda camera: self.trigger(camera))
        self._server: NodeServer | None = None
        self._phase = self._state.view().phase
        super().__init__()
        try:
            self._server = NodeServer(settings, line, cameras, self._state.command)
        except LineError:
            self.close()
            raise

    @classmethod
    def of(cls, settings: OpcUaSettings, line: Line) -> OpcUa:
        """See Sink."""
        return cls(settings, line.name, tuple(camera.name for camera in line.cameras), line.verdict.boards)

    def write(self, event: Event) -> None:
        """See Sink."""
        self._state.take(event)
        view = self._state.view()
        if self._server and view.phase != self._phase:  # whoever asked shall not wait for the next beat
            self._phase = view.phase
            self._server.write(view)

    def tick(self) -> None:
        """Beat, and write what has changed."""
        self._state.beat()
        view = self._state.view()
        self._phase = view.phase
        if self._server:
            self._server.write(view)

    def finish(self) -> None:
        """See Sink."""
        if self._server:
            self._server.close()

    def status(self) -> dict[str, Any]:
        """See Sink."""
        return {"connections": self._server.connections} if self._server else {}
