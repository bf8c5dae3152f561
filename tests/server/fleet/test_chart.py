"""Envoy with what the Helm chart gives it: secrets as Kubernetes mounts them, and replaces them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.envoy import CLIENTS, MOUNTS, chart_files, with_keys
from tests.conftest import ROOT
from tests.server.fleet.papers import Papers, answers, ask
from tests.server.test_lifecycle import wait_for
from triton_yolo.clients import Access, ServerUnavailable
from triton_yolo.contract import WANTS_KEY
from triton_yolo.server.fleet.envoy import Envoy
from triton_yolo.server.fleet.envoy_clusters import Name
from triton_yolo.server.fleet.envoy_config import bootstrap
from triton_yolo.server.process import TritonServer, free_addresses

LINE, LATER = "line aaaaaaaaaaaaaaaaaaaaaaaa", "later cccccccccccccccccccccccc"


class Mounts:
    """Folders of secrets in a pod: each file is a link into a folder that is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._versions = folder, 0

    def put(self, name: str, files: dict[str, Path]) -> None:
        """Mount a secret, or replace it."""
        self._versions += 1
        mount = self.folder / name
        version = mount / f"..{self._versions}"
        version.mkdir(parents=True)
        for file, source in files.items():
            (version / file).write_bytes(source.read_bytes())
            if not (mount / file).is_symlink():
                (mount / file).symlink_to(f"..data/{file}")
        (mount / "..data_tmp").symlink_to(version.name)
        os.replace(mount / "..data_tmp", mount / "..data")


@pytest.fixture(scope="module")
def mounts(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Mounts:
    made = Mounts(tmp_path_factory.mktemp("pod"))
    made.put("tls", {"tls.crt": papers.server.certificate, "tls.key": papers.server.key})
    made.put("clients", {"ca.crt": papers.plant.certificate})
    made.put("keys", keys(papers, LINE))
    return made


def keys(papers: Papers, *lines: str) -> dict[str, Path]:
    """The files of a secret with keys, as the command makes them."""
    out = papers.folder / "secret"
    assert api_keys(papers.file("chart-keys", *lines), out) == (0, "")
    return {path.name: path for path in out.iterdir()}


def api_keys(file: Path, out: Path) -> tuple[int, str]:
    """How the command ends, and what it says."""
    command = [sys.executable, "-m", "deploy.api_keys", file, out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def url(cells_server: TritonServer, mounts: Mounts, papers: Papers) -> Iterator[str]:
    """Where an Envoy listens that has the chart's files and the mounts of its pod."""
    at, own, files = free_addresses(), cells_server.addresses, chart_files()
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": free_addresses().http}}
    servers = Name("localhost", own.grpc, own.http)
    config = bootstrap("127.0.0.1", at.grpc, at.http, servers, 1, admin, doors=with_keys(CLIENTS))

    def moved(content: object) -> str:
        text = json.dumps(content)
        for name in sorted(MOUNTS, key=lambda name: -len(MOUNTS[name])):
            text = text.replace(MOUNTS[name], str(mounts.folder / name))
        return text

    (mounts.folder / "config").mkdir()
    for name in ("certificate.json", "clients.json"):
        (mounts.folder / "config" / name).write_text(moved(files[name]))
    running = Envoy(mounts.folder, lambda line: None)
    running.start(json.loads(moved(config)))
    url = f"grpcs://localhost:{at.grpc}"
    try:
        wait_for(lambda: answers(url, known(papers, LINE)), str(running.last_lines))
        yield url
    finally:
        running.stop()


def known(papers: Papers, line: str) -> Access:
    own = papers.plant.vouch("pod")
    return Access(papers.plant.certificate, own.certificate, own.key, papers.file("pod-key", line))


def test_it_lets_in_who_has_a_certificate_and_a_key_and_nobody_else(url: str, papers: Papers) -> None:
    access = known(papers, LINE)
    ask(url, access)
    with pytest.raises(ServerUnavailable, match=WANTS_KEY):
        ask(url, replace(access, api_key=None))
    with pytest.raises(ServerUnavailable):
        ask(url, replace(access, certificate=None, key=None))


def test_secrets_that_are_replaced_are_read_again(url: str, papers: Papers, mounts: Mounts) -> None:
    assert not answers(url, known(papers, LATER))
    mounts.put("keys", keys(papers, LINE, LATER))
    wait_for(lambda: answers(url, known(papers, LATER)), "the new key is not known")
    renewed = papers.other.vouch("localhost")
    mounts.put("tls", {"tls.crt": renewed.certificate, "tls.key": renewed.key})
    access = replace(known(papers, LATER), ca=papers.other.certificate)
    wait_for(lambda: answers(url, access), "the new certificate is not shown")


def test_a_file_of_keys_that_cannot_be_used_is_told_in_one_line(papers: Papers, tmp_path: Path) -> None:
    wrong = papers.file("wrong-keys", "line short")
    status, said = api_keys(wrong, tmp_path / "out")
    assert status == 2
    assert said == (
        f"python -m deploy.api_keys: {wrong}, line 1: a key has 20 to 256 letters, digits and . _ ~ + / = -: "
        "`openssl rand -base64 32` makes one\n"
    )
    assert not (tmp_path / "out").exists()
