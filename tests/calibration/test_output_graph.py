"""The rest in float16 and the small file: the same numbers, or nearly."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.calibration.conftest import Known
from tests.calibration.graphs import INNER, UNSORTED, example, family_graph, nodes_of, served, types_in, weights_of
from tests.calibration.material import pixels_of
from tests.conftest import ROOT, right_engine
from tests.export.layouts import FAMILIES
from tests.export.opened import run
from triton_yolo.calibration.measure import noise_to_signal
from triton_yolo.calibration.options import REST
from triton_yolo.calibration.output_graph import compact, output_graph
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.quantise import quantised, quantised_in
from triton_yolo.calibration.runtimes import onnxruntime_engine
from triton_yolo.graphs.half_precision import halved, last_convolutions
from triton_yolo.graphs.structure import opset_of

Values = dict[str, tuple[float, float]]


@pytest.fixture(scope="module", params=["none", "some", "all but the last"])
def model(request: pytest.FixtureRequest, measured: Values) -> onnx.ModelProto:
    """The example with some of its convolutions in INT8."""
    names = {"none": (), "some": ("one", "left", "mixed"), "all but the last": INNER}[request.param]
    return quantised(example(), measured, names)


def content(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


class TestCompact:
    def test_it_computes_the_same_to_the_last_bit(self, model: onnx.ModelProto, colours: Pictures) -> None:
        pixels = pixels_of(colours)
        np.testing.assert_array_equal(run(compact(model), pixels)[0], run(model, pixels)[0])

    @pytest.mark.slow
    def test_so_does_the_default_network(self, int8_yolov9: onnx.ModelProto, boards: Pictures) -> None:
        pixels = next(iter(boards))[0]
        small = compact(int8_yolov9)
        np.testing.assert_array_equal(onnxruntime_engine(small)(pixels), onnxruntime_engine(int8_yolov9)(pixels))
        assert len(content(small)) < 0.95 * len(content(int8_yolov9))
        assert quantised_in(small) == quantised_in(int8_yolov9)

    def test_nodes_keep_their_names_and_order(self, model: onnx.ModelProto) -> None:
        assert [node.name for node in compact(model).graph.node] == [node.name for node in model.graph.node]

    def test_the_file_is_smaller_and_holds_nothing_that_is_not_used(self, model: onnx.ModelProto) -> None:
        small = compact(model)
        assert len(content(small)) < len(content(model))
        assert not small.graph.value_info
        assert set(weights_of(small)) <= {name for node in small.graph.node for name in node.input}
        assert [value.name for value in (*small.graph.input, *small.graph.output)] == ["images", "candidates"]

    def test_all_quantisers_share_a_signed_zero_and_dequantisers_do_without(self, model: onnx.ModelProto) -> None:
        small = compact(model)
        zeros = {node.input[2] for node in nodes_of(small, "QuantizeLinear")}
        assert len(zeros) == min(1, len(nodes_of(model, "QuantizeLinear")))
        for name in zeros:
            zero = weights_of(small)[name]
            assert (zero.dtype, zero.shape, int(zero)) == (np.int8, (), 0)
        assert all(len(node.input) == 2 for node in nodes_of(small, "DequantizeLinear"))

    def test_the_graph_given_is_left_as_it_was_and_a_second_time_changes_nothing(self, model: onnx.ModelProto) -> None:
        before = content(model)
        small = compact(model)
        assert content(model) == before
        assert content(compact(small)) == content(small)

    def test_a_graph_with_graphs_inside_computes_the_same(self, colours: Pictures) -> None:
        model = served(
            """a = Conv (x, w)  most = ReduceMax <keepdims = 0> (a)  sure = Greater (most, nothing)
               b = If (sure) <then_branch = one () => (float[N, 8, H, W] more) { more = Mul (a, hundred) },
                              else_branch = two () => (float[N, 8, H, W] less) { less = Neg (a) }>
               raw = Conv (b, v)""",
            {"w": (8, 3, 1, 1), "v": (6, 8, 1, 1)},
            rows=32 * 48,
            head=UNSORTED,
        )
        result = quantised(model, {"x": (0.0, 1.0)}, ["a"])
        pixels = pixels_of(colours)
        np.testing.assert_array_equal(run(compact(result), pixels)[0], run(result, pixels)[0])


class TestHalved:
    def test_all_up_to_the_last_convolutions_is_float16_and_all_behind_them_float32(
        self, model: onnx.ModelProto
    ) -> None:
        half = halved(model)
        kinds, weights = types_in(half), weights_of(half)

        for node in nodes_of(half, "Conv"):
            assert {kinds[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}
            assert all(weights[name].dtype == np.float16 for name in node.input if name in weights)
        for node in (*nodes_of(half, "QuantizeLinear"), *nodes_of(half, "DequantizeLinear")):
            assert weights[node.input[1]].dtype == np.float16
            assert weights[node.input[2]].dtype == np.int8
        for kind in ("Add", "Relu", "MaxPool", "Resize", "Concat"):
            node = nodes_of(half, kind)[0]
            assert kinds[node.output[0]] == TensorProto.FLOAT16, kind
        behind = {
            "flat",
            "rows",
            "sides",
            "logit",
            "kind",
            "lengths",
            "pixels",
            "all_scores",
            "scores",
            "all_rows",
            "best",
        }
        for node in half.graph.node:
            if behind.intersection(node.output) and node.op_type != "Cast":
                assert kinds[node.input[0]] == kinds[node.output[0]] == TensorProto.FLOAT, node.name
        assert kinds["candidates"] == TensorProto.FLOAT
        assert kinds["images"] == TensorProto.UINT8
        onnx.checker.check_model(half, full_check=True)

    def test_it_answers_nearly_the_same(self, measured: Values, colours: Pictures) -> None:
        model = example(UNSORTED)
        pixels = pixels_of(colours)
        exact, found = run(model, pixels)[0], run(halved(model), pixels)[0]
        assert 0 < np.abs(found - exact).max() < 0.01 * exact.std()

    @pytest.mark.parametrize("name", ["example", "default"])
    def test_nothing_behind_the_last_convolutions_goes_through_float16(
        self, name: str, int8_yolov9: onnx.ModelProto, measured: Values
    ) -> None:
        half = halved(int8_yolov9 if name == "default" else quantised(example(), measured, INNER))
        found, tensors = set(), {n.output[0] for n in nodes_of(half, "Conv") if n.name in last_convolutions(half)}
        made = {name: node for node in half.graph.node for name in node.output}
        while tensors:
            if (node := made.get(tensors.pop())) is not None and node.name not in found:
                found.add(node.name)
                tensors.update(node.input)
        casts = [n for n in nodes_of(half, "Cast") if n.attribute[0].i == TensorProto.FLOAT16]
        assert casts
        assert {node.name for node in casts} <= found

    def test_boxes_beyond_512_pixels_are_not_rounded_to_half_pixels(self, yolov9: Known, boards: Pictures) -> None:
        found = onnxruntime_engine(halved(yolov9.model))(next(iter(boards))[0])
        far = found[:, :4][found[:, :4] > 512]
        assert len(far) > 100
        assert np.mean(far % 0.5 == 0) < 0.1

    def test_no_tensor_is_cast_twice_to_the_same_type(self, int8_yolov9: onnx.ModelProto) -> None:
        casts = [(node.input[0], node.attribute[0].i) for node in nodes_of(halved(int8_yolov9), "Cast")]
        assert len(casts) == len(set(casts))

    def test_every_node_stands_behind_those_that_it_needs(self, int8_yolov9: onnx.ModelProto) -> None:
        half = halved(int8_yolov9)
        known = {"", "images", *weights_of(half)}
        for node in half.graph.node:
            assert known.issuperset(node.input), node.name
            known.update(node.output)

    def test_the_default_network_decodes_boxes_and_sorts_scores_in_float32(self, int8_yolov9: onnx.ModelProto) -> None:
        half = halved(int8_yolov9)
        kinds, last = types_in(half), last_convolutions(int8_yolov9)

        for node in nodes_of(half, "Conv"):
            assert {kinds[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}
        assert last_convolutions(half) == last
        # The mean of the distributions of distances to the four sides; attention has no part in this network.
        for kind in ("Softmax", "ReduceSum", "ReduceMax", "TopK", "GatherElements"):
            for node in nodes_of(half, kind):
                assert kinds[node.input[0]] == kinds[node.output[0]] == TensorProto.FLOAT, node.name

    @pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.head != "yolov10"])
    def test_the_graph_of_an_older_export_has_an_operator_set_that_takes_scales_of_float16(self, family: str) -> None:
        model = family_graph(family, opset=18)
        names = [node.name or node.output[0] for node in nodes_of(model, "Conv")]
        for node, name in zip(nodes_of(model, "Conv"), names, strict=True):
            node.name = name
        inputs = {node.input[0] for node in nodes_of(model, "Conv")}
        half = halved(quantised(model, dict.fromkeys(inputs, (0.0, 255.0)), names[:2]))
        assert opset_of(half) >= 19
        onnx.checker.check_model(half, full_check=True)

    def test_the_graph_given_is_left_as_it_was(self, model: onnx.ModelProto) -> None:
        before = content(model)
        halved(model)
        assert content(model) == before


@pytest.mark.parametrize("rest", REST)
class TestFinished:
    def test_both_runtimes_take_it_and_agree(self, rest: str, measured: Values, colours: Pictures) -> None:
        model = output_graph(quantised(example(UNSORTED), measured, INNER), rest)
        onnx.checker.check_model(model, full_check=True)
        one, other = (
            np.stack([engine(pixels) for pixels in pixels_of(colours)])
            for engine in (onnxruntime_engine(model), right_engine(model))
        )
        # ONNX Runtime computes float16 where OpenVINO on the CPU takes float32.
        assert np.abs(one - other).mean() < (0.02 if rest == "fp16" else 1e-3) * one.std()

    @pytest.mark.parametrize("engine", [onnxruntime_engine, right_engine], ids=["ONNX Runtime", "fastest"])
    def test_the_default_network_finds_nearly_the_same(
        self, rest: str, engine: object, yolov9: Known, int8_yolov9: onnx.ModelProto, boards: Pictures
    ) -> None:
        assert callable(engine)
        few = boards.spread(2)
        exact, found = (
            [run(pixels) for pixels, _ in few] for run in map(engine, (yolov9.model, output_graph(int8_yolov9, rest)))
        )
        assert 0 < noise_to_signal(exact, found) < 0.1

    def test_fp16_makes_the_float_layers_half_as_large(self, rest: str, model: onnx.ModelProto) -> None:
        result = output_graph(model, rest)
        kinds = {tensor.data_type for tensor in result.graph.initializer}
        assert (TensorProto.FLOAT16 in kinds) == (rest == "fp16")
        assert len(content(result)) < len(content(model))

    def test_it_is_the_same_to_the_last_byte_in_every_process(self, rest: str) -> None:
        code = f"""
import hashlib
from triton_yolo.calibration.output_graph import output_graph
from triton_yolo.calibration.quantise import quantised, readers
from tests.calibration.graphs import INNER, example
model = example()
result = output_graph(quantised(model, dict.fromkeys(readers(model), (-4.0, 4.0)), set(INNER)), {rest!r})
print(hashlib.sha256(result.SerializeToString(deterministic=True)).hexdigest())
"""
        found = set()
        for seed in ("1", "2"):  # another order of sets
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env=os.environ | {"PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
            found.add(done.stdout)
        assert len(found) == 1 and len(found.pop().strip()) == 2 * hashlib.sha256().digest_size
