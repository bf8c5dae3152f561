"""Letterboxed sizes that are rounded down or up, of frames whose sizes are known on the GPU alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.gpu.conftest import BACKENDS, SECONDS
from tests.server.rounding import assert_rounded, rounding_otherwise
from tests.server.sensors import VIDEO, converted, inputs, model, noise
from tests.server.wire import Client
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("rounding", ["down", "up"])
@pytest.mark.parametrize("way", ["pip", "native"])
def test_sizes_are_rounded_as_the_repository_says(way: str, rounding: str, gpu: int, tmp_path: Path) -> None:
    backends = os.environ.get(BACKENDS) if way == "native" else None
    if way == "native" and not backends:
        pytest.skip(f"{BACKENDS} does not name a folder with Triton's DALI backend, built for the pip tritonserver")
    repository = rounding_otherwise(REPOSITORY, tmp_path / "repository", rounding)
    folder = Path(backends) if backends else None
    with TritonServer(repository, free_addresses(), lambda line: None, "gpu", folder) as running:
        running.wait_until_ready(SECONDS)
        client = Client(running.addresses)
        assert_rounded(client, rounding)
        for name in VIDEO:  # planes, where RGB has the colours last
            frame = noise(name, 1282, 642)
            wanted = client.ask("preprocess_frames", frames=converted(frame, name)[None])
            answer = client.ask(model(name), **inputs(name, frame))
            assert np.abs(answer["images"].astype(int) - wanted["images"]).max() <= 1, "grey levels"
            np.testing.assert_array_equal(answer["image_size"], wanted["image_size"])
