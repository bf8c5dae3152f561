"""Real handshakes with Envoy: who gets an answer with TLS and certificates of clients, and who none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.fleet.conftest import fleet_of
from tests.server.fleet.papers import EITHER, Papers, ask, urls
from tests.server.test_lifecycle import one_line_error, started
from triton_yolo.clients import Access, DetectionError, ServerUnavailable
from triton_yolo.server.fleet.access import AccessFiles
from triton_yolo.server.fleet.fleet import Fleet

Asking = Callable[[str, Access], int]


@pytest.fixture(scope="module")
def fleet(papers: Papers, cells_repository: Path) -> Iterator[Fleet]:
    server = papers.server
    files = AccessFiles(server.certificate, server.key, papers.plant.certificate)
    with fleet_of(cells_repository, 1, files) as running:
        yield running


@pytest.fixture(scope="module")
def known(papers: Papers) -> Access:
    own = papers.plant.vouch("client")
    return Access(papers.plant.certificate, own.certificate, own.key)


@EITHER
def test_a_client_that_the_authority_vouches_for_is_answered(fleet: Fleet, known: Access, asking: Asking) -> None:
    assert len({asking(url, known) for url in urls(fleet)}) == 1


@EITHER
def test_a_client_without_a_certificate_is_refused(fleet: Fleet, known: Access, asking: Asking) -> None:
    for url in urls(fleet):
        with pytest.raises(ServerUnavailable):
            asking(url, Access(known.ca))


@EITHER
def test_a_client_that_somebody_else_vouches_for_is_refused(
    fleet: Fleet, papers: Papers, known: Access, asking: Asking
) -> None:
    own = papers.other.vouch("client")
    for url in urls(fleet):
        with pytest.raises(ServerUnavailable):
            asking(url, replace(known, certificate=own.certificate, key=own.key))


@EITHER
def test_a_server_that_nobody_vouches_for_gets_nothing(
    fleet: Fleet, papers: Papers, known: Access, asking: Asking
) -> None:
    for url in urls(fleet):
        with pytest.raises(ServerUnavailable, match="no encrypted connection to the server"):
            asking(url, replace(known, ca=papers.other.certificate))


def test_a_client_that_does_not_encrypt_is_refused(fleet: Fleet) -> None:
    for url in urls(fleet, tls=False):
        with pytest.raises(ServerUnavailable):
            ask(url, Access())


def test_metrics_are_for_this_machine_alone(fleet: Fleet) -> None:
    assert fleet.metrics_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-certificate", "c"], "--tls-certificate and --tls-key belong together"),
        (["--tls-client-ca", "c"], "needs --tls-certificate and --tls-key"),
        (["--api-keys", "k", "--host", "0.0.0.0"], "send their keys in the clear"),
        (["--api-keys", "no-such-file"], "cannot read no-such-file: No such file or directory"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, options: list[str], words: str) -> None:
    assert words in one_line_error(tmp_path, *options)


@pytest.mark.slow
def test_serve_with_a_certificate_starts_one_server_behind_envoy_and_says_its_addresses(
    papers: Papers, cells_repository: Path, tmp_path: Path
) -> None:
    own = papers.plant.vouch("other-localhost")
    keys = papers.file("own-keys", "line aaaaaaaaaaaaaaaaaaaaaaaa")
    options = ("--tls-certificate", str(own.certificate), "--tls-key", str(own.key), "--api-keys", str(keys))
    with started(tmp_path, *options, "--host", "0.0.0.0", "--repository", str(cells_repository)) as server:
        lines = server.wait_until_ready()
        at = server.addresses
        assert f"  gRPC     grpcs://0.0.0.0:{at.grpc}" in lines
        assert f"  HTTP     https://0.0.0.0:{at.http}" in lines
        assert f"  metrics  http://127.0.0.1:{at.metrics}/metrics" in lines
        with pytest.raises(DetectionError, match="no encrypted connection"):  # it is another host's certificate
            ask(f"https://localhost:{at.http}", Access(papers.plant.certificate, api_key=keys))
