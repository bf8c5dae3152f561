"""The sink: keeps what a PLC is told, and writes it or lets it be read."""

from __future__ import annotations

from typing import Any

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.modbus.client import PlcClient
from triton_yolo.clients.stream.sinks.modbus.registers import COMMAND_REGISTERS, count_of, encode
from triton_yolo.clients.stream.sinks.modbus.server import Server
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings
from triton_yolo.clients.stream.sinks.plc.making import make_state
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict

LAST_REGISTER = 65_535


class Modbus(Sink):
    """Results in registers."""

    kind, events = "modbus", (FrameVerdict, BoardVerdict, CameraStatus, LineStatus)

    def __init__(self, settings: ModbusSettings, cameras: tuple[str, ...], boards: str) -> None:
        """Begin; in client mode the PLC need not be there.

        Args:
            settings: of the line's file.
            cameras: names of the cameras, in the order of their registers.
            boards: how boards are told apart.

        Raises:
            LineError: the registers do not fit, or it cannot listen.
        """
        _check(settings, len(cameras))
        self.period = settings.beat_ms / 1000
        self._state = make_state(settings, cameras, boards, lambda camera: self.trigger(camera))
        self._client = PlcClient(settings) if settings.mode == "client" else None
        self._server: Server | None = None
        super().__init__()
        if not self._client:
            try:
                self._server = Server(settings, len(cameras), self._state.view, self._state.command)
            except LineError:
                self.close()
                raise

    @classmethod
    def of(cls, settings: ModbusSettings, line: Line) -> Modbus:
        """See Sink."""
        return cls(settings, tuple(camera.name for camera in line.cameras), line.verdict.boards)

    def write(self, event: Event) -> None:
        """See Sink."""
        self._state.take(event)
        if self._client and not self.queued and not isinstance(event, LineStatus):
            self._client.write(encode(self._state.view()))

    def tick(self) -> None:
        """Beat, and look at the commands."""
        self._state.beat()
        if self._client and self._client.write(encode(self._state.view())) and (found := self._client.commands()):
            before = self._state.view()
            self._state.command(*found)
            after = self._state.view()
            if (after.phase, after.request) != (before.phase, before.request):
                self._client.write(encode(after))

    def finish(self) -> None:
        """Tell the PLC that nothing is inspected any more, and let go of it."""
        if self._client:
            self._state.end()
            self._client.write(encode(self._state.view()))
            self._client.close()
        if self._server:
            self._server.close()

    def status(self) -> dict[str, Any]:
        """See Sink."""
        if self._client:
            return {"away": self._client.trouble, "writes": self._client.writes}
        if not self._server:
            return {}
        return {
            "connections": self._server.connections,
            "refused": self._server.refused,
            "slowed": self._server.slowed,
        }


def _check(settings: ModbusSettings, cameras: int) -> None:
    """Refuse registers that do not fit.

    Raises:
        LineError: says what does not.
    """
    end, commands = settings.results + count_of(cameras), settings.commands
    if end - 1 > LAST_REGISTER:
        raise LineError(f"sinks: modbus: results: {count_of(cameras)} registers do not fit behind {settings.results}")
    if settings.results < commands + COMMAND_REGISTERS and commands < end:
        raise LineError(
            f"sinks: modbus: commands: register {commands} lies in the results, {settings.results} to {end - 1}"
        )
