"""The spans of a line's frames, through OpenTelemetry's SDK, as OTLP over HTTP.

    frame               from capture to the sinks
      capture           from the sensor's time to the ring
      ring              until it is taken from there
      request           until the answer; what Triton does is below it
      order             until the frames before it have their results
      sink KIND         from the hand-over until the sink has written

A request may carry frames of several cameras: it is in the trace of the first of those that are traced, and the request
spans of the others link to that one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, Span, Status, StatusCode, set_span_in_context

from triton_yolo.clients.request import TRACE_PARENT
from triton_yolo.clients.stream.events import Event
from triton_yolo.clients.stream.frames import Frame, Result, ResultState
from triton_yolo.clients.stream.tracing.settings import TracingSettings
from triton_yolo.clients.stream.verdict import FrameVerdict

SERVICE = "triton-yolo-line"
EXPORT_SECONDS = 5.0  # for a collector to take spans; also at the end of the line
REMEMBERED = 1024  # newest frames that sinks may still write

Key = tuple[str, int]  # camera and number of a frame


@dataclass
class _Trace:
    """A frame that is traced; times are those of ``time.monotonic_ns``.

    Attributes:
        span: of the frame.
        ahead: nanoseconds since 1970 when that clock was at 0; one for all of its spans, since the clock may be set.
        captured: when it was.
        ready: when it was first seen in the ring.
        taken: when it was taken from there; 0 before.
        answered: when its request ended; 0 before.
        told: when its sinks were told of it; 0 before.
    """

    span: Span
    ahead: int
    captured: int
    ready: int
    taken: int = 0
    answered: int = 0
    told: int = 0


@dataclass
class Spans:
    """Makes the spans of one line's frames and sends them; the line tells it of each step of a frame.

    Attributes:
        settings: where they go.
        line: name of the line.
    """

    settings: TracingSettings
    line: str
    _open: dict[Key, _Trace] = field(default_factory=dict)
    _told: OrderedDict[Key, _Trace] = field(default_factory=OrderedDict)  # frames that sinks were told of
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Begin; nothing is sent before a frame is traced."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a collector that is away is no news each second
        exporter = OTLPSpanExporter(self.settings.endpoint, timeout=EXPORT_SECONDS)
        resource = Resource.create({"service.name": SERVICE, "triton_yolo.line": self.line})
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("triton_yolo")

    def is_traced(self, number: int) -> bool:
        """Return whether a frame of this number is: they are spread evenly."""
        share = self.settings.share
        return int((number + 1) * share) > int(number * share)

    def seen(self, camera: str, number: int, captured: int, now: int) -> None:
        """Take notice of a frame that waits in the ring; once it is known nothing happens.

        Args:
            camera: name of its camera.
            number: of the frame.
            captured: time of its capture on the monotonic clock, in nanoseconds.
            now: the time on that clock.
        """
        if not self.is_traced(number) or (camera, number) in self._open:
            return
        about: dict[str, str | int] = {"line": self.line, "camera": camera, "frame": number}
        ahead = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span("frame", start_time=ahead + captured, attributes=about)
        self._open[camera, number] = _Trace(span, ahead, captured, now)

    def taken(self, camera: str, number: int, now: int) -> None:
        """Take notice that a frame was taken from the ring."""
        if trace := self._open.get((camera, number)):
            trace.taken = now

    @contextmanager
    def request(self, frames: Iterable[Frame]) -> Iterator[None]:
        """Trace a request; what is sent inside names its span as its parent.

        Args:
            frames: that it carries.
        """
        traces = [trace for frame in frames if (trace := self._open.get((frame.camera, frame.capture.number)))]
        if not traces:
            yield
            return
        spans, begin = list[Span](), time.monotonic_ns()
        for trace in traces:
            links, context = [Link(spans[0].get_span_context())] if spans else [], set_span_in_context(trace.span)
            spans.append(self._tracer.start_span("request", context, links=links, start_time=trace.ahead + begin))
        carries = spans[0].get_span_context()
        before = TRACE_PARENT.set(f"00-{carries.trace_id:032x}-{carries.span_id:016x}-01")
        try:
            yield
        except BaseException as error:
            for span in spans:
                span.set_status(Status(StatusCode.ERROR, str(error) or type(error).__name__))
            raise
        finally:
            TRACE_PARENT.reset(before)
            now = time.monotonic_ns()
            for trace, span in zip(traces, spans, strict=True):
                trace.answered = now
                span.end(trace.ahead + now)

    def emitted(self, result: Result) -> None:
        """End a frame's span, with the spans that are known by now; its sinks are told at this moment."""
        key = result.camera, result.number
        trace = self._open.pop(key, None)
        if trace is None:
            return
        trace.told = time.monotonic_ns()
        self._past("capture", trace, trace.captured, trace.ready)
        self._past("ring", trace, trace.ready, trace.taken)
        self._past("order", trace, trace.answered, trace.told)
        trace.span.set_attribute("state", result.state.value)
        if result.age:
            trace.span.set_attribute("age", result.age)
        if result.state != ResultState.INSPECTED:
            trace.span.set_status(Status(StatusCode.ERROR, result.reason))
        trace.span.end(trace.ahead + trace.told)
        with self._lock:
            self._told[key] = trace
            while len(self._told) > REMEMBERED:
                self._told.popitem(last=False)

    def written(self, kind: str, event: Event, begin: int, end: int) -> None:
        """Trace what a sink has written; may be called in any thread.

        Args:
            kind: of the sink.
            event: what it has written.
            begin: when it began to, on the monotonic clock in nanoseconds; before, the event was in its queue.
            end: when it was done.
        """
        if not isinstance(event, FrameVerdict) or not self.is_traced(event.result.number):
            return
        with self._lock:
            trace = self._told.get((event.result.camera, event.result.number))
        if trace:
            about = {"queued_ms": (begin - trace.told) / 1e6, "verdict": event.verdict.value}
            self._past(f"sink {kind}", trace, trace.told, end, about)

    def close(self) -> None:
        """Send what is left, for a bounded time."""
        last = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        last.start()
        last.join(EXPORT_SECONDS)

    def _past(
        self, name: str, trace: _Trace, begin: int, end: int, about: dict[str, float | str] | None = None
    ) -> None:
        """Add a span of what has been of a frame, unless one of its ends is not known."""
        if begin and end:
            context, ahead = set_span_in_context(trace.span), trace.ahead
            self._tracer.start_span(name, context, start_time=ahead + begin, attributes=about).end(ahead + end)
