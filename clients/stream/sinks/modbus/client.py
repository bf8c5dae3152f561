"""The client: writes results into a PLC's registers, and reads its commands there."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from triton_yolo.clients.stream.sinks.modbus.registers import COMMAND_REGISTERS, calls
from triton_yolo.clients.stream.sinks.modbus.settings import ModbusSettings

ANSWER_SECONDS = 1.0  # for a connection, and for each call
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts to connect

logger = logging.getLogger(__name__)


class PlcClient:
    """A connection that is made anew whenever it breaks; not to be used from several threads.

    Attributes:
        trouble: why there is none; empty if there is one.
        writes: calls that the PLC has answered.
    """

    def __init__(self, settings: ModbusSettings) -> None:
        """Prepare.

        Args:
            settings: of the sink.
        """
        self.trouble, self.writes = "not connected yet", 0
        self._settings = settings
        self._client = ModbusTcpClient(settings.host, port=settings.port, timeout=ANSWER_SECONDS, retries=0)
        self._pause, self._next, self._away = FIRST_PAUSE, 0.0, False

    def write(self, words: Sequence[int]) -> bool:
        """Write the results, and return whether the PLC has them."""
        if not self._connected():
            return False
        for offset, part in calls(words):
            address = self._settings.results + offset
            try:
                answer = self._client.write_registers(address, list(part), device_id=self._settings.unit)
            except (ModbusException, OSError) as error:
                return self._lost(str(error))
            if answer.isError():
                return self._lost(f"the PLC refuses registers {address} to {address + len(part) - 1}: {answer}")
            self.writes += 1
        return True

    def commands(self) -> tuple[int, int] | None:
        """Return request and acknowledgement; None where they cannot be read."""
        if not self._connected():
            return None
        address = self._settings.commands
        try:
            answer = self._client.read_holding_registers(
                address, count=COMMAND_REGISTERS, device_id=self._settings.unit
            )
        except (ModbusException, OSError) as error:
            self._lost(str(error))
            return None
        if answer.isError() or len(answer.registers) != COMMAND_REGISTERS:
            self._lost(f"the PLC refuses to be read at {address}: {answer}")
            return None
        return answer.registers[0], answer.registers[1]

    def close(self) -> None:
        """Close the connection."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _connected(self) -> bool:
        if self._client.connected:
            return True
        if time.monotonic() < self._next:
            return False
        if not self._client.connect():  # type: ignore[no-untyped-call]
            return self._lost("no connection")
        self.trouble, self._pause = "", FIRST_PAUSE
        if self._away:
            self._away = False
            logger.warning("modbus: the PLC at %s is back", self._settings.host)
        return True

    def _lost(self, why: str) -> bool:
        self._client.close()  # type: ignore[no-untyped-call]
        self.trouble = why
        self._next = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if not self._away:
            self._away = True
            logger.warning("modbus: the PLC at %s is away: %s", self._settings.host, why)
        return False
