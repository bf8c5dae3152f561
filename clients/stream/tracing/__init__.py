"""One trace for a frame, from its capture to the sinks, with the server's own in it; off unless asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from triton_yolo.clients.stream.errors import LineError

if TYPE_CHECKING:
    from triton_yolo.clients.stream.tracing.settings import TracingSettings
    from triton_yolo.clients.stream.tracing.spans import Spans

SPANS, EXTRA = f"{__name__}.spans", "trace"  # the module that needs the packages of the extra


def spans_of(settings: TracingSettings | None, line: str) -> Spans | None:
    """Return what traces a line's frames; None where nothing is traced, for which nothing is loaded.

    Args:
        settings: of the line's file.
        line: name of the line.

    Raises:
        LineError: a package that it needs is not installed.
    """
    if settings is None:
        return None
    try:
        spans: type[Spans] = import_module(SPANS).Spans
    except ModuleNotFoundError as error:
        raise LineError(f"tracing needs the package {error.name}: pip install 'triton-yolo[{EXTRA}]'") from None
    return spans(settings, line)
