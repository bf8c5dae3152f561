"""Where Q/DQ pairs stand, and that the graph still computes nearly the same."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.calibration.conftest import Known
from tests.calibration.graphs import INNER, UNSORTED, example, nodes_of, served, weights_of
from tests.calibration.material import pixels_of
from tests.conftest import right_engine
from triton_yolo.calibration.measure import noise_to_signal
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.quantise import quantised, quantised_in, readers
from triton_yolo.calibration.runtimes import Run, onnxruntime_engine

Values = dict[str, tuple[float, float]]
# Convolutions to quantise; which of them read what stands in graphs.BODY.
CHOICES: dict[str, tuple[str, ...]] = {
    "none": (),
    "all but the last": INNER,
    "all": (*INNER, "raw"),
    "the first of a residual branch": ("one",),
    "the second of a residual branch": ("two",),
    "one of two readers": ("left",),
    "the other of two readers": ("right",),
    "both readers": ("left", "right"),
    "readers of what is added": ("lefter", "righter"),
    "a reader of what is pooled and joined": ("bother",),
    "a reader of what is resized": ("pooled",),
    "a reader of what is joined": ("mixed",),
}
chosen = pytest.mark.parametrize("names", CHOICES.values(), ids=CHOICES.keys())


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def float_behind(model: onnx.ModelProto) -> dict[str, str]:
    """The float tensor that is quantised and dequantised to make a tensor, for those that are."""
    made = makers(model)
    return {
        node.output[0]: made[node.input[0]].input[0]
        for node in nodes_of(model, "DequantizeLinear")
        if node.input[0] in made
    }


@chosen
def test_the_convolutions_that_were_asked_for_are_quantised_and_no_others(
    names: Collection[str], measured: Values
) -> None:
    model = quantised(example(), measured, names)
    assert quantised_in(model) == set(names)
    onnx.checker.check_model(model, full_check=True)


@chosen
def test_what_quantised_convolutions_read_is_quantised_once_each_and_nothing_else_is(
    names: Collection[str], measured: Values
) -> None:
    plain = example()
    model = quantised(plain, measured, names)

    read = {node.name: node.input[0] for node in nodes_of(plain, "Conv")}
    wanted = {read[name] for name in names}
    assert sorted(node.input[0] for node in nodes_of(model, "QuantizeLinear")) == sorted(wanted)
    sources = float_behind(model)
    found = {node.name: sources.get(node.input[0]) for node in nodes_of(model, "Conv")}
    assert found == {name: read[name] if name in names else None for name in read}
    assert sum(tensor in sources for node in model.graph.node for tensor in node.output) == len(wanted)


@chosen
def test_all_but_quantised_convolutions_and_residual_additions_read_what_they_read_before(
    names: Collection[str], measured: Values
) -> None:
    plain = example()
    model = quantised(plain, measured, names)

    before = {node.name: list(node.input) for node in plain.graph.node}
    after = {node.name: list(node.input) for node in model.graph.node}
    for name in set(before) - set(names) - {"sum"}:
        assert after[name] == before[name], name
    for name in names:
        assert after[name][2:] == before[name][2:], name  # biases are float


@pytest.mark.parametrize("swapped", [False, True])
def test_a_residual_addition_reads_the_quantised_identity_and_the_float_branch(swapped: bool, measured: Values) -> None:
    plain = example()
    [addition] = (node for node in plain.graph.node if node.name == "sum")
    addition.input[:] = ["two", "stem_act"] if swapped else ["stem_act", "two"]

    model = quantised(plain, measured, INNER)

    [inputs] = (node.input for node in model.graph.node if node.name == "sum")
    assert [float_behind(model).get(name, name) for name in inputs] == list(addition.input)
    assert [name in float_behind(model) for name in inputs] == ([False, True] if swapped else [True, False])


def test_a_residual_addition_reads_floats_where_the_branch_is_float(measured: Values) -> None:
    model = quantised(example(), measured, ["two", "left"])
    [inputs] = (node.input for node in model.graph.node if node.name == "sum")
    assert list(inputs) == ["stem_act", "two"]


@pytest.mark.parametrize("names", [INNER, ("left", "right", "mixed")], ids=["all but the last", "some"])
def test_quantisation_is_symmetric_in_8_bits_by_tensor_and_weights_by_output_channel(
    names: Collection[str], measured: Values
) -> None:
    plain = example()
    model = quantised(plain, measured, names)
    tensors, made = weights_of(model), makers(model)

    for node in (*nodes_of(model, "QuantizeLinear"), *nodes_of(model, "DequantizeLinear")):
        zero = tensors[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()
        assert (tensors[node.input[1]] > 0).all()
    for node in nodes_of(model, "QuantizeLinear"):
        scale, reach = tensors[node.input[1]], max(map(abs, measured[node.input[0]]))
        assert scale.shape == ()
        assert scale == pytest.approx(reach / 127.5, rel=0.01)  # 127 or 127.5 steps on a side
    for node in nodes_of(model, "Conv"):
        if node.name not in names:
            continue
        pair = made[node.input[1]]
        [axis] = (attribute.i for attribute in pair.attribute if attribute.name == "axis")
        before = weights_of(plain)[f"w_{node.name}"]
        whole, scale = tensors[pair.input[0]], tensors[pair.input[1]]
        assert (axis, whole.dtype, scale.shape) == (0, np.int8, (len(before),))
        assert np.abs(whole.astype(int)).max(axis=(1, 2, 3)).min() >= 126  # each channel takes all of the range
        each = scale.reshape(-1, 1, 1, 1)
        assert (np.abs(whole * each - before) <= each * 0.51).all()


def test_weights_that_a_float_convolution_reads_too_stay_float_for_it() -> None:
    model = served(
        """a = Conv (x, w)  b = Conv (a, shared)  c = Conv (b, shared)  d = Conv (c, shared)  raw = Conv (d, v)""",
        {"w": (8, 3, 1, 1), "shared": (8, 8, 1, 1), "v": (6, 8, 1, 1)},
    )
    result = quantised(model, dict.fromkeys("abc", (-4.0, 4.0)), ["b", "d"])

    assert quantised_in(result) == {"b", "d"}
    [inputs] = (node.input for node in result.graph.node if node.name == "c")
    assert list(inputs) == ["b", "shared"]
    np.testing.assert_array_equal(weights_of(result)["shared"], weights_of(model)["shared"])
    onnx.checker.check_model(result, full_check=True)


def test_channels_of_zeros_and_tensors_of_zeros_are_quantised_without_harm(colours: Pictures) -> None:
    model = served(
        "a = Conv (x, w)  none = Sub (a, a)  b = Conv (none, v)  raw = Conv (b, u)",
        {"w": (8, 3, 1, 1), "v": (8, 8, 1, 1), "u": (6, 8, 1, 1)},
    )
    [weights] = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weights.raw_data = bytes(4 * 3 * 5) + weights.raw_data[4 * 3 * 5 :]
    result = quantised(model, {"x": (0.0, 1.0), "none": (0.0, 0.0), "b": (0.0, 0.0)}, ["a", "b", "raw"])
    pixels = next(iter(colours))[0]
    for engine in (onnxruntime_engine, right_engine):
        np.testing.assert_array_equal(engine(result)(pixels), onnxruntime_engine(model)(pixels))


def test_the_float_graph_is_left_as_it_was_and_with_nothing_to_quantise_comes_back_as_another(measured: Values) -> None:
    model = example()
    before = model.SerializeToString(deterministic=True)
    quantised(model, measured, INNER)
    same = quantised(model, measured, [])
    assert model.SerializeToString(deterministic=True) == before == same.SerializeToString(deterministic=True)
    assert same is not model


def answers(run: Run, pictures: Pictures) -> np.ndarray:
    return np.stack([run(pixels) for pixels in pixels_of(pictures)])


@pytest.mark.parametrize("names", [*((name,) for name in INNER), INNER], ids=lambda names: f"{len(names)} {names[-1]}")
def test_openvino_and_onnx_runtime_agree_on_a_quantised_graph(
    names: Collection[str], measured: Values, colours: Pictures
) -> None:
    model = quantised(example(UNSORTED), measured, names)
    one, other = answers(onnxruntime_engine(model), colours), answers(right_engine(model), colours)
    # Where sums end near the middle of two steps, another order of addition rounds to the other one.
    assert np.abs(one - other).mean() < 1e-3 * one.std()


@pytest.mark.parametrize("names", [*((name,) for name in INNER), INNER], ids=lambda names: f"{len(names)} {names[-1]}")
def test_a_quantised_graph_answers_nearly_as_the_float_one(
    names: Collection[str], measured: Values, colours: Pictures
) -> None:
    model = example(UNSORTED)
    exact = answers(onnxruntime_engine(model), colours)
    found = answers(onnxruntime_engine(quantised(model, measured, names)), colours)
    assert 0 < np.abs(found - exact).mean() < 0.01 * exact.std()


def test_readers_are_the_convolutions_by_what_they_read() -> None:
    found = readers(example())
    assert found["sum"] == ["left", "right"]
    assert sorted(name for names in found.values() for name in names) == sorted((*INNER, "raw"))
    assert readers(quantised(example(), {}, [])) == found


def test_in_yolox_residual_additions_read_one_dequantised_tensor_too(yolox: Known) -> None:
    names = [layer.name for layer in yolox.layers if not layer.last]
    int8 = quantised(yolox.model, {layer.input: (-1.0, 1.0) for layer in yolox.layers}, names)
    made = {node.output[0] for node in nodes_of(int8, "DequantizeLinear")}
    reading = [node for node in int8.graph.node if made.intersection(node.input)]
    assert {node.op_type for node in reading} == {"Conv", "Add"}
    additions = [node for node in reading if node.op_type == "Add"]
    assert len(additions) == 7  # one of dark2, three each of dark3 and dark4
    assert all(len(made.intersection(node.input)) == 1 for node in additions)


class TestTheDefaultNetwork:
    @pytest.mark.slow
    def test_it_is_quantised_but_for_its_last_convolutions(self, yolov9: Known, int8_yolov9: onnx.ModelProto) -> None:
        onnx.checker.check_model(int8_yolov9, full_check=True)
        assert quantised_in(int8_yolov9) == {layer.name for layer in yolov9.layers if not layer.last}
        inputs = {layer.input for layer in yolov9.layers if not layer.last}
        assert sorted(node.input[0] for node in nodes_of(int8_yolov9, "QuantizeLinear")) == sorted(inputs)

    def test_only_convolutions_read_what_is_dequantised(self, int8_yolov9: onnx.ModelProto) -> None:
        made = {node.output[0] for node in nodes_of(int8_yolov9, "DequantizeLinear")}
        assert {node.op_type for node in int8_yolov9.graph.node if made.intersection(node.input)} == {"Conv"}

    def test_it_finds_nearly_the_same(self, yolov9: Known, int8_yolov9: onnx.ModelProto, boards: Pictures) -> None:
        few = boards.spread(3)
        exact, found = (
            [run(pixels) for pixels, _ in few] for run in map(onnxruntime_engine, (yolov9.model, int8_yolov9))
        )
        assert 0 < noise_to_signal(exact, found) < 0.1

    def test_weights_are_a_quarter_of_the_bytes(self, yolov9: Known, int8_yolov9: onnx.ModelProto) -> None:
        kinds = {tensor.name: tensor.data_type for tensor in int8_yolov9.graph.initializer}
        in_int8 = [name for name, kind in kinds.items() if kind == TensorProto.INT8 and name.endswith("_quantized")]
        assert len(in_int8) == sum(not layer.last for layer in yolov9.layers)
