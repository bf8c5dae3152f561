"""The narrowest place between two parts of a graph: a minimum cut (Ford and Fulkerson 1956, Edmonds and Karp 1972)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable

import onnx

from triton_yolo.graphs.structure import read_by

WALL = 1 << 60  # the width of a tensor at which nothing may be cut


class NoCut(Exception):
    """Whatever lies between the two parts may not be cut."""


def narrowest_cut(
    model: onnx.ModelProto, above: Collection[str], below: Collection[str], width: Callable[[str], int | None]
) -> list[str]:
    """Return the tensors through which a graph is cut in two, so that nothing goes back from the second part.

    Args:
        model: with one image input, whose nodes are in order.
        above: tensors that the first part makes.
        below: tensors that the second part makes.
        width: of a tensor, what is to be as little as possible in all; None where it may not be cut.

    Returns:
        their names, in the graph's order; of several cuts of the same width the last one.

    Raises:
        NoCut: there is no such cut.
    """
    source, sink = "source", "sink"
    flow = _Flow()
    of_images = {model.graph.input[0].name}
    flow.widen(source, ("tensor", model.graph.input[0].name), WALL)
    order = []
    for number, node in enumerate(model.graph.node):
        read = of_images.intersection(read_by(node))
        if not read:
            continue  # a constant, which each part computes for itself
        made = ("node", number)
        for name in read:
            flow.widen(("tensor", name), made, WALL)
            if name != model.graph.input[0].name:
                flow.widen(made, ("maker", name), WALL)  # who is in the first part has its inputs from there
        for name in filter(None, node.output):
            flow.widen(made, ("tensor", name), min(width(name) or WALL, WALL))
            flow.widen(("maker", name), made, WALL)
            of_images.add(name)
            order.append((made, name))
            if name in above:
                flow.widen(source, made, WALL)
            if name in below:
                flow.widen(made, sink, WALL)
    if flow.fill(source, sink) >= WALL:
        raise NoCut
    behind = flow.behind(sink)
    return [name for made, name in order if made not in behind and ("tensor", name) in behind]


class _Flow:
    """A network of pipes, and what flows through them."""

    def __init__(self) -> None:
        self._room: dict[Hashable, dict[Hashable, int]] = {}

    def widen(self, start: Hashable, end: Hashable, width: int) -> None:
        """Add a pipe."""
        pipes = self._room.setdefault(start, {})
        pipes[end] = pipes.get(end, 0) + width
        self._room.setdefault(end, {}).setdefault(start, 0)

    def fill(self, source: Hashable, sink: Hashable) -> int:
        """Let flow what can, and return how much; it stops at WALL."""
        total = 0
        while total < WALL and sink in (before := self._tree(source, sink)):
            way, at = [], sink
            while at != source:
                way.append((before[at], at))
                at = before[at]
            amount = min(self._room[start][end] for start, end in way)
            for start, end in way:
                self._room[start][end] -= amount
                self._room[end][start] += amount
            total += amount
        return total

    def behind(self, sink: Hashable) -> set[Hashable]:
        """Return the places from which more could still flow to the sink."""
        found, waiting = {sink}, [sink]
        while waiting:
            end = waiting.pop()
            for start in self._room[end]:  # each pipe can be gone back
                if start not in found and self._room[start][end]:
                    found.add(start)
                    waiting.append(start)
        return found

    def _tree(self, source: Hashable, sink: Hashable) -> dict[Hashable, Hashable]:
        """Return the place before each one on a shortest way from the source; it ends where the sink is reached."""
        before, waiting = {source: source}, deque([source])
        while waiting and sink not in before:
            start = waiting.popleft()
            for end, room in self._room[start].items():
                if room and end not in before:
                    before[end] = start
                    waiting.append(end)
        return before
