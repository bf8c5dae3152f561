"""triton-yolo export --split."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.clients.commands import completed
from tests.export.layouts import FAMILIES
from tests.export.opened import family_network
from tests.export.split.necks import SIZE, split_family, split_repository, with_neck
from tests.export.test_command import Export, everything_in, refused
from triton_yolo.clients.stream.edge import EdgeProof
from triton_yolo.export.command import main
from triton_yolo.export.repository import EDGE, HEAD
from triton_yolo.export.served_proof import ProofError, ServedProof, proof_of
from triton_yolo.repository import GRAPH_PATH, read_config

MODELS = ["detect_features", "gather", "yolo_head"]


@pytest.fixture
def export_here(capfd: pytest.CaptureFixture[str]) -> Export:
    """The command in this process, where all that takes long to load is loaded already."""
    return partial(completed, main, capfd)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    onnx.save(with_neck(family_network(FAMILIES["yolov8"], size=SIZE)), path)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return split_repository(tmp_path / "repository")


def test_it_says_where_it_cuts_and_writes_what_serves_the_halves(
    network: Path, tmp_path: Path, export_here: Export
) -> None:
    result = export_here(network, "--repository", tmp_path, "--split")
    assert result.returncode == 0, result.stderr
    assert "In two halves: cut at network/c16 3x20x20, network/n32 3x10x10, network/l8 3x40x40: 6,300" in result.stdout
    assert "; proved: " in result.stdout
    configs = {name: read_config(tmp_path / name / "config.pbtxt") for name in [*MODELS, "yolo"]}
    assert list(configs["gather"].output[0].dims) == list(configs["yolo_head"].input[0].dims) == [6300]
    assert configs["yolo_head"].output == configs["yolo"].output
    assert {path.name for path in (tmp_path / "gather" / "1").iterdir()} == {
        *("__init__.py", "checksum.py", "codes.py", "errors.py", "model.py", "standstill.py", "streams.py", "update.py")
    }
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    edge, head = EdgeProof.beside(tmp_path / EDGE), ServedProof.carried_by(tmp_path / HEAD)
    assert edge.network == configs["gather"].parameters["network"].string_value
    assert head.pixels.dtype == np.int8
    np.testing.assert_array_equal(edge.features, head.pixels[[0, -1]])
    np.testing.assert_array_equal(edge.pixels, ServedProof.carried_by(tmp_path / GRAPH_PATH).pixels[[0, -1]])


def test_inspect_shows_the_cut_and_writes_nothing(network: Path, repository: Path, export_here: Export) -> None:
    before = everything_in(network.parent), everything_in(repository)
    for graph in (network, repository / GRAPH_PATH):
        result = export_here(graph, "--split", "--inspect")
        assert result.returncode == 0, result.stderr
        assert "Would be cut at network/c16 3x20x20, network/n32 3x10x10, network/l8 3x40x40: 6,300" in result.stdout
    assert (everything_in(network.parent), everything_in(repository)) == before


def test_the_graph_of_a_repository_is_cut_in_its_place_and_nothing_else_changes(
    repository: Path, export_here: Export
) -> None:
    whole = everything_in(repository)
    for name in MODELS:
        shutil.rmtree(repository / name)
    rest = everything_in(repository)
    result = export_here(repository / GRAPH_PATH, "--split")
    assert result.returncode == 0, result.stderr
    assert f"{repository} is ready: triton-yolo serve --repository {repository}" in result.stdout
    again = everything_in(repository)
    assert again.keys() == whole.keys()
    assert {name: again[name] for name in rest if not name.startswith("edge")} == {
        name: content for name, content in rest.items() if not name.startswith("edge")
    }


@pytest.mark.slow
def test_named_tensors_are_cut_at_and_a_plan_of_other_halves_is_removed(repository: Path, export_here: Export) -> None:
    plan = repository / HEAD.with_suffix(".plan")
    plan.write_bytes(b"built")
    result = export_here(repository / GRAPH_PATH, "--split-at", "c8, c16,c32")
    assert result.returncode == 0, result.stderr
    assert "cut at network/c8 3x40x40, network/c16 3x20x20, network/c32 3x10x10" in result.stdout
    assert f"Removed {plan}" in result.stdout
    assert not plan.exists()
    before = everything_in(repository)
    assert export_here(repository / GRAPH_PATH, "--split-at", "c8,c16,c32").returncode == 0
    assert everything_in(repository) == before, "the same again gives the same"


@pytest.mark.slow
def test_halves_of_another_graph_go_when_it_comes_without(
    network: Path, repository: Path, tmp_path: Path, export_here: Export
) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(with_neck(family_network(FAMILIES["yolov8"], size=SIZE, seed=7)), other)
    result = export_here(other, "--repository", repository)
    assert result.returncode == 0, result.stderr
    gone = [EDGE, proof_of(EDGE), *MODELS]
    for name in gone:
        assert f"Removed {repository / name}: it was built from another graph" in result.stdout
        assert not (repository / name).exists()


def test_halves_of_the_same_graph_stay(network: Path, repository: Path, export_here: Export) -> None:
    before = everything_in(repository)
    result = export_here(network, "--repository", repository, "--top-k", "300")
    assert result.returncode == 0, result.stderr
    assert "Removed" not in result.stdout
    assert {name: everything_in(repository)[name] for name in before if "proof" not in name} == {
        name: content for name, content in before.items() if "proof" not in name
    }


def test_what_cannot_be_cut_is_refused_and_nothing_is_written(
    repository: Path, tmp_path: Path, export_here: Export
) -> None:
    before = everything_in(tmp_path)
    words = refused(export_here(repository / GRAPH_PATH, "--split-at", "c16"))
    assert "c16 do not cut the graph in two" in words
    assert "this is a served graph already" in refused(export_here(repository / GRAPH_PATH))
    words = refused(export_here(repository / GRAPH_PATH, "--split", "--size", "640"))
    assert "leave out all options but --split, --split-at, --images and --inspect" in words
    assert everything_in(tmp_path) == before
    alone = tmp_path / "alone.onnx"
    shutil.copy(repository / GRAPH_PATH, alone)
    words = refused(export_here(alone, "--split"))
    assert "a served graph is cut in two where it is served, as REPOSITORY/yolo/1/model.onnx" in words


def test_a_server_half_whose_proof_is_another_s_says_what_makes_it(repository: Path) -> None:
    graph = split_family("yolov8")[0]
    (repository / HEAD).write_bytes(graph.SerializeToString())
    with pytest.raises(ProofError, match=r"is the proof of another graph: .*`triton-yolo export --split` of the"):
        ServedProof.carried_by(repository / HEAD)
