"""What a person sees in a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.clients.stream.sinks.page.plant import PATIENCE, Shown, line_of, shown
from triton_yolo.clients.stream.events import LineStatus
from triton_yolo.clients.stream.verdict import BoardVerdict, Verdict

pytestmark = pytest.mark.slow

expect.set_options(timeout=PATIENCE * 1e3)

GREEN = "rgb(53, 196, 124)"


def tile(tab: Page, name: str) -> Locator:
    """The tile of a camera."""
    return tab.locator(".tile").filter(has=tab.locator(".name", has_text=re.compile(f"^{re.escape(name)}$")))


def fed(plant: Shown, tab: Page, until: Callable[[], bool], step: Callable[[], None]) -> None:
    """Feed the page until something can be seen in the browser."""
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, tab.locator("body").inner_text()
        step()
        plant.feed.line()
        tab.wait_for_timeout(100)


def test_each_camera_has_its_picture_its_verdict_and_the_picture_s_age(tab: Page) -> None:
    with shown(line_of("top", "side")) as plant:
        for name in ("top", "side"):
            plant.feed.status(name)
        tab.goto(plant.page.url)

        def step() -> None:
            plant.feed.frame("top", board=1)  # a good one
            plant.feed.frame("side", board=0)  # one with two defects

        fed(plant, tab, lambda: tile(tab, "side").get_attribute("data-look") == "fail", step)
        fed(plant, tab, lambda: tile(tab, "top").get_attribute("data-look") == "pass", step)
        assert tile(tab, "top").locator(".word").inner_text() == "Pass"
        assert tile(tab, "side").locator(".word").inner_text() == "Fail"
        assert re.fullmatch(r"\d+(\.\d)? s", tile(tab, "top").locator(".age").inner_text())
        # The picture is that of the board: its middle is no black.
        colors = tab.evaluate(
            """() => [...document.querySelectorAll(".tile canvas")].map((canvas) => {
              const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
              return data.reduce((sum, value) => sum + value, 0) / data.length;
            })"""
        )
        assert all(mean > 90 for mean in colors), colors  # black with full opacity has 64


def test_not_inspected_is_never_green(tab: Page) -> None:
    with shown(line_of("top")) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=1)
        tab.goto(plant.page.url)
        top = tile(tab, "top")
        fed(
            plant,
            tab,
            lambda: top.get_attribute("data-look") == "missed",
            lambda: plant.feed.frame("top", board=1, reason="refused: the queue is full"),
        )
        expect(top.locator(".cover strong")).to_have_text("Not inspected")
        expect(top.locator(".cover .why")).to_have_text("refused: the queue is full")
        colors = top.evaluate(
            """(tile) => [tile, ...tile.querySelectorAll("*")].flatMap((element) => {
              const style = getComputedStyle(element);
              const after = getComputedStyle(element, "::after");
              return [style.color, style.backgroundColor, style.borderColor, after.borderColor];
            })"""
        )
        assert GREEN not in colors
        assert "rgb(31, 110, 73)" not in colors  # the frame of a pass
        expect(tab.locator("#overall")).to_contain_text("Not inspected")


@pytest.mark.parametrize(
    ("state", "trouble", "word"),
    [("waiting", "/dev/video0: No such device", "Dead"), ("failed", "it is no video", "Dead"), ("ended", "", "Ended")],
)
def test_a_camera_that_is_gone_says_so_in_large_words_with_a_shape_and_the_reason(
    tab: Page, state: str, trouble: str, word: str
) -> None:
    with shown(line_of("top", "side")) as plant:
        for name in ("top", "side"):
            plant.feed.status(name)
            plant.feed.frame(name, board=1)
        tab.goto(plant.page.url)
        plant.feed.status("top", state, trouble)
        top = tile(tab, "top")
        step = lambda: plant.feed.frame("side", board=1)  # noqa: E731  # goes on meanwhile
        fed(plant, tab, lambda: top.locator(".cover strong").all_inner_texts() == [word.upper()], step)
        fed(plant, tab, lambda: tile(tab, "side").get_attribute("data-look") == "pass", step)
        expect(top.locator(".cover .why")).to_have_text(trouble)
        expect(top.locator(".cover svg")).to_be_visible()
        size = top.locator(".cover strong").evaluate("(word) => parseFloat(getComputedStyle(word).fontSize)")
        assert size >= (40 if word == "Dead" else 30)
        if word == "Dead":
            expect(tab.locator("#overall strong")).to_have_text("Camera down")
            expect(tab.locator("#overall p")).to_have_text("top")


def test_a_camera_that_freezes_says_so_and_comes_back(tab: Page) -> None:
    with shown(line_of("top")) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=1)
        tab.goto(plant.page.url)
        top = tile(tab, "top")
        fed(plant, tab, lambda: top.locator(".cover strong").all_inner_texts() == ["FROZEN"], lambda: None)
        expect(top.locator(".cover .why")).to_contain_text("no frame for")
        expect(top.locator(".cover .since")).to_contain_text("not inspected for")
        fed(plant, tab, lambda: top.get_attribute("data-look") == "pass", lambda: plant.feed.frame("top", board=1))


def test_a_camera_that_delivers_one_picture_for_ever_is_frozen(tab: Page) -> None:
    with shown(line_of("top"), unchanged_after=1.5) as plant:
        plant.feed.status("top")
        tab.goto(plant.page.url)
        top = tile(tab, "top")
        fed(
            plant,
            tab,
            lambda: top.get_attribute("data-look") == "frozen",
            lambda: plant.feed.frame("top", board=1, noise=0),
        )
        expect(top.locator(".cover .why")).to_contain_text("the same picture for")


def test_counts_yield_classes_server_and_sinks_are_told(tab: Page) -> None:
    with shown(line_of("top", "side")) as plant:
        for name in ("top", "side"):
            plant.feed.status(name)
        for number in range(4):
            plant.feed.frame("top", board=1 if number else 0)  # one of four has defects
            plant.feed.frame("side", board=1, reason="late" if number == 3 else "")
        plant.feed.line("UNAVAILABLE: connection refused", [{"kind": "mqtt", "missed": 7, "broker": "away"}])
        tab.goto(plant.page.url)
        rows = tab.locator("#defects tbody tr")
        expect(rows.nth(0).locator("th, td")).to_have_text(["Yield", "75.0 %", "75.0 %", "75.0 %", ""])
        expect(rows.nth(1).locator("th, td")).to_have_text(["Frames passed", "6", "3", "3", ""])
        expect(rows.nth(2).locator("th, td")).to_have_text(["Failed", "1", "1", "0", ""])
        expect(rows.nth(3).locator("th, td")).to_have_text(["Not inspected", "1", "0", "1", ""])
        names = plant.feed.boards[0].detections.names
        name = names[0]
        row = rows.filter(has=tab.locator("th", has_text=name))
        count = str(names.count(name))
        expect(row.locator("th, td")).to_have_text([name, count, count, "0", "87.5 %"])
        expect(tab.locator("#overall")).to_contain_text("the server is away")
        system = tab.locator("#system li")
        expect(system.nth(0)).to_contain_text("Away")
        expect(system.nth(0)).to_contain_text("connection refused")
        expect(system.nth(1)).to_contain_text("not inspected: late 1")
        expect(system.nth(2)).to_contain_text("7 missed")
        expect(system.nth(2)).to_contain_text("broker away")


def test_what_is_sent_of_a_camera_s_changes_is_told(tab: Page) -> None:
    sent = {"shares": {"nothing": 0.75, "coded tiles": 0.25}, "bytes_per_frame": 12_345, "share_of_raw": 0.0033}
    with shown(line_of("top", "side", "new")) as plant:
        for name in ("top", "side", "new"):
            plant.feed.status(name)
        rows = [
            {"name": "top", "sent": {**sent, "share_of_coded": 0.0654}},
            {"name": "new", "sent": {**sent, "share_of_coded": None}},
            {"name": "side"},
        ]
        plant.page.put(LineStatus("", {"cameras": rows, "sinks": []}))
        tab.goto(plant.page.url)
        system = tab.locator("#system li")
        expect(system).to_have_count(4)
        expect(system.nth(2)).to_contain_text("Changes of top")
        expect(system.nth(2)).to_contain_text("12.3 kB a frame")
        text = "0.33 % of raw frames, 6.54 % of coded frames, nothing 75.0 %, coded tiles 25.0 %"
        expect(system.nth(2).locator(".more")).to_have_text(text)
        expect(system.nth(3).locator(".more")).to_have_text("0.33 % of raw frames, nothing 75.0 %, coded tiles 25.0 %")


def test_boards_are_counted_where_a_line_tells_them_apart(tab: Page) -> None:
    with shown(line_of("top", verdict={"boards": "trigger"})) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=0)
        plant.page.put(BoardVerdict("top", 1, Verdict.FAIL, "2 defects", 1, 1, 2, ("open", 0.9), (0, 0)))
        plant.page.put(BoardVerdict("top", 2, Verdict.NOT_INSPECTED, "no frame came in time"))
        plant.page.put(BoardVerdict("top", 3, Verdict.PASS, "", 1, 1, numbers=(1, 1)))
        plant.feed.line()
        tab.goto(plant.page.url)
        expect(tab.locator("#figures")).to_contain_text("Boards passed")
        expect(tab.locator("#defects tbody tr").first.locator("td").first).to_have_text("33.3 %")
        listed = tab.locator("#failures .failure")
        expect(listed).to_have_count(2)
        expect(listed.nth(0)).to_contain_text("board 2 · top")
        expect(listed.nth(0)).to_contain_text("Not inspected")
        expect(listed.nth(1)).to_contain_text("board 1 · top")
        expect(listed.nth(1).locator("img")).to_be_visible()
        fed(
            plant,
            tab,
            lambda: tile(tab, "top").locator(".word").inner_text() == "Pass · 3",
            lambda: plant.feed.frame("top", board=1),
        )


def test_a_board_that_has_passed_leaves_nothing_green_while_frames_are_not_inspected(tab: Page) -> None:
    with shown(line_of("top", verdict={"boards": "trigger"})) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=1)
        plant.page.put(BoardVerdict("top", 1, Verdict.PASS, "", 1, 1, numbers=(0, 0)))
        tab.goto(plant.page.url)
        top = tile(tab, "top")
        looks = lambda look: lambda: top.get_attribute("data-look") == look  # noqa: E731
        fed(plant, tab, looks("pass"), lambda: plant.feed.frame("top", board=1))
        fed(plant, tab, looks("missed"), lambda: plant.feed.frame("top", board=1, reason="server away"))
        expect(top.locator(".cover .why")).to_have_text("server away")
        expect(tab.locator("#overall")).to_contain_text("Not inspected")
        fed(plant, tab, looks("pass"), lambda: plant.feed.frame("top", board=1))


def test_a_failure_can_be_looked_at(tab: Page) -> None:
    with shown(line_of("top", "side")) as plant:
        for name in ("top", "side"):
            plant.feed.status(name)
            plant.feed.frame(name, board=0)
        plant.feed.line()
        tab.goto(plant.page.url)
        listed = tab.locator("#failures .failure")
        expect(listed).to_have_count(2)
        expect(listed.first.locator(".where")).to_have_text("side")
        expect(listed.first.locator("time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        expect(listed.first.locator("rect.defect")).to_have_count(2)
        listed.first.click()
        dialog = tab.locator("dialog")
        expect(dialog).to_be_visible()
        image = dialog.locator("img")
        expect(image).to_be_visible()
        width = tab.wait_for_function("() => document.querySelector('dialog img')?.naturalWidth").json_value()
        assert width == plant.feed.boards[0].image.shape[1]
        expect(dialog.locator(".facts")).to_contain_text("side")
        expect(dialog.locator(".list li")).to_have_count(2)
        dialog.get_by_role("button", name="Hide boxes").click()
        expect(dialog.locator("rect.defect").first).to_be_hidden()
        tab.keyboard.press("ArrowRight")
        expect(dialog.locator(".facts")).to_contain_text("top")
        expect(dialog.locator("rect.defect").first).to_be_hidden()
        expect(dialog.get_by_role("button", name="Older")).to_be_disabled()
        dialog.get_by_role("button", name="Newer").click()
        expect(dialog.locator(".facts")).to_contain_text("side")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()


def test_charts_show_what_the_line_has_measured(tab: Page) -> None:
    with shown(line_of("top", "side")) as plant:
        for name in ("top", "side"):
            plant.feed.status(name)
        tab.goto(plant.page.url)
        latency, inspected, missed = (tab.locator("#plots figure .value").nth(place) for place in range(3))

        def step() -> None:
            plant.feed.frame("top", board=1, latency_ms=40)
            plant.feed.frame("side", board=1, latency_ms=40)
            plant.feed.frame("side", board=1, reason="late")

        fed(plant, tab, lambda: "p50 40 · p99 40" in latency.inner_text(), step)
        fed(plant, tab, lambda: int(missed.inner_text()) > 0 and int(inspected.inner_text()) > 0, step)
        drawn = "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        yellow = (
            tab.locator("#plots canvas")
            .nth(2)
            .evaluate(
                f"(canvas) => {{ const data = ({drawn})(canvas); let count = 0;"
                "for (let i = 0; i < data.length; i += 4)"
                "  count += data[i] > 200 && data[i + 1] > 170 && data[i + 2] < 60;"
                "return count; }"
            )
        )
        assert yellow > 0
        tile(tab, "top").click()  # the charts are those of the camera that is looked at alone
        expect(tab.locator("#charts-title")).to_have_text("Last five minutes of top")
        expect(tile(tab, "side")).to_be_hidden()
        fed(plant, tab, lambda: missed.inner_text() == "0", step)
        tile(tab, "top").click()
        expect(tile(tab, "side")).to_be_visible()
        box = tab.locator("#plots canvas").first.bounding_box()
        assert box
        tab.mouse.move(box["x"] + box["width"] - 30, box["y"] + 40)
        expect(latency).to_contain_text("ago")


@pytest.mark.parametrize(("width", "height"), [(768, 1024), (1280, 800), (1920, 1080), (390, 844)])
@pytest.mark.parametrize("cameras", [1, 3, 8])
def test_the_page_fits_tablets_and_wide_screens(tab: Page, width: int, height: int, cameras: int) -> None:
    names = [f"camera-with-a-long-name-{number}" for number in range(cameras)]
    with shown(line_of(*names)) as plant:
        for name in names:
            plant.feed.status(name)
            plant.feed.frame(name, board=0)
        tab.set_viewport_size({"width": width, "height": height})
        tab.goto(plant.page.url)
        expect(tab.locator(".tile")).to_have_count(cameras)
        expect(tab.locator(".failure")).to_have_count(cameras)
        fed(
            plant,
            tab,
            lambda: tab.locator(".tile[data-look=fail]").count() == cameras,
            lambda: [plant.feed.frame(name, board=0) for name in names] and None,
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= width  # nothing stands beside the screen
        boxes = [box for one in tab.locator(".tile").all() if (box := one.bounding_box())]
        assert len(boxes) == cameras
        assert all(box["width"] >= 180 for box in boxes)
        if width >= 768:  # all cameras at one glance
            assert all(box["y"] + box["height"] <= height for box in boxes)
        for button in tab.locator(".failure").all():
            box = button.bounding_box()
            assert box and box["height"] >= 44  # a finger's width


def test_a_finger_opens_a_failure_and_closes_it(chromium: object, tab: Page) -> None:
    context = tab.context.browser.new_context(has_touch=True, viewport={"width": 768, "height": 1024})  # type: ignore[union-attr]
    touched = context.new_page()
    with shown(line_of("top")) as plant:
        plant.feed.status("top")
        plant.feed.frame("top", board=0)
        plant.feed.line()
        touched.goto(plant.page.url)
        touched.locator(".failure").tap()
        expect(touched.locator("dialog")).to_be_visible()
        touched.get_by_role("button", name="Close").tap()
        expect(touched.locator("dialog")).to_be_hidden()
        context.close()
