"""Command line: python -m bench.log_page, the picture of the log's page."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import BenchError
from bench.log_feed import write
from bench.page import HEIGHT, PATIENCE, ROOT, WIDTH, chromium, compact
from bench.page_feed import drawn_boards
from triton_yolo.cli.exits import leave
from triton_yolo.errors import TritonYoloError
from triton_yolo.files import write_whole

CAMERAS, BOARDS, PAUSE_SECONDS = ("top", "solder"), 22, 1.3


def main(out: Annotated[Path, typer.Option(help="Folder for the picture.")] = ROOT / "docs") -> None:
    """Leave log-page.png: the log of a line of drawn boards, and one of them large."""
    try:
        write_whole(out / "log-page.png", shot())
    except TritonYoloError as error:
        leave("python -m bench.log_page", str(error))


def shot() -> bytes:
    """Return a PNG of the page."""
    with tempfile.TemporaryDirectory() as folder:
        log, records = write(Path(folder), drawn_boards(BOARDS), CAMERAS, range(BOARDS), missed=8, pause=PAUSE_SECONDS)
        with page(log, records) as url, chromium() as browser:
            tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            tab.goto(url, wait_until="networkidle")
            tab.locator(".row").first.wait_for(timeout=PATIENCE * 1e3)
            return compact(tab.screenshot())


@contextmanager
def page(log: Path, records: Path, *options: str) -> Iterator[str]:
    """Run the command that shows a log; yields the page's address.

    Raises:
        BenchError: it ends before it has said that.
    """
    command = [sys.executable, "-m", "triton_yolo", "log", str(log), "--records", str(records)]
    with subprocess.Popen(
        [*command, "--page", "127.0.0.1:0", *options], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr
            said = process.stderr.readline()
            found = re.search(r"the page is at (http://\S+)", said)
            if not found:
                raise BenchError(f"the page did not start: {said}")
            yield found[1]
        finally:
            process.terminate()


if __name__ == "__main__":
    typer.run(main)
