"""The spans of frames, as a collector gets them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.clients.stream.results import inspected, late
from tests.clients.stream.test_usage import CAMERA
from tests.clients.stream.tracing.collector import Collector
from tests.conftest import ROOT
from triton_yolo.clients.memory.ring import Capture
from triton_yolo.clients.request import TRACE_PARENT, Request
from triton_yolo.clients.stream import tracing
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.frames import Frame, Place
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.line import checked
from triton_yolo.clients.stream.tracing import spans as module
from triton_yolo.clients.stream.tracing.settings import TracingSettings
from triton_yolo.clients.stream.tracing.spans import Spans

REQUEST = Request("detect_frames", "frames", np.zeros((1, 2, 2, 3), np.uint8))
NANO = 1_000_000_000


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as listening:
        yield listening


def spans(collector: Collector, share: float = 1.0) -> Spans:
    return Spans(TracingSettings(endpoint=collector.url, share=share), "line-3")


def frame(camera: str, number: int) -> Frame:
    return Frame(camera, Capture(0, 0, number, 0, 0, 12, 2, 2, 0), "rgb", cast(Place, None))


def test_a_frame_is_one_trace_from_its_capture_to_the_sinks(collector: Collector) -> None:
    made, now = spans(collector), time.monotonic_ns()
    wall = time.time_ns()
    made.seen("top", 7, now, now + NANO)
    made.seen("top", 7, now, now + 2 * NANO)  # it still waits
    made.taken("top", 7, now + 3 * NANO)
    with made.request([frame("top", 7)]):
        parent = REQUEST.headers["traceparent"]
    made.emitted(inspected(7))
    made.written("log", Judge().frame(inspected(7)), time.monotonic_ns(), time.monotonic_ns())
    made.close()

    [whole] = collector.named("frame")
    assert (whole.service, whole.parent, whole.failed) == ("triton-yolo-line", "", False)
    assert whole.about == {"line": "line-3", "camera": "top", "frame": 7, "state": "inspected"}
    assert abs(whole.begin - wall) < NANO
    parts = {span.name: span for span in collector.below(whole)}
    assert set(parts) == {"capture", "ring", "request", "order", "sink log"}
    assert parts["capture"].begin == whole.begin
    assert parts["capture"].end == parts["ring"].begin == whole.begin + NANO
    assert parts["ring"].end == whole.begin + 3 * NANO
    assert parts["order"].end == parts["sink log"].begin == whole.end
    assert parent == f"00-{whole.trace}-{parts['request'].id}-01"
    assert parts["sink log"].about["verdict"] == "pass"
    assert "traceparent" not in REQUEST.headers, "outside of the request"


def test_frames_of_one_request_have_traces_of_their_own_which_link_to_the_one_that_carries_it(
    collector: Collector,
) -> None:
    made, now = spans(collector), time.monotonic_ns()
    for camera in ("top", "side"):
        made.seen(camera, 0, now, now)
    with made.request([frame("top", 0), frame("side", 0), frame("new", 0)]):
        parent = TRACE_PARENT.get()
    for camera in ("top", "side"):
        made.emitted(inspected(0, camera=camera))
    made.close()

    first, second = (
        next(one for one in collector.named("frame") if one.about["camera"] == name) for name in ("top", "side")
    )
    assert first.trace != second.trace
    [carries], [linked] = (
        [one for one in collector.below(whole) if one.name == "request"] for whole in (first, second)
    )
    assert parent.split("-")[1:3] == [carries.trace, carries.id]
    assert (carries.links, linked.links) == ((), (carries.id,))


def test_what_was_not_inspected_is_an_error_and_so_is_its_request(collector: Collector) -> None:
    made, now = spans(collector), time.monotonic_ns()
    made.seen("top", 2, now, now)
    with pytest.raises(TimeoutError), made.request([frame("top", 2)]):
        raise TimeoutError
    made.seen("top", 3, now, now)  # and one that never was sent
    made.emitted(late(2))
    made.emitted(late(3))
    made.close()

    asked, waited = sorted(collector.named("frame"), key=lambda span: span.about["frame"])
    assert asked.failed
    assert waited.failed
    assert [span.failed for span in collector.below(asked) if span.name == "request"] == [True]
    assert [span.name for span in collector.below(waited)] == ["capture"]


@pytest.mark.parametrize(("share", "count"), [(1.0, 1000), (0.5, 500), (0.01, 10), (0.333, 333), (1e-9, 0)])
def test_a_share_of_the_frames_is_traced_evenly(collector: Collector, share: float, count: int) -> None:
    made = spans(collector, share)
    traced = [number for number in range(1000) if made.is_traced(number)]
    assert len(traced) == count
    assert max(np.diff(traced), default=0) - min(np.diff(traced), default=0) <= 1
    for number in range(1000):
        made.seen("top", number, 1, 1)
    assert len(made._open) == count
    made.close()


def test_a_collector_that_is_away_holds_up_nobody_and_what_is_remembered_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    monkeypatch.setattr(module, "EXPORT_SECONDS", 1.0)
    made = Spans(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces", share=1), "line-3")
    for number in range(5000):
        made.seen("top", number, 1, 1)
        made.emitted(inspected(number))
    assert len(made._told) == 10
    assert not made._open
    made.close()


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "ftp://a/", "http://", "http://a:0/", "http://a:99999/", "http://[/"]
)
def test_an_endpoint_that_is_none_is_said(endpoint: str, tmp_path: Path) -> None:
    content = {"name": "a", "cameras": [CAMERA], "tracing": {"endpoint": endpoint}}
    with pytest.raises(LineError, match=r"tracing\.endpoint: .* is no address such as http://127\.0\.0\.1:4318"):
        checked(content, "")


def test_a_line_that_traces_nothing_loads_nothing_for_it() -> None:
    program = (
        "import sys; import triton_yolo.clients.commands.stream; from triton_yolo.clients.stream.line import line_of; "
        "from triton_yolo.clients.stream.run import Stream; Stream(line_of(['synthetic:photo'], name='a'), []); "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_a_line_that_lacks_the_packages_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, tracing.SPANS)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        LineError, match=r"^tracing needs the package opentelemetry\.sdk\.trace: pip install 'triton-yolo\["
    ):
        tracing.spans_of(TracingSettings(endpoint="http://127.0.0.1:4318/v1/traces"), "line-3")


def test_a_server_refuses_an_endpoint_that_is_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "triton_yolo", "serve", "--trace", "127.0.0.1:4318"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("triton-yolo serve: --trace '127.0.0.1:4318' is no address such as http://127.0.0.1:4318")
