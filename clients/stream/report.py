"""The report of a line: what became of each camera's frames."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from triton_yolo.clients.stream.accounts import Account
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.collector import Collector
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.statistics import CameraStatistics, Latencies, boards_as_dict
from triton_yolo.clients.stream.verdict import Verdict


def report(cameras: Cameras, collector: Collector, sinks: Iterable[Sink], seconds: float) -> dict[str, Any]:
    """Return the report, ready for JSON.

    Args:
        cameras: the cameras.
        collector: what has asked the server.
        sinks: where results went.
        seconds: how long the line has run.
    """
    rows, total, statistics = [], Account(), collector.statistics
    for camera in cameras:
        measured = statistics.get(camera.name, CameraStatistics())
        account = camera.known_account()
        total.add(account)
        rows.append(
            {
                "name": camera.name,
                **_counts(account),
                **measured.as_dict(),
                "copies_per_frame": {"to_ring": camera.copies, "to_server": collector.copies},
                "state": camera.state,
                "restarts": camera.restarts,
                **({"trouble": camera.trouble} if camera.trouble else {}),
            }
        )
    parts = list(statistics.values())
    frames = sum(part.frames for part in parts)
    boards = sum((part.boards for part in parts), Counter[Verdict]())
    whole = {
        **_counts(total),
        "latency_ms": Latencies.together(part.latencies for part in parts).as_dict(),
        "bytes_per_frame": round(sum(part.nbytes for part in parts) / frames) if frames else None,
        "detections": sum(part.detections for part in parts),
        **({"boards": boards_as_dict(boards)} if boards else {}),
        "frames_per_request": round(frames / collector.requests, 2) if collector.requests else None,
        "account_checks": collector.checks,
        "seconds": round(seconds, 3),
        "frames_per_second": round(total.answered / seconds, 2) if seconds else None,
    }
    places = [{"kind": sink.kind, "missed": sink.missed, "queued": sink.queued, **sink.status()} for sink in sinks]
    return {"cameras": rows, "total": whole, "sinks": places}


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return a report as the content of a file."""
    return f"{json.dumps(content, indent=2)}\n".encode()


def _counts(account: Account) -> dict[str, Any]:
    return {
        "captured": account.captured,
        "answered": account.answered,
        "dropped": {reason.words: count for reason, count in sorted(account.dropped.items()) if count},
        "in_flight": account.in_flight,
    }
