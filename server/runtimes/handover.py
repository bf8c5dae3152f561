"""Requests on their way from Triton to the threads that answer them.

``execute`` that computes keeps its instance busy, and Triton's dynamic batcher can miss the moment at which it is free
again: it waits for a consumer that is about to come, and is told of it too early
(DynamicBatchScheduler::WaitForPayloadSlotAvailable in triton-inference-server/core, 24.10 to June 2026, where queues
have a bound, a time limit or priorities). The request then waits for the next one, or half a second. So ``execute``
hands requests over and returns, as long as there is room; the rest waits in Triton's queue, which has the bounds.
Room is counted over a model and the networks behind it together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import triton_python_backend_utils as pb_utils

from triton_yolo.nms.standstill import Standstill
from triton_yolo.server.runtimes.backlog import Backlog
from triton_yolo.server.runtimes.waiting import Waiting, is_urgent

METRIC = "yolo_handover_duration_us"
DESCRIPTION = "Time from the hand-over of requests to their answers, in models that answer after execute has returned"

LOOK = 0.005  # seconds between two looks at what networks hold while there is no room
# Seconds after which there is room whatever is said of them: one that has died starts again when a request comes.
LONGEST = 1.0

NOTHING = Backlog()  # of no network

Answer = Callable[[Any], None]  # takes the InferenceResponse of a request


class Handover:
    """Counts what was handed over and is not answered yet.

    Attributes:
        standstill: for ``execute``.
    """

    def __init__(self, model: str, room: int, own: Backlog | None = None, behind: Backlog = NOTHING) -> None:
        """Begin with nothing.

        Args:
            model: its name, for the metric: Triton's own durations end when ``execute`` returns.
            room: number of images from which on further requests stay in Triton's queue.
            own: is told how many images are inside, for the models before this one.
            behind: of the networks that this model makes images for, whose images take room, too.
        """
        self._room, self._inside, self._changed = room, 0, threading.Condition()
        self._own, self._behind = own, behind
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
            end = time.monotonic() + LONGEST
            self._changed.wait_for(lambda: self._inside < self._room)
            while self._inside + self._behind.images >= self._room and time.monotonic() < end:
                self._changed.wait(LOOK)
            self._count(images)
            spent, self._spent = self._spent, 0.0
        self._duration.increment(spent)
        return partial(self._answer, request.get_response_sender(), images, time.monotonic_ns())

    def _count(self, images: int) -> None:
        self._inside += images
        if self._own is not None:
            self._own.images = self._inside

    def _answer(self, sender: Any, images: int, since: int, response: Any) -> None:
        try:
            sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception as error:  # the thread goes on: others wait for it
            pb_utils.Logger.log_error(f"an answer could not be sent: {error!r}")
        finally:
            with self._changed:
                self._count(-images)
                self._spent += (time.monotonic_ns() - since) / 1e3
                self._changed.notify()


class Worker:
    """A thread that answers requests, several at a time where several wait.

    Attributes:
        excused: see Standstill.
    """

    def __init__(
        self,
        model: str,
        respond: Callable[[list[Any]], list[Any]],
        images_of: Callable[[Any], int],
        most: int,
        behind: Backlog,
    ) -> None:
        """Start.

        Args:
            model: its name.
            respond: makes the responses of some requests.
            images_of: returns the number of images in a request.
            most: number of images from which on no further request is added to those that are answered together.
            behind: see Handover.
        """
        self._respond, self._images_of, self._most = respond, images_of, most
        self._handover = Handover(model, 4 * most, behind=behind)
        self.excused = self._handover.standstill.excused
        self._waiting: Waiting[tuple[Any, int, Answer]] = Waiting()
        self._changed, self._ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def execute(self, requests: list[Any]) -> list[None]:
        """See Triton's Python backend: the responses come later."""
        with self._handover.standstill:
            for request in requests:
                images = self._images_of(request)
                job = request, images, self._handover.take(request, images)
                with self._changed:
                    self._waiting.append(job, is_urgent(request))
                    self._changed.notify()
        return [None] * len(requests)

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        self._handover.standstill.close()

    def _work(self) -> None:
        while jobs := self._next():
            requests, _, answers = zip(*jobs, strict=True)
            try:
                responses = self._respond(list(requests))
            except Exception as error:
                responses = [failure(error)] * len(jobs)
            for answer, response in zip(answers, responses, strict=True):
                answer(response)

    def _next(self) -> list[tuple[Any, int, Answer]]:
        """Wait for what is to be answered next; nothing at the end."""
        jobs: list[tuple[Any, int, Answer]] = []
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            while self._waiting and sum(images for _, images, _ in jobs) < self._most:
                jobs.append(self._waiting.popleft())
        return jobs


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
