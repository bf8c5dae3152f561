"""What Prometheus gets to know of the GPU; the dashboard asks for it."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from triton_yolo.server.process import TritonServer

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]


def test_every_gpu_metric_of_the_dashboard_has_a_value(server: TritonServer) -> None:
    text = (ROOT / "deploy/grafana/dashboards/triton-yolo.json").read_text()
    asked = set(re.findall(r"nv_gpu_\w+|nv_energy_\w+", text))
    assert asked
    with urllib.request.urlopen(f"http://127.0.0.1:{server.addresses.metrics}/metrics") as answer:
        told = set(re.findall(r"^(nv_\w+)\{gpu_uuid=.*\} [0-9.e+]+$", answer.read().decode(), re.MULTILINE))
    assert asked <= told
