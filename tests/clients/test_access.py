"""What a client shows a server: files that cannot be used are told at once, and keys are never sent in the clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from triton_yolo.clients import Access, AsyncDetector, DetectionError, Detector
from triton_yolo.clients.protocols.address import parse_url

KEY = "line aaaaaaaaaaaaaaaaaaaaaaaa"
both = pytest.mark.parametrize("kind", [Detector, AsyncDetector])
encrypted = pytest.mark.parametrize("url", ["grpcs://localhost:1", "https://localhost:1"])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with an API key."""
    path = tmp_path / "key"
    path.write_text(f"{KEY} 20\n")
    return path


def test_a_url_says_protocol_and_encryption() -> None:
    seen = {url: parse_url(url)[:3] for url in ("a:1", "grpc://a:1", "grpcs://a:1", "http://a:1/", "https://a:1")}
    assert list(seen.values()) == [
        ("grpc", "a:1", False),
        ("grpc", "a:1", False),
        ("grpc", "a:1", True),
        ("http", "a:1", False),
        ("http", "a:1", True),
    ]


@pytest.mark.parametrize(("url", "remedy"), [("192.0.2.7:8001", "grpcs"), ("http://192.0.2.7:8000", "https")])
def test_a_key_is_not_sent_to_another_machine_in_the_clear(key: Path, url: str, remedy: str) -> None:
    with pytest.raises(
        DetectionError, match=rf"an API key goes to another machine with TLS alone: write {remedy}://192"
    ):
        parse_url(url, Access(api_key=key))
    parse_url(f"{remedy}://192.0.2.7:8000", Access(api_key=key))
    parse_url("127.0.0.1:8001", Access(api_key=key))


def test_certificates_without_tls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectionError, match="certificates are for TLS, and localhost:1 has none: write grpcs://local"):
        parse_url("localhost:1", Access(ca=tmp_path))


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectionError, match="belong together"):
        Access(certificate=tmp_path)


def test_a_key_goes_as_name_and_password_of_http(key: Path) -> None:
    assert Access(api_key=key).headers() == {"authorization": "Basic bGluZTphYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="}
    assert Access().headers() == {}


@both
@encrypted
def test_files_that_cannot_be_used_are_told(
    kind: type[Detector] | type[AsyncDetector], url: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    ours, others = Authority(tmp_path / "a", "plant").vouch("a"), Authority(tmp_path / "b", "other").vouch("b")
    for access, words in [
        (Access(ca=tmp_path / "none"), f"cannot read {tmp_path}/none: No such file or directory"),
        (Access(ca=tmp_path / "empty"), "no certificates and key in PEM that belong together"),
        (Access(certificate=ours.certificate, key=others.key), "no certificates and key in PEM that belong together"),
        (Access(api_key=tmp_path / "empty"), f"{tmp_path}/empty: the first line must be NAME KEY"),
        (Access(api_key=tmp_path), f"cannot read {tmp_path}: Is a directory"),
    ]:
        with pytest.raises(DetectionError) as caught:
            kind(url, access=access)
        assert words in str(caught.value)
