"""Certificates, and clients that show them, for the tests of whom Envoy lets in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server.fleet.load import IMAGES
from tests.support.certificates import Authority, Certificate
from triton_yolo.clients import Access, AsyncDetector, Detector, ServerUnavailable
from triton_yolo.server.fleet.fleet import Fleet


@dataclass(frozen=True)
class Papers:
    """What servers and clients of these tests have.

    Attributes:
        plant: who vouches for the servers and for clients.
        other: who vouches for somebody whom nobody knows here.
        server: the servers' certificate, for localhost.
    """

    folder: Path
    plant: Authority
    other: Authority
    server: Certificate

    def file(self, name: str, *lines: str) -> Path:
        """A file that its owner alone may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def urls(fleet: Fleet, tls: bool = True) -> list[str]:
    s = "s" if tls else ""
    return [f"grpc{s}://localhost:{fleet.addresses.grpc}", f"http{s}://localhost:{fleet.addresses.http}"]


def ask(url: str, access: Access) -> int:
    """The number of detections on one image."""
    with Detector(url, access=access) as detector:
        return len(detector.detect(IMAGES[0]))


def answers(url: str, access: Access) -> bool:
    try:
        ask(url, access)
    except ServerUnavailable:
        return False
    return True


def ask_async(url: str, access: Access) -> int:
    """The same by the other client."""

    async def one() -> int:
        async with AsyncDetector(url, access=access) as detector:
            return len(await detector.detect(IMAGES[0]))

    return asyncio.run(one())


EITHER = pytest.mark.parametrize("asking", [ask, ask_async])
