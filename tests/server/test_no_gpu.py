"""What is said where a GPU is asked for and there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import ServerError
from server.gpu import check_gpu


def test_a_gpu_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    try:
        check_gpu()
    except ServerError as error:
        expected = str(error)
    else:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "server", "--device", "gpu"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"python -m server: {expected}"]
    assert expected.startswith("--device gpu needs ")
