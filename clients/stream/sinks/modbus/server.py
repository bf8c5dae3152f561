"""The server: a PLC reads results, and writes commands.

Each request is answered from one view, taken at that moment, so that no answer is half of one result and half of
another. Connections and their requests are bounded: whoever floods waits, and slows nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sinks.modbus.registers import COMMAND_REGISTERS, count_of, encode
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings
from triton_yolo.clients.stream.sinks.plc.state import LineView

READS, WRITES = {3, 4}, {6, 16}  # functions
BURST = 20.0  # requests that may come at once
START_SECONDS = 10.0

# It has a word for each request that is wrong, and for each connection.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

logger = logging.getLogger(__name__)


class Server:
    """The server, in a thread of its own.

    Attributes:
        refused: connections that were closed for others.
        slowed: how often a connection had to wait.
    """

    def __init__(
        self, settings: ModbusSettings, cameras: int, view: Callable[[], LineView], command: Callable[[int, int], None]
    ) -> None:
        """Listen.

        Args:
            settings: of the sink.
            cameras: how many there are.
            view: returns the line as it is now.
            command: is called with request and acknowledgement, whenever one of them was written.

        Raises:
            LineError: it cannot listen there.
        """
        self.refused = self.slowed = 0
        self._settings, self._view, self._command = settings, view, command
        self._results, self._count = settings.results, count_of(cameras)
        self._written = [0] * COMMAND_REGISTERS
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._trouble = ""
        self._guests: dict[_Guest, float] = {}  # when each was last heard of
        self._thread = threading.Thread(target=self._run, name="sink-modbus-server", daemon=True)
        self._thread.start()
        self._started.wait(START_SECONDS)
        if self._trouble:
            self._thread.join()
            raise LineError(f"sinks: modbus: {settings.host}:{settings.port}: {self._trouble}")

    def close(self) -> None:
        """Close all connections; closing twice is fine."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._guests)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._started.set()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        area = [
            SimData(self._results, count=self._count, values=0, datatype=DataType.REGISTERS),
            SimData(self._settings.commands, count=COMMAND_REGISTERS, values=0, datatype=DataType.REGISTERS),
        ]
        device = SimDevice(0, simdata=sorted(area, key=lambda data: data.address), action=self._act)
        server = _Server(self, device, (self._settings.host, self._settings.port))
        try:
            # Not the server's own listen, which keeps to itself why it cannot.
            server.transport = await server.call_create()
        except OSError as error:
            self._trouble = error.strerror or str(error)
            return
        server.is_listener = True
        self._started.set()
        await self._end.wait()
        for guest in list(self._guests):
            guest.close()
        await server.shutdown()  # type: ignore[no-untyped-call]
        await asyncio.sleep(0)  # connections are closed in the loop

    async def _act(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: Sequence[int] | None
    ) -> ExcCodes | None:
        """Fill in what is read, or take what is written; nothing comes between this and the answer."""
        commands = self._settings.commands
        if values is None:
            if function not in READS | WRITES:  # what was written is read for the answer
                return ExcCodes.ILLEGAL_FUNCTION
            begin = self._results - start
            registers[begin : begin + self._count] = encode(self._view())
            return None
        if function not in WRITES:
            return ExcCodes.ILLEGAL_FUNCTION
        if not (commands <= address and address + count <= commands + COMMAND_REGISTERS):
            return ExcCodes.ILLEGAL_ADDRESS
        self._written[address - commands : address - commands + count] = values
        self._command(*self._written)
        return None

    # What follows is called by the connections, in the loop.

    def enter(self, guest: _Guest) -> None:
        """Take a connection, and close the one that is silent longest where there are too many."""
        self._guests[guest] = time.monotonic()
        if len(self._guests) > self._settings.connections:
            others = [one for one in self._guests if one is not guest]
            silent = min(others, key=self._guests.__getitem__)
            del self._guests[silent]
            self.refused += 1
            silent.abort()

    def leave(self, guest: _Guest) -> None:
        """Forget a connection."""
        self._guests.pop(guest, None)

    def heard(self, guest: _Guest) -> None:
        """Take notice that somebody on a connection has asked."""
        if guest in self._guests:
            self._guests[guest] = time.monotonic()


class _Server(ModbusTcpServer):
    """pymodbus's server, with connections of our own."""

    def __init__(self, owner: Server, device: SimDevice, address: tuple[str, int]) -> None:
        super().__init__(device, address=address)
        self._owner = owner

    def callback_new_connection(self) -> _Guest:
        return _Guest(self._owner, self)


class _Guest(ServerRequestHandler):
    """A connection, which is not read while it asks too often."""

    def __init__(self, owner: Server, server: _Server) -> None:
        super().__init__(server, None, None, None)  # type: ignore[no-untyped-call]
        self._owner = owner
        self._rate = owner._settings.requests_per_second
        self._allowance, self._allowed = BURST, time.monotonic()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._owner.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.leave(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection without waiting for the other side."""
        if self.transport:
            self.transport.abort()  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._allowed) * self._rate) - 1
        self._allowed = now
        self._owner.heard(self)
        super().data_received(data)
        if self._allowance < 0 and self.transport:
            self._owner.slowed += 1
            self.transport.pause_reading()  # type: ignore[attr-defined]
            self.loop.call_later(-self._allowance / self._rate, self._resume)

    def _resume(self) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.resume_reading()  # type: ignore[attr-defined]
