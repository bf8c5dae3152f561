"""Plans of served graphs: built by TensorRT for RTX for a GPU that is not here, since it needs none for that."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from tests.clients.commands import run
from tests.conftest import REPOSITORY, ROOT
from tests.export.layouts import FAMILIES
from tests.export.opened import family_network, opened_family, pictures
from triton_yolo.calibration.quantise import quantised_in
from triton_yolo.export import plan as module
from triton_yolo.export.errors import ExportError
from triton_yolo.export.plan_layers import convolution_types
from triton_yolo.export.proof_maker import write_graph
from triton_yolo.export.served_graph import served_graph
from triton_yolo.export.tensorrt import Plan, PlanOptions, build, gpu, load_runtime, run_plan, use_times
from triton_yolo.graphs.runner import Runner

GRAPH = REPOSITORY / "yolo" / "1" / "model.onnx"
OPTIONS = PlanOptions((1, 8, 32), compute_capability="8.9")
RTX = ("--runtime", "tensorrt-rtx", "--compute-capability", "8.9")

built = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT for RTX is not installed"
)


def plan(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triton_yolo", "plan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=os.environ)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("triton-yolo plan: ")
    return result.stderr


@built
@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("name", FAMILIES)
def test_tensorrt_builds_the_served_graph_of_every_family(name: str, batch: int | None) -> None:
    graph = served_graph(*opened_family(name, batch=batch), 300)
    assert len(build(load_runtime("tensorrt-rtx"), graph, OPTIONS).content) > 100_000


@built
def test_the_default_graph_becomes_a_plan_with_its_origin_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model.plan"
    result = plan(GRAPH, "--out", target, *RTX)
    assert result.returncode == 0, result.stderr
    record = json.loads(Path(f"{target}.json").read_text())
    assert record["plan_sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert record["bytes"] == target.stat().st_size > 4_000_000
    assert record["runtime"].startswith("tensorrt-rtx 1.")
    assert record["options"]["batches"] == [1, 8, 32]
    if gpu() is None:
        assert record["gpu"] is None
    assert record["layers"]

    before = target.stat().st_mtime_ns
    again = plan(GRAPH, "--out", target, *RTX)
    assert "is there and fits" in again.stdout
    assert target.stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with graph.onnx, and model.plan that was built of it."""
    folder = tmp_path_factory.mktemp("plan")
    write_graph(folder / "graph.onnx", served_graph(*opened_family("yolov8"), 100), pictures(2))
    result = plan(folder / "graph.onnx", "--out", folder / "model.plan", *RTX)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.slow
@built
@pytest.mark.parametrize("change", ["options", "graph", "proof", "plan", "record"])
def test_a_plan_that_does_not_fit_is_built_again(small: Path, tmp_path: Path, change: str) -> None:
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    graph, target = tmp_path / "graph.onnx", tmp_path / "model.plan"
    options = [*RTX]
    if change == "options":
        options += ["--max-batch", "16"]
    elif change == "graph":
        write_graph(graph, served_graph(*opened_family("yolov8", seed=1), 100), pictures(2))
    elif change == "proof":
        write_graph(graph, onnx.load(graph), pictures(3, seed=1))
    elif change == "plan":
        target.write_bytes(target.read_bytes()[:-1])
    else:
        Path(f"{target}.json").write_text("{}")
    result = plan(graph, "--out", target, *options)
    assert result.returncode == 0, result.stderr
    assert "built with tensorrt-rtx" in result.stdout
    assert "not proved: its GPU is not here" in result.stdout
    assert "is there and fits" in plan(graph, "--out", target, *options).stdout


