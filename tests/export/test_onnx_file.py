"""Files that are ONNX, and the many that are given for it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from tests.export.layouts import FAMILIES, network
from triton_yolo.errors import GraphError
from triton_yolo.graphs.onnx_file import checked, read_network
from triton_yolo.graphs.runner import Runner

OPSETS = 'opset_import: ["" : 20]'


def graph(body: str, opsets: str = OPSETS) -> onnx.ModelProto:
    """From `images` to `y`, both [N, 3, 8, 8]."""
    return parser.parse_model(
        f"<ir_version: 10, {opsets}> net (float[N, 3, 8, 8] images) => (float[N, 3, 8, 8] y) {{ {body} }}"
    )


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def refusal(path: Path) -> str:
    """The message, which is one line and begins with the file's name or names it."""
    with pytest.raises(GraphError) as caught:
        read_network(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)


# What is read


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    model = network(FAMILIES["yolov8"], (64, 64), names=("a", "b", "c"))
    path = tmp_path / "yolo.onnx"
    onnx.save(model, path)
    assert read_network(path) == model


@pytest.mark.parametrize("name", ["yolo", "yolo.txt", "yolo.ONNX", "yolo.pb"])
def test_the_ending_of_its_name_does_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(graph("y = Relu (images)").SerializeToString())
    assert kinds(read_network(path)) == ["Relu"]


# What is something else


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


CHECKPOINT = {"yolo/data.pkl": pickle.dumps({"model": [1]}, 2), "yolo/version": b"3\n", "yolo/data/0": bytes(64)}
PYTORCH = {
    "torch.save": archive(CHECKPOINT),
    "TorchScript": archive(
        {**CHECKPOINT, "yolo/code/__torch__.py": b"class Net(Module): ...", "yolo/constants.pkl": b"."}
    ),
}
OTHERS = {
    **{
        f"{what}, {name}": (name, content, "PyTorch")
        for what, content in PYTORCH.items()
        for name in ("a.pt", "a.onnx")
    },
    "an old torch.save, .pt": ("a.pt", pickle.dumps({"model": 1}, 2), "PyTorch"),
    "an old torch.save, .pth": ("A.PTH", pickle.dumps({"model": 1}, 4), "PyTorch"),
    "TFLite": ("a.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(32), "TensorFlow Lite"),
    "TFLite by another name": ("a.onnx", b"\x20\x00\x00\x00TFL3" + bytes(32), "TensorFlow Lite"),
    "a TensorRT engine": ("a.engine", b"ftrt\x00\x00\x00\x00" + bytes(64), "TensorRT"),
    "a TensorRT plan": ("a.plan", b"ftrt\x00\x00\x00\x00" + bytes(64), "TensorRT"),
    "an Ultralytics engine": ("a.ENGINE", b'\x10\x00\x00\x00{"stride": 32}' + bytes(64), "TensorRT"),
    "OpenVINO": ("a.xml", b'<?xml version="1.0"?><net name="yolo" version="11"/>', "OpenVINO"),
    "OpenVINO weights": ("a.bin", bytes(64), "OpenVINO"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path: Path, what: str) -> None:
    name, content, kind = OTHERS[what]
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path} is a") and kind in message and "ONNX" in message


def test_a_pytorch_file_gets_the_commands_that_export_it(tmp_path: Path) -> None:
    path = tmp_path / "yolo.pt"
    path.write_bytes(PYTORCH["torch.save"])
    for command in ("yolo export model=x.pt format=onnx dynamic=True", "tools/export_onnx.py", "--include onnx"):
        assert command in refusal(path)


@pytest.mark.filterwarnings("default")  # PyTorch warns of its own TorchScript
@pytest.mark.parametrize("script", [False, True], ids=["torch.save", "TorchScript"])
def test_what_pytorch_itself_writes_is_known(tmp_path: Path, script: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; files in its layout are tested above")
    path, module = tmp_path / "yolo.pt", torch.nn.ReLU()
    if script:
        torch.jit.save(torch.jit.script(module), str(path))
    else:
        torch.save({"model": module.state_dict(), "weights": torch.zeros(3)}, path)
    assert "PyTorch" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"This is not a network.\n" * 50,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"\x89HDF\r\n\x1a\n" + bytes(64),
        bytes(64),
        b"\xff" * 64,
        pickle.dumps([1, 2, 3]),
        onnx.TensorProto(dims=[1], data_type=1, float_data=[1]).SerializeToString(),
        onnx.ModelProto(ir_version=10).SerializeToString(),
    ],
    ids=["empty", "a newline", "text", "Git LFS", "HTML", "HDF5", "zeros", "ones", "pickle", "a tensor", "no graph"],
)
def test_a_file_of_no_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "yolo.onnx"
    path.write_bytes(content)
    assert "not an ONNX file, or a damaged one" in refusal(path)


