"""Which convolutions stay float: measured layer by layer, then searched for the least that is enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from triton_yolo.calibration.layers import Convolution
from triton_yolo.calibration.measure import Evaluator, noise_to_signal
from triton_yolo.calibration.quantise import quantised, readers
from triton_yolo.calibration.runtimes import Run, Runtime
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.coco import Result

Values = Mapping[str, tuple[float, float]]
ALIKE = 0.01  # ranges that differ by less, as a share, are measured once
MAX_RETURNS = 16  # layers that the search tries to return to INT8


@dataclass(frozen=True)
class Sensitivity:
    """How the detections change with each convolution alone in INT8.

    Attributes:
        noise: to the signal, by method and then by convolution.
        precision: mAP50-95 with it alone in INT8 by its best method, by convolution.
    """

    noise: Mapping[str, Mapping[str, float]]
    precision: Mapping[str, float]

    def best(self, model: onnx.ModelProto) -> dict[str, str]:
        """Return the method with the least noise for each tensor that convolutions read, by tensor."""
        methods = list(self.noise)
        return {
            tensor: min(methods, key=lambda m: sum(self.noise[m].get(name, 0.0) for name in names))
            for tensor, names in readers(model).items()
        }


def sensitivity(
    model: onnx.ModelProto,
    ranges: Mapping[str, Values],
    layers: Sequence[Convolution],
    evaluator: Evaluator,
    runtime: Runtime,
) -> Sensitivity:
    """Quantise one convolution at a time, by each method, and compare the detections with the float graph's.

    Args:
        model: the float graph.
        ranges: of each method.
        layers: all of them; the last ones are not measured, since they stay float.
        evaluator: with few pictures.
        runtime: to measure in.
    """
    expected = evaluator.candidates(runtime.load(model))
    noise: dict[str, dict[str, float]] = {method: {} for method in ranges}
    precisions: dict[str, float] = {}
    inner = [layer for layer in layers if not layer.last]
    for layer in tracked(inner, len(inner), "Sensitivity of each layer"):
        measured: dict[tuple[float, float], tuple[float, Run]] = {}
        for method, values in ranges.items():
            span = next((known for known in measured if _alike(known, values[layer.input])), None)
            if span is None:
                span, run = values[layer.input], runtime.load(quantised(model, values, [layer.name]))
                measured[span] = noise_to_signal(expected, evaluator.candidates(run)), run
            noise[method][layer.name] = measured[span][0]
        _, best = min(measured.values(), key=lambda pair: pair[0])
        precisions[layer.name] = evaluator.precision(best).overall.ap50_95
    return Sensitivity(noise, precisions)


def _alike(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two ranges give nearly the same scale around zero."""
    first, second = max(map(abs, one)), max(map(abs, other))
    return abs(first - second) <= ALIKE * max(first, second)


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
            if best.floats - {name} not in {step.floats for step in self.path}:
                step = self._step(best.floats - {name})
                best = step if self.enough(step) else best
        return best

    def enough(self, step: Step) -> bool:
        """Return whether a step's precision is high enough."""
        return step.result.overall.ap50_95 >= self.least

    def _step(self, floats: Collection[str]) -> Step:
        step = Step(frozenset(floats), self.measure(floats))
        self.path.append(step)
        return step
