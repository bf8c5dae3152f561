"""Processes that use the ring are killed or stopped at every step in its code: see tests/support/ring_steps.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

KINDS = (
    *("writer_killed", "both_killed", "reader_killed", "recovery_killed", "creation_killed"),
    *("writer_stopped", "reader_stopped"),
)


def run(kind: str, event: str, stride: int) -> int:
    """Return how many steps there were."""
    command = [sys.executable, "-m", "tests.support.ring_steps", kind, event, str(stride)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_may_die_or_stop_in_the_code_of_the_ring(kind: str) -> None:
    """At every seventh line: the slow tests try each eleventh instruction, the long ones all of them."""
    assert run(kind, "line", 7) > 50


@pytest.mark.slow
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_may_die_or_stop_at_any_instruction_of_the_ring(kind: str, stride: int) -> None:
    assert run(kind, "opcode", stride) > 300
