"""The audit: what the database says is told, and a database that cannot be asked is never taken for a good one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.audit import KNOWN, accepted, pins
from tests.conftest import ROOT

HOLE = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "aliases": ["CVE-2099-1"],
    "summary": "a hole",
    "affected": [
        {
            "package": {"name": "holey", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV does: one package has a hole, and for one there is no answer."""

    def do_POST(self) -> None:
        package: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = package["package"]["name"]
        self.send_response(500 if name == "broken" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [HOLE]} if name == "holey" else {}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def osv() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(folder: Path, url: str, constraints: str, known: str = "[]") -> tuple[int, str, str]:
    """How the command ends, and what it says."""
    (folder / "constraints.txt").write_text(constraints)
    (folder / "known.yaml").write_text(known)
    command = [sys.executable, "-m", "deploy.audit", "--url", url, "--constraints", folder / "constraints.txt"]
    done = subprocess.run([*command, "--known", folder / "known.yaml"], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_hole_that_is_not_on_the_list_is_told_with_what_mends_it_for_each_python(osv: str, tmp_path: Path) -> None:
    both = 'holey==3.0; python_version >= "3.11"\nholey==1.0; python_version < "3.11"\n'
    status, said, _ = audit(tmp_path, osv, f"# a comment\nsound==1.0\n{both}")
    assert status == 1
    assert said.splitlines() == [
        *(f"new: CVE-2099-1 GHSA-aaaa-bbbb-cccc of holey {version}: mended in 2.0" for version in ("3.0", "1.0")),
        "3 pins asked about, 2 holes, 2 of them not on the list",
    ]


@pytest.mark.slow
def test_a_hole_on_the_list_stays_with_its_reason_and_one_that_is_mended_is_to_be_removed(
    osv: str, tmp_path: Path
) -> None:
    known = [
        {"id": "CVE-2099-1", "package": "Holey", "reason": "nobody calls it"},
        {"id": "CVE-2099-2", "package": "sound", "reason": "gone"},
        {"id": "CVE-2099-3", "package": "sound", "reason": "in a binary", "listed": False},
    ]
    status, said, _ = audit(tmp_path, osv, "sound==1.0\nholey==1.0\n", yaml.safe_dump(known))
    assert status == 0
    assert "stays: CVE-2099-1 of Holey: nobody calls it" in said
    assert [line for line in said.splitlines() if line.startswith("gone")] == [
        f"gone: CVE-2099-2 of sound is not reported any more: remove it from {tmp_path / 'known.yaml'}"
    ]


@pytest.mark.parametrize(
    ("url", "constraints"),
    [("http://127.0.0.1:9/v1/query", "sound==1.0\n"), ("{osv}", "sound==1.0\nbroken==1.0\n")],
    ids=["nobody listens", "an error for one of two"],
)
def test_a_database_that_does_not_answer_is_no_good_news(osv: str, tmp_path: Path, url: str, constraints: str) -> None:
    status, said, error = audit(tmp_path, url.format(osv=osv), constraints)
    assert (status, said) == (2, "")
    assert error.startswith(f"python -m deploy.audit: could not ask {url.format(osv=osv)}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("constraints", "known", "words"),
    [
        ("sound>=1.0\n", "[]", "line 1: no NAME==VERSION"),
        ("sound==1\n", "[{id: a}]", "an entry has id, package, reason"),
    ],
)
def test_files_that_cannot_be_used_are_told(osv: str, tmp_path: Path, constraints: str, known: str, words: str) -> None:
    status, _, error = audit(tmp_path, osv, constraints, known)
    assert status == 2
    assert words in error


def test_the_list_and_the_page_name_the_same_holes_of_packages_that_are_pinned() -> None:
    named = set(re.findall(r"CVE-\d+-\d+", (ROOT / "docs" / "security.md").read_text()))
    listed = accepted(KNOWN)
    assert {one.id for one in listed} == named
    assert {one.package for one in listed} <= {name for name, _ in pins(ROOT / "constraints.txt")}
