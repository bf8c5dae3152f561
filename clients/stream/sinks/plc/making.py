"""Makes what a PLC is told, of what a line's file says."""

from __future__ import annotations

from triton_yolo.clients.stream.sinks.plc.handshake import Handshake, Trigger
from triton_yolo.clients.stream.sinks.plc.settings import PlcSettings
from triton_yolo.clients.stream.sinks.plc.state import Outcome, PlcState, Why


def make_state(settings: PlcSettings, cameras: tuple[str, ...], boards: str, trigger: Trigger) -> PlcState:
    """Return a state without results.

    Args:
        settings: of the sink.
        cameras: names of the cameras.
        boards: how boards are told apart: "frame", "motion" or "trigger".
        trigger: begins a board.
    """
    begins = trigger if boards == "trigger" else None
    handshake = None
    if settings.handshake:
        handshake = Handshake(cameras, begins, settings.answer_within_s, Outcome(why=Why.NO_ANSWER))
    return PlcState(
        cameras,
        boards=boards != "frame",
        stale_after=settings.stale_after_s,
        handshake=handshake,
        trigger=begins,
    )
