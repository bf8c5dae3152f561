"""Results in the order of capture: each number of a camera once, whatever order the answers came in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from triton_yolo.clients.stream.frames import Result


class Order:
    """Holds the results of one camera's frames back until those on all earlier ones are known."""

    def __init__(self, emit: Callable[[Result], None]) -> None:
        """Begin at number 0.

        Args:
            emit: is called with each result, in order.
        """
        self._emit, self._next, self._held = emit, 0, dict[int, Result]()

    @property
    def next(self) -> int:
        """The lowest number that has no result yet."""
        return self._next

    def unknown(self, end: int, present: Iterable[int]) -> list[int]:
        """Return the numbers below ``end`` that have no result and are nowhere.

        Args:
            end: number behind the last one.
            present: numbers of frames that will get a result still.
        """
        known = self._held.keys() | set(present)
        return [number for number in range(self._next, end) if number not in known]

    def add(self, result: Result) -> None:
        """Take a result, and pass on those that are next.

        Raises:
            ValueError: there is one on this frame already.
        """
        if result.number < self._next or result.number in self._held:
            raise ValueError(f"a second result of frame {result.number} of {result.camera}")
        self._held[result.number] = result
        while self._next in self._held:
            self._emit(self._held.pop(self._next))
            self._next += 1
