"""What the pages point to: other pages, headings, files."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.docs.pages import SPAN, Page, page, pages

PARTS = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
RESULTS = ROOT / "bench" / "results"

every_page = pytest.mark.parametrize("read", pages(), ids=lambda read: read.name)


@every_page
def test_every_link_leads_to_a_file_or_a_heading_that_exists(read: Page) -> None:
    broken = []
    for link in read.links():
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (read.path.parent / target).resolve() if target else read.path
        if not path.exists() or (anchor and anchor not in Page(path, path.read_text()).anchors()):
            broken.append(link)
    assert not broken


@every_page
def test_every_path_of_the_repository_that_is_named_exists(read: Page) -> None:
    named = [span for span in SPAN.findall(read.prose()) if re.fullmatch(r"[\w.-]+/[\w./-]*", span)]
    assert not [span for span in named if span.split("/")[0] in PARTS and not (ROOT / span).exists()]


@every_page
def test_every_file_of_results_that_is_named_exists(read: Page) -> None:
    named = re.findall(r"bench/results/([\w.-]+\.(?:json|csv))", read.text)
    assert not [name for name in named if not (RESULTS / name).is_file()]


def test_the_page_of_benchmarks_lists_every_file_of_results_and_no_other() -> None:
    table = page("docs/benchmarks.md").text.partition("## All files")[2]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = [name for row in rows for name in SPAN.findall(row)]
    assert sorted(listed) == sorted(path.name for path in RESULTS.iterdir())


def test_the_readme_links_to_every_page_of_docs() -> None:
    linked = {link.partition("#")[0] for link in page("README.md").links()}
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= linked


def test_the_readme_is_short_enough_to_decide_by() -> None:
    assert len(page("README.md").text.splitlines()) <= 150
