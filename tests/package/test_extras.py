"""Each verb imports what its extra installs, and the client what is installed without one."""

from __future__ import annotations

import shlex
import sys

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.support.imports import DECLARED, PROJECT, closure, declared, missing, third_party
from triton_yolo.cli.main import EXTRAS, VERBS, missing_packages
from triton_yolo.clients.stream import sinks
from triton_yolo.clients.stream.sources import KINDS

# Imported where something is asked for that the verb's extra does not stand for.
ELSEWHERE = {
    *EXTRAS,
    "triton_python_backend_utils",  # in Triton's own processes
    "openvino",  # of the half of a network beside a camera, which no verb runs; what serves loads its runtimes by name
    "zstandard",  # likewise
}


def later(module: str) -> dict[str, str]:
    """What a module imports at any time."""
    return {name: path for name, path in third_party(module, inner=True).items() if name not in ELSEWHERE}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_with_its_extra(verb: str) -> None:
    module, extra, _ = VERBS[verb]
    assert not missing(third_party(module, inner=False), closure([f"{PROJECT}[{extra}]"]))


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_imports_later_comes_with_its_extra_or_draws(verb: str) -> None:
    module, extra, _ = VERBS[verb]
    assert not missing(later(module), closure([f"{PROJECT}[{extra},draw]"]))


@pytest.mark.parametrize("module", ["triton_yolo.clients", "triton_yolo.clients.commands.detect"])
def test_the_client_loads_without_an_extra(module: str) -> None:
    assert not missing(third_party(module, inner=False), closure([PROJECT]))


def test_the_half_of_a_network_beside_a_camera_loads_and_computes_with_its_extra() -> None:
    module = "triton_yolo.clients.stream.features"
    computing = {name: path for name, path in third_party(module, inner=True).items() if name == "openvino"}
    assert computing
    names = third_party(module, inner=False)
    assert {"cv2", "zstandard"} <= names.keys()
    assert not missing(names | computing, closure([f"{PROJECT}[edge]"]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_of_frames_loads_with_the_extra_for_streams(kind: str) -> None:
    for module in (f"triton_yolo.clients.stream.sources.{KINDS[kind][0]}", "triton_yolo.clients.stream.camera"):
        assert not missing(third_party(module, inner=False), closure([f"{PROJECT}[stream]"]))


@pytest.mark.parametrize("kind", sinks.KINDS)
def test_a_sink_loads_with_its_extra(kind: str) -> None:
    extra = sinks.EXTRAS.get(kind, "stream")
    assert not missing(
        third_party(f"{sinks.__name__}.{sinks.KINDS[kind][0]}", inner=False), closure([f"{PROJECT}[{extra}]"])
    )


def test_the_server_loads_its_runtimes_with_its_extra() -> None:
    for path in sorted((ROOT / "server" / "runtimes").glob("*/*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        assert not missing(later(f"triton_yolo.{name}"), closure([f"{PROJECT}[server]"]))


def test_a_verb_that_lacks_a_package_in_a_checkout_says_how_to_install_it_from_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit), missing_packages("evaluate"):
        raise ModuleNotFoundError(name="pycocotools.coco")
    told, _, command = capsys.readouterr().err.partition(": pycocotools is not installed: ")
    assert told == "triton-yolo evaluate"
    install = [sys.executable, "-m", "pip", "install", "-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[evaluate]"]
    assert shlex.split(command) == install


def test_with_the_server_s_packages_those_of_development_bring_all_that_is_tested() -> None:
    everything = closure([f"{PROJECT}[calibrate,cuda,export,server]"])
    assert everything <= closure([f"{PROJECT}[dev,server]"])


def test_every_extra_of_a_verb_is_declared() -> None:
    assert {extra for _, extra, _ in VERBS.values()} <= set(DECLARED["optional-dependencies"])


def test_a_gpu_brings_all_of_the_server_and_export_but_the_onnx_runtime_of_the_cpu() -> None:
    """ONNX Runtime for a GPU and the one for the CPU overwrite each other's files."""
    extras = {extra: set(lines) for extra, lines in DECLARED["optional-dependencies"].items()}
    gpu = extras["server"] | extras["export"] | extras["cuda"] | {"onnxruntime-gpu[cuda,cudnn]"}
    assert extras["gpu"] == gpu - {"onnxruntime"}
    assert extras["draw"] <= extras["server"]


@pytest.mark.parametrize("extra", DECLARED["optional-dependencies"])
def test_what_an_extra_names_has_a_version_in_the_constraints(extra: str) -> None:
    if extra == "train":
        pytest.skip("training takes the versions that its container has")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    wanted = {canonicalize_name(Requirement(line).name) for line in declared({extra})} - {PROJECT}
    assert wanted <= pinned