WHOLE = network(FAMILIES["yolov8"], (64, 64), names=("a", "b", "c")).SerializeToString()


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 100, 1000, len(WHOLE) // 2, len(WHOLE) - 200, len(WHOLE) - 1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "yolo.onnx"
    path.write_bytes(WHOLE[:length])
    assert "damaged" in refusal(path)


def test_no_length_and_no_wrong_byte_raises_anything_else(tmp_path: Path) -> None:
    whole = graph("a = Relu (images) b = Sigmoid (a) y = Mul (a, b)").SerializeToString()
    path = tmp_path / "yolo.onnx"
    wrong = [whole[:i] for i in range(len(whole))]
    wrong += [whole[:i] + bytes([byte]) + whole[i + 1 :] for i in range(len(whole)) for byte in (0, 0x7F, 0xFF)]
    refused, others = 0, set()
    for content in wrong:
        path.write_bytes(content)
        try:
            read_network(path)
        except GraphError:
            refused += 1
        except Exception as error:  # any kind is what this looks for
            others.add(f"{type(error).__name__}: {error}")
    assert not others
    assert refused > len(wrong) / 3


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "yolo.onnx")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("cannot read")


# Weights in another file


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """An ONNX whose weights lie in yolo.onnx.data."""
    path = tmp_path / "yolo.onnx"
    model = network(FAMILIES["yolov8"], (64, 64))
    onnx.save_model(model, path, save_as_external_data=True, location="yolo.onnx.data", size_threshold=0)
    assert path.stat().st_size < 10_000 < (tmp_path / "yolo.onnx.data").stat().st_size
    return path


def test_weights_in_a_file_beside_it_are_read(outside: Path) -> None:
    inside = network(FAMILIES["yolov8"], (64, 64))
    model = read_network(outside)
    for tensor, other in zip(model.graph.initializer, inside.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(other))
    outside.with_name("yolo.onnx.data").unlink()
    ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])  # it is whole without the file


def test_weights_in_a_file_that_is_missing_are_asked_for(outside: Path) -> None:
    outside.with_name("yolo.onnx.data").unlink()
    message = refusal(outside)
    assert "keeps its weights in another file, which is not beside it" in message and "yolo.onnx.data" in message


@pytest.mark.parametrize("length", [0, 100])
def test_weights_in_a_file_that_was_cut_off_are_refused(outside: Path, length: int) -> None:
    data = outside.with_name("yolo.onnx.data")
    data.write_bytes(data.read_bytes()[:length])
    refusal(outside)


# What the graph is made of


@pytest.mark.parametrize(
    ("operator", "domain"),
    [("EfficientNMS_TRT", "TRT"), ("FusedConv", "com.microsoft"), ("NMSRotated", "mmdeploy"), ("Foo", "a.b")],
)
@pytest.mark.parametrize("imported", [True, False])
def test_an_operator_of_one_runtime_is_refused_by_name(operator: str, domain: str, imported: bool) -> None:
    opsets = f'opset_import: ["" : 20{f", {chr(34)}{domain}{chr(34)} : 1" if imported else ""}]'
    with pytest.raises(GraphError, match=f"not ONNX's own: {domain}::{operator}[.] Export without them"):
        checked(graph(f"a = Relu (images) y = {domain}.{operator} (a)", opsets))


def test_every_such_operator_is_named_once() -> None:
    with pytest.raises(GraphError, match=r"own: TRT::B, com[.]x::A[.] Export"):
        checked(graph("a = com.x.A (images) b = TRT.B (a) c = com.x.A (b) y = Relu (c)"))


def test_an_operator_of_one_runtime_in_a_branch_is_refused_too() -> None:
    model = graph(
        """c = Constant <value = bool {1}> ()
        y = If (c) <then_branch = one () => (float[N, 3, 8, 8] a) { a = com.x.Foo (images) },
                    else_branch = two () => (float[N, 3, 8, 8] b) { b = Sigmoid (images) }>""",
        'opset_import: ["" : 20, "com.x" : 1]',
    )
    with pytest.raises(GraphError, match=r"com[.]x::Foo"):
        checked(model)


def test_the_name_ai_onnx_is_onnxs_own() -> None:
    model = graph("y = Relu (images)")
    model.opset_import[0].domain = "ai.onnx"
    assert kinds(checked(model)) == ["Relu"]


