"""Which register holds what: each once, in its place, and as the page of the documentation says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tests.conftest import ROOT
from triton_yolo.clients.stream.sinks.modbus.registers import (
    CAMERA,
    CAMERA_REGISTERS,
    LARGEST_WRITE,
    LINE,
    LINE_REGISTERS,
    Register,
    as_table,
    calls,
    count_of,
    encode,
    value_of,
)
from triton_yolo.clients.stream.sinks.plc.handshake import Phase
from triton_yolo.clients.stream.sinks.plc.state import CameraView, Code, LineView, Outcome, Why

FAILED = Outcome(Code.FAIL, Why.NONE, 3, 2, 0.875)


def view(*cameras: CameraView, phase: Phase = Phase.FREE, alive: bool = True) -> LineView:
    return LineView(alive, False, 65_537, 70_000, phase, 9, FAILED, cameras)


def test_registers_hold_the_view() -> None:
    camera = CameraView(True, False, 65_536, 131_073, FAILED, 1_764_000_000.25, 0.0154)
    words = encode(view(camera, CameraView(), phase=Phase.DONE))
    assert len(words) == count_of(2) == LINE_REGISTERS + 2 * CAMERA_REGISTERS
    assert all(0 <= word <= 0xFFFF for word in words)
    line = {one.name: value_of(words, LINE, one.name) for one in LINE}
    assert line == {
        "map": 1,
        "heartbeat": 1,
        "status": 0b011100,  # done, stale (of the second camera), alive
        "request": 9,
        "sequence": 70_000,
        "verdict": 2,
        "why": 0,
        "defects": 3,
        "worst class": 2,
        "worst score": 8750,
        "age": 65_535,
        "cameras": 2,
        "sequence again": 70_000 - 65_536,
    }
    first = {one.name: value_of(words, CAMERA, one.name, LINE_REGISTERS) for one in CAMERA}
    assert first == {
        "status": 0b01,
        "sequence": 65_536,
        "number": 131_073,
        "verdict": 2,
        "why": 0,
        "defects": 3,
        "worst class": 2,
        "worst score": 8750,
        "age": 15,
        "captured": 1_764_000_000,
        "captured, milliseconds": 250,
        "sequence again": 0,
    }
    second = {one.name: value_of(words, CAMERA, one.name, LINE_REGISTERS + CAMERA_REGISTERS) for one in CAMERA}
    assert (second["status"], second["verdict"], second["why"], second["age"]) == (0b10, 0, 1, 65_535)


@pytest.mark.parametrize(("phase", "bits"), [(Phase.FREE, 0), (Phase.READY, 1), (Phase.BUSY, 2), (Phase.DONE, 4)])
def test_the_phase_of_the_handshake_is_a_bit(phase: Phase, bits: int) -> None:
    assert value_of(encode(view(phase=phase)), LINE, "status") & 0b111 == bits


@pytest.mark.parametrize(
    ("age", "milliseconds"), [(0.0, 0), (1.5, 1500), (65.534, 65_534), (70, 65_535), (math.inf, 65_535)]
)
def test_a_long_time_is_the_longest_that_there_is(age: float, milliseconds: int) -> None:
    camera = CameraView(age=age)
    assert value_of(encode(view(camera)), CAMERA, "age", LINE_REGISTERS) == milliseconds


def test_registers_that_were_never_written_are_not_inspected() -> None:
    nothing = [0] * count_of(1)
    assert value_of(nothing, LINE, "map") == 0
    assert (
        value_of(nothing, LINE, "verdict") == value_of(nothing, CAMERA, "verdict", LINE_REGISTERS) == Code.NOT_INSPECTED
    )


@pytest.mark.parametrize("registers", [LINE, CAMERA])
def test_no_two_values_share_a_register(registers: Sequence[Register]) -> None:
    taken = [one.offset + place for one in registers for place in range(one.words)]
    assert len(taken) == len(set(taken))
    assert max(taken) < (LINE_REGISTERS if registers is LINE else CAMERA_REGISTERS)
    assert taken == sorted(taken)


@pytest.mark.parametrize("cameras", [1, 6, 7, 8, 20])
def test_a_camera_is_written_in_one_call_and_the_line_comes_last(cameras: int) -> None:
    words = list(range(count_of(cameras)))
    parts = calls(words)
    assert all(len(part) <= LARGEST_WRITE for _, part in parts)
    assert sorted(word for _, part in parts for word in part) == words
    assert parts[-1][0] == 0
    for offset, part in parts if len(parts) > 1 else []:
        assert list(part) == words[offset : offset + len(part)]
        assert offset % CAMERA_REGISTERS == len(part) % CAMERA_REGISTERS == 0
    assert (len(parts) == 1) == (cameras <= 6)


def test_the_page_has_the_map_as_it_is() -> None:
    page = (ROOT / "docs" / "modbus.md").read_text()
    assert as_table() in page, f"docs/modbus.md is to have this:\n\n{as_table()}"
