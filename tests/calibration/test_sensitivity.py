"""How the detections change with each convolution alone in INT8: against the whole graph quantised so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.calibration.conftest import Known
from tests.calibration.graphs import INNER, UNSORTED, as_read, example
from tests.calibration.material import pixels_of, served_as
from tests.conftest import has_vnni
from triton_yolo.calibration.behind import Changed, computed
from triton_yolo.calibration.behind import alone as changed_by
from triton_yolo.calibration.layers import convolutions
from triton_yolo.calibration.measure import Evaluator
from triton_yolo.calibration.measurements import Measurements
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.quantise import quantised
from triton_yolo.calibration.ranges import collect
from triton_yolo.calibration.runtimes import RUNTIMES, Part, Runtime, openvino_engine
from triton_yolo.calibration.sensitivity import Sensitivity, sensitivity
from triton_yolo.contract import OUTPUT

RIGHT = RUNTIMES[0] if has_vnni() else RUNTIMES[-1]


@pytest.mark.parametrize(
    "runtime", [pytest.param(RIGHT, marks=pytest.mark.slow), RUNTIMES[-1]], ids=lambda runtime: runtime.name
)
def test_the_changed_part_of_the_example_finds_what_the_whole_graph_finds(
    runtime: Runtime, colours: Pictures, measured: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    model = as_read(example(UNSORTED), tmp_path)
    same(model, measured, [layer.name for layer in convolutions(model)], colours.spread(2), runtime)


@pytest.mark.slow
def test_the_changed_part_of_the_depthwise_network_too_with_and_without_residual_additions(
    yolox: Known, boards: Pictures
) -> None:
    few = boards.spread(1)
    values = dict(
        collect(yolox.model, sorted({layer.input for layer in yolox.layers}), few, ["minmax"])["minmax"].values
    )
    residual = [layer.name for layer in yolox.layers if changed_by(yolox.model, layer).additions]
    assert residual
    same(yolox.model, values, [yolox.layers[0].name, residual[-1], yolox.layers[90].name], few, RIGHT)


def same(
    model: onnx.ModelProto,
    values: dict[str, tuple[float, float]],
    names: list[str],
    pictures: Pictures,
    runtime: Runtime,
) -> None:
    """Compare the changed part with the whole graph for each of these convolutions, by two ranges."""
    for layer in convolutions(model):
        if layer.name not in names:
            continue
        low, high = values[layer.input]
        spans = [(low, high), (low / 2, high / 2)]
        change = changed_by(model, layer)
        tensors = sorted(change.reads)
        size = (pictures.letterbox.height, pictures.letterbox.width)
        run = computed(model, tensors, runtime, size)
        known = [dict(zip((OUTPUT, *tensors), run(pixels[None]), strict=True)) for pixels in pixels_of(pictures)]
        part = Changed(model, change, spans, runtime, known[0])
        for number, span in enumerate(spans):
            whole = runtime.load(quantised(model, {**values, layer.input: span}, [layer.name]))
            for pixels, tensors_of in zip(pixels_of(pictures), known, strict=True):
                found = part.candidates(tensors_of)[number]
                np.testing.assert_allclose(found, whole(pixels), rtol=1e-4, atol=1e-3, err_msg=layer.name)


def test_the_best_method_of_a_tensor_makes_the_least_noise_for_all_that_read_it() -> None:
    quiet = dict.fromkeys(INNER, 0.1)
    noise = {
        "minmax": quiet | {"left": 0.01, "right": 0.5},
        "entropy": quiet | {"left": 0.2, "right": 0.02, "one": 0.05},
        "percentile": quiet | {"left": 0.15, "right": 0.15, "two": 0.01},
    }
    best = Sensitivity(noise, {}).best(example())
    assert best["sum"] == "entropy"  # 0.22 in all
    assert (best["stem_act"], best["one_act"]) == ("entropy", "percentile")
    assert best["x"] == best["mixed_act"] == "minmax"  # the first of those that are alike; of the last, none is known


@pytest.fixture(scope="module")
def alone(
    measured: dict[str, tuple[float, float]], colours: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> Sensitivity:
    """The example with ranges of several qualities."""
    model = as_read(example(), tmp_path_factory.mktemp("sensitivity"))
    evaluator = Evaluator.of_itself(openvino_engine(model), colours, served_as(colours, "first", "second"))
    ranges = {
        "good": measured,
        "nearly as good": {name: (low * 1.005, high * 1.005) for name, (low, high) in measured.items()},
        "coarse": {name: (low * 60, high * 60) for name, (low, high) in measured.items()},
    }
    kept = Measurements(tmp_path_factory.mktemp("kept"), "example", {})
    return sensitivity(model, ranges, convolutions(model), evaluator, RIGHT, kept)


class TestSensitivity:
    def test_every_convolution_but_the_last_is_measured_by_every_method(self, alone: Sensitivity) -> None:
        assert list(alone.noise) == ["good", "nearly as good", "coarse"]
        assert all(list(noise) == list(INNER) for noise in alone.noise.values())
        assert list(alone.precision) == list(INNER)

    def test_coarse_ranges_make_more_noise(self, alone: Sensitivity) -> None:
        for name in INNER:
            assert 0 <= alone.noise["good"][name] < alone.noise["coarse"][name], name

    def test_methods_whose_ranges_are_nearly_the_same_are_measured_once(self, alone: Sensitivity) -> None:
        assert alone.noise["good"] == alone.noise["nearly as good"]

    def test_the_precision_is_that_of_the_best_method(self, alone: Sensitivity) -> None:
        assert min(alone.precision.values()) > 0.5
        assert max(alone.precision.values()) <= 1

    def test_what_is_best_comes_out_of_it(self, alone: Sensitivity) -> None:
        best = alone.best(example())
        assert {tensor for tensor, method in best.items() if method != "good"} == set()

    def test_what_is_kept_is_not_measured_again(
        self, colours: Pictures, tmp_path: Path, measured: dict[str, tuple[float, float]]
    ) -> None:
        model = as_read(example(), tmp_path)
        evaluator = Evaluator.of_itself(openvino_engine(model), colours, served_as(colours, "first", "second"))
        run = partial(sensitivity, model, {"minmax": measured}, convolutions(model), evaluator)
        first = run(RIGHT, Measurements(tmp_path / "kept", "example", {}))

        def refuse(part: onnx.ModelProto) -> Part:
            raise AssertionError("it is measured again")

        again = run(Runtime(RIGHT.name, refuse, refuse), Measurements(tmp_path / "kept", "example", {}))
        assert again == first
