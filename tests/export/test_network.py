"""A network at one image size: what it takes, and how it is run."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from tests.export.layouts import FAMILIES, network
from triton_yolo.export.errors import ExportError
from triton_yolo.export.network import Network, image_input, noise, prepare
from triton_yolo.graphs.runner import Runner, measured_shapes
from triton_yolo.graphs.structure import opset_of

IMAGES = "float[N, 3, H, W] images"
# Two levels that meet again, as in a YOLO's neck: sides have to be multiples of 4 for that.
NECK = """
    a = Conv <strides = [2, 2], kernel_shape = [2, 2]> (images, weights)
    b = MaxPool <strides = [2, 2], kernel_shape = [2, 2]> (a)
    c = Resize <mode = "nearest"> (b, , scales)
    y = Concat <axis = 1> (a, c)
"""


def graph(inputs: str = IMAGES, body: str = NECK, outputs: str = "float[N, C, P, Q] y") -> onnx.ModelProto:
    """A small network, and the weights among those of NECK that it uses."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> net ({inputs}) => ({outputs}) {{ {body} }}')
    weights = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    for name, array in {"weights": weights, "scales": np.array([1, 1, 2, 2], np.float32)}.items():
        if any(name in node.input for node in model.graph.node):
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = f"/neck/{node.op_type}"
    return model


