"""Which register holds what: one table, from which registers are written and the page of the documentation is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from triton_yolo.clients.stream.sinks.plc.handshake import Phase
from triton_yolo.clients.stream.sinks.plc.state import Code, LineView, Outcome, Why

VERSION = 1  # of the map
WORD, LARGEST_TIME = 0xFFFF, 0xFFFF  # a time of LARGEST_TIME milliseconds is that long or longer
LINE_REGISTERS = CAMERA_REGISTERS = 16
COMMAND_REGISTERS = 2
LARGEST_WRITE = 123  # registers of one call with function 16

BITS = ("ready", "busy", "done", "stale", "alive", "server away")


@dataclass(frozen=True)
class Register:
    """One value.

    Attributes:
        offset: its first register, within its block.
        name: what it is called.
        words: how many registers it takes: 1, or 2 with the high word first.
        text: what it says.
        value: makes it of a view, 0..2^16 - 1 or 0..2^32 - 1.
    """

    offset: int
    name: str
    words: int
    text: str
    value: Callable[[Any], int]


def _milliseconds(seconds: float) -> int:
    return LARGEST_TIME if math.isinf(seconds) else min(LARGEST_TIME, max(0, round(seconds * 1000)))


def _outcome(get: Callable[[Any], Outcome], first: int) -> tuple[Register, ...]:
    codes = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in Code)
    reasons = ", ".join(f"{why.value} {why.name.lower().replace('_', ' ')}" for why in Why)
    return (
        Register(first, "verdict", 1, codes, lambda view: get(view).code),
        Register(first + 1, "why", 1, f"why it was not inspected: {reasons}", lambda view: get(view).why),
        Register(first + 2, "defects", 1, "how many defects", lambda view: min(get(view).defects, WORD)),
        Register(
            first + 3,
            "worst class",
            1,
            "index among the model's classes of the defect with the highest score, plus 1; 0 none",
            lambda view: min(get(view).worst_class, WORD),
        ),
        Register(
            first + 4, "worst score", 1, "its score, 0 to 10000", lambda view: round(get(view).worst_score * 10_000)
        ),
    )


def _line_bits(view: LineView) -> int:
    said = {
        "ready": view.phase == Phase.READY,
        "busy": view.phase == Phase.BUSY,
        "done": view.phase == Phase.DONE,
        "stale": not view.alive or any(camera.stale for camera in view.cameras),
        "alive": view.alive,
        "server away": view.server_away,
    }
    return sum(said[name] << place for place, name in enumerate(BITS))


LINE = (
    Register(0, "map", 1, f"version of this map, {VERSION}; 0 before anything was written", lambda view: VERSION),
    Register(
        1,
        "heartbeat",
        1,
        "changes with each beat while the line is alive; 65535 is followed by 0",
        lambda view: view.heartbeat & WORD,
    ),
    Register(2, "status", 1, ", ".join(f"bit {place} {name}" for place, name in enumerate(BITS)), _line_bits),
    Register(3, "request", 1, "number of the request that is worked on or answered", lambda view: view.request),
    Register(4, "sequence", 2, "counts results; with a handshake, answers", lambda view: view.sequence & 0xFFFFFFFF),
    *_outcome(lambda view: view.outcome, 6),
    Register(
        11,
        "age",
        1,
        "milliseconds since the capture of the oldest of the cameras' results; 65535 that long, longer, or none",
        lambda view: _milliseconds(max((camera.age for camera in view.cameras), default=math.inf)),
    ),
    Register(12, "cameras", 1, "how many cameras follow", lambda view: len(view.cameras)),
    Register(
        15,
        "sequence again",
        1,
        "low word of sequence: the block is whole where both agree",
        lambda view: view.sequence & WORD,
    ),
)

CAMERA = (
    Register(0, "status", 1, "bit 0 running, bit 1 stale", lambda view: view.running | view.stale << 1),
    Register(1, "sequence", 2, "counts the camera's results; 0 none yet", lambda view: view.sequence & 0xFFFFFFFF),
    Register(
        3,
        "number",
        2,
        "of the frame, or of the board where those are told apart",
        lambda view: view.number & 0xFFFFFFFF,
    ),
    *_outcome(lambda view: view.outcome, 5),
    Register(
        10,
        "age",
        1,
        "milliseconds since capture; 65535 that long, longer, or no result",
        lambda view: _milliseconds(view.age),
    ),
    Register(
        11,
        "captured",
        2,
        "time of capture in seconds since 1970; 0 not known",
        lambda view: int(view.captured) & 0xFFFFFFFF,
    ),
    Register(13, "captured, milliseconds", 1, "0 to 999", lambda view: int(view.captured * 1000) % 1000),
    Register(15, "sequence again", 1, "low word of sequence", lambda view: view.sequence & WORD),
)

COMMANDS = (
    ("request", "a number other than 0 and the one before: begins a board, or asks for results"),
    ("acknowledge", "number of the request whose answer was read"),
)


def _block(registers: Sequence[Register], size: int, view: Any) -> list[int]:
    words = [0] * size
    for one in registers:
        value = one.value(view)
        words[one.offset : one.offset + one.words] = [value] if one.words == 1 else [value >> 16, value & WORD]
    return words


def value_of(words: Sequence[int], registers: Sequence[Register], name: str, block: int = 0) -> int:
    """Return a value of registers by its name, as a PLC reads it.

    Args:
        words: the registers of the results.
        registers: LINE or CAMERA.
        name: of the value.
        block: offset of its block.
    """
    [one] = [one for one in registers if one.name == name]
    place = block + one.offset
    return words[place] if one.words == 1 else words[place] << 16 | words[place + 1]


def count_of(cameras: int) -> int:
    """Return how many registers the results of so many cameras take."""
    return LINE_REGISTERS + CAMERA_REGISTERS * cameras


def encode(view: LineView) -> list[int]:
    """Return the registers of the results: the line's block, and one for each camera."""
    words = _block(LINE, LINE_REGISTERS, view)
    for camera in view.cameras:
        words += _block(CAMERA, CAMERA_REGISTERS, camera)
    return words


def calls(words: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
    """Return in which calls registers are written: offset and words of each.

    All in one where there is room; else cameras first, none of them in two parts, and the line's block last, so that
    whoever sees ``done`` or a new sequence there finds the cameras' results in their places.
    """
    if len(words) <= LARGEST_WRITE:
        return [(0, words)]
    step = LARGEST_WRITE // CAMERA_REGISTERS * CAMERA_REGISTERS
    places = [(place, words[place : place + step]) for place in range(LINE_REGISTERS, len(words), step)]
    return [*places, (0, words[:LINE_REGISTERS])]


def as_table() -> str:
    """Return the map in Markdown, as the page of the documentation has it."""
    lines = []
    for title, registers in (("The line's block", LINE), ("A camera's block", CAMERA)):
        lines += [f"**{title}**", "", "| offset | registers | what | |", "|---|---|---|---|"]
        lines += [f"| {one.offset} | {one.words} | {one.name} | {one.text} |" for one in registers]
        lines.append("")
    lines += ["**Commands**, which the PLC writes", "", "| offset | registers | what | |", "|---|---|---|---|"]
    lines += [f"| {place} | 1 | {name} | {text} |" for place, (name, text) in enumerate(COMMANDS)]
    return "\n".join(lines)