def stand_in(graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ONNX Runtime compute the pictures of a plan: TensorRT builds and runs none without a GPU."""
    runner = Runner(graph)
    monkeypatch.setattr(module, "load_runtime", lambda name: SimpleNamespace(__version__="11.2"))
    monkeypatch.setattr(module, "gpu", lambda: {"name": "a GPU", "compute_capability": "9.0"})
    monkeypatch.setattr(module, "build", lambda *arguments: Plan(b"a plan", b"", None))
    monkeypatch.setattr(module, "run_plan", lambda trt, content, images: runner.run(images)["candidates"])


def test_a_plan_is_kept_where_it_finds_what_the_proof_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs it here is ONNX Runtime; with TensorRT itself this has to be seen on a GPU."""
    graph = served_graph(*opened_family("yolov8"), 100)
    write_graph(tmp_path / "graph.onnx", graph, pictures(2))
    stand_in(graph, monkeypatch)
    result = run(module.main, tmp_path / "graph.onnx", "--out", tmp_path / "model.plan")
    assert result.exit_code == 0, result.stderr
    assert "; proved: " in result.stdout
    record = json.loads((tmp_path / "model.plan.json").read_text())
    assert record["proof"]["holds"]
    assert record["proof"]["detections"] > 0
    assert (tmp_path / "model.plan").read_bytes() == b"a plan"


def test_a_plan_of_another_graph_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_graph(tmp_path / "graph.onnx", served_graph(*opened_family("yolov8"), 100), pictures(2))
    (tmp_path / "model.plan").write_bytes(b"the old one")
    stand_in(served_graph(*opened_family("yolov8", seed=1), 100), monkeypatch)
    result = run(module.main, tmp_path / "graph.onnx", "--out", tmp_path / "model.plan")
    assert result.exit_code == 2
    assert "the plan finds something else than the graph (" in result.stderr
    assert (tmp_path / "model.plan").read_bytes() == b"the old one"
    assert not (tmp_path / "model.plan.json").exists()


def test_a_graph_without_its_proof_gets_no_plan(tmp_path: Path) -> None:
    onnx.save(served_graph(*opened_family("yolov8"), 100), tmp_path / "graph.onnx")
    assert "graph.proof.npz is missing" in refused(plan(tmp_path / "graph.onnx"))


@built
def test_the_parsers_own_words_are_passed_on() -> None:
    graph = served_graph(*opened_family("yolov8"), 100)
    [node] = [node for node in graph.graph.node if node.op_type == "TopK"]
    node.op_type, node.name = "Scan", "no such thing"
    with pytest.raises(ExportError, match=r"the parser refused: Scan no such thing: "):
        build(load_runtime("tensorrt-rtx"), graph, OPTIONS)


@built
def test_what_the_builder_refuses_leaves_the_old_plan(tmp_path: Path) -> None:
    target = tmp_path / "model.plan"
    target.write_bytes(b"the old one")
    message = refused(plan(GRAPH, "--out", target, "--runtime", "tensorrt-rtx", "--compute-capability", "9.0"))
    assert "--compute-capability 9.0 is not one of SM75, " in message
    assert target.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["model.plan"]


@built
@pytest.mark.skipif(gpu() is not None, reason="there is a GPU here")
def test_without_a_gpu_one_has_to_be_named(tmp_path: Path) -> None:
    message = refused(plan(GRAPH, "--out", tmp_path / "model.plan", "--runtime", "tensorrt-rtx"))
    assert "there is no GPU here to build for" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_a_runtime_that_is_not_installed_is_named() -> None:
    assert "tensorrt is not installed in this environment: pip install tensorrt-cu13" in refused(plan(GRAPH))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([ROOT / "models" / "pcb-yolov9t-elan.onnx"], "it is not a served graph: make one with triton-yolo export"),
        ([ROOT / "README.md"], "is not an ONNX file"),
        ([GRAPH, "--best-batch", 33], "batches must rise: 1, 33, 32"),
    ],
)
def test_what_is_no_served_graph_is_refused(tmp_path: Path, arguments: list[object], complaint: str) -> None:
    assert complaint in refused(plan(*arguments, "--out", tmp_path / "model.plan"))
    assert not list(tmp_path.iterdir())


def test_a_network_of_a_family_is_no_served_graph(tmp_path: Path) -> None:
    onnx.save(family_network(FAMILIES["yolov8"]), tmp_path / "network.onnx")
    assert "it is not a served graph" in refused(plan(tmp_path / "network.onnx"))


@built
@pytest.mark.skipif(gpu() is not None, reason="with a GPU the engine inspector is asked, which says it otherwise")
def test_the_convolutions_of_the_default_plan_multiply_int8() -> None:
    graph = onnx.load(GRAPH)
    names = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    layers = build(load_runtime("tensorrt-rtx"), graph, OPTIONS).layers
    assert layers
    types = convolution_types(layers, names)
    assert set(types) == set(names)
    assert {name for name, kinds in types.items() if kinds == {"Int8"}} == quantised_in(graph)
    assert len(quantised_in(graph)) > 0.8 * len(names)


