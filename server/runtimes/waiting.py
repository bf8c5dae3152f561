"""Whose turn it is among what waits in a model on the CPU."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Generic, TypeVar

from triton_yolo.contract import URGENT

T = TypeVar("T")


class Waiting(Generic[T]):
    """What waits: the urgent before the rest, and each of both as it came; for one thread at a time."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._urgent: deque[T] = deque()
        self._rest: deque[T] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._urgent) + len(self._rest)

    def append(self, one: T, urgent: bool) -> None:
        """Add one."""
        (self._urgent if urgent else self._rest).append(one)

    def popleft(self) -> T:
        """Remove and return the one whose turn it is."""
        return (self._urgent or self._rest).popleft()


def is_urgent(request: Any) -> bool:
    """Return whether a request says so. Triton does not show a request's priority to a Python model."""
    parameters = request.parameters()  # JSON, or nothing
    return URGENT in parameters and bool(json.loads(parameters).get(URGENT))
