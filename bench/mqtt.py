"""Command line: python -m bench.mqtt, results that go through a broker which is killed and restarted meanwhile."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from bench.broker import PATIENCE, Broker, Subscriber
from bench.origin import measured_on
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.stream.frames import Result, ResultState
from triton_yolo.clients.stream.sinks.mqtt.settings import MqttSettings
from triton_yolo.clients.stream.sinks.mqtt.sink import Mqtt
from triton_yolo.clients.stream.verdict import FrameVerdict, Verdict
from triton_yolo.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
CAMERAS = tuple(f"camera-{number}" for number in range(1, 5))
AHEAD = 2000  # results that were put and have not arrived yet, at most
LONGEST_AWAY = 0.3  # seconds


def main(
    out: Annotated[Path, typer.Option(help="File for the results.")] = ROOT / "bench/results/mqtt.json",
    results: Annotated[int, typer.Option(min=100, help="How many results of frames.")] = 100_000,
    restarts: Annotated[int, typer.Option(min=0, help="How often the broker is killed, with SIGKILL.")] = 50,
) -> None:
    """Publish results through the sink to mosquitto, which is killed and restarted at random, and count arrivals."""
    program = shutil.which("mosquitto")
    if program is None:
        raise typer.BadParameter("mosquitto is not installed: the package mosquitto of Debian and Ubuntu")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(program, Path(folder), results, restarts, lambda steps: track(steps, "Restarts"))
    packages = {name: version(name) for name in ("paho-mqtt",)}
    result = {"measured_on": {**measured_on(), **packages}, **found}
    text = json.dumps(result, indent=2)
    write_whole(out, f"{text}\n".encode())
    typer.echo(text)


def measure(
    program: str, folder: Path, results: int, restarts: int, progress: Callable[[range], Any] = iter
) -> dict[str, Any]:
    """Publish results while the broker is killed and restarted.

    Args:
        program: path of mosquitto.
        folder: for the broker's file and the sink's.
        results: how many.
        restarts: how often the broker is killed.
        progress: gets the numbers of the restarts, and passes them on one by one.

    Returns:
        What has become of the results: how many arrived once their numbers were looked at, how many came twice on the
        wire, were dropped by the bound, are missing, or came out of order.
    """
    chance = random.Random(0)
    broker = Broker(program, folder / "broker")
    with broker, Subscriber(broker.port, "triton-yolo/v1/plant/DDATA/#", keep=False) as subscriber:
        broker.stop()  # writes the subscriber's session, which each kill leaves as it is
        broker.start()
        subscriber.wait(lambda: subscriber.sessions == 2)
        settings = MqttSettings(kind="mqtt", host="127.0.0.1", port=broker.port, keep=folder / "box")
        sink = Mqtt(settings, "line", boards=False)
        put = waiting = 0
        begun, processor = time.monotonic(), time.process_time()

        def put_until(end: int) -> int:
            nonlocal put, waiting
            while put < end:
                if put - subscriber.count < AHEAD:
                    sink.put(_result(put))
                    put += 1
                    waiting = max(waiting, sink.status()["waiting"]) if put % 100 == 0 else waiting
                else:
                    time.sleep(0.001)
            return put

        for number in progress(range(restarts)):
            put_until(results * number // restarts + chance.randrange(1, max(2, results // restarts)))
            sessions = subscriber.sessions
            # What mosquitto has confirmed and not yet passed on is in its memory alone, and would be lost with it.
            _drain(sink)
            subscriber.wait(lambda: subscriber.count >= put)
            broker.kill()
            away = time.monotonic() + chance.uniform(0, LONGEST_AWAY)
            while time.monotonic() < away and put < results and put - subscriber.count < AHEAD:
                put_until(put + 1)
            broker.start()
            # What the broker confirms from now on waits in its memory until the subscriber is back.
            subscriber.wait(lambda before=sessions: subscriber.sessions > before)
        put_until(results)
        _drain(sink)
        sink.close()
        seconds, processor = time.monotonic() - begun, time.process_time() - processor
        last = dict(sink._outbox._last)
        end = time.monotonic() + PATIENCE
        while any(_last(subscriber, topic) != number for topic, number in last.items()) and time.monotonic() < end:
            time.sleep(0.05)
        arrived = twice = disordered = missing = 0
        for topic, number in last.items():
            numbers = subscriber.contents(topic)
            once = list(dict.fromkeys(numbers))
            arrived, twice = arrived + len(once), twice + len(numbers) - len(once)
            disordered += sum(after < before for before, after in pairwise(once))
            missing += number - len(once)
    status = sink.status()
    return {
        "results": results,
        "cameras": len(CAMERAS),
        "broker_kills": restarts,
        "arrived": arrived,
        "arrived_twice_on_the_wire": twice,
        "out_of_order": disordered,
        "dropped_by_the_bound": status["dropped"],
        "missed_by_the_queue": sink.missed,
        "missing": missing - status["dropped"],
        "most_waiting_on_disk": waiting,
        "seconds": round(seconds, 1),
        "results_per_second": round(results / seconds),
        "processor_seconds_with_subscriber": round(processor, 1),
    }


def _result(number: int) -> FrameVerdict:
    """Return the result of a frame with one defect in every tenth frame."""
    found = int(number % 10 == 0)
    detections = Detections(
        np.full((found, 4), 10.5, np.float32),
        np.full(found, 0.75, np.float32),
        np.zeros(found, np.int32),
        ("open",) * found,
    )
    result = Result(
        CAMERAS[number % len(CAMERAS)],
        number // len(CAMERAS),
        ResultState.INSPECTED,
        captured_ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        latency_ms=12.5,
        detections=detections,
    )
    return FrameVerdict(result, Verdict.FAIL if found else Verdict.PASS, "", detections)


def _drain(sink: Mqtt) -> None:
    end = time.monotonic() + PATIENCE
    while (sink.queued or sink.status()["waiting"]) and time.monotonic() < end:
        time.sleep(0.01)


def _last(subscriber: Subscriber, topic: str) -> int:
    numbers = subscriber.contents(topic)
    return numbers[-1] if numbers else 0


if __name__ == "__main__":
    typer.run(main)