@built
@pytest.mark.skipif(gpu() is not None, reason="with a GPU the engine inspector is asked, which says it otherwise")
def test_without_quantised_weights_no_convolution_multiplies_int8() -> None:
    graph = served_graph(*opened_family("yolov8"), 100)
    names = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    layers = build(load_runtime("tensorrt-rtx"), graph, OPTIONS).layers
    assert layers
    assert all(kinds == {"Float"} for kinds in convolution_types(layers, names).values())


class Times:
    """What TensorRT keeps measurements in, which needs a GPU; it takes those that begin with its own version."""

    def __init__(self, refuses: str) -> None:
        self.refuses, self.taken = refuses, b""

    def create_timing_cache(self, content: bytes) -> SimpleNamespace | None:
        if content and self.refuses == "content":
            return None
        return SimpleNamespace(content=content)

    def set_timing_cache(self, cache: SimpleNamespace, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content and self.refuses == "cache":
            return False
        self.taken = cache.content
        return True


@pytest.mark.parametrize("refuses", ["content", "cache"])
def test_times_that_tensorrt_refuses_are_left_out(refuses: str) -> None:
    config = Times(refuses)
    use_times(config, b"of another version")
    assert config.taken == b""


def test_times_that_tensorrt_takes_are_used() -> None:
    config = Times("nothing")
    use_times(config, b"of this version")
    assert config.taken == b"of this version"


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        ({}, True),
        ({"runtime": "tensorrt 11.1.0.106"}, False),
        ({"gpu": {"name": "another", "compute_capability": "8.0"}}, False),
        ({"timing_cache_sha256": "of another file"}, True),  # nothing is known of it: TensorRT looks itself
    ],
)
def test_times_of_another_version_or_gpu_are_not_offered(
    tmp_path: Path, change: dict[str, object], usable: bool
) -> None:
    origin = {"runtime": "tensorrt 11.2.1.2", "gpu": {"name": "a GPU", "compute_capability": "9.0"}}
    cache, target = tmp_path / "model.plan.timing", tmp_path / "model.plan"
    cache.write_bytes(b"times")
    record = {**origin, "timing_cache_sha256": hashlib.sha256(b"times").hexdigest(), **change}
    Path(f"{target}.json").write_text(json.dumps(record))
    assert module.usable_times(cache, target, origin) == (b"times" if usable else b"")


def test_without_a_record_times_are_tensorrts_to_judge(tmp_path: Path) -> None:
    (tmp_path / "timing").write_bytes(b"times")
    assert module.usable_times(tmp_path / "timing", tmp_path / "model.plan", {}) == b"times"
    assert module.usable_times(tmp_path / "none", tmp_path / "model.plan", {}) == b""


def test_a_build_without_a_timing_cache_keeps_none(tmp_path: Path) -> None:
    """TensorRT may give None for the times that it took."""
    trt = building_runtime()
    assert build(trt, onnx.load(GRAPH), PlanOptions((1, 8, 32))).timing_cache == b""


def building_runtime() -> SimpleNamespace:
    """As much of TensorRT as a build asks for, with no times and no layers: TensorRT itself needs a GPU."""

    class Anything:
        def __getattr__(self, name: str) -> object:
            return lambda *_: Anything()

    class Config(Anything):
        create_timing_cache = set_timing_cache = get_timing_cache = lambda *_: None

    class Builder(Anything):
        def __init__(self, _: object) -> None:
            self.create_builder_config = Config
            self.build_serialized_network = lambda *_: b"a plan"

    class Logger:
        Severity = SimpleNamespace(ERROR=0, INTERNAL_ERROR=1, VERBOSE=2)

    return SimpleNamespace(
        __name__="tensorrt_bindings",
        ILogger=Logger,
        Builder=Builder,
        OnnxParser=lambda *_: Anything(),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        ProfilingVerbosity=SimpleNamespace(DETAILED=0),
        HardwareCompatibilityLevel=SimpleNamespace(NONE=0),
    )


@pytest.mark.parametrize("kind", ["Builder", "Runtime"])
def test_what_the_library_does_not_make_is_an_error_of_one_line(kind: str) -> None:
    """TensorRT's bindings raise TypeError then."""

    def fails(_: object) -> object:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt = building_runtime()
    fails.__name__ = kind
    setattr(trt, kind, fails)
    with pytest.raises(ExportError, match=f"TensorRT's {kind} did not start: it gave no reason"):
        if kind == "Builder":
            build(trt, onnx.load(GRAPH), PlanOptions((1, 8, 32)))
        else:
            run_plan(trt, b"", np.zeros((1, 3, 640, 640), np.uint8))
