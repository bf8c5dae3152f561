"""What a person sees of a log in a browser."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from bench.log_feed import write
from tests.clients.stream.results import inspected, one
from tests.clients.stream.sinks.log.page.conftest import serving
from tests.clients.stream.sinks.log.test_log import feed, log
from tests.clients.stream.sinks.page.plant import PATIENCE, boards
from tests.clients.stream.sinks.page.test_hostile import HTML
from triton_yolo.clients.stream.sinks.log.page import app
from triton_yolo.clients.stream.sinks.log.page.app import PIECE

pytestmark = pytest.mark.slow

expect.set_options(timeout=PATIENCE * 1e3)


def chip(tab: Page, name: str, value: str) -> Locator:
    """The button that chooses a value."""
    return tab.locator(f'.chips.{name} .chip[data-value="{value}"]')


def test_what_failed_is_listed_with_its_pictures_the_newest_first(tab: Page, url: str) -> None:
    tab.goto(f"{url}?verdict=fail&verdict=not+inspected")
    rows = tab.locator(".row")
    expect(rows).to_have_count(6)
    expect(rows.nth(0).locator(".where")).to_have_text("side · board 6")
    expect(rows.nth(0).locator(".verdict")).to_have_text("Fail")
    expect(rows.nth(0).locator(".why")).to_have_text("2 defects in 3 of 3 frames")
    expect(rows.nth(2).locator(".verdict")).to_have_text("Not inspected")
    for place in (0, 1, 4, 5):
        rows.nth(place).scroll_into_view_if_needed()
        image = rows.nth(place).locator("img")
        tab.wait_for_function("(image) => image.naturalWidth > 0", arg=image.element_handle())
    expect(rows.nth(2).locator("img")).to_have_count(0)
    expect(tab.locator("#figures")).to_contain_text("Yield50.0 %")
    expect(tab.locator("#lines")).to_have_text("line-3")
    expect(tab).to_have_title("line-3.db")


def test_today_s_failures_are_what_is_shown_first(tab: Page, tmp_path: Path) -> None:
    sink, now = log(tmp_path / "log.db"), time.time_ns()
    old = now - 3 * 86_400 * 10**9
    feed(
        sink,
        *(inspected(number, one(), captured=at) for number, at in enumerate((old, now))),
        inspected(2, captured=now),
    )
    sink.close()
    with serving(tmp_path / "log.db") as url:
        tab.goto(url)
        expect(tab.locator(".row .where")).to_have_text(["top · board 2"])
        tab.get_by_role("button", name="7 days").click()
        expect(tab.locator(".row .where")).to_have_text(["top · board 2", "top · board 1"])
        chip(tab, "verdict", "pass").click()
        expect(tab.locator(".row .where")).to_have_text(["top · board 3", "top · board 2", "top · board 1"])
        tab.get_by_role("button", name="Yesterday").click()
        expect(tab.locator("#told")).to_have_text("No such board in this time.")


def test_camera_verdict_class_and_time_choose_and_stand_in_the_address(tab: Page, url: str) -> None:
    tab.goto(f"{url}?since=")
    rows = tab.locator(".row")
    expect(rows).to_have_count(12)
    chip(tab, "camera", "top").click()
    expect(rows).to_have_count(6)
    chip(tab, "verdict", "fail").click()
    expect(rows).to_have_count(2)
    expect(chip(tab, "verdict", "pass").locator(".number")).to_have_text("3")
    worst = tab.locator(".chips.class .chip").first
    name = worst.get_attribute("data-value")
    number = int(worst.locator(".number").inner_text())
    worst.click()
    expect(rows).to_have_count(number)
    assert re.search(rf"camera=top.*verdict=fail|verdict=fail.*camera=top.*class={name}", tab.url)
    tab.reload()
    expect(rows).to_have_count(number)
    expect(chip(tab, "camera", "top")).to_have_attribute("aria-pressed", "true")
    for pressed in ("camera", "verdict", "class"):
        tab.locator(f'.chips.{pressed} .chip[aria-pressed="true"]').click()
    expect(rows).to_have_count(12)
    tab.get_by_label("To").fill("2020-01-01T00:00")
    expect(tab.locator("#told")).to_have_text("No such board in this time.")
    tab.get_by_role("button", name="All").click()
    expect(rows).to_have_count(12)


def test_what_cannot_be_meant_is_said(tab: Page, url: str) -> None:
    other = tab.context.new_page()  # whose console may say so too
    other.goto(f"{url}?since=2021-01-01T00:00&until=2020-01-01T00:00")
    expect(other.locator("#told")).to_have_text("until 2020-01-01T00:00 is not later than since 2021-01-01T00:00")
    expect(other.get_by_label("From")).to_have_value("2021-01-01T00:00")
    expect(other.locator(".row")).to_have_count(0)
    other.get_by_role("button", name="All").click()
    expect(other.locator(".row")).to_have_count(12)


def test_a_board_can_be_looked_at_with_its_frames_and_its_film(tab: Page, url: str) -> None:
    tab.goto(f"{url}?verdict=fail")
    expect(tab.locator(".row")).to_have_count(4)
    tab.locator(".row").first.click()
    dialog = tab.locator("dialog")
    image = dialog.locator(".shot img")
    expect(image).to_have_attribute("src", re.compile(r"/boxes\.jpg"))
    tab.wait_for_function("() => document.querySelector('dialog img')?.naturalWidth > 0")
    expect(dialog.locator(".facts")).to_contain_text("3 of 3 frames")
    expect(dialog.locator(".frame")).to_have_count(3)
    shown = image.get_attribute("src")
    dialog.locator(".frame").nth(1).click()
    expect(image).not_to_have_attribute("src", shown or "")
    dialog.get_by_role("button", name="Hide boxes").click()
    expect(image).to_have_attribute("src", re.compile(r"/plain\.jpg"))
    dialog.get_by_role("button", name="Film").click()
    tab.wait_for_function("() => document.querySelector('dialog video')?.videoWidth > 0")
    dialog.get_by_role("button", name="Picture").click()
    expect(image).to_be_visible()
    dialog.get_by_role("button", name="Older").click()
    expect(dialog.locator(".facts")).to_contain_text("top")
    tab.keyboard.press("ArrowRight")
    expect(dialog.locator("h2")).to_have_text("Board 1")
    tab.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("button", name="Older")).to_be_disabled()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_a_board_that_passed_says_why_it_has_no_picture(tab: Page, url: str) -> None:
    tab.goto(f"{url}?verdict=pass")
    tab.locator(".row").first.click()
    expect(tab.locator("dialog .shot")).to_have_text("frames that passed are not in the log")


def test_a_picture_that_records_have_removed_meanwhile_is_said_to_be_gone(tab: Page, tmp_path: Path) -> None:
    log_file, records = write(tmp_path, boards(), ("top",), [0])
    with serving(log_file, records) as url:
        tab.goto(f"{url}?since=")
        tab.wait_for_function("() => document.querySelector('.row img')?.naturalWidth > 0")
        for path in records.rglob("*.jpg"):
            path.unlink()
        tab.locator(".row").click()
        expect(tab.locator("dialog .shot")).to_have_text("no picture was kept")


def test_more_come_where_the_end_of_the_list_comes_into_sight(tab: Page, tmp_path: Path) -> None:
    sink, now, count = log(tmp_path / "log.db"), time.time_ns(), 2 * PIECE + 5
    feed(sink, *(inspected(number, one(), captured=now + number) for number in range(count)))
    sink.close()
    with serving(tmp_path / "log.db") as url:
        tab.goto(f"{url}?since=")
        rows = tab.locator(".row")
        expect(rows).to_have_count(PIECE)
        for _ in range(2):
            rows.last.scroll_into_view_if_needed()
            tab.mouse.wheel(0, 100_000)
            tab.wait_for_timeout(100)
        expect(rows).to_have_count(count)
        expect(tab.locator("#more")).to_be_hidden()
        where = rows.locator(".where").all_inner_texts()
        assert where == [f"top · board {number}" for number in range(count, 0, -1)]


def test_names_are_text(tab: Page, tmp_path: Path) -> None:
    sink = log(tmp_path / "log.db", HTML)
    evil = inspected(0, one(), camera=HTML)
    assert evil.detections is not None
    object.__setattr__(evil.detections, "names", (HTML,))
    feed(sink, evil)
    sink.close()
    with serving(tmp_path / "log.db") as url:
        tab.goto(f"{url}?since=")
        expect(tab.locator(".row .where")).to_have_text(f"{HTML} · board 1")
        expect(tab.locator(".chips.class .value")).to_have_text(HTML)
        tab.locator(".chips.camera .chip").click()
        tab.locator(".row").click()
        expect(tab.locator("dialog .facts")).to_contain_text(HTML)
        expect(tab.locator("dialog .frame")).to_contain_text(HTML)
        assert tab.locator("script").count() == 1
        expect(tab).to_have_title("log.db")


def test_a_question_that_takes_too_long_is_ended_and_said(
    tab: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SECONDS", -1.0)
    sink = log(tmp_path / "log.db")
    feed(sink, *(inspected(number, one()) for number in range(3000)))
    sink.close()
    with serving(tmp_path / "log.db") as url:
        other = tab.context.new_page()  # whose console may say so too
        other.goto(f"{url}?since=")
        expect(other.locator("#told")).to_have_text("this takes longer than -1 s: ask for a shorter time")


@pytest.mark.parametrize(("width", "height"), [(768, 1024), (1280, 800), (1920, 1080), (390, 844)])
def test_the_page_fits_tablets_and_wide_screens(tab: Page, url: str, width: int, height: int) -> None:
    tab.set_viewport_size({"width": width, "height": height})
    tab.goto(f"{url}?since=")
    expect(tab.locator(".row")).to_have_count(12)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for button in [*tab.locator(".chip").all(), *tab.locator(".row").all()]:
        box = button.bounding_box()
        assert box
        assert box["height"] >= 44  # a finger's width
        assert box["x"] + box["width"] <= width
    tab.locator('.row[data-verdict="fail"]').first.click()
    close = tab.get_by_role("button", name="Close")
    close.scroll_into_view_if_needed()
    expect(close).to_be_in_viewport()
    close.click()
    expect(tab.locator("dialog")).to_be_hidden()
