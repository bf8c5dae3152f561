"""Which convolutions stay float: the least that is enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from triton_yolo.calibration.layers import Convolution
from triton_yolo.clients.coco import Result

MAX_RETURNS = 16  # layers that the search tries to return to INT8


@dataclass(frozen=True)
class Step:
    """One graph that the search measured: the convolutions left float, and its precision."""

    floats: frozenset[str]
    result: Result


@dataclass
class Search:
    """The search for the fewest MACs in float with which the precision is high enough.

    Attributes:
        layers: all convolutions.
        least: mAP50-95 that is enough.
        measure: the precision of the graph with these convolutions in float.
        path: what was measured, in its order.
    """

    layers: Sequence[Convolution]
    least: float
    measure: Callable[[Collection[str]], Result]
    path: list[Step] = field(default_factory=list)

    def run(self, noise: Mapping[str, float]) -> Step | None:
        """Leave as few layers in float as needed, those with the most noise for their MACs; then try to return some.

        Args:
            noise: of each convolution that may be quantised, alone.

        Returns:
            the best graph that was found, None if even the graph with all convolutions in float loses too much.
        """
        macs = {layer.name: layer.macs for layer in self.layers}
        last = frozenset(layer.name for layer in self.layers if layer.last)
        order = sorted(noise, key=lambda name: -noise[name] / macs[name])
        low, high = 0, len(order)  # how many in float: too few below, enough from high on
        best: Step | None = None
        if self.enough(step := self._step(last)):  # what a network without sensitive layers needs nothing beside
            return step
        while low < high:
            middle = (low + (min(high, 2 * low + 8) if best is None else high)) // 2  # few are likely
            step = self._step(last.union(order[:middle]))
            if self.enough(step):
                best, high = step, middle
            else:
                low = middle + 1
        if best is None:
            step = self._step(last.union(order))
            best = step if self.enough(step) else None
        for name in sorted((best.floats if best else set()) - last, key=lambda name: -macs[name])[:MAX_RETURNS]:
            assert best is not None
            step = self._step(best.floats - {name})
            best = step if self.enough(step) else best
        return best

    def enough(self, step: Step) -> bool:
        """Return whether a step's precision is high enough."""
        return step.result.overall.ap50_95 >= self.least

    def _step(self, floats: Collection[str]) -> Step:
        """Measure a graph, unless it has been measured."""
        if known := next((step for step in self.path if step.floats == floats), None):
            return known
        step = Step(frozenset(floats), self.measure(floats))
        self.path.append(step)
        return step
