"""The sink: counts verdicts and times, and shows the line's report, each time that Prometheus asks."""

from __future__ import annotations

import time
from collections import Counter as Count
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from triton_yolo.clients.stream.events import CameraStatus, Event, LineStatus
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.line import Line
from triton_yolo.clients.stream.sinks.base import Sink
from triton_yolo.clients.stream.sinks.metrics.server import MetricsServer
from triton_yolo.clients.stream.sinks.metrics.settings import MetricsSettings
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

PREFIX = "triton_yolo_"
CAMERAS, CLASSES, SINKS = 64, 100, 32  # labels of each, at most; what comes then is OTHER
OTHER = "other"
STATES = ("opening", "running", "waiting", "ended", "failed")
BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0)

Key = tuple[str, ...]  # values of labels


class Labels:
    """The values of a label, of which there are not too many."""

    def __init__(self, most: int) -> None:
        """Prepare.

        Args:
            most: how many there may be.
        """
        self._most, self._known = most, set[str]()

    def __call__(self, value: str) -> str:
        """Return a value, or OTHER where there are too many."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class Metrics(Sink):
    """Serves metrics."""

    kind, events = "metrics", (FrameVerdict, BoardVerdict, CameraStatus, LineStatus)

    def __init__(self, settings: MetricsSettings, line: Line) -> None:
        """Listen.

        Args:
            settings: of the line's file.
            line: the line.

        Raises:
            LineError: it cannot listen there.
        """
        self._line = line.name
        registry = CollectorRegistry()
        self._camera, self._class = Labels(CAMERAS), Labels(CLASSES)
        self._verdicts = Counter(
            f"{PREFIX}verdicts",
            "Verdicts on frames and boards.",
            ("line", "camera", "of", "verdict"),
            registry=registry,
        )
        self._defects = Counter(
            f"{PREFIX}defects", "Defects in frames that have failed.", ("line", "class"), registry=registry
        )
        self._seconds = Histogram(
            f"{PREFIX}latency_seconds",
            "Of frames that were inspected: waiting (capture to request), inference (request to answer), total (both), "
            "handover (answer to sinks).",
            ("line", "camera", "stage"),
            registry=registry,
            buckets=BUCKETS,
        )
        self._report = _Report(line, self._camera)
        registry.register(self._report)
        self._server = MetricsServer(settings.host, settings.port, registry)
        super().__init__()

    @classmethod
    def of(cls, settings: MetricsSettings, line: Line) -> Metrics:
        """See Sink."""
        return cls(settings, line)

    def write(self, event: Event) -> None:
        """See Sink."""
        if isinstance(event, FrameVerdict):
            self._count("frame", event.result.camera, event.verdict)
            self._measure(event.result)
            for name, count in Count(event.defects.names if event.defects is not None else ()).items():
                self._defects.labels(self._line, self._class(name)).inc(count)
        elif isinstance(event, BoardVerdict):
            self._count("board", event.camera, event.verdict)
        elif isinstance(event, LineStatus):
            self._report.status = event
        elif isinstance(event, CameraStatus):
            self._report.states[event.camera] = event.state

    def finish(self) -> None:
        """See Sink."""
        self._server.close()

    def _count(self, of: str, camera: str, verdict: Verdict) -> None:
        self._verdicts.labels(self._line, self._camera(camera), of, verdict.value).inc()

    def _measure(self, result: Result) -> None:
        if result.state != ResultState.INSPECTED or result.latency_ms is None:
            return
        total = result.latency_ms / 1000
        since = (time.monotonic_ns() - result.monotonic_ns) / 1e9
        stages = {"total": total, "handover": max(0.0, since - total)}
        if result.sent_ns:
            stages["waiting"] = (result.sent_ns - result.monotonic_ns) / 1e9
            stages["inference"] = total - stages["waiting"]
        for stage, seconds in stages.items():
            self._seconds.labels(self._line, self._camera(result.camera), stage).observe(seconds)


class _Report(Collector):
    """The last report of the line as metrics.

    Attributes:
        status: how the line is; None before it has said so.
        states: of the cameras, by name.
    """

    def __init__(self, line: Line, camera: Labels) -> None:
        self.status: LineStatus | None = None
        self.states: dict[str, str] = {}
        self._line, self._camera, self._sink = line, camera, Labels(SINKS)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        line = self._line
        yield from self._gauges(
            "line_deadline_seconds", "Of a frame, from its capture.", (), {(): line.deadline_ms / 1e3}
        )
        yield from self._gauges("ring_slots", "Slots of each camera in the ring.", (), {(): line.slots})
        if self.status is None:
            return
        report: Mapping[str, Any] = self.status.report
        yield from self._gauges("server_away", "1 while no server answers.", (), {(): int(bool(self.status.away))})
        yield from self._cameras(report["cameras"])
        yield from self._sinks(report["sinks"])

    def _cameras(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
        sums: dict[str, Count[Key]] = {
            key: Count()
            for key in ("captured", "answered", "dropped", "in_flight", "restarts", "sent", "sent_bytes", "raw_bytes")
        }
        coded: dict[Key, float] = {}
        states: dict[Key, float] = {}
        for row in rows:
            name = self._camera(row["name"])
            for key in ("captured", "answered", "in_flight", "restarts"):
                sums[key][(name,)] += row.get(key, 0)
            for reason, count in row.get("dropped", {}).items():
                sums["dropped"][name, reason] += count
            for kind, count in row.get("sent", {}).get("frames", {}).items():
                sums["sent"][name, kind] += count
            if "sent" in row:
                sums["sent_bytes"][(name,)] += row["sent"]["bytes"]
                sums["raw_bytes"][(name,)] += row["sent"]["raw_bytes"]
                if name != OTHER and row["sent"]["coded_frame_bytes"]:
                    coded[(name,)] = row["sent"]["coded_frame_bytes"]
            if name != OTHER:
                state = self.states.get(row["name"], row["state"])
                states |= {(name, one): int(one == state) for one in STATES}
        yield from self._counters("frames_captured", "Frames that have a number.", ("camera",), sums["captured"])
        yield from self._counters("frames_answered", "Frames inspected in time.", ("camera",), sums["answered"])
        yield from self._counters("frames_dropped", "Frames not inspected.", ("camera", "reason"), sums["dropped"])
        yield from self._counters(
            "changes_frames", "Frames of which changes are sent.", ("camera", "kind"), sums["sent"]
        )
        yield from self._counters("changes_bytes", "Bytes sent of those.", ("camera",), sums["sent_bytes"])
        yield from self._counters("changes_raw_bytes", "Bytes captured of those.", ("camera",), sums["raw_bytes"])
        yield from self._gauges("changes_coded_frame_bytes", "Of one as a JPEG or PNG, the mean.", ("camera",), coded)
        yield from self._counters("camera_restarts", "How often opened anew.", ("camera",), sums["restarts"])
        yield from self._gauges("frames_in_flight", "Slots of the ring in use.", ("camera",), sums["in_flight"])
        yield from self._gauges("camera_state", "1 for the state that it has.", ("camera", "state"), states)

    def _sinks(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
        seen = Count[str]()
        queued, missed, away, waiting, dropped = (dict[Key, float]() for _ in range(5))
        for row in rows:
            seen[row["kind"]] += 1
            name = row["kind"] if seen[row["kind"]] == 1 else f"{row['kind']} {seen[row['kind']]}"
            key = (self._sink(name),)
            queued[key], missed[key] = row.get("queued", 0), row["missed"]
            if "away" in row:
                away[key] = int(bool(row["away"]))
            if "waiting" in row:
                waiting[key], dropped[key] = row["waiting"], row.get("dropped", 0)
        yield from self._gauges("sink_queued", "Events in a sink's queue.", ("sink",), queued)
        yield from self._counters("sink_missed", "Events that a sink did not take.", ("sink",), missed)
        yield from self._gauges("sink_away", "1 while a sink's receiver is away.", ("sink",), away)
        yield from self._gauges("sink_waiting", "Messages on disk for a receiver that is away.", ("sink",), waiting)
        yield from self._counters("sink_dropped", "Messages dropped past the disk's bound.", ("sink",), dropped)

    def _gauges(self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Key, float]) -> Iterator[Metric]:
        family = GaugeMetricFamily(PREFIX + name, text, labels=("line", *labels))
        for key, value in values.items():
            family.add_metric((self._line.name, *key), value)
        yield family

    def _counters(self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Key, float]) -> Iterator[Metric]:
        family = CounterMetricFamily(PREFIX + name, text, labels=("line", *labels))
        for key, value in values.items():
            family.add_metric((self._line.name, *key), value)
        yield family
