"""How the detections change with each convolution alone in INT8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import onnx

from triton_yolo.calibration.behind import Changed, Values, alone, computed
from triton_yolo.calibration.layers import Convolution
from triton_yolo.calibration.measure import Evaluator, noise_to_signal
from triton_yolo.calibration.measurements import Measurements
from triton_yolo.calibration.parallel import CORES, on_all_cores
from triton_yolo.calibration.pictures import Pixels, Size
from triton_yolo.calibration.quantise import readers
from triton_yolo.calibration.runtimes import Candidates, Runtime
from triton_yolo.calibration.steps import said
from triton_yolo.cli.progress import tracked
from triton_yolo.contract import OUTPUT

Span = tuple[float, float]
Ranges = Mapping[str, Span]
ALIKE = 0.01  # ranges that differ by less, as a share, are measured once
TOGETHER = max(8, CORES)  # convolutions for which the float graph is computed once
PICTURES = 16  # whose tensors are in memory at a time


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


@dataclass(frozen=True)
class Task:
    """A convolution to measure.

    Attributes:
        layer: the convolution.
        spans: ranges of its input that differ.
    """

    layer: Convolution
    spans: tuple[Span, ...]

    def question(self, runtime: Runtime) -> str:
        """Return the name of what is measured."""
        return f"{runtime.name}: {self.layer.name} alone by {list(map(list, self.spans))}"


@dataclass(frozen=True)
class Answer:
    """What was measured of a convolution.

    Attributes:
        noise: to the signal, for each range.
        precision: mAP50-95 by the best one.
    """

    noise: tuple[float, ...]
    precision: float


def sensitivity(
    model: onnx.ModelProto,
    ranges: Mapping[str, Ranges],
    layers: Sequence[Convolution],
    evaluator: Evaluator,
    runtime: Runtime,
    kept: Measurements,
) -> Sensitivity:
    """Quantise one convolution at a time, by each method, and compare the detections with the float graph's.

    Args:
        model: the float graph.
        ranges: of each method.
        layers: all of them; the last ones are not measured, since they stay float.
        evaluator: with few pictures.
        runtime: to measure in.
        kept: measurements of an earlier run, which are not repeated.
    """
    tasks = [
        Task(layer, _distinct([values[layer.input] for values in ranges.values()]))
        for layer in layers
        if not layer.last
    ]
    answers = {}
    for task in tasks:
        if (found := kept.get(task.question(runtime))) is not None:
            answers[task.layer.name] = Answer(tuple(found["noise"]), found["precision"])
    missing = [task for task in tasks if task.layer.name not in answers]
    measured = _measured(model, missing, evaluator, runtime)
    for task, answer in tracked(measured, len(missing), said("sensitivity")):
        answers[task.layer.name] = answer
        kept.put(task.question(runtime), {"noise": answer.noise, "precision": answer.precision})
    noise: dict[str, dict[str, float]] = {method: {} for method in ranges}
    for task in tasks:
        for method, values in ranges.items():
            span = next(known for known in task.spans if _alike(known, values[task.layer.input]))
            noise[method][task.layer.name] = answers[task.layer.name].noise[task.spans.index(span)]
    return Sensitivity(noise, {task.layer.name: answers[task.layer.name].precision for task in tasks})


def _measured(
    model: onnx.ModelProto, tasks: Sequence[Task], evaluator: Evaluator, runtime: Runtime
) -> Iterator[tuple[Task, Answer]]:
    for start in range(0, len(tasks), TOGETHER):
        some = tasks[start : start + TOGETHER]
        yield from zip(some, _together(model, some, evaluator, runtime), strict=True)


def _together(
    model: onnx.ModelProto, tasks: Sequence[Task], evaluator: Evaluator, runtime: Runtime
) -> Iterator[Answer]:
    """Measure several convolutions, for which the float graph is computed once."""
    changes = [alone(model, task.layer) for task in tasks]
    names = sorted(set[str]().union(*(change.reads for change in changes)))
    box = evaluator.pictures.letterbox
    whole = computed(model, names, runtime, (box.height, box.width))

    def tensors_of(picture: tuple[Pixels, Size]) -> Values:
        return dict(zip((OUTPUT, *names), whole(picture[0][None]), strict=True))

    expected: list[Candidates] = []
    found: list[list[list[Candidates]]] = [[] for _ in tasks]  # by convolution, picture and range
    compiled: list[Changed] = []
    for pictures in evaluator.pictures.apart(PICTURES):
        values = list(on_all_cores(tensors_of, pictures))
        expected += [each[OUTPUT][0] for each in values]
        if not compiled:
            make = partial(Changed, model, runtime=runtime, example=values[0])
            compiled += on_all_cores(make, changes, [task.spans for task in tasks])
        for one, more in zip(found, on_all_cores(partial(_rows, values), compiled), strict=True):
            one += more
            if len(one) == len(evaluator.pictures):
                yield _answer(expected, list(zip(*one, strict=True)), evaluator)


def _rows(values: Sequence[Values], changed: Changed) -> list[list[Candidates]]:
    return [changed.candidates(each) for each in values]


def _answer(expected: Sequence[Candidates], found: Sequence[Sequence[Candidates]], evaluator: Evaluator) -> Answer:
    noise = tuple(noise_to_signal(expected, candidates) for candidates in found)
    return Answer(noise, evaluator.precision_of(found[noise.index(min(noise))]).overall.ap50_95)


def _distinct(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the ranges without those that are nearly the same as an earlier one."""
    found: list[Span] = []
    for span in spans:
        if not any(_alike(known, span) for known in found):
            found.append(span)
    return tuple(found)


def _alike(one: Span, other: Span) -> bool:
    """Return whether two ranges give nearly the same scale around zero."""
    first, second = max(map(abs, one)), max(map(abs, other))
    return abs(first - second) <= ALIKE * max(first, second)
