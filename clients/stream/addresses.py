"""HOST:PORT, as settings have it."""

from __future__ import annotations

import re

from triton_yolo.clients.stream.errors import LineError


def host_and_port(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        LineError: it is something else.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+)):(\d{1,5})", text, re.ASCII)
    if not found or int(found[3]) > 65_535:
        raise LineError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return found[1] or found[2], int(found[3])
