"""A browser whose connection to the line is lost: it says so, and comes back by itself."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.clients.stream.sinks.page.plant import PATIENCE, Viewer, line_of, shown
from tests.clients.stream.sinks.page.test_views import GREEN, fed, tile

expect.set_options(timeout=PATIENCE * 1e3)

GREY = "grayscale(1) brightness(0.6)"


@pytest.mark.slow
def test_a_page_whose_line_has_gone_is_stale_until_it_is_back(tab: Page) -> None:
    with shown(line_of("top")) as plant:
        address = plant.address
        plant.feed.status("top")
        tab.goto(plant.page.url)
        fed(
            plant,
            tab,
            lambda: tile(tab, "top").get_attribute("data-look") == "pass",
            lambda: plant.feed.frame("top", board=1),
        )
        expect(tab.locator("#stale")).to_be_hidden()
    expect(tab.locator("#stale")).to_be_visible()
    expect(tab.locator("#stale strong")).to_have_text("Stale")
    expect(tab.locator("#stale-why")).to_contain_text("No word from the line for")
    expect(tab.locator(".page")).to_have_css("filter", GREY)  # and so nothing is green
    # What is above the page in front of which it stands has no green of its own.
    assert tab.locator("#stale").evaluate("(one) => getComputedStyle(one).color") != GREEN
    with shown(line_of("top", "side"), listen=address) as plant:
        for name in ("top", "side"):
            plant.feed.status(name)
        fed(
            plant,
            tab,
            lambda: tab.locator(".tile").count() == 2 and tab.locator("#stale").is_hidden(),
            lambda: plant.feed.frame("top", board=1),
        )
        expect(tab.locator(".page")).to_have_css("filter", "none")


@pytest.mark.slow
def test_a_failure_that_is_shown_large_does_not_hide_that_the_page_is_stale(tab: Page) -> None:
    with shown(line_of("top")) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=0)
        plant.feed.line()
        tab.goto(plant.page.url)
        tab.locator(".failure").click()
        expect(tab.locator("dialog")).to_be_visible()
    expect(tab.locator("#stale")).to_be_visible()
    # It is in the browser's top layer, later than the dialog: around the middle of the screen there is its white.
    middle = Image.open(io.BytesIO(tab.screenshot(clip={"x": 240, "y": 300, "width": 800, "height": 200}))).convert("L")
    assert sum(middle.histogram()[250:]) > 0.5 * 800 * 200


@pytest.mark.slow
def test_a_line_that_says_nothing_to_its_page_is_stale_though_the_page_answers(tab: Page) -> None:
    with shown(line_of("top")) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=1)
        plant.feed.line()
        tab.goto(plant.page.url)
        expect(tab.locator(".tile")).to_have_count(1)
        expect(tab.locator("#stale")).to_be_visible()  # since nobody feeds it
        expect(tab.locator("#stale-why")).to_contain_text("The line has said nothing for")
        fed(plant, tab, lambda: tab.locator("#stale").is_hidden(), lambda: plant.feed.frame("top", board=1))


@pytest.mark.slow
def test_a_viewer_for_whom_there_is_no_room_is_told_so(tab: Page) -> None:
    with shown(line_of("top"), viewers=1) as plant:
        plant.feed.status("top")
        with Viewer(plant.address) as first:
            first.until("status")
            tab.goto(plant.page.url)
            expect(tab.locator("#stale-why")).to_contain_text("1 viewers look already")
        fed(plant, tab, lambda: tab.locator("#stale").is_hidden(), lambda: plant.feed.frame("top", board=1))


def test_a_page_loads_itself_anew_where_the_line_has_another_version_of_it(
    tab: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown(line_of("top")) as plant:
        address = plant.address
        tab.goto(plant.page.url)
        expect(tab.locator(".tile")).to_have_count(1)
        tab.evaluate("() => (window.old = true)")
    monkeypatch.setattr("triton_yolo.clients.stream.sinks.page.sink.assets", lambda: "another version")
    with shown(line_of("top"), listen=address):
        tab.wait_for_function("() => window.old === undefined && document.querySelector('.tile') !== null")