def functions(inner: str = "s = Sigmoid (x) z = Mul (x, s)") -> onnx.ModelProto:
    """A network that calls SiLU, its own function, twice, and once from within another."""
    return parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 20, "local" : 1]>
        net (float[N, 3, 8, 8] images) => (float[N, 3, 8, 8] y) {{ a = local.SiLU (images) y = local.Two (a) }}
        <domain: "local", opset_import: ["" : 20, "com.x" : 1]> SiLU (x) => (z) {{ {inner} }}
        <domain: "local", opset_import: ["" : 20, "local" : 1]> Two (x) => (z) {{ a = local.SiLU (x) z = Neg (a) }}""")


def test_the_models_own_functions_are_put_in_their_places() -> None:
    model = checked(functions())
    assert not model.functions
    assert kinds(model) == ["Sigmoid", "Mul", "Sigmoid", "Mul", "Neg"]
    x = images()
    once = x / (1 + np.exp(-x))
    np.testing.assert_allclose(Runner(model).run(x)["y"], -once / (1 + np.exp(-once)), rtol=1e-5, atol=1e-6)


def test_a_function_with_an_operator_of_one_runtime_is_refused() -> None:
    with pytest.raises(GraphError, match=r"com[.]x::Foo"):
        checked(functions("z = com.x.Foo (x)"))


def disordered(model: onnx.ModelProto, *order: int) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    copy.graph.node.extend(model.graph.node[i] for i in order)
    return copy


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (2, 0, 1)])
def test_operators_out_of_order_are_put_in_order(order: tuple[int, ...]) -> None:
    model = graph("a = Relu (images) b = Sigmoid (a) y = Mul (a, b)")
    wrong = disordered(model, *order)
    before = wrong.SerializeToString()
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(wrong)
    assert kinds(checked(wrong)) == ["Relu", "Sigmoid", "Mul"]
    assert wrong.SerializeToString() == before


def test_operators_in_order_keep_it() -> None:
    model = graph("a = Relu (images) b = Neg (images) c = Abs (images) d = Add (c, b) y = Add (d, a)")
    assert kinds(checked(model)) == ["Relu", "Neg", "Abs", "Add", "Add"]


@pytest.mark.parametrize("order", [(0, 1, 3, 2, 4), (2, 3, 0, 1, 4), (0, 2, 3, 1, 4), (4, 2, 3, 0, 1), (4, 3, 2, 1, 0)])
def test_what_a_branch_takes_from_outside_comes_before_it(order: tuple[int, ...]) -> None:
    model = graph("""p = Neg (images) q = Abs (p) c = Constant <value = bool {1}> ()
        r = If (c) <then_branch = one () => (float[N, 3, 8, 8] a) { a = Sqrt (q) },
                    else_branch = two () => (float[N, 3, 8, 8] b) { b = Sigmoid (q) }>
        y = Neg (r)""")
    x = images()
    got = Runner(checked(disordered(model, *order))).run(x)["y"]
    np.testing.assert_allclose(got, -np.sqrt(np.abs(x)), rtol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        "a = Add (images, b) b = Relu (a) y = Sigmoid (b)",
        "a = Add (images, a) y = Sigmoid (a)",
        "y = Add (images, c) a = Relu (y) b = Neg (a) c = Abs (b)",
    ],
    ids=["of two", "of one", "with the output"],
)
def test_operators_in_a_loop_are_refused(body: str) -> None:
    with pytest.raises(GraphError, match="its operators form a loop"):
        checked(graph(body))


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        ("y = Add (images, nowhere)", "'nowhere'"),
        ("y = Reluu (images)", "Reluu"),
        ("y = Relu (images) y = Abs (images)", "'y'"),
        ("z = Relu (images)", "'y'"),
        ("y = Conv <nonsense = 1> (images, images)", "nonsense"),
        ("y = Add (images)", "Add"),
    ],
    ids=["a missing tensor", "no such operator", "two of a name", "no output", "no such attribute", "too few inputs"],
)
def test_an_invalid_graph_is_refused_with_what_is_wrong(body: str, seen: str) -> None:
    with pytest.raises(GraphError, match=r"^is not valid ONNX: ") as caught:
        checked(graph(body))
    assert seen in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_with_an_invalid_graph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "yolo.onnx"
    path.write_bytes(graph("y = Add (images, nowhere)").SerializeToString())
    assert refusal(path).startswith(f"{path}: is not valid ONNX")


def test_a_graph_that_does_not_say_its_operator_set_is_refused() -> None:
    model = graph("y = Relu (images)")
    del model.opset_import[:]
    with pytest.raises(GraphError, match="which operator set"):
        checked(model)


@pytest.mark.parametrize("version", [0, 99])
def test_another_version_of_the_format_is_refused(version: int) -> None:
    model = graph("y = Relu (images)")
    model.ir_version = version
    with pytest.raises(GraphError, match="ir_version"):
        checked(model)
