"""Files with keys and certificates that cannot be used are told by name and line, and no key is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet.access import AccessFiles, read_keys
from triton_yolo.server.fleet.envoy_access import ApiKey, rates

KEY = "aaaaaaaaaaaaaaaaaaaaaaaa"


def keys_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_keys_are_read_with_their_rates(tmp_path: Path) -> None:
    path = keys_file(tmp_path, f"# plant 1\nline {KEY}\n\n  nightly  {KEY}b  20 \n", 0o640)
    assert read_keys(path) == [ApiKey("line", KEY, None), ApiKey("nightly", f"{KEY}b", 20)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no key, so that nobody could ask"),
        ("# all gone\n", "has no key, so that nobody could ask"),
        (f"\nline {KEY}\nline {KEY}b\n", "line 3: line has a key already"),
        (f"{KEY}\n", "line 1: a line is NAME KEY"),
        (f"line {KEY} 20 30\n", "line 1: a line is NAME KEY"),
        (f"a:b {KEY}\n", "line 1: a name has letters, digits"),
        ("line aaaaaaaaaaaaaaaaaaa\n", "line 1: a key has 20 to 256"),
        (f"line {KEY}ä\n", "line 1: a key has 20 to 256"),
        (f"line {KEY} 0\n", "line 1: requests in a second are a whole number from 1"),
        (f"line {KEY} 0.5\n", "line 1: requests in a second are a whole number from 1"),
        (f"line {KEY} 9999999\n", "line 1: requests in a second are a whole number from 1"),
    ],
)
def test_wrong_lines_are_told_and_no_key_is_shown(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        read_keys(keys_file(tmp_path, text))
    assert words in str(caught.value)
    assert "aaaaaaaaaaaa" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_secrets_that_everybody_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = keys_file(tmp_path, f"line {KEY}\n", mode)
    with pytest.raises(ServerError, match=rf"everybody on this machine may read .*chmod o= {path}"):
        AccessFiles(api_keys=path).read()
    own = Authority(tmp_path, "plant").vouch("localhost")
    own.key.chmod(mode)
    with pytest.raises(ServerError, match=rf"everybody on this machine may read .*chmod o= {own.key}"):
        AccessFiles(own.certificate, own.key).read()


def test_certificates_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path / "a", "plant").vouch("a"), Authority(tmp_path / "b", "other").vouch("b")
    with pytest.raises(ServerError, match="no certificate and private key in PEM that belong together"):
        AccessFiles(ours.certificate, others.key).read()
    with pytest.raises(ServerError, match="has no certificates in PEM"):
        AccessFiles(ours.certificate, ours.key, client_ca=ours.key).read()
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ServerError, match="is no text"):
        AccessFiles(ours.certificate, ours.key, client_ca=binary).read()


def test_a_client_without_a_rate_is_not_counted() -> None:
    [resource] = rates([ApiKey("line", KEY, None), ApiKey("slow", KEY, 3)])["resources"]
    [limit] = resource["typed_config"]["descriptors"]
    assert limit["entries"] == [{"key": "client", "value": "slow"}]
    assert limit["token_bucket"]["max_tokens"] == 3
