"""How a client shows who it is, and knows who the server is: TLS and API keys."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path

from triton_yolo.clients.errors import DetectionError


@dataclass(frozen=True)
class Access:
    """Files that a client needs for a server which is not open to everybody; they are read when it connects.

    Attributes:
        ca: certificates of the authorities that may vouch for the server, PEM; those that the system knows where None.
        certificate: the client's own, where the server asks for one, PEM.
        key: private key of ``certificate``, PEM.
        api_key: file whose first line is NAME KEY, as it stands in the server's file of keys.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    api_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise DetectionError("a client's certificate and its private key belong together: give both, or neither")

    @property
    def encrypts(self) -> bool:
        """Whether one of the files is for TLS."""
        return bool(self.ca or self.certificate)

    def headers(self) -> dict[str, str]:
        """Return the headers that each request has.

        Raises:
            DetectionError: the file with the API key cannot be used.
        """
        if self.api_key is None:
            return {}
        line = _content(self.api_key).decode(errors="replace").partition("\n")[0].split()
        if len(line) not in (2, 3):
            raise DetectionError(
                f"{self.api_key}: the first line must be NAME KEY, as the server's file of keys has it"
            )
        return {"authorization": f"Basic {base64.b64encode(':'.join(line[:2]).encode()).decode()}"}

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return authorities, private key and certificate, as gRPC takes them.

        Raises:
            DetectionError: a file cannot be used.
        """
        self.context()  # gRPC says nothing of files that it cannot use
        ca, key, certificate = (_content(path) if path else None for path in (self.ca, self.key, self.certificate))
        return ca, key, certificate

    def context(self) -> ssl.SSLContext:
        """Return the same for HTTP.

        Raises:
            DetectionError: a file cannot be used.
        """
        for path in filter(None, (self.ca, self.certificate, self.key)):
            _content(path)  # says which it is that cannot be read
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key, password="")
        except (ssl.SSLError, ValueError) as error:
            files = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path)
            raise DetectionError(f"{files}: no certificates and key in PEM that belong together: {error}") from None
        return context


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DetectionError(f"cannot read {path}: {error.strerror}") from None