def refusal(model: onnx.ModelProto, size: tuple[int, int] | None = None) -> str:
    with pytest.raises(ExportError) as caught:
        prepare(model, size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """The first output, straight from ONNX Runtime."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def dims(model: onnx.ModelProto) -> list[int]:
    return [d.dim_value for d in image_input(model).type.tensor_type.shape.dim]


# The size


@pytest.mark.parametrize("size", [None, (64, 96)], ids=["not said", "said"])
@pytest.mark.parametrize("batch", [1, 4, "N"])
def test_a_fixed_size_is_taken(batch: int | str, size: tuple[int, int] | None) -> None:
    prepared = prepare(graph(f"float[{batch}, 3, 64, 96] images"), size)
    assert (prepared.height, prepared.width) == (64, 96)
    assert prepared.free_batch == (batch == "N")
    assert prepared.original.batch == (1 if batch == "N" else batch)
    assert dims(prepared.original.model) == [prepared.original.batch, 3, 64, 96]
    assert prepared.outputs == {"y": (8, 32, 48)}
    assert (prepared.input, prepared.kind, prepared.kinds) == ("images", TensorProto.FLOAT, {"y": TensorProto.FLOAT})


@pytest.mark.parametrize(
    "dynamic", [IMAGES, "float[1, 3, H, W] images", "float[N, C, H, W] images", "float[N, 3, ?, ?] images"]
)
def test_a_free_size_is_fixed_to_what_is_asked_for(dynamic: str) -> None:
    prepared = prepare(graph(dynamic), (96, 64))
    assert (prepared.height, prepared.width) == (96, 64)
    assert dims(prepared.original.model) == [1, 3, 96, 64]
    assert prepared.outputs == {"y": (8, 48, 32)}


@pytest.mark.parametrize("batch", [-1, 1])
def test_a_dimension_of_minus_one_is_a_free_one(batch: int) -> None:
    model = graph()
    for i, value in {0: batch, 2: -1, 3: -1}.items():  # as Paddle2ONNX and tf2onnx have written them
        model.graph.input[0].type.tensor_type.shape.dim[i].dim_value = value
    prepared = prepare(model, (64, 96))
    assert (prepared.height, prepared.width, prepared.free_batch) == (64, 96, batch == -1)


@pytest.mark.parametrize("inputs", [IMAGES, "float[N, 3, 64, W] images", "float[N, 3, H, 64] images"])
def test_a_free_size_has_to_be_said(inputs: str) -> None:
    message = refusal(graph(inputs))
    assert "--size 640" in message and "height x width" in message
    assert "exported with" not in message


def test_the_size_that_it_was_exported_with_is_the_hint() -> None:
    model = graph()
    model.metadata_props.add(key="imgsz", value="[384, 640]")
    assert refusal(model).endswith("it was exported with [384, 640]")


def test_the_hint_does_not_go_before_what_is_asked_for_or_fixed() -> None:
    for model, size in ((graph(), (64, 96)), (graph("float[N, 3, 64, 96] images"), None)):
        model.metadata_props.add(key="imgsz", value="[384, 640]")
        prepared = prepare(model, size)
        assert (prepared.height, prepared.width) == (64, 96)
        assert prepared.metadata == {"imgsz": "[384, 640]"}


@pytest.mark.parametrize("size", [(96, 64), (64, 64), (128, 192)])
def test_another_size_than_the_fixed_one_is_refused(size: tuple[int, int]) -> None:
    assert "the fixed size 64x96" in refusal(graph("float[N, 3, 64, 96] images"), size)


@pytest.mark.parametrize("inputs", ["float[N, 3, 64, W] images", "float[N, 3, H, 96] images"])
def test_of_two_sides_one_may_be_fixed(inputs: str) -> None:
    assert prepare(graph(inputs), (64, 96)).outputs == {"y": (8, 32, 48)}
    assert "the graph takes" in refusal(graph(inputs), (96, 64))


@pytest.mark.parametrize("size", [(66, 64), (64, 90), (34, 38)])
def test_a_size_that_the_strides_do_not_allow_is_refused(size: tuple[int, int]) -> None:
    message = refusal(graph(), size)
    assert message.startswith(f"the network does not run at {size[0]}x{size[1]} (height x width)")
    assert "the operator Concat /neck/Concat fails" in message and "multiples of its largest stride" in message


def test_a_size_that_the_strides_allow_needs_no_multiple_of_32() -> None:
    assert prepare(graph(), (68, 36)).outputs == {"y": (8, 34, 18)}


def test_a_fixed_size_that_does_not_run_is_not_blamed_on_size() -> None:
    message = refusal(graph("float[N, 3, 66, 64] images"))
    assert "does not run at 66x64" in message and "Concat" in message and message.endswith("Export it again")
    assert "stride" not in message


# The input


@pytest.mark.parametrize(
    "inputs", ["float[N, 64, 96, 3] images", "float[1, 64, 96, 3] images", "float[N, H, W, 3] images"]
)
@pytest.mark.parametrize("size", [None, (64, 96)])
def test_channels_last_are_refused(inputs: str, size: tuple[int, int] | None) -> None:
    message = refusal(graph(inputs, "y = Relu (images)"), size)
    assert "export with planes (NCHW), not with channels last" in message


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_other_channels_than_three_are_refused(channels: int) -> None:
    message = refusal(graph(f"float[N, {channels}, 64, 96] images", "y = Relu (images)"))
    assert f"the graph has images float [N, {channels}, 64, 96]" in message
    assert "channels last" not in message


@pytest.mark.parametrize(
    "inputs",
    [
        "float[N, 3, 64, 96] images, float[N, 2] scale_factor",
        "float[N, 3, 64, 96] images, int64[N, 2] orig_target_sizes",
        "float[N, 3, 64, 96] images, float[N, 3, 64, 96] more",
    ],
)
def test_two_inputs_are_refused_and_both_are_named(inputs: str) -> None:
    message = refusal(graph(inputs, "y = Relu (images)"))
    for word in (
        "one input [N, 3, H, W] is expected",
        *(name.split()[-1] for name in inputs.split(", ") if " " in name),
    ):
        assert word in message


def test_no_input_is_refused() -> None:
    assert refusal(graph("", "y = Constant <value = float[1] {1.0}> ()")).endswith("the graph has none")


@pytest.mark.parametrize(
    "inputs", ["float[N, 3, 64] images", "float[] images", "float[N, 12288] images", "float images"]
)
def test_another_number_of_dimensions_is_refused(inputs: str) -> None:
    assert "one input [N, 3, H, W] is expected, the graph has images float [" in refusal(
        graph(inputs, "y = Relu (images)")
    )


@pytest.mark.parametrize("batch", [4, "N"])
def test_weights_that_are_listed_as_inputs_are_none(batch: int | str) -> None:
    model = graph(f"float[{batch}, 3, 64, 96] images")
    plain = graph(f"float[{batch}, 3, 64, 96] images")
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    inputs = [*listed[:1], *model.graph.input, *listed[1:]]  # on both sides of the images
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    prepared = prepare(model, None)
    assert [value.name for value in prepared.original.model.graph.input] == ["images"]
    images = noise(prepared)
    np.testing.assert_array_equal(prepared.original.run(images)["y"], prepare(plain, None).original.run(images)["y"])


NUMBERS = {"float": np.float32, "float16": np.float16, "uint8": np.uint8}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("batch", [2, "N"])
def test_the_inputs_numbers_may_be_of_three_types(kind: str, batch: int | str) -> None:
    body = "f = Cast <to = 1> (images) y = ReduceMax <keepdims = 1> (f)"
    prepared = prepare(graph(f"{kind}[{batch}, 3, 64, 96] images", body), None)
    dtype, images = NUMBERS[kind], noise(prepared)
    assert prepared.kind == helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert images.dtype == dtype and images.shape == (2, 3, 64, 96)
    assert images.max() == (255 if kind == "uint8" else 1)  # every level from 0
    assert images.min() == 0
    assert prepared.typed(np.full((1, 3, 64, 96), 7, np.float32)).dtype == dtype
    np.testing.assert_array_equal(prepared.original.run(images)["y"].ravel(), images.reshape(2, -1).max(1))


def test_a_float16_network_answers_in_float16() -> None:
    prepared = prepare(graph("float16[N, 3, 64, 96] images", "y = Relu (images)", "float16[N, 3, 64, 96] y"), None)
    assert (prepared.kind, prepared.kinds) == (TensorProto.FLOAT16, {"y": TensorProto.FLOAT16})
    assert prepared.original.run(noise(prepared))["y"].dtype == np.float16


@pytest.mark.parametrize("kind", ["int32", "int64", "double", "int8", "bool"])
def test_other_numbers_are_refused(kind: str) -> None:
    message = refusal(graph(f"{kind}[N, 3, 64, 96] images", "y = Cast <to = 1> (images)"))
    assert message == f"the input must be float32, float16 or uint8, the graph has images {kind} [N, 3, 64, 96]"


# Networks that do not run


@pytest.mark.parametrize(
    "body",
    [
        "s = Constant <value_ints = [1, 5, 7]> () y = Reshape (images, s)",
        "y = MatMul (images, images)",
        "i = Constant <value_ints = [9]> () y = Gather <axis = 1> (images, i)",
        "y = Conv <group = 2> (images, images)",
    ],
    ids=["while it runs", "when it is loaded", "out of range", "a kernel of another shape"],
)
@pytest.mark.parametrize("batch", [1, "N"])
def test_a_network_that_does_not_run_is_refused(body: str, batch: int | str) -> None:
    message = refusal(graph(f"float[{batch}, 3, 64, 96] images", body))
    assert message.startswith("the network does not run at 64x96 (height x width): ")
    assert len(message) < 400


def test_the_graph_that_is_given_stays_as_it_is() -> None:
    model = graph()
    before = model.SerializeToString()
    prepare(model, (64, 96))
    assert model.SerializeToString() == before


# How it is run


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 64, 96)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
@pytest.mark.parametrize("batch", [1, 2, 4, None])
def test_a_graph_of_any_batch_size_runs_any_number_of_images(batch: int | None, count: int) -> None:
    images = pictures(count)
    wanted = np.concatenate([run(graph(), image[None]) for image in images])
    got = Runner(graph(f"float[{batch or 'N'}, 3, 64, 96] images"), batch).run(images)
    assert list(got) == ["y"]
    np.testing.assert_allclose(got["y"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [3, None])
def test_every_output_has_its_name_and_its_images_first(batch: int | None) -> None:
    body = "b = Neg (images) a = Flatten (images) h = Cast <to = 10> (a)"
    outputs = "float[N, 3, 64, 96] b, float16[N, M] h, float[N, M] a"
    got = Runner(graph(f"float[{batch or 'N'}, 3, 64, 96] images", body, outputs), batch).run(pictures(2))
    assert {name: (array.shape, array.dtype) for name, array in got.items()} == {
        "b": ((2, 3, 64, 96), np.float32),
        "h": ((2, 18432), np.float16),
        "a": ((2, 18432), np.float32),
    }
    np.testing.assert_array_equal(got["b"], -pictures(2))
    np.testing.assert_array_equal(got["a"], pictures(2).reshape(2, -1))


@pytest.mark.parametrize("batch", [1, 4, None])
def test_a_family_is_prepared_with_the_dimensions_of_its_outputs(batch: int | None) -> None:
    prepared = prepare(network(FAMILIES["split"], (64, 96), 5, batch, names="abcde"), None)
    assert prepared.outputs == {"boxes": (126, 4), "class_scores": (126, 5)}
    assert prepared.metadata["names"] == str(dict(enumerate("abcde")))


def test_noise_is_the_same_every_time_and_its_two_pictures_differ() -> None:
    prepared = prepare(graph(), (100, 68))
    fine, coarse = noise(prepared)
    np.testing.assert_array_equal(noise(prepared), [fine, coarse])
    assert fine.shape == coarse.shape == (3, 100, 68)
    assert (coarse[:, :32, :32] == coarse[:, :1, :1]).all() and not (fine[:, :32, :32] == fine[:, :1, :1]).all()


# Shapes


def prepared_neck(batch: int | str) -> Network:
    return prepare(graph(f"float[{batch}, 3, 64, 96] images"), None)


@pytest.mark.parametrize("batch", [1, 4])
def test_shapes_are_measured_in_a_run(batch: int) -> None:
    model = prepared_neck(batch).original.model
    before = model.SerializeToString()
    got = measured_shapes(model, ["a", "b", "a", "weights", "images", "y"], np.zeros((batch, 3, 64, 96), np.float32))
    assert got == {
        "a": (batch, 4, 32, 48),
        "b": (batch, 4, 16, 24),
        "weights": (4, 3, 2, 2),
        "images": (batch, 3, 64, 96),
        "y": (batch, 8, 32, 48),
    }
    assert model.SerializeToString() == before


def test_shapes_that_hang_on_the_pixels_are_measured_too() -> None:
    model = graph("float[N, 3, 64, 96] images", "y = NonZero (images)", "int64[4, M] y")
    images = np.zeros((1, 3, 64, 96), np.float32)
    images[0, 1, 2, 3:8] = 1
    assert measured_shapes(model, ["y"], images) == {"y": (4, 5)}


def test_a_number_has_no_dimensions_and_no_names_give_no_shapes() -> None:
    model = graph("float[N, 3, 64, 96] images", "y = ReduceMax <keepdims = 0> (images)", "float y")
    assert measured_shapes(model, ["y"], pictures(1)) == {"y": ()}
    assert measured_shapes(model, [], pictures(1)) == {}


@pytest.mark.parametrize("version", [12, 20])
@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_the_operator_set_is_onnxs_own_among_several(domain: str, version: int) -> None:
    model = graph()
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("com.x", 3), helper.make_opsetid(domain, version)])
    assert opset_of(model) == version
