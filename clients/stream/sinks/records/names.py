"""How records are called: in order of capture, with all that a person looks for."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

# 20261127T103015.123Z-fail-17.jpg: files whose names differ behind the number alone are one record.
RECORD = re.compile(r"^(\d{8}T\d{6}\.\d{3}Z-[a-z-]+-\d+)(\.boxes)?\.(jpg|json|mp4)$")
PART = re.compile(r"^\.\d{8}T\d{6}\.\d{3}Z-[a-z-]+-\d+\.")  # what was being written


def moment(captured_ns: int) -> str:
    """Return a time of capture since 1970 in nanoseconds as ISO 8601 in UTC, to the millisecond."""
    at = datetime.fromtimestamp(captured_ns // 1_000_000 / 1000, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stem(camera: str, captured_ns: int, what: str, number: int) -> Path:
    """Return the place of a record in its folder, without an ending: CAMERA/2026-11-27/20261127T103015.123Z-fail-17.

    Args:
        camera: name of the camera.
        captured_ns: time of capture since 1970, in nanoseconds.
        what: kind of record, small letters and hyphens.
        number: number of the frame.
    """
    at = moment(captured_ns)
    compact = at.replace("-", "").replace(":", "")
    return Path(camera, at[:10], f"{compact}-{what}-{number}")
