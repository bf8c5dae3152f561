"""Requests on their way from Triton to the threads that answer them.

``execute`` that computes keeps its instance busy, and Triton's dynamic batcher can miss the moment at which it is free
again: it waits for a consumer that is about to come, and is told of it too early
(DynamicBatchScheduler::WaitForPayloadSlotAvailable in triton-inference-server/core, 24.10 to June 2026, where queues
have a bound, a time limit or priorities). The request then waits for the next one, or half a second. So ``execute``
hands requests over and returns, as long as there is room; the rest waits in Triton's queue, which has the bounds.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import triton_python_backend_utils as pb_utils

from triton_yolo.nms.standstill import Standstill

METRIC = "yolo_handover_duration_us"
DESCRIPTION = "Time from the hand-over of requests to their answers, in models that answer after execute has returned"

Answer = Callable[[Any], None]  # takes the InferenceResponse of a request


class Handover:
    """Counts what was handed over and is not answered yet.

    Attributes:
        standstill: for ``execute``.
    """

    def __init__(self, model: str, room: int) -> None:
        """Begin with nothing.

        Args:
            model: its name, for the metric: Triton's own durations end when ``execute`` returns.
            room: number of images from which on further requests stay in Triton's queue.
        """
        self._room, self._inside, self._changed = room, 0, threading.Condition()
        self._family = pb_utils.MetricFamily(name=METRIC, description=DESCRIPTION, kind=pb_utils.MetricFamily.COUNTER)
        self._spent = 0.0
        self._duration = self._family.Metric(labels={"model": model})
        self.standstill = Standstill(model)

    def take(self, request: Any, images: int) -> Answer:
        """Wait for room, and take responsibility for a request; only the thread of ``execute`` may call this.

        It shows the metric, too: Python models that change metrics in several threads end the server (24.10).

        Args:
            request: of Triton.
            images: number of images in it.

        Returns:
            what is to be called with its response, once, in any thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self._room)
            self._inside += images
            spent, self._spent = self._spent, 0.0
        self._duration.increment(spent)
        return partial(self._answer, request.get_response_sender(), images, time.monotonic_ns())

    def _answer(self, sender: Any, images: int, since: int, response: Any) -> None:
        try:
            sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception as error:  # the thread goes on: others wait for it
            pb_utils.Logger.log_error(f"an answer could not be sent: {error!r}")
        finally:
            with self._changed:
                self._inside -= images
                self._spent += (time.monotonic_ns() - since) / 1e3
                self._changed.notify()


class Worker:
    """A thread that answers requests, several at a time where several wait.

    Attributes:
        excused: see Standstill.
    """

    def __init__(
        self, model: str, respond: Callable[[list[Any]], list[Any]], images_of: Callable[[Any], int], most: int
    ) -> None:
        """Start.

        Args:
            model: its name.
            respond: makes the responses of some requests.
            images_of: returns the number of images in a request.
            most: number of images from which on no further request is added to those that are answered together.
        """
        self._respond, self._images_of, self._most = respond, images_of, most
        self._handover = Handover(model, 4 * most)
        self.excused = self._handover.standstill.excused
        self._waiting: queue.SimpleQueue[tuple[Any, int, Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def execute(self, requests: list[Any]) -> list[None]:
        """See Triton's Python backend: the responses come later."""
        with self._handover.standstill:
            for request in requests:
                images = self._images_of(request)
                self._waiting.put((request, images, self._handover.take(request, images)))
        return [None] * len(requests)

    def close(self) -> None:
        """Answer what waits, and end."""
        self._waiting.put(None)
        self._thread.join()
        self._handover.standstill.close()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            jobs, images = [first], first[1]
            while images < self._most and not self._waiting.empty():
                job = self._waiting.get()
                if job is None:
                    self._waiting.put(None)
                    break
                jobs.append(job)
                images += job[1]
            requests, _, answers = zip(*jobs, strict=True)
            try:
                responses = self._respond(list(requests))
            except Exception as error:
                responses = [failure(error)] * len(jobs)
            for answer, response in zip(answers, responses, strict=True):
                answer(response)


class Direct:
    """Answers requests before ``execute`` returns.

    Attributes:
        excused: see Standstill.
    """

    def __init__(self, model: str, respond: Callable[[list[Any]], list[Any]]) -> None:
        """Prepare.

        Args:
            model: its name.
            respond: makes the responses of some requests.
        """
        self._respond, self._standstill = respond, Standstill(model)
        self.excused = self._standstill.excused

    def execute(self, requests: list[Any]) -> list[Any]:
        """See Triton's Python backend."""
        with self._standstill:
            return self._respond(requests)

    def close(self) -> None:
        """End the watch for standstills."""
        self._standstill.close()


def failure(error: Exception) -> Any:
    """Return the response to a request that failed in a way that nobody expected."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(repr(error)))
