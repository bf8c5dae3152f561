"""Where verdicts go: sinks by kind; each is loaded when a line has one.

A sink is a class in a file of its own, named in KINDS, and its settings are a class in ``settings``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from triton_yolo.clients.stream.errors import LineError

if TYPE_CHECKING:
    from triton_yolo.clients.stream.line import Line
    from triton_yolo.clients.stream.sinks.base import Sink
    from triton_yolo.clients.stream.sinks.settings import SinkSettings

# Kind: module, class.
KINDS: dict[str, tuple[str, str]] = {
    "json": ("json_lines", "JsonFile"),
    "log": ("log.sink", "Log"),
    "metrics": ("metrics.sink", "Metrics"),
    "modbus": ("modbus.sink", "Modbus"),
    "mqtt": ("mqtt.sink", "Mqtt"),
    "opcua": ("opcua.sink", "OpcUa"),
    "page": ("page.sink", "Page"),
    "records": ("records.sink", "Records"),
}
# What installs the packages of a kind, where "stream" does not.
EXTRAS = {"metrics": "plant", "modbus": "plant", "mqtt": "plant", "opcua": "opcua"}


def make_sink(settings: SinkSettings, line: Line) -> Sink:
    """Return a sink of its settings; it has begun.

    Args:
        settings: of the line's file.
        line: the line.

    Raises:
        LineError: a package that it needs is not installed, or it cannot begin as the settings say.
    """
    module, name = KINDS[settings.kind]
    try:
        found: type[Sink] = getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(settings.kind, "stream")
        raise LineError(
            f"the sink {settings.kind} needs the package {error.name}: pip install 'triton-yolo[{extra}]'"
        ) from None
    return found.of(settings, line)
