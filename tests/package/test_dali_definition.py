"""How definitions of DALI pipelines are imported."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from triton_yolo.dali_definition import DEFINITION, letterbox_file, load_definition, read_by
from triton_yolo.nms.letterbox import Letterbox


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The definition of NV12 frames in a folder of its own, for another network."""
    shutil.copytree(REPOSITORY / "preprocess_nv12", tmp_path / "preprocess_nv12")
    definition = tmp_path / "preprocess_nv12" / "1" / DEFINITION
    definition.with_name("letterbox.json").write_bytes(letterbox_file(Letterbox(320, 416)))
    return definition


def test_a_definition_reads_what_lies_beside_it(copied: Path) -> None:
    assert [path.name for path in read_by(copied)] == ["letterboxing.py", "ycbcr.py", "letterbox.json"]
    copied.with_name("letterbox.json").unlink()  # as those of before, which have their numbers in them
    assert [path.name for path in read_by(copied)] == ["letterboxing.py", "ycbcr.py"]


def test_definitions_of_one_process_each_have_their_own_modules(copied: Path) -> None:
    search_path = sys.path.copy()
    theirs = load_definition(REPOSITORY / "preprocess_nv12" / "1" / DEFINITION)
    ours = load_definition(copied)
    assert (theirs.letterboxing.HEIGHT, theirs.letterboxing.WIDTH) == (640, 640)
    assert (ours.letterboxing.HEIGHT, ours.letterboxing.WIDTH) == (320, 416)
    assert sys.path == search_path
    assert not {"letterboxing", "ycbcr"} & set(sys.modules)


def test_a_definition_that_fails_leaves_nothing_behind(copied: Path) -> None:
    search_path = sys.path.copy()
    with copied.open("a") as file:
        file.write("\nraise RuntimeError('no')\n")
    with pytest.raises(RuntimeError, match="no"):
        load_definition(copied)
    assert sys.path == search_path
    assert "letterboxing" not in sys.modules
