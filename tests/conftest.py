"""What all tests share: the server that they talk to, and the labelled boards that users do not have."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from bench.float_graph import NETWORK, float_repository
from tests.support.servers import serving
from tests.support.tiers import tiers
from triton_yolo.calibration.runtimes import Run, onnxruntime_engine, openvino_engine
from triton_yolo.server.process import TritonServer

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = ROOT / "model_repository"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tiers."""
    for item in items:
        for tier in tiers(item):
            item.add_marker(tier)


def pytest_collection_finish() -> None:
    """Leave the million objects of the collected tests out of every garbage collection to come."""
    gc.collect()
    gc.freeze()


def has_vnni() -> bool:
    """Whether OpenVINO multiplies INT8 without saturation here, as processors with VNNI do if they are let."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return "ONEDNN_MAX_CPU_ISA" not in os.environ and not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)


def right_engine(model: onnx.ModelProto) -> Run:
    """The fastest that computes INT8 graphs right on this processor, as calibration chooses it."""
    return openvino_engine(model) if has_vnni() else onnxruntime_engine(model)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let programs that the tests start hear Ctrl-C and SIGHUP, also where these run in the background or with nohup.

    What is ignored is inherited; what has a handler is not.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.fixture(scope="session")
def server() -> Iterator[TritonServer]:
    """The default repository, served by the real tritonserver for the whole run."""
    with serving(REPOSITORY) as running:
        yield running


@pytest.fixture(scope="session")
def float_default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default repository with its graph as it was before quantisation, which every engine computes alike."""
    return float_repository(NETWORK, REPOSITORY, tmp_path_factory.mktemp("float") / "repository")


@pytest.fixture(scope="session")
def float_server(float_default: Path) -> Iterator[TritonServer]:
    """The same, served by the real tritonserver for the whole run."""
    with serving(float_default) as running:
        yield running


@pytest.fixture(scope="session")
def deeppcb() -> Path:
    """The labelled DeepPCB scans beside the project."""
    folder = ROOT.parent / "shared" / "data" / "deeppcb"
    if not folder.is_dir():
        pytest.skip(f"DeepPCB is not at {folder.relative_to(ROOT.parent)} beside the project")
    return folder
