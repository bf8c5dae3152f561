"""Certificates for tests, made by openssl for this run alone."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.conftest import tool

USAGE = "keyUsage=critical,keyCertSign"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """Who vouches for certificates.

    Attributes:
        certificate: its own.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self._openssl = folder, tool("openssl", "apt-get install openssl")
        folder.mkdir(parents=True, exist_ok=True)
        made = self._made(name, "-addext", "basicConstraints=critical,CA:TRUE", "-addext", USAGE)
        self.certificate, self._key = made.certificate, made.key

    def vouch(self, name: str) -> Certificate:
        """A certificate for a host, or for a client."""
        signed = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-addext", f"subjectAltName=DNS:{name}")
        return self._made(name, *signed, "-addext", "basicConstraints=CA:FALSE")

    def _made(self, name: str, *options: str) -> Certificate:
        made = Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        command = [self._openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ("-keyout", str(made.key), "-out", str(made.certificate), "-days", "1", "-subj", f"/CN={name}")
        subprocess.run([*command, *files, *options], check=True, capture_output=True)
        return made
