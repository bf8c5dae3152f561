"""Which node holds what: one table, from which nodes are made and the page of the documentation is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from triton_yolo.clients.stream.sinks.modbus.registers import encode
from triton_yolo.clients.stream.sinks.plc.handshake import Phase
from triton_yolo.clients.stream.sinks.plc.state import Code, Outcome, Why

NAMESPACE = "urn:triton-yolo:line"
NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Value:
    """One variable.

    Attributes:
        name: its name.
        type: name of its type among those of OPC UA.
        text: what it says.
        of: makes it of a view.
    """

    name: str
    type: str
    text: str
    of: Callable[[Any], Any]


def _outcome(get: Callable[[Any], Outcome]) -> tuple[Value, ...]:
    codes = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in Code)
    reasons = ", ".join(f"{why.value} {why.name.lower().replace('_', ' ')}" for why in Why)
    return (
        Value("Verdict", "Byte", codes, lambda view: int(get(view).code)),
        Value("Why", "Byte", f"why it was not inspected: {reasons}", lambda view: int(get(view).why)),
        Value("Defects", "UInt32", "how many defects", lambda view: get(view).defects),
        Value(
            "WorstClass",
            "UInt16",
            "index among the model's classes of the defect with the highest score, plus 1; 0 none",
            lambda view: get(view).worst_class,
        ),
        Value("WorstScore", "Float", "its score, 0 to 1", lambda view: get(view).worst_score),
    )


def _milliseconds(seconds: float) -> int:
    return 0xFFFFFFFF if math.isinf(seconds) else min(0xFFFFFFFF, max(0, round(seconds * 1000)))


LINE = (
    Value(
        "Heartbeat", "UInt32", "grows with each beat while the line is alive", lambda view: view.heartbeat & 0xFFFFFFFF
    ),
    Value("Alive", "Boolean", "the line works", lambda view: view.alive),
    Value("ServerAway", "Boolean", "no inference server answers", lambda view: view.server_away),
    Value("Ready", "Boolean", "a request may come", lambda view: view.phase == Phase.READY),
    Value("Busy", "Boolean", "a request is worked on", lambda view: view.phase == Phase.BUSY),
    Value("Done", "Boolean", "a request is answered", lambda view: view.phase == Phase.DONE),
    Value("Answers", "UInt16", "number of the request that is worked on or answered", lambda view: view.request),
    Value("Sequence", "UInt32", "counts results; with a handshake, answers", lambda view: view.sequence & 0xFFFFFFFF),
    *_outcome(lambda view: view.outcome),
    Value("Registers", "UInt16[]", "all of it, as the registers of Modbus: whole in one read", encode),
)

CAMERA = (
    Value("Running", "Boolean", "it delivers frames", lambda view: view.running),
    Value("Stale", "Boolean", "its last result is too old", lambda view: view.stale),
    Value("Sequence", "UInt32", "counts the camera's results; 0 none yet", lambda view: view.sequence & 0xFFFFFFFF),
    Value("Number", "UInt32", "of the frame, or of the board where those are told apart", lambda view: view.number),
    *_outcome(lambda view: view.outcome),
    Value("AgeMs", "UInt32", "milliseconds since capture; 4294967295 no result", lambda view: _milliseconds(view.age)),
    Value(
        "Captured",
        "DateTime",
        "time of capture, UTC; 1970 not known",
        lambda view: datetime.fromtimestamp(view.captured, timezone.utc) if view.captured else NEVER,
    ),
)

COMMANDS = (
    ("Request", "a number other than 0 and the one before: begins a board, or asks for results"),
    ("Acknowledge", "number of the request whose answer was read"),
)


def as_table() -> str:
    """Return the nodes in Markdown, as the page of the documentation has them."""
    lines = []
    for title, values in (("The line", LINE), ("A camera", CAMERA)):
        lines += [f"**{title}**", "", "| node | type | what |", "|---|---|---|"]
        lines += [f"| {one.name} | {one.type} | {one.text} |" for one in values]
        lines.append("")
    lines += ["**Commands**, which can be written", "", "| node | type | what |", "|---|---|---|"]
    lines += [f"| {name} | UInt16 | {text} |" for name, text in COMMANDS]
    return "\n".join(lines)
