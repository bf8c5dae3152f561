"""perf's script where CUDA's runtime is not, or lies under another name than perf_analyzer opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.engine import Engine
from tests.containers.project import Project

pytestmark = pytest.mark.slow

# In the place of perf_analyzer, which opens libcudart.so: it says whether that loads.
LOADS = "#!/bin/sh\npython3 -c 'import ctypes; ctypes.CDLL(\"libcudart.so\")' && echo it loads\n"


def perf(project: Project, analyzer: Path, **settings: str) -> tuple[int, str, str]:
    """Run the script with CUDA shared memory and a perf_analyzer of its own."""
    options = {"SHARED_MEMORY": "cuda", "OUT": "/tmp", "JPEG": "/etc/hostname", "FRAME": "/etc/hostname", **settings}
    mounts = (f"{project.checkout / 'deploy' / 'perf'}:/perf:ro", f"{analyzer}:/usr/bin/perf_analyzer:ro")
    result = project.engine.docker(
        *("run", "--rm", "--entrypoint", "bash"),
        *(part for name, value in options.items() for part in ("--env", f"{name}={value}")),
        *(part for mount in mounts for part in ("--volume", mount)),
        *("--env", "PATH=/usr/bin:/bin", "stand-in-perf", "/perf/run.sh"),
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def analyzer(tmp_path: Path) -> Path:
    """A program that says whether libcudart.so loads."""
    (tmp_path / "perf_analyzer").write_text(LOADS)
    (tmp_path / "perf_analyzer").chmod(0o755)
    return tmp_path / "perf_analyzer"


def test_the_image_has_cudas_runtime_as_one_without_development_files(engine: Engine, project: Project) -> None:
    found = engine.docker("run", "--rm", "stand-in-perf", "find", "/", "-xdev", "-name", "libcudart.so*").stdout
    assert found == "/usr/local/lib/libcudart.so.12\n"


def test_the_script_makes_it_load_under_the_name_that_perf_analyzer_opens(project: Project, analyzer: Path) -> None:
    _, said, _ = perf(project, analyzer)
    assert said.startswith("it loads\n")


def test_where_it_is_not_cuda_shared_memory_is_refused_with_a_hint(project: Project, analyzer: Path) -> None:
    status, _, complaint = perf(project, analyzer, CUDART_FOLDERS="/srv /no")
    assert status == 2
    assert complaint == (
        "perf: CUDA's runtime, libcudart.so, is not here: set PERF_SHARED_MEMORY=system or none in .env\n"
    )
