"""A real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.clients.stream.sinks.page.plant import PATIENCE
from tests.deploy.conftest import tool


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium; each file has one of its own, since its loop would be in the way of other files' loops."""
    path = tool("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, timeout=PATIENCE * 1e3)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """An empty tab of a tablet's size; an error in the page's scripts, or what its policy refuses, fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE * 1e3)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: (
            wrong.append(message.text)
            if message.type == "error" and "WebSocket connection" not in message.text
            else None
        ),
    )
    yield page
    context.close()
    assert not wrong
