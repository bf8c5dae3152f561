"""The network proves itself where it runs, in the arithmetic that it is served in.

``ONEDNN_MAX_CPU_ISA=AVX2`` lets OpenVINO compute as on a processor without VNNI, whatever this one has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import REPOSITORY, has_vnni
from tests.server.cells import copy_with_cells
from triton_yolo import openvino_graph as reading
from triton_yolo.boards import draw_board
from triton_yolo.calibration.runtimes import openvino_engine, proved_runtime
from triton_yolo.clients import Detector
from triton_yolo.export.proof_maker import write_graph
from triton_yolo.export.samples import samples
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import TOLERANCES, Comparison, ServedProof, proof_of
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.repository import GRAPH_PATH
from triton_yolo.server.errors import ServerError
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.repository import compose
from triton_yolo.server.runtimes.base import RECORD, Arithmetic
from triton_yolo.server.runtimes.proved import NotProved, Trial, choose

pytestmark = pytest.mark.computes

PROOF = ServedProof.carried_by(REPOSITORY / GRAPH_PATH)


def started(repository: Path = REPOSITORY, arithmetic: Arithmetic = "auto") -> TritonServer:
    return TritonServer(repository, free_addresses(), lambda line: None, arithmetic=arithmetic)


def served(folder: Path) -> list[dict]:
    return json.loads((folder / "models" / "yolo" / "1" / RECORD).read_text())["trials"]


def test_avx2_falls_back_to_float32_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    boards = [draw_board(seed, 640, 640, "binary") for seed in (9_000_013, 9_000_021)]
    with started() as server:
        server.wait_until_ready()
        line = server.proved()["yolo"].line
        assert line.startswith("float32, because int8 is wrong on this processor (")
        assert f"proved: {served(server.folder)[1]['detections']} detections, at most " in line
        with urllib.request.urlopen(f"http://127.0.0.1:{server.addresses.metrics}/metrics") as answer:
            metrics = answer.read().decode()
        assert 'yolo_arithmetic{arithmetic="float32",model="yolo"} 1' in metrics
        assert f'yolo_proof_detections{{model="yolo"}} {served(server.folder)[1]["detections"]}' in metrics
        with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
            found = detector.detect_frames(np.stack([board.image for board in boards]))
    assert sum(map(len, found)) >= 0.8 * sum(len(board.boxes) for board in boards)


@pytest.mark.slow
def test_avx2_refuses_int8_with_status_2_and_what_differed(tmp_path: Path) -> None:
    at = free_addresses()
    ports = ["--http-port", at.http, "--grpc-port", at.grpc, "--metrics-port", at.metrics]
    command = [sys.executable, "-m", "triton_yolo", "serve", "--arithmetic", "int8", *map(str, ports)]
    done = subprocess.run(
        command,
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "no arithmetic finds what it must on this processor, so that nothing is served: int8: " in line
    assert "without a counterpart beside 29 detections" in line


def test_int8_is_served_where_it_is_right() -> None:
    """On a processor with VNNI by itself; on others the same graph, refused or not, is never served wrong."""
    if not has_vnni():
        with started(arithmetic="int8") as server, pytest.raises(ServerError, match="nothing is served: int8"):
            server.wait_until_ready()
        return
    for arithmetic in ("auto", "int8"):
        with started(arithmetic=arithmetic) as server:
            server.wait_until_ready()
            assert server.proved()["yolo"].line.startswith("int8; proved: ")
            assert len(served(server.folder)) == 1, "nothing else is tried where INT8 is known to be the fastest"


@pytest.mark.slow
def test_float_is_served_on_request() -> None:
    with started(arithmetic="float") as server:
        server.wait_until_ready()
        assert server.proved()["yolo"].line.startswith("float32; proved: ")


def test_of_what_is_right_the_fastest_is_taken() -> None:
    right = Comparison(9, 0, 0.1, 0.99, 0.99, 0.01, 0.01, TOLERANCES["int8"])
    wrong = dataclasses.replace(right, alone=1)
    slow, fast, bad = (
        Trial(*values) for values in (("slow", None, right, 2.0), ("fast", None, right, 1.0), ("bad", None, wrong, 0.5))
    )
    assert choose([slow, fast], lambda trial: False)[0] is fast
    assert choose([slow, fast], lambda trial: True) == (slow, [slow]), "the first is known to be the fastest"
    assert choose([bad, slow], lambda trial: True) == (slow, [bad, slow])
    with pytest.raises(NotProved, match="bad: 1 without a counterpart beside 9 detections"):
        choose([bad], lambda trial: True)


def wrong_weights(graph: onnx.ModelProto) -> None:
    first = next(node for node in graph.graph.node if node.op_type == "Conv").input[1]
    [maker] = [node for node in graph.graph.node if node.output[0] == first]
    scale = next(tensor for tensor in graph.graph.initializer if tensor.name == maker.input[1])
    array = numpy_helper.to_array(scale)
    scale.CopyFrom(numpy_helper.from_array((array * 1.5).astype(array.dtype), scale.name))


def swapped_planes(graph: onnx.ModelProto) -> None:
    first = next(node for node in graph.graph.node if "images" in node.input)
    graph.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "blue_first"))
    graph.graph.node.insert(0, onnx.helper.make_node("Gather", ["images", "blue_first"], ["swapped"], axis=1))
    first.input[list(first.input).index("images")] = "swapped"


@pytest.mark.parametrize("change", [wrong_weights, pytest.param(swapped_planes, marks=pytest.mark.slow)])
def test_a_graph_that_was_changed_behind_its_proof_is_not_served(
    change: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    """As a runtime would change it that is wrong: the proof is of the graph as it was."""
    shutil.copytree(REPOSITORY, tmp_path / "repository")
    path = tmp_path / "repository" / GRAPH_PATH
    graph = read_network(path)
    change(graph)
    content = graph.SerializeToString()
    path.write_bytes(content)
    proof_of(path).write_bytes(dataclasses.replace(PROOF, graph_sha256=hashlib.sha256(content).hexdigest()).to_bytes())
    with (
        started(tmp_path / "repository") as server,
        pytest.raises(ServerError, match=r"nothing is served: int8: .*float32: "),
    ):
        server.wait_until_ready()


def test_a_graph_without_its_proof_is_refused_with_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY, tmp_path / "repository")
    proof_of(tmp_path / "repository" / GRAPH_PATH).unlink()
    with pytest.raises(ServerError, match=r"proof\.npz is missing.*triton-yolo prove .*model\.onnx --images DIR"):
        compose(tmp_path / "repository", tmp_path)


def test_int8_of_a_float_graph_is_refused(tmp_path: Path) -> None:
    repository = copy_with_cells(REPOSITORY, tmp_path / "repository")
    with pytest.raises(ServerError, match=r"--arithmetic int8: .* is a float graph; `triton-yolo calibrate` makes"):
        compose(repository, tmp_path, arithmetic="int8")
    (tmp_path / "other").mkdir()
    with pytest.raises(ServerError, match="--arithmetic int8 takes TensorRT on a GPU"):
        compose(REPOSITORY, tmp_path / "other", "gpu", arithmetic="int8")


def test_quantisers_that_move_before_concatenations_are_caught_where_that_is_wrong() -> None:
    """OpenVINO does so but for the work-around in openvino_graph.py; with AMX it computes right all the same."""

    def compared() -> Comparison:
        run = openvino_engine(read_network(REPOSITORY / GRAPH_PATH))
        return PROOF.compare([run(picture) for picture in PROOF.pixels], "float32")

    mended = compared()
    with patch.object(reading, "_with_quantisers_behind_concatenations", lambda graph: graph):
        comparison = compared()
    assert not comparison.holds or (mended.holds and abs(comparison.mean_score - mended.mean_score) < 0.002)
    assert mended.holds or not has_vnni()


def test_calibration_measures_in_a_runtime_that_is_right() -> None:
    graph = read_network(REPOSITORY / GRAPH_PATH)
    runtime = proved_runtime(graph, PROOF)
    assert (runtime.name == "OpenVINO") == has_vnni(), runtime.said
    run = runtime.load(graph)
    assert PROOF.compare([run(picture) for picture in PROOF.pixels], "int8").holds


def test_pictures_of_ones_own_make_a_proof(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY, tmp_path / "repository")
    path = tmp_path / "repository" / GRAPH_PATH
    graph = read_network(path)
    letterbox = served_model_of(graph, path).letterbox
    proof_of(path).unlink()
    write_graph(path, graph, samples(None, letterbox)[:2])
    (tmp_path / "served").mkdir()
    assert "yolo" in compose(tmp_path / "repository", tmp_path / "served")
