"""Browsers that look at the line's page for long: memory does not grow, and pictures stay new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from bench.log_page import main as draw_log
from bench.page import main
from tests.clients.commands import run
from tests.conftest import ROOT
from tests.deploy.conftest import tool

PICTURE, LOG_PICTURE = ROOT / "docs" / "page.png", ROOT / "docs" / "log-page.png"


@pytest.mark.long
@pytest.mark.slow
def test_browsers_that_look_show_what_is_new(tmp_path: Path) -> None:
    tool("chromium", "apt-get install chromium")
    options = ("--viewers", "2", "--cameras", "2", "--fps", "5", "--seconds", "8")
    result = run(main, "viewers", *options, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "page-viewers.json").read_text())
    assert len(found["samples"]) == 8
    assert found["stale_tabs"] == 0
    assert found["page_cores"]["all look"] > 0
    assert found["oldest_picture_s"]["most"] < float("inf")


@pytest.mark.slow
@pytest.mark.long
def test_memory_is_flat_while_eight_browsers_look_for_ten_minutes(tmp_path: Path) -> None:
    tool("chromium", "apt-get install chromium")
    result = run(main, "viewers", "--viewers", "8", "--seconds", "600", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    found = json.loads((tmp_path / "page-viewers.json").read_text())
    assert found["last_to_first_quarter"]["page_bytes"] < 1.05
    assert found["last_to_first_quarter"]["heap_bytes"] < 1.15  # between collections it grows and shrinks
    assert found["stale_tabs"] == 0


@pytest.mark.parametrize("picture", [PICTURE, LOG_PICTURE])
def test_the_pictures_of_pages_are_small_and_as_wide_as_a_tablet(picture: Path) -> None:
    assert picture.stat().st_size < 300_000
    with Image.open(picture) as image:
        assert image.size == (1280, 800)


@pytest.mark.slow
@pytest.mark.long
def test_the_picture_of_the_log_s_page_is_made_by_its_command(tmp_path: Path) -> None:
    tool("chromium", "apt-get install chromium")
    result = run(draw_log, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "log-page.png") as picture:
        assert picture.size == (1280, 800)


@pytest.mark.slow
@pytest.mark.long
def test_the_picture_of_the_page_is_made_by_its_command(tmp_path: Path) -> None:
    tool("chromium", "apt-get install chromium")
    result = run(main, "shot", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.size == (1280, 800)
