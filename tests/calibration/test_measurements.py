"""What was measured is kept, and nothing else is taken for it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from triton_yolo.calibration.measurements import Measurements
from triton_yolo.clients.coco import Precision, Result

ORIGIN = {"graph": "a", "images": ("one", "two")}
RESULT = Result(Precision(0.1 + 0.2, 0.5), {"open": Precision(0.25, 1 / 3), "crowds": Precision(math.nan, math.nan)})


def refuse() -> Result:
    raise AssertionError("it is measured again")


def test_a_precision_is_measured_once_and_is_the_same_to_the_last_bit_when_it_is_read(tmp_path: Path) -> None:
    assert Measurements(tmp_path, "model", ORIGIN).result("float", lambda: RESULT) == RESULT
    again = Measurements(tmp_path, "model", ORIGIN).result("float", refuse)
    assert again.overall == RESULT.overall
    assert again.per_class["open"] == RESULT.per_class["open"]
    assert math.isnan(again.per_class["crowds"].ap50)


def test_another_origin_has_another_file(tmp_path: Path) -> None:
    Measurements(tmp_path, "model", ORIGIN).put("question", 1)
    other = Measurements(tmp_path, "model", {**ORIGIN, "graph": "b"})
    assert other.get("question") is None
    other.path.write_bytes(Measurements(tmp_path, "model", ORIGIN).path.read_bytes())  # what is inside counts
    assert Measurements(tmp_path, "model", {**ORIGIN, "graph": "b"}).get("question") is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"origin": 1}'])
def test_a_damaged_file_is_as_none(damage: str, tmp_path: Path) -> None:
    Measurements(tmp_path, "model", ORIGIN).put("question", 1)
    Measurements(tmp_path, "model", ORIGIN).path.write_text(damage)
    kept = Measurements(tmp_path, "model", ORIGIN)
    assert kept.get("question") is None
    kept.put("question", 2)
    assert Measurements(tmp_path, "model", ORIGIN).get("question") == 2
