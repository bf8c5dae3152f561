"""Files that a user names for whom several servers answer: certificates and API keys."""

from __future__ import annotations

import os
import re
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from triton_yolo.server.errors import ServerError
from triton_yolo.server.fleet.envoy_access import (
    CERTIFICATE,
    CLIENTS,
    KEYS,
    RATES,
    ApiKey,
    Doors,
    authorities,
    certificate,
    keys,
    rates,
)
from triton_yolo.server.fleet.envoy_clusters import Config

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
KEY = re.compile(r"[A-Za-z0-9._~+/=-]{20,256}")
MOST_RATE = 1_000_000  # requests in a second


@dataclass(frozen=True)
class AccessFiles:
    """What the options name; nothing is asked of clients where all are None.

    Attributes:
        certificate: of the server, with those that vouch for it, PEM.
        key: its private key, PEM.
        client_ca: certificates of the authorities for those of clients, PEM.
        api_keys: a client's NAME KEY [REQUESTS/S] on each line.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    api_keys: Path | None = None

    def __bool__(self) -> bool:
        return any((self.certificate, self.key, self.client_ca, self.api_keys))

    def check(self, loopback: bool) -> None:
        """Refuse options that contradict each other.

        Args:
            loopback: whether the server listens for this machine alone.

        Raises:
            ServerError: says what is missing.
        """
        if (self.certificate is None) != (self.key is None):
            raise ServerError("--tls-certificate and --tls-key belong together: give both, or neither")
        if self.client_ca and not self.certificate:
            raise ServerError("--tls-client-ca asks for certificates, which needs --tls-certificate and --tls-key")
        if self.api_keys and not self.certificate and not loopback:
            raise ServerError(
                "--api-keys would let other machines send their keys in the clear: give --tls-certificate and --tls-key"
            )

    @property
    def changed(self) -> tuple[object, ...]:
        """What differs once one of the files has another content."""
        return tuple(_mark(path) for path in (self.certificate, self.key, self.client_ca, self.api_keys) if path)

    def doors(self, folder: Path) -> Doors:
        """Return where Envoy reads what ``read`` returns.

        Args:
            folder: that the files are in.
        """

        def source(name: str, wanted: Path | None) -> Config | None:
            return {"path": f"{folder}/{name}.json"} if wanted else None

        return Doors(
            source(CERTIFICATE, self.certificate),
            source(CLIENTS, self.client_ca),
            source(KEYS, self.api_keys),
            source(RATES, self.api_keys),
        )

    def read(self) -> dict[str, Config]:
        """Return the contents of the files for Envoy, by name without ending.

        Raises:
            ServerError: a file cannot be used; says which, and why.
        """
        found: dict[str, Config] = {}
        if self.certificate and self.key:
            chain, key = _content(self.certificate), _content(self.key, secret=True)
            _check_pair(self.certificate, self.key)
            found[CERTIFICATE] = certificate({"inline_string": chain}, {"inline_string": key})
        if self.client_ca:
            trusted = _content(self.client_ca)
            _check_authorities(self.client_ca)
            found[CLIENTS] = authorities({"inline_string": trusted})
        if self.api_keys:
            known = read_keys(self.api_keys)
            found[KEYS], found[RATES] = keys(known), rates(known)
        return found


def read_keys(path: Path) -> list[ApiKey]:
    """Return the API keys of a file.

    Args:
        path: of the file: NAME KEY [REQUESTS/S] on each line; what begins with # is a comment.

    Raises:
        ServerError: it cannot be used; says which line is wrong, and never shows a key.
    """
    found: dict[str, ApiKey] = {}
    for number, line in enumerate(_content(path, secret=True).splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            one = _api_key(words)
        except ValueError as error:
            raise ServerError(f"{path}, line {number}: {error}") from None
        if one.client in found:
            raise ServerError(f"{path}, line {number}: {one.client} has a key already; a second one needs another name")
        found[one.client] = one
    if not found:
        raise ServerError(f"{path} has no key, so that nobody could ask: write NAME KEY on a line")
    return list(found.values())


def _api_key(words: list[str]) -> ApiKey:
    if len(words) not in (2, 3):
        raise ValueError(f"a line is NAME KEY, or NAME KEY REQUESTS/S; this one has {len(words)} words")
    name, key = words[:2]
    if not NAME.fullmatch(name):
        raise ValueError("a name has letters, digits, and _ . - behind the first; at most 64")
    if not KEY.fullmatch(key):
        raise ValueError("a key has 20 to 256 letters, digits and . _ ~ + / = -: `openssl rand -base64 32` makes one")
    if words[2:] and not (words[2].isdecimal() and 1 <= int(words[2]) <= MOST_RATE):
        raise ValueError(f"requests in a second are a whole number from 1 to {MOST_RATE}; got {words[2]}")
    return ApiKey(name, key, int(words[2]) if words[2:] else None)


def _content(path: Path, secret: bool = False) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            if secret and os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise ServerError(f"everybody on this machine may read {path}, which is secret: chmod o= {path}")
            return file.read()
    except OSError as error:
        raise ServerError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ServerError(f"{path} is no text") from None


def _check_pair(chain: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ServerError(
            f"{chain} and {key} are no certificate and private key in PEM that belong together: {error}"
        ) from None


def _check_authorities(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ServerError(f"{path} has no certificates in PEM: {error}") from None


def _mark(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
